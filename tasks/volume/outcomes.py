"""The ways in which a run can fail or stop: one class per exit code.

The message is one sentence for the person who started the run: what is wrong, where (byte, trace, key), and what to do.
It is shown unchanged, without traceback or prefix.
"""

import re
import shlex
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[2]
_WORD = re.compile(r"[^\s'\"]+")
_NAMED = re.compile(
    r"(?i)((?:secret|password|token|signature|account_?key)[\w-]{0,40}['\"]?[=:] ?['\"]?)[^\s'\",;]+"
)


def without_secrets(text: str) -> str:
    """Return a sentence without anything that could be a credential."""
    return _NAMED.sub(r"\1…", _WORD.sub(lambda word: _without_credentials(word[0]), text))


def _without_credentials(word: str) -> str:
    """Return a word without what stands before "@" in a URL, which may hold slashes, and without a query."""
    before, at, after = word.rpartition("@")
    if at and ":" in before:
        word = f"{before.partition('://')[0]}://…@{after}" if "://" in before else f"…@{after}"
    path, mark, query = word.partition("?")
    return f"{path}?…" if mark and "=" in query else word


def how_to_install(extra: str) -> str:
    """Return the command that adds an extra to this installation, from any folder."""
    return f"pip install -e {shlex.quote(f'{_CLONE}[{extra}]')}"


class Outcome(Exception):
    """End of a run for a reason that its user can act on; the sentence never contains a credential.

    Attributes:
        sentence: What is wrong, and where, in one sentence.
        flags: Flags of the command line with which the same command works; "" if there are none.
        verb: The command that takes these flags, if it is not an ingest.
    """

    exit_code = 1

    def __init__(self, sentence: str = "", *more: object, flags: str = "", verb: str = "") -> None:
        self.sentence, self.flags, self.verb = without_secrets(str(sentence)), flags, verb
        # Where there is no command line to show again, the flags are part of the sentence.
        super().__init__(f"{self.sentence}; say {flags}" if flags else self.sentence, *more)


class InputRefused(Outcome, ValueError):
    """The source or a parameter cannot be used; nothing was written."""

    exit_code = 3


class SettingRefused(InputRefused):
    """A setting of this machine, such as a key or the clock, keeps a store from being used."""


class DestinationRefused(Outcome, ValueError):
    """The destination holds something else; nothing there was changed."""

    exit_code = 4


class IntegrityFailure(Outcome, ValueError):
    """Stored data is not what was written, or an error is larger than was promised."""

    exit_code = 5


class Resumable(Outcome, RuntimeError):
    """The run stopped before its end, or another run holds the volume; the same command resumes it."""

    exit_code = 75

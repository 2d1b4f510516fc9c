"""Usage errors: the words of a command line that cannot be parsed, without possible credentials."""

import re
from collections.abc import Sequence

_HARMLESS = re.compile(r"[\w.,+% -]{0,60}")


class UsageError(Exception):
    """The command line cannot be read."""


def is_harmless(value: object) -> bool:
    """Return whether a refused value may be repeated in a message: a number or a few plain words, no credential."""
    return not isinstance(value, (str, dict, list, tuple)) or bool(
        isinstance(value, str) and _HARMLESS.fullmatch(value)
    )


def without_values(sentence: str, words: Sequence[str]) -> str:
    """Return a parser's message without words of the command line that could hold a credential."""
    values = {part for word in words for part in (word, word.partition("=")[2])}
    for value in sorted(filter(None, values), key=len, reverse=True):
        if not is_harmless(value):
            sentence = sentence.replace(value, "…").replace(repr(value)[1:-1], "…")
    return sentence

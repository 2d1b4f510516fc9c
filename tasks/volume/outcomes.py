"""How a run can end other than well; one class per exit code, so that every caller tells them apart alike.

The message is one sentence for the person who started the run: what is wrong, where (byte, trace,
key), and what to do. It is shown as it stands: no traceback, no prefix.
"""


class Outcome(Exception):
    """A run ended for a reason that its user can act on."""

    exit_code = 1


class InputRefused(Outcome, ValueError):
    """The source or a parameter cannot be used; nothing was written."""

    exit_code = 3


class DestinationRefused(Outcome, ValueError):
    """The destination holds something else; nothing there was changed."""

    exit_code = 4


class IntegrityFailure(Outcome, ValueError):
    """Stored data is not what was written, or an error is larger than was promised."""

    exit_code = 5


class Resumable(Outcome, RuntimeError):
    """The run stopped before its end, or another run holds the volume; running it again goes on."""

    exit_code = 75

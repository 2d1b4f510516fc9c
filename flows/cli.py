"""The command line: each verb and chain with its own parameters as flags.

Exit codes: 0 done, 2 usage, 3 input refused, 4 destination refused, 5 integrity failure,
75 stopped or locked (run again to resume), 1 anything else.
"""

import io
import os
import shlex
import signal
import sys
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from flows.command import STOPPED, TYPED, interrupt_on_signals, told_in_one_sentence
from flows.entry import STOPPING, machine_failed
from flows.help import commands, placed
from flows.names import COMMANDS, text_of
from flows.surroundings import shield
from flows.usage import UsageError, without_values
from tasks.volume.outcomes import Resumable, without_secrets

USAGE = 2
A_PORT = Number(gte=0, lte=65535)
app = App(
    name="seismill",
    help="Turn SEG-Y archives into proven, cloud-native Zarr volumes, and back, byte for byte; images, too.",
    version=lambda: _version(),
    help_format="plaintext",  # Markdown would cost a fifth of the time that --help takes
    result_action="return_value",
)


def _version() -> str:
    from importlib.metadata import version  # which imports what reads e-mail

    return version("seismill")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    shield()
    interrupt_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has all letters
    code = run(sys.argv[1:])
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # all is done and told: the exit code says how it ended
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command; return its exit code. After a stop, print the command that resumes."""
    TYPED.set(tuple(words))
    code = 0
    try:
        code = app(words, exit_on_error=False, print_error=False) or 0
        sys.stdout.flush()
    except (CycloptsError, UsageError) as error:
        message = str(error).strip()
        message = f"{message[:-3]}…" if message.endswith("...") else message.rstrip(".")
        sentence = without_secrets(without_values(message, words))
        stop = "" if sentence.endswith("?") else ";"
        print(f"{sentence}{stop} {_help_of(words)} shows what there is", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:  # before or after the run itself, which tells of it
        print(STOPPED, file=sys.stderr)
        code = Resumable.exit_code
    except BrokenPipeError:  # a pager or head has seen enough; the interpreter flushes once more at its end
        _discard_output()
        return 1
    except OSError as error:  # of the output itself; a command tells of its own errors
        if not (sentence := machine_failed(error)):
            raise
        if code != Resumable.exit_code:  # else the command told of it
            print(sentence, file=sys.stderr)
        _discard_output()
        return Resumable.exit_code
    if code == Resumable.exit_code:
        print(f"go on with: {without_secrets(shlex.join(['seismill', *words]))}", file=sys.stderr)
    return int(code)


def _discard_output() -> None:
    """Send what is left of the output to the null device, because the interpreter flushes it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _help_of(words: list[str]) -> str:
    """Return the command that shows the help of the verb that was meant, or of all."""
    return f"seismill {words[0]} --help" if words and words[0] in commands(app) else "seismill --help"


for _name in (*COMMANDS, "view"):
    _module, _shown = "viewing" if _name == "view" else "commands", _name.replace("_", "-")
    app.command(f"flows.{_module}:{_name}", name=_shown, help=text_of(_name), **placed(_shown))


@app.command(**placed("up"))
def up(
    root: str = ".",
    /,
    *,
    home: str = "",
    port: Annotated[int, Parameter(help="Of the API and the UI", validator=A_PORT)] = 4200,
    stop_runs: Annotated[bool, Parameter(negative=())] = False,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Start a local Prefect server and a worker, to trigger runs from the UI.

    Run it again at any time: it leaves running parts alone.

    Args:
        root: Folder, or URLs separated by commas, that triggered runs may read and write
        home: Folder for the server's database and logs; empty: seismill/server below XDG_STATE_HOME or ~/.local/state
        stop_runs: Stop runs under way if a new root needs another worker, which then resumes them
        debug: Show the traceback of an error
    """
    from flows.server import start

    with told_in_one_sentence(debug=debug) as code:
        start(root, home=home, port=port, stop_runs=stop_runs)
    return code()


@app.command(**placed("register"))
def register(
    *kinds: str,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Register work pools, deployments and automations on the configured Prefect server.

    The operator's values (image, prefixes, roles …) come from the environment; infra/env.example names them.

    Args:
        kinds: Types of pool: process, docker, kubernetes, ecs, cloud-run-v2, azure-container-instance
        debug: Show the traceback of an error
    """
    from flows.registration import register_all

    with told_in_one_sentence(debug=debug) as code:
        register_all(kinds)
    return code()


@app.command(**placed("metrics"))
def metrics(
    *,
    port: Annotated[int, Parameter(help="Of the address that a scraper reads", validator=A_PORT)] = 9464,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Serve the counters of this machine's runs to Prometheus, from the folder that SEISMILL_METRICS names.

    Args:
        debug: Show the traceback of an error
    """
    from flows.metrics import serve

    with told_in_one_sentence(debug=debug) as code:
        serve(port)
    return code()


@app.command(**placed("down"))
def down(
    *,
    home: str = "",
    stop_runs: Annotated[bool, Parameter(negative=())] = False,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Stop the server and the worker that `up` started, from any folder, and keep their state.

    Args:
        home: The folder given to `up`
        stop_runs: Stop runs under way; they go on after the next `up`
        debug: Show the traceback of an error
    """
    from flows.server import stop

    with told_in_one_sentence(debug=debug) as code:
        stop(home=home, stop_runs=stop_runs)
    return code()


@app.command(**placed("completion"))
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of a shell.

    Args:
        shell: Shell to complete commands in
    """
    script = app.generate_completion(shell=shell)
    # Places are files and folders as well, which bash offers where the script has no answer.
    print(script.replace("complete -F ", "complete -o default -F "))
    return 0

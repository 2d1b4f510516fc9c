"""The command line: each verb with its own parameters as flags.

Commands are declared here once more, because importing the verbs takes longer than `--help` may; a test holds their
signatures to the verbs'. Exit codes: 0 done, 2 usage, 3 input refused, 4 destination refused, 5 integrity failure,
75 stopped or locked (run again to resume), 1 anything else.
"""

import functools
import inspect
import shlex
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter

from flows.command import carry_out, told_in_one_sentence
from flows.flags import UsageError, flattened, without_values
from flows.surroundings import shield
from tasks.parameters import (
    ArrayPath,
    Copies,
    DeploymentName,
    Export,
    Form,
    Fraction,
    Image,
    Index,
    Levels,
    Master,
    MaxActive,
    OptionalUrl,
    Publication,
    Repairs,
    Retry,
    Run,
    SettleMinutes,
    Step,
    StorageOptions,
    Url,
)
from tasks.volume.outcomes import Resumable, without_secrets

USAGE = 2
_OUTPUT = Group("Output", sort_key=9)
_FLAGS = {
    "json": Parameter(
        help="Print one JSON object as the last line of standard output", negative=(), show_default=False
    ),
    "debug": Parameter(help="Show the traceback of an error", negative=(), show_default=False),
    "flow": Parameter(help="Run as a Prefect flow, on the configured API or an embedded server"),
}

app = App(
    name="seismill",
    help="Turn SEG-Y archives into proven, cloud-native Zarr volumes, and back, byte for byte.",
    version=lambda: version("seismill"),
    help_format="plaintext",  # Markdown would cost a fifth of the time that --help takes
    result_action="return_value",
)


def _command(function: Callable[..., None] | None = None, *, flow: bool = False) -> Any:
    """Add a command that runs the verb of this name; `flow` says if it is a flow run unless told otherwise."""
    if function is None:
        return functools.partial(_command, flow=flow)
    name = function.__name__
    # The function's own body is empty: its parameters, checked and made models again, are what the verb is called with.
    arguments = flattened(_returning_arguments(function))
    signature = inspect.signature(arguments)

    @functools.wraps(arguments)
    def command(*args: Any, json: bool = False, debug: bool = False, flow: bool = flow, **flags: Any) -> int:
        given = arguments(*args, **flags)
        with told_in_one_sentence(debug=debug) as code:
            carry_out(name, given, flow=flow, as_json=json)
        return code()

    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[
            *signature.parameters.values(),
            *(
                inspect.Parameter(
                    flag,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=flow if flag == "flow" else False,
                    annotation=Annotated[bool, Parameter(group=_OUTPUT), described],
                )
                for flag, described in _FLAGS.items()
            ),
        ]
    )
    app.command(command, name=name.replace("_", "-"))
    return function


def _returning_arguments(function: Callable[..., None]) -> Callable[..., dict[str, Any]]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def arguments(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(signature.bind(*args, **kwargs).arguments)

    return arguments


def main() -> None:
    """Run the command line and end the process with its exit code."""
    shield()
    code = run(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all is done and told: the exit code says how it ended
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command; return its exit code. Who was stopped is told the command that goes on."""
    try:
        code = app(words, exit_on_error=False, print_error=False) or 0
    except (CycloptsError, UsageError) as error:
        sentence = without_secrets(without_values(str(error).strip().rstrip("."), words))
        print(f"{sentence}; seismill --help shows what there is", file=sys.stderr)
        return USAGE
    if code == Resumable.exit_code:
        print(f"go on with: {without_secrets(shlex.join(['seismill', *words]))}", file=sys.stderr)
    return int(code)


@_command(flow=True)
def publish(
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    copies: Copies = Copies(),
    pyramid: Levels = Levels(),
    steps: list[Step] = ["copies", "pyramid", "report", "proof"],  # noqa: B006  # the same default as the flow's
    run: Run = Run(),
    overwrite: bool = False,
    update: bool = False,
) -> None:
    """Turn a SEG-Y into a volume: lossless master, copies, coarser levels, pictures and proof.

    Running it again is safe: finished stages are recognised, missing ones are added, another plan is refused.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy
        volume: Where the volume goes, such as s3://volumes/survey.zarr
        overwrite: Replace a volume of another source or plan, and copies and levels that differ
        update: Replace copies and levels that differ; a master that differs is refused
    """


@_command
def ingest_segy(
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
) -> None:
    """Turn a SEG-Y into a volume that holds its lossless array alone.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy
        volume: Where the volume goes, such as s3://volumes/survey.zarr
        overwrite: Replace a volume that is there already
    """


@_command
def ingest_images(
    source: Url,
    volume: Url,
    image: Image = Image(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
) -> None:
    """Turn a stack of images into a volume: TIFF, PNG, JPEG 2000, raw, .npy, NRRD or MetaImage.

    Args:
        source: A file, a folder of slices, a pattern in quotes such as 's3://scans/core/*.tif', or a list (.txt)
        volume: Where the volume goes, such as s3://volumes/core.zarr
        overwrite: Replace a volume that is there already
    """


@_command
def rechunk(
    volume: Url,
    copies: Copies = Copies(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
) -> None:
    """Add copies of a volume's array, or of any Zarr array, in other chunks, all from one read of it.

    Args:
        volume: The volume, or any Zarr group or array
        overwrite: Replace copies that are there in another form
        array: Path of an array that another tool wrote, such as field/0; its copies lie beside it
        target: Zarr v3 group for the copies of such an array; needed if it is not named 0 or is of Zarr v2
    """


@_command
def pyramid(
    volume: Url,
    levels: Levels = Levels(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
) -> None:
    """Add coarser levels to a volume, or to any Zarr array.

    Args:
        volume: The volume, or any Zarr group or array
        overwrite: Replace levels that are there in another form
        array: Path of an array that another tool wrote, such as field/0; its levels become field/1, field/2 …
        target: Zarr v3 group for the levels of such an array; needed if it is not named 0 or is of Zarr v2
    """


@_command
def export_segy(
    volume: Url,
    target: Url,
    export: Export = Export(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    file: int = -1,
    check: bool = False,
) -> None:
    """Write a volume's SEG-Y again, byte for byte as it was, or part of it, or in another form.

    Args:
        volume: The volume
        target: The SEG-Y to write, local or in a store; a folder where the volume was made from several files
        overwrite: Replace a file that is there
        file: Which of several source files to write, from 0; -1 for all
        check: Read the file with segyio and compare samples and header fields with the volume's; local files only
    """


@_command
def prove(volume: Url, run: Run = Run()) -> None:
    """Show that the export would be the source, byte for byte, by its checksums; nothing is exported.

    Args:
        volume: The volume
    """


@_command
def verify(
    volume: Url,
    fraction: Fraction = 1.0,
    errors: bool = False,
    repair: Repairs = "no",
    run: Run = Run(),
    *,
    seed: int = 0,
) -> None:
    """Read stored objects again, compare them with their checksums, and put back what is broken if told to.

    Args:
        volume: The volume
        fraction: Share of the objects to look at, drawn by chance; 1 for all
        errors: Also compare copies and levels with the master, and prove the export again
        repair: Rewrite what is broken as it was: all but the master from the master, or that too from its source
        seed: Which objects are drawn when the fraction is below 1; consecutive numbers draw other ones
    """


@_command
def copy(
    volume: Url,
    target: Url,
    includes: list[str] = [],  # noqa: B006  # the same default as the verb's
    excludes: list[str] = [],  # noqa: B006
    overwrite: bool = False,
    run: Run = Run(),
) -> None:
    """Copy a volume to another place, in any store, every object compared with its checksum on the way.

    Args:
        volume: The volume
        target: Where its copy goes, such as gs://volumes/survey.zarr
        includes: Of the copies and the pyramid only these, such as fast_inline,pyramid; all if not given
        excludes: Of the copies and the pyramid none of these
        overwrite: Replace a volume that is there already
    """


@_command
def info(volume: Url, text: bool = False, storage_options: StorageOptions = StorageOptions()) -> None:
    """Say what a volume holds, from its metadata.

    Args:
        volume: The volume
        text: Show the textual header of the first source, too
    """


@_command
def scan(source: Url, index: Index = Index(), storage_options: StorageOptions = StorageOptions()) -> None:
    """Say what SEG-Y files hold, from their headers: formats, candidate index bytes, oddities.

    With options of the index it says what an ingest with these would find.

    Args:
        source: The SEG-Y, or several of one survey: separated by commas, or a pattern in quotes such as 'line_*.sgy'
    """


@_command
def report(volume: Url, run: Run = Run()) -> None:
    """Draw a volume's middle slices, its copies with their differences, and a histogram.

    Args:
        volume: The volume
    """


@_command(flow=True)
def sweep(
    staging: Url,
    volumes: Url,
    deployment: DeploymentName = "",
    max_active: MaxActive = 4,
    settle_minutes: SettleMinutes = 10,
    retry: Retry = "nothing",
    publication: Publication = Publication(),
    run: Run = Run(),
) -> None:
    """Publish every SEG-Y under a staging prefix that is new, and leave what is unchanged alone.

    A file that cannot be published is quarantined with a sentence, and stays where it is. Running it again is safe.

    Args:
        staging: The prefix that files arrive under, such as s3://staging; a/b.sgy below it becomes a/b.zarr
        volumes: Where the volumes and the catalogue of sources are, such as s3://volumes
        deployment: publish/NAME, whose runs publish the sources; {size} in it stands for s, m or l; empty: in this run
        max_active: How many runs of the deployment may be under way at once
        settle_minutes: How long a file must not have changed before it is taken
        retry: quarantined: try again also what was quarantined
    """


@_command
def audit(
    volumes: Url, fraction: Fraction = 0.05, errors: bool = False, run: Run = Run(), *, seed: int = -1
) -> None:
    """Verify a share of every volume that a sweep published, another one each day.

    Args:
        volumes: Where the volumes and the catalogue of a sweep are
        fraction: Share of the stored objects that is looked at; with 0.05 all are within 20 days
        errors: Also compare copies and levels with their masters, and prove the exports again; reads all of each volume
        seed: Which share; consecutive numbers take other objects; -1 for the number of the day
    """


@_command(flow=True)
def demo(folder: Url = "seismill-demo") -> None:
    """Make a survey, publish it, export it again and compare the bytes, with nothing configured.

    Args:
        folder: Where survey, volume, pictures and export go
    """


@_command
def make_image(
    volume: Url,
    array: ArrayPath = "field/0",
    form: Form = Form(),
    seed: int = 0,
    storage_options: StorageOptions = StorageOptions(),
) -> None:
    """Make a Zarr array of grains and noise, to try levels, copies and viewers on.

    Args:
        volume: The Zarr group that it lies in; made if it is not there
        array: Its path in the group, such as field/0
        form: Its shape, chunks and type
        seed: Of the noise
    """


@app.command
def up(
    root: str = ".",
    /,
    *,
    home: str = "",
    port: Annotated[int, Parameter(help="Of the API and the UI")] = 4200,
    stop_runs: Annotated[bool, Parameter(negative=())] = False,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Start a local Prefect server and a worker, so that runs can be triggered from the UI.

    Starting it again is safe: what runs already is left running.

    Args:
        root: The prefix that triggered runs may read and write: a folder, or URLs separated by commas
        home: Folder for the server's database and logs; empty: seismill/server below XDG_STATE_HOME or ~/.local/state
        stop_runs: Stop runs under way if another root needs another worker; they go on with that one
        debug: Show the traceback of an error
    """
    from flows.server import start

    with told_in_one_sentence(debug=debug) as code:
        start(root, home=home, port=port, stop_runs=stop_runs)
    return code()


@app.command
def register(
    *kinds: str,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Make work pools, their deployments and the automations on the configured Prefect server what the files say.

    The operator's values (image, prefixes, roles …) are taken from the environment; infra/env.example names them.

    Args:
        kinds: Types of pool: process, docker, kubernetes, ecs, cloud-run-v2, azure-container-instance
        debug: Show the traceback of an error
    """
    from flows.registration import register_all

    with told_in_one_sentence(debug=debug) as code:
        register_all(kinds)
    return code()


@app.command
def down(
    *,
    home: str = "",
    stop_runs: Annotated[bool, Parameter(negative=())] = False,
    debug: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """End the server and the worker that `up` started, from any folder; their state is kept.

    Args:
        home: The folder given to `up`
        stop_runs: Stop runs under way; they go on after the next `up`
        debug: Show the traceback of an error
    """
    from flows.server import stop

    with told_in_one_sentence(debug=debug) as code:
        stop(home=home, stop_runs=stop_runs)
    return code()

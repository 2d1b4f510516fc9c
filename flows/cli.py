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
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from flows.command import STOPPED, TYPED, carry_out, interrupt_on_signals, told_in_one_sentence
from flows.entry import STOPPING
from flows.flags import UsageError, flattened, without_values
from flows.help import arrange, commands
from flows.surroundings import shield
from tasks.parameters import (
    ArrayPath,
    Copies,
    DeploymentName,
    Export,
    Form,
    Fraction,
    GroupChunks,
    Image,
    Index,
    Kinds,
    Levels,
    Master,
    MaxActive,
    OptionalUrl,
    Port,
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
    help="Turn SEG-Y archives into proven, cloud-native Zarr volumes, and back, byte for byte; images, too.",
    version=lambda: version("seismill"),
    help_format="plaintext",  # Markdown would cost a fifth of the time that --help takes
    result_action="return_value",
)


def _command(function: Callable[..., None] | None = None, *, flow: bool = False) -> Any:
    """Add a command that runs the verb of this name; `flow` is the default of --flow."""
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
    interrupt_on_signals()
    code = run(sys.argv[1:])
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # all is done and told: the exit code says how it ended
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command; return its exit code. After a stop, print the command that resumes."""
    TYPED.set(tuple(words))
    try:
        code = app(words, exit_on_error=False, print_error=False) or 0
    except (CycloptsError, UsageError) as error:
        sentence = without_secrets(without_values(str(error).strip().rstrip("."), words))
        stop = "" if sentence.endswith("?") else ";"
        print(f"{sentence}{stop} {_help_of(words)} shows what there is", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:  # before or after the run itself, which tells of it
        print(STOPPED, file=sys.stderr)
        code = Resumable.exit_code
    if code == Resumable.exit_code:
        print(f"go on with: {without_secrets(shlex.join(['seismill', *words]))}", file=sys.stderr)
    return int(code)


def _help_of(words: list[str]) -> str:
    """Return the command that shows the help of the verb that was meant, or of all."""
    return f"seismill {words[0]} --help" if words and words[0] in commands(app) else "seismill --help"


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
    image: Image = Image(),
) -> None:
    """Turn SEG-Y or images into a volume: lossless master, copies, coarser levels, pictures and proof.

    Run it again at any time: it recognises finished stages, adds missing ones, and refuses another plan.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy, or images: a file, a folder of slices, a pattern, a list
        volume: The volume to write, such as s3://volumes/survey.zarr; for labels, their name
        overwrite: Replace a volume of another source or plan, and copies and levels that differ
        update: Replace copies and levels that differ; a master that differs is refused
    """


@_command(flow=True)
def migrate(
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
    """Convert a volume of multidimio 0.8 to a Seismill volume: samples, trace headers, text and binary header.

    The summary names what multidimio did not keep of the SEG-Y. The old volume is only read.

    Args:
        source: The volume of multidimio 0.8, such as s3://volumes/old.mdio
        volume: The volume to write, such as s3://volumes/survey.zarr
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
    """Turn a SEG-Y into a volume that holds only its lossless array.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy
        volume: The volume to write, such as s3://volumes/survey.zarr
        overwrite: Replace an existing volume
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
    """Turn a stack of images into a volume: TIFF, DICOM, NIfTI, HDF5, NRRD, raw and others.

    Args:
        source: A file, a folder of slices, a pattern in quotes such as 's3://scans/core/*.tif', a list (.txt), or an
            array in a file, such as scan.h5:/exchange/data
        volume: The volume to write, such as s3://volumes/core.zarr
        overwrite: Replace an existing volume
    """


@_command
def rechunk(
    volume: Url,
    copies: Copies = Copies(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
    explore: OptionalUrl = "",
    group: GroupChunks = "",
) -> None:
    """Add copies in other chunks to a volume, or to any Zarr array, from one read of it.

    Args:
        volume: The volume, or any Zarr group or array
        overwrite: Replace existing copies of another form
        array: Path of another tool's array, such as field/0; its copies are written beside it
        target: Zarr v3 group for the copies of such an array, required if it is no level 0 (0, s0, scale0/image)
        explore: Make no copies; measure their size and error over tolerances, and draw both in this .png file
        group: Write a whole group of another tool to the target, in chunks such as time=64,lat=128, or auto
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
        overwrite: Replace existing levels of another form
        array: Path of another tool's array, such as field/0; its levels become field/1, field/2 … (of s0: s1, s2 …)
        target: Zarr v3 group for the levels of such an array, required if it is no level 0 (0, s0, scale0/image)
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
    array: ArrayPath = "",
) -> None:
    """Write a volume as SEG-Y: the source byte for byte, part of it, or in another form.

    Args:
        volume: The volume
        target: The SEG-Y to write, local or in a store; a folder if the volume has several sources
        overwrite: Replace an existing file
        file: Number of the source to write, from 0; -1 for all
        array: Copy whose samples are written, such as fast_inline, with the source's headers; lossy as the copy is
        check: Read the file with segyio and compare samples and header fields with the volume's; local files only
    """


@_command
def export_ome(volume: Url, target: Url, run: Run = Run()) -> None:
    """Write a volume and its levels as a plain OME-Zarr 0.4 group (Zarr v2), for viewers that read nothing newer.

    Run it again to go on with an export that was stopped.

    Args:
        volume: The volume, or another tool's group with levels
        target: The group to write: an empty place outside of every volume
    """


@_command
def prove(volume: Url, run: Run = Run()) -> None:
    """Prove that an export would equal the source, byte for byte; for images, that every voxel does.

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
    source: OptionalUrl = "",
) -> None:
    """Compare stored objects with their checksums, and restore damaged ones with --repair.

    Args:
        volume: The volume
        fraction: Share of the objects to read, drawn at random; 1 for all
        errors: Also compare copies and levels with the master, and prove the export again
        repair: Restore damaged objects: from_master restores all but the master, from_source the master too
        seed: Seed of the draw; consecutive numbers draw different objects
        source: With --repair from_source: new place of the source, if it was moved; recognised by size and CRC32C
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
    """Copy a volume to any store, and compare every object with its checksum on the way.

    Args:
        volume: The volume
        target: The volume to write, such as gs://volumes/survey.zarr
        includes: Copies to include, such as fast_inline,pyramid. Empty: all
        excludes: Copies to leave out, such as fast_time,pyramid; without amplitude, only copies are delivered
        overwrite: Replace an existing volume
    """


@_command
def info(volume: Url, text: bool = False, storage_options: StorageOptions = StorageOptions()) -> None:
    """Show what a volume holds, from its metadata.

    Args:
        volume: The volume
        text: Also show the textual header of the first source
    """


@_command
def scan(source: Url, index: Index = Index(), storage_options: StorageOptions = StorageOptions()) -> None:
    """Show what SEG-Y files hold, from their headers: formats, candidate index bytes, warnings.

    With options of the index, show what an ingest with these options would find.

    Args:
        source: The SEG-Y, or several of one survey, separated by commas or as a quoted pattern such as 'line_*.sgy'
    """


@_command
def report(volume: Url, run: Run = Run()) -> None:
    """Make the report of a volume: one HTML page with map, slices, copies, figures and proof.

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
    kinds: Kinds = "all",
    publication: Publication = Publication(),
    run: Run = Run(),
) -> None:
    """Publish every new SEG-Y and every new scan under a staging prefix, and skip unchanged ones.

    A file that cannot be published is quarantined with a sentence and stays in place. Run it again at any time.

    Args:
        staging: The prefix where files arrive, such as s3://staging; a/b.sgy, or slices in a/b/, become a/b.zarr
        volumes: The prefix of the volumes and their catalogue, such as s3://volumes
        deployment: publish/NAME, which publishes each source; {size} stands for s, m or l. Empty: publish in this run
        max_active: Most runs of the deployment under way at once
        settle_minutes: Minutes that a file must be unchanged before it is published
        retry: quarantined: also retry quarantined files
        kinds: all: SEG-Y, and images in folders without SEG-Y, a folder of slices as one scan. segy: only SEG-Y
    """


@_command
def audit(
    volumes: Url, fraction: Fraction = 0.05, errors: bool = False, run: Run = Run(), *, seed: int = -1
) -> None:
    """Verify a share of every volume that a sweep published, a different share each day.

    Args:
        volumes: The prefix of the volumes and their catalogue
        fraction: Share of the stored objects to read; 0.05 covers all of them in 20 days
        errors: Also compare copies and levels with their masters and prove the exports; reads each volume whole
        seed: Number of the share; consecutive numbers take different objects; -1 for the number of the day
    """


@_command(flow=True)
def demo(folder: Url = "seismill-demo") -> None:
    """Make a survey, publish it, export it again and compare the bytes, without any configuration.

    Args:
        folder: Folder for survey, volume, pictures and export
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
        volume: The Zarr group for the array; made if it does not exist
        array: Path of the array in the group, such as field/0
        form: Shape, chunks and type of the array
        seed: Seed of the noise
    """


@app.command
@flattened
def view(
    volume: Url,
    host: str = "127.0.0.1",
    port: Port = 5006,
    storage_options: StorageOptions = StorageOptions(),
    debug: bool = False,
) -> int:
    """Show a volume in a browser: sections, slices, map, levels, copies and differences. Reads only.

    Args:
        volume: The volume
        host: Address to listen at; any but loopback needs the token of the printed URL
        port: Port to listen at; 0 for a free one
        debug: Show the traceback of an error
    """
    from flows.viewing import view_volume

    with told_in_one_sentence(debug=debug) as code:
        view_volume(volume, host, port, storage_options)
    return code()


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


@app.command
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


@app.command
def metrics(
    *,
    port: Annotated[int, Parameter(help="Of the address that a scraper reads")] = 9464,
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


@app.command
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


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of a shell.

    Args:
        shell: Shell to complete commands in
    """
    script = app.generate_completion(shell=shell)
    # Places are files and folders as well, which bash offers where the script has no answer.
    print(script.replace("complete -F ", "complete -o default -F "))
    return 0


arrange(app)

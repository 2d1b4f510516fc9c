"""Run `seismill view`: serve the pages of one volume until the command is stopped."""

from flows.command import told_in_one_sentence
from flows.credentials import provide
from flows.flags import flattened
from tasks.parameters import Port, StorageOptions, Url
from tasks.volume.outcomes import InputRefused, how_to_install

PACKAGES = ("bokeh", "tornado")


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
    with told_in_one_sentence(debug=debug) as code:
        view_volume(volume, host, port, storage_options)
    return code()


def view_volume(volume: str, host: str, port: int, storage_options: StorageOptions) -> None:
    """Show a volume in a browser until this process gets a signal to stop.

    Raises:
        InputRefused: There is no volume, the address cannot be bound, or Bokeh is not installed.
    """
    try:
        from tasks.viewer.model import LookedAt
        from tasks.viewer.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise InputRefused(f"seismill view needs Bokeh; install it with {how_to_install('view')}") from None
    provide([storage_options])
    serve(LookedAt(volume, storage_options), host=host, port=port, ready=_tell)


def _tell(url: str) -> None:
    print(f"{url} (Ctrl-C ends it)", flush=True)

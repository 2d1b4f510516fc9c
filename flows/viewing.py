"""`seismill view`: a server of one volume's pages, from the command to its end."""

from flows.credentials import provide
from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused, how_to_install

PACKAGES = ("bokeh", "tornado")


def view_volume(volume: str, host: str, port: int, storage_options: StorageOptions) -> None:
    """Show a volume in a browser until this process is asked to stop.

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

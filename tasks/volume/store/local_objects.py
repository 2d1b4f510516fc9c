"""Objects below a folder of a local disk."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.volume.outcomes import DestinationRefused, Resumable
from tasks.volume.store import local
from tasks.volume.store.backend import UNTOLD, unguarded
from tasks.volume.store.calls import count
from tasks.volume.store.url import Location

_FULL = {errno.ENOSPC, errno.EDQUOT}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class LocalObjects:
    """Files below a folder; each name is a complete file or absent. The methods are those of `Objects`."""

    def __init__(self, location: Location) -> None:
        """Open a folder, which need not exist."""
        self._url, self._root = location.url, location.path

    def get(self, path: str) -> bytes:
        """Return a whole file."""
        with os.fdopen(local.open_file(path), "rb") as file:
            data = file.read()
        count(read=len(data))
        return data

    def get_seen(self, path: str) -> tuple[bytes, str]:
        """Return a whole file, and its identity before it was read."""
        identity = self.identity(path)
        return self.get(path), identity

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        with os.fdopen(local.open_file(path), "rb") as file:
            data = os.pread(file.fileno(), length, start)
        count(read=len(data))
        return data

    def get_tail(self, path: str, length: int) -> bytes:
        """Return the last `length` bytes."""
        with os.fdopen(local.open_file(path), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - length))
            data = file.read()
        count(read=len(data))
        return data

    def identity(self, path: str) -> str:
        """Return inode, size and time of change; empty if there is no file."""
        count()
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return ""
        return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"

    def exists(self, path: str) -> bool:
        """Return whether there is such a file."""
        count()
        return os.path.isfile(path)

    def keys(self, path: str) -> Iterator[str]:
        """Yield the keys of all files below `path`."""
        count()
        return (key for key, _ in local.walk(self._root, path))

    def children(self) -> Iterator[str]:
        """Yield the names in the folder.

        Raises:
            DestinationRefused: A file lies in its place.
        """
        count()
        try:
            return iter(os.listdir(self._root))
        except FileNotFoundError:
            return iter(())
        except NotADirectoryError:
            raise DestinationRefused(
                f"{self._url} is a file or below one; name a folder that does not exist yet"
            ) from None

    def files(self, folder: str) -> Iterator[tuple[str, int, str]]:
        """Yield name, size and identity of each file in a folder."""
        count()
        with os.scandir(folder) as entries:
            for entry in entries:
                with _passing_loops():
                    if entry.is_file():
                        yield entry.name, *_size_and_identity(entry.stat())

    def listing(self, path: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and identity of all files below `path`."""
        count()
        for key, file in local.walk(self._root, path):
            with _passing_loops(), suppress(FileNotFoundError):  # removed after it was listed
                yield key, *_size_and_identity(os.stat(file))

    def has_bucket(self) -> bool:
        """Return True: a folder needs no bucket."""
        return True

    def put(self, path: str, data: bytes, storage_class: str = "") -> None:
        """Write a file, existing or not; readers see the old one or the new one."""
        with self._writing():
            local.write(self._root, path, data, os.replace)
        count(written=len(data))

    def replace(self, path: str, data: bytes, identity: str, storage_class: str = "") -> str:
        """Write a file only if it has this identity; one process at a time replaces in a folder."""
        try:
            with local.alone_in(self._root, os.path.dirname(path)):
                if self.identity(path) != identity:
                    return ""
                self.put(path, data)
                return UNTOLD
        except FileNotFoundError:
            return ""

    def create(
        self, path: str, data: bytes, storage_class: str = "", before: Callable[[], None] = unguarded
    ) -> str:
        """Write a file only if it is absent."""
        before()
        count(written=len(data))
        try:
            with self._writing():
                local.create(self._root, path, data)
        except FileExistsError:
            return ""
        return UNTOLD

    def delete_many(self, paths: Sequence[str], guard: Callable[[], None]) -> None:
        """Remove files in order, and folders that this leaves empty."""
        for path in paths:
            guard()
            count()
            with self._writing():
                Path(path).unlink(missing_ok=True)
        local.remove_empty(self._root, {os.path.dirname(path) for path in paths})

    def remove_half_written(self) -> None:
        """Remove unfinished files of writers that were killed."""
        local.remove_half_written(self._root)

    def probe(self) -> None:
        """Raise DestinationRefused unless files can be created here, each once."""
        try:
            os.makedirs(f"{self._root}/{local.TEMPORARY}", exist_ok=True)
            with self._writing():
                local.probe(self._root)
        except OSError as error:
            raise DestinationRefused(
                f"{self._url} cannot be written ({error.strerror}); name another folder"
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the disk into an outcome, inside the `with`."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.EFBIG:
                raise Resumable(
                    f"{self._url} takes no file of this size ({error.strerror}); raise the limit of files (ulimit -f) "
                    "and run the same command again to go on"
                ) from error
            if error.errno in _FULL:
                raise Resumable(
                    f"{self._url} has no space left ({error.strerror}); make room and run the same command again "
                    "to go on"
                ) from error
            lost = error.errno == errno.ENOENT and not os.path.isdir(self._root)
            if lost or error.errno in _FORBIDDEN:
                raise DestinationRefused(
                    f"{self._url} cannot be written ({error.strerror}); name another folder"
                ) from error
            if error.errno in _IN_THE_WAY and not isinstance(error, FileExistsError):
                raise DestinationRefused(
                    f"a file lies where {self._url} needs a folder, or a folder where it needs a file "
                    f"({error.filename2 or error.filename}); move it away"
                ) from error
            raise


@contextmanager
def _passing_loops() -> Iterator[None]:
    """Pass over a symbolic link that leads to itself, inside the `with`."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise


def _size_and_identity(status: os.stat_result) -> tuple[int, str]:
    """Return a file's size, and its identity in the form of `Source`."""
    return status.st_size, f"{status.st_size}-{status.st_mtime_ns}"

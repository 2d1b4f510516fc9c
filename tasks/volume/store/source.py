"""Read one file by ranges, as it was when it was opened.

Every read is bound to the identity seen first (ETag, generation, or size and modification time): a file that was
replaced meanwhile is refused instead of mixed.
"""

import errno
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store import local
from tasks.volume.store.calls import count, line_of
from tasks.volume.store.clouds import Span, look
from tasks.volume.store.clouds.faults import Archived, Changed, Rejected, Transient
from tasks.volume.store.url import Location, locate, stored_address, unescaped

Result = TypeVar("Result")
REOPENED = 5  # times that a read starts anew because the file was replaced under the same size and time stamp


def file_at(url: str, options: StorageOptions) -> Location:
    """Return the location of the file that a URL names, literally or, if there is no such file, percent-decoded.

    A request is made only if the URL holds something percent-encoded.
    """
    location = locate(url)
    decoded = unescaped(location)
    if decoded is None or is_there(location, options) or not is_there(decoded, options):
        return location
    return decoded


def is_there(location: Location, options: StorageOptions) -> bool:
    """Return whether a file exists at a location; a forbidden one counts as missing."""
    if location.local:
        count()
        return os.path.isfile(location.path)
    line = line_of(location, options)
    try:
        line.call(lambda: line.cloud.head(location.path))
    except (FileNotFoundError, PermissionError, Rejected):
        return False
    return True


def _identity(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


class InRanges:
    """A file that is read in ranges."""

    size: int

    def ranges(self, length: int) -> Iterator[tuple[int, int]]:
        """Yield (start, length) of ranges that read the file once, in order."""
        for start in range(0, self.size, length):
            yield start, min(length, self.size - start)


class Source(InRanges):
    """A file, open for reading from many threads.

    Attributes:
        url: URL of the file.
        size: Size in bytes.
        identity: Identity when it was opened; it changes with the content.
    """

    _descriptor = -1  # of a local file

    def __init__(
        self, url: str, options: StorageOptions | None = None, identity: str = "", *, size: int = -1
    ) -> None:
        """Open `url` and learn its size and identity.

        Args:
            url: A local path or URL of a single file.
            options: Non-secret options of the store.
            identity: Identity of the file in the plan; empty: the present one.
            size: Size with the identity of a file that was listed: a remote one is not looked at again.

        Raises:
            InputRefused: The file does not exist, may not be read, or is not the one in the plan.
        """
        self.location = file_at(stored_address(url), options or StorageOptions())
        self.url = self.name = self.location.url
        self._line = None if self.location.local else line_of(self.location, options or StorageOptions())
        self._crc32c: str | None = None
        if size >= 0 and identity and self._line is not None:
            self.size, self.identity = size, identity
            return
        try:
            self.size, self.identity = self._look()
        except FileNotFoundError:
            raise InputRefused(f"there is no file {self.url}; check the path") from None
        except IsADirectoryError:
            raise InputRefused(f"{self.url} is a folder; name one SEG-Y file") from None
        except PermissionError:
            raise self._forbidden() from None
        if identity and identity != self.identity:
            raise self._changed()

    def _changed(self) -> InputRefused:
        return InputRefused(
            f"the source {self.url} changed after the run began; start it again with overwrite"
        )

    def _forbidden(self) -> InputRefused:
        return InputRefused(f"{self.url} may not be read by this identity; check its policy")

    def _archived(self) -> InputRefused:
        return InputRefused(
            f"{self.url} lies in an archive tier; restore it first, then run the same command again"
        )

    def _look(self) -> tuple[int, str]:
        if self._line is None:
            count()
            if self._descriptor < 0:
                self._descriptor = local.open_file(self.location.path)
            status = os.stat(self.location.path)
            return status.st_size, _identity(status)
        cloud, path = self._line.cloud, self.location.path
        try:
            stored = self._ask(lambda: cloud.head(path))
        except FileNotFoundError:
            # Only now is it worth a request to tell a folder from nothing.
            below, _ = self._ask(lambda: cloud.page(f"{path}/", deep=False, after=""))
            raise (IsADirectoryError if below else FileNotFoundError) from None
        if stored.archived:
            raise self._archived()
        self._crc32c = stored.crc32c
        return stored.size, stored.identity

    @property
    def crc32c(self) -> str:
        """Return the CRC32C of the whole file in hexadecimal, if its store has it; this may send a request."""
        if self._crc32c is None and self._line is not None:
            try:
                _, identity = self._look()
            except FileNotFoundError:
                raise self._changed() from None
            if identity != self.identity:
                raise self._changed()
        return self._crc32c or ""

    def close(self) -> None:
        """Close the descriptor of a local file; it cannot be read after this."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close the descriptor when the source is garbage, as a file of Python does."""
        self.close()

    def _ask(
        self, request: Callable[[], Coroutine[Any, Any, Result]], *, size: int = 0, conditional: bool = False
    ) -> Result:
        assert self._line is not None
        try:
            return self._line.call(request, size=size, conditional=conditional)
        except Archived:
            raise self._archived() from None
        except Rejected as error:
            raise InputRefused(
                f"the store of {self.url} refuses to read it ({error}); check bucket and options"
            ) from error

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`.

        Raises:
            InputRefused: The file changed since it was opened, is shorter, or cannot be read from its disk.
        """
        if self._line is None:
            buffer = bytearray(length)
            self.read_into(start, memoryview(buffer))
            return bytes(buffer)
        try:
            data = (
                self._ask(lambda: self._range(start, length), size=length, conditional=True)
                if length
                else b""
            )
        except PermissionError:
            raise self._forbidden() from None
        except (Changed, FileNotFoundError):
            raise self._changed() from None
        count(requests=0, read=len(data))
        self._refuse_short(len(data), start, length)
        return data

    async def _range(self, start: int, length: int) -> bytes:
        assert self._line is not None
        cloud, path = self._line.cloud, self.location.path
        try:
            return await cloud.get(path, Span(start, length), self.identity)
        except Changed as error:
            # What is between us and the store may say so wrongly; a source is given up only when it really changed.
            if (await look(cloud, path)).identity == self.identity:
                raise Transient(f"{error}, although it did not change") from error
            raise

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out` with the bytes from `start`; errors as for `read`."""
        if self._line is not None:
            out[:] = self.read(start, len(out))
            return
        # A local file has no conditional read: look before and after reading, so that what was read is what was seen.
        for _ in range(REOPENED):
            held = os.fstat(self._descriptor)
            done = self._fill(start, out)
            try:
                status = os.stat(self.location.path)
            except FileNotFoundError:
                raise self._changed() from None
            if _identity(status) != self.identity:
                raise self._changed()
            if done >= 0 and os.path.samestat(held, status):
                break
            self._open_again()
        else:
            raise self._changed()
        count(read=done)
        self._refuse_short(done, start, len(out))

    def _fill(self, start: int, out: memoryview) -> int:
        """Read what is open into `out`; return how many bytes there were, -1 if what was opened is gone (NFS)."""
        done = 0
        try:
            while done < len(out):
                got = os.preadv(self._descriptor, [out[done:]], start + done)
                if not got:
                    break
                done += got
        except OSError as error:
            if error.errno == errno.ESTALE:
                return -1
            raise InputRefused(
                f"{self.url} cannot be read from byte {start + done} on ({error.strerror}); check its disk, or name "
                "another copy of it"
            ) from error
        return done

    def _open_again(self) -> None:
        """Open what the path names by now, if it is what was expected: a file restored under its own time stamp.

        The number of the descriptor stays, so that other threads read one file or the other, and look which.
        """
        try:
            descriptor = os.open(self.location.path, os.O_RDONLY)
        except FileNotFoundError:
            raise self._changed() from None
        except PermissionError:
            raise self._forbidden() from None
        try:
            if _identity(os.fstat(descriptor)) != self.identity:
                raise self._changed()
            os.dup2(descriptor, self._descriptor, inheritable=False)
        finally:
            os.close(descriptor)

    def _refuse_short(self, got: int, start: int, wanted: int) -> None:
        if got == wanted:
            return
        if start + wanted <= self.size:
            raise InputRefused(
                f"{self.url} gave {got} bytes of {wanted} from byte {start}, and it had {self.size} when it was "
                "opened; it changed, or its disk is damaged: start the run again with overwrite"
            )
        raise InputRefused(
            f"{self.url} gave {got} bytes of {wanted} from byte {start}: it ends at byte {self.size}, before what its "
            "headers say; name a whole copy of it"
        )

"""Files on a local disk, written so that each name is a complete file or absent, even after a kill."""

import errno
import itertools
import logging
import os
import shutil
import stat
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.store.naming import LINK, flocked, give_name, step_of
from tasks.volume.store.process import machine, started

log = logging.getLogger(__name__)

TEMPORARY = ".seismill/tmp"
_numbers = itertools.count()
ALONE_SECONDS = 30.0
FOREIGN_SECONDS = 86400.0  # a file that a process of another machine was writing is given up after that


def write(root: str, path: str, data: bytes, publish: Callable[[str, str], None]) -> None:
    """Write a file under a temporary name, then give it its name in one step.

    Args:
        root: The folder below which temporary names lie.
        path: The file.
        data: Content of the file.
        publish: Takes the temporary name and the file's: `os.replace`, or `give_name` if the name may not exist.
    """
    temporary = f"{root}/{TEMPORARY}/{_writer(os.getpid())}-{next(_numbers)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        descriptor = os.open(temporary, flags, 0o666)
    try:
        try:
            view = memoryview(data).cast("B")
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        for again in (True, True, False):
            try:
                publish(temporary, path)
                return
            except FileNotFoundError:
                if not again:
                    raise
                os.makedirs(
                    os.path.dirname(path), exist_ok=True
                )  # which another may just find empty and remove
    finally:
        Path(temporary).unlink(missing_ok=True)


def create(root: str, path: str, data: bytes) -> None:
    """Write a file that does not exist yet.

    Raises:
        FileExistsError: The file exists.
    """
    write(root, path, data, partial(give_name, root))


@lru_cache(maxsize=64)
def probe(root: str) -> None:
    """Find out how the file system of `root` creates files and locks folders, and log what it lacks.

    Raises:
        OSError: The file system can do neither, or replaces a file that was to be created only if absent (EEXIST).
    """
    path = f"{root}/{TEMPORARY}/{_writer(os.getpid())}-{next(_numbers)}-probe"
    try:
        create(root, path, b"1")
        try:
            create(root, path, b"2")
        except FileExistsError:
            pass
        else:
            raise OSError(errno.EEXIST, "a file that exists is replaced by one that may only be created")
        descriptor = os.open(f"{root}/{TEMPORARY}", os.O_RDONLY | os.O_DIRECTORY)
        try:
            locks = flocked(descriptor)
        except BlockingIOError:
            locks = True
        finally:
            os.close(descriptor)
    finally:
        Path(path).unlink(missing_ok=True)
    lacking = []
    if step_of(root) != LINK:
        lacking.append(f"no hard links, so objects are created by {step_of(root)}")
    if not locks:
        lacking.append("no flock, so files that name their holder take its place")
    if lacking:
        log.warning("the file system of %s has %s", root, " and ".join(lacking))


def open_file(path: str) -> int:
    """Return a descriptor of a regular file, open for reading.

    Opening a pipe waits for a writer, and reading a device has effects of its own: neither is done.

    Raises:
        FileNotFoundError: Nothing has that name, or a part of the path above it is a file.
        IsADirectoryError: The path is a folder.
        InputRefused: The path is neither a file nor a folder, or may not be read.
    """
    try:
        return _regular(path)
    except NotADirectoryError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    except PermissionError:
        raise InputRefused(f"{path} may not be read by this user; check its permissions") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EISDIR, errno.EMFILE, errno.ENFILE):
            raise
        raise InputRefused(f"{path} cannot be read ({error.strerror}); check the path") from None


def _regular(path: str) -> int:
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise _no_file(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", path)
    raise _no_file(path)


def _no_file(path: str) -> InputRefused:
    return InputRefused(
        f"{path} is no regular file but a pipe, socket or device; copy what it gives to a file first"
    )


def walk(root: str, path: str) -> Iterator[tuple[str, str]]:
    """Yield the key below `root` and the path of every file below `path`."""
    for folder, _, names in os.walk(path):
        below = os.path.relpath(folder, root)
        for name in names:
            yield name if below == "." else f"{below}/{name}", f"{folder}/{name}"


def remove_empty(root: str, folders: Iterable[str]) -> None:
    """Remove the empty ones of these folders, then empty parent folders below `root`."""
    for folder in sorted(folders, key=len, reverse=True):
        while folder.startswith(f"{root}/"):
            try:
                os.rmdir(folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    log.debug("%s: %s", folder, error)
                if error.errno != errno.ENOENT:
                    break
            folder = os.path.dirname(folder)


@contextmanager
def alone_in(root: str, folder: str) -> Iterator[None]:
    """Hold a folder's lock inside the `with`; the system releases it if the process is killed.

    Args:
        root: The folder below which temporary names lie.
        folder: The folder itself or one below it.

    Raises:
        FileNotFoundError: There is no such folder.
        Resumable: Another process has held it for `ALONE_SECONDS`, long for writing a small file: it was paused.
    """
    again = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        wait=wait_random(0, 0.02),
        stop=stop_after_delay(ALONE_SECONDS),
        reraise=True,
    )
    claim = f"{root}/{TEMPORARY}/claim-{zlib.crc32(folder.encode()):08x}"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    locks = True
    try:
        try:
            locks = again(flocked, descriptor)
            if not locks:
                os.makedirs(os.path.dirname(claim), exist_ok=True)
                again(take_claim, claim)
        except BlockingIOError as error:
            raise Resumable(
                f"another process has held the lock of {folder} for {ALONE_SECONDS:.0f} s; if that process is paused, "
                f"end it{'' if locks else f', or remove {claim}'}, and run the same command again"
            ) from error
        try:
            yield
        finally:
            if not locks:
                give_claim_back(claim)
    finally:
        os.close(descriptor)


def take_claim(path: str) -> None:
    """Create a file that names this process as its holder; take over the file of a process that has ended.

    Raises:
        BlockingIOError: The file belongs to a process that may be alive.
    """
    folder, name = os.path.dirname(path), f"{_writer(os.getpid())}-{next(_numbers)}"
    own = f"{path}.{name}"
    while True:
        Path(own).write_text(name)
        try:
            give_name(folder, own, path)
            return
        except FileExistsError:
            pass
        finally:
            Path(own).unlink(missing_ok=True)
        try:
            holder = Path(path).read_text()
            if not _is_over(holder, path):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)
            os.replace(path, own)
            if Path(own).read_text() != holder:  # another took it over at the same time
                give_name(folder, own, path)
        except (FileNotFoundError, FileExistsError):
            continue
        finally:
            Path(own).unlink(missing_ok=True)


def _is_over(holder: str, path: str) -> bool:
    """Return whether the holder of a claim has ended; an empty claim was never filled."""
    if holder:
        return _abandoned(holder, path)
    return time.time() - os.stat(path).st_mtime > ALONE_SECONDS


def give_claim_back(path: str) -> None:
    """Remove a claim of this process."""
    Path(path).unlink(missing_ok=True)


def remove_half_written(root: str) -> None:
    """Remove unfinished files of killed writers below `root`."""
    folder = f"{root}/{TEMPORARY}"
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if not _abandoned(name, path):
                continue
            if os.path.isdir(path):
                shutil.rmtree(path)
            else:
                Path(path).unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _writer(process: int) -> str:
    """Return machine, number and start of this process, the beginning of the names of its unfinished files.

    Where a machine does not tell its name, two of them may agree in all of that: chance tells them apart.
    """
    return f"{zlib.crc32(machine().encode()):08x}-{process}-{started(process)}-{uuid.uuid4().hex}"


def _abandoned(name: str, path: str) -> bool:
    """Return whether no process can still be writing this temporary file."""
    where, _, rest = name.partition("-")
    process, _, rest = rest.partition("-")
    if machine() and where == f"{zlib.crc32(machine().encode()):08x}" and process.isdigit():
        return started(int(process)) != rest.partition("-")[0]
    try:
        return time.time() - os.stat(path).st_mtime > FOREIGN_SECONDS
    except FileNotFoundError:
        return False

"""Create names that only one process can get, with the calls that the local file system supports.

A new name is given by a hard link, by a rename that replaces nothing, or, where there is neither (exFAT, 9p, some
shares), by an exclusive create of the empty name, which a rename then fills. Only in the last case can a reader see
an empty file for a moment, and a kill in that moment leaves it: it counts as absent, because no stored object is empty.
The calls are tried in this order, and the first that works is used for the folder from then on.

Locks use flock. On a file system without it, a file beside the locked folder names the holder.
"""

import ctypes
import errno
import fcntl
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

FILLED_SECONDS = 1.0  # for which a name that is taken and empty is waited for to be filled
LINK, RENAME, EXCLUSIVE = "hard links", "renames that replace nothing", "exclusive creates"
_STEPS = (LINK, RENAME, EXCLUSIVE)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
# Answers that mean "this file system, kernel or container has no such call". Where one has another cause, the next call
# fails of it, too.
_LACKING = {
    errno.EPERM,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EMLINK,
    errno.EXDEV,
    errno.ENOTTY,
}
_NO_FLOCK = _LACKING | {errno.ENOLCK, errno.EBADF}  # NFS locks nothing that is open for reading only
_step_of: dict[str, str] = {}  # by root: the call that its file system has


def step_of(root: str) -> str:
    """Return the system call that creates names exclusively below `root`: `LINK` until others were tried."""
    return _step_of.get(root, LINK)


def give_name(root: str, temporary: str, path: str) -> None:
    """Rename a temporary file below `root` to a name that does not exist yet.

    Raises:
        FileExistsError: The name is taken.
        OSError: Any error of the file system.
    """
    for step in _STEPS[_STEPS.index(step_of(root)) :]:
        try:
            if step == LINK:
                os.link(temporary, path)
            elif step == RENAME:
                _rename(temporary, path)
            else:
                _claim(temporary, path)
        except FileExistsError:
            raise
        except OSError as error:
            if error.errno not in _LACKING or step == EXCLUSIVE:
                raise
        else:
            _step_of[root] = step
            return


def _rename(temporary: str, path: str) -> None:
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)
    if call(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)


@lru_cache(maxsize=1)
def _renameat2() -> Callable[..., int] | None:
    """Return the function of the C library; None if it has none."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return call


def _claim(temporary: str, path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        _wait_until_filled(path)
        raise
    try:
        os.replace(temporary, path)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def _wait_until_filled(path: str) -> None:
    """Return when a file is not empty, or a moment later: a live writer fills a name at once."""
    until = time.monotonic() + FILLED_SECONDS
    while time.monotonic() < until:
        try:
            if os.stat(path).st_size:
                return
        except FileNotFoundError:
            return
        time.sleep(0.01)


def flocked(descriptor: int) -> bool:
    """Lock an open file or folder without waiting; return False if its file system has no flock.

    Raises:
        BlockingIOError: Another process has it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return False
        raise
    return True

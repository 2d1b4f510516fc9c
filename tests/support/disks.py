"""File systems as they are met outside: calls that are refused by a preloaded C library, and a real exFAT disk."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_REFUSING = r"""
#include <errno.h>
#define REFUSE(name, code) int name() { errno = code; return -1; }
#ifdef NO_LINK
REFUSE(link, EPERM)
REFUSE(linkat, EPERM)
#endif
#ifdef NO_RENAME
REFUSE(renameat2, EINVAL)
#endif
#ifdef NO_FLOCK
REFUSE(flock, NO_FLOCK)
#endif
"""


def refusing_library(folder: Path, *refused: str) -> str:
    """Return a shared library that refuses calls: NO_LINK, NO_RENAME, NO_FLOCK=<errno's name>."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("there is no C compiler to build a library that refuses calls with")
    source, library = folder / "refusing.c", folder / "refusing.so"
    source.write_text(_REFUSING)
    flags = [f"-D{name}" for name in refused]
    subprocess.run([compiler, "-shared", "-fPIC", "-w", *flags, "-o", library, source], check=True)
    return str(library)


@contextmanager
def exfat_disk(folder: Path, megabytes: int = 256) -> Iterator[Path]:
    """A new exFAT file system in an image, mounted as a field disk is."""
    for program in ("mkfs.exfat", "mount.exfat-fuse", "losetup"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed, so no exFAT disk can be mounted")
    image, place = folder / "exfat.img", folder / "disk"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    place.mkdir()
    subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
    device = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=False)
    if device.returncode:
        pytest.skip(f"no loop device can be made here: {device.stderr.strip()}")
    name = device.stdout.strip()
    try:
        mounted = subprocess.run(
            ["mount.exfat-fuse", name, place], capture_output=True, text=True, check=False
        )
        if mounted.returncode or not os.path.ismount(place):
            pytest.skip(f"no exFAT disk can be mounted here: {mounted.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run(["losetup", "-d", name], check=True)

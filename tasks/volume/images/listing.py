"""Find the files of a stack of slices and their order, from their names alone.

If a slice is missing, or one too many, all slices after it are at a wrong position, which nobody sees. So the numbers
in the names must follow each other without a gap.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache, wraps
from typing import TypeVar

from tasks.parameters import StorageOptions
from tasks.volume.images.suffixes import FORMAT_OF, SUFFIXES, suffix_of, without_part
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.spilled import open_source
from tasks.volume.store.url import stored_address

LIST_SUFFIXES = {".txt", ".lst"}
LIST_BYTES = 64 << 20
_NAMED = 5  # how many names a sentence gives


@dataclass(frozen=True)
class VoxelFile:
    """A file that was found.

    Attributes:
        url: URL of the file.
        bytes: Size of the file.
        identity: Same as in `store.Source`.
        part: Path of the array in it, if it holds several.
    """

    url: str
    bytes: int
    identity: str
    part: str = ""

    def open(self, options: StorageOptions) -> Source:
        """Return the file, refused if it is not the one that was listed."""
        return _open(self.url, of_sources(options), self.identity, self.bytes)


Opened = TypeVar("Opened")
_Opener = Callable[[VoxelFile, StorageOptions], Opened]


def opened_once(most: int) -> Callable[[_Opener[Opened]], _Opener[Opened]]:
    """Return a decorator that keeps what a function opens of a file, up to `most` files in each process.

    Another run in the same process may read a kept file only if it may open it.
    """

    def decorate(opener: _Opener[Opened]) -> _Opener[Opened]:
        kept = lru_cache(maxsize=most)(opener)

        @wraps(opener)
        def checked(file: VoxelFile, options: StorageOptions) -> Opened:
            stored_address(file.url)
            return kept(file, options)

        return checked

    return decorate


def find_files(url: str, options: StorageOptions) -> list[VoxelFile]:
    """Return the files that `url` names, in the order of their slices.

    Args:
        url: One file; a folder; a glob in the last part of a path, such as `s3://scans/core/*.tif`; or a text file
            (.txt, .lst) that names files of its own folder, one a line, in their order. Behind the name of a file of
            arrays may stand the path of one: scan.h5:/exchange/data.
        options: Non-secret options of the store.

    Raises:
        InputRefused: There is no such file, or a series of numbered files has gaps, duplicates or other files.
    """
    options = of_sources(options)
    folder, _, last = url.rpartition("/")
    if "*" in url or ("[" in last and not _is_there(url, options)):
        if "*" in folder or not last:
            raise InputRefused(
                f"{url} has a pattern in a folder's name; give one in the file's name alone, such as a/*.tif"
            )
        found = files_in(folder or ("." if not url.startswith("/") else "/"), options)
        names = [name for name in found if fnmatchcase(name, last) and not name.startswith(".")]
        if not names:
            raise InputRefused(
                f"no file is named {last} in {folder or '.'}, which holds {len(found)} files; check the pattern"
            )
        if {_kind(name) for name in names} <= _ORDERED_INSIDE:
            return [found[name] for name in sorted(names)]
        return [found[name] for name in in_order(names, where=url)]
    if suffix_of(last) in LIST_SUFFIXES:
        return _from_list(url, options)
    if is_folder(url, options):
        found = files_in(url, options)
        images = _images(list(found), where=url)
        if {_kind(name) for name in images} <= _ORDERED_INSIDE:
            return [found[name] for name in sorted(images)]
        return [found[name] for name in in_order(images, where=url)]
    name, part = without_part(url)
    source = _open(name, options)
    source.close()
    return [VoxelFile(source.url, source.size, source.identity, part)]


def _open(url: str, options: StorageOptions, identity: str = "", size: int = -1) -> Source:
    """Return a file, which may lie in a .zip archive; the readers of their formats unpack .gz."""
    opened: Source = (open_source if _ZIPPED.search(url) else Source)(url, options, identity, size=size)
    return opened


_ZIPPED = re.compile(r"(?i)\.zip(:[^:]+)?$")


def in_order(names: Sequence[str], *, where: str) -> list[str]:
    """Sort names by the number in them: `s2` before `s10`.

    Raises:
        InputRefused: A number is missing or occurs twice, more than one number varies, or a name differs otherwise.
    """
    parts = {name: re.split(r"(\d+)", _with_usual_suffix(name)) for name in names}
    if len(names) == 1 or all(len(split) == 1 for split in parts.values()):
        return sorted(names)
    kinds = Counter(tuple(split[::2]) for split in parts.values())
    usual, count = kinds.most_common(1)[0]
    strangers = sorted(name for name, split in parts.items() if tuple(split[::2]) != usual)
    if strangers:
        raise InputRefused(
            f"{where} holds {count} files named like {'#'.join(usual)}, and also {_some(strangers)}; "
            "name the slices alone with a pattern, or in a list (.txt)"
        )
    columns = list(zip(*(split[1::2] for split in parts.values()), strict=True))
    varying = [k for k, column in enumerate(columns) if len({int(number) for number in column}) > 1]
    if len(varying) > 1:
        raise InputRefused(
            f"{len(varying)} numbers vary in the names of {where} ({min(names)} to {max(names)}); "
            "choose one of the stacks with a pattern, or name the slices in a list (.txt)"
        )
    ordered = sorted(names, key=lambda name: ([int(number) for number in parts[name][1::2]], name))
    numbers = [int(parts[name][1::2][varying[0] if varying else -1]) for name in ordered]
    _refuse_gaps(ordered, numbers, where)
    return ordered


def _refuse_gaps(names: list[str], numbers: list[int], where: str) -> None:
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    if 0 in steps:
        twice = steps.index(0)
        raise InputRefused(
            f"{where} holds slice {numbers[twice]} twice: {names[twice]} and {names[twice + 1]}; remove one"
        )
    step = Counter(steps).most_common(1)[0][0]
    if all(entry == step for entry in steps):
        return
    missing = [n for n in range(numbers[0], numbers[-1] + 1, step) if n not in set(numbers)] if step else []
    between = [name for name, n in zip(names, numbers, strict=True) if (n - numbers[0]) % step]
    if missing:
        shown = ", ".join(map(str, missing[:_NAMED])) + (", …" if len(missing) > _NAMED else "")
        are = "slices are" if len(missing) > 1 else "slice is"
        raise InputRefused(
            f"{len(missing)} {are} missing from {where} between {names[0]} and {names[-1]}: {shown}; add them, "
            "or name the slices that are there in a list (.txt)"
        )
    raise InputRefused(
        f"{_some(between)} in {where} lie between slices numbered in steps of {step}; remove them"
    )


def _images(names: list[str], *, where: str) -> list[str]:
    """Return the names in a folder that are slices; other files, such as a scanner's log, are passed over."""
    images = [name for name in names if suffix_of(name) in FORMAT_OF and not name.startswith(".")]
    if not images:  # scanners name DICOM files by numbers alone
        images = [name for name in names if _kind(name) == _UNNAMED]
    if not images and not _OF_ZARR.isdisjoint(names):
        others = "use seismill copy for a volume, seismill pyramid for another tool's array"
        raise InputRefused(f"{where} is a Zarr group or array, not a folder of images; {others}")
    if not images:
        what = f"the folder {where} holds no image in {len(names)} files"
        raise InputRefused(f"{what}; name a file or a pattern")
    kinds = Counter(map(_kind, images))
    if len(kinds) > 1:
        held = " and ".join(f"{count} {_usual_suffix(kind)}" for kind, count in kinds.most_common())
        usual = kinds.most_common(1)[0][0]
        suffix = next(suffix_of(name) for name in images if _kind(name) == usual)
        raise InputRefused(
            f"the folder {where} holds {held} files; name the slices with a pattern, such as "
            f"{where.rstrip('/')}/*{suffix}"
        )
    return images


_OF_ZARR = {"zarr.json", ".zgroup", ".zarray"}
_UNNAMED = "unnamed"
_ORDERED_INSIDE = {
    "DICOM",
    _UNNAMED,
}  # the order of their slices is that of their places, which the files say


def _kind(name: str) -> str:
    """Return the format of a name; a name without a suffix, or with a number as its suffix, has none."""
    suffix = suffix_of(name)
    if suffix in FORMAT_OF:
        return FORMAT_OF[suffix]
    hidden = name.startswith(".") or name.upper() == "DICOMDIR"
    return (
        _UNNAMED
        if suffix[1:].isdecimal() or (not suffix and re.search(r"\d", name) and not hidden)
        else suffix
    )


def _usual_suffix(kind: str) -> str:
    """Return the usual suffix of a format; other kinds of names are called by their own."""
    return SUFFIXES[kind][0] if kind in SUFFIXES else kind


def _with_usual_suffix(name: str) -> str:
    """Return a name with the usual suffix of its format, so that .tif, .TIF and .tiff count as one kind."""
    suffix = suffix_of(name)
    return f"{name[: -len(suffix)]}{_usual_suffix(FORMAT_OF[suffix])}" if suffix in FORMAT_OF else name


def _from_list(url: str, options: StorageOptions) -> list[VoxelFile]:
    source = Source(url, options)
    if source.size > LIST_BYTES:
        raise InputRefused(
            f"{url} has {source.size / 1e6:,.0f} MB, which no list of slices has; name the image file itself"
        )
    try:
        lines = [line.strip() for line in source.read(0, source.size).decode().splitlines()]
    except UnicodeDecodeError:
        raise InputRefused(f"{url} is not a text of file names, one a line") from None
    finally:
        source.close()
    names = [line for line in lines if line]
    # A list that led elsewhere would let a triggered run read what its operator did not allow.
    outside = [
        name for name in names if name.startswith(("/", ".")) or "://" in name or ".." in name.split("/")
    ]
    if outside or not names:
        raise InputRefused(
            f"{url} must name files of its own folder, one a line; it names {_some(outside) or 'none'}"
        )
    if len(set(names)) < len(names):
        raise InputRefused(f"{url} names {Counter(names).most_common(1)[0][0]} twice; remove one line")
    base = url.rpartition("/")[0] or "."
    found: dict[str, VoxelFile] = {}
    for below in sorted({name.rpartition("/")[0] for name in names}):
        files = files_in(f"{base}/{below}" if below else base, options)
        found |= {f"{below}/{name}" if below else name: file for name, file in files.items()}
    absent = [name for name in names if name not in found]
    if absent:
        raise InputRefused(
            f"{url} names {len(absent)} files that do not exist: {_some(absent)}; add them, or remove the lines"
        )
    return [found[name] for name in names]


def files_in(folder: str, options: StorageOptions) -> dict[str, VoxelFile]:
    """Return the files in a folder by name.

    Raises:
        InputRefused: There is no such folder.
    """
    store = Store(folder, options)
    try:
        entries = store.files()
    except (FileNotFoundError, NotADirectoryError):
        raise InputRefused(f"there is no folder {store.url}; check the path") from None
    return {name: VoxelFile(f"{store.url.rstrip('/')}/{name}", *entry) for name, entry in entries.items()}


def is_folder(url: str, options: StorageOptions) -> bool:
    """Return whether a URL names a folder: a prefix with a file or, on local disk, any folder."""
    store = Store(url, options)
    try:
        return bool(store.files()) or store.local or url.endswith("/")
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_there(url: str, options: StorageOptions) -> bool:
    """Return whether a name with a bracket names an existing file or folder and is no pattern."""
    folder, _, name = url.rpartition("/")
    return is_folder(url, options) or Store(folder or ".", options).exists(name)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

"""Read the voxel length from the files that scanners write beside raw files and slices.

Known are .vgi (VGStudio), .xtekct (Nikon), .log (SkyScan, NRecon) and .pcr or .pca (phoenix datos|x).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from tasks.parameters import StorageOptions
from tasks.volume.images.header import Voxels, unit_of
from tasks.volume.images.listing import VoxelFile, files_in
from tasks.volume.images.suffixes import suffix_of
from tasks.volume.images.text_header import lines_of
from tasks.volume.limits import HEADER_BYTES
from tasks.volume.outcomes import InputRefused

_MOST_FILES = 16  # of sidecars that are looked at
_Fields = Mapping[str, str]


def found_beside(files: Sequence[VoxelFile], options: StorageOptions) -> Voxels:
    """Return the lengths that a sidecar gives; none, with a note, if several contradict each other.

    Args:
        files: The files of voxels, all of one folder.
        options: Non-secret options of the store.
    """
    folder, _, first = files[0].url.rpartition("/")
    there = files_in(folder, options)
    names = [name for name in there if suffix_of(name) in READERS and not name.startswith(".")]
    stem = first.rpartition(".")[0].lower() or first.lower()
    own = [name for name in names if _belongs(name, stem, first.lower())]
    read = {name: _read(there[name], options) for name in sorted(own or names)[:_MOST_FILES]}
    known = {name: voxels for name, voxels in read.items() if voxels.length}
    if len({(voxels.length, voxels.unit) for voxels in known.values()}) > 1:
        shown = ", ".join(
            f"{name}: {voxels.length[2]:g} {voxels.unit}" for name, voxels in list(known.items())[:3]
        )
        return Voxels(notes=(f"the files beside the voxels contradict each other ({shown}); none was taken",))
    return next(iter(known.values()), Voxels())


def _belongs(name: str, stem: str, file: str) -> bool:
    """Return whether a sidecar is named like the file, or like the slices without their number."""
    own = name.lower().removesuffix(suffix_of(name))
    return own in (stem, file) or (
        bool(own) and re.fullmatch(r"[_\-. ]*\d+", stem.removeprefix(own)) is not None
    )


def _read(file: VoxelFile, options: StorageOptions) -> Voxels:
    """Return the lengths in one sidecar; none if it is another file of that name."""
    name = file.url.rpartition("/")[2]
    try:
        with closing(file.open(options)) as source:
            head = source.read(0, min(source.size, HEADER_BYTES))
        fields: dict[str, str] = {}
        for line, _ in lines_of(head, file.url):
            key, equals, value = line.partition("=")
            if equals:
                fields.setdefault(key.strip().lower(), value.strip().replace(",", "."))
    except InputRefused:
        return Voxels()
    length, unit = READERS[suffix_of(name)](fields)
    if len(length) != 3 or not all(math.isfinite(x) and x > 0 for x in length):
        return Voxels()
    return Voxels(length, unit, (), (), name)


def _vgi(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """VGStudio: `resolution` along x, y and z."""
    return _numbers(fields.get("resolution", ""))[::-1], unit_of(fields.get("unit", "")) or "millimeter"


def _xtekct(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """Nikon: a length for each axis."""
    parts = [_numbers(fields.get(f"voxelsize{axis}", "")) for axis in "zyx"]
    return tuple(part[0] for part in parts if len(part) == 1), unit_of(
        fields.get("units", "")
    ) or "millimeter"


def _skyscan(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """SkyScan: one length, of the reconstruction or else of the projections; slices may be some steps apart."""
    for key in ("pixel size", "scaled image pixel size", "image pixel size"):
        for text, unit in (
            ("um", "micrometer"),
            ("µm", "micrometer"),
            ("nm", "nanometer"),
            ("mm", "millimeter"),
        ):
            size = _numbers(fields.get(f"{key} ({text})", ""))
            if len(size) == 1:
                step = _numbers(fields.get("section to section step", "1")) or (1.0,)
                return (size[0] * step[0], size[0], size[0]), unit
    return (), ""


def _phoenix(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """Phoenix: one length in millimeters, or one for each of two axes of the detector."""
    size = _numbers(fields.get("voxelsizerec", "")) or _numbers(fields.get("voxelsizex", ""))
    return size[:1] * 3, "millimeter"


READERS: dict[str, Callable[[_Fields], tuple[tuple[float, ...], str]]] = {
    ".vgi": _vgi,
    ".xtekct": _xtekct,
    ".log": _skyscan,
    ".pcr": _phoenix,
    ".pca": _phoenix,
}


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text[:200].split()[:4])
    except ValueError:
        return ()

"""Read the voxel length, and the layout of a raw file, from the files that scanners write beside raw files and slices.

Known are .vgi (VGStudio), .xtekct (Nikon), .log (SkyScan, NRecon) and .pcr or .pca (phoenix datos|x).
"""

import codecs
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from tasks.parameters import Raw, StorageOptions
from tasks.volume.images.header import DTYPES, Voxels, unit_of
from tasks.volume.images.listing import VoxelFile, files_in
from tasks.volume.images.suffixes import suffix_of
from tasks.volume.images.text_header import lines_of
from tasks.volume.limits import HEADER_BYTES
from tasks.volume.outcomes import InputRefused

_MOST_FILES = 16  # of sidecars that are looked at
_RAW = (".raw", ".vol", ".bin", ".dat", ".img")  # how files without a header are often named
_Fields = Mapping[str, str]


def found_beside(files: Sequence[VoxelFile], options: StorageOptions) -> Voxels:
    """Return the lengths that a sidecar gives; none, with a note, if several contradict each other.

    Args:
        files: The files of voxels, all of one folder.
        options: Non-secret options of the store.
    """
    read = {
        name: _read(name, sections) for name, sections in _for_lengths(files[0], options, len(files)).items()
    }
    known = {name: voxels for name, voxels in read.items() if voxels.length}
    if len({(voxels.length, voxels.unit) for voxels in known.values()}) > 1:
        shown = ", ".join(
            f"{name}: {voxels.length[2]:g} {voxels.unit}" for name, voxels in list(known.items())[:3]
        )
        return Voxels(notes=(f"the files beside the voxels contradict each other ({shown}); none was taken",))
    return next(iter(known.values()), Voxels())


def layout_beside(file: VoxelFile, options: StorageOptions, given: Raw) -> tuple[Raw, str, str]:
    """Return the layout of a raw file, completed by a sidecar, the name of this, and a note that says so.

    Where no sidecar has the layout the name is empty, and the note says what those that are there lack.

    Args:
        file: The file of voxels.
        options: Non-secret options of the store.
        given: Layout as far as the user gives it.
    """
    found: dict[str, Raw] = {}
    doubt = ""
    for name, sections in _for_layout(file, options).items():
        stated = LAYOUTS.get(suffix_of(name), _nothing)(sections, file)
        stated |= {key: value for key, value in given.model_dump().items() if value != getattr(Raw(), key)}
        extents = stated.get("shape", ())
        if len(extents) == 3 and stated.get("dtype") in DTYPES:
            found[name] = Raw(**stated)
        elif len(extents) == 3:
            doubt = (
                f"{name} beside it describes {' x '.join(map(str, extents))} (z, y, x) voxels, but no type of them "
                f"that fits its {file.bytes:,} bytes"
            )
    if not found:
        return given, "", doubt
    if any(layout != next(iter(found.values())) for layout in found.values()):
        return given, "", f"{' and '.join(list(found)[:3])} beside it contradict each other"
    name, layout = next(iter(found.items()))
    shape = " x ".join(map(str, layout.shape))
    note = f"the raw file was taken for {shape} (z, y, x) voxels of {layout.dtype}, as {name} describes it"
    return layout, name, note


_Sections = list[dict[str, str]]


def _for_lengths(file: VoxelFile, options: StorageOptions, count: int) -> dict[str, _Sections]:
    """Return the sidecars that are named like a file or, if there are none, those in its folder.

    Beside a single file those are left out that are named like another file of voxels or name one that is there.
    """
    own, rest, others, there = _around(file, options)
    read = {name: _sections(there[name], options) for name in (own or rest)[:_MOST_FILES]}
    if own or count > 1:
        return read
    taken = [name for name in rest if any(_is_like(name, other) for other in others)]
    present = {_plain(name) for name in there} - {_name_of(file)}
    return {
        name: sections
        for name, sections in read.items()
        if _name_of(file) in (named := _named_in(sections)) or not (named & present or name in taken)
    }


def _for_layout(file: VoxelFile, options: StorageOptions) -> dict[str, _Sections]:
    """Return the sidecars of a raw file: those named like it, else those that name it, else the only one of its folder.

    One that names another file that is there is that file's; the only one is so of the only raw file.
    """
    own, rest, others, there = _around(file, options)
    present = {_plain(name) for name in there}
    read = {name: _sections(there[name], options) for name in own[:_MOST_FILES]}
    found = {
        name: sections
        for name, sections in read.items()
        if _name_of(file) in (named := _named_in(sections)) or not named & present
    }
    if found:
        return found
    read = {name: _sections(there[name], options) for name in rest[:_MOST_FILES]}
    if naming := {name: s for name, s in read.items() if _name_of(file) in _named_in(s)}:
        return naming
    only = len(own) + len(rest) == 1 and not others
    return {name: sections for name, sections in read.items() if only and not _named_in(sections)}


def _around(
    file: VoxelFile, options: StorageOptions
) -> tuple[list[str], list[str], list[str], dict[str, VoxelFile]]:
    """Return sidecars with the file's name, other sidecars, other voxel files, and all files."""
    folder, _, first = file.url.rpartition("/")
    there = files_in(folder, options)
    names = sorted(name for name in there if suffix_of(name) in READERS and not name.startswith("."))
    own = [name for name in names if _is_like(name, first)]
    rest = [name for name in names if name not in own]
    others = [name for name in there if name != first and suffix_of(name) in (suffix_of(first), *_RAW)]
    return own, rest, others, there


def _plain(name: str) -> str:
    """Return the name of a file as sidecars are searched for it, without a folder; their commas are periods."""
    return re.split(r"[\\/]", name.lower().replace(",", "."))[-1].removesuffix(".gz")


def _name_of(file: VoxelFile) -> str:
    return _plain(file.url)


def _named_in(sections: Sequence[_Fields]) -> set[str]:
    """Return the names of files that a .vgi describes."""
    named = {_plain(section.get("name", "")) for section in sections if _is_file(section)}
    return named - {""}


def _is_file(section: _Fields) -> bool:
    return section.get("", "").startswith("[file")


def _is_like(name: str, first: str) -> bool:
    """Return whether a sidecar is named like a file of voxels."""
    first = first.lower().removesuffix(".gz")
    return _belongs(name, first.rpartition(".")[0] or first, first)


def _belongs(name: str, stem: str, file: str) -> bool:
    """Return whether a sidecar is named like the file, or like the slices without their number."""
    own = name.lower().removesuffix(suffix_of(name))
    return own in (stem, file) or (
        bool(own) and re.fullmatch(r"[_\-. ]*\d+", stem.removeprefix(own)) is not None
    )


def _read(name: str, sections: Sequence[_Fields]) -> Voxels:
    """Return the lengths in one sidecar; none if it is another file of that name."""
    fields: _Fields = {}
    for section in sections:
        fields = {**section, **fields}
    length, unit = READERS[suffix_of(name)](fields)
    if len(length) != 3 or not all(math.isfinite(x) and x > 0 for x in length):
        return Voxels()
    return Voxels(length, unit, (), (), name)


def _sections(file: VoxelFile, options: StorageOptions) -> _Sections:
    """Return the fields of each section, with its name as the field of an empty name; none if the file is no text."""
    sections: _Sections = [{}]
    try:
        with closing(file.open(options)) as source:
            head = source.read(0, min(source.size, HEADER_BYTES))
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as programs of Windows write it
            head = head.decode("utf-16", "replace").encode()
        for line, _ in lines_of(head, file.url):
            key, equals, value = line.partition("=")
            if equals:
                sections[-1].setdefault(key.strip().lower(), value.strip().replace(",", "."))
            elif line.strip()[:1] in ("[", "{"):
                sections.append({"": line.strip().lower()})
    except InputRefused:
        return []
    return sections


def _vgi(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """Read VGStudio: `resolution` along x, y and z."""
    return _numbers(fields.get("resolution", ""))[::-1], unit_of(fields.get("unit", "")) or "millimeter"


def _xtekct(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """Nikon: a length for each axis."""
    parts = [_numbers(fields.get(f"voxelsize{axis}", "")) for axis in "zyx"]
    return tuple(part[0] for part in parts if len(part) == 1), unit_of(
        fields.get("units", "")
    ) or "millimeter"


def _skyscan(fields: _Fields) -> tuple[tuple[float, ...], str]:
    """Read SkyScan: one length, of the reconstruction or else of the projections; slices may be several steps apart."""
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


def _vgi_layout(sections: Sequence[_Fields], file: VoxelFile) -> dict[str, Any]:
    """Read the layout of VGStudio: one section per file, and `[representation]` for the result."""
    of_files = [section for section in sections if _is_file(section)]
    own = [section for section in of_files if _plain(section.get("name", "")) == _name_of(file)]
    # A single one that names no file that is there may be of one that got another name.
    fields = next(iter(own or (of_files if len(of_files) == 1 else [])), {})
    kind = {"unsigned integer": "uint", "signed integer": "int", "integer": "int", "float": "float"}
    dtype = f"{kind.get(fields.get('datatype', '').lower())}{fields.get('bitsperelement', '')}"
    return {"dtype": dtype, "shape": _extents(fields.get("size", ""))} | (
        {"offset": int(skip.lstrip("0")[:20] or 0)}  # of more digits is beyond any file
        if (skip := fields.get("skipheader", "")).isdecimal()
        else {}
    )


def _counted_layout(*names: str) -> Callable[[Sequence[_Fields], VoxelFile], dict[str, Any]]:
    """Return a reader of a voxel count per axis, in the order x, y, z; the size of the file gives the type."""

    def layout(sections: Sequence[_Fields], file: VoxelFile) -> dict[str, Any]:
        fields = {key: value for section in sections for key, value in section.items()}
        shape = _extents(" ".join(fields.get(name, "") for name in names))
        count = math.prod(shape) or 1
        dtype = {1: "uint8", 2: "uint16", 4: "float32"}.get(file.bytes // count, "")
        fits = file.bytes % count == 0 and not file.url.lower().endswith(".gz")  # whose size tells nothing
        return {"dtype": dtype if fits else "", "shape": shape}

    return layout


def _nothing(sections: Sequence[_Fields], file: VoxelFile) -> dict[str, Any]:
    return {}


LAYOUTS: dict[str, Callable[[Sequence[_Fields], VoxelFile], dict[str, Any]]] = {
    ".vgi": _vgi_layout,
    ".xtekct": _counted_layout("voxelsx", "voxelsy", "voxelsz"),
    ".pcr": _counted_layout("volume_sizex", "volume_sizey", "volume_sizez"),
}


def _extents(text: str) -> list[int]:
    """Return three counts in the order z, y, x; none if the text has other numbers."""
    counts = [int(part) for part in text[:200].split() if part.isdecimal()]
    return counts[::-1] if len(counts) == 3 and min(counts) > 0 else []


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text[:200].split()[:4])
    except ValueError:
        return ()

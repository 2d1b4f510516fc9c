"""DICOM: slices or volumes of voxels in files that say where they lie; pydicom reads everything before the voxels.

The order of slices is that of their places along the normal of the slices, whatever the files are called.
"""

import itertools
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pydicom

from tasks.volume.images.bitmaps import jpeg_dtype, jpeg_frame
from tasks.volume.images.coded import JPEG2000_BYTES
from tasks.volume.images.dicom_header import DicomHeader, no_distance
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices, refuse_colour
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.ranged import Ranged
from tasks.volume.images.series import TOLERANCE, places_of_slices
from tasks.volume.images.text_header import shown
from tasks.volume.outcomes import InputRefused, Outcome

_TAGS = [
    "BitsAllocated", "BitsStored", "Columns", "GridFrameOffsetVector", "ImageOrientationPatient",
    "ImagePositionPatient", "InstanceNumber", "NumberOfFrames", "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation", "PixelRepresentation", "PixelSpacing", "ImagerPixelSpacing", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "Rows", "SamplesPerPixel", "SeriesInstanceUID", "SharedFunctionalGroupsSequence",
    "SliceLocation", "SliceThickness", "SpacingBetweenSlices", "SOPClassUID",
]  # fmt: skip
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG = "1.2.840.10008.1.2.2"
_IMPLICIT = "1.2.840.10008.1.2"
_PLAIN = {_IMPLICIT, _BIG, "1.2.840.10008.1.2.1"}
_RLE = "1.2.840.10008.1.2.5"
_JPEG2000 = {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"}
_JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81)}
_FRAGMENTS = 1 << 20
_LONG = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_parsing = threading.Lock()  # pydicom warns of oddities; what matters of them is refused here


@dataclass(frozen=True)
class _Pixels:
    """The element that holds the voxels: its offset in the file, and its length, -1 if in fragments."""

    offset: int
    length: int


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of a DICOM file.

    Raises:
        InputRefused: The file holds no image, a coloured one, or one with a coding that is not supported.
    """
    source = opened.source
    syntax = _syntax(source.read(0, min(source.size, 4096)))
    if syntax == _DEFLATED:
        raise InputRefused(
            f"{source.url} is a DICOM file that is deflated as a whole, which is not read; save it as "
            "explicit VR little "
            "endian"
        )
    file = Ranged(source)
    file.read(1)  # the request is made before others wait for the lock
    file.seek(0)
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            at = file.tell()
            header = DicomHeader(data)
    except Outcome:
        raise
    except Exception as error:  # pydicom raises what its arithmetic does
        if isinstance(error, MemoryError):
            raise
        raise InputRefused(
            f"{source.url} is not a DICOM file that can be read: {shown(str(error))}"
        ) from None
    pixels = _pixels(file, at, syntax, source.size)
    if pixels is None or min(header.rows, header.columns) < 1:
        raise InputRefused(
            f"{source.url} is a DICOM file without an image (class {header.sop_class or 'unknown'}); remove it"
        )
    if header.samples != 1 or header.photometric.startswith(("RGB", "YBR", "PALETTE")):
        refuse_colour(source.url, 3)
    if (
        header.allocated not in (1, 8, 16, 32)
        or not 1 <= header.stored <= header.allocated
        or header.allocated == 1
    ):
        raise InputRefused(
            f"{source.url} is a DICOM image of {header.stored} in {header.allocated} bits, which is not read; "
            "save it with 8, "
            "16 or 32"
        )
    if header.fault:
        raise InputRefused(
            f"the frames of {source.url} {header.fault}, so they are no stack; save each stack in a file of its own, "
            "its frames sorted by place"
        )
    dtype = np.dtype(f"{'' if header.signed else 'u'}int{header.allocated}")
    count, shape = header.frames, (header.rows, header.columns)
    details: dict[str, Any] = {"bits": header.stored} if header.stored < header.allocated else {}
    voxels, in_series = header.voxels, header.in_series
    if header.photometric == "MONOCHROME1":
        voxels = replace(
            voxels,
            notes=(*voxels.notes, "DICOM shows the least value as white; values were taken as they are"),
        )
    if syntax in _PLAIN:
        wanted = count * header.rows * header.columns * dtype.itemsize
        if pixels.length < wanted or pixels.offset + wanted > source.size:
            raise InputRefused(
                f"the header of {source.url} states {count} x {header.rows} x {header.columns} voxels of "
                f"{header.allocated} bits, but the file has "
                f"{max(0, min(pixels.length, source.size - pixels.offset)):,} bytes of them; it is cut off or damaged"
            )
        swap = dtype.itemsize > 1 and (syntax == _BIG) != (np.dtype(">u2").isnative)
        details |= {"offset": pixels.offset, "swap": bool(swap)}
        slices = Slices("plain", count, shape, dtype.name, details, voxels=voxels)
        return opened.file, replace(slices, kept=header.kept, in_series=in_series)
    if syntax not in _JPEG2000 | _JPEG | {_RLE}:
        name = pydicom.uid.UID_dictionary.get(syntax, (shown(syntax),))[0]
        raise InputRefused(
            f"{source.url} is coded as {name}, which is not read; save it uncompressed or as JPEG 2000"
        )
    if pixels.length != -1:
        raise InputRefused(
            f"{source.url} says it is compressed, but its voxels are not in fragments; it is damaged"
        )
    frames = _frames(file, pixels.offset, source.size, count, source.url)
    if syntax in _JPEG:
        start, length = frames[0][0]
        frame = jpeg_frame(source.read(start, min(length, 64 << 10)))
        if frame is None or (frame.rows, frame.columns) != shape:
            raise InputRefused(
                f"{source.url} holds a JPEG of another size than its {header.rows} x {header.columns} voxels"
            )
        coded_as = jpeg_dtype(frame, source.url)
        if np.dtype(coded_as).itemsize != dtype.itemsize:
            raise InputRefused(
                f"{source.url} holds a JPEG of {frame.bits} bits for {header.allocated}; it is damaged"
            )
    coded = {"frames": frames, "bits": 8 * dtype.itemsize}
    coded |= {"stored": header.stored} if details else {}
    coded |= {"rle": True} if syntax == _RLE else {}
    encoded = max(sum(length for _, length in frame) for frame in frames)
    scratch = JPEG2000_BYTES * header.rows * header.columns
    slices = Slices("coded", count, shape, dtype.name, coded, encoded, scratch, voxels)
    return opened.file, replace(slices, kept=header.kept, in_series=in_series)


def ordered(files: Sequence[tuple[VoxelFile, Slices]], where: str) -> list[tuple[VoxelFile, Slices]]:
    """Return the files of one scan by their places, with the lengths that these give.

    Raises:
        InputRefused: There are several scans, slices twice, or slices missing.
    """
    if len(files) == 1:
        return list(files)
    _refuse_differing(files, where)
    order, step, notes = places_of_slices([(file.url, slices.in_series) for file, slices in files], where)
    voxels = files[order[0]][1].voxels
    if voxels.length and step:
        voxels = replace(
            voxels,
            length=(step, *voxels.length[1:]),
            notes=tuple(note for note in voxels.notes if note != no_distance(voxels)),
            taken=f"{voxels.taken} and the places of the slices",
        )
    places = [slices.voxels.origin[1:] for _, slices in files]
    shifts = [max(map(abs, np.subtract(place, places[0]))) for place in places if place and places[0]]
    if voxels.length and max(shifts, default=0) > TOLERANCE * min(voxels.length[1:]):
        notes.append(
            f"the slices lie shifted against each other by up to {max(shifts):.3g} millimeter, as by a tilted gantry; "
            "voxels were taken as they are"
        )
    voxels = replace(voxels, notes=(*voxels.notes, *notes))
    kept = {tuple(sorted(slices.kept.items())) for _, slices in files}
    if len(kept) > 1:
        raise InputRefused(
            f"the slices of {where} are rescaled differently ({len(kept)} pairs of slope and intercept), "
            "so their "
            "stored values cannot be compared; save them with one rescaling"
        )
    return [(files[k][0], replace(files[k][1], voxels=voxels)) for k in order]


def _refuse_differing(files: Sequence[tuple[VoxelFile, Slices]], where: str) -> None:
    """Refuse slices of one scan that are turned, or whose voxels are spaced, in different ways."""
    scans = {slices.in_series.series for _, slices in files if slices.in_series is not None}
    if len(scans) > 1:
        return  # which is said by whoever sorts them
    first = files[0]
    for file, slices in files[1:]:
        for what, there, here in (
            ("spacing", first[1].voxels.length[1:], slices.voxels.length[1:]),
            ("direction", _turned(first[1]), _turned(slices)),
        ):
            if len(there) != len(here) or not np.allclose(
                there, here, rtol=1e-3, atol=1e-3 * (what != "spacing")
            ):
                raise InputRefused(
                    f"{first[0].url.rpartition('/')[2]} and {file.url.rpartition('/')[2]} in {where} are of one scan, "
                    f"but differ in the {what} of their voxels; name the files of one stack in a list (.txt)"
                )


def _turned(slices: Slices) -> tuple[float, ...]:
    return () if slices.in_series is None else slices.in_series.turned


def _syntax(head: bytes) -> str:
    """Return the transfer syntax that the first bytes of a file give; implicit VR little endian if none is given."""
    if head[128:132] != b"DICM":
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        return "1.2.840.10008.1.2.1" if explicit else _IMPLICIT
    at = 132
    while head[at : at + 2] == b"\2\0" and len(head) >= at + 8:
        wide = head[at + 4 : at + 6] in _LONG
        size = int.from_bytes(head[at + 8 : at + 12] if wide else head[at + 6 : at + 8], "little")
        begin = at + (12 if wide else 8)
        if head[at + 2 : at + 4] == b"\x10\0":
            return head[begin : begin + size].decode("ascii", "replace").strip("\0 ")
        at = begin + size
    explicit = head[at + 4 : at + 6].isalpha() and head[at + 4 : at + 6].isupper()
    return "1.2.840.10008.1.2.1" if explicit else _IMPLICIT


def _pixels(file: Ranged, at: int, syntax: str, size: int) -> _Pixels | None:
    """Return the element of the voxels, which begins at byte `at`; None if there is none."""
    if at + 8 > size:
        return None
    file.seek(at)
    head = file.read(12) or b""
    order = "big" if syntax == _BIG else "little"
    if head[:4] != (b"\x7f\xe0\x00\x10" if order == "big" else b"\xe0\x7f\x10\x00"):
        return None
    implicit = syntax == _IMPLICIT
    length = int.from_bytes(head[4:8] if implicit else head[8:12], order)  # type: ignore[arg-type]
    return _Pixels(at + (8 if implicit else 12), -1 if length == 0xFFFFFFFF else length)


def _frames(file: Ranged, at: int, size: int, count: int, where: str) -> list[list[list[int]]]:
    """Offset and length of the fragments of each frame."""
    fragments: list[list[int]] = []
    table: list[int] = []
    first = True
    base = at
    while len(fragments) < _FRAGMENTS:
        file.seek(at)
        head = file.read(8) or b""
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"\xfe\xff\x00\xe0" or at + 8 + length > size:
            break
        if first:
            table = np.frombuffer(file.read(length // 4 * 4) or b"", "<u4").tolist()
            base = at + 8 + length
        else:
            fragments.append([at + 8, length])
        first, at = False, at + 8 + length
    if head[:4] != b"\xfe\xff\xdd\xe0" or not fragments:
        raise InputRefused(
            f"the fragments of {where} end at byte {at:,} without a mark; it is cut off or damaged"
        )
    if len(fragments) == count:
        return [[fragment] for fragment in fragments]
    if count == 1:
        return [fragments]
    if len(table) != count:
        raise InputRefused(
            f"{where} holds {len(fragments)} fragments for {count} frames, and no table of them; save it again"
        )
    bounds = [base + begin for begin in table] + [at]
    return [
        [fragment for fragment in fragments if begin <= fragment[0] - 8 < end]
        for begin, end in itertools.pairwise(bounds)
    ]

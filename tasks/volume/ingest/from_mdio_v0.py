"""SEG-Y rebuilt of a volume that multidimio 0.8 wrote, so that it is published as any other file is.

The source is named as `old.mdio/.zmetadata`: a file whose identity is that of the volume. It is rebuilt once on each
machine that reads it, in the scratch folder, as members of archives are unpacked there. The same volume gives the same
bytes, so that damaged objects can be restored from it.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tasks.parameters import Index, StorageOptions
from tasks.volume.arrays.mdio_v0 import DOCUMENT, HEADERS, LIVE, SAMPLES, MdioV0
from tasks.volume.arrays.reader import Volume, read_region
from tasks.volume.blocks import Region
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.convert import ibm_words
from tasks.volume.segy.headers import (
    BINARY_HEADER_BYTES,
    BINARY_HEADER_FIELDS,
    REVISION_BYTE,
    TRACE_HEADER_BYTES,
    TRACE_HEADER_FIELDS,
    HeaderField,
    ibm_values,
)
from tasks.volume.segy.standards import SAMPLE_FORMATS
from tasks.volume.segy.text import TEXT_HEADER_BYTES
from tasks.volume.store import spilled
from tasks.volume.store.scratch import Bounded, Spill
from tasks.volume.store.source import Source
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.spilled import SpilledSource

HEAD_BYTES = TEXT_HEADER_BYTES + BINARY_HEADER_BYTES
IBM, FLOAT = 1, 5  # codes of sample formats
_FORMAT_AT = 3224  # where a file states that code
LOST = "\ufffd"  # what multidimio stores for a character that it could not read
# Fields of revision 2 that multidimio 0.8 reads from any file.
_EXTENDED = (
    HeaderField("extended_data_traces_per_ensemble", 61, "int32"),
    HeaderField("extended_aux_traces_per_ensemble", 65, "int32"),
    HeaderField("extended_samples_per_trace", 69, "int32"),
    HeaderField("extended_orig_samples_per_trace", 89, "int32"),
    HeaderField("extended_ensemble_fold", 93, "int32"),
)


def is_of_mdio_v0(url: str) -> bool:
    """Return whether a URL names SEG-Y to be rebuilt from a volume of multidimio 0.8."""
    return url.endswith(f"/{DOCUMENT}")


def open_source(url: str, options: StorageOptions, identity: str = "", *, size: int = -1) -> Any:
    """Open a source for reading by ranges, as `spilled.open_source` does, or SEG-Y rebuilt of multidimio 0.8."""
    if not is_of_mdio_v0(url):
        return spilled.open_source(url, options, identity, size=size)
    source = Source(url, options, identity)
    source.close()
    write = partial(_write, source, options)
    return SpilledSource(url, options, source.identity, source.location, write)


def what_to_publish(url: str, index: Index, options: StorageOptions) -> tuple[str, Index, list[str]]:
    """Return the source to publish for a volume of multidimio 0.8, how its traces are placed, and what it lost.

    Args:
        url: The volume.
        index: Parameters of the user; bytes that are "auto" become the fields that hold the volume's dimensions.
        options: Options of the run.

    Raises:
        InputRefused: The source is not such a volume, or no header field holds one of its dimensions.
    """
    old = MdioV0(url, of_sources(options))
    volume = old.as_volume()
    if index.bytes == "auto":
        fields = _fields_of(old, volume)
        given: dict[str, Any] = {"bytes": ",".join(str(field.byte) for field in fields)}
        given["types"] = index.types or [field.type for field in fields]
        if index.template == "auto":
            given["names"] = index.names or old.dims[:-1]
        index = index.model_copy(update=given)
    source = f"{old.url}/{DOCUMENT}"
    rebuilt = open_source(source, of_sources(options))
    written = int.from_bytes(rebuilt.read(_FORMAT_AT, 2), "big")
    rebuilt.close()
    stated = _stated_format(old)
    lost = lost_by(old)
    if written != stated:
        lost.append(
            f"Samples of format {stated}, which its binary header states, do not give its samples exactly: they are "
            f"in format {FLOAT} (IEEE float32) now"
        )
    return source, index, lost


def lost_by(old: MdioV0) -> list[str]:
    """Return what multidimio 0.8 did not keep of the file that the volume was made of, a sentence each."""
    lost = [
        f"multidimio {old.version} did not keep the order of traces in the file, bytes after the last trace, and "
        "bytes of the binary header that revision 1 does not name: the SEG-Y of this volume is in the order of its grid"
    ]
    if _is_lost(_characters(old)):
        lost.append(
            "It read the textual header as EBCDIC, and it was not: the text is lost, and one that says so is in its "
            "place"
        )
    if extended := old.header.get("binary_header", {}).get("num_extended_text_headers", 0):
        lost.append(
            f"It did not keep {extended} extended textual headers: the number in the binary header is 0 now"
        )
    if old.tolerance:
        lost.append(f"Its samples are lossy: each is off by {old.tolerance:g} at most")
    code = _stated_format(old)
    if code not in (IBM, FLOAT):
        name = SAMPLE_FORMATS[code].name if code in SAMPLE_FORMATS else f"of format {code}"
        lost.append(f"Its file had {name} samples, and it kept them as float32, which holds 24 bits")
    return lost


def _stated_format(old: MdioV0) -> int:
    return int(old.header.get("binary_header", {}).get("data_sample_format", FLOAT))


def _characters(old: MdioV0) -> str:
    lines = old.header.get("text_header", [])
    return "".join(str(line)[:80].ljust(80) for line in [*lines, *[""] * 40][:40])


def _is_lost(text: str) -> bool:
    """Return whether a text is what remains of one that was read in another code."""
    return text.count(LOST) > len(text) // 10


def _text_header(old: MdioV0) -> bytes:
    text = _characters(old)
    if _is_lost(text):
        lines = [f"C{number:2}" for number in range(1, 41)]
        lines[0] += " THE TEXTUAL HEADER OF THE FILE IS LOST:"
        lines[1] += f" MULTIDIMIO {old.version} READ IT AS EBCDIC, AND IT WAS NOT"
        lines[39] += " END TEXTUAL HEADER"
        text = "".join(line.ljust(80) for line in lines)
    return text.replace(LOST, "?").encode("cp500", errors="replace")


def _binary_header(old: MdioV0, code: int) -> bytes:
    values = dict(old.header.get("binary_header", {}))
    revision = int(values.get("segy_revision_major", 0)) << 8 | int(values.get("segy_revision_minor", 0))
    values |= {"data_sample_format": code, "num_extended_text_headers": 0}
    raw = bytearray(BINARY_HEADER_BYTES)
    for field in (*BINARY_HEADER_FIELDS, *_EXTENDED, HeaderField("", REVISION_BYTE, "uint16")):
        width = np.dtype(field.type).itemsize
        value = int(values.get(field.name, 0)) if field.name else revision
        raw[field.byte - 1 : field.byte - 1 + width] = (value % (1 << 8 * width)).to_bytes(width, "big")
    return bytes(raw)


def _write(source: Source, options: StorageOptions, out: Bounded) -> Spill:
    """Write the volume as SEG-Y, its traces in the order of its grid, and return what is known of the file.

    Samples are in the format that its binary header states if that gives each of them exactly, else in IEEE float32.
    """
    old = MdioV0(source.url.removesuffix(f"/{DOCUMENT}"), options)
    volume = old.as_volume()
    live = volume.read(LIVE).astype(bool)
    traces = int(np.count_nonzero(live))
    n_samples = volume.spec(SAMPLES).shape[-1]
    if not traces:
        raise InputRefused(f"{old.url} has no traces; there is nothing to publish")
    out.fit(HEAD_BYTES + traces * (TRACE_HEADER_BYTES + 4 * n_samples))
    numbers = np.where(live, np.cumsum(live).reshape(live.shape) - 1, -1)
    for code in dict.fromkeys([_stated_format(old), FLOAT]):
        out.seek(0)
        out.truncate()
        out.size = out.crc32 = 0
        out.write(_text_header(old) + _binary_header(old, code))
        if all(_write_column(volume, code, numbers[region], region, out) for region in _columns(volume)):
            break
    return Spill("", out.size, source.size, "", source.identity)


def _columns(volume: Volume) -> list[Region]:
    """Return the regions of the grid of traces that chunks of the samples cut."""
    spec = volume.spec(SAMPLES)
    cuts = [range(0, n, c) for n, c in zip(spec.shape[:-1], spec.chunks, strict=False)]
    regions = []
    for place in np.ndindex(*map(len, cuts)):
        starts = [cut[p] for cut, p in zip(cuts, place, strict=True)]
        ends = [min(s + c, n) for s, c, n in zip(starts, spec.chunks, spec.shape, strict=False)]
        regions.append(tuple(slice(s, e) for s, e in zip(starts, ends, strict=True)))
    return regions


def _write_column(volume: Volume, code: int, grid: np.ndarray, region: Region, out: Bounded) -> bool:
    """Write the traces of a region to their places; return whether the format gives each sample exactly.

    Args:
        volume: The volume.
        code: Code of the sample format.
        grid: Number of the trace in each cell of the region, from 0; -1 where there is none.
        region: Region of the grid of traces.
        out: The file.
    """
    here = grid >= 0
    if not here.any():
        return True
    numbers = grid[here]
    spec = volume.spec(SAMPLES)
    samples = read_region(volume.store, spec, (*region, slice(0, spec.shape[-1])))[here]
    words = _words(samples, code)
    if words is None:
        return False
    headers = _raw_headers(volume, region)[here]
    records = np.concatenate([headers, words.view(np.uint8).reshape(len(words), -1)], axis=1)
    order = np.argsort(numbers)
    numbers, records = numbers[order], records[order]
    for run in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers) != 1) + 1):
        out.seek(HEAD_BYTES + int(numbers[run[0]]) * records.shape[1])
        out.write(np.ascontiguousarray(records[run]).reshape(-1))
    return True


def _words(samples: np.ndarray, code: int) -> np.ndarray | None:
    """Return samples encoded in a format, big-endian; None if decoding would not restore each of them."""
    if code == FLOAT:
        return samples.astype(">f4")
    if code == IBM:
        words = ibm_words(samples.astype(np.float64))
        return words.astype(">u4") if np.array_equal(ibm_values(words), samples) else None
    if code not in SAMPLE_FORMATS or SAMPLE_FORMATS[code].name in ("int24", "uint24"):
        return None
    dtype = np.dtype(SAMPLE_FORMATS[code].dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        values = samples.astype(dtype)
    return values.astype(dtype.newbyteorder(">")) if np.array_equal(values.astype("f8"), samples) else None


def _raw_headers(volume: Volume, region: Region) -> np.ndarray:
    """Return the 240 bytes of the headers of a region, uint8, big-endian."""
    from tasks.volume.arrays.foreign import foreign_array  # it imports zarr, which takes half a second

    array: Any = foreign_array(volume.store, HEADERS)
    stored = np.asarray(array[region])
    return stored.astype(stored.dtype.newbyteorder(">")).view((np.uint8, TRACE_HEADER_BYTES))


def _fields_of(old: MdioV0, volume: Volume) -> Sequence[HeaderField]:
    """Return the header field that holds each dimension of the traces.

    Raises:
        InputRefused: A dimension is in none, such as one that a grid override computed.
    """
    spec, live = volume.spec(HEADERS), volume.read(LIVE).astype(bool)
    left = [_named_first(name) for name in old.dims[:-1]]
    for place in np.ndindex(*(math.ceil(n / c) for n, c in zip(spec.shape, spec.chunks, strict=True))):
        region = tuple(
            slice(p * c, min((p + 1) * c, n)) for p, c, n in zip(place, spec.chunks, spec.shape, strict=True)
        )
        here = live[region]
        if not here.any():
            continue
        headers = read_region(volume.store, spec, region)[here]
        for axis, inside in enumerate(np.nonzero(here)):
            wanted = old.labels[axis][region[axis]][inside]
            left[axis] = [field for field in left[axis] if np.array_equal(headers[field.name], wanted)]
    for name, fields in zip(old.dims, left, strict=False):
        if not fields:
            raise InputRefused(
                f"no header field of {old.url} holds its dimension {name}; say which fields place the traces",
                flags="--index-bytes 189,193",
            )
    return [fields[0] for fields in left]


def _named_first(name: str) -> list[HeaderField]:
    return sorted(TRACE_HEADER_FIELDS, key=lambda field: field.name != name)

"""Headers for an exported file that holds some of the source's traces, or another format.

Fields that describe the samples, the number of traces and the byte order agree with the new file, even if those of the
source contradicted one another. Every other field keeps its value; texts and stanzas keep their bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.binary_header import ByteOrder
from tasks.volume.segy.format import FileFormat, extra_header_words
from tasks.volume.segy.header_counts import delay_scale
from tasks.volume.segy.headers import BINARY_HEADER_FIELDS, TRACE_HEADER_FIELDS, word, word_bytes
from tasks.volume.segy.seismic_unix import made_header
from tasks.volume.segy.standards import (
    BYTE_ORDER_CONSTANT,
    EXTENDED_SAMPLES,
    EXTENSION_NAMES,
    EXTENSION_SAMPLES,
    EXTENSION_WORDS,
    REV_2_BINARY_WORDS,
    SEISMIC_UNIX,
    SEISMIC_UNIX_WORDS,
    TRACE_COUNT,
    SampleFormat,
)

_TEXT_BYTES, _HEADERS_BYTES, _TRACE_HEADER_BYTES = 3200, 3600, 240
_SEQUENCE_BYTE = 5  # of a trace in its file, counted from 1

Words = Iterable[tuple[int, int]]  # first byte, from 1, and width


def target_format(
    fmt: FileFormat, *, sample_format: SampleFormat, byte_order: ByteOrder, n_samples: int, n_traces: int
) -> FileFormat:
    """Return `fmt` changed to hold `n_traces` traces of `n_samples` in this sample format and byte order."""
    trace_bytes = fmt.trace_header_bytes + n_samples * sample_format.bytes_per_sample
    return replace(
        fmt,
        sample_format=sample_format,
        byte_order=byte_order,
        n_samples=n_samples,
        trace_bytes=trace_bytes,
        n_traces=n_traces,
        file_size=fmt.first_trace_offset + n_traces * trace_bytes + fmt.trailer_bytes,
        oddities=(),
        samples_given=False,
        samples_turned=False,
    )


def with_file_headers(fmt: FileFormat) -> FileFormat:
    """Return what a file of SEG-Y rev 0 with the traces of Seismic Unix data is made of."""
    size = fmt.file_size + _HEADERS_BYTES
    return replace(fmt, revision="0", first_trace_offset=_HEADERS_BYTES, file_size=size, oddities=())


def file_header(header: bytes, fmt: FileFormat, target: FileFormat) -> bytes:
    """Return the target's bytes before the first trace."""
    if not header:
        return made_header(target) if target.first_trace_offset else b""
    raw = np.frombuffer(header[_TEXT_BYTES:_HEADERS_BYTES], np.uint8)[np.newaxis].copy()
    rev_2 = fmt.revision.startswith("2")
    if target.byte_order != fmt.byte_order:
        words = [(f.byte, word_bytes(f.type)) for f in BINARY_HEADER_FIELDS]
        later = (*REV_2_BINARY_WORDS, *extra_header_words(raw.tobytes(), fmt)) if rev_2 else ((3501, 2),)
        words += [(byte - _TEXT_BYTES, width) for byte, width in later]
        # Writers of little endian turn the revision of rev 1 or do not; from rev 2 on it is two bytes.
        revision = raw[0, 300:302].copy()
        raw = turned(raw, words)
        if not rev_2 and fmt.byte_order == "<" and bytes(revision) == b"\x01\x00":
            raw[0, 300:302] = revision

    def put(byte: int, kind: str, value: int) -> None:
        _put(raw, byte - _TEXT_BYTES, kind, value, target.byte_order)

    put(3225, "u2", target.sample_format.code)
    put(3221, "u2", _short_count(target))
    if rev_2:
        for feature, kind, value in (
            (EXTENDED_SAMPLES, "u4", target.n_samples),
            (TRACE_COUNT, "u8", target.n_traces),
        ):
            stated = word(raw, feature.byte - _TEXT_BYTES, "uint32", target.byte_order)[0]
            more = (
                word(raw, feature.byte - _TEXT_BYTES + 4, "uint32", target.byte_order)[0]
                if kind == "u8"
                else 0
            )
            if stated or more or (feature is EXTENDED_SAMPLES and value >= 1 << 16):
                put(feature.byte, kind, value)
        if raw[0, BYTE_ORDER_CONSTANT - _TEXT_BYTES - 1 :][:4].any():
            put(BYTE_ORDER_CONSTANT, "u4", 0x01020304)
    return header[:_TEXT_BYTES] + raw.tobytes() + header[_HEADERS_BYTES:]


def trace_headers(
    headers: np.ndarray,
    fmt: FileFormat,
    target: FileFormat,
    *,
    first_sample: int,
    own_words: Sequence[tuple[int, int]],
    source_numbers: np.ndarray,
    target_numbers: np.ndarray,
) -> np.ndarray:
    """Trace headers for the target.

    Args:
        headers: Headers of the source with additional headers, uint8, shape (trace, byte).
        fmt: The source's format.
        target: The target's.
        first_sample: The source's sample that is the target's first.
        own_words: First byte and width of words that the survey uses in its own way, whatever the standard has there.
        source_numbers: Number of each trace in the source, from 0.
        target_numbers: Numbers of the traces in the target.

    Raises:
        InputRefused: Byte 109 cannot hold the time of the first sample, or the byte order of additional
            headers cannot be changed.
    """
    raw = headers.copy()
    if target.byte_order != fmt.byte_order:
        raw = turned(raw, _trace_words(headers, fmt, own_words))
    order = target.byte_order
    _put(raw, 115, "u2", _short_count(target), order)
    if first_sample:
        _put(raw, 109, "i2", _delays(raw, target, first_sample), order)
    if not any(byte < _SEQUENCE_BYTE + 4 and _SEQUENCE_BYTE < byte + width for byte, width in own_words):
        # Only where it is the position in the file: some writers have something else there.
        stated = word(raw, _SEQUENCE_BYTE, "int32", order)
        _put(
            raw,
            _SEQUENCE_BYTE,
            "i4",
            np.where(stated == source_numbers + 1, target_numbers + 1, stated),
            order,
        )
    if fmt.extra_headers and _is_standard_extension(raw).all():
        byte = _TRACE_HEADER_BYTES + EXTENSION_SAMPLES
        _put(raw, byte, "u4", np.where(word(raw, byte, "uint32", order) > 0, target.n_samples, 0), order)
    return raw


def _short_count(target: FileFormat) -> int:
    """Return the 16-bit number of samples: 0 if rev 2 has another field for it, else its low bits."""
    rev_2 = target.revision.startswith("2")
    return 0 if rev_2 and target.n_samples >= 1 << 16 else target.n_samples & 0xFFFF


def turned(raw: np.ndarray, words: Words) -> np.ndarray:
    """Return headers, uint8 of shape (header, byte), with the bytes of each field reversed."""
    places = np.arange(raw.shape[1])
    for byte, width in words:
        places[byte - 1 : byte - 1 + width] = places[byte - 1 : byte - 1 + width][::-1]
    return raw[:, places]


def _trace_words(
    headers: np.ndarray, fmt: FileFormat, own: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """First byte and width of every word of the trace headers."""
    words = [(f.byte, word_bytes(f.type)) for f in TRACE_HEADER_FIELDS]
    if fmt.revision == SEISMIC_UNIX:
        words = [place for place in words if place[0] < SEISMIC_UNIX_WORDS[0][0]] + [*SEISMIC_UNIX_WORDS]
    if fmt.extra_headers:
        if fmt.extra_headers > 1 or not _is_standard_extension(headers).all():
            raise InputRefused(
                "there are additional trace headers other than the first that SEG-Y rev 2 defines, so their fields are "
                "unknown and cannot be converted to another byte order; export in the byte order of the source"
            )
        words += [(_TRACE_HEADER_BYTES + byte, width) for byte, width in EXTENSION_WORDS]
    free = [
        (byte, width)
        for byte, width in words
        if not any(byte < other + wide and other < byte + width for other, wide in own)
    ]
    return [*free, *own]


def _is_standard_extension(headers: np.ndarray) -> np.ndarray:
    names = headers[:, 2 * _TRACE_HEADER_BYTES - 8 : 2 * _TRACE_HEADER_BYTES]
    return np.any([(names == np.frombuffer(name, np.uint8)).all(axis=1) for name in EXTENSION_NAMES], axis=0)


def _delays(headers: np.ndarray, fmt: FileFormat, first_sample: int) -> np.ndarray:
    """Byte 109 of each trace when the target begins at a later sample."""
    if not fmt.sample_interval_us:
        return word(headers, 109, "int16", fmt.byte_order)
    shift = first_sample * fmt.sample_interval_us / 1000
    factor, divisor = delay_scale(headers, fmt)
    delays = word(headers, 109, "int16", fmt.byte_order) + shift * divisor / factor
    whole = np.rint(delays)
    if not np.allclose(delays, whole, rtol=0, atol=1e-6) or whole.min() < -(2**15) or whole.max() >= 2**15:
        least = 1000 / math.gcd(round(fmt.sample_interval_us * 1000), 1_000_000) * fmt.sample_interval_us
        raise InputRefused(
            f"the selection begins {shift:g} ms after the first sample, which byte 109 of the trace headers cannot "
            f"hold in whole milliseconds up to 32767; begin a multiple of {least:g} ms after it"
        )
    return whole.astype(np.int16)


def _put(raw: np.ndarray, byte: int, kind: str, value: Any, order: str) -> None:
    """Write a word of headers: one value, or one for each."""
    stored = np.broadcast_to(np.asarray(value), (len(raw),)).astype(order + kind)
    raw[:, byte - 1 : byte - 1 + stored.itemsize] = stored[:, np.newaxis].view(np.uint8).reshape(len(raw), -1)

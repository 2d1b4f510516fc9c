"""Bytes after the last trace that no header announces, such as the rest of a tape block.

Such bytes are stored as they are. Zeros are accepted without an option if they cannot be the beginning of a truncated
trace.
"""

from collections.abc import Callable
from dataclasses import replace

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.trace_reading import (
    SAMPLES_BYTE,
    TRACE_HEADER_BYTES,
    Read,
    TraceLayout,
    stated_samples,
)

# What lies before the first trace and after the last is kept whole, so it cannot be of any size.
MOST_BESIDE_BYTES = 64 << 20
_STEP_BYTES = 1 << 20

_MOST_WALKED = 64


def trailing_zeros(read: Read, end: int, most: int) -> int:
    """Return how many bytes before `end` are zeros without a gap, counted up to `most`."""
    count = 0
    while count < most:
        length = min(_STEP_BYTES, most - count)
        part = read(end - count - length, length)
        zeros = length - len(part.rstrip(b"\0"))
        count += zeros
        if zeros < length:
            break
    return count


def zeros_after_traces(read: Read, end: int, rest: int, trace_bytes: int, *, whole_traces: bool) -> int:
    """Return how many bytes before `end` are zeros that are no part of a trace; 0 if there are others among them.

    Args:
        read: Returns bytes of the file from a start and a length.
        end: End of the traces and of what follows them.
        rest: Bytes after the last whole trace.
        trace_bytes: Bytes of a trace with its header.
        whole_traces: Count traces of zeros, too: no header of a trace is all zeros.
    """
    most = rest + (MOST_BESIDE_BYTES // trace_bytes * trace_bytes if whole_traces else 0)
    zeros = trailing_zeros(read, end, min(most, end))
    if zeros < rest:
        return 0
    padding = rest + (zeros - rest) // trace_bytes * trace_bytes
    if padding == rest:
        # A trace that was cut begins as its predecessor does.
        before = read(end - rest - trace_bytes, min(rest, trace_bytes))
        return rest if any(before) else 0
    return padding


def traces_before_others(is_trace: Callable[[int], bool], whole: int, most: int) -> int:
    """Return the number of traces before padding, judged from the last `most` of `whole`; `whole` if unknown."""
    for trace in range(whole - 1, max(-1, whole - 1 - most), -1):
        if is_trace(trace):
            return trace + 1
    return whole


def without_padding(
    layout: TraceLayout, size: int, read: Read, byte_order: str, *, keep: bool
) -> TraceLayout:
    """Return the reading with what follows its last trace as padding: zeros, or anything if it is to be kept."""
    end, size_of_trace = size - layout.trailer_bytes, layout.trace_bytes
    # Where every header says its number of samples, a header without is none.
    doubtful = layout.stated > 0 and layout.agrees is not True

    def is_trace(trace: int) -> bool:
        header = read(
            layout.first + trace * size_of_trace, TRACE_HEADER_BYTES * (1 + min(layout.extra_headers, 1))
        )
        return stated_samples(header, byte_order) == layout.stated

    if not layout.rest and (not doubtful or is_trace(layout.whole - 1)):
        return layout
    doubtful = doubtful and layout.whole > 1
    padding = zeros_after_traces(read, end, layout.rest, size_of_trace, whole_traces=doubtful)
    if padding == 0 and keep:
        most = MOST_BESIDE_BYTES // size_of_trace
        whole = traces_before_others(is_trace, layout.whole, most) if doubtful else layout.whole
        padding = layout.rest + (layout.whole - whole) * size_of_trace
    if padding == 0:
        return layout
    whole = layout.whole - padding // size_of_trace
    return replace(layout, whole=whole, rest=0, padding=padding)


def refuse_filler(name: str, read: Read, layout: TraceLayout, byte_order: str) -> None:
    """Refuse a file that ends in text or filler as long as whole traces, which would be read as traces.

    Raises:
        InputRefused: The last header is no header, and those before it are.
    """
    size = layout.trace_bytes

    def header(trace: int) -> bytes:
        return read(layout.first + trace * size, TRACE_HEADER_BYTES)

    # Where headers do not say their number of samples, nothing tells where traces end.
    if layout.stated <= 0 or layout.agrees is True or layout.whole < 2:
        return
    if not _is_filler(header(layout.whole - 1)) or _is_filler(header(0)):
        return
    most = MOST_BESIDE_BYTES // size
    whole = traces_before_others(
        lambda trace: stated_samples(header(trace), byte_order) == layout.stated, layout.whole, most
    )
    behind = (layout.whole - whole) * size + layout.rest
    raise InputRefused(
        f"{name} has something appended: {behind:,} bytes follow trace {whole:,}, from byte "
        f"{layout.first + whole * size + 1:,} on, that are no traces; to keep them as they are",
        flags="--trailing keep",
    )


def _is_filler(header: bytes) -> bool:
    """Return whether a header is text, ASCII or EBCDIC, or one byte again and again; a header of zeros may be one."""
    if 0 in header:
        return False
    return len(set(header)) == 1 or any(
        all(character.isprintable() or character in "\r\n\t" for character in header.decode(code))
        for code in ("latin-1", "cp037")
    )


def refuse_rest(
    name: str, size: int, read: Read, layout: TraceLayout, byte_order: str, bytes_per_sample: int
) -> None:
    """Refuse a file whose size is not that of its traces: lengths differ, or it is truncated or has bytes appended."""
    start, trace, lengths, intervals = layout.first, 0, set[int](), set[bytes]()
    while start + TRACE_HEADER_BYTES <= size and trace < _MOST_WALKED:
        header = read(start, TRACE_HEADER_BYTES)
        stated = stated_samples(header, byte_order)
        intervals.add(header[SAMPLES_BYTE + 1 : SAMPLES_BYTE + 3])
        if stated == 0 or len(intervals) > 1:  # these are samples, not headers
            break
        lengths.add(stated)
        start += TRACE_HEADER_BYTES * (1 + layout.extra_headers) + stated * bytes_per_sample
        trace += 1
    if len(lengths) > 1 and (start == size - layout.trailer_bytes or trace == _MOST_WALKED):
        raise InputRefused(
            f"{name} has traces of different lengths: by byte {SAMPLES_BYTE} of their headers {min(lengths):,} to "
            f"{max(lengths):,} samples, and one array holds traces of one length; pad them or split the file"
        )
    end = size - layout.trailer_bytes - layout.rest + 1
    raise InputRefused(
        f"{name} is truncated or has something appended: {layout.rest:,} bytes follow trace "
        f"{layout.whole:,}, from byte {end:,} on, and a trace takes {layout.trace_bytes:,}; fetch it again if it was "
        "cut, or keep these bytes with the volume",
        flags="--trailing keep",
    )

"""Bytes after the last trace that no header announces: the rest of a block of a tape or a disk, or anything.

Such bytes are kept as they are. Zeros need no consent where they cannot be the beginning of a trace that was cut.
"""

from collections.abc import Callable

# What lies before the first trace and after the last is kept whole, so it cannot be of any size.
MOST_BESIDE_BYTES = 64 << 20
_STEP_BYTES = 1 << 20

Read = Callable[[int, int], bytes]


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
        read: Gives bytes of the file from a start and a length.
        end: Of the traces and of what follows them.
        rest: Bytes after the last whole trace.
        trace_bytes: Of a trace with its header.
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
    """Return how many of `whole` traces lie before what is none, looking at `most` from the end; `whole` if unknown."""
    for trace in range(whole - 1, max(-1, whole - 1 - most), -1):
        if is_trace(trace):
            return trace + 1
    return whole

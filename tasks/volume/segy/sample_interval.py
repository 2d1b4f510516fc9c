"""Determine the sample interval of a file from its headers, and report oddities."""

import struct

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.standards import EXTENDED_INTERVAL
from tasks.volume.segy.trace_reading import TEXT_BYTES

# From a picosecond to a thousand seconds; all else is damage.
LEAST_INTERVAL_US, MOST_INTERVAL_US = 1e-6, 1e9
_BINARY_BYTE, _TRACE_BYTE = 3217, 117
# A field of 16 bits has its sign in doubt from 32768 on. Intervals are round numbers, read rightly.
_ROUND = 50
_SMALL = 1000


def sample_interval(
    name: str, binary: bytes, order: str, trace_header: bytes, extended: float
) -> tuple[float, list[str]]:
    """Return the sample interval in µs, and sentences on oddities.

    Args:
        name: Name of the file, for refusals.
        binary: The binary header.
        order: '>' or '<'.
        trace_header: Header of the first trace.
        extended: The extended sample interval of rev 2, which overrides the others; 0 says nothing.

    Raises:
        InputRefused: The interval is negative.
    """
    stated = struct.unpack_from(f"{order}H", binary, _BINARY_BYTE - TEXT_BYTES - 1)[0]
    if extended:
        odd = f"The extended sample interval (byte {EXTENDED_INTERVAL.byte}) is {extended:g}"
        if LEAST_INTERVAL_US < extended < MOST_INTERVAL_US:
            differs = stated not in (0, round(extended), int(extended))
            return float(extended), [
                f"{odd}, the other (byte {_BINARY_BYTE}) {stated}; the first is used."
            ] if differs else []
        interval, oddities = sample_interval(name, binary, order, trace_header, 0)
        return interval, [f"{odd}, which is no interval; {interval:g} is used.", *oddities]
    trace_said = struct.unpack_from(f"{order}H", trace_header, _TRACE_BYTE - 1)[0]
    for byte, value in ((_BINARY_BYTE, stated), (_TRACE_BYTE, trace_said)):
        if value and is_negative(value) and (byte == _BINARY_BYTE or not stated):
            raise InputRefused(
                f"{name} has a negative sample interval, {value - 65536} (byte {byte})",
                flags=f"--sample-interval {(65536 - value) / 1000:g}",
            )
    if trace_said in (0, stated) and stated:
        return float(stated), []
    if trace_said == 0:
        return 0.0, [
            "The sample interval is 0 in the binary header (byte 3217) and the first trace (byte 117); samples are "
            "numbered from 0."
        ]
    return float(stated or trace_said), [
        f"The sample interval is {stated} in the binary header (byte 3217) and {trace_said} in the first trace "
        f"(byte 117); {stated or trace_said} is used."
    ]


def is_negative(word: int) -> bool:
    """Return whether an unsigned 16-bit value is a negative number: its magnitude is then small or round."""
    behind = 65536 - word
    return word >= 1 << 15 and word % _ROUND != 0 and (behind <= _SMALL or behind % _ROUND == 0)

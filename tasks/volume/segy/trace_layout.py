"""Where the traces of a file lie, by what its headers say and what its size allows.

The number of samples stands in the binary header and in every trace header, and in real files they contradict
each other; so does the number of extended textual headers. Each reading is tried against the size of the
file and the headers found where it would put traces. Nothing is read in proportion to a number in a header.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.volume.outcomes import InputRefused

TEXT_BYTES = 3200
HEADERS_BYTES = 3600
TRACE_HEADER_BYTES = 240
_SAMPLES_BYTE = 115
# More textual headers than this before SEG:EndText are not texts any more.
_MOST_TEXTS = 256

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class TraceLayout:
    """One reading of a file.

    Attributes:
        extended_texts: Extended textual headers, 3200 bytes each.
        first: Where the first trace begins, from 0.
        n_samples: Per trace.
        trace_bytes: A trace with its header.
        whole: Traces that fit into the file.
        rest: Bytes after them.
        said: Number of samples in the first trace header.
        agrees: Whether headers found at later traces say the same; None if there are none or all say 0.
    """

    extended_texts: int
    first: int
    n_samples: int
    trace_bytes: int
    whole: int
    rest: int
    said: int
    agrees: bool | None


def find_layout(
    name: str, size: int, read: Read, *, byte_order: str, n_samples: int, texts: int, bytes_per_sample: int
) -> TraceLayout:
    """The reading that fits the file best; of equal ones, the one that the binary header says.

    Args:
        name: Of the file, for refusals.
        size: Of the file, longer than its file headers.
        read: Gives bytes of the file from a start and a length.
        byte_order: '>' or '<'.
        n_samples: As the binary header says.
        texts: Extended textual headers as it says; -1: up to SEG:EndText.
        bytes_per_sample: Of the sample format.

    Raises:
        InputRefused: There is no number of samples, no whole trace, or something after the last one.
    """
    if texts == -1:
        texts = _count_texts(name, size, read)
    readings = list(_readings(size, read, byte_order, n_samples, texts, bytes_per_sample))
    if not readings:
        raise InputRefused(
            f"{name} gives no number of samples (byte 3221, and byte {_SAMPLES_BYTE} of the first trace, are "
            "0) or has no room for a trace; correct it or fetch it again"
        )
    layout = max(readings, key=_fit)
    if layout.whole == 0:
        raise InputRefused(
            f"{name} holds no whole trace: one of {layout.n_samples:,} samples (byte 3221) takes "
            f"{layout.trace_bytes:,} bytes, and {size - layout.first:,} follow the headers; fetch it again"
        )
    if layout.rest:
        raise InputRefused(
            f"{name} is truncated or has something appended: {layout.rest:,} bytes follow trace "
            f"{layout.whole:,}, from byte {size - layout.rest + 1:,} on, and a trace takes "
            f"{layout.trace_bytes:,}; fetch it again or cut them off"
        )
    if layout.said != layout.n_samples == _swapped(layout.said) and layout.agrees is not False:
        raise InputRefused(
            f"{name} has a binary header and trace headers of different byte orders: byte {_SAMPLES_BYTE} of "
            f"the traces reads {layout.said} where {layout.n_samples} samples are; write it in one byte order"
        )
    return layout


def samples_said(trace_header: bytes, byte_order: str) -> int:
    """The number of samples in a trace header, unsigned: files exceed 32767."""
    word = trace_header[_SAMPLES_BYTE - 1 : _SAMPLES_BYTE + 1]
    return int.from_bytes(word, "big" if byte_order == ">" else "little")


def _swapped(word: int) -> int:
    return int.from_bytes(word.to_bytes(2, "big"), "little")


def _fit(layout: TraceLayout) -> tuple[bool, int, bool]:
    # Last: with a count of twice as much every second header is met, and all of them agree.
    fills = layout.whole > 0 and layout.rest == 0
    return (
        fills,
        {True: 2, None: 1, False: 0}[layout.agrees],
        bool(layout.agrees) and layout.said == layout.n_samples,
    )


def _readings(
    size: int, read: Read, byte_order: str, n_samples: int, texts: int, bytes_per_sample: int
) -> Iterator[TraceLayout]:
    for count in dict.fromkeys((texts, 0)):
        first = HEADERS_BYTES + count * TEXT_BYTES
        if count < 0 or first + TRACE_HEADER_BYTES > size:
            continue
        said = samples_said(read(first, TRACE_HEADER_BYTES), byte_order)
        for samples in dict.fromkeys((n_samples, said)):
            if samples == 0:
                continue
            trace_bytes = TRACE_HEADER_BYTES + samples * bytes_per_sample
            whole, rest = divmod(size - first, trace_bytes)
            later = {1, whole // 2, whole - 1} & set(range(1, whole))
            starts = [first + trace * trace_bytes for trace in sorted(later)]
            found = {samples_said(read(start, TRACE_HEADER_BYTES), byte_order) for start in starts}
            agrees = found == {said} if found and found | {said} != {0} else None
            yield TraceLayout(count, first, samples, trace_bytes, whole, rest, said, agrees)


def _count_texts(name: str, size: int, read: Read) -> int:
    """Extended textual headers up to the one that is the SEG:EndText stanza."""
    for count in range(min((size - HEADERS_BYTES) // TEXT_BYTES, _MOST_TEXTS)):
        opening = read(HEADERS_BYTES + count * TEXT_BYTES, 80)
        for text in (opening.decode("latin-1"), opening.decode("cp500")):
            if text.replace(" ", "").upper().startswith("((SEG:ENDTEXT))"):
                return count + 1
    raise InputRefused(
        f"{name} announces extended textual headers up to SEG:EndText (byte 3505 is -1), but none of the "
        f"first {_MOST_TEXTS} is that; write their number there"
    )

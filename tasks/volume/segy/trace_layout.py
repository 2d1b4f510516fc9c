"""Find the traces of a file by its headers and its size.

The binary header and every trace header state the number of samples, and in real files they contradict each other. So
do the number of extended textual headers and, from rev 2 on, other fields that move traces. Each interpretation is
checked against the size of the file and the headers at the positions that it gives. The amount that is read never
depends on a number in a header.
"""

import itertools
from collections.abc import Iterator

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.long_counts import SHORT, long_counts, repeats
from tasks.volume.segy.padding import MOST_BESIDE_BYTES, refuse_filler, refuse_rest, without_padding
from tasks.volume.segy.trace_reading import (
    HEADERS_BYTES,
    SAMPLES_BYTE,
    TEXT_BYTES,
    TRACE_HEADER_BYTES,
    Announced,
    Read,
    TraceLayout,
    stated_samples,
)

# More textual headers, or stanzas after the last trace, than this are not texts any more.
_MOST_TEXTS = 256


def find_layout(
    name: str,
    size: int,
    read: Read,
    announced: Announced,
    *,
    byte_order: str,
    bytes_per_sample: int,
    keep: bool = False,
) -> TraceLayout:
    """Return the layout that fits the file best; of equally good ones, the one that the binary header states.

    Args:
        name: Name of the file, for refusals.
        size: Size of the file, longer than its file headers.
        read: Returns bytes of the file from a start and a length.
        announced: Values of the binary header.
        byte_order: '>' or '<'.
        bytes_per_sample: Bytes of a sample in the sample format.
        keep: Keep whatever follows the last trace; otherwise only zeros.

    Raises:
        InputRefused: The file has no number of samples, no whole trace, or something after the last one.
    """
    texts = announced.texts
    if texts == -1 and not announced.first:
        texts = _count_texts(name, size, read)
    readings = list(_readings(size, read, announced, texts, byte_order, bytes_per_sample))
    layout = max(readings, key=lambda reading: _fit(reading, announced), default=None)
    if layout is None or layout.agrees is False or (layout.agrees is None and not layout.fills):
        # Headers that repeat their number of samples where it puts them are right; others may not hold the number.
        layout = _long_reading(size, read, announced, texts, byte_order, bytes_per_sample) or layout
    if layout is None:
        raise InputRefused(
            f"{name} gives no number of samples (byte 3221, and byte {SAMPLES_BYTE} of the first trace, are "
            "0) or has no room for a trace; fetch it again, or give the number with --samples-per-trace"
        )
    if layout.whole == 0:
        stated = "as was asked" if announced.given_samples else "byte 3221"
        raise InputRefused(
            f"{name} holds no whole trace: {layout.n_samples:,} samples ({stated}) and their header take "
            f"{layout.trace_bytes:,} bytes, and {size - layout.first:,} follow the file headers; fetch it again, or "
            "give the number of samples with --samples-per-trace"
        )
    layout = without_padding(layout, size, read, byte_order, keep=keep)
    if not keep:
        refuse_filler(name, read, layout, byte_order)
    if layout.rest:
        refuse_rest(name, size, read, layout, byte_order, bytes_per_sample)
    if max(layout.first, layout.kept_bytes) > MOST_BESIDE_BYTES:
        raise InputRefused(
            f"{name} has {layout.first:,} bytes before its first trace and {layout.kept_bytes:,} after the last, "
            f"and at most {MOST_BESIDE_BYTES:,} are kept; correct bytes 3505 to 3532 of its headers"
        )
    if announced.given_samples:
        return layout
    if layout.stated != layout.n_samples == _swapped(layout.stated) and layout.agrees is not False:
        raise InputRefused(
            f"{name} has a binary header and trace headers of different byte orders: byte {SAMPLES_BYTE} of "
            f"the traces reads {layout.stated} where {layout.n_samples} samples are; write it in one byte order"
        )
    return layout


def _swapped(word: int) -> int:
    return int.from_bytes(word.to_bytes(2, "big"), "little") if word < 1 << 16 else -1


def _fit(layout: TraceLayout, announced: Announced) -> tuple[bool, bool, int, bool]:
    # Last: with a count of twice as much every second header is met, and all of them agree.
    return (
        layout.fills,
        layout.whole == announced.n_traces > 0,
        {True: 2, None: 1, False: 0}[layout.agrees],
        bool(layout.agrees) and layout.stated == layout.n_samples,
    )


def _readings(
    size: int, read: Read, announced: Announced, texts: int, byte_order: str, bytes_per_sample: int
) -> Iterator[TraceLayout]:
    """Yield all readings, the binary header's first."""

    def said_at(start: int, extra: int) -> int:
        stated = stated_samples(read(start, TRACE_HEADER_BYTES * (1 + min(extra, 1))), byte_order)
        # A word of 16 bits cannot say it.
        return 0 if stated < 1 << 16 <= announced.extended_samples else stated

    given = announced.given_samples
    for first, extra in _beginnings(size, announced, texts):
        head = TRACE_HEADER_BYTES * (1 + extra)
        text = said_at(first, extra)
        counts = (given,) if given else (announced.extended_samples, announced.n_samples, text)
        for samples in dict.fromkeys(counts):
            if samples == 0:
                continue
            trace_bytes = head + samples * bytes_per_sample
            for trailer in _trailers(size, read, announced, first, trace_bytes):
                whole, rest = divmod(size - first - trailer, trace_bytes)
                later = sorted({trace for trace in (1, whole // 2, whole - 1) if 0 < trace < whole})
                found = {said_at(first + trace * trace_bytes, extra) for trace in later}
                agrees = None if not found - {0} or found == {0, text} else found == {text}
                yield TraceLayout(first, extra, samples, trace_bytes, trailer, whole, rest, text, agrees)


def _beginnings(size: int, announced: Announced, texts: int) -> Iterator[tuple[int, int]]:
    """Yield possible offsets of the first trace, and counts of additional headers, likeliest first."""
    firsts = [announced.first, HEADERS_BYTES + max(texts, 0) * TEXT_BYTES, HEADERS_BYTES]
    for first, extra in itertools.product(
        dict.fromkeys(firsts), dict.fromkeys((*announced.extra_headers, 0))
    ):
        if extra >= 0 and first >= HEADERS_BYTES and first + TRACE_HEADER_BYTES * (1 + extra) <= size:
            yield first, extra


def _long_reading(
    size: int, read: Read, announced: Announced, texts: int, byte_order: str, bytes_per_sample: int
) -> TraceLayout | None:
    """Return the reading with more samples than 16 bits say, if the size of the file and later headers show it."""
    if announced.given_samples or announced.extended_samples or announced.trailer_texts:
        return None
    for first, extra in _beginnings(size, announced, texts):
        head = TRACE_HEADER_BYTES * (1 + extra)
        stated = stated_samples(read(first, head), byte_order)
        short = dict.fromkeys((announced.n_samples, stated))
        for samples in long_counts(size - first, head, bytes_per_sample, tuple(short), announced.n_traces):
            trace_bytes = head + samples * bytes_per_sample
            whole = (size - first) // trace_bytes
            if repeats(read, first, trace_bytes, whole):
                if samples < SHORT:  # it would stand in its field; the user must say it
                    break
                return TraceLayout(first, extra, samples, trace_bytes, 0, whole, 0, stated, None)
    return None


def _trailers(size: int, read: Read, announced: Announced, first: int, trace_bytes: int) -> Iterator[int]:
    """Yield possible numbers of bytes after the last trace, the binary header's first."""
    room = size - first
    if announced.trailer_texts == 0:
        yield 0
        return
    lengths = [room - announced.n_traces * trace_bytes] if announced.n_traces else []
    if announced.trailer_texts > 0:
        lengths.append(announced.trailer_texts * TEXT_BYTES)
    else:
        # Undefined in number, so they are looked for: a stanza begins with two parentheses, in either code.
        most = min(room // TEXT_BYTES, _MOST_TEXTS)
        tail = read(size - most * TEXT_BYTES, most * TEXT_BYTES)
        starts = [len(tail) - count * TEXT_BYTES for count in range(1, most + 1)]
        lengths += [len(tail) - at for at in starts if tail[at : at + 2] in (b"((", b"\x4d\x4d")]
    for length in dict.fromkeys([*lengths, 0]):
        if 0 <= length <= room and length % TEXT_BYTES == 0:
            yield length


def _count_texts(name: str, size: int, read: Read) -> int:
    """Return the extended textual headers up to the SEG:EndText stanza."""
    for count in range(min((size - HEADERS_BYTES) // TEXT_BYTES, _MOST_TEXTS)):
        opening = read(HEADERS_BYTES + count * TEXT_BYTES, 80)
        for text in (opening.decode("latin-1"), opening.decode("cp500")):
            if text.replace(" ", "").upper().startswith("((SEG:ENDTEXT))"):
                return count + 1
    raise InputRefused(
        f"{name} announces extended textual headers up to SEG:EndText (byte 3505 is -1), but none of the "
        f"first {_MOST_TEXTS} is that text; write their number there"
    )

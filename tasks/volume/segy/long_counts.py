"""Find numbers of samples that do not fit in 16 bits, from the size of the file and repeated header fields.

Writers put the low 16 bits of the number into the field, or the largest value that fits, or 0. Every number that agrees
with the field and the file size is a candidate; it is accepted if later trace headers, where it puts them, repeat the
fields of the first.
"""

from collections.abc import Callable, Sequence

SHORT = 1 << 16  # numbers below it fit in their field
_MOST_SAMPLES = 1 << 31
_MOST_TRACES = 1 << 16  # that are tried where the field says nothing of the number
_CLAMPED = frozenset((0, 0x7FFF, 0xFFFF))
_SAMPLES_AT, _INTERVAL_END = 114, 118  # of a trace header: number of samples and interval, two bytes each

Read = Callable[[int, int], bytes]


def long_counts(
    room: int, head: int, bytes_per_sample: int, stated: Sequence[int], n_traces: int = 0
) -> list[int]:
    """Return the sample counts with which traces fill the file exactly, least first: a multiple would merge traces.

    If the headers do not state the number, counts that fit in 16 bits are included.

    Args:
        room: Bytes from the first trace to the end of the file.
        head: Bytes of the headers of a trace.
        bytes_per_sample: Bytes of a sample in the sample format.
        stated: The number in each of the 16-bit fields.
        n_traces: Number of traces in the file; 0 if nothing says it.
    """
    most = min((room - head) // bytes_per_sample, _MOST_SAMPLES)
    counts = set()
    for low in dict.fromkeys(stated):
        for samples in range(low + SHORT, most + 1, SHORT):
            whole, rest = divmod(room, head + samples * bytes_per_sample)
            if rest == 0 and n_traces in (0, whole):
                counts.add(samples)
    if _CLAMPED & set(stated):
        least = 1 if _CLAMPED.issuperset(stated) else SHORT
        # One trace fills any file, so nothing would show that a single one is right.
        for whole in range(2, min(room // (head + least * bytes_per_sample), _MOST_TRACES) + 1):
            samples, rest = divmod(room // whole - head, bytes_per_sample)
            if room % whole == 0 and rest == 0 and n_traces in (0, whole):
                counts.add(samples)
    return sorted(counts)


def repeats(read: Read, first: int, trace_bytes: int, whole: int) -> bool:
    """Return whether later traces repeat the number of samples and the interval of the first one.

    True for a single trace that fills the file to the byte.
    """
    fields = read(first, _INTERVAL_END)[_SAMPLES_AT:]
    if whole == 1:
        return True
    places = sorted({1, whole // 2, whole - 1} - {0})
    return any(fields) and all(
        read(first + trace * trace_bytes, _INTERVAL_END)[_SAMPLES_AT:] == fields for trace in places
    )

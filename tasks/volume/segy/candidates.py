"""Which header words index a file: as the user says, or found where there is only one way to read it.

Rev 1 puts inline and crossline at bytes 189 and 193, but many files hold X and Y there and the numbers
elsewhere. The standard place wins if it is plausible; then the places where vendors put them; then anything.
A wrong guess would be found out a year later, so what leaves a doubt is refused with the candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import TRACE_HEADER_BYTES, word, word_bytes
from tasks.volume.segy.plausible import (
    NAMES,
    STANDARD,
    Candidate,
    HeaderWord,
    anywhere,
    header_word,
    judge,
    overlap,
    repeated,
)

# Where files are known to have them, best first. At equal grids the first wins: 181 and 185 lie side by side
# in the part of the header that describes the binned trace, whereas 5 to 21 have meanings of their own from
# acquisition and merely repeat the numbers.
_LIKELY = ((181, 185), (9, 21), (17, 21), (5, 21), (5, 9), (17, 13))
_COORDINATES = (181, 185)
_MOST_SHOWN = 6


@dataclass(frozen=True)
class IndexChoice:
    """The index words of a file.

    `coordinate_bytes` is empty where no words hold coordinates. `notes` are sentences on what was chosen
    and why; `candidates` is what was judged, empty if the user named the words.
    """

    bytes: tuple[int, ...]
    types: tuple[str, ...]
    names: tuple[str, ...]
    coordinate_bytes: tuple[int, ...]
    notes: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def choose_index(
    headers: np.ndarray,
    trace_numbers: np.ndarray,
    n_traces: int,
    byte_order: str,
    index: Index = Index(),
) -> IndexChoice:
    """The header words that hold inline and crossline, and X and Y.

    With all traces of a file the judgement is exact. With a sample (a contiguous head, the tail and some
    scattered traces, not evenly spaced) extents are estimated, and duplicates outside the sample are left
    to `grid_of`.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240).
        trace_numbers: Number of each of these traces in the file, from 0.
        n_traces: In the file.
        byte_order: '>' or '<', of the file.
        index: What the user says.

    Raises:
        InputRefused: No words hold a grid, or several different ones do; the sentence has the candidates. Or
            what the user says cannot be.
    """
    names = _names(index)
    if index.bytes == "auto":
        if index.types:
            raise InputRefused(
                "index types are given without index bytes; name the bytes too, or leave both out"
            )
        numbers, once = np.unique(trace_numbers, return_index=True)
        headers = headers[once]
        chosen, note, judged = _find(headers, numbers, n_traces, byte_order)
        choice = IndexChoice(chosen.bytes, chosen.types, names, (), (note,), judged)
    else:
        choice = IndexChoice(*_named(index, len(names)), names, ())
    found = _coordinate_bytes(headers, choice.bytes, byte_order, index.coordinate_bytes)
    return replace(choice, coordinate_bytes=found)


def _names(index: Index) -> tuple[str, ...]:
    names = tuple(index.names) or NAMES
    if len(names) != len(NAMES) or len(set(names)) != len(names):
        raise InputRefused(f"{len(NAMES)} different names of dimensions are needed, not {', '.join(names)}")
    return names


def _named(index: Index, dimensions: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Bytes and types as the user gives them."""
    places = tuple(int(byte) for byte in index.bytes.split(","))
    if len(places) != dimensions or len(set(places)) != dimensions:
        raise InputRefused(
            f"index bytes {index.bytes} are {len(places)} words, and post-stack 3-D has {dimensions} "
            "different ones; name them as in 189,193"
        )
    types: tuple[str, ...] = tuple(index.types) or ("int32",) * dimensions
    if len(types) != dimensions:
        raise InputRefused(
            f"{len(types)} index types are given for {dimensions} index bytes; give one for each"
        )
    for byte, word_type in zip(places, types, strict=True):
        last = TRACE_HEADER_BYTES - word_bytes(word_type) + 1
        if not 1 <= byte <= last:
            raise InputRefused(
                f"index byte {byte} is not in a trace header; {word_type} words start at bytes 1 to {last}"
            )
    return places, types


def _coordinate_bytes(
    headers: np.ndarray, index_bytes: Sequence[int], byte_order: str, asked: str
) -> tuple[int, ...]:
    """First bytes of X and Y: 181 and 185 unless the index lies there, then 189 and 193 if they can be that.

    Empty where neither holds. Words can be coordinates if their pairs differ between most traces.
    """
    if asked == "none":
        return ()
    if asked != "auto":
        places = tuple(int(byte) for byte in asked.split(","))
        last = TRACE_HEADER_BYTES - 3
        if not all(1 <= byte <= last for byte in places):
            raise InputRefused(
                f"coordinate bytes {asked} are not in a trace header; they start at bytes 1 to {last}"
            )
        return places
    if not overlap(_COORDINATES, index_bytes):
        return _COORDINATES
    if overlap(STANDARD, index_bytes):
        return ()
    pairs = np.stack([word(headers, byte, "int32", byte_order) for byte in STANDARD], axis=1)
    different = len(np.unique(pairs, axis=0))
    return STANDARD if different > 1 and 2 * different > len(headers) else ()


def _find(
    headers: np.ndarray, numbers: np.ndarray, n_traces: int, byte_order: str
) -> tuple[Candidate, str, tuple[Candidate, ...]]:
    """The one candidate, a sentence on why, and all that were judged."""
    complete = len(numbers) == n_traces

    def at(places: Sequence[int]) -> Candidate:
        first, second = (header_word(headers, byte, byte_order, complete=complete) for byte in places)
        return judge(first, second, n_traces)

    standard, likely = at(STANDARD), [at(places) for places in _LIKELY]
    judged = (standard, *likely)
    place = ",".join(map(str, STANDARD))
    if not standard.objection:
        return standard, f"Bytes {place} hold {standard}.", judged
    # At 181,185 one trace a cell is post-stack whatever the offset; at 9 to 21 it can be shots by channels.
    if likely[0].objection:
        _refuse_gathers(headers, byte_order, standard.objection)
    _refuse_duplicates(headers, numbers, byte_order, judged[:2], likely)
    known = [candidate for candidate in likely if not candidate.objection]
    if not known:
        known = anywhere(headers, numbers, n_traces, byte_order, complete=complete)
        judged += tuple(known)
    grids = _different(known, headers, byte_order)
    if len(grids) == 1:
        chosen = grids[0]
        return (
            chosen,
            f"Bytes {place} are not the index ({standard.objection}); {_where(chosen)} hold {chosen}.",
            judged,
        )
    if grids:
        options = "; ".join(f"{candidate.option} ({candidate})" for candidate in grids[:_MOST_SHOWN])
        raise InputRefused(f"several header words could be inline and crossline; choose one of {options}")
    seen = "; ".join(f"{c.bytes[0]},{c.bytes[1]}: {c.objection}" for c in judged)
    raise InputRefused(
        f"no header words hold a grid of inlines and crosslines ({seen}); it may be a 2-D line or prestack, "
        "and only post-stack 3-D is read: if it is that, name the words with --index-bytes"
    )


def _where(candidate: Candidate) -> str:
    return f"bytes {candidate.bytes[0]},{candidate.bytes[1]}"


def _refuse_gathers(headers: np.ndarray, byte_order: str, objection: str) -> None:
    """Refuse files whose traces differ by offset: shots by channels are a grid as well."""

    def at(byte: int) -> np.ndarray:
        return word(headers, byte, "int32", byte_order).astype(np.int64)

    offsets = at(37)
    # Group coordinates that are all 0 were not filled in.
    distances = [at(group) - at(source) for source, group in ((73, 81), (77, 85)) if at(group).any()]
    if offsets.min() != offsets.max():
        seen = f"offsets at byte 37 go from {offsets.min()} to {offsets.max()}"
    elif any(distance.min() != distance.max() for distance in distances):
        seen = "distances from source to group, bytes 73 to 88, vary"
    else:
        return
    raise InputRefused(
        f"this looks like prestack data ({seen}; bytes {STANDARD[0]},{STANDARD[1]}: {objection}), and only "
        "post-stack 3-D is read: if it is that, name its inline and crossline with --index-bytes"
    )


def _refuse_duplicates(
    headers: np.ndarray,
    numbers: np.ndarray,
    byte_order: str,
    suspects: Sequence[Candidate],
    others: Sequence[Candidate],
) -> None:
    """Refuse the first suspect that is spoilt by duplicates alone, unless other words hold a grid without."""
    spoilt = [c for c in suspects if c.objection.endswith("of an earlier one")]
    if not spoilt or any(not c.objection for c in others):
        return
    first, second = (header_word(headers, byte, byte_order) for byte in spoilt[0].bytes)
    count, kept, again = repeated(first, second)
    raise InputRefused(
        f"{count:,} traces have the inline and crossline ({_where(spoilt[0])}) of an earlier one, first "
        f"traces {numbers[kept] + 1:,} and {numbers[again] + 1:,} (inline {first.values[again]}, crossline "
        f"{second.values[again]}); name words that tell them apart with --index-bytes"
    )


def _different(candidates: Sequence[Candidate], headers: np.ndarray, byte_order: str) -> list[Candidate]:
    """The candidates that differ as grids: of those that number the same lines, by any numbers, the first."""
    kept: list[tuple[Candidate, HeaderWord, HeaderWord]] = []
    for candidate in candidates:
        a, b = (
            header_word(headers, byte, byte_order, word_type=word_type)
            for byte, word_type in zip(candidate.bytes, candidate.types, strict=True)
        )
        if not any(
            (a.same_lines(c) and b.same_lines(d)) or (a.same_lines(d) and b.same_lines(c)) for _, c, d in kept
        ):
            kept.append((candidate, a, b))
    return [candidate for candidate, _, _ in kept]

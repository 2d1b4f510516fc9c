"""Choose the header fields that index a file: those of the user, or detected if there is only one interpretation.

Rev 1 puts inline and crossline at bytes 189 and 193, but many files hold X and Y there and the numbers
elsewhere. The standard's bytes are used if they are plausible; next, bytes that vendors use; next, any others.
A wrong guess might be noticed only a year later, so a doubtful file is refused, and the refusal names the candidates.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.coordinate_detect import (
    Traces,
    coordinate_notes,
    coordinates_before,
    find_coordinates,
    typed_coordinates,
)
from tasks.volume.segy.field_types import FLOATS, INTEGER, LARGEST_NUMBER, number_type
from tasks.volume.segy.index_choice import IndexChoice
from tasks.volume.segy.index_prestack import (
    LINE,
    Seen,
    are_gathers,
    gathers,
    irregular_option,
    lines,
    off_the_grid,
    path,
)
from tasks.volume.segy.index_score import STANDARD, Candidate, HeaderWord, anywhere, judge, repeated
from tasks.volume.segy.line_detect import refuse_lines
from tasks.volume.segy.named_fields import asked
from tasks.volume.segy.placement import XY, Word, place
from tasks.volume.segy.templates import CUSTOM, quantity

# Where files are known to have them, best first. At equal grids the first wins: 181 and 185 lie side by side
# in the part of the header that describes the binned trace, whereas 5 to 21 have meanings of their own from
# acquisition and merely repeat the numbers.
_LIKELY = ((181, 185), (9, 21), (17, 21), (5, 21), (5, 9), (17, 13))
_MOST_SHOWN = 6
_CROWDED = re.compile(r"traces for [\d,]+ cells$")


def choose_index(
    headers: np.ndarray,
    trace_numbers: np.ndarray,
    n_traces: int,
    byte_order: str,
    index: Index = Index(),
    *,
    ibm: bool = False,
) -> IndexChoice:
    """Return the header fields that place traces, and the fields of coordinates.

    With all traces of a file the judgement is exact. With a sample (a contiguous head, the tail and some
    scattered traces, not evenly spaced) extents are estimated, and duplicates outside the sample are left
    to `grid_of`.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more).
        trace_numbers: Number of each of these traces in the file, from 0.
        n_traces: Number of traces in the file.
        byte_order: '>' or '<', of the file.
        index: Index parameters of the user.
        ibm: Whether samples are IBM floats, which makes it likelier that fields are.

    Raises:
        InputRefused: No fields hold a grid, or several different ones do; the sentence names the candidates. Or the
            user's parameters do not fit the file.
    """
    words, template = asked(index, header_bytes=headers.shape[1]), ""
    notes: list[str] = []
    doubts: list[str] = []
    judged: tuple[Candidate, ...] = ()
    numbers, once = np.unique(trace_numbers, return_index=True)
    seen = Seen(headers[once], numbers, n_traces, byte_order, ibm, index.overrides.HasDuplicates)
    plain = words
    if words is None:
        is_line = index.split == "line" and bool(index.traces)
        try:
            chosen, note, judged = _find_line(seen) if is_line else _find(seen, index.template)
        except InputRefused:
            refuse_lines(seen, None)
            raise
        if index.template == "auto" and index.coordinate_bytes != "none":
            doubts = refuse_lines(seen, chosen)
        names = tuple(index.names) or chosen.names
        if len(set(names)) != len(chosen.names):
            raise InputRefused(
                f"{len(chosen.names)} different names of dimensions are needed, not {', '.join(names)}"
            )
        words = {n: Word(n, b, t) for n, b, t in zip(names, chosen.bytes, chosen.types, strict=False)}
        plain = {
            name: replace(word, type=INTEGER) if word.type in FLOATS else word for name, word in words.items()
        }
        template, notes = chosen.template, [note, *_type_notes(words)]
    else:
        words, notes = _typed_words(seen, words, index)
        template = LINE if index.bytes == "trace" else ""
    traces = Traces(seen.headers, seen.numbers, byte_order, ibm)
    fields = [(word.byte, word.type) for word in words.values() if word.byte]
    stacked = place(index, words, template=template).template.startswith(("PostStack", CUSTOM))
    xy = find_coordinates(traces, fields, index, stacked=stacked)
    placement = place(index, words, xy.bytes if xy else (), template=template)
    placement = typed_coordinates(traces, placement, index)
    if "," in index.coordinate_bytes and not {coordinate.name for coordinate in placement.coordinates} & set(
        XY
    ):
        raise InputRefused(
            f"{placement.template} has no coordinates of CDPs, so coordinate bytes {index.coordinate_bytes} have no "
            "place",
            flags="--coordinate-bytes auto",
        )
    notes += coordinate_notes(traces, placement, index) + doubts
    earlier: tuple[int, ...] = xy.bytes if xy else ()
    if index.coordinate_bytes == "auto":
        earlier = coordinates_before(seen.headers, [byte for byte, _ in fields], byte_order)
    before = place(index, plain or {}, earlier, template=template)
    return IndexChoice(placement, tuple(notes), judged, before if before != placement else None)


def _type_notes(words: dict[str, Word]) -> list[str]:
    """Return a sentence on each word that is no integer."""
    return [
        f"The values at byte {word.byte} ({name}) are {word.type}; name another type with --index-types."
        for name, word in words.items()
        if word.type != INTEGER
    ]


def _typed_words(seen: Seen, words: dict[str, Word], index: Index) -> tuple[dict[str, Word], list[str]]:
    """Return the index words with the types that their fields have where the user names none, and what that changes."""
    if index.types:
        return words, []
    typed, notes = {}, []
    starts = {word.byte for word in words.values()}
    for name, entry in words.items():
        kind = entry.type
        if entry.byte and kind == INTEGER and entry.byte + 2 in starts:
            kind = "int16"  # no more of it is left before the next field
        elif (
            entry.byte and kind == INTEGER and entry.byte - 2 in starts and _beyond_numbers(seen, entry.byte)
        ):
            kind = "int16"  # as the field before it
        elif entry.byte and kind == INTEGER:
            measure = bool(quantity(name).kind)
            kind = number_type(seen.headers, entry.byte, seen.byte_order, measure=measure, ibm=seen.ibm)
        if kind != entry.type:
            notes.append(
                f"The values at byte {entry.byte} ({name}) are {kind}; name another type with --index-types."
            )
        typed[name] = replace(entry, type=kind)
    return typed, notes


def _beyond_numbers(seen: Seen, byte: int) -> bool:
    """Return whether 32 bits hold more than numbers of lines do."""
    return bool((np.abs(seen.word(byte, INTEGER).values.astype(np.int64)) >= LARGEST_NUMBER).any())


def _find(seen: Seen, template: str) -> tuple[Candidate, str, tuple[Candidate, ...]]:
    """Return the one candidate, the reason, and all that were judged; only of the template's kind if one is given."""
    if template.startswith("PostStack2D"):
        return _find_line(seen)
    only_3d = template != "auto"

    def on_the_ground(judged: Candidate) -> Candidate:
        first, second = (seen.word(byte, kind) for byte, kind in zip(judged.bytes, judged.types, strict=True))
        return judged if judged.objection else replace(judged, objection=off_the_grid(seen, first, second))

    def at(places: Sequence[int]) -> Candidate:
        first, second = (seen.word(byte) for byte in places)
        return on_the_ground(judge(first, second, seen.n_traces, repeats=seen.repeats))

    standard, likely = at(STANDARD), [at(places) for places in _LIKELY]
    judged = (standard, *likely)
    if not standard.objection:
        return standard, f"Bytes {_numbers(STANDARD)} hold {standard}.", judged
    if seen.n_traces == 1 and not only_3d:
        return _find_line(seen)
    # At 181,185 one trace a cell is post-stack whatever the offset; at 9 to 21 it can be shots by channels.
    if likely[0].objection and (evidence := are_gathers(seen)):
        return _find_gathers(seen, evidence, standard.objection, judged, only_3d=only_3d)
    one_by_one = [] if only_3d else [line for line in lines(seen) if line.bytes]
    judged += tuple(one_by_one)
    line = next((line for line in one_by_one if not line.objection), None)
    going = "" if only_3d else path(seen)
    _refuse_duplicates(seen, judged[:2], likely)
    known = [candidate for candidate in likely if not candidate.objection]
    if not known and (line is None or going != "on"):
        candidates = anywhere(
            seen.headers, seen.numbers, seen.n_traces, seen.byte_order, complete=seen.complete
        )
        others = [on_the_ground(candidate) for candidate in candidates]
        judged += tuple(others)
        known = [candidate for candidate in others if not candidate.objection]
    grids = _different(known, seen)
    # A line whose coordinates jump is none; one without coordinates is a doubt where any two words hold a grid.
    if (
        line is not None
        and going != "jumps"
        and (going == "on" or any(grid in known for grid in grids) or not grids)
    ):
        grids.append(line)
    if not grids and going == "on":
        return _find_line(seen)
    if len(grids) == 1:
        chosen = grids[0]
        return (
            chosen,
            f"Bytes {_numbers(STANDARD)} are not the index ({standard.objection}); {chosen.place} "
            f"{'hold' if len(chosen.bytes) > 1 else 'holds'} {chosen}.",
            judged,
        )
    if grids:
        what = "the index" if line in grids else "inline and crossline"
        places = " or ".join(_numbers(grid.bytes) for grid in grids[:_MOST_SHOWN])
        sentence = f"several header fields could be {what}: bytes {places}; scan lists what they hold"
        raise InputRefused(sentence, flags=grids[0].option)
    raise InputRefused(
        f"no header fields hold a grid of inlines and crosslines ({_numbers(STANDARD)}: {standard.objection}); "
        "it may be a 2-D line or prestack, and scan lists its fields; to keep the traces in their order",
        flags="--index-bytes trace",
    )


def _find_line(seen: Seen) -> tuple[Candidate, str, tuple[Candidate, ...]]:
    """Return the numbering of a 2-D line: by CDP, by shot point or by trace order."""
    judged = lines(seen)
    chosen = next(line for line in judged if not line.objection)
    passed = "; ".join(line.objection for line in judged[: judged.index(chosen)])
    where = f"{chosen.place.capitalize()} numbers" if chosen.bytes else "Their order in the file numbers"
    return chosen, f"{where} the traces{f' ({passed})' if passed else ''}.", tuple(judged)


def _find_gathers(
    seen: Seen, evidence: str, objection: str, judged: tuple[Candidate, ...], *, only_3d: bool
) -> tuple[Candidate, str, tuple[Candidate, ...]]:
    """Return the one reading of a prestack file."""
    readings = gathers(seen)
    judged += tuple(readings)
    good = [reading for reading in readings if not reading.objection]
    if len(good) == 1 and not only_3d:
        return good[0], f"Traces differ by offset ({evidence}); {good[0].place} hold {good[0]}.", judged
    what = f"this looks like prestack data ({evidence}; bytes {_numbers(STANDARD)}: {objection})"
    if good and not only_3d:
        raise InputRefused(f"{what}; scan lists how its gathers can be read", flags=good[0].option)
    if option := irregular_option(seen):
        raise InputRefused(f"{what}, whose offsets make no grid; to number them in each gather", flags=option)
    raise InputRefused(
        f"{what}, and no words are known to hold its gathers; scan lists its fields; to keep the traces in their order",
        flags="--index-bytes trace",
    )


def _numbers(places: Sequence[int]) -> str:
    return ",".join(map(str, places))


def _refuse_duplicates(seen: Seen, suspects: Sequence[Candidate], others: Sequence[Candidate]) -> None:
    """Refuse the first candidate that fails only by duplicates, unless other fields form a grid without any."""
    spoilt = [
        c for c in suspects if c.objection.endswith("of an earlier one") or _CROWDED.search(c.objection)
    ]
    if not spoilt or any(not c.objection for c in others):
        return
    first, second = (seen.word(byte) for byte in spoilt[0].bytes)
    count, kept, again = repeated(first, second)
    numbers = seen.numbers
    have = "trace has" if count == 1 else "traces have"
    raise InputRefused(
        f"{count:,} {have} the inline and crossline ({spoilt[0].place}) of an earlier one, first "
        f"traces {numbers[kept] + 1:,} and {numbers[again] + 1:,} (inline {first.values[again]}, crossline "
        f"{second.values[again]})",
        flags="--has-duplicates",
    )


def _different(candidates: Sequence[Candidate], seen: Seen) -> list[Candidate]:
    """Return the candidates that differ as grids: of those that number the same lines, by any numbers, the first."""
    kept: list[tuple[Candidate, HeaderWord, HeaderWord]] = []
    for candidate in candidates:
        a, b = (
            seen.word(byte, word_type)
            for byte, word_type in zip(candidate.bytes, candidate.types, strict=True)
        )
        if not any(
            (a.same_lines(c) and b.same_lines(d)) or (a.same_lines(d) and b.same_lines(c)) for _, c, d in kept
        ):
            kept.append((candidate, a, b))
    return [candidate for candidate, _, _ in kept]

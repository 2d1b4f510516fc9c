"""Recognise gathers and 2-D lines, and their index fields, from the order of traces.

Shots by channels form a grid just as CDPs by offsets do, and on a 2-D line any two fields may form one by chance. So
the order of traces in the file is used as well: the slow field must change more rarely than the fast one, a line must
be numbered in steps of one, and coordinates that change from trace to trace without a jump belong to a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.volume.segy.field_types import PLACES, judge_pair, number_type
from tasks.volume.segy.geometry import MOST_CELLS_PER_TRACE
from tasks.volume.segy.headers import word
from tasks.volume.segy.index_score import STANDARD, Candidate, HeaderWord, header_word, repeated
from tasks.volume.segy.templates import quantity

LINE = "PostStack2DTime"
# Template, names and bytes; an offset as the last word tells traces of one gather apart.
_GATHERS = (
    ("CdpOffsetGathers3DTime", ("inline", "crossline", "offset"), (189, 193, 37)),
    ("CdpOffsetGathers3DTime", ("inline", "crossline", "offset"), (181, 185, 37)),
    ("CdpOffsetGathers2DTime", ("cdp", "offset"), (21, 37)),
    ("StreamerShotGathers2D", ("shot_point", "channel"), (17, 13)),
    ("StreamerShotGathers2D", ("shot_point", "channel"), (9, 13)),
)
_LINES = (("cdp", 21), ("shot_point", 17), ("shot_point", 197))
# A step of this many times the usual one is a jump to another line; gaps in a line are shorter.
JUMP = 4
# Least part of a stack's traces with a source position of their own; traces in a chunk of gathers that make no grid;
# and least part of the cells of such gathers that have some.
_MOSTLY, _CHUNK, _LEAST_FILLED = 0.9, 64, 0.2
# A line gets as far as its steps add up to, or this part of it if it is crooked; a survey comes back line by line.
_CROOKED, _STRAIGHT = 0.25, 2
# Two directions on the ground whose angle has a sine below this are one; a step shorter than this part of one is none.
_ALONG, _SHORT = 0.1, 0.2


@dataclass(frozen=True, eq=False)
class Track:
    """Coordinates of the traces that were read, their first bytes, and usual and longest distance to the next one."""

    places: tuple[int, int]
    x: np.ndarray
    y: np.ndarray
    usual: float
    most: float


@dataclass(frozen=True, eq=False)
class Seen:
    """Headers that were read (uint8, shape (traces, 240)), their ascending trace numbers, and the number in the file.

    `repeats` says that several traces may have the same index, as the user says.
    """

    headers: np.ndarray
    numbers: np.ndarray
    n_traces: int
    byte_order: str
    ibm: bool = False
    repeats: bool = False

    @property
    def complete(self) -> bool:
        """Return whether these are all traces of the file."""
        return len(self.numbers) == self.n_traces

    def word(self, byte: int, word_type: str = "") -> HeaderWord:
        """Return the values of a header field for scoring, in the given type or the one that the values indicate."""
        word_type = word_type or number_type(self.headers, byte, self.byte_order)
        return header_word(self.headers, byte, self.byte_order, word_type=word_type, complete=self.complete)

    @cached_property
    def track(self) -> "Track | None":
        """Return the first pair of coordinates that mostly changes from trace to trace; None if no pair does."""
        adjacent = np.diff(self.numbers) == 1
        for places in PLACES:
            readings = judge_pair(self.headers, self.numbers, places, self.byte_order, ibm=self.ibm)
            if not readings or not np.isfinite(readings[0].misfit):
                continue
            x, y = (
                word(self.headers, byte, readings[0].type, self.byte_order).astype(np.float64)
                for byte in places
            )
            # Where the standard has lines, what goes on in one direction is the numbers of one line.
            if places == STANDARD and 2 * min(len(np.unique(x)), len(np.unique(y))) < len(x):
                continue
            steps = np.hypot(np.diff(x), np.diff(y))[adjacent]
            moved = steps[steps > 0]
            if 2 * len(moved) > len(steps) and len(moved) >= 3:
                return Track(places, x, y, float(np.median(moved)), float(moved.max()))
        return None

    def changes(self, values: np.ndarray) -> int:
        """Return how often values differ between successive traces in the file."""
        return int(np.count_nonzero(np.diff(values)[np.diff(self.numbers) == 1]))


def are_gathers(seen: Seen) -> str:
    """Return the evidence that traces differ by offset; empty if there is none."""

    def at(byte: int) -> np.ndarray:
        return word(seen.headers, byte, "int32", seen.byte_order).astype(np.int64)

    offsets = at(37)
    if offsets.min() != offsets.max():
        low, high = seen.word(37).low, seen.word(37).high
        return f"offsets at byte 37 go from {low} to {high}"
    if _one_trace_a_place(seen):
        return ""
    # Coordinates of sources or groups that are all 0 were not filled in.
    pairs = [(at(source), at(group)) for source, group in ((73, 81), (77, 85))]
    distances = [group - source for source, group in pairs if group.any() and source.any()]
    if any(distance.min() != distance.max() for distance in distances):
        return "distances from source to group, bytes 73 to 88, vary"
    return ""


def _one_trace_a_place(seen: Seen) -> bool:
    """Return whether each trace has a CDP or a source position of its own, as in a stack that has X and Y there."""
    if seen.word(21).distinct == len(seen.numbers):
        return True
    sources = np.stack([word(seen.headers, byte, "int32", seen.byte_order) for byte in (73, 77)], axis=1)
    return len(np.unique(sources, axis=0)) >= _MOSTLY * len(seen.numbers)


def irregular_option(seen: Seen) -> str:
    """Return the flags for gathers whose offsets form no grid; empty if no field numbers gathers."""
    coordinates = seen.track.places if seen.track else ()
    for template, names, places in _GATHERS:
        words = [seen.word(byte) for byte in places]
        numbers, offset = words[:-1], words[-1]
        if names[-1] != "offset" or set(coordinates) & set(places) or offset.low == offset.high:
            continue
        counts = [number.distinct for number in numbers]
        again, _, _ = repeated(*numbers)
        groups = len(seen.numbers) - again
        changes = seen.changes(numbers[-1].positions)
        filled = groups >= _LEAST_FILLED * float(np.prod(counts, dtype=np.float64))
        if min(counts) > 1 and again and filled and changes <= groups:
            usual = places == tuple(quantity(name).byte for name in names)
            where = "" if usual else f" --index-bytes {','.join(map(str, places))}"
            return f"--template {template}{where} --non-binned --non-binned-dims offset --chunksize {_CHUNK}"
    return ""


def gathers(seen: Seen) -> list[Candidate]:
    """Return the candidates for a prestack file, each with its objection, if there is one."""
    candidates: list[Candidate] = []
    for template, names, places in _GATHERS:
        words = [seen.word(byte) for byte in places]
        same = next(
            (c for c in candidates if c.template == template and not c.objection and _same(seen, c, words)),
            None,
        )
        if same is None:
            candidates.append(_candidate(seen, template, names, words, _objection(seen, words)))
    return candidates


def lines(seen: Seen) -> list[Candidate]:
    """Return the readings of a 2-D line: numbered by CDP or by shot point; last, in trace order."""
    candidates = []
    for name, byte in _LINES:
        entry = seen.word(byte)
        steps = np.diff(entry.values)
        objection = ""
        if entry.low == entry.high and (seen.n_traces > 1 or entry.low == 0):
            objection = f"byte {byte} is {entry.low} in all traces"
        elif not ((steps > 0).all() or (steps < 0).all() or (seen.repeats and entry.direction)):
            objection = f"byte {byte} does not number the traces one by one"
        candidates.append(_candidate(seen, LINE, (name,), [entry], objection))
    n = seen.n_traces
    return [*candidates, Candidate((), (), (1,), (n,), (1,), (n,), 1.0, "", ("trace",), LINE)]


def path(seen: Seen) -> str:
    """Return how coordinates change from trace to trace: `on`, as along a line, in `jumps`, or `unknown`."""
    track = seen.track
    if track is None:
        return "unknown"
    way = track.usual * float(seen.numbers[-1] - seen.numbers[0])
    farthest = float(np.hypot(track.x - track.x[0], track.y - track.y[0]).max())
    # Between traces at hand that are no neighbours a line gets no farther than its steps add up to.
    gaps = np.diff(seen.numbers)
    reached = np.hypot(np.diff(track.x), np.diff(track.y)) <= _STRAIGHT * track.usual * gaps
    goes_on = track.most <= JUMP * track.usual and reached[gaps > JUMP].all()
    return "on" if goes_on and farthest >= _CROOKED * way else "jumps"


def off_the_grid(seen: Seen, first: HeaderWord, second: HeaderWord) -> str:
    """Return the evidence that coordinates follow a line and not the grid of two fields; empty if there is none.

    In a survey, even one of a few lines shot in both directions, a step in either field is a step on the ground, and
    the two have different directions. Fields that hold the digits of a count of traces along a line have no such steps.
    """
    track = seen.track
    if track is None or path(seen) != "on" or first.low == first.high or second.low == second.high:
        return ""
    steps = [(entry.values - entry.low) / entry.step for entry in (first, second)]
    grid = np.stack([*steps, np.ones(len(seen.numbers))], axis=1)
    ground = np.stack([track.x - track.x[0], track.y - track.y[0]], axis=1)
    fitted = np.linalg.lstsq(grid, ground, rcond=None)[0]
    away = float(np.sqrt(np.mean(np.sum((ground - grid @ fitted) ** 2, axis=1))))
    across = abs(float(np.linalg.det(fitted[:2])))
    lengths = np.linalg.norm(fitted[:2], axis=1)
    if away > track.usual or lengths.min() < _SHORT * track.usual or across <= _ALONG * lengths.prod():
        return "the coordinates go on from trace to trace as along a 2-D line"
    return ""


def _candidate(
    seen: Seen, template: str, names: tuple[str, ...], words: Sequence[HeaderWord], objection: str
) -> Candidate:
    counts = tuple(word.count for word in words)
    return Candidate(
        bytes=tuple(word.byte for word in words),
        types=tuple(word.type for word in words),
        lows=tuple(word.low for word in words),
        highs=tuple(word.high for word in words),
        steps=tuple(word.step for word in words),
        counts=counts,
        density=seen.n_traces / float(np.prod(counts, dtype=np.float64)),
        objection=objection,
        names=names,
        template=template,
    )


def _objection(seen: Seen, words: Sequence[HeaderWord]) -> str:
    """Return the evidence that these fields do not index the gathers; empty without any."""
    for entry in words:
        if entry.low == entry.high:
            return f"byte {entry.byte} is {entry.low} in all traces"
        if entry.distinct == len(seen.numbers) > 1:
            return f"byte {entry.byte} differs in every trace"
    if words[0].like_coordinates:
        return "the values look like coordinates"
    cells = float(np.prod([word.count for word in words], dtype=np.float64))
    if cells > MOST_CELLS_PER_TRACE * seen.n_traces:
        return f"{cells:,.0f} cells for {seen.n_traces:,} traces"
    slow, fast = seen.changes(words[0].values), seen.changes(words[-1].values)
    if slow * 2 > fast:
        return f"byte {words[0].byte} changes as often as byte {words[-1].byte}"
    count, _, _ = (0, -1, -1) if seen.repeats else repeated(*words)
    return f"{count:,} traces have the numbers of an earlier one" if count else ""


def _same(seen: Seen, candidate: Candidate, words: Sequence[HeaderWord]) -> bool:
    """Return whether words number the same gathers as a candidate does, by any numbers."""
    others = [seen.word(byte) for byte in candidate.bytes]
    return all(word.same_lines(other) for word, other in zip(words, others, strict=True))

"""Score fields of trace headers as the index of a file: inline and crossline, gathers, or a line.

Fields are scored by the properties of a grid: few values, each shared by many traces, at regular distances, few cells
without a trace, and no two traces with the same values.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.volume.segy.field_types import INTEGER, number_type
from tasks.volume.segy.geometry import MOST_CELLS_PER_TRACE
from tasks.volume.segy.headers import TRACE_HEADER_FIELDS, word, word_bytes
from tasks.volume.segy.templates import TEMPLATES

NAMES = ("inline", "crossline")
POST_STACK = "PostStack3DTime"
STANDARD = (189, 193)
# By the standard these count traces within a line, record or gather: with the record they always form a
# grid, also in prestack and on 2-D lines. They are shown, never chosen.
_COUNTERS = frozenset((1, 13, 25))
# Offset, codes, scalars, sample counts and the time of day are no line numbers, but hours by minutes factor.
_NEVER = _COUNTERS | {29, 37, 69, 71, 89, 115, 117} | set(range(157, 169, 2))
# Numbers from here on, in steps other than 1, are taken for coordinates.
_COORDINATE = 100_000
# In a sample the extents may be seen too small, so somewhat more traces than cells are no objection.
_MOST_TRACES_PER_CELL = 1.8


@dataclass(frozen=True)
class Candidate:
    """Header fields as an index: their extents, the density of the grid, and the objection to them.

    `objection` is empty for fields that could be the index. `density` is traces per cell. From a sample,
    steps, counts and density are estimates. A candidate without fields means traces in file order.
    """

    bytes: tuple[int, ...]
    types: tuple[str, ...]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    steps: tuple[int, ...]
    counts: tuple[int, ...]
    density: float
    objection: str
    names: tuple[str, ...] = NAMES
    template: str = POST_STACK

    @property
    def option(self) -> str:
        """Return the option for the command line."""
        template = "" if self.template == POST_STACK else f" --template {self.template}"
        if not self.bytes:
            return f"--index-bytes trace{template}"
        types = "" if set(self.types) == {"int32"} else f" --index-types {','.join(self.types)}"
        own = TEMPLATES[self.template].dims == self.names
        names = "" if own else f" --index-names {','.join(self.names)}"
        return f"--index-bytes {','.join(map(str, self.bytes))}{types}{names}{template}"

    @property
    def place(self) -> str:
        """Return the bytes of the fields, as in bytes 189,193."""
        return f"bytes {','.join(map(str, self.bytes))}" if len(self.bytes) > 1 else f"byte {self.bytes[0]}"

    def __str__(self) -> str:
        spans = (
            f"{name} {low} to {high}" + (f" by {step}" if step > 1 else "")
            for name, low, high, step in zip(self.names, self.lows, self.highs, self.steps, strict=True)
        )
        full = f"{self.density:.0%} filled" if self.density <= 1 else f"{self.density:.3g} traces a cell"
        return f"{', '.join(spans)}, {full}"


@dataclass(frozen=True, eq=False)
class HeaderWord:
    """Values of one header field in the sampled traces; `complete` if these are all traces of the file."""

    byte: int
    type: str
    values: np.ndarray
    complete: bool

    @cached_property
    def low(self) -> int:
        """Return the lowest value."""
        return int(self.values.min())

    @cached_property
    def high(self) -> int:
        """Return the highest value."""
        return int(self.values.max())

    @cached_property
    def step(self) -> int:
        """Return the greatest common step of all values; in a sample it can be a multiple of the file's step."""
        return int(np.gcd.reduce(self.values - self.low)) or 1

    @cached_property
    def _axis(self) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self.values, return_inverse=True)

    @property
    def distinct(self) -> int:
        """Return the number of distinct values."""
        return len(self._axis[0])

    @property
    def positions(self) -> np.ndarray:
        """Return the position of each trace on the axis of distinct values."""
        return self._axis[1]

    @property
    def span(self) -> int:
        """Return the number of steps from the lowest to the highest value, both counted."""
        return (self.high - self.low) // self.step + 1

    @property
    def count(self) -> int:
        """Return the estimated number of values in the file, from the sampled traces."""
        return self.distinct if self.complete else self.span

    @property
    def like_coordinates(self) -> bool:
        """Return whether the values are too large and too far apart for line numbers."""
        huge = max(abs(self.low), abs(self.high)) >= _COORDINATE
        return huge and (self.step > 1 or self.span > 2 * self.count)

    @property
    def direction(self) -> str:
        """Return the order of values in the file: `rises` or `falls` if they never do otherwise."""
        steps = np.diff(self.values)
        return "rises" if (steps >= 0).all() else "falls" if (steps <= 0).all() else ""

    def same_lines(self, other: "HeaderWord") -> bool:
        """Return whether two words number the same lines, in the same or the opposite direction."""
        if self.distinct != other.distinct:
            return False
        here, there = self.positions, other.positions
        return bool(np.array_equal(here, there) or np.array_equal(self.distinct - 1 - here, there))


def header_word(
    headers: np.ndarray, byte: int, byte_order: str, *, word_type: str = "int32", complete: bool = True
) -> HeaderWord:
    """Return a field of some traces for scoring; `headers` is uint8 of shape (traces, 240)."""
    return HeaderWord(byte, word_type, word(headers, byte, word_type, byte_order).astype(np.int64), complete)


def judge(first: HeaderWord, second: HeaderWord, n_traces: int, *, repeats: bool = False) -> Candidate:
    """Judge two fields as inline and crossline of a file of `n_traces` traces; numbers may repeat only if allowed."""
    return Candidate(
        bytes=(first.byte, second.byte),
        types=(first.type, second.type),
        lows=(first.low, second.low),
        highs=(first.high, second.high),
        steps=(first.step, second.step),
        counts=(first.count, second.count),
        density=n_traces / (first.count * second.count),
        objection=_objection(first, second, n_traces, repeats=repeats),
    )


def _objection(first: HeaderWord, second: HeaderWord, n_traces: int, *, repeats: bool) -> str:
    """Return the evidence that two fields are not the index; empty without any."""
    words = (first, second)
    standard = (first.byte, second.byte) == STANDARD
    constant = [w for w in words if w.low == w.high]
    if len(constant) == 2 and (n_traces > 1 or not standard or 0 in (first.low, second.low)):
        return f"both are constant ({first.low} and {second.low})"
    # A single line is a volume too, but only the standard place says that it is one.
    if constant and (not standard or constant[0].low == 0):
        return f"byte {constant[0].byte} is {constant[0].low} in all traces"
    counter = next((w.byte for w in words if w.byte in _COUNTERS), 0)
    if counter:
        return f"byte {counter} counts traces within a record by the standard"
    if all(w.like_coordinates for w in words):
        return "the values look like coordinates"
    own = next((w.byte for w in words if w.count >= n_traces > 1), 0)
    if own and not constant:
        return f"byte {own} differs in every trace"
    # At the standard place gaps in the numbering are believed; elsewhere they speak against line numbers.
    believed = standard and not constant
    cells = (first.count if believed else first.span) * (second.count if believed else second.span)
    if cells > MOST_CELLS_PER_TRACE * n_traces:
        return f"{cells:,} cells for {n_traces:,} traces"
    if repeats:
        return ""
    # A sample may have skipped lines regularly, so as many as there can be are granted.
    most = cells if first.complete else (first.high - first.low + 1) * (second.high - second.low + 1)
    if n_traces > _MOST_TRACES_PER_CELL * most:
        return f"{n_traces:,} traces for {most:,} cells"
    count, _, _ = repeated(first, second)
    return f"{count:,} traces have the numbers of an earlier one" if count else ""


def repeated(*words: HeaderWord) -> tuple[int, int, int]:
    """Return the number of sampled traces that repeat the fields of an earlier one, and the first such pair."""
    cells = words[0].positions
    for field in words[1:]:
        cells = np.unique(cells, return_inverse=True)[1] * field.distinct + field.positions
    _, earliest, cell = np.unique(cells, return_index=True, return_inverse=True)
    again = np.flatnonzero(earliest[cell] != np.arange(len(cells)))
    return (len(again), int(earliest[cell][again[0]]), int(again[0])) if len(again) else (0, -1, -1)


def varying(headers: np.ndarray, byte_order: str, *, complete: bool) -> list[HeaderWord]:
    """Return the words of the standard whose values differ between the traces read, in the order of the header."""
    types = {
        f.byte: number_type(headers, f.byte, byte_order) if f.type == INTEGER else f.type
        for f in TRACE_HEADER_FIELDS
    }
    words = (
        header_word(headers, byte, byte_order, word_type=kind, complete=complete)
        for byte, kind in types.items()
    )
    return [word for word in words if word.low != word.high]


def anywhere(
    headers: np.ndarray, numbers: np.ndarray, n_traces: int, byte_order: str, *, complete: bool
) -> list[Candidate]:
    """Candidates without objection among all aligned words of the header.

    The field that changes more rarely from trace to trace comes first; if the order in the file does not tell, the one
    with the lower byte. Each axis needs 3 lines or more, because any two fields make a grid of 2 by something.
    """
    # The fields of the standard and, where rev 0 assigns nothing, aligned int32 words.
    fields = [(f.byte, f.type) for f in TRACE_HEADER_FIELDS if f.byte not in _NEVER]
    # Of words that number the same lines the first stays: int32 first, the part for the binned trace first.
    fields.sort(key=lambda place: (place[1] == "int16", place[0] < 181, place[0]))
    unassigned = [(byte, "int32") for byte in range(181, 238, 4)]
    words: list[HeaderWord] = []
    for byte, word_type in dict.fromkeys(fields + unassigned):
        item = header_word(headers, byte, byte_order, word_type=word_type, complete=complete)
        if item.low == item.high or item.distinct < 3 or item.count >= n_traces:
            continue
        if not any(item.same_lines(other) for other in words):
            words.append(item)
    adjacent = np.diff(numbers) == 1
    changes = {word.byte: int(np.count_nonzero(np.diff(word.values)[adjacent])) for word in words}
    candidates = []
    for pair in itertools.combinations(words, 2):
        slow, fast = sorted(pair, key=lambda entry: entry.byte)
        if changes[slow.byte] > 2 * changes[fast.byte]:
            slow, fast = fast, slow
        if not overlap([slow.byte], [fast.byte], word_bytes(slow.type), word_bytes(fast.type)):
            candidate = judge(slow, fast, n_traces)
            if not candidate.objection:
                candidates.append(candidate)
    return candidates


def overlap(places: Sequence[int], others: Sequence[int], width: int = 4, other_width: int = 4) -> bool:
    """Return whether any of some words shares bytes with any of some others."""
    return any(a < b + other_width and b < a + width for a in places for b in others)

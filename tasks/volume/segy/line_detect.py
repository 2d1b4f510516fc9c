"""Detect several 2-D lines in one file: their coordinates contradict the grid that line and CDP numbers would make.

In a survey, a step in either number is the same step on the ground everywhere, so one linear map leads from numbers to
coordinates. Separate lines each have a direction and an origin of their own.
"""

import numpy as np

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.index_prestack import JUMP, Seen, Track, are_gathers
from tasks.volume.segy.index_score import Candidate, HeaderWord

# Fields that hold the number of a line, best first: record, inline, reel, shot point, shot point of the CDP.
_LINE_FIELDS = (9, 189, 5, 17, 197, 193, 1)
# Those that can count within a line.
_WITHIN_LINE = (193, 21, 13, 25, 17, 197, 189)
_PER_LINE = 8  # traces of a line that are compared
_ROUNDS = 12  # of the fit that gives outliers less weight
# A line is off the grid if its traces are by so many usual steps, and by this part of the extent of all.
_STEPS, _PART = 4.0, 0.05
# So many of the lines are off before a file is taken for lines: one may have wrong coordinates.
_MOST_WRONG = 0.2
_LEAST_TRACES = 3
# Part of the usual step by which a line's own step may differ from it, in length or direction.
_OTHER_STEP = 0.5
# A line that goes on is about as long as its traces are apart, one by one; places without order are far longer.
_WINDING = 2.0
# Lines that lie side by side, as near as this many usual steps, are those of a survey whichever way they were shot.
_BESIDE = 6.0


class SeveralLines(InputRefused):
    """The traces are those of several 2-D lines.

    Attributes:
        field: First byte and type of the field that numbers the lines.
    """

    def __init__(self, sentence: str, field: tuple[int, str]) -> None:
        """Say the sentence that a person is to read."""
        super().__init__(sentence, flags="--split line", verb="publish")
        self.field = field


def lines_sentence(seen: Seen, word: HeaderWord) -> str:
    """Return a sentence on why the traces seem to lie on several lines, and how to publish them.

    Args:
        seen: Headers at hand.
        word: The field that numbers the lines.
    """
    assert seen.track is not None
    places = ",".join(map(str, seen.track.places))
    count = f"{word.distinct:,}" if seen.complete else "several"
    return (
        f"this is no cube but {count} 2-D lines: by the coordinates at bytes {places} each number at byte {word.byte} "
        f"({word.low} to {word.high}) is a line of its own; to publish a volume of each"
    )


def refuse_lines(seen: Seen, chosen: Candidate | None) -> list[str]:
    """Refuse a file of several 2-D lines; else return notes on coordinates that do not fit the index.

    Args:
        seen: The headers that were read.
        chosen: The fields that would index the traces; None if none do.

    Raises:
        SeveralLines: The traces are those of several 2-D lines.
    """
    word, notes = None, []
    if chosen is None:
        word = None if are_gathers(seen) else line_field(seen)
    elif chosen.names == ("inline", "crossline"):
        first, second = (seen.word(byte, kind) for byte, kind in zip(chosen.bytes, chosen.types, strict=True))
        if contradicts(seen, first, second):
            word = first if _are_lines(seen, first, second) else None
            notes = [] if word else [_no_grid_sentence(seen, chosen)]
    if word is not None:
        raise SeveralLines(lines_sentence(seen, word), (word.byte, word.type))
    return notes


def _no_grid_sentence(seen: Seen, chosen: Candidate) -> str:
    assert seen.track is not None
    return (
        f"The coordinates at bytes {','.join(map(str, seen.track.places))} do not fit the grid of bytes "
        f"{','.join(map(str, chosen.bytes))}: traces are placed by their numbers, and coordinates kept as they are; "
        "others are named with --coordinate-bytes."
    )


def _are_lines(seen: Seen, first: HeaderWord, second: HeaderWord) -> bool:
    """Return whether coordinates that contradict a grid form separate lines, each continuous."""
    track = seen.track
    assert track is not None
    used = np.flatnonzero((track.x != 0) | (track.y != 0))
    order = used[np.lexsort((second.values[used], first.values[used]))]
    edges = np.flatnonzero(np.diff(first.values[order])) + 1
    winding, middles = [], []
    for rows in np.split(order, edges):
        x, y = track.x[rows], track.y[rows]
        middles.append((first.values[rows[0]], np.median(x), np.median(y)))
        extent = float(np.hypot(np.ptp(x), np.ptp(y)))
        if len(rows) >= _LEAST_TRACES:
            going = float(np.hypot(np.diff(x), np.diff(y)).sum())
            winding.append(going / extent if extent else np.inf)
    if not winding or float(np.median(winding)) > _WINDING:
        return False
    if len(middles) < 3:
        return True
    number, x, y = np.array(middles, np.float64).T
    apart = np.hypot(np.diff(x), np.diff(y)) / np.maximum(np.diff(number) / first.step, 1)
    usual = float(np.median(apart))
    return usual > _BESIDE * track.usual or float(np.median(np.abs(apart - usual))) > 0.5 * track.usual


def contradicts(seen: Seen, first: HeaderWord, second: HeaderWord) -> bool:
    """Return whether the coordinates belong to separate lines and contradict the grid of two fields."""
    track = seen.track
    if track is None or set(track.places) & {first.byte, second.byte} or first.distinct < 2:
        return False
    used = np.flatnonzero((track.x != 0) | (track.y != 0))
    line = first.positions[used]
    order = np.argsort(line, kind="stable")
    starts = np.flatnonzero(np.diff(line[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    # As many of each line, however long it is.
    picked = [
        order[np.unique(np.linspace(a, b - 1, _PER_LINE).astype(np.int64))]
        for a, b in zip(starts, ends, strict=True)
    ]
    if _turning(track, second, [used[entry] for entry in picked]) > _MOST_WRONG:
        return True
    away = _away_from_grid(track, first, second, used[np.concatenate(picked)])
    extent = float(np.hypot(np.ptp(track.x[used]), np.ptp(track.y[used])))
    limit = max(_STEPS * track.usual, _PART * extent)
    edges = np.cumsum([len(entry) for entry in picked])[:-1]
    off = [float(np.median(part)) > limit for part in np.split(away, edges)]
    return sum(off) > _MOST_WRONG * len(off)


def _turning(track: Track, second: HeaderWord, lines: list[np.ndarray]) -> float:
    """Return the fraction of lines whose step on the ground, per step of a field, differs from most lines'."""
    steps = []
    for rows in lines:
        counted = np.diff(second.values[rows]).astype(np.float64)
        moved = np.stack([np.diff(track.x[rows]), np.diff(track.y[rows])], axis=1)[counted != 0]
        if len(moved) >= _LEAST_TRACES:
            steps.append(np.median(moved / counted[counted != 0][:, np.newaxis], axis=0))
    if len(steps) < 2:
        return 0.0
    # The step of the line that is most like the others, so that of two lines it is that of one.
    middle = np.median(steps, axis=0)
    usual = steps[int(np.argmin(np.hypot(*(np.array(steps) - middle).T)))]
    length = float(np.median(np.hypot(*np.transpose(steps))))
    return float(np.mean(np.hypot(*(np.array(steps) - usual).T) > _OTHER_STEP * length))


def _away_from_grid(track: Track, first: HeaderWord, second: HeaderWord, rows: np.ndarray) -> np.ndarray:
    """Return how far from the linear map that fits most of them some traces lie."""
    numbers = [(entry.values[rows] - entry.low) / entry.step for entry in (first, second)]
    grid = np.stack([*numbers, np.ones(len(rows))], axis=1).astype(np.float64)
    ground = np.stack([track.x[rows] - track.x[rows[0]], track.y[rows] - track.y[rows[0]]], axis=1)
    weights = np.ones(len(rows))
    away = weights
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)[:, np.newaxis]
        fitted = np.linalg.lstsq(grid * root, ground * root, rcond=None)[0]
        away = np.hypot(*(ground - grid @ fitted).T)
        weights = 1 / np.maximum(away, track.usual)
    return away


def line_field(seen: Seen) -> HeaderWord | None:
    """Return the field that numbers lines which follow each other in the file; None where coordinates show none."""
    track = seen.track
    if track is None or track.most <= JUMP * track.usual:
        return None
    adjacent = np.diff(seen.numbers) == 1
    jumps = adjacent & (np.hypot(np.diff(track.x), np.diff(track.y)) > JUMP * track.usual)
    for byte in _LINE_FIELDS:
        word = seen.word(byte)
        if byte in track.places or not 2 <= word.distinct <= len(seen.numbers) / _LEAST_TRACES:
            continue
        changes = np.diff(word.values) != 0
        together = int(changes.sum()) == word.distinct - 1
        # A line goes on without a jump, but for a gap or two.
        inside = int((jumps & ~changes).sum())
        if together and (jumps & changes).any() and inside <= 0.05 * len(seen.numbers):
            return None if _is_survey(seen, word) else word
    return None


def _is_survey(seen: Seen, line: HeaderWord) -> bool:
    """Return whether a line number and some other field, or the order in a line, make a grid on the ground."""
    starts = np.flatnonzero(np.diff(line.values, prepend=line.values[0] - 1))
    lengths = np.diff(np.append(starts, len(line.values)))
    rank = HeaderWord(0, "int32", seen.numbers - np.repeat(seen.numbers[starts], lengths), seen.complete)
    others = [seen.word(byte) for byte in _WITHIN_LINE if byte != line.byte]
    seconds = [entry for entry in (rank, *others) if entry.low != entry.high]
    return not all(contradicts(seen, line, second) for second in seconds)

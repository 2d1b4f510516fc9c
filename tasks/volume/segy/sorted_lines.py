"""Find where the lines of a sorted file begin and end, from few of its headers.

In a sorted file, one index field changes by the same step from trace to trace until a line ends or traces are
missing. If the values of two traces of one line differ by as many steps as there are traces from one to the other,
none between them is missing. Otherwise, traces between them are read. Lines mostly begin and end at the same values
as their neighbours, so two headers determine most lines, and bisection the others. Values between two headers that
were read are predictions: the caller must compare each trace's fields when they are read.
"""

from collections.abc import Callable, Sequence

import numpy as np

_CHECKED = 16  # traces that test what was found, all over the file
_GOLDEN = 0.6180339887498949  # multiples of it share no small period with lines
_FANNED = 4  # ends guessed at once from one that is known
_PROBES_PER_RUN = 2  # at least: where it begins and where it ends


def predict_runs(
    probe: Callable[[Sequence[int]], np.ndarray],
    numbers: np.ndarray,
    words: np.ndarray,
    n_traces: int,
    *,
    most_probes: int,
) -> list[np.ndarray] | None:
    """Return the index words that the traces of a sorted file seem to have; None if that takes too many headers.

    Args:
        probe: Reads the index words of some traces by their numbers: int64, shape (trace, word).
        numbers: Traces whose words are known, from 0; the first and the last of the file and some that follow
            each other must be among them.
        words: Words of these traces, int64, shape (trace, word).
        n_traces: Number of traces in the file.
        most_probes: Most further traces to read.

    Returns:
        Values of every word for each trace, int32 where all fit.
    """
    numbers, once = np.unique(numbers, return_index=True)
    words = words[once]
    fast, step = _going_on(numbers, words)
    if fast < 0 or _expected_runs(numbers, words, fast, step, n_traces) * _PROBES_PER_RUN > most_probes:
        return None
    left, checked = most_probes, False
    while True:
        wanted = _unsettled(numbers, words, fast, step)
        if not wanted.size:
            if checked:
                break
            checked = True
            spread = (np.arange(1, _CHECKED + 1) * _GOLDEN % 1 * n_traces).astype(np.int64)
            wanted = np.setdiff1d(spread, numbers)
        left -= len(wanted)
        if left < 0:
            return None
        if wanted.size:
            numbers = np.concatenate([numbers, wanted])
            words = np.concatenate([words, probe(wanted.tolist())])
            order = np.argsort(numbers)
            numbers, words = numbers[order], words[order]
    # What a fast word would be in the first trace of the file, had its line begun there.
    words[:, fast] -= step * numbers
    columns = [_narrow(np.repeat(column, np.diff(numbers, append=n_traces))) for column in words.T]
    along = np.arange(n_traces)
    along *= step
    along += columns[fast]
    columns[fast] = _narrow(along)
    return columns


def _narrow(values: np.ndarray) -> np.ndarray:
    """Return the same values, int32 if they fit."""
    limits = np.iinfo(np.int32)
    return values.astype(np.int32) if limits.min <= values.min() and values.max() <= limits.max else values


def _going_on(numbers: np.ndarray, words: np.ndarray) -> tuple[int, int]:
    """Return the field that mostly changes alone between successive traces, and its commonest step; -1 if none does."""
    steps = np.diff(words, axis=0)[np.diff(numbers) == 1]
    alone = steps[(steps != 0).sum(axis=1) == 1]
    if 2 * len(alone) < len(steps) or not len(alone):
        return -1, 0
    changes, counts = np.unique(alone, axis=0, return_counts=True)
    usual = changes[np.argmax(counts)]
    fast = int(np.flatnonzero(usual)[0])
    return fast, int(usual[fast])


def _goes_on(numbers: np.ndarray, words: np.ndarray, fast: int, step: int) -> np.ndarray:
    """Return whether known traces are as far apart in the fast field as in the file, and equal in the others."""
    away = np.diff(words, axis=0)
    away[:, fast] -= step * np.diff(numbers)
    return (away == 0).all(axis=1)


def _expected_runs(numbers: np.ndarray, words: np.ndarray, fast: int, step: int, n_traces: int) -> float:
    """Return the number of runs of the file, extrapolated from the stretches that are known."""
    adjacent = np.diff(numbers) == 1
    ends = np.count_nonzero(adjacent & ~_goes_on(numbers, words, fast, step))
    return ends * n_traces / int(adjacent.sum())


def _unsettled(numbers: np.ndarray, words: np.ndarray, fast: int, step: int) -> np.ndarray:
    """Return the traces to look at next, ascending: nothing if all are settled."""
    gaps = np.diff(numbers)
    open_ = np.flatnonzero((gaps > 1) & ~_goes_on(numbers, words, fast, step))
    if not open_.size:
        return open_
    same_line = (np.delete(np.diff(words, axis=0), fast, axis=1) == 0).all(axis=1)
    # In steps from trace to trace: where lines begin and end as far as it was seen, and between these in proportion.
    values = words[:, fast] / step
    ends = np.flatnonzero((gaps == 1) & ~same_line)
    places, lows, highs = numbers[ends], values[ends + 1], values[ends]
    if not ends.size:
        places, lows, highs = numbers[:1], values.min(keepdims=True), values.max(keepdims=True)
    next_line = numbers[open_] + np.rint(np.interp(numbers[open_], places, highs) - values[open_]) + 1
    this_line = numbers[open_ + 1] - np.rint(values[open_ + 1] - np.interp(numbers[open_ + 1], places, lows))
    usual = max(1.0, float(np.median(highs - lows)))
    middle = (numbers[open_] + numbers[open_ + 1]) // 2
    several = ~same_line[open_] & (this_line - next_line > usual / 2)
    if several.any():
        return middle[several]
    # A few ends all over the file first, so that the others are guessed from ends nearby; those best known already.
    around = len(np.unique(np.searchsorted(numbers[open_], places)))
    groups = np.array_split(np.arange(len(open_)), min(len(open_), _FANNED * around))
    wanted: list[int] = []
    for group in groups:
        k = int(group[np.argmin(gaps[open_[group]])])
        at = int(open_[k])
        first, last = numbers[at : at + 2].tolist()
        starts = () if same_line[at] else (int(next_line[k]), int(this_line[k]))
        guesses = [t for start in starts for t in (start - 1, start) if first < t < last]
        if not guesses and starts:
            # It was guessed before, so it is not far: from the near side on, twice as far each time.
            if starts[0] <= first and at > 0:
                guesses = [min(first + 2 * int(gaps[at - 1]), int(middle[k]))]
            elif starts[0] >= last and at + 1 < len(gaps):
                guesses = [max(last - 2 * int(gaps[at + 1]), int(middle[k]))]
        wanted += guesses or [int(middle[k])]
    return np.unique(np.array(wanted, np.int64))

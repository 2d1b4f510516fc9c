"""Lines of sorted files are found from few headers, whatever is missing; what cannot be told so is given up."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.segy.sorted_lines import predict_runs


class Counted:
    """Words of all traces, and how often some were asked for."""

    def __init__(self, words: np.ndarray) -> None:
        self.words, self.probes, self.rounds = words, 0, 0

    def __call__(self, traces: Sequence[int]) -> np.ndarray:
        """The words of some."""
        assert len(set(traces)) == len(traces)
        self.probes += len(traces)
        self.rounds += 1
        return self.words[list(traces)]


def sorted_words(live: np.ndarray, *, first=(1001, 2040), steps=(1, 2), slowest: int = 0) -> np.ndarray:
    """Words (inline, crossline) of a file that is sorted by one of them; `live` says which cells have a trace."""
    cells = np.argwhere(live if slowest == 0 else live.T)[:, :: 1 if slowest == 0 else -1]
    return np.array(first) + np.array(steps) * cells


def predict(
    words: np.ndarray, *, head: int = 300, most: int = 100_000
) -> tuple[list[np.ndarray] | None, Counted]:
    """As a far file is looked at: a head, a tail and some traces between."""
    n = len(words)
    known = np.unique(
        np.concatenate(
            [np.arange(min(head, n)), np.linspace(0, n - 1, 14).astype(int), np.arange(max(0, n - 30), n)]
        )
    )
    probe = Counted(words)
    return predict_runs(probe, known, words[known], n, most_probes=most), probe


def outline(kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Which cells of a survey have a trace."""
    i, j = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return {
        "a corner missing": (i / shape[0] + j / shape[1]) > 0.3,
        "the other corner missing": (i / shape[0] + j / shape[1]) < 1.7,
        "a parallelogram": (j >= i // 4) & (j < shape[1] - shape[0] // 4 + i // 4),
        "an ellipse": ((2 * i / shape[0] - 1) ** 2 + (2 * j / shape[1] - 1) ** 2) < 1,
        "a hole": ~((abs(i - 80) < 12) & (abs(j - 60) < 9)),
        "lines missing": ~np.isin(i, [17, 18, 90]),
        "single traces missing": ~np.isin(i * shape[1] + j, [5_000, 5_002, 17_777]),
        "full": np.ones(shape, bool),
    }[kind]


# How many headers each line may take at most: its two ends if its neighbours end alike, bisection else.
OUTLINES = {
    "full": 3.5,
    "a corner missing": 4,
    "the other corner missing": 4,
    "a hole": 5,
    "single traces missing": 4,
    "a parallelogram": 10,
    "an ellipse": 11,
    "lines missing": 20,
}


@pytest.mark.parametrize(("kind", "most"), OUTLINES.items(), ids=OUTLINES)
@pytest.mark.parametrize("slowest", [0, 1])
@pytest.mark.parametrize("steps", [(1, 1), (-2, 3), (4, -1)])
def test_outlines_of_surveys_are_found_from_a_few_headers_a_line(kind, most, slowest, steps):
    shape = (200, 150)
    words = sorted_words(outline(kind, shape), steps=steps, slowest=slowest)
    found, probe = predict(words)
    assert np.array_equal(np.stack(found, axis=1), words)
    assert probe.probes <= most * shape[slowest]
    assert probe.rounds <= 40


def test_sorted_gathers_of_unequal_fold_are_found():
    folds = np.tile([60, 60, 60, 58, 60, 60, 60, 60, 24, 60], 40)
    words = np.array(
        [(1 + k // 20, 101 + k % 20, 100 + 50 * t) for k, n in enumerate(folds) for t in range(n)]
    )
    found, probe = predict(words)
    assert np.array_equal(np.stack(found, axis=1), words)
    assert probe.probes < 0.2 * len(words)


def test_a_line_with_gaps_is_found():
    words = np.delete(np.arange(101, 30_101), slice(7_000, 7_800))[:, np.newaxis]
    found, probe = predict(words)
    assert np.array_equal(found[0], words[:, 0])
    assert probe.probes < 60


@pytest.mark.parametrize(
    "words",
    [
        np.random.default_rng(3).permutation(sorted_words(np.ones((90, 80), bool))),
        sorted_words(np.random.default_rng(3).random((90, 80)) > 0.1),
        np.random.default_rng(3).integers(0, 9, (5_000, 2)),
        np.ones((5_000, 2), int),
    ],
    ids=["shuffled", "holes all over", "noise", "constant"],
)
def test_what_takes_too_many_headers_is_given_up_at_once(words):
    found, probe = predict(words, most=512)
    assert found is None
    assert probe.probes == 0


def test_a_file_whose_head_is_better_than_the_rest_is_given_up_within_the_allowance():
    live = np.random.default_rng(3).random((90, 80)) > 0.1
    live[:10] = True
    found, probe = predict(sorted_words(live), most=512)
    assert found is None
    assert probe.probes <= 512


def test_a_wrong_guess_is_the_right_one_but_for_what_no_probe_saw():
    words = sorted_words(outline("a corner missing", (200, 150)))
    swapped = words.copy()
    swapped[[12_345, 12_346]] = words[[12_346, 12_345]]
    found, _ = predict(swapped)
    assert np.array_equal(np.stack(found, axis=1), words), "the reader of the traces finds out"


def test_large_numbers_do_not_overflow():
    words = sorted_words(outline("a corner missing", (60, 50)), first=(2**31 - 70, -(2**31)), steps=(1, 1000))
    found, _ = predict(words)
    assert np.array_equal(np.stack(found, axis=1), words)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(2, 40)),
    seed=st.integers(0, 1000),
    holes=st.integers(0, 40),
    steps=st.tuples(st.sampled_from([1, 3, -2]), st.sampled_from([1, 2, -5])),
)
def test_any_sorted_file_is_found_or_given_up_and_never_asks_beyond_its_end(shape, seed, holes, steps):
    rng = np.random.default_rng(seed)
    live = np.ones(shape, bool)
    live.ravel()[rng.integers(0, live.size, holes)] = False
    words = sorted_words(live, steps=steps)
    if len(words) < 2:
        return
    found, probe = predict(words, head=min(len(words), 60))
    assert probe.probes <= len(words)
    # Between headers that agree nothing is looked at, so what is found agrees with all that was seen.
    assert found is None or len(found[0]) == len(words)

"""Chunks made of blocks that copies share against chunks encoded alone: the same bytes and the same errors."""

import itertools

import numpy as np
import pytest

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.derived.errors import encode_measured
from tasks.volume.derived.shared_blocks import SharedBlocks, can_share
from tasks.volume.kernels.error_sums import finite_or_zero

SHAPE = (9, 22, 50)
CHUNKS = [(4, 16, 32), (16, 4, 32), (12, 24, 4), (4, 4, 4)]
REGION = tuple(slice(0, n) for n in SHAPE)


def copy(chunks: tuple[int, ...], codec: str = "zfp:0.5", dtype: str = "float32") -> ArraySpec:
    return ArraySpec("copy", SHAPE, chunks, dtype, ("z", "y", "x"), codec, (), "0")


def region(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """A buffer with room for whole chunks, the values it was made of, where traces live, and whether some are NaN."""
    rng = np.random.default_rng(8)
    original = rng.normal(0, 100, SHAPE).astype(np.float32)
    original[:, :, 30:45] = 0
    live = rng.random(SHAPE[:2]) < (0.6 if kind != "whole" else 2)
    if kind == "nan":
        original[0, 0, 3], original[8, 21, 49] = np.nan, np.inf
    values = np.zeros((16, 32, 64), np.float32)
    valid = values[tuple(slice(0, n) for n in SHAPE)]
    bad = finite_or_zero(original, valid, live) > 0
    return values, original, live, bad


@pytest.mark.parametrize("kind", ["whole", "dead", "nan"])
def test_chunks_are_those_that_are_encoded_alone(kind: str) -> None:
    values, original, live, bad = region(kind)
    before = values.copy()
    shared = SharedBlocks.encoded(values, 0.5, original if bad else values[REGION], live, itself=not bad)
    assert shared
    for chunks in CHUNKS:
        counts = [range(-(-n // c)) for n, c in zip(SHAPE, chunks, strict=True)]
        for place in itertools.product(*counts):
            start = [p * c for p, c in zip(place, chunks, strict=True)]
            inside = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, chunks, SHAPE, strict=True))
            chunk = before[tuple(slice(s, s + c) for s, c in zip(start, chunks, strict=True))]
            compared = original[inside] if bad else chunk[tuple(slice(0, i.stop - i.start) for i in inside)]
            expected, sums = np.zeros(4), np.zeros(4)
            alone = encode_measured(copy(chunks), chunk, compared, live[inside[:-1]], expected, nonfinite=bad)
            args = start, chunks, original[inside], live[inside[:-1]], sums
            assert shared.chunk(*args, nonfinite=bad) == alone
            assert sums.tolist() == expected.tolist()


def test_bits_that_take_more_room_than_samples_are_not_kept() -> None:
    rng = np.random.default_rng(3)
    values = (rng.choice([-1, 1], (8, 8, 8)) * rng.uniform(0.9, 1, (8, 8, 8))).astype(np.float32)
    live = np.ones((8, 8), bool)
    assert SharedBlocks.encoded(values, 1e-9, values, live, itself=True) is None


@pytest.mark.parametrize(
    ("copies", "origin", "expected"),
    [
        ([copy(CHUNKS[0]), copy(CHUNKS[1])], 0, True),
        ([copy(CHUNKS[0])], 0, False),
        ([copy(CHUNKS[0]), copy(CHUNKS[1], "zfp:0.25")], 0, False),
        ([copy(CHUNKS[0]), copy((9, 22, 50))], 0, False),
        ([copy(CHUNKS[0], dtype="float64"), copy(CHUNKS[1], dtype="float64")], 0, False),
        ([copy(CHUNKS[0]), copy(CHUNKS[1])], 2, False),
    ],
)
def test_copies_of_one_tolerance_share_blocks(copies: list[ArraySpec], origin: int, expected: bool) -> None:
    values = np.zeros((16, 32, 64), np.float32)
    assert can_share(copies, values, (slice(origin, 9), slice(0, 22), slice(0, 50))) is expected

"""Integers and float64 between file bytes and chunks, against NumPy twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import traces
from tasks.volume.kernels.plain import decode_plain, encode_plain
from tasks.volume.kernels.traces import new_stats

# (type in memory, bytes in the file)
KINDS = [
    ("int8", 1), ("uint8", 1), ("int16", 2), ("uint16", 2), ("int32", 3), ("uint32", 3),
    ("int32", 4), ("uint32", 4), ("int64", 8), ("uint64", 8), ("float64", 8),
]  # fmt: skip


def twin(raw: np.ndarray, dtype: str, width: int, order: str) -> np.ndarray:
    """Samples from their bytes, uint8 of shape (trace, samples x width), with Python's own integers."""
    if dtype == "float64":
        return np.ascontiguousarray(raw).view(f"{order}f8").astype("f8")
    name = "big" if order == ">" else "little"
    values = [
        [
            int.from_bytes(trace[at : at + width].tobytes(), name, signed=dtype[0] == "i")
            for at in range(0, raw.shape[1], width)
        ]
        for trace in raw
    ]
    return np.array(values, dtype)


def swapped(order: str) -> bool:
    return (order == ">") == np.little_endian


@pytest.mark.parametrize(("dtype", "width"), KINDS)
@pytest.mark.parametrize("order", [">", "<"])
@settings(deadline=None, max_examples=12)
@given(
    n_traces=st.integers(1, 7),
    n_samples=st.sampled_from([1, 5, 13, 63, 64, 65, 2047, 2048, 2049]),
    chunk_samples=st.sampled_from([1, 13, 64, 3000]),
    before=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_column_of_chunks_equals_its_twin_and_comes_back(
    dtype, width, order, n_traces, n_samples, chunk_samples, before, seed
):
    rng = np.random.default_rng(seed)
    length = 240 + n_samples * width
    data = rng.integers(0, 256, before + n_traces * length, np.uint8)
    records = data[before:].reshape(n_traces, length)
    if rng.random() < 0.3:
        records[0] = 0
    present = rng.random(n_traces) < 0.8
    starts = np.where(present, before + np.arange(n_traces) * length + 240, -1)
    mixed = rng.permutation(n_traces)
    out = np.full((-(-n_samples // chunk_samples), n_traces, chunk_samples), 77, dtype)
    stats = new_stats()
    extremes = decode_plain(data, starts[mixed], n_samples, width, swapped(order), out, stats)

    expected = twin(records[:, 240:], dtype, width, order)
    fill = np.nan if dtype == "float64" else 0
    full = np.full((n_traces, out.shape[0] * chunk_samples), fill, dtype)
    full[present[mixed], :n_samples] = expected[mixed[present[mixed]]]
    got = np.ascontiguousarray(out.transpose(1, 0, 2)).reshape(n_traces, -1)
    assert got.tobytes() == full.tobytes()

    live = expected[present]
    finite = live[np.isfinite(live)]
    assert stats[traces.COUNT] == finite.size
    assert stats[traces.NONFINITE] == live.size - finite.size
    assert stats[traces.ZERO] == np.count_nonzero(live == 0)
    assert stats[traces.LIVE] == present.sum()
    assert stats[traces.DEAD] == np.count_nonzero((live == 0).all(axis=1))
    if finite.size:
        assert (stats[traces.MINIMUM], stats[traces.MAXIMUM]) == (finite.min(), finite.max())
    if finite.size and dtype != "float64":
        assert extremes == (int(finite.min()), int(finite.max()))
        exact = [int(value) for value in finite.ravel()]
        assert abs(stats[traces.SUM] - sum(exact)) <= 1e-12 * sum(map(abs, exact))
        squares = sum(value * value for value in exact)
        assert abs(stats[traces.SUM_OF_SQUARES] - squares) <= 1e-12 * squares
    else:
        assert extremes is None

    back = np.full_like(data, 0xAA)
    encode_plain(out, back, starts[mixed], n_samples, width, swapped(order))
    given_back = back[before:].reshape(records.shape)
    assert (given_back[present, 240:] == records[present, 240:]).all()
    assert (given_back[:, :240] == 0xAA).all()
    assert (given_back[~present] == 0xAA).all()


def test_sums_of_float64_leave_out_what_is_not_finite():
    values = np.array([1.5, np.nan, -2.0, np.inf, 0.0, -0.0, -np.inf])
    out, stats = np.empty((2, 1, 4)), new_stats()
    decode_plain(values.view(np.uint8), np.array([0]), 7, 8, False, out, stats)
    assert stats[[traces.COUNT, traces.NONFINITE, traces.ZERO, traces.DEAD]].tolist() == [4, 3, 2, 0]
    assert stats[[traces.SUM, traces.SUM_OF_SQUARES]].tolist() == [-0.5, 6.25]
    assert stats[[traces.MINIMUM, traces.MAXIMUM]].tolist() == [-2.0, 1.5]


def test_every_nan_of_float64_keeps_its_bits():
    words = np.array([0x7FF0000000000001, 0x7FF8DEADBEEF0001, 0xFFFFFFFFFFFFFFFF, 1, 1 << 63], np.uint64)
    out = np.empty((1, 1, 5))
    decode_plain(words.view(np.uint8), np.array([0]), 5, 8, False, out, new_stats())
    back = np.zeros(40, np.uint8)
    encode_plain(out, back, np.array([0]), 5, 8, False)
    assert (back.view(np.uint64) == words).all()


def test_integers_that_float64_lacks_have_exact_extremes():
    values = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
    out = np.empty((1, 1, 3), np.int64)
    extremes = decode_plain(values.view(np.uint8), np.array([0]), 3, 8, False, out, new_stats())
    assert extremes == (-(2**63), 2**63 - 1)


def test_a_column_without_traces_has_no_extremes():
    out = np.full((1, 2, 3), 9, np.int16)
    assert decode_plain(np.zeros(4, np.uint8), np.array([-1, -1]), 3, 2, True, out, new_stats()) is None
    assert not out.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.array([11])}, "the buffer has 20 bytes"),
        ({"starts": np.array([-2])}, "traces start at bytes -2"),
        ({"width": 3}, "samples of 3 bytes are not int16"),
        ({"out": np.empty((1, 1, 4), np.int16)}, "does not hold 1 traces of 5 samples"),
        ({"out": np.empty((1, 1, 5), ">i2")}, "native integers or float64"),
        ({"out": np.empty((1, 1, 5), np.float32)}, "native integers or float64"),
        ({"data": np.zeros(10, np.uint16)}, "file bytes must be uint8"),
        ({"stats": np.zeros(8)}, "must come from new_stats"),
    ],
)
def test_what_would_leave_the_buffers_is_refused(change, message):
    usual = {
        "data": np.zeros(20, np.uint8),
        "starts": np.array([10]),
        "n_samples": 5,
        "width": 2,
        "swap": True,
    }
    usual |= {"out": np.empty((1, 1, 5), np.int16), "stats": new_stats()}
    with pytest.raises(ValueError, match=message):
        decode_plain(**usual | change)

"""Samples decoded and encoded against hand values, a float64 twin, and each other.

Covers kernels/float_samples.py.
"""

import ctypes
import mmap
import os
import platform
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import traces
from tasks.volume.kernels.traces import decode_traces, encode_traces, merge_stats, new_stats

# (word, value, whether float32 gives the word back)
IBM_WORDS = [
    (0x00000000, 0.0, True),
    (0x80000000, -0.0, True),
    (0x41100000, 1.0, True),
    (0xC1100000, -1.0, True),
    (0x40800000, 0.5, True),
    (0x42640000, 100.0, True),
    (0xC276A000, -118.625, True),  # the example of the IBM manuals
    (0x41FFFFFF, 16.0 - 2.0**-20, True),
    (0x60FFFFFF, 2.0**128 - 2.0**104, True),  # the largest float32
    (0x21100000, 2.0**-128, True),  # denormal in float32, all bits kept
    (0x20FFFFF8, 2.0**-128 - 2.0**-149, True),  # the same, below 2^-128
    (0x1C100000, 2.0**-148, True),
    (0x20FFFFFF, 2.0**-128, False),  # three bits too many for a denormal: rounded
    (0x00100000, 0.0, False),  # 5.4e-79, the smallest normalised
    (0x00000001, 0.0, False),
    (0x61100000, np.inf, False),  # 2^128
    (0x7FFFFFFE, np.inf, False),
    (0xFFFFFFF0, -np.inf, False),
    (0x41010000, 0.0625, False),  # unnormalised: the value is kept, the word is not
    (0x46000001, 1.0, False),
    (0x41000000, 0.0, False),  # a zero with an exponent
    (0xC1000000, -0.0, False),
]


def twin(words: np.ndarray) -> np.ndarray:
    """IBM words in float64 arithmetic, rounded once to float32."""
    sign = np.where(words >> 31, -1.0, 1.0)
    exponent = (words >> 24 & 0x7F).astype(np.int64)
    with np.errstate(over="ignore", under="ignore"):
        return (sign * np.ldexp((words & 0xFFFFFF).astype(np.float64), 4 * exponent - 280)).astype(np.float32)


def decoded(words, starts, n_samples, *, ibm, swap=False, chunk_samples=64, fill=np.nan):
    """Chunks, statistics and exceptions, with room for as many as there are."""
    out = np.full((-(-n_samples // chunk_samples), len(starts), chunk_samples), 7, np.float32)
    exceptions = np.zeros((0, 3), np.int64)
    stats = new_stats()
    count = decode_traces(words, starts, n_samples, ibm, swap, fill, out, stats, exceptions)
    if count:
        exceptions = np.zeros((count, 3), np.int64)
        stats = new_stats()
        assert decode_traces(words, starts, n_samples, ibm, swap, fill, out, stats, exceptions) == count
    return out, stats, exceptions


def rows(out, n_samples):
    """Chunk-major samples as (trace, sample)."""
    return out.transpose(1, 0, 2).reshape(out.shape[1], -1)[:, :n_samples]


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize(("word", "value", "comes_back"), IBM_WORDS)
@pytest.mark.parametrize("swap", [False, True])
def test_special_ibm_words_have_their_hand_computed_values(word, value, comes_back, swap):
    words = np.array([0x41100000, word], np.uint32)
    words = words.byteswap() if swap else words
    out, _, exceptions = decoded(words, np.array([0]), 2, ibm=True, swap=swap)
    assert same_bits(out[0, 0, :2], np.array([1, value], np.float32))
    assert exceptions.tolist() == ([] if comes_back else [[0, 1, word]])
    back = np.zeros(2, np.uint32)
    encode_traces(out, back, np.array([0]), 2, True, swap)
    assert (back[1] == words[1]) == comes_back


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.inf, 0x7FFFFFFF),  # IBM has no infinity: the largest number
        (-np.inf, 0xFFFFFFFF),
        (np.nan, 0x7FFFFFFF),
        (1.0 + 2.0**-23, 0x41100000),  # 21 of 24 bits fit: truncated, not rounded
        (2.0**-149, 0x1B800000),
    ],
)
def test_floats_that_ibm_lacks_are_truncated(value, word):
    words = np.zeros(1, np.uint32)
    encode_traces(np.full((1, 1, 1), value, np.float32), words, np.array([0]), 1, True, False)
    assert hex(words[0]) == hex(word)


def check_all_words_of(words):
    """Values equal the twin's, and exactly the words that do not come back are reported."""
    n = words.size
    out, _, exceptions = decoded(words, np.array([0]), n, ibm=True, chunk_samples=n)
    assert same_bits(out.reshape(-1), twin(words))
    back = np.zeros_like(words)
    encode_traces(out, back, np.array([0]), n, True, False)
    lost = np.flatnonzero((back != words) | np.isinf(out.reshape(-1)))
    assert np.array_equal(exceptions[:, 1], lost)
    assert np.array_equal(exceptions[:, 2], words[lost])
    assert not exceptions[:, 0].any()
    magnitude = words & 0x7FFFFFFF
    safe = (magnitude >= 0x21000000) & (magnitude < 0x61000000) & (words & 0x00F00000 != 0)
    assert not np.any((safe | (magnitude == 0))[lost])


def test_one_in_997_of_all_ibm_words_is_exact_or_reported():
    check_all_words_of(np.arange(0, 2**32, 997, dtype=np.uint64).astype(np.uint32))


# The first byte of a word: sign and exponent. Where rules change, and some between; SEISMILL_IBM_WORDS=all for each.
FIRST_BYTES = [0x00, 0x1F, 0x20, 0x21, 0x22, 0x41, 0x60, 0x61, 0x62, 0x7F, 0x80, 0xA0, 0xA1, 0xC1, 0xE1, 0xFF]


@pytest.mark.slow
@pytest.mark.parametrize("top", range(256) if os.environ.get("SEISMILL_IBM_WORDS") == "all" else FIRST_BYTES)
def test_every_ibm_word_is_exact_or_reported(top):
    for low in range(0, 2**24, 2**20):
        check_all_words_of(np.arange(2**20, dtype=np.uint32) + np.uint32((top << 24) + low))


@pytest.mark.parametrize("swap", [False, True])
def test_ieee_words_keep_every_bit(swap):
    words = np.array(
        [
            0x7FC12345,
            0x7F800001,
            0xFFFFFFFF,
            0x7F800000,
            0xFF800000,
            1,
            0x80000001,
            0x80000000,
            0,
            0x3F800000,
            5,
            6,
            7,
        ],
        np.uint32,
    )
    words = words.byteswap() if swap else words
    out, stats, exceptions = decoded(words, np.array([0]), 13, ibm=False, swap=swap, chunk_samples=5)
    back = np.zeros_like(words)
    encode_traces(out, back, np.array([0]), 13, False, swap)
    assert same_bits(back, words)
    assert len(exceptions) == 0
    assert stats[traces.NONFINITE] == 5
    assert stats[traces.ZERO] == 2
    assert stats[traces.COUNT] == 8


@settings(deadline=None, max_examples=60)
@given(
    n_traces=st.integers(1, 9),
    n_samples=st.sampled_from([1, 5, 13, 255, 256, 257, 2047, 2048, 2049, 5001]),
    chunk_samples=st.sampled_from([1, 4, 13, 64, 2048, 3000]),
    ibm=st.booleans(),
    swap=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_column_of_chunks_equals_its_twin_and_comes_back(
    n_traces, n_samples, chunk_samples, ibm, swap, seed
):
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**32, (n_traces, 60 + n_samples), dtype=np.uint32)
    if not ibm:
        words[rng.random(words.shape) < 0.05] = 0x7FC00001
    present = rng.random(n_traces) < 0.8
    starts = np.where(present, np.arange(n_traces) * (60 + n_samples) + 60, -1)
    order = rng.permutation(n_traces)
    file_words = words.byteswap() if swap else words
    out, stats, exceptions = decoded(
        file_words.reshape(-1), starts[order], n_samples, ibm=ibm, swap=swap, chunk_samples=chunk_samples
    )

    expected = twin(words[:, 60:]) if ibm else words[:, 60:].view(np.float32)
    full = np.full((n_traces, out.shape[0] * chunk_samples), np.nan, np.float32)
    full[present[order], :n_samples] = expected[order[present[order]]]
    assert same_bits(np.ascontiguousarray(rows(out, full.shape[1])), full)

    live = expected[present]
    finite = live[np.isfinite(live)].astype(np.float64)
    assert stats[traces.COUNT] == finite.size
    assert stats[traces.NONFINITE] == live.size - finite.size
    assert stats[traces.ZERO] == np.count_nonzero(live == 0)
    assert stats[traces.LIVE] == present.sum()
    assert stats[traces.DEAD] == np.count_nonzero((live == 0).all(axis=1))
    assert stats[traces.MINIMUM] == finite.min(initial=np.inf)
    assert stats[traces.MAXIMUM] == finite.max(initial=-np.inf)
    assert abs(stats[traces.SUM] - finite.sum()) <= 1e-12 * np.abs(finite).sum()
    assert abs(stats[traces.SUM_OF_SQUARES] - np.square(finite).sum()) <= 1e-12 * np.square(finite).sum()

    back = np.full(file_words.shape, 99, np.uint32)
    encode_traces(out, back.reshape(-1), starts[order], n_samples, ibm, swap)
    plain = back.byteswap() if swap else back
    for trace, sample, word in exceptions:
        plain[order[trace], 60 + sample] = word
    wanted = np.where(present[:, None], words, 0)[:, 60:]
    assert np.array_equal(np.where(present[:, None], plain[:, 60:], 0), wanted)
    untouched = back.copy()
    untouched[present, 60:] = 99
    assert np.all(untouched == 99)


def test_random_floats_from_ibm_come_back():
    rng = np.random.default_rng(3)
    words = (rng.integers(0x21, 0x61, 100_003) << 24 | rng.integers(2**20, 2**24, 100_003)).astype(np.uint32)
    words ^= rng.integers(0, 2, words.size, dtype=np.uint32) << np.uint32(31)
    out, _, exceptions = decoded(words, np.array([0]), words.size, ibm=True)
    back = np.zeros_like(words)
    encode_traces(out, back, np.array([0]), words.size, True, False)
    assert len(exceptions) == 0
    assert np.array_equal(back, words)


def test_the_word_that_infinity_is_written_as_is_reported():
    words = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    _, _, exceptions = decoded(words, np.array([0]), 2, ibm=True)
    assert exceptions.tolist() == [[0, 0, 0x7FFFFFFF], [0, 1, 0xFFFFFFFF]]


def test_exceptions_beyond_the_room_are_counted():
    words = np.array([0x41000001, 0x41100000, 0x7FFFFFFF, 0x41000002], np.uint32)
    exceptions = np.full((2, 3), -1, np.int64)
    out = np.empty((1, 2, 2), np.float32)
    count = decode_traces(words, np.array([0, 2]), 2, True, False, 0.0, out, new_stats(), exceptions)
    assert count == 3
    assert exceptions.tolist() == [[0, 0, 0x41000001], [1, 0, 0x7FFFFFFF]]


def test_fill_reaches_cells_without_trace_and_samples_past_the_end():
    words = np.array([1, 2, 3, 4, 5], np.float32).view(np.uint32)
    out, stats, _ = decoded(words, np.array([-1, 0, -1]), 5, ibm=False, chunk_samples=4, fill=-1.0)
    assert rows(out, 8).tolist() == [[-1] * 8, [1, 2, 3, 4, 5, -1, -1, -1], [-1] * 8]
    assert stats[traces.LIVE] == 1


def test_a_trace_of_zeros_is_dead_and_a_trace_of_nan_is_not():
    words = np.zeros((3, 13), np.float32)
    words[1, 12] = np.nan
    words[2] = np.nan
    _, stats, _ = decoded(words.view(np.uint32).reshape(-1), np.arange(3) * 13, 13, ibm=False)
    assert stats[traces.LIVE] == 3
    assert stats[traces.DEAD] == 1
    assert stats[traces.COUNT] == 25
    assert (stats[traces.MINIMUM], stats[traces.MAXIMUM]) == (0.0, 0.0)


def test_no_sample_has_infinite_extremes():
    stats = merge_stats([new_stats(), new_stats()])
    assert stats.tolist() == [0, np.inf, -np.inf, 0, 0, 0, 0, 0, 0]


def test_merged_parts_equal_the_whole_whatever_thread_made_them():
    values = np.random.default_rng(5).normal(size=(90, 513)).astype(np.float32)
    words = values.view(np.uint32).reshape(-1)

    def part(first):
        return decoded(words, np.arange(first, first + 9) * 513, 513, ibm=False)

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(part, range(0, 90, 9)))
    again = [part(first) for first in range(0, 90, 9)]
    assert all(same_bits(a[0], b[0]) and same_bits(a[1], b[1]) for a, b in zip(parts, again, strict=True))
    merged = merge_stats(stats for _, stats, _ in parts)
    exact = values.astype(np.float64)
    assert merged[traces.COUNT] == values.size
    assert (merged[traces.MINIMUM], merged[traces.MAXIMUM]) == (exact.min(), exact.max())
    assert merged[traces.SUM] == pytest.approx(exact.sum(), rel=1e-10)
    assert merged[traces.SUM_OF_SQUARES] == pytest.approx(np.square(exact).sum(), rel=1e-12)


def test_words_of_immutable_bytes_are_taken():
    words = np.frombuffer(np.array([0x41100000], np.uint32).tobytes(), np.uint32)
    out, _, _ = decoded(words, np.array([0]), 1, ibm=True)
    assert out[0, 0, 0] == 1


@pytest.mark.parametrize(
    ("starts", "n_samples", "shape", "message"),
    [
        ([0, 6], 5, (2, 2, 3), "6 and have 5 samples, but the buffer has 10 words"),
        ([-2, 5], 5, (2, 2, 3), "words -2 to 5"),
        ([0, 5], 5, (1, 2, 3), r"out \(1, 2, 3\) does not hold 2 traces of 5 samples"),
        ([0, 5], 5, (2, 3, 3), "does not hold 2 traces"),
        ([0, 5], 0, (2, 2, 3), "traces of 0 samples"),
        ([0, 5], 5, (2, 6), "float32 with 3 axes"),
    ],
)
def test_what_does_not_fit_the_buffers_is_refused(starts, n_samples, shape, message):
    exceptions = np.zeros((1, 3), np.int64)
    with pytest.raises(ValueError, match=message):
        decode_traces(
            np.zeros(10, np.uint32),
            np.array(starts),
            n_samples,
            True,
            True,
            0.0,
            np.empty(shape, np.float32),
            new_stats(),
            exceptions,
        )


def test_records_of_another_type_are_refused():
    with pytest.raises(ValueError, match="records must be contiguous uint32 with 1 axis, got uint8"):
        encode_traces(np.zeros((1, 1, 4), np.float32), np.zeros(16, np.uint8), np.array([0]), 4, True, True)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets the control register of x86")
def test_a_thread_that_flushes_denormals_is_refused():
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\xae\x17\xc3")  # ldmxcsr [rdi]; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    set_control = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(address)
    words, out = np.full(1, 0x21100000, np.uint32), np.zeros((1, 1, 1), np.float32)
    decoded(words, np.array([0]), 1, ibm=True)

    def on_own_thread(work):
        set_control(struct.pack("I", 0x1F80 | 0x8040))  # flush to zero, denormals are zero
        with pytest.raises(RuntimeError, match="turns denormals into zero"):
            work()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(on_own_thread, lambda: decoded(words, np.array([0]), 1, ibm=True)).result()
        pool.submit(
            on_own_thread, lambda: encode_traces(out, words.copy(), np.array([0]), 1, True, False)
        ).result()

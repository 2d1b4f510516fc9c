"""Trace headers brought to little endian, against NumPy's structured types."""

import numpy as np
import pytest

from tasks.volume.kernels import swap_fields

WIDTHS = [4, 2, 2, 4, 4, 2]


def twin(raw, widths):
    """Read big endian fields, write little endian ones."""
    big = np.dtype([(f"f{n}", f">i{width}") for n, width in enumerate(widths)])
    little = np.dtype([(f"f{n}", f"<i{width}") for n, width in enumerate(widths)])
    fields = np.ascontiguousarray(raw[:, : big.itemsize]).view(big)[:, 0].astype(little)
    return fields.view(np.uint8).reshape(len(raw), big.itemsize)


@pytest.mark.parametrize(
    "widths",
    [
        [2],
        [4],
        WIDTHS,
        [4] * 60,
        [2] * 120,
        [4] * 7 + [2] * 4 + [4] * 8 + [2] * 2 + [4] * 4 + [2] * 46 + [4] * 5,
    ],
)
@pytest.mark.parametrize("n_traces", [0, 1, 5, 13])
def test_fields_equal_those_of_a_structured_type(widths, n_traces):
    raw = np.random.default_rng(1).integers(0, 256, (n_traces, 240), np.uint8)
    widths = np.array(widths, np.uint8)
    out = np.full((n_traces, widths.sum()), 7, np.uint8)
    swap_fields(raw, widths, out)
    assert np.array_equal(out, twin(raw, widths))


@pytest.mark.parametrize("offset", [0, 1, 2, 3])
def test_headers_among_samples_are_taken_where_they_lie(offset):
    records = np.random.default_rng(2).integers(0, 256, (5, 300), np.uint8).reshape(-1)
    raw = np.lib.stride_tricks.as_strided(records[offset:], (4, 240), (300, 1))
    raw.flags.writeable = False
    out = np.empty((4, 18), np.uint8)
    swap_fields(raw, np.array(WIDTHS, np.uint8), out)
    assert np.array_equal(out, twin(raw, WIDTHS))


def test_swapping_twice_gives_the_headers_back():
    raw = np.random.default_rng(3).integers(0, 256, (9, 18), np.uint8)
    once, twice = np.empty_like(raw), np.empty_like(raw)
    swap_fields(raw, np.array(WIDTHS, np.uint8), once)
    swap_fields(once, np.array(WIDTHS, np.uint8), twice)
    assert np.array_equal(twice, raw)


def test_fields_of_other_widths_and_other_shapes_are_refused():
    raw = np.zeros((3, 240), np.uint8)
    with pytest.raises(ValueError, match=r"2 or 4 bytes wide, got \[2, 8\]"):
        swap_fields(raw, np.array([2, 8], np.uint8), np.empty((3, 10), np.uint8))
    with pytest.raises(ValueError, match=r"the result has shape \(3, 18\)"):
        swap_fields(raw, np.array(WIDTHS, np.uint8), np.empty((3, 240), np.uint8))
    with pytest.raises(ValueError, match="fields of 244 bytes in all"):
        swap_fields(raw, np.full(61, 4, np.uint8), np.empty((3, 244), np.uint8))

"""Fields of the header have the type that their values show, in either byte order and with any scalar."""

import itertools

import numpy as np
import pytest

from tasks.volume.segy.field_types import judge_pair, number_type
from tests.support.segy_maker import ibm_of

CELLS = np.array(list(itertools.product(range(9), range(13))))
LINE, CROSS = CELLS.T
NUMBERS = np.arange(len(CELLS))
# X and Y of a survey; bins of 12.5 by 25 metres, feet, a rotated grid, a local origin, west and south of one.
SURVEYS = {
    "UTM": (431_955.25 + 12.5 * LINE, 6_348_554.5 + 25 * CROSS),
    "rotated": (600_000 + 20 * LINE + 7.3 * CROSS, 5_500_000 - 7 * LINE + 20 * CROSS),
    "local": (100 + 12.5 * LINE, 200 + 12.5 * CROSS),
    "state plane, feet": (2_500_000 + 110.0 * LINE + CROSS, 950_000 + 110.0 * CROSS),
    "UTM, feet": (1_700_000 + 82.5 * LINE, 12_000_000 + 82.5 * CROSS),
    "negative": (-80_000 + 12.5 * LINE, -300_000 + 25.0 * CROSS),
}
STORED = {"int32": "i4", "float32": "f4", "ibm32": "u4", "int16": "i2"}


def stored(values, kind, factor=1.0):
    """Values as they are written in a type."""
    if kind == "ibm32":
        return ibm_of(values)
    return values if kind == "float32" else np.rint(values * factor).astype(np.int64)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", ["int32", "float32", "ibm32"])
@pytest.mark.parametrize("scalar", [0, 1, -100])
@pytest.mark.parametrize("survey", SURVEYS)
def test_coordinates_have_the_type_in_which_they_make_sense(headers, survey, kind, scalar, order):
    if kind != "int32" and scalar == -100 and "feet" in survey:
        pytest.skip("a scalar of integers beside floats that look like integers of other feet")
    factor = 100 if kind == "int32" and scalar == -100 else 1
    x, y = SURVEYS[survey]
    if factor * np.abs(y).max() >= 2**30:
        pytest.skip("hundredths of feet are more than 31 bits hold")
    words = {(181, STORED[kind]): stored(x, kind, factor), (185, STORED[kind]): stored(y, kind, factor)}
    raw = headers(len(CELLS), words | {(71, "i2"): scalar}, order=order)
    found = judge_pair(raw, NUMBERS, (181, 185), order)[0]
    assert found.type == kind
    # A scalar that is there for integers is none of floats that make sense without it.
    assert found.scaled == (kind == "int32" or scalar in (0, 1))
    exact = 1.0 if kind == "int32" else float(np.spacing(np.float32(np.abs(y).max()))) * 8
    assert found.lows == pytest.approx((x.min() * factor, y.min() * factor), abs=exact)


@pytest.mark.parametrize("ibm", [False, True])
@pytest.mark.parametrize("kind", ["float32", "ibm32"])
@pytest.mark.parametrize(
    ("x", "y", "dx", "dy"),
    [
        (0, 0, 12.5, 25),
        (-30.25, -12.5, 6.25, 12.5),
        (3.5, 40, 25, 25),
        (-200, 10, 50, 20),
        (0, -75, 25, 12.5),
    ],
)
def test_a_small_local_grid_has_the_type_in_which_its_steps_are_equal(headers, kind, ibm, x, y, dx, dy):
    x, y = x + dx * LINE, y + dy * CROSS
    raw = headers(len(CELLS), {(181, STORED[kind]): stored(x, kind), (185, STORED[kind]): stored(y, kind)})
    found = judge_pair(raw, NUMBERS, (181, 185), ">", ibm=ibm)[0]
    assert (found.type, found.lows, found.highs) == (kind, (x.min(), y.min()), (x.max(), y.max()))


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("kind", ["float32", "ibm32"])
@pytest.mark.parametrize(
    ("x", "y", "step"),
    [(5.12, 52.1, 2e-4), (4.5, 52.3, 1e-3), (-94.5, 29.1, 2e-4), (114.9, -21.3, 3e-4), (0.7, 58.9, 1.1e-3)],
)
def test_degrees_are_floats_and_the_samples_type_settles_a_tie(headers, kind, order, x, y, step):
    x, y = x + step * LINE, y + step / 2 * CROSS
    raw = headers(
        len(CELLS), {(181, STORED[kind]): stored(x, kind), (185, STORED[kind]): stored(y, kind)}, order=order
    )
    assert judge_pair(raw, NUMBERS, (181, 185), order, ibm=kind == "ibm32")[0].type == kind


def test_coordinates_of_16_bits_are_found_beside_other_fields_and_never_cut_out_of_32(headers):
    other = (7 * NUMBERS) % 1000
    words = {
        (181, "i2"): 100 + 25 * LINE,
        (183, "i2"): other,
        (185, "i2"): 300 + 25 * CROSS,
        (187, "i2"): other,
    }
    assert judge_pair(headers(len(CELLS), words), NUMBERS, (181, 185), ">")[0].type == "int16"
    for x, y in SURVEYS.values():
        whole = {(181, "i4"): np.rint(x * 100), (185, "i4"): np.rint(y * 100)}
        if max(np.abs(x).max(), np.abs(y).max()) * 100 < 2**31:
            raw = headers(len(CELLS), whole)  # no scalar says that these are hundredths
            assert judge_pair(raw, NUMBERS, (181, 185), ">")[0].type == "int32"


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    ("kind", "values", "measure"),
    [
        ("int32", 100 + LINE, False),
        ("int32", 100_000_000 + 10_000 * LINE + CROSS, False),
        ("int32", -5 * LINE, False),
        ("int32", 0 * LINE, False),
        ("int32", 1_300_000_007 + 7 * NUMBERS, False),  # large, and no whole floats
        ("float32", 100.0 + LINE, False),
        ("float32", 1.0 + NUMBERS, False),
        ("float32", 0.0 - LINE, False),
        ("float32", -3000 + 12.5 * LINE, True),
        ("ibm32", 100.0 + LINE, False),
        ("ibm32", 1.0 + NUMBERS, False),
        ("ibm32", 2040.0 + 2 * CROSS, False),
        ("ibm32", 150.5 + 25 * LINE, True),
    ],
)
def test_numbers_have_the_type_in_which_they_are_whole(headers, kind, values, measure, order):
    raw = headers(len(CELLS), {(189, STORED[kind]): stored(values, kind)}, order=order)
    assert number_type(raw, 189, order, measure=measure, ibm=kind == "ibm32") == kind


def test_a_number_of_16_bits_before_empty_bytes_is_one(headers):
    raw = headers(len(CELLS), {(189, "i2"): 100 + LINE})
    assert number_type(raw, 189, ">") == "int16"
    assert number_type(headers(len(CELLS), {(191, "i2"): 100 + LINE}), 189, ">") == "int32"
    assert number_type(headers(len(CELLS), {(189, "i4"): 65536 * LINE + CROSS}), 189, ">") == "int32"
    assert number_type(raw, 239, ">") == "int32"  # no room for more

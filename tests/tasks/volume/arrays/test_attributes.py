"""The attributes that other tools read: statistics, and where samples of each level lie."""

import base64
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.attributes import (
    NAN_FILL,
    axis_scale,
    coarse_axis,
    level_scale,
    mdio_attributes,
    ome_attributes,
    statistics,
)
from tasks.volume.kernels.traces import decode_traces, new_stats


def stats_of(values: np.ndarray) -> np.ndarray:
    stats, out = new_stats(), np.empty((1, *values.shape), np.float32)
    starts = np.arange(len(values)) * values.shape[1]
    found = np.empty((0, 3), np.int64)
    decode_traces(
        values.view(np.uint32).ravel(), starts, values.shape[1], False, False, np.nan, out, stats, found
    )
    return stats


def test_statistics_are_those_of_the_finite_samples() -> None:
    values = np.random.default_rng(3).standard_normal((5, 13)).astype(np.float32)
    values[1, 3], values[2, 4], values[3] = np.nan, np.inf, 0
    finite = values[np.isfinite(values)].astype(np.float64)
    computed = statistics(stats_of(values))
    assert computed["count"] == finite.size == 63
    assert (computed["min"], computed["max"]) == (finite.min(), finite.max())
    for name, wanted in {
        "mean": finite.mean(),
        "std": finite.std(),
        "rms": np.sqrt((finite**2).mean()),
    }.items():
        assert computed[name] == pytest.approx(wanted, rel=1e-12)
    assert (computed["nonfinite_count"], computed["live_traces"], computed["zero_traces"]) == (2, 5, 1)
    assert computed["zero_count"] == (values == 0).sum()
    mdio = json.loads(computed["statsV1"])
    assert mdio["count"] == 63
    assert mdio["sum"] == pytest.approx(finite.sum(), rel=1e-12)
    assert mdio["sumSquares"] == pytest.approx((finite**2).sum(), rel=1e-12)
    assert (mdio["min"], mdio["max"]) == (finite.min(), finite.max())


def test_statistics_of_no_finite_sample_are_numbers_that_json_can_hold() -> None:
    computed = statistics(stats_of(np.full((1, 3), np.nan, np.float32)))
    assert computed["count"] == 0
    json.dumps(computed, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([10, 12, 14], (2.0, 10.0)),
        ([0.0, 0.5, 1.0], (0.5, 0.0)),
        ([7], (1.0, 7.0)),
        ([1, 2, 4], (1.0, 0.0)),  # unequal steps: index units, the labels are in the coordinate array
        ([3, 2, 1], (1.0, 0.0)),  # descending: OME has no negative scale
    ],
)
def test_a_scale_is_the_step_and_the_first_value(values: list[float], scale: tuple[float, float]) -> None:
    assert axis_scale(np.array(values)) == scale


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(-9, 9), st.integers(1, 9))
def test_labels_of_a_level_are_the_means_of_the_labels_that_it_averages(
    n: int, factor: int, first: int, step: int
) -> None:
    values = first + step * np.arange(n)
    coarse = coarse_axis(values, factor)
    twin = [values[i : i + factor].mean() for i in range(0, n, factor)]
    assert np.allclose(coarse, twin, rtol=0, atol=1e-12)
    scale, translation = level_scale(step, first, factor)
    whole = n // factor
    assert np.allclose(coarse[:whole], translation + scale * np.arange(whole))


def test_ome_has_the_axes_levels_and_a_window_around_zero() -> None:
    levels = [
        {"path": "amplitude", "scale": [1.0, 2.0, 4.0], "translation": [0.0, 0.0, 0.0]},
        {"path": "pyramid/1/amplitude", "scale": [2.0, 4.0, 8.0], "translation": [0.5, 1.0, 2.0]},
    ]
    ome = ome_attributes("amplitude", ["inline", "crossline", "time"], levels, -3.0, 2.0)
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["inline", "crossline", "time"]
    assert {axis["type"] for axis in image["axes"]} == {"space"}
    assert [dataset["path"] for dataset in image["datasets"]] == ["amplitude", "pyramid/1/amplitude"]
    assert image["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.0, 4.0, 8.0]},
        {"type": "translation", "translation": [0.5, 1.0, 2.0]},
    ]
    (channel,) = ome["omero"]["channels"]
    assert channel["window"] == {"min": -3.0, "max": 2.0, "start": -3.0, "end": 3.0}


def test_a_constant_zero_volume_has_a_window_that_is_not_empty() -> None:
    levels = [{"path": "amplitude", "scale": [1.0], "translation": [0.0]}]
    (channel,) = ome_attributes("amplitude", ["time"], levels, 0.0, 0.0)["omero"]["channels"]
    assert channel["window"]["start"] < channel["window"]["end"]


def test_mdio_finds_the_master_by_its_attributes() -> None:
    attributes = mdio_attributes("PostStack3DTime", "2026-01-01T00:00:00+00:00", "amplitude")
    assert attributes["name"] == "PostStack3DTime"
    assert attributes["attributes"]["defaultVariableName"] == "amplitude"
    assert attributes["createdOn"].startswith("2026")


def test_the_fill_attribute_is_nan_as_xarray_encodes_it() -> None:
    assert np.isnan(struct.unpack("<d", base64.b64decode(NAN_FILL))[0])

"""Indexes that need no hint, or little: duplicates, cables without a byte, single traces, irregular axes.

Covers segy/named_fields.py.
"""

import filecmp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Index, Overrides
from tasks.rechunk import rechunk
from tasks.scan import scan
from tests.support.segy_maker import sample_bytes, segy_bytes, values_of

N = np.arange(35)
CLEARED = {(189, "i4"): 0, (193, "i4"): 0, (181, "i4"): 0, (185, "i4"): 0}


def ingested(folder: Path, content: bytes, index: Index = Index()) -> zarr.Group:
    """The volume of a file that came back as it was."""
    source, volume = folder / "source.sgy", folder / "volume.zarr"
    source.write_bytes(content)
    ingest_segy(str(source), str(volume), index)
    export_segy(str(volume), str(folder / "back.sgy"))
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    return zarr.open_group(volume, mode="r")


@pytest.mark.parametrize(
    ("traces", "dims", "shape"),
    [
        ({(193, "i4"): N % 7 // 2}, ("inline", "crossline", "trace"), (5, 4, 2)),
        ({(189, "i4"): 1 + N // 14, (193, "i4"): N % 7}, ("inline", "crossline", "trace"), (3, 7, 2)),
        ({(189, "i4"): 1 + N // 7 % 2}, ("inline", "crossline", "trace"), (2, 7, 3)),
        (
            CLEARED | {(9, "i4"): 50 + N // 7, (21, "i4"): 10 + N % 7 // 3},
            ("inline", "crossline", "trace"),
            (5, 3, 3),
        ),
        (CLEARED | {(5, "i4"): 0, (21, "i4"): 101 + N // 2}, ("cdp", "trace"), (18, 2)),
    ],
)
def test_duplicates_are_counted_with_an_index_found_by_itself(tmp_path, traces, dims, shape):
    index = Index(overrides=Overrides(HasDuplicates=True))
    group = ingested(tmp_path, segy_bytes(code=5, traces=traces), index)
    assert group["amplitude"].metadata.dimension_names[:-1] == dims
    assert group["amplitude"].shape[:-1] == shape
    assert int(group["trace_mask"][...].sum()) == 35
    live = group["amplitude"][...][group["trace_mask"][...]]
    values = values_of(sample_bytes(35, 9, 5, ">"), 5, ">")
    order = group["trace_number"][...][group["trace_mask"][...]]
    np.testing.assert_array_equal(live, values[order])


@pytest.mark.parametrize(
    "named",
    [
        {"names": ["shot", "cable", "channel"], "bytes": "17,13"},
        {"names": ["shot_point", "cable", "channel"], "bytes": "17,13"},
        {"names": ["shot_point", "channel"], "bytes": "17,13"},
        {"names": ["shot_point", "cable", "channel"], "bytes": "17,0,13"},
        {"bytes": "17,13", "template": "StreamerShotGathers3D"},
        {"names": ["shot_point", "channel"], "bytes": "17,13", "types": ["int32", "int32"]},
    ],
)
def test_cables_are_calculated_with_named_index_bytes(tmp_path, named):
    overrides = Overrides(CalculateCable=True, ChannelWrap=True, ChannelsPerCable=8)
    n_shots, n_channels = 6, 24
    traces: dict[Any, Any] = CLEARED | {
        (17, "i4"): 10 + np.arange(n_shots * n_channels) // n_channels,
        (13, "i4"): 1 + np.arange(n_shots * n_channels) % n_channels,
    }
    content = segy_bytes(shape=(n_shots, n_channels), code=5, traces=traces)
    group = ingested(tmp_path, content, Index(overrides=overrides, **named))
    assert group["amplitude"].metadata.dimension_names[:-1] == ("shot_point", "cable", "channel")
    assert group["cable"][:].tolist() == [1, 2, 3]
    assert group["channel"][:].tolist() == list(range(1, 9))
    values = values_of(sample_bytes(n_shots * n_channels, 9, 5, ">"), 5, ">")
    np.testing.assert_array_equal(group["amplitude"][...].reshape(values.shape), values)


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [1, 7, 40, 1500])
@pytest.mark.parametrize(
    ("traces", "dims"),
    [
        (CLEARED, ("trace",)),
        (CLEARED | {(21, "i4"): 5}, ("cdp",)),
        (CLEARED | {(9, "i4"): 5, (17, "i4"): 6, (37, "i4"): 100}, ("shot_point",)),
        ({(189, "i4"): 5, (193, "i4"): 7}, ("inline", "crossline")),
        (CLEARED | {(73, "i4"): 5000, (77, "i4"): 7000}, ("trace",)),
    ],
)
def test_a_single_trace_needs_no_hint_and_its_copies_are_no_larger(tmp_path, traces, dims, n_samples):
    content = segy_bytes(shape=(1, 1), code=5, n_samples=n_samples, traces=traces, samples=noise(n_samples))
    group = ingested(tmp_path, content)
    assert group["amplitude"].metadata.dimension_names[:-1] == dims
    rechunk(str(tmp_path / "volume.zarr"), Copies(quality="low"))
    group = zarr.open_group(tmp_path / "volume.zarr", mode="r")
    copies = [name for name, array in group.arrays() if name.startswith("fast_")]
    assert len(copies) >= 2
    for name in copies:
        assert size(tmp_path, name) <= size(tmp_path, "amplitude")


def noise(n_samples: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(1, n_samples)).astype(">f4")
    return values.view(np.uint8).reshape(1, -1)


def size(folder: Path, name: str) -> int:
    """Stored bytes of an array."""
    return sum(
        file.stat().st_size for file in (folder / "volume.zarr" / name / "c").rglob("*") if file.is_file()
    )


@pytest.mark.parametrize("numbers", [[1, 2, 4, 8, 16], [10, 11, 13, 14, 20], [5, 6, 7, 8, 10]])
def test_scan_says_irregular(tmp_path, numbers):
    (tmp_path / "a.sgy").write_bytes(segy_bytes(traces={(189, "i4"): np.repeat(numbers, 7)}))
    axes = {axis["name"]: axis for axis in scan(str(tmp_path / "a.sgy"))["grid"]["axes"]}
    assert axes["inline"]["step"] == "irregular"
    assert axes["crossline"]["step"] == 3

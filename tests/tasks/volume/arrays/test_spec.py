"""Array specs: to zarr.json and back, shards of whole chunks, and which objects a region meets."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.spec import (
    DEFAULT_CHUNKS,
    SHARD_BYTES,
    ArraySpec,
    positions,
    round_up,
    shards_by_default,
    spec_of,
)
from tasks.volume.outcomes import IntegrityFailure

DIMS = ("inline", "crossline", "time")
SPECS = [
    ArraySpec("amplitude", (9, 5, 13), (4, 4, 4), "float32", DIMS, "zstd-3", (), "NaN"),
    ArraySpec("amplitude", (9, 5, 13), (4, 4, 4), "float32", DIMS, "lz4-5", (8, 4, 16), "NaN"),
    ArraySpec("fast_inline", (9, 5, 13), (4, 8, 16), "float32", DIMS, "zfp:0.25", (), "0"),
    ArraySpec("fast_inline", (9, 5, 13), (4, 8, 16), "float32", DIMS, "zfp:1.3e-07", (4, 16, 16), "0"),
    ArraySpec("trace_mask", (9, 5), (9, 5), "bool", DIMS[:2]),
    ArraySpec("trace_number", (9, 5), (9, 5), "int64", DIMS[:2], "raw"),
    ArraySpec("headers", (9, 5), (4, 4), "trace_header", DIMS[:2]),
    ArraySpec("raw_headers", (9, 5), (4, 4), "raw240", DIMS[:2]),
    ArraySpec("cdp_x", (9, 5), (4, 4), "float64", DIMS[:2], fill="NaN"),
    ArraySpec("segy_files/0/header", (3600,), (3600,), "uint8", ("header_byte",)),
    ArraySpec("raw_samples", (9, 5, 13), (4, 4, 4), "uint32", DIMS),
]


@pytest.mark.parametrize(
    "spec", SPECS, ids=lambda spec: f"{spec.path}-{spec.dtype}-{spec.codec}-{len(spec.shards)}"
)
def test_a_spec_comes_back_from_the_metadata_and_the_json_that_it_made(spec: ArraySpec) -> None:
    assert spec_of(spec.path, metadata_of(spec, {"x": 1})) == spec
    assert ArraySpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {}}]},
        {"codecs": [{"name": "bytes"}, {"name": "blosc"}, {"name": float("nan")}]},
        {"codecs": []},
        {"chunk_grid": {}},
        {"data_type": {"name": "struct"}},
    ],
)
def test_metadata_that_we_do_not_write_are_damage_of_the_root(changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityFailure, match=r"the root of v\.zarr does not say how amplitude is stored"):
        spec_of("amplitude", metadata_of(SPECS[0], {}) | changes, "v.zarr")


def test_sizes_are_of_the_array_and_its_chunks() -> None:
    spec = SPECS[1]
    assert spec.raw_bytes == 9 * 5 * 13 * 4
    assert spec.chunk_bytes == 4 * 4 * 4 * 4
    assert spec.unit == (8, 4, 16)
    assert spec.chunks_per_shard == (2, 1, 4)
    assert spec.key((1, 0, 0)) == "amplitude/c/1/0/0"
    assert np.isnan(spec.fill_value)
    assert SPECS[2].fill_value == 0
    assert SPECS[7].fill_value == np.zeros((), "V240")[()]


@settings(deadline=None)
@given(st.integers(1, 5), st.data())
def test_shards_are_whole_chunks_within_the_target_and_no_larger_than_the_array_takes(
    rank: int, data: st.DataObject
) -> None:
    shape = tuple(data.draw(st.integers(1, 3000)) for _ in range(rank))
    chunks = tuple(data.draw(st.integers(1, 64)) for _ in range(rank))
    shards = shards_by_default(shape, chunks, 4, target_bytes=1 << 20)
    assert all(s % c == 0 for s, c in zip(shards, chunks, strict=True))
    assert all(s <= round_up(n, c) for s, n, c in zip(shards, shape, chunks, strict=True))
    assert math.prod(shards) * 4 <= max(1 << 20, math.prod(chunks) * 4)


def test_shards_of_a_survey_are_a_few_tens_of_megabytes() -> None:
    shards = shards_by_default((2000, 1500, 1501), DEFAULT_CHUNKS[3], 4)
    assert shards[2] == round_up(1501, 64), "all samples first: a block of an ingest covers them all"
    assert 16 << 20 <= math.prod(shards) * 4 <= SHARD_BYTES


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(0, 29), st.integers(1, 30)),
        min_size=1,
        max_size=3,
    )
)
def test_positions_are_those_of_the_objects_that_meet_a_region(axes: list[tuple[int, int, int, int]]) -> None:
    shape, chunks = tuple(a[0] for a in axes), tuple(a[1] for a in axes)
    region = tuple(
        slice(min(start, n - 1), min(min(start, n - 1) + length, n)) for n, _, start, length in axes
    )
    spec = ArraySpec("a", shape, chunks, "float32", ("x",) * len(shape))
    owner = np.stack(
        np.meshgrid(*(np.arange(n) // c for n, c in zip(shape, chunks, strict=True)), indexing="ij"), axis=-1
    )
    met = {tuple(int(v) for v in p) for p in owner[region].reshape(-1, len(shape))}
    assert set(positions(spec, region)) == met
    assert positions(spec, region) == sorted(met)

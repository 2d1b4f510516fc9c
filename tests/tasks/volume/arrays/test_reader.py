"""Regions of stored arrays: equal to NumPy's, whether chunks lie alone or in shards, and errors where bytes changed.

Covers arrays/regions.py.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.codecs import (
    crc32c,
    decode_chunk,
    encode_chunk,
    encoded_bound,
    join_shard,
    metadata_of,
)
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.arrays.regions import fetch_chunks, read_region, whole_is_cheaper
from tasks.volume.arrays.spec import ArraySpec, spec_of
from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

DIMS = ("inline", "crossline", "time")
SHAPE, CHUNKS = (9, 5, 13), (4, 2, 3)
VALUES = np.random.default_rng(7).standard_normal(SHAPE, np.float32)
LAYOUTS = {
    "chunks": ArraySpec("a", SHAPE, CHUNKS, "float32", DIMS, "zstd-3", (), "NaN"),
    "shards": ArraySpec("a", SHAPE, CHUNKS, "float32", DIMS, "zstd-3", (8, 4, 6), "NaN"),
    "lossy": ArraySpec("a", SHAPE, (4, 4, 4), "float32", DIMS, "zfp:0.01", (8, 4, 16), "0"),
    "raw": ArraySpec("a", SHAPE, CHUNKS, "float32", DIMS, "raw", (), "NaN"),
}


def write(
    store: Store, spec: ArraySpec, values: np.ndarray, absent: tuple[tuple[int, ...], ...] = ()
) -> None:
    """Store an array with the codecs under test, but without the chunks at `absent`."""
    shards: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    for place in np.ndindex(*(-(-n // c) for n, c in zip(spec.shape, spec.chunks, strict=True))):
        if place in absent:
            continue
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        part = values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, spec.chunks, strict=True))]
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        shard = tuple(p // n for p, n in zip(place, spec.chunks_per_shard, strict=True))
        inside = tuple(p % n for p, n in zip(place, spec.chunks_per_shard, strict=True))
        shards.setdefault(shard, {})[inside] = encode_chunk(spec, chunk)
    for position, chunks in shards.items():
        store.put(spec.key(position), join_shard(spec, chunks) if spec.shards else chunks[(0, 0, 0)])
    store.put(f"{spec.path}/zarr.json", json.dumps(metadata_of(spec, {})).encode())


@pytest.fixture(scope="module", params=LAYOUTS)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, ArraySpec]:
    store = WritableStore(str(tmp_path_factory.mktemp(request.param)))
    write(store, LAYOUTS[request.param], VALUES)
    return store, LAYOUTS[request.param]


@pytest.mark.slow
@settings(deadline=None)
@given(st.tuples(*(st.tuples(st.integers(0, n - 1), st.integers(1, n)) for n in SHAPE)))
def test_any_region_has_the_values_that_zarr_reads_there(
    stored: tuple[Store, ArraySpec], axes: tuple[tuple[int, int], ...]
) -> None:
    store, spec = stored
    region = tuple(slice(start, min(start + n, size)) for (start, n), size in zip(axes, SHAPE, strict=True))
    values = read_region(store, spec, region)
    plain = zarr.open_array(store.path(spec.path), mode="r")
    assert np.array_equal(values, plain[region])
    error = np.abs(values - VALUES[region]).max()
    assert error <= (0.01 if spec.codec.startswith("zfp") else 0)


def test_plain_zarr_knows_the_metadata_as_its_own(stored: tuple[Store, ArraySpec]) -> None:
    store, spec = stored
    plain = zarr.open_array(store.path(spec.path), mode="r")
    assert (plain.shape, plain.chunks, plain.dtype) == (spec.shape, spec.chunks, spec.numpy)
    assert (plain.shards or ()) == spec.shards
    assert plain.metadata.dimension_names == spec.dims


def test_a_region_is_put_where_it_is_wanted(stored: tuple[Store, ArraySpec]) -> None:
    store, spec = stored
    room = np.full((12, 12, 16), 7, np.float32)
    region = (slice(1, 9), slice(0, 5), slice(3, 13))
    read_region(store, spec, region, out=room[:8, :5, :10])
    assert np.array_equal(room[:8, :5, :10], read_region(store, spec, region))
    assert (room[8:] == 7).all()
    assert (room[:, 5:] == 7).all()


def test_chunks_come_encoded_and_absent_ones_as_none(tmp_path: Path) -> None:
    for name, spec in LAYOUTS.items():
        store = WritableStore(str(tmp_path / name))
        write(store, spec, VALUES, absent=((1, 0, 2),))
        grid = [range(-(-n // c)) for n, c in zip(SHAPE, spec.chunks, strict=True)]
        places = list(itertools.product(*grid))
        for place, data in zip(places, fetch_chunks(store, spec, places), strict=True):
            assert (data is None) == (place == (1, 0, 2))
            if data is not None:
                assert len(data) <= encoded_bound(spec)
                assert decode_chunk(spec, data).shape == spec.chunks


@pytest.mark.parametrize("layout", ["chunks", "shards"])
def test_what_is_absent_is_fill_where_nothing_lives_and_an_error_where_a_trace_does(
    tmp_path: Path, layout: str
) -> None:
    store, spec = WritableStore(str(tmp_path)), LAYOUTS[layout]
    write(store, spec, VALUES, absent=((1, 0, 2),))
    values = read_region(store, spec)
    hole = (slice(4, 8), slice(0, 2), slice(6, 9))
    assert np.isnan(values[hole]).all()
    rest = np.ones(SHAPE, bool)
    rest[hole] = False
    assert np.array_equal(values[rest], VALUES[rest])
    live = np.ones(SHAPE[:2], bool)
    live[4:8, 0:2] = False
    assert np.isnan(read_region(store, spec, live=live)[hole]).all()
    live[7, 1] = True
    with pytest.raises(
        IntegrityFailure, match=r"chunk \(1, 0, 2\), is missing though traces live there.*verify"
    ):
        read_region(store, spec, live=live)


def test_a_flipped_bit_anywhere_is_an_error_that_says_where(
    stored: tuple[Store, ArraySpec], tmp_path: Path
) -> None:
    store, spec = stored
    other = WritableStore(str(tmp_path))
    write(other, spec, VALUES)
    key = spec.key((0, 0, 0))
    data = bytearray(store.get(key))
    for bit in range(0, len(data) * 8, 97):
        data[bit // 8] ^= 1 << bit % 8
        other.put(key, bytes(data))
        with pytest.raises(IntegrityFailure, match=r"fit its checksum"):
            read_region(other, spec)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("layout", ["chunks", "shards"])
@pytest.mark.parametrize("length", [0, 3, 5, 60])
def test_a_truncated_object_is_an_integrity_failure(tmp_path: Path, layout: str, length: int) -> None:
    store, spec = WritableStore(str(tmp_path)), LAYOUTS[layout]
    write(store, spec, VALUES)
    key = spec.key((0, 0, 0))
    store.put(key, store.get(key)[:length])
    with pytest.raises(IntegrityFailure, match="fit its checksum"):
        read_region(store, spec)
    with pytest.raises(IntegrityFailure, match="fit its checksum"):
        read_region(store, spec, tuple(slice(0, 1) for _ in SHAPE))


def test_few_chunks_of_a_shard_are_read_by_ranges_and_most_of_them_in_one_request(tmp_path: Path) -> None:
    class Counting(WritableStore):
        requests: list[str]

        def get(self, key: str) -> bytes:
            self.requests.append("get")
            return super().get(key)

        def get_range(self, key: str, start: int, length: int) -> bytes:
            self.requests.append("range")
            return super().get_range(key, start, length)

        def get_tail(self, key: str, length: int) -> bytes:
            self.requests.append("tail")
            return super().get_tail(key, length)

    store, spec = Counting(str(tmp_path)), LAYOUTS["shards"]
    store.requests = []
    write(store, spec, VALUES)
    read_region(store, spec, (slice(0, 4), slice(0, 2), slice(0, 3)))
    assert store.requests == ["tail", "range"]
    store.requests.clear()
    read_region(store, spec, (slice(0, 8), slice(0, 4), slice(0, 6)))
    assert store.requests == ["get"]


@pytest.mark.parametrize(
    ("chunk", "wanted", "expected"),
    [
        ((64, 64, 64), (1, 3, 6), False),  # half of a large shard, in three ranges
        ((64, 64, 64), (1, 3, 12), True),
        ((64, 64, 64), (1, 3, 10), True),  # little else is fetched
        ((64, 64, 64), (1, 3, 4), False),
        ((16, 16, 16), (1, 3, 6), True),  # a small shard
        ((64, 64, 64), (3, 4, 7), True),  # too many ranges
    ],
)
def test_of_a_large_shard_half_is_read_by_ranges_if_few_do(
    chunk: tuple[int, ...], wanted: tuple[int, ...], expected: bool
) -> None:
    inside = (wanted[0], wanted[1], 12)
    spec = ArraySpec("a", tuple(64 * n for n in inside), chunk, "float32", ("z", "y", "x"))
    places = list(np.ndindex(wanted))
    assert whole_is_cheaper(spec, inside, places) is expected


def test_where_there_is_no_volume_of_ours_that_is_said(tmp_path: Path) -> None:
    store = WritableStore(str(tmp_path / "volume"))
    with pytest.raises(InputRefused, match=r"no published volume at .*publish one there first"):
        open_volume(store)
    zarr.create_group(str(tmp_path / "volume"))
    with pytest.raises(InputRefused, match="was not written by Seismill"):
        open_volume(store)


def test_a_volume_names_its_arrays_when_asked_for_one_it_does_not_have(tmp_path: Path) -> None:
    metadata = metadata_of(LAYOUTS["chunks"], {})
    state = {"format": 1, "writer": "", "created_on": "", "stages": {}, "levels": [], "sources": []}
    root = Root.new({"attributes": {"defaultVariableName": "a"}, "seismill": state})
    volume = Volume(WritableStore(str(tmp_path)), root.with_members({"a": metadata}))
    assert volume.master == "a"
    assert volume.spec("a") == spec_of("a", metadata)
    with pytest.raises(InputRefused, match="has no array b; it has a"):
        volume.read("b")


def test_crc32c_is_the_one_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283

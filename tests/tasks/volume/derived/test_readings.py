"""Readings: memory that does not hold all blocks together holds them one after the other.

Covers copies/footprints.py.
"""

import itertools
import uuid
from dataclasses import replace

import pytest

from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import (
    ArraySpec,
    chunks_by_default,
    copy_chunks,
    fitted_extent,
    shards_by_default,
)
from tasks.volume.arrays.volume_root import Root
from tasks.volume.copies.footprints import block_memory, fitted, shared_out_in_shards
from tasks.volume.copies.presets import PRESET_AXES, clipped
from tasks.volume.derived.readings import block_of, count_of, decoded, fewest_readings, to_json
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Store

DIMS = ("inline", "crossline", "offset", "time")


def master_of(shape: tuple[int, ...], dtype: str, *, sharded: bool) -> Volume:
    """A volume whose master is nowhere stored."""
    chunks = chunks_by_default(shape, 4)
    shards = shards_by_default(shape, chunks, 4) if sharded else ()
    dims = (*DIMS[: len(shape) - 1], "time")
    spec = ArraySpec("amplitude", shape, chunks, dtype, dims, shards=shards, fill="NaN")
    attributes = {"defaultVariableName": "amplitude"}
    state = {"format": 1, "writer": "", "created_on": "", "levels": [], "sources": []}
    root = Root.new({"attributes": attributes, "seismill": state | {"stages": {"amplitude": {"plan": ""}}}})
    root = root.with_members({"amplitude": metadata_of(spec, {"nonfinite_count": 0})})
    return Volume(Store(f"memory://{uuid.uuid4().hex}"), root)


def presets_of(volume: Volume, dtype: str, *, sharded: bool) -> list[ArraySpec]:
    master = volume.spec("amplitude")
    rank = len(master.shape)
    copies = []
    for name, axis in PRESET_AXES[rank].items():
        chunks = [
            extent if a == axis else fitted_extent(n, extent, step)
            for a, (n, extent, step) in enumerate(
                zip(master.shape, copy_chunks(rank, axis), master.chunks, strict=True)
            )
        ]
        extents = clipped(chunks, master.shape)
        copies.append(ArraySpec(name, master.shape, extents, dtype, master.dims, "zfp:1.0"))
    return shared_out_in_shards(copies, master.chunks) if sharded else copies


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(6000, 9001), (620, 600, 1501), (1024, 1024, 1024), (5000, 4000, 3001), (300, 301, 65, 2001)],
)
def test_memory_of_350_megabytes_holds_the_presets_of_any_volume(
    shape: tuple[int, ...], dtype: str, *, sharded: bool
) -> None:
    """What a run of 600 MB has beside its process."""
    volume = master_of(shape, dtype, sharded=sharded)
    wanted = presets_of(volume, dtype, sharded=sharded)
    for memory in (350_000_000, 1 << 30, 1 << 36):
        copies, readings = fitted(volume, wanted, memory)
        assert [replace(copy, shards=()) for copy in copies] == [replace(copy, shards=()) for copy in wanted]
        read = [path for reading in readings for path in reading.paths]
        assert sorted(read) == sorted(copy.path for copy in wanted)
        for reading in readings:
            group = [copy for copy in copies if copy.path in reading.paths]
            assert block_memory(volume, group, reading.blocks) <= memory
    assert (copies, len(readings), decoded(readings)) == (wanted, 1, 1.0)


def test_a_gibibyte_holds_the_blocks_of_all_presets_of_512() -> None:
    volume = master_of((1024, 1024, 1024), "float32", sharded=False)
    copies, readings = fitted(volume, presets_of(volume, "float32", sharded=False), 1 << 30)
    assert (len(readings), readings[0].blocks.block, decoded(readings)) == (1, (512, 512, 512), 1.0)
    _, readings = fitted(volume, copies, 600_000_000)
    assert [reading.paths for reading in readings] == [("fast_inline", "fast_crossline", "fast_time")]
    _, readings = fitted(volume, copies, 350_000_000)
    assert [len(reading.paths) for reading in readings] == [1, 1, 1]
    assert decoded(readings) == 3.0


def test_of_all_ways_to_share_them_out_the_one_that_reads_least_is_taken() -> None:
    shape = (90, 90, 90)
    copies = [
        ArraySpec(name, shape, chunks, "float32", ("a", "b", "c"))
        for name, chunks in (("x", (90, 4, 90)), ("y", (90, 8, 90)), ("z", (4, 90, 90)))
    ]
    readings = fewest_readings(shape, copies, lambda group: 90 * 90 * 24 * 4, chunks=(8, 8, 8))
    assert [reading.paths for reading in readings] == [("x", "y"), ("z",)]
    assert decoded(readings) == 2.0
    body = to_json(readings)
    blocks = [block_of(body, copies, shape, number) for number in range(count_of(body, copies, shape))]
    runs = [(group, list(some)) for group, some in itertools.groupby(blocks, key=lambda pair: pair[0])]
    assert [[copy.path for copy in group] for group, _ in runs] == [["x", "y"], ["z"]]
    for _, some in runs:
        covered = sum(
            (r[0].stop - r[0].start) * (r[1].stop - r[1].start) * (r[2].stop - r[2].start) for _, r in some
        )
        assert covered == 90**3
    with pytest.raises(ValueError, match="after the last"):
        block_of(body, copies, shape, len(blocks))


def test_many_copies_are_shared_out_too() -> None:
    shape = (64, 64, 64)
    copies = [
        ArraySpec(f"c{n}", shape, (64, 4, 64) if n % 2 else (4, 64, 64), "float32", ("a", "b", "c"))
        for n in range(8)
    ]
    readings = fewest_readings(shape, copies, lambda group: 64 * 64 * 8 * 4, chunks=(4, 4, 4))
    assert sorted(path for reading in readings for path in reading.paths) == [copy.path for copy in copies]
    with pytest.raises(InputRefused, match="need blocks of"):
        fewest_readings(shape, copies, lambda group: 64, chunks=(4, 4, 4))

"""Which array answers: within the error that is accepted, by chunks, bytes and requests."""

import numpy as np

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.reading.choice import ReadableArray, cost_of, fastest
from tasks.volume.reading.indexing import Group, whole

SHAPE, DIMS = (1000, 800, 1500), ("inline", "crossline", "time")


def array(
    path: str, chunks: tuple[int, ...], codec: str = "zfp:1.0", shards: tuple[int, ...] = ()
) -> ReadableArray:
    lossy = codec.startswith("zfp")
    spec = ArraySpec(path, SHAPE, chunks, "float32", DIMS, codec, shards)
    return ReadableArray(path, spec, 0.5 if lossy else 0.0, 0.1 if lossy else 0.8)


MASTER = array("amplitude", (64, 64, 64), "zstd-1", (64, 64, 1536))
INLINE, TIME = array("fast_inline", (4, 512, 512)), array("fast_time", (512, 512, 4))
ALL = [MASTER, INLINE, TIME]


def across(axis: int, *positions: int) -> list[Group]:
    chosen = Group((axis,), (np.array(positions),))
    return [chosen if a == axis else group for a, group in enumerate(whole(SHAPE))]


def test_a_slice_is_answered_by_the_copy_that_is_chunked_for_it():
    for local in (True, False):
        assert fastest(ALL, across(0, 500), local=local)[0] is INLINE
        assert fastest(ALL, across(2, 500), local=local)[0] is TIME
        assert fastest(ALL, across(1, 500), local=local)[0] is MASTER
        assert fastest([MASTER], across(0, 500), local=local)[0] is MASTER


def test_all_of_a_volume_comes_from_the_master_on_a_disk_and_from_what_is_smaller_far_away():
    assert fastest(ALL, whole(SHAPE), local=True)[0] is MASTER
    assert fastest(ALL, whole(SHAPE), local=False)[0] is not MASTER


def test_of_equals_the_more_exact_one_answers():
    same = ReadableArray("same", MASTER.spec, 0.5, MASTER.stored_part)
    assert fastest([same, MASTER], whole(SHAPE), local=True)[0] is MASTER


def test_a_cost_counts_the_chunks_bytes_and_requests():
    cost = cost_of(MASTER, across(2, 0, 63, 64), local=False)
    assert (cost.chunks, cost.decoded_bytes) == (16 * 13 * 2, 16 * 13 * 2 * 64**3 * 4)
    assert cost.requests == 2 * 16 * 13, "of each shard its index and a range"
    assert cost_of(MASTER, whole(SHAPE), local=False).requests == 16 * 13, "all of a shard in one"
    assert cost_of(INLINE, across(0, 500), local=True).requests == 2 * 3

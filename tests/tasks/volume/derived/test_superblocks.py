"""Super-blocks: every stored object of every copy is made once, from one read where memory allows."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import block_count, regions
from tasks.volume.derived.superblocks import MOST_READ, chunks_owned, hull, hull_bound, super_blocks
from tasks.volume.outcomes import InputRefused

# Of a volume: shape, chunks of each copy, chunks of the master, and bytes that a block may take.
Case = tuple[tuple[int, ...], list[tuple[int, ...]], tuple[int, ...], int]


def copies_of(shape: tuple[int, ...], chunks: list[tuple[int, ...]]) -> list[ArraySpec]:
    dims = ("inline", "crossline", "time")[: len(shape)]
    return [ArraySpec(f"copy{i}", shape, c, "float32", dims) for i, c in enumerate(chunks)]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 25)) for _ in range(rank))
    chunks = draw(st.lists(st.tuples(*[st.integers(1, 12)] * rank), min_size=1, max_size=3))
    master = tuple(draw(st.integers(1, 9)) for _ in range(rank))
    return shape, chunks, master, draw(st.integers(40, 400_000))


@settings(deadline=None)
@given(cases())
def test_every_object_is_owned_once_and_lies_in_the_hull_of_its_block(
    case: Case,
) -> None:
    shape, chunks, master, budget = case
    copies = copies_of(shape, chunks)
    try:
        blocks = super_blocks(shape, copies, budget, chunks=master)
    except InputRefused:
        assume(False)
    decoded = 0
    times_made = [
        np.zeros([-(-n // c) for n, c in zip(shape, copy.chunks, strict=True)], int) for copy in copies
    ]
    for region in regions(shape, blocks.block):
        spanned = hull(copies, region)
        samples = math.prod(r.stop - r.start for r in spanned)
        decoded += math.prod(-(-r.stop // c) - r.start // c for r, c in zip(spanned, master, strict=True))
        assert samples * 4 <= budget
        bound = hull_bound(blocks.block, [[c.unit[a] for c in copies] for a in range(len(shape))], shape)
        assert all(r.stop - r.start <= b for r, b in zip(spanned, bound, strict=True))
        for copy, times in zip(copies, times_made, strict=True):
            for position in itertools.product(*chunks_owned(copy, region)):
                times[position] += 1
                for p, c, n, r in zip(position, copy.chunks, shape, spanned, strict=True):
                    assert r.start <= p * c
                    assert min((p + 1) * c, n) <= r.stop
    assert all((times == 1).all() for times in times_made)
    assert decoded == pytest.approx(block_count(shape, master) * blocks.read_factor)
    assert blocks.read_factor <= MOST_READ


@settings(deadline=None)
@given(cases())
def test_with_room_enough_the_master_is_read_once(
    case: Case,
) -> None:
    shape, chunks, master, _ = case
    copies = copies_of(shape, chunks)
    blocks = super_blocks(shape, copies, 1 << 40, chunks=master)
    assert blocks.read_factor == 1.0
    read = sum(
        math.prod(r.stop - r.start for r in hull(copies, region)) for region in regions(shape, blocks.block)
    )
    assert read == math.prod(shape)


def test_a_block_of_thin_chunks_is_as_thick_as_the_master_s() -> None:
    copies = copies_of((345, 188, 1501), [(4, 512, 512)])
    blocks = super_blocks((345, 188, 1501), copies, 1 << 40, chunks=(64, 64, 64))
    assert (blocks.block[0], blocks.read_factor) == (64, 1.0)
    half = super_blocks((345, 188, 1501), copies, 40 * 512 * 512 * 4, chunks=(64, 64, 64))
    assert half.block[0] == 32, "every chunk of the master in two blocks, not in three"
    assert half.read_factor == pytest.approx(11 / 6)


def test_the_three_presets_share_blocks_of_512_on_each_axis() -> None:
    shape = (2000, 1500, 1501)
    copies = copies_of(shape, [(4, 512, 512), (512, 4, 512), (512, 512, 4)])
    assert super_blocks(shape, copies, 1 << 40, chunks=(64, 64, 64)).block == (512, 512, 512)


def test_less_memory_cuts_axes_at_multiples_of_the_largest_chunk_and_says_what_is_read_twice() -> None:
    shape = (90, 90, 90)
    copies = copies_of(shape, [(9, 10, 10), (10, 9, 10), (10, 10, 9)])
    whole = super_blocks(shape, copies, 1 << 40, chunks=(9, 9, 9))
    assert (whole.block, whole.read_factor) == ((90, 90, 90), 1.0)
    cut = super_blocks(shape, copies, 90 * 90 * 70 * 4, chunks=(9, 9, 9))
    assert cut.block[0] % 10 == 0
    assert cut.block[0] < 90
    assert 1.0 < cut.read_factor <= MOST_READ


def test_chunks_that_do_not_go_together_are_refused_with_what_does() -> None:
    shape = (1024, 1024, 1024)
    copies = copies_of(shape, [(4, 512, 512), (512, 4, 512), (512, 512, 4)])
    with pytest.raises(
        InputRefused, match=r"copy0 \(4, 512, 512\).* need blocks of 537 MB.* 67 MB"
    ) as refusal:
        super_blocks(shape, copies, 64 << 20, chunks=(64, 64, 64))
    assert "give more memory, or chunk extents that divide 256" in str(refusal.value)

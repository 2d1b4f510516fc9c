"""Chunks of preset copies fit the volume; those of version 0.1.0 are recognised, resumed and replaced as they are."""

import math
from pathlib import Path

import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Master, Run
from tasks.rechunk import rechunk
from tasks.volume.arrays.reader import open_volume
from tasks.volume.arrays.spec import ArraySpec, fitted_extent, round_up
from tasks.volume.copies.presets import preset_chunks
from tasks.volume.derived.superblocks import super_blocks
from tasks.volume.outcomes import Resumable
from tasks.volume.store.objects import Store
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, stopping_after, tree

FIXED = Run(created_on=STAMP)
PRESETS = ["fast_inline", "fast_crossline", "fast_time"]
# A survey whose time axis takes more than one chunk, and the chunks of version 0.1.0 there.
N_SAMPLES = 1040
BEFORE = {"fast_inline": [4, 512, 512], "fast_crossline": [512, 4, 512], "fast_time": [512, 512, 4]}


def ingested(tmp_path: Path, name: str = "a", *, chunks: tuple[int, ...] = (64, 64, 64)) -> str:
    survey = make_survey(
        tmp_path / f"{name}.sgy", inlines=range(70), crosslines=range(6), n_samples=N_SAMPLES
    )
    url = str(survey.path.with_suffix(".zarr"))
    ingest_segy(str(survey.path), url, master=Master(chunks=list(chunks)), run=FIXED)
    return url


def as_before(names: list[str] = PRESETS) -> Copies:
    return Copies(presets=[], more=[Copy(name=name, chunks=BEFORE[name]) for name in names])


@given(n=st.integers(1, 20_000), most=st.sampled_from([64, 512, 4096]), step=st.integers(1, 700))
def test_there_are_as_few_chunks_as_may_be_and_they_cover_the_axis_with_the_least(
    n: int, most: int, step: int
) -> None:
    extent = fitted_extent(n, most, step)
    count = -(-n // extent)
    assert extent <= most
    if n <= most:
        assert extent == most
        return
    assert count == -(-n // most)
    if extent != most:
        assert extent % step == 0
        assert (extent - step) * count < n


@pytest.mark.parametrize(
    ("n", "extent"), [(512, 512), (513, 320), (600, 320), (620, 320), (1024, 512), (1501, 512), (1040, 384)]
)
def test_extents_are_multiples_of_the_chunks_of_the_master(n: int, extent: int) -> None:
    assert fitted_extent(n, 512, 64) == extent


def test_blocks_of_a_survey_of_620_lines_take_210_megabytes_and_store_a_tenth_more_than_it_holds() -> None:
    shape, dims = (620, 600, 1501), ("inline", "crossline", "time")

    def blocks_and_share(wide: tuple[int, int, int]) -> tuple[int, float]:
        copies = [
            ArraySpec(
                f"c{axis}",
                shape,
                tuple(4 if a == axis else w for a, w in enumerate(wide)),
                "float32",
                dims,
            )
            for axis in range(3)
        ]
        blocks = super_blocks(shape, copies, 1 << 40, chunks=(64, 64, 64))
        assert blocks.read_factor == 1.0
        stored = sum(math.prod(map(round_up, shape, copy.chunks)) for copy in copies)
        return math.prod(blocks.block) * 4, stored / (3 * math.prod(shape))

    size, share = blocks_and_share((320, 320, 512))
    assert (size, round(share, 2)) == (209_715_200, 1.08)
    size, share = blocks_and_share((512, 512, 512))
    assert size == 536_870_912
    assert share > 2


def test_copies_have_chunks_that_fit(tmp_path: Path) -> None:
    url = ingested(tmp_path)
    rechunk(url, run=FIXED)
    group = zarr.open_group(url, mode="r")
    assert group["fast_inline"].chunks == (4, 8, 384)
    assert group["fast_crossline"].chunks == (72, 4, 384)
    assert group["fast_time"].chunks == (72, 8, 4)


def test_where_chunks_of_the_master_do_not_go_together_with_it_the_largest_extent_stays(
    tmp_path: Path,
) -> None:
    url = ingested(tmp_path, chunks=(8, 8, 1024))
    assert preset_chunks(open_volume(Store(url)), ["fast_inline"]) == {"fast_inline": (4, 512, 512)}
    assert preset_chunks(open_volume(Store(ingested(tmp_path, "b", chunks=(8, 8, 7)))), ["fast_inline"]) == {
        "fast_inline": (4, 512, 364)
    }


def test_copies_of_before_are_recognised(tmp_path: Path) -> None:
    url = ingested(tmp_path)
    rechunk(url, as_before(), run=FIXED)
    before = tree(Path(url))
    for copies in (Copies(), Copies(presets=["fast_time", "fast_inline"])):
        summary = rechunk(url, copies, run=FIXED)
        assert (summary["blocks_done"], summary["notes"]) == (0, ["were done already"])
    assert tree(Path(url)) == before
    # One that is not there yet gets the chunks of now, and leaves the other alone.
    other = ingested(tmp_path, "b")
    rechunk(other, as_before(["fast_inline"]), run=FIXED)
    rechunk(other, run=FIXED)
    group = zarr.open_group(other, mode="r")
    assert group["fast_inline"].chunks == (4, 8, 512)
    assert group["fast_crossline"].chunks == (72, 4, 384)


def test_copies_of_before_that_are_replaced_keep_their_chunks_for_readers_that_opened_them(
    tmp_path: Path,
) -> None:
    url = ingested(tmp_path)
    rechunk(url, as_before(["fast_inline"]), run=FIXED)
    opened = zarr.open_array(f"{url}/fast_inline", mode="r")
    rechunk(url, Copies(presets=["fast_inline"], quality="high"), overwrite=True, run=FIXED)
    now = zarr.open_array(f"{url}/fast_inline", mode="r")
    assert now.chunks == opened.chunks == (4, 8, 512)
    assert (now[:] == opened[:]).all()


def test_a_stopped_run_of_before_is_gone_on_with(tmp_path: Path) -> None:
    url, twin = ingested(tmp_path), ingested(tmp_path, "twin")
    with stopping_after(1) as compute, pytest.raises(Resumable):
        rechunk(url, as_before(), run=FIXED, compute=compute)
    summary = rechunk(url, Copies(), run=FIXED)
    assert summary["blocks_resumed"] == 1
    assert summary["blocks_done"] > 0
    rechunk(twin, as_before(), run=FIXED)
    for name in PRESETS:
        ours, theirs = (zarr.open_array(f"{place}/{name}", mode="r") for place in (url, twin))
        assert ours.chunks == theirs.chunks
        assert (ours[:] == theirs[:]).all()

"""Cells of ZFP at the end of an array hold its last samples again, in blocks and in repairs alike."""

from pathlib import Path

import numpy as np
import pytest
import zarr
import zfpy

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Run
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.derived.edges import at_origin, continue_cells
from tests.support.survey import make_survey
from tests.support.volumes import STAMP

RUN = Run(created_on=STAMP)


@pytest.mark.parametrize(
    ("shape", "room"),
    [
        ((1, 5, 7), (4, 8, 8)),
        ((2, 4, 3), (4, 4, 8)),
        ((3, 9), (4, 16)),
        ((6, 1, 1), (6, 4, 2)),
        ((4, 4), (4, 4)),
    ],
)
def test_the_last_samples_go_on_to_the_end_of_the_cell_and_zeros_behind(shape, room):
    values = np.zeros(room, np.float32)
    inside = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    values[at_origin(shape)] = inside
    continue_cells(values, at_origin(shape))
    missing = [min(-n % 4, r - n) for n, r in zip(shape, room, strict=True)]
    wanted = np.pad(inside, [(0, n) for n in missing], mode="edge")
    wanted = np.pad(wanted, [(0, r - n) for n, r in zip(wanted.shape, room, strict=True)])
    np.testing.assert_array_equal(values, wanted)


def test_cells_are_counted_from_where_the_array_begins():
    values = np.arange(1.0, 9.0)
    continue_cells(values, (slice(6, 11),))  # samples 8 to 10 of a cell that ends with 11
    np.testing.assert_array_equal(values, [1, 2, 3, 4, 5, 5, 7, 8])


@pytest.mark.parametrize(
    ("inlines", "crosslines"), [(1, 40), (2, 23), (37, 1), (3, 3), (5, 6)], ids=lambda n: str(n)
)
def test_a_thin_volume_takes_little_more_than_its_samples_and_repairs_have_its_bytes(
    tmp_path: Path, inlines: int, crosslines: int
) -> None:
    count = inlines * crosslines
    smooth = np.sin(np.arange(61) / 5 + np.arange(count)[:, np.newaxis] / 9).astype(np.float32) * 100
    survey = make_survey(
        tmp_path / "a.sgy",
        inlines=range(11, 11 + inlines),
        crosslines=range(101, 101 + crosslines),
        n_samples=61,
        fmt="ieee",
        words=smooth.view(np.uint32),
    )
    volume = tmp_path / "a.zarr"
    ingest_segy(str(survey.path), str(volume), run=RUN)
    odd = [Copy(name="even", chunks=[8, 16, 64]), Copy(name="odd", chunks=[3, 7, 13])]
    rechunk(str(volume), Copies(presets=[], more=odd, tolerance=0.5), run=RUN)
    group = zarr.open_group(volume, mode="r")
    cube = smooth.reshape(inlines, crosslines, 61)
    for name in ("even", "odd"):
        assert np.abs(group[name][...] - cube).max() <= group[name].attrs["max_abs_error"] <= 0.5
    # As libzfp has it where the cells are continued beforehand; zeros there take more.
    stored = sum(file.stat().st_size for file in (volume / "even" / "c").rglob("*") if file.is_file())
    extents, plain, zeros = group["even"].chunks, 0, 0
    for corner in np.ndindex(*(-(-n // e) for n, e in zip(cube.shape, extents, strict=True))):
        part = cube[tuple(slice(p * e, (p + 1) * e) for p, e in zip(corner, extents, strict=True))]
        more = [(0, -n % 4) for n in part.shape]
        behind = [(0, e - n - m[1]) for e, n, m in zip(extents, part.shape, more, strict=True)]
        for mode in ("edge", "constant"):
            whole = np.pad(np.pad(part, more, mode=mode), behind)  # type: ignore[call-overload]
            size = len(zfpy.compress_numpy(np.ascontiguousarray(whole), tolerance=0.5)) + 4
            plain, zeros = (plain + size, zeros) if mode == "edge" else (plain, zeros + size)
    assert stored == plain < zeros
    kept = {
        path: path.read_bytes()
        for name in ("even", "odd")
        for path in (volume / name / "c").rglob("*")
        if path.is_file()
    }
    for path in kept:
        path.write_bytes(b"damage")
    assert len(verify(str(volume), repair="from_master")["repaired"]) == len(kept)
    assert {path: path.read_bytes() for path in kept} == kept

"""A local disk that is certainly too small is refused before anything is written."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Run, StorageOptions
from tasks.rechunk import rechunk
from tasks.volume.images.stack import find_stack
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.stacks.plan import least_of_voxels
from tests.support.survey import make_survey
from tests.support.volumes import tree

IMAGE = Image(voxel_length=[1, 1, 1], voxel_unit="micrometer")


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that lets disks have so much room."""

    def little(room: int) -> None:
        monkeypatch.setattr(
            os, "statvfs", lambda path: SimpleNamespace(f_bavail=room, f_frsize=1, f_blocks=1)
        )

    return little


def test_what_cannot_fit_is_refused_before_anything_is_written(
    tmp_path: Path, little: Callable[[int], None]
) -> None:
    source, volume = make_survey(tmp_path / "a.sgy", n_samples=500).path, tmp_path / "a.zarr"
    ingest_segy(str(source), str(volume))
    np.save(tmp_path / "a.npy", np.random.default_rng(1).integers(0, 1 << 16, (30, 40, 50)).astype("u2"))
    before = tree(volume)
    verbs: dict[str, Callable[..., Any]] = {
        "ingest_segy": lambda place, run: ingest_segy(str(source), place, run=run),
        "ingest_images": lambda place, run: ingest_images(str(tmp_path / "a.npy"), place, IMAGE, run=run),
        "copy": lambda place, run: copy(str(volume), place, run=run),
    }
    little(20_000)
    for name, verb in verbs.items():
        for dry in (False, True):
            place = tmp_path / f"{name}.zarr"
            with pytest.raises(
                DestinationRefused, match=r"at least 0\.\d MB.* has room for 0\.0 MB; make room"
            ):
                verb(str(place), Run(dry_run=dry))
            assert not place.exists()
    ingest_segy(str(source), str(volume))  # which is done already
    little(0)
    huge = Copies(
        presets=[], more=[Copy(name=f"c{n}", chunks=[8, 8, 8]) for n in range(5)], quality="lossless"
    )
    with pytest.raises(DestinationRefused, match="make room"):
        rechunk(str(volume), huge)
    assert tree(volume) == before


def test_what_is_compressed_well_or_takes_the_place_of_another_is_not_refused(
    tmp_path: Path, little: Callable[[int], None]
) -> None:
    zeros = np.zeros((9 * 5, 500), np.uint32)
    source = make_survey(tmp_path / "zeros.sgy", n_samples=500, words=zeros).path
    little(30_000)
    ingest_segy(str(source), str(tmp_path / "zeros.zarr"))
    little(1 << 40)
    ingest_segy(str(make_survey(tmp_path / "a.sgy", n_samples=500).path), str(tmp_path / "a.zarr"))
    other = make_survey(tmp_path / "b.sgy", n_samples=500, seed=2).path
    little(20_000)
    ingest_segy(str(other), str(tmp_path / "a.zarr"), overwrite=True)


def test_one_array_of_a_file_with_others_a_compressed_file_and_a_disk_that_does_not_tell_its_size_are_not_refused(
    tmp_path: Path, little: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(1).integers(0, 1 << 16, (40, 64, 64)).astype("u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["zeros"] = noise, np.zeros((32, 64, 64), "u2")
    little(100_000)
    ingest_images(f"{tmp_path}/a.h5:/zeros", f"{tmp_path}/zeros.zarr", IMAGE)
    z, y, x = np.indices(
        (40, 64, 64)
    )  # chunks, whose bytes are sorted, take a fifth of what LZW makes of these
    tifffile.imwrite(tmp_path / "a.tif", (z * 7 + y * 131 + x * x * 13).astype("u2"), compression="lzw")
    assert (tmp_path / "a.tif").stat().st_size > 300_000
    ingest_images(f"{tmp_path}/a.tif", f"{tmp_path}/smooth.zarr", IMAGE)
    tifffile.imwrite(tmp_path / "a.tif", noise, compression="lzw")
    with pytest.raises(DestinationRefused, match=r"at least 0\.[12] MB"):
        ingest_images(f"{tmp_path}/a.tif", f"{tmp_path}/noise.zarr", IMAGE)
    np.save(tmp_path / "a.npy", noise)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=0, f_frsize=1, f_blocks=0))
    ingest_images(f"{tmp_path}/a.npy", f"{tmp_path}/a.zarr", IMAGE)


def test_the_estimate_of_images_holds_some_slices_and_none_that_do_not_fit_in_the_memory_of_the_run(
    tmp_path: Path,
) -> None:
    noise = np.random.default_rng(1).integers(0, 1 << 16, (12, 1500, 1500), "u2")
    np.save(tmp_path / "a.npy", noise)
    stack, layer = find_stack(str(tmp_path / "a.npy"), StorageOptions()), noise.nbytes // 12
    for memory, held in ((1 << 30, 3), (2 * layer, 2), (layer, 1), (layer - 1, 0)):
        tracemalloc.start()
        least = least_of_voxels(stack, 2, memory, StorageOptions())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert held * layer <= peak < (held + 0.5) * layer
        assert least == 0 if not held else 0.9 < least / noise.nbytes < 1.1

"""A local disk that is certainly too small is refused before anything is written.

Covers store/room.py, arrays/least_of_array.py.
"""

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Levels, Run, StorageOptions
from tasks.pyramid import pyramid
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


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_made_of_an_array_of_another_tool_is_refused_if_it_cannot_fit(
    tmp_path: Path, little: Callable[[int], None], version: Literal[2, 3]
) -> None:
    noise = np.random.default_rng(1).integers(0, 1 << 16, (40, 64, 64)).astype("u2")
    group = zarr.open_group(tmp_path / "some.zarr", mode="w", zarr_format=version)
    options: dict[str, Any] = {"chunks": (16, 16, 16), "compressors": None}
    group.create_array("noise", data=noise, **options)
    group.create_array("even", data=np.ones_like(noise), **options)
    sparse = group.create_array("sparse", shape=(200, 64, 64), dtype="u2", **options)
    sparse[190:, 60:] = 7
    scalar = group.create_array("scalar", shape=(), dtype="f8")
    scalar[...] = 1.5
    some, made = str(tmp_path / "some.zarr"), tmp_path / "made.zarr"
    exact = Copies(presets=[], more=[Copy(name="across", chunks=[8, 64, 8])], quality="lossless")
    verbs: dict[str, Callable[[str, Run], Any]] = {
        "pyramid": lambda array, run: pyramid(
            some, Levels(levels=1, until=8), array=array, target=str(made), run=run
        ),
        "rechunk": lambda array, run: rechunk(some, exact, array=array, target=str(made), run=run),
    }
    for verb in verbs.values():
        little(noise.nbytes // 3)
        for dry in (False, True):
            with pytest.raises(
                DestinationRefused, match=r"at least 0\.[12] MB.* has room for 0\.1 MB; make room"
            ):
                verb("noise", Run(dry_run=dry))
            assert not made.exists()
        little(100_000)
        for array in ("even", "sparse"):
            verb(array, Run())
            shutil.rmtree(made)
    for dry in (False, True):
        with pytest.raises(
            DestinationRefused, match=r"at least 0\.[12] MB.* has room for 0\.1 MB; make room"
        ):
            rechunk(some, group="auto", target=str(made), run=Run(dry_run=dry))
        assert not made.exists()
    little(noise.nbytes)
    rechunk(some, group="auto", target=str(made))
    assert (zarr.open_group(made, mode="r")["noise"][...] == noise).all()  # type: ignore[index]


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

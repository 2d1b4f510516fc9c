"""A triggered run opens nothing outside of SEISMILL_ALLOW, whatever address a stored document of a volume names.

Each volume is made by somebody who may read the place outside, so that all its documents (root, commit, plans,
manifests) are whole and name it; then every verb is run on it as a triggered run is. An audit hook of Python sees what
is opened. Covers flows/allowed.py and each place that opens what a stored document names.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from flows.allowed import refuse_stored
from tasks.copy import copy
from tasks.export_ome import export_ome
from tasks.export_segy import export_segy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Image, Levels, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.outcomes import Outcome
from tasks.volume.store.url import checked_addresses
from tests.support.archives import zipped
from tests.support.kinds import LOSSLESS, image, labels, shards, shots, survey
from tests.support.survey import make_survey

RUN = Run(lock_wait=0)
opened: list[str] = []
watched: list[str] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and watched and str(arguments[0]).startswith(watched[0]):
        opened.append(str(arguments[0]))


sys.addaudithook(_note)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder that no triggered run may touch; what is opened in it from `watched.append` on is noted."""
    (tmp_path / "outside").mkdir()
    yield tmp_path / "outside"
    watched.clear()
    opened.clear()


def of_segy(maker: Callable[[Path], Path]) -> Callable[[Path, Path], Path]:
    """Return a maker of a volume whose sources stay outside and that is itself moved inside."""

    def build(outside: Path, inside: Path) -> Path:
        shutil.move(maker(outside), inside / "v.zarr")
        return inside / "v.zarr"

    return build


def of_an_archive(outside: Path, inside: Path) -> Path:
    """Return a volume of a file inside an archive."""
    content = make_survey(outside / "a.sgy").path.read_bytes()
    (outside / "a.zip").write_bytes(zipped("folder", a_sgy=content))
    ingest_segy(str(outside / "a.zip"), str(inside / "v.zarr"))
    return inside / "v.zarr"


def of_slices(outside: Path, inside: Path) -> Path:
    """Return a volume of a folder of slices."""
    (outside / "scan").mkdir()
    for number in range(3):
        tifffile.imwrite(outside / "scan" / f"{number}.tif", np.full((5, 6), number, np.uint8))
    ingest_images(str(outside / "scan"), str(inside / "v.zarr"), Image(voxel_length=[1]))
    return inside / "v.zarr"


def of_hdf5(outside: Path, inside: Path) -> Path:
    """Return a volume of an array in an HDF5 file, in compressed chunks."""
    with h5py.File(outside / "scan.h5", "w") as file:
        voxels = np.arange(210, dtype=np.uint8).reshape(5, 6, 7)
        file.create_dataset("v", data=voxels, chunks=(2, 3, 7), compression="gzip")
    ingest_images(str(outside / "scan.h5"), str(inside / "v.zarr"), Image(voxel_length=[1]))
    return inside / "v.zarr"


def levels_elsewhere(outside: Path, inside: Path) -> Path:
    """Return a group with levels of an array that lies outside."""
    group = zarr.open_group(str(outside / "g.zarr"), mode="w")
    array = group.create_array("0", shape=(20, 21, 22), chunks=(8, 8, 8), dtype="uint16")
    array[...] = np.arange(array.size).reshape(array.shape)
    pyramid(str(outside / "g.zarr"), Levels(levels=1, until=1), array="0", target=str(inside / "v.zarr"))
    return inside / "v.zarr"


def copies_elsewhere(outside: Path, inside: Path) -> Path:
    """Return a group with copies of an array that lies outside."""
    group = zarr.open_group(str(outside / "g.zarr"), mode="w")
    array = group.create_array("field", shape=(20, 21, 22), chunks=(8, 8, 8), dtype="float32")
    array[...] = np.arange(array.size).reshape(array.shape)
    rechunk(str(outside / "g.zarr"), LOSSLESS, array="field", target=str(inside / "v.zarr"))
    return inside / "v.zarr"


def copied_from_outside(outside: Path, inside: Path) -> Path:
    """Return the copy of a volume that lies outside."""
    copy(str(survey(outside)), str(inside / "v.zarr"))
    return inside / "v.zarr"


MAKERS = {
    "survey": of_segy(survey),
    "shards": of_segy(shards),
    "shots": of_segy(shots),
    "image": of_segy(image),
    "labels": of_segy(labels),
    "archive": of_an_archive,
    "slices": of_slices,
    "hdf5": of_hdf5,
    "levels elsewhere": levels_elsewhere,
    "copies elsewhere": copies_elsewhere,
    "copied": copied_from_outside,
}

VERBS: dict[str, Callable[[str, str], Any]] = {
    "verify": lambda volume, new: verify(volume, errors=True, run=RUN),
    "prove": lambda volume, new: prove(volume, RUN),
    "report": lambda volume, new: report(volume, RUN),
    "export-ome": lambda volume, new: export_ome(volume, new, RUN),
    "copy": lambda volume, new: copy(volume, f"{new}.zarr", run=RUN),
    "export-segy": lambda volume, new: export_segy(volume, f"{new}.sgy", run=RUN, check=True),
    "pyramid": lambda volume, new: pyramid(volume, Levels(levels=2, until=1), overwrite=True, run=RUN),
    "repair from the master": lambda volume, new: verify(volume, repair="from_master", run=RUN),
    "repair from the source": lambda volume, new: verify(volume, repair="from_source", run=RUN),
}
# All others have what they read inside: a volume of SEG-Y is proven by exporting it, copies are made of the master.
ELSEWHERE = {"verify", "report", "export-ome", "repair from the master", "repair from the source"}
REFUSED = {name: {"repair from the source"} for name in MAKERS} | {
    "image": {"prove", "repair from the source"},
    "labels": {"prove", "repair from the source"},
    "slices": {"prove", "repair from the source"},
    "hdf5": {"prove", "repair from the source"},
    "levels elsewhere": ELSEWHERE,
    "copies elsewhere": ELSEWHERE,
}


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_outside_is_opened_and_what_would_need_it_is_refused(
    name: str, outside: Path, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    volume = MAKERS[name](outside, inside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    described = json.loads((volume / "zarr.json").read_bytes())["attributes"].get("attributes", {})
    if master := described.get("defaultVariableName"):  # only its source can give a chunk of the master back
        next(path for path in sorted((volume / master / "c").rglob("*")) if path.is_file()).unlink()
    refused = set()
    watched.append(str(outside))
    with checked_addresses(partial(refuse_stored, allowed=str(inside))):
        for verb, call in VERBS.items():
            try:
                call(str(volume), str(tmp_path / "inside" / verb))
            except Outcome as error:
                if f"{outside}/" in str(error) and "is outside of what this worker may touch" in str(error):
                    refused.add(verb)
    watched.clear()
    assert opened == []
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert refused == REFUSED[name]

"""Volumes that version 0.1.0 wrote are recognised, verified and gone on with; nothing of them is written again.

The archive holds a SEG-Y volume on a local disk and in a store (with shards), images, labels, levels and copies in a
group of another tool, an ingest and copies that were stopped half-way, and what a sweep left, with their sources.
"""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.publishers import InThisProcess, publish_here
from flows.stages import as_stage, load_verb
from tasks.copy import copy
from tasks.export_segy import export_segy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.sweep import sweep
from tasks.verify import verify
from tasks.volume.arrays.reader import open_volume
from tasks.volume.protocol.manifest import MANIFESTS
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests.support.volumes import STAMP

ARCHIVE = Path(__file__).with_name("volumes-0.1.0.tar.xz")
SOURCE, BELOW = "memory://golden/staging/a.sgy", "memory://golden"
RUN = Run(created_on=STAMP, accept_versions=True)
SMALL, HALVED = Master(chunks=[8, 8, 16]), Levels(levels=2)
VOXELS = Image(voxel_length=[2.5, 2.5, 2.5], voxel_unit="micrometer")
SLICES = Copies(presets=["fast_inline"], quality="lossless")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """The folder of the volumes on a local disk; the others lie in memory."""
    memory = fsspec.filesystem("memory")
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            data = archive.extractfile(member).read()  # type: ignore[union-attr]
            where, _, name = member.name.partition("/")
            if where == "memory":
                memory.pipe_file(f"/golden/{name}", data)
            else:
                file = tmp_path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
    yield tmp_path
    memory.rm("/golden", recursive=True)


def arrays(store: Store) -> dict[str, bytes]:
    """Every object of a volume that its readers meet."""
    return {key: store.get(key) for key in store.keys("") if not key.startswith(".seismill/")}


def publish(volume: str) -> dict[str, Any]:
    stages = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
    return publish_chain(
        stages,
        source=SOURCE,
        volume=volume,
        index=Index(),
        master=SMALL,
        copies=Copies(),
        pyramid=HALVED,
        steps=["copies", "pyramid", "proof"],
        run=RUN,
    )


AGAIN: dict[str, tuple[str, Callable[[str], Any]]] = {
    "publish, local": ("segy.zarr", publish),
    "publish, shards": (f"{BELOW}/segy.zarr", publish),
    "ingest": (f"{BELOW}/segy.zarr", lambda url: ingest_segy(SOURCE, url, master=SMALL, run=RUN)),
    "rechunk": ("segy.zarr", lambda url: rechunk(url, Copies(), run=RUN)),
    "rechunk, the quality named": (
        f"{BELOW}/segy.zarr",
        lambda url: rechunk(url, Copies(quality="low"), run=RUN),
    ),
    "pyramid": ("segy.zarr", lambda url: pyramid(url, HALVED, run=RUN)),
    "prove": ("segy.zarr", lambda url: prove(url, run=RUN)),
    "labels": (
        f"{BELOW}/labels.zarr",
        lambda url: ingest_images(
            f"{BELOW}/staging/labels.npy", url, VOXELS.model_copy(update={"labels": True}), run=RUN
        ),
    ),
    "levels of labels": (f"{BELOW}/labels.zarr", lambda url: pyramid(url, HALVED, run=RUN)),
    "copies of labels": (f"{BELOW}/labels.zarr", lambda url: rechunk(url, SLICES, run=RUN)),
    "images": (
        f"{BELOW}/voxels.zarr",
        lambda url: ingest_images(f"{BELOW}/staging/voxels.npy", url, VOXELS, run=RUN),
    ),
    "levels of images": (f"{BELOW}/voxels.zarr", lambda url: pyramid(url, HALVED, run=RUN)),
    "copies of images": (f"{BELOW}/voxels.zarr", lambda url: rechunk(url, Copies(), run=RUN)),
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_was_done_is_recognised_and_no_array_is_written(local: Path, name: str) -> None:
    place, run = AGAIN[name]
    url = place if "://" in place else str(local / place)
    before = arrays(WritableStore(url))
    summary = run(url)
    done = [stage["blocks_done"] for stage in summary.get("stages", [summary])]
    assert done == [0] * len(done)
    assert arrays(WritableStore(url)) == before


@pytest.mark.parametrize(
    "place", ["segy.zarr", f"{BELOW}/segy.zarr", f"{BELOW}/labels.zarr", f"{BELOW}/voxels.zarr"]
)
def test_volumes_of_before_are_whole(local: Path, place: str) -> None:
    url = place if "://" in place else str(local / place)
    assert verify(url, errors=True)["findings"] == []


def test_manifests_of_before_are_made_again_as_they_were(local: Path) -> None:
    for place in ("segy.zarr", f"{BELOW}/segy.zarr"):
        store = WritableStore(place if "://" in place else str(local / place))
        manifests = {key: store.get(key) for key in store.keys(MANIFESTS)}
        assert manifests
        for key, text in manifests.items():
            first, _, rest = text.partition(b"\n")
            store.put(key, first[:-1] + b"\n" + rest)
        assert len(verify(store.url, repair="from_master")["repaired"]) == len(manifests)
        assert {key: store.get(key) for key in manifests} == manifests


@pytest.mark.parametrize("place", ["segy.zarr", f"{BELOW}/segy.zarr"])
def test_copies_of_before_are_repaired_with_the_bytes_that_they_had(local: Path, place: str) -> None:
    store = WritableStore(place if "://" in place else str(local / place))
    chunks = {key: data for key, data in arrays(store).items() if key.startswith("fast_") and "/c/" in key}
    assert chunks
    for key in chunks:
        store.put(key, b"damage")
    assert len(verify(store.url, repair="from_master")["repaired"]) == len(chunks)
    assert {key: store.get(key) for key in chunks} == chunks


def test_a_copy_of_a_volume_of_before_is_one(local: Path, tmp_path: Path) -> None:
    copy(str(local / "segy.zarr"), str(tmp_path / "copy.zarr"))
    assert arrays(WritableStore(str(tmp_path / "copy.zarr"))) == arrays(
        WritableStore(str(local / "segy.zarr"))
    )
    assert verify(str(tmp_path / "copy.zarr"))["findings"] == []


def test_a_file_comes_back_from_a_volume_of_before(local: Path, tmp_path: Path) -> None:
    export_segy(str(local / "segy.zarr"), str(tmp_path / "again.sgy"))
    assert (tmp_path / "again.sgy").read_bytes() == WritableStore(BELOW).get("staging/a.sgy")


def test_levels_and_copies_beside_an_array_of_another_tool_are_recognised(local: Path) -> None:
    group = f"{BELOW}/other.zarr"
    before = arrays(WritableStore(f"{group}/field"))
    assert pyramid(group, HALVED, array="field/0", run=RUN)["notes"] == ["was done already"]
    again = rechunk(group, Copies(presets=["fast_inline"], tolerance=0.1), array="field/0", run=RUN)
    assert again["blocks_done"] == 0
    assert verify(f"{group}/field", errors=True)["findings"] == []
    assert arrays(WritableStore(f"{group}/field")) == before


def test_an_ingest_that_was_stopped_is_gone_on_with(local: Path) -> None:
    url = str(local / "begun.zarr")
    summary = ingest_segy(SOURCE, url, master=Master(chunks=[4, 4, 8]), run=RUN)
    assert (summary["blocks_resumed"], summary["blocks_done"]) == (2, 1)
    assert verify(url)["findings"] == []
    prove(url, run=RUN)


def test_copies_that_were_stopped_are_gone_on_with(local: Path) -> None:
    url = str(local / "copying.zarr")
    more = Copies(presets=[], more=[Copy(name="thin", chunks=[4, 4, 8])], quality="high")
    summary = rechunk(url, more, run=RUN)
    assert summary["blocks_resumed"] == 1
    volume = open_volume(WritableStore(url))
    live = volume.read("trace_mask")
    difference = np.abs(volume.read("thin")[live] - volume.read("amplitude")[live]).max()
    assert 0 < difference <= volume.array_attributes("thin")["tolerance"]
    assert verify(url, errors=True)["findings"] == []


def test_a_sweep_knows_what_was_published(local: Path) -> None:
    before = arrays(WritableStore(f"{BELOW}/vols"))
    summary = sweep(
        f"{BELOW}/swept", f"{BELOW}/vols", settle_minutes=0, run=RUN, publisher=InThisProcess(publish_here())
    )
    assert summary["counts"] == {"unchanged": 1}
    assert arrays(WritableStore(f"{BELOW}/vols")) == before

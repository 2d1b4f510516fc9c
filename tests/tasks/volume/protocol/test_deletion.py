"""What somebody else put beside, below or above a volume stays, whatever is run there and however it ends.

Covers tasks/copy.py, protocol/own_names.py, protocol/place.py, protocol/ready.py.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.copy import copy
from tasks.export_segy import export_segy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.make_image import make_image
from tasks.parameters import Copies, Copy, Form, Image, Levels, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.sweep import sweep
from tasks.verify import verify
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.own_names import Names, chunk_of
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey
from tests.support.volumes import STAMP

STAMPED = Run(created_on=STAMP)
LOSSLESS = Copies(presets=[], more=[Copy(name="across", chunks=[9, 2, 4])], quality="lossless")
OTHER = Copies(presets=[], more=[Copy(name="across", chunks=[2, 5, 4])], quality="lossless")
HALVED, THIRDED = Levels(factor=[2, 2, 2], until=1), Levels(factor=[3, 3, 3], until=1)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(make_survey(tmp_path / "a.sgy", n_samples=17).path)


@pytest.fixture
def volume(tmp_path: Path, source: str) -> Path:
    """A volume with a copy and levels, in which somebody else has arrays, groups, a file and another volume."""
    place = tmp_path / "v.zarr"
    ingest_segy(source, str(place), run=STAMPED)
    rechunk(str(place), LOSSLESS, run=STAMPED)
    pyramid(str(place), HALVED, run=STAMPED)
    return place


def add_strangers(place: Path) -> dict[str, bytes]:
    before = files(place)
    group = zarr.open_group(place, mode="r+")
    for path in ("envelope", "mine/deep/picks", "pyramid/smooth"):
        group.create_array(path, shape=(5, 4), chunks=(2, 2), dtype="f4")[:] = np.arange(20).reshape(5, 4)
    for path in ("notes.txt", "amplitude/c/notes.txt", "across/old/c/0/0", "envelope/c/readme", "c/0/0/0"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text("mine")
    (place / "inner.zarr/.seismill/lock").mkdir(parents=True)
    (place / "inner.zarr/.seismill/lock/00000001").write_text("{}")
    (place / "inner.zarr/zarr.json").write_text("{}")
    return {key: data for key, data in files(place).items() if key not in before}


ADDING: dict[str, Callable[[Path], Any]] = {
    "a copy that is new": lambda v: rechunk(
        str(v), Copies(presets=["fast_time"], quality="lossless"), run=STAMPED
    ),
    "a copy in the place of another": lambda v: rechunk(str(v), OTHER, overwrite=True, run=STAMPED),
    "levels in the place of others": lambda v: pyramid(str(v), THIRDED, overwrite=True, run=STAMPED),
    "a repair": lambda v: verify(str(v), repair="from_master"),
}


@pytest.mark.parametrize("name", ADDING)
def test_what_adds_or_replaces_an_array_passes_others_by(volume: Path, name: str) -> None:
    strangers = add_strangers(volume)
    ADDING[name](volume)
    after = files(volume)
    assert {key: after.get(key) for key in strangers} == strangers
    assert verify(str(volume))["findings"] == []


def test_a_copy_to_another_place_leaves_out_what_is_not_the_volumes(volume: Path, tmp_path: Path) -> None:
    expected = {key for key in files(volume) if not key.startswith(".seismill/")}
    add_strangers(volume)
    copy(str(volume), str(tmp_path / "copy.zarr"), run=STAMPED)
    copied = files(tmp_path / "copy.zarr")
    assert {key for key in copied if not key.startswith(".seismill/")} == expected


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("verb", ["ingest_segy", "ingest_images", "copy"])
def test_a_new_volume_does_not_take_the_place_of_others_objects(
    volume: Path, tmp_path: Path, verb: str, overwrite: bool
) -> None:
    add_strangers(volume)
    other = make_survey(tmp_path / "b.sgy", n_samples=11, seed=5).path
    np.save(tmp_path / "b.npy", np.zeros((4, 5, 6), "u1"))
    ingest_segy(str(other), str(tmp_path / "w.zarr"), run=STAMPED)
    before = files(volume)
    place, more = str(volume), {"overwrite": overwrite, "run": STAMPED}
    image = Image(voxel_length=[1, 1, 1], voxel_unit="micrometer")
    run: Callable[[], Any] = {
        "ingest_segy": lambda: ingest_segy(str(other), place, **more),
        "ingest_images": lambda: ingest_images(str(tmp_path / "b.npy"), place, image, **more),
        "copy": lambda: copy(str(tmp_path / "w.zarr"), place, **more),
    }[verb]
    with pytest.raises(DestinationRefused, match=r"across/old/c/0/0|holds another volume"):
        run()
    after = files(volume)
    assert {key: data for key, data in after.items() if not key.startswith(".seismill/lock/")} == {
        key: data for key, data in before.items() if not key.startswith(".seismill/lock/")
    }


class Nobody:
    """Publishes nothing."""

    at_once = 1


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("verb", ["ingest_segy", "copy"])
def test_the_folder_of_a_sweep_is_no_volume(
    tmp_path: Path, source: str, volume: Path, verb: str, overwrite: bool
) -> None:
    """Its catalogue lies in `.seismill`, and volumes of others lie below it."""
    volumes = tmp_path / "vols"
    (volumes / "deep").mkdir(parents=True)
    ingest_segy(source, str(volumes / "deep/a.zarr"), run=STAMPED)
    (volumes / ".seismill/catalogue/a.sgy").mkdir(parents=True)
    (volumes / ".seismill/catalogue/a.sgy/00000001").write_text("{}")
    before = files(volumes)
    run: Callable[..., Any] = copy if verb == "copy" else ingest_segy
    with pytest.raises(DestinationRefused, match=r"catalogue of a sweep.*vols/name\.zarr"):
        run(str(volume) if verb == "copy" else source, str(volumes), overwrite=overwrite, run=STAMPED)
    assert files(volumes) == before


def test_arrays_and_exports_go_into_no_volume_and_no_folder_of_a_sweep(tmp_path: Path, volume: Path) -> None:
    """A sweep's folder would become a group, and a file of an export could be an object of a volume."""
    volumes = tmp_path / "vols"
    (volumes / ".seismill").mkdir(parents=True)
    (volumes / ".seismill/catalogue.csv").write_text("name")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    before = files(tmp_path)
    form = Form(shape=[8, 8], chunks=[4, 4])
    refusals: list[tuple[str, Callable[[], Any]]] = [
        ("catalogue of a sweep", lambda: make_image(str(volumes), form=form)),
        ("is a volume", lambda: make_image(str(volume), "mine/0", form)),
        ("inside the volume", lambda: make_image(str(volume / "mine"), "0", form)),
        ("inside the volume", lambda: export_segy(str(volume), f"{volume}/zarr.json", overwrite=True)),
        ("is a folder", lambda: export_segy(str(volume), str(volumes), overwrite=True)),
        ("no regular file", lambda: export_segy(str(volume), str(tmp_path / "pipe"), overwrite=True)),
        ("no regular file", lambda: export_segy(str(volume), str(tmp_path / "link"))),
        ("cannot be written", lambda: export_segy(str(volume), str(tmp_path / "a.sgy/b.sgy"))),
    ]
    for problem, verb in refusals:
        with pytest.raises(DestinationRefused, match=problem):
            verb()
    assert files(tmp_path) == before
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_above_volumes_is_no_volume_even_if_a_run_was_once_tried_there(
    tmp_path: Path, source: str
) -> None:
    volumes = tmp_path / "vols"
    ingest_segy(source, str(volumes / "a.zarr"), run=STAMPED)
    with locked(WritableStore(str(volumes)), wait_seconds=0):
        pass
    before = files(volumes / "a.zarr")
    with pytest.raises(DestinationRefused, match=r"did not write \(a\.zarr/"):
        ingest_segy(source, str(volumes), overwrite=True, run=STAMPED)
    assert files(volumes / "a.zarr") == before


def test_a_volume_is_not_written_into_a_volume(tmp_path: Path, source: str, volume: Path) -> None:
    before = files(volume)
    for inside in ("b.zarr", "mine/b.zarr", "amplitude/b"):
        with pytest.raises(DestinationRefused, match=r"lies inside the volume .*v\.zarr"):
            ingest_segy(source, str(volume / inside), run=STAMPED)
    with pytest.raises(DestinationRefused, match="is a volume"):
        sweep(str(tmp_path), str(volume), publisher=Nobody())  # type: ignore[arg-type]
    assert files(volume) == before


@pytest.mark.parametrize(("name", "path"), [("envelope", "envelope"), ("across", "pyramid")])
def test_an_array_of_others_is_not_written_over(tmp_path: Path, source: str, name: str, path: str) -> None:
    place = tmp_path / "v.zarr"
    ingest_segy(source, str(place), run=STAMPED)
    zarr.open_group(place, mode="r+").create_array(path, shape=(4,), dtype="f4")[:] = 1
    before = files(place / path)
    copies = Copies(presets=[], more=[Copy(name=name, chunks=[9, 2, 4])], quality="lossless")
    run: Callable[[], Any] = {
        "pyramid": lambda: pyramid(str(place), HALVED, overwrite=True, run=STAMPED),
        "envelope": lambda: rechunk(str(place), copies, overwrite=True, run=STAMPED),
    }[path]
    with pytest.raises(DestinationRefused, match=f"{path} is there already, and Seismill did not write it"):
        run()
    assert files(place / path) == before


def test_a_chunk_that_the_new_array_does_not_have_goes(volume: Path) -> None:
    """A reader would take it for data; nothing names it."""
    stale = volume / "across/c/7/7/7"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"stale")
    rechunk(str(volume), OTHER, overwrite=True, run=STAMPED)
    assert not stale.exists()


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("amplitude/c/0/1/2", ("amplitude", 3)),
        ("pyramid/1/amplitude/c/0", ("pyramid/1/amplitude", 1)),
        ("segy_file_header/c", ("segy_file_header", 0)),
        ("c/c/0", ("c", 1)),
        ("amplitude/c/0/01", ("", 0)),
        ("amplitude/c/0/x", ("", 0)),
        ("amplitude/c/0/", ("", 0)),
        ("amplitude/cc/0", ("", 0)),
        ("c/0/0", ("", 0)),
        ("amplitude/c/0/zarr.json", ("", 0)),
    ],
)
def test_chunks_are_known_by_the_grammar_of_their_keys(key: str, owner: tuple[str, int]) -> None:
    assert chunk_of(key) == owner


def test_an_array_has_chunks_of_its_own_rank_only() -> None:
    names = Names({"pyramid/1/amplitude": {3}, "amplitude": {2, 3}})
    assert names.owner("amplitude/c/0/0") == names.owner("amplitude/c/0/0/0") == "amplitude"
    assert names.owner("amplitude/c/0") is None
    assert names.owner("pyramid/1/zarr.json") == "pyramid/1"
    assert names.owner("pyramid/2/zarr.json") is None
    assert names.owner("zarr.json") is None


def test_folders_that_are_left_empty_go_and_others_stay(tmp_path: Path) -> None:
    store = WritableStore(str(tmp_path / "v"))
    for key in ("a/b/c/0", "a/b/c/1", "a/x", "d/e"):
        store.put(key, b"1")
    store.delete_many(["a/b/c/0", "a/b/c/1", "d/e", "not/there"])
    assert sorted(path.name for path in (tmp_path / "v").iterdir() if path.name != ".seismill") == ["a"]
    assert store.children() == [".seismill", "a"]

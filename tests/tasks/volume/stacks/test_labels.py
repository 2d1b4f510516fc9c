"""Labels of an image: a volume each in the image's group, found by readers from there, and safe from one another.

Covers stacks/labels.py, copies/to_copy.py and protocol/label_list.py.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from tasks.copy import copy
from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Levels, Run
from tasks.pyramid import pyramid
from tasks.verify import verify
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tests.support.volumes import tree

LENGTH = {"voxel_length": [2.5, 2, 2], "voxel_unit": "micrometer", "voxel_origin": [1, 0, -3]}
SHAPE = (19, 21, 35)


@pytest.fixture
def rock(tmp_path: Path) -> str:
    """An image volume, with labels to publish beside it."""
    values = np.random.default_rng(3).integers(0, 60000, SHAPE).astype("uint16")
    np.save(tmp_path / "rock.npy", values)
    np.save(tmp_path / "seg.npy", values > 30000)
    volume = str(tmp_path / "rock.zarr")
    ingest_images(str(tmp_path / "rock.npy"), volume, Image(**LENGTH))
    pyramid(volume, Levels(levels=1, until=1))
    return volume


def stopped(*args, **more):
    raise Resumable("stopped")


def labelled(rock: str, name: str = "grains", **image) -> dict:
    return ingest_images(str(Path(rock).parent / "seg.npy"), name, Image(labels_of=rock, **image))


def test_readers_find_labels_and_their_levels_from_the_image(rock, tmp_path):
    assert labelled(rock)["volume"] == f"{rock}/labels/grains"
    pyramid(f"{rock}/labels/grains", Levels(levels=1, until=1))
    labelled(rock, "pores")
    pyramid(f"{rock}/labels/pores", Levels(levels=1, until=1))
    group = zarr.open_group(rock, mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["grains", "pores"]
    grains = group["labels/grains"]
    np.testing.assert_array_equal(grains["label"][...], np.load(tmp_path / "seg.npy"))
    assert grains["label"].dtype == np.uint8
    ome = grains.attrs["ome"]
    assert [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]] == ["label", "1"]
    assert grains["1"].shape == group["pyramid/1/attenuation"].shape
    for number in range(2):
        own, images = (
            attrs["multiscales"][0]["datasets"][number]["coordinateTransformations"]
            for attrs in (ome, group.attrs["ome"])
        )
        assert own == images
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert "omero" not in ome
    assert (
        group["labels/grains"].attrs["ome"] == zarr.open_group(f"{rock}/labels/grains", mode="r").attrs["ome"]
    )
    for place in (rock, f"{rock}/labels/grains"):
        yaozarrs.validate_zarr_store(place)
        open_ome_zarr(zarr.open_group(place, mode="r"))
        assert verify(place)["findings"] == []
    assert info(rock)["label_volumes"] == ["grains", "pores"]
    assert {"x", "y", "z"} <= set(info(rock)["others"])
    assert not [path for path in info(rock)["others"] if path.startswith("labels")]


def test_labels_run_again_are_recognised_by_either_name(rock):
    labelled(rock)
    before = tree(Path(rock))
    for name in ("grains", f"{rock}/labels/grains"):
        assert labelled(rock, name)["notes"] == ["was done already"]
    after = tree(Path(rock))
    assert {k: v for k, v in after.items() if "/lock/" not in k} == {
        k: v for k, v in before.items() if "/lock/" not in k
    }


def test_a_list_that_was_not_written_is_written_by_the_next_run(rock, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tasks.volume.protocol.label_list.commit", stopped)
        with pytest.raises(Resumable):
            labelled(rock)
    assert "labels" not in zarr.open_group(rock, mode="r", use_consolidated=True)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.volume.protocol.label_list.settle", stopped)
        with pytest.raises(Resumable):
            labelled(rock)
    assert not Path(rock, "labels/zarr.json").exists()
    labelled(rock)
    assert json.loads(Path(rock, "labels/zarr.json").read_text())["attributes"]["ome"]["labels"] == ["grains"]
    assert verify(rock)["findings"] == []


@pytest.mark.parametrize(
    ("image", "name", "sentence"),
    [
        ({"voxel_length": [2]}, "grains", "leave out --voxel-length"),
        ({"voxel_origin": [0, 0, 0]}, "grains", "leave out --voxel-length"),
        ({}, "c", "cannot be named 'c'"),
        ({}, "0", "cannot be named '0'"),
        ({}, "elsewhere/grains", "labels/grains, or only grains"),
    ],
)
def test_what_would_not_lie_on_the_image_is_refused_before_anything_is_written(rock, image, name, sentence):
    before = tree(Path(rock))
    with pytest.raises((InputRefused, DestinationRefused), match=sentence):
        labelled(rock, name, **image)
    assert tree(Path(rock)) == before


def test_lengths_in_another_unit_are_the_same_lengths(rock):
    labelled(rock, voxel_length=[0.0025, 0.002, 0.002], voxel_unit="millimeter")
    array = zarr.open_group(f"{rock}/labels/grains", mode="r")["label"]
    assert (array.attrs["voxel_length"], array.attrs["voxel_unit"]) == ([2.5, 2, 2], "micrometer")


def test_labels_of_another_shape_or_of_labels_are_refused(rock, tmp_path):
    np.save(tmp_path / "small.npy", np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(InputRefused, match=r"have 3 x 4 x 5 voxels, but the image .* has 19 x 21 x 35"):
        ingest_images(str(tmp_path / "small.npy"), "grains", Image(labels_of=rock))
    labelled(rock)
    with pytest.raises(InputRefused, match="holds labels itself"):
        ingest_images(str(tmp_path / "seg.npy"), "more", Image(labels_of=f"{rock}/labels/grains"))


def test_an_image_with_labels_is_not_replaced_under_them(rock, tmp_path):
    labelled(rock)
    before = tree(Path(rock))
    with pytest.raises(DestinationRefused, match=r"has labels in it \(grains\)"):
        ingest_images(str(tmp_path / "rock.npy"), rock, Image(), overwrite=True)
    assert {k: v for k, v in tree(Path(rock)).items() if "/lock/" not in k} == {
        k: v for k, v in before.items() if "/lock/" not in k
    }
    pyramid(rock, Levels(levels=2, until=1), overwrite=True)
    assert verify(f"{rock}/labels/grains")["findings"] == []
    assert zarr.open_group(rock, mode="r")["labels/grains/label"].shape == SHAPE
    shutil.rmtree(f"{rock}/labels/grains")
    ingest_images(str(tmp_path / "rock.npy"), rock, Image(), overwrite=True)
    assert not Path(rock, "labels/zarr.json").exists()
    assert verify(rock)["findings"] == []


def test_a_group_of_labels_of_somebody_else_is_left_alone(rock):
    zarr.create_group(f"{rock}/labels", attributes={"ome": {"version": "0.5", "labels": ["theirs"]}})
    before = tree(Path(rock))
    with pytest.raises(DestinationRefused, match="labels is there already, and Seismill did not write it"):
        labelled(rock)
    assert tree(Path(rock)) == before


def test_labels_are_replaced_alone(rock, tmp_path):
    labelled(rock)
    with pytest.raises(DestinationRefused, match=r"give --labels-of"):
        ingest_images(str(tmp_path / "seg.npy"), f"{rock}/labels/others")
    np.save(tmp_path / "seg.npy", ~np.load(tmp_path / "seg.npy"))
    ingest_images(str(tmp_path / "seg.npy"), "grains", Image(labels_of=rock), overwrite=True)
    np.testing.assert_array_equal(
        zarr.open_group(rock, mode="r")["labels/grains/label"][...], np.load(tmp_path / "seg.npy")
    )


def test_labels_are_copied_with_their_image_or_left_out(rock, tmp_path):
    labelled(rock)
    pyramid(f"{rock}/labels/grains", Levels(levels=1, until=1))
    place = str(tmp_path / "copy.zarr")
    planned = copy(rock, place, run=Run(dry_run=True))
    assert "labels/grains/label" in [row["path"] for row in planned["arrays"]]
    assert not Path(place).exists()
    copied = copy(rock, place)
    assert [row["path"] for row in copied["arrays"]] == [row["path"] for row in planned["arrays"]]
    both = [zarr.open_group(url, mode="r") for url in (rock, place)]
    for path in ("attenuation", "labels/grains/label"):
        np.testing.assert_array_equal(both[0][path][...], both[1][path][...])
    assert both[0]["labels"].attrs.asdict() == both[1]["labels"].attrs.asdict()
    yaozarrs.validate_zarr_store(place)
    for volume in (place, f"{place}/labels/grains"):
        assert verify(volume)["findings"] == []
    before = tree(Path(place))
    assert copy(rock, place)["notes"] == ["was done already", "labels/grains: was done already"]
    assert {k: v for k, v in tree(Path(place)).items() if "/lock/" not in k} == {
        k: v for k, v in before.items() if "/lock/" not in k
    }
    alone = copy(rock, str(tmp_path / "alone.zarr"), excludes=["labels"])
    assert [note for note in alone["notes"] if "the labels grains" in note and "left out" in note]
    assert "labels" not in zarr.open_group(str(tmp_path / "alone.zarr"), mode="r")


@pytest.fixture
def pair(rock: str, tmp_path: Path) -> tuple[str, Path]:
    """An image with labels, and a copy of both."""
    labelled(rock)
    labelled(rock, "pores")
    copy(rock, str(tmp_path / "copy.zarr"))
    return rock, tmp_path / "copy.zarr"


def unlocked(place: Path) -> dict[str, bytes]:
    return {key: content for key, content in tree(place).items() if "/lock/" not in key}


def equal_to_source(rock: str, place: Path) -> bool:
    """Return whether readers find the same in a copy as in its source, and nothing else is wrong with it."""
    groups = [zarr.open_group(url, mode="r") for url in (rock, str(place))]
    names = [group["labels"].attrs["ome"]["labels"] for group in groups]
    arrays = ("attenuation", "pyramid/1/attenuation", *(f"labels/{name}/label" for name in names[0]))
    found = [
        verify(url)["findings"] for url in (str(place), *(f"{place}/labels/{name}" for name in names[0]))
    ]
    return (
        names[0] == names[1]
        and all(np.array_equal(groups[0][path][...], groups[1][path][...]) for path in arrays)
        and not any(found)
    )


def test_a_copy_is_refreshed_with_its_labels(pair, tmp_path, monkeypatch):
    rock, place = pair
    pyramid(rock, Levels(levels=2, until=1), overwrite=True)
    np.save(tmp_path / "seg.npy", ~np.load(tmp_path / "seg.npy"))
    ingest_images(str(tmp_path / "seg.npy"), "pores", Image(labels_of=rock), overwrite=True)
    before = unlocked(place)
    with pytest.raises(DestinationRefused, match=r"copy.zarr holds another volume; .*--overwrite$"):
        copy(rock, str(place))
    assert unlocked(place) == before
    with monkeypatch.context() as patch:
        patch.setattr("tasks.copy.run_blocks", stopped)
        with pytest.raises(Resumable):
            copy(rock, str(place), overwrite=True)
    assert not (place / "zarr.json").exists()
    notes = copy(rock, str(place), overwrite=True)["notes"]
    assert notes == ["labels/grains: was done already"]
    assert equal_to_source(rock, place)
    assert copy(rock, str(place))["notes"][0] == "was done already"


@pytest.mark.parametrize("case", ["labels that the source does not have", "another shape"])
def test_a_copy_with_labels_that_do_not_fit_is_not_refreshed(case, pair, tmp_path):
    rock, place = pair
    if case == "another shape":
        np.save(tmp_path / "rock.npy", np.zeros((3, 4, 5), "uint16"))
        np.save(tmp_path / "seg.npy", np.zeros((3, 4, 5), bool))
        rock = str(tmp_path / "small.zarr")
        ingest_images(str(tmp_path / "rock.npy"), rock, Image(**LENGTH))
        labelled(rock)
        labelled(rock, "pores")
    else:
        pyramid(rock, Levels(levels=2, until=1), overwrite=True)
        ingest_images(str(tmp_path / "seg.npy"), "mine", Image(labels_of=str(place)))
    before = unlocked(place)
    held = r"grains, pores" if case == "another shape" else "mine"
    with pytest.raises(DestinationRefused, match=rf"has labels in it \({held}\)"):
        copy(rock, str(place), overwrite=True)
    assert unlocked(place) == before


def test_labels_that_were_deleted_are_left_out_of_a_copy_with_a_note(pair, tmp_path):
    rock, _ = pair
    shutil.rmtree(f"{rock}/labels/pores")
    (note,) = copy(rock, str(tmp_path / "less.zarr"))["notes"]
    assert note == f"the labels pores were left out: they are not in {rock}/labels any more"
    assert copy(rock, str(tmp_path / "less.zarr"))["notes"] == [
        "was done already",
        note,
        "labels/grains: was done already",
    ]
    group = zarr.open_group(tmp_path / "less.zarr", mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["grains"]
    Path(rock, "labels/pores").mkdir()
    Path(rock, "labels/pores/read.me").write_text("mine")
    with pytest.raises(InputRefused, match=r"no published volume at .*labels/pores.*--excludes labels"):
        copy(rock, str(tmp_path / "none.zarr"))
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize(
    "theirs", ["labels/zarr.json", "labels/pores/zarr.json", "labels/pores/a.txt", "labels/pores"]
)
def test_what_is_in_the_way_of_any_labels_is_refused_before_the_first_is_written(theirs, pair, tmp_path):
    rock, _ = pair
    place = tmp_path / "other.zarr"
    copy(rock, str(place), excludes=["labels"])
    (place / theirs).parent.mkdir(parents=True)
    (place / theirs).write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    before = tree(place)
    for overwrite in (False, True):
        with pytest.raises(DestinationRefused, match=r"labels.*; or copy the image .* --excludes labels"):
            copy(rock, str(place), overwrite=overwrite)
    assert tree(place) == before
    assert copy(rock, str(place), excludes=["labels"])["notes"] == [
        "was done already",
        f"the labels grains, pores of {rock} were left out",
    ]


@pytest.mark.parametrize("image_too", [False, True])
def test_damaged_labels_replace_nothing(image_too, pair, tmp_path):
    rock, place = pair
    if image_too:
        pyramid(rock, Levels(levels=2, until=1), overwrite=True)
    np.save(tmp_path / "seg.npy", ~np.load(tmp_path / "seg.npy"))
    for name in ("grains", "pores"):
        ingest_images(str(tmp_path / "seg.npy"), name, Image(labels_of=rock), overwrite=True)
    chunk = Path(rock, "labels/pores/label/c/0/0/0")
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    before = unlocked(place)
    with pytest.raises(IntegrityFailure, match="labels/pores/label/c/0/0/0 is not as it was written"):
        copy(rock, str(place), overwrite=True)
    assert unlocked(place) == before
    chunk.write_bytes(content)
    copy(rock, str(place), overwrite=True)
    assert equal_to_source(rock, place)


@pytest.mark.parametrize("there", ["nothing", "the image"])
def test_damaged_labels_are_refused_before_the_first_is_written(there, pair, tmp_path):
    rock, _ = pair
    place = tmp_path / "new.zarr"
    if there == "the image":
        copy(rock, str(place), excludes=["labels"])
    before = unlocked(place)
    chunk = Path(rock, "labels/pores/label/c/0/0/0")
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        IntegrityFailure,
        match=r"label/c/0/0/0 is not as it was written; .* again; or copy .* --excludes labels$",
    ) as failure:
        copy(rock, str(place))
    assert failure.value.sentence.count("--excludes") == 1
    assert unlocked(place) == before
    chunk.write_bytes(content)
    copy(rock, str(place))
    assert equal_to_source(rock, place)


def test_a_dry_run_of_labels_writes_nothing(rock):
    before = tree(Path(rock))
    planned = ingest_images(
        str(Path(rock).parent / "seg.npy"), "grains", Image(labels_of=rock), run=Run(dry_run=True)
    )
    assert planned["volume"] == f"{rock}/labels/grains"
    assert tree(Path(rock)) == before

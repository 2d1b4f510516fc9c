"""A volume as a plain OME-Zarr 0.4 group: every voxel by zarr, valid in both validators, resumed, never over others.

Covers export/ome_group.py, arrays/plain_v2.py.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr
from ome_zarr_models.v04 import Image as Image04
from ome_zarr_models.v04 import ImageLabel

from tasks.export_ome import export_ome
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.make_image import make_image
from tasks.parameters import Form, Image, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.verify import verify
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tests.support.survey import make_survey
from tests.support.volumes import every_dtype, stopping_after, threads

SHAPE = (19, 21, 35)
PLACED = Image(voxel_length=[4, 2, 2], voxel_unit="micrometer", voxel_origin=[-1, 0, 10])


def published(folder: Path, dtype: str = "uint16", image: Image = PLACED) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(5)
    kind = np.dtype(dtype).kind
    values = rng.random(SHAPE) < 0.4 if kind == "b" else (rng.random(SHAPE) * 200).astype(dtype)
    if kind == "f":
        values[0, 0, 0] = np.nan
    np.save(folder / "a.npy", values)
    ingest_images(str(folder / "a.npy"), str(folder / "v.zarr"), image, Master(chunks=[4, 8, 16]))
    pyramid(str(folder / "v.zarr"), Levels(levels=2, until=1))
    return folder / "v.zarr", values


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "dtype", every_dtype("bool", "uint8", "int16", "uint16", "uint64", "float16", "float32")
)
def test_every_level_is_there_and_both_validators_take_the_group(tmp_path, dtype):
    volume, values = published(tmp_path, dtype)
    summary = export_ome(str(volume), str(tmp_path / "o.zarr"))
    assert (summary["target"], summary["levels"]) == (str(tmp_path / "o.zarr"), 3)
    group = zarr.open_group(tmp_path / "o.zarr", mode="r", zarr_format=2)
    assert group["0"].dtype == (np.dtype("u1") if dtype == "bool" else np.dtype(dtype))
    assert group["0"].chunks == (4, 8, 16)
    np.testing.assert_array_equal(group["0"][...], values)
    ours = zarr.open_group(volume, mode="r")
    for number in (1, 2):
        np.testing.assert_array_equal(group[str(number)][...], ours[f"pyramid/{number}/attenuation"][...])
    image = group.attrs["multiscales"][0]
    assert image["version"] == "0.4"
    assert image["axes"] == [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    assert image["datasets"][0] == {
        "path": "0",
        "coordinateTransformations": [
            {"type": "scale", "scale": [4.0, 2.0, 2.0]},
            {"type": "translation", "translation": [-1.0, 0.0, 10.0]},
        ],
    }
    described = ours.attrs["ome"]["multiscales"][0]["datasets"]
    for mine, theirs in zip(image["datasets"], described, strict=True):
        assert mine["coordinateTransformations"] == theirs["coordinateTransformations"]
    yaozarrs.validate_zarr_store(str(tmp_path / "o.zarr"))
    assert isinstance(open_ome_zarr(group), Image04)


def test_labels_keep_their_colours_and_are_no_brightness(tmp_path):
    volume, _ = published(tmp_path, "uint8", Image(labels=True))
    export_ome(str(volume), str(tmp_path / "o.zarr"))
    group = zarr.open_group(tmp_path / "o.zarr", mode="r", zarr_format=2)
    ours = zarr.open_group(volume, mode="r").attrs["ome"]["image-label"]
    assert group.attrs["image-label"] == {"version": "0.4", **ours}
    assert "omero" not in group.attrs
    yaozarrs.validate_zarr_store(str(tmp_path / "o.zarr"))
    assert isinstance(open_ome_zarr(group), ImageLabel)


def test_labels_of_an_image_are_exported_with_it(tmp_path):
    volume, values = published(tmp_path)
    np.save(tmp_path / "seg.npy", values // 50)
    ingest_images(str(tmp_path / "seg.npy"), "grains", Image(labels_of=str(volume)))
    pyramid(str(volume / "labels/grains"), Levels(levels=1, until=1))
    (note,) = export_ome(str(volume), str(tmp_path / "uneven.zarr"))["notes"]
    assert note.startswith("the labels grains have 2 levels, and their image 3, which validators refuse")
    assert f"pyramid {volume}/labels/grains --levels 2 --until 1 --overwrite, and" in note
    pyramid(str(volume / "labels/grains"), Levels(levels=2, until=1), overwrite=True)
    place = tmp_path / "o.zarr"
    with stopping_after(1) as compute, pytest.raises(Resumable):
        export_ome(str(volume), str(place), compute=compute)
    assert not (place / ".zgroup").exists()
    summary = export_ome(str(volume), str(place))
    assert summary["levels"] == 3
    assert [row["path"] for row in summary["arrays"]] == [
        *("0", "1", "2"),
        *(f"labels/grains/{n}" for n in range(3)),
    ]
    yaozarrs.validate_zarr_store(str(place))
    group = zarr.open_group(place, mode="r", zarr_format=2)
    assert group["labels"].attrs["labels"] == ["grains"]
    ImageLabel.from_zarr(group["labels/grains"])
    assert group["labels/grains"].attrs["image-label"]["source"] == {"image": "../../"}
    np.testing.assert_array_equal(group["labels/grains/0"][...], values // 50)
    np.testing.assert_array_equal(group["0"][...], values)
    assert export_ome(str(volume), str(place))["notes"] == [f"{summary['objects']} chunks were there already"]
    shutil.rmtree(volume / "labels/grains")
    assert export_ome(str(volume), str(tmp_path / "less.zarr"))["notes"] == [
        f"the labels grains were left out: they are not in {volume}/labels any more"
    ]
    assert not (tmp_path / "less.zarr/labels").exists()


def test_labels_with_levels_of_an_image_without_are_told_what_makes_both_alike(tmp_path):
    volume = tmp_path / "v.zarr"
    np.save(tmp_path / "a.npy", np.random.default_rng(5).integers(0, 3, SHAPE, "u1"))
    ingest_images(str(tmp_path / "a.npy"), str(volume), PLACED)
    ingest_images(str(tmp_path / "a.npy"), "grains", Image(labels_of=str(volume)))
    pyramid(str(volume / "labels/grains"), Levels(levels=1, until=1))
    (note,) = export_ome(str(volume), str(tmp_path / "uneven.zarr"), Run(dry_run=True))["notes"]
    assert f"make as many with seismill pyramid {volume} --levels 1 --until 1, and export" in note
    pyramid(str(volume), Levels(levels=1, until=1))
    assert export_ome(str(volume), str(tmp_path / "o.zarr"))["notes"] == []


def test_an_export_that_stopped_is_no_group_and_is_gone_on_with(tmp_path):
    volume, _ = published(tmp_path)
    export_ome(str(volume), str(tmp_path / "whole.zarr"))
    target = tmp_path / "o.zarr"
    with stopping_after(1) as compute, pytest.raises(Resumable):
        export_ome(str(volume), str(target), compute=compute)
    begun = files(target)
    assert begun
    assert not [name for name in begun if name.endswith((".zgroup", ".zarray", ".zattrs"))]
    gone = next(name for name in begun if name.startswith("0/"))
    (target / gone).unlink()
    summary = export_ome(str(volume), str(target))
    assert summary["notes"] == [f"{len(begun) - 2:,} chunks were there already"]
    assert files(target) == files(tmp_path / "whole.zarr")
    again = export_ome(str(volume), str(target))
    assert again["notes"] == [f"{again['objects']:,} chunks were there already"]
    assert verify(str(volume))["findings"] == []


def test_what_somebody_else_has_is_never_touched(tmp_path):
    volume, _ = published(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(DestinationRefused, match=r"not empty .*notes\.txt.* name a place"):
        export_ome(str(volume), str(tmp_path / "full"))
    for place in (volume, volume / "export"):
        with pytest.raises(DestinationRefused):
            export_ome(str(volume), str(place))
    with pytest.raises(DestinationRefused, match="is a file"):
        export_ome(str(volume), str(tmp_path / "a.npy"))
    export_ome(str(volume), str(tmp_path / "o.zarr"))
    before = files(tmp_path / "o.zarr")
    pyramid(str(volume), Levels(levels=1, until=1), overwrite=True)
    with pytest.raises(DestinationRefused, match="no export of this volume as it is now"):
        export_ome(str(volume), str(tmp_path / "o.zarr"))
    assert files(tmp_path / "o.zarr") == before
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["notes.txt"]


def test_a_dry_run_and_too_little_memory_write_nothing(tmp_path):
    volume, _ = published(tmp_path)
    planned = export_ome(str(volume), str(tmp_path / "o.zarr"), Run(dry_run=True))
    assert [row["shape"] for row in planned["arrays"]] == [SHAPE, (19, 11, 18), (10, 6, 9)]
    with threads(2, 1000) as compute, pytest.raises(InputRefused, match="MB"):
        export_ome(str(volume), str(tmp_path / "o.zarr"), compute=compute)
    assert not (tmp_path / "o.zarr").exists()


def test_surveys_and_arrays_of_other_tools_are_exported_as_well(tmp_path):
    survey = make_survey(tmp_path / "a.sgy", n_samples=20, inlines=range(4), crosslines=range(5))
    ingest_segy(str(survey.path), str(tmp_path / "s.zarr"))
    export_ome(str(tmp_path / "s.zarr"), str(tmp_path / "s04.zarr"))
    ours = zarr.open_group(tmp_path / "s.zarr", mode="r")["amplitude"][...]
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "s04.zarr", mode="r")["0"][...], ours)
    make_image(str(tmp_path / "m.zarr"), form=Form(shape=[30, 20, 10], chunks=[16, 16, 16]))
    pyramid(str(tmp_path / "m.zarr"), Levels(levels=1, until=1), array="field/0")
    export_ome(str(tmp_path / "m.zarr/field"), str(tmp_path / "m04.zarr"))
    group = zarr.open_group(tmp_path / "m04.zarr", mode="r", zarr_format=2)
    theirs: Any = zarr.open_group(tmp_path / "m.zarr", mode="r")["field"]
    np.testing.assert_array_equal(group["0"][...], theirs["0"][...])
    np.testing.assert_array_equal(group["1"][...], theirs["1"][...])
    for name in ("s04.zarr", "m04.zarr"):
        yaozarrs.validate_zarr_store(str(tmp_path / name))
        assert isinstance(open_ome_zarr(zarr.open_group(tmp_path / name, mode="r")), Image04)


def test_into_a_store_without_a_disk(tmp_path):
    volume, values = published(tmp_path)
    export_ome(str(volume), "memory://exported/o.zarr")
    files = fsspec.filesystem("memory")
    assert json.loads(files.cat("/exported/o.zarr/.zgroup")) == {"zarr_format": 2}
    group = zarr.open_group("memory://exported/o.zarr", mode="r", zarr_format=2)
    np.testing.assert_array_equal(group["0"][...], values)
    files.rm("/exported", recursive=True)

"""Image volumes open in other people's tools, with the voxels and places that were put in.

The readers live in an environment of their own, in which this project cannot be imported: SEISMILL_IMAGES_PYTHON has
ome-zarr, ngff-zarr, napari-ome-zarr, tensorstore and rockverse.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Levels, Master
from tasks.pyramid import pyramid

# What every reader is given: the volume, and an .npz with each level's voxels and lengths.
PRELUDE = """
import importlib.util, sys
import numpy as np
assert not any(map(importlib.util.find_spec, ("tasks", "flows", "seismill"))), "this project can be imported"
volume, truth = sys.argv[1], np.load(sys.argv[2])
levels = [truth[f"level{n}"] for n in range(3)]
lengths, origins = truth["lengths"], truth["origins"]
"""

OME_ZARR = """
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
data = list(Reader(parse_url(volume))())[0].data
assert len(data) == 3
for found, level in zip(data, levels):
    np.testing.assert_array_equal(np.asarray(found), level)
"""

NGFF_ZARR = """
from ngff_zarr import from_ngff_zarr
images = from_ngff_zarr(volume, version="0.5").images
assert len(images) == 3
for image, level, length, origin in zip(images, levels, lengths, origins):
    np.testing.assert_array_equal(np.asarray(image.data), level)
    assert [image.scale[axis] for axis in "zyx"] == length.tolist()
    assert [image.translation[axis] for axis in "zyx"] == origin.tolist()
    assert set(image.axes_units.values()) == {"micrometer"}
"""

NAPARI = """
from napari.layers import Layer
from napari_ome_zarr import napari_get_reader
(layer,) = (Layer.create(*one) for one in napari_get_reader(volume)(volume))
assert type(layer).__name__ == ("Labels" if truth["is_labels"] else "Image")
assert len(layer.data) == 3
for found, level in zip(layer.data, levels):
    np.testing.assert_array_equal(np.asarray(found), level)
assert list(layer.scale) == lengths[0].tolist()
"""

TENSORSTORE = """
import tensorstore
for path, level in zip(("density", "pyramid/1/density", "pyramid/2/density"), levels):
    store = {"driver": "file", "path": f"{volume}/{path}"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
    assert array.domain.labels == ("z", "y", "x")
    np.testing.assert_array_equal(array.read().result(), level)
"""

ROCKVERSE = """
import rockverse
for path, level, length, origin in zip(
    ("density", "pyramid/1/density", "pyramid/2/density"), levels, lengths, origins
):
    image = rockverse.open(volume, path=path, mode="r")
    assert type(image).__name__ == "VoxelImage"
    np.testing.assert_array_equal(image[...], level)
    assert (list(image.voxel_length), list(image.voxel_origin)) == (length.tolist(), origin.tolist())
    assert (image.voxel_unit, image.field_name, image.field_unit) == ("micrometer", "density", "g/cm3")
    assert image.description == "core 7"
"""

# An image with labels in its group: both become layers.
NAPARI_LABELS = """
import sys
import numpy as np
from napari.layers import Layer
from napari_ome_zarr import napari_get_reader
volume, truth = sys.argv[1], np.load(sys.argv[2])
image, labels = (Layer.create(*one) for one in napari_get_reader(volume)(volume))
assert (type(image).__name__, type(labels).__name__) == ("Image", "Labels")
for found, level in zip(labels.data, ("labels0", "labels1"), strict=True):
    np.testing.assert_array_equal(np.asarray(found), truth[level])
assert list(labels.scale) == list(image.scale) == [2.5, 2, 2]
"""

# What napari's viewer makes of channels: a layer each.
NAPARI_CHANNELS = """
import sys
import numpy as np
from napari.components import ViewerModel
from napari_ome_zarr import napari_get_reader
from ngff_zarr import from_ngff_zarr
import tensorstore
volume, truth = sys.argv[1], np.load(sys.argv[2])
((data, said, kind),) = napari_get_reader(volume)(volume)
layers = ViewerModel().add_image(data, **said)
assert [layer.name.rpartition(" ")[2] for layer in layers] == ["red", "green", "blue"]
for layer, channel in zip(layers, truth["level0"], strict=True):
    np.testing.assert_array_equal(np.asarray(layer.data[0]), channel)
    assert list(layer.scale) == [2, 2, 2] and layer.contrast_limits == [0, 255]
images = from_ngff_zarr(volume, version="0.5", validate=True).images
assert images[0].dims == ("c", "z", "y", "x") and images[1].scale == {"c": 1, "z": 4, "y": 4, "x": 4}
np.testing.assert_array_equal(np.asarray(images[0].data), truth["level0"])
store = {"driver": "file", "path": f"{volume}/attenuation"}
array = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
np.testing.assert_array_equal(array.read().result(), truth["level0"])
"""

MULTIDIMIO = """
import mdio
np.testing.assert_array_equal(mdio.open_mdio(volume)["density"].values, levels[0])
"""


@pytest.fixture(scope="module", params=["chunks", "shards", "labels"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A volume of three levels, and what is in it."""
    folder = tmp_path_factory.mktemp(request.param)
    values = np.random.default_rng(21).integers(0, 9, (37, 45, 53)).astype("uint16")
    np.save(folder / "voxels.npy", values)
    volume = folder / "core.zarr"
    image = Image(
        field_name="density",
        field_unit="g/cm3",
        description="core 7",
        voxel_length=[2.5, 2, 2],
        voxel_unit="micrometer",
        voxel_origin=[1, 0, -3],
        labels=request.param == "labels",
    )
    shards = [16, 32, 32] if request.param == "shards" else [0]
    ingest_images(str(folder / "voxels.npy"), str(volume), image, Master(chunks=[8, 16, 16], shards=shards))
    pyramid(str(volume), Levels(levels=2, until=1))
    group = zarr.open_group(volume, mode="r")
    levels = [group[path][...] for path in ("density", "pyramid/1/density", "pyramid/2/density")]
    np.testing.assert_array_equal(levels[0], values)
    steps, first = np.array([2.5, 2, 2]), np.array([1.0, 0, -3])
    truth = {f"level{n}": level for n, level in enumerate(levels)}
    truth["lengths"] = np.array([steps * f for f in (1, 2, 4)])
    truth["origins"] = np.array([first + steps * (f - 1) / 2 for f in (1, 2, 4)])
    truth["is_labels"] = np.array(request.param == "labels")
    np.savez(folder / "truth.npz", **truth)
    return volume, folder / "truth.npz"


def test_the_validators_pass_and_xarray_labels_every_level(made: tuple[Path, Path]) -> None:
    volume, truth = made[0], np.load(made[1])
    yaozarrs.validate_zarr_store(str(volume))
    open_ome_zarr(zarr.open_group(volume, mode="r"))
    for number, group in enumerate((None, "pyramid/1", "pyramid/2")):
        opened = xarray.open_zarr(str(volume), group=group)
        np.testing.assert_array_equal(opened["density"].values, truth[f"level{number}"])
        for axis, name in enumerate("zyx"):
            labels = opened[name].values
            assert labels[0] == truth["origins"][number][axis]
            np.testing.assert_allclose(np.diff(labels), truth["lengths"][number][axis])


@pytest.mark.peer
def test_readers_find_the_voxels_and_where_they_lie(made: tuple[Path, Path]) -> None:
    # In one process: what they import takes longer than what they read.
    readers = OME_ZARR + NGFF_ZARR + NAPARI + TENSORSTORE + ROCKVERSE
    read_elsewhere("SEISMILL_IMAGES_PYTHON", readers, *made)


@pytest.mark.peer
def test_napari_makes_a_layer_of_labels_beside_that_of_their_image(tmp_path: Path) -> None:
    values = np.random.default_rng(22).integers(0, 9, (20, 30, 40)).astype("uint16")
    np.save(tmp_path / "rock.npy", values)
    np.save(tmp_path / "seg.npy", values // 3)
    rock = str(tmp_path / "rock.zarr")
    ingest_images(str(tmp_path / "rock.npy"), rock, Image(voxel_length=[2.5, 2, 2], voxel_unit="micrometer"))
    ingest_images(str(tmp_path / "seg.npy"), "grains", Image(labels_of=rock))
    for volume in (rock, f"{rock}/labels/grains"):
        pyramid(volume, Levels(levels=1, until=1))
    group = zarr.open_group(f"{rock}/labels/grains", mode="r")
    np.testing.assert_array_equal(group["label"][...], values // 3)
    np.savez(tmp_path / "truth.npz", labels0=group["label"][...], labels1=group["1"][...])
    read_elsewhere("SEISMILL_IMAGES_PYTHON", NAPARI_LABELS, Path(rock), tmp_path / "truth.npz", prelude="")


@pytest.mark.peer
def test_napari_makes_a_layer_of_each_colour(tmp_path: Path) -> None:
    values = np.random.default_rng(23).integers(0, 255, (6, 20, 30, 3), "uint8")
    tifffile.imwrite(tmp_path / "rock.tif", values, photometric="rgb")
    rock = tmp_path / "rock.zarr"
    ingest_images(str(tmp_path / "rock.tif"), str(rock), Image(voxel_length=[2], voxel_unit="micrometer"))
    pyramid(str(rock), Levels(levels=1, until=1))
    np.savez(tmp_path / "truth.npz", level0=np.moveaxis(values, -1, 0))
    read_elsewhere("SEISMILL_IMAGES_PYTHON", NAPARI_CHANNELS, rock, tmp_path / "truth.npz", prelude="")


@pytest.mark.peer
def test_multidimio_opens_an_image(made: tuple[Path, Path]) -> None:
    read_elsewhere("SEISMILL_MDIO_PYTHON", MULTIDIMIO, *made)


def read_elsewhere(variable: str, reader: str, volume: Path, truth: Path, *, prelude: str = PRELUDE) -> None:
    """Run a reader under the interpreter that a variable names."""
    python = os.environ.get(variable, "")
    if not python:
        pytest.skip(f"{variable} does not name an interpreter that has it")
    command = [python, "-I", "-c", prelude + reader, str(volume), str(truth)]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr

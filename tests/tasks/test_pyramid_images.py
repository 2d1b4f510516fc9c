"""Levels of images: every method and type, anisotropic voxels, where levels lie and where they end."""

import itertools

import numpy as np
import pytest
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.verify import verify
from tasks.volume.images.stack import Stack
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.pyramid.coarsen import coarsen
from tests.support.volumes import STAMP, differences, stopping_after, threads, tree

FIXED = Run(created_on=STAMP)
SMALL = Master(chunks=[4, 8, 16])
METHODS = ["mean", "median", "mode", "min", "max", "nearest"]
DTYPES = ["bool", "uint8", "uint16", "int64", "float16", "float32", "float64"]
SHARDED = Master(chunks=[4, 8, 16], shards=[8, 16, 32])


def published(tmp_path, values, image=Image(), master=SMALL, name="v"):
    np.save(tmp_path / f"{name}.npy", values)
    volume = tmp_path / f"{name}.zarr"
    with pytest.MonkeyPatch.context() as earlier:
        if values.dtype.kind == "b":  # volumes made before keep their booleans
            earlier.setattr(Stack, "dtype", "bool")
        ingest_images(str(tmp_path / f"{name}.npy"), str(volume), image, master, run=FIXED)
    return volume


def voxels(dtype="uint16", shape=(37, 21, 65)):
    rng = np.random.default_rng(8)
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return rng.normal(100, 20, shape).astype(dtype)


def level(volume, number, field="attenuation"):
    return zarr.open_group(volume, mode="r")[f"pyramid/{number}/{field}"]


@pytest.mark.parametrize(
    ("dtype", "method"),
    [
        *[("bool", "median"), ("uint8", "mode"), ("uint16", "mean")],
        *[("uint64", "min"), ("float16", "max"), ("int64", "nearest"), ("float32", "mean")],
        *[pytest.param(*both, marks=pytest.mark.slow) for both in itertools.product(DTYPES, METHODS)],
    ],
)
def test_every_method_makes_each_level_of_the_one_above(tmp_path, dtype, method):
    above = voxels(dtype)
    volume = published(tmp_path, above)
    pyramid(str(volume), Levels(method=method, levels=3), run=FIXED)
    for number in (1, 2, 3):
        above = coarsen(above, (2, 2, 2), method)
        assert level(volume, number).dtype == np.dtype(dtype)
        np.testing.assert_array_equal(level(volume, number)[...], above)
    assert verify(str(volume), errors=True)["findings"] == []


def test_levels_from_one_read_are_those_made_one_by_one(tmp_path):
    values = voxels(shape=(70, 50, 130))
    for name, twice in (("a", 256 << 20), ("b", 0)):
        volume = published(tmp_path, values, master=SHARDED, name=name)
        with threads(two_levels_bytes=twice, level_bytes=1 << 16) as compute:
            summary = pyramid(str(volume), Levels(levels=5), run=FIXED, compute=compute)
        assert summary["blocks_done"] > 5
    same = differences(tree(tmp_path / "a.zarr"), tree(tmp_path / "b.zarr"))
    assert same == ["zarr.json"], "it names the source"


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    small = {"level_bytes": 1 << 16}
    volume, whole = (published(tmp_path, voxels(), master=SHARDED, name=name) for name in "ab")
    with threads(**small) as compute:
        blocks = pyramid(str(whole), Levels(levels=4), run=FIXED, compute=compute)["blocks_done"]
    assert blocks > 3
    for stop in (1, blocks - 1):
        with stopping_after(stop, **small) as compute, pytest.raises(Resumable):
            pyramid(str(volume), Levels(levels=4), run=FIXED, compute=compute)
        assert not list(volume.glob("pyramid/**/zarr.json"))
    with threads(**small) as compute:
        pyramid(str(volume), Levels(levels=4), run=FIXED, compute=compute)
    assert differences(tree(volume), tree(whole)) == ["zarr.json"], "it names the source"


def test_anisotropic_voxels_become_isotropic_first(tmp_path):
    volume = published(tmp_path, voxels(), Image(voxel_length=[4, 1, 1], voxel_unit="micrometer"))
    pyramid(str(volume), Levels(levels=4), run=FIXED)
    lengths = [level(volume, n).attrs["voxel_length"] for n in (1, 2, 3, 4)]
    assert lengths == [[4, 2, 2], [4, 4, 4], [8, 8, 8], [16, 16, 16]]
    np.testing.assert_array_equal(level(volume, 1)[...], coarsen(voxels(), (1, 2, 2)))


def test_levels_lie_where_their_voxels_do(tmp_path):
    image = Image(voxel_length=[2, 2, 2], voxel_origin=[10, 0, -3], voxel_unit="micrometer", field_unit="HU")
    means, firsts = published(tmp_path, voxels(), image), published(tmp_path, voxels(), image, name="w")
    pyramid(str(means), Levels(levels=2), run=FIXED)
    pyramid(str(firsts), Levels(levels=2, method="nearest"), run=FIXED)
    for volume, origin in ((means, [13.0, 3.0, 0.0]), (firsts, [10.0, 0.0, -3.0])):
        attributes = level(volume, 2).attrs
        assert (attributes["voxel_length"], attributes["voxel_origin"]) == ([8.0, 8.0, 8.0], origin)
        assert (attributes["_ROCKVERSE_DATATYPE"], attributes["field_unit"], attributes["voxel_unit"]) == (
            "VoxelImage",
            "HU",
            "micrometer",
        )
        group = zarr.open_group(volume, mode="r")
        assert group["pyramid/2/z"][:3].tolist() == [origin[0], origin[0] + 8, origin[0] + 16]
        assert group["pyramid/2/z"].attrs["units"] == "micrometer"
        scale, translation = group.attrs["ome"]["multiscales"][0]["datasets"][2]["coordinateTransformations"]
        assert (scale["scale"], translation["translation"]) == ([8.0, 8.0, 8.0], origin)
        assert group.attrs["ome"]["multiscales"][0]["axes"][0]["unit"] == "micrometer"
        yaozarrs.validate_zarr_store(str(volume))
        open_ome_zarr(group)


def test_one_slice_keeps_its_place(tmp_path):
    volume = published(tmp_path, voxels(shape=(1, 97, 124)), Image(voxel_length=[5, 1, 1]))
    pyramid(str(volume), Levels(levels=3), run=FIXED)
    attributes = level(volume, 3).attrs
    assert (attributes["voxel_length"], attributes["voxel_origin"]) == ([5.0, 8.0, 8.0], [0.0, 3.5, 3.5])


def test_labels_are_counted_unless_it_is_said_otherwise(tmp_path):
    values = np.random.default_rng(1).choice([0, 1, 7], (20, 20, 20)).astype("u1")
    volume = published(tmp_path, values, Image(labels=True))
    pyramid(str(volume), Levels(levels=1), run=FIXED)
    np.testing.assert_array_equal(level(volume, 1)[...], coarsen(values, (2, 2, 2), "mode"))
    assert "image-label" in zarr.open_group(volume, mode="r").attrs["ome"]


@pytest.mark.parametrize(
    ("levels", "shapes"),
    [
        (
            Levels(levels=7),
            [[19, 11, 33], [10, 6, 17], [5, 3, 9], [3, 2, 5]],
        ),  # no level of a chunk has a coarser one
        (Levels(levels=0), [[19, 11, 33], [10, 6, 17], [5, 3, 9], [3, 2, 5]]),  # until it is one chunk
        (Levels(levels=0, until=20), [[19, 11, 33], [10, 6, 17]]),
        (Levels(levels=1, until=20), [[19, 11, 33]]),
        (Levels(levels=0, until=64), [[19, 11, 33]]),
    ],
)
def test_levels_end_where_one_is_small_enough(tmp_path, levels, shapes):
    volume = published(tmp_path, voxels())
    summary = pyramid(str(volume), levels, run=FIXED)
    assert [array["shape"] for array in summary["arrays"]] == shapes


def test_a_missing_chunk_of_an_image_is_an_error_and_never_zeros(tmp_path):
    volume = published(tmp_path, voxels())
    (volume / "attenuation/c/2/1/1").unlink()
    with pytest.raises(IntegrityFailure, match="missing"):
        pyramid(str(volume), run=FIXED)


def test_ketton_as_labels_equals_a_count_by_hand(shared, tmp_path):
    import io
    import zipfile

    import tifffile

    with zipfile.ZipFile(shared / "data/PorousMediaGan/data/ketton/original/raw/ketton.zip") as archive:
        values = tifffile.imread(io.BytesIO(archive.read("ketton.tif")))
    volume = published(tmp_path, values, Image(labels=True), Master())
    pyramid(str(volume), Levels(levels=2), run=FIXED)
    for number in (1, 2):
        cells = values.reshape(*(m for n in values.shape for m in (n // 2, 2))).transpose(0, 2, 4, 1, 3, 5)
        cells = cells.reshape(*cells.shape[:3], 8)
        phases = np.unique(values)
        counts = np.stack([(cells == phase).sum(axis=-1) for phase in phases])
        values = phases[counts.argmax(axis=0)]  # the first, which is the smallest, of equals
        np.testing.assert_array_equal(level(volume, number)[...], values)

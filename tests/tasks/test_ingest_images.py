"""Stacks of images in: every voxel, place and attribute against NumPy, resumed runs, and all that is refused.

Covers images/spacing.py, kernels/voxels.py, stacks/plan.py, stacks/stack_request.py, stacks/block.py, stacks/finish.py.
"""

import io
import json
import zipfile

import fsspec
import imagecodecs
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Master, Raw, Run
from tasks.verify import verify
from tasks.volume.blocks import Compute
from tasks.volume.images.header import METERS
from tasks.volume.images.stack import Stack
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tests.support.volumes import STAMP, blocks_noted, differences, stopping_after, threads, tree

SMALL = Master(chunks=[4, 8, 16])  # no axis is a multiple
SHAPE = (19, 21, 35)
FIXED = Run(created_on=STAMP)


def voxels(dtype="uint16", shape=SHAPE, seed=2):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = rng.standard_normal(shape).astype(dtype)
        values[0, 0, :3] = [np.nan, np.inf, 0]
        return values
    if dtype.kind == "b":
        return rng.random(shape) < 0.4
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def saved(folder, values, name="stack.npy"):
    np.save(folder / name, values)
    return str(folder / name)


def opened(volume, field="attenuation"):
    return zarr.open_group(volume, mode="r")[field]


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        "int64",
        "float16",
        "float32",
        "float64",
    ],
)
def test_every_type_is_kept_with_its_statistics(tmp_path, dtype):
    values = voxels(dtype)
    summary = ingest_images(saved(tmp_path, values), str(tmp_path / "v.zarr"), Image(), SMALL)
    array = opened(tmp_path / "v.zarr")
    kept = "uint8" if dtype == "bool" else dtype
    assert array.dtype == np.dtype(kept)
    np.testing.assert_array_equal(array[...], values)
    assert summary["arrays"][0]["dtype"] == kept
    attributes, finite = (
        array.attrs,
        values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel(),
    )
    numbers = finite.astype(np.float64)
    assert (attributes["count"], attributes["min"], attributes["max"]) == (
        finite.size,
        finite.min(),
        finite.max(),
    )
    assert attributes["mean"] == pytest.approx(numbers.mean(), rel=1e-9, abs=1e-12)
    assert attributes["std"] == pytest.approx(numbers.std(), rel=1e-6)
    assert attributes["zero_count"] == (values == 0).sum()
    assert attributes["nonfinite_count"] == values.size - finite.size
    if dtype == "uint64":
        assert attributes["max"] == int(values.max()) > 2**63  # exactly, which float64 would not be


@pytest.mark.parametrize("shards", [[0], [8, 16, 32]])
@pytest.mark.parametrize("order", ["C", "F"])
def test_chunks_and_shards_hold_the_same_voxels_whatever_the_order_of_the_file(tmp_path, shards, order):
    values = voxels()
    source = saved(tmp_path, np.asarray(values, order=order))
    ingest_images(source, str(tmp_path / "v.zarr"), Image(), Master(chunks=[4, 8, 16], shards=shards))
    array = opened(tmp_path / "v.zarr")
    assert (array.chunks, array.shards) == ((4, 8, 16), None if shards == [0] else (8, 16, 32))
    np.testing.assert_array_equal(array[...], values)


def test_places_units_and_names_are_stored_for_every_reader(tmp_path):
    image = Image(
        field_name="density",
        field_unit="g/cm3",
        description="core 7",
        voxel_length=[4, 2.5, 2],
        voxel_unit="micrometer",
        voxel_origin=[-1, 0, 10],
    )
    ingest_images(saved(tmp_path, voxels()), str(tmp_path / "v.zarr"), image, SMALL)
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    attributes = dict(group["density"].attrs)
    assert {name: attributes[name] for name in list(attributes)[:7]} == {
        "_ROCKVERSE_DATATYPE": "VoxelImage",
        "description": "core 7",
        "field_name": "density",
        "field_unit": "g/cm3",
        "voxel_unit": "micrometer",
        "voxel_origin": [-1.0, 0.0, 10.0],
        "voxel_length": [4.0, 2.5, 2.0],
    }
    np.testing.assert_array_equal(group["z"][:], -1 + 4.0 * np.arange(19))
    np.testing.assert_array_equal(group["x"][:], 10 + 2.0 * np.arange(35))
    assert group["y"].attrs["units"] == "micrometer"
    assert group["density"].metadata.dimension_names == ("z", "y", "x")
    (channel,) = group.attrs["ome"]["omero"]["channels"]
    assert channel["label"] == "density (g/cm3)"
    image = group.attrs["ome"]["multiscales"][0]
    assert image["axes"] == [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    assert image["datasets"][0]["coordinateTransformations"] == [
        {"type": "scale", "scale": [4.0, 2.5, 2.0]},
        {"type": "translation", "translation": [-1.0, 0.0, 10.0]},
    ]
    yaozarrs.validate_zarr_store(str(tmp_path / "v.zarr"))
    open_ome_zarr(group)


def test_the_window_shows_all_but_the_rarest_values(tmp_path):
    values = np.random.default_rng(1).normal(1000, 50, (40, 50, 60))
    values[3, 4, 5] = 65535
    values = np.clip(values.round(), 0, 65535).astype("u2")
    ingest_images(saved(tmp_path, values), str(tmp_path / "v.zarr"), Image(), Master(chunks=[8, 16, 16]))
    window = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]["omero"]["channels"][0]["window"]
    assert (window["min"], window["max"]) == (values.min(), 65535)
    assert window["start"] == pytest.approx(np.quantile(values, 0.01), abs=5)
    assert window["end"] == pytest.approx(np.quantile(values, 0.99), abs=5)


def test_labels_are_said_to_be_labels(tmp_path):
    values = np.random.default_rng(1).choice([0, 1, 7], SHAPE).astype("u1")
    ingest_images(
        saved(tmp_path, values), str(tmp_path / "v.zarr"), Image(field_name="phase", labels=True), SMALL
    )
    ome = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]
    assert [colour["label-value"] for colour in ome["image-label"]["colors"]] == [0, 1, 7]
    assert "omero" not in ome, "a layer of labels has no window of values"
    yaozarrs.validate_zarr_store(str(tmp_path / "v.zarr"))
    with pytest.raises(InputRefused, match="float32 voxels cannot be labels"):
        ingest_images(saved(tmp_path, voxels("f4")), str(tmp_path / "w.zarr"), Image(labels=True), SMALL)


def test_what_the_files_say_of_the_voxels_is_taken_and_what_is_given_rules(tmp_path):
    path = tmp_path / "j.tif"
    spacing = {"axes": "ZYX", "spacing": 4.0, "unit": "um"}
    tifffile.imwrite(path, voxels(), imagej=True, resolution=(1 / 2.5, 1 / 3.5), metadata=spacing)

    def said(image):
        ingest_images(str(path), str(tmp_path / "v.zarr"), image, SMALL, overwrite=True)
        attributes = opened(tmp_path / "v.zarr").attrs
        return pytest.approx(attributes["voxel_length"], rel=1e-6), attributes["voxel_unit"]

    assert said(Image()) == ([4.0, 3.5, 2.5], "micrometer")
    assert said(Image(voxel_length=[2])) == ([2.0, 2.0, 2.0], "")
    assert said(Image(voxel_length=[2, 3, 4], voxel_unit="millimeter")) == ([2.0, 3.0, 4.0], "millimeter")
    with pytest.raises(
        InputRefused, match=r"\(4.0, 3.5.*, 2.5.*\) micrometer, but the unit asked for is millimeter"
    ):
        said(Image(voxel_unit="millimeter"))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Image(voxel_length=[1, 2]), "give three positive numbers"),
        (Image(voxel_length=[0]), "give three positive numbers"),
        (Image(voxel_origin=[1]), "give three numbers, z, y and x"),
        (Image(field_name="z"), "that name is taken in a volume"),
        (Image(field_name="pyramid"), "that name is taken in a volume"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_written(tmp_path, image, sentence):
    with pytest.raises(InputRefused, match=sentence):
        ingest_images(saved(tmp_path, voxels()), str(tmp_path / "v.zarr"), image)
    assert not (tmp_path / "v.zarr").exists()


def test_a_slice_missing_is_named_before_anything_is_written(tmp_path):
    for n in (1, 2, 4):
        tifffile.imwrite(tmp_path / f"s{n}.tif", voxels()[0])
    with pytest.raises(InputRefused, match=r"1 slice is missing .*: 3;"):
        ingest_images(str(tmp_path), str(tmp_path / "v.zarr"))
    assert not (tmp_path / "v.zarr").exists()


def test_a_run_that_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path):
    source = saved(tmp_path, voxels(shape=(40, 210, 350)))
    master = Master(chunks=[4, 64, 64], shards=[4, 64, 128])
    with threads() as compute:
        ingest_images(source, str(tmp_path / "a.zarr"), Image(), master, run=FIXED, compute=compute)
    whole = tree(tmp_path / "a.zarr")
    with threads(slab_bytes=1) as compute:
        ingest_images(source, str(tmp_path / "b.zarr"), Image(), master, run=FIXED, compute=compute)
    with (
        stopping_after(3, slab_bytes=1) as compute,
        pytest.raises(Resumable, match="after 3 of 10 blocks of ingest"),
    ):
        ingest_images(source, str(tmp_path / "c.zarr"), Image(), master, run=FIXED, compute=compute)
    assert not tree(tmp_path / "c.zarr").keys() & {"zarr.json", "attenuation/zarr.json"}
    assert blocks_noted(tmp_path / "c.zarr") == {"ingest_images": 3}
    with threads(slab_bytes=1) as compute:
        summary = ingest_images(source, str(tmp_path / "c.zarr"), Image(), master, run=FIXED, compute=compute)
    assert (summary["blocks_done"], summary["blocks_resumed"]) == (7, 3)
    assert differences(tree(tmp_path / "b.zarr"), tree(tmp_path / "c.zarr")) == []
    # Blocks of another size tell the same voxels.
    assert [name for name in differences(whole, tree(tmp_path / "b.zarr")) if "/c/" in name] == []


def test_the_same_again_does_nothing_and_another_is_refused(tmp_path):
    source, volume = saved(tmp_path, voxels()), str(tmp_path / "v.zarr")
    ingest_images(source, volume, Image(), SMALL)
    before = tree(tmp_path / "v.zarr")
    assert ingest_images(source, volume, Image(), SMALL)["notes"] == ["was done already"]
    with pytest.raises(
        DestinationRefused, match=r"holds another volume \(of .*stack.npy; field_unit none, asked for HU\)"
    ):
        ingest_images(source, volume, Image(field_unit="HU"), SMALL)
    assert differences(before, tree(tmp_path / "v.zarr")) == []
    ingest_images(source, volume, Image(field_name="other"), SMALL, overwrite=True)
    assert sorted(zarr.open_group(volume, mode="r").array_keys()) == ["other", "x", "y", "z"]


def test_a_volume_whose_lengths_were_not_rounded_is_recognised(tmp_path, monkeypatch):
    lengths = {"PhysicalSizeX": 0.7, "PhysicalSizeY": 0.7, "PhysicalSizeZ": 700.0}
    units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "nm"}
    source, volume = str(tmp_path / "a.ome.tif"), str(tmp_path / "v.zarr")
    tifffile.imwrite(source, voxels(), ome=True, metadata={"axes": "ZYX"} | lengths | units)
    with monkeypatch.context() as earlier:
        earlier.setattr(
            "tasks.volume.images.descriptions.scaled",
            lambda length, own, unit: length if own == unit else length * METERS[own] / METERS[unit],
        )
        ingest_images(source, volume, Image(), SMALL)
    assert opened(volume).attrs["voxel_length"][0] == 0.7000000000000001
    before = tree(tmp_path / "v.zarr")
    assert ingest_images(source, volume, Image(), SMALL)["notes"] == ["was done already"]
    assert tree(tmp_path / "v.zarr") == before
    with pytest.raises(DestinationRefused, match=r"codec zstd-1, asked for zstd-3"):
        ingest_images(source, volume, Image(), Master(chunks=SMALL.chunks, codec="zstd-3"))


def test_a_dry_run_says_what_the_destination_holds(tmp_path):
    source, volume = saved(tmp_path, voxels()), str(tmp_path / "v.zarr")
    ingest_images(source, volume, Image(), SMALL)

    def first_note(image, master):
        return ingest_images(source, volume, image, master, run=Run(dry_run=True))["notes"][0]

    assert first_note(Image(), SMALL) == (
        f"{volume} was made of this source in this way, so its lossless array would be left as it is"
    )
    other = first_note(Image(), Master(chunks=[8, 8, 8]))
    assert other.startswith(f"{volume} holds another volume (of {source}; chunks (")
    assert other.endswith("asked for (8, 8, 8)); the run would be refused without --overwrite")


def test_a_dry_run_says_what_would_be_and_writes_nothing(tmp_path):
    source = saved(tmp_path, voxels())
    plan = ingest_images(source, str(tmp_path / "v.zarr"), Image(), SMALL, run=Run(dry_run=True))
    assert (plan["arrays"][0]["shape"], plan["objects"]) == (SHAPE, 5 * 3 * 3)
    assert not (tmp_path / "v.zarr").exists()


def small_compute(compute: Compute) -> Compute:
    from dataclasses import replace

    return replace(compute, memory_bytes=100 << 20)


def test_headers_that_ask_for_more_memory_than_there_is_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((1 << 13, 1 << 12), np.uint16)))
    with (
        threads() as compute,
        pytest.raises(InputRefused, match=r"a slab of .* needs .* MB, but the run may use 105 MB"),
    ):
        ingest_images(str(tmp_path / "a.png"), str(tmp_path / "v.zarr"), compute=small_compute(compute))
    assert not (tmp_path / "v.zarr" / "zarr.json").exists()


def test_a_slice_that_does_not_decode_ends_the_run_and_shows_nothing(tmp_path):
    for n, plane in enumerate(voxels()):
        (tmp_path / f"s{n}.png").write_bytes(imagecodecs.png_encode(plane)[: 300 if n == 7 else None])
    with pytest.raises(IntegrityFailure, match=r"s7\.png cannot be decoded"):
        ingest_images(str(tmp_path), str(tmp_path / "v.zarr"), Image(), SMALL)
    assert not (tmp_path / "v.zarr" / "zarr.json").exists()


def test_wide_slices_get_flatter_chunks_so_that_a_slab_fits(tmp_path):
    path = tmp_path / "wide.raw"
    with open(path, "wb") as file:
        file.truncate(100 * 4096 * 4096 * 2)
    raw = Raw(dtype="uint16", shape=[100, 4096, 4096])
    plan = ingest_images(str(path), str(tmp_path / "v.zarr"), Image(raw=raw), run=Run(dry_run=True))
    assert plan["arrays"][0]["chunks"] == (16, 128, 128)
    assert plan["memory_bytes"] < 700e6


def test_from_and_to_a_store_without_a_disk():
    values = voxels()
    memory = fsspec.filesystem("memory")
    for n, plane in enumerate(values):
        memory.pipe_file(f"/lab/core/s{n}.png", imagecodecs.png_encode(plane))
    try:
        ingest_images(
            "memory://lab/core", "memory://lab/v.zarr", Image(), Master(chunks=[4, 8, 16], shards=[8, 16, 32])
        )
        array = zarr.open_array("memory://lab/v.zarr/attenuation", mode="r")
        np.testing.assert_array_equal(array[...], values)
    finally:
        memory.rm("/lab", recursive=True)


@pytest.fixture(scope="session")
def ketton(shared, tmp_path_factory):
    """A segmented limestone: its TIFF file and its voxels."""
    with zipfile.ZipFile(shared / "data/PorousMediaGan/data/ketton/original/raw/ketton.zip") as archive:
        data = archive.read("ketton.tif")
    path = tmp_path_factory.mktemp("ketton") / "ketton.tif"
    path.write_bytes(data)
    return path, tifffile.imread(io.BytesIO(data))


def test_shared_stacks_equal_tifffile(shared, tmp_path, ketton):
    files = [
        shared / "data/spam/snow.tif",
        shared / "data/puma/python/pumapy/data/100_fiberform.tif",
        ketton[0],
    ]
    for number, file in enumerate(files):
        ingest_images(str(file), str(tmp_path / f"{number}.zarr"))
        np.testing.assert_array_equal(opened(tmp_path / f"{number}.zarr")[...], tifffile.imread(file))


@pytest.mark.parametrize(
    ("form", "slices"),
    [("jp2", 16), pytest.param("jp2", None, marks=pytest.mark.slow), ("C", 64), ("F", None)],
)
def test_ketton_comes_back_from_jpeg2000_and_from_raw_files(tmp_path, ketton, form, slices):
    values = ketton[1][:slices]
    source, image = str(tmp_path / "slices"), Image(labels=True)
    if form == "jp2":
        (tmp_path / "slices").mkdir()
        for n, plane in enumerate(values):
            data = imagecodecs.jpeg2k_encode(plane, level=0, reversible=True)
            (tmp_path / "slices" / f"k{n:03}.jp2").write_bytes(data)
    else:
        source = str(tmp_path / "ketton.raw")
        (tmp_path / "ketton.raw").write_bytes(values.tobytes(form))
        image = Image(labels=True, raw=Raw(dtype="uint8", shape=list(values.shape), order=form))
    ingest_images(source, str(tmp_path / "v.zarr"), image)
    np.testing.assert_array_equal(opened(tmp_path / "v.zarr")[...], values)
    colours = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]["image-label"]["colors"]
    assert [c["label-value"] for c in colours] == np.unique(values).tolist()


@pytest.mark.parametrize(
    ("dtype", "all_but_one", "outlier", "window"),
    [
        ("uint8", 0, 200, [0, 200]),
        ("bool", False, True, [0, 1]),
        ("float32", 0, np.nan, [0, 1]),
        ("uint16", 7, 7, [0, 7]),
        ("int16", -7, -7, [-7, 0]),
        ("float64", 1.7e308, 1.7e308, [0, 1.7e308]),
    ],
)
def test_the_window_of_an_image_that_is_nearly_constant_is_not_empty(
    tmp_path, dtype, all_but_one, outlier, window
):
    values = np.full(SHAPE, all_but_one, dtype)
    values[3, 4, 5] = outlier
    ingest_images(saved(tmp_path, values), str(tmp_path / "v.zarr"), Image(), SMALL)
    shown = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]["omero"]["channels"][0]["window"]
    assert [shown["start"], shown["end"]] == window


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_without_a_number_becomes_a_volume_that_validates(tmp_path, bad):
    values = np.full(SHAPE, bad, "f4")
    ingest_images(saved(tmp_path, values), str(tmp_path / "v.zarr"), Image(), SMALL)
    np.testing.assert_array_equal(opened(tmp_path / "v.zarr")[...], values)
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    window = group.attrs["ome"]["omero"]["channels"][0]["window"]
    assert window["start"] < window["end"]
    yaozarrs.validate_zarr_store(str(tmp_path / "v.zarr"))
    open_ome_zarr(group)


@pytest.mark.parametrize("count", [64, 65])
def test_grains_without_number_are_labels_without_colours(tmp_path, count):
    values = np.arange(8 * 9 * 10).reshape(8, 9, 10) % count
    ingest_images(
        saved(tmp_path, values.astype("u2")),
        str(tmp_path / "v.zarr"),
        Image(labels=True),
        Master(chunks=[4, 4, 8]),
    )
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    assert len(group.attrs["ome"]["image-label"].get("colors", [])) == {64: 64, 65: 0}[count]
    yaozarrs.validate_zarr_store(str(tmp_path / "v.zarr"))
    open_ome_zarr(group)


def test_what_does_not_fit_in_memory_is_refused_before_anything_is_written(tmp_path):
    with threads(memory_bytes=10_000) as compute, pytest.raises(InputRefused, match="use smaller chunks"):
        ingest_images(saved(tmp_path, voxels()), str(tmp_path / "v.zarr"), Image(), SMALL, compute=compute)
    assert not (tmp_path / "v.zarr").exists()


def test_the_summary_is_plain_json(tmp_path):
    json.dumps(ingest_images(saved(tmp_path, voxels()), str(tmp_path / "v.zarr"), Image(), SMALL))


def test_a_volume_of_booleans_made_before_they_became_numbers_is_recognised(tmp_path, monkeypatch):
    source = saved(tmp_path, voxels("bool"))
    with monkeypatch.context() as earlier:
        earlier.setattr(Stack, "dtype", "bool")
        ingest_images(source, str(tmp_path / "v.zarr"), Image(), SMALL)
    assert opened(tmp_path / "v.zarr").dtype == bool
    before = tree(tmp_path / "v.zarr")
    again = ingest_images(source, str(tmp_path / "v.zarr"), Image(), SMALL)
    assert again["notes"][0] == "was done already"
    assert tree(tmp_path / "v.zarr") == before
    ingest_images(source, str(tmp_path / "v.zarr"), Image(), SMALL, overwrite=True)
    assert opened(tmp_path / "v.zarr")[...].tolist() == voxels("bool").astype("u1").tolist()


@pytest.mark.parametrize("dtype", ["bool", "uint8"])
def test_booleans_and_what_is_stored_of_them_are_compared_and_repaired(tmp_path, monkeypatch, dtype):
    source, volume = saved(tmp_path, voxels("bool")), tmp_path / "v.zarr"
    with monkeypatch.context() as earlier:
        earlier.setattr(Stack, "dtype", dtype)
        ingest_images(source, str(volume), Image(), SMALL)
    chunk = sorted(path for path in (volume / "attenuation" / "c").rglob("*") if path.is_file())[3]
    before = chunk.read_bytes()
    chunk.write_bytes(b"spoilt" + before[6:])
    verify(str(volume), repair="from_source")
    assert chunk.read_bytes() == before

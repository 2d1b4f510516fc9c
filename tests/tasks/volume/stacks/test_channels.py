"""Colours, channels and times of images become axes c and t: every voxel, the axes, and how viewers show them.

Covers stacks/channels.py, images/which_image.py, images/descriptions.py, images/tiff_page.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from tasks.export_ome import export_ome
from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Image, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tests.support.volumes import threads

SMALL = Master(chunks=[1, 2, 8, 8])


def values(*shape: int, dtype: str = "uint8", seed: int = 1) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def tiff(array: np.ndarray, **said: Any) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        tifffile.imwrite(folder / "scan.tif", array, **said)
        return str(folder / "scan.tif")

    return write


def ome(array: np.ndarray, **said: Any) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        tifffile.imwrite(folder / "scan.ome.tif", array, **said)
        return str(folder / "scan.ome.tif")

    return write


def folder_of(array: np.ndarray, suffix: str, encode: Callable[[np.ndarray], bytes]) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        (folder / "slices").mkdir()
        for number, one in enumerate(array):
            (folder / f"slices/s{number}{suffix}").write_bytes(encode(one))
        return str(folder / "slices")

    return write


RGB, RGBA, GRAY_ALPHA = values(5, 20, 24, 3), values(5, 20, 24, 4), values(5, 20, 24, 2)
DEEP = values(5, 20, 24, 3, dtype="uint16")
TCZ = values(2, 3, 5, 20, 24, dtype="uint16")
COLOURS = [("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")]


def jp2(plane: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(plane, level=0, reversible=True))


def test_the_distance_of_times_reaches_every_reader(tmp_path):
    write = ome(TCZ[:, 0], metadata={"axes": "TZYX", "TimeIncrement": 2.5, "TimeIncrementUnit": "ms"})
    volume, exported = str(tmp_path / "v.zarr"), str(tmp_path / "ome.zarr")
    ingest_images(write(tmp_path), volume, master=SMALL)
    pyramid(volume, Levels(levels=1))
    export_ome(volume, exported)
    for group, of_axes in ((volume, "ome"), (exported, "multiscales")):
        attributes = dict(zarr.open_group(group, mode="r").attrs)
        (image,) = attributes["ome"]["multiscales"] if of_axes == "ome" else attributes["multiscales"]
        assert image["axes"][0] == {"name": "t", "type": "time", "unit": "millisecond"}
        scales = [level["coordinateTransformations"][0]["scale"][0] for level in image["datasets"]]
        assert scales == [2.5, 2.5]
    yaozarrs.validate_zarr_store(volume)
    seen = xarray.open_dataset(volume, engine="seismill")
    assert seen["t"].values.tolist() == [0, 2.5]
    assert seen["t"].attrs["units"] == "millisecond"
    assert ingest_images(str(tmp_path / "scan.ome.tif"), volume, master=SMALL)["notes"] == [
        "was done already"
    ]


CASES: dict[str, tuple[Callable[[Path], str], np.ndarray, str]] = {
    # What is written, the same as the volume has it, and the axes.
    "rgb": (tiff(RGB, photometric="rgb"), np.moveaxis(RGB, -1, 0), "czyx"),
    "rgb planar": (
        tiff(np.moveaxis(DEEP, -1, 1), photometric="rgb", planarconfig="separate"),
        np.moveaxis(DEEP, -1, 0),
        "czyx",
    ),
    "rgb tiles lzw": (
        tiff(DEEP, photometric="rgb", tile=(16, 16), compression="lzw", predictor=True),
        np.moveaxis(DEEP, -1, 0),
        "czyx",
    ),
    "rgb big-endian": (tiff(DEEP, photometric="rgb", byteorder=">"), np.moveaxis(DEEP, -1, 0), "czyx"),
    "rgba": (tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]), np.moveaxis(RGBA, -1, 0), "czyx"),
    "rgb ome": (ome(RGB, photometric="rgb", metadata={"axes": "ZYXS"}), np.moveaxis(RGB, -1, 0), "czyx"),
    "rgb imagej": (tiff(RGB, imagej=True), np.moveaxis(RGB, -1, 0), "czyx"),
    "png rgb": (folder_of(RGB, ".png", imagecodecs.png_encode), np.moveaxis(RGB, -1, 0), "czyx"),
    "png rgb 16": (folder_of(DEEP, ".png", imagecodecs.png_encode), np.moveaxis(DEEP, -1, 0), "czyx"),
    "png rgba": (folder_of(RGBA, ".png", imagecodecs.png_encode), np.moveaxis(RGBA, -1, 0), "czyx"),
    "png gray alpha": (
        folder_of(GRAY_ALPHA, ".png", imagecodecs.png_encode),
        np.moveaxis(GRAY_ALPHA, -1, 0),
        "czyx",
    ),
    "jp2 rgb": (folder_of(DEEP, ".jp2", jp2), np.moveaxis(DEEP, -1, 0), "czyx"),
    "imagej": (
        tiff(np.swapaxes(TCZ, 1, 2), imagej=True, metadata={"axes": "TZCYX"}),
        TCZ,
        "tczyx",
    ),
    "imagej two channels": (
        tiff(np.swapaxes(TCZ[0], 0, 1), imagej=True, metadata={"axes": "ZCYX"}),
        TCZ[0],
        "czyx",
    ),
    "imagej times": (tiff(TCZ[:, 0], imagej=True, metadata={"axes": "TZYX"}), TCZ[:, 0], "tzyx"),
    "ome": (ome(TCZ, metadata={"axes": "TCZYX"}), TCZ, "tczyx"),
    "ome of another order": (
        ome(np.moveaxis(TCZ, (0, 1, 2), (1, 2, 0)), metadata={"axes": "ZTCYX"}),
        TCZ,
        "tczyx",
    ),
    "shaped": (tiff(TCZ[0], metadata={"axes": "CZYX"}), TCZ[0], "czyx"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_voxel_lies_at_its_channel_and_time(tmp_path, name):
    write, expected, axes = CASES[name]
    volume = str(tmp_path / "v.zarr")
    length = Image(voxel_length=[2, 1, 1], voxel_unit="micrometer")
    summary = ingest_images(write(tmp_path), volume, length, Master(chunks=[1] * (len(axes) - 3) + [2, 8, 8]))
    assert summary["notes"][0].startswith("voxel length (z, y, x): 2 x 1 x 1 micrometer")
    group = zarr.open_group(volume, mode="r")
    np.testing.assert_array_equal(group["attenuation"][...], expected)
    assert "".join(group["attenuation"].metadata.dimension_names) == axes
    prove(volume)
    pyramid(volume, Levels(levels=1, until=1))
    group = zarr.open_group(volume, mode="r")
    described = group.attrs["ome"]
    assert group.attrs["seismill"]["compared_at"]
    kinds = {"t": "time", "c": "channel"}
    assert [(a["name"], a["type"]) for a in described["multiscales"][0]["axes"]] == [
        (a, kinds.get(a, "space")) for a in axes
    ]
    level = group["pyramid/1/attenuation"][...]
    lead = len(axes) - 3
    assert level.shape == (*expected.shape[:lead], 5, 10, 12)  # z is coarser already, and stays
    mean = expected.reshape(*expected.shape[:lead], 5, 10, 2, 12, 2).astype("f8").mean(axis=(-3, -1))
    assert np.abs(level - mean).max() <= 0.5
    scales = [d["coordinateTransformations"][0]["scale"] for d in described["multiscales"][0]["datasets"]]
    assert scales == [[1.0] * lead + [2, 1, 1], [1.0] * lead + [2, 2, 2]]
    assert len(described["omero"]["channels"]) == dict(zip(axes, expected.shape, strict=True)).get("c", 1)
    yaozarrs.validate_zarr_store(volume)
    open_ome_zarr(zarr.open_group(volume, mode="r"))
    assert verify(volume)["findings"] == []


def test_colours_are_shown_as_they_are_and_alpha_is_not(tmp_path):
    ingest_images(CASES["rgba"][0](tmp_path), str(tmp_path / "v.zarr"))
    channels = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert [(c["label"], c["color"]) for c in channels[:3]] == COLOURS
    assert [c["active"] for c in channels] == [True, True, True, False]
    assert {(c["window"]["start"], c["window"]["end"]) for c in channels} == {(0, 255)}


def test_channels_have_the_names_and_colours_of_the_file_and_a_window_each(tmp_path):
    bright = np.stack([TCZ[0, 0] // 100, TCZ[0, 1]])
    said = {"axes": "CZYX", "Channel": {"Name": ["dry", "wet"], "Color": [-16776961, 65535]}}
    ingest_images(ome(bright, metadata=said)(tmp_path), str(tmp_path / "v.zarr"))
    channels = zarr.open_group(tmp_path / "v.zarr", mode="r").attrs["ome"]["omero"]["channels"]
    assert [(c["label"], c["color"]) for c in channels] == [("dry", "FF0000"), ("wet", "0000FF")]
    for channel, own in zip(channels, bright, strict=True):
        low, high = np.quantile(own, [0.01, 0.99])
        assert abs(channel["window"]["start"] - low) < 0.02 * (high - low)
        assert abs(channel["window"]["end"] - high) < 0.02 * (high - low)


def test_copies_the_report_and_an_export_take_channels(tmp_path):
    volume = str(tmp_path / "v.zarr")
    ingest_images(CASES["rgb"][0](tmp_path), volume, master=SMALL)
    pyramid(volume, Levels(levels=1, until=1))
    rechunk(volume, Copies(presets=["fast_z"]))
    group = zarr.open_group(volume, mode="r")
    np.testing.assert_array_equal(group["fast_z"][...], np.moveaxis(RGB, -1, 0))
    assert Path(report(volume)["page"]).exists()
    export_ome(volume, str(tmp_path / "plain.zarr"))
    plain = zarr.open_group(tmp_path / "plain.zarr", mode="r")
    np.testing.assert_array_equal(plain["0"][...], np.moveaxis(RGB, -1, 0))
    assert [axis["name"] for axis in plain.attrs["multiscales"][0]["axes"]] == ["c", "z", "y", "x"]
    assert [c["color"] for c in plain.attrs["omero"]["channels"]] == [colour for _, colour in COLOURS]
    yaozarrs.validate_zarr_store(str(tmp_path / "plain.zarr"))
    open_ome_zarr(plain)


@pytest.mark.parametrize("name", ["rgb", "png rgb 16", "ome"])
def test_a_damaged_chunk_comes_back_from_the_source(tmp_path, name):
    write, _, axes = CASES[name]
    volume = tmp_path / "v.zarr"
    ingest_images(write(tmp_path), str(volume), Image(), Master(chunks=[1] * (len(axes) - 3) + [2, 8, 8]))
    chunk = volume / "attenuation/c" / "/".join(["1"] * (len(axes) - 3) + ["1", "2", "0"])
    before = chunk.read_bytes()
    chunk.write_bytes(before[:-3])
    verify(str(volume), repair="from_source")
    assert chunk.read_bytes() == before


def test_colours_and_channels_at_once_and_too_few_pages_are_refused(tmp_path):
    mixed = values(5, 2, 20, 24, 3)
    with pytest.raises(InputRefused, match="2 channels of 3 values per voxel"):
        ingest_images(
            tiff(mixed, photometric="rgb", imagej=True, metadata={"axes": "ZCYXS"})(tmp_path), "v.zarr"
        )
    five = values(2, 20, 24, 5)
    tifffile.imwrite(tmp_path / "five.tif", five, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputRefused, match="5 values per voxel; wanted slices of up to 4"):
        ingest_images(str(tmp_path / "five.tif"), str(tmp_path / "v.zarr"))


def test_memory_that_holds_a_block_of_the_ingest_holds_one_of_the_proof(tmp_path):
    array = values(64, 500, 600, dtype="uint16")
    np.save(tmp_path / "scan.npy", array)
    volume = str(tmp_path / "v.zarr")
    plan = ingest_images(str(tmp_path / "scan.npy"), volume, run=Run(dry_run=True))
    assert plan["memory_bytes"] < 2 * array.nbytes  # of which the slab is one
    with threads(memory_bytes=plan["memory_bytes"]) as compute:
        ingest_images(str(tmp_path / "scan.npy"), volume, compute=compute)
        chunk, other = (tmp_path / f"v.zarr/attenuation/c/0/{at}" for at in ("7/9", "0/0"))
        before = chunk.read_bytes()
        chunk.write_bytes(other.read_bytes())
        with pytest.raises(IntegrityFailure, match=r"the first at z 0, y 448, x 576"):
            prove(volume, compute=compute)
        chunk.write_bytes(before)
        assert prove(volume, compute=compute)["compared_voxels"] == array.size

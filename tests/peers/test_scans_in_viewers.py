"""Scans of every format, each published by one command, open in viewers with the voxels and places that were put in.

Readers live in an environment of their own (SEISMILL_IMAGES_PYTHON): napari, ome-zarr-py, ngff-zarr, tensorstore,
rockverse and neuroglancer, which a browser shows. SEISMILL_SCANS=all publishes every row of the table of formats that
is read; screenshots go where SEISMILL_SCREENSHOTS says.
"""

import functools
import http.server
import json
import os
import re
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr

from flows import cli
from tasks.volume.images.header import METERS
from tests import ROOT
from tests.support.voxel_makers import voxels
from tests.tasks.volume.images.test_formats import TABLE, Row, tiff

pytestmark = pytest.mark.peer

STACK, TIMES = voxels(), voxels("uint16", (3, 2, 6, 7, 9))
PHASES, PLANES = voxels("uint8") % 5, voxels("uint8", (6, 3, 7, 9))

# Of each format one, if not all are wanted; with them what no table of refusals has.
USUAL = (
    "dicom sorted by place",
    "nifti gz",
    "nexus default and axes",
    "npz compressed",
    "bmp in colours",
    "skyscan log",
    "raw as vgi describes it",
    "raw as xtekct counts it",
    "raw as pcr counts it",
    "nrrd of units",
    "metaimage of a negative spacing",
    "tif and tiff are one stack",
)
OME = {
    "axes": "CZYX",
    "PhysicalSizeX": 500,
    "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 0.5,
    "PhysicalSizeZ": 2,
}
IMAGEJ = {"axes": "TZCYX", "spacing": -2, "unit": "um"}
MORE = [
    Row("bigtiff, big endian", tiff(STACK, bigtiff=True, byteorder=">"), STACK),
    Row(
        "imagej, times and channels",
        tiff(TIMES.swapaxes(1, 2), imagej=True, resolution=(2, 2), metadata=IMAGEJ),
        TIMES,
        (2, 0.5, 0.5),
        "micrometer",
    ),
    Row("ome, channels", tiff(TIMES[0], "a.ome.tif", metadata=OME), TIMES[0], (2000, 500, 500), "nanometer"),
    Row("one bit", tiff(voxels("bool"), photometric="minisblack"), voxels("bool").astype("u1")),
    Row("bytes with a sign", tiff(voxels("int8")), voxels("int8")),
    Row("half floats", tiff(voxels("float16")), voxels("float16")),
    Row(
        "colours in planes",
        tiff(PLANES, photometric="rgb", planarconfig="separate"),
        PLANES.swapaxes(0, 1),
    ),
    Row("labels", tiff(PHASES), PHASES),
]


@dataclass(frozen=True)
class Scan:
    """A published scan and what is in it; `truth` is the file of its voxels."""

    name: str
    volume: Path
    truth: Path
    length: tuple[float, ...] = (1.0, 1.0, 1.0)
    unit: str = ""

    @property
    def labels(self) -> bool:
        return self.name.startswith("labels")


@dataclass
class Published:
    """A folder of scans that were published."""

    folder: Path
    scans: list[Scan] = field(default_factory=list)

    def add(self, name: str, source: Path, values: np.ndarray, row: Row | None = None) -> None:
        """Publish a scan by one command."""
        word = re.sub(r"\W+", "_", name)
        volume, truth = self.folder / f"{word}.zarr", self.folder / f"{word}.npy"
        more = ["--labels"] if name.startswith("labels") else []
        assert cli.run(["publish", str(source), str(volume), "--no-flow", *more]) == 0, name
        np.save(truth, values)
        where = (row.length or (1.0, 1.0, 1.0), row.unit) if row else ()
        self.scans.append(Scan(name, volume, truth, *where))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    found = Published(tmp_path_factory.mktemp("scans"))
    every = os.environ.get("SEISMILL_SCANS") == "all"
    rows = [row for row in TABLE if row.values is not None and (every or row.id in USUAL)]
    assert every or len(rows) == len(USUAL)
    for row in rows + MORE:
        source = tmp_path_factory.mktemp("source")
        values = row.values.astype("u1") if row.values.dtype == bool else row.values
        found.add(row.id, source / row.make(source), values, row)
    if "SEISMILL_SHARED" in os.environ:
        data = Path(os.environ["SEISMILL_SHARED"]) / "data"
        for path in (data / "spam/snow.tif", data / "puma/python/pumapy/data/100_fiberform.tif"):
            found.add(path.stem, path, tifffile.imread(path))
        if every:
            ketton = data / "PorousMediaGan/data/ketton/original/raw/ketton.zip"
            with zipfile_of(ketton) as file:
                found.add("ketton", ketton, tifffile.imread(file))
    return found


@contextmanager
def zipfile_of(path: Path) -> Iterator[Any]:
    """Open the only file of an archive."""
    import zipfile

    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        yield file


READERS = """
import json, sys
import numpy as np
import rockverse, tensorstore
from napari.components import ViewerModel
from napari.layers import Layer
from napari_ome_zarr import napari_get_reader
from ngff_zarr import from_ngff_zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

def napari(volume, truth, length, path, labels):
    ((data, about, kind),) = napari_get_reader(volume)(volume)
    channel = about.get("channel_axis")
    if channel is None:
        layers, parts = [Layer.create(data, about, kind)], [truth]
    else:  # a layer each, as the viewer makes them
        layers, parts = ViewerModel().add_image(data, **about), np.moveaxis(truth, channel, 0)
    assert {type(layer).__name__ for layer in layers} == {"Labels" if labels else "Image"}
    for layer, part in zip(layers, parts, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.data[0] if layer.multiscale else layer.data), part)
        np.testing.assert_allclose(list(layer.scale)[-3:], length)

def ome_zarr(volume, truth, length, path, labels):
    np.testing.assert_array_equal(np.asarray(list(Reader(parse_url(volume))())[0].data[0]), truth)

def ngff_zarr(volume, truth, length, path, labels):
    image = from_ngff_zarr(volume, version="0.5", validate=True).images[0]
    np.testing.assert_array_equal(np.asarray(image.data), truth)
    np.testing.assert_allclose([image.scale[axis] for axis in "zyx"], length)

def tensor_store(volume, truth, length, path, labels):
    store = {"driver": "file", "path": f"{volume}/{path}"}
    array = tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
    np.testing.assert_array_equal(array.read().result(), truth)

def rock_verse(volume, truth, length, path, labels):
    if truth.ndim == 3:  # as all of its images
        image = rockverse.open(volume, path=path, mode="r")
        np.testing.assert_array_equal(image[...], truth)
        np.testing.assert_allclose(list(image.voxel_length), length)

wrong = []
for name, volume, truth, *about in json.loads(sys.argv[1]):
    for reader in (napari, ome_zarr, ngff_zarr, tensor_store, rock_verse):
        try:
            reader(volume, np.load(truth), *about)
        except Exception as error:
            wrong.append(f"{name}: {reader.__name__}: {type(error).__name__} {error}")
assert not wrong, wrong
"""

NOT_SHOWN = ("float16", "float64", "int64")  # types that neuroglancer has not

# Neuroglancer's own server of its page; the volumes come from ours.
NEUROGLANCER = """
import json, sys
import neuroglancer
neuroglancer.set_server_bind_address("127.0.0.1")
viewers = {}
for name, source, labels in json.loads(sys.argv[1]):
    viewers[name] = neuroglancer.Viewer()
    with viewers[name].txn() as state:
        kind = neuroglancer.SegmentationLayer if labels else neuroglancer.ImageLayer
        state.layers["scan"] = kind(source=source)
        state.display_dimensions = ["x", "y", "z"]
print(json.dumps({name: viewer.get_viewer_url() for name, viewer in viewers.items()}), flush=True)
sys.stdin.read()
"""


def python() -> str:
    """Return the interpreter of the readers."""
    found = os.environ.get("SEISMILL_IMAGES_PYTHON", "")
    if not found:
        pytest.skip("SEISMILL_IMAGES_PYTHON does not name an interpreter that has the readers")
    return found


def test_both_validators_take_every_scan(published: Published) -> None:
    for scan in published.scans:
        yaozarrs.validate_zarr_store(str(scan.volume))
        group = zarr.open_group(scan.volume, mode="r")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_ome_zarr(group)
        axes = {axis["name"]: axis.get("unit", "") for axis in group.attrs["ome"]["multiscales"][0]["axes"]}
        assert [axes[axis] for axis in "zyx"] == [scan.unit] * 3, scan.name


def test_every_reader_finds_the_voxels_and_lengths_of_every_scan(published: Published) -> None:
    rows = [
        [scan.name, str(scan.volume), str(scan.truth), scan.length, "attenuation", scan.labels]
        for scan in published.scans
    ]
    command = [python(), "-I", "-c", READERS, json.dumps(rows)]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr


@pytest.mark.browser
def test_neuroglancer_shows_the_middle_voxel_where_it_lies(published: Published, tmp_path: Path) -> None:
    shots = Path(os.environ.get("SEISMILL_SCREENSHOTS") or tmp_path)
    every = os.environ.get("SEISMILL_SCANS") == "all"
    few = ("dicom sorted by place", "imagej, times and channels", "labels", "snow")
    scans = {scan.volume.stem: scan for scan in published.scans if every or scan.name in few}
    scans = {name: scan for name, scan in scans.items() if np.load(scan.truth).dtype not in NOT_SHOWN}
    with served(published.folder) as site:
        rows = [[name, f"{site}/{name}.zarr/|zarr3:", scan.labels] for name, scan in scans.items()]
        command = [python(), "-I", "-c", NEUROGLANCER, json.dumps(rows)]
        with subprocess.Popen(
            command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as viewers:
            try:
                addresses = viewers.stdout.readline()
                assert addresses.startswith("{"), "its environment has no neuroglancer"
                script = ["node", str(ROOT / "tests/support/neuroglancer.js"), str(shots), addresses]
                run = subprocess.run(script, capture_output=True, text=True, timeout=900)
            finally:
                viewers.terminate()
    assert run.returncode == 0, run.stderr
    for name, seen in json.loads(run.stdout).items():
        scan, truth = scans[name], np.load(scans[name].truth)
        assert (seen["error"], seen["errors"]) == (None, []), name
        assert seen["type"] == ("segmentation" if scan.labels else "image")
        places = dict(zip(seen["axes"], range(len(seen["axes"])), strict=True))
        at = []
        for axis, count in zip(
            "tczyx"[-truth.ndim :] if truth.ndim != 4 else "czyx", truth.shape, strict=True
        ):
            if axis == "c":  # not an axis of the view: the layer shows one
                at.append(slice(None))
                continue
            place = places[axis]
            assert round(seen["upper"][place] - seen["lower"][place]) == count, name
            at.append(round(seen["position"][place] - seen["lower"][place] - 0.5))
        scales = [seen["scales"][places[axis]] for axis in "zyx"]
        np.testing.assert_allclose(scales, np.array(scan.length) * (METERS[scan.unit] if scan.unit else 1))
        assert seen["value"] in np.atleast_1d(truth[tuple(at)]).astype(float), name


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """While open, a folder is served to pages of other sites; the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Access-Control-Allow-Origin", "*")
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    serve = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()

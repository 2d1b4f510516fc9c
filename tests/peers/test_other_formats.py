"""The guide to VDS and ZGY: their programs run, the volume holds the same numbers, and each row does what it says.

SEISMILL_MDIO_PYTHON has openvds (whose programs lie beside it) and pyzgy besides multidimio.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from flows import cli
from tests import ROOT
from tests.support.survey import Survey, make_survey

pytestmark = pytest.mark.peer

GUIDE = (ROOT / "tasks/volume/ingest/README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", GUIDE, re.DOTALL)
ROWS = re.findall(r"^\| (.*?) \| `([^|]*)` \|$", GUIDE, re.MULTILINE)

# What OpenVDS gives of its own file, to be compared with ours.
READ_VDS = """
import numpy, openvds, sys
vds = openvds.open(sys.argv[1], "")
layout, access = openvds.getLayout(vds), openvds.getAccessManager(vds)
axes = [layout.getAxisDescriptor(axis) for axis in range(3)]
size = [axis.numSamples for axis in axes]
samples = access.requestVolumeSubset((0,) * 6, (*size, 1, 1, 1)).data.reshape(size[::-1])
live = access.requestVolumeSubset((0,) * 6, (1, *size[1:], 1, 1, 1), channel=1,
    format=openvds.VolumeDataFormat.Format_U8).data.reshape(size[:0:-1])
numpy.savez(sys.argv[2], samples=samples, live=live, low=[a.coordinateMin for a in axes],
    high=[a.coordinateMax for a in axes])
"""
MAKE_ZGY = """
import numpy, sys
from openzgy.api import SampleDataType, UnitDimension, ZgyWriter
samples = numpy.random.default_rng(0).normal(size=(9, 7, 33)).astype("f4")
numpy.save(sys.argv[2], samples)
corners = (500000, 6000000), (500200, 6000000), (500000, 6000075), (500200, 6000075)
with ZgyWriter(sys.argv[1], size=samples.shape, datatype=SampleDataType.float, zunitdim=UnitDimension.time,
        zunitname="ms", zunitfactor=0.001, zstart=100, zinc=4, annotstart=(1000, 2000), annotinc=(2, 1),
        corners=corners) as writer:
    writer.write((0, 0, 0), samples)
    writer.finalize()
"""


@pytest.fixture(autouse=True, scope="module")
def peer() -> None:
    if not os.environ.get("SEISMILL_MDIO_PYTHON"):
        pytest.skip("SEISMILL_MDIO_PYTHON does not name a Python that has openvds and pyzgy")


def theirs(program: str, *words: str, folder: Path) -> None:
    command = [os.environ["SEISMILL_MDIO_PYTHON"], "-W", "ignore", "-c", program, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def carry_out(block: str, folder: Path) -> None:
    """Run the commands of a block: the other tool's in its environment, ours here."""
    for line in block.splitlines():
        program, *words = shlex.split(line)
        if program == "seismill":
            assert cli.run([*words, *(["--no-flow"] if words[0] == "publish" else [])]) == 0, line
        else:
            path = Path(os.environ["SEISMILL_MDIO_PYTHON"]).with_name(program)
            subprocess.run([path, *words], cwd=folder, capture_output=True, check=True, timeout=120)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return make_survey(
        tmp_path_factory.mktemp("vds") / "survey.sgy",
        inlines=range(200, 211),
        crosslines=range(400, 412),
        n_samples=70,
    )


@pytest.fixture(scope="module")
def folder(survey: Survey) -> Path:
    """The folder of the guide after its blocks on VDS ran."""
    place = Path(survey.path).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        carry_out(BLOCKS[0][1], place)
    return place


def test_a_vds_gives_its_segy_back_and_the_volume_of_it_the_same(folder):
    source = (folder / "survey.sgy").read_bytes()
    assert (folder / "exported.sgy").read_bytes() == source
    assert (folder / "back.sgy").read_bytes() == source


def test_a_volume_holds_the_numbers_of_the_vds(folder):
    theirs(READ_VDS, "survey.vds", "vds.npz", folder=folder)
    with (
        np.load(folder / "vds.npz") as vds,
        xarray.open_dataset(folder / "survey.zarr", engine="seismill") as ds,
    ):
        mask = ds.trace_mask.values
        np.testing.assert_array_equal(vds["live"] != 0, mask)
        np.testing.assert_array_equal(ds.amplitude.values[mask], vds["samples"][mask])
        for axis, dim in enumerate(("time", "crossline", "inline")):
            assert (vds["low"][axis], vds["high"][axis]) == (ds[dim].min(), ds[dim].max())


def test_each_row_does_what_openvds_does(folder, survey, monkeypatch):
    monkeypatch.chdir(folder)
    with xarray.open_dataset(folder / "survey.zarr", engine="seismill") as ds:
        values = ds.amplitude.values
        results: dict[str, Any] = {}
        for _, ours in ROWS:
            if ours.startswith("seismill "):
                carry_out(ours, folder)
            else:
                results[ours] = eval(ours, {"xarray": xarray, "ds": ds})
        named = {name.partition("(")[0].split("[")[0]: value for name, value in results.items()}
        assert named["float"] == 200
        assert named["ds.seismill.stats"] == np.nanmin(values)
        np.testing.assert_array_equal(results["ds.amplitude.sel(inline=201).values"], values[1])
        np.testing.assert_array_equal(results["ds.amplitude.sel(crossline=400).values"], values[:, 0])
        assert named["ds.trace_mask.values"].shape == (11, 12)
        header = named["ds.seismill.trace_header"]
        assert (int(header["inline"]), int(header["crossline"])) == (201, 400)
        x, y = named["ds.seismill.xy"]
        here = ds.sel(inline=201, crossline=400)
        assert (float(x), float(y)) == pytest.approx((float(here.cdp_x), float(here.cdp_y)), abs=0.5)
        coarse = next(value for name, value in results.items() if "level=1" in name)
        assert coarse.shape == (6, 6, 35)
    assert (folder / "again.sgy").read_bytes() == (folder / "survey.sgy").read_bytes()


def test_a_zgy_becomes_a_volume_by_the_program_of_the_guide(tmp_path, monkeypatch):
    theirs(MAKE_ZGY, "survey.zgy", "samples.npy", folder=tmp_path)
    theirs(BLOCKS[1][1], folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    carry_out(BLOCKS[2][1], tmp_path)
    with xarray.open_dataset(tmp_path / "zgy.zarr", engine="seismill") as ds:
        np.testing.assert_array_equal(ds.amplitude.values, np.load(tmp_path / "samples.npy"))
        assert ds.inline.values.tolist() == list(range(1000, 1018, 2))
        assert ds.crossline.values.tolist() == list(range(2000, 2007))
        assert (ds.time.values[0], ds.time.values[-1]) == (100, 228)
        np.testing.assert_allclose(ds.cdp_x.values[:, 0], 500000 + 25 * np.arange(9), atol=0.01)
        np.testing.assert_allclose(ds.cdp_y.values[0], 6000000 + 12.5 * np.arange(7), atol=0.01)

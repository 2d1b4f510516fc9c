"""What is stored opens in other people's tools, with the values of the source.

Every reader runs in a process that cannot import this project (readers.py); what it must find was worked out from the
file's bytes with NumPy (twin.py).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import segyio
import yaozarrs
import zarr
from ome_zarr_models import open_ome_zarr
from segy import SegyFile
from segy.standards import get_segy_standard

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Index, Levels, Master
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tests.support.readers import (
    elsewhere,
    export_with_mdio,
    read_copies,
    read_with_mdio,
    read_with_xarray,
    read_with_zarr,
)
from tests.support.twin import SHAPE, TRACE_WORDS, Survey, save_truth, write_survey

CHUNKS = [4, 8, 32]  # no axis is a multiple: every edge is there
SHARDS = [8, 16, 64]
COPIES = Copies(more=[Copy(name="cubes", chunks=[8, 4, 16])])


def publish(survey: Survey, volume: str, shards: list[int]) -> str:
    """Ingest, copies and levels."""
    template = "PostStack3DDepth" if survey.vertical == "depth" else "PostStack3DTime"
    ingest_segy(
        str(survey.segy),
        volume,
        Index(bytes="189,193", template=template),
        Master(chunks=CHUNKS, shards=shards),
    )
    rechunk(volume, COPIES)
    pyramid(volume, Levels(levels=3, until=1))
    return volume


@pytest.fixture(scope="session")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Survey]:
    """One file in IBM and time, one in IEEE and depth."""
    folder = tmp_path_factory.mktemp("surveys")
    return {
        "ibm": write_survey(folder, ibm=True, vertical="time"),
        "ieee": write_survey(folder, ibm=False, vertical="depth"),
    }


@dataclass(frozen=True)
class Published:
    """A volume and the survey it was made from."""

    url: str
    survey: Survey


@pytest.fixture(scope="session", params=["ibm", "ieee", "ibm in shards"])
def published(
    request: pytest.FixtureRequest, surveys: dict[str, Survey], tmp_path_factory: pytest.TempPathFactory
) -> Published:
    """A volume on local disk, with copies and levels."""
    survey = surveys[request.param.split()[0]]
    url = str(tmp_path_factory.mktemp("volumes") / "survey.zarr")
    return Published(publish(survey, url, SHARDS if "shards" in request.param else [0]), survey)


@pytest.mark.slow
def test_zarr_finds_the_source_s_values(published: Published):
    elsewhere(read_with_zarr, published.url, published.survey.truth, published.survey.vertical)


@pytest.mark.slow
def test_copies_decode_within_their_tolerance_and_say_their_error(published: Published):
    elsewhere(read_copies, published.url, published.survey.truth)


@pytest.mark.slow
def test_xarray_finds_labelled_values_in_the_master_and_its_levels(published: Published):
    elsewhere(read_with_xarray, published.url, published.survey.truth, published.survey.vertical)


def validate_ome_zarr(url: str, levels: int) -> None:
    """Both validators accept the volume, and one finds the levels that there are."""
    yaozarrs.validate_zarr_store(url)
    image = open_ome_zarr(zarr.open_group(url, mode="r"))
    paths = [dataset.path for dataset in image.ome_attributes.multiscales[0].datasets]
    assert paths == ["amplitude", *(f"pyramid/{n}/amplitude" for n in range(1, levels + 1))]


@pytest.mark.parametrize("with_levels", [True, False])
def test_both_ome_zarr_validators_accept_the_volume(published: Published, with_levels: bool, tmp_path: Path):
    url = published.url
    if not with_levels:
        url = str(tmp_path / "alone.zarr")
        ingest_segy(str(published.survey.segy), url, Index(bytes="189,193"), Master(chunks=CHUNKS))
    validate_ome_zarr(url, levels=3 if with_levels else 0)


@pytest.mark.slow
def test_zarr_and_xarray_read_a_volume_on_s3(surveys: dict[str, Survey], s3: str):
    url = publish(surveys["ibm"], "s3://volumes/survey.zarr", SHARDS)
    elsewhere(read_with_zarr, url, surveys["ibm"].truth, "time")
    elsewhere(read_with_xarray, url, surveys["ibm"].truth, "time")
    elsewhere(read_copies, url, surveys["ibm"].truth)


def headers_of(published: Published) -> np.ndarray:
    """The volume's headers in the order of its source."""
    headers, live = (
        zarr.open_array(f"{published.url}/{name}", mode="r")[...] for name in ("headers", "trace_mask")
    )
    return headers[live]


def test_headers_have_the_names_and_values_that_segy_gives_them(published: Published):
    file = SegyFile(str(published.survey.segy), get_segy_standard(1.0))
    theirs = file.trace[:].header
    ours = headers_of(published)
    assert ours.dtype.names == tuple(word.name for word in TRACE_WORDS)
    for name in ours.dtype.names:
        np.testing.assert_array_equal(ours[name], theirs[name], name)


def test_headers_have_the_values_that_segyio_reads_at_their_bytes(published: Published):
    ours = headers_of(published)
    with segyio.open(published.survey.segy, ignore_geometry=True) as file:
        for word in TRACE_WORDS:
            np.testing.assert_array_equal(ours[word.name], file.attributes(word.byte)[:], word.name)


# obspy 1.5 lists its plug-ins by an interface that Python 3.11 calls deprecated.
@pytest.mark.filterwarnings("ignore:SelectableGroups dict interface:DeprecationWarning")
def test_headers_have_the_values_that_obspy_reads_at_their_bytes(published: Published):
    import obspy.io.segy.header
    import obspy.io.segy.segy

    ours = headers_of(published)
    file = obspy.io.segy.segy._read_segy(str(published.survey.segy), unpack_headers=True)
    names = {start + 1: (name, width) for width, name, _, start in obspy.io.segy.header.TRACE_HEADER_FORMAT}
    for word in TRACE_WORDS:
        name, width = names[word.byte]
        theirs = np.array([getattr(trace.header, name) for trace in file.traces])
        # obspy takes some words as unsigned.
        np.testing.assert_array_equal(ours[word.name], theirs.astype(f"i{width}"), word.name)


@pytest.fixture(scope="session")
def peer() -> dict[str, str]:
    """How `elsewhere` runs multidimio."""
    python = os.environ.get("SEISMILL_MDIO_PYTHON", "")
    if not python:
        pytest.skip("SEISMILL_MDIO_PYTHON does not name a Python that has multidimio")
    # multidimio 1.1.3 imports Blosc by a path that numcodecs 0.16.3 deprecated.
    return {
        "python": python,
        "prelude": 'warnings.filterwarnings("ignore", "The numcodecs.zarr3 module is deprecated")\n',
    }


@pytest.mark.peer
def test_multidimio_finds_the_source_s_values_and_statistics(published: Published, peer: dict[str, str]):
    elsewhere(read_with_mdio, published.url, published.survey.truth, published.survey.vertical, **peer)


@pytest.mark.peer
def test_multidimio_reads_a_volume_on_s3(surveys: dict[str, Survey], s3: str, peer: dict[str, str]):
    url = publish(surveys["ibm"], "s3://volumes/survey.zarr", SHARDS)
    elsewhere(read_with_mdio, url, surveys["ibm"].truth, "time", **peer)


def assert_equal_samples_and_fields(written: Path, source: Path, n_samples: int) -> None:
    """Samples and the first 232 bytes of each trace header; rev 1 assigns no others."""
    theirs, wanted = np.fromfile(written, np.uint8), np.fromfile(source, np.uint8)
    records = [data[3600:].reshape(-1, 240 + 4 * n_samples) for data in (theirs, wanted)]
    np.testing.assert_array_equal(records[0][:, :232], records[1][:, :232])
    np.testing.assert_array_equal(records[0][:, 240:], records[1][:, 240:])


@pytest.mark.peer
def test_multidimio_exports_the_source_s_samples_and_89_fields(
    published: Published, peer: dict[str, str], tmp_path: Path
):
    sample_format = 1 if published.survey.segy.name == "ibm.sgy" else 5
    elsewhere(export_with_mdio, published.url, tmp_path / "back.sgy", sample_format, **peer)
    assert_equal_samples_and_fields(tmp_path / "back.sgy", published.survey.segy, SHAPE[2])
    # The text is ordinary and the binary header has rev 1's words only: both come back byte for byte.
    assert (tmp_path / "back.sgy").read_bytes()[:3600] == published.survey.segy.read_bytes()[:3600]


# Real files


REAL = {
    "seisplot/data/F3_very_small.sgy": (11, 11, 463),
    "segysak/tests/test-data-segysak/f3-withdead.sgy": (23, 18, 75),
    "xtgeo-testdata/cubes/etc/ex2_complete_3d_75x71x26.segy": (75, 71, 26),
    "seg-tutorials-2014/1410_Phase/data/penobscot_xl1155.sgy": (601, 1, 1501),
}


@pytest.fixture(scope="session", params=REAL)
def real(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A volume of a real file, all parameters left to Seismill."""
    segy = shared / "data" / request.param
    if not segy.exists():
        pytest.skip(f"{segy} is not there")
    folder = tmp_path_factory.mktemp("real")
    volume = str(folder / "real.zarr")
    ingest_segy(str(segy), volume)
    rechunk(volume)
    pyramid(volume, Levels(until=1))
    truth = save_truth(segy, folder / "truth.npz")
    assert np.load(truth)["samples"].shape == REAL[request.param]
    return Published(volume, Survey(segy, truth, "time"))


@pytest.mark.slow
def test_zarr_finds_a_real_file_s_values(real: Published):
    elsewhere(read_with_zarr, real.url, real.survey.truth, "time")


def test_both_ome_zarr_validators_accept_a_real_file_s_volume(real: Published):
    validate_ome_zarr(real.url, levels=4)


@pytest.mark.peer
def test_multidimio_finds_a_real_file_s_values(real: Published, peer: dict[str, str]):
    elsewhere(read_with_mdio, real.url, real.survey.truth, "time", **peer)


@pytest.mark.peer
def test_multidimio_exports_a_real_file_s_samples_and_89_fields(
    real: Published, peer: dict[str, str], tmp_path: Path
):
    sample_format = real.survey.segy.read_bytes()[3225]
    elsewhere(export_with_mdio, real.url, tmp_path / "back.sgy", sample_format, **peer)
    n_samples = np.load(real.survey.truth)["samples"].shape[2]
    assert_equal_samples_and_fields(tmp_path / "back.sgy", real.survey.segy, n_samples)

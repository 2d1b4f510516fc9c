"""Volumes that the tests of datasets read, each with what it was made from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tests.support.gathers import write_gathers
from tests.support.segy_maker import segy_bytes
from tests.support.survey import Survey, make_survey

EXACT = Copies(presets=[], more=[Copy(name="exact", chunks=[4, 32, 72])], quality="lossless")


@dataclass(frozen=True, eq=False)
class Made:
    """A local volume, and its samples as the source holds them (NaN or 0 where no trace is)."""

    url: str
    values: np.ndarray
    survey: Survey | None = None

    @property
    def group(self) -> Any:
        """The group as plain zarr opens it."""
        return zarr.open_group(self.url, mode="r")

    @property
    def live(self) -> np.ndarray:
        """Which traces exist."""
        return self.group["trace_mask"][...]


@pytest.fixture(scope="session")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A 3-D survey with holes, line numbers in steps, a lossless copy, two lossy ones, and levels."""
    folder = tmp_path_factory.mktemp("cube")
    steps = {"inlines": range(10, 90, 2), "crosslines": range(300, 390, 3)}
    survey = make_survey(folder / "a.sgy", **steps, n_samples=70, drop=50, seed=3)
    url = str(folder / "a.zarr")
    ingest_segy(str(survey.path), url, master=Master(chunks=[16, 16, 32]))
    rechunk(url, EXACT)
    rechunk(url, Copies(presets=["fast_crossline", "fast_time"], quality="high"))
    pyramid(url, Levels(levels=2, until=1))
    return Made(url, survey.values, survey)


@pytest.fixture(scope="session")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A 3-D survey of int16 samples with holes."""
    folder = tmp_path_factory.mktemp("integers")
    rng = np.random.default_rng(5)
    live = rng.random((5, 7)) < 0.7
    samples = rng.integers(-3000, 3000, (np.count_nonzero(live), 9)).astype(np.int16)
    stored = samples.astype(">i2").view(np.uint8).reshape(len(samples), -1)
    (folder / "a.sgy").write_bytes(segy_bytes(code=3, live=live, samples=stored))
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"))
    values = np.zeros((5, 7, 9), np.int16)
    values[live] = samples
    return Made(str(folder / "a.zarr"), values)


@pytest.fixture(scope="session")
def gathers(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Prestack gathers of four dimensions with holes."""
    folder = tmp_path_factory.mktemp("gathers")
    shape = (3, 4, 5)
    places = np.argwhere(np.random.default_rng(2).random(shape) < 0.8)
    words = {(b, "i4"): 1 + places[:, axis] for axis, b in enumerate((189, 193, 37))}
    samples = write_gathers(folder / "a.sgy", words)
    index = Index(
        template="CdpOffsetGathers3DTime", names=["inline", "crossline", "offset"], bytes="189,193,37"
    )
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"), index)
    values = np.full((*shape, 13), np.nan, np.float32)
    values[tuple(places.T)] = samples
    return Made(str(folder / "a.zarr"), values)


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A 2-D line."""
    folder = tmp_path_factory.mktemp("line")
    cdps = np.arange(30) + 101
    samples = write_gathers(
        folder / "a.sgy", {(21, "i4"): cdps, (181, "i4"): 7 * cdps, (185, "i4"): 9 * cdps}
    )
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"), Index(bytes="21"))
    return Made(str(folder / "a.zarr"), samples)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An image of uint16 voxels with a copy and levels."""
    folder: Path = tmp_path_factory.mktemp("image")
    voxels = np.random.default_rng(4).integers(0, 60000, (40, 30, 50)).astype(np.uint16)
    np.save(folder / "a.npy", voxels)
    url = str(folder / "a.zarr")
    about = Image(voxel_length=[2, 3, 4], voxel_unit="micrometer", field_unit="1/cm")
    ingest_images(str(folder / "a.npy"), url, about, Master(chunks=[16, 16, 16]))
    rechunk(url, Copies(presets=[], more=[Copy(name="slices", chunks=[1, 30, 50])], quality="lossless"))
    pyramid(url, Levels(levels=1, until=1))
    return Made(url, voxels)

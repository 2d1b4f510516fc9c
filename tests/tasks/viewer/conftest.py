"""Volumes that are looked at."""

import numpy as np
import pytest

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image, Index, Levels, Master, StorageOptions
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.viewer.model import LookedAt
from tests.support.gathers import write_gathers
from tests.support.survey import Survey, make_survey


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A survey with holes and line numbers in steps."""
    folder = tmp_path_factory.mktemp("viewed")
    steps = {"inlines": range(10, 90, 2), "crosslines": range(300, 390, 3)}
    return make_survey(folder / "a.sgy", **steps, n_samples=70, drop=50, seed=3)


@pytest.fixture(scope="session")
def viewed(survey: Survey) -> str:
    """A volume of it with copies and two levels."""
    url = str(survey.path.with_suffix(".zarr"))
    ingest_segy(str(survey.path), url, master=Master(chunks=[16, 16, 32]))
    rechunk(url, Copies(presets=["fast_inline", "fast_time"], quality="high"))
    pyramid(url, Levels(levels=2, until=1))
    return url


@pytest.fixture
def looked(viewed: str) -> LookedAt:
    """The same, open, with nothing read yet."""
    return LookedAt(viewed, StorageOptions())


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """An image of labels from 0 to 5."""
    return np.random.default_rng(4).integers(0, 6, (20, 30, 40)).astype(np.uint8)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, voxels: np.ndarray) -> str:
    """A volume of it, with voxels of unequal sides."""
    folder = tmp_path_factory.mktemp("image")
    np.save(folder / "a.npy", voxels)
    url = str(folder / "a.zarr")
    about = Image(voxel_length=[4, 2, 2], voxel_unit="micrometer")
    ingest_images(str(folder / "a.npy"), url, about, Master(chunks=[8, 8, 8]))
    return url


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """A 2-D line and its samples."""
    folder = tmp_path_factory.mktemp("line")
    cdps = np.arange(30) + 101
    samples = write_gathers(
        folder / "a.sgy", {(21, "i4"): cdps, (181, "i4"): 7 * cdps, (185, "i4"): 9 * cdps}
    )
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"), Index(bytes="21"))
    return str(folder / "a.zarr"), samples


@pytest.fixture(scope="session")
def gathers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Prestack gathers of four dimensions with holes and uneven offsets, and their samples."""
    folder = tmp_path_factory.mktemp("gathers")
    shape = (3, 4, 5)
    places = np.argwhere(np.random.default_rng(2).random(shape) < 0.8)
    offsets = np.array([100, 200, 400, 800, 1600])
    words = {
        (189, "i4"): 1 + places[:, 0],
        (193, "i4"): 1 + places[:, 1],
        (37, "i4"): offsets[places[:, 2]],
    }
    samples = write_gathers(folder / "a.sgy", words)
    index = Index(
        template="CdpOffsetGathers3DTime", names=["inline", "crossline", "offset"], bytes="189,193,37"
    )
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"), index)
    values = np.full((*shape, samples.shape[1]), np.nan, np.float32)
    values[tuple(places.T)] = samples
    return str(folder / "a.zarr"), values

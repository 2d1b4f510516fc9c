"""Volumes that are looked at."""

import numpy as np
import pytest

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image, Levels, Master, StorageOptions
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.viewer.model import LookedAt
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
    pyramid(url, Levels(levels=2))
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

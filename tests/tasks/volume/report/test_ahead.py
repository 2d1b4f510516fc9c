"""Reads that go out together come back in order, few at once, and a failure leaves none under way."""

import numpy as np
import pytest

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Master
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.outcomes import InputRefused
from tasks.volume.report.ahead import AHEAD, read_ahead
from tasks.volume.store.objects import Store
from tests.support.survey import make_survey


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    folder = tmp_path_factory.mktemp("ahead")
    survey = make_survey(folder / "a.sgy", inlines=range(16), crosslines=range(8), n_samples=32)
    ingest_segy(str(survey.path), str(folder / "a.zarr"), master=Master(chunks=[4, 4, 8]))
    return open_volume(Store(str(folder / "a.zarr")))


def test_regions_come_in_order(volume: Volume) -> None:
    lines = [("amplitude", (slice(n, n + 1), slice(0, 8), slice(0, 32))) for n in range(16)]
    whole = volume.read("amplitude")
    found = list(read_ahead(volume, [*lines, ("inline", None)]))
    assert np.array_equal(np.concatenate(found[:-1]), whole)
    assert np.array_equal(found[-1], volume.read("inline"))


def test_no_more_than_a_few_are_asked_for_before_they_are_wanted(volume: Volume) -> None:
    asked = []

    def wanted():
        for number in range(20):
            asked.append(number)
            yield "inline", None

    read = read_ahead(volume, wanted())
    next(read)
    assert len(asked) == AHEAD
    next(read)
    assert len(asked) == AHEAD + 1
    read.close()
    assert len(asked) == AHEAD + 1


def test_a_failure_comes_in_its_turn(volume: Volume) -> None:
    read = read_ahead(volume, [("inline", None), ("nothing", None), ("inline", None)])
    assert next(read).size == 16
    with pytest.raises(InputRefused, match="has no array nothing"):
        next(read)
    assert list(read) == []

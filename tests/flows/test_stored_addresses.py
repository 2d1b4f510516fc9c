"""A triggered run goes nowhere that stored documents name and its operator does not (allowed.py, store/url.py)."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows.allowed import refuse_stored
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Levels
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.outcomes import InputRefused, Outcome
from tasks.volume.protocol.commits import Commit, newest_commit
from tasks.volume.store.url import checked_addresses, stored_address
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey


def committed(place: Path, name: str, root: dict) -> None:
    """Store a root and its commit as somebody would that knows the format."""
    data, store = document_bytes(root), WritableStore(str(place))
    newest = newest_commit(store)
    assert newest
    store.put(name, data)
    store.put(newest.key, Commit.of(newest.number, data, data).content)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """An array of which only its owner may read."""
    group = zarr.open_group(str(tmp_path / "secret/g.zarr"), mode="w")
    group.create_array("0", data=np.arange(4096, dtype="u2").reshape(16, 16, 16), chunks=(8, 8, 8))
    return str(tmp_path / "secret/g.zarr/0")


def refused(tmp_path: Path, verb: Callable[[], object]) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if ".seismill" not in str(path)}
    allowed = partial(refuse_stored, allowed=str(tmp_path / "allowed"))
    with checked_addresses(allowed), pytest.raises(Outcome, match="outside of what this worker may touch"):
        verb()
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if ".seismill" not in str(path)}
    assert after == before


def test_the_master_of_levels_is_read_only_where_it_may_be(tmp_path: Path, secret: str) -> None:
    place, group = tmp_path / "allowed/levels.zarr", tmp_path / "allowed/g.zarr"
    zarr.open_group(str(group), mode="w").create_array(
        "0", data=np.ones((16, 16, 16), "u2"), chunks=(8, 8, 8)
    )
    pyramid(str(group), Levels(levels=1, until=1), array="0", target=str(place))
    root = json.loads((place / ".seismill/annex.json").read_bytes())
    root["attributes"]["seismill"]["annex"]["array"] = secret
    committed(place, ".seismill/annex.json", root)
    refused(tmp_path, lambda: verify(str(place), errors=True))


@pytest.mark.parametrize(
    "verb",
    [
        partial(rechunk, copies=Copies(presets=["fast_time"], quality="lossless")),
        partial(pyramid, levels=Levels(levels=1, until=1)),
    ],
    ids=["rechunk", "pyramid"],
)
def test_a_volume_that_names_another_master_is_read_only_where_it_may_be(
    tmp_path: Path, secret: str, verb: Callable[..., object]
) -> None:
    survey = make_survey(tmp_path / "allowed.sgy", inlines=range(5), crosslines=range(4), n_samples=20)
    volume = tmp_path / "allowed/a.zarr"
    ingest_segy(str(survey.path), str(volume))
    root = json.loads((volume / "zarr.json").read_bytes())
    root["attributes"]["seismill"]["annex"] = {"array": secret, "name": "0", "axes": [], "above": 0}
    committed(volume, "zarr.json", root)
    refused(tmp_path, lambda: verb(str(volume)))


def test_a_source_that_a_plan_names_is_read_only_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret").mkdir()
    survey = make_survey(tmp_path / "secret/a.sgy", inlines=range(5), crosslines=range(4), n_samples=20)
    volume = tmp_path / "allowed/a.zarr"
    ingest_segy(str(survey.path), str(volume))
    (volume / "amplitude/c/0/0/0").unlink()
    with checked_addresses(partial(refuse_stored, allowed=str(tmp_path / "allowed"))):
        with pytest.raises(InputRefused, match="outside of what this worker may touch"):
            verify(str(volume), repair="from_source")
        with pytest.raises(InputRefused, match="outside"):
            stored_address(str(tmp_path / "allowed/../secret"))
        assert stored_address(str(tmp_path / "allowed/a, b*.sgy"))
    assert verify(str(volume), repair="from_source")["findings"] == []
    assert stored_address("/anywhere") == "/anywhere"

"""An audit finds what a disk did to published volumes, and within some days it looks at everything."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import run as seismill
from flows.publishers import direct_audit, direct_sweep
from flows.registration import DEPLOYMENTS
from flows.summary import headline
from tasks.demo import make_survey
from tasks.parameters import Publication, Run
from tasks.volume.integrity.check import entries_of, open_checked
from tasks.volume.integrity.entries import drawn_of
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.protocol.deletion import take_away
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.root import commit, current_root
from tasks.volume.store.writable import WritableStore


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three volumes of a sweep, one deep, and a file in quarantine."""
    staging = tmp_path_factory.mktemp("audit") / "staging"
    (staging / "north").mkdir(parents=True)
    make_survey(str(staging / "a.sgy"), shape=(19, 17, 33))
    for name in ("b.sgy", "north/c.sgy"):
        shutil.copy(staging / "a.sgy", staging / name)
    (staging / "bad.sgy").write_bytes(b"<html>" * 1000)
    volumes = staging.parent / "volumes"
    places = {"staging": str(staging), "volumes": str(volumes)}
    direct_sweep(**places, settle_minutes=0, publication=Publication(steps=["copies"]))
    return volumes


@pytest.fixture
def volumes(published: Path, tmp_path: Path) -> Path:
    """A copy of them that may be damaged."""
    return Path(shutil.copytree(published, tmp_path / "volumes"))


def audited(volumes: Path, **parameters: Any) -> dict[str, Any]:
    return direct_audit(volumes=str(volumes), **parameters)


def flip(volume: Path) -> str:
    """Turn one bit of a chunk over; its key."""
    chunk = next(path for path in sorted((volume / "amplitude").rglob("c/*/*/*")) if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    return str(chunk.relative_to(volume))


def test_sound_volumes_are_counted_and_what_is_in_quarantine_is_left_out(volumes):
    summary = audited(volumes, fraction=0.2, seed=3)
    assert summary["counts"] == {"sound": 3}
    assert summary["attention"] == []
    assert 3 <= summary["checked"] < summary["objects"] / 4
    assert headline(summary) == f"3 sound, {summary['checked']} of {summary['objects']} objects read"


def test_days_in_a_row_look_at_every_object_once(volumes):
    entries, _ = entries_of(open_checked(WritableStore(str(volumes / "a.zarr")))[0])
    for fraction, days in ((0.05, 20), (0.3, 4), (1.0, 1)):
        looked = [
            entry.key for day in range(739_000, 739_000 + days) for entry in drawn_of(entries, fraction, day)
        ]
        assert set(looked) == {entry.key for entry in entries}
        assert len(looked) < len(entries) + days + fraction * len(entries) + 1


def test_a_bit_that_turned_over_is_found_within_the_days_that_its_fraction_promises(volumes):
    key = flip(volumes / "b.zarr")
    found = []
    for day in range(5):
        try:
            audited(volumes, fraction=0.2, seed=day)
        except IntegrityFailure as failure:
            found.append(failure)
    (failure,) = found
    assert str(failure).startswith("1 of 3 volumes are damaged: 1 of ")
    assert key in str(failure)
    assert failure.summary["counts"] == {"sound": 2, "damaged": 1}
    (row,) = failure.summary["attention"]
    assert row["source"] == str(volumes / "b.zarr")


def test_a_volume_that_is_gone_is_damage_and_the_others_are_looked_at(volumes):
    shutil.rmtree(volumes / "a.zarr")
    with pytest.raises(IntegrityFailure, match=r"1 of 3 volumes are damaged: .*a\.zarr") as failure:
        audited(volumes, fraction=1.0)
    assert failure.value.summary["counts"] == {"sound": 2, "damaged": 1}


def test_a_volume_that_is_being_replaced_is_told_of_and_is_no_damage(volumes):
    store = WritableStore(str(volumes / "a.zarr"))
    with locked(store, wait_seconds=0) as epoch:
        take_away(store, epoch, current_root(store), None)
        summary = audited(volumes, fraction=1.0)
    assert summary["counts"] == {"sound": 2, "being written": 1}
    assert "is writing" in summary["notes"][0]


def test_a_run_that_was_stopped_while_it_replaced_a_volume_is_told_of(volumes):
    store = WritableStore(str(volumes / "a.zarr"))
    root = (volumes / "a.zarr" / "zarr.json").read_bytes()
    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, None)
    (volumes / "a.zarr" / "zarr.json").write_bytes(
        root
    )  # as if the run had been stopped before it removed it
    summary = audited(volumes, fraction=1.0)
    assert summary["counts"] == {"sound": 3}
    (note,) = summary["notes"]
    assert note.startswith(f"a run is replacing {volumes}/a.zarr, or was stopped")


def test_where_no_sweep_was_there_is_nothing_to_audit(tmp_path):
    with pytest.raises(InputRefused, match="has no catalogue of a sweep; check the prefix"):
        audited(tmp_path, run=Run())


def test_the_command_ends_with_5_and_the_summary_when_a_volume_is_damaged(volumes, capfd):
    assert seismill(["audit", str(volumes), "--json"]) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["counts"] == {"sound": 3}
    flip(volumes / "north" / "c.zarr")
    assert seismill(["audit", str(volumes), "--fraction", "1", "--json"]) == 5
    out, err = capfd.readouterr()
    assert json.loads(out.splitlines()[-1])["counts"] == {"sound": 2, "damaged": 1}
    assert err.splitlines()[-1].startswith("1 of 3 volumes are damaged: ")
    # The command that mends it, as it is typed: audit itself repairs nothing.
    repair = err.splitlines()[-1].partition("; run seismill ")[2].split()
    assert repair == ["verify", str(volumes / "north" / "c.zarr"), "--repair", "from_source"]
    assert seismill(repair) == 0
    assert seismill(["audit", str(volumes), "--fraction", "1"]) == 0
    assert seismill(["audit", str(volumes), "--fraction", "0"]) == 2


def test_it_is_scheduled_every_day_where_a_sweep_is():
    named = {
        deployment["name"]: deployment
        for deployment in yaml.safe_load(DEPLOYMENTS.read_text())["deployments"]
    }
    swept = [
        name
        for name, deployment in named.items()
        if name.startswith("sweep-") and deployment.get("schedules")
    ]
    assert len(swept) == 5
    for name in swept:
        audit = named[name.replace("sweep", "audit")]
        assert [schedule["cron"] for schedule in audit["schedules"]] == ["43 4 * * *"]
        assert audit["parameters"] == {"volumes": named[name]["parameters"]["volumes"]}
        assert audit["work_pool"]["name"] == named[name]["work_pool"]["name"]
        assert audit["concurrency_limit"]["collision_strategy"] == "CANCEL_NEW"

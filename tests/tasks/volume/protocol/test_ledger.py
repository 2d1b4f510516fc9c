"""The ledger: what was added is there for the next run, up to one batch."""

import time
from pathlib import Path
from typing import Any

import pytest

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.ledger import Ledger, Record
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.manifest import listed_in, manifest_bytes
from tasks.volume.protocol.plan import Plan, settle_plan
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return WritableStore(str(tmp_path / "volume"))


@pytest.fixture
def plan(store: Store) -> Plan:
    return settle_plan(store, {"verb": "test"}, created_on="", accept_versions=False)[0]


def record(block: int) -> Record:
    return Record(block, [Stored(f"a/c/{block}", 17, 0xDEADBEEF)], 64, {"sum": block / 3, "none": None})


def plain(ledger: Ledger) -> list[dict[str, Any]]:
    """The entries of a ledger as they are stored."""
    return [entry.to_json() for entry in ledger.in_order()]


def test_a_record_comes_back_from_json_as_it_was() -> None:
    assert Record.from_json(record(5).to_json()).to_json() == record(5).to_json()


def test_what_was_flushed_is_read_by_the_next_run_in_block_order(store: Store, plan: Plan) -> None:
    first = Ledger(store, plan, 1, resumed=False)
    for block in (4, 0, 2):
        first.add(record(block))
    first.flush()
    second = Ledger(store, plan, 2, resumed=True)
    assert second.resumed == 3
    assert plain(second) == [record(n).to_json() for n in (0, 2, 4)]
    second.add(record(1))
    second.flush()
    third = Ledger(store, plan, 3, resumed=True)
    assert [r.block for r in third.in_order()] == [0, 1, 2, 4]


def test_the_blocks_of_lines_that_are_not_as_they_were_written_are_done_again(
    store: Store, plan: Plan
) -> None:
    first = Ledger(store, plan, 1, resumed=False)
    for block in (1, 2):
        first.add(record(block))
        first.flush()
    damaged, _ = store.keys(f"{plan.folder}/ledger")
    for place in range(0, len(text := store.get(damaged)), 7):
        store.put(damaged, text[:place] + bytes([text[place] ^ 4]) + text[place + 1 :])
        assert plain(Ledger(store, plan, 2, resumed=True)) == [record(2).to_json()]
    store.put(damaged, text)
    assert Ledger(store, plan, 2, resumed=True).resumed == 2


@pytest.mark.parametrize(
    "lines",
    [b"[]", b"1", b"{}", b"[" * 100_000, b'{"block": "0", "objects": [], "raw_bytes": 1, "facts": {}}']
    + [
        b'{"block": 0, "objects": [{"key": "a/c/0", "bytes": %s, "crc32c": 1}], "raw_bytes": 1, "facts": {}}'
        % size
        for size in (b'"1"', b"-1", b"1.5", b"null", b"true")
    ],
)
def test_lines_that_are_no_records_count_for_nothing(store: Store, plan: Plan, lines: bytes) -> None:
    store.put(f"{plan.folder}/ledger/00000001-00000001-{crc32c(lines):08x}.jsonl", lines)
    assert Ledger(store, plan, 2, resumed=True).resumed == 0


@pytest.mark.parametrize("key", ["b/c/0", "../a/c/0", "a/../b/c/0", "a/zarr.json/c/0", "a"])
def test_a_manifest_that_lists_what_is_not_its_arrays_is_damaged(store: Store, key: str) -> None:
    listed = listed_in("a", manifest_bytes("a", [Stored("a/c/0", 1, 2, 0)]))
    assert listed is not None
    assert list(listed) == [Stored("a/c/0", 1, 2, 0)]
    assert listed_in("a", manifest_bytes("a", [Stored(key, 1, 2, 0)])) is None
    if ".." in key:
        with pytest.raises(IntegrityFailure, match="leads out of"):
            store.get(key)


def test_a_run_that_lost_the_volume_removes_nothing_of_the_next(store: Store) -> None:
    store.put(".seismill/runs/0/ledger/1", b"theirs")
    with locked(store, wait_seconds=0) as first:
        pass
    with locked(store, wait_seconds=0) as second:
        with pytest.raises(Resumable):
            clear_run(store, first, "0")
        assert store.get(".seismill/runs/0/ledger/1") == b"theirs"
        clear_run(store, second, "0")
    assert store.keys(".seismill/runs") == []


def test_a_plan_that_is_new_reads_nothing(store: Store, plan: Plan) -> None:
    ledger = Ledger(store, plan, 1, resumed=False)
    assert ledger.resumed == 0
    assert ledger.in_order() == []
    ledger.flush()
    assert store.keys(plan.folder) == [f"{plan.folder}/plan.json"]


def test_where_writing_is_cheap_every_block_is_written_at_once(store: Store, plan: Plan) -> None:
    ledger = Ledger(store, plan, 1, resumed=False)
    ledger.add(record(0))
    time.sleep(0.2)
    ledger.add(record(1))
    assert Ledger(store, plan, 2, resumed=True).resumed == 2


def test_where_writing_is_slow_it_takes_a_twentieth_of_the_time(tmp_path: Path, plan: Plan) -> None:
    class Slow(WritableStore):
        puts = 0

        def put(self, key: str, data: bytes) -> None:
            self.puts += 1
            time.sleep(0.02)
            super().put(key, data)

    store = Slow(str(tmp_path / "volume"))
    ledger = Ledger(store, plan, 1, resumed=False)
    began = time.monotonic()
    for block in range(100):
        time.sleep(0.01)
        ledger.add(record(block))
    seconds = time.monotonic() - began
    assert 2 <= store.puts <= 2 + seconds / (0.02 / 0.05)
    ledger.flush()
    assert Ledger(store, plan, 2, resumed=True).resumed == 100

"""One writer: on threads, between processes, across a killed one, and without a common clock.

Covers store/process.py and protocol/lock_content.py.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.lock import check_epoch, highest, locked
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

HOLD = (
    "import sys; from tasks.volume.protocol.lock import locked; from tasks.volume.store.writable import WritableStore\n"
    "with locked(WritableStore(sys.argv[1]), wait_seconds=0) as epoch:\n"
    "    print(epoch, flush=True); sys.stdin.readline()\n"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return WritableStore(str(tmp_path / "volume"))


def hold(store: Store) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


def elsewhere(store: Store, epoch: int) -> None:
    """Make the holder of an epoch look like a process of another machine."""
    key = f".seismill/lock/{epoch:08d}"
    store.put(key, json.dumps(json.loads(store.get(key)) | {"machine": "another"}).encode())


def test_each_holder_has_an_epoch_of_its_own(store: Store) -> None:
    assert highest(store) == 0
    for epoch in (1, 2, 3):
        with locked(store, wait_seconds=0) as mine:
            assert mine == highest(store) == epoch
            check_epoch(store, mine)


def test_of_many_at_once_one_after_the_other_holds_it(store: Store) -> None:
    inside: list[int] = []
    epochs = []

    def work(number: int) -> None:
        with locked(store, wait_seconds=6) as epoch:
            inside.append(number)
            assert inside == [number]
            epochs.append(epoch)
            time.sleep(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(epochs) == list(range(1, 5))


def test_who_does_not_wait_is_told_who_writes_and_to_run_again(store: Store) -> None:
    with (
        locked(store, wait_seconds=0),
        pytest.raises(Resumable, match=rf"process {os.getpid()} is writing .*run this again") as refusal,
        locked(store, wait_seconds=0),
    ):
        pass
    assert refusal.value.exit_code == 75
    assert highest(store) == 1


@pytest.mark.slow
def test_who_waits_says_so_once_and_goes_on_when_the_other_has_finished(store: Store) -> None:
    sentences: list[str] = []
    with hold(store) as other:
        threading.Timer(0.5, lambda: other.communicate("\n")).start()
        with locked(store, wait_seconds=60, say=sentences.append) as epoch:
            assert epoch == 2
        other.wait(30)
    assert len(sentences) == 1
    assert f"process {other.pid}" in sentences[0]


def test_a_killed_holder_on_this_machine_is_superseded_at_once(store: Store) -> None:
    with hold(store) as other:
        other.kill()
        other.wait(30)
        began = time.monotonic()
        with locked(store, wait_seconds=0) as epoch:
            assert epoch == 2
        assert time.monotonic() - began < 5


def test_a_process_that_has_the_number_of_a_killed_holder_is_not_taken_for_it(store: Store) -> None:
    with locked(store, wait_seconds=0) as epoch:
        key = f".seismill/lock/{epoch:08d}"
        lock = json.loads(store.get(key)) | {"started": "1"}
        store.put(key, json.dumps(lock).encode())
        with locked(store, wait_seconds=0) as next_epoch:
            assert next_epoch == 2


@pytest.mark.slow
def test_a_holder_elsewhere_is_superseded_only_after_it_was_silent_for_the_lease(store: Store) -> None:
    with hold(store) as other:
        elsewhere(store, 1)
        other.kill()
        other.wait(30)
    with pytest.raises(Resumable), locked(store, wait_seconds=0.3, lease_seconds=60):
        pass
    began = time.monotonic()
    with locked(store, wait_seconds=30, lease_seconds=1) as epoch:
        assert epoch == 2
        assert time.monotonic() - began >= 1


@pytest.mark.slow
def test_a_lock_that_is_damaged_is_superseded_after_the_lease_and_not_before(store: Store) -> None:
    with locked(store, wait_seconds=0):
        pass
    for damaged in (b"", b'{"state": "rele', b'{"state": "released\xa0"}', b"[]", b'{"stade": "released"}'):
        store.put(f".seismill/lock/{highest(store):08d}", damaged)
        with (
            pytest.raises(Resumable, match=r"somebody whose lock is damaged.* is writing"),
            locked(store, wait_seconds=0),
        ):
            pass
        with locked(store, wait_seconds=10, lease_seconds=0.2) as epoch:
            assert epoch == highest(store)


@pytest.mark.slow
def test_a_lock_that_cannot_be_read_is_not_waited_for_as_long_as_the_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.volume.protocol.lock.UNREADABLE_SECONDS", 0.2)
    with locked(store, wait_seconds=0):
        pass
    for damaged in (b"", b'{"state": "rele'):
        store.put(f".seismill/lock/{highest(store):08d}", damaged)
        with locked(store, wait_seconds=10, lease_seconds=600) as epoch:
            assert epoch == highest(store)
    held = json.dumps(
        {"holder": "x", "state": "held", "machine": "", "process": 0, "started": "", "token": ""}
    )
    store.put(f".seismill/lock/{highest(store):08d}", held.encode())
    with pytest.raises(Resumable, match="x is writing"), locked(store, wait_seconds=1, lease_seconds=600):
        pass


@pytest.mark.slow
def test_a_holder_that_shows_life_is_never_superseded(store: Store) -> None:
    with locked(store, wait_seconds=0, heartbeat_seconds=0.1) as epoch:
        elsewhere(store, epoch)
        with pytest.raises(Resumable), locked(store, wait_seconds=2.5, lease_seconds=1):
            pass
        check_epoch(store, epoch)


def test_who_was_asleep_for_longer_than_the_lease_finds_the_volume_taken(store: Store) -> None:
    with hold(store) as other:
        elsewhere(store, 1)
        other.send_signal(signal.SIGSTOP)
        with locked(store, wait_seconds=30, lease_seconds=0.5) as epoch:
            assert epoch == 2
            with pytest.raises(Resumable, match="took over"):
                check_epoch(store, 1)
            other.send_signal(signal.SIGCONT)
            other.communicate("\n", timeout=30)
            check_epoch(store, 2)
        assert highest(store) == 2


def test_a_beat_that_is_lost_does_not_end_the_heart(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with locked(store, wait_seconds=0, heartbeat_seconds=0.05) as epoch:
        key = Path(store.path(f".seismill/lock/{epoch:08d}"))
        key.unlink()
        key.mkdir()
        time.sleep(0.3)
        assert "no sign of life" in caplog.text
        key.rmdir()
        time.sleep(0.3)
        assert json.loads(store.get(f".seismill/lock/{epoch:08d}"))["beat"] > 2


def test_a_lock_whose_answer_this_process_gave_up_waiting_for_is_superseded_at_once(store: Store) -> None:
    class Unheard(WritableStore):
        def create(self, key: str, data: bytes) -> bool:
            super().create(key, data)
            raise Resumable("the store could not be reached")

    with pytest.raises(Resumable, match="reached"), locked(Unheard(store.url), wait_seconds=0):
        pass
    with locked(store, wait_seconds=0) as epoch:
        assert epoch == 2
        with pytest.raises(Resumable, match="is writing"), locked(store, wait_seconds=0):
            pass

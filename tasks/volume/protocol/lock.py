"""One writer at a time, with nothing but create-if-absent and no clock that two machines must share.

`.seismill/lock/<epoch>` is created; the highest epoch owns the volume. Its holder rewrites the object as a
heartbeat, and marks it released at the end. An observer who sees it unchanged for the lease, by the
observer's own monotonic clock, creates the next epoch. Workers check at each block that no higher epoch exists, so a
holder that was suspended stops writing. A holder whose process on this machine has ended is superseded at once. Old
epochs stay: they show a holder that was suspended that it lost the volume.
"""

import logging
import math
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tasks.volume.limits import Patience
from tasks.volume.outcomes import DestinationRefused, Resumable
from tasks.volume.protocol.holdings import Holding, begin_holding, end_holding
from tasks.volume.protocol.lock_content import (
    DAMAGED,
    LOCKS,
    UNREADABLE_SECONDS,
    key_of,
    read,
    released_lock,
    stored,
)
from tasks.volume.store.objects import Store
from tasks.volume.store.process import clock_seconds, ended_here, machine, started
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

_NUMBER = re.compile(r"[0-9]{8}")
LOST_RACES = 20  # in a row for an epoch that nobody turns out to have: something else is in its place
LEASE_SECONDS = 600.0
HEARTBEAT_SECONDS = 60.0
RECHECK_SECONDS = 60.0  # a worker that was silent for longer looks before it writes again
assert Patience().deadline + HEARTBEAT_SECONDS < LEASE_SECONDS


_tokens: set[str] = set()  # of the locks that this process holds or asks for
_looked_at: dict[tuple[str, int], float] = {}  # when this process saw last that an epoch owned its volume


def _holder() -> dict[str, Any]:
    return {
        "holder": f"{socket.gethostname()} process {os.getpid()}",
        "machine": machine(),
        "process": os.getpid(),
        "started": started(os.getpid()),
        "token": uuid.uuid4().hex,
        "state": "held",
        "beat": 0,
    }


def _gone(lock: dict[str, Any]) -> bool:
    """Return whether the holder released the lock, or was a process of this machine that has ended.

    Or it is this process, which holds it no more: it gave up the store before it heard that the lock was its own.
    """
    if lock["state"] == "released":
        return True
    mine = (lock["machine"], lock["process"], lock["started"])
    if mine == (machine(), os.getpid(), started(os.getpid())):
        return lock["token"] not in _tokens
    return ended_here(lock["machine"], lock["process"], lock["started"])


def numbers_in(store: Store, folder: str) -> list[int]:
    """Return the numbers in the names of the locks or commits in a folder; other names are ignored."""
    names = (key.removeprefix(f"{folder}/") for key in store.keys(folder))
    return [int(name) for name in names if _NUMBER.fullmatch(name)]


def highest(store: Store) -> int:
    """Return the epoch that owns the volume; 0 if none ever did."""
    return max(numbers_in(store, LOCKS), default=0)


def writer_of(store: Store) -> str:
    """Return the holder that has not released the volume's lock; empty if there is none."""
    top = highest(store)
    lock = read(_content(store, top)) if top else None
    return "" if lock is None or _gone(lock) else str(lock["holder"])


def keeps_locks() -> bool:
    """Return whether locks taken here are kept from one stage to the next."""
    return _keeping.get() is not None


def check_epoch(store: Store, epoch: int) -> None:
    """Check that `epoch` still owns the volume.

    Raises:
        Resumable: Another run took over.
    """
    looked = clock_seconds()
    if store.exists(key_of(epoch + 1)):
        raise Resumable(
            f"another run took over {store.url} because this one had been silent for longer than its lease; "
            "look at that run, or run this again"
        )
    _looked_at[store.url, epoch] = looked


def recheck_epoch(store: Store, epoch: int) -> None:
    """Check like `check_epoch`, but only if the last check was long ago, as after the process was suspended."""
    if clock_seconds() - _looked_at.get((store.url, epoch), -math.inf) >= RECHECK_SECONDS:
        check_epoch(store, epoch)


@contextmanager
def locked(
    store: WritableStore,
    *,
    wait_seconds: float,
    say: Callable[[str], None] = lambda sentence: None,
    lease_seconds: float = LEASE_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
    top: int | None = None,
) -> Iterator[int]:
    """Own the volume inside the `with`; yields the epoch.

    Args:
        store: The volume.
        wait_seconds: Seconds to wait for another holder.
        say: Called once with a sentence on the holder that is waited for.
        lease_seconds: Seconds after which a silent holder is taken for dead; the same for all who write a volume.
        heartbeat_seconds: Seconds between two signs of life of this holder.
        top: Result of `highest` just now; called if not given.

    Raises:
        Resumable: Another run holds the volume and did not finish in time; or another run took the volume over, and
            the next step of this one failed.
    """
    keeping = _keeping.get()
    hold = keeping.pop(store.url, None) if keeping is not None else None
    if hold is not None:
        try:
            recheck_epoch(store, hold.epoch)
        except Resumable:  # asleep between two stages for longer than the lease
            hold.release()
            hold = None
    if hold is None:
        hold = _Hold(
            store,
            lambda mine: _acquire(store, mine, wait_seconds, lease_seconds, say, top),
            heartbeat_seconds,
        )
    whole = False
    try:
        if not hold.tidy:
            store.remove_half_written()
            hold.tidy = True
        yield hold.epoch
        whole = True
    except Resumable:
        raise
    except Exception:
        check_epoch(store, hold.epoch)  # whatever it was: another run may have removed what this one was at
        raise
    finally:
        if whole and keeping is not None:
            keeping[store.url] = hold
        else:
            hold.release()


class _Hold:
    """A lock that this process holds, with the thread that leaves its signs of life."""

    def __init__(
        self, store: WritableStore, acquire: Callable[[dict[str, Any]], int], heartbeat_seconds: float
    ) -> None:
        """Take the lock by `acquire`, which waits for it and returns the epoch."""
        self._store, self._mine, self.tidy = store, _holder(), False
        self._token = self._mine["token"]
        _tokens.add(self._token)
        try:
            self.epoch = acquire(self._mine)
        except BaseException:
            _tokens.discard(self._token)
            raise
        begin_holding(store, Holding(self.epoch, self._token, for_stages=keeps_locks()))
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._beat, args=(heartbeat_seconds,), name="heartbeat", daemon=True
        )
        self._thread.start()

    def _beat(self, every_seconds: float) -> None:
        while not self._ended.wait(every_seconds):
            self._mine["beat"] += 1
            try:
                self._store.put(key_of(self.epoch), stored(self._mine, self.epoch))
            except Exception as error:
                # The lease outlasts some lost beats; a thread that died of one would lose the volume for sure.
                log.warning("no sign of life could be left at %s: %s", self._store.url, error)

    def release(self) -> None:
        """Give the volume up."""
        self._ended.set()
        self._thread.join()
        end_holding(self._store, self._token)
        self._mine["state"] = "released"
        _tokens.discard(self._token)
        self._store.put(key_of(self.epoch), stored(self._mine, self.epoch))


_keeping: ContextVar[dict[str, _Hold] | None] = ContextVar("keeping", default=None)


@contextmanager
def kept_locks() -> Iterator[None]:
    """Keep the locks that stages take inside the `with` from one stage to the next, and release them at its end.

    A stage that fails releases its lock at once.
    """
    kept: dict[str, _Hold] = {}
    before = _keeping.set(kept)
    try:
        yield
    finally:
        _keeping.reset(before)
        for hold in kept.values():
            hold.release()


@contextmanager
def unkept_locks() -> Iterator[None]:
    """Release each lock taken inside the `with` as soon as possible, even inside `kept_locks`."""
    with kept_locks():
        yield


def _content(store: Store, epoch: int) -> bytes:
    """Return a lock as it is stored; empty if it was removed since it was listed, which counts as damaged."""
    try:
        return store.get(key_of(epoch))
    except FileNotFoundError:
        return b""


def _acquire(
    store: WritableStore,
    mine: dict[str, Any],
    wait_seconds: float,
    lease_seconds: float,
    say: Callable[[str], None],
    listed: int | None,
) -> int:
    began = time.monotonic()
    seen, seen_at, noted, lost, before = b"", began, False, 0, -1
    while True:  # until wait_seconds are over
        top, listed = highest(store) if listed is None else listed, None
        lost, before = (lost + 1 if top == before else 0), top
        if top:
            current = _content(store, top)
            lock = read(current)
            if current != seen:
                seen, seen_at = current, time.monotonic()
            lease = min(lease_seconds, UNREADABLE_SECONDS) if lock == DAMAGED else lease_seconds
            free = _gone(lock) or time.monotonic() - seen_at >= lease
        if not top or free:
            asked = clock_seconds()
            if store.create(key_of(top + 1), stored(mine, top + 1)):
                _looked_at[store.url, top + 1] = asked
                if top and not current:  # a kill between taking the name and writing to it
                    log.warning("%s/%s: which run held it is lost", store.url, key_of(top))
                    store.put(*released_lock(top))
                return top + 1
            if lost < LOST_RACES:
                continue
            raise DestinationRefused(f"{store.url}/{key_of(top + 1)} is not a lock of Seismill; move it away")
        lost = 0
        if time.monotonic() - began >= wait_seconds:
            raise Resumable(f"{lock['holder']} is writing {store.url}; run this again when it has finished")
        if not noted:
            say(f"waiting up to {wait_seconds:.0f} s for {lock['holder']}, which is writing {store.url}")
            noted = True
        time.sleep(min(1.0, max(0.05, wait_seconds / 20)))

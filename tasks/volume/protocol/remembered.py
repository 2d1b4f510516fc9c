"""Remember what this process wrote under the lock that it still holds, so that it need not read it again.

Nobody else may change those objects meanwhile. A run that lost its lock finds so before it writes, as ever. Documents
and indexes of shards are always remembered; chunks as far as the blocks of a stage leave memory for them, and only
while further stages follow under the same lock: of a publication, copies, levels and the report are made of the bytes
that ingest put, while the proof reads the store. What workers of a cluster put, this process does not have.
"""

import threading
from typing import TypeVar

from tasks.volume.arrays.codecs import index_bytes
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.protocol.holdings import all_holdings, holding_of
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

MOST_BYTES, MOST_OBJECT_BYTES = 8 << 20, 1 << 20  # of one volume, of one object
_INDEX = "#index"  # after the key of a shard: its last bytes

_changing = threading.Lock()
_most_large = 0


def remember(store: Store, key: str, data: bytes) -> None:
    """Keep a small object that was just stored, if this process holds the volume."""
    held = holding_of(store)
    if held is None or len(data) > MOST_OBJECT_BYTES:
        return
    with _changing:
        held.small.pop(key, None)
        if sum(map(len, held.small.values())) + len(data) <= MOST_BYTES:
            held.small[key] = data


def remember_chunks(store: Store, spec: ArraySpec, key: str, data: bytes) -> None:
    """Keep an object of an array that was just stored, or of a shard at least its index, as `remember`."""
    if store.local:
        return
    held = holding_of(store)
    if held is not None and held.for_stages:
        with _changing:
            held.large.pop(key, None)
            if _large_bytes() + len(data) <= _most_large:
                held.large[key] = data
                return
    if spec.shards:
        remember(store, f"{key}{_INDEX}", bytes(data[-index_bytes(spec) :]))


def keep_at_most(most_bytes: int) -> None:
    """Keep no more chunks than that, of all volumes together; those that were stored last are given up."""
    global _most_large
    with _changing:
        _most_large = most_bytes
        for held in all_holdings():
            while held.large and _large_bytes() > most_bytes:
                held.large.popitem()


def _large_bytes() -> int:
    return sum(len(data) for held in all_holdings() for data in held.large.values())


def recall(store: Store, key: str) -> bytes | None:
    """Return an object that this process stored while it has held the volume; None if it does not know."""
    held = holding_of(store)
    if held is None:
        return None
    known = held.small.get(key)
    return held.large.get(key) if known is None else known


def forget(store: Store, below: str = "") -> None:
    """Forget a volume's objects with this key prefix, because they are about to be removed."""
    if held := holding_of(store):
        with _changing:
            for known in (held.small, held.large):
                for key in [key for key in known if key.startswith(below)]:
                    del known[key]


class _Recalling(Store):
    """A volume that returns objects, which this process stored under its lock, from memory."""

    def get(self, key: str) -> bytes:
        """Return the whole object, as `Store.get`."""
        known = recall(self, key)
        return super().get(key) if known is None else known

    def get_tail(self, key: str, length: int) -> bytes:
        """Return the last bytes of an object, as `Store.get_tail`."""
        known = recall(self, f"{key}{_INDEX}")
        if known is None and (whole := recall(self, key)) is not None:
            return whole[-length:]
        return known if known is not None and len(known) == length else super().get_tail(key, length)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return bytes of an object from `start`, as `Store.get_range`."""
        known = recall(self, key)
        if known is None or start + length > len(known):
            return super().get_range(key, start, length)
        return known[start : start + length]


class _RecallingToWrite(_Recalling, WritableStore):
    """A writable `_Recalling`, for the owner of the volume."""


AnyStore = TypeVar("AnyStore", Store, WritableStore)


def recalling(store: AnyStore) -> AnyStore:
    """Return a store that recalls the objects written by this process; a local store is returned unchanged."""
    if store.local:
        return store
    kind = _RecallingToWrite if isinstance(store, WritableStore) else _Recalling
    return kind(store.location, store.options)


_TIDY, _BEGUN, _DONE = "tidy", b"begun", b"done"


def tidied(store: Store) -> bool:
    """Return whether what abandoned runs left is gone: a stage under this lock removed it, and left nothing itself."""
    return recall(store, _TIDY) == _DONE


def begun_tidy(store: Store, *, tidy: bool) -> None:
    """Note that a stage began, and whether what abandoned runs left is gone; until it ends, it may leave something."""
    forget(store, _TIDY)
    if tidy:
        remember(store, _TIDY, _BEGUN)


def ended_tidy(store: Store) -> None:
    """Note that the stage that began last left nothing."""
    if recall(store, _TIDY) == _BEGUN:
        remember(store, _TIDY, _DONE)

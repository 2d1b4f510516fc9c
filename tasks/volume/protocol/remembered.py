"""Remember what this process wrote under the lock that it still holds, so that it need not read it again.

Nobody else may change those objects meanwhile. A run that lost its lock finds so before it writes, as ever.
"""

import threading
from typing import TypeVar

from tasks.volume.arrays.codecs import index_bytes
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.protocol.lock import held_token
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

MOST_BYTES, MOST_OBJECT_BYTES = 8 << 20, 1 << 20  # of one volume, of one object
MOST_VOLUMES = 2
_INDEX = "#index"  # after the key of a shard: its last bytes

_changing = threading.Lock()
_objects: dict[tuple[str, str], dict[str, bytes]] = {}  # by URL and token of the lock


def remember(store: Store, key: str, data: bytes) -> None:
    """Keep a small object that was just stored, if this process holds the volume."""
    token = held_token(store)
    if not token or len(data) > MOST_OBJECT_BYTES:
        return
    with _changing:
        while len(_objects) >= MOST_VOLUMES and (store.url, token) not in _objects:
            _objects.pop(next(iter(_objects)))
        known = _objects.setdefault((store.url, token), {})
        known.pop(key, None)
        if sum(map(len, known.values())) + len(data) <= MOST_BYTES:
            known[key] = data


def remember_index(store: Store, spec: ArraySpec, key: str, data: bytes) -> None:
    """Keep the index of a shard that was just stored, as `remember`."""
    if spec.shards and not store.local:
        remember(store, f"{key}{_INDEX}", bytes(data[-index_bytes(spec) :]))


def recall(store: Store, key: str) -> bytes | None:
    """Return an object that this process stored while it has held the volume; None if it does not know."""
    return _objects.get((store.url, held_token(store)), {}).get(key)


def forget(store: Store, below: str = "") -> None:
    """Know nothing any more of a volume's objects whose keys begin so: they are about to be removed."""
    with _changing:
        for (url, _), known in _objects.items():
            if url == store.url:
                for key in [key for key in known if key.startswith(below)]:
                    del known[key]


class _Recalling(Store):
    """A volume that returns small objects, which this process stored under its lock, from memory."""

    def get(self, key: str) -> bytes:
        """Return the whole object, as `Store.get`."""
        known = recall(self, key)
        return super().get(key) if known is None else known

    def get_tail(self, key: str, length: int) -> bytes:
        """Return the last bytes of an object, as `Store.get_tail`."""
        known = recall(self, f"{key}{_INDEX}")
        return known if known is not None and len(known) == length else super().get_tail(key, length)


class _RecallingToWrite(_Recalling, WritableStore):
    """As `_Recalling`, for what owns the volume."""


AnyStore = TypeVar("AnyStore", Store, WritableStore)


def recalling(store: AnyStore) -> AnyStore:
    """Return the store so that what was stored through this process is recalled; a local one as it is."""
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

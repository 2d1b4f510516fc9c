"""Create, replace and remove objects below one prefix.

Code that has a `WritableStore` can change a volume, so import contracts and a test list the modules that may make one:
the lock and the stage of the run protocol, which check that the run owns the volume, and outputs that are not volumes.
All other code gets a `Store`, on which a write is a type error.

The one primitive that the run protocol needs is `create`: write an object only if it is absent, atomically.
"""

from collections.abc import Callable, Sequence

from tasks.volume.limits import ROUNDS
from tasks.volume.outcomes import DestinationRefused, Resumable
from tasks.volume.store.backend import unguarded
from tasks.volume.store.objects import Store


class WritableStore(Store):
    """Objects under one prefix, to be read and written."""

    @classmethod
    def of(cls, store: Store) -> "WritableStore":
        """Return a store that can write the same prefix; only for a run that owns it, or is about to take its lock."""
        return store if isinstance(store, cls) else cls(store.location, store.options)

    def below(self, folder: str) -> "WritableStore":
        """Return a store that can write a folder of this prefix."""
        return type(self)(f"{self.url.rstrip('/')}/{folder}", self.options)

    def put(self, key: str, data: bytes) -> None:
        """Write an object, existing or not; readers see the old one or the new one."""
        self._objects.put(self.path(key), data, self._class_of(key))

    def replace(self, key: str, data: bytes, identity: str) -> bool:
        """Write an object only if it still has this identity (empty: absent); return whether this call wrote it."""
        return bool(self.exchange(key, data, identity))

    def exchange(self, key: str, data: bytes, identity: str) -> str:
        """Replace as `replace` does; return the new identity, or `UNTOLD`, if this call wrote the object."""
        path, storage_class = self.path(key), self._class_of(key)
        if not identity:
            return self._objects.create(path, data, storage_class, unguarded)
        return self._objects.replace(path, data, identity, storage_class)

    def create(self, key: str, data: bytes, *, before: Callable[[], None] = unguarded) -> bool:
        """Write an object only if it is absent; return whether this call wrote it, even if the store's answer was lost.

        Args:
            key: The object.
            data: Content of the object.
            before: Called before each try; raises if this run may not write it any more.
        """
        return bool(self._objects.create(self.path(key), data, self._class_of(key), before))

    def create_or_match(
        self,
        key: str,
        data: bytes,
        *,
        before: Callable[[], None] = unguarded,
        guard: Callable[[], None] = unguarded,
    ) -> None:
        """Make the object `key` have the content `data`: create it, or replace it if its content differs.

        Args:
            key: The object.
            data: Content of the object.
            before: Called before each try to create it; raises if this run may not any more.
            guard: Same as `before`, called before anything is replaced.
        """
        for _ in range(ROUNDS):
            if self.create(key, data, before=before):
                return
            try:
                present, identity = self.get_seen(key)
                if present == data:
                    return
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                raise DestinationRefused(
                    f"a folder lies in the place of {self.url}/{key}; move it away"
                ) from None
            guard()
            if self.replace(key, data, identity):
                return
        raise Resumable(
            f"something else keeps writing {self.url}/{key}; end it, and run the same command again"
        )

    def delete(self, key: str) -> None:
        """Remove one object, if it exists."""
        self.delete_many([key])

    def delete_many(self, keys: Sequence[str], *, guard: Callable[[], None] = unguarded) -> None:
        """Remove objects in the given order, many per request if the store can.

        On a local disk, folders that this leaves empty go as well.

        Args:
            keys: The objects.
            guard: Called every few requests, and before a try that comes late; raises if this run may not remove
                anything any more.
        """
        self._objects.delete_many([self.path(key) for key in keys], guard)

    def remove_half_written(self) -> None:
        """Remove unfinished files of killed writers on a local disk; object stores have none."""
        self._objects.remove_half_written()

    def probe(self) -> None:
        """Check that the store refuses to create an object twice, which the run protocol needs.

        Raises:
            DestinationRefused: The store overwrites instead, or the prefix cannot be written.
        """
        self._objects.probe()

    def _class_of(self, key: str) -> str:
        """Return the storage class of an object. Only chunks have one; metadata is small and often read."""
        if "/c/" not in key or key.startswith(".seismill/"):
            return ""
        chosen = ""
        for part in filter(None, self.options.storage_class.split(",")):
            array, named, value = part.rpartition("=")
            if not named or key.startswith(f"{array}/"):
                chosen = value
        return chosen

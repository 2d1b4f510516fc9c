"""Define the calls that a `Store` makes, by whole paths; `LocalObjects` and `CloudObjects` have them.

A call either does what it says or raises an `Outcome` whose sentence says what to do, except for errors that callers
ask for: that an object is missing (`FileNotFoundError`) or a folder (`IsADirectoryError`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

UNTOLD = "?"  # the identity of an object that was written, and whose store does not say which it is


def unguarded() -> None:
    """Allow a request without a check."""


class Objects(Protocol):
    """Objects below one prefix, on a local disk or in a cloud."""

    def get(self, path: str) -> bytes:
        """Return a whole object; raise FileNotFoundError if there is none."""

    def get_seen(self, path: str) -> tuple[bytes, str]:
        """Return a whole object and its identity, which is not newer than the content."""

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""

    def get_tail(self, path: str, length: int) -> bytes:
        """Return the last `length` bytes, or all of a shorter object."""

    def identity(self, path: str) -> str:
        """Return the identity of an object's content; empty if there is no object."""

    def exists(self, path: str) -> bool:
        """Return whether there is such an object."""

    def keys(self, path: str) -> Iterator[str]:
        """Yield the keys, below the prefix, of all objects below `path`."""

    def children(self) -> Iterator[str]:
        """Yield the names of objects and folders directly under the prefix."""

    def files(self, folder: str) -> Iterator[tuple[str, int, str]]:
        """Yield name, size and identity of each object directly in a folder."""

    def listing(self, path: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and identity of all objects below `path`."""

    def has_bucket(self) -> bool:
        """Return whether there is a bucket or container here; on this machine a folder needs none."""

    def put(self, path: str, data: bytes, storage_class: str) -> None:
        """Write an object, existing or not."""

    def replace(self, path: str, data: bytes, identity: str, storage_class: str) -> str:
        """Write an object only if it has this identity; return the new one, or `UNTOLD`, if this call wrote it."""

    def create(self, path: str, data: bytes, storage_class: str, before: Callable[[], None]) -> str:
        """Write an object only if it is absent; return its identity, or `UNTOLD`, if this call wrote it."""

    def delete_many(self, paths: Sequence[str], guard: Callable[[], None]) -> None:
        """Remove objects in order; calls `guard` every few requests."""

    def remove_half_written(self) -> None:
        """Remove unfinished files of writers that were killed."""

    def probe(self) -> None:
        """Raise DestinationRefused unless the store refuses to create an object twice."""

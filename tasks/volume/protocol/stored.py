"""Stored objects as they were written: one, and as many as a volume has.

A volume may have a million objects, and the driver knows each of them until the manifests are written. As columns of
NumPy they take about 50 bytes each; as Python objects they took 200.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from tasks.volume.arrays.codecs import checksum_of_chunks, crc32c, index_count
from tasks.volume.arrays.spec import ArraySpec

AT_ONCE = 8192  # objects that are Python objects at one time
NO_PLACES = -1

Content = bytes  # `Stored.bytes` hides the type


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as it was written.

    Attributes:
        key: Key of the object.
        bytes: Size of the object.
        crc32c: CRC32C of the object; for chunks and shards `checksum_of_chunks`.
        places: Number of entries in the index of a shard; 0: the object is one chunk. None: `crc32c` covers the
            bytes of the object, as for documents, and for chunks in volumes of early versions.
    """

    key: str
    bytes: int
    crc32c: int
    places: int | None = None

    @classmethod
    def document(cls, key: str, data: Content) -> "Stored":
        """Return an object that is no chunk."""
        return cls(key, len(data), crc32c(data))

    @classmethod
    def chunk(cls, spec: ArraySpec, position: tuple[int, ...], data: Content) -> "Stored":
        """Return the object of an array at a position in its grid of objects."""
        places = index_count(spec)
        return cls(spec.key(position), len(data), checksum_of_chunks(data, places), places)

    @classmethod
    def read(cls, key: Any, size: Any, checksum: Any, places: Any = None) -> "Stored":
        """Return an object as a stored document describes it.

        Raises:
            ValueError: The document does not describe an object.
        """
        counts = [size, checksum] if places is None else [size, checksum, places]
        if not isinstance(key, str) or any(type(n) is not int or not 0 <= n < 1 << 62 for n in counts):
            raise ValueError("it does not describe an object")
        return cls(key, size, checksum, places)

    @property
    def more(self) -> dict[str, int]:
        """Return `places` as it is stored: nothing where there is none, as early versions wrote it."""
        return {} if self.places is None else {"places": self.places}

    def fits(self, data: Content | None) -> bool:
        """Return whether these are the bytes that were put."""
        if data is None or len(data) != self.bytes:
            return False
        return self.crc32c == (crc32c(data) if self.places is None else checksum_of_chunks(data, self.places))


@dataclass(frozen=True, slots=True, eq=False)
class StoredObjects(Sequence[Stored]):
    """Stored objects, sorted by key.

    Attributes:
        keys: Keys in UTF-8, shape (object,), of a bytes type; in this form they sort as the strings do.
        numbers: Size, CRC32C and places of each object, int64, shape (object, 3); `NO_PLACES` for None.
    """

    keys: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, stored: Iterable[Stored]) -> "StoredObjects":
        """Return these objects, which are needed one after the other only."""
        if isinstance(stored, StoredObjects):
            return stored
        rest, parts = iter(stored), []
        while some := list(itertools.islice(rest, AT_ONCE)):
            numbers = [(o.bytes, o.crc32c, NO_PLACES if o.places is None else o.places) for o in some]
            parts.append(cls(np.array([o.key.encode() for o in some]), np.array(numbers, np.int64)))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Iterable["StoredObjects"]) -> "StoredObjects":
        """Return the objects of all parts."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls(np.empty(0, "S1"), np.empty((0, 3), np.int64))
        keys, numbers = parts[0].keys, parts[0].numbers
        if len(parts) > 1:
            keys = np.concatenate([part.keys for part in parts])
            numbers = np.concatenate([part.numbers for part in parts])
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, numbers = keys[order], numbers[order]
        return cls(keys, numbers)

    @property
    def total_bytes(self) -> int:
        """Return the bytes of all objects together."""
        return int(self.numbers[:, 0].sum())

    def of_array(self, path: str) -> "StoredObjects":
        """Return the chunks and shards of an array that has axes."""
        first, last = np.searchsorted(
            self.keys, [f"{path}/c/".encode(), f"{path}/c0".encode()]
        )  # "0" follows "/"
        return StoredObjects(self.keys[first:last], self.numbers[first:last])

    def find(self, keys: Sequence[str]) -> np.ndarray:
        """Return the position of each key among the objects, int64, shape (key,); -1 where it is none of them."""
        if not len(self) or not keys:
            return np.full(len(keys), -1)
        wanted = np.array([key.encode() for key in keys])
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self) - 1)
        return np.where(self.keys[at] == wanted, at, -1)

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, at: int) -> Stored: ...

    @overload
    def __getitem__(self, at: slice) -> "StoredObjects": ...

    def __getitem__(self, at: int | slice) -> "Stored | StoredObjects":
        if isinstance(at, slice):
            return StoredObjects(self.keys[at], self.numbers[at])
        size, checksum, places = self.numbers[at].tolist()
        return Stored(self.keys[at].decode(), size, checksum, None if places == NO_PLACES else places)

    def __iter__(self) -> Iterator[Stored]:
        for first in range(0, len(self), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            rows = zip(self.keys[some].tolist(), self.numbers[some].tolist(), strict=True)
            for key, (size, checksum, places) in rows:
                yield Stored(key.decode(), size, checksum, None if places == NO_PLACES else places)

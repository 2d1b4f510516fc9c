"""The ledger of a plan: which blocks are done, and every object they stored.

Records are JSON lines in small objects, which the driver writes in batches. A batch is written as soon as that takes
little time compared with the time since the last batch: on a local disk nearly every block has its own, on an object
store there is about one a second. A killed run loses the blocks in flight and one batch. The name of each object ends
in the CRC32C of its lines; the blocks of a damaged one are done again.
"""

import json
import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from tasks.volume.arrays.codecs import checksum_of_chunks, crc32c, index_count
from tasks.volume.arrays.documents import value_from
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import io_pool, on_io
from tasks.volume.protocol.plan import Plan
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

COST_FRACTION = 0.05  # of the run's time that writing the ledger may take


Content = bytes


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


@dataclass(frozen=True)
class Record:
    """The result of one block.

    Attributes:
        block: Number of the block in the plan.
        objects: Stored objects.
        raw_bytes: Number of uncompressed bytes, for progress.
        facts: Facts to merge in block order at the end: statistics, errors, checksums.
    """

    block: int
    objects: list[Stored]
    raw_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        objects = [{"key": o.key, "bytes": o.bytes, "crc32c": o.crc32c} | o.more for o in self.objects]
        return {"block": self.block, "objects": objects, "raw_bytes": self.raw_bytes, "facts": self.facts}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Record":
        """Return the inverse of `to_json`.

        Raises:
            ValueError: The document is not a record.
        """
        try:
            objects = [
                Stored.read(o["key"], o["bytes"], o["crc32c"], o.get("places")) for o in plain["objects"]
            ]
            record = cls(plain["block"], objects, plain["raw_bytes"], plain["facts"])
        except (LookupError, TypeError, AttributeError):
            raise ValueError("it is not a record of a block") from None
        if (
            type(record.block) is not int
            or type(record.raw_bytes) is not int
            or not isinstance(record.facts, dict)
        ):
            raise ValueError("it is not a record of a block")
        return record


class Ledger:
    """Records of one plan, as read when it was opened and as added since."""

    def __init__(self, store: WritableStore, plan: Plan, epoch: int, *, resumed: bool) -> None:
        """Read what earlier runs of the plan recorded; a plan that is new has nothing to read."""
        self._store, self._folder, self._epoch = store, f"{plan.folder}/ledger", epoch
        self._batch: list[Record] = []
        self._writing: Future[None] | None = None  # one at a time
        self._number = 0
        self._flushed_at, self._cost = time.monotonic(), 0.0
        self.records: dict[int, Record] = {}
        if resumed:
            keys = store.keys(self._folder)
            for key, text in zip(keys, on_io(store.get, keys), strict=True):
                try:
                    if not key.endswith(f"-{crc32c(text):08x}.jsonl"):
                        raise ValueError("it has another CRC32C")
                    records = [Record.from_json(value_from(line)) for line in text.splitlines()]
                except ValueError:
                    log.warning("%s/%s is not as it was written: its blocks are done again", store.url, key)
                    continue
                self.records |= {record.block: record for record in records}
        self.resumed = len(self.records)

    def add(self, record: Record) -> None:
        """Record a block as done, and write the batch when it is due; to a remote store while blocks go on."""
        self.records[record.block] = record
        self._batch.append(record)
        if (time.monotonic() - self._flushed_at) * COST_FRACTION < self._cost:
            return
        if self._store.local:
            self.flush()
        elif self._writing is None or self._writing.done():
            self.begin_flush()

    def begin_flush(self) -> None:
        """Begin to write what was added since the last batch; `flush` awaits it."""
        self._await_writing()
        if not self._batch:
            return
        text = self._taken()
        self._writing = io_pool().submit(self._write, text)

    def flush(self) -> None:
        """Write what was added since the last batch; return when all batches are stored."""
        self._await_writing()
        if self._batch:
            self._write(self._taken())

    def _await_writing(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _taken(self) -> bytes:
        """Return the batch as it is stored, and begin another."""
        lines = (json.dumps(record.to_json(), separators=(",", ":")) + "\n" for record in self._batch)
        text = "".join(lines).encode()
        self._number += 1
        self._batch.clear()
        return text

    def _write(self, text: bytes) -> None:
        began = time.monotonic()
        self._store.put(f"{self._folder}/{self._epoch:08d}-{self._number:08d}-{crc32c(text):08x}.jsonl", text)
        self._flushed_at = time.monotonic()
        self._cost = self._flushed_at - began

    def in_order(self) -> list[Record]:
        """Return all entries by block number, the order in which facts are merged."""
        return [self.records[number] for number in sorted(self.records)]

"""The ledger of a plan: which blocks are done, and every object they stored.

Records are JSON lines in small objects, which the driver writes in batches. A batch is written as soon as that takes
little time compared with the time since the last batch: on a local disk nearly every block has its own, on an object
store there is about one a second. A killed run loses the blocks in flight and one batch. The name of each object ends
in the CRC32C of its lines; the blocks of a damaged one are done again.
"""

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.arrays.documents import value_from
from tasks.volume.blocks import io_pool, on_io
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.stored import Stored, StoredObjects
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

READ_AT_ONCE = 64  # objects of the ledger in memory while it is read
COST_FRACTION = 0.05  # of the run's time that writing the ledger may take


@dataclass(frozen=True)
class Record:
    """The result of one block.

    Attributes:
        block: Number of the block in the plan.
        objects: Stored objects, which are kept as `StoredObjects`.
        raw_bytes: Number of uncompressed bytes, for progress.
        facts: Facts to merge in block order at the end: statistics, errors, checksums.
    """

    block: int
    objects: Sequence[Stored]
    raw_bytes: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the objects in little memory."""
        object.__setattr__(self, "objects", StoredObjects.of(self.objects))

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


def stored_by(records: Iterable[Record]) -> StoredObjects:
    """Return the objects of all records."""
    return StoredObjects.joined(StoredObjects.of(record.objects) for record in records)


def _texts(store: WritableStore, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for first in range(0, len(keys), READ_AT_ONCE):
        some = keys[first : first + READ_AT_ONCE]
        yield from zip(some, on_io(store.get, some), strict=True)


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
            for key, text in _texts(store, store.keys(self._folder)):
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

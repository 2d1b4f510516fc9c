"""Keep one record per source beside the volumes, with its history.

Version n + 1 of a record is created beside version n, and the highest version is valid. So two sweeps cannot overwrite
each other's record: create-if-absent fails for the second one, which then reads again. Older versions are the source's
history; a version is added only when the state changes.
"""

import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from tasks.volume.arrays.documents import value_from
from tasks.volume.blocks import on_io
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tasks.volume.sweeps.keys import File

log = logging.getLogger(__name__)

FOLDER = ".seismill/catalogue"
TABLE = ".seismill/catalogue.csv"
ACCOUNT = ".seismill/catalogue.json"  # what became of each object that the last sweep listed, in numbers
_DIGITS = 8
_MOST_PART_BYTES = 255  # of a name on a disk
_MOST_KEY_BYTES = 900  # S3 takes 1,024 for a whole key

State = Literal["arriving", "running", "published", "resumable", "quarantined"]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """The state of one source.

    Attributes:
        name: Name of the source below the staging prefix, with '/'.
        source: URL of the source.
        bytes: Size of the source.
        identity: ETag, generation, or size and time of modification.
        volume: The URL of its volume.
        state: arriving (not unchanged for long enough), running, published, resumable (the next sweep resumes it), or
            quarantined (a person must decide; the source stays in place).
        sentence: Reason for the state.
        attempts: Number of attempts.
        run: The flow run of the last attempt, if that was one of a deployment.
        plan: Digest of the settings of its publication, the sidecar included.
        crc32c: CRC32C of the file, as read, in hexadecimal; in a group each file has its own.
        proven_at: Time at which its export was proven identical to the file, byte for byte.
        seen_at: Time at which it was first seen with this size and identity.
        changed_at: Time at which this version of the record was written.
        group: The files of a group, each with its own checksum; empty for a single file.
        version: Version of the record; 0 before it is written.
    """

    name: str
    source: str
    bytes: int
    identity: str
    volume: str
    state: State
    sentence: str = ""
    attempts: int = 0
    run: str = ""
    plan: str = ""
    crc32c: str = ""
    proven_at: str = ""
    seen_at: str = ""
    changed_at: str = ""
    group: tuple[File, ...] = ()
    version: int = 0

    @property
    def files(self) -> tuple[File, ...]:
        """Return the files of the source: those of the group, or itself."""
        return self.group or (File(self.name, self.source, self.bytes, self.identity, self.crc32c),)


_KNOWN = {field.name for field in fields(CatalogueEntry)}
COLUMNS = tuple(field.name for field in fields(CatalogueEntry) if field.name not in ("group", "version"))


class Catalogue:
    """The records beside some volumes, as one sweep read and wrote them.

    Attributes:
        records: The newest version of each that this sweep knows, by name.
        written: Names of the records that this sweep wrote.
    """

    def __init__(self, volumes: Store) -> None:
        """Read all records: one listing, and one read for each source.

        A damaged record counts as none, so that its source is looked at anew; the next version of it is written.
        """
        newest: dict[str, int] = {}
        for key in volumes.keys(FOLDER):
            name, _, number = key.removeprefix(f"{FOLDER}/").rpartition("/")
            if name and len(number) == _DIGITS and number.isdigit():  # else another program's
                newest[name] = max(newest.get(name, 0), int(number))
        self._volumes, self._newest = WritableStore.of(volumes), newest
        read = on_io(lambda item: _read(volumes, *item), newest.items())
        self.records: dict[str, CatalogueEntry] = {record.name: record for record in read if record}
        self.written: set[str] = set()

    def put(self, key: str, content: bytes) -> None:
        """Write a document that a sweep derives from the records: the table, or the account of all keys."""
        self._volumes.put(key, content)

    def write(self, record: CatalogueEntry) -> bool:
        """Store the next version of a record; return False if another sweep stored one first."""
        now = datetime.now(UTC).isoformat()
        version = record.version or self._newest.get(_key_name(record.name), 0)
        written = replace(record, version=version + 1, changed_at=now)
        plain = {name: value for name, value in asdict(written).items() if name != "version"}
        if not self._volumes.create(_key(written), json.dumps(plain, indent=1).encode()):
            log.info("%s: another sweep works on it", record.name)
            self.records[record.name] = replace(
                record, state="running", sentence="another sweep works on it", run=""
            )
            return False
        self.records[record.name] = written
        self.written.add(record.name)
        return True


def safe_to_release(record: CatalogueEntry, file: File, present: Mapping[str, tuple[int, str]]) -> bool:
    """Return whether a file of staging may be deleted: its volume was proven to give back this very file.

    Args:
        record: Record of the source.
        file: The source, or one of its files.
        present: Size and identity of each file that lies in staging now, by name.
    """
    here = present.get(file.name)
    return record.state == "published" and bool(record.proven_at) and here == (file.bytes, file.identity)


def as_csv(records: Iterable[CatalogueEntry], present: Mapping[str, tuple[int, str]]) -> str:
    """Return the catalogue as a table with a header, one line per file, sorted by the names of the sources."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, "safe_to_release"))
    for record in sorted(records, key=lambda record: record.name):
        for file in record.files:
            own = {"name": file.name, "source": file.url, "bytes": file.bytes, "identity": file.identity}
            own["crc32c"] = file.crc32c
            release = "yes" if safe_to_release(record, file, present) else "no"
            row = [own[name] if name in own else getattr(record, name) for name in COLUMNS]
            writer.writerow((*row, release))
    return text.getvalue()


def _key(record: CatalogueEntry) -> str:
    return f"{FOLDER}/{_key_name(record.name)}/{record.version:0{_DIGITS}d}"


def _key_name(name: str) -> str:
    """Return the name of a source as part of a key, which a disk can hold, too: no part is empty, dots, or too long.

    All other names stay as they are; what is changed begins with %00, which no name of a file holds.
    """
    parts = [_key_part(part) for part in name.split("/")]
    whole = "/".join(parts)
    return whole if len(whole.encode()) <= _MOST_KEY_BYTES else f"%00{digest_of({'name': name})}"


def _key_part(part: str) -> str:
    if part in ("", ".", "..") or part.startswith("%00"):
        return f"%00{part}"
    return part if len(part.encode()) <= _MOST_PART_BYTES else f"%00{digest_of({'part': part})}"


def _read(volumes: Store, name: str, version: int) -> CatalogueEntry | None:
    key = f"{FOLDER}/{name}/{version:0{_DIGITS}d}"
    try:
        plain: dict[str, Any] = value_from(volumes.get(key))
        # What a later version of Seismill added is passed over.
        known = {key: value for key, value in plain.items() if key in _KNOWN}
        group = tuple(File(**file) for file in known.pop("group", ()))
        record = CatalogueEntry(**known | {"group": group, "version": version})
        if _key_name(record.name) != name or record.state not in get_args(State):
            raise ValueError("it is not the record of its key")
        for moment in filter(None, (record.seen_at, record.changed_at)):
            datetime.fromisoformat(moment)
    except (ValueError, TypeError, AttributeError, RecursionError, FileNotFoundError) as error:
        log.warning("%s/%s is passed over: it is damaged (%s)", volumes.url, key, error)
        return None
    return record

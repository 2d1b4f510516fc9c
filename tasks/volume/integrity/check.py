"""Check every object of a volume against the checksum that was stored with it.

Every stored object can be checked with another one: objects with the manifest of their array, a manifest with its first
line, metadata and documents of runs with the root, the root with its commit and the commit with the root.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tasks.volume.arrays.codecs import ABSENT, decode_chunk, document_bytes, read_index
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.groups import ANNEX, ROOT
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.arrays.root_schema import AxisEntry
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.blocks import on_chunks, on_io
from tasks.volume.integrity.entries import Entries, ManifestEntry
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.commits import Commit, checksum_of, newest_commit, promised_checksum
from tasks.volume.protocol.manifest import listed_in, manifest_key
from tasks.volume.protocol.plan import RUNS, TWIN, folder_of
from tasks.volume.protocol.root import present_root
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.objects import Store

BATCH = 32  # objects in memory at once, at most


@dataclass(frozen=True)
class Finding:
    """A difference from what was written: the object, the samples in it, and the problem."""

    key: str
    array: str
    region: str
    problem: str


def open_checked(store: Store) -> tuple[Volume, list[Finding]]:
    """Open a volume or annex from its root or, if that is damaged, from its newest commit.

    Also return a finding for the damaged one of the two. The root counts as whole if its checksum in a commit
    matches or, if the only checksum is lost, if it describes every array as it is stored.

    Raises:
        InputRefused: There is no volume.
        IntegrityFailure: Both the root and its newest commit are damaged.
    """
    newest = newest_commit(store)
    if newest is None:
        first = Commit(1, b"", "", "", missing=True)
        try:
            volume = open_any(store)
        except IntegrityFailure:
            raise _neither(store, ROOT, first) from None
        if not _describes(store, volume.root.content):
            raise _neither(store, volume.root.key, first)
        return volume, [Finding(first.key, "", "", "is missing")]
    if newest.whole and not newest.document:
        return open_any(store), []
    promised = promised_checksum(store, newest.number)
    if promised == checksum_of(b"") and not store.exists(ROOT):
        return open_any(store), []
    committed = _root_in(store, newest) if newest.whole else None
    where = committed.key if committed else (ANNEX if store.exists(ANNEX) else ROOT)
    present, identity = present_root(store, where)
    if committed is not None and present == newest.document:  # whatever the commit before says
        return open_any(store), []
    if committed is not None and (not promised or checksum_of(newest.document) == promised):
        # A commit that was interrupted before its root was put leaves the former root: that is no damage. Where there
        # was none there is no object, not an empty one.
        if newest.follows(present) and (present or not identity):
            return open_any(store), []
        if promised or not present or _describes(store, newest.document) or not _describes(store, present):
            problem = "is not what was committed" if identity else "is missing"
            return Volume(store, committed), [Finding(where, "", "", problem)]
        return open_any(store), [Finding(newest.key, "", "", "is the commit of another root")]
    if present and (
        present == newest.document
        or newest.fits(present)
        or (newest.readable and newest.follows(present))
        or (
            checksum_of(present) == promised
            if promised
            else not newest.readable and _describes(store, present)
        )
    ):
        problem = "is missing" if newest.missing else "is not as it was written"
        return open_any(store), [Finding(newest.key, "", "", problem)]
    raise _neither(store, where, newest)


def _root_in(store: Store, commit: Commit) -> Root | None:
    """Return the root that a commit holds; None if what it holds is none."""
    try:
        return root_from(commit.document, f"in {store.url}/{commit.key}")
    except IntegrityFailure:
        return None


def _neither(store: Store, where: str, newest: Commit) -> IntegrityFailure:
    return IntegrityFailure(
        f"neither {store.url}/{where} nor {newest.key} is as it was written; restore one of them "
        "from a copy of the volume"
    )


def _describes(store: Store, document: bytes) -> bool:
    """Return whether a root describes every array and group as its own zarr.json does, and is written as roots are."""
    try:
        volume = Volume(store, root_from(document, store.url))
    except IntegrityFailure:
        return False
    stored = [path for path in volume.members if path]  # the master of an annex is another tool's
    texts = on_io(lambda path: fetch(store, f"{path}/zarr.json"), stored)
    known = all(
        text == document_bytes(volume.members[path]) for path, text in zip(stored, texts, strict=True)
    )
    return known and volume.root.content == document


def entries_of(volume: Volume) -> tuple[Entries, list[Finding]]:
    """Return all objects that manifests list, with group metadata; and the findings for broken manifests."""
    arrays = written_here(volume)
    texts = on_io(lambda path: fetch(volume.store, manifest_key(path)), arrays)
    parts: list[tuple[str, Sequence[Stored]]] = []
    findings = []
    for path, text in zip(arrays, texts, strict=True):
        listed = None if text is None else listed_in(path, text)
        if listed is None:
            problem = "the manifest is missing" if text is None else "the manifest is not as it was written"
            findings.append(Finding(manifest_key(path), path, "", problem))
        else:
            parts.append((path, listed))
    # No manifest lists groups: the root says what they are.
    groups = {path: m for path, m in volume.members.items() if m["node_type"] == "group"}
    for path, member in sorted((groups | {".seismill": GROUP}).items()):
        parts.append((path, [Stored.document(f"{path}/zarr.json", document_bytes(member))]))
    return Entries([*parts, (RUNS, _noted(volume))]), findings


def _noted(volume: Volume) -> list[Stored]:
    """Return the kept documents of each stage, with their backup copies."""
    stages = {entry.plan: entry.kept for entry in volume.state.stages.values()}
    return [
        Stored(f"{folder_of(digest)}/{name}{more}", about.bytes, int(about.crc32c, 16))
        for digest, kept in sorted(stages.items())
        for name, about in sorted(kept.items())
        for more in ("", TWIN)
    ]


def written_here(volume: Volume) -> list[str]:
    """Return the arrays that were written here; an annex's master was not."""
    paths = sorted(path for path, member in volume.members.items() if member["node_type"] == "array")
    return [path for path in paths if volume.store_of(path) is volume.store]


def checked(
    volume: Volume,
    entries: Iterable[ManifestEntry],
    most_bytes: int,
    on_batch: Callable[[list[ManifestEntry]], None],
) -> Iterator[list[Finding]]:
    """Check objects in batches and yield what is wrong with them.

    Args:
        volume: The volume.
        entries: The objects.
        most_bytes: Most bytes of objects in memory at once, unless one is larger.
        on_batch: Called with each batch before it is checked; may raise to end the check.
    """
    for some in _batches(entries, most_bytes):
        on_batch(some)
        yield _wrong_of(volume, some)


def _wrong_of(volume: Volume, entries: list[ManifestEntry]) -> list[Finding]:
    fetched = on_io(lambda entry: fetch(volume.store, entry.key), entries)
    pairs = zip(entries, fetched, strict=True)
    return [finding for finding in on_chunks(lambda pair: _check(volume, *pair), pairs) if finding]


def _batches(entries: Iterable[ManifestEntry], most_bytes: int) -> Iterator[list[ManifestEntry]]:
    """Yield the entries in order, in batches that fit in memory."""
    batch: list[ManifestEntry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == BATCH or size + entry.stored.bytes > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.stored.bytes
    if batch:
        yield batch


def fetch(store: Store, key: str) -> bytes | None:
    """Return an object; None if it does not exist."""
    try:
        return store.get(key)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _check(volume: Volume, entry: ManifestEntry, data: bytes | None) -> Finding | None:
    key, path, written = entry.key, entry.array, entry.stored

    def finding(problem: str) -> Finding:
        return Finding(key, path, region_of(volume, path, key), problem)

    if data is None:
        return finding("is missing")
    if len(data) != written.bytes:
        return finding(f"has {len(data)} bytes, {written.bytes} were written")
    if not written.fits(data):
        return finding("has other bytes than were written")
    if key.endswith("zarr.json"):
        known = data == document_bytes(volume.members.get(path, GROUP))
        return None if known else finding("is not what the root says")
    problem = "" if path == RUNS else does_not_decode(volume.spec(path), data)
    return finding(problem) if problem else None


def does_not_decode(spec: ArraySpec, data: bytes) -> str:
    """Return why the chunks of a stored object cannot be decoded; empty if they can and leave no byte over."""
    try:
        pieces = _chunks(spec, data)
        for encoded in pieces:
            decode_chunk(spec, encoded)
    except Exception as error:  # whatever a codec raises: it is no data
        return f"does not decode: {error}"
    return ""


def _chunks(spec: ArraySpec, data: bytes) -> list[memoryview]:
    view = memoryview(data)
    if not spec.shards:
        return [view]
    index = read_index(spec, view, where=spec.path).reshape(-1, 2)
    return [view[int(o) : int(o) + int(n)] for o, n in index if int(o) != ABSENT]


def region_of(volume: Volume, path: str, key: str) -> str:
    """Return the samples that an object holds, in the survey's own numbers where the root knows them."""
    if "/c/" not in key:
        return ""
    spec = volume.spec(path)
    axes = {axis.name: axis for axis in volume.state.axes}
    return ", ".join(
        _stretch(dim, p * u, min((p + 1) * u, n) - 1, n, axes.get(dim))
        for dim, p, u, n in zip(spec.dims, position_of(key), spec.unit, spec.shape, strict=True)
    )


def _stretch(dim: str, first: int, last: int, extent: int, axis: AxisEntry | None) -> str:
    """Return a part of an axis as text: in its values, or as positions for levels and irregular axes."""
    if axis is None or axis.count != extent or isinstance(axis.step, str):
        return f"{dim} positions {first} to {last}"
    low, high = (axis.first + at * axis.step for at in (first, last))
    return f"{dim} {low:g} to {high:g}"


def position_of(key: str) -> tuple[int, ...]:
    """Return the position of a stored object in its array's grid of objects."""
    return tuple(int(text) for text in key.rpartition("/c/")[2].split("/"))

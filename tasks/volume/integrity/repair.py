"""Restore damaged objects of a volume, with the bytes that were written.

Nothing is put that does not have the checksum of what was written, and nothing that is whole is touched. A manifest
that is broken is made again from its objects, whose chunks tell by checksums of their own that they are whole, and
is right if the checksum in its first line says so.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from tasks.parameters import Repairs, StorageOptions
from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.arrays.documents import value_from
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec, positions
from tasks.volume.integrity.beside import NOT_GIVEN, displaced, restored
from tasks.volume.integrity.check import Finding, checked, does_not_decode, fetch, position_of
from tasks.volume.integrity.entries import Entries, ManifestEntry
from tasks.volume.integrity.from_source import made_from_source
from tasks.volume.integrity.from_volume import made_again, plan_of_master
from tasks.volume.integrity.unlisted import NOT_WRITTEN, may_be_absent
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.protocol.commits import COMMITS, Commit, checksum_of, newest_commit, promised_checksum
from tasks.volume.protocol.manifest import listed_in, manifest_bytes, manifest_key
from tasks.volume.protocol.plan import RUNS
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

UNMADE = (
    IntegrityFailure,
    FileNotFoundError,
    ValueError,
    LookupError,
)  # what it would be made of is damaged too


def flags_for(volume: Volume, findings: Collection[Finding], tried: Repairs) -> str:
    """Return the flags that may restore what is wrong; "" if none does, or if a promise was not kept.

    The volume itself comes first, for the source may be gone; chunks of the master come from the source alone.
    """
    damaged = [finding for finding in findings if finding.key != finding.array and ";" not in finding.problem]
    if volume.left_out or tried == "from_source" or not damaged:
        return ""
    of_master = any(
        finding.key.startswith(f"{volume.master}/c/") and finding.problem != NOT_WRITTEN
        for finding in damaged
    )
    return f"--repair {'from_source' if of_master or tried == 'from_master' else 'from_master'}"


@dataclass(frozen=True)
class Repair:
    """The means of a repair.

    Attributes:
        volume: Volume as its root or, where that is broken, its newest commit describes it.
        store: Store of the volume, to write to.
        source: Options of the source's store; None if only the volume itself is drawn on.
        memory_bytes: Most bytes that a block may use.
        guard: Called before every put; raises if this run may not any more.
        places: URLs of the source's files now, in their order, if they were moved.
        later: Damage that was found when a manifest was put back, whose objects nothing had listed.
    """

    volume: Volume
    store: WritableStore
    source: StorageOptions | None
    memory_bytes: int
    guard: Callable[[], None]
    places: Sequence[str] = ()
    later: list[Finding] = field(default_factory=list)

    def carry_out(
        self, findings: Collection[Finding], entries: Collection[ManifestEntry]
    ) -> Iterator[Finding]:
        """Yield each of the findings that was repaired, when it was.

        What others are made of comes first: the root, the master and what belongs to it, levels, copies. A manifest
        comes before its objects if these are whole or it is found in another's place, else after them.
        """
        findings = [finding for finding in findings if not finding.problem.startswith(NOT_GIVEN)]
        written = {entry.key: entry.stored for entry in entries}
        elsewhere = displaced(self.volume.store, findings)
        lists = [
            finding for finding in findings if finding.array and finding.key == manifest_key(finding.array)
        ]
        texts = {finding.array: self._displaced_manifest(finding.array, findings) for finding in lists}
        for finding in findings:
            data = elsewhere.get(finding.key)
            if not finding.array and self._put(finding.key, data or self._root(finding.key)):
                yield finding
        for finding in findings:
            if finding.array or finding.key in elsewhere:
                continue
            if self._put(finding.key, restored(self.volume.store, finding)):
                yield finding
        for finding in list(lists):
            text = texts[finding.array]  # as it lay before anything was put there
            if self._put(finding.key, text):
                lists.remove(finding)
                listed = Entries([(finding.array, listed_in(finding.array, text or b"") or [])])
                written |= {entry.key: entry.stored for entry in listed}
                for found in checked(self.volume, listed, self.memory_bytes // 4, lambda _: self.guard()):
                    self.later.extend(found)
                yield finding
        findings += [
            finding for finding in self.later if finding.key not in {known.key for known in findings}
        ]
        broken = [finding for finding in findings if finding.array and finding.key in written]
        broken.sort(key=lambda finding: self._rank(finding.array))
        # What of the master the volume does not give comes from the source; then what is made of the master.
        own = [finding for finding in broken if self._rank(finding.array) <= 1]
        for repair in (self._from_volume, self._from_source, self._from_volume):
            for finding in repair(own, written):
                own.remove(finding)
                yield finding
        result = [finding for finding in broken if self._rank(finding.array) > 1]
        yield from self._from_volume(result, written)
        for finding in lists:
            text = self._manifest(finding.array)
            if self._put(finding.key, text):
                metadata = (
                    f"{finding.array}/zarr.json"  # which nothing listed, as the chunks that were made again
                )
                self._put(metadata, document_bytes(self.volume.members[finding.array]))
                yield finding
                made = {stored.key for stored in listed_in(finding.array, text or b"") or []}
                for made_with in findings:
                    if made_with.key in made and made_with.key not in written:
                        yield made_with
        unknown = {finding.array for finding in lists}
        for finding in findings:
            if not finding.array or finding.key in written or finding.array in unknown:
                continue
            if finding.key != manifest_key(finding.array):
                self.store.delete_many([finding.key], guard=self.guard)
                yield finding

    def _rank(self, path: str) -> int:
        """Return -1 for run documents, 0 for small arrays, 1 for the master, more for levels and copies."""
        if path == RUNS:
            return -1
        levels = [level.path for level in self.volume.state.levels]
        if path in levels:
            return 1 + levels.index(path)
        known = self.volume.has(path)
        if path.startswith("pyramid/"):
            return 2
        return len(levels) + 2 if known and self.volume.array_attributes(path).get("copy_of") else 0

    def _put(self, key: str, data: bytes | None) -> bool:
        if data:
            self.store.create_or_match(key, data, before=self.guard, guard=self.guard)
        return bool(data)

    def _from_volume(self, findings: Collection[Finding], written: dict[str, Stored]) -> Iterator[Finding]:
        for finding in list(findings):
            expected = written[finding.key]
            # Lossy copies of early versions hold zeros beyond the end of the array, and those whose entries have no
            # places tell chunks of one size not apart.
            for continued in (False, True) if expected.places is None else (True, False):
                data = self._made_again(finding.array, finding.key, continued=continued)
                if data is None or expected.fits(data):
                    break
            if self._put(finding.key, data if expected.fits(data) else None):
                yield finding

    def _made_again(self, path: str, key: str, *, continued: bool = True) -> bytes | None:
        try:
            return made_again(self.volume, path, key, continued=continued)
        except UNMADE:
            return None

    def _from_source(self, findings: Collection[Finding], written: dict[str, Stored]) -> Iterator[Finding]:
        of_key = {finding.key: finding for finding in findings if not finding.key.endswith("zarr.json")}
        if self.source is None or not of_key:
            return
        try:
            plan_of_master(self.volume)
        except (IntegrityFailure, FileNotFoundError):  # also of copies and levels in a place of their own
            log.warning("%s: nothing tells how its master was made of a source", self.volume.store.url)
            return
        again = made_from_source(self.volume, list(of_key), self.source, self.memory_bytes, self.places)
        try:
            for key, data in again:
                if self._put(key, data if written[key].fits(data) else None):
                    yield of_key[key]
        except InputRefused as refused:
            raise InputRefused(
                f"{refused}; if the source was moved, say where it is with --source"
            ) from refused

    def _root(self, key: str) -> bytes | None:
        store, newest = self.volume.store, newest_commit(self.volume.store)
        where = self.volume.root.key
        if key == where:
            return newest.document if newest is not None and newest.whole else None
        number = newest.number if newest is not None else 1
        if key != f"{COMMITS}/{number:08d}":
            return None
        # What was before it is kept in the commits of before; of the first two nothing else tells.
        before = promised_checksum(store, number - 1) if number > 1 else checksum_of(b"")
        present = store.get(where)
        if not before:
            log.warning("%s/%s: which root was before it is lost; no run needs it", store.url, key)
        return Commit.after(number, present, before or checksum_of(present)).content

    def _displaced_manifest(self, path: str, findings: Collection[Finding]) -> bytes | None:
        """Return the manifest of an array from the place of another object that is damaged; None if it is in none."""
        for finding in findings:
            text = fetch(self.volume.store, finding.key)
            if text is not None and listed_in(path, text) is not None:
                return text
        return None

    def _manifest(self, path: str) -> bytes | None:
        """Return a manifest made again from its objects; None if it does not come out as it was."""
        volume = self.volume
        spec = volume.spec(path) if volume.members[path]["shape"] else None
        chunks: list[Stored] = []
        early: list[Stored] = []  # as manifests of early versions list them
        lost = []

        def add(spec: ArraySpec, position: tuple[int, ...], data: bytes) -> None:
            chunks.append(Stored.chunk(spec, position, data))
            early.append(Stored.document(spec.key(position), data))

        if spec:
            for position in positions(spec, tuple(slice(0, n) for n in spec.shape)):
                data = fetch(volume.store, spec.key(position))
                if data is not None and not does_not_decode(spec, data):
                    add(spec, position, data)
                elif data is not None or not may_be_absent(volume, spec, position):
                    lost.append(spec.key(position))
        anew = {key: data for key in lost if (data := self._made_again(path, key)) is not None}
        missing = [key for key in lost if key not in anew]
        if missing and self.source is not None and not volume.origin:
            anew |= made_from_source(volume, missing, self.source, self.memory_bytes, self.places)
        if any(key not in anew for key in lost):
            return None
        for key, data in anew.items():
            if spec and data:
                add(spec, position_of(key), data)
        metadata = Stored.document(f"{path}/zarr.json", document_bytes(volume.members[path]))
        present = fetch(volume.store, manifest_key(path))
        for listed in (chunks, early):
            result = manifest_bytes(path, [*listed, metadata])
            if present is None or _is_twin(path, result, present):
                for key, data in anew.items():
                    self._put(key, data)
                return result
        return None


def _is_twin(path: str, result: bytes, present: bytes) -> bool:
    """Return whether a manifest is the made one but for its first line, or but for the lines which that describes.

    A manifest without a line on this array, such as an empty one, is like a missing one: it contradicts nothing.
    """
    first, _, rest = result.partition(b"\n")
    own = (manifest_key(path), f"{path}/zarr.json", f"{path}/c")
    contradicts = any(_key_in(line).startswith(own) for line in present.splitlines())
    return present.startswith(first) or present.endswith(rest) or not contradicts


def _key_in(line: bytes) -> str:
    """Return the key in a line of a manifest; empty if it is none."""
    try:
        listed = value_from(line)
    except ValueError:
        return ""
    return str(listed.get("key", "")) if isinstance(listed, dict) else ""

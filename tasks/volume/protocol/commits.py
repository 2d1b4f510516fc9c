"""Read and build commits: `.seismill/commits/<n>` holds a root, or the checksum of the root after it."""

import re
from dataclasses import dataclass

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.limits import ROUNDS
from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.lock import numbers_in
from tasks.volume.store.objects import Store

COMMITS = ".seismill/commits"
SUPERSEDED = b"superseded"  # and, after a blank, the CRC32C of the root that the next commit holds
_CHECKSUM = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Commit:
    """A commit as it is stored.

    Attributes:
        number: Number of the commit, from 1.
        document: The new root; empty if the volume was unpublished.
        checksum: CRC32C of `before` and the document, in hexadecimal.
        before: The CRC32C of the root before.
        missing: Whether the object is missing, although the previous commit names it.
    """

    number: int
    document: bytes
    checksum: str
    before: str
    missing: bool = False

    @property
    def key(self) -> str:
        """Return the key of the commit."""
        return f"{COMMITS}/{self.number:08d}"

    @property
    def root_checksum(self) -> str:
        """Return the CRC32C of the new root."""
        return checksum_of(self.document)

    @property
    def whole(self) -> bool:
        """Return whether its checksum fits its content."""
        return self.fits(self.document)

    @property
    def readable(self) -> bool:
        """Return whether the first line is that of a commit."""
        return bool(_CHECKSUM.fullmatch(self.checksum) and _CHECKSUM.fullmatch(self.before))

    @property
    def content(self) -> bytes:
        """Return the stored bytes."""
        return f"{self.checksum} {self.before}\n".encode() + self.document

    def fits(self, document: bytes) -> bool:
        """Return whether this is the root that was committed."""
        return checksum_of(f"{self.before}\n".encode() + document) == self.checksum

    def follows(self, present: bytes) -> bool:
        """Return whether this is the root before."""
        return checksum_of(present) == self.before

    @classmethod
    def of(cls, number: int, document: bytes, present: bytes) -> "Commit":
        """Return the commit of a root that takes the place of the root `present`."""
        return cls.after(number, document, checksum_of(present))

    @classmethod
    def after(cls, number: int, document: bytes, before: str) -> "Commit":
        """Return the commit of a root that takes the place of one with the CRC32C `before`."""
        return cls(number, document, checksum_of(f"{before}\n".encode() + document), before)


def checksum_of(document: bytes) -> str:
    """Return the CRC32C of a root in hexadecimal, as commits hold it."""
    return f"{crc32c(document):08x}"


def commit_count(store: Store) -> int:
    """Return the number of the newest commit; 0 before the first."""
    return max(numbers_in(store, COMMITS), default=0)


def newest_commit(store: Store, listed: int | None = None) -> Commit | None:
    """Return the newest commit; None before the first.

    A commit is superseded only after the next one was created. A superseded commit
    that is the last one shows that its successor was lost.

    Args:
        store: The volume.
        listed: Result of `commit_count` just now; called if not given.

    Raises:
        Resumable: New commits appear faster than they can be read.
    """
    number = commit_count(store) if listed is None else listed
    for _ in range(ROUNDS):
        if not number:
            return None
        try:
            content = store.get(f"{COMMITS}/{number:08d}")
        except FileNotFoundError:  # removed since the list was made
            content = SUPERSEDED
        if not content and (in_force := _in_force(store, number - 1)):
            number, content = number - 1, in_force  # a run was killed between taking a name and writing to it
        if superseded_by(number, content) is None:  # also that of another number, which lies here by mistake
            return commit_in(number, content)
        latest = commit_count(store)
        if latest == number:
            return Commit(number + 1, b"", "", "", missing=True)
        number = latest
    raise Resumable(f"other runs keep committing to {store.url}; run this again when they have ended")


def commit_in(number: int, content: bytes) -> Commit:
    """Return the commit that a stored document holds."""
    first, _, document = content.partition(b"\n")
    checksum, _, before = first.decode(errors="replace").partition(" ")
    return Commit(number, document, checksum, before)


def promised_checksum(store: Store, number: int) -> str:
    """Return the CRC32C of the root in a commit, as the previous commit states it; '' if it does not."""
    try:
        return superseded_by(number - 1, store.get(f"{COMMITS}/{number - 1:08d}")) or ""
    except FileNotFoundError:
        return ""


def superseded_by(number: int, content: bytes) -> str | None:
    """Return what a superseded commit keeps of the root after it; empty if nothing, None if it is damaged."""
    if content == SUPERSEDED:
        return ""
    checksum = content.decode(errors="replace").removeprefix(SUPERSEDED.decode() + " ").partition(" ")[0]
    return checksum if _CHECKSUM.fullmatch(checksum) and content == superseded(number, checksum) else None


def superseded(number: int, checksum: str) -> bytes:
    """Return the content of a superseded commit: the CRC32C of the root after it, and a checksum with its number."""
    text = SUPERSEDED + f" {checksum}".encode()
    return text + f" {checksum_of(text + f' {number}'.encode())}".encode()


def _in_force(store: Store, number: int) -> bytes:
    """Return the content of a commit that was not superseded; empty if there is no such commit."""
    try:
        content = store.get(f"{COMMITS}/{number:08d}")
    except FileNotFoundError:
        return b""
    return b"" if content.startswith(SUPERSEDED) else content

"""The root of a volume, and how it changes: one document, put last, that makes everything else visible.

A commit is `.seismill/commits/<n>`, created and therefore unique, that holds the new root; whoever created it
puts the root. Whoever finds the newest commit different from the root finishes that put. So the root
is always some commit, whole, and a run that lost its ownership cannot change it: the root is put only where it still
is what it was before the commit, so that a put which was asleep for long on its way changes nothing any more.

A commit begins with a line of two checksums, of all that follows and of the root that it takes the place of: a wrong
bit is told from a commit that was interrupted, and never becomes the root.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.volume.arrays.codecs import crc32c, document_bytes
from tasks.volume.arrays.documents import root_from
from tasks.volume.arrays.group_metadata import ANNEX, ROOT, add_to_groups, is_annex
from tasks.volume.blocks import together
from tasks.volume.limits import ROUNDS
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.lock import check_epoch, held_epoch, held_token, numbers_in, recheck_epoch
from tasks.volume.store.backend import UNTOLD
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

COMMITS = ".seismill/commits"
SUPERSEDED = b"superseded"  # and, after a blank, the CRC32C of the root that the next commit holds
_CHECKSUM = re.compile(r"[0-9a-f]{8}")


def new_root(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a root with no members yet."""
    return {
        "attributes": dict(attributes),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {}},
        "node_type": "group",
    }


def members(root: dict[str, Any]) -> dict[str, Any]:
    """zarr.json of every array and group below the root, by path; changing it changes the root."""
    metadata: dict[str, Any] = root["consolidated_metadata"]["metadata"]
    return metadata


@dataclass(frozen=True)
class Commit:
    """A commit as it is stored.

    Attributes:
        number: From 1.
        document: The new root; empty if the volume was taken away.
        checksum: What the CRC32C of `before` and the document is to be, in hexadecimal.
        before: The CRC32C of the root before.
        missing: Whether there is no such object, although the commit before says that there was.
    """

    number: int
    document: bytes
    checksum: str
    before: str
    missing: bool = False

    @property
    def key(self) -> str:
        """Return its key."""
        return f"{COMMITS}/{self.number:08d}"

    @property
    def root_checksum(self) -> str:
        """Return the CRC32C of the new root."""
        return _checksum(self.document)

    @property
    def whole(self) -> bool:
        """Return whether it is as it was written."""
        return self.fits(self.document)

    @property
    def readable(self) -> bool:
        """Return whether its first line is one that a commit begins with."""
        return bool(_CHECKSUM.fullmatch(self.checksum) and _CHECKSUM.fullmatch(self.before))

    @property
    def content(self) -> bytes:
        """Return the stored bytes."""
        return f"{self.checksum} {self.before}\n".encode() + self.document

    def fits(self, document: bytes) -> bool:
        """Return whether this is the root that was committed."""
        return _checksum(f"{self.before}\n".encode() + document) == self.checksum

    def follows(self, present: bytes) -> bool:
        """Return whether this is the root before."""
        return _checksum(present) == self.before

    @classmethod
    def of(cls, number: int, document: bytes, present: bytes) -> "Commit":
        """Return a new one, which takes the place of the root `present`."""
        return cls.after(number, document, _checksum(present))

    @classmethod
    def after(cls, number: int, document: bytes, before: str) -> "Commit":
        """Return the commit of a root that takes the place of one with the CRC32C `before`."""
        return cls(number, document, _checksum(f"{before}\n".encode() + document), before)


def root_key(root: dict[str, Any]) -> str:
    """Return the key of a root."""
    return ANNEX if is_annex(root) else ROOT


def _checksum(data: bytes) -> str:
    return f"{crc32c(data):08x}"


def checksum_of(document: bytes) -> str:
    """Return the CRC32C of a root in hexadecimal, as commits hold it."""
    return _checksum(document)


def commit_count(store: Store) -> int:
    """Return the number of the newest commit; 0 before the first."""
    return max(numbers_in(store, COMMITS), default=0)


def newest_commit(store: Store, listed: int | None = None) -> Commit | None:
    """Return the newest commit; None before the first.

    A commit is superseded only after the next one was created. One that is superseded and nevertheless the last
    tells that the next one was lost.

    Args:
        store: The volume.
        listed: What `commit_count` gave just now; it is asked if not given.

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
    raise Resumable(f"{store.url} is committed to all the time; run this again when other runs have ended")


def commit_in(number: int, content: bytes) -> Commit:
    """Return a commit from what is stored."""
    first, _, document = content.partition(b"\n")
    checksum, _, before = first.decode(errors="replace").partition(" ")
    return Commit(number, document, checksum, before)


def promised_checksum(store: Store, number: int) -> str:
    """Return the CRC32C of the root in a commit, as the commit before it keeps it; empty where none does."""
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
    """Return what a commit holds that a root of that CRC32C took the place of, with a CRC32C of that and its number."""
    text = SUPERSEDED + f" {checksum}".encode()
    return text + f" {_checksum(text + f' {number}'.encode())}".encode()


def _supersede(store: WritableStore, number: int, document: bytes) -> None:
    """Mark the commit before `number` as superseded by it.

    It is emptied, not deleted: a run that was asleep must never be able to create a number again. What it keeps of
    `document` shows, if the commit is lost, that the root is what was committed.
    """
    if number > 1:
        store.put(f"{COMMITS}/{number - 1:08d}", superseded(number - 1, _checksum(document)))


def _in_force(store: Store, number: int) -> bytes:
    """Return a commit that nothing took the place of; empty if there is none of that number."""
    try:
        content = store.get(f"{COMMITS}/{number:08d}")
    except FileNotFoundError:
        return b""
    return b"" if content.startswith(SUPERSEDED) else content


def present_root(store: Store, where: str = ROOT) -> tuple[bytes, str]:
    """Return the root as readers find it and what tells it from others; both empty where there is none."""
    try:
        return store.get_seen(where)
    except FileNotFoundError:
        return b"", ""
    except IsADirectoryError:
        raise DestinationRefused(f"a folder lies in the place of {store.url}/{where}; move it away") from None


@dataclass(frozen=True)
class _Present:
    """The root and the commits, as the holder of the lock read them.

    Attributes:
        root: The root as readers find it; empty if there is none.
        identity: What tells it from others.
        newest: The newest commit.
        count: The highest number that a commit has.
    """

    root: bytes
    identity: str
    newest: Commit | None
    count: int


# What a run read when it took the volume is what it commits on: nobody else may change it meanwhile, and if somebody
# did, the number is taken, or the root is not the one that is replaced.
_present: dict[tuple[str, str], _Present] = {}  # by token of the lock and key of the root; the last few
MOST_PRESENT = 4


def _remember(store: Store, where: str, present: _Present) -> None:
    if token := held_token(store):
        while len(_present) >= MOST_PRESENT:
            _present.pop(next(iter(_present)), None)
        _present[token, where] = present


def _seen(store: Store, where: str) -> _Present:
    """Return what `present_root`, `newest_commit` and `commit_count` give, asked for together."""
    root, count = together(partial(present_root, store, where), partial(commit_count, store))
    return _Present(*root, newest_commit(store, count), count)


def known_root(store: Store) -> bytes:
    """Return the volume's root if this process holds the lock and committed or read it; else nothing."""
    known = _present.get((held_token(store), ROOT))
    return known.root if known else b""


def current_root(store: WritableStore, where: str = ROOT) -> dict[str, Any] | None:
    """Return the root as the newest commit has it, finishing that commit if it was interrupted; None if unpublished.

    Only the holder of the lock may call this.

    Args:
        store: The volume, or the group that has an annex.
        where: Key of the root: `ROOT` of a volume, `ANNEX` of an annex.

    Raises:
        DestinationRefused: There is something else than a volume of ours.
    """
    if known := _present.get((held_token(store), where)):
        return root_from(known.root, f"{store.url}/{where}") if known.root else None
    seen = _seen(store, where)
    present, identity, newest = seen.root, seen.identity, seen.newest
    if newest is None:
        if not present:
            _remember(store, where, seen)
            return None
        if _is_ours(present):
            raise IntegrityFailure(
                f"the commits of {store.url} are missing; run seismill verify --repair from_master on the volume"
            )
        raise DestinationRefused(
            f"{store.url} already holds a Zarr group that Seismill did not write; choose another volume"
        )
    if not present and promised_checksum(store, newest.number) == _checksum(b""):
        return None  # it was taken away, and only the commit that says so was lost
    if not present and newest == Commit(1, b"", "", ""):
        return None  # a run was killed between taking the name of the first commit and writing to it
    if newest.document != present or not (present or newest.whole):
        _refuse_damaged(store, newest, present, where)
    root = root_from(newest.document, f"{store.url}/{newest.key}") if newest.document else None
    if root is not None and where != root_key(root):
        raise DestinationRefused(
            f"{store.url} holds {'levels of an array of another tool' if is_annex(root) else 'a volume'}; name another "
            "place"
        )
    if newest.document != present:
        _supersede(store, newest.number, newest.document)
        _put_root(store, newest, identity, where)
    elif newest.number == seen.count:
        _remember(store, where, seen)
    return root


def _is_ours(present: bytes) -> bool:
    """Return whether a document is the root of a volume, though no commit says so."""
    try:
        return "seismill" in root_from(present, ROOT)["attributes"]
    except IntegrityFailure:
        return False


def _refuse_damaged(store: Store, newest: Commit, present: bytes, where: str) -> None:
    """Return if the newest commit may take the place of a root that differs: that commit was interrupted.

    Raises:
        IntegrityFailure: The commit or the root is not as it was written.
    """
    promised = promised_checksum(store, newest.number)
    if newest.whole and (
        _checksum(newest.document) == promised if promised else not present or newest.follows(present)
    ):
        return
    damaged = f"{store.url}/{newest.key}"
    if newest.whole and not promised:
        damaged = f"one of {store.url}/{where} and {newest.key}"
    raise IntegrityFailure(
        f"{damaged} is {'missing' if newest.missing else 'not as it was written'}; run seismill verify --repair "
        "from_master on the volume"
    )


def root_under_lock(store: WritableStore, seen: dict[str, Any]) -> dict[str, Any]:
    """Return the root now that nobody else can change it, after `seen` was planned with.

    Raises:
        InputRefused: There is no volume any more.
        Resumable: Its master is another one by now.
    """
    root = current_root(store, root_key(seen))
    if root is None and is_annex(seen):
        return seen
    if root is None:
        raise InputRefused(f"the volume at {store.url} was taken away meanwhile; publish it again")
    master = seen["attributes"]["attributes"]["defaultVariableName"]
    if is_annex(seen):  # its master was looked at just now, and no commit changes that
        state, looked = (r["attributes"]["seismill"] for r in (root, seen))
        state["annex"], state["levels"][0] = looked["annex"], looked["levels"][0]
        state["stages"][master], members(root)[master] = looked["stages"][master], members(seen)[master]
        return root
    before, now = (r["attributes"]["seismill"]["stages"].get(master) for r in (seen, root))
    if before != now:
        raise Resumable(f"the master of {store.url} was replaced meanwhile; run this again")
    return root


def commit(store: WritableStore, epoch: int, root: dict[str, Any] | None) -> None:
    """Make `root` the volume's root; None unpublishes it.

    Raises:
        Resumable: Another run owns the volume by now, or committed first.
    """
    if root is not None:
        metadata = members(root)
        root["consolidated_metadata"]["metadata"] = {path: metadata[path] for path in sorted(metadata)}
    content = b"" if root is None else document_bytes(root)
    # The root and the number come before the look at the epoch: a run that falls asleep anywhere from here on and loses
    # the volume meanwhile finds the number taken by the new owner's commit, or the root another one.
    where = ROOT if root is None else root_key(root)
    # Another run of this process may hold the volume by now.
    seen = _present.pop((held_token(store), where), None) if held_epoch(store) == epoch else None
    if seen is None or not _compares(store):
        seen = seen or _seen(store, where)
        check_epoch(store, epoch)
    else:
        recheck_epoch(store, epoch)
    new = Commit.of(max(seen.newest.number if seen.newest else 0, seen.count) + 1, content, seen.root)
    if not store.create(new.key, new.content):
        raise Resumable(f"another run committed to {store.url} first; run this again")
    # Neither of the two needs the other: whoever finds one undone finishes it.
    _, identity = together(
        partial(_supersede, store, new.number, content), partial(_put_root, store, new, seen.identity, where)
    )
    if (
        content and identity and _compares(store)
    ):  # the root was what it was before, so nobody committed meanwhile
        if identity != UNTOLD:
            _remember(store, where, _Present(content, identity, new, new.number))
        return
    if commit_count(store) > new.number and (newest := newest_commit(store)) and newest.number > new.number:
        # Asleep after all, where no store compares: what the new owner put is put again.
        with suppress(IntegrityFailure):  # its commit is under way, and puts the root itself
            current_root(store, where)
        raise Resumable(f"another run took over {store.url} while this one committed; look at that run")


def _compares(store: Store) -> bool:
    """Return whether the store itself compares and replaces an object in one step."""
    return not store.local and not store.options.accept_unconditional_writes


def _put_root(store: WritableStore, new: Commit, identity: str, where: str) -> str:
    """Put the root of a commit in the place of the one that was seen, unless a newer commit did that already.

    Returns:
        The identity of the root, if nothing else had been put there meanwhile.
    """
    if where == ANNEX:
        add_to_groups(store, root_from(new.document, f"{store.url}/{new.key}"))
    for number in range(ROUNDS):
        if swapped := _swapped(store, new.document, identity, where):
            return swapped if not number else ""
        newest = newest_commit(store)
        present, identity = present_root(store, where)
        if present == new.document or (newest and newest.number > new.number):
            return ""
    raise Resumable(f"something else keeps writing {store.url}/{where}; end it, and run this again")


def _swapped(store: WritableStore, document: bytes, identity: str, where: str) -> str:
    if document:
        return store.exchange(where, document, identity)
    if store.identity(where) != identity:
        return ""
    store.delete(where)
    return UNTOLD

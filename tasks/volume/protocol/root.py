"""The root of a volume, and how it changes: one document, put last, that makes everything else visible.

A commit is `.seismill/commits/<n>`, created and therefore unique, that holds the new root; whoever created it
puts the root. Whoever finds the newest commit different from the root finishes that put. So the root
is always some commit, whole, and a run that lost its ownership cannot change it: the root is put only where it still
is what it was before the commit, so that a put which was asleep for long on its way changes nothing any more.

A commit begins with a line of two checksums, of all that follows and of the root that it takes the place of: a wrong
bit is told from a commit that was interrupted, and never becomes the root.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tasks.volume.arrays.group_metadata import add_to_groups
from tasks.volume.arrays.groups import ANNEX, ROOT
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.blocks import together
from tasks.volume.limits import ROUNDS
from tasks.volume.outcomes import DestinationRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.commits import (
    COMMITS,
    Commit,
    checksum_of,
    commit_count,
    newest_commit,
    promised_checksum,
    superseded,
)
from tasks.volume.protocol.holdings import held_epoch, held_token
from tasks.volume.protocol.lock import check_epoch, recheck_epoch
from tasks.volume.store.backend import UNTOLD
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore


def _supersede(store: WritableStore, number: int, document: bytes) -> None:
    """Mark the commit before `number` as superseded by it.

    It is emptied, not deleted: a run that was asleep must never be able to create a number again. What it keeps of
    `document` shows, if the commit is lost, that the root is what was committed.
    """
    if number > 1:
        store.put(f"{COMMITS}/{number - 1:08d}", superseded(number - 1, checksum_of(document)))


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
        identity: Identity of the stored root, other for other content.
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
    """Return the volume's root if this process holds the lock and has committed or read it, else b""."""
    known = _present.get((held_token(store), ROOT))
    return known.root if known else b""


def current_root(store: WritableStore, where: str = ROOT) -> Root | None:
    """Return the root as the newest commit has it, finishing that commit if it was interrupted; None if unpublished.

    Only the holder of the lock may call this.

    Args:
        store: The volume, or the group that has an annex.
        where: Key of the root: `ROOT` of a volume, `ANNEX` of an annex.

    Raises:
        DestinationRefused: The place holds something else than a volume of Seismill.
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
    if not present and promised_checksum(store, newest.number) == checksum_of(b""):
        return None  # it was taken away, and only the commit that says so was lost
    if not present and newest == Commit(1, b"", "", ""):
        return None  # a run was killed between taking the name of the first commit and writing to it
    if newest.document != present or not (present or newest.whole):
        _refuse_damaged(store, newest, present, where)
    root = root_from(newest.document, f"{store.url}/{newest.key}") if newest.document else None
    if root is not None and where != root.key:
        raise DestinationRefused(f"{store.url} holds {root.group.kind}; name another place")
    if newest.document != present:
        _supersede(store, newest.number, newest.document)
        _put_root(store, newest, identity, where)
    elif newest.number == seen.count:
        _remember(store, where, seen)
    return root


def _is_ours(present: bytes) -> bool:
    """Return whether a document is the root of a volume, though no commit says so."""
    try:
        return root_from(present, ROOT).is_ours
    except IntegrityFailure:
        return False


def _refuse_damaged(store: Store, newest: Commit, present: bytes, where: str) -> None:
    """Check that the newest commit may take the place of a root that differs: that commit was interrupted.

    Raises:
        IntegrityFailure: The commit or the root is not as it was written.
    """
    promised = promised_checksum(store, newest.number)
    if newest.whole and (
        checksum_of(newest.document) == promised if promised else not present or newest.follows(present)
    ):
        return
    damaged = f"{store.url}/{newest.key}"
    if newest.whole and not promised:
        damaged = f"one of {store.url}/{where} and {newest.key}"
    raise IntegrityFailure(
        f"{damaged} is {'missing' if newest.missing else 'not as it was written'}; run seismill verify --repair "
        "from_master on the volume"
    )


def root_under_lock(store: WritableStore, seen: Root) -> Root:
    """Return the root now that nobody else can change it, after `seen` was planned with.

    Raises:
        InputRefused: The volume is gone.
        Resumable: The volume has another master by now.
    """
    return seen.group.renewed(store, current_root(store, seen.key), seen)


def commit(store: WritableStore, epoch: int, root: Root | None) -> None:
    """Make `root` the volume's root; None unpublishes it.

    Raises:
        Resumable: Another run owns the volume by now, or committed first.
    """
    content = b"" if root is None else root.content
    # The root and the number come before the look at the epoch: a run that falls asleep anywhere from here on and loses
    # the volume meanwhile finds the number taken by the new owner's commit, or the root another one.
    where = ROOT if root is None else root.key
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

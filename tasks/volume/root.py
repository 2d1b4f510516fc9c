"""The root of a volume, and how it changes: one document, put last, that makes everything else visible.

A commit is `.seismill/commits/<n>`, created and therefore unique, that holds the new root; whoever created it
puts the root. Whoever finds the newest commit different from the root finishes that put. So the root
is always some commit, whole, and a run that lost its ownership cannot change it.
"""

import json
from collections.abc import Mapping
from typing import Any

from tasks.volume.codecs import document_bytes
from tasks.volume.lock import check_epoch
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.store import Store

COMMITS = ".seismill/commits"
SUPERSEDED = b"superseded"
GROUP: dict[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}


def new_root(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """A root with no members yet."""
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


def newest_commit(store: Store) -> tuple[int, bytes | None]:
    """Number and content of the newest commit; 0 and None before the first."""
    numbers = [int(key.rsplit("/", 1)[1]) for key in store.keys(COMMITS)]
    if not numbers:
        return 0, None
    return max(numbers), store.get(f"{COMMITS}/{max(numbers):08d}")


def current_root(store: Store) -> dict[str, Any] | None:
    """The root as the newest commit has it, finishing that commit if it was interrupted; None if unpublished.

    Only the holder of the lock may call this.

    Raises:
        DestinationRefused: There is something else than a volume of ours.
    """
    _, content = newest_commit(store)
    try:
        present: bytes | None = store.get("zarr.json")
    except FileNotFoundError:
        present = None
    if content is None:
        if present is not None:
            raise DestinationRefused(
                f"{store.url} already holds a Zarr group that Seismill did not write; choose another volume"
            )
        return None
    if content == b"":
        if present is not None:
            store.delete("zarr.json")
        return None
    if content != present:
        store.put("zarr.json", content)
    root: dict[str, Any] = json.loads(content)
    return root


def root_under_lock(store: Store, seen: dict[str, Any]) -> dict[str, Any]:
    """The root now that nobody else can change it, after `seen` was planned with.

    Raises:
        InputRefused: There is no volume any more.
        Resumable: Its master is another one by now.
    """
    root = current_root(store)
    if root is None:
        raise InputRefused(f"the volume at {store.url} was taken away meanwhile; publish it again")
    master = seen["attributes"]["attributes"]["defaultVariableName"]
    before, now = (r["attributes"]["seismill"]["stages"].get(master) for r in (seen, root))
    if before != now:
        raise Resumable(f"the master of {store.url} was replaced meanwhile; run this again")
    return root


def commit(store: Store, epoch: int, root: dict[str, Any] | None) -> None:
    """Make `root` the volume's root; None unpublishes it.

    Raises:
        Resumable: Another run owns the volume by now, or committed first.
    """
    if root is not None:
        metadata = members(root)
        root["consolidated_metadata"]["metadata"] = {path: metadata[path] for path in sorted(metadata)}
    content = b"" if root is None else document_bytes(root)
    # The number comes before the look at the epoch: a run that falls asleep anywhere from here on and loses the volume
    # meanwhile finds the number taken by the new owner's commit.
    number, _ = newest_commit(store)
    check_epoch(store, epoch)
    if not store.create(f"{COMMITS}/{number + 1:08d}", content):
        raise Resumable(f"another run committed to {store.url} first; run this again")
    if number:
        # Emptied, not deleted: a number that was used must never be creatable again by a run that was asleep.
        store.put(f"{COMMITS}/{number:08d}", SUPERSEDED)
    if root is None:
        store.delete("zarr.json")
    else:
        store.put("zarr.json", content)

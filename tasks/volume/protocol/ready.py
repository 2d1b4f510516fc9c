"""Publish the arrays of a stage, in waves of writes that do not depend on one another.

The order is the protocol's: small objects; a listing, which reveals stray and missing chunks; each zarr.json; groups
above and manifests. `publish_root` writes the root afterwards.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import on_io
from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.deletion import Shown, chunk_folders, clear_run, clear_strays, strays_among
from tasks.volume.protocol.manifest import manifest_bytes, manifest_key
from tasks.volume.protocol.remembered import remember
from tasks.volume.protocol.stage import Stage
from tasks.volume.protocol.stored import Stored, StoredObjects
from tasks.volume.store.objects import Store

NOTHING = StoredObjects.of(())
PIECES_BYTES = 64 << 20  # of small objects in memory at once


@dataclass(frozen=True)
class Piece:
    """A small object that is not stored yet.

    Attributes:
        spec: The array.
        position: Position in the array's grid of objects.
        size: Bytes that it takes in memory while it is made, about.
        make: Returns its content.
    """

    spec: ArraySpec
    position: tuple[int, ...]
    size: int
    make: Callable[[], bytes]


@dataclass(frozen=True)
class Ready:
    """An array that can be made to exist: all its large objects are stored.

    Attributes:
        path: Path of the array.
        metadata: The zarr.json of the array.
        objects: Objects of its chunks that are stored.
        pieces: Parts of its chunks that are not stored yet.
    """

    path: str
    metadata: dict[str, Any]
    objects: StoredObjects = NOTHING
    pieces: Sequence[Piece] = ()


def put_arrays(
    stage: Stage,
    arrays: Sequence[Ready],
    groups: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    everything: bool = False,
) -> dict[str, dict[str, Any]]:
    """Make arrays exist, and groups above them.

    What does not depend on another goes out together, in this order: small objects; chunks that are not the arrays'
    own are removed; each zarr.json; groups and manifests.

    Args:
        stage: The stage, all of whose blocks are done.
        arrays: The arrays.
        groups: Attributes of groups, by path.
        everything: Whether the volume has no other arrays, so that one listing finds all their chunks.

    Returns:
        The metadata by path, as they enter the root.

    Raises:
        Resumable: An object that was stored is gone, or another run took over.
    """
    store = stage.store
    # The listing tells of the large objects, so it need not wait for the small ones.
    folders = chunk_folders(store, [ready.path for ready in arrays], everything=everything)
    shown = {ready.path: Shown.before(len(ready.metadata["shape"]), _with_small(ready)) for ready in arrays}
    looks = [partial(_look, store, folder, shown) for folder in folders]
    strays, put = _together(stage, looks, [piece for ready in arrays for piece in ready.pieces])
    small = {ready.path: list(itertools.islice(put, len(ready.pieces))) for ready in arrays}
    stage.ledger.flush()
    clear_strays(store, stage.epoch, strays)
    # Small objects went out together with the listing, which may lack them.
    gone = [key for ready in arrays for key in _unseen(shown[ready.path], small[ready.path])]
    if gone:
        # Not to be shown as whole. Without its ledger the next run does every block again.
        clear_run(store, stage.epoch, stage.plan.digest, ("ledger",))
        raise Resumable(
            f"{len(gone)} objects that this run stored are gone from {store.url}, such as {min(gone)}; find out what "
            "removes objects there, and run the same command again"
        )
    documents = {f"{ready.path}/zarr.json": document_bytes(ready.metadata) for ready in arrays}
    on_io(lambda pair: stage.settle(*pair), documents.items())
    described = {
        path: GROUP | {"attributes": dict(attributes)} for path, attributes in (groups or {}).items()
    }
    last = {f"{path}/zarr.json": document_bytes(group) for path, group in described.items()}
    for ready in arrays:
        key = f"{ready.path}/zarr.json"
        chunks = StoredObjects.joined([ready.objects, StoredObjects.of(small[ready.path])])
        metadata = Stored.document(key, documents[key])
        last[manifest_key(ready.path)] = manifest_bytes(ready.path, chunks, metadata)
    on_io(lambda pair: stage.settle(*pair), last.items())
    return {ready.path: dict(ready.metadata) for ready in arrays} | described


def _with_small(ready: Ready) -> StoredObjects:
    """Return the objects of an array, and the keys of those that are not stored yet."""
    keys = (piece.spec.key(piece.position) for piece in ready.pieces)
    return StoredObjects.joined([ready.objects, StoredObjects.of(Stored(key, 0, 0) for key in keys)])


def _look(store: Store, folder: str, shown: Mapping[str, Shown]) -> list[str]:
    return strays_among(store.each_key(folder), shown)


def _unseen(shown: Shown, small: Sequence[Stored]) -> list[str]:
    """Return the keys of large objects that the listing lacks."""
    lacking = {key.decode() for key in shown.objects.keys[~shown.seen].tolist()}
    return sorted(lacking - {stored.key for stored in small})


def _together(
    stage: Stage, looks: Sequence[Callable[[], list[str]]], pieces: Sequence[Piece]
) -> tuple[list[str], Iterator[Stored]]:
    """Compare listings and store small objects, in batches that fit in the unplanned memory.

    Args:
        stage: The stage.
        looks: Each lists a folder, and returns what is not the arrays' own.
        pieces: The small objects.

    Returns:
        All that `looks` return, and the small objects as stored, in order.
    """

    def put(piece: Piece) -> Stored:
        data = piece.make()
        key = piece.spec.key(piece.position)
        stage.settle(key, data)
        remember(stage.store, key, data)
        return Stored.chunk(piece.spec, piece.position, data)

    batches: list[list[Piece]] = [[]]
    for piece in pieces:
        if sum(other.size for other in batches[-1]) + piece.size > PIECES_BYTES:
            batches.append([])
        batches[-1].append(piece)
    strays: list[str] = []
    stored: list[Stored] = []
    for number, batch in enumerate(batches):
        first = list(looks) if not number else []
        calls: list[Callable[[], Any]] = [*first, *(partial(put, piece) for piece in batch)]
        answers = on_io(lambda call: call(), calls)
        strays += [key for some in answers[: len(first)] for key in some]
        stored += answers[len(first) :]
    return strays, iter(stored)

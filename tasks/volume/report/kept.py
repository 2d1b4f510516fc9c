"""The report stored in a volume: recognised by a digest of its inputs, replaced as a whole.

Nothing here needs matplotlib, so checking that a report is up to date is cheap.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import on_io
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.deletion import clear_report
from tasks.volume.protocol.manifest import REPORT, REPORT_FACTS, REPORT_LIST, listed_at, listing_bytes
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.stored import Stored
from tasks.volume.report import ahead, slices
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

LAYOUT = 2  # of pages and pictures: raised when those of the same volume look otherwise


def name_of(volume: Volume) -> str:
    """Return the name in a report's title: the last part of the volume's URL."""
    return volume.store.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")


def made_of(volume: Volume) -> str:
    """Return a digest of all that a report shows: the root, the name, another tool's array, and the limits."""
    limits = [slices.SLICE_BYTES, slices.SLICE_SAMPLES, slices.DETAIL_BYTES, ahead.SAMPLE_BYTES]
    facts = {
        "layout": LAYOUT,
        "name": name_of(volume),
        "root": volume.root.document,
        "limits": limits,
    }
    return digest_of(facts | volume.root.group.state_of_master(volume))


def directions(volume: Volume) -> dict[str, tuple[int, int]]:
    """Return the slices that are shown: the two axes of each, by name.

    In volumes of more than three dimensions the leading ones are fixed at their middle. A slice that would be a
    single line of samples is left out, unless there is no other.

    Raises:
        InputRefused: The master has one dimension.
    """
    spec = volume.spec(volume.master)
    rank = len(spec.shape)
    if rank < 2:
        raise InputRefused(f"the master of {volume.store.url} has {rank} dimension; a report needs 2 or more")
    if rank == 2:
        return {"section": (0, 1)}
    first, second, third = range(rank - 3, rank)
    every = [
        (spec.dims[first], (second, third)),
        (spec.dims[second], (first, third)),
        (spec.dims[third], (first, second)),
    ]
    wide = [(name, axes) for name, axes in every if min(spec.shape[a] for a in axes) > 1]
    return dict(wide or [max(every, key=lambda item: spec.shape[item[1][1]])])


def kept_report(store: Store, digest: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the facts of a volume's report, None unless it is whole and up to date; and the keys of its files."""
    listed = _listed(store)
    keys = [stored.key for stored in listed]
    return _facts(store, digest, listed) if REPORT_FACTS in keys else None, keys


def _facts(store: Store, digest: str, listed: Sequence[Stored]) -> dict[str, Any] | None:
    contents = on_io(lambda stored: _content(store, stored.key), listed)
    for stored, content in zip(listed, contents, strict=True):
        if not stored.fits(content):
            return None
    by_key = {stored.key: content for stored, content in zip(listed, contents, strict=True)}
    facts: dict[str, Any] = json.loads(by_key[REPORT_FACTS] or b"{}")
    return facts if facts.get("made_of") == digest else None


def keep_report(store: WritableStore, epoch: int, files: Mapping[str, bytes], before: Sequence[str]) -> None:
    """Replace the report; no file of the earlier one is left.

    Args:
        store: The volume.
        epoch: Epoch of the lock.
        files: Content of each file, by name.
        before: Keys of the files of the report before.
    """
    keys = {f"{REPORT}/{name}": data for name, data in files.items()}
    on_io(lambda item: store.put(*item), keys.items())
    listed = [Stored.document(key, data) for key, data in keys.items()]
    store.put(REPORT_LIST, listing_bytes(REPORT_LIST, listed))
    clear_report(store, epoch, [*before], keep=[*keys, REPORT_LIST])


def _listed(store: Store) -> Sequence[Stored]:
    """Return the files of the report in a volume; none if it has no whole list."""
    content = _content(store, REPORT_LIST)
    return (listed_at(REPORT_LIST, content) or []) if content is not None else []


def _content(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except (FileNotFoundError, IsADirectoryError):
        return None

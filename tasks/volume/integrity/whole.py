"""Read all input of a new array once, before the array that it replaces is removed.

The old copy or level may be the last good data: it goes only when the new can be made.
"""

import time

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec, round_up
from tasks.volume.blocks import Compute, Progress, regions
from tasks.volume.integrity.check import checked, fetch
from tasks.volume.integrity.entries import Entries, ManifestEntry
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.protocol.manifest import listed_in, manifest_key
from tasks.volume.protocol.stored import StoredObjects

AT_ONCE_BYTES = 64 << 20  # of samples of another tool's array


def refuse_damaged(volume: Volume, compute: Compute) -> None:
    """Check that the master, the trace mask and the coordinates are as they were written.

    An array that another tool wrote has no manifest; it is decoded instead.

    Raises:
        IntegrityFailure: An object is not as it was written, or does not decode.
        Resumable: The run was asked to stop.
    """
    master = volume.spec(volume.master)
    if volume.origin:
        _decode(volume, master, compute)
        return
    began, done = time.monotonic(), 0
    paths = [path for path in (volume.master, "trace_mask", *master.dims) if volume.has(path)]
    entries = Entries([(path, _listed(volume, path)) for path in paths])

    def on_batch(some: list[ManifestEntry]) -> None:
        nonlocal done
        _stop(volume, compute)
        done += len(some)
        compute.report(Progress("compare", done, len(entries), 0, time.monotonic() - began))

    for findings in checked(volume, entries, compute.memory_bytes // 4, on_batch):
        for finding in findings:
            raise IntegrityFailure(
                f"{volume.store.url}/{finding.key} {finding.problem}, so nothing was replaced; run "
                f"seismill verify {volume.store.url} --repair from_source, then the same command again"
            )


def _listed(volume: Volume, path: str) -> StoredObjects:
    text = fetch(volume.store, manifest_key(path))
    listed = None if text is None else listed_in(path, text)
    if listed is None:
        raise IntegrityFailure(
            f"{volume.store.url}/{manifest_key(path)} is missing or damaged, so nothing was replaced; run "
            f"seismill verify {volume.store.url} --repair from_master, then the same command again"
        )
    return listed


def _decode(volume: Volume, master: ArraySpec, compute: Compute) -> None:
    store, began = volume.store_of(volume.master), time.monotonic()
    block, axis = list(master.unit), len(master.shape) - 1
    while axis >= 0:  # whole objects, as many of them along the last axes as there is room for
        room = AT_ONCE_BYTES // max(1, _bytes(master, block))
        block[axis] = min(round_up(master.shape[axis], master.unit[axis]), block[axis] * max(1, room))
        axis -= 1
    parts = list(regions(master.shape, tuple(block)))
    for done, region in enumerate(parts, start=1):
        _stop(volume, compute)
        read_region(store, master, region)
        compute.report(Progress("compare", done, len(parts), 0, time.monotonic() - began))


def _bytes(spec: ArraySpec, block: list[int]) -> int:
    size = spec.numpy.itemsize
    for n in block:
        size *= n
    return size


def _stop(volume: Volume, compute: Compute) -> None:
    if compute.stopping.is_set():
        raise Resumable(f"the run stopped while {volume.store.url} was read; run the same command again")

"""Build the summary of a verb, and the default compute."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tasks.parameters import Run
from tasks.volume.arrays.codecs import tolerance_of
from tasks.volume.arrays.spec import MEASURED, ArraySpec, spec_of
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, block_count
from tasks.volume.memory import enough_mb, memory_budget
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.lock import keeps_locks
from tasks.volume.protocol.remembered import keep_at_most
from tasks.volume.protocol.stage import Stage
from tasks.volume.store.objects import Store, Traffic, traffic

# What a process of a run holds beside blocks: interpreter, libraries, and the report's pictures (measured).
PROCESS_BYTES = 370 << 20
OBJECT_BYTES = 400  # of the driver for each stored object: its record, the listing, the manifest
KEPT_SHARE = 0.25  # of a run's memory, for chunks that further stages read
KEPT_OF_LOSSY = 0.3  # of the samples of lossy copies; of others that many bytes may be stored


@contextmanager
def using(compute: Compute | None, run: Run) -> Iterator[Compute]:
    """Yield the compute given, or two threads of this process."""
    if compute is not None:
        yield compute
        return
    with ThreadPoolExecutor(2, thread_name_prefix="block") as executor:
        yield Compute(executor, 2, memory_budget(run.memory))


def fitting(compute: Compute, block_bytes: int, what: str, *, most: int = 0) -> Compute:
    """Return the compute, limited to the blocks in flight that fit in memory, and to `most` (0: any number).

    Raises:
        InputRefused: Not even one block fits.
    """
    fit = compute.memory_bytes // max(1, block_bytes)
    if fit < 1:
        raise InputRefused(
            f"{what} needs {enough_mb(block_bytes)}, but the run may use {compute.memory_bytes / 1e6:,.0f} MB; "
            f"give it {enough_mb(block_bytes)} or use smaller chunks"
        )
    workers = min(compute.workers, fit, most or fit)
    taken = workers * block_bytes
    if compute.needs is None:
        keep_at_most(min(kept_bytes(compute), compute.memory_bytes - taken))
    else:
        compute.needs.append(taken)
    return replace(compute, workers=workers)


def kept_bytes(compute: Compute) -> int:
    """Return the most bytes of chunks that a publication keeps in memory from one stage to the next."""
    return min(compute.limits.kept_bytes, int(compute.memory_bytes * KEPT_SHARE)) if compute.in_process else 0


def promised(compute: Compute, store: Store, arrays: Sequence[ArraySpec]) -> dict[str, int]:
    """Return what a whole run takes at most: process, blocks in flight of the largest stage, objects, chunks it keeps.

    Args:
        compute: Place where blocks run, with the needs of all stages.
        store: The volume; only in a cloud are its chunks kept.
        arrays: Its arrays.

    Returns:
        `peak_bytes`, and `kept_bytes` of it for chunks.
    """
    blocks, kept = max(compute.needs or [0]), 0
    if keeps_locks() and not store.local:
        room = max(0, compute.memory_bytes - blocks)
        stored = sum(spec.raw_bytes * (KEPT_OF_LOSSY if tolerance_of(spec) else 1.0) for spec in arrays)
        kept = min(kept_bytes(compute), room, int(stored))
    objects = OBJECT_BYTES * sum(block_count(spec.shape, spec.unit) for spec in arrays)
    return {"peak_bytes": PROCESS_BYTES + blocks + objects + kept, "kept_bytes": kept}


def planned_row(spec: ArraySpec) -> dict[str, Any]:
    """Return the row of an array in a dry run."""
    return {
        "path": spec.path,
        "shape": spec.shape,
        "chunks": spec.chunks,
        "shards": spec.shards,
        "dtype": spec.dtype,
        "raw_bytes": spec.raw_bytes,
        "objects": block_count(spec.shape, spec.unit),
    }


def array_rows(root: Root, paths: list[str]) -> list[dict[str, Any]]:
    """Return one row per array: shape, sizes, and errors where they were measured."""
    rows = []
    for path in paths:
        spec, attributes = spec_of(path, root.members[path]), root.members[path]["attributes"]
        raw, stored = attributes.get("raw_bytes", spec.raw_bytes), attributes.get("stored_bytes", 0)
        row = {
            "path": path,
            "shape": list(spec.shape),
            "chunks": list(spec.chunks),
            "shards": list(spec.shards),
            "dtype": spec.dtype,
            "codec": spec.codec,
            "raw_bytes": raw,
            "stored_bytes": stored,
            "ratio": raw / stored if stored else 0.0,
        }
        rows.append(row | {name: attributes[name] for name in (*MEASURED, "ratio") if name in attributes})
    return rows


def ended(
    store: Store,
    name: str,
    arrays: list[dict[str, Any]],
    began: float,
    before: Traffic,
    *,
    stage: Stage | None = None,
    notes: list[str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the summary of a stage that ended well."""
    spent = traffic.since(before)
    return {
        "volume": store.url,
        "stage": name,
        "arrays": arrays,
        "blocks_done": len(stage.ledger.records) - stage.resumed if stage else 0,
        "blocks_resumed": stage.resumed if stage else 0,
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "bytes_written": spent.bytes_written,
        "notes": notes or [],
        **more,
    }

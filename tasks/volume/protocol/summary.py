"""Build the summary of a verb, and the default compute."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tasks.parameters import Run
from tasks.volume.arrays.spec import MEASURED, ArraySpec, spec_of
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, block_count
from tasks.volume.memory import enough_mb, memory_budget
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.stage import Stage
from tasks.volume.store.objects import Store, Traffic, traffic

# What a process of a run holds beside blocks: interpreter, libraries, and the report's pictures (measured).
PROCESS_BYTES = 370 << 20


@contextmanager
def using(compute: Compute | None, run: Run) -> Iterator[Compute]:
    """Yield the compute given, or two threads of this process."""
    if compute is not None:
        yield compute
        return
    with ThreadPoolExecutor(2, thread_name_prefix="block") as executor:
        yield Compute(executor, 2, memory_budget(run.memory))


def fitting(compute: Compute, block_bytes: int, what: str, *, most: int = 0) -> Compute:
    """Return the compute with as many blocks in flight as fit in its memory, and as `most` allows (0: any number).

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
    if compute.needs is not None:
        compute.needs.append(workers * block_bytes)
    return replace(compute, workers=workers)


def peak_bytes(compute: Compute) -> int:
    """Return what a whole run is to take at most: its process, and the blocks in flight of its largest stage."""
    return PROCESS_BYTES + max(compute.needs or [0])


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

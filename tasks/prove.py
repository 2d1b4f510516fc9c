"""Prove that a volume gives its source back: stream the export through the source's checksums, writing nothing.

After this the staging copy of the file may be deleted, and `proven_at` says so.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from tasks.parameters import Run, Url
from tasks.volume.blocks import Compute, Progress
from tasks.volume.lock import locked
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.reader import Volume, open_volume
from tasks.volume.rebuild import fitting_windows, open_parts, rebuilt_windows
from tasks.volume.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.root import commit, current_root
from tasks.volume.store import Store, traffic
from tasks.volume.summary import ended, fitting, using

log = logging.getLogger(__name__)


def prove(volume: Url, run: Run = Run(), *, compute: Compute | None = None) -> dict[str, Any]:
    """Show that exporting the volume gives its source's bytes, and record when that was shown.

    Args:
        volume: The published volume.
        run: How to run.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `proven_at` and `crc32c`.

    Raises:
        InputRefused: There is no volume, or it was not made from SEG-Y.
        IntegrityFailure: Some part of the file would not come back as it was.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    found = open_volume(store)
    if proven := found.state.get("proven_at"):
        if not run.dry_run and found.state.get("proven_plan") == found.state["stages"][found.master]["plan"]:
            return ended(store, "proof", [], began, before, proven_at=proven, notes=["was done already"])
    if run.dry_run:
        return {"dry_run": True, "volume": store.url, "stage": "proof", "arrays": [], "notes": []}
    with using(compute, run) as compute:
        crc = prove_bytes(found, compute)
    with locked(store, wait_seconds=run.lock_wait, say=log.info) as epoch:
        root = current_root(store)
        if root is None or root["attributes"]["seismill"]["stages"] != found.state["stages"]:
            raise InputRefused(f"the volume at {store.url} changed while it was proven; prove it again")
        state = root["attributes"]["seismill"]
        # A fixed time stamp stands for the whole run, so that two runs of one plan end with the same bytes.
        state["proven_at"] = run.created_on or datetime.now(UTC).isoformat()
        state["proven_plan"] = state["stages"][found.master]["plan"]
        commit(store, epoch, root)
    log.info("%s: proven, crc32c %s", store.url, crc)
    return ended(store, "proof", [], began, before, proven_at=state["proven_at"], crc32c=crc)


def prove_bytes(volume: Volume, compute: Compute) -> str:
    """The CRC32C of the file that an export would write, after comparing every part with the source's.

    Raises:
        IntegrityFailure: A part differs.
    """
    parts = open_parts(volume)
    fmt = parts.fmt
    regions, _, need = fitting_windows(parts, compute.memory_bytes)
    compute = fitting(compute, need, "a window of the proof")
    segments: list[Segment] = checksums(np.frombuffer(parts.header, np.uint8), 0)
    began = time.monotonic()
    for number, rebuilt in enumerate(rebuilt_windows(parts, regions, compute), start=1):
        for first, records in rebuilt.stretches():
            segments += checksums(records.reshape(-1), fmt.trace_offset(first))
        compute.report(Progress("proof", number, len(regions), number, time.monotonic() - began))
    if parts.trailer:
        segments += checksums(np.frombuffer(parts.trailer, np.uint8), fmt.trace_offset(fmt.n_traces))
    sums, whole = whole_checksums(segments, parts.size)
    expected = [int(text, 16) for text in parts.source["crc32c_parts"]]
    wrong = [i for i, (got, wanted) in enumerate(zip(sums, expected, strict=True)) if got != wanted]
    if wrong or f"{whole:08x}" != parts.source["crc32c"]:
        where = ", ".join(f"{i * PART_BYTES:,} to {min((i + 1) * PART_BYTES, parts.size):,}" for i in wrong[:5])
        raise IntegrityFailure(
            f"{volume.store.url} does not give back bytes {where or 'of its source'} of {parts.source['url']}; keep the "
            "source and run seismill verify"
        )
    return f"{whole:08x}"

"""Prove that a volume gives its source back: stream the export through the source's checksums, writing nothing.

After this the staging copy of the file may be deleted, and `proven_at` says so.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import open_volume
from tasks.volume.blocks import Compute
from tasks.volume.export.proof import prove_bytes
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.root import commit, current_root
from tasks.volume.protocol.summary import ended, using
from tasks.volume.store.objects import Store, traffic

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

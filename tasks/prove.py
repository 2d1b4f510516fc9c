"""Prove that a volume holds everything its source does, and record the time of the proof; nothing else is written.

For SEG-Y, the export is computed and compared with the source's checksums. After this the staging copy of the file
may be deleted, and `proven_at` says so. For images, the source is read again and each voxel compared, which
`compared_at` records. A volume cannot reproduce an image file (its tags, its compression), so it never has
`proven_at`.
"""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import open_volume
from tasks.volume.blocks import Compute
from tasks.volume.export.proof import prove_bytes
from tasks.volume.integrity.from_volume import plan_of_master
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.owner import held
from tasks.volume.protocol.root import commit, current_root, known_root
from tasks.volume.protocol.summary import ended, using
from tasks.volume.stacks.comparison import prove_voxels
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)


def prove(volume: Url, run: Run = Run(), *, compute: Compute | None = None) -> dict[str, Any]:
    """Prove that an export would equal the source byte for byte; for images, that every voxel equals its source.

    Args:
        volume: The volume.
        run: Settings of the run; none changes the data.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `proven_at` and `crc32c`, or with `compared_at` and `compared_voxels`.

    Raises:
        InputRefused: There is no volume, or its source images are missing or changed.
        IntegrityFailure: Some part of the exported file would differ, or a voxel differs.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    opened = open_volume(store, known_root(store))
    if opened.left_out:
        raise InputRefused(
            f"{store.url} holds copies without the lossless array {opened.left_out}, so it cannot give its source "
            "back; prove the volume that it was copied from"
        )
    images = plan_of_master(opened) if opened.of_images else None
    name = "compared" if images else "proven"
    at, by = f"{name}_at", f"{name}_plan"
    state = opened.state
    shown, plan = (state.compared_at, state.compared_plan) if images else (state.proven_at, state.proven_plan)
    if shown and not run.dry_run:
        if plan == opened.master_plan:
            return ended(
                store, "proof", [], began, before, notes=["was done already"], **dict[str, Any]({at: shown})
            )
    if run.dry_run:
        return {"dry_run": True, "volume": store.url, "stage": "proof", "arrays": [], "notes": []}
    with using(compute, run) as compute:
        if images:
            result: dict[str, Any] = {"compared_voxels": prove_voxels(opened, images, compute)}
        else:
            result = {"crc32c": prove_bytes(opened, compute)}
    with held(store, run) as (writable, epoch):
        root = current_root(writable)
        if root is None or root.state.stages != state.stages:
            raise InputRefused(f"the volume at {store.url} changed during the proof; prove it again")
        # A fixed time stamp stands for the whole run, so that two runs of one plan end with the same bytes.
        shown = run.created_on or datetime.now(UTC).isoformat()
        commit(writable, epoch, root.with_state(**{at: shown, by: opened.master_plan}))
    log.info("%s: %s, %s", store.url, name, result)
    return ended(store, "proof", [], began, before, **result | {at: shown})

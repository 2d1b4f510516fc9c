"""Write a volume and its levels as a plain OME-Zarr 0.4 group, for viewers that read nothing newer."""

import time
from typing import Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import open_any
from tasks.volume.blocks import Compute
from tasks.volume.export.ome_group import export_group, ome_group_of
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.place import refuse_inside_volume
from tasks.volume.protocol.summary import ended, fitting, planned_row, using
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.writable import WritableStore


def export_ome(
    volume: Url, target: Url, run: Run = Run(), *, compute: Compute | None = None
) -> dict[str, Any]:
    """Write a volume and its levels as a plain OME-Zarr 0.4 group (Zarr v2); a second run goes on with the first.

    Args:
        volume: The published volume, or a group of another tool with levels of ours.
        target: Place of the group: empty, and outside of every volume.
        run: Settings of the run.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `target`, `objects` and `levels`.

    Raises:
        InputRefused: There is no volume, or OME-Zarr does not describe it.
        DestinationRefused: The target holds something else.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    found, place = open_any(Store(volume, run.storage_options)), WritableStore(target, run.storage_options)
    group = ome_group_of(found)
    rows = [planned_row(spec) for spec in group.targets]
    if place.is_file:
        raise DestinationRefused(f"{place.url} is a file; name a place that does not exist yet")
    refuse_inside_volume(place)
    if run.dry_run:
        return {
            "dry_run": True,
            "volume": found.store.url,
            "stage": "export_ome",
            "target": place.url,
            "arrays": rows,
            "notes": [],
        }
    with using(compute, run) as compute:
        fitting(compute, group.memory_bytes, "a block of voxels to export")
        written, there = export_group(group, place, compute)
    notes = [f"{there:,} chunks were there already"] if there else []
    return ended(
        found.store,
        "export_ome",
        rows,
        began,
        before,
        notes=notes,
        target=place.url,
        objects=written + there,
        levels=len(rows),
    )

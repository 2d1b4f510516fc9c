"""Write a volume and its levels as a plain OME-Zarr 0.4 group, for viewers that read nothing newer."""

import time
from typing import Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import open_any
from tasks.volume.blocks import Compute
from tasks.volume.export.ome_group import OmeGroup, export_group, ome_group_of, refuse_other
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.label_list import labels_gone
from tasks.volume.protocol.place import refuse_inside_volume, refuse_no_bucket
from tasks.volume.protocol.summary import ended, fitting, planned_row, using
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.writable import WritableStore


def export_ome(
    volume: Url, target: Url, run: Run = Run(), *, compute: Compute | None = None
) -> dict[str, Any]:
    """Write a volume and its levels as a plain OME-Zarr 0.4 group (Zarr v2), for viewers that read nothing newer.

    Run it again to resume an export that was stopped.

    Args:
        volume: The volume, or another tool's group with levels.
        target: The group to write: an empty place outside of every volume.
        run: Settings of the run; none changes the data.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `target`, `objects` and `levels`.

    Raises:
        InputRefused: There is no volume, or OME-Zarr does not describe it.
        DestinationRefused: The target holds something else.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    opened, place = open_any(Store(volume, run.storage_options)), WritableStore(target, run.storage_options)
    group = ome_group_of(opened)
    rows = [planned_row(spec) for spec in group.arrays]
    notes = labels_gone(opened, group.labels) + [
        f"the labels {name} have {len(labels.targets)} levels, and their image {len(group.targets)}, which "
        f"validators refuse; {_as_many(group, labels)}, and export again to another place"
        for name, labels in group.labels.items()
        if len(labels.targets) != len(group.targets)
    ]
    if place.is_file:
        raise DestinationRefused(f"{place.url} is a file; name a place that does not exist yet")
    refuse_inside_volume(place)
    if run.dry_run:
        refuse_no_bucket(place)
        refuse_other(place, set(place.keys("")), group.note)
        return {
            "dry_run": True,
            "volume": opened.store.url,
            "stage": "export_ome",
            "target": place.url,
            "arrays": rows,
            "notes": notes,
        }
    with using(compute, run) as compute:
        fitting(compute, group.memory_bytes, "a block of voxels to export")
        written, there = export_group(group, place, compute)
    notes += [f"{there:,} chunks were there already"] if there else []
    return ended(
        opened.store,
        "export_ome",
        rows,
        began,
        before,
        notes=notes,
        target=place.url,
        objects=written + there,
        levels=len(group.targets),
    )


def _as_many(group: OmeGroup, labels: OmeGroup) -> str:
    """Return the command that makes labels and their image have equally many levels."""
    # No command takes all levels away: an image without any gets those of its labels.
    changed, like = (labels, group) if len(group.targets) > 1 else (group, labels)
    instead = " --overwrite" if len(changed.targets) > 1 else ""
    return (
        f"make as many with seismill pyramid {changed.volume.store.url} "
        f"--levels {len(like.targets) - 1} --until 1{instead}"
    )

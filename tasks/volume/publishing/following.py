"""Plan the copies and levels of a master that is not written yet, so that a publication is refused as a whole or not.

Shapes, chunks, names and memory of what follows depend on the master's array alone, and not on its samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.parameters import Following
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute
from tasks.volume.copies.plan import copy_specs, planned_copies
from tasks.volume.protocol.plan import FORMAT
from tasks.volume.protocol.summary import fitting
from tasks.volume.pyramid.levels import block_memory, level_specs
from tasks.volume.store.objects import Store

# A master whose samples vary, as far as plans ask for it: a tolerance is chosen from the true ones, later.
VARYING = {"min": -1.0, "max": 1.0, "mean": 0.0, "std": 1.0}


@dataclass(frozen=True)
class OfVoxels:
    """Fields of an image volume's root that plans need; empty for a survey.

    Attributes:
        attributes: Attributes of the master, beside its statistics.
        looks: Display attributes of the root, for `ome_attributes`.
    """

    attributes: Mapping[str, Any] = field(default_factory=dict)
    looks: Mapping[str, Any] = field(default_factory=dict)


def lossless_arrays(following: Following | None) -> int:
    """Return the number of lossless arrays that are stored, including the master."""
    copies = following.copies if following else None
    return 1 + (len(copies.presets) + len(copies.more) if copies and copies.quality == "lossless" else 0)


def plan_following(
    store: Store,
    master: ArraySpec,
    following: Following,
    compute: Compute,
    voxels: OfVoxels = OfVoxels(),
) -> list[ArraySpec]:
    """Plan the copies and levels that follow a master, and check that all can be made.

    Args:
        store: Store of the volume.
        master: Lossless array of the volume.
        following: Requested stages.
        compute: Place where blocks run, with the memory of the run.
        voxels: Attributes that images give the master and the root; empty for a survey.

    Raises:
        InputRefused: A parameter does not fit the master, or memory does not hold one block of a stage.
    """
    volume = _unwritten(store, master, voxels)
    copies: list[ArraySpec] = []
    levels: list[ArraySpec] = []
    if following.copies is not None:
        copies = copy_specs(volume, following.copies, compute.limits, local=store.local)
        if copies:  # all of them, in the shards that memory holds
            copies = planned_copies(volume, copies, compute)[0]
    if following.levels is not None:
        specs, factors, passes = level_specs(volume, following.levels, compute.limits, local=store.local)
        need = block_memory(specs, factors, passes, local=store.local)
        fitting(compute, need, "a block of samples and the levels made of it")
        levels = specs[1:]
    return [*copies, *levels]


def _unwritten(store: Store, master: ArraySpec, voxels: OfVoxels) -> Volume:
    """Return a volume that has the master alone."""
    level = {
        "path": master.path,
        "scale": [1.0] * len(master.shape),
        "translation": [0.0] * len(master.shape),
    }
    root = Root.new(
        {
            "attributes": {"defaultVariableName": master.path},
            "seismill": {
                "format": FORMAT,
                "writer": "",
                "created_on": "",
                "levels": [level],
                "stages": {master.path: {"plan": ""}},
                "sources": [],
            }
            | ({"looks": dict(voxels.looks)} if voxels.looks else {}),
        }
    )
    metadata = metadata_of(master, VARYING | dict(voxels.attributes))
    return Volume(store, root.with_members({master.path: metadata}))

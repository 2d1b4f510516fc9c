"""What a pyramid decides before it writes: the levels, how they are made, and the request.

The request is a digest of all of that. Levels that were made by the same request are left as they are.
"""

from dataclasses import dataclass, replace
from typing import Any

from tasks.parameters import Levels
from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.meaning import Meaning
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute
from tasks.volume.limits import Limits
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.foreign_target import foreign_meaning
from tasks.volume.protocol.holdings import held_epoch
from tasks.volume.protocol.place import refuse_taken
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.summary import fitting
from tasks.volume.pyramid.levels import block_memory, how_levels_differ, level_specs, method_of
from tasks.volume.pyramid.plan import Pass


@dataclass(frozen=True)
class LevelsRequest:
    """Levels of a master as they are to be stored.

    Attributes:
        opened: The volume, or the array of another tool, as it was opened before the lock.
        specs: The master and its levels, finest first.
        factors: Factors from each of these to the next.
        passes: What makes the levels.
        method: How values are combined: their mean, or the first of each cell.
        meaning: What the values of another tool's array mean.
    """

    opened: Volume
    specs: list[ArraySpec]
    factors: list[tuple[int, ...]]
    passes: list[Pass]
    method: str
    meaning: Meaning

    @property
    def paths(self) -> list[str]:
        """Return the paths of the levels."""
        return [spec.path for spec in self.specs[1:]]

    def body(self, root: Root) -> dict[str, Any]:
        """Return the body of the plan for a volume with this root."""
        volume = Volume(self.opened.store, root)
        gaps = {"gaps": replace(self.meaning, carried={}).to_json()} if self.meaning.has_gaps else {}
        return {
            "verb": "pyramid",
            "master": volume.state.stages[self.specs[0].path].plan,
            "origin": self.opened.origin,
            "mask": volume.spec("trace_mask").to_json() if volume.has("trace_mask") else None,
            "factors": self.factors,
            "method": self.method,
            "arrays": [spec.to_json() for spec in self.specs],
            "passes": [step.to_json() for step in self.passes],
        } | gaps

    def fit(self, compute: Compute) -> Compute:
        """Return where blocks run, with as many at a time as memory holds; unchanged if the levels exist.

        Raises:
            InputRefused: Memory does not hold one block.
        """
        if request_of(self.opened.root) == digest_of(self.body(self.opened.root)):
            return compute
        need = block_memory(self.specs, self.factors, self.passes, local=self.opened.store.local)
        if self.meaning.has_gaps:  # values are made floats with NaN for a while
            need += need * 16 // self.specs[0].numpy.itemsize
        return fitting(compute, need, "a block of samples and what is made of it")

    def refuse_others(self, root: Root, *, overwrite: bool) -> None:
        """Check that the levels may be written where a volume with this root lies.

        Raises:
            DestinationRefused: Other levels exist and may not be replaced, or other programs' objects are in the way.
            InputRefused: No level would replace those that exist.
        """
        store, exist = self.opened.store, bool(request_of(root))
        if exist and not overwrite:
            differences = how_levels_differ(Volume(store, root), self.specs[1:])
            raise DestinationRefused(
                f"{store.url} has other pyramid levels ({differences}); replace them with --overwrite, or leave them "
                "as they are"
            )
        if exist and not self.paths:
            raise InputRefused(
                f"the master of {store.url} is a single chunk, so that no coarser levels would replace those that "
                "are there; ask for smaller ones with --until 1, or leave them as they are"
            )
        refuse_taken(store, root, self.paths)


def levels_request(opened: Volume, levels: Levels, limits: Limits) -> LevelsRequest:
    """Return the request for levels of a master.

    Raises:
        InputRefused: The factor does not fit the master, or values of this meaning have no means.
        DestinationRefused: Objects of other programs are in the way.
    """
    specs, factors, passes = level_specs(opened, levels, limits, local=opened.store.local)
    method, meaning = method_of(opened, levels), foreign_meaning(opened)
    meaning.refuse_levels(specs[0].numpy, method)
    request = LevelsRequest(opened, specs, factors, passes, method, meaning)
    if not held_epoch(opened.store):
        refuse_taken(opened.store, opened.root, request.paths)
    return request


def request_of(root: Root) -> str:
    """Return the digest of the request that the levels of a volume were made by; empty without levels."""
    return root.state.stages[PYRAMID].request if PYRAMID in root.state.stages else ""

"""Store one block of each level of a pass."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tasks.volume.arrays.groups import store_at
from tasks.volume.arrays.meaning import Meaning, hidden, shown
from tasks.volume.arrays.regions import read_pieces, read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.protocol.writer import put_region
from tasks.volume.pyramid.coarsen import coarsen, coarsen_in_parts, coarsen_live, fit_together
from tasks.volume.pyramid.levels import planned_levels
from tasks.volume.pyramid.plan import finer_region, place_of
from tasks.volume.store.objects import Store


@lru_cache(maxsize=4)
def masks_of(store: Store, plan: Plan) -> list[np.ndarray]:
    """Return the live mask of each level; none where everything is live."""
    if not plan.body["mask"]:
        return []
    masks = [read_region(store, ArraySpec.from_json(plan.body["mask"]))]
    for factor in plan.body["factors"]:
        masks.append(coarsen_live(masks[-1], tuple(factor[: masks[-1].ndim]), plan.body["method"]))
    return masks


def pyramid_block(job: Job) -> Record:
    """Store one block of each level of a pass."""
    store, plan = job.open_ahead()
    specs, factors, passes = planned_levels(plan)
    entry, region = place_of(job.block, passes, specs)
    masks = masks_of(store, plan)

    def live_in(level: int, part: tuple[slice, ...]) -> np.ndarray | None:
        return masks[level][part[:-1]] if masks else None

    below = factors[entry.source : entry.coarsest]
    source = finer_region(region, below, specs[entry.source].shape)
    # Of a coarser level, chunks in which nothing but NaN came out are left out even where traces live.
    must = live_in(0, source) if entry.source == 0 else None
    if not masks:
        must = np.ones(tuple(r.stop - r.start for r in source[:-1]), bool)
    above = store_at(store, plan.body["origin"]) if entry.source == 0 else store
    method, part = plan.body["method"], source
    gaps = Meaning.from_json(plan.body.get("gaps", {}))
    stored: list[Stored] = []
    values = read_coarsened(
        above,
        specs[entry.source],
        source,
        factors[entry.source],
        method,
        live_in(entry.source, source),
        must,
        gaps,
    )
    for number in range(entry.source, entry.coarsest):
        if number > entry.source:
            values = _known(coarsen_in_parts, values, factors[number], method, live_in(number, part), gaps)
        spec = specs[number + 1]
        part = finer_region(region, factors[number + 1 : entry.coarsest], spec.shape)
        stored += put_region(job, store, spec, part, values, empty=_nothing if masks else _never)[0]
    raw_bytes = math.prod(r.stop - r.start for r in source) * specs[entry.source].numpy.itemsize
    return Record(job.block, stored, raw_bytes, {})


def read_coarsened(
    store: Store,
    spec: ArraySpec,
    region: Region,
    factor: tuple[int, ...],
    method: str,
    live: np.ndarray | None = None,
    must: np.ndarray | None = None,
    gaps: Meaning = Meaning(),
) -> np.ndarray:
    """Return a region coarsened; only a few of its chunks are in memory at once where no cell lies in two.

    Args as `read_region` and `coarsen` have them; `must` says which chunks have to be there, `gaps` which values mean
    no data.
    """
    if not fit_together(spec.pieces, spec.shape, factor):
        return _known(
            coarsen_in_parts, read_region(store, spec, region, live=must), factor, method, live, gaps
        )
    shape = tuple(-(-(r.stop - r.start) // f) for r, f in zip(region, factor, strict=True))
    level = np.empty(shape, spec.numpy)

    def add(values: np.ndarray, place: Region) -> None:
        there = tuple(slice(p.start // f, -(-p.stop // f)) for p, f in zip(place, factor, strict=True))
        level[there] = _known(
            coarsen, values, factor, method, None if live is None else live[place[:-1]], gaps
        )

    read_pieces(store, spec, region, add, live=must)
    return level


def _known(
    made_by: Callable[..., np.ndarray],
    values: np.ndarray,
    factor: tuple[int, ...],
    method: str,
    live: np.ndarray | None,
    gaps: Meaning,
) -> np.ndarray:
    """Return the level below, made of the values alone that mean data; `nearest` takes the first, whatever it means."""
    if method == "nearest" or not gaps.has_gaps:
        return made_by(values, factor, method, live)
    return shown(made_by(hidden(values, gaps), factor, method, live), values.dtype, gaps)


def _never(part: np.ndarray) -> bool:
    return False


def _nothing(part: np.ndarray) -> bool:
    """Return whether a chunk of a survey's floats is left out; zeros of whole numbers may be live."""
    return part.dtype.kind == "f" and bool(np.isnan(part).all())

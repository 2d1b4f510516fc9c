"""Store one slab of a stack of images."""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import nth_region
from tasks.volume.images.slab import read_block, stored_as
from tasks.volume.images.stack import Stack
from tasks.volume.kernels.traces import merge_stats, new_stats
from tasks.volume.kernels.voxels import add_voxels
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.writer import put_region

SAMPLED = 1 << 18  # voxels of a block that its quantiles are taken from


QUANTILES = 101


MOST_LABELS = 64  # that get a colour each


def image_block(job: Job) -> Record:
    """Store one slab."""
    store, plan = job.open_ahead()
    spec, stack = ArraySpec.from_json(plan.body["arrays"]["master"]), _stack(plan)
    region = nth_region(spec.shape, tuple(plan.body["block"]), job.block)
    values = stored_as(read_block(stack, region, job.options), spec.numpy)
    labels = plan.body["image"]["labels"]
    stored, measured = put_region(job, store, spec, region, values, measure=_measured)
    limits = [limit for _, limit in measured if limit]
    facts = {
        "stats": merge_stats(np.array(stats) for stats, _ in measured).tolist(),
        "limits": [min(low for low, _ in limits), max(high for _, high in limits)] if limits else None,
        "quantiles": _quantiles(values),
        "labels": _labels(values) if labels else [],
    }
    if "c" in spec.dims:
        axis = spec.dims.index("c")
        facts["channels"] = {
            str(region[axis].start + number): _quantiles(channel)
            for number, channel in enumerate(np.moveaxis(values, axis, 0))
        }
    return Record(job.block, stored, values.nbytes, facts)


@lru_cache(maxsize=4)
def _stack(plan: Plan) -> Stack:
    return Stack.from_json(plan.body["stack"])


def _measured(part: np.ndarray) -> tuple[list[float], tuple[int, int] | None]:
    stats = new_stats()
    # The kernel takes three axes: times and channels are added one by one.
    limits = [add_voxels(part[at], stats) for at in np.ndindex(part.shape[:-3])]
    known = [limit for limit in limits if limit]
    # No array: one that is kept lies where a chunk's buffer was, and keeps malloc from using that room again.
    return stats.tolist(), (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _sample(values: np.ndarray) -> np.ndarray:
    """Voxels at even distances, few enough to be sorted."""
    every = max(1, math.ceil((values.size / SAMPLED) ** (1 / 3)))
    sample = (
        values[tuple(slice(min(every, n) // 2, None, every) for n in values.shape)].astype(np.float64).ravel()
    )
    return sample[np.isfinite(sample)]


def _quantiles(values: np.ndarray) -> list[float]:
    sample = _sample(values)
    return quantiles(sample, np.linspace(0, 1, QUANTILES)) if sample.size else []


def quantiles(values: Any, shares: Any) -> list[float]:
    """Return quantiles of finite values, without overflow if two of them are further apart than float64 can hold."""
    huge = np.abs(values).max() > np.finfo(np.float64).max / 2
    return np.quantile(values, shares, method="nearest" if huge else "linear").tolist()


def _labels(values: np.ndarray) -> list[int]:
    """Return the values that occur, the smallest of them if they are many."""
    labels: set[int] = set()
    for layer in values:
        labels |= set(np.unique(layer).tolist())
    return sorted(int(value) for value in labels)[: MOST_LABELS + 1]

"""The proof of an image volume: every voxel is read again from its source and compared with the stored one."""

import time

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, Progress, Region, block_count, nth_region, regions
from tasks.volume.images.slab import read_block, stored_as
from tasks.volume.images.stack import Stack
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.summary import fitting
from tasks.volume.stacks.plan import block_memory, strip_of


def prove_voxels(volume: Volume, plan: Plan, compute: Compute) -> int:
    """Compare every voxel with the source, bit for bit; return how many there are.

    Args:
        volume: The volume.
        plan: Plan that its master was made with.
        compute: Place where blocks run, with the memory of the run.

    Raises:
        InputRefused: A file of the source is missing, or changed since it was read.
        IntegrityFailure: A voxel differs.
        Resumable: The run stopped.
    """
    stack, spec = Stack.from_json(plan.body["stack"]), volume.spec(volume.master)
    block, local = tuple(plan.body["block"]), volume.store.local
    need = block_memory(stack, spec, block, local=local)
    fitting(compute, need, "a slab of the source beside a strip of the volume")
    total, began, done = block_count(spec.shape, block), time.monotonic(), 0
    for number in range(total):
        if compute.stopping.is_set():
            raise Resumable("the run stopped while voxels were compared; run the same command again")
        region = nth_region(spec.shape, block, number)
        done += _compare(volume, spec, region, stack)
        compute.report(Progress("proof", number + 1, total, done, time.monotonic() - began))
    return spec.raw_bytes // spec.numpy.itemsize


def _compare(volume: Volume, spec: ArraySpec, region: Region, stack: Stack) -> int:
    """Compare the voxels of a region with the source, strip by strip; return the bytes compared.

    The slab of the source goes with this call: a loop that held it would have two in memory while it read the next.

    Raises:
        IntegrityFailure: A voxel differs.
    """
    source = stored_as(read_block(stack, region, volume.store.options), spec.numpy)
    words = f"u{spec.numpy.itemsize}"  # as bits: NaN is like itself, and -0 is not like 0
    count, where = 0, ""
    for strip in regions(tuple(r.stop - r.start for r in region), strip_of(spec)):
        place = tuple(slice(r.start + s.start, r.start + s.stop) for r, s in zip(region, strip, strict=True))
        differing = source[strip].view(words) != read_region(volume.store, spec, place).view(words)
        if differing.any():
            first = np.unravel_index(int(differing.argmax()), differing.shape)
            count += int(differing.sum())
            where = where or ", ".join(
                f"{dim} {int(at) + part.start}" for dim, at, part in zip(spec.dims, first, place, strict=True)
            )
    if count:
        raise IntegrityFailure(
            f"{count:,} voxels of {volume.store.url} differ from its source, the first at {where}; "
            "keep the source, and repair the volume with seismill verify --repair from_source"
        )
    return source.nbytes

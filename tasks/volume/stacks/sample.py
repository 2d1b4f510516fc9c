"""Write parts of a stack, each a chunk, as .npy files that a dry run publishes to estimate stored sizes."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tasks.parameters import Image, Run
from tasks.volume.images.slab import read_block, stored_as
from tasks.volume.images.spacing import place_of
from tasks.volume.images.stack import Stack, find_stack
from tasks.volume.outcomes import InputRefused

PART_BYTES = 32 << 20  # of voxels
# Of parts along the slow axis, and along the next one: away from the middle, since most scans are empty at their edges.
PLACES = ((1 / 3, 1 / 4), (2 / 3, 3 / 4))
FEW = 16  # voxels along each axis of the smallest part, which shows what any publication takes


def write_parts(
    source: str,
    image: Image,
    run: Run,
    chunks: tuple[int, ...],
    folder: Path,
    refuse_to_go_on: Callable[[], None] = lambda: None,
) -> tuple[list[str], Image, float]:
    """Write two parts of a stack and a very small one, in this order.

    Args:
        source: The images.
        image: Their parameters.
        run: Settings of the run.
        chunks: Chunks of the master, axes z, y, x.
        folder: Where to write.
        refuse_to_go_on: Called before each slice; raises to end the reading.

    Returns:
        The files, the parameters that read them as images of the same kind, and the estimated seconds to read the
        whole source.

    Raises:
        InputRefused: The stack has channels or times, which a .npy file cannot express.
        OSError: The folder has no room.
    """
    stack = find_stack(source, run.storage_options, image.raw, image.image)
    if stack.first.leading:
        raise InputRefused("a sample can be taken only from an image without channels and times")
    place = place_of(image, stack.voxels)
    of_parts = {
        "voxel_length": list(place.length),
        "voxel_unit": place.unit or "none",
        "voxel_origin": [],
        "checksums": [],
        "raw": Image().raw,
        "image": Image().image,
        "labels": image.labels or bool(image.labels_of),
        "labels_of": "",
    }
    began, slices, decoded_to, found = time.perf_counter(), 0, 0, []
    for number, share in enumerate(PLACES):
        window = _window(stack, chunks, share)
        found.append(str(folder / f"part{number}.npy"))
        _write(stack, window, run, found[-1], refuse_to_go_on)
        slices += window[stack.slow_axis].stop - window[stack.slow_axis].start
        decoded_to = max(decoded_to, window[stack.slow_axis].stop)
    if len(stack.files) == 1 and "stream" in stack.first.details:  # all slices before a part are decoded, too
        slices = decoded_to
    seconds = (time.perf_counter() - began) / slices * stack.shape[stack.slow_axis]
    small = np.load(found[0], mmap_mode="r")[(slice(FEW),) * 3]
    found.append(str(folder / "small.npy"))
    np.save(found[-1], small)
    return found, image.model_copy(update=of_parts), seconds


def _window(stack: Stack, chunks: tuple[int, ...], share: tuple[float, float]) -> tuple[slice, ...]:
    """Return a part that begins and ends with chunks: all along one axis, some of the slow one and the other."""
    slow = stack.slow_axis
    other = 1 if slow != 1 else 0
    size = list(stack.shape)
    size[slow] = min(size[slow], chunks[slow])
    beside = (
        int(np.prod([n for axis, n in enumerate(size) if axis != other])) * np.dtype(stack.dtype).itemsize
    )
    size[other] = min(size[other], max(1, PART_BYTES // beside // chunks[other]) * chunks[other])
    begin = [0, 0, 0]
    for axis, at in zip((slow, other), share, strict=True):
        begin[axis] = round(at * (stack.shape[axis] - size[axis]) / chunks[axis]) * chunks[axis]
    return tuple(slice(b, min(b + n, end)) for b, n, end in zip(begin, size, stack.shape, strict=True))


def _write(
    stack: Stack, window: tuple[slice, ...], run: Run, path: str, refuse_to_go_on: Callable[[], None]
) -> None:
    """Write a part, read slice by slice."""
    shape = tuple(r.stop - r.start for r in window)
    slow = stack.slow_axis
    values = np.empty(shape, np.dtype(stack.dtype))
    for number in range(window[slow].start, window[slow].stop):
        refuse_to_go_on()
        region = [slice(0, n) for n in stack.shape]
        region[slow] = slice(number, number + 1)
        inside, within = list(window), [slice(None)] * 3
        inside[slow] = slice(0, 1)
        within[slow] = slice(number - window[slow].start, number + 1 - window[slow].start)
        values[tuple(within)] = stored_as(
            read_block(stack, tuple(region), run.storage_options)[tuple(inside)], np.dtype(stack.dtype)
        )
    np.save(path, values)  # not through a map of the file, which ends the process where a disk is full

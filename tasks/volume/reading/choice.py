"""Choose the stored array that a selection is read from fastest: the master, or a copy whose error is small enough.

The choice is made from what the root says alone: how many chunks of each array a selection touches, how many bytes they
decode to, and how many requests bring them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.volume.arrays.codecs import is_zfp
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import IO_THREADS, cpu_count
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.indexing import Group

# Raw bytes that a processor decodes in a second, and what a chunk takes besides; measured on chunks of 0.7 to 1.8 MB.
LOSSLESS_RATE, ZFP_RATE = 1.1e9, 7.0e8
CHUNK_SECONDS = 3e-5
LOCAL_REQUEST_SECONDS = 3e-5
# Of an object store: the time of one request, the part of it that no other request overlaps (the client's own work,
# under the interpreter's lock), and bytes that arrive in a second over all connections.
REQUEST_SECONDS, REQUEST_WORK_SECONDS, ARRIVAL_RATE = 0.03, 0.002, 2.5e8


@dataclass(frozen=True)
class ReadableArray:
    """A stored array that a selection may be read from.

    Attributes:
        path: Path of the array in the volume.
        spec: Spec of the array.
        max_abs_error: Largest error of a sample; 0 for the master.
        stored_part: Stored bytes for each raw byte.
    """

    path: str
    spec: ArraySpec
    max_abs_error: float
    stored_part: float


@dataclass(frozen=True)
class Cost:
    """The cost of a selection from one array."""

    chunks: int
    decoded_bytes: int
    requests: int
    seconds: float


def candidates(volume: Volume, master: str, max_error: float) -> list[ReadableArray]:
    """Return the arrays whose samples differ from the master's by at most `max_error`, the master first.

    A copy holds finite numbers where the master holds NaN or Inf, so a copy of such a master does not count.

    Args:
        volume: The volume.
        master: Path of the requested array: the master, or a coarser level of it.
        max_error: Largest difference of a sample that is accepted.

    Raises:
        InputRefused: `max_error` is negative or no number.
    """
    if isinstance(max_error, str) or not max_error >= 0:
        raise InputRefused(
            f"max_error is {max_error!r}; give 0 for lossless, or the largest error that is accepted"
        )
    standing_in = volume.array_attributes(master).get("max_abs_error", 0.0) if volume.left_out else 0.0
    choices = [_candidate(volume, master, float(standing_in))]
    if master != volume.master:
        return choices  # copies are made of the finest level only
    for path in sorted(volume.members):
        attributes = volume.array_attributes(path)
        if (
            path == master
            or attributes.get("copy_of") != volume.master_name
            or "max_abs_error" not in attributes
        ):
            continue
        if attributes.get("nonfinite_count", 0) or not attributes["max_abs_error"] <= max_error:
            continue
        copy = _candidate(volume, path, float(attributes["max_abs_error"]))
        if copy.spec.shape == choices[0].spec.shape:
            choices.append(copy)
    return choices


def fastest(
    arrays: Sequence[ReadableArray], groups: Sequence[Group], *, local: bool
) -> tuple[ReadableArray, Cost]:
    """Return the array that a selection is read from fastest, and the cost; of equal ones, the more exact one."""
    priced = [(array, cost_of(array, groups, local=local)) for array in arrays]
    return min(priced, key=lambda pair: (pair[1].seconds, pair[0].max_abs_error))


def cost_of(array: ReadableArray, groups: Sequence[Group], *, local: bool) -> Cost:
    """Return the cost of reading a selection from one array."""
    spec = array.spec
    chunks = math.prod(group.units(spec.pieces) for group in groups)
    objects = math.prod(group.units(spec.unit) for group in groups)
    decoded = chunks * math.prod(spec.pieces) * spec.numpy.itemsize
    # Of a shard the index comes first, in a request of its own, where only some of its chunks are wanted.
    requests = (
        objects if not spec.shards or chunks > objects * math.prod(spec.chunks_per_shard) / 2 else 2 * objects
    )
    rate = ZFP_RATE if is_zfp(spec) else LOSSLESS_RATE
    seconds = (decoded / rate + chunks * CHUNK_SECONDS) / min(cpu_count(), max(chunks, 1))
    if local:
        seconds += requests * LOCAL_REQUEST_SECONDS
    else:
        seconds += math.ceil(requests / IO_THREADS) * REQUEST_SECONDS + requests * REQUEST_WORK_SECONDS
        seconds += decoded * array.stored_part / ARRIVAL_RATE
    return Cost(chunks, decoded, requests, seconds)


def _candidate(volume: Volume, path: str, error: float) -> ReadableArray:
    attributes = volume.array_attributes(path)
    raw, stored = attributes.get("raw_bytes", 0), attributes.get("stored_bytes", 0)
    return ReadableArray(path, volume.spec(path), error, stored / raw if raw and stored else 1.0)

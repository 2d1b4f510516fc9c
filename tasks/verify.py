"""Check what is stored against what was written: every object by its manifest, and on request every promise.

An object is checked for presence, size and CRC32C, and its chunks are decoded, so that what passes also
opens. `fraction` draws objects by a seed, for nightly checks of a part. With `errors` the copies are compared
with the master again, each pyramid level with the one above, and the proof is repeated.
"""

import itertools
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.parameters import Run, Url
from tasks.volume.blocks import Compute, Progress, on_chunks, on_io, regions
from tasks.volume.codecs import crc32c, decode_chunk, document_bytes, read_index, tolerance_of
from tasks.volume.compare import add_errors_of
from tasks.volume.kernels.errors import MAX_ABS_ERROR
from tasks.volume.layout import ArraySpec, round_up
from tasks.volume.levels import coarsen
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.proof import prove_bytes
from tasks.volume.reader import Volume, open_volume, read_region
from tasks.volume.run import manifest_key
from tasks.volume.store import Store, traffic
from tasks.volume.summary import ended, using

log = logging.getLogger(__name__)

BATCH = 32  # objects in memory at once, at most
COMPARED_BYTES = 64 << 20
MOST_NAMED = 5  # findings in the sentence; all are in the summary


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written: which object, which samples, and what is wrong."""

    key: str
    array: str
    region: str
    problem: str


def verify(
    volume: Url,
    fraction: float = 1.0,
    errors: bool = False,
    run: Run = Run(),
    *,
    seed: int = 0,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Check a volume against its manifests.

    Args:
        volume: The published volume.
        fraction: Share of the objects to look at, drawn by chance; 1 for all.
        errors: Also compare copies and pyramid with the master, and repeat the proof.
        run: How to run.
        seed: Which objects are drawn when `fraction` is below 1.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `objects`, `checked` and `findings`.

    Raises:
        InputRefused: There is no volume.
        IntegrityFailure: Something is not as it was written.
        Resumable: The run was asked to stop before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    found = open_volume(store)
    findings: list[Finding] = []
    entries = _entries(found, findings)
    drawn = (
        entries if fraction >= 1 else random.Random(seed).sample(entries, math.ceil(fraction * len(entries)))
    )
    with using(compute, run) as compute:
        total, done, read = len(drawn), 0, 0
        for some in _batches(drawn, compute.memory_bytes // 4):
            if compute.stopping.is_set():
                wrong = f", {len(findings)} of which are wrong, such as {findings[0].key}" if findings else ""
                raise Resumable(
                    f"stopped after {done} of {total} objects of {store.url}{wrong}; verify it again"
                )
            fetched = on_io(lambda entry: _fetch(store, entry), some)
            findings += [
                f for f in on_chunks(lambda pair: _check(found, *pair), zip(some, fetched, strict=True)) if f
            ]
            done, read = done + len(some), read + sum(entry["bytes"] for entry in some)
            compute.report(Progress("verify", done, total, read, time.monotonic() - began))
        if errors and not findings:
            findings += _promises(found, compute)
    summary = ended(
        store,
        "verify",
        [],
        began,
        before,
        objects=len(entries),
        checked=len(drawn),
        findings=[vars(finding) for finding in findings],
        errors_checked=errors,
    )
    if findings:
        named = "; ".join(
            f"{f.key}{f' ({f.region})' if f.region else ''}: {f.problem}" for f in findings[:MOST_NAMED]
        )
        more = f" and {len(findings) - MOST_NAMED} more" if len(findings) > MOST_NAMED else ""
        failure = IntegrityFailure(
            f"{len(findings)} of {len(drawn)} objects of {store.url} are wrong: {named}{more}"
        )
        failure.summary = summary  # type: ignore[attr-defined]
        raise failure
    return summary


def _batches(entries: list[dict[str, Any]], most_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """The entries in order, as many at a time as are to be in memory at once."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == BATCH or size + entry["bytes"] > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry["bytes"]
    if batch:
        yield batch


def _entries(volume: Volume, findings: list[Finding]) -> list[dict[str, Any]]:
    """Every object that the manifests list, with the array it belongs to."""
    arrays = [path for path, member in sorted(volume.members.items()) if member["node_type"] == "array"]

    def read(path: str) -> bytes | None:
        try:
            return volume.store.get(manifest_key(path))
        except FileNotFoundError:
            return None

    entries = []
    for path, text in zip(arrays, on_io(read, arrays), strict=True):
        if text is None:
            findings.append(Finding(manifest_key(path), path, "", "the manifest is missing"))
            continue
        for line in text.decode().splitlines():
            entries.append(json.loads(line) | {"array": path})
    return entries


def _fetch(store: Store, entry: dict[str, Any]) -> bytes | None:
    try:
        return store.get(entry["key"])
    except FileNotFoundError:
        return None


def _check(volume: Volume, entry: dict[str, Any], data: bytes | None) -> Finding | None:
    """What is wrong with one object, if anything."""
    key, path = entry["key"], entry["array"]

    def finding(problem: str) -> Finding:
        return Finding(key, path, _region(volume, path, key), problem)

    if data is None:
        return finding("is missing")
    if len(data) != entry["bytes"]:
        return finding(f"has {len(data)} bytes, {entry['bytes']} were written")
    if crc32c(data) != int(entry["crc32c"], 16):
        return finding("has other bytes than were written")
    if key.endswith("zarr.json"):
        return None if data == document_bytes(volume.members[path]) else finding("is not what the root says")
    spec = volume.spec(path)
    try:
        for encoded in _chunks(spec, data):
            decode_chunk(spec, encoded)
    except Exception as error:
        return finding(f"does not decode: {error}")
    return None


def _chunks(spec: ArraySpec, data: bytes) -> list[memoryview]:
    view = memoryview(data)
    if not spec.shards:
        return [view]
    index = read_index(spec, view, where=spec.path).reshape(-1, 2)
    return [view[int(o) : int(o) + int(n)] for o, n in index if int(o) != 0xFFFFFFFFFFFFFFFF]


def _region(volume: Volume, path: str, key: str) -> str:
    """The samples that an object holds, for people."""
    if "/c/" not in key:
        return ""
    spec = volume.spec(path)
    position = [int(p) for p in key.rpartition("/c/")[2].split("/")]
    return ", ".join(
        f"{dim} {p * u} to {min((p + 1) * u, n) - 1}"
        for dim, p, u, n in zip(spec.dims, position, spec.unit, spec.shape, strict=True)
    )


def _promises(volume: Volume, compute: Compute) -> list[Finding]:
    """What copies, levels and the proof promised and does not hold."""
    findings = []
    for path, member in sorted(volume.members.items()):
        if member.get("attributes", {}).get("copy_of") == volume.master:
            findings += _compare_copy(volume, path, compute.memory_bytes)
    levels = volume.state["levels"]
    for fine, coarse in itertools.pairwise(levels):
        findings += _compare_level(volume, fine["path"], coarse["path"], compute.memory_bytes)
    if volume.has("segy_files/0"):
        try:
            prove_bytes(volume, compute)
        except IntegrityFailure as failure:
            findings.append(Finding(volume.master, volume.master, "", str(failure)))
    return findings


def _compared(spec: ArraySpec, most_bytes: int) -> tuple[int, ...]:
    """Regions to compare at once: the whole last axes, as many lines as memory allows, in whole chunks."""
    most_bytes = min(COMPARED_BYTES, most_bytes)
    block = [round_up(n, c) for n, c in zip(spec.shape, spec.chunks, strict=True)]
    for axis in range(len(block)):
        while math.prod(block) * spec.numpy.itemsize > most_bytes and block[axis] > spec.chunks[axis]:
            block[axis] = max(spec.chunks[axis], round_up(block[axis] // 2, spec.chunks[axis]))
    return tuple(block)


def _compare_copy(volume: Volume, path: str, memory_bytes: int) -> list[Finding]:
    spec, master = volume.spec(path), volume.spec(volume.master)
    bound = tolerance_of(spec) or 0.0
    mask = _mask_of(volume, master.path)
    for region in regions(spec.shape, _compared(spec, memory_bytes // 4)):
        sums = np.zeros(4)
        add_errors_of(
            read_region(volume.store, master, region),
            read_region(volume.store, spec, region),
            None if mask is None else mask[region[:-1]],
            sums,
        )
        if not sums[MAX_ABS_ERROR] <= bound:
            where = ", ".join(
                f"{d} {r.start} to {r.stop - 1}" for d, r in zip(spec.dims, region, strict=True)
            )
            return [
                Finding(path, path, where, f"is off by {sums[MAX_ABS_ERROR]:g}, its tolerance is {bound:g}")
            ]
    return []


def _mask_of(volume: Volume, path: str) -> np.ndarray | None:
    """Where an array is live, by the mask beside it; None where there is none (images)."""
    beside = f"{path.rpartition('/')[0]}/trace_mask".lstrip("/")
    return volume.read(beside) if volume.has(beside) else None


def _compare_level(volume: Volume, fine: str, coarse: str, memory_bytes: int) -> list[Finding]:
    above, spec = volume.spec(fine), volume.spec(coarse)
    made, mask = volume.array_attributes(coarse), _mask_of(volume, fine)
    factor, method = tuple(made["factor"]), made["method"]
    # What is averaged is larger than the mean by the factors.
    block = _compared(spec, memory_bytes // 4 // math.prod(factor))
    for region in regions(spec.shape, block):
        source = tuple(
            slice(r.start * f, min(r.stop * f, n))
            for r, f, n in zip(region, factor, above.shape, strict=True)
        )
        values = read_region(volume.store, above, source)
        level = coarsen(values, factor, method, None if mask is None else mask[source[:-1]])
        stored = read_region(volume.store, spec, region)
        if not np.array_equal(level, stored, equal_nan=level.dtype.kind == "f"):
            where = ", ".join(
                f"{d} {r.start} to {r.stop - 1}" for d, r in zip(spec.dims, region, strict=True)
            )
            return [Finding(coarse, coarse, where, f"is not the {method} of {fine}")]
    return []

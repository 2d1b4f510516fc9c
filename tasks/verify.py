"""Compare every stored object with its manifest, and on request copies and levels with the master.

An object is checked for presence, size and CRC32C, and its chunks are decoded, so that an object that passes can also
be read. `fraction` draws a share of the objects by a seed, for nightly checks. With `errors`, the copies are compared
with the master again, each pyramid level with the one above, and the proof is repeated. `repair` restores damaged
objects to the bytes that were written, and changes nothing else.
"""

import itertools
import logging
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tasks.parameters import Fraction, OptionalUrl, Repairs, Run, Url
from tasks.volume.arrays.codecs import tolerance_of
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec, round_up
from tasks.volume.blocks import Compute, Progress, regions
from tasks.volume.derived.errors import add_errors_of
from tasks.volume.export.proof import prove_bytes
from tasks.volume.integrity.beside import beside, notes_on
from tasks.volume.integrity.check import Finding, checked, entries_of, open_checked
from tasks.volume.integrity.entries import ManifestEntry, drawn_of
from tasks.volume.integrity.from_source import places_of
from tasks.volume.integrity.repair import Repair, flags_for
from tasks.volume.integrity.unlisted import undecodable, unlisted
from tasks.volume.kernels.error_sums import MAX_ABS_ERROR
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.commits import commit_count
from tasks.volume.protocol.lock import check_epoch, writer_of
from tasks.volume.protocol.owner import held
from tasks.volume.protocol.summary import ended, using
from tasks.volume.pyramid.coarsen import coarsen
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)

COMPARED_BYTES = 64 << 20
MOST_NAMED = 5  # findings in the sentence; all are in the summary


def verify(
    volume: Url,
    fraction: Fraction = 1.0,
    errors: bool = False,
    repair: Repairs = "no",
    run: Run = Run(),
    *,
    seed: int = 0,
    source: OptionalUrl = "",
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Compare stored objects with their checksums, and restore damaged ones with --repair.

    Args:
        volume: The volume, or another tool's group with levels or copies by Seismill.
        fraction: Share of the objects to read, drawn at random; 1 for all.
        errors: Also compare copies and levels with the master, and prove the export again.
        repair: Restore damaged objects: from_master restores all but the master, from_source the master too.
        run: Settings of the run; none changes the data.
        seed: Seed of the draw; consecutive numbers draw different objects.
        source: With --repair from_source: new place of the source, if it was moved; recognised by size and CRC32C.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary, with `objects`, `checked`, `findings` (what is left of them) and `repaired` (keys).

    Raises:
        InputRefused: There is no volume, no source to repair it from, or the source is another one.
        IntegrityFailure: A damaged object was not repaired.
        Resumable: The run was asked to stop before its end, or another one replaces the volume, or writes it while it
            is to be repaired.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    repaired: list[str] = []
    mending = repair != "no" and not run.dry_run
    if source and repair != "from_source":
        raise InputRefused("--source says what to repair from; add --repair from_source, or leave it out")
    if mending:
        open_checked(store)  # where there is no volume, there will be no lock
    with using(compute, run) as compute, held(store, run) if mending else nullcontext() as own:
        commits = commit_count(store)
        opened, findings = _opened(store)
        entries, broken = entries_of(opened)
        findings += broken
        if fraction >= 1:
            findings += [*unlisted(opened, entries, findings), *beside(opened)]
            for manifest in broken:
                findings += undecodable(opened, manifest.array, compute.check)
        drawn = drawn_of(entries, fraction, seed)
        findings += _checked(opened, drawn, compute, findings, began)
        if opened.left_out and repair == "from_source" and findings:
            raise InputRefused(
                f"{store.url} has no lossless array {opened.left_out}; copy the one that has it again, with --overwrite"
            )
        if own and findings:
            mend = Repair(
                opened,
                own[0],
                run.storage_options if repair == "from_source" else None,
                compute.memory_bytes,
                partial(check_epoch, *own),
                places_of(opened, source, run.storage_options, compute.check) if source else (),
            )
            for finding in mend.carry_out(findings, drawn):
                log.info("%s: %s %s, and was repaired", store.url, finding.key, finding.problem)
                repaired.append(finding.key)
                if compute.stopping.is_set():
                    raise Resumable(
                        f"stopped after {len(repaired)} of {len(findings)} objects of {store.url} were repaired; "
                        "run the same command again to go on"
                    )
            findings = [finding for finding in [*findings, *mend.later] if finding.key not in repaired]
        if errors and not findings and not opened.left_out:
            findings += _promises(opened, compute)
        if findings and commit_count(store) != commits:
            raise Resumable(
                f"{store.url} was changed by another run while it was checked, so the findings may be wrong "
                f"({findings[0].key}: {findings[0].problem}); verify it again"
            )
    summary = ended(
        store,
        "verify",
        [],
        began,
        before,
        notes=notes_on(opened, errors=errors),
        objects=len(entries),
        checked=len(drawn),
        findings=[vars(finding) for finding in findings],
        repaired=repaired,
        errors_checked=errors,
    )
    if findings:
        raise _failure(store, findings, len(drawn), repaired, flags_for(opened, findings, repair), summary)
    return summary


def _opened(store: Store) -> tuple[Volume, list[Finding]]:
    """Open as `open_checked`, unless a run is replacing the volume."""
    try:
        return open_checked(store)
    except InputRefused:
        if writer := writer_of(store):
            raise Resumable(f"{writer} is writing {store.url}; verify it when that has finished") from None
        raise


def _checked(
    volume: Volume, entries: Sequence[ManifestEntry], compute: Compute, earlier: list[Finding], began: float
) -> list[Finding]:
    """Return the findings of some objects; report progress for each batch."""
    done = read = 0
    found = list(earlier)

    def on_batch(some: list[ManifestEntry]) -> None:
        nonlocal done, read
        if done:
            compute.report(Progress("verify", done, len(entries), read, time.monotonic() - began))
        if compute.stopping.is_set():
            wrong = f", {len(found)} of which are wrong, such as {found[0].key}" if found else ""
            raise Resumable(
                f"stopped after {done} of {len(entries)} objects of {volume.store.url}{wrong}; verify it again"
            )
        done, read = done + len(some), read + sum(entry.stored.bytes for entry in some)

    findings = []
    for some in checked(volume, entries, compute.memory_bytes // 4, on_batch):
        found += some
        findings += some
    compute.report(Progress("verify", done, len(entries), read, time.monotonic() - began))
    return findings


def _failure(
    store: Store,
    findings: list[Finding],
    of: int,
    repaired: list[str],
    flags: str,
    summary: dict[str, Any],
) -> IntegrityFailure:
    """Return the outcome: a sentence with the findings and the remedy, and the summary."""
    named = "; ".join(
        f"{f.key}{f' ({f.region})' if f.region else ''}: {f.problem}" for f in findings[:MOST_NAMED]
    )
    more = f" and {len(findings) - MOST_NAMED} more" if len(findings) > MOST_NAMED else ""
    rest = f"; {len(repaired)} others were repaired" if repaired else ""
    verb = "is" if len(findings) == 1 else "are"
    failure = IntegrityFailure(
        f"{len(findings)} of {of:,} objects of {store.url} {verb} wrong: {named}{more}{rest}", flags=flags
    )
    failure.summary = summary  # type: ignore[attr-defined]
    return failure


def _promises(volume: Volume, compute: Compute) -> list[Finding]:
    """Return findings for stored promises of copies, levels and the proof that do not hold."""
    findings = []
    for path, member in sorted(volume.members.items()):
        if member.get("attributes", {}).get("copy_of") == volume.master_name:
            findings += _compare_copy(volume, path, compute.memory_bytes)
    levels = volume.state.levels
    for fine, coarse in itertools.pairwise(levels):
        findings += _compare_level(volume, fine.path, coarse.path, compute.memory_bytes)
    if volume.has("segy_files/0"):
        try:
            prove_bytes(volume, compute)
        except IntegrityFailure as failure:
            findings.append(Finding(volume.master, volume.master, "", str(failure)))
    return findings


def _compared(spec: ArraySpec, most_bytes: int) -> tuple[int, ...]:
    """Return the regions to compare: whole last axes, and as many whole chunks of lines as fit in memory."""
    most_bytes = min(COMPARED_BYTES, most_bytes)
    block = [round_up(n, c) for n, c in zip(spec.shape, spec.chunks, strict=True)]
    for axis in range(len(block)):
        while math.prod(block) * spec.numpy.itemsize > most_bytes and block[axis] > spec.chunks[axis]:
            block[axis] = max(spec.chunks[axis], round_up(block[axis] // 2, spec.chunks[axis]))
    return tuple(block)


def _compare_copy(volume: Volume, path: str, memory_bytes: int) -> list[Finding]:
    spec, master = volume.spec(path), volume.spec(volume.master)
    bound = tolerance_of(spec) or 0.0
    mask, origin = _mask_of(volume, master.path), volume.store_of(volume.master)
    for region in regions(spec.shape, _compared(spec, memory_bytes // 4)):
        sums = np.zeros(4)
        add_errors_of(
            read_region(origin, master, region),
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
    """Return the live mask beside an array; None without one (images)."""
    beside = f"{path.rpartition('/')[0]}/trace_mask".lstrip("/")
    return volume.read(beside) if volume.has(beside) else None


def _compare_level(volume: Volume, fine: str, coarse: str, memory_bytes: int) -> list[Finding]:
    above, spec = volume.spec(fine), volume.spec(coarse)
    level_attributes, mask = volume.array_attributes(coarse), _mask_of(volume, fine)
    factor, method, store = (
        tuple(level_attributes["factor"]),
        level_attributes["method"],
        volume.store_of(fine),
    )
    # What is averaged is larger than the mean by the factors.
    block = _compared(spec, memory_bytes // 4 // math.prod(factor))
    for region in regions(spec.shape, block):
        source = tuple(
            slice(r.start * f, min(r.stop * f, n))
            for r, f, n in zip(region, factor, above.shape, strict=True)
        )
        values = read_region(store, above, source)
        level = coarsen(values, factor, method, None if mask is None else mask[source[:-1]])
        stored = read_region(volume.store, spec, region)
        if not np.array_equal(level, stored, equal_nan=level.dtype.kind == "f"):
            where = ", ".join(
                f"{d} {r.start} to {r.stop - 1}" for d, r in zip(spec.dims, region, strict=True)
            )
            return [Finding(coarse, coarse, where, f"is not the {method} of {volume.shown(fine)}")]
    return []

"""Turn SEG-Y files into the master of a volume: lossless samples, every header, and everything that export needs.

Samples and headers are read once, in blocks. Results for the whole file (statistics, words that float32 cannot
reproduce, checksums) are merged from the ledger in block order and stored with the metadata, which makes the volume
visible.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from tasks.parameters import Following, Index, Master, Run, Url
from tasks.volume.arrays.root_schema import StageEntry
from tasks.volume.arrays.spec import MASTER, ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, block_count, limits_of, together
from tasks.volume.ingest.array_names import refuse_names
from tasks.volume.ingest.block import (
    Unpredicted,
    ingest_block,
    most_exceptions,
    raw_samples_block,
    unplaced_blocks,
)
from tasks.volume.ingest.checksums import Expected
from tasks.volume.ingest.destination import another_volume, recognised, what_is_there
from tasks.volume.ingest.earlier import MADE_BEFORE, digest_before
from tasks.volume.ingest.finish import finish
from tasks.volume.ingest.intake import grid_bytes
from tasks.volume.ingest.master_plan import chunks_and_shards
from tasks.volume.ingest.moved import was_made_of
from tasks.volume.ingest.parts import expected_of_parts, open_files
from tasks.volume.ingest.plan import (
    Follow,
    fit_blocks,
    fit_of,
    is_scattered,
    layout_of,
    planned,
)
from tasks.volume.ingest.precheck import check_again, read_before, unpredicted_key
from tasks.volume.ingest.read_in_order import refuse_what_stores_say
from tasks.volume.ingest.spill import (
    fit_spill,
    index_columns,
    spill_block,
    spill_blocks,
    spill_body,
    spill_of,
)
from tasks.volume.ingest.survey import Survey, grid_from_words, survey_files
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.owner import Owner, any_memory, owned
from tasks.volume.protocol.place import refuse_no_bucket, refuse_occupied, refuse_strangers
from tasks.volume.protocol.plan import GRID, digest_of
from tasks.volume.protocol.stage import Stage, run_blocks
from tasks.volume.protocol.summary import array_rows, ended, using
from tasks.volume.publishing.following import lossless_arrays, plan_following
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.room import least_stored, refuse_full

log = logging.getLogger(__name__)

MOVED = "Its source has other places than when the volume was made of it, and the same size and CRC32C:"


def ingest_segy(
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    following: Following | None = None,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Turn a SEG-Y into a volume that holds only its lossless array.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy, or several of one survey, separated by commas or as a quoted
            pattern such as 'line_*.sgy'.
        volume: The volume to write, such as s3://volumes/survey.zarr.
        index: Header fields that place a trace, and corrections of what headers say.
        master: Chunks, shards and codec.
        overwrite: Replace an existing volume.
        run: Settings of the run; none changes the data.
        following: Stages to make from the master after it, which are planned with it.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: A file or a parameter cannot be used.
        DestinationRefused: The place holds another volume.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    files = open_files(source, index, run.storage_options, limits_of(compute))
    with ThreadPoolExecutor(1) as beside:  # what lies beside the files is looked at meanwhile
        asked = beside.submit(expected_of_parts, files, index.checksums, run.storage_options)
        survey = survey_files(files, index, near=files.local)
    expected = asked.result()
    refuse_names(survey.placement)
    store = Store(volume, run.storage_options)
    request = {
        "verb": "ingest_segy",
        "sources": files.to_json(),
        "index": survey.placement_json(),
        "master": master.model_dump(),
    }
    chunks_and_shards(master, store, survey)

    def follow(spec: ArraySpec, compute: Compute) -> Sequence[ArraySpec]:
        return plan_following(store, spec, following or Following(), compute)

    refuse_what_stores_say(expected, files.reading)
    sizes = [fmt.file_size for fmt in files.formats]
    stored = lossless_arrays(following)
    refuse_full(store, stored * sum(sizes), lambda: least_stored(sizes, files.read, stored))
    if run.dry_run:
        refuse_no_bucket(store)
        refuse_occupied(store)
        with using(compute, run) as compute:
            to_try = index if following is not None else None
            plan = planned(store, survey, master, expected, follow, compute, to_try=to_try)
        there = [] if overwrite else what_is_there(store, digest_of(request), survey, master)
        return plan | {"notes": [*plan["notes"], *there]}
    done, _ = together(partial(recognised, store, digest_of(request)), partial(refuse_occupied, store))
    fit = any_memory if done else fit_of(store, survey, master, follow)
    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        keys, root = together(partial(store.keys, ""), owner.root)
        if root is not None:
            notes = _made_already(owner, root, survey, request, expected, compute, overwrite=overwrite)
            if notes is not None:
                return ended(store, "ingest", array_rows(root, [MASTER]), began, before, notes=notes)
            if not overwrite:
                another = another_volume(store, root, survey, master)
                raise DestinationRefused(f"{another}; choose another place, or replace it with --overwrite")
        refuse_strangers(store, root, keys)
        survey, sums = read_before(
            owner.store, survey, master, follow, expected, digest_of(request), root, keys, compute
        )
        stage, survey, records, as_words = _stored(owner, survey, master, request, follow, root, keys)
        new = finish(stage, survey, records, as_words, digest_of(request), expected, sums)
    notes = [*new.state.sources[0].notes, *expected.doubts]
    if as_words:
        count = new.state.exceptions
        notes.append(
            f"float32 does not give back {count:,} IBM words: the file was read again and all were kept."
        )
    return ended(store, "ingest", array_rows(new, [MASTER]), began, before, stage=stage, notes=notes)


def _made_already(
    owner: Owner,
    root: Root,
    survey: Survey,
    request: dict[str, Any],
    expected: Expected,
    compute: Compute,
    *,
    overwrite: bool,
) -> list[str] | None:
    """Return notes if the volume was made by this request, after checking its sources again; None if by another."""
    entry = root.state.stages.get(MASTER, StageEntry(plan=""))
    known, files, store = entry.request, survey.files, owner.store  # the request is empty of images

    def digests_with(sources: list[dict[str, Any]]) -> list[str]:
        moved = request | {"sources": sources}
        return [digest_of(moved), digest_before(moved, survey)]

    if not known:
        return None
    if known == digest_of(request):
        notes = []
    elif known == digest_before(request, survey):
        notes = [MADE_BEFORE]
    elif not overwrite and was_made_of(store, root, entry, digests_with, files, compute.check):
        notes = [f"{MOVED} {files.name}"]
    else:
        return None
    check_again(store, owner.epoch, root, known, expected, files, compute)
    return ["was done already", *notes]


def _stored(
    owner: Owner,
    survey: Survey,
    master: Master,
    request: dict[str, Any],
    follow: Follow,
    root: Root | None,
    keys: list[str],
) -> tuple[Stage, Survey, list[Record], list[Record]]:
    """Run all blocks, spilled first if the file is not in the order of its grid; begin anew if a prediction fails."""
    digest = digest_of(request)
    listed: list[str] | None = keys
    while True:
        spilled: dict[str, Any] = {}
        if survey.grid is None or is_scattered(survey, master, owner.store):
            survey, spilled = _spill(owner, survey, root, digest)
            listed = None
        body = request | layout_of(owner.store, survey, master, spilled)
        try:
            stage, records, as_words = _blocks(owner, survey, body, follow, digest, root, listed)
        except Unpredicted as surprise:
            log.info("%s: %s, so all headers are read", survey.files.name, surprise)
            # Noted, so that a run which goes on with this one does not begin with the wrong plan again.
            owner.store.put(unpredicted_key(digest), str(surprise).encode())
            survey, root, listed = survey.unpredicted(near=survey.files.local), None, None
        else:
            return stage, survey, records, as_words


def _blocks(
    owner: Owner,
    survey: Survey,
    body: dict[str, Any],
    follow: Follow,
    request: str,
    root: Root | None,
    listed: list[str] | None,
) -> tuple[Stage, list[Record], list[Record]]:
    """Run all blocks; return the stage, its entries, and the entries of the raw-samples pass if there was one."""
    assert survey.grid is not None
    store, spec, block = owner.store, ArraySpec.from_json(body["arrays"]["master"]), tuple(body["block"])

    def fit(compute: Compute) -> Compute:
        follow(spec, compute)
        return fit_blocks(compute, spec, block, survey, near=store.local, spilled=bool(body["spill"]))

    stage = owner.begin(
        "ingest",
        body,
        fit,
        present=root,
        after=None,
        listed=listed,
        keep=[request, *([body["spill"]["digest"]] if body["spill"] else [])],
    )
    if not stage.resumed:
        stage.note(GRID, grid_bytes(survey.grid, survey.files.n_traces))
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    count = block_count(survey.grid.shape, block) + unplaced_blocks(specs)
    records = run_blocks(stage, ingest_block, range(count))
    exceptions = sum(record.facts["exceptions"] for record in records)
    if exceptions <= most_exceptions(survey.fmt):
        return stage, records, []
    log.info("%s: float32 does not give back %d IBM words, so all words are kept", store.url, exceptions)
    return stage, records, run_blocks(stage, raw_samples_block, range(count, 2 * count), of=2 * count)


def _spill(owner: Owner, survey: Survey, root: Root | None, request: str) -> tuple[Survey, dict[str, Any]]:
    """Store the traces sorted beside the volume; the survey then has a grid."""
    store, body = owner.store, spill_body(survey)
    log.info(
        "%s is not in the order of its grid: it is read once and spilled to %s", survey.files.name, store.url
    )
    stage = owner.begin(
        "spill",
        body,
        fit_spill(survey),
        present=root,
        after=root,
        keep=[request],
    )
    records = run_blocks(stage, spill_block, range(spill_blocks(body)))
    grid = survey.grid
    if grid is None:
        try:
            columns = index_columns(store, stage.plan.digest, body)
            grid = grid_from_words(columns, survey.placement, survey.auxiliary, survey.files.n_traces)
        except InputRefused:
            clear_run(store, stage.epoch, stage.plan.digest)
            raise
    segments = [segment for record in records for segment in record.facts["segments"]]
    spilled = spill_of(stage.plan.digest, body) | {"segments": segments}
    return replace(survey, grid=grid, predicted=False), spilled

"""Estimate the stored bytes and the time of a publication, by publishing parts of its source to a temporary folder.

A part is a column of chunks of a survey, or some chunks of a stack of images, published by the same stages with the
same parameters. Each array is assumed to have the parts' ratio of stored to raw bytes. The time for each byte is the
difference between a part and a few traces.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.expected_requests import requests_of_images, requests_of_survey
from flows.prices import money, prices_given
from flows.stages import SetWith, as_stage, load_verb
from flows.summary import Summary
from tasks.parameters import Image, Index, Run
from tasks.volume.outcomes import Outcome, Resumable
from tasks.volume.protocol.lock import kept_locks
from tasks.volume.stacks.sample import write_parts
from tasks.volume.store.objects import Store, locate
from tasks.volume.store.scratch import SCRATCH

log = logging.getLogger(__name__)

PREFIX = "seismill-estimate-"
FEW_TRACES = 16
FOR_PARTS = ("parts", "live_share", "traces", "index", "kept_bytes")  # of an ingest's dry run


@dataclass(frozen=True)
class SourcePart:
    """A part of a source.

    Attributes:
        verb: The verb that ingests it.
        source: File or folder that holds the part.
        parameters: Parameters that select the part, and read it.
        traces: Number of its traces; 0 for images.
    """

    verb: str
    source: str
    parameters: dict[str, Any]
    traces: int = 0


def estimated(
    planned: Summary,
    source: str,
    meant: Index | Image,
    run: Run,
    ways: dict[str, Any],
    stopping: threading.Event | None = None,
) -> Summary:
    """Return the plan of a publication with the bytes of each array, and the hours and money for the whole run.

    If no part of the source can be published separately, the plan is returned unchanged, with a note.

    Args:
        planned: Summary of the ingest's dry run.
        source: The SEG-Y, or the images.
        meant: Header fields that place traces, or the meaning of voxels.
        run: Settings of the run.
        ways: `master`, `copies`, `pyramid` and `steps` of `publish_chain`.
        stopping: Event that ends the estimate.

    Raises:
        InputRefused: The file of prices cannot be used.
        Resumable: The estimate was asked to stop.
    """
    prices = prices_given()
    plan = {name: value for name, value in planned.items() if name not in FOR_PARTS}
    stopping = stopping or threading.Event()
    run = Run(memory=run.memory, storage_options=run.storage_options)
    without = _why_not(planned, meant)
    if without:
        return _without(plan, without)
    reading = 0.0
    try:
        with _scratch(stopping) as folder:
            if isinstance(meant, Index):
                parts = _parts_of_traces(planned, source, meant)
            else:
                chunks = tuple(planned["arrays"][0]["chunks"])
                files, image, reading = write_parts(
                    source, meant, run, chunks, folder, lambda: _refuse_to_go_on(stopping)
                )
                parts = [SourcePart("ingest_images", file, {"image": image}) for file in files]
            *tries, small = [_tried(part, run, ways, folder, stopping) for part in parts]
    except (Outcome, OSError) as error:
        _refuse_to_go_on(stopping)
        log.debug("the estimate ended: %s", error, exc_info=True)
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            return _without(plan, f"{where}{error.strerror or error}; set {SCRATCH} to a folder with room")
        return _without(plan, "a part of the source could not be published by itself; the plan holds")
    live_share = planned.get("live_share", 1.0)
    rows = _sized(plan["arrays"], tries, live_share)
    headers = small["others"]
    if parts[-1].traces:
        more_traces = max(1, parts[-2].traces - parts[-1].traces)
        each_trace = max(0.0, tries[-1]["others"] - small["others"]) / more_traces
        headers = round(headers + each_trace * (planned["traces"] - parts[-1].traces))
    found: Summary = {
        "arrays": rows,
        "headers_bytes": headers,
        "estimated_bytes": sum(row["stored_bytes"] for row in rows) + headers,
    }
    if not locate(planned["volume"]).local:
        near, kept = locate(source.split(",")[0]).local, planned["kept_bytes"]
        if parts[-1].traces:
            source_bytes = 0 if near else planned["traces"] * small["raw"] / parts[-1].traces
            found |= requests_of_survey(rows, source_bytes, kept, report="report" in ways["steps"])
        else:
            found |= requests_of_images(rows, ways["steps"], kept, local=near)
    seconds, more = tries[-1]["seconds"] - small["seconds"], tries[-1]["raw"] - small["raw"]
    if len(tries) > 1 and seconds > 0 < more:  # the first one imports and compiles
        times = 2 if "proof" in ways["steps"] else 1  # that images are read, which a part has decoded already
        found["hours"] = (seconds / more * rows[0]["raw_bytes"] * live_share + times * reading) / 3600
    return plan | found | money(found, prices)


def _without(plan: Summary, reason: str) -> Summary:
    """Return a plan with a note why it has no estimate."""
    return plan | {"notes": [*plan.get("notes", []), f"sizes are not estimated: {reason}"]}


def _why_not(planned: Summary, meant: Index | Image) -> str:
    """Return why no part of a source can be published by itself; nothing if one can."""
    if isinstance(meant, Image):
        several = len(planned["arrays"][0]["shape"]) > 3
        return "a sample can be taken only from an image without channels and times" if several else ""
    if meant.traces:
        return "only some traces of the source are published, and parts are taken from whole sources"
    if planned.get("parts"):
        return ""
    if planned.get("arrays"):
        return "the parts that are tried have no traces"
    return "which traces make a part is known when the headers are read"


def _parts_of_traces(planned: Summary, source: str, index: Index) -> list[SourcePart]:
    """Return the parts of a SEG-Y, and a few traces of the first one at the end."""
    changes = planned["index"] | {"checksums": [], "split": "no"}
    counts = {part["traces"]: part["count"] for part in planned["parts"]}
    first = next(iter(counts)).split(",")[0]
    low, _, high = first.partition("-")
    last = min(int(high or low), int(low) + FEW_TRACES - 1)
    return [
        SourcePart(
            "ingest_segy", source, {"index": index.model_copy(update=changes | {"traces": traces})}, count
        )
        for traces, count in [*counts.items(), (f"{low}-{last}", last - int(low) + 1)]
    ]


def _sized(
    arrays: list[dict[str, Any]], tries: list[dict[str, Any]], live_share: float
) -> list[dict[str, Any]]:
    """Return the rows of arrays with the bytes that they would have stored, by the ratio of the parts."""
    rows, known = [], 0.0
    for row in arrays:
        sizes = [each["arrays"][row["path"]] for each in tries if row["path"] in each["arrays"]]
        raw, stored = (sum(size[i] for size in sizes) for i in (0, 1))
        known = stored / raw if raw else known  # a part may have fewer levels
        stored_bytes = round(row["raw_bytes"] * live_share * known)
        rows.append(row | {"stored_bytes": stored_bytes, "ratio": 1 / known if known else 0.0})
    return rows


def _tried(
    part: SourcePart, run: Run, ways: dict[str, Any], folder: Path, stopping: threading.Event
) -> dict[str, Any]:
    """Publish a part to a folder; return bytes by array, bytes of other objects, and the seconds."""
    mine = SetWith(stopping)
    stage = {
        name: as_stage(
            load_verb(name), report_for=lambda volume: nullcontext(lambda progress: None), stopping=mine
        )
        for name in (part.verb, "rechunk", "pyramid", "prove")
    }
    steps: dict[str, tuple[str, dict[str, Any]]] = {
        "copies": ("rechunk", {"copies": ways["copies"]}),
        "pyramid": ("pyramid", {"levels": ways["pyramid"]}),
        "proof": ("prove", {}),
    }
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own, kept_locks():
        volume, began = f"{own}/part.zarr", time.perf_counter()
        _refuse_to_go_on(stopping)
        summaries = [stage[part.verb](part.source, volume, master=ways["master"], run=run, **part.parameters)]
        for step, (verb, parameters) in steps.items():
            _refuse_to_go_on(stopping)
            if step in ways["steps"]:
                summaries.append(stage[verb](volume, run=run, **parameters))
        seconds = time.perf_counter() - began
        sizes = {key: size for key, size, _ in Store(volume).listing("")}
    arrays = {row["path"]: row for summary in summaries for row in summary["arrays"]}
    others = sum(
        size
        for key, size in sizes.items()
        if not key.startswith(".seismill/") and not any(key.startswith(f"{path}/") for path in arrays)
    )
    return {
        "arrays": {path: (row["raw_bytes"], row["stored_bytes"]) for path, row in arrays.items()},
        "others": others,
        "raw": summaries[0]["arrays"][0]["raw_bytes"],
        "seconds": seconds,
    }


@contextmanager
def _scratch(stopping: threading.Event) -> Iterator[Path]:
    """Make a folder for parts and remove it at the end; messages of stages about it are not logged."""
    _refuse_to_go_on(stopping)
    scratch = Path(os.environ.get(SCRATCH) or tempfile.gettempdir())
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        # What cannot be removed must not hide why the estimate ended.
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=scratch, ignore_cleanup_errors=True) as folder,
        _unlogged(folder),
    ):
        yield Path(folder)


def _refuse_to_go_on(stopping: threading.Event) -> None:
    """Check that the estimate was not asked to stop.

    Raises:
        Resumable: It was.
    """
    if stopping.is_set():
        raise Resumable(
            "stopped while sizes were estimated, and nothing was written; run the same command again"
        )


@contextmanager
def _unlogged(folder: str) -> Iterator[None]:
    """Suppress log lines of stages in this folder: a trial is no publication.

    That is what names the folder, and what this thread has to tell; other runs in this process log as ever.
    """
    thread = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        ours = folder in record.getMessage() or (record.thread == thread and record.levelno < logging.WARNING)
        return not (ours and record.name.startswith("tasks."))

    handlers = [*logging.getLogger().handlers, *logging.getLogger("tasks").handlers]
    for handler in handlers:
        handler.addFilter(of_others)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(of_others)

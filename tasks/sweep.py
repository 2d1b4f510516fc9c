"""Publish new sources under a staging prefix, and skip unchanged ones.

A sweep lists the prefix, decides on an action for each source, and publishes. The catalogue beside the volumes has a
record of each source, so the next sweep continues one that was killed, and nothing is published twice. A source that
cannot be published is quarantined: its record has a sentence. The file itself is never moved, changed or deleted.
"""

import json
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from tasks.parameters import Kinds, Publication, Retry, Run, SettleMinutes, Url
from tasks.volume.blocks import Progress
from tasks.volume.outcomes import DestinationRefused, Outcome, Resumable
from tasks.volume.protocol.place import refuse_no_bucket, refuse_volume
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.source_options import of_sources
from tasks.volume.sweeps.catalogue import ACCOUNT, TABLE, Catalogue, as_csv
from tasks.volume.sweeps.keys import reason
from tasks.volume.sweeps.policy import Action, decide, outcome_of, plan_of
from tasks.volume.sweeps.receipt import Receipt, missing, receipt
from tasks.volume.sweeps.staging import StagedSource, look_under

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submission:
    """One attempt at one source.

    Attributes:
        found: The source, and how it is published.
        run: How the run is carried out.
        key: Equal for the same attempt at the same content with the same plan, whichever sweep makes it.
    """

    found: StagedSource
    run: Run
    key: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `publish`, JSON-able."""
        places = {"source": self.found.source, "volume": self.found.volume}
        return places | self.found.publication.model_dump() | {"run": self.run.model_dump()}


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    state: Literal["published", "resumable", "quarantined"]
    sentence: str = ""


class Publisher(Protocol):
    """Runner of attempts: this process, or the runs of a deployment."""

    at_once: int

    def submit(self, job: Submission) -> str:
        """Begin an attempt, or find it begun; return its flow run, or '' if `wait` carries it out."""

    def wait(self, active: Mapping[str, Submission]) -> dict[str, Ending]:
        """Wait until some of these attempts, named by flow run or key, have ended; return how each ended."""

    def look(self, runs: Collection[str]) -> dict[str, Ending | None]:
        """Return how flow runs of earlier sweeps ended: None while one runs, no entry for an unknown one."""


def sweep(
    staging: Url,
    volumes: Url,
    settle_minutes: SettleMinutes = 10,
    retry: Retry = "nothing",
    kinds: Kinds = "all",
    publication: Publication = Publication(),
    run: Run = Run(),
    *,
    publisher: Publisher,
    stopping: threading.Event | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = log.info,
    waits: Callable[[list[str], datetime], None] = lambda names, until: None,
) -> dict[str, Any]:
    """Publish every new SEG-Y and every new scan under a staging prefix, and skip unchanged ones.

    A file that cannot be published is quarantined with a sentence and stays in place. Run it again at any time.

    Args:
        staging: The prefix where files arrive, such as s3://staging; a/b.sgy, or slices in a/b/, become a/b.zarr.
        volumes: The prefix of the volumes and their catalogue, such as s3://volumes.
        settle_minutes: Minutes that a file must be unchanged before it is published.
        retry: quarantined: also retry quarantined files.
        kinds: all: SEG-Y, and images in folders without SEG-Y, a folder of slices as one scan. segy: only SEG-Y.
        publication: Settings for each volume; a sidecar b.seismill.yaml beside b.sgy overrides them.
        run: Settings of each run; none changes the data.
        publisher: Publisher that carries attempts out.
        stopping: Event that stops the sweep, so that it can be resumed.
        report: Called with the number of attempts that have ended.
        say: Called with a sentence before the sweep waits.
        waits: Called with the sources that are arriving, and the time until which the sweep waits for them.

    Returns:
        The summary: `counts` of sources by outcome; how many `objects` were listed, each of which is
        counted either in `files`, by what became of it, or in `not_segy`, by its suffix; `attention` with a row for
        each source that a person should look at (in a dry run each that something would be done with); `catalogue`
        with the place of the table.

    Raises:
        InputRefused: These prefixes cannot be swept.
        Resumable: The sweep was stopped.
    """
    began, before = time.monotonic(), traffic.snapshot()
    stopping = stopping or threading.Event()
    source = Store(staging, of_sources(run.storage_options))
    target = Store(volumes, run.storage_options)
    refuse_volume(target)
    if run.dry_run:
        refuse_no_bucket(target)
    settle = timedelta(minutes=settle_minutes)
    listed, staged = look_under(source, target, publication, kinds)
    catalogue = Catalogue(target)
    lost = missing(staged, catalogue, run, say)
    actions = decide(staged, catalogue, again=retry, settle=settle, missing=lost)
    if not run.dry_run:
        carry_out(staged, actions, catalogue, publisher, run, stopping=stopping, report=report)
        if _settled_later(staged, actions, catalogue, settle, stopping, say, waits):
            listed, staged = look_under(source, target, publication, kinds)
            actions = decide(staged, catalogue, again="nothing", settle=settle)
            carry_out(staged, actions, catalogue, publisher, run, stopping=stopping, report=report)
        present = {file.name: (file.bytes, file.identity) for entry in staged for file in entry.files}
        catalogue.put(TABLE, as_csv(catalogue.records.values(), present).encode())
    outcomes = [outcome_of(entry, actions, catalogue, dry=run.dry_run) for entry in staged]
    files, not_segy = listed.account(staged, [outcome["state"] for outcome in outcomes])
    accounted = {"objects": len(listed.files), "files": files, "not_segy": not_segy}
    if not run.dry_run:
        facts = {"staging": source.url, "listed_at": _now().isoformat(), **accounted}
        catalogue.put(ACCOUNT, json.dumps(facts, indent=1).encode())
    spent = traffic.since(before)
    return {
        "stage": "sweep",
        "staging": source.url,
        "volumes": target.url,
        "dry_run": run.dry_run,
        "counts": dict(Counter(outcome["state"] for outcome in outcomes)),
        **accounted,
        "attention": [o for o in outcomes if o["state"] not in ("published", "unchanged")],
        "catalogue": f"{target.url}/{TABLE}",
        "oldest_proof": min((r.proven_at for r in catalogue.records.values() if r.proven_at), default=""),
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "bytes_written": spent.bytes_written,
        "notes": [],
    }


def carry_out(
    staged: list[StagedSource],
    actions: Mapping[str, Action],
    catalogue: Catalogue,
    publisher: Publisher,
    run: Run,
    *,
    stopping: threading.Event,
    report: Callable[[Progress], None],
) -> None:
    """Carry out the decided actions: at most `publisher.at_once` attempts at a time, the smallest sources first.

    Raises:
        Resumable: The sweep was stopped.
    """
    began, done, bytes_done = time.monotonic(), 0, 0
    active: dict[str, Submission] = {}
    due: deque[StagedSource] = deque()
    followed = [entry for entry in staged if actions[entry.name] == "follow"]
    known = publisher.look([catalogue.records[entry.name].run for entry in followed])
    for item in sorted(staged, key=lambda entry: (entry.bytes, entry.name)):
        record, action = catalogue.records[item.name], actions[item.name]
        if action == "refuse":
            catalogue.write(
                replace(record, state="quarantined", sentence=item.sentence, plan=plan_of(item), run="")
            )
        elif action == "wait" and not record.changed_at:
            catalogue.write(record)
        elif action == "publish":
            due.append(item)
        elif action == "follow":
            ending = known.get(record.run)
            if ending is None and record.run in known:
                active[record.run] = Submission(item, run, record.run)
            elif ending is None or ending.state == "resumable":  # forgotten by its server, or stopped
                due.append(item)
            else:
                _write_down(item, ending, catalogue, run)
    total = len(active) + len(due)
    while due or active:
        while due and len(active) < publisher.at_once and not stopping.is_set():
            item = due.popleft()
            try:
                job, name = _begin(item, catalogue, publisher, run)
            except (Resumable, DestinationRefused):  # the catalogue cannot be written
                raise
            except Exception as error:  # this one cannot even be begun; the others can
                log.exception("%s could not be begun", item.name)
                sentence = (
                    str(error) if isinstance(error, Outcome) else f"could not be begun: {reason(error)}"
                )
                ending = Ending("quarantined", f"{item.url}: {sentence}")
                _write_down(item, ending, catalogue, run)
                done, bytes_done = done + 1, bytes_done + item.bytes
                continue
            if name:
                active[name] = job
        if stopping.is_set():
            raise Resumable(f"the sweep stopped after {done} of {total} sources; run it again to go on")
        for name, ending in (publisher.wait(active) if active else {}).items():
            item = active.pop(name).found
            _write_down(item, ending, catalogue, run)
            done, bytes_done = done + 1, bytes_done + item.bytes
            report(Progress("sweep", done, total, bytes_done, time.monotonic() - began))


def _begin(
    source: StagedSource, catalogue: Catalogue, publisher: Publisher, run: Run
) -> tuple[Submission, str]:
    """Begin the next attempt at a source; its name among those under way, empty if another sweep was first."""
    record, plan = catalogue.records[source.name], plan_of(source)
    attempt = record.attempts + 1
    # The attempt belongs to the key: for the key of a failed run a server gives that failed run back.
    key = digest_of({"source": source.url, "identity": source.identity, "plan": plan, "attempt": attempt})
    job = Submission(source, run, key)
    # Killed between these two lines, the next sweep makes the same attempt and gets the same flow run.
    begun = publisher.submit(job)
    record = replace(record, state="running", sentence="", attempts=attempt, run=begun, plan=plan)
    return job, (begun or key) if catalogue.write(record) else ""


def _write_down(source: StagedSource, ending: Ending, catalogue: Catalogue, run: Run) -> None:
    record, given = catalogue.records[source.name], Receipt(source.files, "")
    if ending.state == "published":
        try:
            given = receipt(source, run)
        except Resumable as outcome:
            ending = Ending("resumable", str(outcome))
        except Outcome as outcome:
            ending = Ending("quarantined", str(outcome))
        except Exception as error:  # a volume that cannot be read back is one source's affair
            log.exception("%s: what was published cannot be read", source.name)
            ending = Ending("quarantined", f"{source.volume} cannot be read back: {reason(error)}")
    log.info("%s: %s%s", source.name, ending.state, f": {ending.sentence}" if ending.sentence else "")
    catalogue.write(
        replace(
            record,
            state=ending.state,
            sentence=ending.sentence,
            crc32c="" if source.group else given.files[0].crc32c,
            group=given.files if source.recorded else (),
            proven_at=given.proven_at,
        )
    )


def _settled_later(
    staged: list[StagedSource],
    actions: Mapping[str, Action],
    catalogue: Catalogue,
    settle: timedelta,
    stopping: threading.Event,
    say: Callable[[str], None],
    waits: Callable[[list[str], datetime], None],
) -> bool:
    """Wait until what is arriving may have settled; whether there was anything to wait for."""
    names = [entry.name for entry in staged if actions[entry.name] == "wait"]
    arriving = [catalogue.records[name].seen_at for name in names]
    if not arriving:
        return False
    settled = max(map(datetime.fromisoformat, arriving)) + settle
    seconds = max(0.0, (settled - _now()).total_seconds())
    if seconds:
        say(
            f"{len(arriving)} sources are new here, and may still be arriving: the sweep looks again in "
            f"{seconds / 60:.0f} min (--settle-minutes 0 takes them at once)"
        )
        waits(names, settled)
    if stopping.wait(seconds):
        raise Resumable("the sweep stopped while sources were arriving; run it again to go on")
    return True


def _now() -> datetime:
    return datetime.now(UTC)

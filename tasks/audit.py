"""Verify a share of every volume that sweeps published, so that each volume is reread in a few nights.

The day determines the objects: each day reads objects that the days before did not. With a fraction of 0.05 every
stored byte is read within twenty days. A damaged volume does not end the audit: all volumes are checked, and then the
audit fails with a sentence that names the damaged ones.
"""

import logging
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks.parameters import Fraction, Run, Url
from tasks.volume.blocks import Progress
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.store.objects import Store, traffic
from tasks.volume.sweeps.catalogue import TABLE, Catalogue, CatalogueEntry
from tasks.volume.sweeps.places import volume_name
from tasks.volume.sweeps.receipt import volumes_at

log = logging.getLogger(__name__)

MOST_NAMED = 3  # in the sentence; all are in the summary

# verify's own parameters, by name; it returns its summary or raises.
Verify = Callable[..., dict[str, Any]]


def audit(
    volumes: Url,
    fraction: Fraction = 0.05,
    errors: bool = False,
    run: Run = Run(),
    *,
    seed: int = -1,
    verify: Verify,
    stopping: threading.Event | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Verify a share of every volume that a sweep published, a different share each day.

    Args:
        volumes: The prefix of the volumes and their catalogue, such as s3://volumes.
        fraction: Share of the stored objects to read; 0.05 covers all of them in 20 days.
        errors: Also compare copies and levels with their masters and prove the exports; reads each volume whole.
        run: Settings of the run; none changes the data.
        seed: Number of the share; consecutive numbers take different objects; -1 for the number of the day.
        verify: Looks at one volume, given the parameters of the verb by name.
        stopping: Event that ends the audit.
        report: Called with the number of volumes that were checked.

    Returns:
        The summary: `counts` of volumes that are sound, damaged or being written by another run, `attention` with a row
        for each damaged one, `notes` on those being written and of `verify`, and how many `objects` there are and were
        `checked`.

    Raises:
        InputRefused: The place has no catalogue.
        IntegrityFailure: A volume is damaged or gone; it carries the summary.
        Resumable: The audit was stopped.
    """
    began, before = time.monotonic(), traffic.snapshot()
    stopping = stopping or threading.Event()
    store = Store(volumes, run.storage_options)
    records = Catalogue(store).records
    if not records:
        raise InputRefused(
            f"{store.url} has no catalogue of a sweep; check the prefix, or verify single volumes"
        )
    published = sorted((record for record in records.values() if record.state == "published"), key=_name)
    seed = datetime.now(UTC).toordinal() if seed < 0 else seed
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    checked = objects = 0
    # Not the URL of the record: whoever writes a catalogue must not say what is read.
    places = [Store(f"{store.url}/{volume_name(record.name)}", run.storage_options) for record in published]
    volumes_of_all = [part.url for place in places for part in volumes_at(place)]
    for done, volume in enumerate(volumes_of_all):
        if stopping.is_set():
            raise Resumable(f"the audit stopped after {done} of {len(volumes_of_all)} volumes; run it again")
        sentence, state = "", "sound"
        try:
            verified = verify(volume=volume, fraction=fraction, errors=errors, run=run, seed=seed)
            checked, objects = checked + verified["checked"], objects + verified["objects"]
            notes += [note if volume in note else f"{volume}: {note}" for note in verified["notes"]]
        except (IntegrityFailure, InputRefused) as outcome:  # damaged, or gone
            mends = f"; run seismill verify {shlex.quote(volume)} {outcome.flags}" if outcome.flags else ""
            sentence, state = outcome.sentence + mends, "damaged"
        except Resumable as outcome:
            if stopping.is_set():
                raise
            sentence, state = str(outcome), "being written"
            notes.append(sentence)
        if sentence:
            log.info("%s", sentence)
        rows.append({"source": volume, "state": state, "sentence": sentence})
        read = traffic.since(before).bytes_read
        report(Progress("audit", done + 1, len(volumes_of_all), read, time.monotonic() - began))
    spent = traffic.since(before)
    damaged = [row for row in rows if row["state"] == "damaged"]
    summary = {
        "stage": "audit",
        "volumes": store.url,
        "counts": dict(Counter(row["state"] for row in rows)),
        "attention": damaged,
        "catalogue": f"{store.url}/{TABLE}",
        "objects": objects,
        "checked": checked,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "bytes_written": spent.bytes_written,
        "notes": notes,
    }
    if damaged:
        named = "; ".join(row["sentence"] for row in damaged[:MOST_NAMED])
        more = f"; and {len(damaged) - MOST_NAMED} more" if len(damaged) > MOST_NAMED else ""
        failure = IntegrityFailure(f"{len(damaged)} of {len(rows)} volumes are damaged: {named}{more}")
        failure.summary = summary  # type: ignore[attr-defined]
        raise failure
    return summary


def _name(record: CatalogueEntry) -> str:
    return record.name

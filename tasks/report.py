"""Make the report of a volume, which shows the survey and the errors of its copies.

One HTML page and its pictures lie in the volume, under `.seismill/report/`, where readers of arrays do not see them. At
most one slice in each direction is read, and only its middle if a slice is very large.
"""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.protocol.holdings import held_epoch
from tasks.volume.protocol.manifest import REPORT, REPORT_PAGE
from tasks.volume.protocol.owner import held
from tasks.volume.protocol.remembered import recalling
from tasks.volume.protocol.root import known_root
from tasks.volume.protocol.summary import array_rows
from tasks.volume.report.kept import directions, keep_report, kept_report, made_of
from tasks.volume.store.browser import browser_link
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)


def report(volume: Url, run: Run = Run()) -> dict[str, Any]:
    """Make the report of a volume: one HTML page with map, slices, copies, figures and proof.

    Args:
        volume: The volume, or another tool's group with levels or copies by Seismill.
        run: Settings of the run; none changes the data.

    Returns:
        The summary of the stage, with the places of the page and the pictures, small versions of them, and the table
        of arrays.

    Raises:
        InputRefused: There is no volume.
        Resumable: Another run holds the volume.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = recalling(Store(volume, run.storage_options))
    owns = held_epoch(store)
    opened = open_any(store, known_root(store))
    names, beside = list(directions(opened)), ["map"] if opened.has("trace_mask") else []
    facts, of_before = (None, []) if run.dry_run else kept_report(store, made_of(opened))
    again = facts is not None
    if facts is None and not run.dry_run:
        with held(store, run) as (writable, epoch):
            if not owns:  # as it is under the lock, under which another run may have made the report
                opened = open_any(store)
                facts, of_before = kept_report(store, made_of(opened))
            facts = facts or _made(writable, epoch, opened, of_before)
        log.info("%s: %d pictures in %.1f s", store.url, len(facts["pictures"]), time.monotonic() - began)
    known = facts or {"pictures": [*beside, "histogram", *names], "thumbnails": [], "notes": []}
    rows = rows_of(opened)
    spent = traffic.since(before)
    return {
        **({"dry_run": True} if run.dry_run else {}),
        "volume": store.url,
        "stage": "report",
        "arrays": rows,
        "table": table(rows),
        "page": (page := f"{store.url}/{REPORT_PAGE}"),
        "page_link": browser_link(page, run.storage_options),
        "pictures": [f"{store.url}/{REPORT}/{name}.png" for name in known["pictures"]],
        "thumbnails": known["thumbnails"],
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "bytes_written": spent.bytes_written,
        "notes": [*known["notes"], *(["was done already"] if again else [])],
    }


def _made(store: WritableStore, epoch: int, volume: Volume, replaced: Sequence[str]) -> dict[str, Any]:
    """Draw the report, store it, and return its facts."""
    # Here, because importing matplotlib takes as long as drawing all pictures.
    from tasks.volume.report.drawing import draw_report

    page, pictures, notes = draw_report(volume, rows_of(volume), copies_of(volume), directions(volume))
    facts = {
        "made_of": made_of(volume),
        "pictures": [picture.name for picture in pictures],
        "notes": notes,
        "thumbnails": [{"name": picture.name, "png_base64": picture.thumbnail} for picture in pictures],
    }
    files = {"report.html": page, "report.json": (json.dumps(facts) + "\n").encode()}
    files |= {f"{picture.name}.png": picture.png for picture in pictures}
    keep_report(store, epoch, files, replaced)
    return facts


def copies_of(volume: Volume) -> list[str]:
    """Paths of the copies of the master."""
    return [
        path
        for path in volume.members
        if volume.array_attributes(path).get("copy_of") == volume.master_name and path != volume.master
    ]


def rows_of(volume: Volume) -> list[dict[str, Any]]:
    """Return one row per array: master, copies, levels; for another tool's array its place and listed size."""
    levels = [level.path for level in volume.state.levels if level.path != volume.master]
    rows = array_rows(volume.root, [volume.master, *copies_of(volume), *levels])
    rows[0] |= volume.root.group.measured(volume, rows[0]["raw_bytes"])
    return rows


def table(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Return a table of texts, a row for each array; empty where there is no such number."""

    def number(row: dict[str, Any], name: str, form: str) -> str:
        return format(row[name], form) if name in row else ""

    return [
        {
            "array": row["path"],
            "shape": _times(row["shape"]),
            "chunks": _times(row["chunks"]),
            "raw bytes": f"{row['raw_bytes']:,}",
            "stored bytes": f"{row['stored_bytes']:,}",
            "ratio": f"{row['ratio']:.2f}",
            "tolerance": number(row, "tolerance", ".4g"),
            "max error": number(row, "max_abs_error", ".4g"),
            "rmse": number(row, "rmse", ".4g"),
            "SNR (dB)": number(row, "snr_db", ".1f"),
        }
        for row in rows
    ]


def _times(extents: Iterable[int]) -> str:
    return " x ".join(map(str, extents))

"""Artifacts of a run in Prefect's UI: progress, a table of arrays, pictures and links.

Artifacts never fail or delay a run: if the server does not answer, the run's log has a warning.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from flows.summary import (
    Summary,
    accounted,
    filled_columns,
    headline,
    progress_sentence,
    short_name,
    stage_rows,
    table_rows,
)
from tasks.volume.blocks import Progress
from tasks.volume.store.browser import browser_link


def progress_sender(volume: str) -> Callable[[Progress], None]:
    """Return a function that keeps one progress artifact per phase."""
    artifacts: dict[str, UUID] = {}

    def send(progress: Progress) -> None:
        percent = 100 * progress.done / progress.total if progress.total else 100.0
        description = progress_sentence(progress)
        with not_vital("progress"):
            if progress.stage in artifacts:
                update_progress_artifact(artifacts[progress.stage], progress=percent, description=description)
            else:
                artifacts[progress.stage] = create_progress_artifact(  # type: ignore[assignment]  # called outside of an event loop
                    progress=percent,
                    key=artifact_key("progress", progress.stage, volume),
                    description=description,
                )

    return send


def put_summary(summary: Summary) -> None:
    """Store the table of arrays, the pictures and the links of a finished run as artifacts."""
    if "volume" not in summary:
        return
    volume = summary["volume"]
    rows = table_rows(summary)
    shown = [{name: row[name] for name in filled_columns(rows)} for row in rows]
    if shown:
        _put(
            create_table_artifact,
            table=shown,
            key=artifact_key("arrays", volume),
            description=headline(summary),
        )
    _put(create_link_artifact, link=_link(volume), link_text=volume, key=artifact_key("volume", volume))
    if page := summary.get("page_link"):
        _put(create_link_artifact, link=page, link_text="report", key=artifact_key("page", volume))
    thumbnails = summary.get("thumbnails", [])
    for thumbnail in thumbnails:
        _put(
            create_image_artifact,
            image_url=f"data:image/png;base64,{thumbnail['png_base64']}",
            key=artifact_key("picture", thumbnail["name"], volume),
            description=thumbnail["name"],
        )
    _put(
        create_markdown_artifact,
        markdown=_markdown(summary, shown),
        key=artifact_key("report", volume),
        description=headline(summary),
    )


def put_attention(summary: Summary) -> None:
    """Store the table of sources or volumes that need attention, and the URL of their catalogue, as an artifact."""
    columns = ("source", "state", "sentence", "attempts", "run")
    rows = [{name: row[name] for name in columns if name in row} for row in summary["attention"]]
    if rows:
        _put(
            create_table_artifact,
            table=rows,
            key=artifact_key(summary["stage"], summary["volumes"]),
            description="; ".join(filter(None, (headline(summary), accounted(summary)))),
        )
    if not summary.get("dry_run"):
        _put(
            create_link_artifact,
            link=_link(summary["catalogue"]),
            link_text="catalogue of all sources",
            key=artifact_key("catalogue", summary["volumes"]),
        )


def put_waiting(deployment: str, rows: list[dict[str, str]]) -> None:
    """Store the table of runs that a sweep waits for, and log the number of runs in each state."""
    counts = Counter(row["state"] for row in rows)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    sentence = f"waiting for {len(rows)} runs of {deployment}: {states}"
    if rows and not counts.keys() - {"Scheduled", "Late"}:
        sentence += "; none has begun: look for a worker of their pool, and at its limits"
    with not_vital("waiting"):
        get_run_logger().info(sentence)
    _put(create_table_artifact, table=rows, key=artifact_key("waiting", deployment), description=sentence)


def put_arriving(staging: str, names: list[str], until: datetime) -> None:
    """Store the table of sources that a sweep waits for because they are arriving."""
    sentence = f"waiting until {until:%H:%M:%S} UTC for {len(names)} sources that are arriving"
    rows = [{"source": name, "state": "arriving"} for name in names]
    _put(create_table_artifact, table=rows, key=artifact_key("arriving", staging), description=sentence)


def artifact_key(*parts: str) -> str:
    """Return a key in Prefect's form: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(short_name(part) for part in parts).lower()).strip("-")


def _markdown(summary: Summary, rows: list[dict[str, str]]) -> str:
    lines = [f"# {headline(summary)}", ""]
    for table in filter(None, (rows, stage_rows(summary))):
        lines += [f"| {' | '.join(table[0])} |", f"|{'---|' * len(table[0])}"]
        lines += [f"| {' | '.join(row.values())} |" for row in table]
        lines.append("")
    lines += [f"- {note}" for note in summary.get("notes", [])]
    lines += [f"- report: {_opened(page)}" for page in _pages(summary)]
    for thumbnail in summary.get("thumbnails", []):
        lines += ["", f"![{thumbnail['name']}](data:image/png;base64,{thumbnail['png_base64']})"]
    return "\n".join(lines)


def _pages(summary: Summary) -> list[str]:
    if pages := summary.get("pages"):
        return [_link(page) for page in pages]
    return [summary["page_link"]] if "page_link" in summary else []


def _opened(link: str) -> str:
    """Return a link as Markdown; a page that came over HTTP may not open a file, so its address is to be pasted."""
    return f"[{link}]({link})" if link.startswith("http") else f"`{link}` (paste it into the address bar)"


def _link(url: str) -> str:
    return browser_link(url)


def _put(create: Callable[..., Any], **arguments: Any) -> None:
    with not_vital(arguments["key"]):
        create(**arguments)


@contextmanager
def not_vital(what: str) -> Iterator[None]:
    """Log an exception that is raised inside the `with`, and continue."""
    try:
        yield
    except Exception as error:  # whatever the server or the way to it does, the volume is in order
        try:
            logger: Any = get_run_logger()
        except MissingContextError:
            logger = logging.getLogger(__name__)
        logger.warning(
            "the artifact %s is not shown, the run goes on: %s: %s", what, type(error).__name__, error
        )

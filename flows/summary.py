"""Turn a verb's summary into sentences and table rows, the same on the terminal and in Prefect.

A summary is the JSON-able dictionary that every verb returns: volume, stage, arrays (path, shape, chunks, stored
bytes, measured errors …), blocks, seconds, requests, bytes and notes.
"""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from tasks.volume.blocks import Progress

Summary = dict[str, Any]

# Of `report`, for pages and pictures; a terminal has its own table and --json has the arrays.
FOR_A_BROWSER = ("thumbnails", "table", "page", "pages", "page_link")
_ADDED = ("blocks_done", "blocks_resumed", "seconds", "requests", "bytes_read", "bytes_written")


_COUNTS = {
    "due": "would be published",
    "published": "published",
    "quarantined": "quarantined",
    "resumable": "to be gone on with",
    "arriving": "arriving",
    "running": "under way elsewhere",
    "unchanged": "unchanged",
    "sound": "sound",
    "damaged": "damaged",
}


def combined(stage: str, summaries: Sequence[Summary]) -> Summary:
    """Return one summary of several stages of one volume; of two rows for one array, the later one is kept."""
    arrays: dict[str, dict[str, Any]] = {}
    for array in (array for summary in summaries for array in summary.get("arrays", [])):
        arrays[array["path"]] = arrays.get(array["path"], {}) | array
    together: Summary = {
        "volume": summaries[0]["volume"],
        "stage": stage,
        "arrays": list(arrays.values()),
        **{name: sum(summary.get(name, 0) for summary in summaries) for name in _ADDED},
        "notes": list(dict.fromkeys(note for summary in summaries for note in _notes_with_stage(summary))),
        "stages": [
            {name: summary[name] for name in ("stage", *_ADDED) if name in summary} for summary in summaries
        ],
    }
    for summary in summaries:
        # What only one stage says (the pictures of report, proven_at of prove, the plan of a dry run) is kept.
        together.update({name: value for name, value in summary.items() if name not in together})
    return together


def _notes_with_stage(summary: Summary) -> list[str]:
    notes: list[str] = summary.get("notes", [])
    return notes if "stages" in summary else [f"{summary['stage']}: {note}" for note in notes]


def headline(summary: Summary) -> str:
    """Return the run in one sentence."""
    if "counts" in summary:
        counts = summary["counts"]
        parts = [f"{counts[state]} {words}" for state, words in _COUNTS.items() if counts.get(state)]
        if not parts:
            return (
                f"no SEG-Y and no scan under {summary['staging']}"
                if "staging" in summary
                else "nothing is published yet"
            )
        more = f", {summary['checked']} of {summary['objects']} objects read" if "checked" in summary else ""
        return ", ".join(parts) + more
    if "volume" not in summary:
        return str(summary.get("stage", "done"))
    name = short_name(summary["volume"])
    arrays = summary.get("arrays", [])
    if summary.get("dry_run"):
        raw = sum(array.get("raw_bytes") or 0 for array in arrays)
        return f"{name}: {_counted(arrays)} of {size(raw)} would be written; nothing was"
    words = [_counted(arrays) if arrays else summary.get("stage", "done")]
    stored = sum(array.get("stored_bytes") or 0 for array in arrays)
    if stored:
        words.append(f"{size(stored)} stored")
    if summary.get("proven_at"):
        words.append("export proven identical")
    if summary.get("compared_at"):
        words.append("voxels equal to the source's")
    if summary.get("seconds"):
        words.append(f"{summary['seconds']:.1f} s")
    return f"{name}: {', '.join(words)}"


def accounted(summary: Summary) -> str:
    """Return the counts of all objects that a sweep listed, in one line; empty for other summaries."""
    if "not_segy" not in summary:
        return ""
    parts = [f"{count} {_COUNTS.get(state, state)}" for state, count in summary["files"].items()]
    if others := summary["not_segy"]:
        by_suffix = ", ".join(f"{suffix} {count}" for suffix, count in others.items())
        parts.append(f"{sum(others.values())} no source by name ({by_suffix})")
    return f"{summary['objects']} objects listed: {', '.join(parts) or 'none'}"


def estimate(summary: Summary) -> str:
    """Return what a dry run expects of a publication, in one line."""
    parts = [f"{size(summary['estimated_bytes'])} stored"]
    if "writes" in summary:
        reads = f" and {summary['reads']:,} reads" if "reads" in summary else ""
        parts.append(f"about {summary['writes']:,} writes{reads}")
    if "hours" in summary:
        parts.append(f"{duration(3600 * summary['hours'])} of one machine such as this")
    if "cost_once" in summary:
        parts.append(f"{summary['cost_once']:.2f} once")
    if "cost_per_month" in summary:
        parts.append(f"{summary['cost_per_month']:.2f} a month")
    return ", ".join(parts)


def progress_sentence(progress: Progress) -> str:
    """Return blocks done of blocks known, bytes per second and time left, in one line."""
    words = f"{progress.stage}: {progress.done} of {progress.total} {counted_as(progress)}"
    if progress.seconds > 0 and progress.bytes_done:
        words += f", {size(progress.bytes_done / progress.seconds)}/s"
    if 0 < progress.done < progress.total and progress.seconds > 0:
        words += (
            f", about {duration(progress.seconds / progress.done * (progress.total - progress.done))} left"
        )
    return words


def counted_as(progress: Progress) -> str:
    """Return what the numbers of a progress count."""
    return {"sweep": "sources", "audit": "volumes"}.get(progress.stage, "blocks")


def table_rows(summary: Summary) -> list[dict[str, str]]:
    """Return one row of short texts per array, all with the same columns; a missing figure is empty."""
    return [
        {
            "array": array["path"],
            "shape": times(array.get("shape")),
            "chunks": times(array.get("chunks")),
            "stored": size(array["stored_bytes"]) if array.get("stored_bytes") is not None else "",
            "ratio": _number(array.get("ratio"), ".2f"),
            "max error": _number(array.get("max_abs_error"), ".3g"),
            "allowed": _number(array.get("tolerance"), ".3g"),
            "SNR dB": _number(array.get("snr_db"), ".1f"),
            "rmse": _number(array.get("rmse"), ".3g"),
            "shards": times(array.get("shards")),
            "dtype": str(array.get("dtype", "")),
        }
        for array in summary.get("arrays", [])
    ]


def stage_rows(summary: Summary) -> list[dict[str, str]]:
    """Return one row of short texts per stage: time, requests to stores and bytes; with a sum for several."""
    stages = [stage for stage in summary.get("stages", [summary]) if "requests" in stage]
    if len(stages) > 1:
        stages = [*stages, summary | {"stage": "together"}]
    return [
        {
            "stage": stage["stage"],
            "seconds": f"{stage['seconds']:.1f}",
            "requests": str(stage["requests"]),
            "read": size(stage["bytes_read"]),
            "written": size(stage["bytes_written"]),
        }
        for stage in stages
    ]


_TOTALS = (
    "stage",
    "volume",
    "volumes",
    "counts",
    "objects",
    "files",
    "not_segy",
    "checked",
    "proven_at",
    "compared_at",
    *_ADDED,
)


def totals(summary: Summary) -> str:
    """Return the numbers of a run as one line of JSON, for log collectors."""
    facts = {name: summary[name] for name in _TOTALS if name in summary}
    arrays = summary.get("arrays", [])
    if arrays:
        facts["arrays"] = len(arrays)
        facts["stored_bytes"] = sum(array.get("stored_bytes") or 0 for array in arrays)
    return json.dumps(facts)


def filled_columns(rows: Sequence[dict[str, str]]) -> list[str]:
    """Return the columns with a value in at least one row."""
    return [name for name in (rows[0] if rows else {}) if any(row[name] for row in rows)]


def short_name(url: str) -> str:
    """Return the last part of a path or URL."""
    return PurePosixPath(url.rstrip("/")).name or url


def size(count: float) -> str:
    """Return bytes in a readable unit (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def duration(seconds: float) -> str:
    """Return a duration in seconds below a minute, in minutes below two hours, else in hours."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def times(lengths: Sequence[int] | None) -> str:
    """Return numbers joined by x, such as 4x512x512."""
    return "x".join(map(str, lengths or ()))


def _counted(arrays: Sequence[Any]) -> str:
    return "1 array" if len(arrays) == 1 else f"{len(arrays)} arrays"


def _number(value: float | None, format_spec: str) -> str:
    return "" if value is None else format(value, format_spec)

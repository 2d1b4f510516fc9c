"""Progress and results on the terminal."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.progress import Report
from flows.summary import (
    FOR_A_BROWSER,
    Summary,
    accounted,
    counted_as,
    estimate,
    filled_columns,
    headline,
    progress_sentence,
    size,
    table_rows,
)
from tasks.volume.blocks import Progress

# Keys that the table, the headline or the last lines show already.
_SHOWN = {"volume", "stage", "arrays", "stages", "notes", "pictures", "dry_run", "proven_at", *FOR_A_BROWSER}
_SHOWN |= {"compared_at"}
_SHOWN |= {"seconds", "requests", "bytes_read", "bytes_written", "blocks_done", "blocks_resumed"}
_SHOWN |= {"memory_bytes", "peak_bytes", "estimated_bytes", "headers_bytes", "hours", "writes", "reads"}
_SHOWN |= {"cost_once", "cost_per_month"}
_SHOWN |= {"source", "source_bytes", "target", "bytes", "identical", "export_identical"}

_TOO_WIDE = {"shards", "dtype", "rmse"}  # the rest fits 80 columns; --json and the artifact have all
_SHOWN |= {"axes", "place", "epsg", "counts", "staging", "volumes", "catalogue", "candidates", "words"}
_SHOWN |= {"files", "not_segy", "trials", "oldest_proof", "attention"}
# What a number counts, by stage and key.
_COUNTED = {(stage, "checked"): " traces, with segyio" for stage in ("export", "demo")}
_NOTHING: tuple[Any, ...] = (None, "", [], {}, ())
_LABELS = {"firsts": "first values", "lasts": "last values"}


@contextmanager
def progress_bar(console: Console) -> Iterator[Report]:
    """Show a bar per phase of each stage inside the `with`; without a terminal (a pipe, a log), a line at its end."""
    if not console.is_terminal:

        def report(progress: Progress) -> None:
            if progress.done >= progress.total:
                console.print(progress_sentence(progress), highlight=False, soft_wrap=True)

        yield report
        return

    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars

    columns = [SpinnerColumn(), TextColumn("{task.fields[stage]}"), BarColumn(), MofNCompleteColumn()]
    with Bars(*columns, TextColumn("{task.fields[rate]}"), console=console, transient=False) as bars:
        tasks: dict[str, TaskID] = {}

        def report(progress: Progress) -> None:
            stage, _, rate = progress_sentence(progress).partition(
                f": {progress.done} of {progress.total} {counted_as(progress)}"
            )
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=progress.total, stage=stage, rate="")
            bars.update(tasks[stage], completed=progress.done, total=progress.total, rate=rate.lstrip(", "))

        yield report


def show(summary: Summary, console: Console) -> None:
    """Print the outcome: a table of arrays, findings, notes, and the paths of what was made."""
    rows = table_rows(summary)
    if rows:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        names = [name for name in filled_columns(rows) if name not in _TOO_WIDE]
        for name in names:
            table.add_column(
                name.replace(" ", "\n"), justify="left" if name == "array" else "right", no_wrap=True
            )
        for row in rows:
            table.add_row(*(row[name] for name in names))
        console.print(table)
    shown = _SHOWN | ({"objects"} if "not_segy" in summary else set())
    _show_attention(summary.get("attention", []), console)
    _show_place(summary, console)
    findings = {name: value for name, value in summary.items() if name not in shown}
    _show_findings(findings, console, summary.get("stage", ""))
    _show_words(summary.get("words", []), console)
    _show_candidates(summary.get("candidates", []), console)
    _show_trials(summary.get("trials", []), console)
    for note in summary.get("notes", []):
        _line(console, f"note: {note}")
    if "estimated_bytes" in summary:
        _line(console, f"estimate: {estimate(summary)}")
    if "peak_bytes" in summary:
        block = size(summary["memory_bytes"])
        _line(console, f"memory: about {size(summary['peak_bytes'])} at the peak; a block takes {block}")
    if summary.get("requests"):
        read, written = size(summary.get("bytes_read", 0)), size(summary.get("bytes_written", 0))
        requests = f"{summary['requests']:,} request{'s' * (summary['requests'] != 1)}"
        _line(console, f"{requests} to stores, {read} read, {written} written")
    if summary.get("source"):
        length = f" ({size(summary['source_bytes'])})" if "source_bytes" in summary else ""
        _line(console, f"source: {summary['source']}{length}")
    for page in summary.get("pages", [summary["page"]] if "page" in summary else []):
        if not summary.get("dry_run"):
            _line(console, f"report: {page}")
    if "trials" in summary and summary.get("pictures"):
        _line(console, f"picture: {summary['pictures'][0]}")
    if summary.get("target"):
        result = "copy" if summary["stage"] == "copy" else "export"
        _line(console, f"{result}: {summary['target']}{_described(summary)}")
    if "not_segy" in summary:
        _line(console, accounted(summary))
    if summary.get("catalogue"):
        _line(console, f"catalogue: {summary['catalogue']}")
        _line(console, headline(summary))
    if summary.get("volume"):
        _line(console, f"volume: {summary['volume']}")
        _line(console, headline(summary))
    if "export_identical" in summary:
        _line(console, f"export identical: {'yes' if summary['export_identical'] else 'no'}")


def _described(export: Summary) -> str:
    parts = [size(export["bytes"])] if "bytes" in export else []
    if "identical" in export:
        parts.append("identical to the source" if export["identical"] else "not identical to the source")
    return f" ({', '.join(parts)})" if parts else ""


def _show_findings(findings: dict[str, Any], console: Console, stage: str = "", indent: str = "") -> None:
    for name, value in findings.items():
        label = f"{indent}{str(name).replace('_', ' ')}:"
        if value in _NOTHING:
            continue
        if isinstance(value, dict):
            _line(console, label)
            _show_findings(value, console, stage, indent + "  ")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            _line(console, label)
            for item in value:
                parts = [
                    f"{_LABELS.get(key, key.replace('_', ' '))} {_text(part)}"
                    for key, part in item.items()
                    if part not in _NOTHING
                ]
                _line(console, f"{indent}  - {', '.join(parts)}")
        elif isinstance(value, str) and "\n" in value:
            _line(console, label)
            for text in value.splitlines():
                if not re.fullmatch(r"C\s*\d+\s*", text):  # an empty card of a textual header
                    _line(console, f"{indent}  {text.rstrip()}")
        else:
            _line(console, f"{label} {_text(value)}{_COUNTED.get((stage, name), '')}")


def axis_line(axis: dict[str, Any]) -> str:
    """Return an axis as one line: name, first and last value, step, unit and count."""
    step, unit = axis["step"], axis.get("unit", "")
    by = "" if step == 1 else f", {step}" if isinstance(step, str) else f" by {step:g}"
    unit = f" {unit}" if unit not in ("", "1") else ""
    return f"{axis['name']} {_text(float(axis['first']))} to {_text(float(axis['last']))}{by}{unit} ({axis['count']:,})"


def _show_place(summary: Summary, console: Console) -> None:
    """Print axes, extents of X and Y, corners, bins and directions."""
    for axis in summary.get("axes", []):
        _line(console, f"axis: {axis_line(axis)}")
    place = summary.get("place") or {}
    unit = f" {place['unit']}" if place.get("unit") else ""
    for name in ("x", "y"):
        if name in place:
            low, high = place[name]
            _line(console, f"{name}: {_exact(low)} to {_exact(high)}{unit}")
    for corner in place.get("corners", []):
        _line(console, "corner: " + ", ".join(f"{name} {_exact(value)}" for name, value in corner.items()))
    for name in ("bin_size", "azimuth"):
        if name in place:
            stated = ", ".join(f"{dim} {_exact(value)}" for dim, value in place[name].items())
            _line(console, f"{name.replace('_', ' ')}: {stated}")
    if summary.get("epsg"):
        _line(console, f"reference system: EPSG:{summary['epsg']}")


def _show_attention(rows: list[dict[str, Any]], console: Console) -> None:
    """Print a line for each source or volume that needs attention: its name, its state, what to do."""
    for row in rows:
        name = row.get("source") or row.get("volume", "")
        stated = f": {row['sentence']}" if row.get("sentence") else ""
        _line(console, f"{name}: {row['state']}{stated}")


def _exact(value: float) -> str:
    """Return a coordinate as people write it: all digits, no exponent."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _show_words(words: list[dict[str, Any]], console: Console) -> None:
    """Print the header fields that differ from trace to trace."""
    if not words:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("byte", "from", "to", "step", "values", "changes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("order")
    table.add_column("name", no_wrap=True)
    for word in words:
        counts = (word["byte"], word["first"], word["last"], word["step"], word["count"])
        table.add_row(*map(str, counts), f"{word['changes']:.0%}", word["order"], word["name"])
    _line(console, "header fields that vary:")
    console.print(table)


def _show_trials(trials: list[dict[str, Any]], console: Console) -> None:
    """Print ratio and quality of trial copies by tolerance; a missing figure means no error."""
    if not trials:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    forms = {
        "tolerance": ".4g",
        "ratio": ".2f",
        "snr_db": ".1f",
        "psnr_db": ".1f",
        "ssim": ".5f",
        "max_abs_error": ".3g",
    }
    for name in ("codec", "tolerance", "ratio", "SNR dB", "PSNR dB", "SSIM", "max error"):
        table.add_column(name, justify="left" if name == "codec" else "right", no_wrap=True)
    for trial in trials:
        table.add_row(
            trial["codec"],
            *(format(trial[name], form) if name in trial else "exact" for name, form in forms.items()),
        )
    console.print(table)


def _show_candidates(candidates: list[dict[str, Any]], console: Console) -> None:
    """Print the header fields that were judged: candidates with their option, others with the reason against them."""
    if not candidates:
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("bytes", "index", "filled"):
        table.add_column(name, justify="right" if name == "filled" else "left")
    table.add_column("use, or why not", overflow="fold")
    # Rejected candidates are shown only if they are the standard's or hold more than one value.
    shown = [
        candidate
        for candidate in candidates
        if not candidate["objection"] or candidate["bytes"] == [189, 193] or max(candidate["counts"]) > 1
    ]
    for item in sorted(shown, key=lambda entry: bool(entry["objection"])):
        spans = (
            f"{name} {first} to {last}{f' by {step}' if step > 1 else ''} ({count:,})"
            for name, first, last, step, count in zip(
                item["names"], item["firsts"], item["lasts"], item["steps"], item["counts"], strict=True
            )
        )
        place = ",".join(map(str, item["bytes"])) or "none"
        verdict = f"no: {item['objection']}" if item["objection"] else item["option"]
        filled = f"{item['density']:.0%}" if item["density"] <= 1 else f"{item['density']:.3g}x"
        table.add_row(place, "\n".join(spans), filled, verdict)
    _line(console, "candidates for the index:")
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e5 else _exact(value)
    return str(value)


def _line(console: Console, text: str) -> None:
    # No markup, colours or wrapping: brackets in a path are not styles, and paths are copied from here.
    console.print(text, markup=False, highlight=False, soft_wrap=True)

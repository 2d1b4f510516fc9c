"""Pictures and figures of a volume, by which a geophysicist sees that it is the survey and what its copies lose.

The pictures lie in the volume, under `.seismill/report/`, where no reader of arrays meets them. What is read
does not grow with the volume beyond one slice in each direction, cut to its middle where even that is much.
"""

import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import TYPE_CHECKING, Any

from tasks.parameters import Run, Url
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.arrays.spec import AS_FOUND
from tasks.volume.blocks import cpu_count
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.ledger import Stored
from tasks.volume.protocol.manifest import LISTED_BESIDE, REPORT, REPORT_LIST, REPORT_TEXT, listing_bytes
from tasks.volume.protocol.summary import array_rows
from tasks.volume.report.slices import Slice, compared, mask_of, sample, sides_of, slice_of
from tasks.volume.store.objects import Store, traffic

if TYPE_CHECKING:
    from tasks.volume.report.pictures import Picture

log = logging.getLogger(__name__)

LEGEND = (
    "Grey: no trace. Yellow: NaN or Inf. Colours reach to the 99th percentile of the amplitudes of the slice, and "
    "those of a difference to its own."
)


def report(volume: Url, run: Run = Run()) -> dict[str, Any]:
    """Draw the middle slices of the master and of every copy with its difference, and a histogram of amplitudes.

    Args:
        volume: The published volume, or a group of another tool with levels or copies of ours; the pictures are
            stored inside it, under `.seismill/`.
        run: How to run.

    Returns:
        The summary of the stage, with the places of the pictures, small versions of them, and the table of arrays.

    Raises:
        InputRefused: There is no volume.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    found = open_any(store)
    copies = copies_of(found)
    levels = [level["path"] for level in found.state["levels"] if level["path"] != found.master]
    rows = rows_of(found, [found.master, *copies, *levels])
    notes: list[str] = []
    names = [*(name for name, _ in directions(found)), "histogram"]
    places = [f"{store.url}/{REPORT}/{name}.png" for name in names]
    pictures: list[Picture] = []
    markdown = ""
    if not run.dry_run:
        pictures = _draw(found, rows, copies, notes)
        markdown = _markdown(found, rows, pictures, notes)
        files = {f"{REPORT}/{picture.name}.png": picture.png for picture in pictures}
        files[REPORT_TEXT] = f"{markdown}\n{LISTED_BESIDE}\n".encode()
        for key, data in files.items():
            store.put(key, data)
        listed = [Stored.document(key, data) for key, data in files.items()]
        store.put(REPORT_LIST, listing_bytes(REPORT_LIST, listed))
        log.info("%s: %d pictures in %.1f s", store.url, len(pictures), time.monotonic() - began)
    spent = traffic.since(before)
    return {
        **({"dry_run": True} if run.dry_run else {}),
        "volume": store.url,
        "stage": "report",
        "arrays": rows,
        "table": table(rows),
        "pictures": places,
        "thumbnails": [{"name": p.name, "png_base64": p.thumbnail} for p in pictures],
        "markdown": markdown,
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "bytes_written": spent.bytes_written,
        "notes": notes,
    }


def copies_of(volume: Volume) -> list[str]:
    """Paths of the copies of the master."""
    return [
        path for path in volume.members if volume.array_attributes(path).get("copy_of") == volume.master_name
    ]


def rows_of(volume: Volume, paths: list[str]) -> list[dict[str, Any]]:
    """One row per array; of another tool's array its place, and what a listing of it says is stored."""
    rows = array_rows(volume.root, paths)
    if volume.origin:
        stored = sum(size for _, size, _ in volume.store_of(volume.master).listing(""))
        rows[0] |= {
            "path": volume.origin,
            "stored_bytes": stored,
            "ratio": rows[0]["raw_bytes"] / stored if stored else 0.0,
        }
    return rows


def directions(volume: Volume) -> list[tuple[str, tuple[int, int]]]:
    """The slices that are shown: a name, and the two axes of each.

    In volumes of more than three dimensions the leading ones are fixed at their middle. A slice that would be a
    single line of samples is left out, unless there is no other.
    """
    spec = volume.spec(volume.master)
    rank = len(spec.shape)
    if rank < 2:
        raise InputRefused(f"the master of {volume.store.url} has {rank} dimension; a report needs 2 or more")
    if rank == 2:
        return [("section", (0, 1))]
    first, second, third = range(rank - 3, rank)
    every = [
        (spec.dims[first], (second, third)),
        (spec.dims[second], (first, third)),
        (spec.dims[third], (first, second)),
    ]
    wide = [(name, axes) for name, axes in every if min(spec.shape[a] for a in axes) > 1]
    return wide or [max(every, key=lambda item: spec.shape[item[1][1]])]


def table(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Array by array what a person compares, as text; empty where there is no such number."""

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


@cache
def _pool() -> ThreadPoolExecutor:
    """The one pool of this process for pictures: reading waits for tasks of the others.

    matplotlib keeps fonts open for each thread that drew, so their number must not grow with that of the reports.
    """
    return ThreadPoolExecutor(cpu_count() + 1, thread_name_prefix="report")


def _draw(volume: Volume, rows: list[dict[str, Any]], copies: list[str], notes: list[str]) -> list["Picture"]:
    """All pictures; what they leave out is added to `notes`."""
    # Here, because importing matplotlib takes as long as drawing all pictures.
    from tasks.volume.report.histograms import draw_histogram
    from tasks.volume.report.pictures import draw_views

    name, master, shown_as = _name(volume), volume.master, volume.master_name
    captions = {row["path"]: _caption(row) for row in rows}
    mask, sides = mask_of(volume), sides_of(volume)

    def draw(shown: tuple[str, tuple[int, int]]) -> tuple["Picture", Slice]:
        found = slice_of(volume, shown[1], copies, mask=mask, sides=sides, captions=captions)
        return draw_views(shown[0], f"{name}: {found.title}", list(found.views.values())), found

    drawing = [_pool().submit(draw, shown) for shown in directions(volume)]
    sampling = _pool().submit(sample, volume, master, mask)
    wait(drawing)
    wait([sampling])  # nothing outlives a failure of another
    drawn = [future.result() for future in drawing]
    values, words = sampling.result()
    notes += [f"{picture.name}.png shows {phrase}" for picture, found in drawn for phrase in found.partial]
    against = [
        (f"{path} (red), in the pictures", *compared(path, [found for _, found in drawn])) for path in copies
    ]
    histogram = draw_histogram(
        "histogram", f"{name}: samples", shown_as, (f"{shown_as}, {words}", values), against
    )
    return [*(picture for picture, _ in drawn), histogram]


def _caption(row: dict[str, Any]) -> str:
    """How an array is stored, in a few words."""
    kept = "as found" if row["codec"] == AS_FOUND else "lossless"
    words = [
        f"within ±{row['tolerance']:.4g}" if row.get("tolerance") else kept,
        f"{row['ratio']:.1f} : 1",
    ]
    if row.get("tolerance") and "snr_db" in row:
        words.append(f"SNR {row['snr_db']:.1f} dB")
    return ", ".join(words)


def _times(extents: Iterable[int]) -> str:
    return " x ".join(map(str, extents))


def _name(volume: Volume) -> str:
    return volume.store.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")


def _markdown(volume: Volume, rows: list[dict[str, Any]], pictures: list["Picture"], notes: list[str]) -> str:
    """The report as a text that stands beside its pictures."""
    lines = [f"# {_name(volume)}", ""]
    for source in volume.state["sources"]:
        # Images are read slice by slice, not as a file whose checksum would be known.
        checksum = f", crc32c {source['crc32c']}" if "crc32c" in source else ""
        lines.append(f"{source['url']}, {source['bytes']:,} bytes{checksum}")
    cells = table(rows)
    lines += ["", f"| {' | '.join(cells[0])} |", f"|---|{'---:|' * (len(cells[0]) - 1)}"]
    lines += [f"| {' | '.join(row.values())} |" for row in cells]
    for picture in pictures:
        lines += ["", f"![{picture.name}]({picture.name}.png)"]
    lines += ["", LEGEND, *(["", *(f"- {note}" for note in notes)] if notes else [])]
    return "\n".join(lines) + "\n"

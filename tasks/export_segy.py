"""Give a volume back as the SEG-Y file it was made from, byte for byte.

One process decodes windows of traces in parallel and writes them in file order: to a local file through
`<target>.partial`, which an interrupted export goes on with, or to an object store as one multipart upload, whose
completion is the commit. What is written is checksummed on the way and compared with the source's checksum.
"""

import logging
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from tasks.parameters import Run, Url
from tasks.volume.blocks import Compute, Progress
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.reader import open_volume
from tasks.volume.rebuild import SegyParts, fitting_windows, open_parts, rebuilt_windows
from tasks.volume.records import PART_BYTES, checksums, whole_checksums
from tasks.volume.sink import Sink, open_sink
from tasks.volume.store import Store, traffic
from tasks.volume.summary import ended, fitting, using

log = logging.getLogger(__name__)


def export_segy(
    volume: Url,
    target: Url,
    overwrite: bool = False,
    run: Run = Run(),
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Write the SEG-Y file that a volume was made from, with every byte as it was.

    Args:
        volume: The published volume.
        target: The file to write.
        overwrite: Replace a file that is there already.
        run: How to run.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary: `target`, `bytes`, `crc32c` and `identical`, whether that is the source's.

    Raises:
        InputRefused: There is no volume, or it was not made from SEG-Y.
        DestinationRefused: The target is there already.
        IntegrityFailure: What would be written is not what was read from the source.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    parts = open_parts(open_volume(store))
    if run.dry_run:
        plain = {"dry_run": True, "volume": store.url, "stage": "export", "target": target}
        return plain | {"bytes": parts.size, "arrays": [], "notes": []}
    with ExitStack() as stack:
        compute = stack.enter_context(using(compute, run))
        regions, in_order, need = fitting_windows(parts, compute.memory_bytes)
        compute = fitting(compute, need, "a window of the export")
        sink = stack.enter_context(
            open_sink(target, run.storage_options, size=parts.size, overwrite=overwrite)
        )
        kept = _kept(parts, sink) if in_order else 0
        if not in_order:
            sink.scatter()
        crc = _write(parts, regions, sink, compute, kept)
        expected = parts.source["crc32c"]
        if crc != expected:
            sink.discard()
            raise IntegrityFailure(
                f"the export of {store.url} would have checksum {crc}, but the source had {expected}; nothing was "
                "written, run seismill verify to find what changed"
            )
        sink.commit()
    notes = [] if in_order else ["the source's order is not the grid's, so its traces were scattered"]
    if kept:
        notes.append(f"{kept:,} bytes of an interrupted export proved right and were kept")
    return ended(
        store, "export", [], began, before, notes=notes, target=sink.url, bytes=parts.size, crc32c=crc, identical=True
    )


def _kept(parts: SegyParts, sink: Sink) -> int:
    """Bytes of an interrupted export that need not be rebuilt."""
    if parts.source["crc32c_part_bytes"] != PART_BYTES:
        return 0
    return sink.kept([int(text, 16) for text in parts.source["crc32c_parts"]], PART_BYTES)


def _write(parts: SegyParts, regions: list[Any], sink: Sink, compute: Compute, kept: int) -> str:
    """Write header, windows and trailer from byte `kept` on; return the CRC32C of the whole file."""
    fmt, total = parts.fmt, len(regions)
    began = time.monotonic()
    sums = parts.source["crc32c_parts"][: -(-kept // PART_BYTES)]
    segments = [
        (i * PART_BYTES, min(PART_BYTES, kept - i * PART_BYTES), int(text, 16)) for i, text in enumerate(sums)
    ]
    regions = [r for r in regions if fmt.trace_offset(int(parts.trace_numbers[r].max()) + 1) > kept]

    def put(offset: int, data: np.ndarray) -> None:
        data, offset = data[max(0, kept - offset) :], max(kept, offset)
        segments.extend(checksums(data, offset))
        sink.write(offset, data)

    put(0, np.frombuffer(parts.header, np.uint8))
    for number, rebuilt in enumerate(rebuilt_windows(parts, regions, compute), start=total - len(regions) + 1):
        for first, records in rebuilt.stretches():
            put(fmt.trace_offset(first), records.reshape(-1))
        done = sum(length for _, length, _ in segments)
        compute.report(Progress("export", number, total, done, time.monotonic() - began))
    if parts.trailer:
        put(fmt.trace_offset(fmt.n_traces), np.frombuffer(parts.trailer, np.uint8))
    return f"{whole_checksums(segments, parts.size)[1]:08x}"

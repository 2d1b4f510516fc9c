"""Write a volume as the SEG-Y files it was made from, byte for byte, or part of it, or in another format.

One process decodes windows of traces in parallel and writes them in file order: to a local file through
`<target>.partial`, with which an interrupted export continues, or to an object store as one multipart upload, whose
completion makes the object visible. The written bytes are checksummed and, if they should equal the source, compared
with its checksum. Selected or converted traces are changed between decoding and writing.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from tasks.parameters import ArrayPath, Export, Run, Url
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.blocks import Compute, Progress
from tasks.volume.export.independent import compare, refuse_unreadable
from tasks.volume.export.output import Sink, open_sink, refuse_existing, refuse_target
from tasks.volume.export.rebuild import fitting_windows, rebuilt_windows
from tasks.volume.export.rewrite import REWRITE_BYTES, Edition, edition_of, notes_on, rewritten_records
from tasks.volume.export.segy_parts import FilePart, SegyParts, Window, open_parts
from tasks.volume.export.source_file import SourceFile
from tasks.volume.ingest.moved import crc32c_of
from tasks.volume.ingest.records import checksums, whole_checksums
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.summary import ended, fitting, using
from tasks.volume.segy.convert import Lost
from tasks.volume.segy.standards import SEISMIC_UNIX, SEISMIC_UNIX_WORDS
from tasks.volume.store.objects import Source, Store, locate, traffic

log = logging.getLogger(__name__)


def export_segy(
    volume: Url,
    target: Url,
    export: Export = Export(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    file: int = -1,
    check: bool = False,
    array: ArrayPath = "",
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Write a volume as SEG-Y: the source byte for byte, part of it, or in another form.

    Args:
        volume: The volume.
        target: The SEG-Y to write, local or in a store; a folder if the volume has several sources.
        export: Part and form of the file.
        overwrite: Replace an existing file.
        run: Settings of the run; none changes the data.
        file: Number of the source to write, from 0; -1 for all.
        array: Copy whose samples are written, such as fast_inline, with the source's headers; lossy as the copy is.
        check: Read the file with segyio and compare samples and header fields with the volume's; local files only.
        compute: Where to run; threads of this process if not given.

    Returns:
        The summary: `target`, `bytes`, `crc32c` and, if all is written as it was, `identical`: it is the source. Of
        several files the checksums are joined by commas. `checked` traces were compared through segyio.

    Raises:
        InputRefused: There is no volume, it was not made from SEG-Y, or it lacks a requested part; or
            segyio cannot read what is to be checked.
        DestinationRefused: The target is there already.
        IntegrityFailure: The bytes to write differ from those of the source, or segyio reads other values.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    opened = open_volume(store)
    parts = open_parts(opened, () if file < 0 else [file], array)
    edition = edition_of(parts, export)
    refuse_target(target, run.storage_options, file=bool(edition) or len(parts.files) == 1)
    if check:
        local = locate(target).local
        if edition:
            refuse_unreadable(target, edition.fmt, parts.trailer, local=local)
        for part in () if edition else parts.files:
            refuse_unreadable(target, part.fmt, part.trailer, local=local)
    if run.dry_run:
        if edition and not overwrite:
            refuse_existing(target, run.storage_options)
        elif not edition and len(parts.files) == 1:
            _is_there(target, parts.files[0], overwrite, run)
        planned = {"dry_run": True, "volume": store.url, "stage": "export", "target": target}
        size = edition.fmt.file_size if edition else parts.size
        return planned | {"bytes": size, "arrays": [], "notes": []}
    kept = 0
    with using(compute, run) as compute:
        if edition:
            size = edition.fmt.file_size
            with open_sink(target, run.storage_options, size=size, overwrite=overwrite) as sink:
                crc, notes = _write_edition(edition, sink, compute)
            checked = {"checked": _check_edition(edition, sink.location.path, compute)} if check else {}
            plain: dict[str, Any] = {"target": sink.url, "bytes": size, "crc32c": crc, **checked}
            return ended(store, "export", [], began, before, notes=notes, **plain)
        done = len(parts.files) == 1 and not overwrite and _is_there(target, parts.files[0], overwrite, run)
        if done:
            crc, in_order = parts.files[0].source.crc32c, True
        elif len(parts.files) > 1:
            crc, in_order = _export_all(opened, parts, target, overwrite, run, compute)
        else:
            crc, in_order, kept = _export_one(parts, target, overwrite, run, compute)
        checked = {"checked": _check(parts, locate(target).path, compute)} if check else {}
    notes = [] if in_order else ["the source's order is not the grid's, so its traces were scattered"]
    if done:
        notes = ["was done already"]
    if kept:
        notes.append(f"{kept:,} bytes of an interrupted export proved right and were kept")
    facts: dict[str, Any] = {
        "target": locate(target).url,
        "bytes": parts.size,
        "crc32c": crc,
        "identical": True,
        **checked,
    }
    return ended(store, "export", [], began, before, notes=notes, **facts)


def _write_edition(edition: Edition, sink: Sink, compute: Compute) -> tuple[str, list[str]]:
    """Write and commit an edition; return its CRC32C and what is to be said of it."""
    parts, fmt = edition.parts, edition.fmt
    regions, in_order, need = fitting_windows(parts, compute.memory_bytes - REWRITE_BYTES)
    compute = fitting(compute, need + REWRITE_BYTES, "a window of the export")
    if not in_order:
        sink.scatter()
    began, lost = time.monotonic(), Lost()
    segments = []

    def put(offset: int, data: np.ndarray) -> None:
        segments.extend(checksums(data, offset))
        sink.write(offset, data)

    put(0, np.frombuffer(edition.header, np.uint8))
    for number, rebuilt in enumerate(rebuilt_windows(parts, regions, compute), start=1):
        for first, records in rebuilt.stretches():
            for start, rewritten, missing in rewritten_records(edition, first, records):
                put(fmt.trace_offset(start), rewritten)
                lost += missing
        done = sum(length for _, length, _ in segments)
        compute.report(Progress("export", number, len(regions), done, time.monotonic() - began))
    if parts.trailer:
        put(fmt.trace_offset(fmt.n_traces), np.frombuffer(parts.trailer, np.uint8))
    crc = f"{whole_checksums(segments, fmt.file_size)[1]:08x}"
    sink.commit()
    return crc, notes_on(edition, lost)


def _check_edition(edition: Edition, path: str, compute: Compute) -> int:
    """Compare a rewritten file with the volume through segyio; return the number of traces."""
    source, own = edition.parts.fmt, edition.own_words
    own += SEISMIC_UNIX_WORDS if source.revision == SEISMIC_UNIX else ()
    return compare(
        path,
        edition.parts,
        fitting_windows(edition.parts, compute.memory_bytes // 2)[0],
        edition.fmt,
        first_sample=edition.first_sample,
        own_bytes=own if edition.fmt.byte_order != source.byte_order else (),
        converted=edition.fmt.sample_format != source.sample_format,
    )


def _check(parts: SegyParts, target: str, compute: Compute) -> int:
    """Compare written files with the volume through segyio; return the number of traces."""
    windows, names = fitting_windows(parts, compute.memory_bytes // 2)[0], _names(parts.files)
    return sum(
        compare(
            target if len(parts.files) == 1 else f"{target.rstrip('/')}/{names[file.number]}",
            parts,
            windows,
            file.fmt,
            first_trace=file.first,
        )
        for file in parts.files
    )


def _export_one(
    parts: SegyParts, target: str, overwrite: bool, run: Run, compute: Compute
) -> tuple[str, bool, int]:
    """Write one file; return its CRC32C, whether it came in order, and the bytes kept of an interrupted export."""
    file = parts.files[0]
    with ExitStack() as stack:
        regions, in_order, need = fitting_windows(parts, compute.memory_bytes)
        compute = fitting(compute, need, "a window of the export")
        sink = stack.enter_context(
            open_sink(target, run.storage_options, size=file.size, overwrite=overwrite)
        )
        output = SourceFile(file, sink)
        if in_order:
            output.keep()
        else:
            sink.scatter()
        total = len(regions)
        regions = [w for w in regions if file.offset(parts.last_trace(w) + 1) > output.kept]
        output.begin()
        began = time.monotonic()
        for number, rebuilt in enumerate(
            rebuilt_windows(parts, regions, compute), start=total - len(regions) + 1
        ):
            for _, offset, data in parts.pieces(rebuilt):
                output.put(offset, data)
            compute.report(Progress("export", number, total, output.done, time.monotonic() - began))
        crc = output.commit(parts.volume.store.url)
    return crc, in_order, output.kept


def _export_all(
    volume: Volume, parts: SegyParts, target: str, overwrite: bool, run: Run, compute: Compute
) -> tuple[str, bool]:
    """Write every file into a folder; return the checksums, and whether they came in order.

    A file that an interrupted export has finished is kept.
    """
    names = _names(parts.files)
    folder = target.rstrip("/")
    todo = [
        file.number
        for file in parts.files
        if not _is_there(f"{folder}/{names[file.number]}", file, overwrite, run)
    ]
    if todo:
        parts = open_parts(volume, todo)
        windows, in_order, need = fitting_windows(parts, compute.memory_bytes)
        compute = fitting(compute, need, "a window of the export")
        if in_order:
            _write_in_turn(parts, windows, folder, names, run, compute)
        else:
            for number in todo:
                entry = open_parts(volume, [number])
                _export_one(entry, f"{folder}/{names[number]}", True, run, compute)
    else:
        in_order = True
    return ",".join(source.crc32c for source in volume.state.sources), in_order


def _write_in_turn(
    parts: SegyParts, windows: list[Window], folder: str, names: dict[int, str], run: Run, compute: Compute
) -> None:
    """Write files from windows in their order: a chunk holds traces of many files and is decoded once for all."""
    began, done = time.monotonic(), 0
    with ExitStack() as stack:
        output: SourceFile | None = None
        for number, rebuilt in enumerate(rebuilt_windows(parts, windows, compute), start=1):
            for file, offset, data in parts.pieces(rebuilt):
                if output is None:
                    url = f"{folder}/{names[file.number]}"
                    sink = stack.enter_context(
                        open_sink(url, run.storage_options, size=file.size, overwrite=True)
                    )
                    output = SourceFile(file, sink)
                    output.begin()
                output.put(offset, data)
                done += data.size
                if offset + data.size == file.fmt.trace_offset(file.fmt.n_traces):
                    output.commit(parts.volume.store.url)
                    stack.close()
                    output = None
            compute.report(Progress("export", number, len(windows), done, time.monotonic() - began))


def _names(files: Sequence[FilePart]) -> dict[int, str]:
    """Return the name of each file in the folder: its own, with its number before it where another has it too."""
    own = {file.number: file.source.url.rpartition("/")[2] for file in files}
    names = list(own.values())
    return {number: name if names.count(name) == 1 else f"{number}-{name}" for number, name in own.items()}


def _is_there(url: str, file: FilePart, overwrite: bool, run: Run) -> bool:
    """Return whether an export has written this file already.

    Raises:
        DestinationRefused: The target holds another file.
    """
    folder, _, name = url.rpartition("/")
    if not Store(folder, run.storage_options).exists(name):
        return False
    source = Source(url, run.storage_options)
    try:
        if source.size == file.size and crc32c_of(source) == file.source.crc32c:
            return True
    finally:
        source.close()
    if not overwrite:
        raise DestinationRefused(
            f"{url} is there already; replace it with --overwrite, or name another place"
        )
    return False

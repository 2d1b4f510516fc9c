"""Describe the source files as they were read, and refuse what was misread."""

from typing import Any

import numpy as np

from tasks.volume.blocks import on_io
from tasks.volume.ingest.checksums import Expected, Sums
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.stage import Stage
from tasks.volume.store.scratch import Spill


def described_sources(
    files: Files, segments: list[Any]
) -> tuple[list[dict[str, Any]], list[tuple[np.ndarray, np.ndarray]]]:
    """Return the stored description of each file, and its bytes before the first and after the last trace.

    Raises:
        IntegrityFailure: A byte of a file was never read, or twice.
    """
    of_file: dict[int, list[Segment]] = {}
    for file, offset, length, crc in segments:
        of_file.setdefault(file, []).append((offset, length, crc))
    sources, ends = [], []
    for file, (entry, fmt) in enumerate(zip(files.listed, files.formats, strict=True)):
        tail_at = fmt.trace_offset(fmt.n_traces)
        head = np.frombuffer(files.read(file, 0, fmt.first_trace_offset), np.uint8)
        tail = head[:0]
        if fmt.file_size > tail_at:
            tail = np.frombuffer(files.read(file, tail_at, fmt.file_size - tail_at), np.uint8)
        with files.reading(file) as opened:
            spill: Spill | None = getattr(opened, "spill", None)
        archive = {"member": spill.member, "bytes": spill.packed, "crc32": spill.crc32} if spill else {}
        read = of_file.get(file, []) + checksums(head, 0) + (checksums(tail, tail_at) if tail.size else [])
        parts, whole = whole_checksums(read, fmt.file_size)
        ends.append((head, tail))
        sources.append(
            {
                "url": entry.url,
                "bytes": entry.size,
                "etag": entry.identity,
                "first_trace": int(files.firsts[file]),
                "trace_count": fmt.n_traces,
                "crc32c": f"{whole:08x}",
                "crc32c_part_bytes": PART_BYTES,
                "crc32c_parts": [f"{part:08x}" for part in parts],
                "file": fmt.to_json(),
            }
            | ({"part": [list(run) for run in entry.part]} if entry.part else {})
            | ({"archive": archive} if archive.get("member") else {})
        )
    return sources, ends


def refuse_misread(
    stage: Stage,
    files: Files,
    sources: list[dict[str, Any]],
    expected: Expected,
    sums: dict[int, Sums],
) -> None:
    """Compare the checksums of the bytes read with the store's and with the expected ones, for every file.

    A range has no checksum of its own, so a bit that flipped in transfer is only noticed here. S3 (full-object CRC32C)
    and GCS keep a checksum of the whole object, as does every store for objects written by Seismill. Other objects
    have only the expected checksum and TLS.

    Raises:
        IntegrityFailure: Bytes that were read differ; the next run reads everything again.
    """

    def known(file: int) -> str:
        with files.reading(file) as source:
            return str(source.crc32c)

    try:
        for file, crc in enumerate(on_io(known, range(len(sources)))):
            url, own = sources[file]["url"], sources[file]["crc32c"]
            before = sums.get(file, {}).get("crc32c", "")
            for other, known_as in ((crc, "its store has"), (before, "with its MD5 it had")):
                if other and other != own:
                    raise IntegrityFailure(
                        f"{url} was read with the CRC32C {own}, but {known_as} {other}: bytes were damaged on the way; "
                        "run the same command again, which reads all of it anew"
                    )
            expected.refuse(file, {"crc32c": own})
    except IntegrityFailure:
        for digest in {stage.plan.digest, *(s["digest"] for s in [stage.plan.body["spill"]] if s)}:
            clear_run(stage.store, stage.epoch, digest, ("ledger",))
        raise

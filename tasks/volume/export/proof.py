"""The proof of a volume: what an export would write, compared with the checksums of what was read."""

import time

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import Compute, Progress
from tasks.volume.export.rebuild import fitting_windows, rebuilt_windows
from tasks.volume.export.segy_parts import FilePart, open_parts
from tasks.volume.ingest.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.summary import fitting


def prove_bytes(volume: Volume, compute: Compute) -> str:
    """Return the CRC32C of each file that an export would write, after comparing every part with the source's.

    Raises:
        IntegrityFailure: A part differs.
    """
    parts = open_parts(volume)
    regions, _, need = fitting_windows(parts, compute.memory_bytes)
    compute = fitting(compute, need, "a window of the proof")
    segments: dict[int, list[Segment]] = {
        file.number: checksums(np.frombuffer(file.header, np.uint8), 0) for file in parts.files
    }
    began, done = time.monotonic(), 0
    for number, rebuilt in enumerate(rebuilt_windows(parts, regions, compute), start=1):
        for file, offset, data in parts.pieces(rebuilt):
            segments[file.number] += checksums(data, offset)
        done += rebuilt.records.nbytes
        compute.report(Progress("proof", number, len(regions), done, time.monotonic() - began))
    wholes = [_compare(volume, file, segments[file.number]) for file in parts.files]
    return ",".join(wholes)


def _compare(volume: Volume, file: FilePart, segments: list[Segment]) -> str:
    """Return the CRC32C of one file after comparing every part with the source."""
    if file.trailer:
        segments += checksums(np.frombuffer(file.trailer, np.uint8), file.fmt.trace_offset(file.fmt.n_traces))
    sums, whole = whole_checksums(segments, file.size)
    expected = [int(text, 16) for text in file.source.crc32c_parts]
    wrong = [i for i, (got, wanted) in enumerate(zip(sums, expected, strict=True)) if got != wanted]
    if wrong or f"{whole:08x}" != file.source.crc32c:
        where = ", ".join(
            f"{i * PART_BYTES:,} to {min((i + 1) * PART_BYTES, file.size):,}" for i in wrong[:5]
        )
        raise IntegrityFailure(
            f"{volume.store.url} does not give back bytes {where or 'of its source'} of {file.source.url}; keep the "
            "source and run seismill verify"
        )
    return f"{whole:08x}"

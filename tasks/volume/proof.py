"""The proof of a volume: what an export would write, compared with the checksums of what was read."""

import time

import numpy as np

from tasks.volume.blocks import Compute, Progress
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.reader import Volume
from tasks.volume.rebuild import fitting_windows, open_parts, rebuilt_windows
from tasks.volume.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.summary import fitting


def prove_bytes(volume: Volume, compute: Compute) -> str:
    """The CRC32C of the file that an export would write, after comparing every part with the source's.

    Raises:
        IntegrityFailure: A part differs.
    """
    parts = open_parts(volume)
    fmt = parts.fmt
    regions, _, need = fitting_windows(parts, compute.memory_bytes)
    compute = fitting(compute, need, "a window of the proof")
    segments: list[Segment] = checksums(np.frombuffer(parts.header, np.uint8), 0)
    began = time.monotonic()
    for number, rebuilt in enumerate(rebuilt_windows(parts, regions, compute), start=1):
        for first, records in rebuilt.stretches():
            segments += checksums(records.reshape(-1), fmt.trace_offset(first))
        compute.report(Progress("proof", number, len(regions), number, time.monotonic() - began))
    if parts.trailer:
        segments += checksums(np.frombuffer(parts.trailer, np.uint8), fmt.trace_offset(fmt.n_traces))
    sums, whole = whole_checksums(segments, parts.size)
    expected = [int(text, 16) for text in parts.source["crc32c_parts"]]
    wrong = [i for i, (got, wanted) in enumerate(zip(sums, expected, strict=True)) if got != wanted]
    if wrong or f"{whole:08x}" != parts.source["crc32c"]:
        where = ", ".join(f"{i * PART_BYTES:,} to {min((i + 1) * PART_BYTES, parts.size):,}" for i in wrong[:5])
        raise IntegrityFailure(
            f"{volume.store.url} does not give back bytes {where or 'of its source'} of {parts.source['url']}; keep the "
            "source and run seismill verify"
        )
    return f"{whole:08x}"

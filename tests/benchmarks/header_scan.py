"""The time and memory that a survey of 20 million trace headers takes, beside numpy reading the same words.

Run as ``python tests/benchmarks/header_scan.py [folder]`` from the root of the clone; the folder has room for 5 GB,
which are deleted in the end. Traces are gathers whose offsets come in pairs the wrong way round, so that nothing can
be predicted and every header is read. The file is read once before, so that the disk does not count.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tasks.parameters import Index, StorageOptions
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.sampling import SCAN_BYTES
from tasks.volume.ingest.survey import survey_files

TRACES, OFFSETS, CROSSLINES = 20_000_000, 40, 1000
TRACE_BYTES, STEP = 244, 1 << 18  # one sample each
WORDS = (189, 193, 37)
HALVES = (29,)


def write(path: Path) -> None:
    """The file."""
    header = np.zeros(3600, np.uint8)
    for byte, value in ((3217, 4000), (3221, 1), (3225, 5), (3501, 0x0100)):
        header[byte - 1 : byte + 1] = value >> 8, value & 255
    with path.open("wb") as file:
        file.write(header.tobytes())
        for first in range(0, TRACES, STEP):
            cell = np.arange(first, min(first + STEP, TRACES)) ^ 1
            gather, offset = np.divmod(cell, OFFSETS)
            records = np.zeros((len(cell), TRACE_BYTES), np.uint8)
            for byte, values in ((189, gather // CROSSLINES), (193, gather % CROSSLINES), (37, 50 * offset)):
                records[:, byte - 1 : byte + 3] = (1 + values).astype(">i4")[:, np.newaxis].view(np.uint8)
            records[:, 29] = 1
            file.write(records.tobytes())


def peak_mib() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_with_numpy(path: Path) -> int:
    """Every byte read, and the same words taken out."""
    total, count = 0, SCAN_BYTES // TRACE_BYTES
    with path.open("rb") as file:
        file.seek(3600)
        while (raw := np.fromfile(file, np.uint8, count * TRACE_BYTES)).size:
            records = raw.reshape(-1, TRACE_BYTES)
            for byte in WORDS:
                total += int(np.ascontiguousarray(records[:, byte - 1 : byte + 3]).view(">i4").sum())
            for byte in HALVES:
                total += int(np.ascontiguousarray(records[:, byte - 1 : byte + 1]).view(">i2").sum())
    return total


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        path = Path(folder) / "gathers.sgy"
        write(path)
        read_with_numpy(path)
        began = time.perf_counter()
        read_with_numpy(path)
        plain = time.perf_counter() - began
        files = Files.open(str(path), StorageOptions())
        before, began = peak_mib(), time.perf_counter()
        survey = survey_files(files, Index(template="CdpOffsetGathers3DTime"), near=True)
        ours = time.perf_counter() - began
        assert survey.grid is not None
        assert not survey.predicted
        assert survey.grid.trace_numbers.size == TRACES
        print(
            f"{TRACES:,} headers ({path.stat().st_size / 1e9:.1f} GB): survey {ours:.1f} s, "
            f"numpy's raw read {plain:.1f} s"
        )
        print(
            f"grid {survey.grid.shape}; peak memory {peak_mib():,.0f} MiB, {before:,.0f} of them before it began"
        )


if __name__ == "__main__":
    main()

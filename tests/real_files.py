"""Every SEG-Y below a folder through Seismill and back, beside a decode by hand, obspy and multidimio's segy.

``python -m tests.real_files FOLDER`` prints a row for each file: what it is, its grid, whether the export is identical,
and with what every sample agrees. It ends with 1 if an export or samples differ.
A file in which no index is found is ingested in the order of its traces.
"""

import filecmp
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat, read_format
from tasks.volume.store.objects import Source
from tests.support.segy_maker import values_of
from tests.support.survey import ibm_values

SUFFIXES = {".sgy", ".segy", ".y_first_trace"}


@dataclass(frozen=True)
class Row:
    """One file: `refusal` is the sentence if it is none that is read, and then nothing else is filled in."""

    path: Path
    refusal: str = ""
    fmt: FileFormat | None = None
    index: str = ""
    shape: tuple[int, ...] = ()
    identical: bool = False
    by_hand: str = ""
    obspy: str = ""
    segy: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing speaks against it; the readers do not read every file."""
        others = {self.obspy, self.segy} <= {"equal", "cannot"}
        return bool(self.refusal) or (self.identical and self.by_hand == "equal" and others)


def segy_files(folder: Path) -> list[Path]:
    """Files that are named like SEG-Y."""
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())


def row_of(path: Path) -> Row:
    """What becomes of one file."""
    try:
        fmt = read_format(Source(str(path)))
    except InputRefused as refusal:
        return Row(path, refusal=str(refusal))
    with tempfile.TemporaryDirectory() as scratch:
        volume, back, found = Path(scratch) / "a.zarr", Path(scratch) / "back.sgy", "found"
        try:
            ingest_segy(str(path), str(volume))
        except InputRefused:
            ingest_segy(str(path), str(volume), Index(bytes="trace"))
            found = "trace"
        group = zarr.open_group(volume, mode="r")
        export_segy(str(volume), str(back))
        samples, numbers = group["amplitude"][...], group["trace_number"][...]
        live = numbers >= 0
        values = samples[live][np.argsort(numbers[live])]
        index = ",".join(map(str, group.attrs["seismill"]["index"]["bytes"])) if found == "found" else found
        return Row(
            path,
            fmt=fmt,
            index=index or "trace",
            shape=samples.shape,
            identical=filecmp.cmp(path, back, shallow=False),
            by_hand=_compared(values, partial(_by_hand, fmt=fmt), path),
            obspy=_compared(values, _with_obspy, path),
            segy=_compared(values, _with_segy, path),
        )


def _compared(values: np.ndarray, reader: Any, path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        try:
            theirs = reader(path)
        except Exception:  # whatever another library raises for what it does not read
            return "cannot"
    if theirs.shape != values.shape:
        return "other shape"
    same = np.array_equal(theirs.astype(np.float64), values.astype(np.float64), equal_nan=True)
    return "equal" if same else "differ"


def _by_hand(path: Path, fmt: FileFormat) -> np.ndarray:
    raw = np.fromfile(path, np.uint8, fmt.n_traces * fmt.trace_bytes, offset=fmt.first_trace_offset)
    samples = np.ascontiguousarray(raw.reshape(fmt.n_traces, -1)[:, fmt.trace_header_bytes :])
    if fmt.sample_format.code == 1:
        return ibm_values(samples.view(f"{fmt.byte_order}u4").astype(np.uint32))
    return values_of(samples, fmt.sample_format.code, fmt.byte_order)


def _with_obspy(path: Path) -> np.ndarray:
    from obspy.io.segy.segy import _read_segy

    return np.stack([trace.data for trace in _read_segy(str(path)).traces])


def _with_segy(path: Path) -> np.ndarray:
    from segy import SegyFile

    return np.atleast_2d(np.asarray(SegyFile(str(path)).sample[:]))


def rows(folder: Path) -> Iterator[Row]:
    """A row for each file below a folder."""
    yield from map(row_of, segy_files(folder))


def main(folder: Path) -> int:
    """Print the table; return 1 if a row is not right."""
    wrong = 0
    columns = ("file", "rev", "format", "order", "index", "shape", "export", "by hand", "obspy", "segy")
    line = "{:44} {:4} {:8} {:6} {:10} {:15} {:10} {:8} {:7} {}"
    print(line.format(*columns))
    for row in rows(folder):
        name = str(row.path.relative_to(folder))[-44:]
        wrong += not row.right
        if row.fmt is None:
            print(f"{name:44} refused: {row.refusal.replace(str(row.path), 'it')}")
            continue
        shape = " x ".join(map(str, row.shape))
        order = "big" if row.fmt.byte_order == ">" else "little"
        ours = "identical" if row.identical else "DIFFERS"
        cells = (row.fmt.revision, row.fmt.sample_format.name, order, row.index, shape, ours)
        print(line.format(name, *cells, row.by_hand, row.obspy, row.segy), flush=True)
    print("all right" if not wrong else f"{wrong} are not right")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Open the parts of a volume that its SEG-Y files are written from."""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.root_schema import SourceEntry
from tasks.volume.arrays.spec import RAW_SAMPLES, ArraySpec
from tasks.volume.blocks import Region
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """Some records: `numbers` ascending, `records` uint8 of shape (trace, byte of the record)."""

    numbers: np.ndarray
    records: np.ndarray

    def stretches(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first trace, records) of each run of successive traces in the file."""
        breaks = np.flatnonzero(np.diff(self.numbers) != 1) + 1
        for first, last in itertools.pairwise([0, *breaks.tolist(), self.numbers.size]):
            if last > first:
                yield int(self.numbers[first]), self.records[first:last]


@dataclass(frozen=True, eq=False)
class FilePart:
    """One source file without its traces; `first` is its first trace, counted over all files."""

    number: int
    fmt: FileFormat
    source: SourceEntry
    header: bytes
    trailer: bytes
    first: int

    @property
    def size(self) -> int:
        """Return bytes of the file."""
        return self.fmt.file_size

    @property
    def stop(self) -> int:
        """Return the number of the trace after its last one."""
        return self.first + self.fmt.n_traces

    def offset(self, trace: int) -> int:
        """Return the file offset of a trace."""
        return self.fmt.trace_offset(trace - self.first)


@dataclass(frozen=True, eq=False)
class SegyParts:
    """The source files without their samples: enough to write every byte again.

    `trace_numbers` and `unplaced` (ascending) hold only traces of `files`, numbered over all files of the volume;
    `unplaced_at` is their position in the volume's arrays of unplaced traces. `master` holds the samples: the lossless
    array, the file's words, or a copy (`of_copy`), whose samples are rounded to the file's format.
    """

    volume: Volume
    files: tuple[FilePart, ...]
    master: ArraySpec
    trace_numbers: np.ndarray
    unplaced: np.ndarray
    unplaced_at: np.ndarray
    exceptions: tuple[np.ndarray, np.ndarray, np.ndarray]
    of_copy: bool = False

    @property
    def fmt(self) -> FileFormat:
        """Return the common format of all files, with the total of traces and bytes."""
        first = self.files[0].fmt
        if len(self.files) == 1:
            return first
        return replace(first, n_traces=sum(file.fmt.n_traces for file in self.files), file_size=self.size)

    @property
    def size(self) -> int:
        """Return bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def header(self) -> bytes:
        """Return the first file's bytes before its first trace."""
        return self.files[0].header

    @property
    def trailer(self) -> bytes:
        """Return the first file's bytes after its last trace."""
        return self.files[0].trailer

    def last_trace(self, window: "Window") -> int:
        """Return the highest trace number of a window."""
        placed = int(self.trace_numbers[window.region].max(initial=-1))
        return max(placed, int(self.unplaced[slice(*window.unplaced)].max(initial=-1)))

    def pieces(self, rebuilt: Rebuilt) -> Iterator[tuple[FilePart, int, np.ndarray]]:
        """Yield (file, offset in it, bytes) of each run of consecutive traces in one file."""
        firsts = [file.first for file in self.files]
        for start, records in rebuilt.stretches():
            first = start
            while len(records):
                file = self.files[bisect.bisect_right(firsts, first) - 1]
                count = min(len(records), file.stop - first)
                yield file, file.offset(first), records[:count].reshape(-1)
                first, records = first + count, records[count:]


@dataclass(frozen=True)
class Window:
    """A window of traces: a region of cells, and a range of the unplaced traces."""

    region: Region
    unplaced: tuple[int, int] = (0, 0)


def open_parts(volume: Volume, chosen: Sequence[int] = (), array: str = "") -> SegyParts:
    """Read all parts of the SEG-Y files but samples and trace headers.

    Args:
        volume: The volume.
        chosen: Numbers of the source files to write, ascending; empty: all.
        array: A copy to take samples from; empty: the lossless array.

    Raises:
        InputRefused: The volume was not made from SEG-Y, was made from fewer files, or has no such copy.
    """
    sources = volume.state.sources
    if not volume.has("segy_files/0"):
        raise InputRefused(
            f"{volume.store.url} was not made from a SEG-Y file, so it cannot be exported as one"
        )
    missing = [file for file in chosen if not 0 <= file < len(sources)]
    if missing:
        raise InputRefused(
            f"{volume.store.url} was made from {len(sources)} files, so there is no file {missing[0]}; name one from 0 "
            f"to {len(sources) - 1}"
        )
    files = tuple(_file_part(volume, number) for number in chosen or range(len(sources)))
    numbers = volume.read("trace_number")
    unplaced = volume.read("unplaced/trace_number") if volume.has("unplaced") else np.empty(0, np.int64)
    unplaced_at = np.arange(unplaced.size)
    if len(files) < len(sources):
        firsts = [source.first_trace for source in sources]
        wanted = np.isin(np.arange(len(sources)), chosen)

        def of_wanted(traces: np.ndarray) -> np.ndarray:
            return wanted[np.searchsorted(firsts, np.maximum(traces, 0), side="right") - 1]

        numbers = np.where(of_wanted(numbers), numbers, -1)
        unplaced_at = np.flatnonzero(of_wanted(unplaced))
        unplaced = unplaced[unplaced_at]
    exceptions = (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint32))
    if volume.has("sample_exceptions"):
        traces, at, words = (
            volume.read(f"sample_exceptions/{n}") for n in ("trace_number", "sample", "word")
        )
        exceptions = (traces, at, words)
    if copy := _copy_named(volume, array):
        nothing = (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint32))
        return SegyParts(
            volume, files, volume.spec(copy), numbers, unplaced, unplaced_at, nothing, of_copy=True
        )
    samples = volume.spec(RAW_SAMPLES if volume.has(RAW_SAMPLES) else volume.master)
    return SegyParts(volume, files, samples, numbers, unplaced, unplaced_at, exceptions)


def _copy_named(volume: Volume, array: str) -> str:
    """Return the copy to take samples from; empty for the lossless array."""
    copies = sorted(
        path for path in volume.members if volume.array_attributes(path).get("copy_of") == volume.master_name
    )
    if array in copies:
        return array
    if array and (array != volume.master or volume.left_out):
        raise InputRefused(
            f"{volume.store.url} has no copy {array}; it has {', '.join(copies) or 'none'}; name one with --array"
        )
    if volume.left_out:
        raise InputRefused(
            f"{volume.store.url} holds copies without the lossless array {volume.left_out}, so the source cannot be "
            f"exported; export samples of a copy with --array {volume.master}"
        )
    return ""


def _file_part(volume: Volume, number: int) -> FilePart:
    source = volume.state.sources[number]
    header, trailer = (
        volume.read(path).tobytes() if volume.has(path := f"segy_files/{number}/{name}") else b""
        for name in ("header", "trailer")
    )
    return FilePart(number, FileFormat.from_json(source.file), source, header, trailer, source.first_trace)

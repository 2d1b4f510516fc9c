"""SEG-Y files as one run of traces: a survey often comes as a file per line, per swath or per cable.

Traces are numbered over all files in their order. What makes up a trace must be the same in all of them, so that
one volume can hold it; everything else of a file (headers, texts, revision) is kept for each, and each comes back
as it was. A file is open only while it is read: an archive can have more of them than a process may open.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.blocks import on_io
from tasks.volume.ingest.from_mdio_v0 import is_of_mdio_v0, open_source
from tasks.volume.ingest.named_files import Listed, list_files
from tasks.volume.limits import DEFAULT_LIMITS
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat, Given
from tasks.volume.segy.seismic_unix import format_of
from tasks.volume.store.part_source import PartSource
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.spilled import is_archive
from tasks.volume.store.url import locate

MOST_OPEN = 64


def opened(listed: Listed, fmt: FileFormat, options: StorageOptions) -> Any:
    """Return a file opened for reading, as it was listed; of a part only its traces are seen."""
    if not listed.part:
        return open_source(listed.url, options, listed.identity, size=listed.size)
    whole = open_source(listed.url, options, listed.identity)
    tail = fmt.file_size - fmt.trace_offset(fmt.n_traces)
    runs = [(fmt.trace_offset(first), count * fmt.trace_bytes) for first, count in listed.part]
    return PartSource(whole, [(0, fmt.first_trace_offset), *runs, (whole.size - tail, tail)])


class Files:
    """Files of one format.

    Attributes:
        listed: URL, size and identity of each.
        formats: Format of each file.
        firsts: int64: number of the first trace of each, and of all traces.
        fmt: Format that all files share, with the traces and bytes of all.
        limits: Sizes from which they are read in another way.
    """

    limits = DEFAULT_LIMITS

    def __init__(
        self, listed: Sequence[Listed], formats: Sequence[FileFormat], options: StorageOptions | None = None
    ) -> None:
        """Describe files that were listed before; none is opened yet."""
        self.listed, self.formats = tuple(listed), tuple(formats)
        self.firsts = np.cumsum([0, *(fmt.n_traces for fmt in formats)], dtype=np.int64)
        # What all have in common, counted over all; where a trace lies only the file's own format knows.
        first = formats[0]
        size = sum(fmt.file_size for fmt in formats)
        self.fmt = (
            replace(first, n_traces=int(self.firsts[-1]), file_size=size) if len(formats) > 1 else first
        )
        self._options = of_sources(options or StorageOptions())
        self._open: dict[int, Any] = {}
        self._users: dict[int, int] = {}
        self._kept: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, source: Any, given: Given = Given()) -> "Files":
        """Return a list of one source that is open already.

        Args:
            source: The file.
            given: Properties of its samples, where its headers are wrong.

        Raises:
            InputRefused: The source is not SEG-Y, or a kind of SEG-Y that is not supported.
        """
        fmt = format_of(source, given)
        files = cls([Listed(source.name, source.size, getattr(source, "identity", ""))], [fmt])
        files._open[0], files._kept = source, frozenset([0])
        return files

    @classmethod
    def open(cls, source: str, options: StorageOptions, given: Given = Given()) -> "Files":
        """Open every file that a parameter names, and read its formats.

        Args:
            source: The parameter.
            options: Options of its store.
            given: Properties of the samples of all, where their headers are wrong.

        Raises:
            InputRefused: A file is missing or is no supported SEG-Y, or the files differ in format.
        """
        options = of_sources(options)
        listed = list_files(source, options)
        if len(listed) == 1:
            return cls.of(open_source(listed[0].url, options), given)

        def look(listed: Listed) -> tuple[Listed, FileFormat]:
            file = open_source(listed.url, options, listed.identity, size=listed.size)
            try:
                return Listed(file.url, file.size, file.identity), format_of(file, given)
            finally:
                file.close()

        described = on_io(look, listed)
        files = cls([entry for entry, _ in described], [fmt for _, fmt in described], options)
        _refuse_different(files)
        return files

    @property
    def n_traces(self) -> int:
        """Return the number of traces of all files."""
        return self.fmt.n_traces

    @property
    def size(self) -> int:
        """Return bytes of all files."""
        return self.fmt.file_size

    @property
    def local(self) -> bool:
        """Return whether all lie on this machine."""
        return all(self.near(file) for file in range(len(self.listed)))

    def near(self, file: int) -> bool:
        """Return whether one file is read on this machine: it lies there, or is unpacked there."""
        url = self.listed[file].url
        return locate(url).local or is_archive(url) or is_of_mdio_v0(url)

    @property
    def name(self) -> str:
        """Return the name of the files for messages."""
        more = len(self.listed) - 1
        return self.listed[0].url + (f" and {more} more" if more else "")

    def file_of(self, trace: int) -> int:
        """Return the number of the file that holds a trace."""
        return int(np.searchsorted(self.firsts, trace, side="right")) - 1

    def split(self, numbers: np.ndarray) -> Iterator[tuple[int, slice]]:
        """Yield (file, slice of `numbers` with its traces) for ascending trace numbers."""
        if len(self.formats) == 1:
            yield 0, slice(0, len(numbers))
            return
        edges = np.searchsorted(numbers, self.firsts)
        for file in np.flatnonzero(np.diff(edges)).tolist():
            yield file, slice(int(edges[file]), int(edges[file + 1]))

    @contextmanager
    def reading(self, file: int) -> Iterator[Any]:
        """Give a file as an open `Source`, for as long as this lasts."""
        with self._lock:
            if file not in self._open:
                self._open[file] = opened(self.listed[file], self.formats[file], self._options)
            self._users[file] = self._users.get(file, 0) + 1
            source = self._open[file]
        try:
            yield source
        finally:
            with self._lock:
                self._users[file] -= 1
                idle = [f for f in self._open if not self._users.get(f) and f not in self._kept]
                for closed in idle[: max(0, len(self._open) - MOST_OPEN)]:
                    self._open.pop(closed).close()

    def read(self, file: int, start: int, length: int) -> bytes:
        """Return bytes of one file."""
        with self.reading(file) as source:
            return bytes(source.read(start, length))

    def header(self, trace: int) -> bytes:
        """Return the header of one trace."""
        file = self.file_of(trace)
        fmt = self.formats[file]
        return self.read(file, fmt.trace_offset(trace - int(self.firsts[file])), fmt.trace_header_bytes)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the files as a plan stores them: URL, identity and format of each."""
        return [
            {"url": file.url, "bytes": file.size, "identity": file.identity, "file": fmt.to_json()}
            | ({"part": [list(run) for run in file.part]} if file.part else {})
            for file, fmt in zip(self.listed, self.formats, strict=True)
        ]

    @classmethod
    def from_json(cls, plain: Sequence[Mapping[str, Any]], options: StorageOptions) -> "Files":
        """Return the inverse of `to_json`."""
        listed = [
            Listed(entry["url"], entry["bytes"], entry["identity"], tuple(map(tuple, entry.get("part", ()))))
            for entry in plain
        ]
        return cls(listed, [FileFormat.from_json(entry["file"]) for entry in plain], options)


def _refuse_different(files: Files) -> None:
    """Refuse files whose traces one volume could not hold."""
    first = files.fmt
    for entry, fmt in zip(files.listed, files.formats, strict=True):
        differing = [
            f"{what} {there} and not {here}"
            for what, here, there in (
                ("sample format", first.sample_format.code, fmt.sample_format.code),
                ("byte order", first.byte_order, fmt.byte_order),
                ("byte order of samples", first.sample_order, fmt.sample_order),
                ("samples per trace", first.n_samples, fmt.n_samples),
                ("sample interval", first.sample_interval_us, fmt.sample_interval_us),
                ("bytes per trace", first.trace_bytes, fmt.trace_bytes),
            )
            if here != there
        ]
        if differing:
            raise InputRefused(
                f"{entry.url} differs from {files.listed[0].url}: {', '.join(differing)}; ingest files that "
                "differ separately"
            )

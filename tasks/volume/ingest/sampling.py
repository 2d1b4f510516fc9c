"""Sample files before anything is decided: headers from both ends and between, and some samples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.volume.blocks import on_io
from tasks.volume.ingest.files import Files
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat

SCAN_BYTES = 8 << 20
SAMPLED_FILES = 16  # of many
SAMPLED_TRACES, SAMPLED_SAMPLES = 12, 4096


@dataclass(frozen=True, eq=False)
class Sample:
    """Headers and samples that were read before anything is decided.

    Attributes:
        numbers: Numbers of some traces, from 0.
        headers: Headers of these traces, uint8, shape (trace, byte).
        samples: Stored samples of a few traces from all over the files, uint8, shape (trace, byte).
    """

    numbers: np.ndarray
    headers: np.ndarray
    samples: np.ndarray


def sample_of(files: Files, *, near: bool) -> Sample:
    """Return the headers to inspect: all of small local files, else heads, tails and some between.

    Raises:
        InputRefused: A file holds no trace.
    """
    return Sample(*_sampled_headers(files, near=near), _samples(files))


def _samples(files: Files) -> np.ndarray:
    fmt = files.fmt
    length = min(fmt.n_samples, SAMPLED_SAMPLES) * fmt.sample_format.bytes_per_sample
    traces = np.unique(np.linspace(0, files.n_traces - 1, SAMPLED_TRACES).astype(np.int64)).tolist()

    def read(trace: int) -> bytes:
        file = files.file_of(trace)
        entry = files.formats[file]
        start = entry.trace_offset(trace - int(files.firsts[file])) + entry.trace_header_bytes
        return files.read(file, start, length)

    return np.frombuffer(b"".join(on_io(read, traces)), np.uint8).reshape(len(traces), length)


def _sampled_headers(files: Files, *, near: bool) -> tuple[np.ndarray, np.ndarray]:
    for item, fmt in zip(files.listed, files.formats, strict=True):
        if fmt.n_traces < 1:
            raise InputRefused(f"{item.url} holds no trace; check that the file is complete")
    if near and files.size <= files.limits.all_headers_bytes:
        parts = [headers for _, headers in all_headers(files)]
        return np.arange(files.n_traces), np.concatenate(parts)
    count = len(files.formats)
    looked_at = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_FILES)).astype(np.int64)).tolist()
    stretches = [
        (file, first, n)
        for file in looked_at
        # The first and the last are looked at as one file would be; those between give a little each.
        for first, n in _stretches(
            files.formats[file],
            1.0 if count == 1 or file in (0, count - 1) else 1 / 8,
            files.limits,
        )
    ]

    def read(file: int, first: int, n: int) -> np.ndarray:
        fmt = files.formats[file]
        length = fmt.trace_header_bytes if n == 1 else n * fmt.trace_bytes
        raw = np.frombuffer(files.read(file, fmt.trace_offset(first), length), np.uint8)
        return raw.reshape(n, -1)[:, : fmt.trace_header_bytes].copy()

    headers = (
        [read(*stretch) for stretch in stretches] if near else on_io(lambda entry: read(*entry), stretches)
    )
    numbers = [int(files.firsts[file]) + np.arange(first, first + n) for file, first, n in stretches]
    return np.concatenate(numbers), np.concatenate(headers)


def _stretches(fmt: FileFormat, share: float, limits: Limits) -> Iterator[tuple[int, int]]:
    """Yield (first trace, count) of the head of a file, of some traces between, and of its tail."""
    size, last = fmt.trace_bytes, fmt.n_traces
    most_head, most_tail = (
        int(share * min(most, fraction * fmt.file_size)) // size
        for most, fraction in zip(limits.sampled_bytes, limits.sampled_fractions, strict=True)
    )
    head = min(last, max(2, most_head))
    tail = max(head, last - max(1, most_tail))
    yield 0, head
    if tail > head:
        spread = np.unique(np.linspace(head, tail - 1, limits.sampled_traces + 2).astype(np.int64)[1:-1])
        yield from ((int(t), 1) for t in spread if head <= t < tail)
    if tail < last:
        yield tail, last - tail


def all_headers(files: Files) -> Iterator[tuple[int, np.ndarray]]:
    """Yield all trace headers in file order, as (number of the first trace, headers of a run of traces)."""
    for file, fmt in enumerate(files.formats):
        step = max(1, SCAN_BYTES // fmt.trace_bytes)
        with files.reading(file) as source:
            for first in range(0, fmt.n_traces, step):
                count = min(step, fmt.n_traces - first)
                raw = np.frombuffer(source.read(fmt.trace_offset(first), count * fmt.trace_bytes), np.uint8)
                headers = raw.reshape(count, fmt.trace_bytes)[:, : fmt.trace_header_bytes]
                yield int(files.firsts[file]) + first, headers

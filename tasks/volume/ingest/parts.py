"""Some traces of files as files of their own: each begins with the headers of its file, and ends as it does.

A part is a SEG-Y in its own right, with a size, checksums and an export. Only what opens it knows where its bytes lie.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.parameters import Index, StorageOptions
from tasks.volume.ingest.checksums import Expected, expected_of
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.named_files import Listed
from tasks.volume.limits import DEFAULT_LIMITS, Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.corrections import given_of

Runs = tuple[tuple[int, int], ...]  # (first trace from 0, count)


def open_files(source: str, index: Index, options: StorageOptions, limits: Limits = DEFAULT_LIMITS) -> Files:
    """Open the files that become one volume, or the traces that `index` selects from them.

    Raises:
        InputRefused: A file is missing or is no readable SEG-Y, lacks these traces, or is to be split.
    """
    if index.split != "no" and not index.traces:
        raise InputRefused(
            f"splitting {source} gives several volumes, and this command makes one; to publish a volume of each line",
            flags="--split line",
            verb="publish",
        )
    return open_whole_or_part(source, index, options, limits)


def open_whole_or_part(
    source: str, index: Index, options: StorageOptions, limits: Limits = DEFAULT_LIMITS
) -> Files:
    """Open files or, where `index` names traces, the part that holds these.

    Raises:
        InputRefused: A file is missing, is no readable SEG-Y, or does not have these traces.
    """
    files = Files.open(source, options, given_of(index))
    if index.traces:
        files = part_of(files, from_text(index.traces, files.n_traces), options)
    files.limits = limits
    return files


def expected_of_parts(files: Files, given: Sequence[str], options: StorageOptions) -> Expected:
    """Return the expected checksums of files; none for a part, because checksums cover whole files.

    Raises:
        InputRefused: A checksum is given for a part, or is none of the files.
    """
    sizes = {file.url: file.size for file in files.listed}
    parts = [file.url for file in files.listed if file.part]
    if not parts:
        return expected_of(sizes, given, options)
    if given:
        raise InputRefused(
            f"a checksum is that of a whole file, and only some traces of {parts[0]} are read; leave --checksums out"
        )
    return Expected(tuple(sizes), tuple(sizes.values()), {})


def runs_of(numbers: np.ndarray) -> Runs:
    """Return ascending trace numbers as runs of neighbours."""
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 2) != 1)
    ends = np.append(starts[1:], len(numbers))
    return tuple((int(numbers[a]), int(b - a)) for a, b in zip(starts, ends, strict=True))


def as_text(runs: Runs) -> str:
    """Return runs as the parameter `traces` has them: from 1, ends included."""
    return ",".join(str(first + 1) if n == 1 else f"{first + 1}-{first + n}" for first, n in runs)


def from_text(text: str, n_traces: int) -> Runs:
    """Return the ranges of trace numbers in the parameter `traces`.

    Args:
        text: Text such as 31-80,95.
        n_traces: Number of traces of all files.

    Raises:
        InputRefused: The trace numbers are not ascending, or beyond the last trace.
    """
    runs: list[tuple[int, int]] = []
    end = 0
    for part in text.split(","):
        low, _, high = part.partition("-")
        first, last = int(low), int(high or low)
        if first <= end or last < first or last > n_traces:
            raise InputRefused(
                f"traces {text} are not ascending numbers from 1 to {n_traces:,}, which are those of the source",
                flags=f"--traces 1-{n_traces}",
            )
        runs.append((first - 1, last - first + 1))
        end = last
    return tuple(runs)


def part_of(files: Files, runs: Runs, options: StorageOptions) -> Files:
    """Return the files that hold the selected traces, reduced to these traces.

    Args:
        files: Whole ones.
        runs: Runs of traces, counted over all files.
        options: Options of their store.
    """
    listed, formats = [], []
    for file, (entry, fmt) in enumerate(zip(files.listed, files.formats, strict=True)):
        start, stop = int(files.firsts[file]), int(files.firsts[file + 1])
        own = [(max(first, start), min(first + n, stop)) for first, n in runs]
        inside = tuple((a - start, b - a) for a, b in own if a < b)
        count = sum(n for _, n in inside)
        if count == fmt.n_traces:
            listed.append(entry)
            formats.append(fmt)
        elif count:
            size = fmt.file_size - (fmt.n_traces - count) * fmt.trace_bytes
            part = replace(fmt, n_traces=count, file_size=size)
            listed.append(Listed(entry.url, part.file_size, entry.identity, inside))
            formats.append(part)
    return Files(listed, formats, options)

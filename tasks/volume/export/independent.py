"""Compare a written SEG-Y file with its volume through segyio, a reader that shares no code with Seismill.

A checksum proves that the bytes are those of the source. This shows more: an independent reader finds the samples and
the 89 header fields of the volume's arrays.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tasks.volume.arrays.spec import RAW_SAMPLES
from tasks.volume.export.rebuild import in_format
from tasks.volume.export.segy_parts import SegyParts, Window
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import TRACE_HEADER_DTYPE
from tasks.volume.segy.standards import SEISMIC_UNIX

READABLE = {1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 16}  # sample formats that segyio 1.9 decodes
MOST_SAMPLES = 0xFFFF  # it knows the 16-bit count alone
FIELDS = {name: field[1] + 1 for name, field in (TRACE_HEADER_DTYPE.fields or {}).items()}
# Bytes of header fields that a rewritten file has of its own: number in the file, delay, number of samples.
REWRITTEN = {5, 109, 115}
IBM_STEP = 2.0**-20  # relative; an IBM fraction has at least 21 bits


def refuse_unreadable(url: str, fmt: FileFormat, trailer: bytes, *, local: bool) -> None:
    """Check that segyio can read a file that is to be written.

    Raises:
        InputRefused: segyio cannot read such a file.
    """
    reasons = {
        "local files only; export to a local file": not local,
        f"no samples of format {fmt.sample_format.code} ({fmt.sample_format.name}); export without --check": (
            fmt.sample_format.code not in READABLE
        ),
        "no additional trace headers; export without --check": fmt.extra_headers > 0,
        "no bytes after the last trace; export without --check": bool(trailer),
        f"at most {MOST_SAMPLES:,} samples per trace; export without --check": fmt.n_samples > MOST_SAMPLES,
        "samples in the byte order of the headers; export without --check": fmt.samples_turned,
    }
    for reason, applies in reasons.items():
        if applies:
            raise InputRefused(f"--check reads {url} with segyio, which reads {reason}")


def compare(
    path: str,
    parts: SegyParts,
    windows: Sequence[Window],
    fmt: FileFormat,
    *,
    first_trace: int = 0,
    first_sample: int = 0,
    own_bytes: Sequence[tuple[int, int]] | None = None,
    converted: bool = False,
) -> int:
    """Read a file with segyio; return how many traces have the volume's samples and header fields.

    Args:
        path: The file.
        parts: Parts of the file that the volume keeps; `trace_numbers` are those of the file plus `first_trace`.
        windows: Which cells are compared at a time.
        fmt: Format of the file.
        first_trace: Number of the file's first trace in `parts`.
        first_sample: Which of the volume's samples is the file's first.
        own_bytes: First byte and width of those fields of a rewritten file that are not at their standard place.
        converted: Whether the samples are of another format than the source's.

    Raises:
        IntegrityFailure: A sample or a header field differs.
    """
    import segyio
    import segyio.su

    endian = "big" if fmt.byte_order == ">" else "little"
    try:
        reader = segyio.su if fmt.revision == SEISMIC_UNIX else segyio
        file = reader.open(path, strict=False, ignore_geometry=True, endian=endian)
    except (OSError, RuntimeError, ValueError) as error:
        raise _differs(path, f"segyio does not open it ({error})") from error
    with file:
        if (file.tracecount, len(file.samples)) != (fmt.n_traces, fmt.n_samples):
            raise _differs(
                path,
                f"segyio finds {file.tracecount:,} traces of {len(file.samples):,} samples, not {fmt.n_traces:,} of "
                f"{fmt.n_samples:,}",
            )
        file.mmap()
        done = 0
        for window in windows:
            cells = parts.trace_numbers[window.region]
            inside = (cells >= first_trace) & (cells < first_trace + fmt.n_traces)
            if inside.any():
                numbers = cells[inside] - first_trace
                order = np.argsort(numbers)
                numbers = numbers[order]
                samples = slice(first_sample, first_sample + fmt.n_samples)
                region = (*window.region, samples)
                wanted = parts.volume.read(
                    parts.master.path if parts.of_copy else parts.volume.master, region
                )
                wanted = (in_format(parts.fmt, wanted) if parts.of_copy else wanted)[inside][order]
                exact = _comparable(parts, numbers + first_trace, region, inside, order)
                _compare_samples(
                    path, file, numbers, wanted, exact, as_ibm=converted and fmt.sample_format.code == 1
                )
                headers = parts.volume.read("headers", window.region)[inside][order]
                _compare_headers(path, file, numbers, headers, own_bytes)
                done += numbers.size
    return done


def _comparable(
    parts: SegyParts, numbers: np.ndarray, region: tuple[slice, ...], inside: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Return which samples float32 holds exactly: readers round IBM words that are not normalised in their own ways."""
    first, last = region[-1].start, region[-1].stop
    exact = np.ones((numbers.size, last - first), bool)
    if parts.volume.has(RAW_SAMPLES) and not parts.of_copy:
        words = parts.volume.read(RAW_SAMPLES, region)[inside][order]
        exponent = (words >> np.uint32(24)) & np.uint32(0x7F)
        exact = ((words & np.uint32(0x00F00000)) != 0) & (exponent > 34) & (exponent < 96)
        return exact
    traces, samples, _ = parts.exceptions
    held = np.isin(traces, numbers) & (samples >= first) & (samples < last)
    exact[np.searchsorted(numbers, traces[held]), samples[held] - first] = False
    return exact


def _stretches(numbers: np.ndarray) -> Iterator[slice]:
    """Yield runs of numbers that follow each other, as positions."""
    breaks = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), numbers.size]
    for start, stop in itertools.pairwise(breaks):
        yield slice(start, stop)


def _compare_samples(
    path: str, file: Any, numbers: np.ndarray, wanted: np.ndarray, exact: np.ndarray, *, as_ibm: bool
) -> None:
    for part in _stretches(numbers):
        first = int(numbers[part.start])
        read = file.trace.raw[first : first + part.stop - part.start]
        volume = wanted[part]
        with np.errstate(over="ignore"):
            converted = volume.astype(read.dtype)
        same = (read == converted) | ~exact[part]
        if read.dtype.kind == "f":
            same |= np.isnan(read) & np.isnan(converted)
        if as_ibm:
            # Another format as IBM: rounded to its fraction, and 0 where it has no NaN.
            values = volume.astype(np.float64)
            same |= np.abs(read.astype(np.float64) - values) <= IBM_STEP * np.abs(values)
            same |= np.isnan(values) & (read == 0)
            same |= ~np.isfinite(volume) & ~np.isnan(volume)
        if not same.all():
            trace, sample = (int(place) for place in np.argwhere(~same)[0])
            raise _differs(
                path,
                f"sample {sample} of trace {first + trace} is {read[trace, sample]!s} for segyio and "
                f"{volume[trace, sample]!s} in the volume",
            )


def _compare_headers(
    path: str,
    file: Any,
    numbers: np.ndarray,
    headers: np.ndarray,
    own_bytes: Sequence[tuple[int, int]] | None,
) -> None:
    for name, byte in FIELDS.items():
        width = headers.dtype[name].itemsize
        if own_bytes is not None and (
            byte in REWRITTEN
            or any(byte < other + wide and other < byte + width for other, wide in own_bytes)
        ):
            continue
        mask = (1 << 8 * width) - 1  # signs are a matter of the reader
        read = file.attributes(byte)[numbers].astype(np.int64) & mask
        wanted = headers[name].astype(np.int64) & mask
        if not np.array_equal(read, wanted):
            at = int(np.flatnonzero(read != wanted)[0])
            raise _differs(
                path,
                f"field {name} (byte {byte}) of trace {int(numbers[at])} is {int(read[at])} for segyio and "
                f"{int(wanted[at])} in the volume",
            )


def _differs(path: str, what: str) -> IntegrityFailure:
    return IntegrityFailure(
        f"{path} was written, but is not what the volume holds: {what}; run seismill verify on the volume, and keep "
        "the file"
    )

"""Decode and encode the samples of trace records: the only module that assigns kernels to sample formats.

Records are the file's bytes, one trace a row; the volume stores columns of chunks. IBM words that float32 cannot
reproduce are reported; every other format is converted without loss.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.volume.kernels.plain import decode_plain, encode_plain
from tasks.volume.kernels.traces import decode_traces, encode_traces, new_stats
from tasks.volume.segy.format import FileFormat

_FIRST_EXCEPTIONS = 4096


@dataclass(frozen=True, eq=False)
class Decoded:
    """Counts made while decoding a column.

    Attributes:
        stats: Result of `kernels.traces.new_stats`.
        extremes: Least and greatest sample of integer formats, exact.
        exceptions: int64, shape (n, 3): index into `rows`, sample, IBM word; empty if there are more than wanted.
        exception_count: Number of exceptions, also if they are not listed.
    """

    stats: np.ndarray
    extremes: tuple[int, int] | None
    exceptions: np.ndarray
    exception_count: int = 0


def decode_column(
    fmt: FileFormat, records: np.ndarray, rows: np.ndarray, out: np.ndarray, *, most_exceptions: int
) -> Decoded:
    """Fill `out` with the samples of some records.

    Args:
        fmt: Format of the records.
        records: uint8, shape (record, byte of the record), C-contiguous.
        rows: int64: the record of each trace of `out`, -1 where there is none.
        out: Array of the format's dtype, shape (chunk, trace, sample in chunk), C-contiguous; elements without a
            sample become NaN in floats, 0 in integers.
        most_exceptions: Largest number of exceptions to list; more are only counted.
    """
    data, starts, swap = records.reshape(-1), _starts(fmt, rows), _swapped(fmt)
    nothing = np.empty((0, 3), np.int64)
    stats = new_stats()
    if not _by_word(fmt):
        width = fmt.sample_format.bytes_per_sample
        return Decoded(stats, decode_plain(data, starts, fmt.n_samples, width, swap, out, stats), nothing)
    words, starts, ibm = data.view(np.uint32), _in_words(starts), fmt.sample_format.name == "ibm32"
    room = _FIRST_EXCEPTIONS if ibm else 0
    while True:
        stats, exceptions = new_stats(), np.empty((room, 3), np.int64)
        count = decode_traces(words, starts, fmt.n_samples, ibm, swap, np.nan, out, stats, exceptions)
        if count <= room:
            # Mostly none: a view would keep the room for many in memory.
            return Decoded(stats, None, exceptions[:count] if count else nothing, count)
        if count > most_exceptions:
            return Decoded(stats, None, nothing, count)
        room = count


def merge_extremes(parts: Iterable[Sequence[int] | None]) -> tuple[int, int] | None:
    """Least and greatest of all parts; None if no part has any."""
    known = [part for part in parts if part is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def encode_column(fmt: FileFormat, chunks: np.ndarray, records: np.ndarray, rows: np.ndarray) -> None:
    """Write the samples of a column of chunks into their records; the inverse of `decode_column`."""
    data, starts, swap = records.reshape(-1), _starts(fmt, rows), _swapped(fmt)
    if _by_word(fmt):
        ibm = fmt.sample_format.name == "ibm32"
        encode_traces(chunks, data.view(np.uint32), _in_words(starts), fmt.n_samples, ibm, swap)
    else:
        encode_plain(chunks, data, starts, fmt.n_samples, fmt.sample_format.bytes_per_sample, swap)


def words_of_column(fmt: FileFormat, records: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    """Fill `out` (uint32) with the 4-byte words of some records, uninterpreted, in this machine's byte order.

    Args:
        fmt: Format of the records.
        records: Same as in `decode_column`.
        rows: Likewise.
        out: Likewise, but uint32; 0 where there is no trace.
    """
    decode_plain(records.reshape(-1), _starts(fmt, rows), fmt.n_samples, 4, _swapped(fmt), out, new_stats())


def put_column_of_words(fmt: FileFormat, chunks: np.ndarray, records: np.ndarray, rows: np.ndarray) -> None:
    """Write a column of chunks of words into their records; the inverse of `words_of_column`."""
    encode_plain(chunks, records.reshape(-1), _starts(fmt, rows), fmt.n_samples, 4, _swapped(fmt))


def put_words(
    fmt: FileFormat, records: np.ndarray, rows: np.ndarray, samples: np.ndarray, words: np.ndarray
) -> None:
    """Put 4-byte words (uint32) at samples of records, where float32 does not give them back."""
    at = fmt.trace_header_bytes // 4 + samples
    records.view(np.uint32)[rows, at] = words.byteswap() if _swapped(fmt) else words


def _by_word(fmt: FileFormat) -> bool:
    """Return whether samples are 4-byte floats, whose records are whole words."""
    return fmt.sample_format.dtype == "float32"


def _swapped(fmt: FileFormat) -> bool:
    return (fmt.sample_order == ">") == np.little_endian


def _starts(fmt: FileFormat, rows: np.ndarray) -> np.ndarray:
    """Return the byte at which the samples of each record begin, -1 for none."""
    return np.where(rows < 0, -1, rows * fmt.trace_bytes + fmt.trace_header_bytes)


def _in_words(starts: np.ndarray) -> np.ndarray:
    return np.where(starts < 0, -1, starts // 4)

"""Convert trace samples from file words to chunks of float32 and back, with statistics and a check of IBM words.

One call handles one column of chunks, so that each word is read once and each chunk written once.
IBM to float32 and back is exact for zero and every normalised word with 2^-128 <= |value| < 2^128; the rest,
rare in practice, is reported word by word, so that a volume gives back the bytes it was made from.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tasks.volume.kernels import float_samples
from tasks.volume.kernels.float_samples import (
    COUNT,
    DEAD,
    LIVE,
    MAXIMUM,
    MINIMUM,
    NONFINITE,
    SUM,
    SUM_OF_SQUARES,
    ZERO,
)

# The indices of statistics are part of this module's surface.
__all__ = [
    "COUNT",
    "DEAD",
    "LIVE",
    "MAXIMUM",
    "MINIMUM",
    "NONFINITE",
    "SUM",
    "SUM_OF_SQUARES",
    "ZERO",
    "decode_traces",
    "encode_traces",
    "merge_stats",
    "new_stats",
]

# A word whose float32 is denormal: the kernels try it, for a library may have changed this thread's arithmetic.
_IBM_PROBE, _BITS_PROBE = np.uint32(0x21100000), np.uint32(0x00200000)


def new_stats() -> np.ndarray:
    """Statistics of no sample: float64, indexed by the constants COUNT to DEAD of this module.

    COUNT, MINIMUM, MAXIMUM, SUM and SUM_OF_SQUARES are over finite samples of live traces, NONFINITE and
    ZERO count samples of live traces, LIVE counts traces, DEAD live traces that are zero throughout.
    """
    stats = np.zeros(9)
    stats[MINIMUM], stats[MAXIMUM] = np.inf, -np.inf
    return stats


def merge_stats(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the statistics of all parts together; the same parts in the same order give the same bits."""
    merged = new_stats()
    for part in parts:
        low, high = min(merged[MINIMUM], part[MINIMUM]), max(merged[MAXIMUM], part[MAXIMUM])
        with np.errstate(over="ignore", invalid="ignore"):  # sums of float64 samples can be Inf
            merged += part
        merged[MINIMUM], merged[MAXIMUM] = low, high
    return merged


def decode_traces(
    words: np.ndarray,
    starts: np.ndarray,
    n_samples: int,
    ibm: bool,
    swap: bool,
    fill: float,
    out: np.ndarray,
    stats: np.ndarray,
    exceptions: np.ndarray,
) -> int:
    """Fill `out` with the samples of a column of chunks; return how many words float32 does not give back.

    Args:
        words: uint32, what was read of the file, in the file's byte order.
        starts: int64, shape (trace,): the word at which each trace's samples begin, -1 where there is no trace.
        n_samples: Samples in each trace.
        ibm: The words are IBM System/360 floats; otherwise IEEE, moved as they are, NaN payloads included.
        swap: The words are in the other byte order than this machine's.
        fill: Value of cells without a trace, and of samples beyond `n_samples`.
        out: float32, shape (chunk, trace, sample in chunk), C-contiguous; every element is written.
        stats: Result of `new_stats`; added to.
        exceptions: int64, shape (capacity, 3): receives (index into `starts`, sample, word in this machine's
            byte order) of each IBM word that `encode_traces` would not return or that became Inf, in this
            order. When the result is larger than the capacity the rest is missing: call again with fresh
            `stats` and room enough.
    """
    _check_room(starts, n_samples, words.size, out, "out")
    if stats.dtype != np.float64 or stats.shape != (9,):
        raise ValueError(f"stats must come from new_stats(), got {stats.dtype} {stats.shape}")
    if exceptions.dtype != np.int64 or exceptions.ndim != 2 or exceptions.shape[1] != 3:
        raise ValueError(f"exceptions are int64 of shape (n, 3), got {exceptions.dtype} {exceptions.shape}")
    fill_bits = np.array(fill, np.float32).view(np.uint32)[()]
    found = float_samples.decode(
        _frozen(words, np.uint32),
        _frozen(starts, np.int64),
        int(n_samples),
        bool(ibm),
        bool(swap),
        fill_bits,
        out.view(np.uint32).reshape(-1),
        out.shape[2],
        stats,
        exceptions,
        _IBM_PROBE,
        *float_samples.room(),
    )
    return int(_check_denormals(found))


def encode_traces(
    chunks: np.ndarray, records: np.ndarray, starts: np.ndarray, n_samples: int, ibm: bool, swap: bool
) -> None:
    """Write the samples of a column of chunks into trace records; the inverse of `decode_traces`.

    Every word that `decode_traces` did not report comes back as it was; other values are truncated to the
    24-bit fraction, and Inf and NaN become the largest IBM number of their sign.

    Args:
        chunks: float32, shape (chunk, trace, sample in chunk), C-contiguous.
        records: uint32, one axis, in the file's byte order; only samples are written.
        starts: int64: the word of `records` at which each trace's samples begin, -1 for none.
        n_samples: Samples in each trace.
        ibm: Write IBM System/360 floats; otherwise IEEE as they are.
        swap: Write the other byte order than this machine's.
    """
    _check_room(starts, n_samples, records.size, chunks, "chunks")
    if records.dtype != np.uint32 or records.ndim != 1 or not records.flags.c_contiguous:
        raise ValueError(
            f"records must be contiguous uint32 with 1 axis, got {records.dtype} {records.shape}"
        )
    done = float_samples.encode(
        _frozen(chunks.view(np.uint32).reshape(-1), np.uint32),
        chunks.shape[2],
        records,
        _frozen(starts, np.int64),
        int(n_samples),
        bool(ibm),
        bool(swap),
        _BITS_PROBE,
        *np.empty((2, float_samples.STEP), np.uint32),
    )
    _check_denormals(done)


def _check_room(starts: np.ndarray, n_samples: int, n_words: int, chunks: np.ndarray, name: str) -> None:
    """Refuse what would read or write outside the buffers."""
    if chunks.dtype != np.float32 or chunks.ndim != 3 or not chunks.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous float32 with 3 axes, got {chunks.dtype} {chunks.shape}"
        )
    if chunks.shape[1] != len(starts) or not 1 <= n_samples <= chunks.shape[0] * chunks.shape[2]:
        raise ValueError(f"{name} {chunks.shape} does not hold {len(starts)} traces of {n_samples} samples")
    if len(starts) and (starts.min() < -1 or starts.max() + n_samples > n_words):
        raise ValueError(
            f"traces start at words {starts.min()} to {starts.max()} and have {n_samples} samples, "
            f"but the buffer has {n_words} words"
        )


def _frozen(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the array as read-only: bytes and writable buffers then share one compiled kernel."""
    frozen = np.require(array, dtype, ["C", "A"]).view()
    frozen.flags.writeable = False
    return frozen


def _check_denormals(result: int) -> int:
    if result < 0:
        raise RuntimeError(
            "this thread's floating point turns denormals into zero, so that IBM samples would be damaged; "
            "find the library that sets flush-to-zero (built with -ffast-math) and leave it out"
        )
    return result

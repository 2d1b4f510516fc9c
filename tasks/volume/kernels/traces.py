"""Trace samples from file words to chunks of float32 and back, with statistics and IBM exactness in the same pass.

One call handles one column of chunks. Each trace is walked in steps that fit in the first-level cache, and
each step is a series of tiny loops, one purpose each: only such loops are turned into vector instructions.
Sums run over a fixed number of lanes in a fixed order, because an order chosen by the compiler depends on
the processor, and stored statistics must not. No `fastmath`: it rewrites the two multiplications of the IBM
decoding and lets denormals become zero.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import njit

COUNT, MINIMUM, MAXIMUM, SUM, SUM_OF_SQUARES, NONFINITE, ZERO, LIVE, DEAD = range(9)
STEP = 2048  # samples; words, values and sums of a step stay in 48 KiB
LANES = 64


def new_stats() -> np.ndarray:
    """Statistics of no sample: float64, indexed by the constants COUNT to DEAD of this module.

    COUNT, MINIMUM, MAXIMUM, SUM and SUM_OF_SQUARES are over finite samples of live traces, NONFINITE and
    ZERO count samples of live traces, LIVE counts traces, DEAD live traces that are zero throughout.
    """
    stats = np.zeros(9)
    stats[MINIMUM], stats[MAXIMUM] = np.inf, -np.inf
    return stats


def merge_stats(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The statistics of all parts together; the same parts in the same order give the same bits."""
    merged = new_stats()
    for part in parts:
        low, high = min(merged[MINIMUM], part[MINIMUM]), max(merged[MAXIMUM], part[MAXIMUM])
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
        fill: What cells without a trace, and samples beyond `n_samples`, hold.
        out: float32, shape (chunk, trace, sample in chunk), C-contiguous; every element is written.
        stats: As `new_stats` makes it; added to.
        exceptions: int64, shape (capacity, 3): receives (index into `starts`, sample, word) of each IBM word
            that `encode_traces` would not return, in this order. When the result is larger than the capacity
            the rest is missing: call again with fresh `stats` and room enough.
    """
    _check_room(starts, n_samples, words.size, out, "out")
    if exceptions.dtype != np.int64 or exceptions.ndim != 2 or exceptions.shape[1] != 3:
        raise ValueError(f"exceptions are int64 of shape (n, 3), got {exceptions.dtype} {exceptions.shape}")
    fill_bits = np.array(fill, np.float32).view(np.uint32)[()]
    found = _decode(
        _frozen(words, np.uint32),
        _frozen(starts, np.int64),
        n_samples,
        bool(ibm),
        bool(swap),
        fill_bits,
        out.view(np.uint32),
        stats,
        exceptions,
        np.uint32(0x21100000),
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
    view = chunks.view(np.uint32)
    view.flags.writeable = False
    _check_denormals(
        _encode(
            view, records, _frozen(starts, np.int64), n_samples, bool(ibm), bool(swap), np.uint32(0x00200000)
        )
    )


def _check_room(starts: np.ndarray, n_samples: int, n_words: int, chunks: np.ndarray, name: str) -> None:
    """Refuse what would read or write outside the buffers."""
    if chunks.dtype != np.float32 or chunks.ndim != 3 or not chunks.flags.c_contiguous:
        raise ValueError(
            f"{name} must be C-contiguous float32 with 3 axes, got {chunks.dtype} {chunks.shape}"
        )
    if chunks.shape[1] != len(starts) or chunks.shape[0] * chunks.shape[2] < n_samples:
        raise ValueError(f"{name} {chunks.shape} does not hold {len(starts)} traces of {n_samples} samples")
    if len(starts) and (starts.min() < -1 or starts.max() + n_samples > n_words):
        raise ValueError(
            f"traces start at words {starts.min()} to {starts.max()} and have {n_samples} samples, "
            f"but the buffer has {n_words} words"
        )


def _frozen(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array as read-only: bytes and writable buffers then share one compiled kernel."""
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


@njit(cache=True, nogil=True)
def _reversed_bytes(word):
    return np.uint32((word >> 24) | ((word >> 8) & 0xFF00) | ((word << 8) & 0xFF0000) | (word << 24))


@njit(cache=True, nogil=True)
def _ibm_to_bits(word):
    """float32 bits of an IBM word: correctly rounded, zero or Inf beyond float32's range.

    The 24-bit fraction is exact in float32 and is scaled by two powers of two, of which only the second can round.
    """
    power = 4 * np.int32((word >> 24) & 0x7F) - 280
    # Beyond these limits the result is 0 whatever the second factor.
    half = max(power >> 1, -126)
    rest = max(power - half, -126)
    fraction = np.float32(np.int32(word & 0x00FFFFFF))
    first = np.uint32((half + 127) << 23).view(np.float32)
    second = np.uint32((rest + 127) << 23).view(np.float32)
    scaled = np.float32((fraction * first) * second).view(np.uint32)
    return np.uint32(scaled | (word & 0x80000000))


@njit(cache=True, nogil=True)
def _bits_to_ibm(bits):
    """IBM word of float32 bits, truncated; without branches."""
    magnitude = np.uint32(bits & 0x7FFFFFFF)
    denormal = magnitude < 0x00800000
    # Denormals are made normal by an exact multiplication with 2^24.
    lifted = np.float32(np.uint32(magnitude).view(np.float32) * np.float32(16777216.0)).view(np.uint32)
    normal = np.uint32(lifted if denormal else magnitude)
    power = np.int32(normal >> 23) - np.int32(150 if denormal else 126)
    digits = np.int32((power + 1027) >> 2) - np.int32(256)
    fraction = np.uint32((normal & 0x7FFFFF) | 0x800000) >> np.uint32(4 * digits - power)
    word = np.uint32(np.uint32((digits + 64) << 24) | fraction)
    word = np.uint32(0) if magnitude == 0 else word
    word = np.uint32(0x7FFFFFFF) if magnitude >= 0x7F800000 else word
    return np.uint32(word | (bits & 0x80000000))


@njit(cache=True, nogil=True)
def _move(source, target, swap):
    if swap:
        for i in range(source.size):
            target[i] = _reversed_bytes(source[i])
    else:
        for i in range(source.size):
            target[i] = source[i]


@njit(cache=True, nogil=True)
def _decode_words(words, bits):
    for i in range(words.size):
        bits[i] = _ibm_to_bits(words[i])


@njit(cache=True, nogil=True)
def _encode_words(bits, words):
    for i in range(bits.size):
        words[i] = _bits_to_ibm(bits[i])


@njit(cache=True, nogil=True)
def _suspects(words):
    """How many words are neither zero nor normalised with 2^-128 <= |value| < 2^128; all others come back."""
    count = np.int32(0)
    for i in range(words.size):
        magnitude = np.uint32(words[i] & 0x7FFFFFFF)
        exact = (np.uint32(magnitude - np.uint32(0x21000000)) < np.uint32(0x40000000)) & (
            (magnitude & 0x00F00000) != 0
        )
        count += np.int32(not (exact | (magnitude == 0)))
    return count


@njit(cache=True, nogil=True)
def _report(words, bits, trace, first, exceptions, found):
    for i in range(words.size):
        if _bits_to_ibm(bits[i]) != words[i]:
            if found < exceptions.shape[0]:
                exceptions[found, 0] = trace
                exceptions[found, 1] = first + i
                exceptions[found, 2] = words[i]
            found += 1
    return found


@njit(cache=True, nogil=True)
def _zeros(bits):
    count = np.int32(0)
    for i in range(bits.size):
        count += np.int32((bits[i] & 0x7FFFFFFF) == 0)
    return count


@njit(cache=True, nogil=True)
def _nonfinite(bits):
    count = np.int32(0)
    for i in range(bits.size):
        count += np.int32((bits[i] & 0x7FFFFFFF) >= 0x7F800000)
    return count


@njit(cache=True, nogil=True)
def _replace_nonfinite(bits, replacement, clean):
    for i in range(bits.size):
        clean[i] = replacement if (bits[i] & 0x7FFFFFFF) >= 0x7F800000 else bits[i]


@njit(cache=True, nogil=True)
def _extremes(bits):
    """Least and greatest value, as int32 that order like the floats: float minima are not vectorised."""
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x7FFFFFFF)
    for i in range(bits.size):
        value = np.int32(bits[i])
        value = np.int32(value ^ ((value >> 31) & 0x7FFFFFFF))
        low = value if value < low else low
        high = value if value > high else high
    return low, high


@njit(cache=True, nogil=True)
def _as_float(ordered):
    # + 0.0 because a stored minimum of -0.0 would surprise.
    return np.float64(np.uint32(ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)) + 0.0


@njit(cache=True, nogil=True)
def _lane_sums(values, sums, squares):
    """Sum and sum of squares; the length of `values` is a multiple of LANES."""
    for k in range(LANES):
        sums[k] = 0.0
        squares[k] = 0.0
    for row in range(0, values.size, LANES):
        lane = values[row : row + LANES]
        for k in range(LANES):
            value = np.float64(lane[k])
            sums[k] += value
            squares[k] += value * value
    total, total_squares = 0.0, 0.0
    for k in range(LANES):
        total += sums[k]
        total_squares += squares[k]
    return total, total_squares


@njit(cache=True, nogil=True)
def _add_stats(bits, n, clean, lanes, stats):
    """Add the first `n` of `bits`, which has room up to a multiple of LANES; return how many are zero."""
    padded = (n + LANES - 1) // LANES * LANES
    bits[n:padded] = 0
    used = bits[:n]
    zeros, bad = _zeros(used), _nonfinite(used)
    low, high = _extremes(used)
    summed = bits[:padded]
    if bad:
        summed = clean[:padded]
        _replace_nonfinite(bits[:padded], np.uint32(0), summed)
        for i in range(n):
            if (used[i] & 0x7FFFFFFF) < 0x7F800000:
                _replace_nonfinite(used, used[i], clean[padded : padded + n])
                low, high = _extremes(clean[padded : padded + n])
                break
    total, squares = _lane_sums(summed.view(np.float32), lanes[0], lanes[1])
    if bad < n:
        stats[MINIMUM] = min(stats[MINIMUM], _as_float(low))
        stats[MAXIMUM] = max(stats[MAXIMUM], _as_float(high))
    stats[COUNT] += n - bad
    stats[SUM] += total
    stats[SUM_OF_SQUARES] += squares
    stats[NONFINITE] += bad
    stats[ZERO] += zeros
    return zeros


@njit(cache=True, nogil=True)
def _decode(words, starts, n_samples, ibm, swap, fill, out, stats, exceptions, probe):
    if _ibm_to_bits(probe) != 0x00200000:
        return -1
    n_chunks, n_traces, chunk_samples = out.shape
    flat = out.reshape(-1)
    raw, bits = np.empty(STEP, np.uint32), np.empty(STEP, np.uint32)
    clean, lanes = np.empty(2 * STEP, np.uint32), np.empty((2, LANES))
    found = 0
    for t in range(n_traces):
        start = starts[t]
        filled = 0
        if start >= 0:
            zeros = 0
            for first in range(0, n_samples, STEP):
                n = min(STEP, n_samples - first)
                source = words[start + first : start + first + n]
                if ibm:
                    _move(source, raw, swap)
                    _decode_words(raw[:n], bits)
                    if _suspects(raw[:n]):
                        found = _report(raw[:n], bits, t, first, exceptions, found)
                else:
                    _move(source, bits, swap)
                zeros += _add_stats(bits, n, clean, lanes, stats)
                done = 0
                while done < n:
                    chunk, position = divmod(first + done, chunk_samples)
                    run = min(n - done, chunk_samples - position)
                    at = (chunk * n_traces + t) * chunk_samples + position
                    flat[at : at + run] = bits[done : done + run]
                    done += run
            stats[LIVE] += 1
            stats[DEAD] += zeros == n_samples
            filled = n_samples
        while filled < n_chunks * chunk_samples:
            chunk, position = divmod(filled, chunk_samples)
            at = (chunk * n_traces + t) * chunk_samples
            flat[at + position : at + chunk_samples] = fill
            filled += chunk_samples - position
    return found


@njit(cache=True, nogil=True)
def _encode(chunks, records, starts, n_samples, ibm, swap, probe):
    if _bits_to_ibm(probe) != 0x21100000:
        return -1
    n_traces, chunk_samples = chunks.shape[1], chunks.shape[2]
    flat = chunks.reshape(-1)
    bits, raw = np.empty(STEP, np.uint32), np.empty(STEP, np.uint32)
    for t in range(n_traces):
        start = starts[t]
        if start < 0:
            continue
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            done = 0
            while done < n:
                chunk, position = divmod(first + done, chunk_samples)
                run = min(n - done, chunk_samples - position)
                at = (chunk * n_traces + t) * chunk_samples + position
                bits[done : done + run] = flat[at : at + run]
                done += run
            target = records[start + first : start + first + n]
            if ibm:
                _encode_words(bits[:n], raw)
                _move(raw[:n], target, swap)
            else:
                _move(bits[:n], target, swap)
    return 0

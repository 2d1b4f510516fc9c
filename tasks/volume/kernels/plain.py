"""Samples that are moved, not converted: integers of 1 to 8 bytes and float64, between file bytes and chunks.

Records of such samples have any length, so samples begin at any byte: they are put in order byte by byte, which
the compiler turns into shuffles, in steps that stay in the first-level cache. Integers of three bytes are
widened to four. Statistics are float64 in a fixed order of additions, but least and greatest integers are exact.
"""

from typing import Any

import numpy as np

from tasks.volume.kernels.compiled import njit

COUNT, MINIMUM, MAXIMUM, SUM, SUM_OF_SQUARES, NONFINITE, ZERO, LIVE, DEAD = range(9)  # as in `samples`
STEP = 2048  # samples
LANES = 64  # STEP is a multiple of LANES
_DTYPES = frozenset(("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float64"))


def decode_plain(
    data: np.ndarray,
    starts: np.ndarray,
    n_samples: int,
    width: int,
    swap: bool,
    out: np.ndarray,
    stats: np.ndarray,
) -> tuple[int, int] | None:
    """Fill `out` with the samples of a column of chunks; return the least and the greatest integer, or None.

    Args:
        data: uint8, one axis: what was read of the file.
        starts: int64, shape (trace,): the byte at which each trace's samples begin, -1 where there is no trace.
        n_samples: Samples in each trace.
        width: Bytes of a sample in the file: those of `out`, or 3 for int32 and uint32.
        swap: The file is in the other byte order than this machine.
        out: Integers or float64, shape (chunk, trace, sample in chunk), C-contiguous; every element is written,
            with 0 (NaN in float64) where there is no trace and beyond `n_samples`.
        stats: As `traces.new_stats` makes it; added to.
    """
    _check(data, starts, n_samples, width, out, "out")
    if stats.dtype != np.float64 or stats.shape != (9,):
        raise ValueError(f"stats must come from new_stats(), got {stats.dtype} {stats.shape}")
    real = out.dtype.kind == "f"
    fill = np.array(np.nan if real else 0, out.dtype)[()]
    limits = np.array(
        [np.inf, -np.inf] if real else [np.iinfo(out.dtype).max, np.iinfo(out.dtype).min], out.dtype
    )
    before = stats[COUNT]
    decode = _decode_floats if real else _decode_integers
    places = _frozen(data, np.uint8), _frozen(starts, np.int64)
    decode(*places, int(n_samples), width, bool(swap), _three_bytes(out, swap), fill, out, stats, limits)
    if stats[COUNT] == before:
        return None
    stats[MINIMUM], stats[MAXIMUM] = min(stats[MINIMUM], limits[0]), max(stats[MAXIMUM], limits[1])
    return None if real else (int(limits[0]), int(limits[1]))


def encode_plain(
    chunks: np.ndarray, records: np.ndarray, starts: np.ndarray, n_samples: int, width: int, swap: bool
) -> None:
    """Write the samples of a column of chunks into trace records; the inverse of `decode_plain`.

    Args:
        chunks: Integers or float64, shape (chunk, trace, sample in chunk), C-contiguous.
        records: uint8, one axis; only samples are written.
        starts: int64: the byte of `records` at which each trace's samples begin, -1 for none.
        n_samples: Samples in each trace.
        width: Bytes of a sample in the file; of 3 for int32 and uint32 the lowest are written.
        swap: Write the other byte order than this machine's.
    """
    _check(records, starts, n_samples, width, chunks, "chunks")
    if not records.flags.c_contiguous:
        raise ValueError("records must be contiguous, got a view with gaps")
    # As integers: on some processors copying a float64 quietens a signalling NaN.
    words = _frozen(chunks.view(np.uint64 if chunks.dtype.kind == "f" else chunks.dtype), None)
    order = _three_bytes(chunks, swap)
    _encode(words, records, _frozen(starts, np.int64), int(n_samples), width, bool(swap), order)


def _check(
    data: np.ndarray, starts: np.ndarray, n_samples: int, width: int, chunks: np.ndarray, name: str
) -> None:
    """Refuse what would read or write outside the buffers."""
    if chunks.dtype.name not in _DTYPES or not chunks.dtype.isnative:
        raise ValueError(f"{name} must be native integers or float64, got {chunks.dtype}")
    if chunks.ndim != 3 or not chunks.flags.c_contiguous or not chunks.flags.aligned:
        raise ValueError(f"{name} must be C-contiguous with 3 axes, got {chunks.shape}")
    if width != chunks.itemsize and (width, chunks.dtype.kind, chunks.itemsize) not in (
        (3, "i", 4),
        (3, "u", 4),
    ):
        raise ValueError(f"samples of {width} bytes are not {chunks.dtype}")
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(f"file bytes must be uint8 with 1 axis, got {data.dtype} {data.shape}")
    if chunks.shape[1] != len(starts) or not 1 <= n_samples <= chunks.shape[0] * chunks.shape[2]:
        raise ValueError(f"{name} {chunks.shape} does not hold {len(starts)} traces of {n_samples} samples")
    last = max(starts, default=-1)
    if min(starts, default=-1) < -1 or (last >= 0 and last + n_samples * width > data.size):
        raise ValueError(
            f"traces start at bytes {min(starts)} to {last} and have {n_samples} samples of {width} bytes, "
            f"but the buffer has {data.size} bytes"
        )


def _three_bytes(chunks: np.ndarray, swap: bool) -> tuple[np.uint32, np.uint32, np.uint32]:
    """Return the shifts of the first and last byte of a 3-byte integer, and its sign bit (0 if unsigned)."""
    first, last = (16, 0) if swap == np.little_endian else (0, 16)
    return np.uint32(first), np.uint32(last), np.uint32(0x800000 if chunks.dtype.kind == "i" else 0)


def _frozen(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return the array as read-only: bytes and writable buffers then share one compiled kernel."""
    frozen = np.require(array, dtype, ["C", "A"]).view()
    frozen.flags.writeable = False
    return frozen


@njit(cache=True, nogil=True)
def _load(source, values, n, width, swap, three):
    """Return bytes of the file to `n` values."""
    if width == 3:
        words = values.view(np.uint32)
        first, last, sign = three
        for i in range(n):
            outer = (np.uint32(source[3 * i]) << first) | (np.uint32(source[3 * i + 2]) << last)
            word = np.uint32(outer | (np.uint32(source[3 * i + 1]) << np.uint32(8)))
            words[i] = np.uint32(np.uint32(word ^ sign) - sign)
    else:
        _turn(source, values.view(np.uint8), n, width, swap)


@njit(cache=True, nogil=True)
def _turn(source, target, n, width, swap):
    """Copy `n` words of `width` bytes, each reversed if `swap`."""
    if not swap or width == 1:
        for i in range(n * width):
            target[i] = source[i]
    elif width == 2:
        for i in range(n):
            target[2 * i], target[2 * i + 1] = source[2 * i + 1], source[2 * i]
    elif width == 4:
        for i in range(n):
            target[4 * i], target[4 * i + 1] = source[4 * i + 3], source[4 * i + 2]
            target[4 * i + 2], target[4 * i + 3] = source[4 * i + 1], source[4 * i]
    else:
        for i in range(n):
            for k in range(8):
                target[8 * i + k] = source[8 * i + 7 - k]


@njit(cache=True, nogil=True)
def _store(values, target, n, width, swap, three):
    """`n` values to bytes of the file."""
    if width == 3:
        words = values.view(np.uint32)
        first, last, _ = three
        for i in range(n):
            target[3 * i] = np.uint8((words[i] >> first) & np.uint32(255))
            target[3 * i + 1] = np.uint8((words[i] >> np.uint32(8)) & np.uint32(255))
            target[3 * i + 2] = np.uint8((words[i] >> last) & np.uint32(255))
    else:
        _turn(values.view(np.uint8), target, n, width, swap)


@njit(cache=True, nogil=True)
def _fill(target, value):
    for i in range(target.size):
        target[i] = value


@njit(cache=True, nogil=True)
def _copy(source, target):
    for i in range(target.size):
        target[i] = source[i]


@njit(cache=True, nogil=True)
def _zeros(values):
    count = np.int32(0)
    for i in range(values.size):
        count += np.int32(values[i] == 0)
    return count


@njit(cache=True, nogil=True)
def _extremes(values, limits):
    low, high = limits[0], limits[1]
    for i in range(values.size):
        low = min(low, values[i])
        high = max(high, values[i])
    limits[0], limits[1] = low, high


@njit(cache=True, nogil=True)
def _add_to_lanes(values, lanes):
    """Add to LANES sums and sums of squares; the length of `values` is a multiple of LANES."""
    sums, squares = lanes[0], lanes[1]
    for row in range(0, values.size, LANES):
        part = values[row : row + LANES]
        for k in range(LANES):
            value = np.float64(part[k])
            sums[k] += value
            squares[k] += value * value


@njit(cache=True, nogil=True)
def _to_chunks(values, first, trace, out, flat):
    """Put the samples from `first` on of a trace where they belong in `out`, which is `flat` with 3 axes."""
    n_traces, chunk_samples = out.shape[1], out.shape[2]
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, 0
    row = (chunk * n_traces + trace) * chunk_samples
    while done < values.size:
        run = min(values.size - done, chunk_samples - position)
        _copy(values[done : done + run], flat[row + position : row + position + run])
        position, done = 0, done + run
        row += n_traces * chunk_samples


@njit(cache=True, nogil=True)
def _from_chunks(chunks, flat, first, trace, values):
    n_traces, chunk_samples = chunks.shape[1], chunks.shape[2]
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, 0
    row = (chunk * n_traces + trace) * chunk_samples
    while done < values.size:
        run = min(values.size - done, chunk_samples - position)
        _copy(flat[row + position : row + position + run], values[done : done + run])
        position, done = 0, done + run
        row += n_traces * chunk_samples


@njit(cache=True, nogil=True)
def _fill_from(first, trace, fill, out):
    """Fill a trace of `out` from sample `first` to the end of its last chunk."""
    for chunk in range(first // out.shape[2], out.shape[0]):
        _fill(out[chunk, trace, max(0, first - chunk * out.shape[2]) :], fill)


@njit(cache=True, nogil=True)
def _add_lanes(lanes, stats):
    for k in range(LANES):
        stats[SUM] += lanes[0, k]
        stats[SUM_OF_SQUARES] += lanes[1, k]


@njit(cache=True, nogil=True)
def _decode_integers(data, starts, n_samples, width, swap, three, fill, out, stats, limits):
    values, lanes, flat = np.empty(STEP, out.dtype), np.zeros((2, LANES)), out.reshape(-1)
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(0, t, fill, out)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            at = starts[t] + first * width
            _load(data[at : at + n * width], values, n, width, swap, three)
            _extremes(values[:n], limits)
            zeros += _zeros(values[:n])
            padded = -(-n // LANES) * LANES
            _fill(values[n:padded], fill)
            _add_to_lanes(values[:padded], lanes)
            _to_chunks(values[:n], first, t, out, flat)
        stats[COUNT] += n_samples
        stats[ZERO] += zeros
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, out)
    _add_lanes(lanes, stats)


@njit(cache=True, nogil=True)
def _nonfinite(values):
    count = np.int32(0)
    for i in range(values.size):
        # The difference of a finite number with itself is 0, of any other NaN.
        count += np.int32(values[i] - values[i] != 0)
    return count


@njit(cache=True, nogil=True)
def _finite_extremes(values, limits):
    low, high = limits[0], limits[1]
    for i in range(values.size):
        finite = values[i] - values[i] == 0
        low = values[i] if finite and values[i] < low else low
        high = values[i] if finite and values[i] > high else high
    # + 0.0 because a stored minimum of -0.0 would surprise.
    limits[0], limits[1] = low + 0.0, high + 0.0


@njit(cache=True, nogil=True)
def _decode_floats(data, starts, n_samples, width, swap, three, fill, out, stats, limits):
    values, lanes, flat = np.empty(STEP, out.dtype), np.zeros((2, LANES)), out.reshape(-1)
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(0, t, fill, out)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            at = starts[t] + first * width
            _load(data[at : at + n * width], values, n, width, swap, three)
            # As bytes: a copy as numbers could quieten signalling NaNs on some processors.
            _to_chunks(values[:n].view(np.uint64), first, t, out, flat.view(np.uint64))
            bad = _nonfinite(values[:n])
            _finite_extremes(values[:n], limits)
            zeros += _zeros(values[:n])
            if bad:
                for i in range(n):
                    values[i] = values[i] if values[i] - values[i] == 0 else 0.0
            padded = -(-n // LANES) * LANES
            _fill(values[n:padded], 0.0)
            _add_to_lanes(values[:padded], lanes)
            stats[COUNT] += n - bad
            stats[NONFINITE] += bad
        stats[ZERO] += zeros
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, out)
    _add_lanes(lanes, stats)


@njit(cache=True, nogil=True)
def _encode(chunks, records, starts, n_samples, width, swap, three):
    values, flat = np.empty(STEP, chunks.dtype), chunks.reshape(-1)
    for t in range(starts.size):
        if starts[t] < 0:
            continue
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            _from_chunks(chunks, flat, first, t, values[:n])
            at = starts[t] + first * width
            _store(values, records[at : at + n * width], n, width, swap, three)

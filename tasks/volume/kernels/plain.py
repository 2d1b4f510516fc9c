"""Copy samples that need no conversion between file and chunks: integers of 1 to 8 bytes, and float64.

Records of such samples have any length, so samples can begin at any byte: bytes are reordered one by one, which the
compiler turns into shuffles, in steps that fit in the first-level cache. Integers of three bytes are
widened to four. Statistics are float64 in a fixed order of additions, but least and greatest integers are exact.
"""

from typing import Any

import numpy as np

from tasks.volume.kernels.compiled import kernel, part

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
        stats: Result of `traces.new_stats`; added to.
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
    places = _frozen(data, np.uint8), _frozen(starts, np.int64), int(n_samples), width, bool(swap)
    sums, squares = np.zeros((2, LANES))
    if real:
        # As integers: a copy of numbers could quieten signalling NaNs on some processors.
        target, nothing, decode = out.view(np.uint64), fill.view(np.uint64), _decode_floats
        values, words, octets = _room(np.dtype(np.uint64), width)
        room: tuple[np.ndarray, ...] = (values.view(np.float64), values, words, octets, sums, squares)
    else:
        target, nothing, decode = out, fill, _decode_integers
        room = (*_room(out.dtype, width), sums, squares)
    order = _three_bytes(out, swap)
    decode(*places, order, nothing, target.reshape(-1), out.shape[2], stats, limits, *room)
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
    words = _frozen(chunks.view(np.uint64 if chunks.dtype.kind == "f" else chunks.dtype).reshape(-1), None)
    places = chunks.shape[2], records, _frozen(starts, np.int64), int(n_samples), width, bool(swap)
    _encode(words, *places, _three_bytes(chunks, swap), *_room(words.dtype, width))


def _room(dtype: np.dtype, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an array for a step's values, and its words (of use for 3 bytes only) and bytes."""
    values = np.empty(STEP, dtype)
    return values, values.view(np.uint32) if width == 3 else np.empty(0, np.uint32), values.view(np.uint8)


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


@part
def _load(source, begin, words, octets, n, width, swap, three):
    """Return bytes of the file to `n` values."""
    if width == 3:
        first, last, sign = three
        for i in range(np.uint64(n)):
            at = np.uint64(begin) + np.uint64(3) * i
            outer = (np.uint32(source[at]) << first) | (np.uint32(source[at + np.uint64(2)]) << last)
            word = np.uint32(outer | (np.uint32(source[at + np.uint64(1)]) << np.uint32(8)))
            words[i] = np.uint32(np.uint32(word ^ sign) - sign)
    else:
        _turn(source, begin, octets, np.int64(0), n, width, swap)


@part
def _turn(source, begin, target, to, n, width, swap):
    """Copy `n` words of `width` bytes from and to the given places, each reversed if `swap`."""
    begin, to = np.uint64(begin), np.uint64(to)
    if not swap or width == 1:
        for i in range(np.uint64(n * width)):
            target[to + i] = source[begin + i]
    elif width == 2:
        _reverse(source, begin, target, to, n, 2)
    elif width == 4:
        _reverse(source, begin, target, to, n, 4)
    else:
        _reverse(source, begin, target, to, n, 8)


@part
def _reverse(source, begin, target, to, n, width):
    width = np.uint64(width)
    for i in range(np.uint64(n)):
        for k in range(width):
            target[to + i * width + k] = source[begin + i * width + width - np.uint64(1) - k]


@part
def _store(words, octets, target, to, n, width, swap, three):
    """`n` values to bytes of the file."""
    if width == 3:
        first, last, _ = three
        for i in range(np.uint64(n)):
            at = np.uint64(to) + np.uint64(3) * i
            target[at] = np.uint8((words[i] >> first) & np.uint32(255))
            target[at + np.uint64(1)] = np.uint8((words[i] >> np.uint32(8)) & np.uint32(255))
            target[at + np.uint64(2)] = np.uint8((words[i] >> last) & np.uint32(255))
    else:
        _turn(octets, np.int64(0), target, to, n, width, swap)


@part
def _fill(target, begin, end, value):
    for i in range(np.uint64(begin), np.uint64(end)):
        target[i] = value


@part
def _copy(source, begin, target, to, n):
    begin, to = np.uint64(begin), np.uint64(to)
    for i in range(np.uint64(n)):
        target[to + i] = source[begin + i]


@part
def _zeros(values, n):
    count = np.int32(0)
    for i in range(n):
        count += np.int32(values[i] == 0)
    return count


@part
def _extremes(values, n, limits):
    low, high = limits[0], limits[1]
    for i in range(n):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    limits[0], limits[1] = low, high


@part
def _add_to_lanes(values, size, sums, squares):
    """Add to LANES sums and sums of squares; `size` is a multiple of LANES."""
    for row in range(np.uint64(0), np.uint64(size), np.uint64(LANES)):
        for k in range(np.uint64(LANES)):
            value = np.float64(values[row + k])
            sums[k] += value
            squares[k] += value * value


@part
def _to_chunks(values, n, first, trace, flat, n_traces, chunk_samples):
    """Put the samples from `first` on of a trace where they belong in `flat`: chunks, traces, samples."""
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, np.int64(0)
    row = (chunk * n_traces + trace) * chunk_samples
    while done < n:
        run = chunk_samples - position
        run = n - done if n - done < run else run
        _copy(values, done, flat, row + position, run)
        position, done = np.int64(0), done + run
        row += n_traces * chunk_samples


@part
def _from_chunks(flat, n_traces, chunk_samples, first, trace, values, n):
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, np.int64(0)
    row = (chunk * n_traces + trace) * chunk_samples
    while done < n:
        run = chunk_samples - position
        run = n - done if n - done < run else run
        _copy(flat, row + position, values, done, run)
        position, done = np.int64(0), done + run
        row += n_traces * chunk_samples


@part
def _fill_from(first, trace, fill, flat, n_traces, chunk_samples):
    """Fill a trace of `flat` from sample `first` to the end of its last chunk."""
    chunk = first // chunk_samples
    begin = first - chunk * chunk_samples
    row = (chunk * n_traces + trace) * chunk_samples
    while row < flat.size:
        _fill(flat, row + begin, row + chunk_samples, fill)
        begin = np.int64(0)
        row += n_traces * chunk_samples


@part
def _add_lanes(sums, squares, stats):
    for k in range(LANES):
        stats[SUM] += sums[k]
        stats[SUM_OF_SQUARES] += squares[k]


@kernel
def _decode_integers(
    data,
    starts,
    n_samples,
    width,
    swap,
    three,
    fill,
    flat,
    chunk_samples,
    stats,
    limits,
    values,
    words,
    octets,
    sums,
    squares,
):
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(np.int64(0), t, fill, flat, starts.size, chunk_samples)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = n_samples - first
            n = STEP if n > STEP else n
            _load(data, starts[t] + first * width, words, octets, n, width, swap, three)
            _extremes(values, n, limits)
            zeros += _zeros(values, n)
            padded = -(-n // LANES) * LANES
            _fill(values, n, padded, fill)
            _add_to_lanes(values, padded, sums, squares)
            _to_chunks(values, n, first, t, flat, starts.size, chunk_samples)
        stats[COUNT] += n_samples
        stats[ZERO] += zeros
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, flat, starts.size, chunk_samples)
    _add_lanes(sums, squares, stats)


@part
def _nonfinite(values, n):
    count = np.int32(0)
    for i in range(n):
        # The difference of a finite number with itself is 0, of any other NaN.
        count += np.int32(values[i] - values[i] != 0)
    return count


@part
def _finite_extremes(values, n, limits):
    low, high = limits[0], limits[1]
    for i in range(n):
        finite = values[i] - values[i] == 0
        low = values[i] if finite and values[i] < low else low
        high = values[i] if finite and values[i] > high else high
    # + 0.0 because a stored minimum of -0.0 would surprise.
    limits[0], limits[1] = low + 0.0, high + 0.0


@kernel
def _decode_floats(
    data,
    starts,
    n_samples,
    width,
    swap,
    three,
    fill,
    flat,
    chunk_samples,
    stats,
    limits,
    values,
    bits,
    words,
    octets,
    sums,
    squares,
):
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(np.int64(0), t, fill, flat, starts.size, chunk_samples)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = n_samples - first
            n = STEP if n > STEP else n
            _load(data, starts[t] + first * width, words, octets, n, width, swap, three)
            _to_chunks(bits, n, first, t, flat, starts.size, chunk_samples)
            bad = _nonfinite(values, n)
            _finite_extremes(values, n, limits)
            zeros += _zeros(values, n)
            if bad:
                for i in range(n):
                    values[i] = values[i] if values[i] - values[i] == 0 else 0.0
            padded = -(-n // LANES) * LANES
            _fill(values, n, padded, 0.0)
            _add_to_lanes(values, padded, sums, squares)
            stats[COUNT] += n - bad
            stats[NONFINITE] += bad
        stats[ZERO] += zeros
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, flat, starts.size, chunk_samples)
    _add_lanes(sums, squares, stats)


@kernel
def _encode(flat, chunk_samples, records, starts, n_samples, width, swap, three, values, words, octets):
    for t in range(starts.size):
        if starts[t] < 0:
            continue
        for first in range(0, n_samples, STEP):
            n = n_samples - first
            n = STEP if n > STEP else n
            _from_chunks(flat, starts.size, chunk_samples, first, t, values, n)
            _store(words, octets, records, starts[t] + first * width, n, width, swap, three)

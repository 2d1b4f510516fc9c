"""The compiled loops of `traces`: convert words, add statistics, and copy between traces and chunks.

Each trace is processed in steps that fit in the first-level cache, and each step is a series of small loops with one
purpose each, because only such loops become vector instructions. Casts keep integers at 32 bits, because numba
computes in 64 otherwise, which halves the vector width. Sums use a fixed number of lanes in a fixed order: an order
chosen by the compiler would depend on the processor, and stored statistics must not. No `fastmath`: it would rewrite
the two multiplications of the IBM decoding.
"""

import numpy as np

from tasks.volume.kernels.compiled import kernel, part

COUNT, MINIMUM, MAXIMUM, SUM, SUM_OF_SQUARES, NONFINITE, ZERO, LIVE, DEAD = range(9)
STEP = 2048  # samples; words, values and sums of a step stay in 48 KiB
LANES = 64  # STEP is a multiple of 4 LANES
# Of finite values, in the order that `_extremes` uses.
_LEAST, _GREATEST = -0x7F800000, 0x7F7FFFFF


@part
def _reversed_bytes(word):
    return np.uint32((word >> 24) | ((word >> 8) & 0xFF00) | ((word << 8) & 0xFF0000) | (word << 24))


@part
def _ibm_to_bits(word):
    """float32 bits of an IBM word: correctly rounded, zero or Inf beyond float32's range.

    The value is fraction x 2^(4 exponent - 280). The 24-bit fraction is exact in float32 and is multiplied twice
    by the root of the power, so that only the second product can round, and only where it becomes denormal.
    """
    twice = np.int32((word >> 23) & 0xFE)
    # Smaller powers than 2^-126 have no float32; the result is 0 all the same.
    least = np.int32(14)
    root = np.uint32(((least if twice < least else twice) - 13) << 23).view(np.float32)
    fraction = np.float32(np.int32(word & 0x00FFFFFF))
    value = np.float32((fraction * root) * root).view(np.uint32)
    return np.uint32(value | (word & 0x80000000))


@part
def _bits_to_ibm(bits):
    """IBM word of float32 bits, truncated; without branches."""
    magnitude = np.uint32(bits & 0x7FFFFFFF)
    denormal = magnitude < 0x00800000
    # Denormals are made normal by an exact multiplication with 2^24.
    lifted = np.float32(np.uint32(magnitude).view(np.float32) * np.float32(16777216.0)).view(np.uint32)
    normal = np.uint32(lifted if denormal else magnitude)
    # 4 (IBM exponent + 192) + r; the fraction then begins with 3 - r zero bits.
    power = np.uint32((normal >> 23) + (877 if denormal else 901))
    fraction = np.uint32((normal & 0x7FFFFF) | 0x800000) >> np.uint32(3 - (power & 3))
    word = np.uint32((((power >> 2) - 192) << 24) | fraction)
    word = np.uint32(0 if magnitude == 0 else word)
    word = np.uint32(0x7FFFFFFF if magnitude >= 0x7F800000 else word)
    return np.uint32(word | (bits & 0x80000000))


@part
def _move(source, begin, target, to, n, swap):
    """Copy `n` words from and to the given places, bytes reversed if `swap`."""
    begin, to = np.uint64(begin), np.uint64(to)
    if swap:
        for i in range(np.uint64(n)):
            target[to + i] = _reversed_bytes(source[begin + i])
    else:
        for i in range(np.uint64(n)):
            target[to + i] = source[begin + i]


@part
def _fill(target, begin, end, value):
    for i in range(np.uint64(begin), np.uint64(end)):
        target[i] = value


@part
def _decode_words(words, bits, n):
    for i in range(n):
        bits[i] = _ibm_to_bits(words[i])


@part
def _encode_words(bits, words, n):
    for i in range(n):
        words[i] = _bits_to_ibm(bits[i])


@part
def _suspect(words, n):
    """Return False if all words are zero or normalised with 2^-128 <= |value| < 2^128: these round-trip exactly."""
    signs = np.uint32(0)
    for i in range(n):
        magnitude = np.uint32(words[i] & 0x7FFFFFFF)
        # Each difference has its highest bit set where its minuend is too small: cheaper than comparing.
        wrong = (magnitude - 0x21000000) | (0x60FFFFFF - magnitude) | ((magnitude & 0x00F00000) - 0x00100000)
        signs = np.uint32(signs | np.uint32(0 if magnitude == np.uint32(0) else wrong))
    return signs >= np.uint32(0x80000000)


@part
def _report(words, bits, n, trace, first, exceptions, found):
    for i in range(n):
        # Inf is reported even for the one word that it is encoded to: the value is lost all the same.
        if _bits_to_ibm(bits[i]) != words[i] or (bits[i] & 0x7FFFFFFF) == 0x7F800000:
            if found < exceptions.shape[0]:
                exceptions[found, 0] = trace
                exceptions[found, 1] = first + i
                exceptions[found, 2] = words[i]
            found += 1
    return found


@part
def _zeros(bits, n):
    count = np.int32(0)
    for i in range(n):
        count += np.int32((bits[i] & 0x7FFFFFFF) == 0)
    return count


@part
def _nonfinite(bits, n):
    count = np.int32(0)
    for i in range(n):
        count += np.int32((bits[i] & 0x7FFFFFFF) >= 0x7F800000)
    return count


@part
def _replace_nonfinite(bits, n, replacement, clean):
    for i in range(n):
        clean[i] = replacement if (bits[i] & 0x7FFFFFFF) >= 0x7F800000 else bits[i]


@part
def _first_finite(bits):
    i = 0
    while (bits[i] & 0x7FFFFFFF) >= 0x7F800000:
        i += 1
    return bits[i]


@part
def _extremes(bits, n):
    """Least and greatest value, as int32 that order like the floats: float minima are not vectorised."""
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x7FFFFFFF)
    for i in range(n):
        value = np.int32(bits[i])
        value = np.int32(value ^ ((value >> 31) & 0x7FFFFFFF))
        low = value if value < low else low
        high = value if value > high else high
    return low, high


@part
def _as_float(ordered):
    # + 0.0 because a stored minimum of -0.0 would surprise.
    return np.float64(np.uint32(ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)) + 0.0


@part
def _add_to_lanes(values, size, sums, squares):
    """Add to LANES sums and sums of squares; `size` is a multiple of 4 LANES."""
    for row in range(np.uint64(0), np.uint64(size), np.uint64(4 * LANES)):
        # Four at a time, because loading and storing the lanes costs more than adding to them.
        for k in range(np.uint64(LANES)):
            at = row + k
            p, q = np.float64(values[at]), np.float64(values[at + np.uint64(LANES)])
            r = np.float64(values[at + np.uint64(2 * LANES)])
            s = np.float64(values[at + np.uint64(3 * LANES)])
            sums[k] += (p + q) + (r + s)
            squares[k] += (p * p + q * q) + (r * r + s * s)


@part
def _add_stats(bits, n, clean, values, clean_values, sums, squares, stats):
    """Add the first `n` of `bits`, which has room up to a multiple of 4 LANES; return how many are zero.

    Sums go to `sums` and `squares`.
    """
    padded = -(-n // (4 * LANES)) * 4 * LANES
    _fill(bits, n, padded, np.uint32(0))
    zeros, bad = _zeros(bits, n), np.int32(0)
    low, high = _extremes(bits, n)
    if low < _LEAST or high > _GREATEST:
        bad = _nonfinite(bits, n)
        if bad < n:
            # A finite sample in place of the others leaves the extremes as they are, 0 the sums.
            _replace_nonfinite(bits, n, _first_finite(bits), clean)
            low, high = _extremes(clean, n)
        _replace_nonfinite(bits, padded, np.uint32(0), clean)
        _add_to_lanes(clean_values, padded, sums, squares)
    else:
        _add_to_lanes(values, padded, sums, squares)
    if bad < n:
        least, greatest = _as_float(low), _as_float(high)
        stats[MINIMUM] = least if least < stats[MINIMUM] else stats[MINIMUM]
        stats[MAXIMUM] = greatest if greatest > stats[MAXIMUM] else stats[MAXIMUM]
    stats[COUNT] += n - bad
    stats[NONFINITE] += bad
    stats[ZERO] += zeros
    return zeros


@part
def _to_chunks(bits, n, first, trace, flat, n_traces, chunk_samples):
    """Put the samples from `first` on of a trace where they belong in `flat`: chunks, traces, samples."""
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, np.int64(0)
    row = (chunk * n_traces + trace) * chunk_samples
    while done < n:
        run = chunk_samples - position
        run = n - done if n - done < run else run
        _move(bits, done, flat, row + position, run, False)
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


@kernel
def decode(
    words,
    starts,
    n_samples,
    ibm,
    swap,
    fill,
    flat,
    chunk_samples,
    stats,
    exceptions,
    probe,
    raw,
    bits,
    clean,
    values,
    clean_values,
    sums,
    squares,
):
    """`traces.decode_traces` on words; -1 when `probe`, an IBM word of a denormal, is not decoded.

    From `raw` on the arguments are `room`.
    """
    if _ibm_to_bits(probe) != 0x00200000:
        return -1
    found = np.int64(0)
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(np.int64(0), t, fill, flat, starts.size, chunk_samples)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = n_samples - first
            n = STEP if n > STEP else n
            _move(words, starts[t] + first, raw if ibm else bits, np.int64(0), n, swap)
            if ibm:
                _decode_words(raw, bits, n)
                if _suspect(raw, n):
                    found = _report(raw, bits, n, t, first, exceptions, found)
            zeros += _add_stats(bits, n, clean, values, clean_values, sums, squares, stats)
            _to_chunks(bits, n, first, t, flat, starts.size, chunk_samples)
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, flat, starts.size, chunk_samples)
    for k in range(LANES):
        stats[SUM] += sums[k]
        stats[SUM_OF_SQUARES] += squares[k]
    return found


def room() -> tuple[np.ndarray, ...]:
    """Return the arrays that `decode` works in: words, bits, finite bits, both as numbers, and lanes of sums."""
    raw, bits, clean = np.empty((3, STEP), np.uint32)
    return raw, bits, clean, bits.view(np.float32), clean.view(np.float32), *np.zeros((2, LANES))


@part
def _from_chunks(flat, n_traces, chunk_samples, first, trace, bits, n):
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, np.int64(0)
    row = (chunk * n_traces + trace) * chunk_samples
    while done < n:
        run = chunk_samples - position
        run = n - done if n - done < run else run
        _move(flat, row + position, bits, done, run, False)
        position, done = np.int64(0), done + run
        row += n_traces * chunk_samples


@kernel
def encode(flat, chunk_samples, records, starts, n_samples, ibm, swap, probe, bits, raw):
    """`traces.encode_traces` on words; -1 when `probe`, the bits of a denormal, is not encoded.

    `bits` and `raw` have room for a step.
    """
    if _bits_to_ibm(probe) != 0x21100000:
        return -1
    for t in range(starts.size):
        if starts[t] < 0:
            continue
        for first in range(0, n_samples, STEP):
            n = n_samples - first
            n = STEP if n > STEP else n
            _from_chunks(flat, starts.size, chunk_samples, first, t, bits, n)
            if ibm:
                _encode_words(bits, raw, n)
            _move(raw if ibm else bits, np.int64(0), records, starts[t] + first, n, swap)
    return 0

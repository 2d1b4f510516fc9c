"""The compiled loops of `traces`: words, statistics, and the way between traces and chunks.

Each trace is walked in steps that fit in the first-level cache, and each step is a series of tiny loops, one
purpose each: only such loops become vector instructions. Integers are kept to 32 bits by casts, because
numba computes in 64 otherwise, which halves the width. Sums run over a fixed number of lanes in a fixed
order: an order chosen by the compiler depends on the processor, and stored statistics must not. No
`fastmath`: it would rewrite the two multiplications of the IBM decoding.
"""

import numpy as np

from tasks.volume.kernels.compiled import njit

COUNT, MINIMUM, MAXIMUM, SUM, SUM_OF_SQUARES, NONFINITE, ZERO, LIVE, DEAD = range(9)
STEP = 2048  # samples; words, values and sums of a step stay in 48 KiB
LANES = 64  # STEP is a multiple of 4 LANES
# Of finite values, in the order that `_extremes` uses.
_LEAST, _GREATEST = -0x7F800000, 0x7F7FFFFF


@njit(cache=True, nogil=True)
def _reversed_bytes(word):
    return np.uint32((word >> 24) | ((word >> 8) & 0xFF00) | ((word << 8) & 0xFF0000) | (word << 24))


@njit(cache=True, nogil=True)
def _ibm_to_bits(word):
    """float32 bits of an IBM word: correctly rounded, zero or Inf beyond float32's range.

    The value is fraction x 2^(4 exponent - 280). The 24-bit fraction is exact in float32 and is multiplied twice
    by the root of the power, so that only the second product can round, and only where it becomes denormal.
    """
    twice = np.int32((word >> 23) & 0xFE)
    # Smaller powers than 2^-126 have no float32; the result is 0 all the same.
    root = np.uint32((max(twice, np.int32(14)) - 13) << 23).view(np.float32)
    fraction = np.float32(np.int32(word & 0x00FFFFFF))
    value = np.float32((fraction * root) * root).view(np.uint32)
    return np.uint32(value | (word & 0x80000000))


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _move(source, target, swap):
    if swap:
        for i in range(source.size):
            target[i] = _reversed_bytes(source[i])
    else:
        for i in range(source.size):
            target[i] = source[i]


@njit(cache=True, nogil=True)
def _fill(target, value):
    for i in range(target.size):
        target[i] = value


@njit(cache=True, nogil=True)
def _decode_words(words, bits):
    for i in range(words.size):
        bits[i] = _ibm_to_bits(words[i])


@njit(cache=True, nogil=True)
def _encode_words(bits, words):
    for i in range(bits.size):
        words[i] = _bits_to_ibm(bits[i])


@njit(cache=True, nogil=True)
def _suspect(words):
    """Return False if all words are zero or normalised with 2^-128 <= |value| < 2^128: these round-trip exactly."""
    signs = np.uint32(0)
    for i in range(words.size):
        magnitude = np.uint32(words[i] & 0x7FFFFFFF)
        # Each difference has its highest bit set where its minuend is too small: cheaper than comparing.
        wrong = (magnitude - 0x21000000) | (0x60FFFFFF - magnitude) | ((magnitude & 0x00F00000) - 0x00100000)
        signs = np.uint32(signs | np.uint32(0 if magnitude == np.uint32(0) else wrong))
    return signs >= np.uint32(0x80000000)


@njit(cache=True, nogil=True)
def _report(words, bits, trace, first, exceptions, found):
    for i in range(words.size):
        # Inf is reported even for the one word that it is encoded to: the value is lost all the same.
        if _bits_to_ibm(bits[i]) != words[i] or (bits[i] & 0x7FFFFFFF) == 0x7F800000:
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
def _first_finite(bits):
    i = 0
    while (bits[i] & 0x7FFFFFFF) >= 0x7F800000:
        i += 1
    return bits[i]


@njit(cache=True, nogil=True)
def _extremes(bits):
    """Least and greatest value, as int32 that order like the floats: float minima are not vectorised."""
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x7FFFFFFF)
    for i in range(bits.size):
        value = np.int32(bits[i])
        value = np.int32(value ^ ((value >> 31) & 0x7FFFFFFF))
        low = min(low, value)
        high = max(high, value)
    return low, high


@njit(cache=True, nogil=True)
def _as_float(ordered):
    # + 0.0 because a stored minimum of -0.0 would surprise.
    return np.float64(np.uint32(ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)) + 0.0


@njit(cache=True, nogil=True)
def _add_to_lanes(values, sums, squares):
    """Add to LANES sums and sums of squares; the length of `values` is a multiple of 4 LANES."""
    for row in range(0, values.size, 4 * LANES):
        # Four at a time, because loading and storing the lanes costs more than adding to them.
        a, b = values[row : row + LANES], values[row + LANES : row + 2 * LANES]
        c, d = values[row + 2 * LANES : row + 3 * LANES], values[row + 3 * LANES : row + 4 * LANES]
        for k in range(LANES):
            p, q, r, s = np.float64(a[k]), np.float64(b[k]), np.float64(c[k]), np.float64(d[k])
            sums[k] += (p + q) + (r + s)
            squares[k] += (p * p + q * q) + (r * r + s * s)


@njit(cache=True, nogil=True)
def _add_stats(bits, n, clean, lanes, stats):
    """Add the first `n` of `bits`, which has room up to a multiple of 4 LANES; return how many are zero.

    Sums go to `lanes`.
    """
    padded = -(-n // (4 * LANES)) * 4 * LANES
    _fill(bits[n:padded], np.uint32(0))
    zeros, bad, summed = _zeros(bits[:n]), 0, bits[:padded]
    low, high = _extremes(bits[:n])
    if low < _LEAST or high > _GREATEST:
        bad = _nonfinite(bits[:n])
        if bad < n:
            # A finite sample in place of the others leaves the extremes as they are, 0 the sums.
            _replace_nonfinite(bits[:n], _first_finite(bits), clean)
            low, high = _extremes(clean[:n])
        summed = clean[:padded]
        _replace_nonfinite(bits[:padded], np.uint32(0), summed)
    _add_to_lanes(summed.view(np.float32), lanes[0], lanes[1])
    if bad < n:
        stats[MINIMUM] = min(stats[MINIMUM], _as_float(low))
        stats[MAXIMUM] = max(stats[MAXIMUM], _as_float(high))
    stats[COUNT] += n - bad
    stats[NONFINITE] += bad
    stats[ZERO] += zeros
    return zeros


@njit(cache=True, nogil=True)
def _to_chunks(bits, first, trace, out, flat):
    """Put the samples from `first` on of a trace where they belong in `out`, which is `flat` with 3 axes."""
    n_traces, chunk_samples = out.shape[1], out.shape[2]
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, 0
    row = (chunk * n_traces + trace) * chunk_samples
    while done < bits.size:
        run = min(bits.size - done, chunk_samples - position)
        _move(bits[done : done + run], flat[row + position : row + position + run], False)
        position, done = 0, done + run
        row += n_traces * chunk_samples


@njit(cache=True, nogil=True)
def _fill_from(first, trace, fill, out):
    """Fill a trace of `out` from sample `first` to the end of its last chunk."""
    for chunk in range(first // out.shape[2], out.shape[0]):
        _fill(out[chunk, trace, max(0, first - chunk * out.shape[2]) :], fill)


@njit(cache=True, nogil=True)
def decode(words, starts, n_samples, ibm, swap, fill, out, stats, exceptions, probe):
    """`traces.decode_traces` on words; -1 when `probe`, an IBM word of a denormal, is not decoded."""
    if _ibm_to_bits(probe) != 0x00200000:
        return -1
    raw, bits, clean = np.empty(STEP, np.uint32), np.empty(STEP, np.uint32), np.empty(STEP, np.uint32)
    lanes, flat = np.zeros((2, LANES)), out.reshape(-1)
    found = 0
    for t in range(starts.size):
        if starts[t] < 0:
            _fill_from(0, t, fill, out)
            continue
        zeros = 0
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            source = words[starts[t] + first : starts[t] + first + n]
            if ibm:
                _move(source, raw, swap)
                _decode_words(raw[:n], bits)
                if _suspect(raw[:n]):
                    found = _report(raw[:n], bits, t, first, exceptions, found)
            else:
                _move(source, bits, swap)
            zeros += _add_stats(bits, n, clean, lanes, stats)
            _to_chunks(bits[:n], first, t, out, flat)
        stats[LIVE] += 1
        stats[DEAD] += zeros == n_samples
        _fill_from(n_samples, t, fill, out)
    for k in range(LANES):
        stats[SUM] += lanes[0, k]
        stats[SUM_OF_SQUARES] += lanes[1, k]
    return found


@njit(cache=True, nogil=True)
def _from_chunks(chunks, flat, first, trace, bits):
    n_traces, chunk_samples = chunks.shape[1], chunks.shape[2]
    chunk = first // chunk_samples
    position, done = first - chunk * chunk_samples, 0
    row = (chunk * n_traces + trace) * chunk_samples
    while done < bits.size:
        run = min(bits.size - done, chunk_samples - position)
        _move(flat[row + position : row + position + run], bits[done : done + run], False)
        position, done = 0, done + run
        row += n_traces * chunk_samples


@njit(cache=True, nogil=True)
def encode(chunks, records, starts, n_samples, ibm, swap, probe):
    """`traces.encode_traces` on words; -1 when `probe`, the bits of a denormal, is not encoded."""
    if _bits_to_ibm(probe) != 0x21100000:
        return -1
    bits, raw, flat = np.empty(STEP, np.uint32), np.empty(STEP, np.uint32), chunks.reshape(-1)
    for t in range(starts.size):
        if starts[t] < 0:
            continue
        for first in range(0, n_samples, STEP):
            n = min(STEP, n_samples - first)
            _from_chunks(chunks, flat, first, t, bits[:n])
            target = records[starts[t] + first : starts[t] + first + n]
            if ibm:
                _encode_words(bits[:n], raw)
                _move(raw[:n], target, swap)
            else:
                _move(bits[:n], target, swap)
    return 0

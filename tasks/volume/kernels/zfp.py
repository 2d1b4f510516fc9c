"""ZFP's fixed-accuracy mode for 3-D float32 (codec version 5): libzfp's bits, and errors taken while they are read.

Copies cost what ZFP costs, and measuring their errors costs decoding besides. libzfp takes its blocks of 4 x 4 x 4
one by one and tests their bits singly. Here 16 blocks go side by side through all that is arithmetic, which makes
it vector instructions, and runs of zero bits are counted. Decoded samples are compared with their originals at
once and never written to memory.

Samples of blocks are laid out as [z, y, x, lane] until their coefficients are put in order, then as [lane, rank].
"""

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros

from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES
from tasks.volume.kernels.rows import as_mask, as_rows

LANES = 16
AXES = 3
SIDE = 4
SIZE = SIDE**AXES
HEADER_BITS = 96  # magic, extents and mode, before the first block
LEAST_EXPONENT = -80  # of a tolerance; below it scale factors do not fit float32
NO_BITS = np.uint64(0)
ONE = np.uint64(1)
WORD_BITS = np.uint64(64)
MAGNITUDE = np.int32(0x7FFFFFFF)
NEGABINARY = np.uint32(0xAAAAAAAA)
MOST_BLOCK_WORDS = 40  # more than a block takes
# Frequencies along x, y and z by rank: the order in which coefficients are coded.
FREQUENCIES = (
    "000 100 010 001 011 101 110 200 020 002 111 210 201 021 120 102 012 300 030 003 211 121 "
    "112 022 202 220 310 301 031 130 103 013 122 212 221 311 131 113 320 302 032 230 203 023 "
    "222 321 312 132 231 213 123 033 303 330 322 232 223 133 313 331 233 323 332 333"
)
PLACES = np.array([int(word[::-1], SIDE) * LANES for word in FREQUENCIES.split()])


def zfp_takes(shape: tuple[int, ...], dtype: np.dtype, tolerance: float) -> bool:
    """Whether chunks of this shape and tolerance can be encoded and compared here."""
    return (
        len(shape) == 3
        and dtype == np.float32
        and all(n % SIDE == 0 for n in shape)
        and least_exponent(tolerance) >= LEAST_EXPONENT
    )


def least_exponent(tolerance: float) -> int:
    """Exponent of the greatest power of two that is no more than the tolerance (zfp_stream_set_accuracy)."""
    return int(np.frexp(tolerance)[1]) - 1


def encode_zfp(chunk: np.ndarray, tolerance: float, header: bytes) -> bytes:
    """The stream that libzfp makes of a chunk.

    Args:
        chunk: float32, 3 axes with extents that are multiples of 4, any strides, finite.
        tolerance: The greatest absolute error.
        header: The stream's first `HEADER_BITS`.
    """
    flat, strides = as_rows(chunk)
    blocks = chunk.size // SIZE
    # A coefficient takes its 32 bits and, in the worst case, a bit for each of them and of a group.
    out = np.empty((HEADER_BITS + blocks * 9 + chunk.size * 34) // 64 + MOST_BLOCK_WORDS, np.uint64)
    out[:2] = np.frombuffer(header + bytes(4), np.uint64)
    words = _encode(flat, chunk.shape, strides, least_exponent(tolerance), PLACES, out)
    return out[:words].tobytes()


def zfp_error_sums(
    data: bytes,
    tolerance: float,
    original: np.ndarray,
    shape: tuple[int, ...],
    live: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add the errors of an encoded chunk to `sums`, over samples that are live, and finite in `original`.

    Args:
        data: The stream, with its header.
        tolerance: With which it was made.
        original: float32, any strides; less than `shape` at the volume's end.
        shape: Of the chunk.
        live: bool, over the first two axes of `original`.
        sums: As `error_sums` takes them.

    Raises:
        ValueError: The stream ends before its blocks do, or after.
    """
    words = np.zeros(len(data) // 8 + MOST_BLOCK_WORDS, np.uint64)
    words[: len(data) // 8] = np.frombuffer(data, np.uint64, len(data) // 8)
    flat, strides = as_rows(original)
    inside = as_mask(live)
    found = np.zeros(3)
    least = least_exponent(tolerance)
    read = _compare(words, len(data) * 8, flat, original.shape, strides, shape, inside, least, PLACES, found)
    if -(-read // 64) * 8 != len(data):
        raise ValueError(f"a ZFP stream of {len(data)} bytes ends after {read} bits")
    count, greatest, squares = found.tolist()
    sums[COUNT] += count
    sums[NONFINITE] += int(inside.sum()) * original.shape[2] - count
    sums[SUM_OF_SQUARES] += squares
    sums[MAX_ABS_ERROR] = max(sums[MAX_ABS_ERROR], greatest)


# Blocks, 16 at a time. The arrays hold 64 rows of 16 lanes; loops over all of an array, or over rows that are a
# constant number of elements apart, are what the compiler vectorises.


@njit(cache=True, nogil=True)
def _next_corners(corners, lanes, shape):
    """From where the last of some blocks began to where the next ones do: the last axis goes fastest."""
    z, y, x = corners[LANES - 1]
    for b in range(lanes):
        x += SIDE
        if x == shape[2]:
            x = 0
            y += SIDE
            if y == shape[1]:
                y = 0
                z += SIDE
        corners[b, 0], corners[b, 1], corners[b, 2] = z, y, x


@njit(cache=True, nogil=True)
def _gather(source, corners, lanes, strides, values):
    for b in range(lanes):
        corner = corners[b, 0] * strides[0] + corners[b, 1] * strides[1] + corners[b, 2]
        for z in range(SIDE):
            for y in range(SIDE):
                at = np.uint64(corner + z * strides[0] + y * strides[1])
                to = np.uint64((z * SIDE + y) * SIDE * LANES + b)
                for x in range(np.uint64(SIDE)):
                    values[to + x * LANES] = source[at + x]


@njit(cache=True, nogil=True)
def _gather_live(source, corners, lanes, shape, strides, live, values):
    """The same, with NaN beyond `shape` and for what is not live."""
    for b in range(lanes):
        first = corners[b]
        for z in range(SIDE):
            for y in range(SIDE):
                i, j, k = first[0] + z, first[1] + y, first[2]
                to = np.uint64((z * SIDE + y) * SIDE * LANES + b)
                n = min(SIDE, shape[2] - k) if i < shape[0] and j < shape[1] and live[i, j] else 0
                at = i * strides[0] + j * strides[1] + k
                for x in range(SIDE):
                    values[to + np.uint64(x * LANES)] = source[at + x] if x < n else np.nan


@njit(cache=True, nogil=True)
def _exponents(bits, rows):
    """To the first row the exponent of each lane's greatest magnitude: that is 2^e at most; -126 for zero."""
    for j in range(32 * LANES):
        rows[j] = max(bits[j] & MAGNITUDE, bits[32 * LANES + j] & MAGNITUDE)
    for j in range(16 * LANES):
        rows[j] = max(rows[j], rows[16 * LANES + j])
    for j in range(8 * LANES):
        rows[j] = max(rows[j], rows[8 * LANES + j])
    for j in range(4 * LANES):
        rows[j] = max(rows[j], rows[4 * LANES + j])
    for j in range(2 * LANES):
        rows[j] = max(rows[j], rows[2 * LANES + j])
    for j in range(LANES):
        rows[j] = max(rows[j], rows[LANES + j])


@njit(cache=True, nogil=True)
def _on_all_rows(factors):
    """The first row in every other."""
    for j in range(LANES, SIZE * LANES):
        factors[j] = factors[j - LANES]


@njit(cache=True, nogil=True)
def _quantize(values, factors, numbers):
    for j in range(SIZE * LANES):
        numbers[j] = np.int32(values[j] * factors[j])


@njit(cache=True, nogil=True)
def _lift(x, y, z, w):
    """ZFP's orthogonal transform of four numbers, all steps of which can be undone."""
    x = (x + w) >> np.int32(1)
    w = w - x
    z = (z + y) >> np.int32(1)
    y = y - z
    x = (x + z) >> np.int32(1)
    z = z - x
    w = (w + y) >> np.int32(1)
    y = y - w
    w = w + (y >> np.int32(1))
    y = y - (w >> np.int32(1))
    return x, y, z, w


@njit(cache=True, nogil=True)
def _unlift(x, y, z, w):
    y = y + (w >> np.int32(1))
    w = w - (y >> np.int32(1))
    y = y + w
    w = (w << np.int32(1)) - y
    z = z + x
    x = (x << np.int32(1)) - z
    y = y + z
    z = (z << np.int32(1)) - y
    w = w + x
    x = (x << np.int32(1)) - w
    return x, y, z, w


@njit(cache=True, nogil=True)
def _transform(p):
    """Along x, then y, then z."""
    for row in range(16):
        at = np.uint64(4 * LANES * row)
        for j in range(LANES):
            a, b, c, d = at + j, at + LANES + j, at + 2 * LANES + j, at + 3 * LANES + j
            p[a], p[b], p[c], p[d] = _lift(p[a], p[b], p[c], p[d])
    for plane in range(4):
        at = np.uint64(16 * LANES * plane)
        for j in range(4 * LANES):
            a, b, c, d = at + j, at + 4 * LANES + j, at + 8 * LANES + j, at + 12 * LANES + j
            p[a], p[b], p[c], p[d] = _lift(p[a], p[b], p[c], p[d])
    at = np.uint64(0)
    for j in range(16 * LANES):
        a, b, c, d = at + j, at + 16 * LANES + j, at + 32 * LANES + j, at + 48 * LANES + j
        p[a], p[b], p[c], p[d] = _lift(p[a], p[b], p[c], p[d])


@njit(cache=True, nogil=True)
def _untransform(p):
    """Along z, then y, then x."""
    at = np.uint64(0)
    for j in range(16 * LANES):
        a, b, c, d = at + j, at + 16 * LANES + j, at + 32 * LANES + j, at + 48 * LANES + j
        p[a], p[b], p[c], p[d] = _unlift(p[a], p[b], p[c], p[d])
    for plane in range(4):
        at = np.uint64(16 * LANES * plane)
        for j in range(4 * LANES):
            a, b, c, d = at + j, at + 4 * LANES + j, at + 8 * LANES + j, at + 12 * LANES + j
            p[a], p[b], p[c], p[d] = _unlift(p[a], p[b], p[c], p[d])
    for row in range(16):
        at = np.uint64(4 * LANES * row)
        for j in range(LANES):
            a, b, c, d = at + j, at + LANES + j, at + 2 * LANES + j, at + 3 * LANES + j
            p[a], p[b], p[c], p[d] = _unlift(p[a], p[b], p[c], p[d])


@njit(cache=True, nogil=True)
def _to_ranks(p, places, coefficients):
    """Each lane's coefficients in order, in negabinary: small numbers of either sign have few leading bits."""
    for rank in range(np.uint64(SIZE)):
        at = np.uint64(places[rank])
        for b in range(np.uint64(LANES)):
            coefficients[b, rank] = (np.uint32(p[at + b]) + NEGABINARY) ^ NEGABINARY


@njit(cache=True, nogil=True)
def _from_ranks(coefficients, places, p):
    for rank in range(np.uint64(SIZE)):
        at = np.uint64(places[rank])
        for b in range(np.uint64(LANES)):
            p[at + b] = np.int32((coefficients[b, rank] ^ NEGABINARY) - NEGABINARY)


@njit(cache=True, nogil=True)
def _planes(exponent, least):
    """How many of a block's bit planes the tolerance asks for: two more for each axis, and two."""
    return min(max(exponent - least + 2 * (AXES + 1), 0), 32)


# Bits: the first one of a stream is the lowest of its first word.


@njit(cache=True, nogil=True)
def _write(out, at, word, held, bits, count):
    """Append the lowest 1 to 64 bits of `bits`; those above are 0. Returns word number, word, and bits held in it."""
    word |= bits << held
    total = held + count
    if total < WORD_BITS:
        return at, word, total
    out[at] = word
    return at + ONE, (bits >> (WORD_BITS - held) if held else NO_BITS), total - WORD_BITS


@njit(cache=True, nogil=True)
def _peek(words, at):
    """64 bits from bit `at` on."""
    word, shift = at >> np.uint64(6), at & np.uint64(63)
    if shift:
        return (words[word] >> shift) | (words[word + ONE] << (WORD_BITS - shift))
    return words[word]


@njit(cache=True, nogil=True)
def _plane(row, k):
    """Bit k of all coefficients, that of the first rank lowest."""
    low, high = np.uint32(0), np.uint32(0)
    for i in range(SIZE // 2):
        low |= ((row[i] >> k) & np.uint32(1)) << np.uint32(i)
        high |= ((row[SIZE // 2 + i] >> k) & np.uint32(1)) << np.uint32(i)
    return np.uint64(low) | (np.uint64(high) << np.uint64(32))


@njit(cache=True, nogil=True)
def _put_plane(row, k, plane):
    for i in range(np.uint64(SIZE)):
        row[i] |= np.uint32((plane >> i) & ONE) << k


@njit(cache=True, nogil=True)
def _encode_row(row, planes, out, at, word, held):
    """The bit planes of a block from the highest on.

    `n` coefficients have had a bit so far: theirs are written as they are. Of the rest, a bit says whether any
    has one here; if so, zeros and a one lead to it, and so on. The last needs no one.
    """
    whole, n = np.uint32(0), NO_BITS
    for i in range(SIZE):
        whole |= row[i]
    for q in range(planes):
        k = np.uint32(31 - q)
        if whole >> k == 0:
            at, word, held = _write(out, at, word, held, NO_BITS, ONE)
            continue
        plane = _plane(row, k)
        if n == SIZE:
            at, word, held = _write(out, at, word, held, plane, n)
            continue
        if n:
            at, word, held = _write(out, at, word, held, plane & ((ONE << n) - ONE), n)
            plane >>= n
        while n < SIZE:
            if plane == 0:
                at, word, held = _write(out, at, word, held, NO_BITS, ONE)
                break
            zeros = np.uint64(trailing_zeros(plane))  # type: ignore[call-arg]
            if n + zeros == SIZE - 1:
                at, word, held = _write(out, at, word, held, ONE, zeros + ONE)
            else:
                at, word, held = _write(out, at, word, held, ONE | (ONE << (zeros + ONE)), zeros + ONE + ONE)
            plane = (plane >> zeros) >> ONE
            n += zeros + ONE
    return at, word, held


@njit(cache=True, nogil=True)
def _decode_row(words, at, planes, row):
    """The inverse; returns the next bit."""
    for i in range(SIZE):
        row[i] = 0
    n = NO_BITS
    for q in range(planes):
        plane = NO_BITS
        if n == SIZE:
            plane = _peek(words, at)
            at += n
        elif n:
            plane = _peek(words, at) & ((ONE << n) - ONE)
            at += n
        while n < SIZE:
            ahead = _peek(words, at)
            at += ONE
            if ahead & ONE == 0:
                break
            ahead >>= ONE
            last = np.uint64(SIZE - 1) - n
            zeros = last
            if ahead:
                zeros = min(np.uint64(trailing_zeros(ahead)), last)  # type: ignore[call-arg]
            at += zeros if zeros == last else zeros + ONE
            n += zeros
            plane |= ONE << n
            n += ONE
        if plane:
            _put_plane(row, np.uint32(31 - q), plane)
    return at


@njit(cache=True, nogil=True)
def _encode(source, shape, strides, least, places, out):
    """Append all blocks to the header in `out`; returns how many words that is."""
    count = shape[0] * shape[1] * shape[2] // SIZE
    values, factors = np.zeros(SIZE * LANES, np.float32), np.empty(SIZE * LANES, np.float32)
    bits, numbers = values.view(np.int32), np.empty(SIZE * LANES, np.int32)
    greatest, coefficients = np.empty(32 * LANES, np.int32), np.empty((LANES, SIZE), np.uint32)
    corners = np.zeros((LANES, 3), np.int64)
    corners[LANES - 1, 2] = -SIDE
    at, held = np.uint64(HEADER_BITS >> 6), np.uint64(HEADER_BITS & 63)
    word = out[at] & ((ONE << held) - ONE)
    for first in range(0, count, LANES):
        lanes = min(LANES, count - first)
        _next_corners(corners, lanes, shape)
        _gather(source, corners, lanes, strides, values)
        _exponents(bits, greatest)
        for b in range(LANES):
            exponent = (greatest[b] >> 23) - 126
            # Where nothing of a block is kept its factor would not fit, and is of no use.
            factors[b] = 2.0 ** (30 - exponent) if _planes(exponent, least) else 0
        _on_all_rows(factors)
        _quantize(values, factors, numbers)
        _transform(numbers)
        _to_ranks(numbers, places, coefficients)
        for b in range(lanes):
            exponent = (greatest[b] >> 23) - 126
            planes = _planes(exponent, least)
            if greatest[b] == 0 or planes == 0:
                at, word, held = _write(out, at, word, held, NO_BITS, ONE)
                continue
            biased = np.uint64(2 * (exponent + 127) + 1)
            at, word, held = _write(out, at, word, held, biased, np.uint64(9))
            at, word, held = _encode_row(coefficients[b], planes, out, at, word, held)
    if held:
        out[at] = word
        at += ONE
    return at


@njit(cache=True, nogil=True)
def _compare(words, size, source, inside, strides, shape, live, least, places, found):
    """Decode all blocks and compare them; returns the bits read.

    To `found` go the samples compared, the greatest absolute error (Inf if a decoded sample is not finite) and the
    sum of squared errors.
    """
    count = shape[0] * shape[1] * shape[2] // SIZE
    values, factors = np.zeros(SIZE * LANES, np.float32), np.empty(SIZE * LANES, np.float32)
    numbers, coefficients = np.empty(SIZE * LANES, np.int32), np.zeros((LANES, SIZE), np.uint32)
    errors, corners = np.empty(SIZE * LANES), np.zeros((LANES, 3), np.int64)
    corners[LANES - 1, 2] = -SIDE
    magnitudes, squares = errors.view(np.int64), np.zeros(4 * LANES)
    greatest, compared = np.int64(0), np.int64(0)
    all_live = inside[0] == shape[0] and inside[1] == shape[1] and inside[2] == shape[2] and live.all()
    at = np.uint64(HEADER_BITS)
    for first in range(0, count, LANES):
        lanes = min(LANES, count - first)
        _next_corners(corners, lanes, shape)
        if lanes < LANES:
            values[:] = np.nan
        if all_live:
            _gather(source, corners, lanes, strides, values)
        else:
            _gather_live(source, corners, lanes, inside, strides, live, values)
        for b in range(lanes):
            if at >= size:
                return at + ONE  # the stream is too short
            planes, factors[b] = 0, 0
            ahead = _peek(words, at)
            if ahead & ONE:
                exponent = np.int64((ahead >> ONE) & np.uint64(255)) - 127
                planes = _planes(exponent, least)
                factors[b] = 2.0 ** (exponent - 30)
                at += np.uint64(9)
            else:
                at += ONE
            at = _decode_row(words, at, planes, coefficients[b])
        _on_all_rows(factors)
        _from_ranks(coefficients, places, numbers)
        _untransform(numbers)
        bad = np.int32(0)
        for j in range(SIZE * LANES):
            value = values[j]
            finite = value - value == 0
            decoded = np.float32(numbers[j]) * factors[j]
            errors[j] = np.float64(decoded) - np.float64(value) if finite else 0.0
            bad += np.int32(not finite)
        compared += SIZE * LANES - bad
        for j in range(SIZE * LANES):
            greatest = max(greatest, magnitudes[j] & 0x7FFFFFFFFFFFFFFF)
        for row in range(0, SIZE * LANES, 16 * LANES):
            for j in range(4 * LANES):
                a, b = errors[row + j], errors[row + 4 * LANES + j]
                c, d = errors[row + 8 * LANES + j], errors[row + 12 * LANES + j]
                squares[j] += (a * a + b * b) + (c * c + d * d)
    worst = np.int64(greatest).view(np.float64)
    found[0], found[1], found[2] = compared, np.inf if np.isnan(worst) else worst, squares.sum()
    return at

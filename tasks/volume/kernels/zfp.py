"""ZFP's fixed-accuracy mode for 3-D float32 (codec version 5): libzfp's bits, and the errors that they leave.

libzfp takes its blocks of 4 x 4 x 4 one by one and tests their bits singly. Here 16 blocks go side by side through
all that is arithmetic, which makes it vector instructions, and runs of zero bits are counted. Blocks of nothing but
zeros are one bit each and take no place among the 16.

In this mode a stream has all bit planes of a block down to one that the tolerance names, and no limit of bits. So
the encoder knows what a decoder gets: the coefficients without the planes below. It transforms those back and
compares the samples with their originals, while both are in the cache of the processor.

No block depends on another, so the same samples have the same bits in chunks of any extents. `encode_slab` encodes each
block of a slab once, and `join_blocks` makes of slabs the stream of any chunk, with the sums of its errors.

Samples of blocks are laid out as [z, y, x, lane] until their coefficients are put in order, then as [lane, rank].
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.volume.kernels.compiled import kernel, of_numba, part
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES
from tasks.volume.kernels.rows import as_mask, as_rows

trailing_zeros = of_numba("numba.cpython.unsafe.numbers", "trailing_zeros")

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
EVERYTHING = as_mask(np.empty((0, 0), np.bool_))
PLACES = np.array([int(word[::-1], SIDE) * LANES for word in FREQUENCIES.split()])


def zfp_takes(shape: tuple[int, ...], dtype: np.dtype, tolerance: float) -> bool:
    """Return whether this module can encode and compare chunks of this shape and tolerance."""
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
    """Return the stream that libzfp makes of a chunk.

    Args:
        chunk: float32, 3 axes with extents that are multiples of 4, any strides, finite.
        tolerance: The greatest absolute error.
        header: The stream's first `HEADER_BITS`.
    """
    return _encoded(chunk, tolerance, header).tobytes()


def encode_zfp_measured(
    chunk: np.ndarray,
    tolerance: float,
    header: bytes,
    original: np.ndarray,
    live: np.ndarray,
    sums: np.ndarray,
    *,
    nonfinite: bool,
) -> bytes:
    """Return the same stream, and add the errors of the decoded values to `sums`.

    Args:
        chunk: Same as in `encode_zfp`.
        tolerance: Same as in `encode_zfp`.
        header: Same as in `encode_zfp`.
        original: float32, any strides: what the chunk was made from; less than a chunk at the volume's end. Samples
            that are live, and finite in it, are compared.
        live: bool, over the first two axes of `original`.
        sums: Same as in `error_sums`.
        nonfinite: Whether `original` may hold NaN and Inf.
    """
    found = Found.of(chunk.size // SIZE)
    itself = original.ctypes.data == chunk.ctypes.data and original.strides == chunk.strides
    bad = count_samples(original, live, sums, nonfinite=nonfinite)
    data = _encoded(chunk, tolerance, header, original, live, found, itself=itself and not bad)
    add_errors(sums, found.total)
    return data.tobytes()


class Found(NamedTuple):
    """Hold the sizes and errors of the blocks of a chunk or slab, in their order.

    Attributes:
        ends: uint32: where the bits of each end, counted from the first block's.
        squares: float64: the sum of squared errors of each.
        greatest: int64: the bits of the greatest absolute error of each.
        total: float64: the greatest absolute error of all, NaN if a decoded sample is not finite; the sum of squares.
    """

    ends: np.ndarray
    squares: np.ndarray
    greatest: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, count: int) -> "Found":
        """Return empty arrays for `count` blocks."""
        return cls(np.empty(count, np.uint32), np.empty(count), np.empty(count, np.int64), np.zeros(2))


NOT_ASKED = Found.of(0)


def count_samples(original: np.ndarray, live: np.ndarray, sums: np.ndarray, *, nonfinite: bool) -> int:
    """Add the numbers of live samples that are finite, and that are not, to `sums`; return the latter.

    Args as in `encode_zfp_measured`.
    """
    bad = int(np.count_nonzero(~np.isfinite(original)[live])) if nonfinite else 0
    sums[COUNT] += int(np.count_nonzero(live)) * original.shape[2] - bad
    sums[NONFINITE] += bad
    return bad


def add_errors(sums: np.ndarray, total: np.ndarray) -> None:
    """Add the greatest error and the sum of squares of blocks to `sums`."""
    greatest, squares = total.tolist()
    sums[SUM_OF_SQUARES] += squares
    sums[MAX_ABS_ERROR] = max(sums[MAX_ABS_ERROR], math.inf if math.isnan(greatest) else greatest)


def encode_slab(
    slab: np.ndarray, tolerance: float, original: np.ndarray, live: np.ndarray, found: Found, *, itself: bool
) -> np.ndarray:
    """Return the bits of all blocks of a slab, as uint64.

    Args:
        slab: Same as `chunk` in `encode_zfp`, of 4 samples along the first axis.
        tolerance: Same as in `encode_zfp`.
        original: Same as in `encode_zfp_measured`.
        live: Same as in `encode_zfp_measured`.
        found: Receives what is found of the blocks.
        itself: Whether the slab holds the values of `original` where this is live.
    """
    return _encoded(slab, tolerance, b"", original, live, found, itself=itself)


def join_blocks(
    bits: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
    blocks: Sequence[range],
    header: bytes,
    sums: np.ndarray,
) -> bytes:
    """Return the stream of a chunk made of blocks of slabs, and add their errors to `sums`.

    Args:
        bits: uint64, a row of bits for each slab.
        found: `ends`, `squares` and `greatest` of all blocks, by slab and their position along the other two axes.
        blocks: The chunk's, along each axis; none is empty.
        header: Same as in `encode_zfp`.
        sums: Same as in `error_sums`; the numbers of samples are not added.
    """
    out = _room_of(math.prod(map(len, blocks)), header)
    total, edges = np.zeros(2), np.array([(r.start, r.stop) for r in blocks])
    words = _join(bits, *found, edges, out, total, total.view(np.int64))
    add_errors(sums, total)
    return out[:words].tobytes()


def _room_of(blocks: int, header: bytes) -> np.ndarray:
    """Return room for the stream of so many blocks, with its header."""
    # A coefficient takes its 32 bits and, in the worst case, a bit for each of them and of a group.
    out = np.empty((HEADER_BITS + blocks * (9 + 34 * SIZE)) // 64 + MOST_BLOCK_WORDS, np.uint64)
    out[:2] = np.frombuffer(header.ljust(16, b"\0"), np.uint64)
    return out


def _encoded(
    chunk: np.ndarray,
    tolerance: float,
    header: bytes,
    original: np.ndarray | None = None,
    live: np.ndarray = EVERYTHING,
    found: Found = NOT_ASKED,
    *,
    itself: bool = True,
) -> np.ndarray:
    """Return the header and the bits of all blocks of a chunk, and measure them if there is an original."""
    measured = original is not None
    original = chunk if original is None else original
    shape = original.shape
    if not itself:
        inside, compared = tuple(slice(0, n) for n in shape), np.full(chunk.shape, np.nan, np.float32)
        np.copyto(compared[inside], original, where=live[..., np.newaxis])
        original = compared
    flat, strides = as_rows(chunk)
    other, apart = as_rows(original)
    everywhere = itself and bool(live.all())
    masked = measured and not (everywhere and shape == chunk.shape)
    out = _room_of(chunk.size // SIZE, header)
    words = _encode(
        flat,
        chunk.shape,
        strides,
        least_exponent(tolerance),
        PLACES,
        out,
        HEADER_BITS if header else 0,
        measured,
        masked,
        itself,
        other,
        shape,
        apart,
        EVERYTHING if everywhere else as_mask(live),
        *found,
        found.total.view(np.int64),
        *_room(masked),
    )
    return out[:words]


def _room(masked: bool) -> tuple[np.ndarray, ...]:
    """Return the arrays that `_encode` works in."""
    floats, integers = np.zeros((3, SIZE * LANES), np.float32), np.empty((2, SIZE * LANES), np.int32)
    values, factors, wanted = floats
    wanted = wanted if masked else values
    wanted[:] = 0
    numbers, greatest = integers
    errors, squares = np.empty(SIZE * LANES), np.zeros(4 * LANES)
    blocks = np.zeros((LANES, 3), np.int64), np.zeros(LANES + 1, np.int64), np.zeros(3, np.int64)
    ordered, masks, scales = (
        np.empty((LANES, SIZE), np.uint32),
        np.empty(LANES, np.uint32),
        np.empty(LANES, np.float32),
    )
    sums = errors, errors.view(np.int64), squares
    return (
        values,
        values.view(np.int32),
        factors,
        wanted,
        numbers,
        greatest,
        ordered,
        masks,
        scales,
        *blocks,
        *sums,
    )


# Blocks, 16 at a time. The arrays hold 64 rows of 16 lanes; loops over all of an array, or over rows that are a
# constant number of elements apart, are what the compiler vectorises.


@part
def _nothing(source, corner, strides):
    """Return whether a block is zeros alone; one that is not shows it in its first row, mostly."""
    for z in range(SIDE):
        for y in range(SIDE):
            at = np.uint64(corner + z * strides[0] + y * strides[1])
            some = False
            for x in range(np.uint64(SIDE)):
                some |= source[at + x] != 0
            if some:
                return False
    return True


@part
def _next_blocks(source, shape, strides, cursor, corners, zeros, values):
    """Gather the next blocks that are more than zeros, and where they begin; returns how many.

    `cursor` is where the next block begins: the last axis goes fastest, and past the last block the first axis ends.
    To `zeros` go the numbers of blocks of zeros before each, and after the last.
    """
    z, y, x = cursor[0], cursor[1], cursor[2]
    lanes, skipped = np.int64(0), np.int64(0)
    while z < shape[0] and lanes < LANES:
        corner = z * strides[0] + y * strides[1] + x
        if _nothing(source, corner, strides):
            skipped += 1
        else:
            _gather(source, corner, strides, values, lanes)
            corners[lanes, 0], corners[lanes, 1], corners[lanes, 2] = z, y, x
            zeros[lanes] = skipped
            skipped = np.int64(0)
            lanes += 1
        x += SIDE
        if x == shape[2]:
            x = 0
            y += SIDE
            if y == shape[1]:
                y = 0
                z += SIDE
    zeros[lanes] = skipped
    cursor[0], cursor[1], cursor[2] = z, y, x
    return lanes


@part
def _gather(source, corner, strides, values, b):
    for z in range(SIDE):
        for y in range(SIDE):
            at = np.uint64(corner + z * strides[0] + y * strides[1])
            to = np.uint64((z * SIDE + y) * SIDE * LANES + b)
            for x in range(np.uint64(SIDE)):
                values[to + x * LANES] = source[at + x]


@part
def _leave_out(corners, lanes, shape, live, values):
    """Put NaN beyond `shape` and for what is not live; if `live` is empty, all is."""
    for b in range(lanes):
        i, j, k = corners[b, 0], corners[b, 1], corners[b, 2]
        whole = i + SIDE <= shape[0] and j + SIDE <= shape[1] and k + SIDE <= shape[2]
        if whole and live.size:
            for z in range(SIDE):
                for y in range(SIDE):
                    whole &= live[i + z, j + y]
        if whole:
            continue
        for z in range(SIDE):
            for y in range(SIDE):
                to = np.uint64((z * SIDE + y) * SIDE * LANES + b)
                inside = i + z < shape[0] and j + y < shape[1]
                if inside and live.size:
                    inside = live[i + z, j + y]
                n = shape[2] - k if inside else 0
                for x in range(SIDE):
                    if x >= n:
                        values[to + np.uint64(x * LANES)] = np.nan


@part
def _larger(a, b):
    return a if a > b else b


@part
def _exponents(bits, rows):
    """To the first row the exponent of each lane's greatest magnitude: that is 2^e at most; -126 for zero."""
    for j in range(32 * LANES):
        rows[j] = _larger(bits[j] & MAGNITUDE, bits[32 * LANES + j] & MAGNITUDE)
    step = np.uint64(16 * LANES)
    while step >= LANES:
        for j in range(step):
            rows[j] = _larger(rows[j], rows[step + j])
        step >>= ONE


@part
def _on_all_rows(factors):
    """Return the first row in every other."""
    for j in range(LANES, SIZE * LANES):
        factors[j] = factors[j - LANES]


@part
def _quantize(values, factors, numbers):
    for j in range(SIZE * LANES):
        numbers[j] = np.int32(values[j] * factors[j])


@part
def _lift(x, y, z, w):
    """ZFP's orthogonal transform of four numbers; each step can be undone."""
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


@part
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


@part
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


@part
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


@part
def _to_ranks(p, places, coefficients):
    """Reorder each lane's coefficients, in negabinary: small numbers of either sign have few leading bits."""
    for rank in range(np.uint64(SIZE)):
        at = np.uint64(places[rank])
        for b in range(np.uint64(LANES)):
            coefficients[b, rank] = (np.uint32(p[at + b]) + NEGABINARY) ^ NEGABINARY


@part
def _truncate(p, masks):
    """Coefficients as a decoder has them: without the bit planes, in negabinary, that are not in the stream."""
    for row in range(SIZE):
        at = np.uint64(row * LANES)
        for b in range(np.uint64(LANES)):
            kept = ((np.uint32(p[at + b]) + NEGABINARY) ^ NEGABINARY) & masks[b]
            p[at + b] = np.int32((kept ^ NEGABINARY) - NEGABINARY)


@part
def _errors_of_blocks(numbers, factors, values, errors, magnitudes, squares):
    """Compare decoded samples where `values` is finite.

    To the first row of `squares` goes each lane's sum of squared errors, to that of `magnitudes` the bits of its
    greatest error, NaN the greatest.
    """
    for j in range(SIZE * LANES):
        value = values[j]
        finite = value - value == 0
        decoded = np.float32(numbers[j]) * factors[j]
        errors[j] = np.float64(decoded) - np.float64(value) if finite else 0.0
    for j in range(4 * LANES):
        squares[j] = 0.0
    for row in range(0, SIZE * LANES, 16 * LANES):
        for j in range(4 * LANES):
            a, b = errors[row + j], errors[row + 4 * LANES + j]
            c, d = errors[row + 8 * LANES + j], errors[row + 12 * LANES + j]
            squares[j] += (a * a + b * b) + (c * c + d * d)
    step = np.uint64(2 * LANES)
    while step >= LANES:
        for j in range(step):
            squares[j] += squares[step + j]
        step >>= ONE
    for j in range(SIZE * LANES):
        magnitudes[j] &= np.int64(0x7FFFFFFFFFFFFFFF)
    step = np.uint64(32 * LANES)
    while step >= LANES:
        for j in range(step):
            magnitudes[j] = _larger(magnitudes[j], magnitudes[step + j])
        step >>= ONE


@part
def _planes(exponent, least):
    """Return the number of bit planes that the tolerance requires: two more for each axis, and two."""
    planes = exponent - least + 2 * (AXES + 1)
    return 0 if planes < 0 else (32 if planes > 32 else planes)


# Bits: the first one of a stream is the lowest of its first word.


@part
def _write(out, at, word, held, bits, count):
    """Append the lowest 1 to 64 bits of `bits`; those above are 0. Returns word number, word, and bits held in it."""
    word |= bits << held
    total = held + count
    if total < WORD_BITS:
        return at, word, total
    out[at] = word
    return at + ONE, (bits >> (WORD_BITS - held) if held else NO_BITS), total - WORD_BITS


@part
def _plane(row, k):
    """Bit k of all coefficients, that of the first rank lowest."""
    low, high = np.uint32(0), np.uint32(0)
    for i in range(SIZE // 2):
        low |= ((row[i] >> k) & np.uint32(1)) << np.uint32(i)
        high |= ((row[SIZE // 2 + i] >> k) & np.uint32(1)) << np.uint32(i)
    return np.uint64(low) | (np.uint64(high) << np.uint64(32))


@part
def _encode_row(row, planes, out, at, word, held):
    """Return the bit planes of a block from the highest on.

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
            zeros = np.uint64(trailing_zeros(plane))
            if n + zeros == SIZE - 1:
                at, word, held = _write(out, at, word, held, ONE, zeros + ONE)
            else:
                at, word, held = _write(out, at, word, held, ONE | (ONE << (zeros + ONE)), zeros + ONE + ONE)
            plane = (plane >> zeros) >> ONE
            n += zeros + ONE
    return at, word, held


@part
def _write_zeros(out, at, word, held, count):
    """Append any number of zero bits."""
    while count > 0:
        step = count if count < 64 else 64
        at, word, held = _write(out, at, word, held, NO_BITS, np.uint64(step))
        count -= step
    return at, word, held


@part
def _note_zeros(block, count, end, ends, squares, greatest):
    """Note blocks of one bit and no error from number `block` on; return the number after them."""
    for k in range(count):
        ends[block + k] = end + k + 1
        squares[block + k] = 0.0
        greatest[block + k] = 0
    return block + count


@kernel
def _encode(
    source,
    shape,
    strides,
    least,
    places,
    out,
    header_bits,
    measured,
    masked,
    itself,
    original,
    inside,
    apart,
    live,
    ends,
    block_squares,
    block_greatest,
    total,
    total_bits,
    values,
    bits,
    factors,
    wanted,
    numbers,
    greatest,
    coefficients,
    masks,
    scales,
    corners,
    zeros,
    cursor,
    errors,
    magnitudes,
    squares,
):
    """Append all blocks to the header in `out`; returns how many words that is.

    If `measured`, what `Found` has goes to `ends` and those after it. If `masked`, samples that are not live or beyond
    `inside` are not compared: those of `source` if `itself`, else of `original`, which is NaN there. From `values` on
    the arguments are `_room`.
    """
    at, held = np.uint64(header_bits >> 6), np.uint64(header_bits & 63)
    word = out[at] & ((ONE << held) - ONE)
    block, first, end = np.int64(0), np.int64(0), np.int64(0)
    while cursor[0] < shape[0]:
        lanes = _next_blocks(source, shape, strides, cursor, corners, zeros, values)
        if lanes == 0:
            if measured:
                block = _note_zeros(block, zeros[0], end, ends, block_squares, block_greatest)
            at, word, held = _write_zeros(out, at, word, held, zeros[0])
            break
        if lanes < LANES:  # the last of the chunk
            for j in range(SIZE):
                for b in range(lanes, LANES):
                    values[j * LANES + b] = 0
                    wanted[j * LANES + b] = 0
        _exponents(bits, greatest)
        for b in range(LANES):
            exponent = (greatest[b] >> 23) - 126
            planes = _planes(exponent, least) if greatest[b] else 0
            # Where nothing of a block is kept its factor would not fit, and is of no use.
            factors[b] = 2.0 ** (30 - exponent) if planes else 0
            scales[b] = 2.0 ** (exponent - 30) if planes else 0
            masks[b] = np.uint32(0xFFFFFFFF) << np.uint32(32 - planes) if planes else np.uint32(0)
        _on_all_rows(factors)
        _quantize(values, factors, numbers)
        _transform(numbers)
        _to_ranks(numbers, places, coefficients)
        first = block
        for b in range(lanes):
            if measured:
                block = _note_zeros(block, zeros[b], end, ends, block_squares, block_greatest)
            at, word, held = _write_zeros(out, at, word, held, zeros[b])
            exponent = (greatest[b] >> 23) - 126
            planes = _planes(exponent, least)
            if planes == 0:
                at, word, held = _write(out, at, word, held, NO_BITS, ONE)
            else:
                biased = np.uint64(2 * (exponent + 127) + 1)
                at, word, held = _write(out, at, word, held, biased, np.uint64(9))
                at, word, held = _encode_row(coefficients[b], planes, out, at, word, held)
            end = np.int64(at * WORD_BITS + held) - header_bits
            if measured:
                ends[block] = end
                block += 1
        at, word, held = _write_zeros(out, at, word, held, zeros[lanes])
        if not measured:
            continue
        if masked and itself:
            for j in range(SIZE * LANES):
                wanted[j] = values[j]
            _leave_out(corners, lanes, inside, live, wanted)
        elif masked:
            for b in range(lanes):
                corner = corners[b, 0] * apart[0] + corners[b, 1] * apart[1] + corners[b, 2]
                _gather(original, corner, apart, wanted, b)
        _truncate(numbers, masks)
        _untransform(numbers)
        for b in range(LANES):
            factors[b] = scales[b]
        _on_all_rows(factors)
        _errors_of_blocks(numbers, factors, wanted, errors, magnitudes, squares)
        for b in range(lanes):
            first += zeros[b]
            block_squares[first] = squares[b]
            block_greatest[first] = magnitudes[b]
            first += 1
        block = _note_zeros(block, zeros[lanes], end, ends, block_squares, block_greatest)
        end += zeros[lanes]
    if held:
        out[at] = word
        at += ONE
    if measured:
        for k in range(block):
            total[1] += block_squares[k]
            total_bits[0] = _larger(total_bits[0], block_greatest[k])
    return at


@part
def _write_run(bits, begin, end, out, at, word, held):
    """Append the bits from `begin` to before `end`."""
    while begin < end:
        count = end - begin if end - begin < WORD_BITS else WORD_BITS
        row, skipped = begin >> np.uint64(6), begin & np.uint64(63)
        piece = bits[row] >> skipped
        if skipped + count > WORD_BITS:
            piece |= bits[row + ONE] << (WORD_BITS - skipped)
        if count < WORD_BITS:
            piece &= (ONE << count) - ONE
        at, word, held = _write(out, at, word, held, piece, count)
        begin += count
    return at, word, held


@kernel
def _join(bits, ends, squares, greatest, edges, out, total, total_bits):
    """Append blocks of slabs to the header in `out`; returns how many words that is."""
    at, held = np.uint64(HEADER_BITS >> 6), np.uint64(HEADER_BITS & 63)
    word = out[at] & ((ONE << held) - ONE)
    low, high = edges[2, 0], edges[2, 1]
    for z in range(edges[0, 0], edges[0, 1]):
        for y in range(edges[1, 0], edges[1, 1]):
            begin = np.uint64(0)
            if low:
                begin = np.uint64(ends[z, y, low - 1])
            elif y:
                begin = np.uint64(ends[z, y - 1, ends.shape[2] - 1])
            at, word, held = _write_run(bits[z], begin, np.uint64(ends[z, y, high - 1]), out, at, word, held)
            for x in range(low, high):
                total[1] += squares[z, y, x]
                total_bits[0] = _larger(total_bits[0], greatest[z, y, x])
    if held:
        out[at] = word
        at += ONE
    return at

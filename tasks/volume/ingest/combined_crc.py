"""CRC-32C of a whole from the CRC-32C of its parts, without the bytes.

Appending n zero bytes multiplies a CRC by x^(8n) modulo the CRC's polynomial over GF(2). Powers x^(2^k) are
kept in a table, so that a length costs one multiplication per set bit. (Mark Adler's method in zlib's crc32.c;
there the table wraps after 32 powers, which holds for the CRC-32 polynomial and not for this one.)

Parts are combined in pairs, all pairs of a round at once: so NumPy is fast enough, and nothing is compiled.
"""

import numpy as np

_POLYNOMIAL = np.uint32(0x82F63B78)  # Castagnoli, lowest power in the highest bit
_ONE = np.uint32(0x80000000)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return products modulo the polynomial, element by element."""
    product = np.zeros(np.broadcast_shapes(a.shape, b.shape), np.uint32)
    for bit in range(31, -1, -1):
        product ^= b * (a >> np.uint32(bit) & np.uint32(1))
        b = (b >> np.uint32(1)) ^ (_POLYNOMIAL * (b & np.uint32(1)))
    return product


def _powers() -> np.ndarray:
    """x^(2^k) for k from 0 to 66: byte counts up to 2^63."""
    powers = [np.array([_ONE >> np.uint32(1)])]
    for _ in range(66):
        powers.append(_product(powers[-1], powers[-1]))
    return np.concatenate(powers)


_POWERS = _powers()


def combine_all(crcs: np.ndarray, lengths: np.ndarray) -> int:
    """Return the CRC-32C of all parts in order, from uint32 `crcs` and int64 `lengths` in bytes; 0 for no part."""
    crcs, lengths = np.asarray(crcs, np.uint32), np.asarray(lengths, np.int64)
    if crcs.shape != lengths.shape or (lengths < 0).any():
        raise ValueError(f"{len(crcs)} CRCs need as many lengths of at least 0, got {len(lengths)}")
    while crcs.size > 1:
        if crcs.size % 2:  # an empty part before the first changes nothing
            crcs, lengths = np.insert(crcs, 0, 0), np.insert(lengths, 0, 0)
        crcs = _product(_zeros(lengths[1::2]), crcs[::2]) ^ crcs[1::2]
        lengths = lengths[::2] + lengths[1::2]
    return int(crcs[0]) if crcs.size else 0


def _zeros(lengths: np.ndarray) -> np.ndarray:
    """Return x^(8 length) for each length: what appending so many zero bytes multiplies by."""
    different, which = np.unique(lengths, return_inverse=True)  # most parts have one length
    powers = np.full(different.shape, _ONE)
    for k in range(int(different[-1]).bit_length()):
        has = (different >> k & 1).astype(bool)
        powers[has] = _product(powers[has], _POWERS[k + 3 : k + 4])
    return powers[which]

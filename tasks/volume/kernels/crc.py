"""CRC-32C of a whole from the CRC-32C of its parts, without the bytes.

Appending n zero bytes multiplies a CRC by x^(8n) modulo the CRC's polynomial over GF(2). Powers x^(2^k) are
kept in a table, so that a length costs one multiplication per set bit. (Mark Adler's method in zlib's crc32.c;
there the table wraps after 32 powers, which holds for the CRC-32 polynomial and not for this one.)
"""

import numpy as np

from tasks.volume.kernels.compiled import kernel, part

_POLYNOMIAL = 0x82F63B78  # Castagnoli, lowest power in the highest bit
_ONE = 0x80000000


def _product_of(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        product ^= b if a >> bit & 1 else 0
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _powers() -> np.ndarray:
    """x^(2^k) for k from 0 to 66: byte counts up to 2^63."""
    powers = [_ONE >> 1]
    for _ in range(66):
        powers.append(_product_of(powers[-1], powers[-1]))
    return np.array(powers, np.uint32)


_POWERS = _powers()


def crc32c_combine(crc_a: int, crc_b: int, length_b: int) -> int:
    """Return the CRC-32C of A followed by B, from the CRC-32C of A, that of B, and the length of B."""
    if length_b < 0:
        raise ValueError(f"a length is at least 0, got {length_b}")
    return int(_combine(np.uint32(crc_a), np.uint32(crc_b), np.int64(length_b)))


def combine_all(crcs: np.ndarray, lengths: np.ndarray) -> int:
    """Return the CRC-32C of all parts in order, from uint32 `crcs` and int64 `lengths` in bytes; 0 for no part."""
    if len(crcs) != len(lengths) or (len(lengths) and np.min(lengths) < 0):
        raise ValueError(f"{len(crcs)} CRCs need as many lengths of at least 0, got {len(lengths)}")
    return int(_combine_all(np.asarray(crcs, np.uint32), np.asarray(lengths, np.int64)))


@part
def _product(a, b):
    product = np.uint32(0)
    for bit in range(31, -1, -1):
        product ^= b if (a >> np.uint32(bit)) & np.uint32(1) else np.uint32(0)
        b = np.uint32((b >> np.uint32(1)) ^ (np.uint32(_POLYNOMIAL) if b & np.uint32(1) else np.uint32(0)))
    return product


@part
def _zeros(length):
    """x^(8 length): what appending so many zero bytes multiplies by."""
    power = np.uint32(_ONE)
    k = 3
    while length:
        if length & 1:
            power = _product(power, _POWERS[k])
        length >>= 1
        k += 1
    return power


@kernel
def _combine(crc_a, crc_b, length_b):
    return np.uint32(_product(_zeros(length_b), crc_a) ^ crc_b)


@kernel
def _combine_all(crcs, lengths):
    crc, last, zeros = np.uint32(0), np.int64(0), np.uint32(_ONE)
    for i in range(crcs.size):
        # Parts are mostly of one length.
        if lengths[i] != last:
            last, zeros = lengths[i], _zeros(lengths[i])
        crc = np.uint32(_product(zeros, crc) ^ crcs[i])
    return crc

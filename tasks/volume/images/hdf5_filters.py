"""Filters of HDF5 chunks; decoding is bounded by the size of the chunk."""

import zlib
from collections.abc import Sequence

import numpy as np

from tasks.volume.outcomes import IntegrityFailure

DEFLATE, SHUFFLE, FLETCHER32, LZF, BITSHUFFLE, LZ4, ZSTD = 1, 2, 3, 32000, 32008, 32004, 32015
# Of those that are not read; files name others themselves.
NAMES = {4: "szip", 5: "n-bit packing", 6: "scale and offset", 32001: "Blosc", 32013: "ZFP", 32026: "Blosc2"}
_BLOCK = 8192  # bytes of a block of bitshuffle where none is given, rounded to eight elements


def known(number: int) -> bool:
    """Return whether a filter can be undone."""
    return number in (DEFLATE, SHUFFLE, FLETCHER32, LZF, BITSHUFFLE, LZ4, ZSTD)


def decoded(
    data: bytes, filters: Sequence[Sequence[int]], mask: int, size: int, itemsize: int, where: str
) -> bytes:
    """Return the bytes of a chunk.

    Args:
        data: Stored bytes.
        filters: Number of each filter, and its parameters, in the order of writing.
        mask: Bits of the filters that were left out for this chunk.
        size: Bytes that it must decode to.
        itemsize: Bytes of a voxel.
        where: The chunk, for people.

    Raises:
        IntegrityFailure: The chunk does not decode to `size` bytes.
    """
    try:
        for number, *values in reversed([f for k, f in enumerate(filters) if not mask >> k & 1]):
            data = _undone(number, values, data, size, itemsize)
    except (ValueError, RuntimeError, zlib.error, IndexError) as error:
        raise IntegrityFailure(f"{where} cannot be decoded: {error}; copy the file again") from None
    if len(data) != size:
        raise IntegrityFailure(f"{where} decodes to {len(data):,} bytes of {size:,}; copy the file again")
    return data


def _undone(number: int, values: Sequence[int], data: bytes, size: int, itemsize: int) -> bytes:
    import imagecodecs

    most = size + 64  # a checksum or the rest of another filter may stand behind
    if number == DEFLATE:
        decoder = zlib.decompressobj()
        found = decoder.decompress(data, most)
        if decoder.unconsumed_tail:
            raise ValueError("it decodes to more bytes than a chunk has")
        return found
    if number == SHUFFLE:
        width = values[0] if values else itemsize
        whole = len(data) // width * width
        body = np.frombuffer(data, np.uint8, whole).reshape(width, -1).T
        return body.tobytes() + data[whole:]
    if number == FLETCHER32:
        stored = int.from_bytes(data[-4:], "little")
        if int(imagecodecs.h5checksum_fletcher32(data[:-4])) not in (stored, _swapped(stored)):
            raise ValueError("its checksum differs")
        return data[:-4]
    if number == LZF:
        return bytes(imagecodecs.lzf_decode(data, out=size))
    if number == LZ4:
        if int.from_bytes(data[:8], "big") > most:
            raise ValueError("it decodes to more bytes than a chunk has")
        return bytes(imagecodecs.lz4h5_decode(data, out=int.from_bytes(data[:8], "big")))
    if number == ZSTD:
        return bytes(imagecodecs.zstd_decode(data, out=size))
    return _unshuffled_bits(values, data, size, itemsize)


def _swapped(checksum: int) -> int:
    """Return a checksum with the bytes of each half swapped, as the library once wrote it on some machines."""
    return ((checksum & 0xFF00FF00) >> 8) | ((checksum & 0x00FF00FF) << 8)


def _unshuffled_bits(values: Sequence[int], data: bytes, size: int, itemsize: int) -> bytes:
    """Undo bitshuffle: blocks of elements, in LZ4 or zstd or as they are, and up to seven elements behind them.

    Args:
        values: The filter's parameters: version (2), size of an element, elements of a block, coding (2: LZ4, 3: zstd).
        data: Stored bytes, with a header of 12 bytes if coded.
        size: Bytes that it must decode to.
        itemsize: Bytes of a voxel.
    """
    import imagecodecs

    width = values[2] if len(values) > 2 and values[2] else itemsize
    coding = values[4] if len(values) > 4 else 0
    block = values[3] if len(values) > 3 else 0
    at = 0
    if coding:
        if int.from_bytes(data[:8], "big") != size:
            raise ValueError("its header states another size than the chunk has")
        block = int.from_bytes(data[8:12], "big") // width
        at = 12
    block = block or max(128, _BLOCK // width // 8 * 8)
    if block % 8 or block * width > max(size, 1 << 20):
        raise ValueError("its block size is impossible")
    count, parts, done = size // width, [], 0
    while count - done >= 8:
        elements = min(block, (count - done) // 8 * 8)
        nbytes = elements * width
        if coding:
            length = int.from_bytes(data[at : at + 4], "big")
            piece, at = data[at + 4 : at + 4 + length], at + 4 + length
            decode = imagecodecs.lz4_decode if coding == 2 else imagecodecs.zstd_decode
            piece = bytes(decode(piece, out=nbytes))
        else:
            piece, at = data[at : at + nbytes], at + nbytes
        if len(piece) != nbytes:
            raise ValueError("a block of it is cut off")
        parts.append(bytes(imagecodecs.bitshuffle_decode(piece, itemsize=width, blocksize=elements)))
        done += elements
    rest = (count - done) * width
    return b"".join(parts) + data[at : at + rest]

"""Decompression bounded by the size that the caller expects; sizes in the compressed data are not trusted."""

import bz2
import lzma
import zlib
from typing import Any

from tasks.volume.limits import GROWTH

SLACK = 64 << 10  # of what stands beside the values of a small chunk
UNSIZED_BYTES = 64 << 20  # of a frame whose blocks are all that says how much they hold
_ZSTD_BLOCK = 128 << 10
_ZSTD = b"\x28\xb5\x2f\xfd"


class TooLarge(ValueError):
    """A stored chunk would decode to more bytes than it may have."""


def most_between(chunk_bytes: int) -> int:
    """Return the most bytes that a codec of the chain may decode to, for a chunk of `chunk_bytes`."""
    return GROWTH * chunk_bytes + SLACK


def decoded(codec: Any, data: Any, most: int) -> Any:
    """Decode bytes with a numcodecs codec, within a limit of size.

    If a codec states its decoded size first, that size is checked; streams are decoded up to the limit. Codecs
    that do not change the size, or whose library checks it, are called without a check.

    Raises:
        TooLarge: The result would be more than `most` bytes.
    """
    name = codec.codec_id
    view = memoryview(data).cast("B")
    if name in ("zlib", "gzip", "bz2", "lzma"):
        return _stream(codec, name, view, most)
    promised = _promised(name, view)
    if promised > most or (promised < 0 and _of_blocks(view) > max(most, UNSIZED_BYTES)):
        raise TooLarge(f"{max(promised, 0):,} bytes or more where at most {most:,} belong")
    return codec.decode(data)


def _promised(name: str, view: memoryview) -> int:
    """Return the decoded size that stored bytes declare; 0 if their format has none, -1 if Zstandard's lacks it."""
    if name == "blosc":
        return int.from_bytes(view[4:8], "little") if len(view) >= 16 else 0
    if name == "lz4":
        return int.from_bytes(view[:4], "little")
    if name == "zstd" and bytes(view[:4]) == _ZSTD and len(view) > 5:
        flags = view[4]
        width = (1 if flags & 0x20 else 0, 2, 4, 8)[flags >> 6]
        if not width:
            return -1
        at = 5 + (0 if flags & 0x20 else 1) + (0, 1, 2, 4)[flags & 3]
        return int.from_bytes(view[at : at + width], "little") + (256 if width == 2 else 0)
    return 0


def _of_blocks(view: memoryview) -> int:
    """Return the most bytes that a Zstandard frame without a content size can decode to (RFC 8878, 3.1.1)."""
    at, total, last = 6 + (0, 1, 2, 4)[view[4] & 3], 0, False
    while not last and at + 3 <= len(view):
        head = int.from_bytes(view[at : at + 3], "little")
        last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        total += _ZSTD_BLOCK if kind >= 2 else size
        at += 3 + (1 if kind == 1 else size)
    return total


def _stream(codec: Any, name: str, view: memoryview, most: int) -> bytes:
    """Decode a stream, and those behind it, up to one byte more than there may be."""
    pieces, left = [], bytes(view)
    room = most + 1
    while left and room:
        decoder: Any
        if name in ("zlib", "gzip"):
            decoder = zlib.decompressobj(zlib.MAX_WBITS | (16 if name == "gzip" else 0))
        elif name == "bz2":
            decoder = bz2.BZ2Decompressor()
        else:
            raw = codec.format == lzma.FORMAT_RAW
            decoder = lzma.LZMADecompressor(codec.format, filters=codec.filters if raw else None)
        piece = decoder.decompress(left, room)
        pieces.append(piece)
        room -= len(piece)
        if room and not decoder.eof:
            raise ValueError("the stream is cut off")
        left = decoder.unused_data if name != "zlib" else b""
    if not room:
        raise TooLarge(f"more than the {most:,} bytes that belong there")
    return b"".join(pieces)

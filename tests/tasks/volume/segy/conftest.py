"""Small SEG-Y files made by hand with struct and NumPy, so that no reader's mistakes are shared."""

import struct
from collections.abc import Callable

import numpy as np
import pytest


class Bytes:
    """A source in memory that keeps account of what was read."""

    def __init__(self, content: bytes, name: str = "line.sgy") -> None:
        self.content, self.name, self.size = content, name, len(content)
        self.bytes_read = 0

    def read(self, start: int, length: int) -> bytes:
        """Exactly these bytes."""
        if start < 0 or start + length > self.size:
            raise EOFError(f"bytes {start} to {start + length} of {self.size}")
        self.bytes_read += length
        return self.content[start : start + length]


def put(buffer: bytearray, byte: int, code: str, value: float, order: str) -> None:
    """Write a word at a byte counted from 1."""
    struct.pack_into(order + code, buffer, byte - 1, value)


def small_segy(
    *,
    n_traces: int = 6,
    n_samples: int = 9,
    order: str = ">",
    code: int = 1,
    revision: bytes | None = None,
    binary: dict[tuple[int, str], float] | None = None,
    traces: dict[tuple[int, str], object] | None = None,
    text: bytes | None = None,
    between: bytes = b"",
) -> bytes:
    """A file of 4-byte samples.

    Args:
        n_traces: Number of traces.
        n_samples: Per trace, in the binary header and every trace header.
        order: Byte order.
        code: Sample format.
        revision: The two bytes at 3501; rev 1 as the byte order has it if not given.
        binary: Further words of the binary header: (byte in the file, struct code) to value.
        traces: Words of the trace headers: (byte, struct code) to a value, or one value a trace.
        text: The textual header; EBCDIC if not given.
        between: Bytes between the binary header and the first trace.
    """
    header = bytearray(400)
    words: dict[tuple[int, str], float] = {
        (3217, "H"): 4000,
        (3221, "H"): n_samples,
        (3225, "H"): code,
        (3501, "H"): 0x0100,
    }
    for (byte, kind), value in (words | (binary or {})).items():
        put(header, byte - 3200, kind, value, order)
    if revision is not None:
        header[300:302] = revision
    records = bytearray()
    for trace in range(n_traces):
        record = bytearray(240)
        put(record, 115, "H", n_samples, order)
        put(record, 117, "H", 4000, order)
        for (byte, kind), value in (traces or {}).items():
            put(record, byte, kind, np.broadcast_to(np.asarray(value), (n_traces,))[trace].item(), order)
        records += record + (np.arange(n_samples) * 0.37 - trace).astype(order + "f4").tobytes()
    if text is None:
        text = "".join(f"C{line:2d} SMALL FILE".ljust(80) for line in range(1, 41)).encode("cp500")
    return text + bytes(header) + between + bytes(records)


def raw_headers(n_traces: int, words: dict[tuple[int, str], object], *, order: str = ">") -> np.ndarray:
    """Trace headers, uint8, shape (traces, 240), from (byte, NumPy type) to a value, or one value a trace."""
    raw = np.zeros((n_traces, 240), np.uint8)
    for (byte, kind), value in words.items():
        stored = np.broadcast_to(np.asarray(value), (n_traces,)).astype(order + kind)
        raw[:, byte - 1 : byte - 1 + stored.itemsize] = (
            stored[:, np.newaxis].view(np.uint8).reshape(n_traces, -1)
        )
    return raw


@pytest.fixture(scope="session")
def segy() -> Callable[..., bytes]:
    """`small_segy`."""
    return small_segy


@pytest.fixture(scope="session")
def headers() -> Callable[..., np.ndarray]:
    """`raw_headers`."""
    return raw_headers


@pytest.fixture(scope="session")
def source() -> type[Bytes]:
    """`Bytes`: a source in memory."""
    return Bytes

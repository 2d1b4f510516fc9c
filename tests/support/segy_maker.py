"""SEG-Y files of every kind, small, from struct and NumPy alone so that no reader's mistakes are shared."""

import struct
from typing import Any

import numpy as np

WIDTHS = {1: 4, 2: 4, 3: 2, 5: 4, 6: 8, 7: 3, 8: 1, 9: 8, 10: 4, 11: 2, 12: 8, 15: 3, 16: 1}
DTYPES = {
    1: "f4", 2: "i4", 3: "i2", 5: "f4", 6: "f8", 7: "i4", 8: "i1", 9: "i8",
    10: "u4", 11: "u2", 12: "u8", 15: "u4", 16: "u1",
}  # fmt: skip
TEXT = "".join(f"C{line:2d} A SMALL FILE".ljust(80) for line in range(1, 41))


def segy_bytes(
    *,
    shape: tuple[int, int] = (5, 7),
    n_samples: int = 9,
    code: int = 1,
    order: str = ">",
    revision: int | bytes = 0x0100,
    interval: int = 4000,
    binary: dict[tuple[int, str], Any] | None = None,
    traces: dict[tuple[int, str], Any] | None = None,
    text: bytes | None = None,
    texts: bytes = b"",
    extensions: np.ndarray | int = 0,
    samples: np.ndarray | None = None,
    live: np.ndarray | None = None,
    trailer: bytes = b"",
) -> bytes:
    """A file sorted by inline and crossline.

    Args:
        shape: Inlines and crosslines; numbered from 100 by 2 and from 7 by 3 at bytes 189 and 193.
        n_samples: Per trace, in the binary header and every trace header.
        code: Sample format.
        order: Byte order.
        revision: The word at 3501 in the file's byte order (big endian from rev 2 on), or its two bytes.
        interval: Sample interval in both headers.
        binary: Further words of the binary header: (byte in the file, struct code) to value.
        traces: Words of the trace headers: (byte, NumPy type) to a value, or one value a trace.
        text: The textual header; EBCDIC if not given.
        texts: What follows the binary header.
        extensions: Additional headers of each trace, uint8 of shape (trace, 240 n), or how many zeroed ones.
        samples: Bytes of the samples, uint8 of shape (trace, bytes), as they are in the file; made up if not given.
        live: Which cells have a trace, bool of shape `shape`; all if not given.
        trailer: What follows the last trace.
    """
    live = np.ones(shape, bool) if live is None else live
    lines, crosslines = np.nonzero(live)
    n_traces = len(lines)
    headers = np.zeros((n_traces, 240), np.uint8)
    words: dict[tuple[int, str], Any] = {
        (1, "i4"): 1 + np.arange(n_traces),
        (29, "i2"): 1,
        (71, "i2"): -10,
        (115, "u2"): n_samples,
        (117, "u2"): interval,
        (181, "i4"): 4_000_000 + 250 * lines,
        (185, "i4"): 61_000_000 + 125 * crosslines,
        (189, "i4"): 100 + 2 * lines,
        (193, "i4"): 7 + 3 * crosslines,
    }
    for (byte, kind), value in (words | (traces or {})).items():
        put(headers, byte, kind, value, order)
    if isinstance(extensions, int):
        extensions = np.zeros((n_traces, 240 * extensions), np.uint8)
    samples = sample_bytes(n_traces, n_samples, code, order) if samples is None else samples
    if isinstance(revision, int):
        revision = revision.to_bytes(2, "little" if order == "<" and revision < 0x0200 else "big")
    header = bytearray(400)
    fields = {(3217, "H"): interval, (3221, "H"): n_samples, (3225, "H"): code} | (binary or {})
    for (byte, kind), value in fields.items():
        struct.pack_into(order + kind, header, byte - 3201, value)
    header[300:302] = revision
    records = np.concatenate([headers, extensions, samples], axis=1)
    text = TEXT.encode("cp500") if text is None else text
    return text + bytes(header) + texts + records.tobytes() + trailer


def put(headers: np.ndarray, byte: int, kind: str, value: Any, order: str) -> None:
    """Write a word of trace headers at a byte counted from 1: one value, or one for each trace."""
    stored = np.broadcast_to(np.asarray(value), (len(headers),)).astype(order + kind)
    headers[:, byte - 1 : byte - 1 + stored.itemsize] = (
        stored[:, np.newaxis].view(np.uint8).reshape(len(headers), -1)
    )


def sample_bytes(n_traces: int, n_samples: int, code: int, order: str, seed: int = 0) -> np.ndarray:
    """Bytes of made-up samples: all values of integers, floats of normal size with a dead trace and, if IEEE, a NaN."""
    rng = np.random.default_rng(seed + code)
    width = WIDTHS[code]
    if code == 1:  # normalised: the first hexadecimal digit of the fraction is not 0
        words = (rng.integers(0xC0, 0xC4, (n_traces, n_samples)).astype(np.uint32) << 24) | rng.integers(
            1 << 20, 1 << 24, (n_traces, n_samples), np.uint32
        )
    elif code in (5, 6):
        floats = rng.normal(0, 1000, (n_traces, n_samples)).astype(DTYPES[code])
        floats[-1, -1] = np.nan
        words = floats.view(f"u{width}")
    else:
        return rng.integers(0, 256, (n_traces, n_samples * width), np.uint8)
    words[n_traces // 2] = 0
    return words.astype(f"{order}u{width}").view(np.uint8).reshape(n_traces, -1)


def values_of(samples: np.ndarray, code: int, order: str) -> np.ndarray:
    """The values of samples given as bytes, decoded by hand, in the type that holds them exactly."""
    width, name = WIDTHS[code], "big" if order == ">" else "little"
    rows = np.ascontiguousarray(samples)
    if code in (5, 6):
        return rows.view(f"{order}f{width}").astype(DTYPES[code])
    signed = code in (2, 3, 7, 8, 9)
    words = [
        [
            int.from_bytes(row[at : at + width].tobytes(), name, signed=signed)
            for at in range(0, len(row), width)
        ]
        for row in rows
    ]
    if code != 1:
        return np.array(words, DTYPES[code])
    with np.errstate(over="ignore"):
        return np.array([[ibm_value(word) for word in row] for row in words], "f4")


def ibm_value(word: int) -> float:
    """The value of an IBM System/360 float: sign, exponent of 16 less 64, fraction of 24 bits."""
    value = (word & 0xFFFFFF) / 2**24 * 16.0 ** ((word >> 24 & 0x7F) - 64)
    return -value if word >> 31 else value


def ibm_of(values: np.ndarray) -> np.ndarray:
    """Normalised IBM words (uint32) of values, by frexp: 16^k times a fraction in [1/16, 1)."""
    fraction, exponent = np.frexp(np.abs(values).astype(np.float64))
    sixteenths = -(-exponent // 4)
    fraction = np.ldexp(fraction, exponent - 4 * sixteenths)
    words = (sixteenths + 64).astype(np.uint32) << 24 | (fraction * 2**24).astype(np.uint32)
    return np.where(values == 0, 0, words | np.where(values < 0, np.uint32(1 << 31), 0)).astype(np.uint32)

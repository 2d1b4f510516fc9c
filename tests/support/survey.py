"""Small SEG-Y files made with NumPy alone, each with its twin: the values, headers and places it must be read as.

No SEG-Y library and nothing of the code under test is used, so that no mistake is shared. IBM samples are drawn as
words, and their values are reckoned in float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REV1, TEAPOT = (189, 193, 181, 185), (181, 185, 189, 193)  # first bytes of inline, crossline, X and Y


@dataclass(frozen=True, eq=False)
class Survey:
    """A file and what it holds.

    Attributes:
        path: The file.
        inlines: Ascending.
        crosslines: Ascending.
        numbers: int64 (inline, crossline): number of the trace in the file, -1 where there is none.
        words: uint32 (trace, sample): samples as numbers of this machine.
        headers: uint8 (trace, 240): as in the file.
        values: float32 (inline, crossline, sample): what a volume's master holds; NaN where there is no trace.
    """

    path: Path
    inlines: np.ndarray
    crosslines: np.ndarray
    numbers: np.ndarray
    words: np.ndarray
    headers: np.ndarray
    values: np.ndarray

    @property
    def content(self) -> bytes:
        """The whole file."""
        return self.path.read_bytes()


def make_survey(
    path: Path,
    *,
    inlines: Sequence[int] = range(11, 20),
    crosslines: Sequence[int] = range(101, 106),
    n_samples: int = 13,
    fmt: str = "ibm",
    order: str = ">",
    layout: tuple[int, int, int, int] = REV1,
    sorting: str = "inline",
    drop: int = 0,
    live: np.ndarray | None = None,
    words: np.ndarray | None = None,
    set_words: Mapping[tuple[int, int], int] | None = None,
    headers: Mapping[tuple[int, str], Any] | None = None,
    binary: Mapping[tuple[int, str], int] | None = None,
    interval_us: int = 4000,
    delay_ms: int = 0,
    extended: bytes = b"",
    trailer: bytes = b"",
    seed: int = 0,
) -> Survey:
    """Write a post-stack file and give it with its twin.

    Args:
        path: The file to write.
        inlines: In the order of the file.
        crosslines: In the order of the file.
        n_samples: Per trace.
        fmt: "ibm" or "ieee".
        order: Byte order, ">" or "<".
        layout: First bytes of inline, crossline, X and Y.
        sorting: "inline", "crossline" (slowest dimension), or "shuffled".
        drop: How many traces are left out, drawn by the seed.
        live: Which cells have a trace, bool (inline, crossline); all if not given.
        words: uint32 (trace, sample) instead of drawn samples; as numbers of this machine.
        set_words: (trace, sample) to a word: single ones replaced.
        headers: Further header words: (byte, NumPy type) to a value, or one value a trace.
        binary: Further words of the binary header: (byte in the file, NumPy type) to a value.
        interval_us: Sample interval.
        delay_ms: Of the first sample.
        extended: Extended textual headers, as many whole 3200 bytes as they are.
        trailer: Bytes after the last trace.
        seed: For all that is drawn.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.asarray(inlines), np.asarray(crosslines), indexing="ij"), axis=-1)
    there = np.ones(grid.shape[:2], bool) if live is None else live
    if sorting == "crossline":
        grid, there = grid.transpose(1, 0, 2), there.T
    pairs = grid[there]
    if drop:
        pairs = pairs[np.sort(rng.permutation(len(pairs))[drop:])]
    if sorting == "shuffled":
        rng.shuffle(pairs)
    n_traces = len(pairs)
    if words is None:
        words = (
            ibm_words(rng, (n_traces, n_samples)) if fmt == "ibm" else ieee_words(rng, (n_traces, n_samples))
        )
    words = words.copy()
    for place, word in (set_words or {}).items():
        words[place] = word
    il, xl, x, y = layout
    raw = np.zeros((n_traces, 240), np.uint8)
    counting = np.arange(1, n_traces + 1)
    known = {
        (1, "i4"): counting,
        (5, "i4"): counting,
        (9, "i4"): 1,
        (29, "i2"): 1,
        (71, "i2"): -10,
        (109, "i2"): delay_ms,
        (115, "u2"): n_samples,
        (117, "u2"): interval_us,
        (x, "i4"): 4_000_000 + pairs[:, 0] * 250 - pairs[:, 1] * 3,
        (y, "i4"): 61_000_000 + pairs[:, 1] * 250 + pairs[:, 0] * 3,
        (il, "i4"): pairs[:, 0],
        (xl, "i4"): pairs[:, 1],
    }
    for (byte, kind), value in (known | dict(headers or {})).items():
        put_word(raw, byte, kind, value, order)
    head = np.zeros((1, 400), np.uint8)
    stated = {
        (3213, "i2"): len(set(crosslines)),
        (3217, "u2"): interval_us,
        (3221, "u2"): n_samples,
        (3225, "i2"): {"ibm": 1, "ieee": 5}[fmt],
        (3255, "i2"): 1,
        (3501, "i2"): 0x0100,
        (3503, "i2"): 1,
        (3505, "i2"): len(extended) // 3200,
    }
    for (byte, kind), value in (stated | dict(binary or {})).items():
        put_word(head, byte - 3200, kind, value, order)
    text = "".join(f"C{line:2d} SURVEY OF A TEST".ljust(80) for line in range(1, 41)).encode("cp500")
    stored = words.astype(f"{order}u4").view(np.uint8).reshape(n_traces, -1)
    with open(path, "wb") as file:
        file.write(text + head.tobytes() + extended)
        file.write(np.concatenate([raw, stored], axis=1).tobytes())
        file.write(trailer)
    axes = [np.unique(pairs[:, 0]), np.unique(pairs[:, 1])]
    numbers = np.full([axis.size for axis in axes], -1, np.int64)
    numbers[np.searchsorted(axes[0], pairs[:, 0]), np.searchsorted(axes[1], pairs[:, 1])] = np.arange(
        n_traces
    )
    samples = ibm_values(words) if fmt == "ibm" else words.view(np.float32)
    values = np.full((*numbers.shape, n_samples), np.nan, np.float32)
    values[numbers >= 0] = samples[numbers[numbers >= 0]]
    return Survey(path, axes[0], axes[1], numbers, words, raw, values)


def put_word(raw: np.ndarray, byte: int, kind: str, value: Any, order: str) -> None:
    """Write a word, counted from byte 1, into each row of `raw` (uint8): one value for all, or one a row."""
    stored = np.broadcast_to(np.asarray(value), (len(raw),)).astype(order + kind)
    raw[:, byte - 1 : byte - 1 + stored.itemsize] = stored[:, np.newaxis].view(np.uint8)


def ibm_words(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normalised IBM words, uint32: values between 2^-8 and 2^8 of both signs."""
    sign = rng.integers(0, 2, shape, np.uint32) << np.uint32(31)
    exponent = rng.integers(63, 67, shape, np.uint32) << np.uint32(24)
    return sign | exponent | rng.integers(1 << 20, 1 << 24, shape, np.uint32)


def ieee_words(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """IEEE words of normally distributed values."""
    return rng.standard_normal(shape, np.float32).view(np.uint32)


def ibm_values(words: np.ndarray) -> np.ndarray:
    """Values of IBM words, float32: the nearest, Inf beyond the range."""
    fraction = (words & np.uint32(0x00FFFFFF)).astype(np.float64) / (1 << 24)
    exponent = ((words >> np.uint32(24)) & np.uint32(0x7F)).astype(np.int64) - 64
    with np.errstate(over="ignore", under="ignore"):
        values = np.ldexp(np.where(words >> np.uint32(31), -fraction, fraction), 4 * exponent)
        return values.astype(np.float32)

"""Prestack and 2-D files made with NumPy alone, from header words and samples that a test gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.survey import put_word


def write_gathers(
    path: Path, words: Mapping[tuple[int, str], Any], *, n_samples: int = 13, seed: int = 0, first: int = 0
) -> np.ndarray:
    """Write a big-endian IEEE file; return its samples, float32, shape (trace, sample).

    Args:
        path: The file.
        words: (byte, NumPy type) to a value, or one value a trace; at least one has as many as there are traces.
        n_samples: Per trace.
        seed: For the samples.
        first: Number of the first trace, at byte 1.
    """
    n_traces = max(np.size(value) for value in words.values())
    raw = np.zeros((n_traces, 240), np.uint8)
    known = {(1, "i4"): first + np.arange(n_traces), (29, "i2"): 1, (115, "u2"): n_samples, (117, "u2"): 4000}
    for (byte, kind), value in (known | dict(words)).items():
        put_word(raw, byte, kind, value, ">")
    head = np.zeros((1, 400), np.uint8)
    for (byte, kind), value in {
        (17, "u2"): 4000,
        (21, "u2"): n_samples,
        (25, "i2"): 5,
        (55, "i2"): 1,
        (301, "i2"): 0x0100,
    }.items():
        put_word(head, byte, kind, value, ">")
    samples = np.random.default_rng(seed).standard_normal((n_traces, n_samples)).astype(np.float32)
    stored = samples.astype(">f4").view(np.uint8).reshape(n_traces, -1)
    text = "".join(f"C{line:2d} GATHERS OF A TEST".ljust(80) for line in range(1, 41)).encode("cp500")
    path.write_bytes(text + head.tobytes() + np.concatenate([raw, stored], axis=1).tobytes())
    return samples

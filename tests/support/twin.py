"""A SEG-Y and what readers must find in its volume, by NumPy and the standard's tables alone.

Names and bytes of header words are those of the `segy` package, so that they come from another hand than ours.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from segy.standards import get_segy_standard

SHAPE = (9, 13, 70)
TRACE_WORDS = get_segy_standard(1.0).trace.header.fields


@dataclass(frozen=True)
class Survey:
    """A SEG-Y and an .npz of what it holds."""

    segy: Path
    truth: Path
    vertical: str


def write_survey(folder: Path, *, ibm: bool, vertical: str) -> Survey:
    """An inline-sorted rev 1 file with gaps, steps, and a different value in every assigned header word."""
    rng = np.random.default_rng(7 + ibm)
    inline, crossline = np.meshgrid(100 + 2 * np.arange(SHAPE[0]), 7 + 3 * np.arange(SHAPE[1]), indexing="ij")
    live = rng.random(SHAPE[:2]) > 0.15
    live[0, 0] = live[-1, -1] = True  # the corners keep the grid's extent
    live[4:8, 0:8] = False  # a whole column of chunks
    n_traces = int(live.sum())
    raw = rng.integers(0, 256, (n_traces, 240), np.uint8)
    raw[:, 232:] = 0  # not assigned in rev 1
    words = raw.view(header_dtype())[:, 0]
    words["inline"], words["crossline"] = inline[live], crossline[live]
    words["cdp_x"], words["cdp_y"] = 4_000_000 + 250 * inline[live], -61_000_000 + 250 * crossline[live]
    words["coordinate_scalar"], words["coordinate_unit"], words["trace_id_code"] = -100, 1, 1
    words["samples_per_trace"], words["sample_interval"], words["delay_recording_time"] = SHAPE[2], 4000, 100
    if ibm:
        # Normalised words: the first hexadecimal digit of the fraction is not 0.
        fraction = rng.integers(1 << 20, 1 << 24, (n_traces, SHAPE[2]), np.uint32)
        exponent = rng.integers(61, 67, fraction.shape, np.uint32)
        samples = (rng.integers(0, 2, fraction.shape, np.uint32) << 31) | (exponent << 24) | fraction
        samples[3] = 0  # a dead trace
    else:
        values = rng.normal(0, 1000, (n_traces, SHAPE[2])).astype(np.float32)
        values[5, 9:11] = np.nan, np.inf
        samples = values.view(np.uint32)
    name = "ibm" if ibm else "ieee"
    segy = folder / f"{name}.sgy"
    text = "".join(f"C{line:2d} A SURVEY IN {name.upper()}".ljust(80) for line in range(1, 41))
    records = np.concatenate([raw, samples.astype(">u4").view(np.uint8)], axis=1)
    segy.write_bytes(text.encode("cp037") + binary_header(1 if ibm else 5) + records.tobytes())
    return Survey(segy, save_truth(segy, folder / f"{name}.npz"), vertical)


def binary_header(sample_format: int) -> bytes:
    """Of rev 1, with a value in words of all widths."""
    header = np.zeros(400, np.uint8)
    for byte, kind, value in (
        (1, ">i4", 77), (5, ">i4", -1), (13, ">i2", SHAPE[1]), (17, ">i2", 4000), (19, ">i2", 2000),
        (21, ">i2", SHAPE[2]), (23, ">i2", 2 * SHAPE[2]), (25, ">i2", sample_format), (29, ">i2", 4),
        (33, ">i2", -300), (55, ">i2", 1), (59, ">i2", 8), (301, ">u2", 0x0100), (303, ">i2", 1),
    ):  # fmt: skip
        stored = np.array([value], kind).view(np.uint8)
        header[byte - 1 : byte - 1 + stored.size] = stored
    return header.tobytes()


def header_dtype() -> np.dtype[Any]:
    """The 89 words of a rev 1 trace header, big endian, 240 bytes."""
    kinds = {"int16": ">i2", "int32": ">i4"}
    return np.dtype(
        {
            "names": [word.name for word in TRACE_WORDS],
            "formats": [kinds[word.format] for word in TRACE_WORDS],
            "offsets": [word.byte - 1 for word in TRACE_WORDS],
            "itemsize": 240,
        }
    )


def save_truth(segy: Path, target: Path) -> Path:
    """Decode a big-endian file without extended texts onto its grid, and save what readers must find."""
    data = segy.read_bytes()
    n_samples, interval_us, sample_format = (
        int.from_bytes(data[at - 1 : at + 1], "big") for at in (3221, 3217, 3225)
    )
    records = np.frombuffer(data[3600:], np.uint8).reshape(-1, 240 + 4 * n_samples)
    raw = np.ascontiguousarray(records[:, :240])
    headers = raw.view(header_dtype())[:, 0]
    words = np.ascontiguousarray(records[:, 240:]).view(">u4").astype(np.uint32)
    values = ibm_values(words) if sample_format == 1 else words.view(np.float32)
    lines, at_line = np.unique(headers["inline"], return_inverse=True)
    crosslines, at_crossline = np.unique(headers["crossline"], return_inverse=True)
    grid = (lines.size, crosslines.size)
    cell = (at_line, at_crossline)
    live, number = np.zeros(grid, bool), np.full(grid, -1)
    samples, placed = np.full((*grid, n_samples), np.nan, np.float32), np.zeros((*grid, 240), np.uint8)
    live[cell], number[cell], samples[cell], placed[cell] = True, np.arange(len(raw)), values, raw
    scalar = headers["coordinate_scalar"][0]
    factor = 1 / abs(scalar) if scalar < 0 else max(scalar, 1)
    named = placed.view(header_dtype())[..., 0]
    np.savez(
        target,
        inline=lines.astype(np.int64),
        crossline=crosslines.astype(np.int64),
        vertical=headers["delay_recording_time"][0] + np.arange(n_samples) * interval_us / 1000,
        live=live,
        trace_number=number,
        samples=samples,
        raw_headers=placed,
        headers=named.astype(
            [(word.name, "<i2" if word.format == "int16" else "<i4") for word in TRACE_WORDS]
        ),
        cdp_x=np.where(live, named["cdp_x"] * factor, np.nan),
        cdp_y=np.where(live, named["cdp_y"] * factor, np.nan),
    )
    return target


def ibm_values(words: np.ndarray) -> np.ndarray:
    """The float32 nearest to each IBM word."""
    exponent = ((words >> 24) & 0x7F).astype(np.int32)
    magnitude = np.ldexp((words & 0xFFFFFF).astype(np.float64), 4 * (exponent - 64) - 24)
    return np.where(words >> 31, -magnitude, magnitude).astype(np.float32)

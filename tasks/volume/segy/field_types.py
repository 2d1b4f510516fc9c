"""Determine the type of a header field from its values: int32 by the standard, but also int16 and IEEE or IBM floats.

The bits of a float of 1 or more, read as an integer, exceed a billion; those of a smaller integer, read as a float, are
almost 0. If both readings are possible, the distance on the ground between neighbouring traces decides.
"""

from dataclasses import dataclass

import numpy as np

from tasks.volume.segy.geometry import scaled
from tasks.volume.segy.headers import word, word_bytes

INTEGER = "int32"
# X and Y of a CDP, a source, a group, and where the standard has inline and crossline.
PLACES = ((181, 185), (73, 77), (81, 85), (189, 193))
FLOATS = ("float32", "ibm32")
# 1.0 as an IEEE float, read as an integer; as an IBM float it is a larger one.
_LEAST_FLOAT = 0x3F800000
LARGEST_NUMBER = 10_000_000
# Metres or feet: the usual distance of traces, the largest coordinate in use, and the largest that is believed.
_USUAL_STEP, _FAR, _FARTHEST = 25.0, 1.2e7, 4e7
_LEAST_COORDINATE = 1e-3
_DEGREE, _MOST_DEGREES, _WIDEST_DEGREES = 111_000.0, 360, 10
# How much better than int32 another type must fit, as powers of ten of the step; int16 has half of a field.
_HANDICAPS = {"int32": 0.0, "float32": 0.3, "ibm32": 0.3, "int16": 2.0}
# Of degrees the samples' own type of float is likelier by this: read as the other, they are degrees four times as far.
_TIE, _NONSENSE = 1.0, 3.0
# Floats read as the other type grow by jumps wherever an exponent changes, so that equal steps differ.
_UNEVEN = 6.0
_SMALL_TIE = 0.4
_TOO_FAR, _CANNOT = 4.0, float("inf")


def number_type(
    headers: np.ndarray, byte: int, byte_order: str, *, measure: bool = False, ibm: bool = False
) -> str:
    """Return the type of a field that numbers traces, or of a `measure` such as an offset, which may have fractions.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more).
        byte: First byte of the field, from 1.
        byte_order: '>' or '<', of the file.
        measure: Whether values may have fractions.
        ibm: Whether the samples are IBM floats; of a measure that could be of either type, this decides.
    """
    if byte + word_bytes(INTEGER) - 1 > headers.shape[1]:
        return INTEGER
    values = word(headers, byte, INTEGER, byte_order)
    if ((values & 0x7FFFFFFF) >= _LEAST_FLOAT).any():
        fitting = [
            (step, name) for name in FLOATS if (step := _step(headers, byte, name, byte_order, measure))
        ]
        if measure and len(fitting) == 2:
            return FLOATS[ibm]
        return min(fitting, key=lambda pair: pair[0])[1] if fitting else INTEGER
    # A field of 16 bits before two bytes that are always 0.
    halves = values.any() and byte_order == ">" and not (values & 0xFFFF).any()
    return "int16" if halves else INTEGER


def _step(headers: np.ndarray, byte: int, word_type: str, byte_order: str, measure: bool) -> float:
    """Return the least distance of values, 1 where there is only one; 0 if they are no numbers of this type."""
    with np.errstate(invalid="ignore"):
        values = np.unique(word(headers, byte, word_type, byte_order).astype(np.float64))
    sizes = np.abs(values[values != 0])
    if not np.isfinite(values).all() or not sizes.size or sizes.max() >= LARGEST_NUMBER:
        return 0.0
    if sizes.min() < _LEAST_COORDINATE or (not measure and (values != np.rint(values)).any()):
        return 0.0
    return float(np.diff(values).min()) if values.size > 1 else 1.0


@dataclass(frozen=True)
class PairReading:
    """The fields of X and Y read as one type.

    Attributes:
        bytes: First byte of each.
        type: Type of both fields.
        lows: Least X and Y, without the scalar at byte 71.
        highs: Largest X and Y.
        varies: Whether they differ between traces.
        distinct: Number of different pairs of X and Y in the headers that were read.
        misfit: Measure of how unlikely they are coordinates of this type; infinite if that is impossible.
        scaled: Whether the scalar at byte 71 applies; writers of floats often leave one that was meant for integers.
    """

    bytes: tuple[int, int]
    type: str
    lows: tuple[float, float]
    highs: tuple[float, float]
    varies: bool
    distinct: int
    misfit: float
    scaled: bool


def read_pair(
    headers: np.ndarray, numbers: np.ndarray, places: tuple[int, int], word_type: str, byte_order: str
) -> PairReading:
    """Read the fields of X and Y as a type.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more).
        numbers: Numbers of these traces in the file, ascending.
        places: First byte of each field, from 1.
        word_type: Type of both words.
        byte_order: '>' or '<', of the file.
    """
    with np.errstate(invalid="ignore"):
        plain = [word(headers, byte, word_type, byte_order).astype(np.float64) for byte in places]
        pairs = np.stack(plain, axis=1)
    distinct = len(np.unique(pairs, axis=0))
    lows, highs = pairs.min(axis=0).tolist(), pairs.max(axis=0).tolist()
    misfit, is_scaled = _misfit(headers, numbers, pairs, word_type, byte_order)
    return PairReading(
        places,
        word_type,
        (lows[0], lows[1]),
        (highs[0], highs[1]),
        distinct > 1,
        distinct,
        misfit + _HANDICAPS[word_type],
        is_scaled,
    )


def _misfit(
    headers: np.ndarray, numbers: np.ndarray, pairs: np.ndarray, word_type: str, byte_order: str
) -> tuple[float, bool]:
    """Return how unlikely coordinates are, in powers of ten of the usual step, and whether they have a scalar."""
    used = pairs[(pairs != 0).any(axis=1)]
    sizes = np.abs(used[used != 0])
    if not np.isfinite(pairs).all() or not sizes.size:
        return _CANNOT, True
    is_float = word_type in FLOATS
    if is_float and (sizes.min() < _LEAST_COORDINATE or sizes.max() > 100 * _FARTHEST):
        return _CANNOT, True
    steps = np.diff(pairs, axis=0)
    moves = np.hypot(*steps.T)
    adjacent = (np.diff(numbers) == 1) & (pairs[1:] != 0).any(axis=1) & (pairs[:-1] != 0).any(axis=1)
    moved = adjacent & (moves > 0)
    if not moved.any():
        return _CANNOT, True
    farthest, step = float(sizes.max()), float(np.median(moves[moved]))
    uneven = _UNEVEN * _unevenness(steps, moved, step)

    def of(scale: float) -> float:
        far = farthest * scale
        units = (1.0, _DEGREE) if is_float and scale == 1 and far <= _MOST_DEGREES else (1.0,)
        away = min(abs(float(np.log10(step * scale * unit / _USUAL_STEP))) for unit in units)
        return away + (_TOO_FAR if far > _FARTHEST else float(far > _FAR))

    with_scalar = of(float(np.median(scaled(np.ones(len(headers)), headers, byte_order))))
    without = of(1.0) if is_float else _CANNOT
    return min(with_scalar, without) + uneven, with_scalar <= without + 1


def _unevenness(steps: np.ndarray, moved: np.ndarray, usual: float) -> float:
    """Return how much each step on the ground differs from the step before, in usual steps, at most 1 each."""
    both = moved[1:] & moved[:-1]
    change = np.hypot(*np.diff(steps, axis=0)[both].T)
    return float(np.mean(np.minimum(change / usual, 1.0))) if change.size else 0.0


def judge_pair(
    headers: np.ndarray, numbers: np.ndarray, places: tuple[int, int], byte_order: str, *, ibm: bool = False
) -> list[PairReading]:
    """Return every reading of the fields of X and Y, the likeliest first.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more).
        numbers: Numbers of these traces in the file, ascending.
        places: First byte of each field, from 1.
        byte_order: '>' or '<', of the file.
        ibm: Whether the samples are IBM floats; of degrees in one of two types of float, the samples' is the likelier.
    """
    last = headers.shape[1] + 1
    room = min(last - max(places), abs(places[1] - places[0]))
    types = [name for name in _HANDICAPS if word_bytes(name) <= room]
    if not types:
        return []
    readings = [read_pair(headers, numbers, places, name, byte_order) for name in types]
    if "int16" in types and not _are_halves(readings, byte_order):
        readings = [reading for reading in readings if reading.type != "int16"]
    own, other = (FLOATS[1], FLOATS[0]) if ibm else FLOATS
    degrees = any(reading.type == own and _could_be_degrees(reading) for reading in readings)
    tie = _TIE if degrees else 0.0 if ibm else _SMALL_TIE
    return sorted(readings, key=lambda entry: entry.misfit + (tie if entry.type == other else 0.0))


def _could_be_degrees(reading: PairReading) -> bool:
    """Return whether a survey of this extent is likelier one in degrees than one in metres or feet."""
    far = max(map(abs, (*reading.lows, *reading.highs)))
    return far <= _MOST_DEGREES and max(np.subtract(reading.highs, reading.lows)) <= _WIDEST_DEGREES


def _are_halves(readings: list[PairReading], byte_order: str) -> bool:
    """Return whether 16 bits tell traces apart as well as 32 do that make no sense; no field that fits is cut."""
    of = {reading.type: reading for reading in readings}
    if INTEGER not in of:
        return True
    # In little endian these are the lower halves of integers, which look regular wherever they do not overflow.
    wide, half = of[INTEGER], of["int16"]
    return byte_order == ">" and wide.misfit >= _NONSENSE and half.distinct >= 0.9 * wide.distinct

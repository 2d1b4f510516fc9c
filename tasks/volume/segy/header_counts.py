"""Count the values of trace header fields that hold for a whole file: samples, time and coordinates.

Each trace repeats values that hold for the whole file, and in real files some traces disagree. Blocks count the values;
at the end the commonest value is used, and each contradiction is reported in a sentence.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tasks.volume.segy.corrections import Corrections
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import word
from tasks.volume.segy.standards import SEISMIC_UNIX

_MOST_VALUES = 8  # that are counted one by one
_MOST_SHOWN = 4
_SCALARS = frozenset((0, 1, 10, 100, 1000, 10_000, -1, -10, -100, -1000, -10_000))
# SEG-Y rev 2.1, trace header bytes 89-90 and binary header bytes 3255-3256, with MDIO's units.
_COORDINATE_UNITS = {2: "seconds of arc", 3: "decimal degrees", 4: "degrees, minutes and seconds"}
# Thousandths of a unit: no depth is sampled so finely, so the number may be in whole units.
_FINEST_DEPTH = 100
_DEGREES = 3
_LENGTHS = {1: "m", 2: "ft"}

Tally = dict[str, Any]
Tallies = dict[str, Tally]


def tallies_of(headers: np.ndarray, fmt: FileFormat) -> Tallies:
    """Return the counts of header fields of some traces, as JSON values by field name.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more); at least one.
        fmt: Format of the file.
    """

    def at(byte: int, word_type: str) -> np.ndarray:
        return word(headers, byte, word_type, fmt.byte_order)

    return {
        "delay": _tally(first_sample_ms(headers, fmt)),
        "samples": _tally(at(115, "uint16")),
        "interval": _tally(at(117, "uint16")),
        "scalar": _tally(at(71, "int16")),
        "unit": _tally(at(89, "int16")),
    }


def first_sample_ms(headers: np.ndarray, fmt: FileFormat) -> np.ndarray:
    """Time of the first sample of each trace, float64 (bytes 109-110, from rev 1 on scaled by 215-216)."""
    delay = word(headers, 109, "int16", fmt.byte_order).astype(np.float64)
    factor, divisor = delay_scale(headers, fmt)
    return delay * factor / divisor


def delay_scale(headers: np.ndarray, fmt: FileFormat) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and divisor of byte 109 for each trace, float64; one of the two is 1."""
    scalar = word(headers, 215, "int16", fmt.byte_order)
    # Any other value is no scalar: these bytes are also used for something else, and in rev 0 for anything.
    known = np.isin(scalar, list(_SCALARS)) & (fmt.revision not in ("0", SEISMIC_UNIX))
    scalar = np.where(known, scalar, 0).astype(np.float64)
    return np.where(scalar > 0, scalar, 1.0), np.where(scalar < 0, -scalar, 1.0)


def _tally(values: np.ndarray) -> Tally:
    if (values == values[0]).all():
        distinct, counts = values[:1], np.array([len(values)])
    else:
        distinct, counts = np.unique(values, return_counts=True)
    pairs = zip(distinct.tolist(), counts.tolist(), strict=True)
    return _shortened({"low": distinct[0].item(), "high": distinct[-1].item(), "counts": list(pairs)})


def _shortened(tally: Tally) -> Tally:
    """With only the commonest values, of equally common ones the least."""
    commonest = sorted(tally["counts"], key=lambda pair: (-pair[1], pair[0]))
    return tally | {
        "counts": commonest[:_MOST_VALUES],
        "cut": tally.get("cut", False) or len(commonest) > _MOST_VALUES,
    }


def merge_tallies(parts: Iterable[Tallies]) -> Tallies:
    """Return the tallies of all parts together; of words with many values the commonest are estimates."""
    merged: Tallies = {}
    for part in parts:
        for name, tally in part.items():
            if name not in merged:
                merged[name] = tally
                continue
            entry = merged[name]
            counts = {value: count for value, count in entry["counts"]}
            for value, count in tally["counts"]:
                counts[value] = counts.get(value, 0) + count
            merged[name] = _shortened(
                {
                    "low": min(entry["low"], tally["low"]),
                    "high": max(entry["high"], tally["high"]),
                    "counts": list(counts.items()),
                    "cut": entry["cut"] or tally["cut"],
                }
            )
    return merged


def commonest(tallies: Tallies, name: str) -> Any:
    """Return the value that most traces have."""
    return tallies[name]["counts"][0][0]


def doubts(
    tallies: Tallies,
    fmt: FileFormat,
    *,
    depth: bool,
    measurement_system: int,
    corrections: Corrections = Corrections(),
    beyond_degrees: bool = False,
) -> list[str]:
    """Return sentences on contradictions between traces or with the file headers, and how each was resolved.

    Args:
        tallies: Counts over all traces.
        fmt: Format of the file.
        depth: The sample axis is depth.
        measurement_system: Byte 3255 of the file: 1 metres, 2 feet.
        corrections: Corrections of the user, which replace header values.
        beyond_degrees: Some coordinate is larger than an angle can be.
    """
    sentences = []
    if fmt.n_samples < 1 << 16 and _disagree(tallies["samples"], fmt.n_samples):
        sentences.append(
            f"The number of samples in trace headers (byte 115) varies: {_shown(tallies['samples'])}; by the size of "
            f"the file all have {fmt.n_samples}."
        )
    if _disagree(tallies["interval"], round(fmt.sample_interval_us)):
        sentences.append(
            f"The sample interval in trace headers (byte 117) varies: {_shown(tallies['interval'])}; "
            f"{fmt.sample_interval_us:g} is used for all."
        )
    if _varies(tallies["delay"]) and corrections.delay is None:
        sentences.append(
            f"The delay recording time (byte 109) goes from {tallies['delay']['low']:g} to "
            f"{tallies['delay']['high']:g} ms: {_shown(tallies['delay'])}; the axis begins at "
            f"{commonest(tallies, 'delay'):g}, where most traces do, and no trace is shifted."
        )
    if depth and fmt.sample_interval_us:
        stated = fmt.sample_interval_us
        whole = (
            f"; if it is meant in whole units, say --sample-interval {stated:g}"
            if stated < _FINEST_DEPTH
            else ""
        )
        sentences.append(
            f"Depth is taken from the sample interval in thousandths: {stated:g} at byte 3217 is {stated / 1000:g} a "
            f"sample{whole}."
        )
    if not corrections.coordinate_scalar:
        sentences += _scalar_doubts(tallies)
    if not corrections.coordinate_unit:
        sentences += _unit_doubts(tallies, measurement_system, beyond_degrees=beyond_degrees)
    return sentences


def _scalar_doubts(tallies: Tallies) -> list[str]:
    sentences = []
    scalars = tallies["scalar"]
    if _varies(scalars):
        sentences.append(
            f"The coordinate scalar (byte 71) varies: {_shown(scalars)}; each trace is placed by its own."
        )
    elif scalars["low"] not in _SCALARS:
        sentences.append(
            f"The coordinate scalar (byte 71) is {scalars['low']}, which the standard does not have; it is applied."
        )
    if any(value == 0 for value, _ in scalars["counts"]):
        sentences.append("A coordinate scalar of 0 (byte 71) is taken as 1.")
    return sentences


def _unit_doubts(tallies: Tallies, measurement_system: int, *, beyond_degrees: bool) -> list[str]:
    sentences = []
    units = [value for value, _ in tallies["unit"]["counts"]]
    if _varies(tallies["unit"]):
        sentences.append(
            f"The unit of coordinates (byte 89) varies: {_shown(tallies['unit'])}; they are kept as numbers."
        )
    elif units[0] == _DEGREES and beyond_degrees:
        sentences.append(
            f"Coordinates are said to be in {_COORDINATE_UNITS[_DEGREES]} (byte 89 is {_DEGREES}), but exceed 360; "
            "they have no unit; say it with --coordinate-unit."
        )
    elif units[0] in _COORDINATE_UNITS:
        sentences.append(
            f"Coordinates are in {_COORDINATE_UNITS[units[0]]} (byte 89 is {units[0]}); they are kept as these numbers."
        )
    elif measurement_system not in (0, *_LENGTHS):
        sentences.append(
            f"The measurement system (byte 3255) is {measurement_system}, and the standard has 1 for metres and 2 for "
            "feet; coordinates have no unit."
        )
    return sentences


def coordinate_unit(tallies: Tallies, measurement_system: int) -> dict[str, str]:
    """Return MDIO's unit of the coordinates; empty if the headers state no unit that MDIO has."""
    units = {value for value, _ in tallies["unit"]["counts"]}
    if units <= {0, 1} and measurement_system in _LENGTHS:
        return {"length": _LENGTHS[measurement_system]}
    return {"angle": "deg"} if units == {3} else {}


def _varies(tally: Tally) -> bool:
    return bool(tally["low"] != tally["high"])


def _disagree(tally: Tally, expected: int) -> bool:
    """Return whether traces differ among themselves and some say another value; 0 says none.

    Where all say the same other value, the file's format has it among its oddities.
    """
    return _varies(tally) and any(value not in (0, expected) for value, _ in tally["counts"])


def _shown(tally: Tally) -> str:
    """Return the commonest values with how many traces have each."""
    shown = ", ".join(f"{value:g} ({count:,} traces)" for value, count in tally["counts"][:_MOST_SHOWN])
    return shown + (" and others" if tally["cut"] or len(tally["counts"]) > _MOST_SHOWN else "")

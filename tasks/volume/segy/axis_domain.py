"""Decide whether the samples of a file lie in time or in depth, and in which unit.

The standard has no field for this: files in depth hold thousandths of a unit where files in time hold microseconds. A
clear statement in the text header decides; next, values that are impossible in time. Values that are only unusual
lead to a note.
"""

from dataclasses import dataclass, replace

import numpy as np

from tasks.parameters import Index
from tasks.volume.segy.corrections import NO_UNIT, Corrections
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.header_text import evidence_in
from tasks.volume.segy.placement import Placement
from tasks.volume.segy.templates import CUSTOM, TEMPLATES

DEPTH, TIME = "depth", "time"
LENGTHS = {1: "m", 2: "ft"}
UNIT_NAMES = {"m": "metres", "ft": "feet"}
# Of a second: what instruments record and processing makes of it.
_TIME_INTERVALS_US = frozenset((125, 250, 500, 1000, 2000, 3000, 4000, 6000, 8000, 16_000))
_FEET_US = 1524  # 5 feet are 1.524 m
_LONGEST_RECORD_S = 20
_DEEPEST = {"m": 25_000, "ft": 80_000, "": 80_000}
_COARSE_US = 5000
_SWINGING = 0.2  # of the samples at least are on either side of zero


@dataclass(frozen=True)
class Domain:
    """The domain of the sample axis, with the reason if it is depth, or a warning if it is time."""

    domain: str
    reason: str = ""
    doubt: str = ""


def domain_of(
    text: str,
    interval_us: float,
    n_samples: int,
    *,
    system: int = 0,
    stacked_grid: bool = False,
    swinging: bool = False,
) -> Domain:
    """Return whether samples lie in time or in depth.

    Args:
        text: The text header, as lines.
        interval_us: Sample interval as the file has it.
        n_samples: Samples per trace.
        system: The measurement system, byte 3255.
        stacked_grid: The traces are stacked, on a grid of inlines and crosslines.
        swinging: The samples swing about zero, as amplitudes do and velocities do not.
    """
    stated = evidence_in(text)
    usual = interval_us == 0 or interval_us in _TIME_INTERVALS_US
    if stated.depth and (not stated.time or "DOMAIN" in stated.depth or not usual):
        return Domain(DEPTH, f'the text header says "{stated.depth}"')
    if stated.time and "DOMAIN" in stated.time:
        return Domain(TIME)
    if stated.hint and not stated.time and not usual:
        return Domain(
            DEPTH, f'the text header says "{stated.hint}", and {_milli(interval_us)} ms is no usual interval'
        )
    if not stated.time and not usual:
        length_s, unit = interval_us * n_samples / 1e6, LENGTHS.get(system, "")
        if length_s > _LONGEST_RECORD_S and 1000 * length_s <= _DEEPEST[unit]:
            return Domain(DEPTH, f"in time the traces would be {length_s:.3g} s long")
        if interval_us >= _FEET_US and interval_us % _FEET_US == 0:
            feet = interval_us / 304.8
            return Domain(DEPTH, f"{_milli(interval_us)} m are {feet:g} feet, and no usual interval in time")
        if interval_us >= _COARSE_US and stacked_grid and swinging:
            return Domain(DEPTH, f"{_milli(interval_us)} ms are too coarse for stacked amplitudes in time")
        if interval_us >= _COARSE_US:
            return Domain(TIME, doubt=f"{_milli(interval_us)} ms is an unusual interval in time")
    if stated.depth or (stated.hint and not stated.time):
        return Domain(TIME, doubt=f'the text header says "{stated.depth or stated.hint}"')
    return Domain(TIME)


def in_its_domain(
    placement: Placement, fmt: FileFormat, samples: np.ndarray, index: Index
) -> tuple[Placement, list[str]]:
    """Return the placement with the domain that a file indicates, and notes on it; the user's own takes precedence.

    Args:
        placement: Placement by names, bytes and template.
        fmt: Format of the file.
        samples: Stored bytes of some traces, uint8, shape (trace, byte).
        index: Index parameters of the user.
    """
    detected = domain_of(
        fmt.text,
        fmt.sample_interval_us,
        fmt.n_samples,
        system=fmt.measurement_system,
        stacked_grid=placement.template.startswith("PostStack3D"),
        swinging=swings(samples, fmt),
    )
    if index.domain != "auto" or detected == Domain(TIME):
        return placement, []
    template = TEMPLATES.get(placement.template)
    other = placement.template.removesuffix("Time") + "Depth"
    can = placement.domain == TIME and (
        placement.template == CUSTOM or other in TEMPLATES or placement.template == other
    )
    if not can:
        return placement, []
    if detected.domain == DEPTH and index.template == "auto":
        name = other if template else placement.template
        return replace(placement, template=name, domain=DEPTH), [
            f"The samples are in depth: {detected.reason}; if they are in time, say --domain time."
        ]
    return placement, [
        f"The samples are taken as in time, but {detected.reason or detected.doubt}; for depth, say --domain depth."
    ]


def depth_unit(text: str, system: int, corrections: Corrections) -> tuple[str, list[str]]:
    """Return the unit of depth, m, ft or "", and sentences on where it comes from.

    Args:
        text: The text header, as lines.
        system: The measurement system, byte 3255.
        corrections: Corrections of the user.
    """
    if corrections.depth_unit:
        return corrections.depth_unit.replace(NO_UNIT, ""), []
    by_field, by_text = LENGTHS.get(system, ""), evidence_in(text).unit
    if by_field and by_text and by_field != by_text:
        return by_field, [
            f"Depth is in {UNIT_NAMES[by_field]} (byte 3255 is {system}), but the text header says "
            f"{UNIT_NAMES[by_text]}; if that is right, say --depth-unit {by_text}."
        ]
    unit = by_field or by_text
    if not unit:
        return "", [
            f"The unit of depth is not known (byte 3255 is {system}, and the text header says none); say it with "
            "--depth-unit m or --depth-unit ft."
        ]
    where = f"byte 3255 is {system}" if by_field else "the text header says so"
    return unit, [f"Depth is in {UNIT_NAMES[unit]} ({where})."]


def swings(samples: np.ndarray, fmt: FileFormat) -> bool:
    """Return whether samples swing about zero, with many positive and many negative ones.

    Args:
        samples: Stored bytes of some traces, uint8, shape (trace, byte).
        fmt: Format of the file; every format that has a sign has it in the first bit.
    """
    if fmt.sample_format.name.startswith("uint"):
        return False
    each = samples.reshape(-1, fmt.sample_format.bytes_per_sample)
    live = each[each.any(axis=1)]
    below = np.count_nonzero(live[:, 0 if fmt.sample_order == ">" else -1] >> 7)
    return bool(_SWINGING * len(live) < below < (1 - _SWINGING) * len(live))


def _milli(interval_us: float) -> str:
    return f"{interval_us / 1000:g}"

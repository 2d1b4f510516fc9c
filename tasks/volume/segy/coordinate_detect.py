"""Locate the coordinates of traces in the header: the user's fields, or fields that vary.

The standard puts X and Y of a CDP at bytes 181 and 185. Files of revision 0 hold them in the fields of source or group
coordinates, other files in those of inline and crossline. Fields that are the same in every trace are no coordinates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.field_types import FLOATS, INTEGER, PLACES, PairReading, judge_pair, read_pair
from tasks.volume.segy.headers import word, word_bytes
from tasks.volume.segy.index_score import STANDARD, overlap
from tasks.volume.segy.placement import XY, Coordinate, Placement

_CDP, _SOURCE, _GROUP = PLACES[:3]
_PAIRS = (
    XY,
    ("source_coord_x", "source_coord_y"),
    ("group_coord_x", "group_coord_y"),
    ("receiver_x", "receiver_y"),
)
# Powers of ten by which another reading may be less likely and is still named.
_NEARLY = 1.0


@dataclass(frozen=True, eq=False)
class Traces:
    """Headers that were read (uint8, shape (traces, 240 or more)), their trace numbers, ascending, and their format."""

    headers: np.ndarray
    numbers: np.ndarray
    byte_order: str
    ibm: bool = False

    def judge(self, places: tuple[int, int]) -> list[PairReading]:
        """Return the readings of two fields as X and Y, the likeliest first."""
        return judge_pair(self.headers, self.numbers, places, self.byte_order, ibm=self.ibm)

    def read(self, places: tuple[int, int], word_type: str) -> PairReading:
        """Return the reading of two fields as a type."""
        return read_pair(self.headers, self.numbers, places, word_type, self.byte_order)


def find_coordinates(
    traces: Traces, fields: Sequence[tuple[int, str]], index: Index, *, stacked: bool
) -> PairReading | None:
    """Find the fields of X and Y, or take those that the user names.

    Args:
        traces: The traces that were read.
        fields: First byte and type of each index field.
        index: Parameters of the user for the coordinates.
        stacked: Whether traces are stacked, so that fields of a source or group can hold the X and Y of the CDP.

    Returns:
        The fields; None where none hold coordinates.

    Raises:
        InputRefused: The user names bytes or types that cannot hold X and Y.
    """
    types = index.coordinate_types
    if len(types) > 2 or (len(types) == 2 and types[0] != types[1]):
        raise InputRefused(
            f"coordinate types are {','.join(types)}; X and Y need one type",
            flags=f"--coordinate-types {types[0]}",
        )
    if index.coordinate_bytes == "none":
        return None
    if index.coordinate_bytes != "auto":
        x, y = (int(byte) for byte in index.coordinate_bytes.split(","))
        width = word_bytes(types[0] if types else INTEGER)
        last = traces.headers.shape[1] - width + 1
        if not all(1 <= byte <= last for byte in (x, y)):
            raise InputRefused(
                f"coordinate bytes {index.coordinate_bytes} are not in a trace header; they start at bytes 1 to {last}",
                flags="--coordinate-bytes auto",
            )
        return _typed(traces, (x, y), types)
    free = [places for places in PLACES if not _taken(places, fields)]
    readings = {places: _typed(traces, places, types) for places in free}
    several = len(traces.numbers) > 1
    if _CDP in free and (readings[_CDP].varies or not several):
        return readings[_CDP]
    if stacked and several and (pair := _of_source_or_group(readings)):
        return pair
    last = readings.get(STANDARD)
    # At the place of the index only what differs between most traces is believed.
    return last if last and last.distinct > 1 and 2 * last.distinct > len(traces.numbers) else None


def _of_source_or_group(readings: dict[tuple[int, int], PairReading]) -> PairReading | None:
    """Return the reading of source or group fields where one of them alone varies, or both are equal."""
    source, group = (readings.get(places) for places in (_SOURCE, _GROUP))
    pairs = [
        entry for entry in (source, group) if entry is not None and entry.varies and np.isfinite(entry.misfit)
    ]
    if len(pairs) == 2 and (pairs[0].lows, pairs[0].highs) != (pairs[1].lows, pairs[1].highs):
        return None
    return pairs[0] if pairs else None


def _taken(places: Sequence[int], fields: Sequence[tuple[int, str]]) -> bool:
    return any(overlap(places, [byte], 4, word_bytes(kind)) for byte, kind in fields)


def _typed(traces: Traces, places: tuple[int, int], types: Sequence[str]) -> PairReading:
    if types:
        return traces.read(places, types[0])
    readings = traces.judge(places)
    return readings[0] if readings and np.isfinite(readings[0].misfit) else traces.read(places, INTEGER)


def typed_coordinates(traces: Traces, placement: Placement, index: Index) -> Placement:
    """Return a placement whose coordinates of sources, groups and CDPs have the types that their fields have.

    Args:
        traces: The traces that were read.
        placement: Coordinates with the types of the standard.
        index: Index parameters of the user; types that they name are kept.
    """
    named = {coordinate.name: coordinate for coordinate in placement.coordinates}
    for x, y in _PAIRS:
        if x not in named or y not in named or {x, y} & set(index.names) or named[x].type != INTEGER:
            continue
        reading = _typed(traces, (named[x].byte, named[y].byte), index.coordinate_types)
        for name in (x, y):
            scaled = named[name].scaled and reading.scaled
            named[name] = replace(named[name], type=reading.type, scaled=scaled)
    return replace(placement, coordinates=tuple(named.values()))


def coordinate_notes(traces: Traces, placement: Placement, index: Index) -> list[str]:
    """Return notes on coordinates whose bytes or type differ from the standard's.

    Args:
        traces: The traces that were read.
        placement: Placement with the types of its coordinates.
        index: Index parameters of the user.
    """
    notes = []
    named = {coordinate.name: coordinate for coordinate in placement.coordinates}
    for x, y in _PAIRS:
        if x in named and y in named:
            notes += _type_note(traces, named[x], named[y], index)
    if XY[0] in named:
        notes += _place_notes(traces, (named[XY[0]], named[XY[1]]), index)
    elif index.coordinate_bytes == "auto" and placement.template.startswith(("Post", "Cdp", "Custom")):
        notes += _none_notes(traces, placement)
    return notes


def _type_note(traces: Traces, x: Coordinate, y: Coordinate, index: Index) -> list[str]:
    if x.type == INTEGER:
        return []
    reading = traces.read((x.byte, y.byte), x.type)
    integers = traces.read((x.byte, y.byte), INTEGER)
    sentence = (
        f"The coordinates at bytes {x.byte},{y.byte} are {x.type}: X {_span(reading, 0)}, Y {_span(reading, 1)} "
        f"(as int32 X {_span(integers, 0)})"
    )
    if not x.scaled:
        sentence += "; the scalar at byte 71 is not applied to them"
    if index.coordinate_types:
        return [f"{sentence}."]
    if other := _as_likely(traces, reading):
        return [
            f"{sentence}; they could be {other.type}, X {_span(other, 0)}, Y {_span(other, 1)}, which "
            f"--coordinate-types {other.type} says."
        ]
    return [f"{sentence}; name another type with --coordinate-types."]


def _as_likely(traces: Traces, chosen: PairReading) -> PairReading | None:
    """Return the reading as the other type of float where that makes nearly as much sense."""
    others = [
        candidate
        for candidate in traces.judge(chosen.bytes)
        if candidate.type in FLOATS and candidate.type != chosen.type
    ]
    return next((entry for entry in others if entry.misfit < chosen.misfit + _NEARLY), None)


def _place_notes(traces: Traces, xy: tuple[Coordinate, Coordinate], index: Index) -> list[str]:
    places = (xy[0].byte, xy[1].byte)
    where = f"{places[0]},{places[1]}"
    reading = traces.read(places, xy[0].type)
    if not reading.varies and len(traces.numbers) > 1:
        same = f"{reading.lows[0]:g} and {reading.lows[1]:g}"
        return [
            f"The coordinates at bytes {where} are the same in every trace that was looked at ({same}); if they lie "
            "elsewhere say where, or none, with --coordinate-bytes."
        ]
    if index.coordinate_bytes != "auto" or places not in (_SOURCE, _GROUP):
        return []
    whose = "source" if places == _SOURCE else "group"
    return [
        f"The coordinates of the CDPs are taken from bytes {where} ({whose} X and Y), which vary; those at bytes "
        "181,185 do not. --coordinate-bytes names other places, or none."
    ]


def _none_notes(traces: Traces, placement: Placement) -> list[str]:
    """Say that no coordinates are stored although 181,185 could hold some, and which other fields vary."""
    fields = [(word.byte, word.type) for word in placement.words if word.byte]
    if _taken(_CDP, fields):
        return []
    standard = traces.read(_CDP, INTEGER)
    same = f"{standard.lows[0]:g} and {standard.lows[1]:g}"
    others = [
        f"{places[0]},{places[1]}"
        for places in PLACES[1:]
        if not _taken(places, fields) and _typed(traces, places, ()).varies
    ]
    way = (
        f"bytes {' and '.join(others)} vary: say which hold them"
        if others
        else "if they lie elsewhere say where"
    )
    return [
        f"No coordinates are stored: those at bytes 181,185 are the same in every trace that was looked at ({same}); "
        f"{way} with --coordinate-bytes."
    ]


def _span(reading: PairReading, axis: int) -> str:
    return f"{reading.lows[axis]:.10g} to {reading.highs[axis]:.10g}"


def coordinates_before(headers: np.ndarray, fields: Sequence[int], byte_order: str) -> tuple[int, ...]:
    """Return the coordinate fields that earlier versions used, so that volumes made by them are recognised.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240 or more).
        fields: First bytes of the index fields.
        byte_order: '>' or '<', of the file.
    """
    if not overlap(_CDP, fields):
        return _CDP
    if overlap(STANDARD, fields):
        return ()
    pairs = np.stack([word(headers, byte, INTEGER, byte_order) for byte in STANDARD], axis=1)
    different = len(np.unique(pairs, axis=0))
    return STANDARD if different > 1 and 2 * different > len(headers) else ()

"""Text headers of images: fields, read line by line in one pass, numbers, and positions."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tasks.volume.images.header import Slices, Voxels, time_unit_of
from tasks.volume.limits import DIMENSIONS, HEADER_LINES, LINE_BYTES
from tasks.volume.outcomes import InputRefused

SHOWN = 60  # letters of a value in a refusal


def shown(text: str) -> str:
    """Return a value as it may stand in a sentence: cut short, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:SHOWN])


def lines_of(head: bytes, where: str) -> Iterator[tuple[str, int]]:
    """Yield each line of a header without its end, and the offset behind it.

    Args:
        head: The first bytes of a file; lines end in LF or CR LF.
        where: The file, for people.

    Raises:
        InputRefused: The header has too many lines, or a line that is too long.
    """
    at = 0
    for _ in range(HEADER_LINES):
        if at >= len(head):
            return
        end = head.find(b"\n", at, at + LINE_BYTES + 1)
        if end < 0 and len(head) - at > LINE_BYTES:
            raise InputRefused(
                f"line {head.count(10, 0, at) + 1} of the header of {where} is longer than {LINE_BYTES:,} bytes; it is "
                "damaged, or another file"
            )
        stop = end if end >= 0 else len(head)
        after = min(stop + 1, len(head))
        yield head[at:stop].decode("utf-8", "replace").removesuffix("\r"), after
        at = after
    raise InputRefused(
        f"the header of {where} has more than {HEADER_LINES:,} lines; it is damaged, or another file"
    )


def nrrd_fields(head: bytes, where: str) -> tuple[dict[str, str], int]:
    """Return the fields of an NRRD header by name, in lower case without blanks, and the offset behind it.

    The offset is -1 where no blank line ends the header, as in a detached one.
    """
    fields: dict[str, str] = {}
    for line, after in lines_of(head, where):
        if not line:
            return fields, after
        name, colon, value = line.partition(":")
        if colon and not set(name) & set("#=") and not value.startswith("="):
            fields[name.lower().replace(" ", "")] = value.strip()
    return fields, -1


def meta_fields(head: bytes, where: str) -> tuple[dict[str, str], int]:
    """Return the fields of a MetaImage header by name in lower case, and the offset behind ElementDataFile, its last.

    Raises:
        InputRefused: There is no such field.
    """
    fields: dict[str, str] = {}
    for line, after in lines_of(head, where):
        name, equals, value = line.partition("=")
        if equals:
            fields[name.strip().lower()] = value.strip()
            if name.strip() == "ElementDataFile":
                return fields, after
    raise InputRefused(
        f"{where} is a MetaImage header without ElementDataFile; it was cut off, or is another file"
    )


def numbers(text: str, kind: Any, where: str) -> tuple[Any, ...]:
    """Return the numbers in a value, separated by blanks.

    Raises:
        InputRefused: The value holds anything but numbers, or more numbers than an array has dimensions.
    """
    try:
        found = tuple(kind(part) for part in text[:4096].split())
    except ValueError:
        found = None
    if found is None or len(found) > DIMENSIONS or len(text) > 4096:
        raise InputRefused(f"the header of {where} has {text[:SHOWN]!r} where numbers belong") from None
    return found


def number(text: str, where: str) -> int:
    """Return the whole number that a value is.

    Raises:
        InputRefused: The value is not a whole number.
    """
    found = numbers(text, int, where)
    if len(found) != 1:
        raise InputRefused(f"the header of {where} has {text[:SHOWN]!r} where a number belongs")
    return int(found[0])


def in_brackets(text: str, opening: str, closing: str) -> list[str]:
    """Return the texts between each opening mark and the next closing one, in one pass."""
    parts = []
    at = text.find(opening)
    while at >= 0 and (end := text.find(closing, at + 1)) >= 0:
        parts.append(text[at + 1 : end])
        at = text.find(opening, end + 1)
    return parts


def place(length: tuple[float, ...], unit: str, origin: tuple[float, ...]) -> Voxels:
    """Return lengths and origin of voxels along three axes; empty if they are not valid.

    A negative length means that the axis runs in the opposite direction: its absolute value is taken, without origin.
    """
    if len(length) != 3 or not all(math.isfinite(x) and x for x in length):
        return Voxels()
    if min(length) < 0:
        note = "the header gives negative voxel lengths; their amounts were taken, and the voxels stay as they are"
        return Voxels(tuple(map(abs, length)), unit, (), (note,))
    known = len(origin) == 3 and all(map(math.isfinite, origin))
    return Voxels(length, unit, origin if known else ())


def timed(slices: Slices, step: float, unit: str) -> Slices:
    """Return slices with their time step and a note about it; unchanged if there is no time step.

    Args:
        slices: The slices.
        step: Distance as the file has it; what is not above 0, or a bare 1, is none.
        unit: Its unit as the file has it.
    """
    if "t" not in dict(slices.planes) or not (math.isfinite(step) and step > 0) or (step, unit) == (1.0, ""):
        return slices
    known = time_unit_of(unit)
    words = f"{step:g} {known or (unit and shown(unit))}".strip()
    note = f"the times lie {words} apart" + ("" if known else ", in a unit that is not known")
    voxels = replace(slices.voxels, notes=(*slices.voxels.notes, note))
    return replace(slices, voxels=voxels, time_step=step, time_unit=known)

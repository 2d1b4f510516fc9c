"""Decide the voxel lattice from parameters and files, and write it as RockVerse's attributes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks.parameters import Image
from tasks.volume.images.header import Voxels
from tasks.volume.images.series import TOLERANCE, distance_of
from tasks.volume.outcomes import InputRefused

_MOST_NOTES = 20
AXES = ("z", "y", "x")
ROCKVERSE = (
    "_ROCKVERSE_DATATYPE",
    "description",
    "field_name",
    "field_unit",
    "voxel_unit",
    "voxel_origin",
    "voxel_length",
)
RESERVED = {*AXES, "pyramid", "labels", "c", "trace_mask"}


def agreed(voxels: Sequence[Voxels]) -> Voxels:
    """Return the voxel spacing that the files of a stack state, if they agree on the lengths.

    Files of single slices may each have an origin of their own; their distance along z is then that of the slices.
    """
    distinct = list(dict.fromkeys(voxels))
    if len(distinct) == 1:
        return distinct[0]
    lengths = list(dict.fromkeys((entry.length, entry.unit) for entry in distinct))
    notes = tuple(dict.fromkeys(note for entry in distinct for note in entry.notes))[:_MOST_NOTES]
    if len(lengths) > 1:
        known = [
            f"{' x '.join(f'{x:g}' for x in length) or 'none'} {unit}".strip() for length, unit in lengths
        ]
        return Voxels(
            notes=(
                *notes,
                f"the files give {len(lengths)} voxel lengths ({', '.join(known[:3])}); none was taken",
            )
        )
    first = replace(voxels[0], notes=notes)
    origins = [entry.origin for entry in voxels]
    step = distance_of([origin[0] for origin in origins]) if all(origins) else None
    if step is None or any(origin[1:] != origins[0][1:] for origin in origins):
        return replace(first, origin=(), notes=(*notes, "the files' origins are not a row; none was taken"))
    if abs(abs(step) - first.length[0]) > TOLERANCE * abs(step):
        note = (
            f"the slices lie {abs(step):g} apart by their origins, and {first.length[0]:g} by their headers; "
            f"{abs(step):g} was taken"
        )
        first = replace(first, length=(round(abs(step), 9), *first.length[1:]), notes=(*notes, note))
    return first if step > 0 else replace(first, origin=())


def chosen(own: Voxels, beside: Voxels) -> Voxels:
    """Return the voxel spacing from a file beside the images if there is one, else from the images."""
    if beside.length:
        return replace(beside, notes=(*(() if own.length else own.notes), *beside.notes))
    return replace(own, notes=(*own.notes, *beside.notes))


def place_of(image: Image, voxels: Voxels) -> Voxels:
    """Length, unit and origin of the voxels, complete.

    Args:
        image: The user's parameters; what they leave open is taken from the files.
        voxels: The lattice that the files state.

    Raises:
        InputRefused: A parameter is no length or place, or contradicts the files.
    """
    length = tuple(image.voxel_length) * (3 if len(image.voxel_length) == 1 else 1)
    if length and (len(length) != 3 or not all(math.isfinite(x) and x > 0 for x in length)):
        raise InputRefused(
            f"voxel_length {list(image.voxel_length)} is not a distance along z, y and x; give three positive numbers"
        )
    origin = tuple(image.voxel_origin)
    if origin and (len(origin) != 3 or not all(math.isfinite(x) for x in origin)):
        raise InputRefused(f"voxel_origin {list(origin)} is not a position; give three numbers, z, y and x")
    given = {"auto": "", "none": ""}.get(image.voxel_unit, image.voxel_unit)
    if not length and given and voxels.length and voxels.unit and voxels.unit != given:
        raise InputRefused(
            f"the files give the voxel length as {voxels.length} {voxels.unit}, but the unit asked for is {given}; "
            "give voxel_length too"
        )
    from_files = not length and bool(voxels.length)
    unit = voxels.unit if from_files and image.voxel_unit == "auto" else given
    length = length or voxels.length or (1.0, 1.0, 1.0)
    return Voxels(length, unit, origin or (voxels.origin if from_files else ()) or (0.0, 0.0, 0.0))


def calibration_of(image: Image, voxels: Voxels, place: Voxels) -> str:
    """Return the sentence that says where the voxel length comes from.

    Args:
        image: The user's parameters.
        voxels: The lattice that the files state.
        place: Position that was made from both.
    """
    lengths = " x ".join(f"{x:.6g}" for x in place.length)
    unit = place.unit or "(no unit)"
    if image.voxel_length:
        return f"voxel length (z, y, x): {lengths} {unit}, as given by --voxel-length"
    if voxels.length:
        return f"voxel length (z, y, x): {lengths} {unit}, taken from {voxels.taken or 'the headers of the files'}"
    return (
        f"no voxel length was found in the files or beside them: it is {lengths} {unit}; give --voxel-length and "
        "--voxel-unit if you know them"
    )


def field_of(image: Image) -> str:
    """Return the path of the master.

    Raises:
        InputRefused: The name means something else in a volume.
    """
    if image.field_name in RESERVED or image.field_name.startswith("fast_"):
        raise InputRefused(
            f"the field cannot be named {image.field_name}: that name is taken in a volume; choose another"
        )
    return image.field_name


def rockverse_attributes(
    image: Image | dict[str, Any], length: Sequence[float], unit: str, origin: Sequence[float]
) -> dict[str, Any]:
    """Return RockVerse's seven attributes of a voxel image; lengths and origin in the order of the array's axes.

    Source: RockVerse 1.2, voxel_image.create. It calls the first axis x, whichever it is.
    """
    fields = image.model_dump() if isinstance(image, Image) else image
    return {
        "_ROCKVERSE_DATATYPE": "VoxelImage",
        "description": fields["description"],
        "field_name": fields["field_name"],
        "field_unit": fields["field_unit"],
        "voxel_unit": unit,
        "voxel_origin": list(origin),
        "voxel_length": list(length),
    }

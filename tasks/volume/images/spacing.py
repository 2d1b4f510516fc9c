"""Where voxels lie, from the parameters and the files, and the attributes that say it to RockVerse."""

import math
from collections.abc import Sequence
from typing import Any

from tasks.parameters import Image
from tasks.volume.images.header import Voxels
from tasks.volume.outcomes import InputRefused

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


def place_of(image: Image, said: Voxels) -> Voxels:
    """Length, unit and origin of the voxels, complete.

    Args:
        image: The user's parameters; what they leave open is taken from the files.
        said: What the files say.

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
        raise InputRefused(f"voxel_origin {list(origin)} is not a place; give three numbers, z, y and x")
    given = {"auto": "", "none": ""}.get(image.voxel_unit, image.voxel_unit)
    if not length and given and said.length and said.unit and said.unit != given:
        raise InputRefused(
            f"the files give the voxel length as {said.length} {said.unit}, but the unit asked for is {given}; "
            "give voxel_length too"
        )
    from_files = not length and bool(said.length)
    unit = said.unit if from_files and image.voxel_unit == "auto" else given
    length = length or said.length or (1.0, 1.0, 1.0)
    return Voxels(length, unit, origin or (said.origin if from_files else ()) or (0.0, 0.0, 0.0))


def calibration_of(image: Image, said: Voxels, place: Voxels) -> str:
    """Return the sentence that says where the voxel length comes from.

    Args:
        image: The user's parameters.
        said: What the files say.
        place: What was made of both.
    """
    lengths = " x ".join(f"{x:.6g}" for x in place.length)
    unit = place.unit or "(no unit)"
    if image.voxel_length:
        return f"voxel length (z, y, x): {lengths} {unit}, as given by --voxel-length"
    if said.length:
        return (
            f"voxel length (z, y, x): {lengths} {unit}, taken from {said.taken or 'the headers of the files'}"
        )
    return (
        f"no voxel length was found in the files or beside them: it is {lengths} {unit}; give --voxel-length and "
        "--voxel-unit if you know them"
    )


def field_of(image: Image) -> str:
    """Path of the master.

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
    """RockVerse's seven attributes of a voxel image; lengths and origin in the order of the array's axes.

    Source: RockVerse 1.2, voxel_image.create. It calls the first axis x, whichever it is.
    """
    said = image.model_dump() if isinstance(image, Image) else image
    return {
        "_ROCKVERSE_DATATYPE": "VoxelImage",
        "description": said["description"],
        "field_name": said["field_name"],
        "field_unit": said["field_unit"],
        "voxel_unit": unit,
        "voxel_origin": list(origin),
        "voxel_length": list(length),
    }

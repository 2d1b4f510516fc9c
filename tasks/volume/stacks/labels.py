"""Labels of an image: their URL, and a check that they fit the image. `protocol.label_list` lists them in the group."""

import math
import re
from typing import Any

from tasks.parameters import Image, StorageOptions
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.arrays.volume_root import LABELS
from tasks.volume.images.header import METERS, Voxels
from tasks.volume.images.stack import Stack
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.place import refuse_taken
from tasks.volume.store.objects import Store

TO_IMAGE = "../../"  # from a label volume to its image, as OME-Zarr writes it
FIELD = "label"  # name of the array where no other is given
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_ALIKE = 1e-6  # of a length


def volume_of_labels(volume: str, labels_of: str) -> str:
    """Return the URL of a label volume.

    Args:
        volume: A name, or the whole URL; any URL where `labels_of` is empty.
        labels_of: URL of the image.

    Raises:
        DestinationRefused: The place is not labels/NAME of the image.
    """
    if not labels_of:
        return volume
    image = Store(labels_of).url
    name = volume if "/" not in volume else volume.rstrip("/").rpartition("/")[2]
    place = f"{image}/{LABELS}/{name}"
    if "/" in volume and Store(volume).url.rstrip("/") != place:
        raise DestinationRefused(
            f"labels of {image} lie in {image}/{LABELS}, but {volume} is named for them; name {place}, or only {name}"
        )
    if not _NAME.fullmatch(name) or name == "c":
        raise DestinationRefused(
            f"labels cannot be named {name!r}; give a name of letters, digits, _, - and . that begins with a letter"
        )
    return place


def image_to_label(labels_of: str, options: StorageOptions) -> Volume:
    """Return the volume whose labels are to be written.

    Raises:
        InputRefused: The volume holds no images, or holds labels itself.
        DestinationRefused: It has a group of labels that another program wrote.
    """
    image = open_volume(Store(labels_of, options))
    if not image.of_images:
        raise InputRefused(
            f"{image.store.url} is a survey, and labels belong to images; name a volume of images"
        )
    if image.state.looks.is_labels:
        raise InputRefused(f"{image.store.url} holds labels itself; name the volume of the image")
    refuse_taken(image.store, image.root, [LABELS])
    return image


def place_in_image(stack: Stack, place: Voxels, asked: Image, image: Volume) -> Voxels:
    """Return the voxel positions of labels, which are the image's.

    Args:
        stack: The labels.
        place: Position from parameters and files.
        asked: The parameters.
        image: The image.

    Raises:
        InputRefused: The number of labels or the given lengths are not those of the image.
    """
    spec, about = image.spec(image.master), image.array_attributes(image.master)
    if stack.shape != spec.shape[-3:]:
        raise InputRefused(
            f"the labels have {_by(stack.shape)} voxels, but the image {image.store.url} has {_by(spec.shape[-3:])}; "
            "labels have the voxels of their image"
        )
    length, origin = tuple(about["voxel_length"]), tuple(about["voxel_origin"])
    unit = str(about["voxel_unit"])
    given = bool(asked.voxel_length) and not _alike(place.length, place.unit or unit, length, unit)
    if given or (asked.voxel_origin and tuple(asked.voxel_origin) != origin):
        raise InputRefused(
            f"the image {image.store.url} has voxels of {_by(length)} {unit} with the origin {_by(origin, ', ')}, but "
            "other values were given for the labels; leave out --voxel-length and --voxel-origin"
        )
    return Voxels(length, unit, origin)


def in_image(place: Voxels, image: Volume) -> str:
    """Return the sentence on the voxel length of labels."""
    unit = place.unit or "(no unit)"
    return f"voxel length (z, y, x): {_by(place.length)} {unit}, as of the image {image.store.url}"


def _alike(length: tuple[float, ...], unit: str, other: tuple[float, ...], other_unit: str) -> bool:
    """Return whether lengths in their units are equal."""
    factor = METERS[unit] / METERS[other_unit] if unit and other_unit else 1.0
    return all(math.isclose(a * factor, b, rel_tol=_ALIKE) for a, b in zip(length, other, strict=True))


def _by(values: tuple[Any, ...], between: str = " x ") -> str:
    return between.join(f"{value:.6g}" for value in values)

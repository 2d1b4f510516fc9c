"""Choose the image of a TIFF file, and the axis that is its depth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.volume.images.descriptions import ome_counts, ome_images
from tasks.volume.images.text_header import shown
from tasks.volume.outcomes import InputRefused

_SHOWN = 5


@dataclass(frozen=True)
class Chosen:
    """The image that is meant.

    Attributes:
        described: For OME, the XML about it.
        counts: Numbers of slices Z, channels C and times T, where OME gives them.
        pages: Numbers of its pages; None: all.
    """

    described: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    pages: range | None = None


def choose_image(tiff: Any, description: str, wanted: int, where: str) -> Chosen:
    """Return the image that is to be read of a file that may hold several.

    Args:
        tiff: tifffile's `TiffFile`.
        description: Description of the first page.
        wanted: Number of the image, from 0; -1: the only one.
        where: The file, for people.

    Raises:
        InputRefused: The file holds several images and none was chosen, or no image has the number.
    """
    images = ome_images(description) if tiff.is_ome else []
    if wanted >= max(1, len(images)):
        raise InputRefused(
            f"{where} holds {max(1, len(images))} images, counted from 0; there is no image {wanted}"
        )
    if not images:
        return Chosen()
    if len(images) > 1 and wanted < 0:
        names = ", ".join(
            f"{number}: {shown(name) or 'without a name'} {_shape(part)}"
            for number, (name, part) in enumerate(images[:_SHOWN])
        )
        raise InputRefused(
            f"{where} holds {len(images)} images ({names}{', …' if len(images) > _SHOWN else ''}); choose "
            "one, such as "
            "with --image 0"
        )
    number = max(0, wanted)
    all_counts = [ome_counts(part) for _, part in images]
    planes = [count["Z"] * count["C"] * count["T"] for count in all_counts]
    first = all_counts[number]["first"]
    begin = first if first >= 0 else sum(planes[:number])
    kept = {name: all_counts[number][name] for name in "ZCT"}
    pages = range(begin, begin + planes[number]) if len(images) > 1 else None
    return Chosen(images[number][1], kept, pages)


def axes_of(
    counted: Mapping[str, int], order: str, samples: int, where: str
) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Return the axes of successive pages, slowest first, and notes; no axes if there is only z.

    If only one of channels, times and slices is above 1 it is the depth: writers use any of these names for a third
    axis of unknown meaning.

    Args:
        counted: Channels C, times T and slices Z, or `images` in all, as the file describes them.
        order: The same axes, slowest first.
        samples: Values per voxel, which are the channels where they are several.
        where: The file, for people.

    Raises:
        InputRefused: Voxels have several values, and pages are channels, too.
    """
    channels, times, depth = (max(1, counted.get(name, 1)) for name in "CTZ")
    if (
        samples > 1 and channels % samples == 0 and "images" not in counted
    ):  # OME counts them among the channels
        channels //= samples
    if "Z" not in counted and (channels > 1 or times > 1):  # ImageJ counts images in all
        depth = max(1, counted.get("images", 1) // (channels * times))
    if samples > 1 and channels > 1 and max(times, depth) > 1:
        raise InputRefused(
            f"{where} holds {channels} channels of {samples} values per voxel each; save a single channel"
        )
    if (channels > 1) + (times > 1) + (depth > 1) > 1:
        counts = {"C": channels, "T": times, "Z": depth}
        return tuple((axis.lower(), counts[axis]) for axis in order), ()
    if channels > 1:
        return (), (
            f"what the file calls {channels} channels was taken as its slices, because it has no other",
        )
    if times > 1:
        return (), (f"what the file calls {times} times was taken as its slices, because it has no other",)
    return (), ()


def _shape(part: str) -> str:
    counted = ome_counts(part)
    return f"({counted['C']} channels, {counted['T']} times, {counted['Z']} slices)"

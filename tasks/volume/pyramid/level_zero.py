"""Decide whether level 0 of an image is copied into a new group with its levels, and the notes on it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.parameters import Copies, Copy
from tasks.volume.arrays.group_metadata import exact_copy
from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.level_names import is_elsewhere
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.store.objects import locate

BASE = "full"  # the copy of level 0; names of copies begin with a letter


@dataclass(frozen=True)
class LevelZero:
    """Level 0 of levels.

    Attributes:
        copies: The lossless copy that it can be.
        is_copied: Whether it is to be copied.
        notes: Notes on it.
    """

    copies: Copies
    is_copied: bool = False
    notes: tuple[str, ...] = ()


def level_zero(opened: Volume, specs: Sequence[ArraySpec], url: str, array: str, *, leave: bool) -> LevelZero:
    """Return whether level 0 is copied, and notes on it.

    It is copied into a new group where axes t, c, z, y, x make an image of it: not beside levels that were made
    without it, nor of what xarray opens, where sizes of one dimension must agree.

    Args:
        opened: The volume, or the array of another tool.
        specs: The array and its levels, finest first.
        url: The volume, or the group of the array, as it was given.
        array: Path of the array, as it was given.
        leave: Whether the user asked not to copy it.
    """
    chunks = list(specs[-1].chunks)
    copies = Copies(presets=[], more=[Copy(name=BASE, chunks=chunks)], quality="lossless")
    annex = opened.state.annex
    if not (opened.root.is_annex and is_elsewhere(annex.array)) or exact_copy(opened.root):
        return LevelZero(copies)
    most = f"up to {specs[0].raw_bytes:,} bytes"
    is_image = bool(annex.axes) and {axis["name"] for axis in annex.axes} <= set("tczyx")
    if is_image and not leave and len(specs) > 1 and PYRAMID not in opened.state.stages:
        return LevelZero(copies, True, (f"level 0 is copied from {annex.array}: {most}",))
    source = [locate(url).url, *(["--array", array] if array else [])]
    copy = ["--copy", f"{BASE}={','.join(map(str, chunks))}", "--presets", "", "--quality", "lossless"]
    command = shlex.join(["seismill", "rechunk", *source, "--target", opened.store.url, *copy])
    return LevelZero(
        copies,
        False,
        (
            f"{opened.store.url} has the coarser levels only. For viewers that need level 0 there ({most}): {command}",
        ),
    )

"""Channels and times of an image: how viewers show channels, and the coordinates along these axes."""

from collections.abc import Sequence
from typing import Any

from tasks.volume.images.header import Slices
from tasks.volume.images.stack import Stack
from tasks.volume.protocol.ledger import Record
from tasks.volume.stacks.block import quantiles

SHOWN = (0.01, 0.99)  # of all voxels: the window that viewers open with
_COLOURS = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF0000", "0000FF")  # of channels without one, in turn
_OF_SAMPLES = {
    2: (("gray", "FFFFFF"), ("alpha", "FFFFFF")),
    3: (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF")),
    4: (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"), ("alpha", "FFFFFF")),
}


def full(values: Sequence[float], stack: Stack, usual: float) -> list[float]:
    """Return a number for each axis: the given ones for z, y and x, the default for axes before them."""
    return [usual] * len(stack.first.leading) + list(values)


def channels_of(stack: Stack, records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return label, colour and window of each channel; none for an image without channels.

    The three channels of a colour image have one window (0 to 255, or the range of all three), so that their
    mixture is the file's colour. Other channels have a window each.
    """
    counts = dict(stack.first.leading)
    if "c" not in counts:
        return []
    named = _named(stack.first, counts["c"])
    windows = [
        window_of([record.facts["channels"].get(str(c), []) for record in records]) for c in range(len(named))
    ]
    if stack.first.samples > 1:
        colours = windows[: 3 if stack.first.samples > 2 else 1]
        known = [value for window in colours for value in window]
        same = [0.0, 255.0] if stack.dtype == "uint8" else [min(known), max(known)] if known else []
        windows = [same] * len(named)
    return [
        {"label": label, "color": colour, "active": label != "alpha", "window": window}
        for (label, colour), window in zip(named, windows, strict=True)
    ]


def window_of(blocks: Sequence[Sequence[float]]) -> list[float]:
    """Return the two values between which most voxels lie; empty if none is finite."""
    pooled = [value for block in blocks for value in block]
    return quantiles(pooled, SHOWN) if pooled else []


def _named(slices: Slices, count: int) -> list[tuple[str, str]]:
    """Return name and colour of each channel, as the file gives them or as usual."""
    if slices.samples in _OF_SAMPLES:
        return list(_OF_SAMPLES[slices.samples])
    given = [*slices.channels, *[("", "")] * count][:count]
    return [
        (name or f"channel {number}", colour or _COLOURS[number % len(_COLOURS)])
        for number, (name, colour) in enumerate(given)
    ]

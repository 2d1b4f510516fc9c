"""Pictures of slices as PNG: the master, and each copy with its differences, as geophysicists expect them.

Samples become pixels here, by the mean over the samples of each pixel, so that a NaN or a missing trace does not
spread as it does through an interpolation. Positions on a page are in inches, from the lower left.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tasks.volume.report.look import NO_TRACE, SEISMIC_STOPS, Look, Rgb
from tasks.volume.report.sheet import DPI, LEFT, Picture, Sheet, picture
from tasks.volume.report.slices import Side, View

CLIP_PERCENT = 99.0  # of the samples lie within the colours
_PANEL, _PANEL_TALL = 3.1, 2.7  # of a panel of three
_ALONE, _ALONE_TALL = 8.2, 4.8  # of the master
_BETWEEN, _BAR = 0.4, 0.75  # between panels, for a colour bar and its labels
_HEAD, _ABOVE, _BELOW = 0.5, 0.52, 0.5  # for the title, for a panel's titles, for its axis
_PALE = 90
_SHORT = {"angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm"}
_SHORT |= {"meter": "m", "inch": "in"}

Box = tuple[float, float, float, float]  # left, bottom, width, height


def _colours(*stops: str) -> np.ndarray:
    """255 colours (an odd number: zero is the middle one) through evenly spaced stops, uint8, shape (255, 3)."""
    known = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops])
    places = np.linspace(0, len(stops) - 1, 255)
    return np.stack([np.interp(places, range(len(stops)), channel) for channel in known.T], axis=1).astype(
        np.uint8
    )


SEISMIC = _colours(*SEISMIC_STOPS)
GREY = _colours("#000000", "#ffffff")
# From 0: sums and distances of such values are floats, too.
FARTHEST = float(np.finfo(np.float64).max) / 4096
NOT_FINITE = (242, 194, 0)


def colour_scale(values: np.ndarray, look: Look = Look()) -> tuple[float, float]:
    """Return the values at both ends of the colour scale: symmetric about 0 for signed values, else from low to high.

    99 % of the values lie within. Always increasing, whatever the values; they are finite. Images have their window.
    """
    low, high = _colour_scale(values, look)
    return max(low, -FARTHEST), min(high, FARTHEST)


def _colour_scale(values: np.ndarray, look: Look) -> tuple[float, float]:
    if look.window is not None:
        return look.window
    if values.size == 0:
        return -1.0, 1.0
    if values.dtype.kind == "u" or look.voxels:
        low, high = (float(v) for v in np.percentile(values, [100 - CLIP_PERCENT, CLIP_PERCENT]))
        return (low, high) if high > low else (low, low + max(1.0, float(np.spacing(abs(low)))))
    size = np.abs(values, dtype=np.float64)
    # A slice that is nearly all zeros is shown by the samples that are not.
    end = float(np.percentile(size, CLIP_PERCENT)) or float(size.max())
    return (-end, end) if end else (-1.0, 1.0)


def draw_views(name: str, title: str, views: Sequence[View], look: Look = Look()) -> Picture:
    """Return the master of the first view, and below it one row for each copy: copy, difference, difference enlarged.

    A copy and the first difference have the colour scale of the master; the enlarged difference has its own.
    """
    first, copies = views[0], [view for view in views if view.copy is not None]
    low, high = colour_scale(first.master[np.isfinite(first.master) & first.live], look)
    colours = GREY if first.master.dtype.kind == "u" or look.voxels else SEISMIC
    wide, tall = _size(first, _ALONE, _ALONE_TALL)
    rows = [_size(view, _PANEL, _PANEL_TALL) for view in copies]
    height = _HEAD + _ABOVE + tall + _BELOW + sum(row[1] + _ABOVE + _BELOW for row in rows)
    across = max([wide + _BAR, *(3 * row[0] + _BETWEEN + 2 * _BAR for row in rows)])
    sheet = Sheet.of(max(LEFT + across, 5.0), height)
    sheet.write(0.15, height - 0.12, title, 13, anchor="la", bold=True)
    bottom = height - _HEAD - _ABOVE - tall
    box = (LEFT, bottom, wide, tall)
    _panel(sheet, first, first.master, box, colours, low, high, first.master_title, look.labels)
    _down_labels(sheet, first, box)
    if look.labels:
        _label_colours(sheet, look, (LEFT + wide + 0.12, bottom, tall))
    else:
        _colour_bar(sheet, (LEFT + wide + 0.1, bottom, tall), colours, low, high)
    if look.voxels:
        _scale_bar(sheet, first, look, box)
    for view, size in zip(copies, rows, strict=True):
        bottom -= _BELOW + _ABOVE + size[1]
        _copy_row(sheet, view, (bottom, *size), colours, (low, high), look)
    return picture(name, sheet.rendered(), min(height, _HEAD + _ABOVE + tall + _BELOW))


def _copy_row(
    sheet: Sheet,
    view: View,
    place: tuple[float, float, float],
    colours: np.ndarray,
    ends: tuple[float, float],
    look: Look,
) -> None:
    """Draw a copy, its difference at the master's scale, and enlarged; `place` is bottom, width and height."""
    assert view.copy is not None
    bottom, wide, tall = place
    difference, end, words = _difference(view)
    half = (ends[1] - ends[0]) / 2
    second, third = LEFT + wide + _BETWEEN, LEFT + 2 * wide + _BETWEEN + _BAR
    box = (LEFT, bottom, wide, tall)
    _panel(sheet, view, view.copy, box, colours, *ends, view.copy_title, look.labels)
    _down_labels(sheet, view, box)
    less = f"{view.copy_title[0]} \N{MINUS SIGN} {view.master_title[0]}"
    heading = (less, f"at the scale of {view.master_title[0]}: ±{_rounded(half)}")
    _panel(sheet, view, difference, (second, bottom, wide, tall), SEISMIC, -half, half, heading)
    _colour_bar(sheet, (second + wide + 0.1, bottom, tall), SEISMIC, -half, half)
    _panel(sheet, view, difference, (third, bottom, wide, tall), SEISMIC, -end, end, ("enlarged", words))
    _colour_bar(sheet, (third + wide + 0.1, bottom, tall), SEISMIC, -end, end)


def _size(view: View, wide: float, most: float) -> tuple[float, float]:
    """Width and height of a panel that is at most `wide` and `most` high."""
    if view.ratio is None:
        return wide, min(wide * 1.1, most)
    tall = min(wide / view.ratio, most)
    # At least a pixel or two, of an image that is thin.
    return max(tall * view.ratio, 0.04), max(tall, 0.04)


def _difference(view: View) -> tuple[np.ndarray, float, str]:
    """Return copy minus master as float64, the end of its colour scale, and the caption."""
    assert view.copy is not None
    with np.errstate(invalid="ignore"):  # Inf - Inf where the master is not finite
        difference = view.copy.astype(np.float64) - view.master.astype(np.float64)
    seen = difference[np.isfinite(difference) & view.live]
    end = colour_scale(seen)[1]
    largest = float(np.abs(seen).max()) if seen.size else 0.0
    if not largest:
        return difference, end, "none: all values shown are equal"
    return difference, end, f"±{_rounded(end)}; largest here {_rounded(largest)}"


def _rounded(value: float) -> str:
    """Return a number with three significant digits, without an exponent where people would not write one."""
    return f"{float(f'{value:.3g}'):,.10g}"


def pixels_of(
    values: np.ndarray, live: np.ndarray, shape: tuple[int, int], colours: np.ndarray, low: float, high: float
) -> np.ndarray:
    """Return an image of (rows, columns) pixels, uint8 RGB: each the mean of its samples, clipped to low and high.

    Pixels that hold any NaN or Inf of a live trace are yellow; those with a majority of cells without a trace
    grey.
    """

    def shrunk(part: np.ndarray) -> np.ndarray:
        plain = Image.fromarray(np.ascontiguousarray(part, np.float32))
        return np.asarray(plain.resize(shape[::-1], Image.Resampling.BOX))

    finite = np.isfinite(values)
    shown = finite & live
    share = shrunk(shown) if not shown.all() else None
    # From 0 to 1 before they become float32, so that neither huge nor tiny amplitudes leave its range.
    places = (np.clip(values.astype(np.float64, copy=False), low, high) - low) / (high - low)
    means = shrunk(places) if share is None else shrunk(np.where(shown, places, 0)) / np.maximum(share, 1e-6)
    pixels = colours.take((np.clip(means, 0, 1) * (len(colours) - 1) + 0.5).astype(np.uint8), axis=0)
    if share is not None:
        pixels[share < 0.5] = NO_TRACE
        spoilt = live & ~finite
        if spoilt.any():
            pixels[shrunk(spoilt) > 0] = NOT_FINITE
    return pixels


def pixels_of_labels(values: np.ndarray, shape: tuple[int, int], labels: Mapping[int, Rgb]) -> np.ndarray:
    """Return (rows, columns) pixels, uint8 RGB: each has the colour of the label in its middle; white is no label."""
    rows, columns = (
        ((np.arange(n) + 0.5) * have / n).astype(int) for n, have in zip(shape, values.shape, strict=True)
    )
    shown = values[np.ix_(rows, columns)]
    known = np.array(sorted(labels))
    colours = np.array([labels[int(value)] for value in known], np.uint8)
    at = np.clip(np.searchsorted(known, shown), 0, len(known) - 1)
    return np.where((known[at] == shown)[..., np.newaxis], colours[at], np.uint8(255))


def _panel(
    sheet: Sheet,
    view: View,
    values: np.ndarray,
    box: Box,
    colours: np.ndarray,
    low: float,
    high: float,
    title: tuple[str, str],
    labels: Mapping[int, Rgb] | None = None,
) -> None:
    """Draw one image with its titles and the ticks of both axes."""
    left, bottom, wide, tall = box
    shape = (max(1, round(tall * DPI)), max(1, round(wide * DPI)))
    if labels and values.dtype.kind in "iu":
        pixels = pixels_of_labels(values, shape, labels)
    else:
        # Where the master is not finite the difference is not either, but the copy holds 0.
        values = values if values is view.master else np.where(np.isfinite(view.master), values, np.nan)
        pixels = pixels_of(values, view.live, shape, colours, low, high)
    sheet.paste(left, bottom, pixels[::-1] if view.upward else pixels)
    sheet.write(left, bottom + tall + 0.22, f"{title[0]} (detail)" if view.detail else title[0], 10)
    sheet.write(left, bottom + tall + 0.06, title[1], 7.5, grey=_PALE)
    for place, text in _ticks(view.across.values, max(2, int(wide * 1.6))):
        x = left + place * wide
        sheet.tick(x, bottom, 0, -0.04)
        sheet.write(x, bottom - 0.06, text, anchor="ma")
    sheet.write(left + wide / 2, bottom - 0.23, _label(view.across), 8.5, anchor="ma")


def _down_labels(sheet: Sheet, view: View, box: Box) -> None:
    """Draw the vertical coordinates, left of the first panel of a row."""
    left, bottom, _, tall = box
    for place, text in _ticks(view.down.values, max(2, int(tall * 2))):
        y = bottom + tall * (place if view.upward else 1 - place)
        sheet.tick(left, y, -0.04, 0)
        sheet.write(left - 0.07, y, text, anchor="rm")
    sheet.write(left - 0.55, bottom + tall / 2, _label(view.down), 8.5, upright=True)


def _label(side: Side) -> str:
    return f"{side.name} ({side.unit})" if side.unit else side.name


def _ticks(coordinates: np.ndarray, most: int) -> list[tuple[float, str]]:
    """Round coordinates, and where they lie among equally wide rows or columns, from 0 to 1."""
    values, count = coordinates.astype(np.float64), len(coordinates)
    if count == 1:
        return [(0.5, f"{values[0]:g}")]
    locator = MaxNLocator(
        nbins=min(most, 6), steps=[1, 2, 2.5, 5, 10], integer=coordinates.dtype.kind in "iu"
    )
    wanted = np.asarray(locator.tick_values(values[0], values[-1]))
    wanted = wanted[(wanted >= values[0]) & (wanted <= values[-1])]
    # Positions, not values, are even on the page: an axis with gaps is labelled rightly as well.
    places = (np.interp(wanted, values, np.arange(count)) + 0.5) / count
    return [(float(place), f"{value:g}") for place, value in zip(places, wanted, strict=True)]


def _colour_bar(
    sheet: Sheet, place: tuple[float, float, float], colours: np.ndarray, low: float, high: float
) -> None:
    """Colours from low to high with round numbers; `place` is left, bottom and height."""
    left, bottom, tall = place
    rows = np.linspace(len(colours) - 1, 0, max(1, round(tall * DPI))).round().astype(int)
    sheet.paste(left, bottom, np.repeat(colours[rows][:, np.newaxis], 10, axis=1))
    wanted = np.asarray(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    for value in wanted[(wanted >= low) & (wanted <= high)]:
        y = bottom + tall * (value - low) / (high - low)
        sheet.tick(left + 0.1, y, 0.03, 0)
        text = f"{value:.6g}".replace("-", "\N{MINUS SIGN}")
        sheet.write(left + 0.16, y, text, 7.5, anchor="lm")


def _label_colours(sheet: Sheet, look: Look, place: tuple[float, float, float]) -> None:
    """Draw the colour of each label, as many as fit; `place` is left, bottom and height."""
    left, bottom, tall = place
    room = max(1, int(tall / 0.2))
    names = sorted(look.labels)
    for number, value in enumerate(names[:room]):
        y = bottom + tall - 0.2 * number - 0.14
        sheet.paste(left, y, np.full((12, 12, 3), look.labels[value], np.uint8))
        sheet.write(left + 0.18, y + 0.06, str(value), 8, anchor="lm")
    if len(names) > room:
        sheet.write(left, bottom - 0.1, f"and {len(names) - room} more", 7.5, grey=_PALE)


def _scale_bar(sheet: Sheet, view: View, look: Look, box: Box) -> None:
    """Draw a bar of a round length under the right end of an image."""
    left, bottom, wide, _ = box
    values = view.across.values
    extent = abs(float(values[-1] - values[0])) * len(values) / max(1, len(values) - 1)
    if not extent or not look.unit:
        return
    steps = [base * 10.0**power for power in range(-12, 16) for base in (1, 2, 5)]
    length = max((step for step in steps if step <= extent / 3), default=extent / 3)
    inches = wide * length / extent
    pixels = np.zeros((4, max(1, round(inches * DPI)), 3), np.uint8)
    sheet.paste(left + wide - inches, bottom - 0.42, pixels)
    text = f"{length:g} {_SHORT.get(look.unit, look.unit)}"
    sheet.write(left + wide - inches / 2, bottom - 0.33, text, 8, anchor="md")

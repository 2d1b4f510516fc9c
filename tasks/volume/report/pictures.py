"""Pictures of slices as PNG: the master beside a copy and their difference, as a geophysicist looks at them.

Samples become pixels here, by the mean over the samples of each pixel, so that a NaN or a missing trace does not
spread as it does through an interpolation. matplotlib writes the text. Only its objects are used (a Figure on an
Agg canvas), never pyplot, whose current figure belongs to the whole process; one page is set at a time,
because text layout is not made for threads. Positions are in inches, from the lower left.
"""

import base64
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tasks.volume.report.slices import Side, View

DPI = 100
CLIP_PERCENT = 99.0  # of the samples lie within the colours
THUMBNAIL_BASE64_BYTES = 99_000  # Prefect shows a picture inline up to 100 kB
LEFT = 0.8  # for labels, on every page
_PANEL, _ALONE, _TALLEST = 3.7, 8.2, 5.4  # width of a panel of three, of one; most height of any
_BETWEEN, _BAR = 0.36, 0.93  # between panels, for a colour bar and its labels
_HEAD, _ABOVE, _BELOW = 0.5, 0.52, 0.55  # for the title, for a panel's titles, for its axis
_PALE = "0.35"
_LOCK = threading.Lock()


def _colours(*stops: str) -> np.ndarray:
    """255 colours (an odd number: zero is the middle one) through evenly spaced stops, uint8, shape (255, 3)."""
    known = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops])
    places = np.linspace(0, len(stops) - 1, 255)
    return np.stack([np.interp(places, range(len(stops)), channel) for channel in known.T], axis=1).astype(
        np.uint8
    )


# Dark at both ends, so that clipped amplitudes stand out.
SEISMIC = _colours("#0b1f5c", "#2b5fc1", "#a9c6ea", "#ffffff", "#f0b5a4", "#c8372d", "#5e0a12")
GREY = _colours("#000000", "#ffffff")
NO_TRACE, NOT_FINITE, FRAME = (200, 200, 200), (242, 194, 0), (60, 60, 60)


@dataclass(frozen=True)
class Picture:
    """A picture as a file, and a small one (base64) for places that show it in a line of text."""

    name: str
    png: bytes
    thumbnail: str


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A page being laid out: `blocks` of pixels are pasted over the text when it is done."""

    figure: Figure
    height: float
    blocks: list[tuple[float, float, np.ndarray]]
    ticks: list[list[tuple[float, float]]]

    def write(self, x: float, y: float, text: str, size: float = 8, **style: Any) -> None:
        self.figure.text(x, y, text, fontsize=size, transform=self.figure.dpi_scale_trans, **style)

    def paste(self, left: float, bottom: float, pixels: np.ndarray) -> None:
        self.blocks.append((left, bottom, pixels))

    def tick(self, x: float, y: float, dx: float, dy: float) -> None:
        self.ticks.append([(x, y), (x + dx, y + dy)])


def colour_scale(values: np.ndarray) -> tuple[float, float]:
    """What the ends of the colours stand for: symmetric about 0 for signed values, else from low to high.

    99 % of the values lie within. Always increasing, whatever the values; they are finite.
    """
    if values.size == 0:
        return -1.0, 1.0
    if values.dtype.kind == "u":
        low, high = (float(v) for v in np.percentile(values, [100 - CLIP_PERCENT, CLIP_PERCENT]))
        return (low, high) if high > low else (low, low + 1.0)
    size = np.abs(values, dtype=np.float64)
    # A slice that is nearly all zeros is shown by the samples that are not.
    end = float(np.percentile(size, CLIP_PERCENT)) or float(size.max())
    return (-end, end) if end else (-1.0, 1.0)


def draw_views(name: str, title: str, views: Sequence[View]) -> Picture:
    """One row for each view: master, copy and difference; a view without a copy is shown as wide as all three.

    All amplitudes have the colours of the first view; each difference has its own, which its subtitle says.
    """
    first, alone = views[0], all(view.copy is None for view in views)
    low, high = colour_scale(first.master[np.isfinite(first.master) & first.live])
    colours = GREY if first.master.dtype.kind == "u" else SEISMIC
    sizes = [_size(view, _PANEL) for view in views]
    panel = max(wide for wide, _ in sizes)
    copy_left = LEFT + panel + _BETWEEN
    difference_left = copy_left + panel + _BAR
    span = _ALONE if alone else difference_left + panel - LEFT
    sizes = [
        _size(view, span) if view.copy is None else size for view, size in zip(views, sizes, strict=True)
    ]
    height = _HEAD + sum(tall for _, tall in sizes) + len(views) * (_ABOVE + _BELOW)
    sheet = _sheet(LEFT + max(wide for wide, _ in sizes) + _BAR if alone else LEFT + span + _BAR, height)
    sheet.write(LEFT, height - 0.18, title, 13, weight="bold", va="top")
    top = height - _HEAD
    for view, (wide, tall) in zip(views, sizes, strict=True):
        bottom, right = top - _ABOVE - tall, LEFT + wide
        box = (bottom, wide, tall)
        _panel(sheet, view, view.master, (LEFT, *box), colours, low, high, view.master_title)
        _down_labels(sheet, view, (LEFT, *box))
        if view.copy is not None:
            _panel(sheet, view, view.copy, (copy_left, *box), colours, low, high, view.copy_title)
            difference, end, words = _difference(view)
            heading = (f"{view.copy_title[0]} \N{MINUS SIGN} {view.master_title[0]}", words)
            _panel(sheet, view, difference, (difference_left, *box), SEISMIC, -end, end, heading)
            _colour_bar(sheet, (difference_left + wide + 0.1, bottom, tall), SEISMIC, -end, end)
            right = copy_left + wide
        _colour_bar(sheet, (right + 0.1, bottom, tall), colours, low, high)
        top = bottom - _BELOW
    return picture(name, _rendered(sheet), _HEAD + _ABOVE + sizes[0][1] + _BELOW)


def _sheet(width: float, height: float) -> _Sheet:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    return _Sheet(figure, height, [], [])


def _size(view: View, wide: float) -> tuple[float, float]:
    """Width and height of a panel that is at most `wide`."""
    if view.ratio is None:
        return wide, min(wide * 1.1, _TALLEST)
    tall = min(wide / view.ratio, _TALLEST)
    return tall * view.ratio, tall


def _difference(view: View) -> tuple[np.ndarray, float, str]:
    """Copy less master as float64, the end of its colours, and what is to be known of it."""
    assert view.copy is not None
    with np.errstate(invalid="ignore"):  # Inf - Inf where the master is not finite
        difference = view.copy.astype(np.float64) - view.master.astype(np.float64)
    seen = difference[np.isfinite(difference) & view.live]
    end = colour_scale(seen)[1]
    largest = float(np.abs(seen).max()) if seen.size else 0.0
    if not largest:
        return difference, end, "none: all samples shown are equal"
    return difference, end, f"colours of its own: ±{end:.3g}; largest here {largest:.3g}"


def pixels_of(
    values: np.ndarray, live: np.ndarray, shape: tuple[int, int], colours: np.ndarray, low: float, high: float
) -> np.ndarray:
    """An image of (rows, columns) pixels, uint8 RGB: each the mean of its samples, clipped to low and high.

    Pixels that hold any NaN or Inf of a live trace are yellow; those with a majority of cells without a trace
    grey.
    """

    def shrunk(part: np.ndarray) -> np.ndarray:
        plain = Image.fromarray(np.ascontiguousarray(part, np.float32))
        return np.asarray(plain.resize(shape[::-1], Image.Resampling.BOX))

    finite = np.isfinite(values)
    shown = finite & live
    share = shrunk(shown) if not shown.all() else np.ones(shape, np.float32)
    # From 0 to 1 before they become float32, so that neither huge nor tiny amplitudes leave its range.
    places = (np.clip(values.astype(np.float64, copy=False), low, high) - low) / (high - low)
    means = shrunk(np.where(shown, places, 0)) / np.maximum(share, 1e-6)
    steps = np.clip(means, 0, 1) * (len(colours) - 1) + 0.5
    pixels = colours[steps.astype(np.uint8)]
    pixels[share < 0.5] = NO_TRACE
    spoilt = live & ~finite
    if spoilt.any():
        pixels[shrunk(spoilt) > 0] = NOT_FINITE
    return pixels


def _panel(
    sheet: _Sheet,
    view: View,
    values: np.ndarray,
    box: tuple[float, float, float, float],
    colours: np.ndarray,
    low: float,
    high: float,
    title: tuple[str, str],
) -> None:
    """One image with its titles and the ticks of both axes; `box` is left, bottom, width and height."""
    left, bottom, wide, tall = box
    shape = (round(tall * DPI), round(wide * DPI))
    # Where the master is not finite the difference is not either, but the copy holds 0.
    values = values if values is view.master else np.where(np.isfinite(view.master), values, np.nan)
    pixels = pixels_of(values, view.live, shape, colours, low, high)
    sheet.paste(left, bottom, pixels[::-1] if view.upward else pixels)
    sheet.write(left, bottom + tall + 0.22, f"{title[0]} (detail)" if view.detail else title[0], 10)
    sheet.write(left, bottom + tall + 0.06, title[1], 7.5, color=_PALE)
    for place, text in _ticks(view.across.values):
        x = left + place * wide
        sheet.tick(x, bottom, 0, -0.04)
        sheet.write(x, bottom - 0.06, text, ha="center", va="top")
    sheet.write(left + wide / 2, bottom - 0.23, _label(view.across), 8.5, ha="center", va="top")
    for place, _ in _ticks(view.down.values):
        sheet.tick(left, bottom + tall * (place if view.upward else 1 - place), -0.04, 0)


def _down_labels(sheet: _Sheet, view: View, box: tuple[float, float, float, float]) -> None:
    """The vertical coordinates, left of the first panel of a row."""
    left, bottom, _, tall = box
    for place, text in _ticks(view.down.values):
        y = bottom + tall * (place if view.upward else 1 - place)
        sheet.write(left - 0.07, y, text, ha="right", va="center_baseline")
    sheet.write(left - 0.55, bottom + tall / 2, _label(view.down), 8.5, ha="center", va="center", rotation=90)


def _label(side: Side) -> str:
    return f"{side.name} ({side.unit})" if side.unit else side.name


def _ticks(coordinates: np.ndarray) -> list[tuple[float, str]]:
    """Round coordinates, and where they lie among equally wide rows or columns, from 0 to 1."""
    values, count = coordinates.astype(np.float64), len(coordinates)
    if count == 1:
        return [(0.5, f"{values[0]:g}")]
    locator = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=coordinates.dtype.kind in "iu")
    wanted = np.asarray(locator.tick_values(values[0], values[-1]))
    wanted = wanted[(wanted >= values[0]) & (wanted <= values[-1])]
    # Positions, not values, are even on the page: an axis with gaps is labelled rightly as well.
    places = (np.interp(wanted, values, np.arange(count)) + 0.5) / count
    return [(float(place), f"{value:g}") for place, value in zip(places, wanted, strict=True)]


def _colour_bar(
    sheet: _Sheet, place: tuple[float, float, float], colours: np.ndarray, low: float, high: float
) -> None:
    """Colours from low to high with round numbers; `place` is left, bottom and height."""
    left, bottom, tall = place
    rows = np.linspace(len(colours) - 1, 0, round(tall * DPI)).round().astype(int)
    sheet.paste(left, bottom, np.repeat(colours[rows][:, np.newaxis], 10, axis=1))
    wanted = np.asarray(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    for value in wanted[(wanted >= low) & (wanted <= high)]:
        y = bottom + tall * (value - low) / (high - low)
        sheet.tick(left + 0.1, y, 0.03, 0)
        text = f"{value:.6g}".replace("-", "\N{MINUS SIGN}")
        sheet.write(left + 0.16, y, text, 7.5, va="center_baseline")


def _rendered(sheet: _Sheet) -> np.ndarray:
    """The sheet as pixels, uint8 RGB."""
    lines = LineCollection(sheet.ticks, colors="0.25", linewidths=0.7, transform=sheet.figure.dpi_scale_trans)
    sheet.figure.add_artist(lines)
    page = drawn(sheet.figure)
    for left, bottom, pixels in sheet.blocks:
        rows, columns = pixels.shape[:2]
        y, x = round((sheet.height - bottom) * DPI) - rows, round(left * DPI)
        page[y - 1 : y + rows + 1, x - 1 : x + columns + 1] = FRAME
        page[y : y + rows, x : x + columns] = pixels
    return page


def drawn(figure: Figure) -> np.ndarray:
    """A figure as pixels, uint8 RGB."""
    canvas = FigureCanvasAgg(figure)
    with _LOCK:
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def picture(name: str, page: np.ndarray, upper: float) -> Picture:
    """A page (uint8 RGB) as a file; the thumbnail shows its `upper` inches."""
    top = page[: round(upper * DPI)]
    return Picture(name, _png(Image.fromarray(page)), _thumbnail(Image.fromarray(top)))


def _thumbnail(image: Image.Image) -> str:
    """The picture in 64 colours, as wide as the limit allows, base64."""
    width = min(image.width, 1000)
    while True:
        small = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
        text = base64.b64encode(_png(small.quantize(64, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)))
        if len(text) <= THUMBNAIL_BASE64_BYTES or width < 64:
            return text.decode()
        width = int(width * 0.97 * (THUMBNAIL_BASE64_BYTES / len(text)) ** 0.5)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=2)
    return buffer.getvalue()

"""The map of a survey as PNG; X and Y have one scale where they are coordinates."""

import math
from itertools import product
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from tasks.volume.report.sheet import DPI, Picture, drawn, empty_figure, picture
from tasks.volume.report.survey_map import TraceMap

WIDE, TALL = 5.2, 4.2  # inches at most
EDGE, FOOT, HEAD, RIGHT = 1.1, 0.6, 0.85, 0.5
LEAST = 1.2
COLOURS = ("#c8372d", "#2b5fc1")
MOST_MARKS = 5_000  # more traces, each with a mark of its own, make a pattern of their own (moiré)


def draw_map(name: str, title: str, shown: TraceMap) -> Picture:
    """Draw where traces lie, the lines that pictures show, and the corners of the grid."""
    left, right, bottom, top = shown.extent
    across, up = max(right - left, 1e-9 * max(1.0, abs(right))), max(top - bottom, 1e-9 * max(1.0, abs(top)))
    if shown.ground:
        most = max(across / WIDE, up / TALL)
        across, up = max(across, LEAST * most), max(up, LEAST * most)
        wide, tall = across / most, up / most
    else:
        wide, tall = WIDE, TALL
    width, height = max(EDGE + wide + RIGHT, 4.0), FOOT + tall + HEAD
    with empty_figure(width, height, "map") as figure:
        axes = figure.axes[0]
        axes.set_position((EDGE / width, FOOT / height, wide / width, tall / height))
        middle_x, middle_y = (left + right) / 2, (bottom + top) / 2
        margin = 0.56  # of the extent, on either side of the middle
        axes.set(
            xlim=(middle_x - margin * across, middle_x + margin * across),
            ylim=(middle_y - margin * up, middle_y + margin * up),
        )
        if len(shown.x) <= MOST_MARKS:
            size = min(3.0, max(0.6, 72 * (wide * tall / max(1, len(shown.x))) ** 0.5 * 0.6))
            axes.plot(shown.x, shown.y, "s", color="0.6", markersize=size, markeredgewidth=0)
        else:
            box = (*axes.get_xlim(), *axes.get_ylim())
            area = np.ma.masked_equal(
                covered(shown.x, shown.y, box, (round(tall * DPI), round(wide * DPI))), 0
            )
            axes.imshow(area, cmap=ListedColormap(["0.75"]), extent=box, origin="lower", aspect="auto")
        for colour, (label, x, y) in zip(COLOURS, shown.lines, strict=False):
            axes.plot(x, y, color=colour, linewidth=1.4, label=f" {label}")
        for label, *corner in shown.corners:
            axes.plot(corner[:1], corner[1:], "k.", markersize=4)
            above = corner[1] >= middle_y
            axes.annotate(
                label,
                (corner[0], corner[1]),
                xytext=(0, 5 if above else -5),
                textcoords="offset points",
                fontsize=7.5,
                ha="left" if corner[0] < middle_x else "right",  # none lies on the axis
                va="bottom" if above else "top",
                parse_math=False,
            )
        _settle(axes, shown, wide)
        figure.text(
            0.15 / width, 1 - 0.12 / height, title, fontsize=13, weight="bold", va="top", parse_math=False
        )
        return picture(name, drawn(figure), height)


def covered(
    x: np.ndarray, y: np.ndarray, box: tuple[float, float, float, float], shape: tuple[int, int]
) -> np.ndarray:
    """Return the pixels, upwards and across, that lie between traces: holes wider than their spacing stay open.

    Args:
        x: X of the traces.
        y: Y of the traces.
        box: Left, right, lower and upper edge of the pixels.
        shape: Number of pixels upwards and across.
    """
    left, right, low, high = box
    columns = ((x - left) / (right - left) * shape[1]).astype(np.intp)
    rows = ((y - low) / (high - low) * shape[0]).astype(np.intp)
    reach = math.ceil(1.5 * ((np.ptp(columns) + 1) * (np.ptp(rows) + 1) / len(x)) ** 0.5)
    hit = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach), bool)
    hit[rows + reach, columns + reach] = True
    # Closed: every pixel within reach of a trace, less those within reach of the outside.
    return ~_widened(~_widened(hit, reach), reach)[reach : reach + shape[0], reach : reach + shape[1]]


def _widened(pixels: np.ndarray, reach: int) -> np.ndarray:
    """Return the pixels that have one of `pixels` in the square around them."""
    for axis, by in product((0, 1), [1] * reach):
        before, after = np.roll(pixels, -by, axis), np.roll(pixels, by, axis)
        pixels = pixels | before | after
    return pixels


def _settle(axes: Any, shown: TraceMap, wide: float) -> None:
    """Give the axes round numbers that are written out, labels and a legend."""
    for axis, nbins in ((axes.xaxis, max(2, int(wide))), (axes.yaxis, 5)):
        axis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.tick_params(labelsize=7.5, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(shown.across, fontsize=8.5, parse_math=False)
    axes.set_ylabel(shown.up, fontsize=8.5, parse_math=False)
    if shown.lines:
        legend = axes.legend(
            fontsize=7.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1
        )
        for text in legend.get_texts():
            text.set_parse_math(False)

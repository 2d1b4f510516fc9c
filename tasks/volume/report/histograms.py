"""Histograms of amplitudes as PNG: of the master, and of each copy over the master at the same samples.

A copy is compared at the very samples that the pictures show: drawn from samples of its own it would differ from
the master by chance, most of all in the tails that one looks at.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tasks.volume.report.pictures import DPI, LEFT, Picture, drawn, picture

RIGHT, BETWEEN = 0.25, 0.55  # inches
WIDTH, HEAD, TALL, SMALL, FOOT = 9.6, 0.6, 3.0, 1.6, 0.75
MOST_COLUMNS = 3
BINS, FEWER_BINS = 201, 101  # odd: the middle one is about zero
MASTER = {"fill": True, "color": "0.75"}
COPY = {"color": "#c8372d", "linewidth": 0.9}


def draw_histogram(
    name: str,
    title: str,
    quantity: str,
    master: tuple[str, np.ndarray],
    copies: Sequence[tuple[str, np.ndarray, np.ndarray]],
) -> Picture:
    """Samples per bin on a logarithmic scale.

    Args:
        name: Of the picture.
        title: What stands over it.
        quantity: What the samples are.
        master: What was counted, and the samples, finite.
        copies: For each copy what was counted, its samples, and the master's at the same places.
    """
    columns = min(MOST_COLUMNS, max(1, len(copies)))
    height = HEAD + TALL + FOOT + -(-len(copies) // columns) * (SMALL + FOOT)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    low, high = amplitude_range(master[1])

    def panel(
        box: tuple[float, float, float, float],
        heading: str,
        *curves: tuple[np.ndarray, dict[str, Any]],
        bins: int,
    ) -> Any:
        left, bottom, wide, tall = box
        axes = figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, tall / height))
        # By number and range, not by edges: that is numpy's fast way. In float64, whose range no difference leaves.
        counted = [np.histogram(values.astype(np.float64), bins, (low, high)) for values, _ in curves]
        most = max(1, *(int(counts.max()) for counts, _ in counted))
        # Before there are curves: matplotlib warns where it finds nothing to scale by.
        axes.set(yscale="log", xlim=(low, high), ylim=(0.5, 2 * most))
        axes.minorticks_off()
        for (counts, edges), (_, style) in zip(counted, curves, strict=True):
            axes.stairs(counts, edges, **style)
        axes.set_title(heading, loc="left", fontsize=8.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=int(1.2 * wide), steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: _amount(value))
        axes.tick_params(labelsize=8, width=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    bottom, span = height - HEAD - TALL, WIDTH - LEFT - RIGHT
    heading = f"{master[0]}{_beyond(master[1], low, high)}"
    axes = panel((LEFT, bottom, span, TALL), heading, (master[1], MASTER), bins=BINS)
    axes.set_ylabel("samples per bin", fontsize=8.5)
    axes.set_xlabel(quantity, fontsize=8.5)
    wide = (span - (columns - 1) * BETWEEN) / columns
    for number, (words, values, reference) in enumerate(copies):
        row, column = divmod(number, columns)
        box = (LEFT + column * (wide + BETWEEN), bottom - (row + 1) * (FOOT + SMALL), wide, SMALL)
        panel(box, words, (reference, MASTER), (values, COPY), bins=FEWER_BINS)
    figure.text(LEFT / WIDTH, 1 - 0.1 / height, title, fontsize=13, weight="bold", va="top")
    return picture(name, drawn(figure), height)


def amplitude_range(values: np.ndarray) -> tuple[float, float]:
    """From where to where amplitudes are counted; a few wild ones do not squeeze the others into one bin."""
    if values.size == 0:
        return -1.0, 1.0
    if values.dtype.kind == "u":
        low, high = float(values.min()), float(values.max())
        return (low, high) if high > low else (low - 0.5, low + 0.5)
    size = np.abs(values, dtype=np.float64)
    most = float(size.max())
    usual = 2 * float(np.percentile(size[:: 1 + size.size // 1_000_000], 99.9))
    end = min(most, usual or most) or 1.0
    return -end, end


def _beyond(values: np.ndarray, low: float, high: float) -> str:
    outside = int(np.count_nonzero((values < low) | (values > high)))
    if not outside:
        return ""
    return f"; {outside:,} of {values.size:,} lie beyond, from {values.min():.6g} to {values.max():.6g}"


def _amount(value: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g}"

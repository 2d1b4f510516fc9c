"""Curves as PNG: a histogram of the master, errors of each copy within its bound, and spectra.

A copy's errors are counted at the samples that the pictures show.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from tasks.volume.report.pictures import FARTHEST
from tasks.volume.report.sheet import Picture, drawn, empty_figure, picture
from tasks.volume.report.spectrum import Spectrum

HEIGHT, WIDE, TALL, EDGE, FOOT = 3.5, 3.15, 2.3, 0.75, 0.6  # inches
BINS, FEWER_BINS = 201, 101  # odd: the middle one is about zero
WHOLE_BINS = 300
FLOOR_DB = -80.0
MASTER = "0.45"
COPIES = ("#c8372d", "#2b5fc1", "#2a8f4f", "#b07a00", "#7b3fa0", "#00838a")

Errors = tuple[str, np.ndarray, np.ndarray, float]  # name, a copy's samples, the master's, the bound or 0


def draw_curves(
    name: str,
    title: str,
    quantity: str,
    master: tuple[str, np.ndarray],
    copies: Sequence[Errors],
    spectra: Sequence[Spectrum] = (),
) -> Picture:
    """Draw samples per bin of the master on a logarithmic scale, and errors of copies and spectra if there are any.

    Args:
        name: File name of the picture.
        title: Title above the picture.
        quantity: Quantity of the samples.
        master: Counts of the master, and its finite samples.
        copies: Errors of the copies; exact copies are left out.
        spectra: Spectra to show.
    """
    panels: dict[str, Callable[[Any], None]] = {"values": lambda axes: _histogram(axes, quantity, *master)}
    colours = {copy[0]: COPIES[number % len(COPIES)] for number, copy in enumerate(copies)}
    errors = [
        (label, values.astype(np.float64) - wanted, bound)
        for label, values, wanted, bound in copies
        if values.size and not np.array_equal(values, wanted)
    ]
    if errors:
        panels["errors"] = lambda axes: _errors(axes, errors, colours)
    if spectra:
        panels["spectra"] = lambda axes: _spectra(axes, spectra, colours)
    width = len(panels) * (EDGE + WIDE) + 0.2
    with empty_figure(width, HEIGHT, *panels) as figure:
        for number, (axes, draw) in enumerate(zip(figure.axes, panels.values(), strict=True)):
            left = EDGE + number * (EDGE + WIDE)
            axes.set_position((left / width, FOOT / HEIGHT, WIDE / width, TALL / HEIGHT))
            draw(axes)
            axes.tick_params(labelsize=8, width=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        figure.text(
            0.15 / width, 1 - 0.12 / HEIGHT, title, fontsize=13, weight="bold", va="top", parse_math=False
        )
        return picture(name, drawn(figure), HEIGHT)


def _counts(
    axes: Any, curves: Sequence[tuple[np.ndarray, dict[str, Any]]], low: float, high: float, bins: int
) -> None:
    """Curves of samples per bin, by number and range, not by edges: that is numpy's fast way."""
    # As many as floats tell apart.
    bins = max(1, min(bins, int((high - low) / 2 / np.spacing(max(abs(low), abs(high))))))
    counted = [np.histogram(values, bins, (low, high)) for values, _ in curves]
    most = max(1, *(int(counts.max()) for counts, _ in counted))
    # Before there are curves: matplotlib warns where it finds nothing to scale by.
    margin = 0.02 * (high - low)
    axes.set(yscale="log", xlim=(low - margin, high + margin), ylim=(0.5, 2 * most))
    axes.minorticks_off()
    tens = [10.0**power for power in range(int(np.log10(most)) + 1)]
    axes.yaxis.set_major_locator(FixedLocator(tens[:: 1 + len(tens) // 6]))
    axes.yaxis.set_major_formatter(lambda value, _: _amount(value))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for (counts, edges), (_, style) in zip(counted, curves, strict=True):
        axes.stairs(counts, edges, **style)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))


def _histogram(axes: Any, quantity: str, words: str, values: np.ndarray) -> None:
    low, high = (min(max(end, -FARTHEST), FARTHEST) for end in amplitude_range(values))
    bins = BINS
    if values.dtype.kind in "iu" and high - low < WHOLE_BINS:  # a bin for each whole number
        low, high = float(np.floor(low)) - 0.5, float(np.ceil(high)) + 0.5
        bins = max(1, round(high - low))
    _counts(axes, [(values.astype(np.float64), {"fill": True, "color": "0.6"})], low, high, bins)
    _heading(axes, f"Values per bin{_beyond(values, low, high)}")
    axes.set_xlabel(f"{quantity}, {words}", fontsize=8.5, parse_math=False)


def _errors(axes: Any, errors: Sequence[tuple[str, np.ndarray, float]], colours: dict[str, str]) -> None:
    end = max(float(np.abs(error).max()) for _, error, _ in errors) or 1.0
    curves = [
        (error, {"color": colours[label], "linewidth": 0.9, "label": f" {label}"})
        for label, error, _ in errors
    ]
    _counts(axes, curves, -end, end, FEWER_BINS)
    _heading(axes, "Errors of copies, values per bin")
    axes.set_xlabel("copy \N{MINUS SIGN} master, in the slices shown", fontsize=8.5)
    _legend(axes)


def _spectra(axes: Any, spectra: Sequence[Spectrum], colours: dict[str, str]) -> None:
    top = max(float(spectrum.values.max()) for spectrum in spectra)
    axes.set(xlim=(0, max(float(spectrum.frequencies[-1]) for spectrum in spectra)), ylim=(FLOOR_DB, 3))
    spare = [MASTER, *COPIES]
    for number, result in enumerate(spectra):
        level = 20 * np.log10(np.maximum(result.values / top, 1e-12))
        colour = colours.get(result.name, spare[number % len(spare)])
        style = {"linewidth": 2.2} if number == 0 else {"linewidth": 0.8}
        axes.plot(result.frequencies, level, color=colour, label=f" {result.name}", **style)
    _heading(axes, "Spectrum (dB)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(FixedLocator([-80, -60, -40, -20, 0]))
    axes.set_xlabel(spectra[0].unit, fontsize=8.5, parse_math=False)
    _legend(axes)


def _heading(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=8.5, parse_math=False)


def _legend(axes: Any) -> None:
    legend = axes.legend(fontsize=7, frameon=False, loc="upper right", handlelength=1.2, borderaxespad=0)
    for text in legend.get_texts():
        text.set_parse_math(False)


def amplitude_range(values: np.ndarray) -> tuple[float, float]:
    """Return the range in which amplitudes are counted; a few outliers do not squeeze the others into one bin."""
    if values.size == 0:
        return -1.0, 1.0
    if values.dtype.kind == "u":
        low, high = float(values.min()), float(values.max())
        half = max(0.5, float(np.spacing(high)))  # neighbours among the largest integers are one float
        return (low, high) if high > low else (low - half, low + half)
    size = np.abs(values, dtype=np.float64)
    most = float(size.max())
    usual = 2 * float(np.percentile(size[:: 1 + size.size // 1_000_000], 99.9))
    end = min(most, usual or most) or 1.0
    least = float(values.min())
    return (least, end) if 0 <= least < end and least < most else (-end, end)


def _beyond(values: np.ndarray, low: float, high: float) -> str:
    outside = int(np.count_nonzero((values < low) | (values > high)))
    return f"; {outside:,} of {values.size:,} lie beyond" if outside else ""


def _amount(value: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g}"

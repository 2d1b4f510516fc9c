"""Amplitude spectra along one axis of a slice: the mean over its lines of the absolute values of their transforms.

Lines with a missing or non-finite value, or with one value throughout, are left out. There is no taper; each line's
mean is subtracted, so the frequency 0 is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks.volume.report.slices import Slice

MOST_LINES = 4096
DOWN_DB = 20.0
_PER_UNIT = {"ms": ("Hz", 1000.0), "s": ("Hz", 1.0)}


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A spectrum: frequencies above 0 and the mean amplitude at each."""

    name: str
    unit: str
    frequencies: np.ndarray
    values: np.ndarray
    lines: int

    @property
    def peak(self) -> float:
        """Return the frequency of the largest amplitude."""
        return float(self.frequencies[int(np.argmax(self.values))])

    @property
    def band(self) -> tuple[float, float]:
        """Return the least and the greatest frequency at which the amplitude is within 20 dB of the largest."""
        inside = self.frequencies[self.values >= self.values.max() / 10 ** (DOWN_DB / 20)]
        return float(inside[0]), float(inside[-1])


def spectrum_of(
    name: str, lines: np.ndarray, live: np.ndarray, step: float, unit: str, scale: float = 1.0
) -> Spectrum | None:
    """Return the spectrum of lines of samples; None if there is none.

    Args:
        name: Name of the samples.
        lines: Shape (lines, samples).
        live: Which samples exist, of the same shape.
        step: Distance of two samples.
        unit: Unit of the frequencies.
        scale: Frequencies of the unit in a cycle per unit of the step.
    """
    if lines.shape[1] < 4 or not step > 0:
        return None
    whole = np.flatnonzero((live & np.isfinite(lines)).all(axis=1))
    whole = whole[:: 1 + len(whole) // MOST_LINES]
    values = lines[whole].astype(np.float64)
    values = values[(values != values[:, :1]).any(axis=1)]
    largest = float(np.abs(values).max()) if values.size else 0.0
    if not largest:
        return None
    values = values / largest
    mean = np.abs(np.fft.rfft(values - values.mean(axis=1, keepdims=True), axis=1)).mean(axis=0)[1:]
    frequencies = np.fft.rfftfreq(values.shape[1], step)[1:] * scale
    if not mean.max() > 0:
        return None
    return Spectrum(name, unit, frequencies, mean * largest / values.shape[1], len(values))


def spectra_of(slices: Mapping[str, Slice], voxels: bool, unit: str) -> list[Spectrum]:
    """Return what is shown: along time or depth of the master and its copies, or of an image along each axis."""
    found: list[Spectrum | None] = []
    if voxels:
        seen: set[str] = set()
        for shown in slices.values():
            view = next(iter(shown.views.values()))
            for side, lines, live in (
                (view.across, view.master, view.live),
                (view.down, view.master.T, view.live.T),
            ):
                if side.name not in seen and len(side.values) > 1:
                    step = abs(float(side.values[1] - side.values[0]))
                    per = f"cycles per {unit}" if unit else "cycles per unit"
                    built = spectrum_of(f"along {side.name}", lines, live, step, per)
                    seen |= {side.name} if built else set()
                    found.append(built)
        return [result for result in found if result]
    for shown in slices.values():
        views = list(shown.views.values())
        side = views[0].down
        if views[0].ratio is not None or len(side.values) < 2:
            continue
        step = float(np.median(np.diff(side.values.astype(np.float64))))
        name, scale = _PER_UNIT.get(side.unit, (f"cycles per {side.unit or 'unit'}", 1.0))
        found.append(
            spectrum_of(views[0].master_title[0], views[0].master.T, views[0].live.T, step, name, scale)
        )
        for view in views:
            if view.copy is not None:
                finite = view.live & np.isfinite(view.master)
                found.append(spectrum_of(view.copy_title[0], view.copy.T, finite.T, step, name, scale))
        break
    return [result for result in found if result]

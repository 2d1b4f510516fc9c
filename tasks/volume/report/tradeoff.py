"""A picture of lossy copies over tolerances: ratio, SNR, PSNR, SSIM and largest error."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from tasks.volume.copies.explore import Trial
from tasks.volume.report.sheet import DPI, drawn, picture

_WIDE, _HIGH = 10.5, 6.4  # inches

_PANELS = (
    ("ratio", "ratio", "log"),
    ("snr_db", "SNR (dB)", "linear"),
    ("psnr_db", "PSNR (dB)", "linear"),
    ("ssim", "SSIM", "linear"),
    ("max_abs_error", "largest error", "log"),
)
_STYLES: dict[str, dict[str, Any]] = {
    "zfp": {"color": "#2b5fc1", "marker": "o"},
    "rounded": {"color": "#c8372d", "marker": "s"},
}


def draw_tradeoff(title: str, unit: str, trials: Sequence[Trial]) -> bytes:
    """Return a PNG with a panel for each figure over the tolerance, and one of SNR over the ratio.

    Args:
        title: Title above the picture.
        unit: Unit of the values, or nothing.
        trials: Results of the trials.
    """
    figure = Figure(figsize=(_WIDE, _HIGH), dpi=DPI, facecolor="white", layout="constrained")
    figure.suptitle(title, fontsize=11)
    panels = figure.subplots(2, 3).ravel()
    within = f"tolerance ({unit})" if unit else "tolerance"
    for panel, (name, label, scale) in zip(panels, _PANELS, strict=False):
        _draw(panel, trials, "tolerance", name)
        panel.set(xscale="log", yscale=scale, xlabel=within, ylabel=label)
    _draw(panels[-1], trials, "ratio", "snr_db")
    panels[-1].set(xscale="log", xlabel="ratio", ylabel="SNR (dB)")
    panels[0].legend(frameon=False)
    for panel in panels:
        panel.grid(color="0.9")
    return picture("tradeoff", drawn(figure), _HIGH).png


def _draw(panel: Any, trials: Sequence[Trial], across: str, up: str) -> None:
    for kind, style in _STYLES.items():
        points = [
            (getattr(t, across), getattr(t, up))
            for t in trials
            if t.codec == kind and getattr(t, up) != float("inf")
        ]
        if points:
            panel.plot(*zip(*points, strict=True), label=kind, linewidth=1.2, markersize=3.5, **style)

"""Show the right column: position, sample and header under the cursor, colours, a histogram and a spectrum."""

from html import escape
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColorBar, ColumnDataSource, Div, LinearColorMapper
from bokeh.plotting import figure

from tasks.viewer.cursor import header_at, place_of, sample_at
from tasks.viewer.measures import histogram, spectrum
from tasks.viewer.model import LookedAt
from tasks.viewer.panel import Panel, fit_texts

WIDTH = 280
HERTZ = {"ms": (1e3, "Hz"), "s": (1.0, "Hz")}


class Beside:
    """The column at the right.

    Attributes:
        at: Position of the cursor.
        version: Same as in `Panel`.
        is_busy: Same as in `Panel`.
    """

    def __init__(self, looked: LookedAt, mapper: LinearColorMapper) -> None:
        """Make it empty."""
        self.looked, self.mapper = looked, mapper
        self.at: tuple[int, ...] = ()
        self.version, self.is_busy = 0, False
        self._value = float("nan")
        self._read: tuple[tuple[int, ...], float, dict[str, Any]] | None = None
        self.cursor = Div(text="Move the mouse over a panel.", width=WIDTH, height=160, name="cursor")
        self.header = Div(
            width=WIDTH, height=230, styles={"overflow-y": "auto", "font-size": "0.92em"}, name="header"
        )
        self._histogram = ColumnDataSource({"left": [], "right": [], "top": []})
        self._spectrum = ColumnDataSource({"x": [], "y": []})
        unit = (
            looked.finest.volume.array_attributes(looked.finest.array).get("field_unit", "")
            if looked.finest.array
            else ""
        )
        self.histogram = _small("histogram of what is seen", f"value ({unit})" if unit else "value")
        self.histogram.quad(
            "left", "right", "top", 0, source=self._histogram, color="#4d7ea8", line_color=None
        )
        self.histogram.add_layout(ColorBar(color_mapper=mapper, height=10, padding=2), "above")
        self.spectrum = _small("mean amplitude spectrum of what is seen", "")
        self.spectrum.line("x", "y", source=self._spectrum, color="#4d7ea8")
        self.layout = column(
            *(self.cursor, self.header, self.histogram, self.spectrum),
            width=WIDTH + 10,
            sizing_mode="stretch_height",
        )

    def measure(self, panel: Panel) -> None:
        """Show the histogram and the spectrum of what a panel shows."""
        answer = panel.answer
        if answer is None:
            return
        counts, edges = histogram(answer.full, (self.mapper.low, self.mapper.high))
        self._histogram.data = {"left": edges[:-1], "right": edges[1:], "top": counts}
        axis = panel.down
        if not axis.step:
            self._spectrum.data = {"x": [], "y": []}
            self.spectrum.title.text = f"no spectrum: the steps of {axis.name} vary"
            return
        scale, unit = HERTZ.get(axis.unit, (1.0, f"1/{axis.unit}" if axis.unit else f"1/{axis.name}"))
        x, y = spectrum(answer.full, axis.step * answer.step[1])
        self._spectrum.data = {"x": x * scale, "y": y}
        self.spectrum.xaxis.axis_label = f"frequency ({unit})"
        self.spectrum.title.text = f"mean spectrum: {panel.plane.name}"

    def point(self, at: tuple[int, ...], value: float) -> bool:
        """Show the position of the cursor and the value there; return whether the position changed."""
        if at == self.at:
            return False
        self.at, self._value = at, value
        self._write()
        return True

    def read(self, at: tuple[int, ...]) -> tuple[tuple[int, ...], float, dict[str, Any]]:
        """Read the sample as it is stored, and the header of its trace."""
        return at, sample_at(self.looked, at), header_at(self.looked, at)

    def show_read(self, read: tuple[tuple[int, ...], float, dict[str, Any]]) -> None:
        """Show what was read."""
        self._read = read
        self._write()

    def _write(self) -> None:
        rows = place_of(self.looked, self.at)
        if np.isfinite(self._value):
            rows.append(("shown", f"{self._value:.6g}"))
        if self._read is not None and self._read[0] == self.at:
            rows.append(
                (
                    "stored sample",
                    f"{self._read[1]:.9g}" if np.isfinite(self._read[1]) else "no trace, or no number",
                )
            )
            self.header.text = _table([(name, str(value)) for name, value in self._read[2].items()]) or (
                "no trace" if self.looked.has_traces else ""
            )
        self.cursor.text = _table(rows)


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(a)}&nbsp;</td><td><b>{escape(b)}</b></td></tr>" for a, b in rows)
    return f"<table>{cells}</table>" if cells else ""


def _small(title: str, across: str) -> figure:
    # As high as the window leaves room: all of it is seen at 720 pixels, and none stays empty at 1,440.
    place: dict[str, Any] = {"width": WIDTH, "min_height": 150, "sizing_mode": "stretch_height"}
    found = figure(**place, tools=[], toolbar_location=None, title=title, x_axis_label=across)
    found.title.text_font_size = "11px"
    for changed in ("inner_width", "inner_height"):
        found.on_change(changed, lambda attr, old, new: fit_texts(found, 26))
    found.xaxis.ticker.desired_num_ticks = 4  # more would touch
    found.yaxis.visible = False
    found.y_range.start = 0
    return found

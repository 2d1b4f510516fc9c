"""The map with the live mask, and the panel of the traces along a line drawn on the map."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.events import MouseMove, RangesUpdate, Tap
from bokeh.models import ColumnDataSource, LinearColorMapper, PanTool, Range1d, ResetTool, WheelZoomTool
from bokeh.plotting import figure

from tasks.viewer.colours import NOTHING
from tasks.viewer.ground_map import cell_at, corners_from, map_of, on_map, parsed_corners
from tasks.viewer.model import Answer, LookedAt
from tasks.viewer.panel import edges_of, fit_texts, font_of, frame_of, image_in
from tasks.viewer.scene import to_scale

LIVE, DEAD = "#c9d8c5", NOTHING


class MapPanel:
    """The map; `figure` is None if the volume has no traces to draw."""

    def __init__(self, looked: LookedAt, mapper: LinearColorMapper) -> None:
        """Draw the live mask."""
        self.looked, self.shown = looked, map_of(looked)
        self.figure: figure | None = None
        if self.shown is None:
            return
        left, right, low, high = self.shown.extent
        self.figure = figure(
            x_range=Range1d(left, right),
            y_range=Range1d(low, high),
            tools=[],
            title="map\nclick to go there",
            x_axis_label=self.shown.titles[0],
            y_axis_label=self.shown.titles[1],
            sizing_mode="stretch_both",
            min_width=300,
            min_height=220,
            name="map",
        )
        self.figure.grid.visible = False
        self.figure.toolbar.logo = None
        for axis in (self.figure.xaxis, self.figure.yaxis):
            axis.formatter.use_scientific = False
            axis.ticker.desired_num_ticks = 4
        zoom, pan = WheelZoomTool(), PanTool()
        self.figure.add_tools(pan, zoom, ResetTool())
        self.figure.toolbar.active_scroll, self.figure.toolbar.active_drag = zoom, pan
        colours = LinearColorMapper(palette=[DEAD, LIVE], low=0, high=1)
        if not self.shown.track[0].size:
            self.figure.image([self.shown.live], left, low, right - left, high - low, color_mapper=colours)
        else:
            self.figure.line(*self.shown.track, line_color="#2f7d31", line_width=2)
        self._lines = ColumnDataSource({"x": [], "y": []})
        self._line = ColumnDataSource({"x": [], "y": []})
        self._cursor = ColumnDataSource({"x": [], "y": []})
        self.figure.multi_line("x", "y", source=self._lines, line_color="#2f7d31", line_width=2)
        self.figure.line("x", "y", source=self._line, line_color="#d95f02", line_width=2)
        self.figure.scatter("x", "y", source=self._line, color="#d95f02", size=6)
        self.figure.scatter("x", "y", source=self._cursor, marker="cross", color="black", size=14)
        self.figure.on_change("inner_width", lambda attr, old, new: self._home())
        self.figure.on_change("inner_height", lambda attr, old, new: self._home())

    def listen(self, tapped: Callable[[float, float], None], hovered: Callable[[float, float], None]) -> None:
        """Call functions at a click, and when the mouse moves."""
        if self.figure is not None:
            self.figure.on_event(Tap, lambda event: tapped(event.x, event.y))
            self.figure.on_event(MouseMove, lambda event: hovered(event.x, event.y))

    def mark(self, at: tuple[int, ...]) -> None:
        """Draw the lines that are shown as sections."""
        if self.shown is None:
            return
        if self.shown.track[0].size:
            x, y = self.shown.track
            place = at[self.shown.track_axis]
            self._cursor.data = {"x": [x[place]], "y": [y[place]]}
            return
        ends = [(0, axis.size - 1) for axis in self.looked.axes[:2]]
        first = on_map(self.looked, self.shown, np.array([at[0], at[0]]), np.array(ends[1]))
        second = on_map(self.looked, self.shown, np.array(ends[0]), np.array([at[1], at[1]]))
        self._lines.data = {"x": [first[0], second[0]], "y": [first[1], second[1]]}

    def mark_line(self, corners: Sequence[tuple[float, float]]) -> None:
        """Draw a line through its corners, which are pairs of line numbers."""
        if self.shown is None or not corners:
            if self.shown is not None:
                self._line.data = {"x": [], "y": []}
            return
        pairs = np.array(corners)
        if self.looked.survey is not None:
            x, y = self.looked.survey.xy(pairs[:, 0], pairs[:, 1])
        else:
            first, second = self.looked.axes[:2]
            y = np.array([first.coordinate(float(first.nearest(n))) for n in pairs[:, 0]])
            x = np.array([second.coordinate(float(second.nearest(n))) for n in pairs[:, 1]])
        self._line.data = {"x": x, "y": y}

    def point(self, at: tuple[int, ...]) -> None:
        """Draw where the cursor is."""
        if self.shown is None:
            return
        if self.shown.track[0].size:
            place = at[self.shown.track_axis]
            x, y = (values[place : place + 1] for values in self.shown.track)
        else:
            x, y = on_map(self.looked, self.shown, np.array([at[0]]), np.array([at[1]]))
        self._cursor.data = {"x": x, "y": y}

    def cell(self, x: float, y: float) -> tuple[int, ...] | None:
        """Return the positions along the axes of traces at a place of the map."""
        return None if self.shown is None else cell_at(self.looked, self.shown, x, y)

    def corners(self, xs: list[float], ys: list[float]) -> list[tuple[float, float]]:
        """Return places of the map as pairs of line numbers."""
        return [] if self.shown is None else corners_from(self.looked, self.shown, xs, ys)

    def _home(self) -> None:
        if self.shown is None or self.figure is None:
            return
        fit_texts(self.figure)
        # Coordinates have up to eight digits, which must not touch. A digit is about 0.6 of its size wide.
        digits = frame_of(self.figure)[0] / (0.6 * font_of(self.figure))
        longest = len(f"{max(map(abs, self.shown.extent[:2])):.0f}")
        self.figure.xaxis.ticker.desired_num_ticks = max(3, int(digits // (longest + 3)))
        if not self.shown.on_ground:
            return
        left, right, low, high = self.shown.extent
        size = frame_of(self.figure)
        width, height = max(right - left, 1e-9), max(high - low, 1e-9)
        more = to_scale((width, height), size, 1.0)
        margin = 0.03 * max(width, height)
        for shown, start, end, added in (
            (self.figure.x_range, left, right, more[0][0]),
            (self.figure.y_range, low, high, more[1][0]),
        ):
            start, end = start - added - margin, end + added + margin
            shown.update(start=start, end=end, reset_start=start, reset_end=end)


class LinePanel:
    """The traces along a line.

    Attributes:
        corners: Pairs of line numbers.
        version: Same as in `Panel`.
        is_busy: Same as in `Panel`.
    """

    def __init__(self, looked: LookedAt, mapper: LinearColorMapper) -> None:
        """Make an empty figure that is not shown."""
        self.looked, self.corners = looked, list[tuple[float, float]]()
        self.version, self.is_busy = 0, False
        self.answer: Answer | None = None
        self._down = looked.axes[-1]
        self.figure = figure(
            x_range=Range1d(-0.5, 0.5),
            y_range=Range1d(*edges_of(self._down)[::-1]),
            tools=[],
            x_axis_label="trace along the line",
            y_axis_label=self._down.title,
            sizing_mode="stretch_both",
            min_width=300,
            min_height=220,
            visible=False,
            name="line",
        )
        self.figure.grid.visible = False
        self.figure.toolbar.logo = None
        zoom, pan = WheelZoomTool(), PanTool()
        self.figure.add_tools(pan, zoom, ResetTool())
        self.figure.toolbar.active_scroll, self.figure.toolbar.active_drag = zoom, pan
        self.source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.figure.image("image", "x", "y", "dw", "dh", source=self.source, color_mapper=mapper)

    @property
    def text(self) -> str:
        """Return the corners as text."""
        return "; ".join(f"{first:.6g},{second:.6g}" for first, second in self.corners)

    def parsed(self, text: str) -> list[tuple[float, float]]:
        """Return corners from text; those outside of the survey are refused by the answer."""
        return parsed_corners(text)

    @property
    def pixels(self) -> tuple[int, int]:
        """Return the size of the frame."""
        return frame_of(self.figure)

    def listen(self, moved: Callable[[], None], hovered: Callable[[float, float], None]) -> None:
        """Register functions to call when the size changes and when the mouse moves."""

        def resized(attr: str, old: Any, new: Any) -> None:
            fit_texts(self.figure)
            moved()

        self.figure.on_change("inner_width", resized)
        self.figure.on_change("inner_height", resized)
        self.figure.on_event(MouseMove, lambda event: hovered(event.x, event.y))
        self.figure.on_event(RangesUpdate, lambda event: None)

    def show(self, answer: Answer) -> None:
        """Show an answer."""
        self.answer = answer
        left, right = answer.extent[:2]
        low, high = sorted(self._down.coordinate(edge) for edge in answer.extent[2:])
        values = answer.values if self._down.step >= 0 else answer.values[::-1]
        self.source.data = image_in(values, left, right, low, high)
        self.figure.x_range.update(start=left, end=right, reset_start=left, reset_end=right)
        length = f", {answer.distance[-1]:.6g} long" if answer.distance.size else ""
        self.figure.title.text = f"line of {answer.full.shape[1]} traces{length}\n{answer.array}"

    def place(self, x: float, y: float, at: tuple[int, ...]) -> tuple[tuple[int, ...], float] | None:
        """Return the positions along all axes at a place of the figure, and what is shown there."""
        answer, down = self.answer, self._down.cell(y)
        column = int(np.floor(x + 0.5))
        if answer is None or down is None or not 0 <= column < len(answer.traces):
            return None
        row = min(int(down / answer.step[1]), answer.full.shape[0] - 1)
        first, second = (int(n) for n in answer.traces[column])
        return (first, second, *at[2:-1], down), float(answer.full[row, column])

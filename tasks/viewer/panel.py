"""One plane on the screen: a figure, its image, and the lines where the other planes cut it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.events import MouseMove, RangesUpdate, Tap
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    CustomJSTickFormatter,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure

from tasks.viewer.answers import Answer, Request, following
from tasks.viewer.model import DIFFERENCE, LookedAt
from tasks.viewer.scene import Plane, ShownAxis, to_scale
from tasks.viewer.turns import Awaited

PIXELS = (480, 320)  # of the frame until the browser says otherwise
LETTER = 1.75  # size of a letter by its width, so that nothing of a title is cut off
LEAST_FONT = 9
TITLE_LARGER = 2  # pixels, than the numbers at the axes
ACTIVE, INACTIVE = "#d95f02", "#d0d0d0"


class Panel:
    """A plane on the screen.

    Attributes:
        plane: The plane.
        figure: Figure that Bokeh draws.
        answer: The answer on the screen; None before the first one.
        version: Number of changes of the request; an answer to an older version is followed by another request.
        is_busy: Whether an answer is pending.
        sharp: Requests at the resolution of the screen, sent after a coarser level is shown.
        before: Request of the last answer at the resolution of the screen.
    """

    def __init__(
        self, looked: LookedAt, plane: Plane, mapper: LinearColorMapper, ratio: float | None
    ) -> None:
        """Make an empty figure; `ratio` as `to_scale` takes it, None if the axes have no common scale."""
        self.looked, self.plane, self.ratio = looked, plane, ratio
        self.across, self.down = looked.axes[plane.across], looked.axes[plane.down]
        self.answer: Answer | None = None
        self.version, self.is_busy, self.sharp = 0, False, Awaited()
        self.before: Request | None = None
        x, y = edges_of(self.across), edges_of(self.down)
        self._home = (x, y[::-1] if plane.downward else y)
        self.figure = figure(
            x_range=Range1d(*self._home[0]),
            y_range=Range1d(*self._home[1]),
            tools=[],
            toolbar_location="right",
            x_axis_label=self.across.title,
            y_axis_label=self.down.title,
            x_axis_location="above" if plane.is_section else "below",
            sizing_mode="stretch_both",
            min_width=300,
            min_height=220,
            outline_line_width=3,
            outline_line_color=INACTIVE,
            background_fill_color="#f4f4f4",
            name=plane.name,
        )
        self.figure.grid.visible = False
        zoom = WheelZoomTool()
        pan = PanTool()
        self.figure.add_tools(pan, zoom, BoxZoomTool(match_aspect=ratio is not None), ResetTool(), SaveTool())
        self.figure.toolbar.active_scroll, self.figure.toolbar.active_drag = zoom, pan
        self.figure.toolbar.logo = None
        self.source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.figure.image("image", "x", "y", "dw", "dh", source=self.source, color_mapper=mapper)
        self._cuts = (Span(dimension="height", **CUT), Span(dimension="width", **CUT))
        for cut in self._cuts:
            self.figure.add_layout(cut)
        for axis, ticks in ((self.across, self.figure.xaxis), (self.down, self.figure.yaxis)):
            if not axis.step:
                ticks.formatter = irregular(axis)

    def listen(
        self,
        moved: Callable[["Panel"], None],
        tapped: Callable[["Panel", float, float], None],
        hovered: Callable[["Panel", float, float], None],
    ) -> None:
        """Call functions when the ranges or the size changed, at a click, and when the mouse moves."""
        self.figure.on_event(RangesUpdate, lambda event: moved(self))
        self.figure.on_event(Tap, lambda event: tapped(self, event.x, event.y))
        self.figure.on_event(MouseMove, lambda event: hovered(self, event.x, event.y))

        def resized(attr: str, old: Any, new: Any) -> None:
            fit_texts(self.figure)
            if self.ratio is not None and self._is_home():
                self.home()
            moved(self)

        self.figure.on_change("inner_width", resized)
        self.figure.on_change("inner_height", resized)

    @property
    def pixels(self) -> tuple[int, int]:
        """Return the size of the frame."""
        return frame_of(self.figure)

    @property
    def seen(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return start and stop of the visible range, in positions; at least one."""
        found = []
        for axis, shown in ((self.across, self.figure.x_range), (self.down, self.figure.y_range)):
            ends = sorted((axis.position(shown.start), axis.position(shown.end)))
            first = min(max(int(np.floor(ends[0] + 0.5)), 0), axis.size - 1)
            found.append((first, min(max(int(np.ceil(ends[1] + 0.5)), first + 1), axis.size)))
        return found[0], found[1]

    def request(self, at: tuple[int, ...], shown: str) -> Request:
        """Return what the screen asks for."""
        return Request(self.plane, at, self.seen, self.pixels, shown)

    def further(self, request: Request) -> list[Request]:
        """Return the next requests, once a full answer is shown, if the panel continues to move as it did."""
        before, self.before = self.before, request
        if before is None or request.shown.startswith(DIFFERENCE):
            return []
        return following(before, request, [axis.size for axis in self.looked.axes])

    def show(self, answer: Answer) -> None:
        """Show an answer."""
        self.answer = answer
        values = answer.values
        left, right = sorted(self.across.coordinate(edge) for edge in answer.extent[:2])
        low, high = sorted(self.down.coordinate(edge) for edge in answer.extent[2:])
        if self.across.step < 0:
            values = values[:, ::-1]
        if self.down.step < 0:
            values = values[::-1]
        self.source.data = image_in(values, left, right, low, high)

    def mark(self, at: tuple[int, ...], *, is_active: bool) -> None:
        """Draw where the other planes cut this one, and whether keys act on it."""
        self._cuts[0].location = self.across.coordinate(at[self.plane.across])
        self._cuts[1].location = self.down.coordinate(at[self.plane.down])
        self.figure.outline_line_color = ACTIVE if is_active else INACTIVE

    def tell(self, at: tuple[int, ...], shown: str) -> None:
        """Show in the title the position of the plane, and the array that was read."""
        answer, axes = self.answer, self.looked.axes
        if answer is None:
            return
        others = [a for a in range(len(at)) if a not in self.plane.axes and axes[a].size > 1]
        parts = [", ".join(axes[a].text(at[a]) for a in others) or self.plane.name]
        is_difference = shown.startswith(DIFFERENCE)
        error = f" \N{PLUS-MINUS SIGN}{answer.max_abs_error:.3g}" if answer.max_abs_error > 0 else ""
        parts.append(shown if is_difference else f"{answer.array}{error}")
        if max(answer.every) > 1:
            parts.append("every {} x {}".format(*answer.every))
        if answer.is_first:
            parts.append("coarse for now")
        if answer.partial:
            parts.append("the middle only: zoom in, or make levels with seismill pyramid")
        # Always two lines, so that the frame keeps its size, and letters are legible in a narrow panel.
        self.figure.title.text = "\n".join((parts[0], " · ".join(parts[1:])))
        fit_texts(self.figure)

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the positions across and down at a place of the figure; None outside of the plane."""
        across, down = self.across.cell(x), self.down.cell(y)
        return None if across is None or down is None else (across, down)

    def value(self, cell: tuple[int, int]) -> float:
        """Return the value shown at positions across and down; NaN if there is none."""
        answer = self.answer
        if answer is None:
            return float("nan")
        # The first middle of a cell of the answer, before it was thinned.
        left = answer.extent[0] + answer.step[0] * answer.every[0] / 2 - answer.step[0] / 2
        top = answer.extent[2] + answer.step[1] * answer.every[1] / 2 - answer.step[1] / 2
        column = int(np.floor((cell[0] - left) / answer.step[0]))
        row = int(np.floor((cell[1] - top) / answer.step[1]))
        inside = 0 <= row < answer.full.shape[0] and 0 <= column < answer.full.shape[1]
        return float(answer.full[row, column]) if inside else float("nan")

    def home(self) -> None:
        """Show all of the plane."""
        (x0, x1), (y0, y1) = self._home
        if self.ratio is not None:
            more = to_scale((abs(x1 - x0), abs(y1 - y0)), self.pixels, self.ratio)
            sign = 1 if y1 > y0 else -1
            x0, x1 = x0 - more[0][0], x1 + more[0][1]
            y0, y1 = y0 - sign * more[1][0], y1 + sign * more[1][1]
        self._range((x0, x1), (y0, y1), as_home=True)

    def zoom(self, factor: float) -> None:
        """Zoom in or out around the middle."""
        ends = []
        for shown in (self.figure.x_range, self.figure.y_range):
            middle, half = (shown.start + shown.end) / 2, (shown.end - shown.start) / 2 * factor
            ends.append((middle - half, middle + half))
        self._range(*ends, as_home=False)

    def pan(self, across: float, down: float) -> None:
        """Move the view by fractions of its width and height; downwards is positive."""
        ends = []
        for shown, part in ((self.figure.x_range, across), (self.figure.y_range, -down)):
            by = part * (shown.end - shown.start)
            ends.append((shown.start + by, shown.end + by))
        self._range(*ends, as_home=False)

    def _is_home(self) -> bool:
        return all(
            (shown.start, shown.end) == (shown.reset_start, shown.reset_end) or shown.reset_start is None
            for shown in (self.figure.x_range, self.figure.y_range)
        )

    def _range(self, x: tuple[float, float], y: tuple[float, float], *, as_home: bool) -> None:
        for shown, (start, end) in ((self.figure.x_range, x), (self.figure.y_range, y)):
            if as_home:
                shown.update(start=start, end=end, reset_start=start, reset_end=end)
            else:
                shown.update(start=start, end=end)


def frame_of(shown: figure) -> tuple[int, int]:
    """Return width and height of a figure's frame in pixels; `PIXELS` until the browser has reported them."""
    try:
        return (shown.inner_width or PIXELS[0], shown.inner_height or PIXELS[1])
    except UnsetValueError:
        return PIXELS


def font_of(shown: figure, letters: int = 48) -> int:
    """Return a text size in pixels, 11 to 18: the width of the figure divided by `letters`."""
    return min(max(11, frame_of(shown)[0] // letters), 18)


def fit_texts(shown: figure, letters: int = 48) -> None:
    """Make numbers, names and the title of a figure as large as it allows; `letters` as for `font_of`."""
    size = font_of(shown, letters)
    for axis in shown.axis:
        axis.update(major_label_text_font_size=f"{size}px", axis_label_text_font_size=f"{size + 2}px")
    for bar in shown.select({"type": ColorBar}):
        bar.major_label_text_font_size = f"{size}px"
    longest = max(map(len, shown.title.text.split("\n")))
    fitting = int(LETTER * frame_of(shown)[0] / max(1, longest))
    shown.title.text_font_size = f"{min(max(LEAST_FONT, fitting), size + TITLE_LARGER)}px"


def image_in(values: np.ndarray, left: float, right: float, low: float, high: float) -> dict[str, list[Any]]:
    """Return the data of a glyph that shows values, axes down and across, between these edges."""
    return {
        "image": [np.ascontiguousarray(values)],
        "x": [left],
        "y": [low],
        "dw": [right - left],
        "dh": [high - low],
    }


CUT: dict[str, Any] = {"line_color": "#2f7d31", "line_alpha": 0.8, "line_width": 1, "line_dash": "dashed"}


def irregular(axis: ShownAxis) -> CustomJSTickFormatter:
    """Return ticks that show the labels of an axis that is drawn by position."""
    return CustomJSTickFormatter(
        args={"labels": [float(label) for label in axis.labels]},
        code="const n = Math.round(tick); return n === tick && labels[n] !== undefined ? String(labels[n]) : ''",
    )


def edges_of(axis: ShownAxis) -> tuple[float, float]:
    """Return the outermost edges of the cells of an axis, as it is drawn."""
    low, high = sorted((axis.coordinate(-0.5), axis.coordinate(axis.size - 0.5)))
    return low, high


def ratio_of(looked: LookedAt, plane: Plane) -> float | None:
    """Return the length of one unit of a plane's axis downwards in units of its axis across; None if they have none."""
    across, down = looked.axes[plane.across], looked.axes[plane.down]
    if plane.is_section or not (across.step and down.step):
        return None
    if not looked.has_traces:
        return 1.0 if across.unit == down.unit else None
    if looked.survey is None or {plane.across, plane.down} != {0, 1}:
        return None
    spacing = looked.survey.spacing
    ratio = spacing[plane.down] / spacing[plane.across]
    extents = abs(across.step * across.size), abs(down.step * down.size) * ratio
    return ratio if max(extents) <= 5 * min(extents) else None  # a narrow strip is stretched to be legible

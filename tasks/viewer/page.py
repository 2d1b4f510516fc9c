"""The page of one browser session: its panels, and the reactions to moves, choices, drawing and the cursor.

Answers are computed on threads; code that changes Bokeh's models runs in callbacks of the document.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from html import escape
from typing import Any

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import LinearColorMapper, Spacer, TextInput

from tasks.viewer.answers import Answer, Request
from tasks.viewer.beside import Beside
from tasks.viewer.colours import MAPS, NOTHING, first_map
from tasks.viewer.controls import LEAST_CLIP, Controls, grow
from tasks.viewer.keys import listener, press
from tasks.viewer.map_panel import LinePanel, MapPanel
from tasks.viewer.measures import limits
from tasks.viewer.model import LookedAt
from tasks.viewer.panel import Panel, ratio_of
from tasks.viewer.turns import Turns
from tasks.volume.outcomes import InputRefused

FIRST_CLIP = 99.0


class Page:
    """The page of one visitor."""

    def __init__(self, document: Document, looked: LookedAt, pool: Executor) -> None:
        """Fill a document."""
        self.looked, self._turns = looked, Turns(document, pool, self._say, self._wait)
        self.at = looked.middle()
        self.shown = looked.modes[0]
        self.clipped, self._follows, self._are_limits_set = FIRST_CLIP, False, False
        attributes = looked.volume.array_attributes(looked.finest.array) if looked.finest.array else {}
        is_integer = looked.finest.candidates[0].spec.numpy.kind in "bu"
        span = attributes.get("max", 2.0**16) - attributes.get("min", 0)
        self.colour_map = first_map(
            is_signed=not is_integer and attributes.get("min", -1) < 0, is_labels=is_integer and 1 < span < 64
        )
        self.mapper = LinearColorMapper(palette=MAPS[self.colour_map], low=-1, high=1, nan_color=NOTHING)
        self.panels = [Panel(looked, plane, self.mapper, ratio_of(looked, plane)) for plane in looked.planes]
        self.active = self.panels[0]
        self.map = MapPanel(looked, self.mapper)
        self.line = LinePanel(looked, self.mapper)
        self.beside = Beside(looked, self.mapper)
        self.controls = Controls(looked, self.at, self.colour_map, self.clipped, self)
        self._command = TextInput(visible=False, name="command")
        self._command.on_change("value", lambda attr, old, new: self.press(new))
        for panel in self.panels:
            panel.listen(self.ask, self._tapped, self._hovered)
        self.line.listen(self.ask_line, self._line_hovered)
        self.map.listen(self._map_tapped, self._map_hovered)
        document.title = f"{looked.finest.where.rstrip('/').rpartition('/')[2]} - Seismill"
        document.add_root(self._layout())
        document.js_on_event(DocumentReady, listener(self._command))
        grow(document, (self.controls.layout, self.beside.layout))
        document.on_session_destroyed(self._turns.end)
        self.refresh()

    def _layout(self) -> Any:
        figures: list[Any] = [panel.figure for panel in self.panels]
        if self.map.figure is not None:
            figures.append(self.map.figure)
        if len(figures) > 2 and len(figures) % 2:
            figures.append(Spacer(sizing_mode="stretch_both"))
        rows = [figures[n : n + 2] for n in range(0, len(figures), 2)]
        planes = column(
            *(row(*some, sizing_mode="stretch_both") for some in rows),
            self.line.figure,
            sizing_mode="stretch_both",
        )
        return row(
            self.controls.layout, planes, self.beside.layout, self._command, sizing_mode="stretch_both"
        )

    # What the controls do

    def move(self, places: dict[int, int]) -> None:
        """Go to other positions along some axes; those beyond the ends go to the ends."""
        at = tuple(
            min(max(places.get(number, p), 0), axis.size - 1)
            for number, (p, axis) in enumerate(zip(self.at, self.looked.axes, strict=True))
        )
        changed = {number for number, (new, old) in enumerate(zip(at, self.at, strict=True)) if new != old}
        if not changed:
            return
        self.at = at
        for number in changed & set(self.controls.positions):
            self.controls.positions[number].show(at[number])
        self._mark()
        for panel in self.panels:
            if changed - set(panel.plane.axes):
                self.ask(panel)
        if self.line.corners and changed - {0, 1, len(at) - 1}:
            self.ask_line()

    def show_samples(self, shown: str) -> None:
        """Show the master, a copy or a difference."""
        if shown not in self.looked.modes or shown == self.shown:
            return
        self.shown, self._are_limits_set = shown, False
        self.controls.shown.value = shown
        self.refresh()

    def show_colours(self, name: str) -> None:
        """Use another colour map."""
        if name in MAPS:
            self.colour_map = self.controls.colours.value = name
            self.mapper.palette = MAPS[name]
            self._colour()

    def clip(self, percent: float | None) -> None:
        """Clip the colours at another percentile of the visible samples."""
        if percent is None:
            return
        self.clipped = min(max(float(percent), LEAST_CLIP), 100.0)
        self.controls.clip.value = self.clipped
        self._colour()

    def follow(self, follows: bool) -> None:
        """Choose whether the colours adapt to the visible samples."""
        self._follows = follows
        if follows:
            self._colour()

    def draw(self, draws: bool) -> None:
        """Begin to draw a line on the map, or end it."""
        self.controls.draws.active = draws
        if draws:
            self.set_line([])

    def clear_line(self) -> None:
        """Remove the line."""
        self.controls.draws.active = False
        self.set_line([])

    def type_line(self, text: str) -> None:
        """Take a line from its corners as text."""
        if text == self.line.text:
            return
        try:
            self.set_line(self.line.parsed(text) if text.strip() else [])
        except InputRefused as refused:
            self._say(escape(str(refused)))

    def set_line(self, corners: Sequence[tuple[float, float]]) -> None:
        """Show the traces along a line; with fewer than two corners, show none."""
        self.line.corners = list(corners)
        self.controls.corners.value = self.line.text
        self.map.mark_line(self.line.corners)
        self.line.figure.visible = len(corners) > 1
        self.ask_line()

    def press(self, key: str) -> None:
        """Carry out the action of a key, which the title of the field names."""
        press(self, key.rpartition(" ")[0])
        self._command.title = key

    # Answers

    def refresh(self) -> None:
        """Ask for all panels anew."""
        self._mark()
        for panel in self.panels:
            self.ask(panel)
        self.ask_line()

    def ask(self, panel: Panel) -> None:
        """Request the view of a panel; while an answer is awaited, the newest request waits."""
        panel.version += 1
        if not panel.is_busy:
            request = panel.request(self.at, self.shown)
            call = partial(self.looked.answer, request, quick=True)
            self._turns.start(panel, call, partial(self._show, panel, request), partial(self.ask, panel))

    def sharpen(self, panel: Panel) -> None:
        """Request the full resolution of the screen, without delaying the requests of `ask`."""
        panel.sharp.version += 1
        if not panel.sharp.is_busy:
            request, version = panel.request(self.at, self.shown), panel.version

            def show(answer: Answer) -> None:
                if panel.version == version:
                    self._show(panel, request, answer)

            again = partial(self.sharpen, panel)
            self._turns.start(panel.sharp, partial(self.looked.answer, request), show, again)

    def ask_line(self) -> None:
        """Ask for the traces along the line."""
        line = self.line
        line.version += 1
        if not line.is_busy and len(line.corners) > 1:
            call = partial(self.looked.line, list(line.corners), self.at, line.pixels, self.shown)
            self._turns.start(line, call, self._show_line, self.ask_line)

    def _show(self, panel: Panel, request: Request, answer: Answer) -> None:
        panel.show(answer)
        self._say("")
        if not answer.is_first:
            self._turns.ahead(partial(self.looked.read_ahead, panel.further(request)))
        elif not panel.is_busy:
            self.sharpen(panel)
        panel.tell(self.at, self.shown)
        if self._follows or not self._are_limits_set:
            self._colour()
            self._are_limits_set = not any(other.is_busy or other.sharp.is_busy for other in self.panels)
        if panel is self.active:
            self.beside.measure(panel)

    def _show_line(self, answer: Any) -> None:
        self.line.show(answer)
        if self._follows:
            self._colour()

    def _colour(self) -> None:
        """Set the values of the first and the last colour from what is seen."""
        seen = [panel.answer.values for panel in self.panels if panel.answer is not None]
        if self.colour_map == "labels":
            low, high = -0.5, 255.5
        else:
            low, high = limits(seen, self.clipped)
        self.mapper.update(low=low, high=high)
        self.beside.measure(self.active)

    def _say(self, text: str) -> None:
        self.controls.notes.text = text

    def _wait(self, awaited: int) -> None:
        self.controls.waits.text = f"reading {awaited} …" if awaited else ""

    # The mouse

    def activate(self, panel: Panel) -> None:
        """Let keys act on a panel."""
        self.active = panel
        self._mark()
        self.beside.measure(panel)

    def _mark(self) -> None:
        for panel in self.panels:
            panel.mark(self.at, is_active=panel is self.active)
        self.map.mark(self.at)

    def _tapped(self, panel: Panel, x: float, y: float) -> None:
        self.activate(panel)
        cell = panel.cell(x, y)
        if cell is not None:
            self.move({panel.plane.across: cell[0], panel.plane.down: cell[1]})

    def _map_tapped(self, x: float, y: float) -> None:
        if self.controls.draws.active:
            self.set_line([*self.line.corners, *self.map.corners([x], [y])])
            return
        cell = self.map.cell(x, y)
        if cell is not None:
            self.move(dict(enumerate(cell)))

    def _hovered(self, panel: Panel, x: float, y: float) -> None:
        cell = panel.cell(x, y)
        if cell is not None:
            places = {panel.plane.across: cell[0], panel.plane.down: cell[1]}
            self._point(tuple(places.get(a, p) for a, p in enumerate(self.at)), panel.value(cell))

    def _line_hovered(self, x: float, y: float) -> None:
        found = self.line.place(x, y, self.at)
        if found is not None:
            self._point(*found)

    def _map_hovered(self, x: float, y: float) -> None:
        cell = self.map.cell(x, y)
        if cell is not None:
            self._point((*cell, *self.at[len(cell) :]), float("nan"))

    def _point(self, at: tuple[int, ...], value: float) -> None:
        """Show what is under the cursor: at once what is known, the stored sample and the header when they are read."""
        if not self.beside.point(at, value):
            return
        self.map.point(at)
        self._ask_cursor()

    def _ask_cursor(self) -> None:
        beside = self.beside
        beside.version += 1
        if not beside.is_busy:
            self._turns.start(beside, partial(beside.read, beside.at), beside.show_read, self._ask_cursor)

"""The controls at the left: positions in the survey's own numbers, what is shown, colours, the line."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    Checkbox,
    CustomJS,
    Div,
    Select,
    Slider,
    Spinner,
    TextInput,
    Toggle,
    UIElement,
)

from tasks.viewer.colours import MAPS
from tasks.viewer.keys import explained
from tasks.viewer.model import LookedAt
from tasks.viewer.scene import ShownAxis

WIDTH = 270
LEAST_CLIP = 50.0
# What is beside the panels grows with a wide window.
_GROW = """
const by = Math.min(1.5, innerWidth / 1700);
if (window.seismillGrown || by <= 1) return;
window.seismillGrown = true;
document.documentElement.style.setProperty('--bokeh-font-size', `${12 * by}px`);
for (const model of sized) {
  if (model.width) model.width = Math.round(model.width * by);
  if (model.height) model.height = Math.round(model.height * by);
}
"""


class PositionControl:
    """A slider and a number for the position along one axis."""

    def __init__(self, axis: ShownAxis, at: int, moved: Callable[[int], None]) -> None:
        """Show a position; call `moved` with another one that was chosen."""
        self.axis, self._moved, self._is_ours = axis, moved, False
        # An axis whose steps vary is slid over by position, and its number says the label.
        span = (axis.coordinate(0), axis.coordinate(axis.size - 1))
        self.slider = Slider(
            start=min(span),
            end=max(span),
            step=abs(axis.step) or 1,
            value=axis.coordinate(at),
            show_value=False,
            title=axis.title,
            width=WIDTH - 110,
            name=f"slider {axis.name}",
        )
        self.number = Spinner(
            value=float(axis.labels[at]), step=abs(axis.step) or 1, width=95, name=f"number {axis.name}"
        )
        self.slider.on_change("value", lambda attr, old, new: self._chosen(axis.cell(new)))
        self.number.on_change(
            "value", lambda attr, old, new: self._chosen(None if new is None else axis.nearest(new))
        )

    def show(self, at: int) -> None:
        """Show another position."""
        self._is_ours = True
        try:
            self.slider.value = self.axis.coordinate(at)
            self.number.value = float(self.axis.labels[at])
        finally:
            self._is_ours = False

    def _chosen(self, at: int | None) -> None:
        if at is not None and not self._is_ours:
            self._moved(at)


class Controls:
    """All controls of a `page`."""

    def __init__(self, looked: LookedAt, at: Sequence[int], colour_map: str, clip: float, page: Any) -> None:
        """Make the controls."""
        self.positions: dict[int, PositionControl] = {
            number: PositionControl(axis, at[number], lambda p, number=number: page.move({number: p}))  # type: ignore[misc]
            for number, axis in enumerate(looked.axes)
            if axis.size > 1 and (len(looked.axes) > 2)
        }
        self.shown = Select(
            title="Samples", options=looked.modes, value=looked.modes[0], width=WIDTH, name="samples"
        )
        self.colours = Select(
            title="Colours", options=list(MAPS), value=colour_map, width=WIDTH - 100, name="colours"
        )
        self.clip = Spinner(
            title="Clip %", low=LEAST_CLIP, high=100, step=0.5, value=clip, width=85, name="clip"
        )
        self.follows = Checkbox(label="Colours follow what is seen", active=False, name="follow")
        self.draws = Toggle(label="Draw a line on the map", width=WIDTH - 80, name="draw")
        self.clear = Button(label="Clear", width=65, name="clear")
        names = ", ".join(axis.name for axis in looked.axes[:2])
        self.corners = TextInput(title=f"Line: {names}; {names}; …", width=WIDTH, name="line")
        self.notes = Div(width=WIDTH, name="notes")
        self.waits = Div(width=WIDTH, height=18, styles={"color": "#777777"}, name="waits")
        self.shown.on_change("value", lambda attr, old, new: page.show_samples(new))
        self.colours.on_change("value", lambda attr, old, new: page.show_colours(new))
        self.clip.on_change("value", lambda attr, old, new: page.clip(new))
        self.follows.on_change("active", lambda attr, old, new: page.follow(new))
        self.draws.on_change("active", lambda attr, old, new: page.draw(new))
        self.clear.on_click(page.clear_line)
        self.corners.on_change("value", lambda attr, old, new: page.type_line(new))
        line: list[UIElement] = []
        if looked.line_axes is not None and all(looked.axes[a].size > 1 for a in looked.line_axes):
            line = [row(self.draws, self.clear), self.corners]
        self.layout = column(
            Div(text=_heading(looked), width=WIDTH),
            *(row(control.slider, control.number) for control in self.positions.values()),
            self.shown,
            row(self.colours, self.clip),
            self.follows,
            *line,
            self.waits,
            self.notes,
            Div(text=explained(), width=WIDTH),
            width=WIDTH + 15,
        )


def grow(document: Document, columns: Sequence[UIElement]) -> None:
    """Let the columns beside the panels grow with a wide window."""
    sized = [model for part in columns for model in part.select({"type": UIElement})]
    for model in sized:
        model.stylesheets = [*model.stylesheets, ".bk-input { font-size: inherit }"]
    document.js_on_event(DocumentReady, CustomJS(args={"sized": sized}, code=_GROW))


def _heading(looked: LookedAt) -> str:
    from html import escape

    url = looked.finest.where
    extents = " x ".join(f"{axis.size:,}" for axis in looked.axes)
    names = ", ".join(axis.name for axis in looked.axes)
    cells = int(np.prod([axis.size for axis in looked.axes], dtype=object))
    raw = cells * looked.finest.candidates[0].spec.numpy.itemsize
    size = f"{raw / 1e9:.3g} GB" if raw >= 1e9 else f"{raw / 1e6:.3g} MB"
    levels = len(looked.volume.state.levels) - 1  # the first is the master
    return (
        f"<b>{escape(url.rstrip('/').rpartition('/')[2])}</b><br><small title='{escape(url, quote=True)}'>"
        f"{escape(names)}<br>{extents} values, {size}<br>{levels} level{'s' * (levels != 1)}, "
        f"{len(looked.copies)} {'copy' if len(looked.copies) == 1 else 'copies'}</small>"
    )

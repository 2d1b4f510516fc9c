"""Handle keys, and describe them on a help page."""

from collections.abc import Sequence
from typing import Any

from bokeh.models import CustomJS, TextInput

from tasks.viewer.colours import MAPS

MANY_STEPS = 10
CLIP_STEP = 0.5

KEYS = {
    "← →": "step to the slice before or after; with Shift ten",
    "1 2 3 …": "choose the panel that keys act on",
    "+ \N{MINUS SIGN}": "zoom in and out",
    "w a s d": "pan up, left, down, right",
    "0": "show all of the plane",
    "c": "the next colour map; with Shift the one before",
    "[ ]": "clip more, clip less",
    "m": "the next of master, copies and differences; with Shift the one before",
    "l": "draw a line on the map, or end it",
    "Esc": "take the line away",
}

# Keys that are typed into a field stay there. The counter makes each key a change.
_LISTEN = """
if (window.seismillKeys) return;
window.seismillKeys = true;
let count = 0;
window.addEventListener('keydown', (event) => {
  const target = event.composedPath()[0];
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (target && ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName)) return;
  if (target && target.classList && target.classList.contains('noUi-handle')) return;
  if (!/^(Arrow(Left|Right)|[0-9]|[+=\\-_wasdWASDcCmMlL\\[\\]]|Escape)$/.test(event.key)) return;
  event.preventDefault();
  count += 1;
  command.value = (event.shiftKey ? 'Shift+' : '') + event.key + ' ' + count;
});
"""


def listener(command: TextInput) -> CustomJS:
    """Return JavaScript that writes each key into a field, such as `Shift+ArrowLeft 12`; the number counts all keys."""
    return CustomJS(args={"command": command}, code=_LISTEN)


def explained() -> str:
    """Return an HTML table of the keys."""
    rows = "".join(f"<tr><td><kbd>{key}</kbd></td><td>{text}</td></tr>" for key, text in KEYS.items())
    return f"<details><summary>Keys</summary><table>{rows}</table></details>"


def press(page: Any, key: str) -> None:
    """Carry out the action of a key on a page."""
    key, shift = key.removeprefix("Shift+"), key.startswith("Shift+")
    name = key.lower()
    if name in ("arrowleft", "arrowright") and page.active.plane.stepped >= 0:
        by = (1 if name == "arrowright" else -1) * (MANY_STEPS if shift else 1)
        axis = page.active.plane.stepped
        page.move({axis: page.at[axis] + by})
    elif name.isdigit() and 0 < int(name) <= len(page.panels):
        page.activate(page.panels[int(name) - 1])
    elif name in ("+", "=", "-", "_", "0", "w", "a", "s", "d"):
        _navigate(page, name)
    elif name == "c":
        page.show_colours(_next(list(MAPS), page.colour_map, -1 if shift else 1))
    elif name == "m":
        page.show_samples(_next(page.looked.modes, page.shown, -1 if shift else 1))
    elif name in ("[", "]"):
        page.clip(page.clipped + (CLIP_STEP if name == "]" else -CLIP_STEP))
    elif name == "l" and page.looked.line_axes is not None:
        page.draw(not page.controls.draws.active)
    elif name == "escape":
        page.clear_line()


def _navigate(page: Any, key: str) -> None:
    if key == "0":
        page.active.home()
    elif key in "+=-_":
        page.active.zoom(0.5 if key in "+=" else 2.0)
    else:
        across, down = {"w": (0, -1), "s": (0, 1), "a": (-1, 0), "d": (1, 0)}[key]
        page.active.pan(across / 4, down / 4)
    page.ask(page.active)


def _next(names: Sequence[str], name: str, by: int) -> str:
    return names[(names.index(name) + by) % len(names)]

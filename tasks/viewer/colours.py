"""Colour maps by name, 256 colours each."""

from bokeh import palettes

COLOURS = 256
NOTHING = "#e3dcc3"  # where no trace is
DIVERGING = tuple(palettes.interp_palette(palettes.RdBu[11], COLOURS))
MAPS: dict[str, tuple[str, ...]] = {
    "red-white-blue": DIVERGING[::-1],
    "grey": tuple(palettes.Greys256),
    "red-white-black": tuple(
        palettes.interp_palette(("#8c0000", "#ff0000", "#ffffff", "#707070", "#000000"), COLOURS)
    ),
    "brown-white-teal": tuple(palettes.interp_palette(palettes.BrBG[11], COLOURS)),
    "viridis": tuple(palettes.Viridis256),
    "cividis": tuple(palettes.Cividis256),
    "inferno": tuple(palettes.Inferno256),
    # Neighbouring labels get colours far from each other; 0, mostly background, is black.
    "labels": ("#000000", *(palettes.Turbo256[(97 * n + 31) % COLOURS] for n in range(1, COLOURS))),
}


def first_map(*, is_signed: bool, is_labels: bool) -> str:
    """Return the name of the colour map that is shown first."""
    if is_labels:
        return "labels"
    return "red-white-blue" if is_signed else "grey"

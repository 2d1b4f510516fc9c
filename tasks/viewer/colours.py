"""Colour maps by name, 256 colours each."""

from bokeh import palettes

from tasks.volume.report.look import NO_TRACE, SEISMIC_STOPS

COLOURS = 256
NOTHING = "#{:02x}{:02x}{:02x}".format(*NO_TRACE)  # where no trace is, as in the report
DIVERGING = tuple(palettes.interp_palette(SEISMIC_STOPS, COLOURS))
MAPS: dict[str, tuple[str, ...]] = {
    "blue-white-red": DIVERGING,  # as in the report: red is positive
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
    return "blue-white-red" if is_signed else "grey"

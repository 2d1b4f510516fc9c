"""The slices that a report shows, read within limits that do not grow with the volume.

A slice across the long side of chunks touches nearly all of them: reading one crossline of a copy for inlines takes as
long as reading the whole copy. So only the middle of such a slice is shown, in whole chunks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region, block_count
from tasks.volume.report.ahead import CHUNKS_AHEAD, read_ahead, sample_regions
from tasks.volume.report.look import SAMPLE_AXES, look_of

SLICE_BYTES = 1 << 30  # of chunks decoded for one slice of the master
SLICE_SAMPLES = 1 << 23
DETAIL_BYTES = 48 << 20  # of chunks decoded for one slice of a copy
SAMPLE_VALUES = 1 << 22
MASK_CELLS = 1 << 24  # up to here the mask is read once, whole
LEAST_RATIO, LARGEST_RATIO = 0.5, 2.5  # of a map's width by height: beyond, it is stretched to be legible
SPACING_CELLS = 64  # traces along each axis whose coordinates tell how wide a cell is


@dataclass(frozen=True, eq=False)
class Side:
    """One side of an image: what it counts, in what unit, and the ascending coordinate of every row or column."""

    name: str
    unit: str
    values: np.ndarray

    def part(self, span: slice) -> "Side":
        """Return the same side of a part of the image."""
        return Side(self.name, self.unit, self.values[span])

    def label(self, at: int) -> str:
        """Return the coordinate at a position, as in a title."""
        return f"{self.name} {self.values[at]:g} {self.unit}".strip()


@dataclass(frozen=True, eq=False)
class View:
    """A slice of the master and of one copy, as one row of a picture shows it.

    Attributes:
        across: Columns.
        down: Rows, first one at the top unless `upward`.
        upward: A map: rows count from the bottom.
        ratio: Width by height at which it is shown; None for a section, whose axes have no common scale.
        master: Shape (down, across).
        live: True where there are traces; the same shape.
        master_title: Name and subtitle.
        copy: Shape (down, across); None if there is none.
        copy_title: Name and subtitle.
        detail: Whether this is a part of the slice only.
    """

    across: Side
    down: Side
    upward: bool
    ratio: float | None
    master: np.ndarray
    live: np.ndarray
    master_title: tuple[str, str]
    copy: np.ndarray | None = None
    copy_title: tuple[str, str] = ("", "")
    detail: bool = False


@dataclass(frozen=True, eq=False)
class Slice:
    """One picture: its title, a view for each copy, and phrases on what it shows in part only.

    Views are in the order of their rows, by copy, those that show the whole slice first. If there is none of
    those, the first view is the master alone, under its own path.
    """

    title: str
    views: dict[str, View]
    partial: list[str]


@dataclass(frozen=True, eq=False)
class Mask:
    """Which cells hold a trace: read once where it is small, else region by region."""

    volume: Volume
    whole: np.ndarray | None

    def live(self, region: Region) -> np.ndarray:
        """Return the live mask, of the region's shape."""
        shape = tuple(r.stop - r.start for r in region)
        if not self.volume.has("trace_mask"):
            return np.broadcast_to(np.True_, shape)
        return np.broadcast_to(self.cells(region[:-1])[..., np.newaxis], shape)

    def cells(self, cells: Region) -> np.ndarray:
        """Return the live mask of a region without the last axis."""
        return self.whole[cells] if self.whole is not None else self.volume.read("trace_mask", cells)

    def middle(self, axis: int, count: int) -> int:
        """Return the position nearest to the middle of an axis that has any trace; the middle if none has."""
        if self.whole is None or axis >= self.whole.ndim:
            return count // 2
        others = tuple(a for a in range(self.whole.ndim) if a != axis)
        present = np.flatnonzero(self.whole.any(axis=others))
        return int(present[np.argmin(np.abs(present - count // 2))]) if present.size else count // 2


def mask_of(volume: Volume) -> Mask:
    """Return the trace mask of a volume; without one (images) all cells are live."""
    small = volume.has("trace_mask") and math.prod(volume.spec("trace_mask").shape) <= MASK_CELLS
    return Mask(volume, volume.read("trace_mask") if small else None)


def sides_of(volume: Volume) -> list[Side]:
    """Return the coordinates of the master's axes; positions where a volume stores none."""
    spec, sides = volume.spec(volume.master), []
    stored = read_ahead(volume, [(name, None) for name in spec.dims if volume.has(name)])
    for axis, (name, count) in enumerate(zip(spec.dims, spec.shape, strict=True)):
        if volume.has(name):
            attributes = volume.array_attributes(name)
            unit = next(iter(attributes.get("unitsV1", {}).values()), attributes.get("units", ""))
            sides.append(Side(name, unit, next(stored)))
        else:
            sides.append(Side(name, *volume.root.group.coordinates(volume, axis, count)))
    return sides


def central(
    spec: ArraySpec, region: Region, *, limit_bytes: int, limit_samples: int = SLICE_SAMPLES
) -> Region:
    """Return the middle of a region, in whole chunks, that decodes at most `limit_bytes` (but at least one chunk).

    All of the region if it keeps the limits.
    """
    spans = [[r.start // c, -(-r.stop // c)] for r, c in zip(region, spec.chunks, strict=True)]
    centres = [(r.start + r.stop) / 2 / c for r, c in zip(region, spec.chunks, strict=True)]
    decoded = spec.numpy.itemsize * math.prod(map(min, spec.chunks, spec.shape))

    def window() -> Region:
        return tuple(
            slice(max(r.start, low * c), min(r.stop, high * c))
            for r, (low, high), c in zip(region, spans, spec.chunks, strict=True)
        )

    while True:
        found = window()
        extents = [r.stop - r.start for r in found]
        chunks = math.prod(high - low for low, high in spans)
        if chunks == 1 or (chunks * decoded <= limit_bytes and math.prod(extents) <= limit_samples):
            return found
        axis = max((a for a, (low, high) in enumerate(spans) if high - low > 1), key=extents.__getitem__)
        low, high = spans[axis]
        spans[axis] = [low, high - 1] if high - centres[axis] > centres[axis] - low else [low + 1, high]


def slice_of(
    volume: Volume,
    axes: tuple[int, int],
    copies: list[str],
    *,
    mask: Mask,
    sides: list[Side],
    captions: Mapping[str, str],
) -> Slice:
    """Return the middle slice along two axes: of the master and, beside it, of every copy.

    Args:
        volume: The volume.
        axes: Axes of the master, ascending; all others are fixed at their middle.
        copies: Paths of copies.
        mask: Result of `mask_of`.
        sides: Result of `sides_of`.
        captions: A subtitle for every path.
    """
    spec, master = volume.spec(volume.master), volume.master
    fixed = {a: mask.middle(a, n) for a, n in enumerate(spec.shape) if a not in axes}
    whole = tuple(
        slice(fixed[a], fixed[a] + 1) if a in fixed else slice(0, n) for a, n in enumerate(spec.shape)
    )
    full = central(spec, whole, limit_bytes=SLICE_BYTES)
    windows = {path: central(volume.spec(path), full, limit_bytes=DETAIL_BYTES) for path in copies}
    section = sides[axes[1]].name in SAMPLE_AXES
    across, down = axes if section else axes[::-1]
    voxels = look_of(volume).voxels
    cell = None if section else _cell_ratio(volume, whole, across, down, voxels)

    def view(window: Region, values: np.ndarray, path: str = "", copy: np.ndarray | None = None) -> View:
        def flat(block: np.ndarray) -> np.ndarray:
            plane = block.reshape([block.shape[a] for a in axes])
            return plane.T if section else plane

        cells = [window[a].stop - window[a].start for a in (across, down)]
        return View(
            across=sides[across].part(window[across]),
            down=sides[down].part(window[down]),
            upward=volume.has("trace_mask") and not section,
            ratio=None if cell is None else _shown_ratio(cells[0] / cells[1] * cell, voxels),
            master=flat(values),
            live=flat(mask.live(window)),
            master_title=(volume.master_name, captions[volume.shown(volume.master)]),
            copy=None if copy is None else flat(copy),
            copy_title=(path, captions[path]) if path else ("", ""),
            detail=window != full,
        )

    def rank(path: str) -> tuple[int, int]:
        """Return a sort key: the largest window first, then the copy with the thinnest chunks here."""
        thickness = math.prod(volume.spec(path).chunks[a] for a in fixed)
        return -math.prod(r.stop - r.start for r in windows[path]), thickness

    order = sorted(copies, key=rank)
    read = read_ahead(volume, [(master, full), *((path, windows[path]) for path in order)])
    values = next(read)
    views = {} if order and windows[order[0]] == full else {master: view(full, values)}
    for path in order:
        inside = tuple(
            slice(w.start - f.start, w.stop - f.start) for w, f in zip(windows[path], full, strict=True)
        )
        views[path] = view(windows[path], values[inside], path, next(read))
    partial = [] if full == whole else ["the middle of the slice only, because it is large"]
    cut = [path for path in order if windows[path] != full]
    if cut:
        partial.append(f"only a detail of {', '.join(cut)}, not chunked for this direction")
    return Slice(", ".join(sides[a].label(at) for a, at in fixed.items()) or "section", views, partial)


def _shown_ratio(ratio: float, voxels: bool) -> float:
    """Return the width by height of a picture: an image's own, a map's within limits."""
    return ratio if voxels else min(max(ratio, LEAST_RATIO), LARGEST_RATIO)


def _cell_ratio(volume: Volume, region: Region, across: int, down: int, voxels: bool) -> float:
    """Return the ratio of width to height of a map cell, by the coordinates of some traces in its middle; else 1.

    Of an image, by the lengths of a voxel.
    """
    if voxels:
        lengths = [abs(float(length)) for length in volume.state.levels[0].scale]
        return lengths[across] / lengths[down] if lengths[across] and lengths[down] else 1.0
    if not (volume.has("cdp_x") and volume.has("cdp_y")):
        return 1.0
    window = list(region[:-1])
    for axis in (across, down):
        middle, half = (region[axis].start + region[axis].stop) // 2, SPACING_CELLS // 2
        window[axis] = slice(max(region[axis].start, middle - half), min(region[axis].stop, middle + half))
    # Of gathers the coordinates are those of the bins, which have no axis of offsets.
    dims, of_bins = volume.spec(volume.master).dims, volume.spec("cdp_x").dims
    if not {dims[across], dims[down]} <= set(of_bins):
        return 1.0
    there = tuple(window[dims.index(dim)] for dim in of_bins)
    x, y = read_ahead(volume, [(name, there) for name in ("cdp_x", "cdp_y")])
    spacing = []
    for axis in (of_bins.index(dims[across]), of_bins.index(dims[down])):
        steps = np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis))
        steps = steps[np.isfinite(steps)]
        spacing.append(float(np.median(steps)) if steps.size else 0.0)
    return spacing[0] / spacing[1] if all(spacing) else 1.0


def sample(volume: Volume, path: str, mask: Mask) -> tuple[np.ndarray, str]:
    """Live finite samples of `sample_regions`, thinned to some millions; and how much of the array was read."""
    spec = volume.spec(path)
    chosen, total = sample_regions(spec), block_count(spec.shape, spec.chunks)
    read = sum(math.prod(r.stop - r.start for r in region) for region in chosen)
    every = -(-read // SAMPLE_VALUES)
    parts = []
    chunks = read_ahead(volume, [(path, entry) for entry in chosen], ahead=CHUNKS_AHEAD)
    for region, values in zip(chosen, chunks, strict=True):
        kept = values[mask.live(region)][::every]
        parts.append(kept[np.isfinite(kept)])
    words = "all values" if len(chosen) == total else f"{len(chosen)} of {total:,} chunks"
    return np.concatenate(parts), words if every == 1 else f"one value in {every} of {words}"


def compared(path: str, slices: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of copy and master in the slices, where the master is finite; a few millions at most."""
    pairs = []
    for member in slices:
        view = member.views[path]
        assert view.copy is not None
        shown = view.live & np.isfinite(view.master)
        every = 1 + np.count_nonzero(shown) // SAMPLE_VALUES
        pairs.append((view.copy[shown][::every], view.master[shown][::every]))
    copies, masters = zip(*pairs, strict=True)
    return np.concatenate(copies), np.concatenate(masters)

"""The volume shown: its levels, copies and planes, and the answers to requests of the screen.

This module does not depend on the browser. All methods may be called from several threads.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from tasks.dataset.ground import along, line_dims, survey_map
from tasks.dataset.opened import TRACE_MASK, Opened
from tasks.parameters import StorageOptions
from tasks.viewer.answers import Answer, Request
from tasks.viewer.cells import CACHE_BYTES, CellCache
from tasks.viewer.scene import Plane, ShownAxis, axes_of, planes_of
from tasks.viewer.sharpness import QUICK_SECONDS, Choice, Spans, at_level, chosen, factors_of, quicker
from tasks.volume.arrays.reader import open_any
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.affine import Affine
from tasks.volume.reading.choice import ReadableArray
from tasks.volume.reading.indexing import Group, read_selection
from tasks.volume.reading.polyline import corners_of, positions_of, traces_along
from tasks.volume.store.objects import Store

FASTEST, LOSSLESS = "fastest", "master"
DIFFERENCE = "difference: "
LINE = "line"


class LookedAt:
    """A volume that is open in the viewer."""

    def __init__(self, url: str, options: StorageOptions, cache_bytes: int = CACHE_BYTES) -> None:
        """Open the volume; only its root, its labels and its mask are read.

        Raises:
            InputRefused: There is no volume, or nothing in it can be drawn.
        """
        self.volume = open_any(Store(url, options))
        count = len(self.volume.state.levels)
        self._levels = {
            error: [Opened(self.volume, level, error, True) for level in range(count)]
            for error in (np.inf, 0.0)
        }
        self.finest = self._levels[0.0][0]
        if self.finest.candidates[0].spec.numpy.kind not in "biuf":
            raise InputRefused(
                f"{self.finest.where} holds {self.finest.candidates[0].spec.dtype}; a viewer shows numbers"
            )
        self.axes: list[ShownAxis] = axes_of(self.finest)
        self.planes: list[Plane] = planes_of(self.finest)
        self.cache = CellCache(cache_bytes)
        self.quick_seconds = QUICK_SECONDS

    @property
    def has_traces(self) -> bool:
        """Return whether the volume has a grid of traces."""
        return self.finest.has(TRACE_MASK)

    @cached_property
    def copies(self) -> list[ReadableArray]:
        """Copies of the master by path."""
        first = 0 if self.volume.left_out else 1
        return sorted(self._levels[np.inf][0].candidates[first:], key=lambda array: array.path)

    @property
    def modes(self) -> list[str]:
        """Return the choices of what to show: the fastest array, the lossless one, each copy, each difference.

        A volume without its lossless array has no differences from it.
        """
        paths = [array.path for array in self.copies]
        if self.volume.left_out:
            return [FASTEST, *paths]
        return [FASTEST, LOSSLESS, *paths, *(f"{DIFFERENCE}{path}" for path in paths)]

    @cached_property
    def survey(self) -> Affine | None:
        """Return the map from line numbers to X and Y; None if there is none."""
        try:
            return survey_map(self.finest)
        except InputRefused:
            return None

    @cached_property
    def line_axes(self) -> tuple[int, int] | None:
        """Return the axes of inline and crossline, along which an arbitrary line may be drawn."""
        try:
            line_dims(self.finest)
        except InputRefused:
            return None
        return (0, 1)

    def middle(self) -> tuple[int, ...]:
        """Return the first position along each axis: the trace nearest to the middle, if there are traces."""
        mask, found = self.finest.mask, [axis.size // 2 for axis in self.axes]
        if mask is None or not mask.any():
            return tuple(found)
        places = np.argwhere(mask)
        nearest = places[np.argmin(np.abs(places - np.array(found[: mask.ndim])).sum(axis=1))]
        return (*(int(n) for n in nearest), *found[mask.ndim :])

    def whole(self, plane: Plane) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return all of a plane."""
        return ((0, self.axes[plane.across].size), (0, self.axes[plane.down].size))

    def answer(self, request: Request, *, quick: bool = False) -> Answer:
        """Return the answer to a request of a screen.

        Args:
            request: Request to answer.
            quick: Return a coarser level, marked as `is_first`, if the sharp answer would take long.

        Raises:
            IntegrityFailure: A chunk does not fit its checksum, or is missing where a trace exists.
        """
        plane, choice = request.plane, self._choice_for(request)
        first = self._quicker(request.shown, choice) if quick else None
        choice = first or choice
        values = self._read(choice)
        if request.shown.startswith(DIFFERENCE):
            master = Choice(self.finest, self.finest.candidates[0], choice.cost, choice.spans, choice.partial)
            values = values - self._read(master)
        shown = at_level(choice.spans, factors_of(choice.opened), choice.opened.shape)
        values = values.reshape([shown[axis][1] - shown[axis][0] for axis in plane.axes])
        full = values.T if plane.across < plane.down else values
        found = self._answer(
            choice, full, shown[plane.across], shown[plane.down], request.pixels, plane.across, plane.down
        )
        return replace(found, is_first=first is not None)

    def read_ahead(self, requests: Sequence[Request]) -> None:
        """Read the first of some requests that is not in the cache, so that a later answer needs no read.

        Raises:
            IntegrityFailure: Same as in `answer`.
        """
        for request in requests:
            choice = self._choice_for(request)
            if choice.partial:
                return
            if not self._has(choice):
                self._read(choice)
                return

    def line(
        self,
        corners: Sequence[Sequence[float]],
        at: tuple[int, ...],
        pixels: tuple[int, int],
        shown: str = FASTEST,
    ) -> Answer:
        """Return the traces along a line through the survey.

        Args:
            corners: Pairs of inline and crossline.
            at: The position along each other axis.
            pixels: Width and height of the screen.
            shown: Same as in `Request`.

        Raises:
            InputRefused: The line leaves the survey, or the volume has no inlines and crosslines.
        """
        dims, last = line_dims(self.finest), len(self.axes) - 1
        points = corners_of(corners)
        places = [
            positions_of(self.axes[a].labels, points[:, a], dims[a], self.finest.where) for a in range(2)
        ]
        traces = traces_along(np.stack(places, axis=1))
        spans = [(0, len(traces)), (0, 1), *((n, n + 1) for n in at[2:last]), (0, self.axes[last].size)]

        def groups_at(opened: Opened, level_spans: Spans) -> list[Group]:
            factors = factors_of(opened)
            columns = tuple(
                np.minimum(traces[:, a] // factors[a], opened.shape[a] - 1).astype(np.int64) for a in range(2)
            )
            rest = [Group((a,), (range(*level_spans[a]),)) for a in range(2, last + 1)]
            return [Group((0, 1), columns), *rest]

        choice = self._choice(shown, tuple(spans), {last: pixels[1]}, groups_at=groups_at)
        selection = groups_at(
            choice.opened, at_level(choice.spans, factors_of(choice.opened), choice.opened.shape)
        )
        values = self._selected(choice.opened, choice.array, selection)
        if shown.startswith(DIFFERENCE):
            values = values - self._selected(self.finest, self.finest.candidates[0], selection)
        full = values.reshape(len(traces), -1).T
        down = at_level(choice.spans, factors_of(choice.opened), choice.opened.shape)[last]
        found = self._answer(choice, full, (0, len(traces)), down, pixels, -1, last)
        labels = [self.axes[a].labels[traces[:, a]] for a in range(2)]
        distance = along(self.survey, labels[0], labels[1]) if self.survey else np.empty(0)
        return replace(found, distance=distance, traces=traces)

    def _selected(self, opened: Opened, array: ReadableArray, groups: Sequence[Group]) -> np.ndarray:
        values = read_selection(self.volume.store_of(array.path), array.spec, groups, live=opened.mask)
        return self._hidden(opened, values, groups)

    def _choice_for(self, request: Request) -> Choice:
        plane = request.plane
        spans = [(position, position + 1) for position in request.at]
        spans[plane.across], spans[plane.down] = request.seen
        pixels = {plane.across: request.pixels[0], plane.down: request.pixels[1]}
        return self._choice(request.shown, tuple(spans), pixels)

    def _choice(self, shown: str, spans: Spans, pixels: dict[int, int], **more: Any) -> Choice:
        if shown == FASTEST:
            return chosen(self._levels[np.inf], spans, pixels, **more)
        if shown == LOSSLESS:
            return chosen(self._levels[0.0], spans, pixels, **more)
        path = shown.removeprefix(DIFFERENCE)
        only = Opened(self.volume, 0, np.inf, True)
        only.candidates = [array for array in self.copies if array.path == path]
        if not only.candidates:
            raise InputRefused(f"{self.finest.where} has no copy {path}; it has {', '.join(self.modes)}")
        return chosen([only], spans, pixels, **more)

    def _quicker(self, shown: str, choice: Choice) -> Choice | None:
        """Return a quicker choice if the sharp one takes long and is not kept."""
        if shown.startswith(DIFFERENCE) or self._has(choice):
            return None
        return quicker(self._levels[0.0], choice, self.quick_seconds)

    def _has(self, choice: Choice) -> bool:
        spans = at_level(choice.spans, factors_of(choice.opened), choice.opened.shape)
        return self.cache.has(choice.array.spec, tuple(slice(*span) for span in spans))

    def _read(self, choice: Choice) -> np.ndarray:
        """Return the values of a choice as float32, NaN where no trace is."""
        spans = at_level(choice.spans, factors_of(choice.opened), choice.opened.shape)
        region = tuple(slice(*span) for span in spans)
        values = self.cache.read(self.volume, choice.array.spec, region, choice.opened.mask)
        groups = [Group((axis,), (range(*span),)) for axis, span in enumerate(spans)]
        return self._hidden(choice.opened, values, groups)

    def _hidden(self, opened: Opened, values: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
        shown = values.astype(np.float32)
        if opened.has_holes and opened.has(TRACE_MASK):
            shown[np.broadcast_to(~opened.live(groups), shown.shape)] = np.nan
        return shown

    def _answer(
        self,
        choice: Choice,
        full: np.ndarray,
        across: tuple[int, int],
        down: tuple[int, int],
        pixels: tuple[int, int],
        across_axis: int,
        down_axis: int,
    ) -> Answer:
        factors = factors_of(choice.opened)
        factor = (factors[across_axis] if across_axis >= 0 else 1.0, factors[down_axis])
        every = tuple(
            max(1, round(n / max(count, 1))) for n, count in zip(full.shape[::-1], pixels, strict=True)
        )
        values = np.ascontiguousarray(full[:: every[1], :: every[0]])
        # Cells are as wide as their distance, with the sample, or the middle of its mean, in the middle.
        edges = [
            (first := span[0] * f + (f - 1 - thin * f) / 2, first + count * thin * f)
            for span, f, count, thin in zip((across, down), factor, values.shape[::-1], every, strict=True)
        ]
        error = choice.array.max_abs_error if choice.opened.level == 0 else math.nan
        return Answer(
            values,
            (*edges[0], *edges[1]),
            choice.opened.level,
            choice.array.path or self.finest.name,
            error,
            (every[0], every[1]),
            choice.partial,
            full,
            factor,
        )

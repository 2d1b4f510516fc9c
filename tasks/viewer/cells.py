"""A bounded cache of decoded pieces of planes, so that a pan or a step reads only new pieces."""

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region

CACHE_BYTES = 512 << 20
SLAB_BYTES = 48 << 20  # of neighbouring planes that are kept because their chunks were decoded anyway

Cell = tuple[tuple[int, int], ...]  # start and stop along each axis


class CellCache:
    """Decoded pieces of arrays by path and region; the least recently used are removed first.

    Attributes:
        limit_bytes: Most bytes that are kept.
        bytes: Bytes that are kept now.
        reads: Regions that were read from the store so far: the path of the array, and the region.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        """Begin empty."""
        self.limit_bytes, self.bytes = limit_bytes, 0
        self.reads: list[tuple[str, Region]] = []
        self._kept: OrderedDict[tuple[str, Cell], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, volume: Volume, spec: ArraySpec, region: Region, live: np.ndarray | None) -> np.ndarray:
        """Return the values of a region that is 1 thick along all axes but two.

        Args:
            volume: The volume.
            spec: The array.
            region: Region to read.
            live: Traces of the array that exist, bool of its shape without the last axis; their chunks must exist.

        Raises:
            IntegrityFailure: A chunk does not match its checksum, or a chunk with live traces is missing.
        """
        cells = cells_of(spec, region)
        found = self._found(spec.path, cells)
        for box in boxes([cell for cell in cells if cell not in found]):
            wanted = tuple(slice(low, high) for low, high in box)
            store = volume.store_of(spec.path)
            part = None if live is None else live[wanted[:-1]]
            values = read_region(store, spec, wanted, live=part)
            inside = [cell for cell in cells if cell not in found and all(map(_within, cell, box))]
            for cell in inside:
                place = tuple(
                    slice(low - start, high - start)
                    for (low, high), (start, _) in zip(cell, box, strict=True)
                )
                # A cell of its own, not a view: it must not keep the whole box in memory.
                found[cell] = values[place] if len(inside) == 1 else values[place].copy()
            self._keep(spec.path, {cell: found[cell] for cell in inside}, wanted)
        out = np.empty([r.stop - r.start for r in region], spec.numpy.newbyteorder("="))
        for cell, values in found.items():
            spans = [
                (max(low, r.start), min(high, r.stop)) for (low, high), r in zip(cell, region, strict=True)
            ]
            target = tuple(slice(a - r.start, b - r.start) for (a, b), r in zip(spans, region, strict=True))
            source = tuple(slice(a - low, b - low) for (a, b), (low, _) in zip(spans, cell, strict=True))
            out[target] = values[source]
        return out

    def has(self, spec: ArraySpec, region: Region) -> bool:
        """Return whether all of a region is kept."""
        with self._lock:
            return all((spec.path, cell) in self._kept for cell in cells_of(spec, region))

    def _found(self, path: str, cells: Sequence[Cell]) -> dict[Cell, np.ndarray]:
        with self._lock:
            found = {}
            for cell in cells:
                if (path, cell) in self._kept:
                    self._kept.move_to_end((path, cell))
                    found[cell] = self._kept[path, cell]
            return found

    def _keep(self, path: str, values: dict[Cell, np.ndarray], region: Region) -> None:
        with self._lock:
            self.reads.append((path, region))
            del self.reads[:-1000]
            for cell, array in values.items():
                before = self._kept.pop((path, cell), None)
                self._kept[path, cell] = array
                self.bytes += array.nbytes - (0 if before is None else before.nbytes)
            while self.bytes > self.limit_bytes and self._kept:
                self.bytes -= self._kept.popitem(last=False)[1].nbytes


def _within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def cells_of(spec: ArraySpec, region: Region) -> list[Cell]:
    """Return the cells that a plane's region touches: whole chunks along the plane, some planes thick across it.

    A cell is as thick as its chunks, or thinner if a slab of the whole plane would take more than `SLAB_BYTES`.
    """
    thin = {axis for axis, r in enumerate(region) if r.stop - r.start == 1}
    thickness = {axis: min(spec.pieces[axis], spec.shape[axis]) for axis in thin}
    plane = spec.numpy.itemsize * math.prod(n for axis, n in enumerate(spec.shape) if axis not in thin)
    while math.prod(thickness.values()) * plane > SLAB_BYTES and max(thickness.values(), default=1) > 1:
        thickest = max(thickness, key=thickness.__getitem__)
        thickness[thickest] = -(-thickness[thickest] // 2)
    spans: list[list[tuple[int, int]]] = []
    for axis, (r, chunk, extent) in enumerate(zip(region, spec.pieces, spec.shape, strict=True)):
        if axis in thin:
            first = r.start // chunk * chunk
            start = first + (r.start - first) // thickness[axis] * thickness[axis]
            spans.append([(start, min(start + thickness[axis], first + chunk, extent))])
        else:
            numbers = range(r.start // chunk, -(-r.stop // chunk))
            spans.append([(n * chunk, min((n + 1) * chunk, extent)) for n in numbers])
    return list(itertools.product(*spans))


def boxes(cells: Sequence[Cell]) -> list[Cell]:
    """Return boxes that hold all cells and nothing else: one if they fill it, else one for each row of them."""
    if not cells:
        return []
    whole = _around(cells)
    if _volume(whole) == sum(map(_volume, cells)):
        return [whole]
    axis = max(range(len(whole)), key=lambda a: len({cell[a] for cell in cells}))
    rows = [[cell for cell in cells if cell[axis] == span] for span in sorted({cell[axis] for cell in cells})]
    found: list[Cell] = []
    for row in rows:
        if len(rows) == 1 or len(row) == 1:
            found += row
        else:
            found += boxes(row)
    return found


def _around(cells: Sequence[Cell]) -> Cell:
    return tuple(
        (min(low for low, _ in spans), max(high for _, high in spans)) for spans in zip(*cells, strict=True)
    )


def _volume(cell: Cell) -> int:
    return math.prod(high - low for low, high in cell)

"""Read any selection of an array as NumPy indexes it; each chunk is decoded once and each object read once.

A selection is a list of groups, one for each dimension of the result. A group of one axis holds positions along it. A
group of several axes holds points: one position along each of its axes for every element.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import decode_chunk
from tasks.volume.arrays.regions import fetch_chunks, missing_chunk, read_region
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec
from tasks.volume.blocks import IO_THREADS, Region, on_chunks, on_io
from tasks.volume.store.objects import Store

Positions = range | np.ndarray
ENCODED_BYTES = 256 << 20  # raw size of the chunks that are fetched before the first of them is decoded


@dataclass(frozen=True, eq=False)
class Group:
    """One dimension of a result: `positions` has a member for each of `axes`, all of one length."""

    axes: tuple[int, ...]
    positions: tuple[Positions, ...]

    def __len__(self) -> int:
        """Return the extent of this dimension."""
        return len(self.positions[0])

    @property
    def stretch(self) -> slice | None:
        """Return the slice that this group is, if it is a single one with step 1."""
        first = self.positions[0]
        if len(self.axes) == 1 and isinstance(first, range) and first.step == 1:
            return slice(first.start, first.stop)
        return None

    def units(self, extents: Sequence[int]) -> int:
        """Return how many units of these extents (along the array's axes) the positions touch."""
        if (stretch := self.stretch) is not None:
            extent = extents[self.axes[0]]
            return -(-stretch.stop // extent) - stretch.start // extent if len(self) else 0
        return len(self._rows(extents)[0])

    def parts(self, extents: Sequence[int]) -> list["Part"]:
        """Return the part of this group in each unit that it touches."""
        rows, inverse = self._rows(extents)
        order = np.argsort(inverse, kind="stable")
        cuts = np.searchsorted(inverse[order], np.arange(1, len(rows)))
        arrays = [np.asarray(positions) for positions in self.positions]
        return [
            Part(
                tuple(int(n) for n in row),
                tuple(
                    positions[here] - int(n) * extents[axis]
                    for axis, positions, n in zip(self.axes, arrays, row, strict=True)
                ),
                here,
            )
            for row, here in zip(rows, np.split(order, cuts), strict=True)
        ]

    def _rows(self, extents: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the units that are touched, a row each, and the number of the row for each position."""
        columns = [
            np.asarray(positions) // extents[axis]
            for axis, positions in zip(self.axes, self.positions, strict=True)
        ]
        if len(columns) == 1:
            rows, inverse = np.unique(columns[0], return_inverse=True)
            return rows[:, np.newaxis], inverse
        rows, inverse = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        return rows, inverse.reshape(-1)


@dataclass(frozen=True, eq=False)
class Part:
    """The part of a group in one unit: its place in the grid, positions inside it, and places in the result."""

    unit: tuple[int, ...]
    inside: tuple[np.ndarray, ...]
    places: np.ndarray


def whole(shape: Sequence[int]) -> list[Group]:
    """Return the selection of all elements of an array."""
    return [Group((axis,), (range(extent),)) for axis, extent in enumerate(shape)]


def taken(values: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """Return a selection of an array in memory."""
    return _taken(values, groups, [group.positions for group in groups])


def read_selection(
    store: Store, spec: ArraySpec, groups: Sequence[Group], *, live: np.ndarray | None = None
) -> np.ndarray:
    """Return the values of a selection, in the order of the groups.

    Args:
        store: The store of the array's volume.
        spec: The array.
        groups: The selection; every axis occurs once.
        live: Which traces exist, bool of the array's shape without its last axis. A chunk that holds one must be
            stored.

    Raises:
        IntegrityFailure: A chunk does not fit its checksum, or is missing where a trace is live.
    """
    if 0 in map(len, groups):
        return np.empty([len(group) for group in groups], spec.numpy)
    turned = [_turned(group) for group in groups]
    if any(group is not other for group, other in zip(turned, groups, strict=True)):
        values = read_selection(store, spec, turned, live=live)
        steps = [1 if group is other else -1 for group, other in zip(turned, groups, strict=True)]
        return values[tuple(slice(None, None, step) for step in steps)]
    region = _region(groups)
    if region is None and spec.codec == AS_FOUND:  # decoded by another tool's codecs, as a box
        region = tuple(slice(min(p), max(p) + 1) for p in _by_axis(groups, len(spec.shape)))
        return taken(read_region(store, spec, region), [_moved(group, region) for group in groups])
    if region is not None:
        ordered = all(group.axes == (axis,) for axis, group in enumerate(groups))
        values = read_region(store, spec, region, live=None if live is None else live[region[:-1]])
        return values if ordered else values.transpose([group.axes[0] for group in groups])
    out = np.empty([len(group) for group in groups], spec.numpy)

    def paste(item: tuple[bytes | memoryview | None, tuple[int, ...], tuple[Part, ...]]) -> None:
        data, place, parts = item
        target = _target([part.places for part in parts])
        where = f"{store.url}/{spec.path}, chunk {place}"
        if data is None:
            if live is not None and live[_chunk_region(spec, place)[:-1]].any():
                raise missing_chunk(where)
            out[target] = spec.fill_value
        else:
            out[target] = _taken(
                decode_chunk(spec, data, where=where), groups, [part.inside for part in parts]
            )

    for jobs in _batches(spec, groups):
        if store.local and not spec.shards:  # a file is read by the thread that decodes it
            on_chunks(lambda job: paste((fetch_chunks(store, spec, [job[0][0]])[0], *job[0])), jobs)
            continue
        fetched = on_io(lambda job: fetch_chunks(store, spec, [place for place, _ in job]), jobs)
        on_chunks(
            paste,
            [
                (data, *chunk)
                for job, some in zip(jobs, fetched, strict=True)
                for data, chunk in zip(some, job, strict=True)
            ],
        )
    return out


def read_arrays(store: Store, specs: Sequence[ArraySpec]) -> list[np.ndarray]:
    """Return the values of several small arrays, read in one round of requests."""
    ours = [spec for spec in specs if spec.codec != AS_FOUND]
    jobs = [
        (spec, place)
        for spec in ours
        for place in np.ndindex(*(-(-n // c) for n, c in zip(spec.shape, spec.chunks, strict=True)))
    ]
    encoded = on_io(lambda job: fetch_chunks(store, job[0], [job[1]])[0], jobs)
    values = {spec.path: np.full(spec.shape, spec.fill_value, spec.numpy) for spec in ours}
    for (spec, place), data in zip(jobs, encoded, strict=True):
        if data is not None:
            target = values[spec.path][_chunk_region(spec, place)]
            chunk = decode_chunk(spec, data, where=f"{store.url}/{spec.path}, chunk {place}")
            target[...] = chunk[tuple(slice(0, n) for n in target.shape)]
    return [values[spec.path] if spec.path in values else read_region(store, spec) for spec in specs]


_Job = list[tuple[tuple[int, ...], tuple[Part, ...]]]


def _batches(spec: ArraySpec, groups: Sequence[Group]) -> Iterator[list[_Job]]:
    """Yield the chunks of a selection by stored object, in batches that fit encoded in memory."""
    objects: dict[tuple[int, ...], _Job] = defaultdict(list)
    per = [u // c for u, c in zip(spec.unit, spec.chunks, strict=True)]
    for parts in itertools.product(*(group.parts(spec.chunks) for group in groups)):
        place = [0] * len(spec.shape)
        for group, part in zip(groups, parts, strict=True):
            for axis, number in zip(group.axes, part.unit, strict=True):
                place[axis] = number
        objects[tuple(p // n for p, n in zip(place, per, strict=True))].append((tuple(place), parts))
    batch: list[_Job] = []
    size = 0
    for job in objects.values():
        batch.append(job)
        size += len(job) * spec.chunk_bytes
        if size >= ENCODED_BYTES and len(batch) >= IO_THREADS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _turned(group: Group) -> Group:
    """Return the stretch that a group is backwards; the group itself if it is none."""
    first = group.positions[0]
    if len(group.axes) == 1 and isinstance(first, range) and first.step == -1:
        return Group(group.axes, (first[::-1],))
    return group


def _region(groups: Sequence[Group]) -> Region | None:
    """Return the region that a selection is, if each of its groups is a stretch of one axis."""
    stretches = {group.axes[0]: group.stretch for group in groups}
    bounded = [stretches[axis] for axis in sorted(stretches) if stretches[axis] is not None]
    return tuple(s for s in bounded if s is not None) if len(bounded) == len(groups) else None


def _chunk_region(spec: ArraySpec, place: tuple[int, ...]) -> Region:
    return tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, spec.chunks, strict=True))


def _by_axis(groups: Sequence[Group], rank: int) -> list[Positions]:
    positions = {axis: p for group in groups for axis, p in zip(group.axes, group.positions, strict=True)}
    return [positions[axis] for axis in range(rank)]


def _moved(group: Group, region: Region) -> Group:
    moved = tuple(
        np.asarray(positions) - region[axis].start
        for axis, positions in zip(group.axes, group.positions, strict=True)
    )
    return Group(group.axes, moved)


def _taken(
    values: np.ndarray, groups: Sequence[Group], positions: Sequence[tuple[Positions, ...]]
) -> np.ndarray:
    """Return what lies at positions along the axes of each group, in the order of the groups."""
    order, first = [group.axes[0] for group in groups], list[int]()
    for group, where in zip(groups, positions, strict=True):
        if len(group.axes) > 1:
            if first:
                raise NotImplementedError("points along two groups of axes at once")
            first = list(group.axes)
            continue
        axis, index = group.axes[0], _as_slice(where[0])
        if index is None:
            values = np.take(values, np.asarray(where[0]), axis=axis)
        else:
            values = values[(slice(None),) * axis + (index,)]
    if not first:
        return values.transpose(order)
    rest = [axis for axis in range(values.ndim) if axis not in first]
    columns = next(where for group, where in zip(groups, positions, strict=True) if len(group.axes) > 1)
    values = values.transpose([*first, *rest])[tuple(np.asarray(column) for column in columns)]
    return values.transpose([0 if axis == first[0] else 1 + rest.index(axis) for axis in order])


def _target(places: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """Return places along each dimension as an index; slices where they can be, which NumPy fills faster."""
    index = [_as_slice(where) for where in places]
    if sum(entry is None for entry in index) > 1:
        return np.ix_(*places)
    return tuple(where if entry is None else entry for entry, where in zip(index, places, strict=True))


def _as_slice(positions: Positions) -> slice | None:
    """Return positions as a slice, which NumPy copies faster, if they are evenly spaced."""
    if not len(positions):
        return slice(0, 0)
    step = int(positions[1]) - int(positions[0]) if len(positions) > 1 else 1
    if step == 0 or not (isinstance(positions, range) or (np.diff(positions) == step).all()):
        return None
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), stop if stop >= 0 else None, step)

"""Which array of an HDF5 file is meant, through links inside of the file only, and where its voxels lie."""

import math
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from tasks.volume.images.header import Voxels, scaled, unit_of
from tasks.volume.limits import DIMENSIONS
from tasks.volume.outcomes import InputRefused

USUAL = ("exchange/data", "entry/data/data", "entry1/tomo_entry/data/data", "t0/channel0", "data")
_MOST_OBJECTS = 10_000
_MOST_DEPTH = 32
_SHOWN = 5


def _walk(group: Any, depth: int = 0, seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Arrays below a group by path, through links inside of the file only."""
    seen = set() if seen is None else seen
    for name in group:
        if len(seen) > _MOST_OBJECTS or depth > _MOST_DEPTH:
            return
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Dataset):
            yield item.name, item
        elif isinstance(item, h5py.Group):
            yield from _walk(item, depth + 1, seen)


def only_array(file: Any, url: str) -> str:
    """Return the path of the array if none is named: NeXus's default, a usual place, or the only stack."""
    for path in (*_default(file), *USUAL):
        try:
            array = array_at(file, f"/{path}", url)
        except InputRefused:
            continue
        if sum(n > 1 for n in array.shape) >= 2 and array.dtype.kind in "biuf":
            return str(array.name)
    stacks = [
        (path, a) for path, a in _walk(file) if a.dtype.kind in "biuf" and sum(n > 1 for n in a.shape) >= 3
    ]
    if len(stacks) == 1:
        return str(stacks[0][0])
    if not stacks:
        raise InputRefused(f"{url} holds no array of three axes; name one, such as {url}:/exchange/data")
    shown = ", ".join(f"{path} {a.shape}" for path, a in stacks[:_SHOWN])
    raise InputRefused(
        f"{url} holds {len(stacks)} arrays of three axes "
        f"({shown}{', …' if len(stacks) > _SHOWN else ''}); name one, such "
        f"as {url}:{stacks[0][0]}"
    )


def _default(file: Any) -> Iterator[str]:
    """Paths that NeXus names: the default of the file, of its entry, and the signal of that."""
    path, group = "", file
    for _ in range(3):
        name = _text(group.attrs.get("default")) or _text(group.attrs.get("signal"))
        if not name or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return
        path, group = f"{path}/{name}".strip("/"), group[name]
        if isinstance(group, h5py.Dataset):
            yield path
            return


def array_at(file: Any, path: str, url: str) -> Any:
    """Return the array at a path; links to other files are refused.

    Raises:
        InputRefused: The file has no such array.
    """
    item, parts = file, [part for part in path.split("/") if part not in ("", ".")]
    for k, part in enumerate(parts[:_MOST_DEPTH]):
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        here = "/".join(parts[: k + 1])
        if link is None:
            held = ", ".join(list(item)[:_SHOWN]) if isinstance(item, h5py.Group) else "no more"
            raise InputRefused(
                f"{url} holds nothing at /{here}; {getattr(item, 'name', '/')} holds {held or 'nothing'}"
            )
        if isinstance(link, h5py.SoftLink) and not link.path.startswith("..") and k + 1 == len(parts):
            base = "" if link.path.startswith("/") else f"{item.name}/"
            item = _hard(file, f"{base}{link.path}", url)
            continue
        if not isinstance(link, h5py.HardLink):
            raise InputRefused(
                f"{url}:/{here} is a link to elsewhere; name the file and the array that it leads to"
            )
        item = item[part]
    if not isinstance(item, h5py.Dataset):
        held = ", ".join(list(item)[:_SHOWN]) if isinstance(item, h5py.Group) else "nothing"
        raise InputRefused(f"{url}:{path} is a group, which holds {held or 'nothing'}; name an array")
    return item


def _hard(file: Any, path: str, url: str) -> Any:
    """Return the object at a path of hard links only."""
    item = file
    for part in [part for part in path.split("/") if part not in ("", ".")]:
        if not isinstance(item, h5py.Group) or not isinstance(item.get(part, getlink=True), h5py.HardLink):
            raise InputRefused(f"{url} links to {path}, which is not in the file; name the array itself")
        item = item[part]
    return item


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and len(value) < 200 else ""


def voxels_of(array: Any, axes: list[int]) -> Voxels:
    """Lengths by `element_size_um` (Fiji, ilastik), or by the axes of NeXus beside the array."""
    size = _numbers(array.attrs.get("element_size_um"))
    if len(size) == 3:
        return Voxels(size, "micrometer", (), (), "the attribute element_size_um")
    named = array.parent.attrs.get("axes") if array.parent is not None else None
    names = [_text(name) for name in np.ravel(named)[:DIMENSIONS]] if named is not None else []
    if len(axes) != 3 or len(names) != array.ndim:
        return Voxels()
    lengths, units, origin = [], [], []
    for axis in axes:
        link = array.parent.get(names[axis], getlink=True) if names[axis] not in ("", ".") else None
        place = array.parent[names[axis]] if isinstance(link, h5py.HardLink) else None
        if not isinstance(place, h5py.Dataset) or place.ndim != 1 or place.shape[0] != array.shape[axis]:
            return Voxels()
        if (
            place.dtype.kind not in "iuf"
            or place.nbytes > 8 << 20
            or place.shape[0] < 2
            or place.chunks is not None
        ):
            return Voxels()
        values = place[...].astype(np.float64)
        step = (values[-1] - values[0]) / (len(values) - 1)
        if not step > 0 or not np.allclose(np.diff(values), step, rtol=1e-3, atol=0):
            return Voxels(notes=(f"the axis {names[axis]} of {array.name} is not even, and was not taken",))
        lengths.append(float(step))
        origin.append(float(values[0]))
        units.append(unit_of(_text(place.attrs.get("units"))))
    unit = units[2]
    if not all(units):
        return Voxels(notes=(f"the axes of {array.name} have no unit of length, and were not taken",))
    return Voxels(
        tuple(scaled(x, own, unit) for x, own in zip(lengths, units, strict=True)),
        unit,
        tuple(scaled(x, own, unit) for x, own in zip(origin, units, strict=True)),
        (),
        "the axes of NeXus",
    )


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(x) for x in np.ravel(value)[:8]) if value is not None else ()
    except (TypeError, ValueError, OverflowError):
        return ()
    return found if all(math.isfinite(x) and x > 0 for x in found) else ()

"""Return a trace header of a dataset's volume, export SEG-Y from it, or copy it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from tasks.copy import copy
from tasks.dataset.grid import VolumeGrid
from tasks.dataset.opened import Opened
from tasks.dataset.variables import HEADERS
from tasks.export_segy import export_segy
from tasks.parameters import Export, Run
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.indexing import Group, read_selection

RAW_HEADERS = "raw_headers"


def trace_header(
    opened: Opened, grid: VolumeGrid, labels: Mapping[str, float], *, raw: bool
) -> dict[str, int] | bytes:
    """Return the fields, or the stored bytes, of the header of the trace at a coordinate along each dimension.

    Raises:
        InputRefused: There is no such trace, or the volume was not made from SEG-Y.
    """
    path = RAW_HEADERS if raw else HEADERS
    if not opened.volume.has(path):
        raise InputRefused(f"{opened.where} has no trace headers; only volumes made from SEG-Y have")
    dims = opened.dims[:-1]
    if set(labels) != set(dims):
        raise InputRefused(f"a trace of {opened.where} is named by {', '.join(dims)}; give each of them once")
    places = [int(grid.select_dim(dim).positions(labels[dim])[0]) for dim in dims]
    groups = [Group((axis,), (range(place, place + 1),)) for axis, place in enumerate(places)]
    if not opened.live(groups).item():
        named = ", ".join(f"{dim} {labels[dim]}" for dim in dims)
        raise InputRefused(
            f"there is no trace at {named} of {opened.where}; trace_mask is true where there is one"
        )
    header = read_selection(opened.volume.store, opened.volume.spec(path), groups).reshape(())[()]
    return header.tobytes() if raw else {name: int(header[name]) for name in header.dtype.names or ()}


def written(
    dataset: xarray.Dataset,
    opened: Opened,
    target: str,
    mask: np.ndarray | None,
    form: Mapping[str, Any],
    *,
    overwrite: bool,
) -> dict[str, Any]:
    """Write the part of a volume that a dataset selects as SEG-Y; return the summary."""
    with tempfile.TemporaryDirectory() as folder:
        file = ""
        if mask is not None:
            file = str(Path(folder) / "mask.npy")
            np.save(file, np.asarray(mask, bool))
        export = Export(selection=ranges_of(dataset, opened), mask=file, **form)
        return export_segy(opened.where, target, export, overwrite, _run(opened))


def copied(
    opened: Opened, target: str, includes: Sequence[str], excludes: Sequence[str], *, overwrite: bool
) -> dict[str, Any]:
    """Copy the volume of a dataset; return the summary."""
    return copy(opened.where, target, list(includes), list(excludes), overwrite, _run(opened))


def ranges_of(dataset: xarray.Dataset, opened: Opened) -> list[str]:
    """Return the coordinate ranges that a dataset covers in its volume, in the form of an export's parameters.

    Raises:
        InputRefused: The dataset is a coarser level, or its coordinates are not a range.
    """
    if opened.level:
        raise InputRefused(f"level {opened.level} of {opened.where} cannot be written as SEG-Y; open level 0")
    ranges = []
    for dim, labels in opened.labels.items():
        here = np.atleast_1d(dataset[dim].values) if dim in dataset.coords else labels[:0]
        if np.array_equal(here, labels):
            continue
        first = int(np.searchsorted(labels, here[0])) if here.size else 0
        if not here.size or not np.array_equal(here, labels[first : first + here.size]):
            raise InputRefused(
                f"this selection is not a range of {dim}, and only ranges are written as SEG-Y; use slices or a mask"
            )
        ranges.append(f"{dim}={here[0]!s}:{here[-1]!s}")
    return ranges


def _run(opened: Opened) -> Run:
    return Run(storage_options=opened.volume.store.options)

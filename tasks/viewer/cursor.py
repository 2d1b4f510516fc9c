"""Look up what is under the cursor: labels, X and Y, the stored sample, and the header of its trace."""

from typing import Any

import numpy as np

from tasks.dataset.opened import TRACE_MASK
from tasks.viewer.model import LookedAt
from tasks.volume.reading.indexing import Group, read_selection

HEADERS = "headers"


def place_of(looked: LookedAt, at: tuple[int, ...]) -> list[tuple[str, str]]:
    """Return names and values of a position: its label along each axis, and X and Y if there is a map of the survey."""
    rows = [(axis.title, f"{axis.labels[p]:.10g}") for axis, p in zip(looked.axes, at, strict=True)]
    if looked.survey is not None:
        x, y = looked.survey.xy(*(np.array([looked.axes[a].labels[at[a]]]) for a in range(2)))
        rows += [("X", f"{x[0]:.2f}"), ("Y", f"{y[0]:.2f}")]
    return rows


def sample_at(looked: LookedAt, at: tuple[int, ...]) -> float:
    """Return a sample of the master; NaN where no trace is.

    Raises:
        IntegrityFailure: The chunk does not fit its checksum.
    """
    region = tuple(slice(p, p + 1) for p in at)
    if looked.has_traces and not looked.finest.live(_groups(at)).any():
        return float("nan")
    array = looked.finest.candidates[0]
    return float(looked.cache.read(looked.volume, array.spec, region, None).reshape(())[()])


def header_at(looked: LookedAt, at: tuple[int, ...]) -> dict[str, Any]:
    """Return the fields of the header of a trace that are not 0; empty where there is none.

    Raises:
        IntegrityFailure: The chunk does not fit its checksum.
    """
    if not (looked.has_traces and looked.volume.has(HEADERS)):
        return {}
    groups = _groups(at)[:-1]
    if looked.volume.has(TRACE_MASK) and not looked.finest.live(_groups(at)).any():
        return {}
    found = read_selection(looked.volume.store, looked.volume.spec(HEADERS), groups).reshape(())[()]
    return {name: int(found[name]) for name in found.dtype.names or () if found[name]}


def _groups(at: tuple[int, ...]) -> list[Group]:
    return [Group((axis,), (range(p, p + 1),)) for axis, p in enumerate(at)]

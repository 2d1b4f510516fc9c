"""Parts of a survey that a dry run publishes by themselves, to see what would be stored: whole columns of chunks."""

from typing import Any

import numpy as np

from tasks.parameters import Index
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.ingest.parts import as_text, runs_of
from tasks.volume.ingest.survey import Survey
from tasks.volume.segy.placement import XY
from tasks.volume.segy.templates import TEMPLATES

PART_BYTES = 32 << 20  # of samples
PLACES = (1 / 3, 2 / 3)  # of parts, along each axis of the grid


def parts_to_try(survey: Survey, master: ArraySpec, index: Index) -> dict[str, Any]:
    """Return parts of a survey that has a grid, and the facts that scale their sizes to the whole.

    Each of `parts` has the numbers of its `traces`, as a parameter names them, and their `count`. A grid that is no
    larger than a part is one part. A part without traces is left out. `index` holds changes of the index parameters, so
    that a part is read like the whole.
    """
    grid = survey.grid
    assert grid is not None
    size = [min(chunk, n) for chunk, n in zip(master.chunks, grid.shape, strict=False)]
    trace_bytes = master.shape[-1] * master.numpy.itemsize
    while int(np.prod(size)) * trace_bytes > PART_BYTES and max(size) > 8:
        size[int(np.argmax(size))] //= 2
    found = {}
    for share in PLACES:
        begin = [round(share * (n - length)) for n, length in zip(grid.shape, size, strict=True)]
        window = tuple(slice(b, b + length) for b, length in zip(begin, size, strict=True))
        numbers = grid.trace_numbers[window]
        numbers = np.sort(numbers[numbers >= 0])
        if numbers.size:
            found[as_text(runs_of(numbers))] = int(numbers.size)
    return {
        "parts": [{"traces": traces, "count": count} for traces, count in found.items()],
        "live_share": grid.placed / grid.trace_numbers.size,
        "traces": survey.files.n_traces,
        "index": _as_found(survey, index),
    }


def _as_found(survey: Survey, index: Index) -> dict[str, Any]:
    """Return the index parameters that name what was found in the whole file: a part may show something else."""
    placement = survey.placement
    words = [word for word in placement.words if word.byte]
    changes: dict[str, Any] = {"domain": placement.domain}
    if not words:
        return changes | {"bytes": "trace"}
    if index.bytes == "auto":
        names = [word.name for word in words]
        kind = TEMPLATES.get(placement.template)
        changes |= {"bytes": ",".join(str(word.byte) for word in words), "names": names}
        if index.template == "auto" and kind and set(kind.words) <= set(names):
            changes["template"] = kind.name
    found = {coordinate.byte: coordinate.type for coordinate in placement.coordinates}
    found |= {word.byte: word.type for word in words}
    bytes_ = [int(byte) for byte in changes.get("bytes", index.bytes).split(",")]
    if all(byte in found for byte in bytes_):
        changes["types"] = [found[byte] for byte in bytes_]
    xy = [coordinate for coordinate in placement.coordinates if coordinate.name in XY]
    if index.coordinate_bytes == "auto" and len(xy) == 2:
        changes["coordinate_bytes"] = ",".join(str(coordinate.byte) for coordinate in xy)
        changes["coordinate_types"] = [coordinate.type for coordinate in xy]
    return changes

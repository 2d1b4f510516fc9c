"""Finish an ingest of SEG-Y: merge what all blocks tell, make every array visible, and commit.

What the block-wise pass cannot know before its end (statistics, words that float32 does not give back, checksums
of the file) is merged from the ledger in block order.
"""

import logging
from typing import Any

import numpy as np

from tasks.volume.arrays.attributes import axis_scale, mdio_attributes, ome_attributes
from tasks.volume.arrays.spec import MASTER, ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.ingest.block import raw_samples_spec
from tasks.volume.ingest.checksums import Expected, Sums
from tasks.volume.ingest.described import (
    reference_system,
    sentences,
)
from tasks.volume.ingest.footprint import footprint, merged_extents
from tasks.volume.ingest.sources import described_sources, refuse_misread
from tasks.volume.ingest.survey import Survey
from tasks.volume.ingest.whole_arrays import (
    Whole,
    add_axes,
    add_coordinates,
    add_files,
    add_master,
    add_samples_as_words,
    add_trace_headers,
    add_unplaced,
)
from tasks.volume.protocol.ledger import Record, stored_by
from tasks.volume.protocol.ready import put_arrays
from tasks.volume.protocol.stage import Stage, publish_root
from tasks.volume.segy.header_counts import merge_tallies
from tasks.volume.segy.headers import binary_header
from tasks.volume.segy.placement import given
from tasks.volume.segy.seismic_unix import made_header
from tasks.volume.segy.text import textual_header

log = logging.getLogger(__name__)


OME_DIMENSIONS = (2, 3)  # more do not validate without axes of time and channels


def finish(
    stage: Stage,
    survey: Survey,
    records: list[Record],
    as_words: list[Record],
    request: str,
    expected: Expected,
    sums: dict[int, Sums],
) -> Root:
    """Store the results of all blocks together, make every array visible, and commit."""
    body, fmt, grid, files = stage.plan.body, survey.fmt, survey.grid, survey.files
    assert grid is not None
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    words = (
        [raw_samples_spec(specs[name]) for name in ("master", "unplaced") if name in specs]
        if as_words
        else []
    )
    objects = stored_by([*records, *as_words])
    # First, because this tells whether every byte was read: nothing is shown of files that were not read whole.
    sources, ends = described_sources(
        files, [s for r in records for s in r.facts["segments"]] + body["spill_segments"]
    )
    refuse_misread(stage, files, sources, expected, sums)
    header = ends[0][0].tobytes() or made_header(fmt)
    binary = binary_header(header[3200:3600], fmt.byte_order)
    tallies = merge_tallies(r.facts["tallies"] for r in records)
    whole = Whole(stage, survey, grid, specs, records, objects, tallies, binary)

    axes, shown_axes = add_axes(whole)
    places = [r.facts.get("place", {}) for r in records]
    extents, (epsg, _) = merged_extents(places), reference_system(survey.placement, fmt)
    unit = add_coordinates(whole, extents, epsg)
    add_files(whole, textual_header(header[:3200]), epsg, ends)
    unplaced = add_unplaced(whole)
    add_samples_as_words(whole, words)
    add_trace_headers(whole)
    described = add_master(whole, epsg)

    notes = [
        *survey.notes,
        *sentences(survey.placement, fmt, tallies, extents),
        *_of_traces(unplaced, described),
    ]
    scales = [axis_scale(np.asarray(values)) for _, values in axes]
    level = {"path": MASTER, "scale": [s for s, _ in scales], "translation": [t for _, t in scales]}
    attributes = _root_attributes(whole, level, described) | {
        "seismill": {
            "format": 1,
            "writer": stage.plan.versions["seismill"],
            "created_on": stage.plan.created_on,
            "sources": [entry | sums.get(file, {}) | {"notes": notes} for file, entry in enumerate(sources)],
            "index": survey.index_json() | {"placement": survey.placement_json()},
            "axes": shown_axes,
            "place": footprint(survey.placement, grid.axes, places, unit=unit),
            **({"epsg": epsg} if epsg else {}),
            "levels": [level],
            "stages": {MASTER: {"plan": stage.plan.digest, "request": request}},
            "exceptions": sum(r.facts["exceptions"] for r in records),
            "unplaced": unplaced,
        },
    }
    groups: dict[str, dict[str, Any]] = {group: {} for group in whole.groups}
    root = Root.new(attributes).with_members(put_arrays(stage, whole.arrays, groups, everything=True))
    root = publish_root(
        stage, root=root, leftovers=[request, *([body["spill"]["digest"]] if body["spill"] else [])]
    )
    log.info("%s: %d traces of %s", stage.store.url, files.n_traces, files.name)
    return root


def _of_traces(unplaced: int, described: dict[str, Any]) -> list[str]:
    """Return notes on auxiliary and dead traces."""
    notes = []
    if unplaced:
        notes.append(
            f"Auxiliary traces by their code (byte 29): {unplaced:,}; they have no cell and are kept in unplaced."
        )
    if described["dead_coded_traces"]:
        notes.append(
            f"Dead traces: {described['dead_coded_traces']:,} by their code (byte 29 is 2), "
            f"{described['zero_traces']:,} by zeros alone."
        )
    return notes


def _root_attributes(whole: Whole, level: dict[str, Any], described: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the root for other readers: those of MDIO and OME-Zarr."""
    placement, dims = whole.placement, whole.specs["master"].dims
    of_mdio = mdio_attributes(
        placement.template, whole.stage.plan.created_on, MASTER, given(placement.overrides)
    )
    if len(dims) not in OME_DIMENSIONS:
        return of_mdio
    return of_mdio | {"ome": ome_attributes(MASTER, dims, [level], described["min"], described["max"])}

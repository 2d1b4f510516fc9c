"""Make the coordinates and the master of a stack visible, and commit."""

import logging

import numpy as np

from tasks.parameters import Image
from tasks.volume.arrays.attributes import NAN_FILL, image_attributes, ome_attributes, voxel_statistics
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.images.header import Voxels
from tasks.volume.images.spacing import AXES, rockverse_attributes
from tasks.volume.images.stack import Stack
from tasks.volume.ingest.checksums import Expected
from tasks.volume.kernels.traces import merge_stats
from tasks.volume.protocol.ledger import Record, stored_by
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Stage, publish_root
from tasks.volume.protocol.writer import small_array
from tasks.volume.stacks.block import MOST_LABELS
from tasks.volume.stacks.channels import channels_of, full, window_of

log = logging.getLogger(__name__)


def finish_stack(
    stage: Stage,
    stack: Stack,
    spec: ArraySpec,
    image: Image,
    place: Voxels,
    records: list[Record],
    expected: Expected,
) -> Root:
    """Make the coordinates and the master visible, and commit."""
    stats = merge_stats([np.array(record.facts["stats"]) for record in records])
    limits = [record.facts["limits"] for record in records if record.facts["limits"]]
    extremes = (min(low for low, _ in limits), max(high for _, high in limits)) if limits else None
    arrays = []
    lengths, origins = full(place.length, stack, 1.0), full(place.origin, stack, 0.0)
    if "t" in spec.dims and stack.first.time_step:
        lengths[spec.dims.index("t")] = stack.first.time_step
    for axis, n, length, origin in zip(spec.dims, spec.shape, lengths, origins, strict=True):
        entry = ArraySpec(axis, (n,), (n,), "float64", (axis,))
        unit = {"t": stack.first.time_unit}.get(axis, place.unit if axis in AXES else "")
        units = {"units": unit} if unit else {}
        arrays.append(small_array(entry, origin + length * np.arange(n), units))
    objects = stored_by(records)
    described = rockverse_attributes(image, place.length, place.unit, place.origin) | voxel_statistics(
        stats, extremes
    )
    described |= stack.kept
    if stack.first.leading:  # RockVerse's images have three axes
        del described["_ROCKVERSE_DATATYPE"]
    described |= {"_FillValue": NAN_FILL} if spec.fill == "NaN" else {}
    described |= {"raw_bytes": spec.raw_bytes, "stored_bytes": objects.total_bytes}
    arrays.append(Ready(spec.path, metadata_of(spec, described), objects))
    level = {"path": spec.path, "scale": lengths, "translation": origins}
    labels = sorted({value for record in records for value in record.facts["labels"]})
    looks = {
        "unit": place.unit,
        "window": window_of([record.facts["quantiles"] for record in records]),
        "labels": labels if len(labels) <= MOST_LABELS else [],
        "is_labels": image.labels,
    } | ({"channels": channels} if (channels := channels_of(stack, records)) else {})
    looks |= {"time_unit": stack.first.time_unit} if stack.first.time_unit else {}
    looks |= {"image": stage.plan.body["labels_of"]} if "labels_of" in stage.plan.body else {}
    created_on = stage.plan.created_on
    root = Root.new(
        image_attributes(image.description, created_on, spec.path)
        | {
            "ome": ome_attributes(
                spec.path,
                spec.dims,
                [level],
                described["min"],
                described["max"],
                looks,
                value_unit=image.field_unit,
            ),
            "seismill": {
                "format": 1,
                "writer": stage.plan.versions["seismill"],
                "created_on": created_on,
                "sources": [
                    {
                        "url": stage.plan.body["source"],
                        "bytes": stack.bytes,
                        "etag": digest_of({"files": [[f.url, f.bytes, f.identity] for f, _ in stack.files]}),
                        "files": len(stack.files),
                        "first_slice": 0,
                        "slice_count": spec.shape[0],
                    }
                    | ({"expected": expected.digest} if expected.checksums else {})
                ],
                "levels": [level],
                "looks": looks,
                "stages": {spec.path: {"plan": stage.plan.digest, "request": stage.plan.digest}},
            },
        }
    )
    root = root.with_members(put_arrays(stage, arrays, everything=True))
    root = publish_root(stage, root=root)
    log.info("%s: %s voxels of %s from %d files", stage.store.url, spec.shape, spec.dtype, len(stack.files))
    return root

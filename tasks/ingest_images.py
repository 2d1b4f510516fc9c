"""Turn a stack of slices into the master of a volume: every voxel as it is, and where it lies.

A block is a slab as deep as a stored object, so each slice is read and decoded once. Results for the whole volume
(statistics, the window of values that a viewer shows) are merged from the ledger in block order.
"""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from tasks.parameters import Following, Image, Master, Run, Url
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, block_count, limits_of
from tasks.volume.images.header import Voxels
from tasks.volume.images.spacing import calibration_of, field_of, place_of, rockverse_attributes
from tasks.volume.images.stack import Stack, find_stack
from tasks.volume.ingest.checksums import expected_of
from tasks.volume.ingest.read_in_order import checked_before
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.place import refuse_no_bucket, refuse_occupied, refuse_strangers
from tasks.volume.protocol.plan import digest_of, folder_of
from tasks.volume.protocol.stage import run_blocks
from tasks.volume.protocol.summary import array_rows, ended, fitting, promised, using
from tasks.volume.publishing.following import OfVoxels, lossless_arrays, plan_following
from tasks.volume.stacks.block import image_block
from tasks.volume.stacks.finish import finish_stack
from tasks.volume.stacks.labels import (
    FIELD,
    TO_IMAGE,
    image_to_label,
    in_image,
    place_in_image,
    volume_of_labels,
)
from tasks.volume.stacks.plan import (
    block_memory,
    decode_all,
    differs_by_rounding,
    how_images_differ,
    least_of_voxels,
    master_spec,
    planned_stack,
    slab_of,
)
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.room import refuse_full

log = logging.getLogger(__name__)

MADE_BEFORE = "it was made before calibration and booleans were read as now; --overwrite makes it so"


def ingest_images(
    source: Url,
    volume: Url,
    image: Image = Image(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    following: Following | None = None,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Turn a stack of images into a volume: TIFF, DICOM, NIfTI, HDF5, NRRD, raw and others.

    Args:
        source: A file, a folder of slices, a pattern in quotes such as 's3://scans/core/*.tif', a list (.txt), or an
            array in a file, such as scan.h5:/exchange/data.
        volume: The volume to write, such as s3://volumes/core.zarr.
        image: Meaning, unit and position of the voxels.
        master: Chunks, shards and codec.
        overwrite: Replace an existing volume.
        run: Settings of the run; none changes the data.
        following: Stages to make from the master after it, which are planned with it.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: The files or a parameter cannot be used.
        DestinationRefused: The place holds another volume.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    volume = volume_of_labels(volume, image.labels_of)
    shown = image_to_label(image.labels_of, run.storage_options) if image.labels_of else None
    stack = find_stack(source, run.storage_options, image.raw, image.image)
    place = place_of(image, stack.voxels)
    if shown:
        place = place_in_image(stack, place, image, shown)
        named = image.field_name if image.field_name != Image().field_name else FIELD
        image = image.model_copy(update={"labels": True, "field_name": named})
    if image.labels and stack.first.dtype.startswith("float"):
        raise InputRefused(
            f"{stack.first.dtype} voxels cannot be labels; leave labels out, or segment the image first"
        )
    expected = expected_of(
        {file.url: file.bytes for file, _ in stack.files}, image.checksums, run.storage_options
    )
    store = Store(volume, run.storage_options)
    limits = limits_of(compute)
    spec = master_spec(stack, master, field_of(image), limits, local=store.local)
    block = slab_of(spec, stack, limits)

    def body_of(
        stack: Stack, place: Voxels, spec: ArraySpec = spec, block: Sequence[int] = block
    ) -> dict[str, Any]:
        return {
            "verb": "ingest_images",
            "source": source,
            "image": image.model_dump(exclude={"checksums", "labels_of"}),
            "place": [place.length, place.unit, place.origin],
            "stack": stack.to_json(),
            "arrays": {"master": spec.to_json()},
            "block": block,
        } | ({"labels_of": TO_IMAGE} if shown else {})

    body = body_of(stack, place)
    assumed = [] if image.voxel_length else list(stack.voxels.notes)
    notes = [in_image(place, shown) if shown else calibration_of(image, stack.voxels, place), *assumed]

    attributes = rockverse_attributes(image, place.length, place.unit, place.origin)

    def follow(compute: Compute) -> list[ArraySpec]:
        looks = {"unit": place.unit, "is_labels": image.labels, "labels": []}
        looks |= {"image": TO_IMAGE} if shown else {}
        voxels = OfVoxels(attributes, looks)
        return plan_following(store, spec, following or Following(), compute, voxels)

    stored, used = lossless_arrays(following), math.prod(spec.shape) * spec.numpy.itemsize

    def least() -> int:
        with using(compute, run) as sized:
            return least_of_voxels(stack, stored, sized.memory_bytes, run.storage_options)

    refuse_full(store, stored * used, least)
    refuse_occupied(store, shown.store.url if shown else "")
    if run.dry_run:
        refuse_no_bucket(store)
        with using(compute, run) as compute:
            compute = replace(compute, needs=[])
            follows = follow(compute)
            planned = planned_stack(store, stack, spec, block, expected, limits, follows)
            fitting(compute, planned["memory_bytes"], f"a slab of {block} voxels in chunks of {spec.chunks}")
        memory = promised(compute, store, (spec, *follows))
        return planned | memory | {"notes": [*planned["notes"], *notes]}
    need = block_memory(stack, spec, block, local=store.local)
    what = f"a slab of {block} voxels in chunks of {spec.chunks}"

    def fit(compute: Compute) -> Compute:
        follow(compute)
        return fitting(compute, need, what)

    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, fit) as owner,
    ):
        root = owner.root()
        request = digest_of(body)
        stages = root.state.stages if root is not None else {}
        known = stages[spec.path].request if spec.path in stages else None
        # Of a local disk, versions that gave each chunk a file of its own, however many there were, too.
        flat = replace(spec, shards=()) if store.local and not master.shards else spec
        flat_body = body_of(stack, place, flat, slab_of(flat, stack, limits))
        if known == digest_of(flat_body) or (
            known not in (None, request)
            and any(differs_by_rounding(store, stages[spec.path], asked) for asked in (body, flat_body))
        ):
            request = known
        befores = [
            digest_of(
                body_of(
                    was, _place_before(image, was), replace(flat, dtype=dtype), slab_of(flat, stack, limits)
                )
            )
            for was in [stack, *stack.before()]
            for dtype in {spec.dtype, stack.first.dtype}
        ]
        earlier = known in befores and known != request and not overwrite
        done = known == request or earlier
        if root is not None and not done and not overwrite:
            raise DestinationRefused(
                f"{store.url} holds another volume (of {root.state.sources[0].url}; "
                f"{how_images_differ(root, spec, source, attributes)}); choose another place, or replace it with "
                "--overwrite"
            )
        if not done:
            refuse_strangers(store, root)
        # Blocks read parts of files, in no order: what is expected of a file is shown by reading all of it before.
        if expected.checksums and not (done and root and root.state.sources[0].expected == expected.digest):
            checked_before(
                owner.store,
                folder_of(request),
                expected,
                list(expected.checksums),
                lambda file: closing(stack.files[file][0].open(run.storage_options)),
                compute,
            )
        if done and root is not None:
            clear_run(owner.store, owner.epoch, request, ("in_order",))
            parts = ["was done already", *([MADE_BEFORE, *notes] if earlier else [])]
            return ended(store, "ingest", array_rows(root, [spec.path]), began, before, notes=parts)
        stage = owner.begin(
            "ingest",
            body,
            fit,
            present=root,
            after=None,
            read=lambda: decode_all(stack, spec, block, compute, run.storage_options),
        )
        count = block_count(spec.shape, block)
        records = run_blocks(stage, image_block, range(count))
        root = finish_stack(stage, stack, spec, image, place, records, expected)
        clear_run(owner.store, owner.epoch, request, ("in_order",))
    rows = array_rows(root, [spec.path])
    return ended(store, "ingest", rows, began, before, stage=stage, notes=[*expected.doubts, *notes])


def _place_before(image: Image, stack: Stack) -> Voxels:
    """Return the voxel lattice of an earlier version; one that no volume has if that version refused the stack."""
    try:
        return place_of(image, stack.voxels)
    except InputRefused:
        return Voxels()

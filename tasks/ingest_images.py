"""Turn a stack of slices into the master of a volume: every voxel unchanged, with its position.

A block is a slab as deep as a stored object, so each slice is read and decoded once. Results for the whole volume
(statistics, the window of values that a viewer shows) are merged from the ledger in block order.
"""

import time
from contextlib import closing
from dataclasses import replace
from typing import Any

from tasks.parameters import Following, Image, Master, Run, Url
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, block_count, limits_of
from tasks.volume.ingest.checksums import expected_of
from tasks.volume.ingest.read_in_order import checked_before
from tasks.volume.outcomes import DestinationRefused
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
from tasks.volume.stacks.labels import volume_of_labels
from tasks.volume.stacks.plan import block_memory, decode_all, least_of_voxels, planned_stack
from tasks.volume.stacks.stack_request import MADE_BEFORE, request_of
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.room import refuse_full


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
    store, limits = Store(volume_of_labels(volume, image.labels_of), run.storage_options), limits_of(compute)
    asked = request_of(source, store, image, master, run, limits)
    stack, spec, block = asked.stack, asked.spec, asked.block
    sizes = {file.url: file.bytes for file, _ in stack.files}
    expected = expected_of(sizes, image.checksums, run.storage_options)
    stored = lossless_arrays(following)

    def follow(compute: Compute) -> list[ArraySpec]:
        voxels = OfVoxels(asked.attributes, asked.looks)
        return plan_following(store, spec, following or Following(), compute, voxels)

    def least() -> int:
        with using(compute, run) as sized:
            return least_of_voxels(stack, stored, sized.memory_bytes, run.storage_options)

    refuse_full(store, stored * spec.raw_bytes, least)
    refuse_occupied(store, asked.labelled)
    what = f"a slab of {block} voxels in chunks of {spec.chunks}"
    if run.dry_run:
        refuse_no_bucket(store)
        with using(compute, run) as compute:
            compute = replace(compute, needs=[])
            follows = follow(compute)
            planned = planned_stack(store, stack, spec, block, expected, limits, follows)
            fitting(compute, planned["memory_bytes"], what)
        notes = [*asked.what_is_there(), *planned["notes"], *asked.notes]
        return planned | promised(compute, store, (spec, *follows)) | {"notes": notes}
    need = block_memory(stack, spec, block, local=store.local)

    def fit(compute: Compute) -> Compute:
        follow(compute)
        return fitting(compute, need, what)

    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, fit) as owner,
    ):
        root = owner.root()
        known, earlier = asked.recognised(root)
        if earlier and overwrite:
            known, earlier = "", False
        if root is not None and not known and not overwrite:
            raise DestinationRefused(
                f"{asked.another(root)}; choose another place, or replace it with --overwrite"
            )
        if not known:
            refuse_strangers(store, root)
        request = digest_of(asked.body) if earlier or not known else known
        # Blocks read parts of files, in no order: what is expected of a file is shown by reading all of it before.
        if expected.checksums and not (known and root and root.state.sources[0].expected == expected.digest):
            checked_before(
                owner.store,
                folder_of(request),
                expected,
                list(expected.checksums),
                lambda file: closing(stack.files[file][0].open(run.storage_options)),
                compute,
            )
        if known and root is not None:
            clear_run(owner.store, owner.epoch, request, ("in_order",))
            parts = ["was done already", *([MADE_BEFORE, *asked.notes] if earlier else [])]
            return ended(store, "ingest", array_rows(root, [spec.path]), began, before, notes=parts)
        stage = owner.begin(
            "ingest",
            asked.body,
            fit,
            present=root,
            after=None,
            read=lambda: decode_all(stack, spec, block, compute, run.storage_options),
        )
        records = run_blocks(stage, image_block, range(block_count(spec.shape, block)))
        root = finish_stack(stage, stack, spec, asked.image, asked.place, records, expected)
        clear_run(owner.store, owner.epoch, request, ("in_order",))
    rows, notes = array_rows(root, [spec.path]), [*expected.doubts, *asked.notes]
    return ended(store, "ingest", rows, began, before, stage=stage, notes=notes)

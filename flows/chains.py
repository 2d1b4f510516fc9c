"""The chains of stages of `publish`, `migrate` and `demo`, for Prefect and for the command line without Prefect.

A chain takes its stages as a mapping of callables: plain ones on the command line, Prefect tasks in a flow.
"""

import filecmp
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.declarations import like
from flows.stages import Stage, load_verb
from flows.summary import Summary, combined
from tasks.parameters import Copies, Following, Image, Index, Levels, Master, Run, Step, Url
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure

PUBLISH_STAGES = ("ingest_segy", "ingest_images", "rechunk", "pyramid", "prove", "report")
DEMO_STAGES = ("make_survey", *PUBLISH_STAGES, "export_segy")
NO_COPIES = "copies: images get those alone that are named, such as --presets fast_z,fast_y,fast_x"
ALL_STEPS: tuple[Step, ...] = ("copies", "pyramid", "report", "proof")


def publish_chain(
    stages: Mapping[str, Stage],
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    copies: Copies = Copies(),
    pyramid: Levels = Levels(),
    steps: list[Step] = [*ALL_STEPS],  # noqa: B006  # a default that forms show
    run: Run = Run(),
    overwrite: bool = False,
    update: bool = False,
    image: Image = Image(),
    stopping: threading.Event | None = None,
) -> Summary:
    """Turn SEG-Y or images into a volume: lossless master, copies, coarser levels, pictures and proof.

    Run it again at any time: it recognises finished stages, adds missing ones, and refuses another plan.

    Args:
        stages: The callables of `PUBLISH_STAGES`.
        source: The SEG-Y, such as s3://staging/survey.sgy, or images: a file, a folder of slices, a pattern, a list
        volume: The volume to write, such as s3://volumes/survey.zarr; for labels, their name
        index: For SEG-Y: header fields that place a trace
        master: Storage of the lossless array
        copies: Copies in other chunks: for SEG-Y mostly lossy; for images lossless, and only those that are named
        pyramid: Coarser levels
        steps: Stages after the master; proof compares an export, or for images each voxel, with the source
        run: Settings of the run; none changes the data
        overwrite: Replace a volume of another source or plan, and copies and levels that differ
        update: Replace copies and levels that differ; a master that differs is refused
        image: For images: meaning and position of the voxels
        stopping: Event that ends the estimate of a dry run; stages have their own
    """
    # Here, because `--help` imports this module and none of what reads images.
    from flows.compute import kept_clients
    from flows.estimate import estimated
    from tasks.volume.protocol.lock import kept_locks
    from tasks.volume.publishing.kind import is_images, refuse_other_kind
    from tasks.volume.stacks.labels import volume_of_labels
    from tasks.volume.store.calls import traffic

    began, before = time.monotonic(), traffic.snapshot()
    images = index.file_format == "segy" and is_images(source, image, run.storage_options)
    refuse_other_kind(source, index, image, images=images)
    notes = []
    if images:
        volume = volume_of_labels(volume, image.labels_of)
        notes = [NO_COPIES] if "copies" in steps and copies == Copies() else []
        image = image.model_copy(update={"checksums": image.checksums or index.checksums})
        # Copies speed up slices of large volumes, and are made where somebody says which.
        steps = [step for step in steps if step != "copies" or copies != Copies()]
    else:
        index = index.model_copy(update={"checksums": index.checksums or image.checksums})
    if index.split == "line" and not index.traces:
        publication = {"master": master, "copies": copies, "pyramid": pyramid, "steps": steps}
        replacing = {"overwrite": overwrite, "update": update}
        return _publish_lines(stages, source, volume, index, run, publication | replacing)
    following = Following(
        copies=copies if "copies" in steps else None, levels=pyramid if "pyramid" in steps else None
    )
    ingest: dict[str, Any] = {"master": master, "overwrite": overwrite, "run": run, "following": following}
    with kept_clients(), kept_locks():  # from one stage to the next
        summaries = [
            stages["ingest_images"](source, volume, image=image, **ingest)
            if images
            else stages["ingest_segy"](source, volume, index=index, **ingest)
        ]
        if run.dry_run:
            ways = {"master": master, "copies": copies, "pyramid": pyramid, "steps": steps}
            summaries = [estimated(summaries[0], source, image if images else index, run, ways, stopping)]
            spent = traffic.since(before)
            return _published(summaries, notes) | {
                "seconds": round(time.monotonic() - began, 3),
                "requests": spent.requests,
                "bytes_read": spent.bytes_read,  # bytes are written to a temporary folder alone
            }
        after = _after_master(stages, volume, copies, pyramid, steps, run, replace=overwrite or update)
        return _published([*summaries, *after], notes)


def _after_master(
    stages: Mapping[str, Stage],
    volume: str,
    copies: Copies,
    pyramid: Levels,
    steps: list[Step],
    run: Run,
    *,
    replace: bool,
) -> Iterator[Summary]:
    """Run the chosen stages after the master, and yield their summaries."""
    if "copies" in steps:
        yield stages["rechunk"](volume, copies=copies, overwrite=replace, run=run)
    if "pyramid" in steps:
        yield stages["pyramid"](volume, levels=pyramid, overwrite=replace, run=run)
    if "proof" in steps:
        yield stages["prove"](volume, run=run)
    if "report" in steps:  # last, because it says what was proven
        yield stages["report"](volume, run=run)


@like(publish_chain, "image")
def migrate_chain(
    stages: Mapping[str, Stage], source: str, index: Index, run: Run, **publication: Any
) -> Summary:
    """Convert a volume of multidimio 0.8 to a Seismill volume: samples, trace headers, text and binary header.

    The summary names what multidimio did not keep of the SEG-Y. The old volume is only read.

    Args:
        stages: The callables of `PUBLISH_STAGES`.
        source: The volume of multidimio 0.8, such as s3://volumes/old.mdio
        volume: The volume to write, such as s3://volumes/survey.zarr
        index: Header fields that place a trace; auto finds those that hold the dimensions of the old volume
        copies: Copies in other chunks, mostly lossy
        steps: Stages after the master; proof compares the export with the SEG-Y that the old volume gives
        run: Settings of the run; none changes the data
        **publication: The other parameters of `publish_chain`.
    """
    from tasks.volume.ingest.from_mdio_v0 import what_to_publish

    segy, index, lost = what_to_publish(source, index, run.storage_options)
    summary = publish_chain(stages, source=segy, index=index, run=run, **publication)
    return summary | {"stage": "migrate", "notes": [*(f"lost: {note}" for note in lost), *summary["notes"]]}


def _published(summaries: list[Summary], notes: list[str]) -> Summary:
    """Return the summary of a publication, with notes of its own."""
    summary = combined("publish", summaries)
    return summary | {"notes": [*summary["notes"], *notes]}


def _publish_lines(
    stages: Mapping[str, Stage],
    source: str,
    folder: str,
    index: Index,
    run: Run,
    publication: dict[str, Any],
) -> Summary:
    """Publish each 2-D line of a source as a volume of its own; nothing is written before all can be.

    Args:
        stages: The callables of `PUBLISH_STAGES`.
        source: The SEG-Y.
        folder: Folder of the volumes, each named after its line.
        index: Header fields that place traces.
        run: Settings of the run, for all stages.
        publication: The rest of how each is published.

    Raises:
        InputRefused: There are no lines, or one of them cannot be published.
    """
    from tasks.volume.ingest.lines import index_of_line

    scanned = load_verb("scan")(source, index=index, storage_options=run.storage_options)
    if scanned["error"]:
        flags = scanned["error_flags"]
        raise InputRefused(scanned["error"].removesuffix(f"; say {flags}"), flags=flags)
    lines = [
        (line, f"{folder.rstrip('/')}/{line['name']}.zarr", index_of_line(index, line))
        for line in scanned["lines"]
    ]
    if not run.dry_run:
        look = run.model_copy(update={"dry_run": True})
        for _, volume, own in lines:
            publish_chain(stages, source=source, volume=volume, index=own, run=look, **publication)
    summaries = []
    for line, volume, own in lines:
        summary = publish_chain(stages, source=source, volume=volume, index=own, run=run, **publication)
        arrays = [array | {"path": f"{line['name']}/{array['path']}"} for array in summary["arrays"]]
        summaries.append(summary | {"arrays": arrays})
    proven = [summary.get("proven_at", "") for summary in summaries]
    return combined("publish", summaries) | {
        "volume": folder,
        "volumes": [summary["volume"] for summary in summaries],
        "pages": [summary["page"] for summary in summaries if "page" in summary],
        "proven_at": max(proven) if all(proven) else "",
    }


def demo_chain(stages: Mapping[str, Stage], folder: Url = "seismill-demo") -> Summary:
    """Make a survey, publish it, export it again and compare the bytes, without any configuration.

    Args:
        stages: The callables of `DEMO_STAGES`.
        folder: Folder for survey, volume, pictures and export

    Raises:
        IntegrityFailure: The export differs from the survey.
        DestinationRefused: The folder cannot be made, or holds another export.
    """
    place = Path(folder).expanduser().absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationRefused(
            f"{place} cannot be a folder ({error.strerror}); name another one"
        ) from error
    survey, volume, exported = place / "survey.sgy", place / "survey.zarr", place / "export.sgy"
    known = survey.exists()
    if exported.exists() and not (known and filecmp.cmp(survey, exported, shallow=False)):
        raise DestinationRefused(
            f"{exported} was not written by a demo; name a folder that does not exist yet"
        )
    if not known:  # kept when the demo is run again, so that what was published from it is recognised
        unfinished = place / "survey.sgy.partial"
        stages["make_survey"](str(unfinished))
        os.replace(unfinished, survey)
    published = publish_chain(stages, str(survey), str(volume))
    export = stages["export_segy"](str(volume), str(exported), overwrite=True, check=True)
    if not filecmp.cmp(survey, exported, shallow=False):
        raise IntegrityFailure(
            f"{exported} differs from {survey}, from which its volume was made; keep both and report it"
        )
    return {
        **combined("demo", [published, export]),
        "source": str(survey),
        "source_bytes": survey.stat().st_size,
        "target": str(exported),
        "export_identical": True,
    }

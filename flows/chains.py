"""The chains of stages that `publish` and `demo` are, written once for Prefect and for the bare command line.

A chain takes its stages as a mapping of callables: plain ones on the command line, Prefect tasks in a flow.
"""

import filecmp
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.stages import Stage, load_verb
from flows.summary import Summary, combined
from tasks.parameters import Copies, Following, Image, Index, Levels, Master, Run, Step
from tasks.volume.outcomes import InputRefused, IntegrityFailure

PUBLISH_STAGES = ("ingest_segy", "ingest_images", "rechunk", "pyramid", "prove", "report")
DEMO_STAGES = ("make_survey", *PUBLISH_STAGES, "export_segy")
NO_COPIES = "copies: images get those alone that are named, such as --presets fast_z,fast_y,fast_x"
ALL_STEPS: tuple[Step, ...] = ("copies", "pyramid", "report", "proof")


def publish_chain(
    stages: Mapping[str, Stage],
    *,
    source: str,
    volume: str,
    index: Index,
    master: Master,
    copies: Copies,
    pyramid: Levels,
    steps: list[Step],
    run: Run,
    overwrite: bool = False,
    update: bool = False,
    image: Image = Image(),
) -> Summary:
    """Make volume, copies, levels, pictures and proof from a source; recognise what is done under the same plan.

    A stack of images gets the copies alone that are asked for.

    Args:
        stages: The callables of `PUBLISH_STAGES`.
        source: The SEG-Y, or the images.
        volume: URL of the volume.
        index: Header fields that place traces.
        master: Storage of the lossless array.
        copies: Parameters of `rechunk`.
        pyramid: Parameters of `pyramid`.
        steps: Steps after the master.
        run: Settings of the run, for all stages.
        overwrite: Replace a volume of another source or plan, and copies and levels that differ.
        update: Replace copies and levels that differ; a master that differs is refused.
        image: Meaning and position of voxels.
    """
    # Here, because `--help` imports this module and none of what reads images.
    from flows.compute import kept_clients
    from tasks.volume.protocol.lock import kept_locks
    from tasks.volume.publishing.kind import is_images, refuse_other_kind
    from tasks.volume.stacks.labels import volume_of_labels

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
        ways = {"overwrite": overwrite, "update": update}
        return _publish_lines(stages, source, volume, index, run, publication | ways)
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
            return _published(summaries, notes)
        replace = overwrite or update
        if "copies" in steps:
            summaries.append(stages["rechunk"](volume, copies=copies, overwrite=replace, run=run))
        if "pyramid" in steps:
            summaries.append(stages["pyramid"](volume, levels=pyramid, overwrite=replace, run=run))
        if "proof" in steps:
            summaries.append(stages["prove"](volume, run=run))
        if "report" in steps:  # last, for it says what was proven
            summaries.append(stages["report"](volume, run=run))
        return _published(summaries, notes)


def migrate_chain(
    stages: Mapping[str, Stage], *, source: str, index: Index, run: Run, **rest: Any
) -> Summary:
    """Publish what a volume of multidimio 0.8 holds, as `publish_chain` does; what it lost is among the notes.

    Args:
        stages: The callables of `PUBLISH_STAGES`.
        source: The volume of multidimio 0.8.
        index: Header fields that place traces; those that hold its dimensions are found in its headers.
        run: Settings of the run, for all stages.
        **rest: Same as in `publish_chain`.
    """
    from tasks.volume.ingest.from_mdio_v0 import what_to_publish

    segy, index, lost = what_to_publish(source, index, run.storage_options)
    summary = publish_chain(stages, source=segy, index=index, run=run, **rest)
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


def demo_chain(stages: Mapping[str, Stage], *, folder: str = "seismill-demo") -> Summary:
    """Make a survey, publish it, export it and compare the bytes, all in one local folder.

    The survey is kept when the demo is run again, so that what was published from it is recognised.

    Args:
        stages: The callables of `DEMO_STAGES`.
        folder: Made if it is not there.

    Raises:
        IntegrityFailure: The export differs from the survey.
    """
    place = Path(folder).expanduser().absolute()
    place.mkdir(parents=True, exist_ok=True)
    survey, volume, exported = place / "survey.sgy", place / "survey.zarr", place / "export.sgy"
    if not survey.exists():
        unfinished = place / "survey.sgy.partial"
        stages["make_survey"](str(unfinished))
        os.replace(unfinished, survey)
    published = publish_chain(
        stages,
        source=str(survey),
        volume=str(volume),
        index=Index(),
        master=Master(),
        copies=Copies(),
        pyramid=Levels(),
        steps=list(ALL_STEPS),
        run=Run(),
    )
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

"""The main job: one SEG-Y, or one stack of images, becomes one published and proven volume.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; SEISMILL_DASK, if runs may compute
on "cluster"; the stores' credentials in the environment.
"""

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.prefect_flows import as_flow, as_task_call
from flows.stages import load_verb
from flows.summary import Summary
from tasks.parameters import Copies, Image, Index, Levels, Master, Run, Step, Url

_STAGES = {name: as_task_call(load_verb(name)) for name in PUBLISH_STAGES}


@as_flow
def publish(
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    copies: Copies = Copies(),
    pyramid: Levels = Levels(),
    steps: list[Step] = ["copies", "pyramid", "report", "proof"],  # noqa: B006  # a default that Prefect's form shows
    run: Run = Run(),
    overwrite: bool = False,
    update: bool = False,
    image: Image = Image(),
) -> Summary:
    """Turn SEG-Y or images into a volume: lossless master, copies for fast slices, coarser levels, pictures, proof.

    Run it again at any time: it recognises finished stages, adds missing ones, and refuses another plan.

    Args:
        source: The SEG-Y, such as s3://staging/survey.sgy, or images: a file, a folder of slices, a pattern, a list
        volume: The volume to write, such as s3://volumes/survey.zarr
        index: For SEG-Y: header fields that place a trace
        master: Storage of the lossless array
        copies: Copies in other chunks: for SEG-Y mostly lossy; for images lossless, and only those that are named
        pyramid: Coarser levels
        steps: Stages after the master; proof compares an export, or for images each voxel, with the source
        run: Settings of the run; none changes the data
        overwrite: Replace a volume of another source or plan, and copies and levels that differ
        update: Replace copies and levels that differ; a master that differs is refused
        image: For images: meaning and position of the voxels
    """
    return publish_chain(
        _STAGES,
        source=source,
        volume=volume,
        index=index,
        master=master,
        copies=copies,
        pyramid=pyramid,
        steps=steps,
        run=run,
        overwrite=overwrite,
        update=update,
        image=image,
    )

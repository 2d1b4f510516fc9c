"""A volume of multidimio 0.8 becomes one of this software, published and proven.

Requires on a worker what `flows.publish` does.
"""

from flows.chains import PUBLISH_STAGES, migrate_chain
from flows.prefect_flows import as_flow, as_task_call
from flows.stages import load_verb
from flows.summary import Summary
from tasks.parameters import Copies, Index, Levels, Master, Run, Step, Url

_STAGES = {name: as_task_call(load_verb(name)) for name in PUBLISH_STAGES}


@as_flow
def migrate(
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
) -> Summary:
    """Convert a volume of multidimio 0.8 to a Seismill volume: samples, trace headers, text and binary header.

    The summary names what multidimio did not keep of the SEG-Y. The old volume is only read.

    Args:
        source: The volume of multidimio 0.8, such as s3://volumes/old.mdio
        volume: The volume to write, such as s3://volumes/survey.zarr
        index: Header fields that place a trace; auto finds those that hold the dimensions of the old volume
        master: Storage of the lossless array
        copies: Copies in other chunks, mostly lossy
        pyramid: Coarser levels
        steps: Stages after the master; proof compares the export with the SEG-Y that the old volume gives
        run: Settings of the run; none changes the data
        overwrite: Replace a volume of another source or plan, and copies and levels that differ
        update: Replace copies and levels that differ; a master that differs is refused
    """
    return migrate_chain(
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
    )

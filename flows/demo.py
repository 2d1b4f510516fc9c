"""The main job on a survey of its own: everything Seismill does, without any configuration."""

from flows.chains import DEMO_STAGES, demo_chain
from flows.prefect_flows import as_flow, as_task_call
from flows.stages import load_verb
from flows.summary import Summary
from tasks.parameters import Url

_STAGES = {name: as_task_call(load_verb(name)) for name in DEMO_STAGES}


@as_flow
def demo(folder: Url = "seismill-demo") -> Summary:
    """Make a realistic survey, publish it, export it again and compare the bytes.

    Args:
        folder: Folder for survey, volume, pictures and export
    """
    return demo_chain(_STAGES, folder=folder)

"""Run the main job on a generated survey: everything Seismill does, without any configuration."""

from flows.chains import DEMO_STAGES, demo_chain
from flows.prefect_flows import as_chain, as_flow

demo = as_flow(as_chain(demo_chain, DEMO_STAGES))

"""The main job: make one published and proven volume from one SEG-Y or one stack of images.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; SEISMILL_DASK, if runs may compute
on "cluster"; the stores' credentials in the environment.
"""

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.prefect_flows import as_chain, as_flow

publish = as_flow(as_chain(publish_chain, PUBLISH_STAGES))

"""Convert a volume of multidimio 0.8 to a volume of Seismill, published and proven.

Requires on a worker what `flows.publish` does.
"""

from flows.chains import PUBLISH_STAGES, migrate_chain
from flows.prefect_flows import as_chain, as_flow

migrate = as_flow(as_chain(migrate_chain, PUBLISH_STAGES))

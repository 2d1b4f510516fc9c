"""One flow for each verb, with the verb's own parameters; the entrypoints of deployments/prefect.yaml.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; SEISMILL_DASK, if runs may compute
on "cluster"; the stores' credentials in the environment.
"""

from flows.prefect_flows import as_flow, as_task_call
from tasks.copy import copy as _copy
from tasks.export_ome import export_ome as _export_ome
from tasks.export_segy import export_segy as _export_segy
from tasks.info import info as _info
from tasks.ingest_images import ingest_images as _ingest_images
from tasks.ingest_segy import ingest_segy as _ingest_segy
from tasks.make_image import make_image as _make_image
from tasks.prove import prove as _prove
from tasks.pyramid import pyramid as _pyramid
from tasks.rechunk import rechunk as _rechunk
from tasks.report import report as _report
from tasks.scan import scan as _scan
from tasks.verify import verify as _verify

scan = as_flow(as_task_call(_scan))
ingest_segy = as_flow(as_task_call(_ingest_segy))
ingest_images = as_flow(as_task_call(_ingest_images))
rechunk = as_flow(as_task_call(_rechunk))
pyramid = as_flow(as_task_call(_pyramid))
export_segy = as_flow(as_task_call(_export_segy))
export_ome = as_flow(as_task_call(_export_ome))
copy = as_flow(as_task_call(_copy))
prove = as_flow(as_task_call(_prove))
verify = as_flow(as_task_call(_verify))
info = as_flow(as_task_call(_info))
report = as_flow(as_task_call(_report))
make_image = as_flow(as_task_call(_make_image))

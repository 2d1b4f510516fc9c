"""The nightly audit: read a share of every volume that sweeps published, and compare it with its checksums.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; the stores' credentials in the
environment.
"""

from typing import Any

from prefect.events import emit_event

from flows.artifacts import put_attention
from flows.declarations import INTERNAL, like
from flows.prefect_flows import as_flow, as_task_of_one
from flows.progress import artifact_report
from flows.publishers import verify_here
from flows.summary import Summary
from tasks.audit import audit as _audit
from tasks.volume.outcomes import IntegrityFailure

DAMAGED = "seismill.audit.damaged"  # the event that an automation tells people of


@as_flow
@like(_audit, *INTERNAL)
def audit(volumes: str, **parameters: Any) -> Summary:  # noqa: D103  # the verb's
    verify = as_task_of_one(verify_here())
    try:
        with artifact_report(volumes) as report:
            summary = _audit(volumes, **parameters, verify=verify, report=report)
    except IntegrityFailure as failure:
        damaged: Summary = failure.summary  # type: ignore[attr-defined]
        put_attention(damaged)
        emit_event(
            DAMAGED,
            resource={"prefect.resource.id": f"seismill.volumes.{damaged['volumes']}"},
            payload={
                "damaged": len(damaged["attention"]),
                "sentences": [row["sentence"] for row in damaged["attention"][:20]],
            },
        )
        raise
    put_attention(summary)
    return summary

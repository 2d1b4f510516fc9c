"""The nightly audit: a share of every volume that sweeps published is read again and compared with its checksums.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; the stores' credentials in the
environment.
"""

from prefect.events import emit_event

from flows.artifacts import put_attention
from flows.prefect_flows import as_flow, as_task_of_one
from flows.progress import artifact_report
from flows.publishers import verify_here
from flows.summary import Summary
from tasks.audit import audit as _audit
from tasks.parameters import Fraction, Run, Url
from tasks.volume.outcomes import IntegrityFailure

DAMAGED = "seismill.audit.damaged"  # the event that an automation tells people of


@as_flow
def audit(
    volumes: Url, fraction: Fraction = 0.05, errors: bool = False, run: Run = Run(), *, seed: int = -1
) -> Summary:
    """Verify a share of every volume that a sweep published, a different share each day.

    Args:
        volumes: The prefix of the volumes and their catalogue, such as s3://volumes
        fraction: Share of the stored objects to read; 0.05 covers all of them in 20 days
        errors: Also compare copies and levels with their masters and prove the exports; reads each volume whole
        run: Settings of the run; none changes the data
        seed: Number of the share; consecutive numbers take different objects; -1 for the number of the day
    """
    verify = as_task_of_one(verify_here())
    try:
        with artifact_report(volumes) as report:
            summary = _audit(volumes, fraction, errors, run, seed=seed, verify=verify, report=report)
    except IntegrityFailure as failure:
        found: Summary = failure.summary  # type: ignore[attr-defined]
        put_attention(found)
        emit_event(
            DAMAGED,
            resource={"prefect.resource.id": f"seismill.volumes.{found['volumes']}"},
            payload={
                "damaged": len(found["attention"]),
                "sentences": [row["sentence"] for row in found["attention"][:20]],
            },
        )
        raise
    put_attention(summary)
    return summary

"""Compute the requests of earlier versions for the same parameters, so that their volumes are recognised.

They read every index field as int32, and coordinates always from bytes 181 and 185.
"""

from dataclasses import replace
from typing import Any

from tasks.volume.ingest.survey import Survey
from tasks.volume.protocol.plan import digest_of

MADE_BEFORE = (
    "An earlier version made it, which took coordinates from other bytes or read floats as int32; "
    "--overwrite makes it again."
)


def digest_before(request: dict[str, Any], survey: Survey) -> str:
    """Return the digest of the request that earlier versions made of these parameters; empty if it is the same.

    Args:
        request: Request of an ingest now.
        survey: Survey of its files.
    """
    if survey.before is None:
        return ""
    return digest_of(request | {"index": replace(survey, placement=survey.before).placement_json()})

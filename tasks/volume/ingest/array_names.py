"""Refuse names of dimensions and coordinates that are invalid or reserved as names of arrays."""

import re
from collections import Counter

from tasks.volume.arrays.spec import MASTER, RAW_SAMPLES
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.placement import Placement

NAME = re.compile(
    r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
)  # a key in every store, and nothing that leads out of the volume
# Arrays, groups and dimensions that a volume has beside its coordinates.
STORED = frozenset(
    (
        MASTER,
        RAW_SAMPLES,
        "byte",
        "c",
        "exception",
        "headers",
        "pyramid",
        "raw_header_extensions",
        "raw_headers",
        "sample_exceptions",
        "segy_file_header",
        "segy_files",
        "spatial_ref",
        "trace_mask",
        "trace_number",
        "unplaced",
    )
)


def refuse_names(placement: Placement) -> None:
    """Check that every dimension and coordinate can be an array of that name.

    Raises:
        InputRefused: A name is stored already, stands twice, or is no name of an array.
    """
    names = [*placement.dims, placement.domain, *(coordinate.name for coordinate in placement.coordinates)]
    counts = Counter(names)
    for name in names:
        if not NAME.fullmatch(name):
            shown = name if len(name) <= 40 else f"{name[:40]}…"
            raise InputRefused(
                f"{shown!r} cannot be the name of an array: it must begin with a letter and have at most 64 letters, "
                "digits, _, - and .; give another with --index-names"
            )
        if name.lower() in STORED or name.startswith("fast_"):
            raise InputRefused(
                f"a volume has an array {name} of its own, so no index can have that name; give another with "
                "--index-names"
            )
        if counts[name] > 1:
            what = "the samples" if name == placement.domain else "a coordinate"
            raise InputRefused(
                f"the name {name} is that of an index and of {what}; give the index another with --index-names"
            )

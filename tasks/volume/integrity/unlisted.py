"""Check the chunks that no manifest lists: those beside a whole manifest, and all of an array without one."""

from collections.abc import Callable, Sequence

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec, positions
from tasks.volume.integrity.check import (
    Finding,
    does_not_decode,
    fetch,
    region_of,
    written_here,
)
from tasks.volume.integrity.entries import Entries
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.deletion import Shown, strays_among
from tasks.volume.protocol.own_names import chunk_of
from tasks.volume.protocol.stored import StoredObjects

NOT_WRITTEN = "is no part of what was written"


def unlisted(volume: Volume, entries: Entries, findings: Sequence[Finding]) -> list[Finding]:
    """Return chunks of whole volumes that no manifest lists: a reader would take them for data.

    A run leaves such a chunk if it was suspended during a request while another run took over and ended.
    """
    unknown = {finding.array for finding in findings}  # what their broken manifests list is not known
    arrays = set(written_here(volume)) - unknown
    shown = {
        path: Shown.before(len(volume.members[path]["shape"]), StoredObjects.of(listed))
        for path, listed in entries.parts
        if path in arrays
    }
    strays = strays_among(volume.store.each_key(""), shown)
    return [Finding(key, chunk_of(key)[0], "", NOT_WRITTEN) for key in sorted(strays)]


def undecodable(volume: Volume, path: str, check: Callable[[], None]) -> list[Finding]:
    """Return chunks of an array without a whole manifest that are missing or do not fit their own checksums.

    Args:
        volume: The volume.
        path: The array.
        check: Called before each object; may raise to end it.
    """
    if not volume.members[path]["shape"]:
        return []
    spec = volume.spec(path)
    findings = []
    for position in positions(spec, tuple(slice(0, n) for n in spec.shape)):
        check()
        key = spec.key(position)
        data = fetch(volume.store, key)
        if data is not None:
            problem = does_not_decode(spec, data)
        elif path.startswith("pyramid/") and volume.has("trace_mask"):
            problem = ""  # a level leaves out what is all NaN, wherever traces are
        else:
            problem = "" if may_be_absent(volume, spec, position) else "is missing"
        if problem:
            findings.append(Finding(key, path, region_of(volume, path, key), problem))
    return findings


def may_be_absent(volume: Volume, spec: ArraySpec, position: tuple[int, ...]) -> bool:
    """Return whether a stored object of a survey would hold no live trace."""
    if not volume.has("trace_mask"):
        return False
    mask = volume.spec("trace_mask")
    if spec.dims[: len(mask.dims)] != mask.dims or spec.shape[: len(mask.shape)] != mask.shape:
        return False
    cells = tuple(
        slice(p * u, min((p + 1) * u, n)) for p, u, n in zip(position, spec.unit, mask.shape, strict=False)
    )
    try:
        return not volume.read("trace_mask", cells).any()
    except IntegrityFailure:
        return False

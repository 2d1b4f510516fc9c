"""Read the parts of SEG-Y files that must be known before anything is written or removed."""

import logging
from collections.abc import Collection

import numpy as np

from tasks.parameters import Master
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute
from tasks.volume.ingest.checksums import Expected, Sums, noted_of
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.plan import Follow, fit_of
from tasks.volume.ingest.read_in_order import checked_before, refuse_what_stores_have
from tasks.volume.ingest.survey import Survey
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.plan import folder_of
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)


def unpredicted_key(request: str) -> str:
    """Return the key of the note that says that all headers of a run's files were read."""
    return f"{folder_of(request)}/unpredicted"


def read_before(
    store: WritableStore,
    survey: Survey,
    master: Master,
    follow: Follow,
    expected: Expected,
    request: str,
    root: Root | None,
    keys: Collection[str],
    compute: Compute,
) -> tuple[Survey, dict[int, Sums]]:
    """Read everything that the files can be refused for, before anything is removed; return the survey and checksums.

    A file with an expected MD5 is read whole. If a volume is replaced, all files are: their bytes are compared with
    the checksums of their store and the expected ones, and a predicted grid with all headers. `keys` are the keys of
    all objects at the place.
    """
    files, note = survey.files, unpredicted_key(request)
    wanted = list(range(len(files.listed))) if root is not None else expected.of_kind("md5")
    sums = checked_before(store, folder_of(request), expected, wanted, files.reading, compute)
    if survey.predicted and note in keys:
        survey = survey.unpredicted(near=files.local)
    if root is None:
        return survey, sums
    refuse_what_stores_have(files.reading, {file: sums[file]["crc32c"] for file in wanted}, expected.urls)
    if survey.predicted:
        scanned = survey.unpredicted(near=True)
        fit_of(store, scanned, master, follow)(compute)
        if not _same_grid(survey, scanned):
            log.info("%s: the headers are not as they were predicted, so all are read", files.name)
            store.put(note, b"the headers are not as they were predicted")
            survey = scanned if files.local else survey.unpredicted(near=False)
    return survey, {file: sums[file] for file in expected.of_kind("md5")}


def _same_grid(survey: Survey, other: Survey) -> bool:
    """Return whether two surveys of the same files put each trace into the same cell."""
    grid, scanned = survey.grid, other.grid
    assert grid is not None
    assert scanned is not None
    return np.array_equal(grid.trace_numbers, scanned.trace_numbers) and all(
        np.array_equal(entry.values, same.values) for entry, same in zip(grid.axes, scanned.axes, strict=True)
    )


def check_again(
    store: WritableStore,
    epoch: int,
    root: Root,
    request: str,
    expected: Expected,
    files: Files,
    compute: Compute,
) -> None:
    """Check the files that a volume was made from against the checksums that are expected now.

    Raises:
        IntegrityFailure: A file has another checksum.
    """
    known = noted_of([source.to_json() for source in root.state.sources])
    for file in expected.checksums:
        expected.refuse(file, known[file])
    unread = [file for file in expected.of_kind("md5") if "md5" not in known[file]]
    if unread:
        checked_before(store, folder_of(request), expected, unread, files.reading, compute)
        clear_run(store, epoch, request)

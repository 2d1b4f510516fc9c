"""Check what a volume keeps beside its arrays: earlier commits and locks, the report, plans of unfinished runs.

None of it holds samples, and no reader needs it:
- An earlier commit prevents that its number is used again, and holds a checksum of the root after it.
- An earlier lock shows a suspended run that another took over. Nothing else shows that the newest lock existed.
- The report is drawn again from the arrays by `seismill report`.
- Documents of another tool's group and array are not ours: they are opened, and what is wrong with them is named, but
  they are not restored. No checksum of its samples is kept; copies and levels are compared with them on request.
- The plan of an unfinished run lets that run continue; the blocks of damaged records in its ledger are done again.
"""

import logging
from collections.abc import Collection

from tasks.volume.arrays.groups import ANNEX, ROOT
from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import on_io
from tasks.volume.integrity.check import Finding, fetch
from tasks.volume.limits import GAPS
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.commits import (
    COMMITS,
    SUPERSEDED,
    Commit,
    commit_count,
    commit_in,
    newest_commit,
    superseded,
    superseded_by,
)
from tasks.volume.protocol.lock import highest, numbers_in
from tasks.volume.protocol.lock_content import LOCKS, is_whole, released_lock
from tasks.volume.protocol.manifest import (
    LISTED_BESIDE,
    REPORT,
    REPORT_LIST,
    REPORT_PAGE,
    REPORT_TEXT,
    listed_at,
)
from tasks.volume.protocol.plan import PLAN, RUNS, is_begun, load_plan
from tasks.volume.protocol.root import present_root
from tasks.volume.protocol.stored import StoredObjects
from tasks.volume.store.objects import Store

log = logging.getLogger(__name__)

DRAW_AGAIN = "draw the report again with seismill report"
ALTERED = "is not as it was written"
NOT_GIVEN = "has a number that no run gave it"


def beside(volume: Volume) -> list[Finding]:
    """Return what is wrong beside the arrays of a volume."""
    store = volume.store
    return [*_commits(store), *_locks(store), *_report(store), *_plans(volume), *_of_others(volume)]


REPLACED = (
    "a run is replacing {}, or was stopped while it did: readers still find the old volume, and the next stage that "
    "writes here removes it; if no run is under way, repeat the command that was stopped"
)
NOT_COMPARED = (
    "copies and levels were not compared with {}, which was left out; their attributes have "
    "the errors that were measured when they were made"
)


def notes_on(volume: Volume, *, errors: bool) -> list[str]:
    """Return notes on what is not checked: an array of another tool, or one that was left out.

    Args:
        volume: The volume.
        errors: Whether copies and levels are to be compared with what they were made of.
    """
    notes = [REPLACED.format(volume.store.url)] if _is_withdrawn(volume.store) else []
    if volume.left_out and errors:
        return [*notes, NOT_COMPARED.format(volume.left_out)]
    return [*notes, *volume.root.group.notes(volume)]


def _is_withdrawn(store: Store) -> bool:
    """Return whether the newest commit takes the volume away, which the run that made it did not come to."""
    newest = newest_commit(store)
    return newest is not None and newest.whole and not newest.document


def _of_others(volume: Volume) -> list[Finding]:
    """Return findings for the documents of another tool's group and array."""
    return [
        Finding(key, "", "", f"{problem}; another tool wrote it: put it back from a copy")
        for key, problem in volume.root.group.problems(volume, lambda: present_root(volume.store)[0])
    ]


def restored(store: Store, finding: Finding) -> bytes | None:
    """Return the content of an older commit or lock if the volume still determines it, else None."""
    folder, _, name = finding.key.rpartition("/")
    if folder == LOCKS:
        log.warning("%s/%s: which run held this lock is lost; no run needs it", store.url, finding.key)
        return released_lock(int(name))[1]
    newest = newest_commit(store)
    if folder != COMMITS or newest is None or int(name) >= newest.number:
        return None
    known = _known(newest).get(int(name))
    if known is None:
        log.warning(
            "%s/%s: the checksum of the root after it is lost; no run needs it", store.url, finding.key
        )
    return known or SUPERSEDED


def displaced(store: Store, findings: Collection[Finding]) -> dict[str, bytes]:
    """Return the content of damaged commits by key, if it is stored under the key of another commit."""
    keys = [finding.key for finding in findings if finding.key.startswith(f"{COMMITS}/")]
    contents = [content for key in keys if (content := fetch(store, key))]
    present = {present_root(store, where)[0] for where in (ROOT, ANNEX)} - {b""}
    last, elsewhere = commit_count(store), {}
    for key in keys:
        number = int(key.rpartition("/")[2])
        if number < last:
            fitting = [c for c in contents if c != SUPERSEDED and superseded_by(number, c) is not None]
        else:
            fitting = [
                c for c in contents if commit_in(number, c).whole and commit_in(number, c).document in present
            ]
        if fitting and fitting[0] != fetch(store, key):
            elsewhere[key] = fitting[0]
    return elsewhere


def _known(newest: Commit) -> dict[int, bytes]:
    """Return the content of the two commits before the newest, which keeps the checksums of both roots."""
    if not newest.whole:
        return {}
    last = newest.number - 1
    return {last: superseded(last, newest.root_checksum), last - 1: superseded(last - 1, newest.before)}


def _commits(store: Store) -> list[Finding]:
    newest = newest_commit(store)
    if newest is None:
        return []
    numbers, strays = _numbered(store, COMMITS, newest.number)
    numbers = [number for number in numbers if number < newest.number]
    if strays:  # below the gap lies the commit that was the newest
        numbers = numbers[:-1]
    keys = [f"{COMMITS}/{number:08d}" for number in numbers]
    present = {present_root(store, where)[0] for where in (ROOT, ANNEX)}
    contents = on_io(lambda key: fetch(store, key), keys)
    return strays + [
        Finding(key, "", "", "is missing" if content is None else ALTERED)
        for number, key, content in zip(numbers, keys, contents, strict=True)
        if content is None
        or (superseded_by(number, content) is None and not _left(commit_in(number, content), newest, present))
    ]


def _numbered(store: Store, folder: str, last: int) -> tuple[list[int], list[Finding]]:
    """Return the numbers to look at, and a finding for the last if no run can have given it so high a one."""
    there = sorted(number for number in numbers_in(store, folder) if number <= last)
    missing = last - len(there)
    if missing <= GAPS:
        return list(range(1, last + 1)), []
    problem = f"{NOT_GIVEN}: {missing:,} before it are missing; move it away"
    return there[:-1], [Finding(f"{folder}/{last:08d}", "", "", problem)]


def _left(commit: Commit, newest: Commit, present: set[bytes]) -> bool:
    """Return whether a run that was killed while it committed left this commit of before as it was.

    The present root is in the newest commit, so that one of before with it lies at another's number; or in the last
    one before, if the run was killed before it put the root.
    """
    if not commit.whole:
        return False
    waits = newest.whole and newest.document not in present
    return (
        not commit.document
        or commit.document not in present
        or (waits and commit.number == newest.number - 1)
    )


def _locks(store: Store) -> list[Finding]:
    epochs, strays = _numbered(store, LOCKS, highest(store))
    keys = [f"{LOCKS}/{epoch:08d}" for epoch in epochs]
    contents = on_io(lambda key: fetch(store, key), keys)
    return strays + [
        Finding(key, "", "", "is missing" if content is None else ALTERED)
        for epoch, key, content in zip(epochs, keys, contents, strict=True)
        if content is None or not is_whole(content, epoch)
    ]


def _report(store: Store) -> list[Finding]:
    """Return findings for the report, if there is one that lists its files."""
    present = store.keys(REPORT)
    if not present:
        return []
    text, listing = fetch(store, REPORT_TEXT), fetch(store, REPORT_LIST)
    if listing is None:
        if text is None and REPORT_PAGE not in present:
            return [Finding(REPORT_PAGE, "", "", f"is missing; {DRAW_AGAIN}")]
        listed_beside = REPORT_PAGE in present or LISTED_BESIDE.encode() in (text or b"")
        return [Finding(REPORT_LIST, "", "", f"is missing; {DRAW_AGAIN}")] if listed_beside else []
    listed = listed_at(REPORT_LIST, listing)
    findings = []
    if listed is None:
        findings.append(Finding(REPORT_LIST, "", "", f"{ALTERED}; {DRAW_AGAIN}"))
        elsewhere = (listed_at(REPORT_LIST, fetch(store, key) or b"") for key in present)
        listed = next(
            (entry for entry in elsewhere if entry), StoredObjects.of(())
        )  # it changed places with another file
    contents = on_io(lambda stored: fetch(store, stored.key), listed)
    for stored, content in zip(listed, contents, strict=True):
        if not stored.fits(content):
            problem = "is missing" if content is None else ALTERED
            findings.append(Finding(stored.key, "", "", f"{problem}; {DRAW_AGAIN}"))
    return findings


def _plans(volume: Volume) -> list[Finding]:
    """Return findings on the plans of unfinished runs; the root covers the plans of finished stages."""
    store = volume.store
    done = {entry.plan for entry in volume.state.stages.values()}
    findings = []
    for key in store.keys(RUNS):
        folder, _, name = key.rpartition("/")
        digest = folder.rpartition("/")[2]
        if name != PLAN or digest in done or not is_begun(store, digest):
            continue
        try:
            load_plan(store, digest)
        except IntegrityFailure:
            lost = (
                f"so the unfinished run that it is of cannot go on; remove {folder} and start that run again"
            )
            findings.append(Finding(key, "", "", f"{ALTERED}, {lost}"))
    return findings

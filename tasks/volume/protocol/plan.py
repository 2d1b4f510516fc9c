"""A plan: the immutable description of one stage of a run, stored before any block of it.

Its identity is a digest over all that determines the bytes it makes. The time stamp and the library versions
are not part of that: whoever creates the plan first stores them with it, and whoever resumes it takes them
from there, so that a resumed run ends with the bytes of an undisturbed one.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from tasks.parameters import StorageOptions
from tasks.volume.arrays.documents import value_from
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.protocol.remembered import recalling, tidied
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

FORMAT = 1  # of the stored volume
PLAN = "plan.json"
GRID = "grid.npz"
NOTES = (PLAN, GRID)  # of a stage that is done: what its master is repaired by, kept twice
TWIN = ".twin"
RUNS = ".seismill/runs"


@dataclass(frozen=True, eq=False)
class Plan:
    """One stage as a value.

    Attributes:
        digest: Identity of the plan, 32 hexadecimal digits.
        body: Content that determines the bytes: verb, sources, grid, arrays, blocks.
        created_on: The volume's time stamp, ISO 8601.
        versions: Version of each library that the bytes depend on.
        content: The document as it is stored.
    """

    digest: str
    body: dict[str, Any]
    created_on: str
    versions: dict[str, str]
    content: bytes

    @property
    def folder(self) -> str:
        """Return the folder of the plan and its ledger."""
        return folder_of(self.digest)


def folder_of(digest: str) -> str:
    """Return the folder of a plan, relative to the volume."""
    return f"{RUNS}/{digest}"


@cache
def versions() -> dict[str, str]:
    """Return the versions, here and now, of the libraries that stored bytes depend on."""
    names = ("seismill", "zarr", "numcodecs", "zfpy", "numba", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


def digest_of(body: dict[str, Any]) -> str:
    """Return a digest of content that does not depend on the order of its keys."""
    canonical = json.dumps({"format": FORMAT, **body}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def time_stamp(created_on: str) -> str:
    """Return `created_on` if it is a time with a zone, else the present.

    Raises:
        InputRefused: The text is neither empty nor a time with a zone.
    """
    if not created_on:
        return datetime.now(UTC).isoformat()
    try:
        stamp = datetime.fromisoformat(created_on)
    except ValueError:
        stamp = None
    if stamp is None or stamp.tzinfo is None:
        raise InputRefused(
            f"created_on is {created_on!r}, which is not a time with a time zone; write 2026-01-01T00:00:00+00:00"
        )
    return stamp.isoformat()


def settle_plan(
    store: WritableStore, body: dict[str, Any], *, created_on: str, accept_versions: bool
) -> tuple[Plan, bool]:
    """Store the plan, or take up the same one that is stored already; True if it was.

    Raises:
        DestinationRefused: The stored one was begun by other library versions, and those were not accepted.
    """
    body = json.loads(json.dumps(body))
    digest = digest_of(body)
    document: dict[str, Any] = {"created_on": time_stamp(created_on), "versions": versions(), "body": body}
    key = f"{folder_of(digest)}/{PLAN}"
    content = json.dumps(document, indent=1).encode()
    if store.create(key, content) or _filled(store, key, content):
        return Plan(digest, body, document["created_on"], versions(), content), False
    plan = load_plan(store, digest)
    differing = {n: v for n, v in plan.versions.items() if v != versions().get(n)}
    if differing and not accept_versions:
        named = ", ".join(f"{n} {v} (here {versions().get(n)})" for n, v in differing.items())
        raise DestinationRefused(
            f"this run at {store.url} was begun with {named}, whose bytes may differ; install those versions, "
            "or go on with accept_versions"
        )
    return plan, True


def _filled(store: WritableStore, key: str, content: bytes) -> bool:
    """Return whether this call wrote a plan whose name a killed run had taken without writing anything."""
    present, identity = store.get_seen(key)
    return present == b"" and store.replace(key, content, identity)


def load_plan(store: Store, digest: str) -> Plan:
    """Return the stored plan of that digest.

    Raises:
        IntegrityFailure: The stored plan differs from the one that was written.
    """
    return _plan_from(store, digest, store.get(f"{folder_of(digest)}/{PLAN}"))


def _plan_from(store: Store, digest: str, data: bytes) -> Plan:
    """Return the plan in a stored document; raise as `load_plan`."""
    key = f"{folder_of(digest)}/{PLAN}"
    try:
        document = value_from(data)
        plan = Plan(digest, document["body"], document["created_on"], document["versions"], data)
    except (ValueError, LookupError, TypeError):
        plan = None
    if plan is None or digest_of(plan.body) != digest:
        raise IntegrityFailure(
            f"{store.url}/{key} is not as it was written; repair the volume, or, if there is none yet, remove "
            f"{folder_of(digest)} and run the same command again"
        )
    return plan


def is_begun(store: Store, digest: str) -> bool:
    """Return whether there is a plan of that digest; an empty one was never written."""
    try:
        return bool(store.get(f"{folder_of(digest)}/{PLAN}"))
    except FileNotFoundError:
        return False


def unfinished_plans(store: Store, *, done: Collection[str]) -> Iterator[Plan]:
    """Yield the plans of a volume's unfinished stages.

    Raises:
        IntegrityFailure: A stored plan differs from the one that was written.
    """
    if tidied(store):
        return
    for key in store.keys(RUNS):
        folder, _, name = key.rpartition("/")
        digest = folder.rpartition("/")[2]
        # An empty plan was never written.
        if name == PLAN and digest not in done and (data := store.get(key)):
            yield _plan_from(store, digest, data)


def notes_of(digest: str) -> list[str]:
    """Keys of what is kept of a stage that is done, and of its twins."""
    return [f"{folder_of(digest)}/{name}{more}" for name in NOTES for more in ("", TWIN)]


_begun: dict[tuple[str, str], Plan] = {}  # that this process stored or read itself, the last few
MOST_BEGUN = 8


def remember_plan(store: Store, plan: Plan) -> None:
    """Keep a plan that this process stored or read, so that blocks in it need not read it."""
    while len(_begun) >= MOST_BEGUN:
        _begun.pop(next(iter(_begun)), None)
    _begun[store.url, plan.digest] = plan


@lru_cache(maxsize=8)
def plan_at(
    volume: str, options: StorageOptions, digest: str, accept_versions: bool
) -> tuple[WritableStore, Plan]:
    """Return the store and plan that a block's job names, opened once in each worker process.

    Raises:
        DestinationRefused: The library versions of this worker are not the plan's.
    """
    store = recalling(WritableStore(volume, options))
    plan = _begun.get((store.url, digest)) or load_plan(store, digest)
    if plan.versions != versions() and not accept_versions:
        raise DestinationRefused(
            f"this worker has {versions()}, but the plan at {store.url} was made with {plan.versions}; "
            "give all workers the same image"
        )
    return store, plan

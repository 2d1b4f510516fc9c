"""Decide what to do with each source of a sweep, from its record and its present state; nothing is written."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tasks.parameters import Retry
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.url import locate, unescaped
from tasks.volume.sweeps.catalogue import Catalogue, CatalogueEntry
from tasks.volume.sweeps.staging import StagedSource, size_class

# What becomes of a source: it is started, or its run of an earlier sweep is looked at; it is waited for until it has
# settled; it is quarantined without a try; nothing, or nothing because the catalogue knows another file by its name.
Action = Literal["publish", "follow", "wait", "refuse", "leave", "foreign"]


def decide(
    staged: list[StagedSource],
    catalogue: Catalogue,
    *,
    again: Retry,
    settle: timedelta,
    missing: Collection[str] = (),
) -> dict[str, Action]:
    """Return the action for each source, by name; sources without a record get one, in memory only.

    Args:
        staged: Sources that lie in staging.
        catalogue: Their records.
        again: Whether quarantined sources are tried again.
        settle: Time for which a source must be unchanged.
        missing: Names of published sources whose volume no longer exists.
    """
    actions = {}
    for entry in staged:
        record = catalogue.records.get(entry.name)
        if record is None or (_is_of(record, entry) and _content(record) != _content(entry)):
            version = record.version if record else 0
            record = CatalogueEntry(
                entry.name,
                entry.url,
                entry.bytes,
                entry.identity,
                entry.volume,
                "arriving",
                seen_at=_now().isoformat(),
                group=entry.recorded,
                version=version,
            )
            catalogue.records[entry.name] = record
        action = action_for(record, entry, again=again, settle=settle)
        actions[entry.name] = "publish" if action == "leave" and entry.name in missing else action
    return actions


def action_for(record: CatalogueEntry, source: StagedSource, *, again: Retry, settle: timedelta) -> Action:
    """Return the action for a source whose record is of its present content."""
    if not _is_of(record, source):
        return "foreign"
    if source.sentence:
        return "leave" if record.sentence == source.sentence and record.state == "quarantined" else "refuse"
    if record.state == "arriving":
        settled = _now() - datetime.fromisoformat(record.seen_at) >= settle
        return "publish" if settled else "wait"
    if record.state == "quarantined":
        # Another plan means that somebody corrected something, most likely the sidecar.
        return "publish" if again == "quarantined" or record.plan != plan_of(source) else "leave"
    if record.state == "published":
        return "leave"
    return "follow" if record.run else "publish"


def plan_of(source: StagedSource) -> str:
    """Return a digest of the settings of a publication, the same as sweeps of earlier versions recorded."""
    asked = {"volume": source.volume, "attributes": source.attributes, "md5": source.beside}
    publication = source.publication.model_dump()
    if publication["copies"]["quality"] == "auto":
        publication["copies"]["quality"] = "low"  # as it was recorded when that was the default
    return digest_of(asked | {"publication": publication, "refused": source.sentence})


def outcome_of(
    source: StagedSource, actions: Mapping[str, Action], catalogue: Catalogue, *, dry: bool
) -> dict[str, Any]:
    """Return the row of a source for the summary of a sweep."""
    record, action = catalogue.records[source.name], actions[source.name]
    state, sentence = str(record.state), record.sentence
    if action == "foreign":
        state = "quarantined"
        sentence = f"the catalogue knows it as {record.source}; give each staging prefix volumes of its own"
    elif dry and action == "refuse":
        state, sentence = "quarantined", source.sentence
    elif dry and action in ("publish", "follow"):
        state, sentence = "due", f"would become {source.volume}"
    elif dry and action == "wait":
        sentence = f"would become {source.volume} once it has been unchanged for --settle-minutes"
    elif state == "published" and source.name not in catalogue.written:
        state = "unchanged"
    return {
        "source": source.name,
        "state": state,
        "sentence": sentence,
        "bytes": source.bytes,
        "size": size_class(source.bytes),
        "attempts": record.attempts,
        "run": record.run,
        "new": source.name in catalogue.written,
    }


def _is_of(record: CatalogueEntry, source: StagedSource) -> bool:
    """Return whether a record is of the file at a URL, also if it was written before names were percent-encoded."""
    if record.source == source.url:
        return True
    decoded = unescaped(locate(source.url))
    return decoded is not None and record.source.partition("://")[2] == decoded.path


def _content(of: CatalogueEntry | StagedSource) -> tuple[int, str]:
    return of.bytes, of.identity


def _now() -> datetime:
    return datetime.now(UTC)

"""After a source was published: what its volume says of it, and what its sidecar says of the volume."""

import logging
from collections.abc import Mapping
from typing import Any

from tasks.parameters import Run
from tasks.volume.lock import locked
from tasks.volume.outcomes import IntegrityFailure, Resumable
from tasks.volume.reader import open_volume
from tasks.volume.root import commit, current_root
from tasks.volume.staging import Found
from tasks.volume.store import Store

log = logging.getLogger(__name__)


def receipt(one: Found, run: Run) -> dict[str, str]:
    """The source's CRC32C and `proven_at`, as its volume has them, after the sidecar's attributes were added.

    Raises:
        InputRefused: There is no volume.
        Resumable: The volume is not (yet) the one of this content.
        IntegrityFailure: The file is not what its sidecar expects.
    """
    store = Store(one.volume, run.storage_options)
    state = open_volume(store).state
    source = state["sources"][0]
    if (source["url"], source["bytes"], source["etag"]) != (one.url, one.bytes, one.identity):
        raise Resumable(f"{one.name} was replaced while it was published; the next sweep looks at it again")
    if one.crc32c and source["crc32c"] != one.crc32c:
        raise IntegrityFailure(
            f"{one.name} has the CRC32C {source['crc32c']}, but its sidecar expects {one.crc32c}; copy it to "
            "staging again, or correct the sidecar"
        )
    if one.attributes and state.get("attributes") != one.attributes:
        describe(store, one.attributes, run)
    return {"crc32c": source["crc32c"], "proven_at": state.get("proven_at", "")}


def describe(store: Store, attributes: Mapping[str, Any], run: Run) -> None:
    """Make `attributes` (survey, EPSG code …) those of a published volume; nothing else of it changes.

    Raises:
        Resumable: Another run writes it, or took it away.
    """
    with locked(store, wait_seconds=run.lock_wait, say=log.info) as epoch:
        root = current_root(store)
        if root is None:
            raise Resumable(f"the volume at {store.url} was taken away meanwhile")
        root["attributes"]["seismill"]["attributes"] = dict(attributes)
        commit(store, epoch, root)

"""Read from a published volume the description of its source, and add the sidecar's attributes to the volume."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from tasks.parameters import Run
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.blocks import on_io
from tasks.volume.images.names import HEADERS
from tasks.volume.outcomes import InputRefused, Outcome, Resumable
from tasks.volume.protocol.owner import held
from tasks.volume.protocol.plan import load_plan
from tasks.volume.protocol.root import commit, current_root
from tasks.volume.store.objects import Store
from tasks.volume.sweeps.catalogue import Catalogue
from tasks.volume.sweeps.keys import File, suffix_of
from tasks.volume.sweeps.staging import StagedSource

log = logging.getLogger(__name__)

ROOT_KEY, SUFFIX = "zarr.json", ".zarr"


@dataclass(frozen=True)
class Receipt:
    """The sources of a volume: files with their CRC32C, and the time at which the export was identical."""

    files: tuple[File, ...]
    proven_at: str


def receipt(entry: StagedSource, run: Run) -> Receipt:
    """Add the sidecar's attributes to the volume; return what the volume states of its source.

    Raises:
        InputRefused: There is no volume, or it was made of a file at another place.
        Resumable: The volume was not (yet) made of this content.
    """
    store = Store(entry.volume, run.storage_options)
    if entry.publication.index.split != "no":
        return _of_parts(entry, volumes_at(store), run)
    volume = open_volume(store)
    if entry.images:
        return _of_images(entry, volume, run)
    state = volume.state
    places = [_place(source.url) for source in state.sources]
    listed = [(_place(file.url), file.bytes, file.identity) for file in entry.files]
    if set(places).isdisjoint(
        place for place, _, _ in listed
    ):  # the same would be found by each sweep to come
        raise InputRefused(
            f"{entry.volume} was made of {', '.join(source.url for source in state.sources)}; give each staging "
            "prefix volumes of its own"
        )
    # The listing has the bytes of an archive, and a volume holds those of the file inside.
    sizes = [source.archive.get("bytes", source.bytes) for source in state.sources]
    etags = [source.etag for source in state.sources]
    if list(zip(places, sizes, etags, strict=True)) != listed:
        raise Resumable(f"{entry.name} was replaced while it was published; the next sweep looks at it again")
    files = tuple(
        replace(file, crc32c=source.crc32c) for file, source in zip(entry.files, state.sources, strict=True)
    )
    if entry.attributes and state.attributes != entry.attributes:
        describe(store, entry.attributes, run)
    return Receipt(files, state.proven_at)


def _place(url: str) -> str:
    """Return where a file lies, however its URL is spelled: with links, or as before names were percent-encoded."""
    protocol, _, path = url.rpartition("://")
    return (
        f"{protocol}://{unquote(path)}" if protocol not in ("", "file") else os.path.realpath(unquote(path))
    )


def _of_images(source: StagedSource, volume: Volume, run: Run) -> Receipt:
    """Return what an image volume says of its source. It holds no file, so no staging file is safe to release.

    Raises:
        Resumable: The volume is not (yet) the one of these slices.
    """
    plan = load_plan(volume.store, volume.master_plan)
    read = Counter((file["bytes"], file["identity"]) for file, _ in plan.body["stack"]["files"])
    listed = Counter((file.bytes, file.identity) for file in source.files)
    # A header that names the file of the voxels is not among the files that were read.
    if read != listed and suffix_of(source.name) not in HEADERS:
        raise Resumable(
            f"{source.name} was replaced while it was published; the next sweep looks at it again"
        )
    if source.attributes and volume.state.attributes != source.attributes:
        describe(volume.store, source.attributes, run)
    return Receipt(source.files, "")


def volumes_at(store: Store) -> list[Store]:
    """Return the volume at a URL or, if its source was split, the volumes in the folder at that URL."""
    if store.exists(ROOT_KEY):
        return [store]
    names = [name.rstrip("/") for name in store.children()]
    parts = [Store(f"{store.url}/{name}", store.options) for name in names if name.endswith(SUFFIX)]
    return parts or [store]


def missing(
    found: list[StagedSource], catalogue: Catalogue, run: Run, say: Callable[[str], None]
) -> set[str]:
    """Return the names of sources that are recorded as published, but whose volume no longer exists.

    Args:
        found: Sources that lie in staging.
        catalogue: Their records.
        run: Settings of the run, with the options of the store.
        say: Called with a sentence if such sources exist.
    """
    records = catalogue.records
    published = [
        entry for entry in found if entry.name in records and records[entry.name].state == "published"
    ]

    def volumes_in(folder: str) -> set[str]:
        try:
            return {f"{folder}/{name.rstrip('/')}" for name in Store(folder, run.storage_options).children()}
        except Outcome:  # it is a file, or may not be listed: each volume in it is looked at by itself
            return set()

    def is_gone(entry: StagedSource) -> bool:
        try:
            volumes = volumes_at(Store(entry.volume, run.storage_options))
            return not all(store.exists(ROOT_KEY) for store in volumes)
        except Outcome as outcome:
            log.warning("whether %s is there is not known: %s", entry.volume, outcome)
            return False

    # One listing of a folder instead of a request for each volume in it.
    folders = sorted({entry.volume.rpartition("/")[0] for entry in published})
    present = set().union(*on_io(volumes_in, folders))
    doubtful = [entry for entry in published if entry.volume not in present]
    names = [entry.name for entry, gone in zip(doubtful, on_io(is_gone, doubtful), strict=True) if gone]
    if names:
        listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        say(f"{len(names)} sources were published and have no volume any more; they are due again: {listed}")
    return set(names)


def _of_parts(entry: StagedSource, volumes: list[Store], run: Run) -> Receipt:
    """Return what the volumes of a split source say of it; it is proven where all are, and hold all of its traces.

    Raises:
        InputRefused: There is no volume.
        Resumable: The volumes are not (yet) those of this content.
    """
    held = dict.fromkeys(((file.url, file.identity) for file in entry.files), 0)
    beside = dict(held)
    proven = []
    for store in volumes:
        state = open_volume(store).state
        mine = [source for source in state.sources if (source.url, source.etag) in held]
        for source in mine:
            file, traces = (
                (source.url, source.etag),
                source.trace_count * source.file["trace_bytes"],
            )
            held[file] += traces
            beside[file] = source.bytes - traces
        if mine:
            proven.append(state.proven_at)
        if mine and entry.attributes and state.attributes != entry.attributes:
            describe(store, entry.attributes, run)
    if not proven or not all(held.values()):
        raise Resumable(f"{entry.name} was replaced while it was published; the next sweep looks at it again")
    whole = all(
        held[file.url, file.identity] + beside[file.url, file.identity] == file.bytes for file in entry.files
    )
    return Receipt(entry.files, max(proven) if whole and all(proven) else "")


def describe(store: Store, attributes: Mapping[str, Any], run: Run) -> None:
    """Set attributes (survey, EPSG code …) of a published volume; nothing else in it changes.

    Raises:
        Resumable: Another run writes it, or took it away.
    """
    with held(store, run) as (writable, epoch):
        root = current_root(writable)
        if root is None:
            raise Resumable(f"the volume at {store.url} was removed meanwhile; run the sweep again")
        commit(writable, epoch, root.with_state(attributes=dict(attributes)))

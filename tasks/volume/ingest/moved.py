"""Recognize source files that moved since their volume was made, by size and CRC32C.

A file is read for this only where the stored request does not name it.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.root_schema import SourceEntry, StageEntry
from tasks.volume.arrays.volume_root import Root
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.from_mdio_v0 import open_source
from tasks.volume.ingest.named_files import list_files
from tasks.volume.ingest.records import PART_BYTES, checksums, whole_checksums
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.protocol.plan import load_plan
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.source_options import of_sources

log = logging.getLogger(__name__)


def crc32c_of(source: Source, check: Callable[[], None] = lambda: None) -> str:
    """Return the CRC32C of a whole file in hexadecimal: as its store knows it, else by reading it.

    Args:
        source: The file.
        check: Called before each part is read; raises to end it.
    """
    if source.crc32c:
        return source.crc32c
    segments = []
    for start, length in source.ranges(PART_BYTES):
        check()
        segments += checksums(np.frombuffer(source.read(start, length), np.uint8), start)
    return f"{whole_checksums(segments, source.size)[1]:08x}"


def was_made_of(
    store: Store,
    root: Root,
    stage: StageEntry,
    digests_with: Callable[[list[dict[str, Any]]], Sequence[str]],
    files: Files,
    check: Callable[[], None],
) -> bool:
    """Return whether a volume was made by the same request of files that have the content of these.

    Args:
        store: The volume.
        root: Root of the volume.
        stage: Entry of the root for the stage that made the master.
        digests_with: Returns the digests of the request if its sources were others.
        files: The files as they are named now.
        check: Called before each part is read; raises to end it.
    """
    made_of = root.state.sources
    if [file.size for file in files.listed] != [source.bytes for source in made_of]:
        return False
    try:
        sources = load_plan(store, stage.plan).body["sources"]
    except (IntegrityFailure, FileNotFoundError):
        return False
    # The same formats, as they are read now: what samples are is part of what was asked for.
    moved = [
        now | {"url": then["url"], "identity": then["identity"]}
        for now, then in zip(files.to_json(), sources, strict=True)
    ]
    if stage.request not in digests_with(moved):
        return False
    for file, source in enumerate(made_of):
        with files.reading(file) as opened:
            if crc32c_of(opened, check) != source.crc32c:
                return False
    return True


def found_again(
    made_of: Sequence[SourceEntry], source: str, options: StorageOptions, check: Callable[[], None]
) -> list[str]:
    """Return where each file that a volume was made of is now, in their order.

    Args:
        made_of: Source files that the root lists.
        source: New place of the files.
        options: Options of their store.
        check: Called before each part is read; raises to end it.

    Raises:
        InputRefused: For one of them, no named file has its size and CRC32C.
    """
    sizes = {entry.bytes for entry in made_of}
    places: dict[tuple[int, str], str] = {}
    for listed in list_files(source, options):
        opened = open_source(listed.url, of_sources(options))
        try:
            if opened.size in sizes:
                places[opened.size, crc32c_of(opened, check)] = listed.url
        finally:
            opened.close()
    for entry in made_of:
        if (entry.bytes, entry.crc32c) not in places:
            raise InputRefused(
                f"{source} names no file that {entry.url} was when the volume was made of it ({entry.bytes:,} bytes, "
                f"CRC32C {entry.crc32c}); name one that has these with --source"
            )
    return [places[entry.bytes, entry.crc32c] for entry in made_of]

"""The manifest of an array: every object that makes it up, as it was written.

JSON lines sorted by key. The first describes the manifest itself, so that damage of the manifest can be distinguished
from damage of an object.
"""

import io
import itertools
import json
from collections.abc import Iterable, Iterator

import numpy as np

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.arrays.documents import value_from
from tasks.volume.protocol.stored import Stored, StoredObjects

MANIFESTS = ".seismill/manifests"
REPORT = ".seismill/report"
REPORT_PAGE, REPORT_FACTS = f"{REPORT}/report.html", f"{REPORT}/report.json"
REPORT_LIST = f"{REPORT}/objects.jsonl"
REPORT_TEXT = f"{REPORT}/report.md"  # of early versions
LISTED_BESIDE = "Sizes and checksums of these files: objects.jsonl"  # reports of early versions do not say it


def manifest_key(path: str) -> str:
    """Return the key of an array's manifest."""
    return f"{MANIFESTS}/{path}.jsonl"


def path_of_manifest(key: str) -> str:
    """Return the array whose manifest has this key; empty if it is no manifest's."""
    if not key.startswith(f"{MANIFESTS}/") or not key.endswith(".jsonl"):
        return ""
    return key.removeprefix(f"{MANIFESTS}/").removesuffix(".jsonl")


def manifest_bytes(path: str, objects: Iterable[Stored], *after: Stored) -> bytes:
    """Return the manifest of an array made up of these objects; those of `after` sort after the others."""
    return listing_bytes(manifest_key(path), objects, *after)


def listing_bytes(key: str, objects: Iterable[Stored], *after: Stored) -> bytes:
    """Return the stored text of a list of objects, whose key is `key`; `after` as in `manifest_bytes`."""
    listed = StoredObjects.of(objects)
    size = checksum = 0
    for line in map(_line, itertools.chain(listed, after)):
        size, checksum = size + len(line), crc32c(line, checksum)
    text = (
        io.BytesIO()
    )  # a million lines in a list, or a second copy of the text, would be most of the memory
    text.write(_line(Stored(key, size, checksum)))
    text.writelines(map(_line, itertools.chain(listed, after)))
    return text.getvalue()


def listed_in(path: str, manifest: bytes) -> StoredObjects | None:
    """Return the objects that a manifest lists; None if it is damaged or lists objects of another array."""
    listed = listed_at(manifest_key(path), manifest)
    if not listed:
        return None
    chunks = len(listed.of_array(path))
    others = {f"{path}/zarr.json", f"{path}/c", f"{path}/c/"}
    own = chunks + int((listed.find(sorted(others)) >= 0).sum())
    return listed if own == len(listed) else None


def listed_at(key: str, listing: bytes) -> StoredObjects | None:
    """Return the objects in the list at `key`; None if it is not as it was written."""
    head = listing.find(b"\n") + 1
    text = np.frombuffer(listing, np.uint8)[head:]  # not a copy
    if listing[:head] != _line(Stored(key, text.size, crc32c(text))):
        return None
    try:
        return StoredObjects.of(_listed(io.BytesIO(listing), head))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _listed(lines: io.BytesIO, head: int) -> Iterator[Stored]:
    """Yield the objects in the lines after the first.

    Raises:
        ValueError: A line is not as it is written.
    """
    lines.seek(head)
    before = ""
    for line in lines:
        plain = value_from(line)
        stored = Stored.read(plain["key"], plain["bytes"], int(plain["crc32c"], 16), plain.get("places"))
        if _line(stored) != line or stored.key < before:
            raise ValueError("it is not as it is written")
        yield stored
        before = stored.key


def _line(stored: Stored) -> bytes:
    line = {"key": stored.key, "bytes": stored.bytes, "crc32c": f"{stored.crc32c:08x}"}
    return (json.dumps(line | stored.more) + "\n").encode()

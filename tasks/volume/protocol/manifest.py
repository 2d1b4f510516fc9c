"""The manifest of an array: every object that makes it up, as it was written.

JSON lines sorted by key. The first describes the manifest itself, so that damage of the manifest can be distinguished
from damage of an object.
"""

import io
import json
from collections.abc import Iterable

from tasks.volume.arrays.documents import value_from
from tasks.volume.protocol.ledger import Stored

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


def manifest_bytes(path: str, objects: Iterable[Stored]) -> bytes:
    """Return the manifest of an array made up of these objects."""
    return listing_bytes(manifest_key(path), objects)


def listing_bytes(key: str, objects: Iterable[Stored]) -> bytes:
    """Return the stored text of a list of objects, whose key is `key`."""
    lines = bytearray()  # not a list of lines: there may be a million
    for stored in sorted(objects, key=_key):
        lines += _line(stored)
    text = bytes(lines)
    del lines
    return _line(Stored.document(key, text)) + text


def listed_in(path: str, manifest: bytes) -> list[Stored] | None:
    """Return the objects that a manifest lists; None if it is damaged or lists objects of another array."""
    listed = listed_at(manifest_key(path), manifest)
    own = (f"{path}/zarr.json", f"{path}/c", f"{path}/c/")
    return listed if listed and all(o.key in own or o.key.startswith(own[2]) for o in listed) else None


def listed_at(key: str, listing: bytes) -> list[Stored] | None:
    """Return the objects in the list at `key`; None if it is not as it was written."""
    first, text = listing[: listing.find(b"\n") + 1], listing[listing.find(b"\n") + 1 :]
    if first != _line(Stored.document(key, text)):
        return None
    listed: list[Stored] = []
    before = ""
    try:
        for line in io.BytesIO(text):
            plain = value_from(line)
            stored = Stored.read(plain["key"], plain["bytes"], int(plain["crc32c"], 16), plain.get("places"))
            if _line(stored) != line or stored.key < before:
                return None
            listed.append(stored)
            before = stored.key
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return listed


def _key(stored: Stored) -> str:
    return stored.key


def _line(stored: Stored) -> bytes:
    line = {"key": stored.key, "bytes": stored.bytes, "crc32c": f"{stored.crc32c:08x}"}
    return (json.dumps(line | stored.more) + "\n").encode()

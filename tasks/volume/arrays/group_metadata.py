"""What readers see of a committed root: the group's zarr.json, or what was added to a group of somebody else's.

A volume is ours: its root is its zarr.json. An annex (levels and copies of an array that another tool wrote) has its
root beside, and the group's own documents are only added to: OME-Zarr datasets, and members where metadata
are consolidated, also in the groups above. Doing it twice changes nothing, so an interrupted one is done again.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from tasks.volume.arrays.documents import object_from, root_from
from tasks.volume.arrays.level_names import is_elsewhere
from tasks.volume.store.writable import WritableStore

ROOT, ANNEX = "zarr.json", ".seismill/annex.json"  # where the root of a volume and of an annex lies
GROUP: dict[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}

LABELS = "labels"  # group of the label volumes in the group of an image


def label_names(root: Mapping[str, Any]) -> list[str]:
    """Return the names of the label volumes that an image's root lists."""
    group = root["consolidated_metadata"]["metadata"].get(LABELS, {})
    return list(group.get("attributes", {}).get("ome", {}).get("labels", []))


def is_annex(root: Mapping[str, Any]) -> bool:
    """Return whether a root is that of an annex."""
    return "annex" in root["attributes"].get("seismill", {})


def add_to_groups(store: WritableStore, root: Mapping[str, Any]) -> None:
    """Add an annex to the documents of its group and of the groups above, before its root is put."""
    try:
        before = root_from(store.get(ANNEX), f"{store.url}/{ANNEX}")
    except FileNotFoundError:
        before = None
    gone, added = _ours(before), _ours(root)
    group = _amended(store, "", gone, added, root)
    for up in range(1, root["attributes"]["seismill"]["annex"]["above"] + 1):
        above, *names = store.url.rsplit("/", up)
        _amended(WritableStore(above, store.options), "/".join(names), gone, added, root, group=group)


def _ours(root: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arrays that an annex added, by path."""
    metadata = root["consolidated_metadata"]["metadata"] if root else {}
    return {path: member for path, member in metadata.items() if path}


def _amended(
    store: WritableStore,
    names: str,
    gone: Collection[str],
    added: Mapping[str, Any],
    root: Mapping[str, Any],
    *,
    group: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Update the document of a group; `names` lead from it to the annex, whose document is `group`."""
    while True:
        identity = store.identity(ROOT)
        try:
            present = object_from(store.get(ROOT), f"{store.url}/{ROOT}")
        except FileNotFoundError:
            if names:
                return {}
            present = {}
        document = GROUP | json.loads(json.dumps(present))
        if not names:
            document["attributes"] = _with_levels(document["attributes"], root, gone)
        if consolidated := document.get("consolidated_metadata"):
            metadata, prefix = consolidated["metadata"], f"{names}/" if names else ""
            for path in gone:
                metadata.pop(prefix + path, None)
            metadata.update({prefix + path: member for path, member in added.items()})
            if group is not None:
                metadata[names] = {k: v for k, v in group.items() if k != "consolidated_metadata"}
        if document == present or store.replace(ROOT, json.dumps(document, indent=2).encode(), identity):
            return document


def _with_levels(
    attributes: Mapping[str, Any], root: Mapping[str, Any], gone: Collection[str]
) -> dict[str, Any]:
    """Return a group's attributes with the levels as datasets of the array's image, or of a new image."""
    state = root["attributes"]["seismill"]
    annex = state["annex"]
    base, *levels = state["levels"]
    beside = [] if is_elsewhere(annex["array"]) else [dataset(annex["array"], base)]
    made = [dataset(level["path"], level) for level in levels]
    mine = {one["path"] for one in beside} | set(gone) | {one["path"] for one in made}
    ome = json.loads(json.dumps(attributes.get("ome", {})))
    for image in ome.get("multiscales", []):
        if mine & {one["path"] for one in image["datasets"]}:
            stale = set(gone) | {one["path"] for one in made}
            image["datasets"] = [one for one in image["datasets"] if one["path"] not in stale] + made
            ome["multiscales"] = [one for one in ome["multiscales"] if one["datasets"]]
            kept = {"ome": ome} if ome["multiscales"] else {}
            return {k: v for k, v in attributes.items() if k != "ome"} | kept
    if ome or not made or not annex["axes"]:
        return dict(attributes)
    image = {"name": annex["name"], "axes": annex["axes"], "datasets": beside + made}
    return dict(attributes) | {"ome": {"version": "0.5", "multiscales": [image]}}


def dataset(path: str, level: Mapping[str, Any]) -> dict[str, Any]:
    """Return a level as OME-Zarr describes it."""
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": level["scale"]},
            {"type": "translation", "translation": level["translation"]},
        ],
    }

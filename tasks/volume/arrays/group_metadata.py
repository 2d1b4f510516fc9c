"""Edit the metadata of another tool's group, so that its readers find our copies and levels.

The root of a volume is its zarr.json. The root of an annex (levels and copies of an array that another tool wrote) lies
beside the group's own documents, to which entries are only added: OME-Zarr datasets and, if metadata are consolidated,
members, also in the groups above. The edit is idempotent, so an interrupted one is repeated.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from tasks.volume.arrays.documents import object_from
from tasks.volume.arrays.foreign_documents import images_of
from tasks.volume.arrays.groups import ANNEX, ROOT
from tasks.volume.arrays.level_names import is_elsewhere
from tasks.volume.arrays.root_schema import LevelEntry
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.store.writable import WritableStore

GROUP: dict[str, Any] = {"attributes": {}, "zarr_format": 3, "node_type": "group"}


def add_to_groups(store: WritableStore, root: Root) -> None:
    """Add an annex to the documents of its group and of the groups above, before its root is put."""
    try:
        before = root_from(store.get(ANNEX), f"{store.url}/{ANNEX}")
    except FileNotFoundError:
        before = None
    gone, added = _ours(before), _ours(root)
    group = _amended(store, "", gone, added, root)
    for up in range(1, root.state.annex.above + 1):
        above, *names = store.url.rsplit("/", up)
        _amended(WritableStore(above, store.options), "/".join(names), gone, added, root, group=group)


def _ours(root: Root | None) -> dict[str, Any]:
    """Return the arrays that an annex added, by path."""
    metadata = root.members if root else {}
    return {path: member for path, member in metadata.items() if path}


def _amended(
    store: WritableStore,
    names: str,
    gone: Collection[str],
    added: Mapping[str, Any],
    root: Root,
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


def _with_levels(attributes: Mapping[str, Any], root: Root, gone: Collection[str]) -> dict[str, Any]:
    """Return a group's attributes with the levels as datasets of the array's image, or of a new image."""
    state = root.state
    annex = state.annex
    base, *levels = state.levels
    copied = exact_copy(root)
    beside = [
        dataset(path, base) for path in ([copied] if is_elsewhere(annex.array) else [annex.array]) if path
    ]
    ours = [dataset(level.path, level) for level in levels]
    mine = {dataset["path"] for dataset in beside} | set(gone) | {entry["path"] for entry in ours}
    ome = json.loads(json.dumps(attributes.get("ome", {})))
    for image in images_of({"ome": ome}, "the group of the array"):
        if mine & {dataset["path"] for dataset in image.get("datasets", [])}:
            stale = set(gone) | {entry["path"] for entry in ours}
            kept = [dataset for dataset in image["datasets"] if dataset["path"] not in stale]
            missing = [
                entry for entry in beside if entry["path"] not in {dataset["path"] for dataset in kept}
            ]
            image["datasets"] = missing + kept + ours
            ome["multiscales"] = [image for image in ome["multiscales"] if image["datasets"]]
            described = {"ome": ome} if ome["multiscales"] else {}
            return {k: v for k, v in attributes.items() if k != "ome"} | described
    if ome or not ours or not annex.axes:
        return dict(attributes)
    image = {"name": annex.name, "axes": annex.axes, "datasets": beside + ours}
    return dict(attributes) | {"ome": {"version": "0.5", "multiscales": [image]}}


def exact_copy(root: Root) -> str:
    """Return the path of the lossless copy that is level 0 of a group, if its array lies elsewhere; else ''."""
    copies = {
        path: member["attributes"]
        for path, member in root.members.items()
        if path and member.get("attributes", {}).get("copy_of")
    }
    return min((path for path, about in copies.items() if about.get("tolerance") == 0), default="")


def dataset(path: str, level: LevelEntry) -> dict[str, Any]:
    """Return a level as OME-Zarr describes it."""
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": level.scale},
            {"type": "translation", "translation": level.translation},
        ],
    }

"""What of a volume is copied to another place: copies and levels, all or some, with or without the lossless array."""

import json
from typing import Any

from tasks.volume.arrays.group_metadata import LABELS
from tasks.volume.arrays.reader import PYRAMID, Volume
from tasks.volume.arrays.spec import RAW_SAMPLES, STATISTICS
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.root import members

LEFT_OUT = (
    "without {0} the copies are lossy only: no proof, no export of the source, and no copies or levels of it"
)


def selected_root(source: Volume, includes: list[str], excludes: list[str]) -> dict[str, Any]:
    """Return the root of a copy: the volume's, without the copies and levels that are left out.

    Without the master, its most exact copy stands in its place, and the root says so.

    Raises:
        InputRefused: A name is none of those that can be left out, or no copy would be left.
    """
    copies = sorted(
        p for p in source.members if source.array_attributes(p).get("copy_of") == source.master_name
    )
    optional = [*copies, *([] if source.left_out or not copies else [source.master])]
    optional += [PYRAMID] if source.has(PYRAMID) else []
    if source.left_out:
        optional.remove(source.master)  # it stands in the master's place
    unknown = [name for name in (*includes, *excludes) if name not in optional]
    if unknown:
        raise InputRefused(
            f"{source.store.url} has no {unknown[0]} that can be left out or in; it has {', '.join(optional) or 'none'}"
        )
    gone = [
        name
        for name in optional
        if name in excludes or (includes and name not in includes and name != source.master)
    ]
    left = [path for path in copies if path not in gone]
    if source.master in gone and not left:
        raise InputRefused(
            f"without {source.master} and {', '.join(copies)} nothing would be left of {source.store.url}; leave one in"
        )
    root: dict[str, Any] = json.loads(json.dumps(source.root))
    for path in [path for path in members(root) if path.split("/")[0] == LABELS]:
        del members(root)[path]  # label volumes are not copied
    for path in list(members(root)):
        if any(path == name or path.startswith(f"{name}/") for name in gone):
            del members(root)[path]
    attributes = root["attributes"]
    if source.master in gone:
        gone.remove(source.master)  # its plan, with the grid of traces, stays
        _leave_master_out(source, root, min(left, key=lambda p: source.array_attributes(p)["max_abs_error"]))
    for name in gone:
        attributes["seismill"]["stages"].pop(name, None)
    attributes["seismill"]["levels"] = [
        level for level in attributes["seismill"]["levels"] if level["path"] in members(root)
    ]
    for image in attributes.get("ome", {}).get("multiscales", []):
        image["datasets"] = [dataset for dataset in image["datasets"] if dataset["path"] in members(root)]
    return root


def _leave_master_out(source: Volume, root: dict[str, Any], standing_in: str) -> None:
    """Change a root to that of copies without their master, its words and what only an export of it needs."""
    master, state = source.master, root["attributes"]["seismill"]
    for path in list(members(root)):
        if path.split("/")[0] in (RAW_SAMPLES, "sample_exceptions") or path == f"unplaced/{RAW_SAMPLES}":
            del members(root)[path]
    root["attributes"]["attributes"]["defaultVariableName"] = standing_in
    about = source.array_attributes(master)
    statistics = {name: about[name] for name in STATISTICS if name in about}
    state["left_out"] = {"array": master, "statistics": statistics}
    for name in ("proven_at", "proven_plan", "compared_at", "compared_plan", "exceptions"):
        state.pop(name, None)
    for level in state["levels"]:
        level["path"] = standing_in if level["path"] == master else level["path"]
    for image in root["attributes"].get("ome", {}).get("multiscales", []):
        for dataset in image["datasets"]:
            dataset["path"] = standing_in if dataset["path"] == master else dataset["path"]

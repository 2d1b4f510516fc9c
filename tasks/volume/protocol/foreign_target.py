"""Open an array that another tool wrote (Zarr v2 or v3), to make copies and levels of it.

New arrays are written beside it (field/1 beside field/0) or into a named group. That group gets a root of Seismill's
in `.seismill/` (see `visible`), so plans, locks, ledgers and commits work as in any volume. A fingerprint of its
objects identifies the array, as the plan identifies a master of ours. Only Zarr v3 is written. Nothing is written
beside an array of Zarr v2, because readers see the members of a group only if all have one format.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from tasks.parameters import Run
from tasks.volume.arrays.foreign_documents import (
    attributes_of,
    documents,
    fingerprint,
    images_of,
    is_array,
    numbers,
)
from tasks.volume.arrays.groups import ANNEX, ROOT
from tasks.volume.arrays.level_names import level_0
from tasks.volume.arrays.meaning import Meaning, meaning_of
from tasks.volume.arrays.reader import Volume, open_volume
from tasks.volume.arrays.root_schema import LevelEntry, StageEntry
from tasks.volume.arrays.volume_root import Root, root_from
from tasks.volume.images.header import unit_of
from tasks.volume.images.spacing import AXES, ROCKVERSE
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.own_names import OWN
from tasks.volume.protocol.place import is_begun
from tasks.volume.protocol.plan import FORMAT, time_stamp
from tasks.volume.protocol.root import known_root
from tasks.volume.store.objects import Store


def open_master(volume: str, array: str, target: str, run: Run) -> Volume:
    """Return the volume of the requested master: a volume of Seismill, or an annex of another tool's array.

    Args:
        volume: A volume, or any Zarr group or array.
        array: Path of the array in it; empty: the volume's master, or `volume` is the array.
        target: The group for the new arrays; empty: the group of the array.
        run: Options of the stores, and the time stamp.

    Raises:
        InputRefused: There is no such array, or it cannot be read, or nothing can be written beside it.
        DestinationRefused: The place of the levels holds something else.
    """
    store = Store(volume, run.storage_options)
    try:
        data = known_root(store) or store.get(ROOT)
    except (FileNotFoundError, IsADirectoryError):
        data = b""
    above = documents(store, "", data)
    if "seismill" in attributes_of(above) or not above:
        opened = open_volume(store, data)
        if opened.left_out:
            raise InputRefused(
                f"{store.url} holds copies without the lossless array {opened.left_out}, which copies and levels are "
                "made from; make them in the volume that has it, and copy that again"
            )
        if array in ("", opened.master) and not target:
            return opened
    origin = Store(f"{store.url}/{array}" if array else store.url, run.storage_options)
    described = documents(origin, "")
    if not is_array(described):
        raise InputRefused(_no_array(origin, described))
    parent, _, name = origin.url.rpartition("/")
    holder = Store(parent, run.storage_options) if parent.rpartition("/")[2] else None
    around = documents(holder, "") if holder else {}
    # What tells of the array may be the group that it lies in, one above that, or the one that was named.
    groups = {array: attributes_of(dict(above)), name: attributes_of(dict(around))}
    outer = _image_above(holder, name, run) if holder else None
    if outer:
        place, path = outer
        groups[path] = attributes_of(documents(place, ""))
    if target:
        place = Store(target, run.storage_options)
        _refuse_place(place, origin)
        path = name
    elif level_0(name) and around.get("zarr.json", {}).get("node_type") == "group" and holder is not None:
        place, path = holder, name
    elif not outer:
        why = (
            "is not level 0 of a group of Zarr v3"
            if "zarr.json" in described
            else "is of Zarr v2, beside which levels of Zarr v3 would not be seen"
        )
        raise InputRefused(
            f"{origin.url} {why}; name a group for what is made of it, such as --target {origin.url}.levels"
        )
    inside = place.url.removeprefix(f"{store.url}/") if place.url.startswith(f"{store.url}/") else ""
    up = len(inside.split("/")) if inside else 0
    return _annex(place, origin, path, groups, beside=not target, above=up, run=run)


def _image_above(holder: Store, name: str, run: Run) -> tuple[Store, str] | None:
    """Return the group of Zarr v3 that has an array of a group in it as level 0 of its image, and that one's path."""
    parent, _, group = holder.url.rpartition("/")
    if not parent.rpartition("/")[2] or not level_0(group):
        return None
    place, path = Store(parent, run.storage_options), f"{group}/{name}"
    described = documents(place, "")
    images = images_of(attributes_of(described), place.url)
    listed = [dataset.get("path") for image in images for dataset in image.get("datasets", [])]
    return (place, path) if "zarr.json" in described and path in listed else None


def _annex(
    place: Store,
    origin: Store,
    name: str,
    groups: Mapping[str, Mapping[str, Any]],
    *,
    beside: bool,
    above: int,
    run: Run,
) -> Volume:
    from tasks.volume.arrays.foreign import foreign_spec  # zarr, which a volume of ours does not need

    spec = foreign_spec(origin, "")
    described = documents(origin, "")
    attributes = attributes_of(described)
    named = described.get("zarr.json", {}).get("dimension_names") or "_ARRAY_DIMENSIONS" in attributes
    usual = named or not 2 <= len(spec.dims) <= len(AXES)
    scale, translation, axes = _where(spec.dims if usual else AXES[-len(spec.dims) :], attributes, groups)
    array = name if beside else origin.url
    try:
        root = root_from(place.get(ANNEX), f"{place.url}/{ANNEX}")
        earlier = root.state.annex
        if earlier.array != array:
            raise DestinationRefused(f"{place.url} holds levels of {earlier.array}; name another group")
        if not usual and [axis["name"] for axis in earlier.axes] == list(spec.dims):
            axes = earlier.axes  # what was made before such arrays got z, y and x is recognised
    except FileNotFoundError:
        root = Root.new(
            {
                "attributes": {"defaultVariableName": ""},
                "seismill": {
                    "format": FORMAT,
                    "writer": version("seismill"),
                    "created_on": time_stamp(run.created_on),
                    "stages": {},
                    "sources": [],
                    "annex": {},
                    "levels": [],
                },
            }
        )
    dims = spec.dims if named or not axes else [axis["name"] for axis in axes]
    annex = {"array": array, "name": name, "axes": axes, "above": above}
    meaning = meaning_of(
        spec.numpy,
        described.get(".zarray", {}).get("fill_value"),
        attributes,
        groups[name],
        below_labels=_below_labels(origin),
    )
    if plain := meaning.to_json():
        annex["meaning"] = plain
    base = LevelEntry(path="", scale=scale, translation=translation)
    root = root.with_state(annex=annex).with_levels([base, *root.state.levels[1:]])
    root = root.with_stages({"": StageEntry(plan=fingerprint(origin, ""))})
    kept = {key: attributes[key] for key in (*ROCKVERSE, "units") if key in attributes}
    described_here = {
        "node_type": "array",
        "shape": list(spec.shape),
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(spec.chunks)}},
        "codecs": [{"name": spec.codec}],
        "fill_value": 0,
        "dimension_names": list(dims),
        "attributes": kept,
        "shards": list(spec.shards),
    }
    return Volume(place, root.with_members({"": described_here}))


def _below_labels(origin: Store) -> bool:
    """Return whether an array lies in a group named labels, or in an image in one, as OME-Zarr has them."""
    above = origin.above()[:2]
    return any(place.url.rpartition("/")[2] == "labels" and bool(documents(place, "")) for place in above)


def foreign_meaning(volume: Volume) -> Meaning:
    """Return the meaning of the values of another tool's array; it is empty for arrays of Seismill."""
    return Meaning.from_json(volume.state.annex.meaning)


def _refuse_place(place: Store, origin: Store) -> None:
    """Check that a group for levels may be at `place`."""
    there = documents(place, "")
    if is_array(there) or ".zgroup" in there:
        raise DestinationRefused(
            f"{place.url} is {'an array' if is_array(there) else 'a group of Zarr v2'}; name a group of Zarr v3 or a "
            "place that does not exist yet"
        )
    if place.url == origin.url or f"{place.url}/".startswith(f"{origin.url}/"):
        raise DestinationRefused(f"{place.url} lies in the array itself; name another place")
    if "seismill" in attributes_of(there):
        raise DestinationRefused(f"{place.url} is a volume; name another place")
    present = [] if there else [child for child in place.children() if child != OWN]
    if present and not is_begun(place):  # a run stopped before it wrote the group can resume
        raise DestinationRefused(
            f"{place.url} is not empty and no Zarr group (it holds {present[0]}); name a place that does not exist yet"
        )


def _no_array(origin: Store, described: Mapping[str, Any]) -> str:
    if not described:
        return f"there is no Zarr array at {origin.url}; check the path"
    attributes = attributes_of(dict(described))
    images = images_of(attributes, origin.url)
    # The finest level of an image comes first.
    arrays = [
        path for image in images for path in [d.get("path") for d in image.get("datasets", [])][:1] if path
    ]
    for child in origin.children()[:100]:
        if child.startswith("."):
            continue
        inner = documents(origin, child) if child not in arrays else {}
        arrays += [child] if is_array(inner) else []
        if inner and not is_array(inner) and is_array(documents(origin, f"{child}/0")):
            arrays.append(f"{child}/0")
    named = f", such as --array {arrays[0]} ({len(arrays)} seen)" if arrays else ""
    return f"{origin.url} is a Zarr group that Seismill did not write; name an array in it{named}"


def _where(
    dims: Sequence[str], attributes: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]
) -> tuple[list[float], list[float], list[dict[str, Any]]]:
    """Scale, translation and OME-Zarr axes: as the group says (0.4 or 0.5), else RockVerse's attributes, else indices.

    Axes are empty where OME-Zarr needs to be told which of many is time or channel.

    Args:
        dims: Names of the array's dimensions.
        attributes: Attributes of the array.
        groups: Attributes of groups above it, by the array's path from there.
    """
    images = [
        (path, image)
        for path, around in groups.items()
        for image in images_of(around, f"the group of {path}")
    ]
    for name, image in images:
        for dataset in image.get("datasets", []):
            if dataset.get("path") == name and len(image.get("axes", [])) == len(dims):
                given = dataset.get("coordinateTransformations", [])
                steps = {step["type"]: step[step["type"]] for step in given if step.get("type") in step}
                scale = [float(s) for s in steps.get("scale", [1.0] * len(dims))]
                first = [float(t) for t in steps.get("translation", [0.0] * len(dims))]
                return scale, first, [a if isinstance(a, dict) else {"name": a} for a in image["axes"]]
    axes = [{"name": dim, "type": "space"} for dim in dims] if 2 <= len(dims) <= 3 else []
    lengths, origin = (attributes.get(key) for key in ("voxel_length", "voxel_origin"))
    if numbers(lengths, len(dims)) and min(lengths) > 0 and numbers(origin, len(dims)):
        if unit := unit_of(str(attributes.get("voxel_unit", ""))):  # RockVerse takes any text, such as um
            axes = [axis | {"unit": unit} for axis in axes]
        return [float(s) for s in lengths], [float(t) for t in origin], axes
    return [1.0] * len(dims), [0.0] * len(dims), axes

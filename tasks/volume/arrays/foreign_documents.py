"""Read the documents of other tools' arrays without zarr-python, whose import takes a third of a second."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from tasks.volume.arrays.documents import object_from
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import IO_THREADS, cpu_count
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Store


def documents(store: Store, path: str, known: bytes = b"") -> dict[str, dict[str, Any]]:
    """Return the metadata documents at a path by name: `zarr.json`, or `.zarray`, `.zgroup` and `.zattrs`.

    Args:
        store: The group or volume.
        path: Path in the group.
        known: Content of its `zarr.json`, if it was read already.
    """
    contents = {}
    for name in ("zarr.json", ".zarray", ".zgroup", ".zattrs"):
        if "zarr.json" in contents:
            break
        try:
            data = known or store.get(f"{path}/{name}" if path else name)
        except (FileNotFoundError, IsADirectoryError):
            continue
        contents[name] = object_from(
            data, f"{store.url}/{path}/{name}".replace("//" + name, "/" + name), InputRefused
        )
    return contents


def is_array(described: dict[str, dict[str, Any]]) -> bool:
    """Return whether these documents describe an array."""
    return ".zarray" in described or described.get("zarr.json", {}).get("node_type") == "array"


def attributes_of(described: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the attributes of an array or group from its documents."""
    if "zarr.json" in described:
        attributes = described["zarr.json"].get("attributes")
        return dict(attributes) if isinstance(attributes, dict) else {}
    return described.get(".zattrs", {})


def numbers(values: Any, count: int = 0) -> TypeGuard[list[float]]:
    """Return whether a value is a list of `count` finite numbers (0: of any length)."""
    return (
        isinstance(values, list)
        and len(values) == (count or len(values))
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    )


def images_of(attributes: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the images that the attributes of a group describe (`multiscales` of OME-Zarr 0.4 or 0.5).

    Raises:
        InputRefused: They are described in another form, so the position of the array is unknown.
    """
    ome = attributes.get("ome") or attributes
    images = ome.get("multiscales") or [] if isinstance(ome, dict) else None
    if not isinstance(images, list) or not all(map(_is_image, images)):
        raise InputRefused(
            f"{where} describes images (multiscales) in another form than OME-Zarr; correct or remove that attribute"
        )
    return images


def _is_image(image: Any) -> bool:
    if not isinstance(image, dict):
        return False
    axes, datasets = image.get("axes", []), image.get("datasets", [])
    named = [axis.get("name") if isinstance(axis, dict) else axis for axis in _listed(axes)]
    steps = [
        step
        for dataset in _listed(datasets)
        for step in _listed(
            dataset.get("coordinateTransformations", []) if isinstance(dataset, dict) else None
        )
    ]
    return (
        isinstance(axes, list)
        and all(isinstance(name, str) for name in named)
        and isinstance(datasets, list)
        and all(isinstance(dataset, dict) and isinstance(dataset.get("path"), str) for dataset in datasets)
        and all(
            isinstance(step, dict)
            and (
                step.get("type") not in ("scale", "translation") or numbers(step.get(step["type"]), len(axes))
            )
            for step in steps
        )
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def reading_bytes(spec: ArraySpec, *, local: bool) -> int:
    """Return the most bytes that `read_foreign` takes beside the values: stored objects, encoded and decoded."""
    at_once = cpu_count() if local else IO_THREADS
    # Compressors promise a bound a little above the raw size; a codec may make one copy more on its way.
    return 3 * at_once * math.prod(spec.unit) * spec.numpy.itemsize


def fingerprint(store: Store, path: str) -> str:
    """Return a digest of the names, sizes and ETags of an array's objects; this takes one listing."""
    total = 0
    for key, size, identity in store.listing(path):
        line = f"{key}\n{size}\n{identity}".encode()
        total ^= int.from_bytes(
            hashlib.sha256(line).digest()[:16], "big"
        )  # in whatever order they are listed
    return f"{total:032x}"

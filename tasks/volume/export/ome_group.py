"""A volume as a plain OME-Zarr 0.4 group (Zarr v2), for viewers that read nothing else.

The result is an export, not a volume: it has no lock, manifest or checksum. A note names the source, so that the same
command continues an interrupted export. The document that makes it a group is written last.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tasks.volume.arrays.group_metadata import dataset
from tasks.volume.arrays.plain_v2 import array_document, plain_chunk, stored_dtype
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec
from tasks.volume.arrays.volume_root import LABELS
from tasks.volume.blocks import Compute, Progress, Region, block_count, on_chunks, regions
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.protocol.label_list import open_labels
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

NOTE = ".seismill/export.json"
GROUP_V2 = b'{"zarr_format": 2}'
BLOCK_BYTES = 64 << 20  # of voxels read at once; one row of chunks if that is more


@dataclass(frozen=True)
class OmeGroup:
    """The group to export: its levels, finest first, and its attributes.

    Attributes:
        volume: The volume.
        sources: The levels as the volume has them.
        targets: The same arrays in the target, at "0", "1" …
        attributes: The `.zattrs` of the group.
        labels: Groups of labels of the image, by name; they come to lie in `labels/NAME`.
    """

    volume: Volume
    sources: list[ArraySpec]
    targets: list[ArraySpec]
    attributes: dict[str, Any]
    labels: Mapping[str, "OmeGroup"] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the identity of the export: equal if the same voxels would be written."""
        stages = self.volume.state.stages
        plans = {name: stages[name].plan for name in (self.volume.master, "pyramid") if name in stages}
        arrays = [target.to_json() for target in self.targets]
        inner = {"labels": {name: group.digest for name, group in self.labels.items()}} if self.labels else {}
        about = {"verb": "export_ome", "stages": plans, "arrays": arrays, "about": self.attributes}
        return digest_of(about | inner)

    @property
    def arrays(self) -> list[ArraySpec]:
        """Return all arrays to write: the image's, then those of its labels."""
        inner = [
            replace(spec, path=f"{LABELS}/{name}/{spec.path}")
            for name, group in self.labels.items()
            for spec in group.targets
        ]
        return [*self.targets, *inner]

    @property
    def note(self) -> bytes:
        """Return the note by which a later run knows its own export."""
        return json.dumps({"verb": "export_ome", "digest": self.digest}, indent=1).encode()

    @property
    def memory_bytes(self) -> int:
        """Return the most bytes that the export takes: the voxels of a block, and its chunks while they are encoded."""
        most = max((group.memory_bytes for group in self.labels.values()), default=0)
        for spec in self.targets:
            block = _block(spec)
            count = int(np.prod([min(b, -(-n // c) * c) for b, n, c in _sizes(block, spec)]))
            most = max(most, 3 * count * spec.numpy.itemsize)
        return most


def ome_group_of(volume: Volume) -> OmeGroup:
    """Return what the export of a volume holds.

    Raises:
        InputRefused: OME-Zarr does not describe it.
    """
    master = volume.spec(volume.master)
    image = volume.root.group.image(volume)
    if not image.get("axes") or len(image["axes"]) != len(master.shape):
        raise InputRefused(
            f"{volume.store.url} has {len(master.shape)} dimensions ({', '.join(master.dims)}), which are no axes of "
            "OME-Zarr; export volumes of 2 or 3 dimensions"
        )
    levels = volume.state.levels
    sources = [volume.spec(level.path) for level in levels]
    chunks = _chunks(master)
    targets = [
        ArraySpec(
            str(number),
            source.shape,
            tuple(min(c, n) for c, n in zip(chunks, source.shape, strict=True)),
            stored_dtype(source.numpy).name,
            tuple(axis["name"] for axis in image["axes"]),
        )
        for number, source in enumerate(sources)
    ]
    datasets = [dataset(str(number), level) for number, level in enumerate(levels)]
    described = {"version": "0.4", "name": image["name"], "axes": image["axes"], "datasets": datasets}
    labels = {name: ome_group_of(inner) for name, inner in open_labels(volume).items()}
    return OmeGroup(volume, sources, targets, {"multiscales": [described]} | _shown(volume), labels)


def export_group(group: OmeGroup, target: WritableStore, compute: Compute) -> tuple[int, int]:
    """Write the missing objects; return how many were written and how many existed.

    Raises:
        DestinationRefused: The target holds something else.
        Resumable: The run stopped.
    """
    present = set(target.keys(""))
    refuse_other(target, present, group.note)
    target.create(NOTE, group.note)
    done = written = there = read = 0
    for name, labels in group.labels.items():
        counts = export_group(labels, target.below(f"{LABELS}/{name}"), compute)
        written, there = written + counts[0], there + counts[1]
    if group.labels:
        target.put(f"{LABELS}/.zattrs", json.dumps({"labels": list(group.labels)}, indent=1).encode())
        target.put(f"{LABELS}/.zgroup", GROUP_V2)
    began = time.monotonic()
    total = sum(block_count(spec.shape, _block(spec)) for spec in group.targets)
    for source, spec in zip(group.sources, group.targets, strict=True):
        store = group.volume.store_of(source.path)
        for region in regions(spec.shape, _block(spec)):
            if compute.stopping.is_set():
                raise Resumable("the export stopped; run the same command again to go on")
            todo = [place for place in _chunks_of(spec, region) if _key(spec, place) not in present]
            if todo:
                _write(target, store, source, spec, region, todo)
            written, there = written + len(todo), there + len(_chunks_of(spec, region)) - len(todo)
            done += 1
            read += int(np.prod([r.stop - r.start for r in region])) * spec.numpy.itemsize
            compute.report(Progress("export", done, total, read, time.monotonic() - began))
    for spec in group.targets:
        target.put(f"{spec.path}/.zattrs", json.dumps({"_ARRAY_DIMENSIONS": spec.dims}).encode())
        target.put(f"{spec.path}/.zarray", json.dumps(array_document(spec), indent=1).encode())
    target.put(".zattrs", json.dumps(group.attributes, indent=1).encode())
    target.put(".zgroup", GROUP_V2)
    return written, there


def refuse_other(target: Store, present: set[str], note: bytes) -> None:
    """Check that a target is empty or holds this very export.

    Raises:
        DestinationRefused: The target holds something else.
    """
    if not present:
        return
    if NOTE not in present or target.get(NOTE) != note:
        raise DestinationRefused(
            f"{target.url} is not empty and no export of this volume as it is now (it holds {min(present)}); name a "
            "place that does not exist yet"
        )


def _shown(volume: Volume) -> dict[str, Any]:
    """Return how viewers show the image: colours of labels, or the window of values."""
    ome = volume.attributes.get("ome", {})
    if "image-label" in ome:
        return {"image-label": {"version": "0.4", **ome["image-label"]}}
    return {"omero": {"version": "0.4", **ome["omero"]}} if "omero" in ome else {}


def _chunks(master: ArraySpec) -> tuple[int, ...]:
    """Return the chunks of the master, or 64 along each axis where another tool's array is in chunks of any size."""
    return (64,) * len(master.shape) if master.codec == AS_FOUND else master.chunks


def _sizes(block: tuple[int, ...], spec: ArraySpec) -> Iterator[tuple[int, int, int]]:
    return zip(block, spec.shape, spec.chunks, strict=True)


def _block(spec: ArraySpec) -> tuple[int, ...]:
    """Return the extents that are read at once: whole chunks, more along the last axes first."""
    block = list(spec.chunks)
    for axis in reversed(range(len(block))):
        room = max(1, BLOCK_BYTES // (int(np.prod(block)) * spec.numpy.itemsize))
        wanted = -(-spec.shape[axis] // block[axis])
        block[axis] *= min(room, wanted)
        if room < wanted:
            break
    return tuple(block)


def _chunks_of(spec: ArraySpec, region: Region) -> list[tuple[int, ...]]:
    """Return the places of the chunks of a region in the grid."""
    ranges = [range(r.start // c, -(-r.stop // c)) for r, c in zip(region, spec.chunks, strict=True)]
    return [
        tuple(int(i) + r.start for i, r in zip(place, ranges, strict=True))
        for place in np.ndindex(*map(len, ranges))
    ]


def _key(spec: ArraySpec, place: tuple[int, ...]) -> str:
    return f"{spec.path}/{'/'.join(map(str, place))}"


def _write(
    target: WritableStore,
    store: Store,
    source: ArraySpec,
    spec: ArraySpec,
    region: Region,
    todo: list[tuple[int, ...]],
) -> None:
    """Read a region once and store its missing chunks."""
    values = read_region(store, source, region)

    def put(place: tuple[int, ...]) -> None:
        part = tuple(
            slice(p * c - r.start, min((p + 1) * c, r.stop) - r.start)
            for p, c, r in zip(place, spec.chunks, region, strict=True)
        )
        target.put(_key(spec, place), plain_chunk(spec, values[part]))

    on_chunks(put, todo)

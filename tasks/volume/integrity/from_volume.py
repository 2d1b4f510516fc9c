"""Make stored objects again, byte for byte, from the other objects of the volume.

Encoding is deterministic and chunks are independent of each other, so an object made again has the bytes that its
manifest lists. The caller compares the checksum before it restores the object, and does not use one that differs.
"""

import numpy as np

from tasks.volume.arrays.assembly import ChunkOf, stored_object, whole_chunk
from tasks.volume.arrays.attributes import level_labels
from tasks.volume.arrays.codecs import document_bytes, is_zfp
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region
from tasks.volume.derived.edges import continue_cells
from tasks.volume.ingest.intake import load_grid
from tasks.volume.integrity.check import position_of
from tasks.volume.kernels.error_sums import finite_or_zero
from tasks.volume.protocol.plan import RUNS, TWIN, Plan, load_plan
from tasks.volume.pyramid.coarsen import coarsen, coarsen_live
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.geometry import sample_axis


def made_again(volume: Volume, path: str, key: str, *, continued: bool = True) -> bytes | None:
    """Return the bytes of an object, or None if the volume holds nothing that it could be made of.

    Args:
        volume: The volume.
        path: The array or group that the object belongs to.
        key: The object; if it holds nothing that is live, nothing is stored, and b"" is the result.
        continued: Values of a lossy copy go on beyond the end of the array; before, zeros were there.

    Raises:
        IntegrityFailure: The array that the object is made from is damaged as well.
    """
    if key == f"{path}/zarr.json":
        return document_bytes(volume.members.get(path, GROUP))
    if path == RUNS:
        return volume.store.get(key.removesuffix(TWIN) if key.endswith(TWIN) else key + TWIN)
    spec = volume.spec(path)
    if volume.array_attributes(path).get("copy_of") == volume.master_name:
        if volume.left_out:
            return None  # there is nothing left to make it of
        return stored_object(
            spec, position_of(key), lambda spec, region: _of_copy(volume, spec, region, continued)
        )
    levels = [level.path for level in volume.state.levels]
    if path in levels[1:]:
        fine = levels[levels.index(path) - 1]
        return stored_object(
            spec, position_of(key), lambda spec, region: _of_level(volume, fine, spec, region)
        )
    values = _of_level_axis(volume, path) if path.startswith("pyramid/") else _of_master_axis(volume, path)
    return None if values is None else stored_object(spec, position_of(key), values_of(values))


def plan_of_master(volume: Volume) -> Plan:
    """Return the plan that the master was made with, as it was stored then."""
    return load_plan(volume.store, volume.state.stages[volume.left_out or volume.master].plan)


def values_of(values: np.ndarray) -> ChunkOf:
    """Chunks of an array that is in memory."""

    def chunk_of(spec: ArraySpec, region: Region) -> np.ndarray:
        return whole_chunk(spec, values[region].astype(spec.numpy, copy=False))

    return chunk_of


def _of_copy(volume: Volume, spec: ArraySpec, region: Region, continued: bool) -> np.ndarray | None:
    """Return a whole chunk of a copy; None where nothing is live."""
    live = _live(volume, volume.master, region)
    if live is not None and not live.any():
        return None
    lossy = is_zfp(spec)
    chunk = np.full(spec.chunks, 0 if lossy else spec.fill_value, spec.numpy)
    valid = chunk[tuple(slice(0, r.stop - r.start) for r in region)]
    read_region(volume.store_of(volume.master), volume.spec(volume.master), region, out=valid, live=live)
    if lossy:
        finite_or_zero(valid, valid, live)
        if continued:
            continue_cells(chunk, region)
    return chunk


def _of_level(volume: Volume, fine: str, spec: ArraySpec, region: Region) -> np.ndarray | None:
    """Return a whole chunk of a level; None where nothing but NaN comes out."""
    level_attributes, above = volume.array_attributes(spec.path), volume.spec(fine)
    source = tuple(
        slice(r.start * f, min(r.stop * f, n))
        for r, f, n in zip(region, level_attributes["factor"], above.shape, strict=True)
    )
    values, live = read_region(volume.store_of(fine), above, source), _live(volume, fine, source)
    level = coarsen(values, tuple(level_attributes["factor"]), level_attributes["method"], live)
    if live is not None and level.dtype.kind == "f" and np.isnan(level).all():
        return None
    return whole_chunk(spec, level)


def _live(volume: Volume, path: str, region: Region) -> np.ndarray | None:
    """Return the live mask beside an array; None without one (images)."""
    mask = f"{path.rpartition('/')[0]}/trace_mask".lstrip("/")
    return volume.read(mask, region[:-1]) if volume.has(mask) else None


def _of_level_axis(volume: Volume, path: str) -> np.ndarray | None:
    """Return the labels of an axis of a level, or where it is live."""
    _, number, name = path.split("/")
    levels = volume.state.levels[: int(number) + 1]
    level_attributes = [volume.array_attributes(level.path) for level in levels[1:]]
    if name == "trace_mask":
        above = f"pyramid/{int(number) - 1}/trace_mask" if len(level_attributes) > 1 else "trace_mask"
        fine, factor = volume.read(above), level_attributes[-1]["factor"]
        return coarsen_live(fine, tuple(factor[: fine.ndim]), level_attributes[-1]["method"])
    spec = volume.spec(volume.master)
    axis = spec.dims.index(name)
    values = volume.read(name) if volume.has(name) else np.arange(spec.shape[axis])
    factor = int(np.prod([entry["factor"][axis] for entry in level_attributes]))
    scale, translation = levels[-1].scale[axis], levels[-1].translation[axis]
    return level_labels(values, factor, scale, translation, level_attributes[-1]["method"])


def _of_master_axis(volume: Volume, path: str) -> np.ndarray | None:
    """Return the labels of an axis of the master, where its traces lie in the file, and where it is live."""
    base, spec = volume.state.levels[0], volume.spec(volume.master)
    if path == "trace_mask":
        return volume.read("trace_number") >= 0
    if volume.of_images:
        if path not in spec.dims:
            return None
        axis = spec.dims.index(path)
        return base.translation[axis] + base.scale[axis] * np.arange(spec.shape[axis])
    if path == spec.dims[-1]:
        fmt = FileFormat.from_json(volume.state.sources[0].file)
        return sample_axis(fmt, base.translation[-1], depth=path == "depth")[1]
    plan = plan_of_master(volume)
    kept = {"trace_number": "trace_numbers", "unplaced/trace_number": "unplaced"}
    kept |= {name: f"axis_{axis}" for axis, name in enumerate(spec.dims[:-1])}
    if path not in kept:
        return None
    return load_grid(volume.store, plan)[kept[path]]

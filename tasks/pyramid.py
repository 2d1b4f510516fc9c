"""Coarser levels of a volume's master, or of any Zarr array, each made of the live samples of the level above it.

Level n + 1 has shape ceil(shape / factor): a cell at the far edge is made of the samples it has, traces that
do not exist and NaN samples are left out, so nothing leaks into a mean. All levels are one plan; a pass over
a level starts when that level is complete, and no level is visible before all are.
"""

import logging
import math
import time
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import ArrayPath, Levels, OptionalUrl, Run, Url
from tasks.volume.arrays.attributes import NAN_FILL, level_labels, level_scale, ome_attributes
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.foreign import reading_bytes
from tasks.volume.arrays.group_metadata import is_annex
from tasks.volume.arrays.reader import PYRAMID, Volume, read_pieces, read_region
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, as_written
from tasks.volume.blocks import Compute, Region, block_count
from tasks.volume.images.spacing import rockverse_attributes
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.deletion import refuse_taken, without
from tasks.volume.protocol.foreign_target import begin_annex, open_master, origin_of, refuse_changed
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.plan import Plan, digest_of
from tasks.volume.protocol.root import members, root_under_lock
from tasks.volume.protocol.stage import (
    Job,
    Stage,
    publish_root,
    put_array,
    put_group,
    run_blocks,
)
from tasks.volume.protocol.summary import array_rows, ended, fitting, using
from tasks.volume.protocol.writer import put_region, put_small, writing_bytes
from tasks.volume.pyramid.coarsen import (
    MOST_COARSENED,
    cell_bytes,
    coarsen,
    coarsen_in_parts,
    coarsen_live,
    fit_together,
)
from tasks.volume.pyramid.plan import Pass, finer_region, level_factors, passes_of, place_of, read_bytes
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)


def pyramid(
    volume: Url,
    levels: Levels = Levels(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Add coarser levels of the master, or of any Zarr array, so that an overview reads fast.

    Args:
        volume: The published volume, or any Zarr group or array.
        levels: How many, and how much coarser each is.
        overwrite: Replace levels that are there in another form.
        run: How to run.
        array: Path of an array that another tool wrote, such as field/0; its levels become field/1, field/2 …
        target: Zarr v3 group for the levels of such an array; needed if it is not named 0 or is of Zarr v2.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: A parameter cannot be used, or there is no volume.
        DestinationRefused: Other levels are there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    found = open_master(volume, array, target, run)
    store = found.store
    specs, factors, passes = level_specs(found, levels, local=store.local)
    method = method_of(found, levels)
    paths = [spec.path for spec in specs[1:]]
    if run.dry_run:
        rows = [
            {
                "path": s.path,
                "shape": s.shape,
                "chunks": s.chunks,
                "shards": s.shards,
                "raw_bytes": s.raw_bytes,
            }
            for s in specs[1:]
        ]
        return {"dry_run": True, "volume": store.url, "stage": "pyramid", "arrays": rows, "notes": []}
    refuse_taken(store, found.root, paths)
    need = block_memory(specs, factors, passes, local=store.local)

    def body_of(root: dict[str, Any]) -> dict[str, Any]:
        volume = Volume(store, root)
        return {
            "verb": "pyramid",
            "master": volume.state["stages"][specs[0].path]["plan"],
            "origin": found.origin,
            "mask": volume.spec("trace_mask").to_json() if volume.has("trace_mask") else None,
            "factors": factors,
            "method": method,
            "arrays": [spec.to_json() for spec in specs],
            "passes": [one.to_json() for one in passes],
        }

    def made_of(root: dict[str, Any]) -> str:
        return str(root["attributes"]["seismill"]["stages"].get(PYRAMID, {}).get("request", ""))

    def fit(compute: Compute) -> Compute:
        if made_of(found.root) == digest_of(body_of(found.root)):
            return compute
        return fitting(compute, need, "a block of samples and what is made of it")

    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        root = root_under_lock(store, found.root)
        body, made = body_of(root), made_of(root)
        request = digest_of(body)
        if made == request:
            return ended(store, "pyramid", array_rows(root, paths), began, before, notes=["was done already"])
        if made and not overwrite:
            raise DestinationRefused(
                f"{store.url} has other pyramid levels; replace them with --overwrite, or leave them as they are"
            )
        refuse_taken(store, root, paths)
        found = Volume(store, root)
        begin_annex(found)
        after = _without_levels(root) if made else root
        stage = owner.begin(
            "pyramid",
            body,
            fit,
            present=root,
            after=after,
            read=lambda: refuse_damaged(found, compute),
            created_on=root["attributes"]["seismill"]["created_on"],
        )
        root = after
        _add(stage, root, request)
    return ended(store, "pyramid", array_rows(root, paths), began, before, stage=stage)


def _without_levels(root: dict[str, Any]) -> dict[str, Any]:
    """Return a root that lacks its levels."""
    levels = [level["path"] for level in root["attributes"]["seismill"]["levels"][1:]]
    fewer = without(root, levels if is_annex(root) else [PYRAMID])
    state = fewer["attributes"]["seismill"]
    state["levels"] = state["levels"][:1]
    del state["stages"][PYRAMID]
    _describe(fewer)
    return fewer


def level_specs(
    volume: Volume, levels: Levels, *, local: bool
) -> tuple[list[ArraySpec], list[tuple[int, ...]], list[Pass]]:
    """The master and its levels, finest first; the factors from each to the next; and what makes them.

    Raises:
        InputRefused: The factor does not fit the master.
    """
    master = volume.spec(volume.master)
    kept = [axis.get("type") in ("time", "channel") for axis in volume.state.get("annex", {}).get("axes", [])]
    if any(kept) and not levels.factor:  # a channel is never mixed with its neighbour unless it was asked for
        most = MOST_COARSENED - kept[-1]  # the last axis counts among them
        space = [axis for axis, apart in enumerate(kept) if not apart][-most:]
        factor = [2 if axis in space else 1 for axis in range(len(kept))]
        levels = levels.model_copy(update={"factor": factor})
    factors = level_factors(master.shape, as_written(master).chunks, levels, _lengths(volume))
    paths = [volume.level(number) for number in range(1, len(factors) + 1)]
    specs, passes = passes_of(master, paths, factors, local=local)
    return specs, factors, passes


def _lengths(volume: Volume) -> list[float]:
    """Distance of neighbours along each axis, where all are of space and have one unit; else empty."""
    axes = volume.state.get("annex", {}).get("axes", [])
    kinds = {(axis.get("type"), axis.get("unit")) for axis in axes}
    given = volume.state["levels"][0]["scale"] if len(kinds) == 1 and axes[0].get("type") == "space" else []
    return list(volume.array_attributes(volume.master).get("voxel_length", given))


def method_of(volume: Volume, levels: Levels) -> str:
    """The method asked for; labels are counted, all else is averaged, unless it was said."""
    labels = volume.state.get("looks", {}).get("is_labels")
    return {"auto": "mode" if labels else "mean"}.get(levels.method, levels.method)


def block_memory(
    specs: list[ArraySpec], factors: list[tuple[int, ...]], passes: list[Pass], *, local: bool
) -> int:
    """The most bytes that one block takes: what it reads, the levels made of it, and chunks in hand.

    Objects of a cloud's own arrays are fetched together, and what does not fit together is read as a whole.
    """
    most = 0
    for one in passes:
        spec, factor = specs[one.source], factors[one.source]
        read = read_bytes(one, specs, factors)
        made = cell_bytes(read, factor, spec.numpy)
        one_by_one = spec.codec == AS_FOUND or (local and not spec.shards)
        if one_by_one and fit_together(spec.pieces, spec.shape, factor):
            read = 0
        read += reading_bytes(spec, local=local)
        most = max(most, read + made + writing_bytes(specs[one.source + 1], local=local))
    return most


def _add(stage: Stage, root: dict[str, Any], request: str) -> None:
    """Make the levels and commit them; `root` is changed to have them."""
    specs, _, passes = _planned(stage.plan)
    counts = [block_count(specs[one.coarsest].shape, one.block) for one in passes]
    records: list[Record] = []
    for number, count in enumerate(counts):
        first = sum(counts[:number])
        records += run_blocks(stage, pyramid_block, range(first, first + count), of=sum(counts))
    refuse_changed(Volume(stage.store, root))
    _publish(stage, root, records, request)


def _planned(plan: Plan) -> tuple[list[ArraySpec], list[tuple[int, ...]], list[Pass]]:
    body = plan.body
    return (
        [ArraySpec.from_json(plain) for plain in body["arrays"]],
        [tuple(factor) for factor in body["factors"]],
        [Pass.from_json(plain) for plain in body["passes"]],
    )


@lru_cache(maxsize=4)
def _masks(store: Store, plan: Plan) -> list[np.ndarray]:
    """Where each level is live; empty where everything is."""
    if not plan.body["mask"]:
        return []
    masks = [read_region(store, ArraySpec.from_json(plan.body["mask"]))]
    for factor in plan.body["factors"]:
        masks.append(coarsen_live(masks[-1], tuple(factor[: masks[-1].ndim]), plan.body["method"]))
    return masks


def pyramid_block(job: Job) -> Record:
    """Store one block of each level of a pass."""
    store, plan = job.open()
    specs, factors, passes = _planned(plan)
    one, region = place_of(job.block, passes, specs)
    masks = _masks(store, plan)

    def live_in(level: int, part: tuple[slice, ...]) -> np.ndarray | None:
        return masks[level][part[:-1]] if masks else None

    below = factors[one.source : one.coarsest]
    source = finer_region(region, below, specs[one.source].shape)
    # Of a coarser level, chunks in which nothing but NaN came out are left out even where traces live.
    must = live_in(0, source) if one.source == 0 else None
    if not masks:
        must = np.ones(tuple(r.stop - r.start for r in source[:-1]), bool)
    above = origin_of(store, plan) if one.source == 0 else store
    method, part = plan.body["method"], source
    stored: list[Stored] = []
    values = read_coarsened(
        above, specs[one.source], source, factors[one.source], method, live_in(one.source, source), must
    )
    for number in range(one.source, one.coarsest):
        if number > one.source:
            values = coarsen_in_parts(values, factors[number], method, live_in(number, part))
        spec = specs[number + 1]
        part = finer_region(region, factors[number + 1 : one.coarsest], spec.shape)
        stored += put_region(job, store, spec, part, values, empty=_nothing if masks else _never)[0]
    raw_bytes = math.prod(r.stop - r.start for r in source) * specs[one.source].numpy.itemsize
    return Record(job.block, stored, raw_bytes, {})


def read_coarsened(
    store: Store,
    spec: ArraySpec,
    region: Region,
    factor: tuple[int, ...],
    method: str,
    live: np.ndarray | None = None,
    must: np.ndarray | None = None,
) -> np.ndarray:
    """The level below a region, of which no more than a few chunks are in memory where no cell lies in two.

    Args as `read_region` and `coarsen` have them; `must` says which chunks have to be there.
    """
    if not fit_together(spec.pieces, spec.shape, factor):
        return coarsen_in_parts(read_region(store, spec, region, live=must), factor, method, live)
    shape = tuple(-(-(r.stop - r.start) // f) for r, f in zip(region, factor, strict=True))
    level = np.empty(shape, spec.numpy)

    def add(values: np.ndarray, place: Region) -> None:
        there = tuple(slice(p.start // f, -(-p.stop // f)) for p, f in zip(place, factor, strict=True))
        level[there] = coarsen(values, factor, method, None if live is None else live[place[:-1]])

    read_pieces(store, spec, region, add, live=must)
    return level


def _never(part: np.ndarray) -> bool:
    return False


def _nothing(part: np.ndarray) -> bool:
    """Whether a chunk of a survey's floats is left out; zeros of whole numbers may be live."""
    return part.dtype.kind == "f" and bool(np.isnan(part).all())


def _publish(stage: Stage, root: dict[str, Any], records: list[Record], request: str) -> None:
    """Make every level visible, with coordinates of its own, and commit."""
    store, volume, method = stage.store, Volume(stage.store, root), stage.plan.body["method"]
    specs, factors, _ = _planned(stage.plan)
    masks = _masks(store, stage.plan)
    base, master = volume.state["levels"][0], volume.array_attributes(specs[0].path)
    axes = [
        volume.read(dim) if volume.has(dim) else np.arange(n)
        for dim, n in zip(specs[0].dims, specs[0].shape, strict=True)
    ]
    shown: list[tuple[str, dict[str, Any]]] = []
    levels = [base]
    for number, spec in enumerate(specs[1:], start=1):
        group = f"{PYRAMID}/{number}"
        steps = [math.prod(axis) for axis in zip(*factors[:number], strict=True)]
        # `nearest` takes the first sample of each cell, which stays where it was.
        scaled = [
            level_scale(s, t, f) if method != "nearest" else (s * f, t)
            for s, t, f in zip(base["scale"], base["translation"], steps, strict=True)
        ]
        for dim, values, f, n, (scale, translation) in zip(
            spec.dims, axes, steps, spec.shape, scaled, strict=True
        ):
            if is_annex(
                root
            ):  # its levels lie in the group itself, where one set of coordinates has its place
                break
            labels = level_labels(values, f, scale, translation, method)
            units = (
                {k: v for k, v in volume.array_attributes(dim).items() if k == "units"}
                if volume.has(dim)
                else {}
            )
            shown.append(
                put_small(stage, ArraySpec(f"{group}/{dim}", (n,), (n,), "float64", (dim,)), labels, units)
            )
        raw_bytes = spec.raw_bytes
        if masks:
            live = masks[number]
            mask = ArraySpec(f"{group}/trace_mask", live.shape, live.shape, "bool", spec.dims[:-1])
            shown.append(put_small(stage, mask, live, {}))
            raw_bytes = int(live.sum()) * spec.shape[-1] * spec.numpy.itemsize
        objects = [o for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/")]
        attributes: dict[str, Any] = {"_FillValue": NAN_FILL} if spec.fill == "NaN" else {}
        if "_ROCKVERSE_DATATYPE" in master:
            scale, origin = [s for s, _ in scaled], [t for _, t in scaled]
            attributes |= rockverse_attributes(master, scale, master["voxel_unit"], origin)
        attributes |= {
            "method": method,
            "factor": list(factors[number - 1]),
            "raw_bytes": raw_bytes,
            "stored_bytes": sum(o.bytes for o in objects),
        }
        shown.append(put_array(stage, spec.path, metadata_of(spec, attributes), objects))
        levels.append(
            {"path": spec.path, "scale": [s for s, _ in scaled], "translation": [t for _, t in scaled]}
        )
    if not is_annex(root):
        shown += [put_group(stage, f"{PYRAMID}/{number}") for number in range(1, len(specs))]
        shown.append(put_group(stage, PYRAMID))
    members(root).update(dict(shown))
    volume.state["levels"] = levels
    volume.state["stages"][PYRAMID] = {"plan": stage.plan.digest, "request": request}
    _describe(root)
    publish_root(stage, root)


def _describe(root: dict[str, Any]) -> None:
    """Rewrite the OME-Zarr attributes from the levels."""
    attributes = root["attributes"]
    master = attributes["attributes"]["defaultVariableName"]
    described = members(root)[master]
    if "ome" in attributes:
        attributes["ome"] = ome_attributes(
            master,
            described["dimension_names"],
            attributes["seismill"]["levels"],
            described["attributes"]["min"],
            described["attributes"]["max"],
            attributes["seismill"].get("looks"),
        )

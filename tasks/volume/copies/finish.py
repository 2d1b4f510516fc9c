"""Compare the errors of copies with their tolerance, make them visible, and commit."""

import math
from typing import Any

from tasks.volume.arrays.codecs import (
    metadata_of,
    tolerance_of,
)
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import (
    ArraySpec,
)
from tasks.volume.blocks import block_count
from tasks.volume.copies.block import rechunk_block
from tasks.volume.images.spacing import ROCKVERSE
from tasks.volume.kernels.error_sums import (
    COUNT,
    MAX_ABS_ERROR,
    NONFINITE,
    SUM_OF_SQUARES,
)
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.foreign_target import refuse_changed
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.root import members
from tasks.volume.protocol.stage import (
    Stage,
    publish_root,
    put_array,
    run_blocks,
)

SHARED = ("coordinates", *ROCKVERSE)  # attributes that a copy has from its master


def add_copies(
    stage: Stage, volume: Volume, specs: list[ArraySpec], requests: dict[str, str]
) -> dict[str, Any]:
    """Make the copies and commit them; return the new root."""
    master, body = volume.spec(volume.master), stage.plan.body
    records = run_blocks(stage, rechunk_block, range(block_count(master.shape, tuple(body["block"]))))
    refuse_changed(volume)
    attributes = volume.array_attributes(volume.master)
    live_bytes = attributes.get("raw_bytes", master.raw_bytes)
    measured = {
        spec.path: _errors(spec, volume.master_name, records, attributes, live_bytes) for spec in specs
    }
    for spec in specs:
        bound = tolerance_of(spec) or 0.0
        if not measured[spec.path]["max_abs_error"] <= bound:
            raise IntegrityFailure(
                f"copy {spec.path} is off by {measured[spec.path]['max_abs_error']:g}, more than its tolerance of "
                f"{bound:g}; it was not made visible, give a larger tolerance or quality lossless"
            )
    shown = []
    for spec in specs:
        extra = {
            k: v for k, v in attributes.items() if k in SHARED or (k == "_FillValue" and spec.fill == "NaN")
        }
        objects = [o for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/")]
        shown.append(put_array(stage, spec.path, metadata_of(spec, extra | measured[spec.path]), objects))
    root = volume.root
    members(root).update(dict(shown))
    for spec in specs:
        root["attributes"]["seismill"]["stages"][spec.path] = {
            "plan": stage.plan.digest,
            "request": requests[spec.path],
        }
    publish_root(stage, root)
    return root


def _errors(
    spec: ArraySpec, copy_of: str, records: list[Record], master: dict[str, Any], live_bytes: int
) -> dict[str, Any]:
    """What was measured of one copy, over live finite samples."""
    count = sum(r.facts[spec.path][COUNT] for r in records)
    squares = sum(r.facts[spec.path][SUM_OF_SQUARES] for r in records)
    stored = sum(o.bytes for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/"))
    rmse = math.sqrt(squares / count) if count else 0.0
    result: dict[str, Any] = {
        "copy_of": copy_of,
        "tolerance": tolerance_of(spec) or 0.0,
        "max_abs_error": max((r.facts[spec.path][MAX_ABS_ERROR] for r in records), default=0.0),
        "rmse": rmse,
        "nonfinite_count": int(sum(r.facts[spec.path][NONFINITE] for r in records)),
        "raw_bytes": live_bytes,
        "stored_bytes": stored,
        "ratio": live_bytes / stored if stored else 0.0,
    }
    if rmse and master.get("std"):
        result["nrmse"] = rmse / master["std"]
        result["snr_db"] = 20 * math.log10(master["std"] / rmse)
    if rmse and master.get("max", 0) > master.get("min", 0):
        result["psnr_db"] = 20 * math.log10((master["max"] - master["min"]) / rmse)
    return result

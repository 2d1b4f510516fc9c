"""Compare the errors of copies with their tolerance, make them visible, and commit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.volume.arrays.codecs import is_zfp, metadata_of, tolerance_of
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.root_schema import StageEntry
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.copies.block import rechunk_block
from tasks.volume.copies.likeness import display_range, least_similarity
from tasks.volume.copies.target import Target
from tasks.volume.derived.readings import count_of
from tasks.volume.images.spacing import ROCKVERSE
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.protocol.foreign_target import foreign_meaning
from tasks.volume.protocol.ledger import Record, stored_by
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Stage, publish_root, run_blocks

SHARED = ("coordinates", *ROCKVERSE)  # attributes that a copy has from its master
HOLES = "trace_mask decides where traces are; where none is, values are near 0, within the tolerance"


@dataclass(frozen=True)
class Made:
    """A copy all of whose blocks are done.

    Attributes:
        spec: The copy.
        stage: Stage that made it.
        entries: Entries of the stage's ledger.
        figures: Measurements over live finite samples.
    """

    spec: ArraySpec
    stage: Stage
    entries: list[Record]
    figures: dict[str, Any]


def make_copies(stage: Stage, volume: Volume, specs: Sequence[ArraySpec]) -> list[Made]:
    """Run all blocks of a stage and measure each copy; nothing is visible yet.

    Raises:
        IntegrityFailure: The error of a stored chunk is larger than the tolerance.
        InputRefused: A lossy copy of an image is larger than its voxels.
    """
    master, body = volume.spec(volume.master), stage.plan.body
    entries = run_blocks(stage, rechunk_block, range(count_of(body, specs, master.shape)))
    volume.root.group.refuse_changed(volume)
    attributes = volume.array_attributes(volume.master)
    live_bytes = attributes.get("raw_bytes", master.raw_bytes)
    result = [
        Made(spec, stage, entries, _errors(spec, volume, entries, attributes, live_bytes)) for spec in specs
    ]
    for copy in result:
        bound = tolerance_of(copy.spec) or 0.0
        if not copy.figures["max_abs_error"] <= bound:
            raise IntegrityFailure(
                f"copy {copy.spec.path} has an error of {copy.figures['max_abs_error']:g}, more than its tolerance of "
                f"{bound:g}, and was not published; give a larger tolerance or quality lossless"
            )
        if volume.of_images and bound and copy.figures["ratio"] < 1:
            raise InputRefused(
                f"the lossy copy {copy.spec.path} takes {copy.figures['stored_bytes']:,} bytes, more than the "
                f"{live_bytes:,} of its voxels, and was not published; give a larger tolerance, or lossless",
                flags="--quality lossless",
            )
        if volume.of_images and bound:
            copy.figures["ssim"] = least_similarity(volume, copy.spec)
    return result


def missed(copies: Sequence[Made], targets: Mapping[str, str]) -> list[ArraySpec]:
    """Return the copies that missed their target, each with half its tolerance (twice, if the target is a ratio)."""
    short = []
    for copy in copies:
        if (text := targets.get(copy.spec.path)) and not Target.of(text).reached(copy.figures, room=0):
            factor = 2.0 if Target.of(text).kind == "ratio" else 0.5
            tolerance = factor * (tolerance_of(copy.spec) or 0.0)
            kind = copy.spec.codec.partition(":")[0]
            short.append(copy.spec.at(copy.spec.path, codec=f"{kind}:{tolerance!r}"))
    return short


def publish_copies(
    volume: Volume, copies: Sequence[Made], requests: Mapping[str, str], targets: Mapping[str, str]
) -> tuple[Root, list[str]]:
    """Make copies visible and commit them; return the new root, and notes on targets that were missed."""
    carried = foreign_meaning(volume).carried
    attributes = carried | volume.array_attributes(volume.master)
    root, notes = volume.root, []
    arrays: dict[str, list[Ready]] = {copy.stage.plan.digest: [] for copy in copies}
    for copy in copies:
        spec = copy.spec
        # ZFP stores 0 for what is not a number, so nothing there has the value for it.
        about = {k: v for k, v in carried.items() if k != "_FillValue" or not is_zfp(spec)} | copy.figures
        about |= {
            k: v for k, v in attributes.items() if k in SHARED or (k == "_FillValue" and spec.fill == "NaN")
        }
        if text := targets.get(spec.path):
            about["target"] = text
            if not Target.of(text).reached(copy.figures, room=0):
                notes.append(f"{spec.path} does not reach {text}: {_in_words(copy.figures)}")
        if is_zfp(spec) and volume.has("trace_mask"):
            about["comment"] = HOLES
        elif is_zfp(spec) and volume.root.is_annex and (gaps := copy.figures["nonfinite_count"]):
            notes.append(
                f"{spec.path} holds numbers where {gaps:,} values are NaN or Inf; rounded copies keep these "
                "(--lossy-codec rounded)"
            )
        if tolerance_of(spec):
            about["long_name"] = (
                f"{attributes.get('long_name', volume.master_name)}, {_in_words(copy.figures)}"
            )
        objects = stored_by(copy.entries).of_array(spec.path)
        arrays[copy.stage.plan.digest].append(Ready(spec.path, metadata_of(spec, about), objects))
        entry = StageEntry(plan=copy.stage.plan.digest, request=requests[spec.path])
        root = root.with_stages({spec.path: entry})
    stages = {copy.stage.plan.digest: copy.stage for copy in copies}
    for digest, stage in stages.items():
        root = root.with_members(put_arrays(stage, arrays[digest]))
    return publish_root(*stages.values(), root=root), notes


def _in_words(figures: Mapping[str, Any]) -> str:
    """Return how far a copy is off, such as: lossy within 4.9, SNR 41 dB."""
    snr = f", SNR {figures['snr_db']:.0f} dB" if "snr_db" in figures else ""
    alike = f", SSIM {figures['ssim']:.4f}" if "ssim" in figures else ""
    return f"lossy within {figures['max_abs_error']:.3g}{snr}{alike}, ratio {figures['ratio']:.3g}"


def _errors(
    spec: ArraySpec, volume: Volume, records: list[Record], master: dict[str, Any], live_bytes: int
) -> dict[str, Any]:
    """Return the errors of one copy, over live finite samples."""
    records = [record for record in records if spec.path in record.facts]
    count = sum(r.facts[spec.path][COUNT] for r in records)
    squares = sum(r.facts[spec.path][SUM_OF_SQUARES] for r in records)
    stored = stored_by(records).of_array(spec.path).total_bytes
    rmse = math.sqrt(squares / count) if count else 0.0
    result: dict[str, Any] = {
        "copy_of": volume.master_name,
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
    if rmse and (peak := display_range(volume)) > 0:
        result["psnr_db"] = 20 * math.log10(peak / rmse)
    return result

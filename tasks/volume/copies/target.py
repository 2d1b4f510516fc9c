"""Choose the tolerance of lossy copies from the quality that they must reach.

A target is a floor: `snr=40` asks for a signal-to-noise ratio of at least 40 dB, 20 log10(sigma / rmse), `psnr=60` for
a peak signal-to-noise ratio, 20 log10((max - min) / rmse), of images 20 log10(window / rmse) with the window of values
that viewers show, and `ratio=10` for that many live bytes per stored byte. ZFP
takes a tolerance as the power of two below it, so figures come in steps of about 6 dB. The tolerance is the largest
power of two that reaches the target on chunks of the master which are drawn by a fixed rule, with some room; the
master's statistics are those of all its samples. A plan holds the number, so workers and resumed runs use it.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, round_up
from tasks.volume.blocks import Region
from tasks.volume.copies.likeness import display_range
from tasks.volume.derived.edges import at_origin, continue_cells
from tasks.volume.derived.errors import encode_measured
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, SUM_OF_SQUARES, finite_or_zero

_TARGET = ":target "  # after the name of the codec of a copy whose tolerance is not chosen yet
SAMPLED_CHUNKS = 12
SAMPLED_BYTES = 4 << 20  # of one of them, at most
ROOM_DB, ROOM_RATIO = 1.0, 1.02  # above the target on the sample, because it is one
STEPS = 60  # powers of two that are tried
SMALLEST = 2.0**-120


@dataclass(frozen=True)
class Target:
    """The target of a lossy copy: a kind (snr, psnr, ratio) and its least value."""

    kind: str
    least: float

    @classmethod
    def of(cls, text: str) -> "Target":
        """Return the target that a text such as snr=40 names."""
        kind, _, least = text.partition("=")
        return cls(kind, float(least))

    def reached(self, figures: dict[str, float], room: float = 1.0) -> bool:
        """Return whether measured figures reach it, with some share of the room that sampling needs.

        Args:
            figures: `snr_db`, `psnr_db` and `ratio`, as far as they were measured; a copy without error has no SNR.
            room: 1 for all of the room, 0 for none.
        """
        if self.kind == "ratio":
            return figures.get("ratio", math.inf) >= self.least * (1 + (ROOM_RATIO - 1) * room)
        return figures.get(f"{self.kind}_db", math.inf) >= self.least + ROOM_DB * room


def with_target(kind: str, target: str) -> str:
    """Return the codec of a copy whose tolerance is to be chosen: zfp or rounded, and a target such as snr=40."""
    return f"{kind}{_TARGET}{target}"


def with_bound(kind: str, tolerance: float) -> str:
    """Return the codec of a copy with a tolerance; rounding takes the power of two below it, as ZFP does."""
    return f"{kind}:{tolerance if kind == 'zfp' else 2.0 ** math.floor(math.log2(tolerance))!r}"


def target_of(spec: ArraySpec) -> str:
    """Return the target of a copy whose tolerance is not chosen yet; empty for any other."""
    return spec.codec.partition(_TARGET)[2]


def with_tolerance(spec: ArraySpec, tolerance: float) -> ArraySpec:
    """Return the copy with a tolerance in place of its target."""
    kind, targeted, _ = spec.codec.partition(_TARGET)
    return spec.at(spec.path, codec=with_bound(kind, tolerance)) if targeted else spec


def chosen(volume: Volume, specs: list[ArraySpec]) -> list[ArraySpec]:
    """Return copies with the tolerance that reaches their target."""
    kinds = {(spec.codec, spec.dtype) for spec in specs if target_of(spec)}
    tolerances = {kind: tolerance_for(volume, *kind) for kind in kinds}
    return [with_tolerance(spec, tolerances.get((spec.codec, spec.dtype), 0.0)) for spec in specs]


def tolerance_for(volume: Volume, codec: str, dtype: str) -> float:
    """Return the tolerance of copies of a master that reaches a target.

    Args:
        volume: The volume, with statistics of all samples in the master's attributes.
        codec: Codec that `with_target` returned.
        dtype: Type of the copies, a float.
    """
    kind, _, text = codec.partition(_TARGET)
    target = Target.of(text)
    attributes = volume.array_attributes(volume.master)
    std, extent = float(attributes.get("std", 0)), display_range(volume)
    samples = list(sampled(volume, dtype))
    if not std or not extent or not samples:
        # A master that is constant: any positive tolerance stores it in a few bytes.
        return max(abs(float(attributes.get("max", 0))) * 1e-6, SMALLEST)

    def reached(exponent: int) -> bool:
        return target.reached(figures_of(samples, dtype, f"{kind}:{2.0**exponent!r}", std, extent))

    rmse = {"snr": std, "psnr": extent}.get(target.kind, std / 100) / 10 ** (
        (0 if target.kind == "ratio" else target.least) / 20
    )
    exponent = max(math.floor(math.log2(rmse)) + 2, -118)
    if target.kind == "ratio":  # a larger tolerance has the larger ratio: the smallest one that reaches it
        step = -1 if reached(exponent) else 1
        for _ in range(STEPS):
            if reached(exponent + step) != (step < 0):
                return 2.0 ** (exponent if step < 0 else exponent + step)
            exponent += step
        return float(2.0**exponent)
    step = 1 if reached(exponent) else -1
    for _ in range(STEPS):
        if reached(exponent + step) != (step > 0):
            return 2.0 ** (exponent if step > 0 else exponent + step)
        exponent += step
    return float(2.0**exponent)


def figures_of(
    samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
    dtype: str,
    codec: str,
    std: float,
    extent: float,
) -> dict[str, float]:
    """Return `ratio`, `max_abs_error` and, if there are errors, `snr_db` and `psnr_db` that a codec has on a sample.

    Args:
        samples: Samples that `sampled` yields.
        dtype: Type of the copy.
        codec: zfp or rounded, with a tolerance.
        std: Standard deviation of all samples of the master.
        extent: Range of all samples, the largest less the least.
    """
    sums, stored, raw = np.zeros(4), 0, 0
    for chunk, values, live in samples:
        spec = ArraySpec("sample", chunk.shape, chunk.shape, dtype, ("",) * chunk.ndim, codec)
        stored += len(encode_measured(spec, chunk, values, live, sums))
        raw += int(live.sum()) * values.shape[-1] * chunk.itemsize
    figures = {"ratio": raw / stored if stored else math.inf, "max_abs_error": float(sums[MAX_ABS_ERROR])}
    rmse = math.sqrt(sums[SUM_OF_SQUARES] / sums[COUNT]) if sums[COUNT] else 0.0
    if rmse:
        figures |= {"snr_db": 20 * math.log10(std / rmse), "psnr_db": 20 * math.log10(extent / rmse)}
    return figures


def sampled(volume: Volume, dtype: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield parts of the master: filled to cells of 4 samples, as they are, and where traces live."""
    master, store = volume.spec(volume.master), volume.store_of(volume.master)
    mask = volume.read("trace_mask") if volume.has("trace_mask") else None
    regions = _regions(master, mask)
    # Each read waits for the pools itself, so these threads are others; of another tool's chunks one is in memory.
    threads = 1 if store.local or master.codec == AS_FOUND else max(1, len(regions))
    with ThreadPoolExecutor(threads, thread_name_prefix="sample") as pool:
        parts = list(pool.map(lambda region: read_region(store, master, region), regions))
    for region, part in zip(regions, parts, strict=True):
        shape = tuple(r.stop - r.start for r in region)
        live = np.ones(shape[:-1], bool) if mask is None else np.ascontiguousarray(mask[region[:-1]])
        chunk = np.zeros(tuple(round_up(n, 4) for n in shape), dtype)
        inside = chunk[tuple(slice(0, n) for n in shape)]
        inside[...] = part
        values = inside.copy()
        finite_or_zero(inside, inside, live)
        continue_cells(chunk, at_origin(shape))
        yield chunk, values, live


def _regions(master: ArraySpec, mask: np.ndarray | None) -> list[Region]:
    """Return chunks of the master in which traces live, at even distances over all of it."""
    extents = list(master.chunks)
    while np.prod(extents) * master.numpy.itemsize > SAMPLED_BYTES:
        extents[int(np.argmax(extents))] //= 2
    counts = [-(-n // e) for n, e in zip(master.shape, extents, strict=True)]
    total = int(np.prod(counts))
    regions: list[Region] = []
    seen: set[int] = set()
    for tried in range(SAMPLED_CHUNKS * 8):
        # The golden ratio spreads any number of places evenly.
        number = int((tried * 0.6180339887498949 % 1.0) * total)
        if number in seen:
            continue
        seen.add(number)
        place = np.unravel_index(number, counts)
        region = tuple(
            slice(int(p) * e, min((int(p) + 1) * e, n))
            for p, e, n in zip(place, extents, master.shape, strict=True)
        )
        if mask is None or mask[region[:-1]].any():
            regions.append(region)
        if len(regions) == SAMPLED_CHUNKS:
            break
    return regions

"""Tabulate the trace headers of a survey by field: least, greatest, whether constant, and what is odd.

Of a large survey a sample of chunks that are spread evenly is read, and the caption says so.
"""

from dataclasses import dataclass

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import block_count
from tasks.volume.report.ahead import read_ahead, sample_regions
from tasks.volume.report.slices import Mask
from tasks.volume.segy.headers import TRACE_HEADER_FIELDS

HEADERS = "headers"
READ_BYTES, READ_CHUNKS = 16 << 20, 16
AT_ONCE = 4096  # traces whose fields are looked at while they lie in the cache
MOST_CODES = 6


@dataclass(frozen=True)
class FieldFacts:
    """The values of one field in the traces that were read."""

    name: str
    byte: int
    least: int
    greatest: int
    odd: str

    @property
    def constant(self) -> bool:
        """Return whether all traces that were read hold the same value."""
        return self.least == self.greatest


@dataclass(frozen=True)
class HeaderFacts:
    """The fields of trace headers; `traces` of `live` traces were read."""

    fields: list[FieldFacts]
    traces: int
    whole: bool


def header_facts(volume: Volume, mask: Mask) -> HeaderFacts | None:
    """Return what the trace headers hold; None where there are none."""
    if not volume.has(HEADERS):
        return None
    spec = volume.spec(HEADERS)
    regions = sample_regions(spec, READ_BYTES, READ_CHUNKS)
    names = spec.numpy.names or ()
    least = dict.fromkeys(names, 0)
    greatest = dict.fromkeys(names, 0)
    codes: set[int] = set()
    traces = 0
    read = read_ahead(volume, [(HEADERS, region) for region in regions])
    for region, values in zip(regions, read, strict=True):
        found = values[mask.cells(region)]
        for start in range(0, len(found), AT_ONCE):
            part = np.ascontiguousarray(found[start : start + AT_ONCE])
            for name in names:
                low, high = int(part[name].min()), int(part[name].max())
                least[name] = min(least[name], low) if traces else low
                greatest[name] = max(greatest[name], high) if traces else high
            codes.update(np.unique(part["trace_id_code"]).tolist())
            traces += len(part)
    whole = len(regions) == block_count(spec.shape, spec.chunks)
    if not traces:
        return HeaderFacts([], 0, whole)
    bytes_of = {field.name: field.byte for field in TRACE_HEADER_FIELDS}
    odd = _Oddities(volume, codes)
    fields = [
        FieldFacts(
            name, bytes_of.get(name, 0), least[name], greatest[name], odd(name, least[name], greatest[name])
        )
        for name in names
    ]
    return HeaderFacts(fields, traces, whole)


class _Oddities:
    """Sentences on fields whose values surprise, or that hold something else than their name says."""

    def __init__(self, volume: Volume, codes: set[int]) -> None:
        self.contents: dict[str, str] = volume.array_attributes(HEADERS).get("field_contents", {})
        self.files = [source.file for source in volume.state.sources if source.file]
        self.codes = codes
        placement = volume.state.index.get("placement", {})
        self.axes = {word[1]: str(word[0]) for word in placement.get("words", []) if word[1]}
        self.bytes_of = {field.name: field.byte for field in TRACE_HEADER_FIELDS}

    def __call__(self, name: str, least: int, greatest: int) -> str:
        """Return the remark on a field, in a few words."""
        words = []
        if name in self.contents:
            words.append(f"holds {self.contents[name]}")
        elif self.bytes_of.get(name) in self.axes:
            words.append(f"axis {self.axes[self.bytes_of[name]]}")
        if name == "samples_per_trace":
            words += self._against("n_samples", least, greatest, "samples")
        if name == "sample_interval":
            words += self._against("sample_interval_us", least, greatest, "µs")
        if name == "trace_id_code" and self.codes != {1}:
            shown = sorted(self.codes)
            more = ", …" if len(shown) > MOST_CODES else ""
            words.append(f"codes {', '.join(map(str, shown[:MOST_CODES]))}{more}")
        if name == "coordinate_scalar" and least <= 0 <= greatest:
            words.append("0 is taken as 1")
        return "; ".join(words)

    def _against(self, key: str, least: int, greatest: int, unit: str) -> list[str]:
        """Return how a field differs from what the files were read with."""
        used = {float(file[key]) for file in self.files if file.get(key) is not None}
        if not used or {float(least), float(greatest)} <= used:
            return []
        return [f"read with {', '.join(f'{value:g}' for value in sorted(used))} {unit}"]

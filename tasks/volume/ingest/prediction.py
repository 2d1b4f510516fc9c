"""The grid predicted from some headers of a file, so that blocks can begin before all headers are read."""

from collections.abc import Iterable, Sequence

import numpy as np

from tasks.volume.blocks import on_io
from tasks.volume.ingest.files import Files
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.geometry import Grid, grid_of
from tasks.volume.segy.headers import word
from tasks.volume.segy.placement import Placement, Word
from tasks.volume.segy.regular_grid import RegularGrid, grid_from_regular, predict_regular
from tasks.volume.segy.sorted_lines import predict_runs

# Headers looked at one by one to find the ends of lines: a request each, where reading takes one for a MB or more,
# and without them all bytes are written and read once more.
LEAST_PROBES, PROBE_BYTES = 512, 1 << 19


def predicted_grid(
    files: Files, placement: Placement, numbers: np.ndarray, headers: np.ndarray, *, near: bool
) -> Grid | None:
    """Return the regular grid predicted from some headers.

    Return None if these headers fit no regular grid, or if the index is not made of integer header fields as stored.

    Args:
        files: All files, whose traces are numbered as one sequence.
        placement: Rules that place traces.
        numbers: Numbers of some traces, from 0.
        headers: Headers of these traces, uint8, shape (trace, byte).
        near: Whether reading a header is cheap.
    """
    order, n = files.fmt.byte_order, files.n_traces
    if not placement.words:
        if placement.dims:
            return grid_from_regular(RegularGrid((1,), (1,), (n,), (0,)), placement.dims)
        return None
    if not placement.direct or any(word.type in ("float32", "ibm32") for word in placement.words):
        return None
    words = [entry for _, entry in sorted(placement.compared, key=lambda pair: pair[0])]
    known = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))

    def index_of(some: np.ndarray) -> np.ndarray:
        return np.stack(field_values(words, some, order), axis=1, dtype=np.int64)

    read_ahead: dict[int, bytes] = {}

    def ahead(traces: Sequence[int]) -> None:
        if not near:
            more = [trace for trace in traces if trace not in known]
            read_ahead.update(zip(more, on_io(files.header, more), strict=True))

    def probe(trace: int) -> tuple[int, ...]:
        if trace in known:
            raw = headers[known[trace] : known[trace] + 1]
        else:
            raw = np.frombuffer(read_ahead.get(trace) or files.header(trace), np.uint8)[np.newaxis]
        return tuple(index_of(raw)[0].tolist())

    def probe_all(traces: Sequence[int]) -> np.ndarray:
        read = map(files.header, traces) if near else on_io(files.header, traces)
        return index_of(np.frombuffer(b"".join(read), np.uint8).reshape(len(traces), -1))

    if regular := predict_regular(probe, n, ahead=ahead):
        return grid_from_regular(regular, placement.dims)
    if len(known) == n and near:
        return None  # a look at all of them is as cheap
    most = max(LEAST_PROBES, int(files.size / PROBE_BYTES))
    runs = predict_runs(probe_all, numbers, index_of(headers), n, most_probes=most)
    if runs is None:
        return None
    try:
        return grid_of(runs, placement.dims)
    except InputRefused:
        return None  # a wrong guess may hold no grid; what the file holds is told by all headers


def field_values(fields: Iterable[Word], headers: np.ndarray, byte_order: str) -> list[np.ndarray]:
    """Return the values of some fields of trace headers; 1 for a field that files need not have."""
    return [
        word(headers, field.byte, field.type, byte_order) if field.byte else np.ones(len(headers), np.int32)
        for field in fields
    ]

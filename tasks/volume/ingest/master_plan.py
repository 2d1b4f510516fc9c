"""Plan the master of an ingest: its chunks and shards, and blocks of traces that read the files in long ranges."""

import numpy as np

from tasks.parameters import Master
from tasks.volume.arrays.chunking import refuse_large, unsharded
from tasks.volume.arrays.spec import MASTER, ArraySpec, chunks_by_default, shards_by_default
from tasks.volume.blocks import block_count, nth_region
from tasks.volume.ingest.survey import Survey
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.overrides import TRACE
from tasks.volume.store.objects import Store

RUN_BYTES = {True: 256 << 10, False: 1 << 20}  # local, remote: shortest range worth a request


SAMPLED_CELLS = 1 << 18  # of the grid, to see in which direction the files go


# Beyond so many cells, blocks at even distances are looked at, to see how long ranges are.
COUNTED_CELLS, SAMPLED_BLOCKS = 1 << 22, 48


def block_of_traces(spec: ArraySpec, survey: Survey, *, near: bool, spilled: bool) -> tuple[int, ...]:
    """Traces per block and dimension: whole shards, long enough in the file's fast direction for large ranges.

    A spilled file is sorted by the index, so it is best read along the fastest dimension. `near`: the volume lies on
    this machine; a source elsewhere is read in long ranges all the same.
    """
    grid = survey.grid
    assert grid is not None
    unit = spec.unit[:-1]
    numbers = grid.trace_numbers
    # The dimension along which neighbours in the grid are most often neighbours in the file is the fast one.
    side = max(2, int(SAMPLED_CELLS ** (1 / numbers.ndim)))
    corner = numbers[tuple(slice(0, side) for _ in numbers.shape)]
    neighbours = [
        int((np.abs(np.diff(corner, axis=axis)) == 1).sum()) if numbers.shape[axis] > 1 else 0
        for axis in range(numbers.ndim)
    ]
    fast = numbers.ndim - 1 if spilled else int(np.argmax(neighbours))
    block = list(unit)
    near = near and survey.files.local
    wanted = RUN_BYTES[near]
    samples = spec.shape[-1] * spec.numpy.itemsize
    block_bytes = survey.files.limits.traces_block_bytes
    while (
        block[fast] < numbers.shape[fast]
        and block[fast] * survey.fmt.trace_bytes < wanted
        and int(np.prod(block)) * samples * 2 <= block_bytes
    ):
        block[fast] += unit[fast]
    if not near or spilled:
        while (
            block[fast] < numbers.shape[fast]
            and (int(np.prod(block)) + int(np.prod(block)) * unit[fast] // block[fast]) * samples
            <= block_bytes
        ):
            block[fast] += unit[fast]
    return tuple(block)


def is_scattered(survey: Survey, master: Master, store: Store) -> bool:
    """Return whether blocks of the grid would read the file in ranges too short to be worth a request each."""
    grid = survey.grid
    assert grid is not None
    files = survey.files
    if files.size <= files.limits.small_file_bytes and files.local:
        return False
    _, block = master_spec_of(store, survey, master, ("",) * (len(grid.shape) + 1), spilled=False)
    traces, runs = _ranges(grid.trace_numbers, block, files.n_traces)
    return traces * survey.fmt.trace_bytes / runs < files.limits.scattered_bytes[files.local]


def _ranges(numbers: np.ndarray, block: tuple[int, ...], n_traces: int) -> tuple[int, int]:
    """Return how many traces blocks of a grid have, and in how many ranges of the file these lie.

    Of a large grid the traces of some blocks are counted.
    """
    if numbers.size > COUNTED_CELLS:
        count = block_count(numbers.shape, block)
        traces = runs = 0
        for at in np.unique(np.linspace(0, count - 1, SAMPLED_BLOCKS).astype(np.int64)).tolist():
            part = numbers[nth_region(numbers.shape, block, at)]
            part = np.sort(part[part >= 0])
            traces += len(part)
            runs += int(np.count_nonzero(np.diff(part) != 1)) + bool(len(part))
        return traces, max(1, runs)
    counts = [-(-n // b) for n, b in zip(numbers.shape, block, strict=True)]
    block_of_cell = np.ravel_multi_index(
        np.ix_(*(np.arange(n) // b for n, b in zip(numbers.shape, block, strict=True))), counts
    )
    live = numbers >= 0
    block_of_trace = np.full(n_traces, -1, np.int64)
    block_of_trace[numbers[live]] = np.broadcast_to(block_of_cell, numbers.shape)[live]
    return n_traces, 1 + int(np.count_nonzero(np.diff(block_of_trace[block_of_trace >= 0])))


def fill_of(dtype: str) -> str:
    """Return what stands where no trace lives: NaN in floats, 0 in whole numbers."""
    return "NaN" if np.dtype(dtype).kind == "f" else "0"


def master_spec_of(
    store: Store, survey: Survey, master: Master, dims: tuple[str, ...], *, spilled: bool
) -> tuple[ArraySpec, tuple[int, ...]]:
    """Return the spec of the master, and the number of its traces per block."""
    assert survey.grid is not None
    chunks, shards = chunks_and_shards(master, store, survey)
    dtype = survey.fmt.sample_format.dtype
    shape = (*survey.grid.shape, survey.fmt.n_samples)
    chunks = chunks or _default_chunks(survey, shape)
    if shards is None and unsharded(shape, chunks, survey.files.limits, local=store.local):
        shards = ()
    elif shards is None:
        shards = shards_by_default(shape, chunks, np.dtype(dtype).itemsize)
    spec = ArraySpec(
        MASTER, shape, chunks, dtype, dims, master.codec, shards if shards != chunks else (), fill_of(dtype)
    )
    return spec, block_of_traces(spec, survey, near=store.local, spilled=spilled)


def chunks_and_shards(
    master: Master, store: Store, survey: Survey
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks and shards where they do not depend on the shape, () and None where they do.

    Raises:
        InputRefused: Chunks or shards do not fit the dimensions or each other, or chunks are too large.
    """
    rank = len(survey.names) + 1
    chunks = tuple(master.chunks)
    if chunks and (len(chunks) != rank or min(chunks) < 1):
        raise InputRefused(
            f"chunks {chunks} do not fit a volume of {', '.join(survey.names)} and samples; give {rank} positive "
            "numbers"
        )
    refuse_large(chunks or (1,), np.dtype(survey.fmt.sample_format.dtype).itemsize)
    if master.shards == [0]:
        return chunks, ()
    if not master.shards:
        return chunks, None
    shards = tuple(master.shards)
    if not chunks:
        shape = (*(survey.grid.shape if survey.grid else (1,) * (rank - 1)), survey.fmt.n_samples)
        chunks = _default_chunks(survey, shape)
        if rank > 3 and survey.grid is None and not survey.placement.chunks:
            raise InputRefused("shards of more than three dimensions depend on the chunks; give chunks too")
    if len(shards) != rank or any(s < 1 or s % c for s, c in zip(shards, chunks, strict=True)):
        raise InputRefused(
            f"shards {shards} are not multiples of the chunks {chunks}; give multiples, one per axis"
        )
    return chunks, shards


def _default_chunks(survey: Survey, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the template's chunks, or those by rank."""
    if survey.placement.chunks:
        return survey.placement.chunks
    overrides, fixed = survey.placement.overrides, {}
    if overrides.HasDuplicates or overrides.NonBinned:
        fixed = {survey.names.index(TRACE): overrides.chunksize or 1}
    return chunks_by_default(shape, np.dtype(survey.fmt.sample_format.dtype).itemsize, fixed=fixed)

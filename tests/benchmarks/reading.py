"""The engine against plain zarr, on the same stored arrays: ``python -m tests.benchmarks.reading VOLUME``.

For each kind of request a row: which array answers, the least time of some turns of plain zarr reading that array and
of the engine, by turns so that a busy machine slows both, and their ratio. The acceptance is a ratio of at most 1.10.
``--cpu`` compares the time of all processors instead, which other work on the machine hardly changes.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray
import zarr


def requests(shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield a name and a key for each kind of request."""
    everything = (slice(None),) * len(shape)
    for axis, extent in enumerate(shape):
        key = list(everything)
        key[axis] = extent // 2
        yield f"slice across axis {axis}", tuple(key)
    yield "trace", (*(n // 3 for n in shape[:-1]), slice(None))
    yield "box", tuple(slice(n // 4, n // 2) for n in shape)
    yield "every fourth slice", (slice(None, None, 4), *everything[1:])
    yield "five positions", (np.linspace(0, shape[0] - 1, 5).astype(int), *everything[1:])
    yield "all", everything


def least(turns: int, clock: Callable[[], float], *calls: Callable[[], Any]) -> list[float]:
    """Return the least seconds of each call, called by turns."""
    found = [float("inf")] * len(calls)
    for _ in range(turns):
        for number, call in enumerate(calls):
            began = clock()
            call()
            found[number] = min(found[number], clock() - began)
    return found


def main(url: str, turns: int, max_error: float, clock: Callable[[], float]) -> int:
    """Print the table; return 1 if a request takes over 1.10 times as long."""
    warnings.simplefilter("ignore")
    group = zarr.open_group(url, mode="r")
    dataset = xarray.open_dataset(url, engine="seismill", max_error=max_error)
    name = dataset.attrs["defaultVariableName"]
    samples, slow = dataset[name], 0
    print(f"{'request':22}{'array':16}{'zarr ms':>10}{'engine ms':>11}{'ratio':>8}")
    for kind, key in requests(samples.shape):
        labels = {dim: dataset[dim].values[k] for dim, k in zip(samples.dims, key, strict=True)}
        answer = dataset.seismill.answered_by(**labels)["array"]
        stored = group[answer]
        plain, ours = least(turns, clock, lambda: stored.oindex[key], lambda: samples[key].values)  # noqa: B023
        slow += ours > 1.10 * plain
        print(f"{kind:22}{answer:16}{plain * 1e3:10.2f}{ours * 1e3:11.2f}{ours / plain:8.2f}")
    return int(slow > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("volume")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--max-error", type=float, default=0)
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    sys.exit(
        main(
            arguments.volume,
            arguments.turns,
            arguments.max_error,
            time.process_time if arguments.cpu else time.perf_counter,
        )
    )

"""Divide arrays into blocks of whole stored objects, so that no two writers share an object, and run the blocks.

A block is a whole number of shards. A `concurrent.futures.Executor` (threads of this process, or Dask's on many
machines) gets blocks as a function and addresses, never as arrays. A window limits the number in flight, so neither
memory nor a scheduler's queue grows with the volume.
"""

import itertools
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from tasks.volume.limits import DEFAULT_LIMITS, Limits
from tasks.volume.outcomes import Outcome, Resumable

IO_THREADS = 32
Region = tuple[slice, ...]
Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


@dataclass(frozen=True)
class Progress:
    """Progress of a stage.

    `done` and `total` count blocks, `bytes_done` raw bytes handled since the stage began or was resumed,
    `seconds` the time that took.
    """

    stage: str
    done: int
    total: int
    bytes_done: int
    seconds: float


@dataclass(frozen=True)
class Compute:
    """Executor of blocks, its limits, and the receiver of progress.

    `executor` takes picklable calls; `workers` is how many blocks it runs at once; `memory_bytes` bounds what
    one process may use. `report` is called from the driver's thread after each finished block. When `stopping`
    is set no new block starts and the run ends resumable. `lost` is called while blocks are awaited; it returns
    an outcome if they will never end, because their workers are gone. `needs`, in a dry run, collects the bytes
    that the blocks in flight of each stage take. `limits` are sizes at which the run changes its method.
    """

    executor: Executor
    workers: int
    memory_bytes: int
    report: Callable[[Progress], None] = lambda progress: None
    stopping: threading.Event = field(default_factory=threading.Event)
    lost: Callable[[], Outcome | None] = lambda: None
    needs: list[int] | None = None
    limits: Limits = DEFAULT_LIMITS

    def check(self) -> None:
        """Check that the run was not asked to stop.

        Raises:
            Resumable: The run was asked to stop.
        """
        if self.stopping.is_set():
            raise Resumable("stopped; run the same command again to go on")

    @property
    def in_process(self) -> bool:
        """Return whether all blocks share this process, and with it the pool of chunks."""
        return isinstance(self.executor, ThreadPoolExecutor)


def limits_of(compute: Compute | None) -> Limits:
    """Return the limits of a run, before its compute is opened."""
    return compute.limits if compute else DEFAULT_LIMITS


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def io_pool() -> ThreadPoolExecutor:
    """Return the process-wide pool for store calls that wait for a network. Its tasks wait for no other task."""
    return ThreadPoolExecutor(IO_THREADS, thread_name_prefix="io")


@cache
def chunk_pool() -> ThreadPoolExecutor:
    """Return the process-wide pool that decodes and encodes chunks, for any number of blocks.

    Its tasks never wait for other tasks of the pool, so it cannot deadlock.
    """
    return ThreadPoolExecutor(cpu_count(), thread_name_prefix="chunk")


def on_chunks(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run `work` on each item on the chunk pool; return the results in order.

    After a failure no further item begins; the failure is raised after the items in flight have ended, so that no task
    outlives its buffers.
    """
    return _on_pool(chunk_pool(), cpu_count(), work, items)


def on_io(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Run `work` on each item on the pool for store calls; return the results in order."""
    return _on_pool(io_pool(), IO_THREADS, work, items)


def together(first: Callable[[], Result], second: Callable[[], Other]) -> tuple[Result, Other]:
    """Run two store calls at once; return both results. Neither may wait for the pool."""
    asked = io_pool().submit(first)
    try:
        other = second()
    finally:
        wait([asked])
    return asked.result(), other


def _on_pool(
    pool: ThreadPoolExecutor, threads: int, work: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    todo = list(items)
    results: list[Any] = [None] * len(todo)
    failures: dict[int, BaseException] = {}
    numbers = iter(range(len(todo)))  # each is given out once, whichever thread asks

    def take() -> None:
        for number in numbers:
            if failures:
                return
            try:
                results[number] = work(todo[number])
            except BaseException as error:
                failures[number] = error

    # A future for each thread and not for each item: one costs 40 microseconds of the GIL.
    wait([pool.submit(take) for _ in range(min(threads, len(todo)))])
    if failures:
        raise failures[min(failures)]
    return results


def regions(shape: tuple[int, ...], block: tuple[int, ...]) -> Iterator[Region]:
    """Yield regions of size `block` that tile `shape` once, in C order; edge regions are shorter."""
    for corner in itertools.product(*(range(0, n, b) for n, b in zip(shape, block, strict=True))):
        yield tuple(slice(i, min(i + b, n)) for i, b, n in zip(corner, block, shape, strict=True))


def block_count(shape: tuple[int, ...], block: tuple[int, ...]) -> int:
    """Return how many regions of size `block` tile `shape`."""
    return math.prod(math.ceil(n / b) for n, b in zip(shape, block, strict=True))


def nth_region(shape: tuple[int, ...], block: tuple[int, ...], number: int) -> Region:
    """Return the region that `regions` yields as number `number`, counted from 0."""
    corner = []
    for n, b in zip(reversed(shape), reversed(block), strict=True):
        number, position = divmod(number, math.ceil(n / b))
        corner.append(position * b)
    return tuple(slice(i, min(i + b, n)) for i, b, n in zip(reversed(corner), block, shape, strict=True))


DRAIN_SECONDS = 9.0  # Prefect and container runtimes kill 10 s or more after they ask to stop


def run_window(
    compute: Compute,
    call: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    on_result: Callable[[Any], None],
) -> None:
    """Run `call(*job)` for every job with a bounded number in flight; hand each result to `on_result`.

    When a job fails, or `compute.stopping` is set, no further job starts; those in flight are awaited and
    handed over first, so that their work is not lost, and then the first failure is raised; that of a job which
    the executor dropped is `concurrent.futures.CancelledError`. What `compute.lost` gives up is not awaited. When
    this thread is interrupted (Prefect raises its termination signal here), the same happens within `DRAIN_SECONDS`.
    """
    pending: set[Future[Any]] = set()
    queue = iter(jobs)
    failure: BaseException | None = None

    def collect(done: Iterable[Future[Any]]) -> None:
        nonlocal failure
        for future in done:
            pending.discard(future)
            # We cancelled none of these: what ran it is gone.
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                on_result(future.result())
            elif failure is None:
                failure = error

    try:
        while True:
            while failure is None and not compute.stopping.is_set() and len(pending) < compute.workers:
                job = next(queue, None)
                if job is None:
                    break
                pending.add(compute.executor.submit(call, *job))
            if not pending:
                break
            # The timeout lets a stop request, set by a signal or another thread, be seen while blocks run.
            collect(wait(pending, timeout=0.5, return_when=FIRST_COMPLETED).done)
            if lost := compute.lost():
                failure = failure or lost
                break
    except BaseException:
        compute.stopping.set()
        for future in list(pending):
            if future.cancel():
                pending.discard(future)
        collect(wait(pending, timeout=DRAIN_SECONDS).done)
        raise
    if failure is not None:
        raise failure

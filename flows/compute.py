"""Run blocks in threads of this process, in processes of this machine, or on a Dask cluster.

The only module that uses Dask. A compute is opened and closed inside the stage that uses it, because executors cannot
be stored or sent; stages exchange only addresses. Its client, and with it the workers' processes and their imports,
is kept for all stages of a publication.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from tasks.parameters import Run
from tasks.volume.blocks import Compute, Progress
from tasks.volume.memory import memory_budget
from tasks.volume.outcomes import InputRefused, Outcome, Resumable

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

# Two blocks overlap reading with encoding; the chunks of one block already use every core.
_THREADS = 2
# A nanny sets MALLOC_TRIM_THRESHOLD_ to 64 KiB, which makes glibc map, fault and unmap every chunk buffer
# anew: twice the codecs' time. glibc reads these when a process starts, so they are set before it is spawned.
_MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
_kept: ContextVar[tuple[ExitStack, dict[str, tuple["Client", str]]] | None] = ContextVar(
    "_kept", default=None
)
CONNECT_SECONDS = 30  # also how long a client looks for a scheduler that it lost
WORKERLESS_SECONDS = 600.0  # spot machines that were taken away may come back; as long as the lease of a lock

# Dask logs a traceback for each call that the loss of a scheduler interrupts; the outcome says it in a sentence.
for _name in ("distributed.batched", "distributed.client", "distributed.core"):
    logging.getLogger(_name).addFilter(
        lambda record: (
            not (record.exc_info and isinstance(record.exc_info[1], (asyncio.CancelledError, OSError)))
        )
    )


@contextmanager
def open_compute(
    run: Run,
    report: Callable[[Progress], None] = lambda progress: None,
    stopping: threading.Event | None = None,
    connect_seconds: float = CONNECT_SECONDS,
    workerless_seconds: float = WORKERLESS_SECONDS,
) -> Iterator[Compute]:
    """Open the compute that `run.dask` names, for one stage; inside `kept_clients`, with the client of the one before.

    Args:
        run: Its `dask` says where: "threads", "local:N", "cluster" (the address in SEISMILL_DASK) or a scheduler's
            address; its `memory` is what the run may use on each machine.
        report: Called in the driver's thread after each finished block.
        stopping: Event that ends the stage, so that it can be resumed; a signal handler sets it.
        connect_seconds: Seconds to wait for a scheduler, and then for its first worker.
        workerless_seconds: Seconds without any worker, after which the stage ends resumable.

    Raises:
        InputRefused: `run.dask` names no cluster.
        Resumable: The cluster does not answer, or was lost on the way.
    """
    stopping = stopping or threading.Event()
    if run.dask == "threads":
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="block")
        try:
            yield Compute(pool, _THREADS, memory_budget(run.memory), report, stopping)
        except BaseException:
            # Blocks in flight were given their time by `run_window`; what hangs now must not hold up the end.
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    else:
        with _client_of(run.dask, connect_seconds) as (client, address), _loss_told(client, address):
            threads, memory_bytes = _room(client, address, run.memory)
            lost = _watch_of(client, address, workerless_seconds)
            yield Compute(_Cluster(client, address), threads, memory_bytes, report, stopping, lost)


@contextmanager
def kept_clients() -> Iterator[None]:
    """Keep the client, and the processes of "local:N", that a stage opens inside the `with` for those after it."""
    with ExitStack() as opened:
        before = _kept.set((opened, {}))
        try:
            yield
        finally:
            _kept.reset(before)


@contextmanager
def _client_of(dask: str, connect_seconds: float) -> Iterator[tuple["Client", str]]:
    """Yield the client that this run has open, or one for this stage alone."""
    if (kept := _kept.get()) is None:
        with _open_client(dask, connect_seconds) as client:
            yield client
        return
    opened, clients = kept
    if dask not in clients or clients[dask][0].status != "running":  # it lost its scheduler between stages
        clients[dask] = opened.enter_context(_open_client(dask, connect_seconds))
    yield clients[dask]


class _Cluster(Executor):
    """The workers of a cluster. Dask's own executor never ends a future whose result could not be fetched."""

    def __init__(self, client: "Client", address: str) -> None:
        self._client, self._address = client, address

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a call to the cluster; a result that cannot be fetched is `Resumable`."""
        future = self._client.submit(fn, *args, pure=False, **kwargs)

        async def ended() -> Any:
            try:
                return await future
            except OSError as error:
                if future.status == "error":  # the call's own
                    raise
                raise _scheduler_lost(self._address) from error

        loop: Any = self._client.loop
        return asyncio.run_coroutine_threadsafe(ended(), loop.asyncio_loop)


def _room(client: "Client", address: str, text: str) -> tuple[int, int]:
    """Return how many blocks the cluster runs at once, and the memory of each; workers that end do not count."""
    try:
        answers = client.run(_worker_budget, text, on_error="return")
        nthreads = client.nthreads()
    except OSError as error:
        raise _scheduler_lost(address) from error
    budgets = {}
    for worker, answer in answers.items():
        if isinstance(answer, OSError):
            log.info("the Dask worker at %s ended (%s)", worker, answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            budgets[worker] = answer
    if not budgets:
        raise Resumable(
            "every Dask worker ended before it reported its memory; run the same command again when there are workers"
        )
    threads = sum(n for worker, n in nthreads.items() if worker in budgets)
    hosts = [worker.rpartition(":")[0] for worker in budgets]  # workers of one share its memory
    memory_bytes = min(budget // hosts.count(name.rpartition(":")[0]) for name, budget in budgets.items())
    return max(1, threads), memory_bytes


def _worker_budget(text: str, dask_worker: Any) -> int:
    limit = (
        dask_worker.memory_manager.memory_limit
    )  # above 95 % of it the nanny ends the worker; None: no nanny
    return min(memory_budget(text), int(0.8 * limit)) if limit else memory_budget(text)


@contextmanager
def _loss_told(client: "Client", address: str) -> Iterator[None]:
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except Outcome:
        raise
    except KilledWorker as error:
        raise Resumable(
            f"several workers of the Dask cluster ended over the same block ({error}); look in their logs, give "
            "them more memory or the run less, and run the same command again to continue"
        ) from error
    except Exception as error:
        if client.status == "running" and not isinstance(error, (CancelledError, CommClosedError)):
            raise
        raise _scheduler_lost(address) from error


def _watch_of(client: "Client", address: str, workerless_seconds: float) -> Callable[[], Resumable | None]:
    """Return a function that says why submitted blocks cannot finish; Dask itself would wait for ever."""
    heard, without_since = None, None

    def lost() -> Resumable | None:
        nonlocal heard, without_since
        if client.status != "running":  # what was in flight is gone, even if Dask finds the scheduler again
            return _scheduler_lost(address)
        # What the client hears every 2 s: a question of ours would meddle with how it takes a loss.
        if heard is not client._scheduler_identity:
            heard = client._scheduler_identity
            if heard.get("workers"):
                without_since = None
                return None
        without_since = without_since or time.monotonic()
        if time.monotonic() - without_since <= workerless_seconds:
            return None
        return Resumable(
            f"the Dask scheduler at {address} reported no worker for {workerless_seconds:.0f} s; run the same command "
            "again to go on where it ended, when it has some or on threads"
        )

    return lost


def _scheduler_lost(address: str) -> Resumable:
    return Resumable(
        f"the Dask scheduler at {address} was lost; run the same command again to go on where it ended, when there "
        "is a scheduler or on threads"
    )


@contextmanager
def _open_client(dask: str, connect_seconds: float) -> Iterator[tuple["Client", str]]:
    from dask import config
    from distributed import Client, LocalCluster

    if dask.startswith("local:"):
        processes = int(dask.removeprefix("local:"))
        if processes < 1:
            raise InputRefused(f"got dask={dask!r}, wanted at least one process, such as local:2")
        nanny = config.get("distributed.nanny.pre-spawn-environ") | _MALLOC
        with (
            config.set({"distributed.nanny.pre-spawn-environ": nanny}),
            # memory_limit=None: the plan bounds memory; a nanny that pauses workers half-way only stalls them.
            _closed(
                LocalCluster(
                    n_workers=processes,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=None,
                    dashboard_address="127.0.0.1:0",
                )
            ) as cluster,
            _closed(Client(cluster)) as client,
        ):
            yield client, cluster.scheduler_address
        return
    address = os.environ.get("SEISMILL_DASK", "") if dask == "cluster" else dask
    if not address:
        raise InputRefused(
            "dask is 'cluster', but this worker has no cluster: set SEISMILL_DASK to its scheduler's address, "
            "or run on threads"
        )
    try:
        client = Client(address, timeout=connect_seconds)
    except OSError as error:
        raise Resumable(
            f"no Dask scheduler answers at {address} within {connect_seconds} s ({error}); start one and run the same "
            "command again, or run on threads"
        ) from error
    with _closed(client):
        try:
            client.wait_for_workers(1, timeout=connect_seconds)
        except TimeoutError as error:
            raise Resumable(
                f"the Dask scheduler at {address} has no worker after {connect_seconds} s; start one and run the same "
                "command again, or run on threads"
            ) from error
        except OSError as error:
            raise Resumable(
                f"the Dask scheduler at {address} was lost before it had a worker ({error}); run the same command "
                "again when there is one, or run on threads"
            ) from error
        yield client, address


@contextmanager
def _closed(entry: Any) -> Iterator[Any]:
    """Close a client or a cluster after the `with`; a failure to close is logged and does not change the outcome."""
    try:
        yield entry
    finally:
        try:
            entry.close()
        except Exception as error:
            log.warning("Dask did not close in order: %s: %s", type(error).__name__, error)

"""Retry store calls, and limit how many go to one store at once; no other layer does either.

A call is tried again after faults that may pass, with exponential backoff and full jitter, until its deadline. The
SDKs' own retries are switched off, because two layers multiply. When a store asks for fewer requests, the number in
flight from this process is halved, and grows again by one for each round of calls that went well. Once a
store was not reached within a deadline, later calls (to flush a ledger, to release a lock) have a short deadline, so
that a run ends minutes after its store became unreachable.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import wait
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

import tenacity

from tasks.parameters import StorageOptions
from tasks.volume.limits import Patience
from tasks.volume.outcomes import Resumable, SettingRefused
from tasks.volume.store.clouds import Cloud, open_cloud
from tasks.volume.store.clouds.faults import Busy, Changed, Expired, Misconfigured, NoCredentials, Transient
from tasks.volume.store.process import clock_seconds
from tasks.volume.store.url import Location

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LAST_SECONDS = 0.5  # before the deadline no other try begins
SLOWEST_BYTES_PER_SECOND = 1 << 20  # a larger one gets as much longer as this takes
MOST_AT_ONCE = 64
LATE_SECONDS = (
    60.0  # after which what was asked before a request is asked again; shorter than the lease of a lock
)


class OutOfReach(Resumable):
    """A store gave no usable answer before the deadline of the call."""


@dataclass
class Traffic:
    """Requests of this process to its stores, including retries, the bytes read and written, and the retries."""

    requests: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    retries: int = 0

    def since(self, earlier: "Traffic") -> "Traffic":
        """Return the difference to an earlier `snapshot`."""
        return Traffic(
            self.requests - earlier.requests,
            self.bytes_read - earlier.bytes_read,
            self.bytes_written - earlier.bytes_written,
            self.retries - earlier.retries,
        )

    def snapshot(self) -> "Traffic":
        """Return a copy that does not change any more."""
        return Traffic(self.requests, self.bytes_read, self.bytes_written, self.retries)


traffic = Traffic()
_traffic_lock = threading.Lock()


def count(*, requests: int = 1, read: int = 0, written: int = 0, retries: int = 0) -> None:
    """Add to `traffic`."""
    with _traffic_lock:
        traffic.requests += requests
        traffic.bytes_read += read
        traffic.bytes_written += written
        traffic.retries += retries


class Line:
    """Connection limit and retries of this process for one store, shared by all its threads."""

    patience = Patience()

    def __init__(self, name: str, cloud: Cloud) -> None:
        """Open no connection yet; `name` is the store's, for messages."""
        self.cloud = cloud
        self._name = name
        self._reached, self._answered = True, False  # in the last call, ever
        self._sessions = 0  # how often the credentials were renewed
        self._silent_since = 0.0  # when calls began to fail; 0 while they go well
        self._said = False  # that they fail
        self._free = threading.Condition()
        self._in_flight, self._limit, self._cut_at = 0, float(MOST_AT_ONCE), 0.0
        self._renewing = threading.Lock()
        self.probed: set[str] = (
            set()
        )  # prefixes at which the store was seen to keep what the run protocol needs

    @property
    def limit(self) -> int:
        """Most calls in flight at once."""
        return int(self._limit)

    def call(
        self,
        request: Callable[[], Coroutine[Any, Any, Result]],
        *,
        size: int = 0,
        conditional: bool = False,
        before: Callable[[], None] | None = None,
    ) -> Result:
        """Return the result of `request`, which is called anew for every try.

        Args:
            request: Makes a coroutine that sends one request.
            size: Bytes that it transfers, if more than a few kilobytes; they extend the deadline.
            conditional: Whether the request has a condition on the object; only then is "condition not met" its answer.
            before: Raises if the request may not be sent any more. Called before each try. A try that is late, because
                it waited for its turn or the process was suspended, is not sent, and a new one begins.

        Raises:
            OutOfReach: No try succeeded before the deadline.
            SettingRefused: A setting keeps the store from being asked, and this process never got an answer from it.
            Resumable: The credentials expired, and new ones cannot be obtained.
            OSError: A fault that a retry cannot change, of a class in `faults`.
        """
        deadline = time.monotonic() + (
            self.patience.deadline if self._reached else self.patience.short_deadline
        )
        renewed = False

        def one_try() -> Result:
            nonlocal deadline, renewed
            sessions, asked = self._sessions, math.inf
            if before:
                asked = clock_seconds()
                before()
            try:
                return self._try(partial(_in_time, request, asked), deadline, size)
            except Changed as error:
                if conditional:
                    raise
                raise Transient(f"{error}, although the request named no condition") from error
            except Misconfigured as error:
                if not self._answered:
                    raise SettingRefused(f"{self._name} cannot be used: {error}") from error
                raise Transient(str(error)) from error  # it was right a moment ago
            except Expired as error:
                if renewed and isinstance(error, NoCredentials) and not self._answered:
                    raise SettingRefused(f"{self._name} cannot be used: {error}") from error
                if renewed:
                    raise Resumable(
                        f"the credentials for {self._name} ran out ({error}); renew them and run the same command again"
                    ) from error
                renewed = True
                self._renew(sessions)
                deadline = time.monotonic() + self.patience.deadline
                raise Transient(str(error)) from error

        jitter = tenacity.wait_random_exponential(multiplier=0.1, max=15)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            # Half of what is left at most, so that the last try comes shortly before the deadline.
            wait=lambda state: min(jitter(state), max(0.0, deadline - time.monotonic()) / 2),
            stop=lambda state: deadline - time.monotonic() < LAST_SECONDS,
            before_sleep=self._again,
            reraise=True,
        )
        try:
            result = retrying(one_try)
        except Transient as error:
            self._reached = False
            raise OutOfReach(
                f"{self._name} could not be reached for {self.patience.deadline:.0f} s ({error}); "
                "run the same command again to go on"
            ) from error
        self._went_well()
        return result

    def _again(self, state: tenacity.RetryCallState) -> None:
        count(requests=0, retries=1)
        self._failed(state.outcome and state.outcome.exception())

    def _failed(self, error: object, seconds: float = 0.0) -> None:
        """Note that no call succeeded for some seconds, and log the name of the store once per outage."""
        with self._free:
            self._silent_since = self._silent_since or time.monotonic() - seconds
            waited = time.monotonic() - self._silent_since
            if self._said or waited < self.patience.say:
                return
            self._said = True
        log.warning("%s: no usable answer for %.0f s (%s); it is asked again", self._name, waited, error)

    def _went_well(self) -> None:
        if self._said:
            log.warning("%s answers again", self._name)
        self._reached = self._answered = True
        self._silent_since, self._said = 0.0, False

    def _try(self, request: Callable[[], Coroutine[Any, Any, Result]], deadline: float, size: int) -> Result:
        with self._free:
            while self._in_flight >= self._limit:
                if not self._free.wait(max(0.0, deadline - time.monotonic())):
                    raise Transient(f"{self._in_flight} other calls were in the way")
            self._in_flight += 1
        began = time.monotonic()
        longer = size / SLOWEST_BYTES_PER_SECOND
        seconds = max(1.0, min(self.patience.one_try + longer, deadline - began))
        count()
        try:
            result = _run(
                request(), seconds, (self.patience.say + longer, partial(self._failed, "no answer"))
            )
        except Busy:
            self._slower(began)
            raise
        finally:
            with self._free:
                self._in_flight -= 1
                self._free.notify()
        self._faster()
        return result

    def _slower(self, began: float) -> None:
        with self._free:
            if began >= self._cut_at:  # of many refused at once, one counts
                self._limit = max(1.0, self._limit / 2)
                self._cut_at = time.monotonic()

    def _faster(self) -> None:
        with self._free:
            if self._limit < MOST_AT_ONCE:
                self._limit += 1 / self._limit
                self._free.notify()

    def _renew(self, sessions: int) -> None:
        with self._renewing:
            if sessions == self._sessions:  # or another thread did it meanwhile
                try:
                    _run(self.cloud.renew(), self.patience.one_try)
                except (Misconfigured, Expired) as error:
                    raise Resumable(
                        f"the credentials for {self._name} ran out, and new ones cannot be obtained ({error}); renew "
                        "them and run the same command again"
                    ) from error
                self._sessions += 1


@lru_cache(maxsize=64)
def line_to(protocol: str, bucket: str, options: StorageOptions) -> Line:
    """Return the line to a bucket, one per process."""
    name = f"{protocol}://{bucket}"
    try:
        return Line(name, open_cloud(Location(protocol, bucket, name), options))
    except Misconfigured as error:
        raise SettingRefused(f"{name} cannot be used: {error}") from error


def line_of(location: Location, options: StorageOptions) -> Line:
    """Return the line to the store of a location."""
    return line_to(location.protocol, location.path.strip("/").partition("/")[0], options)


async def _in_time(request: Callable[[], Coroutine[Any, Any, Result]], asked: float) -> Result:
    if clock_seconds() - asked > LATE_SECONDS:
        raise Transient("what was asked before it is out of date")
    return await request()


def _run(
    work: Coroutine[Any, Any, Result],
    seconds: float,
    late: tuple[float, Callable[[float], None]] = (math.inf, lambda seconds: None),
) -> Result:
    """Return the result of a coroutine on fsspec's event loop; cancel it after some seconds.

    Args:
        work: The coroutine.
        seconds: How long it may take before it is cancelled.
        late: After how many seconds without a result to call a function, and that function.
    """
    from fsspec.asyn import get_loop  # here: no local file needs it

    future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), get_loop())
    try:
        if late[0] < seconds and not wait([future], late[0]).done:
            late[1](late[0])
        return future.result()
    except TimeoutError as error:
        raise Transient(f"no answer within {seconds:.0f} s") from error
    except BaseException:
        future.cancel()  # this thread was interrupted: nothing may be written after it went on
        raise

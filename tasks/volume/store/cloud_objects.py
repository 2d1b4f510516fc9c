"""Objects below a prefix of a bucket, or in memory: each call is one request or a few, retried within limits."""

import math
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import TypeVar

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.store.backend import UNTOLD, unguarded
from tasks.volume.store.calls import count, line_of
from tasks.volume.store.clouds import Entry, Found, Span, look
from tasks.volume.store.clouds.faults import Archived, Changed, Rejected, Transient
from tasks.volume.store.local import TEMPORARY
from tasks.volume.store.process import clock_seconds
from tasks.volume.store.url import Location

Result = TypeVar("Result")
GUARDED = 16  # requests that remove something between two looks whether that is still allowed
GUARDED_SECONDS = 5.0  # after which it is looked anyway: this process may have been put to sleep


class CloudObjects:
    """Objects of a bucket or container. The methods are those of `Objects`."""

    def __init__(self, location: Location, options: StorageOptions) -> None:
        """Open a prefix; no request is sent."""
        self._url, self._root = location.url, location.path
        self._memory = location.protocol == "memory"
        self._unconditional = options.accept_unconditional_writes
        self._line = line_of(location, options)
        self._cloud = self._line.cloud

    def get(self, path: str) -> bytes:
        """Return a whole object."""
        data = self._ask(lambda: self._cloud.get(path, None, ""))
        count(requests=0, read=len(data))
        return data

    def get_seen(self, path: str) -> tuple[bytes, str]:
        """Return a whole object and the identity that its store states with it."""
        data, identity = self._ask(lambda: self._cloud.fetch(path))
        count(requests=0, read=len(data))
        return data, identity

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Return up to `length` bytes from `start`."""
        return self._part(path, Span(start, length))

    def get_tail(self, path: str, length: int) -> bytes:
        """Return the last `length` bytes."""
        return self._part(path, Span(-1, length))

    def _part(self, path: str, span: Span) -> bytes:
        data = self._ask(lambda: self._cloud.get(path, span, ""), size=span.length)
        count(requests=0, read=len(data))
        return data

    def identity(self, path: str) -> str:
        """Return ETag or generation; empty if there is no object."""
        try:
            return self._ask(lambda: self._cloud.head(path)).identity
        except FileNotFoundError:
            return ""

    def exists(self, path: str) -> bool:
        """Return whether there is such an object."""
        try:
            self._ask(lambda: self._cloud.head(path))
        except FileNotFoundError:
            return False
        return True

    def keys(self, path: str) -> Iterator[str]:
        """Yield the keys of all objects below `path`."""
        start = len(self._root) + 1
        return (entry.path[start:] for entry in self._listed(path, deep=True) if entry.path[start:])

    def children(self) -> Iterator[str]:
        """Yield the names directly under the prefix, with one request."""
        start = len(self._root) + 1
        return (entry.path[start:] for entry in self._listed(self._root, deep=False) if entry.path[start:])

    def files(self, folder: str) -> Iterator[tuple[str, int, str]]:
        """Yield name, size and identity of each object directly in a folder, with one request."""
        start = len(folder) + 1
        return (
            (entry.path[start:], entry.size, entry.identity)
            for entry in self._listed(folder, deep=False)
            if not entry.folder and entry.path[start:]
        )

    def listing(self, path: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and identity of all objects below `path`."""
        start = len(self._root) + 1
        return (
            (entry.path[start:], entry.size, entry.identity)
            for entry in self._listed(path, deep=True)
            if not entry.folder
        )

    def has_bucket(self) -> bool:
        """Return whether there is a bucket or container here."""
        try:
            self._ask(partial(self._cloud.page, f"{self._root}/", deep=False, after=""))
        except FileNotFoundError:
            return False
        return True

    def _listed(self, path: str, *, deep: bool) -> Iterator[Entry]:
        after, page = "", self._cloud.page
        while True:  # until the store has no further page
            try:
                entries, after = self._ask(partial(page, f"{path}/", deep=deep, after=after))
            except FileNotFoundError:  # there is not even a bucket
                return
            yield from entries
            if not after:
                return

    def put(self, path: str, data: bytes, storage_class: str) -> None:
        """Write an object, existing or not."""
        self._write(path, data, writer="", storage_class=storage_class)

    def replace(self, path: str, data: bytes, identity: str, storage_class: str) -> str:
        """Write an object only if it has this identity; the store compares and writes in one step.

        So a delayed request cannot replace a newer object. If the user accepted unconditional writes, the two are
        separate requests.
        """
        if self._unconditional:
            if self.identity(path) != identity:
                return ""
            self.put(path, data, storage_class)
            return UNTOLD
        writer, cloud = uuid.uuid4().hex, self._cloud

        async def send() -> str:
            try:
                return await cloud.put(
                    path, data, writer=writer, storage_class=storage_class, identity=identity
                )
            except FileNotFoundError as error:
                raise Changed(str(error)) from error
            except Changed as error:
                found = await look(cloud, path)
                if found.writer == writer:  # an earlier try whose answer was lost
                    return found.identity
                if found.identity == identity:
                    raise Transient(f"{error}, although it did not change") from error
                raise

        try:
            new = self._ask(send, size=len(data), conditional=True)
        except (Changed, FileNotFoundError):
            return ""
        count(requests=0, written=len(data))
        return new or UNTOLD

    def create(
        self, path: str, data: bytes, storage_class: str = "", before: Callable[[], None] = unguarded
    ) -> str:
        """Write an object only if it is absent; return whether this call did, even if the store's answer was lost."""
        if self._unconditional:
            if self.exists(path):
                return ""
            before()
            self.put(path, data, storage_class)
            return UNTOLD
        writer = uuid.uuid4().hex
        # The answer to an earlier try may have been lost, here or on the way: then the object is our own.
        present = self._write(path, data, writer=writer, storage_class=storage_class, before=before)
        if isinstance(present, Found):
            return (present.identity or UNTOLD) if present.writer == writer else ""
        return present or UNTOLD

    def _write(
        self,
        path: str,
        data: bytes,
        *,
        writer: str,
        storage_class: str,
        before: Callable[[], None] | None = None,
    ) -> Found | str:
        """Write an object; return its identity or, with `writer`, what is there already instead."""

        async def send() -> Found | str:
            try:
                return await self._cloud.put(path, data, writer=writer, storage_class=storage_class)
            except FileExistsError as error:
                if not writer:
                    raise Transient(f"{error}, although it may") from error
                try:
                    return await look(self._cloud, path)
                except FileNotFoundError:
                    raise Transient(f"{error}, although there is none") from error

        try:
            present = self._ask(send, size=len(data), before=before)
        except FileNotFoundError as error:
            raise DestinationRefused(
                f"{self._url} cannot be written ({error}); make the bucket or container first"
            ) from error
        if not isinstance(present, Found) or present.writer == writer:
            count(requests=0, written=len(data))
        return present

    def delete_many(self, paths: Sequence[str], guard: Callable[[], None]) -> None:
        """Remove objects in order, many per request if the store can."""
        batch, looked = self._cloud.batch, -math.inf

        def check() -> None:
            nonlocal looked
            now = clock_seconds()
            if now - looked > GUARDED_SECONDS:
                guard()
                looked = now

        for number, start in enumerate(range(0, len(paths), batch)):
            if number % GUARDED == 0:
                looked = -math.inf
            self._remove(paths[start : start + batch], check)

    def _remove(self, paths: Sequence[str], before: Callable[[], None] | None = None) -> None:
        try:
            self._ask(lambda: self._cloud.delete(list(paths)), before=before)
        except FileNotFoundError:
            pass

    def remove_half_written(self) -> None:
        """Do nothing: an object store has no unfinished objects."""

    def probe(self) -> None:
        """Raise DestinationRefused if the store replaces an object that may only be created.

        One object is created twice, once in the life of a process.
        """
        if self._memory or self._root in self._line.probed:
            return
        path = f"{self._root}/{TEMPORARY}/probe-{uuid.uuid4().hex}"
        # Whoever is found to have written it is the first: `create` compares writers.
        first, second = self.create(path, b"1"), self.create(path, b"2")
        kept = self.get(path) == b"1"
        self._remove([path])
        if not first or second or not kept:
            raise DestinationRefused(
                f"the store of {self._url} overwrites an object that was to be created only if absent, so two runs "
                "could mix; use a store with conditional writes, or accept_unconditional_writes and ensure that "
                "one run at a time writes the volume"
            )
        self._line.probed.add(self._root)

    def _ask(
        self,
        request: Callable[[], Coroutine[object, object, Result]],
        *,
        size: int = 0,
        conditional: bool = False,
        before: Callable[[], None] | None = None,
    ) -> Result:
        """Return the result of a request; turn a fault into an outcome whose sentence says what to do."""
        try:
            return self._line.call(request, size=size, conditional=conditional, before=before)
        except PermissionError as error:
            raise DestinationRefused(
                f"this identity may not do this at {self._url} ({error}); check its policy, which must also allow "
                "listing: without it S3 answers 403 for a missing object"
            ) from error
        except Archived as error:
            raise InputRefused(
                f"an object of {self._url} lies in an archive tier ({error}); restore it first, then run the same "
                "command again"
            ) from error
        except Rejected as error:
            raise DestinationRefused(
                f"the store of {self._url} refuses that ({error}); check bucket and options"
            ) from error

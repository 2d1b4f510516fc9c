"""All bytes in and out: a `Store` is the objects below one prefix, local, in memory or in a cloud.

Everything is synchronous and safe to call from many threads. The one primitive that the run protocol needs is
`create`: write an object only if it is absent, atomically. What can go wrong with a call is told as an `Outcome`, in a
sentence, except for what callers ask for: that an object is missing.
"""

import errno
import math
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tasks.parameters import StorageOptions
from tasks.volume.limits import ROUNDS
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.store import local
from tasks.volume.store.calls import DEADLINE_SECONDS as DEADLINE_SECONDS
from tasks.volume.store.calls import OutOfReach as OutOfReach
from tasks.volume.store.calls import Traffic as Traffic
from tasks.volume.store.calls import count, line_of
from tasks.volume.store.calls import traffic as traffic
from tasks.volume.store.clouds import Entry, Found, Span, look
from tasks.volume.store.clouds.faults import Archived, Changed, Rejected, Transient
from tasks.volume.store.process import clock_seconds
from tasks.volume.store.source import Source as Source
from tasks.volume.store.upload import open_upload as open_upload
from tasks.volume.store.url import WEB
from tasks.volume.store.url import Location as Location
from tasks.volume.store.url import locate as locate

Result = TypeVar("Result")
GUARDED = 16  # requests that remove something between two looks whether that is still allowed
GUARDED_SECONDS = 5.0  # after which it is looked anyway: this process may have been put to sleep
_FULL = {errno.ENOSPC, errno.EDQUOT}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class Store:
    """Objects under one prefix; keys are relative and use '/'."""

    def __init__(self, url: str | Location, options: StorageOptions | None = None) -> None:
        """Open the prefix `url`, or one of exactly that path; nothing is read or written yet."""
        self.location = locate(url) if isinstance(url, str) else url
        self.url = self.location.url
        if self.location.protocol in WEB:
            raise InputRefused(
                f"{self.url} is on a web server, of which single SEG-Y files are read; name a store"
            )
        self.options = options or StorageOptions()
        self.local = self.location.local
        self._root = self.location.path
        self._line = None if self.local else line_of(self.location, self.options)

    def path(self, key: str) -> str:
        """Return the path of `key` on its file system.

        Raises:
            IntegrityFailure: The key leads out of this prefix; only a document that was tampered with has such a key.
        """
        if ".." in key and ".." in key.split("/"):
            raise IntegrityFailure(
                f"{key[:80]!r} leads out of {self.url}; a stored document that names it is damaged"
            )
        return f"{self._root}/{key}" if key else self._root

    def above(self) -> list["Store"]:
        """Return the folders above this prefix, the nearest first; in a cloud up to the bucket."""
        url = self.url.rstrip("/")
        scheme, mark, path = url.partition("://") if "://" in url else ("", "", url)
        places = []
        while path := path.rpartition("/")[0]:
            places.append(Store(f"{scheme}{mark}{path}", self.options))
        return places

    def get(self, key: str) -> bytes:
        """Return the whole object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        path = self.path(key)
        if self.local:
            with os.fdopen(local.open_file(path), "rb") as file:
                data = file.read()
            count(read=len(data))
            return data
        data = self._ask(lambda: self._cloud.get(path, None, ""))
        count(requests=0, read=len(data))
        return data

    def get_seen(self, key: str) -> tuple[bytes, str]:
        """Return the whole object and its identity, which is not newer than the content.

        Raises:
            FileNotFoundError: There is no such object.
        """
        if self.local:
            identity = self.identity(key)
            return self.get(key), identity
        path = self.path(key)
        data, identity = self._ask(lambda: self._cloud.fetch(path))
        count(requests=0, read=len(data))
        return data, identity

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return `length` bytes of an object from `start`; fewer are an error."""
        path = self.path(key)
        if self.local:
            with os.fdopen(local.open_file(path), "rb") as file:
                data = os.pread(file.fileno(), length, start)
            count(read=len(data))
        else:
            data = self._ask(lambda: self._cloud.get(path, Span(start, length), ""), size=length)
            count(requests=0, read=len(data))
        if len(data) != length:
            raise OSError(errno.EIO, f"{self.url}/{key} gave {len(data)} bytes of {length} from byte {start}")
        return data

    def get_tail(self, key: str, length: int) -> bytes:
        """Return the last `length` bytes of an object, or all of a shorter one."""
        path = self.path(key)
        if self.local:
            with os.fdopen(local.open_file(path), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - length))
                data = file.read()
            count(read=len(data))
            return data
        data = self._ask(lambda: self._cloud.get(path, Span(-1, length), ""), size=length)
        count(requests=0, read=len(data))
        return data

    def put(self, key: str, data: bytes) -> None:
        """Write an object, existing or not; readers see the old one or the new one."""
        path = self.path(key)
        if self.local:
            with self._writing():
                local.write(self._root, path, data, os.replace)
            count(written=len(data))
            return
        self._write(path, data, writer="", storage_class=self._class_of(key))

    def identity(self, key: str) -> str:
        """Return the identity of an object's content (ETag, generation …); empty if there is no object."""
        path = self.path(key)
        if self.local:
            count()
            try:
                status = os.stat(path)
            except (FileNotFoundError, NotADirectoryError):
                return ""
            return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        try:
            return self._ask(lambda: self._cloud.head(path)).identity
        except FileNotFoundError:
            return ""

    def replace(self, key: str, data: bytes, identity: str) -> bool:
        """Write an object only if it still has this identity (empty: absent); return whether this call wrote it.

        In a cloud the store compares and writes in one step, so that a request that was long on its way changes
        nothing any more; on a local disk one replaces at a time in a folder. Where unconditional writes were accepted
        there is a moment in between.
        """
        if not identity:
            return self.create(key, data)
        if self.local:
            try:
                with local.alone_in(self._root, os.path.dirname(self.path(key))):
                    return self._replace_seen(key, data, identity)
            except FileNotFoundError:
                return False
        if self.options.accept_unconditional_writes:
            return self._replace_seen(key, data, identity)
        path, writer, storage_class = self.path(key), uuid.uuid4().hex, self._class_of(key)
        cloud = self._cloud

        async def send() -> None:
            try:
                await cloud.put(path, data, writer=writer, storage_class=storage_class, identity=identity)
            except FileNotFoundError as error:
                raise Changed(str(error)) from error
            except Changed as error:
                found = await look(cloud, path)
                if found.writer == writer:  # an earlier try whose answer was lost
                    return
                if found.identity == identity:
                    raise Transient(f"{error}, although it did not change") from error
                raise

        try:
            self._ask(send, size=len(data), conditional=True)
        except (Changed, FileNotFoundError):
            return False
        count(requests=0, written=len(data))
        return True

    def _replace_seen(self, key: str, data: bytes, identity: str) -> bool:
        if self.identity(key) != identity:
            return False
        self.put(key, data)
        return True

    def create(self, key: str, data: bytes, *, before: Callable[[], None] = lambda: None) -> bool:
        """Write an object only if it is absent; return whether this call wrote it, also if its answer was lost.

        Args:
            key: The object.
            data: What it is to hold.
            before: Called before each try; raises if this run may not write it any more.
        """
        path = self.path(key)
        if self.local:
            before()
            count(written=len(data))
            try:
                with self._writing():
                    local.create(self._root, path, data)
            except FileExistsError:
                return False
            return True
        if self.options.accept_unconditional_writes:
            if self.exists(key):
                return False
            before()
            self.put(key, data)
            return True
        writer = uuid.uuid4().hex
        # The answer to an earlier try may have been lost, here or on the way: then the object is our own.
        present = self._write(path, data, writer=writer, storage_class=self._class_of(key), before=before)
        return present is None or present.writer == writer

    def _write(
        self,
        path: str,
        data: bytes,
        *,
        writer: str,
        storage_class: str,
        before: Callable[[], None] | None = None,
    ) -> Found | None:
        """Write an object; with `writer`, return what is there already instead, or None if nothing was."""

        async def send() -> Found | None:
            try:
                await self._cloud.put(path, data, writer=writer, storage_class=storage_class)
            except FileExistsError as error:
                if not writer:
                    raise Transient(f"{error}, although it may") from error
                try:
                    return await look(self._cloud, path)
                except FileNotFoundError:
                    raise Transient(f"{error}, although there is none") from error
            return None

        try:
            present = self._ask(send, size=len(data), before=before)
        except FileNotFoundError as error:
            raise DestinationRefused(
                f"{self.url} cannot be written ({error}); make the bucket or container first"
            ) from error
        if present is None or present.writer == writer:
            count(requests=0, written=len(data))
        return present

    def create_or_match(
        self,
        key: str,
        data: bytes,
        *,
        before: Callable[[], None] = lambda: None,
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """Make `key` hold `data`: create it, and replace what is there only if it differs.

        Args:
            key: The object.
            data: What it is to hold.
            before: Called before each try to create it; raises if this run may not any more.
            guard: As `before`, called before anything is replaced.
        """
        for _ in range(ROUNDS):
            if self.create(key, data, before=before):
                return
            try:
                present, identity = self.get_seen(key)
                if present == data:
                    return
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                raise DestinationRefused(
                    f"a folder lies in the place of {self.url}/{key}; move it away"
                ) from None
            guard()
            if self.replace(key, data, identity):
                return
        raise Resumable(
            f"something else keeps writing {self.url}/{key}; end it, and run the same command again"
        )

    def exists(self, key: str) -> bool:
        """Return whether the object exists; a refusal by the store is an error."""
        path = self.path(key)
        if self.local:
            count()
            return os.path.isfile(path)
        try:
            self._ask(lambda: self._cloud.head(path))
        except FileNotFoundError:
            return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under `prefix`, sorted. Not for hot paths."""
        path = self.path(prefix.rstrip("/"))
        if self.local:
            count()
            return sorted(key for key, _ in local.walk(self._root, path))
        start = len(self._root) + 1
        return sorted(entry.path[start:] for entry in self._listed(path, deep=True) if entry.path[start:])

    def children(self) -> list[str]:
        """Return the names directly under the prefix, objects and folders, sorted, with one request."""
        if self.local:
            count()
            try:
                return sorted(os.listdir(self._root))
            except FileNotFoundError:
                return []
            except NotADirectoryError:
                raise DestinationRefused(
                    f"{self.url} is a file or below one; name a folder that does not exist yet"
                ) from None
        start = len(self._root) + 1
        return sorted(
            entry.path[start:] for entry in self._listed(self._root, deep=False) if entry.path[start:]
        )

    def files(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Return size and identity (as of a `Source`) of each file directly under the prefix, with one request.

        Args:
            below: What the keys begin with, up to and with a "/"; their names are without it.
        """
        if self.local:
            count()
            with os.scandir(self.path(below)) as entries:
                found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
            return {
                name: (status.st_size, f"{status.st_size}-{status.st_mtime_ns}")
                for name, status in sorted(found)
            }
        folder = self.path(below).removesuffix("/") if below else self._root
        start = len(folder) + 1
        return {
            entry.path[start:]: (entry.size, entry.identity)
            for entry in sorted(self._listed(folder, deep=False), key=lambda entry: entry.path)
            if not entry.folder and entry.path[start:]
        }

    def listing(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and identity (as of a `Source`) of every object under `prefix`, in no order."""
        path = self.path(prefix.rstrip("/"))
        if self.local:
            count()
            for key, file in local.walk(self._root, path):
                try:
                    status = os.stat(file)
                except FileNotFoundError:  # removed after it was listed
                    continue
                yield key, status.st_size, f"{status.st_size}-{status.st_mtime_ns}"
            return
        start = len(self._root) + 1
        for entry in self._listed(path, deep=True):
            if not entry.folder:
                yield entry.path[start:], entry.size, entry.identity

    def _listed(self, path: str, *, deep: bool) -> Iterator[Entry]:
        after, page = "", self._cloud.page
        while True:
            try:
                entries, after = self._ask(partial(page, f"{path}/", deep=deep, after=after))
            except FileNotFoundError:  # there is not even a bucket
                return
            yield from entries
            if not after:
                return

    def delete(self, key: str) -> None:
        """Remove one object; a missing one is no error."""
        path = self.path(key)
        if not self.local:
            self._remove([path])
            return
        count()
        with self._writing():
            Path(path).unlink(missing_ok=True)

    def delete_many(self, keys: Sequence[str], *, guard: Callable[[], None] = lambda: None) -> None:
        """Remove objects in the given order, many per request if the store can.

        On a local disk, folders that this leaves empty go as well.

        Args:
            keys: The objects.
            guard: Called every few requests, and before a try that comes late; raises if this run may not remove
                anything any more.
        """
        batch = 1 if self.local else self._cloud.batch
        looked = -math.inf

        def check() -> None:
            nonlocal looked
            now = clock_seconds()
            if now - looked > GUARDED_SECONDS:
                guard()
                looked = now

        for number, start in enumerate(range(0, len(keys), batch)):
            if number % GUARDED == 0:
                looked = -math.inf
            some = keys[start : start + batch]
            if self.local:
                guard()
                self.delete(some[0])
            else:
                self._remove([self.path(key) for key in some], check)
        if self.local:
            local.remove_empty(self._root, {os.path.dirname(self.path(key)) for key in keys})

    def _remove(self, paths: list[str], before: Callable[[], None] | None = None) -> None:
        try:
            self._ask(lambda: self._cloud.delete(paths), before=before)
        except FileNotFoundError:
            pass

    def remove_half_written(self) -> None:
        """Remove unfinished files of killed writers on a local disk; object stores have none."""
        if self.local:
            local.remove_half_written(self._root)

    def probe(self) -> None:
        """Check that the store refuses to create an object twice, which the run protocol needs.

        It is asked once in the life of a process.

        Raises:
            DestinationRefused: It overwrites instead, or the prefix cannot be written.
        """
        if self.local:
            try:
                os.makedirs(self.path(local.TEMPORARY), exist_ok=True)
                with self._writing():
                    local.probe(self._root)
            except OSError as error:
                raise DestinationRefused(
                    f"{self.url} cannot be written ({error.strerror}); name another folder"
                ) from None
            return
        assert self._line is not None
        if self.location.protocol == "memory" or self._root in self._line.probed:
            return
        key = f"{local.TEMPORARY}/probe-{uuid.uuid4().hex}"
        first, second = self.create(key, b"1"), self.create(key, b"2")
        kept = self.get(key) == b"1"
        self.delete(key)
        if not first or second or not kept:
            raise DestinationRefused(
                f"the store of {self.url} overwrites an object that was to be created only if absent, so two runs "
                "could mix; use a store with conditional writes, or accept_unconditional_writes and see to it that "
                "one run at a time writes the volume"
            )
        self._line.probed.add(self._root)

    @property
    def _cloud(self) -> Any:
        assert self._line is not None
        return self._line.cloud

    def _ask(
        self,
        request: Callable[[], Coroutine[Any, Any, Result]],
        *,
        size: int = 0,
        conditional: bool = False,
        before: Callable[[], None] | None = None,
    ) -> Result:
        """Return the result of a request; turn a fault into an outcome whose sentence says what to do."""
        assert self._line is not None
        try:
            return self._line.call(request, size=size, conditional=conditional, before=before)
        except PermissionError as error:
            raise DestinationRefused(
                f"this identity may not do that at {self.url} ({error}); check its policy, which must also allow "
                "listing: without it S3 calls forbidden what is missing"
            ) from error
        except Archived as error:
            raise InputRefused(
                f"an object of {self.url} lies in an archive tier ({error}); restore it first, then run the same "
                "command again"
            ) from error
        except Rejected as error:
            raise DestinationRefused(
                f"the store of {self.url} refuses that ({error}); check bucket and options"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of a local disk into an outcome, inside the `with`."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise Resumable(
                    f"{self.url} has no space left ({error.strerror}); make room and run the same command again "
                    "to go on"
                ) from error
            if error.errno in _FORBIDDEN:
                raise DestinationRefused(
                    f"{self.url} cannot be written ({error.strerror}); name another folder"
                ) from error
            if error.errno in _IN_THE_WAY and not isinstance(error, FileExistsError):
                raise DestinationRefused(
                    f"a file lies where {self.url} needs a folder, or a folder where it needs a file "
                    f"({error.filename2 or error.filename}); move it away"
                ) from error
            raise

    @property
    def is_file(self) -> bool:
        """Return whether a local prefix is a file."""
        return self.local and os.path.exists(self._root) and not os.path.isdir(self._root)

    def _class_of(self, key: str) -> str:
        """Return the storage class of an object. Only chunks have one; metadata is small and often read."""
        if "/c/" not in key or key.startswith(".seismill/"):
            return ""
        chosen = ""
        for part in filter(None, self.options.storage_class.split(",")):
            array, named, value = part.rpartition("=")
            if not named or key.startswith(f"{array}/"):
                chosen = value
        return chosen

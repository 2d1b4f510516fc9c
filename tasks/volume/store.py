"""All bytes in and out: a `Store` is a prefix on a file system that fsspec knows, a `Source` one file to read.

This is the only module that knows one kind of store from another, and the only one that retries a store call
(exponential backoff with full jitter and a total deadline; the SDKs' own retries are switched off, because two
layers multiply). Everything is synchronous and safe to call from many threads. The one primitive that the run
protocol needs is `create`: write an object only if it is absent, atomically. Local files get it from a
hard link, so that a process killed half-way never leaves half an object under its name.
"""

import errno
import os
import shutil
import stat
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import tenacity
from fsspec.asyn import sync

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.process import machine, started

DEADLINE_SECONDS = 120.0  # of one store call with its retries; shorter than the lease of a lock (run.LEASE_SECONDS)
TEMPORARY = ".seismill/tmp"
FOREIGN_SECONDS = 86400.0  # a file that a process of another machine was writing is given up after that
_FINAL_ERRNOS = {
    errno.ENOENT,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EINVAL,
    errno.ENAMETOOLONG,
    errno.EMFILE,
}
_LOCAL = {"file", "local"}


@dataclass
class Traffic:
    """What this process asked of its stores: calls, and the bytes that went in and out."""

    requests: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def since(self, earlier: "Traffic") -> "Traffic":
        """What was added after `earlier` was taken with `snapshot`."""
        return Traffic(
            self.requests - earlier.requests,
            self.bytes_read - earlier.bytes_read,
            self.bytes_written - earlier.bytes_written,
        )

    def snapshot(self) -> "Traffic":
        """A copy that does not change any more."""
        return Traffic(self.requests, self.bytes_read, self.bytes_written)


traffic = Traffic()
_traffic_lock = threading.Lock()


def _count(*, read: int = 0, written: int = 0) -> None:
    with _traffic_lock:
        traffic.requests += 1
        traffic.bytes_read += read
        traffic.bytes_written += written


@dataclass(frozen=True)
class Location:
    """A URL taken apart: fsspec's protocol, and the path on its file system."""

    protocol: str
    path: str
    url: str

    @property
    def local(self) -> bool:
        """Whether this is a path of this machine."""
        return self.protocol in _LOCAL


def locate(url: str) -> Location:
    """Take a URL or local path apart.

    Raises:
        InputRefused: The URL is chained, holds credentials or a query, or its protocol is not known.
    """
    if "::" in url:
        raise InputRefused(f"{url.split('::')[0]}::… is a chained URL, which is refused; name the object itself")
    protocol, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    if protocol in _LOCAL:
        path = os.path.abspath(os.path.expanduser(rest))
        return Location("file", path, path)
    if "@" in rest or "?" in rest:
        raise InputRefused(
            f"the {protocol}:// URL holds '@' or '?': credentials do not belong in a URL (anything secret in it "
            "must be replaced now); use the environment's identity"
        )
    protocol = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "azure": "az"}.get(protocol, protocol)
    if protocol not in ("s3", "gs", "az", "abfs", "memory"):
        raise InputRefused(f"{protocol}:// is not a store; use a local path, s3://, gs:// or az://")
    path = rest.strip("/")
    return Location(protocol, f"/{path}" if protocol == "memory" else path, f"{protocol}://{path}")


@lru_cache(maxsize=64)
def _filesystem(protocol: str, options: StorageOptions) -> Any:
    kwargs: dict[str, Any] = {}
    if protocol == "s3":
        client = {"region_name": options.region_name} if options.region_name else {}
        kwargs = {
            "client_kwargs": client,
            "config_kwargs": {
                "retries": {"total_max_attempts": 1},
                "max_pool_connections": 64,
                "connect_timeout": 10,
                "read_timeout": 60,
            },
            "max_concurrency": 1,  # above 1, cat_file asks for the size first: a request more for every object
        }
        if options.endpoint_url:
            kwargs["endpoint_url"] = options.endpoint_url
        if options.requester_pays:
            kwargs["requester_pays"] = True
    elif protocol == "gs" and options.project:
        kwargs["project"] = options.project
    elif protocol in ("az", "abfs") and options.account_name:
        kwargs["account_name"] = options.account_name
    if protocol != "memory":
        kwargs["use_listings_cache"] = False
    filesystem = fsspec.filesystem(protocol, **kwargs)
    if protocol == "s3":
        filesystem.retries = 1
    return filesystem


def _transient(error: BaseException) -> bool:
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)):
        return False
    if _precondition_failed(error):
        return False
    if isinstance(error, OSError):
        return error.errno not in _FINAL_ERRNOS
    name = f"{type(error).__module__}.{type(error).__name__}"
    return isinstance(error, (TimeoutError, EOFError)) or name.startswith(
        ("botocore.", "aiohttp.", "aiobotocore.", "azure.core.", "gcsfs.retry.", "fsspec.exceptions.")
    )


def _response_code(error: BaseException) -> str:
    """The store's own code of an error, looked up along its causes ('' if it has none)."""
    seen: BaseException | None = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        seen = seen.__cause__ or seen.__context__
    return ""


def _precondition_failed(error: BaseException) -> bool:
    return _response_code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict") or (
        "conditionNotMet" in str(error) or "ConditionNotMet" in str(error)
    )


def _call(work: Callable[[], Any]) -> Any:
    """Call a store, again after transient faults, until the deadline."""
    if os.environ.get("SEISMILL_NO_RETRY"):
        return work()
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_transient),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=15),
        stop=tenacity.stop_after_delay(DEADLINE_SECONDS),
        reraise=True,
    )
    return retrying(work)


class Store:
    """Objects under one prefix; keys are relative and use '/'."""

    def __init__(self, url: str, options: StorageOptions | None = None) -> None:
        """Open the prefix `url`; nothing is read or written yet."""
        self.location = locate(url)
        self.url = self.location.url
        self.options = options or StorageOptions()
        self.local = self.location.local
        self._root = self.location.path
        self._fs = None if self.local else _filesystem(self.location.protocol, self.options)

    def path(self, key: str) -> str:
        """The path of `key` on its file system."""
        return f"{self._root}/{key}" if key else self._root

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        path = self.path(key)
        if self.local:
            with open(path, "rb") as file:
                data = file.read()
        else:
            data = _call(lambda: self._fs.cat_file(path))
        _count(read=len(data))
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes of an object from `start` on; fewer are an error, never a result."""
        path = self.path(key)
        if self.local:
            with open(path, "rb") as file:
                data = os.pread(file.fileno(), length, start)
        else:
            data = _call(lambda: self._fs.cat_file(path, start=start, end=start + length))
        _count(read=len(data))
        if len(data) != length:
            raise OSError(errno.EIO, f"{self.url}/{key} gave {len(data)} bytes of {length} from byte {start}")
        return data

    def get_tail(self, key: str, length: int) -> bytes:
        """The last `length` bytes of an object, or all of a shorter one."""
        path = self.path(key)
        if self.local:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - length))
                data = file.read()
        else:
            data = _call(lambda: self._fs.cat_file(path, start=-length))
        _count(read=len(data))
        return data

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whether or not it exists; readers see the old one or the new one."""
        path = self.path(key)
        if self.local:
            _write_local(self._root, path, data, os.replace)
        else:
            _call(lambda: self._fs.pipe_file(path, data))
        _count(written=len(data))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object only if it is absent; True if this call wrote it.

        After a fault the answer to the first try may be lost: an object that is there with just these bytes
        counts as ours only for callers whose bytes are their own (a lock names its holder).
        """
        path = self.path(key)
        _count(written=len(data))
        if self.local:
            try:
                _write_local(self._root, path, data, os.link)
            except FileExistsError:
                return False
            return True
        tries = 0

        def work() -> bool:
            nonlocal tries
            tries += 1
            try:
                if self.location.protocol == "memory":
                    return _memory_create(self._fs, path, data)
                self._fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                return False
            except Exception as error:
                if _precondition_failed(error):
                    return False
                raise
            return True

        created = bool(_call(work))
        if not created and tries > 1:
            return self.get(key) == data
        return created

    def create_or_match(self, key: str, data: bytes) -> None:
        """Make `key` hold `data`: create it, and replace what is there only if it differs."""
        if not self.create(key, data) and self.get(key) != data:
            self.put(key, data)

    def exists(self, key: str) -> bool:
        """Whether the object is there; a refusal by the store is an error, not a no."""
        path = self.path(key)
        if self.local:
            _count()
            return os.path.isfile(path)
        _count()
        try:
            if self.location.protocol == "s3":  # s3fs would list what it does not find: a request more
                _call(lambda: sync(self._fs.loop, self._s3_head, path))
                return True
            return bool(_call(lambda: self._fs.info(path))["type"] == "file")
        except FileNotFoundError:
            return False

    async def _s3_head(self, path: str) -> None:
        bucket, key, _ = self._fs.split_path(path)
        await self._fs._call_s3("head_object", Bucket=bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects under `prefix`, sorted. Not for hot paths."""
        path = self.path(prefix.rstrip("/"))
        _count()
        if self.local:
            root = Path(self._root)
            return sorted(
                str(Path(folder, name).relative_to(root)) for folder, _, names in os.walk(path) for name in names
            )
        try:
            found = _call(lambda: self._fs.find(path, withdirs=False))
        except FileNotFoundError:
            return []
        start = len(self._root.rstrip("/")) + 1
        return sorted(name[start:] for name in found if name[start:])

    def children(self) -> list[str]:
        """Names directly under the prefix, objects and folders, sorted; one request however much lies below."""
        _count()
        try:
            if self.local:
                return sorted(os.listdir(self._root))
            found = _call(lambda: self._fs.ls(self._root, detail=False))
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise DestinationRefused(
                f"{self.url} is a file or below one; name a folder that does not exist yet"
            ) from None
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found)

    def files(self) -> dict[str, tuple[int, str]]:
        """Size and identity (as a `Source` has it) of each file directly under the prefix, by name; one request."""
        _count()
        if self.local:
            with os.scandir(self._root) as entries:
                found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
            return {name: (status.st_size, f"{status.st_size}-{status.st_mtime_ns}") for name, status in sorted(found)}
        try:
            listed = _call(lambda: self._fs.ls(self._root, detail=True))
        except FileNotFoundError:
            return {}
        below = f"{self._root.strip('/')}/"  # listing a file gives that file, which is not below itself
        infos = {info["name"].strip("/"): info for info in listed if info["type"] == "file"}
        return {
            name.removeprefix(below): (int(infos[name]["size"]), _identity(infos[name]))
            for name in sorted(infos)
            if name.startswith(below) and name != below
        }

    def delete(self, key: str) -> None:
        """Remove one object; one that is not there is removed already."""
        path = self.path(key)
        _count()
        try:
            if self.local:
                os.unlink(path)
            else:
                _call(lambda: self._fs.rm_file(path))
        except FileNotFoundError:
            pass

    def delete_all(self, prefix: str, keep: Callable[[str], bool] = lambda key: False) -> int:
        """Remove every object under `prefix` that `keep` does not name; return how many."""
        present = self.keys(prefix)
        keys = [key for key in present if not keep(key)]
        if self.local and keys:
            if len(keys) == len(present):
                shutil.rmtree(self.path(prefix))
            else:
                for key in keys:
                    self.delete(key)
            return len(keys)
        for start in range(0, len(keys), 1000):  # one request of S3 removes up to 1000
            batch = [self.path(key) for key in keys[start : start + 1000]]
            _count()
            _call(lambda batch=batch: self._fs.rm(batch))
        return len(keys)

    def remove_half_written(self) -> None:
        """Remove what killed writers were writing on a local disk; stores show nothing of that."""
        folder = self.path(TEMPORARY)
        if not self.local or not os.path.isdir(folder):
            return
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            if _abandoned(name, path):
                Path(path).unlink(missing_ok=True)

    def probe(self) -> None:
        """Show that the store refuses to create an object twice, which the run protocol stands on.

        Raises:
            DestinationRefused: It overwrites instead, or the prefix cannot be written.
        """
        if self.local:
            try:
                os.makedirs(self.path(TEMPORARY), exist_ok=True)
            except OSError as error:
                raise DestinationRefused(
                    f"{self.url} cannot be written ({error.strerror}); name another folder"
                ) from None
            return
        if self.location.protocol == "memory":
            return
        key = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
        try:
            first, second = self.create(key, b"1"), self.create(key, b"2")
            kept = self.get(key) == b"1"
        except PermissionError as error:
            raise DestinationRefused(f"{self.url} may not be written: {error}; check the identity's policy") from error
        self.delete(key)
        if not first or second or not kept:
            raise DestinationRefused(
                f"the store of {self.url} overwrites an object that was to be created only if absent, so two runs "
                "could mix; use a store with conditional writes"
            )

    def zarr(self) -> Any:
        """A read-only zarr-python store of this prefix."""
        from zarr.storage import FsspecStore, LocalStore

        if self.local:
            return LocalStore(self._root, read_only=True)
        if self.location.protocol == "memory":
            return FsspecStore.from_url(self.url, read_only=True)
        storage: dict[str, Any] = {}
        if self.location.protocol == "s3" and self.options.endpoint_url:
            storage["endpoint_url"] = self.options.endpoint_url
        return FsspecStore.from_url(self.url, storage_options=storage, read_only=True)


def _memory_create(filesystem: Any, path: str, data: bytes) -> bool:
    with _traffic_lock:  # fsspec's memory file system has no exclusive create that is atomic among threads
        if filesystem.exists(path):
            return False
        filesystem.pipe_file(path, data)
        return True


@lru_cache(maxsize=1)
def _writer(process: int) -> str:
    """The machine, number and start of this process, as they begin the names of files that it is writing."""
    return f"{zlib.crc32(machine().encode()):08x}-{process}-{started(process)}"


def _abandoned(name: str, path: str) -> bool:
    """Whether nobody can be writing this temporary file any more."""
    where, _, rest = name.partition("-")
    process, _, rest = rest.partition("-")
    if machine() and where == f"{zlib.crc32(machine().encode()):08x}" and process.isdigit():
        return started(int(process)) != rest.partition("-")[0]
    try:
        return time.time() - os.stat(path).st_mtime > FOREIGN_SECONDS
    except FileNotFoundError:
        return False


def _write_local(root: str, path: str, data: bytes, publish: Callable[[str, str], None]) -> None:
    """Write a file under a temporary name, then give it its name in one step (`os.replace` or `os.link`)."""
    temporary = f"{root}/{TEMPORARY}/{_writer(os.getpid())}-{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        descriptor = os.open(temporary, flags, 0o666)
    try:
        try:
            view = memoryview(data).cast("B")
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)
        try:
            publish(temporary, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            publish(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _identity(info: dict[str, Any]) -> str:
    """What tells a version of a remote file from another, of fsspec's `info` of it."""
    created = info.get("created") or ""  # fsspec's memory lists a number where it looks up a time
    created = created.timestamp() if isinstance(created, datetime) else created
    return str(info.get("ETag") or info.get("etag") or info.get("generation") or created)


class Source:
    """One file to read by ranges, as it was when it was opened.

    Every read is bound to the identity seen first (ETag, or size and modification time): a file that was
    replaced meanwhile is refused instead of mixed.
    """

    def __init__(
        self, url: str, options: StorageOptions | None = None, identity: str = "", *, size: int = -1
    ) -> None:
        """Open `url` and learn its size and identity.

        Args:
            url: A local path or URL of a single file.
            options: Non-secret options of the store.
            identity: What the plan says the file is; empty: whatever it is now.
            size: With the identity of a file that was listed: a remote one is not looked at again.

        Raises:
            InputRefused: There is no such file, it may not be read, or it is not what the plan says.
        """
        self.location = locate(url)
        self.url = self.name = self.location.url
        self._fs = None if self.location.local else _filesystem(self.location.protocol, options or StorageOptions())
        self._descriptor = -1
        if size >= 0 and identity and not self.location.local:
            self.size, self.identity = size, identity
            return
        try:
            self.size, self.identity = self._look()
        except FileNotFoundError:
            raise InputRefused(f"there is no file {self.url}; check the path") from None
        except PermissionError:
            raise InputRefused(f"{self.url} may not be read by this identity; check its policy") from None
        except IsADirectoryError:
            raise InputRefused(f"{self.url} is a folder; name one SEG-Y file") from None
        if identity and identity != self.identity:
            raise self._changed()

    def _changed(self) -> InputRefused:
        return InputRefused(f"the source {self.url} changed after the run began; start it again with overwrite")

    def _look(self) -> tuple[int, str]:
        _count()
        if self.location.local:
            if self._descriptor < 0:
                descriptor = os.open(self.location.path, os.O_RDONLY)
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    os.close(descriptor)
                    raise IsADirectoryError
                self._descriptor = descriptor
            status = os.stat(self.location.path)
            return status.st_size, f"{status.st_size}-{status.st_mtime_ns}"
        info = _call(lambda: self._fs.info(self.location.path))
        if info["type"] != "file":
            raise IsADirectoryError
        return int(info["size"]), _identity(info)

    def close(self) -> None:
        """Give the descriptor of a local file back; it is not read after this."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes from `start` on.

        Raises:
            InputRefused: The file changed since it was opened.
            OSError: The store gave fewer bytes.
        """
        if self.location.local:
            buffer = bytearray(length)
            self.read_into(start, memoryview(buffer))
            return bytes(buffer)
        try:
            data: bytes = _call(lambda: self._range(start, length))
        except Exception as error:
            if _precondition_failed(error):
                raise self._changed() from None
            raise
        _count(read=len(data))
        return data

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out` with the bytes from `start` on; errors as for `read`."""
        if not self.location.local:
            out[:] = self.read(start, len(out))
            return
        done = 0
        while done < len(out):
            got = os.preadv(self._descriptor, [out[done:]], start + done)
            if not got:
                break
            done += got
        # A local file has no conditional read: look after reading, so that what was read is what was seen.
        status = os.stat(self.location.path)
        if f"{status.st_size}-{status.st_mtime_ns}" != self.identity:
            raise self._changed()
        _count(read=done)
        if done != len(out):
            raise OSError(errno.EIO, f"{self.url} gave {done} bytes of {len(out)} from byte {start}")

    def _range(self, start: int, length: int) -> bytes:
        path = self.location.path
        if self.location.protocol != "s3":
            data = self._fs.cat_file(path, start=start, end=start + length)
        else:
            data = sync(self._fs.loop, self._s3_range, path, start, length)
        if len(data) != length:
            raise EOFError(f"{self.url} gave {len(data)} bytes of {length} from byte {start}")
        return data

    async def _s3_range(self, path: str, start: int, length: int) -> bytes:
        bucket, key, _ = self._fs.split_path(path)
        answer = await self._fs._call_s3(
            "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}", IfMatch=self.identity
        )
        async with answer["Body"] as body:
            return await body.read()

    def ranges(self, length: int) -> Iterator[tuple[int, int]]:
        """(start, length) of the ranges that read the file once from end to end."""
        for start in range(0, self.size, length):
            yield start, min(length, self.size - start)




def open_upload(location: Location, options: StorageOptions, part_bytes: int) -> Any:
    """A file object that uploads parts in order; `close` completes, `discard` aborts."""
    return _filesystem(location.protocol, options).open(location.path, "wb", block_size=part_bytes)

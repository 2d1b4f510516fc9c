"""Read the objects below one prefix, on a local disk, in memory or in a cloud.

It has no method that changes anything: `WritableStore` has those, and only the owner of a volume gets one. Everything
is synchronous and safe to call from many threads. `LocalObjects` and `CloudObjects` do the work.
"""

import errno
import os
from collections.abc import Iterator

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.backend import Objects
from tasks.volume.store.calls import OutOfReach as OutOfReach
from tasks.volume.store.calls import Traffic as Traffic
from tasks.volume.store.calls import traffic as traffic
from tasks.volume.store.cloud_objects import CloudObjects
from tasks.volume.store.local_objects import LocalObjects
from tasks.volume.store.source import Source as Source
from tasks.volume.store.upload import open_upload as open_upload
from tasks.volume.store.url import WEB
from tasks.volume.store.url import Location as Location
from tasks.volume.store.url import locate as locate


class Store:
    """Objects under one prefix, to be read; keys are relative and use '/'.

    Attributes:
        location: Location of the prefix.
        url: Location as text.
        options: Non-secret options of the store.
        local: Whether it is a folder of a local disk.
    """

    def __init__(self, url: str | Location, options: StorageOptions | None = None) -> None:
        """Open the prefix `url`, or one of exactly that path; nothing is read yet."""
        self.location = locate(url) if isinstance(url, str) else url
        self.url = self.location.url
        if self.location.protocol in WEB:
            raise InputRefused(
                f"{self.url} is on a web server, from which only single SEG-Y files are read; name a store"
            )
        self.options = options or StorageOptions()
        self.local = self.location.local
        self._root = self.location.path
        self._objects: Objects = (
            LocalObjects(self.location) if self.local else CloudObjects(self.location, self.options)
        )

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
        """Return the folders above this prefix, the nearest first; in a cloud, up to the bucket."""
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
        return self._objects.get(self.path(key))

    def get_seen(self, key: str) -> tuple[bytes, str]:
        """Return the whole object and its identity, which is not newer than the content.

        Raises:
            FileNotFoundError: There is no such object.
        """
        return self._objects.get_seen(self.path(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes of an object from byte `start`; raise OSError if there are fewer."""
        data = self._objects.get_range(self.path(key), start, length)
        if len(data) != length:
            raise OSError(errno.EIO, f"{self.url}/{key} gave {len(data)} bytes of {length} from byte {start}")
        return data

    def get_tail(self, key: str, length: int) -> bytes:
        """Return the last `length` bytes of an object, or all of a shorter one."""
        return self._objects.get_tail(self.path(key), length)

    def identity(self, key: str) -> str:
        """Return the identity of an object's content (ETag, generation …); empty if there is no object."""
        return self._objects.identity(self.path(key))

    def exists(self, key: str) -> bool:
        """Return whether the object exists; a refusal by the store is an error."""
        return self._objects.exists(self.path(key))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under `prefix`, sorted; slow for many objects."""
        return sorted(self.each_key(prefix))

    def each_key(self, prefix: str) -> Iterator[str]:
        """Yield the keys of all objects under `prefix`, in no order."""
        return self._objects.keys(self.path(prefix.rstrip("/")))

    def children(self) -> list[str]:
        """Return the names directly under the prefix, objects and folders, sorted, with one request."""
        return sorted(self._objects.children())

    def files(self, below: str = "") -> dict[str, tuple[int, str]]:
        """Return size and identity (as of a `Source`) of each file directly under the prefix, with one request.

        Args:
            below: First part of the keys, including its final "/"; returned names do not have it.
        """
        folder = self.path(below).removesuffix("/") if below else self._root
        return {name: (size, identity) for name, size, identity in sorted(self._objects.files(folder))}

    def listing(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Yield key, size and identity (as of a `Source`) of every object under `prefix`, in no order."""
        return self._objects.listing(self.path(prefix.rstrip("/")))

    def has_bucket(self) -> bool:
        """Return whether the bucket or container exists; True for a local folder, which needs none."""
        return self._objects.has_bucket()

    @property
    def is_file(self) -> bool:
        """Return whether a local prefix is a file."""
        return self.local and os.path.exists(self._root) and not os.path.isdir(self._root)

"""Files of web servers, read by ranges over https://; nothing is written there.

A file is identified by its ETag, or its time of last modification. Each redirect is checked before it is followed,
because it may lead to another scheme, outside of what a triggered run may touch, or into a private network.
"""

import ipaddress
import socket
from typing import Any
from urllib.parse import quote

import aiohttp.abc
import fsspec
import yarl

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.clouds import Entry, Found, Part, Span, checked, total_of
from tasks.volume.store.clouds.faults import (
    Changed,
    Misconfigured,
    NoRanges,
    Rejected,
    Transient,
    fault,
    may_pass,
)
from tasks.volume.store.clouds.settings import lasting
from tasks.volume.store.url import stored_address

MOST_REDIRECTS = 5
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
_REDIRECTS = (301, 302, 303, 307, 308)


class Web:
    """The calls of `Cloud` that read."""

    batch = 1

    def __init__(self, protocol: str, options: StorageOptions) -> None:
        self._protocol, self._plain_http = protocol, options.accept_plain_http
        self._clients = {
            anywhere: fsspec.filesystem(
                "http", get_client=_get_client, client_kwargs={"anywhere": anywhere}, skip_instance_cache=True
            )
            for anywhere in (True, False)
        }

    async def _open(self, path: str, span: Span, what: str) -> aiohttp.ClientResponse:
        """Send a request, and others where it leads to; return the last answer, whose body is not read yet."""
        start = url = yarl.URL(f"{self._protocol}://{_encoded(path)}", encoded=True)
        self._refuse_plain(url, what)
        headers = {"Range": span.header, "Accept-Encoding": "identity"}
        for _ in range(MOST_REDIRECTS + 1):
            same_host = url.origin() == start.origin()
            _refuse_private(url.host or "", anywhere=same_host, what=what)
            try:
                session = await self._clients[same_host].set_session()
                answer: aiohttp.ClientResponse = await session.get(
                    url, headers=headers, timeout=_TIMEOUT, allow_redirects=False
                )
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise _fault(what, error) from error
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            url = self._next(url, answer.headers.get("Location", ""), what)
        raise Rejected(f"{what}: it was redirected more than {MOST_REDIRECTS} times")

    def _next(self, url: yarl.URL, location: str, what: str) -> yarl.URL:
        """Return where a redirect leads.

        Raises:
            Rejected: A request may not go there.
        """
        try:
            following = url.join(yarl.URL(location))
            port = "" if following.is_default_port() else f":{following.port}"
        except ValueError:
            raise Rejected(f"{what}: it is redirected to what is no address") from None
        if following.scheme not in ("http", "https") or (url.scheme, following.scheme) == ("https", "http"):
            raise Rejected(f"{what}: it is redirected to {following.scheme}://, which is not followed")
        if following.user or following.password:
            raise Rejected(f"{what}: it is redirected to an address with credentials, which is not followed")
        self._refuse_plain(following, what)
        try:
            # Without its query, which may be a signature.
            path = following.raw_path.replace("@", "%40")
            stored_address(f"{following.scheme}://{following.host}{port}{path}")
        except InputRefused as error:
            raise Rejected(f"{what}: it is redirected, and {error}") from None
        return following

    def _refuse_plain(self, url: yarl.URL, what: str) -> None:
        if url.scheme == "http" and not self._plain_http and not _is_loopback(url.host or ""):
            raise Misconfigured(
                f"{what}: http:// can be read and changed by anybody on the way; use https://, or --accept-plain-http"
            )

    async def head(self, path: str) -> Found:
        """See `Cloud`; a range of one byte, because not every server answers HEAD, and ranges are needed."""
        what = f"look up {self._protocol}://{path}"
        answer = await self._open(path, Span(0, 1), what)
        try:
            ranged = answer.headers.get("Content-Range", "")
            if answer.status == 416 and ranged.endswith("*/0"):
                return Found(0, _identity(answer, what))
            _refuse_status(answer, what)
            if answer.status == 206 and (total := total_of(ranged)) is not None:
                return Found(total, _identity(answer, what))
            length = answer.headers.get("Content-Length", "")
            raise NoRanges(
                f"{what}: its server gives no ranges",
                Found(int(length) if length.isdigit() else -1, _identity(answer, what)),
            )
        finally:
            answer.close()

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`; every range is of the file that `head` found."""
        what = f"get {self._protocol}://{path}"
        if span is None:
            stored = await self.head(path)
            span, identity = Span(0, stored.size), identity or stored.identity
        answer = await self._open(path, span, what)
        try:
            if answer.status == 416:
                return b""
            _refuse_status(answer, what)
            if identity and _identity(answer, what) != identity:
                raise Changed(f"{what}: it is another file now")
            if answer.status != 206:
                raise NoRanges(f"{what}: its server gives no ranges", Found(-1, identity))
            data = await answer.read()
        except aiohttp.ClientError as error:
            raise _fault(what, error) from error
        finally:
            answer.close()
        total = total_of(answer.headers.get("Content-Range", ""))
        return checked(data, what, span=span, total=total, crc32c="")

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        stored = await self.head(path)
        return await self.get(path, Span(0, stored.size), stored.identity), stored.identity

    async def whole(self, path: str, identity: str, most: int, write: Any) -> None:
        """Pass all bytes of a file, piece by piece, to `write`; more than `most` bytes are an error of the server.

        Raises:
            Rejected: The server sends more or fewer bytes.
        """
        what = f"get {self._protocol}://{path}"
        answer = await self._open(path, Span(0, most), what)
        done = 0
        try:
            _refuse_status(answer, what)
            if _identity(answer, what) != identity:
                raise Changed(f"{what}: it is another file now")
            async for piece in answer.content.iter_chunked(1 << 20):
                done += len(piece)
                if done > most:
                    raise Rejected(f"{what}: more than the {most:,} bytes came that its server states")
                write(piece)
        except aiohttp.ClientError as error:
            raise _fault(what, error) from error
        finally:
            answer.close()
        if done != most:
            raise Transient(f"{what}: {done} of {most} bytes arrived")

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """See `Cloud`; web servers have no listing, so no name is a folder."""
        return [], ""

    async def renew(self) -> None:
        """See `Cloud`; there are no credentials."""

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """See `Cloud`; refused."""
        raise Rejected(f"put {self._protocol}://{path}: web servers are only read")

    async def delete(self, paths: list[str]) -> None:
        """See `Cloud`; refused."""
        raise Rejected(f"delete {self._protocol}://{paths[0]}: web servers are only read")

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`; refused."""
        raise Rejected(f"upload to {self._protocol}://{path}: web servers are only read")

    async def part(self, path: str, upload: str, part: Part) -> str:
        """See `Cloud`; refused."""
        raise Rejected(f"upload to {self._protocol}://{path}: web servers are only read")

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """See `Cloud`; refused."""
        raise Rejected(f"upload to {self._protocol}://{path}: web servers are only read")

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`; there is none."""


class _Resolver(aiohttp.abc.AbstractResolver):
    """Resolve names to addresses, and refuse private ones; here, so that no second answer can differ."""

    def __init__(self, *, anywhere: bool) -> None:
        self._names, self._anywhere = aiohttp.ThreadedResolver(), anywhere

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        addresses = await self._names.resolve(host, port, family)
        for entry in addresses:
            _refuse_private(entry["host"], anywhere=self._anywhere, what=host)
        return addresses

    async def close(self) -> None:
        await self._names.close()


async def _get_client(*, anywhere: bool, **_: Any) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=_Resolver(anywhere=anywhere), limit=64),
        trust_env=True,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def _encoded(path: str) -> str:
    """Return a path as it is sent: as it was given, but for what no address may hold."""
    return quote(path, safe="/%:[]!$&'()*+,;=~-._")


def _refuse_private(host: str, *, anywhere: bool, what: str) -> None:
    """Refuse an address that no request may go to.

    Args:
        host: A name passes here; its addresses come later.
        anywhere: Whether the file was named there, and not only redirected to: then a private network is no surprise.
        what: The request, for messages.

    Raises:
        Rejected: No request may go to the address.
    """
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    never = address.is_link_local or address.is_multicast or address.is_unspecified  # a cloud's metadata
    if never or not (anywhere or address.is_global):
        raise Rejected(
            f"{what}: it leads to the private address {address}, which is not followed; name the file where it is"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _identity(answer: aiohttp.ClientResponse, what: str) -> str:
    """Return what the file is, as its server says.

    Raises:
        Rejected: The server sends nothing by which a change of the file would be seen.
    """
    identity = answer.headers.get("ETag") or answer.headers.get("Last-Modified", "")
    if not identity:
        text = f"{what}: its server states neither ETag nor Last-Modified, so a change would not be seen"
        raise Rejected(text)
    return identity


def _refuse_status(answer: aiohttp.ClientResponse, what: str) -> None:
    if answer.status == 401:
        raise PermissionError(f"{what}: 401")
    if answer.status == 410:
        raise FileNotFoundError(f"{what}: 410")
    if answer.status >= 300 or answer.status < 200:
        raise fault(answer.status, "", what)


def _fault(what: str, error: Exception) -> OSError:
    """Return the fault for an error without an answer."""
    for cause in (error, error.__cause__, error.__context__):
        if isinstance(cause, (Rejected, Misconfigured)):
            return cause
    if lasts := lasting(what, error, address="the address of the source"):
        return lasts
    if isinstance(error, aiohttp.ClientError) or (isinstance(error, OSError) and may_pass(error)):
        return Transient(f"{what}: {type(error).__name__}: {error}")
    return Rejected(f"{what}: {error}")

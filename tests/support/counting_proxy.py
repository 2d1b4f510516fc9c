"""A proxy on loopback that counts what goes through it: an account of requests and bytes besides the program's own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Account:
    """What went through: (method, path, bytes of the answer's body) of each request, in order."""

    endpoint: str = ""
    requests: list[tuple[str, str, int]] = field(default_factory=list)

    def of(self, method: str, part: str) -> tuple[int, int]:
        """How many requests of a method had a path with this part, and the bytes of their answers."""
        bodies = [size for verb, path, size in self.requests if verb == method and part in path]
        return len(bodies), sum(bodies)


@contextmanager
def counting_proxy(upstream: str) -> Iterator[Account]:
    """While open, requests to `Account.endpoint` go to `upstream` and are counted."""
    account, loop = Account(), asyncio.new_event_loop()
    ready = threading.Event()
    host, port = urlsplit(upstream).hostname or "", urlsplit(upstream).port or 80
    ended = asyncio.Event()

    async def serve() -> None:
        async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await _between(reader, writer, host, port, account)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # one side closed the connection
            finally:
                writer.close()

        server = await asyncio.start_server(each, "127.0.0.1", 0, limit=1 << 20)
        account.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await ended.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait(10)
    try:
        yield account
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


async def _between(
    client: asyncio.StreamReader, answers: asyncio.StreamWriter, host: str, port: int, account: Account
) -> None:
    """Carry the requests of one connection over one to the server."""
    server, requests = await asyncio.open_connection(host, port, limit=1 << 20)
    try:
        while True:
            head = await client.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
            if b"100-continue" in head.lower():
                # Answered here: the server's two answers to one request would be one too many to count.
                answers.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = b"\r\n".join(
                    line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")
                )
            requests.write(head + await _body(client, head))
            await requests.drain()
            answer = await server.readuntil(b"\r\n\r\n")
            status = int(answer.split(b" ", 2)[1])
            empty = method == "HEAD" or status in (204, 304)
            body = b"" if empty else await _body(server, answer, to_end=True)
            account.requests.append((method, path, len(body)))
            answers.write(answer + body)
            await answers.drain()
            if b"connection: close" in answer.lower():
                return
    finally:
        requests.close()


async def _body(reader: asyncio.StreamReader, head: bytes, *, to_end: bool = False) -> bytes:
    """The body that follows a head, as it is on the line."""
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while True:
            size = await reader.readline()
            body += size + await reader.readexactly(int(size.split(b";")[0], 16) + 2)
            if int(size.split(b";")[0], 16) == 0:
                return body
    if b"content-length" in fields:
        return await reader.readexactly(int(fields[b"content-length"]))
    return await reader.read() if to_end else b""

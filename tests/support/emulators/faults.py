"""A proxy on loopback that does to requests what networks and stores do now and then.

It runs on a thread of the test and is told what to do by `rules`; each request takes the first rule that it meets.
"""

import asyncio
import random
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

ANSWERS = {
    "503": (503, "SlowDown"),
    "429": (429, "TooManyRequests"),
    "500": (500, "InternalError"),
    "403": (403, "AccessDenied"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "expired": (400, "ExpiredToken"),
    "unknown-key": (403, "InvalidAccessKeyId"),
    "401": (401, "Unauthorized"),
    "412": (412, "PreconditionFailed"),
}
# Connection reset before or amid the answer, its end amid it, a body shorter than it should be, none for a while, a
# wrong bit in it, and a request that is carried out but not answered.
KINDS = (*ANSWERS, "reset_before", "reset_mid", "end_mid", "short", "stall", "flip", "lost_ack")
ENDLESS = 1 << 30


@dataclass
class Rule:
    """What to do to some requests.

    Attributes:
        kind: One of `KINDS`, or "unconditional": what is to be created only if absent is written anyway.
        method: Of the requests, one or several as in "PUT|POST"; all if empty.
        match: A regular expression found in their path and query.
        times: How many are left.
        after: How many are let through first.
        share: Of the requests that meet the rule, drawn by chance.
        seconds: How long a stall takes.
        until: What a stall waits for instead.
    """

    kind: str
    method: str = ""
    match: str = ""
    times: int = ENDLESS
    after: int = 0
    share: float = 1.0
    seconds: float = 3600.0
    until: threading.Event | None = None


@dataclass
class FaultProxy:
    """Open while used in a `with`; `url` is where it listens.

    Attributes:
        upstream: The server that gets the requests.
        rules: May be changed at any time.
        requests: How many came since it was last set to 0.
        fired: How many of them met a rule.
        last: Head and body of the last one.
    """

    upstream: str
    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    requests: int = 0
    fired: int = 0
    last: tuple[bytes, bytes] = (b"", b"")

    def __enter__(self) -> "FaultProxy":
        self._chance = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def do(self, *rules: Rule) -> None:
        """Have these rules only, and count anew."""
        self.rules[:] = rules
        self.requests = self.fired = 0

    def _rule(self, method: str, path: str) -> Rule | None:
        for rule in self.rules:
            asked = not rule.method or method in rule.method.split("|")
            met = asked and rule.times > 0 and re.search(rule.match, path)
            if met and rule.after:
                rule.after -= 1
            elif met and self._chance.random() < rule.share:
                rule.times -= 1
                self.fired += 1
                return rule
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, body = await _request(reader, writer)
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                self.requests += 1
                self.last = (head, body)
                rule = self._rule(method, path)
                if not await self._answer(head, body, method, rule, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, head: bytes, body: bytes, method: str, rule: Rule | None, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; False if the connection ends with it."""
        kind = rule.kind if rule else ""
        if kind in ANSWERS:
            status, code = ANSWERS[kind]
            text = (
                b""
                if method == "HEAD"
                else f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
            )
            # Whose clock is right, if the other is wrong by an hour.
            date = f"Date: {formatdate(time.time() + 3600 * (kind == 'skewed'), usegmt=True)}\r\n"
            line = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\n{date}Content-Length: {len(text)}\r\n\r\n"
            writer.write(line.encode() + text)
            await writer.drain()
            return True
        if kind == "reset_before":
            return _reset(writer)
        if kind == "stall":
            assert rule
            if rule.until:
                await asyncio.to_thread(rule.until.wait, rule.seconds)
            else:
                await asyncio.sleep(rule.seconds)
        if kind == "unconditional":  # a store that does not know of conditions
            head = re.sub(rb"(?i)\r\nif-none-match:[^\r]*", b"", head)
        top, content = await self._forward(head, body, method)
        if kind == "lost_ack":
            return _reset(writer)
        if kind in ("reset_mid", "end_mid"):
            answer = top + content
            writer.write(answer[: len(top) + len(content) // 2 if content else len(top) // 2])
            await writer.drain()
            return _reset(writer) if kind == "reset_mid" else False
        if kind == "short" and content:
            content = content[: len(content) // 2]
            top = re.sub(rb"(?i)\r\ncontent-length:[^\r]*", b"\r\nContent-Length: %d" % len(content), top)
        if kind == "flip" and content:
            place = len(content) // 2
            content = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        writer.write(top + content)
        await writer.drain()
        return True

    async def _forward(self, head: bytes, body: bytes, method: str) -> tuple[bytes, bytes]:
        address = urlsplit(self.upstream)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=1 << 20)
        try:
            head = re.sub(rb"(?i)\r\n(connection|expect):[^\r]*", b"", head)
            writer.write(head[:-4] + b"\r\nConnection: close\r\n\r\n" + body)
            await writer.drain()
            top = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", top)
            if method == "HEAD" or top[9:12] in (b"204", b"304"):
                content = b""
            elif length:
                content = await reader.readexactly(int(length[1]))
            else:
                content = await _chunked(reader) if b"chunked" in top.lower() else await reader.read(-1)
                top = top[:-4] + b"\r\nContent-Length: %d\r\n\r\n" % len(content)
            return re.sub(rb"(?i)\r\n(connection|transfer-encoding):[^\r]*", b"", top), content
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"100-continue" in head.lower():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
    return head, await reader.readexactly(int(length[1])) if length else b""


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(pieces)


def _reset(writer: asyncio.StreamWriter) -> bool:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False

"""S3 on loopback: moto, whose conditional writes are made as atomic as the real ones are.

moto looks whether an object is there and puts it afterwards, on a thread for each request: of two that create the same
object, both may be told that they did. Here such requests are carried out one at a time, once their bodies have come.
moto also copies an object, or reads it from a file, for each range that is asked of it. Here its bytes are kept.

Run as `python tests/support/emulators/s3.py PORT [KEY [HOST]]`. With an access key, the server knows no other one, and
what is asked without a key is given to read only, as of a public bucket.
"""

import io
import os
import sys
from collections.abc import Iterable
from threading import Lock
from typing import Any

CONDITIONS = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")
_one_at_a_time = Lock()


class Atomic:
    """A WSGI application in which writes that depend on what is there take turns."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        reads = environ["REQUEST_METHOD"] in ("GET", "HEAD")
        if reads or not any(name in environ for name in CONDITIONS):
            return self._application(environ, start_response)  # type: ignore[no-any-return]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with _one_at_a_time:
            return self._application(environ, start_response)  # type: ignore[no-any-return]


class OneKey:
    """A WSGI application that knows one access key; without any, its buckets are public to read."""

    def __init__(self, application: Any, key: str) -> None:
        self._application, self._key = application, key

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, or refuse it as S3 does."""
        signed = environ.get("HTTP_AUTHORIZATION", "")
        known = f"Credential={self._key}/" in signed
        if known or (not signed and environ["REQUEST_METHOD"] in ("GET", "HEAD")):
            return self._application(environ, start_response)  # type: ignore[no-any-return]
        code = "InvalidAccessKeyId" if signed else "AccessDenied"
        start_response("403 Forbidden", [("Content-Type", "application/xml")])
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode()]


def keep_bytes() -> None:
    """Have an object hold its bytes as they came, of which a range is cut."""
    from moto.s3.models import FakeKey

    def keep(self: Any, content: bytes) -> None:
        self._value_buffer = io.BytesIO(content)  # whose whole content is read without a copy
        self.contentsize = len(content)

    FakeKey.value = FakeKey.value.setter(keep)


def main(port: int, key: str = "", host: str = "127.0.0.1") -> None:
    """Serve until the process is ended."""
    os.environ.setdefault("MOTO_PORT", str(port))  # before moto reads it
    keep_bytes()
    from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    application: Any = Atomic(DomainDispatcherApplication(create_backend_app))
    if key:
        application = OneKey(application, key)
    run_simple(host, port, application, threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])

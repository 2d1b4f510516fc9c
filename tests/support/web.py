"""A web server on loopback whose every answer a test can choose."""

import ipaddress
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Site:
    """What a server has and how it answers.

    Attributes:
        url: Its address.
        files: Bytes by path.
        redirects: Where a path leads to.
        etag: With an ETag; else with Last-Modified, if `dated`.
        dated: With the time of last modification.
        ranges: Whether it gives ranges.
        sized: Whether it states the size of a whole file.
        requests: Ranges that were requested, by path.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    etag: bool = True
    dated: bool = True
    ranges: bool = True
    sized: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)


def make_certificate(file: Path) -> Path:
    """Write a certificate of 127.0.0.1, signed by itself, and its key; return the file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now, address = datetime.now(UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = certificate.not_valid_before(now - timedelta(days=1)).not_valid_after(
        now + timedelta(days=1)
    )
    certificate = certificate.add_extension(x509.SubjectAlternativeName([address]), critical=True)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.sign(key, hashes.SHA256()).public_bytes(pem))
    return file


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Site]:
    """While open, a server on loopback answers as the site says; by https:// if it has a certificate."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append((self.path, self.headers.get("Range", "")))
            if self.path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = site.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            body, status = data, 200
            if site.ranges and span:
                body, status = data[int(span[1]) : int(span[2]) + 1], 206
            self.send_response(status)
            if status == 206:
                self.send_header(
                    "Content-Range", f"bytes {span[1]}-{int(span[1]) + len(body) - 1}/{len(data)}"
                )
            if site.etag:
                self.send_header("ETag", f'"{hash(data):x}"')
            if site.dated:
                self.send_header("Last-Modified", "Mon, 01 Jun 2026 00:00:00 GMT")
            if site.sized or status == 206:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # a reader that wants no whole file hangs up
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

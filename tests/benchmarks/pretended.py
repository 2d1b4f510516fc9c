"""A SEG-Y of any size that nobody stores: a server on loopback makes each range when it is requested.

    python -m tests.benchmarks.pretended 8000,5000 1501

prints its address and serves a survey of inlines and crosslines, or of inlines, crosslines and offsets, until it is
ended.
"""

import math
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import PIPE, Popen

import numpy as np

from tests.support.segy_maker import put, segy_bytes

HEAD_BYTES, TRACE_HEADER_BYTES = 3600, 240
INDEX_BYTES = (189, 193, 37)  # of inline, crossline and offset
PATTERN_SAMPLES = 1 << 20


class PretendedSurvey:
    """A full grid in the order of its index, IEEE samples that repeat after some hundred traces.

    Attributes:
        size: Bytes of the file.
    """

    def __init__(self, counts: Sequence[int], n_samples: int) -> None:
        """Describe a survey of so many lines per dimension."""
        self._counts, self._n_samples = tuple(counts), n_samples
        self._trace_bytes = TRACE_HEADER_BYTES + 4 * n_samples
        self._head = segy_bytes(shape=(1, 1), n_samples=n_samples, code=5)[:HEAD_BYTES]
        ramp = np.arange(PATTERN_SAMPLES)
        noise = np.random.default_rng(0).normal(0, 50, PATTERN_SAMPLES)
        self._pattern = (1000 * np.sin(ramp / 4) + noise).astype(">f4")
        self.size = HEAD_BYTES + math.prod(self._counts) * self._trace_bytes

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the file."""
        stop = min(start + length, self.size)
        head = self._head[start:stop]
        if stop <= HEAD_BYTES:
            return head
        first = max(0, start - HEAD_BYTES) // self._trace_bytes
        last = -(-(stop - HEAD_BYTES) // self._trace_bytes)
        records = self._traces(first, last).reshape(-1)
        offset = HEAD_BYTES + first * self._trace_bytes
        return head + records[max(start, HEAD_BYTES) - offset : stop - offset].tobytes()

    def _traces(self, first: int, last: int) -> np.ndarray:
        numbers = np.arange(first, last)
        places = np.unravel_index(numbers, self._counts)
        records = np.zeros((last - first, self._trace_bytes), np.uint8)
        fields = {
            (1, "i4"): 1 + numbers % (1 << 30),
            (29, "i2"): 1,
            (71, "i2"): -10,
            (115, "u2"): self._n_samples,
            (117, "u2"): 4000,
            (181, "i4"): 4_000_000 + 250 * places[0],
            (185, "i4"): 61_000_000 + 125 * places[1],
        } | {(byte, "i4"): 100 + place for byte, place in zip(INDEX_BYTES, places, strict=False)}
        for (byte, kind), value in fields.items():
            put(records, byte, kind, value, ">")
        starts = numbers * self._n_samples % (PATTERN_SAMPLES - self._n_samples)
        for record, begin in zip(records, starts.tolist(), strict=True):
            record[TRACE_HEADER_BYTES:] = self._pattern[begin : begin + self._n_samples].view(np.uint8)
        return records


@contextmanager
def pretended(counts: Sequence[int], n_samples: int) -> Iterator[str]:
    """Serve such a survey from a process of its own; yield its address."""
    words = [sys.executable, "-m", "tests.benchmarks.pretended", ",".join(map(str, counts)), str(n_samples)]
    with Popen(words, stdout=PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def main() -> None:
    """Serve until ended."""
    survey = PretendedSurvey([int(n) for n in sys.argv[1].split(",")], int(sys.argv[2]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if span is None:
                self.send_error(416)
                return
            start = int(span[1])
            body = survey.read(start, int(span[2]) + 1 - start)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{survey.size}")
            self.send_header("ETag", '"pretended"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/survey.sgy", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

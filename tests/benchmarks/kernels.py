"""Print the speed of each compiled kernel on one core, and of decoding on several threads.

Run as ``python tests/benchmarks/kernels.py`` from the root of the clone. Figures are medians of CPU time, so that
other work on the machine shows little; the last lines are wall time. Bytes are those of the samples read
(for headers, of the headers).
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zfpy

sys.path.insert(0, str(Path(__file__).parents[2]))

from tasks.volume import kernels
from tasks.volume.ingest.combined_crc import combine_all
from tasks.volume.kernels.zfp import HEADER_BITS

REPEATS = 15
SAMPLES = 1501
RECORD = 60 + SAMPLES  # words


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.thread_time) -> float:
    """Median time of `work`, which runs once before to compile."""
    work()
    times = []
    for _ in range(REPEATS):
        start = clock()
        work()
        times.append(clock() - start)
    return float(np.median(times))


def show(name: str, n_bytes: int, work: Callable[[], object]) -> None:
    """Print one line of the table."""
    taken = seconds(work)
    print(f"{name:66} {n_bytes / taken / 1e9:7.2f} GB/s {taken * 1e3:9.3f} ms")


class Column:
    """A column of chunks, its file words, and what decoding them fills."""

    def __init__(self, n_traces: int, chunk_samples: int, ibm: bool) -> None:
        rng = np.random.default_rng(n_traces)
        self.ibm, self.n_bytes = ibm, n_traces * SAMPLES * 4
        self.starts = np.arange(n_traces) * RECORD + 60
        self.words = np.zeros(n_traces * RECORD, np.uint32)
        self.out = np.empty((-(-SAMPLES // chunk_samples), n_traces, chunk_samples), np.float32)
        self.out[:] = rng.normal(0, 1000, self.out.shape)
        self.exceptions = np.empty((16, 3), np.int64)
        self.encode()

    def encode(self) -> None:
        """Chunks to words."""
        kernels.encode_traces(self.out, self.words, self.starts, SAMPLES, self.ibm, True)

    def decode(self) -> None:
        """Words to chunks."""
        stats = kernels.new_stats()
        kernels.decode_traces(
            self.words, self.starts, SAMPLES, self.ibm, True, np.nan, self.out, stats, self.exceptions
        )


def traces() -> None:
    """Samples of files: in cache and from memory."""
    for ibm in (True, False):
        for n_traces, place in ((256, "in cache"), (4096, "from memory")):
            column = Column(n_traces, 64, ibm)
            kind = f"{'IBM' if ibm else 'IEEE'}, {n_traces} traces to 64-sample chunks, {place}"
            show(f"decode_traces {kind}", column.n_bytes, column.decode)
            show(f"encode_traces {kind}", column.n_bytes, column.encode)


def plain() -> None:
    """Integers and float64 of files with odd record lengths, in cache."""
    rng = np.random.default_rng(3)
    for dtype, width in (("int8", 1), ("int16", 2), ("int32", 3), ("int32", 4), ("int64", 8), ("float64", 8)):
        starts = np.arange(256) * (240 + width * SAMPLES) + 240
        data = rng.integers(0, 128, int(starts[-1]) + width * SAMPLES, np.uint8)
        out, stats = np.empty((24, 256, 64), dtype), kernels.new_stats()
        n_bytes, kind = 256 * SAMPLES * width, f"{dtype} of {width} bytes, 256 traces to 64-sample chunks"
        arguments = (starts, SAMPLES, width, True)
        show(
            f"decode_plain {kind}",
            n_bytes,
            lambda data=data, a=arguments, out=out, stats=stats: kernels.decode_plain(data, *a, out, stats),
        )
        show(
            f"encode_plain {kind}",
            n_bytes,
            lambda data=data, a=arguments, out=out: kernels.encode_plain(out, data, *a),
        )


def means() -> None:
    """Levels of 256^3 by 2 along each axis."""
    rng = np.random.default_rng(1)
    floats, live = rng.standard_normal((256, 256, 256)).astype(np.float32), np.ones((256, 256), bool)
    coarse = np.empty((128, 128, 128), np.float32)
    show("mean_floats float32", floats.nbytes, lambda: kernels.mean_floats(floats, (2, 2, 2), coarse))
    holes = floats.copy()
    dead = rng.random((256, 256)) < 0.1
    holes[dead] = np.nan
    show(
        "mean_floats float32, 10 % not live",
        floats.nbytes,
        lambda: kernels.mean_floats(holes, (2, 2, 2), coarse),
    )
    for dtype in ("uint8", "uint16", "int32", "int64"):
        whole = rng.integers(0, 100, floats.shape).astype(dtype)
        means = np.empty(coarse.shape, dtype)
        for kind, mask in (("", live), (", 10 % not live", ~dead)):
            show(
                f"mean_integers {dtype}{kind}",
                whole.nbytes,
                lambda whole=whole, mask=mask, means=means: kernels.mean_integers(
                    whole, mask, (2, 2, 2), means
                ),
            )


def copies() -> None:
    """Chunks cut from a region of 256^3."""
    rng = np.random.default_rng(2)
    region = rng.standard_normal((256, 256, 256)).astype(np.float32)
    for shape in ((64, 64, 64), (4, 256, 256), (256, 4, 256), (256, 256, 4)):
        part = region[tuple(slice(n) for n in shape)]
        chunk, sums = part + np.float32(0.01), np.zeros(4)
        out, live = np.empty(shape, np.float32), rng.random(shape[:2]) < 0.9
        show(
            f"finite_or_zero {shape}",
            part.nbytes,
            lambda part=part, out=out: kernels.finite_or_zero(part, out),
        )
        show(
            f"finite_or_zero {shape}, with a mask",
            part.nbytes,
            lambda part=part, out=out, live=live: kernels.finite_or_zero(part, out, live),
        )
        show(
            f"error_sums {shape}, with a mask",
            part.nbytes,
            lambda part=part, chunk=chunk, live=live, sums=sums: kernels.error_sums(part, chunk, live, sums),
        )


def zfp() -> None:
    """Streams of a smooth volume and their errors, beside libzfp with its errors summed afterwards."""
    rng = np.random.default_rng(4)
    volume = rng.standard_normal((256, 256, 512)).astype(np.float32)
    for axis in range(3):
        for lag in (1, 2):  # as band-limited as seismic samples are
            volume += np.roll(volume, lag, axis)
    deviation = float(volume.std())
    for shape in ((4, 256, 512), (256, 4, 512), (256, 256, 4)):
        chunk = np.ascontiguousarray(volume[tuple(slice(n) for n in shape)])
        live, sums = np.ones(shape[:2], bool), np.zeros(4)
        for deviations in (3.0, 0.1):
            tolerance = deviations * deviation

            def theirs(chunk: np.ndarray = chunk, tolerance: float = tolerance) -> bytes:
                return bytes(zfpy.compress_numpy(chunk, tolerance=tolerance, write_header=True))

            stream = theirs()
            header = stream[: HEADER_BITS // 8]
            kind = f"{shape} at {deviations:g} deviations, ratio {chunk.nbytes / len(stream):.1f}"
            show(f"libzfp encodes {kind}", chunk.nbytes, theirs)
            show(
                f"encode_zfp {kind}",
                chunk.nbytes,
                lambda c=chunk, t=tolerance, h=header: kernels.encode_zfp(c, t, h),
            )
            show(
                f"libzfp decodes, and error_sums {kind}",
                chunk.nbytes,
                lambda c=chunk, s=stream, live=live, sums=sums: kernels.error_sums(
                    c, zfpy.decompress_numpy(s), live, sums
                ),
            )
            show(
                f"encode_zfp_measured {kind}",
                chunk.nbytes,
                lambda c=chunk, t=tolerance, h=header, live=live, sums=sums: kernels.encode_zfp_measured(
                    c, t, h, c, live, sums, nonfinite=False
                ),
            )
    zeros = np.zeros((4, 512, 512), np.float32)
    live, header = np.ones(zeros.shape[:2], bool), bytes(HEADER_BITS // 8)
    show("encode_zfp zeros", zeros.nbytes, lambda: kernels.encode_zfp(zeros, 1.0, header))
    show(
        "encode_zfp_measured zeros",
        zeros.nbytes,
        lambda: kernels.encode_zfp_measured(zeros, 1.0, header, zeros, live, np.zeros(4), nonfinite=False),
    )


def headers_and_checksums() -> None:
    """Headers of fields as in rev 1, and CRCs of parts of equal and of changing lengths."""
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 256, (200_000, 240), np.uint8)
    widths = np.array([4] * 7 + [2] * 4 + [4] * 8 + [2] * 2 + [4] * 4 + [2] * 46 + [4] * 16, np.uint8)
    widths = widths[np.cumsum(widths) <= 240]
    out = np.empty((len(raw), int(widths.sum())), np.uint8)
    show(
        f"swap_fields, {out.shape[1]} bytes a trace",
        out.nbytes,
        lambda: kernels.swap_fields(raw, widths, out),
    )
    crcs = rng.integers(0, 2**32, 100_000, np.uint32)
    for kind, lengths in (("equal", np.full(100_000, 2**26)), ("changing", rng.integers(0, 2**26, 100_000))):
        taken = seconds(lambda lengths=lengths: combine_all(crcs, lengths))
        print(f"{f'combine_all, 100,000 parts of {kind} length':66} {taken * 1e3:27.3f} ms")


def threads() -> None:
    """Wall time of the same columns on one thread and on as many as there are processors."""
    workers = os.cpu_count() or 1
    columns = [Column(256, 64, True) for _ in range(workers)]
    work = [column.decode for column in columns for _ in range(16)]
    n_bytes = 16 * sum(column.n_bytes for column in columns)
    single = seconds(lambda: [decode() for decode in work], time.perf_counter)
    with ThreadPoolExecutor(workers) as pool:
        many = seconds(
            lambda: list(pool.map(lambda column: [column.decode() for _ in range(16)], columns)),
            time.perf_counter,
        )
    print(
        f"decode_traces IBM, wall: {n_bytes / single / 1e9:.1f} GB/s on 1 thread, "
        f"{n_bytes / many / 1e9:.1f} on {workers}"
    )


if __name__ == "__main__":
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    traces()
    plain()
    means()
    copies()
    zfp()
    headers_and_checksums()
    threads()

"""A corpus of SEG-Y files, whole, odd and damaged, with what must become of each; run it to see the table.

``python -m tests.corpus`` ingests every file, exports it again and compares bytes and samples, or shows the sentence
with which it was refused. It ends with 1 if any case went otherwise than it should.
"""

import bz2
import filecmp
import gzip
import io
import lzma
import re
import shutil
import struct
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master
from tasks.volume.outcomes import InputRefused
from tests.support.segy_maker import TEXT, WIDTHS, put, sample_bytes, segy_bytes, values_of

SHAPE, N_TRACES, N_SAMPLES = (5, 7), 35, 9
AUTO, GRID = Index(), Index(bytes="189,193")


@dataclass(frozen=True)
class Case:
    """A file and its fate: `refusal` matches its sentence, or it is accepted, and the rest says where samples are."""

    name: str
    content: bytes
    refusal: str = ""
    code: int = 1
    order: str = ">"
    n_samples: int = N_SAMPLES
    n_traces: int = N_TRACES
    first: int = 3600
    head: int = 240
    index: Index = AUTO


@dataclass(frozen=True)
class Verdict:
    """What became of a case: the sentence of a refusal or a word, and whether that is right."""

    right: bool
    said: str


def judge(case: Case, folder: Path) -> Verdict:
    """Ingest and export a case; an exception that is no refusal is raised."""
    source, volume, back = folder / "case.sgy", folder / "case.zarr", folder / "back.sgy"
    source.write_bytes(case.content)
    try:
        ingest_segy(str(source), str(volume), index=case.index, master=Master(chunks=[]))
    except InputRefused as refusal:
        sentence = str(refusal)
        one_sentence = "\n" not in sentence and ". " not in sentence and refusal.exit_code == 3
        nothing_left = not (volume / "zarr.json").exists()
        return Verdict(
            bool(case.refusal and re.search(case.refusal, sentence) and one_sentence and nothing_left),
            sentence,
        )
    if case.refusal:
        return Verdict(False, "accepted, though it should be refused")
    export_segy(str(volume), str(back))
    if not filecmp.cmp(source, back, shallow=False):
        return Verdict(False, "the export differs")
    if not np.array_equal(_stored(volume), _expected(case), equal_nan=True):
        return Verdict(False, "samples differ")
    return Verdict(True, "identical")


def _stored(volume: Path) -> np.ndarray:
    """Samples by trace number, as plain zarr reads them."""
    group = zarr.open_group(str(volume), mode="r")
    samples, numbers = group["amplitude"][:], group["trace_number"][:]
    live = numbers >= 0
    return samples[live][np.argsort(numbers[live])]


def _expected(case: Case) -> np.ndarray:
    """Samples by trace number, decoded by hand from where the case says they are."""
    width = WIDTHS[case.code]
    size = case.head + case.n_samples * width
    raw = np.frombuffer(case.content, np.uint8)[case.first : case.first + case.n_traces * size]
    return values_of(raw.reshape(case.n_traces, size)[:, case.head :], case.code, case.order)


def cases() -> Iterator[Case]:
    """Every case; names are unique."""
    for family in (
        formats, revisions, counts, times, texts, extensions, cuts, orders, grids, places, samples, strangers,
    ):  # fmt: skip
        yield from family()


def formats() -> Iterator[Case]:
    """Sample formats of the standard, and codes that are not."""
    for code in WIDTHS:
        for order, name in ((">", "big"), ("<", "little")):
            content = segy_bytes(code=code, order=order)
            yield Case(f"format {code}, {name} endian", content, code=code, order=order)
    for code in (4, 13, 14):
        for order, name in ((">", "big"), ("<", "little")):
            content = bytearray(segy_bytes(order=order))
            struct.pack_into(order + "H", content, 3224, code)
            yield Case(f"format {code}, {name} endian", bytes(content), rf"sample format {code} \(")
    for code in (0, 17, 99, 0x4040, 0xFFFF):
        content = bytearray(segy_bytes())
        struct.pack_into(">H", content, 3224, code)
        sentence = (
            "sample format 0 at byte 3225" if code == 0 else "is not SEG-Y: the sample format at byte 3225"
        )
        yield Case(f"format {code}", bytes(content), sentence)


def revisions() -> Iterator[Case]:
    """Words found at byte 3501."""
    for word in (
        "0000",
        "0100",
        "0001",
        "0010",
        "0064",
        "0200",
        "0201",
        "0002",
        "0205",
        "0300",
        "4040",
        "ffff",
    ):
        yield Case(f"revision word 0x{word}", segy_bytes(revision=bytes.fromhex(word)))
        little = segy_bytes(revision=bytes.fromhex(word), order="<")
        yield Case(f"revision word 0x{word}, little endian", little, order="<")


def counts() -> Iterator[Case]:
    """Numbers of samples and traces that lie."""
    for binary, trace in ((0, 9), (9, 0), (462, 9), (9, 462), (65535, 9), (9, 65535), (8, 9), (18, 9)):
        content = segy_bytes(binary={(3221, "H"): binary}, traces={(115, "u2"): trace})
        yield Case(f"samples: binary header {binary}, traces {trace}", content)
    few = np.where(np.arange(N_TRACES) % 7 == 3, 1, 0)
    yield Case("samples: some traces say one less", segy_bytes(traces={(115, "u2"): 9 - few}))
    yield Case("samples: some traces say nothing", segy_bytes(traces={(115, "u2"): 9 - 9 * few}))
    yield Case(
        "samples: every trace says another number", segy_bytes(traces={(115, "u2"): np.arange(N_TRACES)})
    )
    nothing = segy_bytes(binary={(3221, "H"): 0}, traces={(115, "u2"): 0})
    yield Case("samples: nobody says a number", nothing, "gives no number of samples")
    for count in (65535, 40000):
        huge = segy_bytes(binary={(3221, "H"): count}, traces={(115, "u2"): count})
        yield Case(f"samples: {count} and too small a file", huge, "holds no whole trace")
    wrong = segy_bytes(binary={(3221, "H"): 10}, traces={(115, "u2"): 11})
    yield Case("samples: both numbers are wrong", wrong, "truncated or has something appended")
    yield Case("one sample a trace", segy_bytes(n_samples=1), n_samples=1)
    yield Case(
        "40,000 samples a trace", segy_bytes(n_samples=40000, shape=(2, 2)), n_samples=40000, n_traces=4
    )
    lengths = [segy_bytes(n_samples=n)[3600 : 3840 + 4 * n] for n in (9, 9, 13, 7, 9)]
    different = segy_bytes()[:3600] + b"".join(lengths)
    yield Case("traces of different lengths", different, "traces of different lengths")


def times() -> Iterator[Case]:
    """Intervals and delays."""
    for interval in (0, 1, 62, 250, 4000):
        yield Case(f"interval {interval}", segy_bytes(interval=interval))
    yield Case("interval 65535", segy_bytes(interval=65535), "negative sample interval, -1")
    yield Case("interval in traces only", segy_bytes(interval=0, traces={(117, "u2"): 2000}))
    yield Case("interval differs in traces", segy_bytes(traces={(117, "u2"): 2000}))
    for delay in (-8, 32767, -32768):
        yield Case(f"delay {delay}", segy_bytes(traces={(109, "i2"): delay}))
    yield Case("delay differs in every trace", segy_bytes(traces={(109, "i2"): np.arange(N_TRACES)}))
    yield Case("delay scaled", segy_bytes(traces={(109, "i2"): 525, (215, "i2"): -10}))
    for value in (float("nan"), float("inf"), -1.0, 1e300, 1e-300):
        yield Case(f"extended interval {value:g}", segy_bytes(revision=0x0200, binary={(3273, "d"): value}))


def texts() -> Iterator[Case]:
    """Textual headers in every code, and extended ones."""
    for name, raw in {
        "ASCII": TEXT.encode(),
        "EBCDIC 037": TEXT.encode("cp037"),
        "UTF-8": TEXT.replace("FILE", "ÅÖ").encode(),
        "Latin-1": TEXT.replace("FILE", "mètr").encode("latin-1"),
        "zeros": bytes(3200),
        "EBCDIC blanks": b"\x40" * 3200,
        "lines with line ends": "\r\n".join(TEXT[i : i + 78] for i in range(0, 3200, 82))
        .encode()
        .ljust(3200),
        "lines of 72": "".join(f"C{i:2d} X".ljust(72) for i in range(1, 41)).encode().ljust(3200),
        "NULs between": TEXT.encode().replace(b"  ", b"\0\0"),
    }.items():
        yield Case(f"text: {name}", segy_bytes(text=raw))
    stanza, end = b"((SEG: Location))".ljust(3200), b"((SEG: EndText))".ljust(3200)
    for count in (1, 2, 7):
        content = segy_bytes(binary={(3505, "h"): count}, texts=stanza * count)
        yield Case(f"{count} extended texts", content, first=3600 + 3200 * count)
    for name, raw in (("ASCII", stanza + end), ("EBCDIC", (stanza + end).decode().encode("cp500"))):
        yield Case(
            f"texts up to EndText, {name}", segy_bytes(binary={(3505, "h"): -1}, texts=raw), first=10_000
        )
    for count in (-7, 5, 32767):
        yield Case(
            f"{count} extended texts are said and none is there", segy_bytes(binary={(3505, "h"): count})
        )
    yield Case(
        "texts up to an EndText that is missing", segy_bytes(binary={(3505, "h"): -1}), "byte 3505 is -1"
    )
    uncounted = segy_bytes(texts=stanza)
    yield Case("an extended text that nobody counts", uncounted, "truncated or has something appended")


def extensions() -> Iterator[Case]:
    """What rev 2 adds."""
    extra = np.zeros((N_TRACES, 240), np.uint8)
    extra[:, 232:] = np.frombuffer(b"SEG00001", np.uint8)
    put(extra, 137, "u4", N_SAMPLES, ">")
    stanza = b"((A: stanza))".ljust(3200)
    whole: dict[str, Any] = {"revision": 0x0201}
    yield Case(
        "one additional trace header",
        segy_bytes(binary={(3507, "i"): 1}, extensions=extra, **whole),
        head=480,
    )
    yield Case(
        "three additional trace headers", segy_bytes(binary={(3507, "i"): 3}, extensions=3, **whole), head=960
    )
    for announced in (1, -1):
        content = segy_bytes(binary={(3529, "i"): announced}, trailer=stanza, **whole)
        yield Case(f"a stanza after the last trace, {announced} said", content)
    offset = segy_bytes(binary={(3521, "Q"): 4001}, texts=b"x" * 401, **whole)
    yield Case("the first trace at an offset", offset, first=4001)
    long = segy_bytes(n_samples=70_001, code=16, shape=(2, 2), binary={(3221, "H"): 0, (3269, "I"): 70_001},
                      traces={(115, "u2"): 0}, **whole)  # fmt: skip
    yield Case("70,001 samples a trace", long, code=16, n_samples=70_001, n_traces=4)
    for byte, kind, value in (
        (3269, "I", 2**32 - 1), (3507, "i", 2**31 - 1), (3507, "h", -1), (3513, "Q", 3), (3521, "Q", 2**64 - 1),
        (3521, "Q", 12), (3529, "i", 2**31 - 1), (3529, "h", -5), (3505, "h", 9),
    ):  # fmt: skip
        yield Case(
            f"rev 2 says {value} at byte {byte} ({kind})", segy_bytes(binary={(byte, kind): value}, **whole)
        )
    for count in (36, 2**63):
        content = segy_bytes(binary={(3513, "Q"): count}, **whole)
        yield Case(f"rev 2 says {count} traces", content, "is truncated: its binary header says")
    for order, name in ((">", "big"), ("<", "little")):
        declared = bytearray(segy_bytes(order=order, revision=0x0200))
        declared[3296:3300] = struct.pack(order + "I", 0x01020304)
        yield Case(f"byte order declared, {name} endian", bytes(declared), order=order)
    declared[3296:3300] = b"\2\1\4\3"
    yield Case("byte order declared in pairs", bytes(declared), "swapped in pairs")


def cuts() -> Iterator[Case]:
    """Files that end too early or too late."""
    content, size = segy_bytes(), 240 + 4 * N_SAMPLES
    yield Case("an empty file", b"", "is empty")
    for length in (1, 80, 3199, 3200, 3224, 3225, 3500, 3599, 3600):
        yield Case(
            f"cut after byte {length}", content[:length], r"bytes, and the headers of SEG-Y alone take 3,600"
        )
    for length in (3601, 3700, 3839, 3840, 3841, 3875):
        yield Case(
            f"cut after byte {length}", content[:length], "holds no whole trace|gives no number of samples"
        )
    for trace, into in ((1, 1), (1, 239), (7, 240), (20, 241), (34, 250), (34, size - 1)):
        cut = content[: 3600 + trace * size + into]
        yield Case(
            f"cut {into} bytes into trace {trace + 1}",
            cut,
            f"truncated .*: {into} bytes follow trace {trace},",
        )
    for count in (1, 7, 34):
        kept = N_TRACES - count
        yield Case(
            f"{count} whole traces missing at the end", content[: -count * size], n_traces=kept, index=GRID
        )
    for extra in (1, 2):  # a trace that was cut begins with zeros as well
        sentence = f"{extra} bytes follow trace 35"
        yield Case(f"{extra} bytes appended", content + bytes(extra), sentence)
    for extra in (4, 100, 240, 275):
        yield Case(f"{extra} zeros appended", content + bytes(extra))  # padding, which comes back
    yield Case("3,200 bytes appended", content + b" " * 3200, "has something appended")
    hole = content[: 3600 + 3 * size + 50] + content[3600 + 3 * size + 150 :]
    yield Case("100 bytes missing within", hole, "truncated or has something appended")


def orders() -> Iterator[Case]:
    """Byte orders that disagree."""
    big, little = segy_bytes(n_samples=300), segy_bytes(n_samples=300, order="<")
    yield Case(
        "little-endian traces behind a big-endian header", big[:3600] + little[3600:], "different byte orders"
    )
    yield Case(
        "big-endian traces behind a little-endian header", little[:3600] + big[3600:], "different byte orders"
    )
    pairs = np.frombuffer(segy_bytes(), np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    yield Case("every pair of bytes swapped, EBCDIC", pairs, "swapped in pairs")
    pairs = np.frombuffer(segy_bytes(text=TEXT.encode()), np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    yield Case("every pair of bytes swapped, ASCII", pairs, "swapped in pairs")


def grids() -> Iterator[Case]:
    """Where traces say they are."""
    lines, crosslines = np.repeat(100 + 2 * np.arange(5), 7), np.tile(7 + 3 * np.arange(7), 5)

    def at(inline: Any, crossline: Any, **more: Any) -> bytes:
        # Without X and Y, which would contradict another order.
        nowhere = {(181, "i4"): 0, (185, "i4"): 0}
        return segy_bytes(traces=nowhere | {(189, "i4"): inline, (193, "i4"): crossline}, **more)

    mixed = np.random.default_rng(1).permutation(N_TRACES)
    yield Case("traces in any order", at(lines[mixed], crosslines[mixed]))
    yield Case("inlines and crosslines descending", at(-lines, -crosslines))
    yield Case("crosslines first", at(lines.reshape(5, 7).T.ravel(), crosslines.reshape(5, 7).T.ravel()))
    live = np.random.default_rng(2).random(SHAPE) < 0.7
    live[0, 0] = live[-1, -1] = True
    yield Case("a third of the traces missing", segy_bytes(live=live), n_traces=int(live.sum()))
    yield Case("numbers at the end of their range", at(2**31 - 1 - lines, crosslines - 2**31), index=GRID)
    yield Case("one trace", segy_bytes(shape=(1, 1)), n_traces=1)
    yield Case("one inline", segy_bytes(shape=(1, 35)))
    yield Case("one crossline", segy_bytes(shape=(35, 1)))
    twice = lines.copy()
    twice[20] = lines[19]
    same = crosslines.copy()
    same[20] = crosslines[19]
    yield Case("two traces at one place", at(twice, same), r"1 of 35 traces .* of an earlier one", index=GRID)
    outlier = lines.copy()
    outlier[17] = 2**31 - 1
    far = crosslines.copy()
    far[30] = -(2**31)
    yield Case("one outlier in each word", at(outlier, far), index=GRID)
    apart = np.random.default_rng(3).integers(-(2**31), 2**31, (2, N_TRACES))
    yield Case("all words random", at(*apart), "hold no grid", index=GRID)
    yield Case("all words 0", at(0, 0), "are the same in all 35 traces", index=GRID)
    many = np.arange(400)
    scattered = segy_bytes(
        shape=(20, 20), traces={(189, "i4"): many * 5_000_000, (193, "i4"): many * 4_999_999}
    )
    yield Case(
        "a grid of 160,000 cells for 400 traces", scattered, "hold no grid|cells for 400 traces", index=GRID
    )
    for code in (2, -1):
        some = np.where(np.arange(N_TRACES) == 4, code, 1)
        yield Case(f"trace identification code {code}", segy_bytes(traces={(29, "i2"): some}))


def places() -> Iterator[Case]:
    """Coordinates and their scalar."""
    for scalar in (0, 1, 7, 10, -10, 10_000, -10_000, 32767, -32768):
        yield Case(f"coordinate scalar {scalar}", segy_bytes(traces={(71, "i2"): scalar}))
    mixed = np.where(np.arange(N_TRACES) % 2, 1, -100)
    yield Case("coordinate scalar differs", segy_bytes(traces={(71, "i2"): mixed}))
    for unit in (0, 2, 3, 4, 99):
        yield Case(f"coordinate unit {unit}", segy_bytes(traces={(89, "i2"): unit}))
    yield Case("coordinates 0", segy_bytes(traces={(181, "i4"): 0, (185, "i4"): 0}))
    extreme = {(181, "i4"): -(2**31), (185, "i4"): 2**31 - 1, (71, "i2"): 32767}
    yield Case("coordinates at the end of their range", segy_bytes(traces=extreme))


def samples() -> Iterator[Case]:
    """Samples that are no ordinary numbers."""

    def words(*odd: int, code: int, every: int = 0) -> bytes:
        raw = sample_bytes(N_TRACES, N_SAMPLES, code, ">").copy().view(">u4")
        if every:
            raw[...] = odd[0]
        raw[3, : len(odd)] = odd
        return segy_bytes(code=code, samples=raw.view(np.uint8))

    yield Case("IBM: unnormalised words", words(0x41010000, 0x46000001, 0x41000000, 0xC1000000, code=1))
    yield Case("IBM: words beyond float32", words(0x7FFFFFFF, 0xFFFFFFFF, 0x61100000, 0x00100000, code=1))
    yield Case("IBM: only unnormalised words", words(0x46000001, code=1, every=1))
    yield Case("IBM: only words beyond float32", words(0x7FFFFFFF, code=1, every=1))
    odd = words(0x7FC12345, 0xFF800000, 0x7F800000, 1, 0x80000000, code=5)
    yield Case("IEEE: NaN with payload, Inf, denormals", odd, code=5)
    yield Case("IEEE: only NaN", words(0x7FC00000, code=5, every=1), code=5)
    yield Case("IEEE: only Inf", words(0x7F800000, code=5, every=1), code=5)
    for code in (1, 3, 5, 6, 16):
        zeros = np.zeros((N_TRACES, N_SAMPLES * WIDTHS[code]), np.uint8)
        yield Case(f"format {code}: only zeros", segy_bytes(code=code, samples=zeros), code=code)
    huge = np.full((N_TRACES, N_SAMPLES), -1.7e308, ">f8").view(np.uint8)
    yield Case("float64: numbers whose squares are beyond it", segy_bytes(code=6, samples=huge), code=6)
    text = np.frombuffer((b"all the samples are text " * 50)[: N_SAMPLES * 4], np.uint8)
    yield Case("samples that are text", segy_bytes(samples=np.tile(text, (N_TRACES, 1))))


def strangers() -> Iterator[Case]:
    """Other files under the name of SEG-Y."""
    content = segy_bytes(n_samples=901)
    packed, archive = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.sgy", content)
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("a.sgy")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    page = b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
    noise = np.random.default_rng(5).integers(0, 256, 50_000, np.uint8).tobytes()
    for name, raw, sentence in (
        ("gzip", gzip.compress(content), "is a gzip file"),
        ("bzip2", bz2.compress(content), "is a bzip2 file"),
        ("xz", lzma.compress(content), "is an xz file"),
        ("zstd", b"\x28\xb5\x2f\xfd" + content, "is a zstd file"),
        ("zip", packed.getvalue(), "is a zip file"),
        ("7z", b"7z\xbc\xaf\x27\x1c" + content, "is a 7z file"),
        ("tar", archive.getvalue(), "is a tar archive"),
        ("HDF5", b"\x89HDF\r\n\x1a\n" + content, "is an HDF5 file"),
        ("PDF", b"%PDF-1.7" + content, "is a PDF document"),
        ("SEG-2, little endian", b"\x55\x3a" + content, "is SEG-2"),
        ("SEG-2, big endian", b"\x3a\x55" + content, "is SEG-2"),
        ("SEG-D", bytes.fromhex("00128058000000000000") + noise, "looks like SEG-D"),
        ("SEG-D with a tape label", b"   1SD2.1RECORD" + b" " * 113 + content, "SEG-D with a tape label"),
        ("a tape label before SEG-Y", b"   1SY1.0RECORD" + b" " * 113 + content, "tape label of 128 bytes"),
        ("an XML error page", page, "XML or HTML page"),
        ("an HTML page", b"<!DOCTYPE html>\n<html><body>404</body></html>".ljust(9000), "XML or HTML page"),
        ("a JSON error", b'{"error": {"code": 403, "message": "Forbidden"}}', "take 3,600"),
        ("a long JSON error", b'{"error": "Forbidden"}'.ljust(9000), "is not SEG-Y"),
        ("Seismic Unix, big endian", content[3600:], "looks like Seismic Unix"),
        ("Seismic Unix, little endian", segy_bytes(n_samples=901, order="<")[3600:], "looks like Seismic Unix"),
        ("a PNG", b"\x89PNG\r\n\x1a\n" + noise, "is not SEG-Y|sample format"),
        ("a NumPy array", b"\x93NUMPY\x01\x00" + b" " * 120 + bytes(9000), "sample format 0|is not SEG-Y"),
        ("noise", noise, "is not SEG-Y"),
        ("zeros", bytes(20_000), "holds only zeros"),
        ("ones", b"\xff" * 20_000, "is not SEG-Y"),
        ("plain text", (b"the quick brown fox " * 1000), "is not SEG-Y"),
    ):  # fmt: skip
        yield Case(f"no SEG-Y: {name}", raw, sentence)


def main() -> int:
    """Print the table; return 1 if a case went wrong."""
    wrong = total = 0
    for case in cases():
        folder = Path(tempfile.mkdtemp())
        try:
            verdict = judge(case, folder)
        except Exception as error:
            verdict = Verdict(False, f"{type(error).__name__}: {error}")
        finally:
            shutil.rmtree(folder)
        sentence = verdict.said.replace(f"{folder}/", "")
        print(f"{'right' if verdict.right else 'WRONG'}  {case.name:58} {sentence}", flush=True)
        wrong, total = wrong + (not verdict.right), total + 1
    print(f"{total - wrong} of {total} cases are right")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

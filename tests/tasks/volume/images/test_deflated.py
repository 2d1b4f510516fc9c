"""Streams of zlib and gzip read slab by slab: in any order, decoded once, and never beyond what they may hold."""

import gzip
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Master
from tasks.volume.images.deflated import Deflated, Steps
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.store.objects import Source
from tests.support.volumes import threads

RAW = np.random.default_rng(6).integers(0, 40, 3_000_000).astype("u1").tobytes()


class Counting(Source):
    """A source that knows how much was read of it."""

    read_bytes = 0

    def read(self, start, length):
        """As a source does."""
        self.read_bytes += length
        return super().read(start, length)


def stream_of(tmp_path, data, size=len(RAW), offset=7):
    (tmp_path / "a.gz").write_bytes(b"h" * offset + data)
    steps = Steps(read_bytes=10_000, piece_bytes=30_000, least_apart=100_000)
    return Deflated(Counting(str(tmp_path / "a.gz")), offset, size, steps=steps)


def read(stream, start, stop):
    out = bytearray(stop - start)
    stream.read_into(start, memoryview(out))
    return bytes(out)


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, lambda b: zlib.compress(b, 0)])
def test_slabs_in_turn_decode_the_stream_once(tmp_path, pack):
    packed = pack(RAW)
    stream = stream_of(tmp_path, packed)
    slabs = [read(stream, at, min(at + 333_333, len(RAW))) for at in range(0, len(RAW), 333_333)]
    assert b"".join(slabs) == RAW
    # What was read and not yet decoded when a slab was full is read again.
    assert stream.source.read_bytes < len(packed) + len(slabs) * 10_000


def test_slabs_in_any_order_and_on_many_threads_are_the_same(tmp_path):
    packed = gzip.compress(RAW)
    stream = stream_of(tmp_path, packed)
    places = [(at, min(at + 250_000, len(RAW))) for at in range(0, len(RAW), 250_000)]
    shuffled = [places[n] for n in np.random.default_rng(1).permutation(len(places))]
    with ThreadPoolExecutor(4) as pool:
        for (start, stop), found in zip(
            shuffled, pool.map(lambda place: read(stream, *place), shuffled), strict=True
        ):
            assert found == RAW[start:stop]
    before = stream.source.read_bytes
    assert read(stream, 1_550_000, 1_560_000) == RAW[1_550_000:1_560_000]
    assert stream.source.read_bytes - before < 0.1 * len(packed), "the beginning is not decoded again"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda b: b[:-2000], "ends after .* it is cut off"),
        (lambda b: b[:-5], "ends after 3,000,000 of 3,000,000 bytes"),  # its checksum is not whole
        (lambda b: b[:-8] + bytes(8), "do not decode"),
        (lambda b: b[:50_000] + bytes(9) + b[50_009:], "do not decode|holds more than"),
        (lambda b: gzip.compress(RAW + b"x"), "holds more than the 3,000,000 bytes"),
        (lambda b: gzip.compress(RAW[:-1]), "ends after 2,999,999 of 3,000,000 bytes"),
    ],
)
def test_a_stream_that_is_not_what_its_header_says_is_an_error(tmp_path, spoil, sentence):
    with pytest.raises(IntegrityFailure, match=sentence):
        read(stream_of(tmp_path, spoil(gzip.compress(RAW))), 0, len(RAW))


def test_a_stream_that_swells_takes_no_memory(tmp_path):
    stream = stream_of(tmp_path, zlib.compress(bytes(64 << 20)), size=1000)
    tracemalloc.start()
    with pytest.raises(IntegrityFailure, match="holds more than the 1,000 bytes"):
        read(stream, 0, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("broken", [False, True])
def test_a_compressed_image_becomes_a_volume_or_none(tmp_path, broken):
    import zarr

    values = np.random.default_rng(2).integers(0, 999, (37, 40, 50)).astype("<u2")
    header = "NRRD0004\ntype: ushort\ndimension: 3\nsizes: 50 40 37\nencoding: gzip\nendian: little\n\n"
    packed = bytearray(gzip.compress(values.tobytes()))
    if broken:
        packed[-5] ^= 1
    (tmp_path / "a.nrrd").write_bytes(header.encode() + packed)
    master, volume = Master(chunks=[4, 16, 16]), str(tmp_path / "v.zarr")
    with threads(4) as compute:
        if broken:
            with pytest.raises(IntegrityFailure, match="do not decode"):
                ingest_images(str(tmp_path / "a.nrrd"), volume, Image(), master, compute=compute)
            assert not (tmp_path / "v.zarr/zarr.json").exists()
        else:
            ingest_images(str(tmp_path / "a.nrrd"), volume, Image(), master, compute=compute)
            np.testing.assert_array_equal(zarr.open_group(volume, mode="r")["attenuation"][...], values)

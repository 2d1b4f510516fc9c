"""Chunks of strangers decode to what belongs there or are refused before memory is taken (also arrays/foreign.py)."""

import bz2
import gzip
import json
import lzma
import resource
import tracemalloc
import zlib
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from tasks.volume.arrays.bounded import TooLarge, decoded
from tasks.volume.arrays.codecs import crc32c, decode_chunk, encode_chunk
from tasks.volume.arrays.foreign import foreign_spec, read_foreign
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import Store

BOMB = bytes(256 << 20)
CODECS = {
    "zstd": (numcodecs.Zstd(), lambda data: numcodecs.Zstd().encode(data)),
    "gzip": (numcodecs.GZip(), lambda data: gzip.compress(data, 1)),
    "zlib": (numcodecs.Zlib(), lambda data: zlib.compress(data, 1)),
    "bz2": (numcodecs.BZ2(), lambda data: bz2.compress(data, 1)),
    "lzma": (numcodecs.LZMA(), lambda data: lzma.compress(data, preset=0)),
    "lz4": (numcodecs.LZ4(), lambda data: numcodecs.LZ4().encode(data)),
    "blosc": (numcodecs.Blosc(), lambda data: numcodecs.Blosc().encode(data)),
}


@pytest.mark.parametrize("name", CODECS)
def test_a_bomb_is_refused_and_what_fits_decodes(name: str) -> None:
    codec, encode = CODECS[name]
    fitting = np.arange(10_000, dtype="u2").tobytes()
    assert bytes(memoryview(decoded(codec, encode(fitting), len(fitting)))) == fitting
    bomb = encode(BOMB[: 32 << 20])
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="belong"):
            decoded(codec, bomb, len(fitting))
        assert tracemalloc.get_traced_memory()[1] < len(bomb) + (8 << 20)
    finally:
        tracemalloc.stop()


def test_zstandard_without_a_size_is_measured_by_its_blocks() -> None:
    def frame(count: int) -> bytes:
        repeated = [
            ((128 << 10) << 3 | 1 << 1 | (n == count - 1)).to_bytes(3, "little") + b"a" for n in range(count)
        ]
        return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(repeated)

    assert bytes(decoded(numcodecs.Zstd(), frame(2), 256 << 10)) == b"a" * (256 << 10)
    with pytest.raises(TooLarge, match="belong"):
        decoded(numcodecs.Zstd(), frame(8192), 256 << 10)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", ["zstd", "gzip", "blosc"])
def test_a_chunk_of_another_tool_that_decodes_to_more_is_refused_before(
    tmp_path: Path, name: str, sharded: bool
) -> None:
    compressor = {"zstd": ZstdCodec(), "gzip": GzipCodec(), "blosc": BloscCodec()}[name]
    values = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    written = zarr.create_array(
        str(tmp_path / "a"),
        shape=(64, 64),
        chunks=(16, 16) if sharded else (64, 64),
        shards=(64, 64) if sharded else None,
        dtype="u2",
        compressors=[compressor],
    )
    written[:] = values
    store = Store(str(tmp_path / "a"))
    spec = foreign_spec(store, "")
    out = np.zeros((64, 64), "u2")
    read_foreign(
        store,
        spec,
        (slice(0, 64), slice(0, 64)),
        lambda part, place: out.__setitem__(place, part),
    )
    assert np.array_equal(out, values)
    bomb = CODECS[name][1](BOMB)
    chunk = tmp_path / "a/c/0/0"
    if sharded:
        index = np.full((4, 4, 2), 0xFFFFFFFFFFFFFFFF, "<u8")
        index[0, 0] = (0, len(bomb))
        table = index.tobytes()
        bomb = bytes(bomb) + table + crc32c(table).to_bytes(4, "little")
    chunk.write_bytes(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IntegrityFailure, match="does not decode"):
        read_foreign(store, spec, (slice(0, 64), slice(0, 64)), lambda part, place: None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # kB


@pytest.mark.parametrize("codec", ["zstd-1", "lz4-5", "raw", "zfp:0.01"])
def test_a_chunk_of_ours_of_another_shape_is_refused_before(codec: str) -> None:
    spec = ArraySpec("a", (64, 64, 64), (8, 8, 8), "float32", ("z", "y", "x"), codec)
    values = np.random.default_rng(0).normal(size=(8, 8, 8)).astype("f4")
    assert np.allclose(decode_chunk(spec, encode_chunk(spec, values)), values, atol=0.01)
    larger = encode_chunk(spec.at("a", chunks=(256, 64, 64)), np.zeros((256, 64, 64), "f4"))
    with pytest.raises(IntegrityFailure, match="another number of values"):
        decode_chunk(spec, larger)


@pytest.mark.parametrize(
    ("shape", "chunk"), [([1 << 40] * 3, 64), ([1 << 40] * 3, 1 << 20), ([1 << 40, 1, 1], 64), ([1 << 62], 1)]
)
def test_shapes_that_no_run_can_go_through_are_refused(tmp_path: Path, shape: list[int], chunk: int) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(4,) * len(shape), chunks=(4,) * len(shape), dtype="u1")
    document = json.loads((tmp_path / "a/zarr.json").read_bytes())
    document["shape"] = shape
    document["chunk_grid"]["configuration"]["chunk_shape"] = [chunk] * len(shape)
    (tmp_path / "a/zarr.json").write_text(json.dumps(document))
    with pytest.raises(InputRefused, match=r"more than 268,435,456 objects; they are damaged"):
        foreign_spec(Store(str(tmp_path)), "a")

"""What rev 2 adds to SEG-Y: longer traces, headers before, inside and after them, and all of it back."""

import filecmp
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index
from tasks.prove import prove
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat, read_format
from tasks.volume.store.objects import Source
from tests.support.segy_maker import put, sample_bytes, segy_bytes, values_of
from tests.support.volumes import SPILLED, threads

N_TRACES = 35
STANZA = b"((SEG: Somebody's own ver 1.0))\r\nanything"
END = b"((SEG: EndText))"
WORDS_OF = {">": 0x0200, "<": 0x0201}


def texts(*stanzas: bytes, codec: str = "ascii") -> bytes:
    return b"".join(stanza.decode("ascii").encode(codec).ljust(3200) for stanza in stanzas)


def extension(n_traces: int, order: str, n_samples: int = 0, count: int = 1) -> np.ndarray:
    """Additional headers, the first that of the standard; the others hold anything."""
    raw = np.random.default_rng(1).integers(0, 256, (n_traces, 240 * count), np.uint8)
    raw[:, :240] = 0
    put(raw, 9, "u8", np.arange(n_traces), order)
    put(raw, 137, "u4", n_samples, order)
    raw[:, 232:240] = np.frombuffer(b"SEG00001", np.uint8)
    return raw


def read_back(content: bytes, folder: Path) -> tuple[FileFormat, Path, dict]:
    """The format of a file, its volume and the ingest's summary, after it came back as it was."""
    source, volume = folder / "source.sgy", folder / "volume.zarr"
    source.write_bytes(content)
    summary = ingest_segy(str(source), str(volume))
    export_segy(str(volume), str(folder / "back.sgy"))
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    prove(str(volume))
    return read_format(Source(str(source))), volume, summary


def values_in(volume: Path) -> np.ndarray:
    return zarr.open_array(str(volume / "amplitude"), mode="r")[:].reshape(N_TRACES, -1)


@pytest.mark.slow
@pytest.mark.parametrize("order", [">", "<"])
def test_traces_longer_than_16_bits_say(tmp_path, order):
    samples = sample_bytes(N_TRACES, 70_001, 16, order)
    binary = {(3221, "H"): 0, (3269, "I"): 70_001, (3273, "d"): 62.5, (3217, "H"): 0, (3513, "Q"): N_TRACES}
    content = segy_bytes(
        n_samples=0,
        code=16,
        order=order,
        revision=WORDS_OF[order],
        interval=0,
        binary=binary,
        samples=samples,
    )
    found, volume, _ = read_back(content, tmp_path)
    assert (found.n_samples, found.sample_interval_us, found.oddities) == (70_001, 62.5, ())
    np.testing.assert_array_equal(values_in(volume), samples)
    time = zarr.open_array(str(volume / "time"), mode="r")
    assert time.dtype == "float64"
    np.testing.assert_array_equal(time[:], np.arange(70_001) * 0.0625)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("code", [1, 3, 8])
def test_additional_trace_headers_are_kept(tmp_path, order, count, code):
    headers = extension(N_TRACES, order, n_samples=9, count=count)
    samples = sample_bytes(N_TRACES, 9, code, order)
    content = segy_bytes(
        code=code, order=order, revision=WORDS_OF[order], binary={(3507, "i"): count},
        extensions=headers, samples=samples,
    )  # fmt: skip
    found, volume, _ = read_back(content, tmp_path)
    assert (found.extra_headers, found.trace_header_bytes, found.oddities) == (count, 240 * (1 + count), ())
    stored = zarr.open_array(str(volume / "raw_header_extensions"), mode="r")
    assert stored.metadata.dimension_names == ("inline", "crossline", "byte")
    np.testing.assert_array_equal(stored[:].reshape(N_TRACES, -1), headers)
    np.testing.assert_array_equal(values_in(volume), values_of(samples, code, order))


def test_cells_without_a_trace_have_no_additional_headers(tmp_path):
    live = np.ones((5, 7), bool)
    live[2, 1:4] = False
    headers = extension(32, ">")
    _, volume, _ = read_back(
        segy_bytes(revision=0x0200, binary={(3507, "i"): 1}, extensions=headers, live=live), tmp_path
    )
    stored = zarr.open_array(str(volume / "raw_header_extensions"), mode="r")[:]
    np.testing.assert_array_equal(stored[live], headers)
    assert not stored[~live].any()


def test_only_the_additional_header_can_say_a_long_number_of_samples(tmp_path):
    content = segy_bytes(
        n_samples=70_001, code=16, revision=0x0201, traces={(115, "u2"): 70_001 & 0xFFFF},
        binary={(3221, "H"): 70_001 & 0xFFFF, (3507, "i"): 1}, extensions=extension(N_TRACES, ">", 70_001),
    )  # fmt: skip
    found, _, _ = read_back(content, tmp_path)
    assert found.n_samples == 70_001
    assert "say 70001 samples (byte 115), the binary header 4465" in found.oddities[0]


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("announced", [3, -1])
@pytest.mark.parametrize("codec", ["ascii", "cp500"])
def test_stanzas_before_the_traces_are_kept(tmp_path, order, announced, codec):
    before = texts(STANZA, STANZA, END, codec=codec)
    content = segy_bytes(order=order, revision=WORDS_OF[order], binary={(3505, "h"): announced}, texts=before)
    found, volume, _ = read_back(content, tmp_path)
    assert (found.extended_texts, found.first_trace_offset, found.oddities) == (3, 13_200, ())
    assert zarr.open_array(str(volume / "segy_files/0/header"), mode="r")[3600:].tobytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("announced", [2, -1])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("codec", ["ascii", "cp500"])
def test_stanzas_after_the_traces_are_kept(tmp_path, order, announced, counted, codec):
    after = texts(STANZA, END, codec=codec)
    binary = {(3529, "i"): announced, (3513, "Q"): N_TRACES * counted}
    content = segy_bytes(order=order, revision=WORDS_OF[order], binary=binary, trailer=after)
    found, volume, _ = read_back(content, tmp_path)
    assert (found.n_traces, found.trailer_bytes, found.oddities) == (N_TRACES, 6400, ())
    assert zarr.open_array(str(volume / "segy_files/0/trailer"), mode="r")[:].tobytes() == after


@pytest.mark.parametrize("announced", [-1, 4])
def test_a_trailer_is_told_from_traces_that_are_as_long(tmp_path, announced):
    # A trace takes 240 + 4 x 740 = 3200 bytes, so that any number of records would fit.
    after = texts(STANZA, STANZA, STANZA, END)
    content = segy_bytes(n_samples=740, revision=0x0201, binary={(3529, "i"): announced}, trailer=after)
    found, _, _ = read_back(content, tmp_path)
    assert (found.n_traces, found.trailer_bytes) == (N_TRACES, 12_800)


def test_a_trailer_of_no_stated_length_may_be_empty(tmp_path):
    found, _, _ = read_back(segy_bytes(revision=0x0201, binary={(3529, "i"): -1}), tmp_path)
    assert (found.trailer_bytes, found.oddities) == (0, ())


@pytest.mark.parametrize("order", [">", "<"])
def test_the_first_trace_may_begin_anywhere(tmp_path, order):
    between = b"\xff" * 1001
    content = segy_bytes(
        code=3, order=order, revision=WORDS_OF[order], binary={(3521, "Q"): 4601}, texts=between
    )
    found, _, _ = read_back(content, tmp_path)
    assert (found.first_trace_offset, found.n_traces) == (4601, N_TRACES)


def test_all_of_it_at_once(tmp_path):
    before, after, headers = texts(STANZA, END), texts(STANZA), extension(N_TRACES, "<", 13, count=2)
    binary = {
        (3505, "h"): -1, (3507, "i"): 2, (3513, "Q"): N_TRACES, (3521, "Q"): 10_000, (3529, "i"): 1,
        (3269, "I"): 13, (3273, "d"): 125.0,
    }  # fmt: skip
    content = bytearray(
        segy_bytes(
            n_samples=13, code=7, order="<", revision=0x0201, interval=125, binary=binary, texts=before,
            extensions=headers, trailer=after,
        )
    )  # fmt: skip
    content[3296:3300] = struct.pack("<I", 0x01020304)
    found, _, _ = read_back(bytes(content), tmp_path)
    assert (found.revision, found.byte_order, found.oddities) == ("2.1", "<", ())
    assert "3297" in found.byte_order_reason
    assert (found.extended_texts, found.extra_headers, found.trailer_bytes) == (2, 2, 3200)
    assert found.sample_interval_us == 125.0


def test_traces_of_different_lengths_are_refused_by_name(tmp_path):
    parts = [
        segy_bytes(n_samples=n, traces={(115, "u2"): n})[3600 : 3600 + 240 + 4 * n] for n in (9, 9, 13, 7)
    ]
    source = tmp_path / "source.sgy"
    source.write_bytes(segy_bytes()[:3600] + b"".join(parts))
    with pytest.raises(InputRefused, match="different lengths: by byte 115 of their headers 7 to 13 samples"):
        ingest_segy(str(source), str(tmp_path / "volume.zarr"))


def test_headers_that_would_fill_memory_are_refused(tmp_path):
    source = tmp_path / "source.sgy"
    first = 80 << 20
    content = segy_bytes(revision=0x0200, binary={(3521, "Q"): first})
    with source.open("wb") as file:  # sparse
        file.write(content[:3600])
        file.seek(first)
        file.write(content[3600:])
    with pytest.raises(
        InputRefused, match=r"83,886,080 bytes before its first trace .* at most 67,108,864 are kept"
    ):
        ingest_segy(str(source), str(tmp_path / "volume.zarr"))


def extended(folder: Path, order: str, cells: np.ndarray, words: dict, codes: Any = 1) -> np.ndarray:
    """A file whose additional headers place its traces (bytes counted on from 240) while the first 240 say nothing."""
    n, n_samples = len(cells), 5
    extra = extension(n, order, count=2)
    for (byte, kind), value in words.items():
        put(extra, byte - 240, kind, value, order)
    samples = sample_bytes(n, n_samples, 5, order)
    content = segy_bytes(
        shape=(1, n), n_samples=n_samples, code=5, order=order, revision=0x0201, binary={(3507, "i"): 2},
        traces={(189, "i4"): 0, (193, "i4"): 0, (71, "i2"): 1, (29, "i2"): codes}, extensions=extra, samples=samples,
    )  # fmt: skip
    (folder / "a.sgy").write_bytes(content)
    return values_of(samples, 5, order)


EXTENDED = Index(
    bytes="257,263,477", types=["int32", "int16", "float32"], names=["inline", "crossline", "offset"]
)


@pytest.mark.slow
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    "form", ["sorted", "a trace missing", "shuffled", "spilled", "with an auxiliary trace"]
)
def test_index_words_may_lie_in_the_additional_headers(tmp_path, order, form):
    cells = np.array(list(np.ndindex(4, 5, 3)))
    rng = np.random.default_rng(2)
    if form != "sorted":
        cells = np.delete(cells, 17, axis=0)
    if form in ("shuffled", "spilled"):
        cells = rng.permutation(cells)
    codes = np.ones(len(cells), int)
    if form == "with an auxiliary trace":
        codes[7] = 9
    placed = codes == 1
    words = {(257, "i4"): 70_001 + cells[:, 0], (263, "i2"): 7 - cells[:, 1], (477, "f4"): 12.5 * cells[:, 2]}
    words |= {(481, "i4"): 300 + cells[:, 0], (485, "i4"): 900 - cells[:, 1]}
    values = extended(tmp_path, order, cells, words, codes)
    index = EXTENDED.model_copy(update={"coordinate_bytes": "481,485"})
    with threads(**SPILLED if form == "spilled" else {}) as compute:
        ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), index, compute=compute)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["inline"][:].tolist() == [70_001, 70_002, 70_003, 70_004]
    assert group["crossline"][:].tolist() == [3, 4, 5, 6, 7]
    assert group["offset"][:].tolist() == [0, 12.5, 25]
    at = tuple((cells * [1, -1, 1] + [0, 4, 0])[placed].T)
    np.testing.assert_array_equal(group["amplitude"][...][at], values[placed])
    np.testing.assert_array_equal(group["cdp_x"][...], 300 + np.indices((4, 5))[0])
    np.testing.assert_array_equal(group["cdp_y"][...], 896 + np.indices((4, 5))[1])
    prove(str(tmp_path / "a.zarr"))
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "back.sgy"))
    assert filecmp.cmp(tmp_path / "a.sgy", tmp_path / "back.sgy", shallow=False)
    by_grid = Export(selection=["crossline=4:5"], order="grid")
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "part.sgy"), by_grid)
    ingest_segy(str(tmp_path / "part.sgy"), str(tmp_path / "part.zarr"), index)
    part = zarr.open_group(tmp_path / "part.zarr", mode="r")
    np.testing.assert_array_equal(part["amplitude"][...], group["amplitude"][:, 1:3])


def test_words_of_a_template_may_lie_in_the_additional_headers(tmp_path):
    cells = np.array(list(np.ndindex(6, 4)))
    words = {
        (301, "i4"): 11 + cells[:, 0],
        (305, "i2"): 1 + cells[:, 1],
        (309, "i4"): 5000 + 10 * cells[:, 0],
    }
    values = extended(tmp_path, ">", cells, words)
    index = Index(
        template="StreamerShotGathers2D", names=["shot_point", "channel", "source_coord_x"],
        bytes="301,305,309", types=["int32", "int16", "int32"],
    )  # fmt: skip
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), index)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["amplitude"][...].reshape(values.shape), values)
    np.testing.assert_array_equal(group["source_coord_x"][...], 5000 + 10 * np.arange(6))
    prove(str(tmp_path / "a.zarr"))


def test_index_words_beyond_all_headers_are_refused_before_anything_is_written(tmp_path):
    extended(tmp_path, ">", np.array(list(np.ndindex(2, 3))), {})
    for words, last in (
        (Index(bytes="257,718"), 717),
        (Index(bytes="257,720", types=["int32", "int16"]), 719),
    ):
        with pytest.raises(
            InputRefused, match=f"is not in a trace header; int.. words start at bytes 1 to {last}"
        ):
            ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), words)
    with pytest.raises(
        InputRefused, match="coordinate bytes 718,1 are not in a trace header; they start at bytes 1 to 717"
    ):
        ingest_segy(
            str(tmp_path / "a.sgy"),
            str(tmp_path / "a.zarr"),
            Index(bytes="257,263", coordinate_bytes="718,1"),
        )
    assert not (tmp_path / "a.zarr").exists()

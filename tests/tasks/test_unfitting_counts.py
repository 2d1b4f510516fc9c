"""Counts that do not fit their field, additional trace headers in either width, and bytes after the last trace.

Covers segy/long_counts.py, segy/padding.py, segy/trace_reading.py, segy/contradictions.py.
"""

import filecmp
from pathlib import Path

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat, Given, read_format
from tasks.volume.segy.long_counts import long_counts
from tasks.volume.store.objects import Source
from tests.support.segy_maker import sample_bytes, segy_bytes

N_TRACES = 35


def read_back(content: bytes, folder: Path, index: Index = Index()) -> tuple[FileFormat, zarr.Group]:
    """The format as ingested, and the volume, after the file came back as it was."""
    source, volume = folder / "source.sgy", folder / "volume.zarr"
    source.write_bytes(content)
    ingest_segy(str(source), str(volume), index)
    export_segy(str(volume), str(folder / "back.sgy"))
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    group = zarr.open_group(volume, mode="r")
    return FileFormat.from_json(group.attrs["seismill"]["sources"][0]["file"]), group


def long_file(n_samples: int, n_traces: int, code: int, said: tuple[int, int], **more: object) -> bytes:
    """Traces of more samples than 16 bits say, with what the binary and the trace headers say instead."""
    samples = sample_bytes(n_traces, n_samples, code, ">")
    binary, trace = said
    return segy_bytes(
        shape=(1, n_traces), n_samples=binary, code=code, samples=samples,
        traces={(115, "u2"): trace}, **more,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_samples", "n_traces", "code", "revision", "said"),
    [
        (70_000, 6, 5, 0x0100, (4464, 4464)),
        (70_000, 6, 5, 0x0000, (4464, 4464)),
        (65_536, 5, 8, 0x0100, (0, 0)),
        (131_072 + 77, 4, 3, 0x0000, (77, 77)),
        (80_001, 7, 16, 0x0100, (65_535, 65_535)),
        (80_001, 3, 1, 0x0000, (32_767, 32_767)),
        (99_999, 2, 8, 0x0100, (0, 99_999 & 0xFFFF)),
        (200_000, 1, 1, 0x0100, (200_000 & 0xFFFF, 200_000 & 0xFFFF)),
    ],
)
def test_counts_beyond_16_bits_are_found_from_the_size(tmp_path, n_samples, n_traces, code, revision, said):
    found, group = read_back(long_file(n_samples, n_traces, code, said, revision=revision), tmp_path)
    assert (found.n_samples, found.n_traces, found.trailer_bytes) == (n_samples, n_traces, 0)
    assert group["amplitude"].shape == (1, n_traces, n_samples)
    assert any(f"there are {n_samples}" in sentence for sentence in found.oddities) or said == (0, 0)


@pytest.mark.parametrize("said", [(65_535, 65_535), (0, 0), (4465, 4465), (123, 456), (32_767, 0)])
def test_the_number_of_samples_can_be_said(tmp_path, said):
    content = long_file(70_001, 1, 8, said)
    found, group = read_back(content, tmp_path, Index(bytes="trace", samples_per_trace=70_001))
    assert (found.n_samples, found.n_traces) == (70_001, 1)
    assert group["amplitude"].shape[-1] == 70_001


@pytest.mark.parametrize("wrong", [70_000, 70_002, 9, 140_241, 1])
def test_a_number_of_samples_that_does_not_fill_the_file_is_refused(tmp_path, wrong):
    (tmp_path / "a.sgy").write_bytes(long_file(70_001, 2, 8, (0, 0)))
    with pytest.raises(InputRefused, match=r"bytes follow trace|no whole trace"):
        read_format(Source(str(tmp_path / "a.sgy")), Given(n_samples=wrong))


@pytest.mark.parametrize("cut", [1, 240, 4000, 100_000, 17_857])
def test_a_short_file_is_not_taken_for_long_traces(tmp_path, cut):
    content = segy_bytes(shape=(1, 60), n_samples=4464, code=5)
    (tmp_path / "a.sgy").write_bytes(content[:-cut])
    with pytest.raises(InputRefused, match="is truncated or has something appended"):
        read_format(Source(str(tmp_path / "a.sgy")))


@pytest.mark.slow
def test_a_part_of_long_traces_is_read_again(tmp_path):
    content = long_file(140_000, 4, 8, (140_000 & 0xFFFF, 140_000 & 0xFFFF))
    _, group = read_back(content, tmp_path)
    export_segy(
        str(tmp_path / "volume.zarr"), str(tmp_path / "part.sgy"), Export(selection=["crossline=7:13"])
    )
    ingest_segy(str(tmp_path / "part.sgy"), str(tmp_path / "part.zarr"))
    part = zarr.open_group(tmp_path / "part.zarr", mode="r")
    np.testing.assert_array_equal(part["amplitude"][:], group["amplitude"][:, :3])


def test_candidates_fill_the_file():
    room = 12 * (240 + 4 * 70_000)
    counts = list(long_counts(room, 240, 4, (4464,)))
    assert 70_000 in counts
    assert all(count > 65_535 and room % (240 + 4 * count) == 0 for count in counts)
    assert list(long_counts(room, 240, 4, (4464,), n_traces=12)) == [70_000]
    assert long_counts(5000, 240, 4, (4464,)) == []
    assert long_counts(5000, 240, 4, (0,)) == [65, 190, 565]


@pytest.mark.slow
@pytest.mark.parametrize("said", [(0, 0), (65_535, 65_535), (32_767, 32_767)])
@pytest.mark.parametrize(("n_samples", "n_traces"), [(80_000, 4), (70_000, 6), (65_536, 12), (99_999, 7)])
def test_traces_are_not_merged_where_headers_say_nothing_of_their_length(tmp_path, said, n_samples, n_traces):
    found, _ = read_back(long_file(n_samples, n_traces, 8, said), tmp_path)
    assert (found.n_samples, found.n_traces) == (n_samples, n_traces)


@pytest.mark.parametrize(("n_samples", "n_traces"), [(1000, 600), (100, 2000), (1000, 400)])
def test_short_traces_of_no_length_are_not_taken_for_long_ones(tmp_path, n_samples, n_traces):
    (tmp_path / "a.sgy").write_bytes(long_file(n_samples, n_traces, 5, (0, 0)))
    with pytest.raises(InputRefused, match="--samples-per-trace"):
        read_format(Source(str(tmp_path / "a.sgy")))


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    ("revision", "words", "count"),
    [
        (0x0201, {(3507, "h"): 1, (3509, "h"): 0}, 1),
        (0x0201, {(3507, "h"): 1, (3509, "h"): 513}, 1),
        (0x0201, {(3507, "h"): 3, (3509, "h"): -1}, 3),
        (0x0201, {(3507, "h"): 0, (3509, "h"): 4}, 0),
        (0x0201, {(3507, "i"): 2}, 2),
        (0x0200, {(3507, "i"): 1}, 1),
        (0x0200, {(3507, "i"): 4}, 4),
        (0x0200, {(3507, "h"): 2, (3509, "h"): 257}, 2),
    ],
)
def test_additional_headers_are_counted_in_either_width(tmp_path, order, revision, words, count):
    extra = np.random.default_rng(0).integers(0, 256, (N_TRACES, 240 * count), np.uint8)
    content = segy_bytes(code=5, order=order, revision=revision, binary=words, extensions=extra)
    found, group = read_back(content, tmp_path)
    assert (found.extra_headers, found.n_traces, found.n_samples) == (count, N_TRACES, 9)
    assert found.oddities == ()
    if count:
        stored = group["raw_header_extensions"][:].reshape(N_TRACES, -1)
        np.testing.assert_array_equal(stored, extra)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    ("revision", "words", "count"),
    [
        (0x0201, {(3507, "h"): 1, (3509, "h"): 513}, 1),
        (0x0201, {(3507, "h"): 1, (3509, "h"): -2}, 1),
        (0x0200, {(3507, "i"): 1}, 1),
        (0x0201, {(3507, "h"): 0, (3509, "h"): 5}, 0),
        (0x0200, {(3507, "h"): 1, (3509, "h"): 7}, 1),
    ],
)
def test_another_byte_order_turns_the_fields_that_are_there(tmp_path, order, revision, words, count):
    extra = np.zeros((N_TRACES, 240 * count), np.uint8)
    if count:
        extra[:, 232:] = np.frombuffer(b"SEG00001", np.uint8)
    whole = {"code": 5, "revision": revision, "binary": words, "extensions": extra}
    read_back(segy_bytes(order=order, **whole), tmp_path)
    other, name = {">": ("<", "little"), "<": (">", "big")}[order]
    export_segy(str(tmp_path / "volume.zarr"), str(tmp_path / "other.sgy"), Export(endian=name))
    expected = segy_bytes(order=other, **whole)
    assert (tmp_path / "other.sgy").read_bytes()[3506:3510] == expected[3506:3510]


@pytest.mark.parametrize("code", [1, 3, 8])
@pytest.mark.parametrize("zeros", [4, 112, 255, 512, 3200, 32_768, 10 * (240 + 36)])
def test_zeros_after_the_last_trace_are_kept(tmp_path, code, zeros):
    content = segy_bytes(code=code, trailer=bytes(zeros))
    found, group = read_back(content, tmp_path)
    assert (found.n_traces, found.n_samples, found.trailer_bytes) == (N_TRACES, 9, zeros)
    assert group["amplitude"].shape == (5, 7, 9)
    assert group["segy_files/0/trailer"].shape == (zeros,)
    assert any(f"{zeros:,} bytes follow trace 35, the last" in sentence for sentence in found.oddities)


@pytest.mark.parametrize(
    "trailer",
    [b"x", b"\0" * 111 + b"\1", b"EOF" * 70, bytes(range(1, 256)) * 40, b"\xff" * 240, b"\0\0\0"],
    ids=["1", "112", "210", "10,200", "240", "3"],
)
def test_anything_after_the_last_trace_is_kept_if_that_is_said(tmp_path, trailer):
    content = segy_bytes(code=1, trailer=trailer)
    (tmp_path / "a.sgy").write_bytes(content)
    with pytest.raises(InputRefused, match=r"bytes follow trace .*--trailing keep"):
        ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))
    assert not (tmp_path / "a.zarr").exists()
    found, group = read_back(content, tmp_path, Index(trailing="keep"))
    assert (found.n_traces, found.trailer_bytes) == (N_TRACES, len(trailer))
    assert group["amplitude"].shape == (5, 7, 9)
    assert group["segy_files/0/trailer"][:].tobytes() == trailer


def test_a_dead_last_trace_is_no_padding(tmp_path):
    samples = sample_bytes(N_TRACES, 9, 5, ">")
    samples[-1] = 0
    found, group = read_back(segy_bytes(code=5, samples=samples), tmp_path)
    assert (found.n_traces, found.trailer_bytes) == (N_TRACES, 0)
    padded, _ = read_back(segy_bytes(code=5, samples=samples, trailer=bytes(512)), make(tmp_path / "padded"))
    assert (padded.n_traces, padded.trailer_bytes) == (N_TRACES, 512)
    assert not group["amplitude"][-1, -1].any()


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_padding_is_kept_in_each_of_several_files(tmp_path):
    names = []
    for number, zeros in enumerate((112, 0, 600)):
        content = segy_bytes(
            traces={(189, "i4"): np.repeat(np.arange(5) + 10 * number, 7)}, trailer=bytes(zeros)
        )
        (tmp_path / f"part_{number}.sgy").write_bytes(content)
        names.append(str(tmp_path / f"part_{number}.sgy"))
    ingest_segy(",".join(names), str(tmp_path / "volume.zarr"))
    export_segy(str(tmp_path / "volume.zarr"), str(tmp_path / "back"))
    for name in names:
        assert filecmp.cmp(name, tmp_path / "back" / Path(name).name, shallow=False)

"""Exports of part of a volume or in another form: values and headers by hand, and by other readers.

Covers export/rewrite.py, export/selection.py, segy/rewritten_headers.py.
"""

import filecmp
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segyio

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index, Master, Run
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.convert import ibm_words
from tasks.volume.segy.format import read_format
from tasks.volume.segy.headers import ibm_values
from tasks.volume.store.objects import Source
from tests.support.segy_maker import put, sample_bytes, segy_bytes, values_of

SHAPE, N_SAMPLES = (5, 7), 13
INLINES, CROSSLINES = 100 + 2 * np.arange(5), 7 + 3 * np.arange(7)
CODES = {"ibm32": 1, "float32": 5, "float64": 6}


class Written:
    """A file read by hand, by what its own headers say: their words, the records, and the values of the samples."""

    def __init__(self, path: Path) -> None:
        self.raw = path.read_bytes()
        self.fmt = read_format(Source(str(path)))
        order = self.order = self.fmt.byte_order
        self.words = {
            byte: struct.unpack_from(order + "H", self.raw, byte - 1)[0] for byte in range(3201, 3600, 2)
        }
        first, size = self.fmt.first_trace_offset, self.fmt.trace_bytes
        body = self.raw[first : len(self.raw) - self.fmt.trailer_bytes]
        self.records = np.frombuffer(body, np.uint8).reshape(-1, size)
        self.values = values_of(self.records[:, self.fmt.trace_header_bytes :], self.words[3225], order)

    def word(self, byte: int, kind: str) -> np.ndarray:
        """A word of each trace header, first byte counted from 1."""
        width = np.dtype(kind).itemsize
        stored = np.ascontiguousarray(self.records[:, byte - 1 : byte - 1 + width])
        return stored.view(self.order + kind)[:, 0].astype(kind)


def exported(folder: Path, content: bytes, export: Export, **options: Any) -> tuple[Written, dict[str, Any]]:
    source, volume, target = folder / "source.sgy", folder / "volume.zarr", folder / "out.sgy"
    source.write_bytes(content)
    ingest_segy(str(source), str(volume), master=Master(chunks=[2, 4, 8]), **options)
    summary = export_segy(str(volume), str(target), export)
    assert summary["bytes"] == target.stat().st_size
    export_segy(str(volume), str(folder / "again.sgy"))  # what was asked for changed nothing of the volume
    assert filecmp.cmp(source, folder / "again.sgy", shallow=False)
    return Written(target), summary


def plain(**options: Any) -> bytes:
    return segy_bytes(**{"shape": SHAPE, "n_samples": N_SAMPLES} | options)


@pytest.mark.parametrize(
    "export", [Export(), Export(order="grid"), Export(endian="big", sample_format="ibm32")]
)
def test_what_the_source_is_already_comes_byte_for_byte(tmp_path, export):
    written, summary = exported(tmp_path, plain(), export)
    assert summary["identical"]
    assert written.raw == (tmp_path / "source.sgy").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["ibm32", "float32", "float64"])
@pytest.mark.parametrize("code", [1, 2, 3, 5, 6, 7, 8, 10, 16])
@pytest.mark.parametrize("endian", ["source", "big", "little"])
def test_samples_in_another_format_have_the_same_values(tmp_path, code, wanted, endian):
    samples = sample_bytes(35, N_SAMPLES, code, ">")
    source = plain(code=code, samples=samples)
    written, summary = exported(tmp_path, source, Export(sample_format=wanted, endian=endian))
    values = values_of(samples, code, ">").astype("f8")
    assert written.words[3225] == CODES[wanted]
    assert written.fmt.byte_order == ("<" if endian == "little" else ">")
    assert written.fmt.oddities == ()
    got = written.values.astype("f8")
    relative = {"ibm32": 2.0**-21, "float32": 2.0**-24, "float64": 0}[wanted]  # half a unit of the last place
    if CODES[wanted] == code:
        relative = 0
    nan = np.isnan(values)
    np.testing.assert_allclose(got[~nan], values[~nan], rtol=relative, atol=0)
    if wanted == "ibm32":
        assert not got[nan].any()
    else:
        assert np.isnan(got[nan]).all()
    inexact = int(np.count_nonzero(got[~nan] != values[~nan]))
    said = [note for note in summary.get("notes", []) if "not exact" in note]
    assert bool(said) == bool(inexact)
    assert not said or said[0].startswith(f"{inexact:,} of 455 samples")
    assert (written.word(189, "i4") == np.repeat(INLINES, 7)).all()


def test_ibm_words_come_rounded_to_the_nearest():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.normal(0, 1, 500) * 10.0 ** rng.integers(-70, 70, 500),
            [
                0.0,
                -0.0,
                1.0,
                -118.625,
                16.0,
                15.9999999,
                2.0**-260,
                7.3e75,
                -1e300,
                np.inf,
                -np.inf,
                np.nan,
                1e-90,
            ],
        ]
    )
    words = ibm_words(values)
    back = ibm_values(words)
    usual = slice(0, 507)
    # The nearest: neither neighbour is closer, and the fraction is normalised.
    for step in (-1, 1):
        neighbour = ibm_values((words[usual].astype(np.int64) + step).astype(np.uint32))
        assert (np.abs(back[usual] - values[usual]) <= np.abs(neighbour - values[usual])).all()
    assert (words[usual][back[usual] != 0] & 0x00F00000).all()
    assert [hex(word) for word in words[500:506]] == [
        "0x0", "0x80000000", "0x41100000", "0xc276a000", "0x42100000", "0x42100000",
    ]  # fmt: skip
    assert [hex(word) for word in words[-5:]] == ["0xffffffff", "0x7fffffff", "0xffffffff", "0x0", "0x0"]


def test_words_that_float32_lacks_are_converted_from_the_words(tmp_path):
    words = np.full((35, N_SAMPLES), 0x41100000, ">u4")
    words[3, 4], words[3, 5], words[9, 0] = (
        0x61100000,
        0x46000001,
        0x7FFFFFFF,
    )  # 2^128, unnormalised 1, the largest
    content = plain(samples=words.view(np.uint8))
    written, summary = exported(tmp_path, content, Export(sample_format="float64"))
    assert written.values[3, 4] == 2.0**128
    assert written.values[3, 5] == 1
    assert written.values[9, 0] == (2.0**24 - 1) * 16.0 ** (63 - 6)
    assert not any("not exact" in note for note in summary["notes"])
    (tmp_path / "second").mkdir()
    written, summary = exported(tmp_path / "second", content, Export(sample_format="float32"))
    assert written.values[3, 4] == np.inf
    assert "2 of 455 samples are not exact as float32; the farthest is off by inf" in summary["notes"]


def test_in_the_same_format_even_odd_words_stay(tmp_path):
    words = np.full((35, N_SAMPLES), 0x41100000, ">u4")
    words[30, 4], words[33, 5] = 0x61100000, 0x46000001
    content = plain(samples=words.view(np.uint8))
    written, _ = exported(tmp_path, content, Export(selection=["inline=108", "time=8:28"], endian="little"))
    got = np.ascontiguousarray(written.records[:, 240:]).view("<u4")
    assert (got == words[28:, 2:8]).all()


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("revision", [0x0000, 0x0100, 0x0200])
def test_every_word_of_the_headers_is_turned(tmp_path, order, revision):
    rng = np.random.default_rng(4)
    traces = {(byte, "i2"): rng.integers(-(2**15), 2**15, 35) for byte in (*range(91, 109, 2), 173, 203, 211)}
    traces |= {(byte, "i4"): rng.integers(-(2**31), 2**31, 35) for byte in (9, 13, 41, 73, 85, 197, 205, 219)}
    binary: dict[tuple[int, str], Any] = {(3201, "i"): 77, (3205, "i"): -3, (3213, "h"): 7, (3255, "h"): 1}
    if revision >= 0x0200:
        binary |= {
            (3269, "I"): N_SAMPLES,
            (3273, "d"): 4000.0,
            (3281, "d"): 0.5,
            (3289, "I"): 99,
            (3513, "Q"): 35,
        }
        binary |= {(3521, "Q"): 3600, (3297, "I"): 0x01020304}
    content = plain(order=order, revision=revision, traces=traces, binary=binary)
    other = "<" if order == ">" else ">"
    written, _ = exported(tmp_path, content, Export(endian="little" if other == "<" else "big"))
    twin = plain(
        order=other, revision=revision, traces=traces, binary=binary,
        samples=np.ascontiguousarray(
            sample_bytes(35, N_SAMPLES, 1, order).reshape(35, -1, 4)[:, :, ::-1]
        ).reshape(35, -1),
    )  # fmt: skip
    assert written.raw == twin


def test_there_and_back_is_the_source(tmp_path):
    content = plain(code=3, revision=0x0100, traces={(71, "i2"): -100, (233, "u1"): 9, (240, "u1"): 200})
    exported(tmp_path, content, Export(endian="little"))
    (tmp_path / "second").mkdir()
    written, _ = exported(tmp_path / "second", (tmp_path / "out.sgy").read_bytes(), Export(endian="big"))
    assert written.raw == content


def test_words_of_the_survey_s_own_are_turned_as_it_has_them(tmp_path):
    # Index words that straddle the standard's fields, and are unlike them.
    lines, crosslines = np.repeat(INLINES, 7), np.tile(CROSSLINES, 5)
    traces = {(235, "i2"): lines, (201, "i4"): crosslines, (189, "i4"): 0, (193, "i4"): 0}
    index = Index(bytes="235,201", types=["int16", "int32"], coordinate_bytes="none")
    written, _ = exported(tmp_path, plain(traces=traces), Export(endian="little"), index=index)
    assert (written.word(235, "i2") == lines).all()
    assert (written.word(201, "i4") == crosslines).all()


@pytest.mark.parametrize(
    ("selection", "lines", "crosslines", "samples"),
    [
        (["inline=102:106"], [1, 2, 3], range(7), range(13)),
        (["inline=102"], [1], range(7), range(13)),
        (["crossline=:10"], range(5), [0, 1], range(13)),
        (["crossline=17.5:"], range(5), [4, 5, 6], range(13)),
        (["inline=100:102", "crossline=10:13", "time=4:11.9"], [0, 1], [1, 2], [1, 2]),
        (["time=48:"], range(5), range(7), [12]),
        (["cdp_x=400025:400075"], [1, 2, 3], range(7), range(13)),
        (["cdp_x=400025:", "cdp_y=:6100012.5"], [1, 2, 3, 4], [0, 1], range(13)),
        (["inline=100:104", "inline=104:108"], [2], range(7), range(13)),
    ],
)
def test_ranges_choose_traces_and_samples(tmp_path, selection, lines, crosslines, samples):
    content = plain(code=5, binary={(3213, "h"): 7})
    written, summary = exported(tmp_path, content, Export(selection=selection))
    whole = values_of(sample_bytes(35, N_SAMPLES, 5, ">"), 5, ">").reshape(5, 7, 13)
    expected = whole[np.ix_(lines, crosslines, samples)].reshape(-1, len(samples))
    np.testing.assert_array_equal(written.values, expected)
    assert (written.fmt.n_traces, written.fmt.n_samples) == expected.shape
    assert written.words[3221] == len(samples)
    assert (written.word(115, "u2") == len(samples)).all()
    assert (written.word(109, "i2") == 4 * samples[0]).all()
    assert (written.word(189, "i4").reshape(len(lines), -1) == INLINES[lines, np.newaxis]).all()
    assert (written.word(5, "i4") == 0).all()  # was no position in the file
    assert written.fmt.oddities == ()
    assert f"{len(expected)} of 35 traces were written with {len(samples)} samples each" in summary["notes"]


def test_a_mask_chooses_traces_and_positions_follow(tmp_path):
    mask = np.random.default_rng(2).random(SHAPE) < 0.4
    np.save(tmp_path / "mask.npy", mask)
    content = plain(traces={(5, "i4"): 1 + np.arange(35)})
    written, _ = exported(
        tmp_path, content, Export(mask=str(tmp_path / "mask.npy"), selection=["inline=102:"])
    )
    mask[0] = False
    lines, crosslines = np.nonzero(mask)
    assert (written.word(189, "i4") == INLINES[lines]).all()
    assert (written.word(193, "i4") == CROSSLINES[crosslines]).all()
    assert (written.word(5, "i4") == 1 + np.arange(mask.sum())).all()
    assert (written.word(1, "i4") == 1 + np.flatnonzero(mask)).all()  # within the line, as it was


@pytest.mark.parametrize("selection", [[], ["crossline=10:22", "time=4:40"]])
def test_traces_come_in_the_order_of_the_grid_or_of_the_source(tmp_path, selection):
    order = np.random.default_rng(3).permutation(35)
    traces = {(189, "i4"): np.repeat(INLINES, 7)[order], (193, "i4"): np.tile(CROSSLINES, 5)[order]}
    content = plain(traces=traces | {(181, "i4"): 0, (185, "i4"): 0})  # no place that contradicts the order
    source = [pair for pair in zip(traces[189, "i4"], traces[193, "i4"], strict=True)]
    kept = [pair for pair in source if not selection or 10 <= pair[1] <= 22]
    for by, expected in (("source", kept), ("grid", sorted(kept))):
        (tmp_path / by).mkdir()
        written, _ = exported(tmp_path / by, content, Export(order=by, selection=selection))
        found = list(zip(written.word(189, "i4"), written.word(193, "i4"), strict=True))
        assert found == expected
        values = values_of(sample_bytes(35, N_SAMPLES, 1, ">"), 1, ">")
        by_cell = dict(zip(source, values, strict=True))
        cut = slice(1, 11) if selection else slice(None)
        np.testing.assert_array_equal(written.values, [by_cell[pair][cut] for pair in expected])


@pytest.mark.parametrize("order", [">", "<"])
def test_what_rev_2_counts_is_counted_anew(tmp_path, order):
    extension = np.zeros((35, 240), np.uint8)
    put(extension, 137, "u4", N_SAMPLES, order)
    put(extension, 9, "u8", 2**40 + np.arange(35), order)
    put(extension, 161, "f8", np.arange(35) / 3, order)
    extension[:, 232:240] = np.frombuffer(b"SEG00001", np.uint8)
    binary = {(3269, "I"): N_SAMPLES, (3507, "i"): 1, (3513, "Q"): 35, (3529, "i"): 1, (3505, "h"): 1}
    content = plain(
        order=order, revision=0x0201, binary=binary, extensions=extension,
        texts=b"((SEG: EndText))".ljust(3200), trailer=b"((A: stanza))".ljust(3200),
    )  # fmt: skip
    other = "little" if order == ">" else "big"
    export = Export(selection=["inline=104:", "time=:39"], endian=other, sample_format="float32")
    written, _ = exported(tmp_path, content, export)
    assert (written.fmt.revision, written.fmt.n_traces, written.fmt.n_samples) == ("2.1", 21, 10)
    assert (written.fmt.extra_headers, written.fmt.extended_texts, written.fmt.trailer_bytes) == (1, 1, 3200)
    assert written.fmt.oddities == ()
    assert written.raw[-3200:] == content[-3200:]
    assert written.raw[3600:6800] == content[3600:6800]
    assert (written.word(240 + 137, "u4") == 10).all()
    assert (written.word(240 + 9, "u8") == 2**40 + np.arange(14, 35)).all()
    assert (written.word(240 + 161, "f8") == np.arange(14, 35) / 3).all()


def test_a_source_that_contradicts_itself_is_put_right(tmp_path):
    content = plain(traces={(115, "u2"): 462})
    written, _ = exported(tmp_path, content, Export(sample_format="float32"))
    assert written.fmt.oddities == ()
    assert written.words[3221] == N_SAMPLES
    assert (written.word(115, "u2") == N_SAMPLES).all()


def test_segyio_reads_what_is_written(tmp_path):
    export = Export(selection=["inline=102:106", "time=4:36"], sample_format="float32", endian="little")
    exported(tmp_path, plain(), export)
    with segyio.open(tmp_path / "out.sgy", endian="little") as file:
        assert file.ilines.tolist() == [102, 104, 106]
        assert file.xlines.tolist() == CROSSLINES.tolist()
        assert file.samples.tolist() == list(range(4, 40, 4))
        values = values_of(sample_bytes(35, N_SAMPLES, 1, ">"), 1, ">").reshape(5, 7, 13)
        np.testing.assert_array_equal(segyio.tools.cube(file), values[1:4, :, 1:10])


def test_a_dry_run_says_the_size_and_writes_nothing(tmp_path):
    exported(tmp_path, plain(), Export())
    export = Export(selection=["inline=102"], sample_format="float64")
    summary = export_segy(
        str(tmp_path / "volume.zarr"), str(tmp_path / "dry.sgy"), export, run=Run(dry_run=True)
    )
    assert summary["bytes"] == 3600 + 7 * (240 + 8 * N_SAMPLES)
    assert not (tmp_path / "dry.sgy").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("export", "sentence"),
    [
        ({"selection": ["inline"]}, "selection 'inline' is no range; write NAME=FIRST:LAST"),
        ({"selection": ["inline=5:1"]}, "is no range"),
        ({"selection": ["inline=a:b"]}, "is no range"),
        ({"selection": ["inline="]}, "is no range"),
        (
            {"selection": ["offset=1:2"]},
            "names no coordinate of .* it has inline, crossline, time, cdp_x, cdp_y",
        ),
        ({"selection": ["headers=1:2"]}, "holds no numbers"),
        ({"selection": ["amplitude=1:2"]}, "names no coordinate"),
        ({"selection": ["inline=1:2"]}, "holds nothing: inline goes from 100 to 108"),
        ({"selection": ["inline=101"]}, "holds nothing"),
        ({"selection": ["inline=100", "cdp_x=400050:"]}, "holds no trace, or no sample"),
        ({"selection": ["time=4:8", "time=12:16"]}, "holds no trace, or no sample"),
        ({"mask": "absent.npy"}, "absent.npy"),
        (
            {"mask": "wrong.npy"},
            r"holds float64 of shape \(5, 7\), and the mask of this volume is bool of shape",
        ),
        ({"mask": "text.npy"}, "is not a .npy file of booleans"),
        ({"mask": "long.npy"}, r"has 8,\d+ bytes, and a mask of the grid \(5, 7\) at most 4,131"),
        ({"mask": "pickle.npy"}, "is not a .npy file of booleans"),
    ],
)
def test_what_cannot_be_chosen_is_refused_and_nothing_is_written(tmp_path, export, sentence):
    exported(tmp_path, plain(), Export())
    np.save(tmp_path / "wrong.npy", np.ones(SHAPE))
    np.save(tmp_path / "long.npy", np.ones((90, 90), bool))
    np.save(tmp_path / "pickle.npy", np.array([[{}]]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    if "mask" in export:
        export["mask"] = str(tmp_path / export["mask"])
    with pytest.raises(InputRefused, match=sentence):
        export_segy(str(tmp_path / "volume.zarr"), str(tmp_path / "new.sgy"), Export(**export))
    assert not list(tmp_path.glob("new*"))


def test_a_first_sample_that_headers_cannot_say_is_refused(tmp_path):
    exported(tmp_path, plain(interval=250), Export())
    with pytest.raises(
        InputRefused, match=r"begins 0.75 ms after .* cannot hold in whole .* a multiple of 1 ms"
    ):
        export_segy(
            str(tmp_path / "volume.zarr"), str(tmp_path / "new.sgy"), Export(selection=["time=0.75:"])
        )
    assert not (tmp_path / "new.sgy").exists()
    summary = export_segy(
        str(tmp_path / "volume.zarr"), str(tmp_path / "new.sgy"), Export(selection=["time=1:"])
    )
    assert summary["bytes"] == 3600 + 35 * (240 + 4 * 9)


def test_additional_headers_of_somebody_s_own_are_not_turned(tmp_path):
    extensions = np.full((35, 240), 7, np.uint8)
    content = plain(revision=0x0201, binary={(3507, "i"): 1}, extensions=extensions)
    exported(tmp_path, content, Export(sample_format="float32"))
    with pytest.raises(InputRefused, match="unknown and cannot be converted"):
        export_segy(str(tmp_path / "volume.zarr"), str(tmp_path / "new.sgy"), Export(endian="little"))

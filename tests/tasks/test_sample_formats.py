"""Every sample format in both byte orders, said rightly or not: values as decoded by hand, and the file as it was.

Covers segy/convert.py, segy/samples.py.
"""

import filecmp
import json
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Export, Index, Master
from tasks.prove import prove
from tasks.rechunk import rechunk
from tasks.scan import scan
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.segy.convert import ibm_words
from tasks.volume.segy.format import read_format
from tasks.volume.segy.standards import SAMPLE_FORMATS
from tasks.volume.store.objects import Source
from tests.support.command import SEISMILL
from tests.support.segy_maker import DTYPES, WIDTHS, sample_bytes, segy_bytes, values_of

SHAPE, N_SAMPLES = (5, 7), 13  # odd counts: records are no whole words
SMALL = Master(chunks=[2, 4, 8])


def live_cells() -> np.ndarray:
    live = np.ones(SHAPE, bool)
    live[1, 2:5] = live[3, :4] = False
    live[2:4, 4:6] = False  # two traces are left in one column of chunks
    return live


def round_trip(source: Path, folder: Path) -> Path:
    """The volume of a file that came back as it was."""
    volume = folder / "volume.zarr"
    ingest_segy(str(source), str(volume), master=SMALL)
    summary = export_segy(str(volume), str(folder / "back.sgy"))
    assert summary["identical"]
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    prove(str(volume))
    return volume


@pytest.mark.slow
@pytest.mark.parametrize("code", sorted(WIDTHS))
@pytest.mark.parametrize("order", [">", "<"])
def test_every_format_keeps_its_values_and_comes_back(tmp_path, code, order):
    live = live_cells()
    samples = sample_bytes(int(live.sum()), N_SAMPLES, code, order)
    source = tmp_path / "source.sgy"
    source.write_bytes(
        segy_bytes(shape=SHAPE, n_samples=N_SAMPLES, code=code, order=order, live=live, samples=samples)
    )
    volume = round_trip(source, tmp_path)

    amplitude = zarr.open_array(str(volume / "amplitude"), mode="r")
    expected = np.full((*SHAPE, N_SAMPLES), np.nan if DTYPES[code][0] == "f" else 0, DTYPES[code])
    values = values_of(samples, code, order)
    expected[live] = values
    assert amplitude.dtype == expected.dtype
    np.testing.assert_array_equal(amplitude[:], expected)
    assert ("_FillValue" in amplitude.attrs) == (DTYPES[code][0] == "f")
    if DTYPES[code][0] != "f":
        assert amplitude.fill_value == 0

    finite = values[np.isfinite(values)]
    stats = json.loads(amplitude.attrs["statsV1"])
    assert stats["count"] == finite.size
    assert stats["min"] == finite.min()
    assert stats["max"] == finite.max()
    assert stats["sum"] == pytest.approx(sum(map(float, finite.ravel())), rel=1e-9)
    assert stats["sumSquares"] == pytest.approx(sum(float(v) ** 2 for v in finite.ravel()), rel=1e-12)
    assert amplitude.attrs["nonfinite_count"] == values.size - finite.size
    assert amplitude.attrs["zero_count"] == np.count_nonzero(values == 0)
    assert amplitude.attrs["zero_traces"] == np.count_nonzero((values == 0).all(axis=1))
    assert amplitude.attrs["raw_bytes"] == values.nbytes


def test_extremes_of_64_bit_integers_are_exact(tmp_path):
    values = np.full((35, 9), 5, ">i8")
    values[3, 3], values[20, 8] = -(2**63) + 1, 2**63 - 1
    source = tmp_path / "source.sgy"
    source.write_bytes(segy_bytes(code=9, samples=values.view(np.uint8)))
    volume = round_trip(source, tmp_path)
    stats = json.loads(zarr.open_array(str(volume / "amplitude"), mode="r").attrs["statsV1"])
    assert (stats["min"], stats["max"]) == (-(2**63) + 1, 2**63 - 1)


def test_float64_beyond_what_squares_hold_is_stored_all_the_same(tmp_path):
    values = np.full((35, 9), 1.5e308, ">f8")
    values[:, 3], values[7] = np.nan, -1.7e308
    source = tmp_path / "source.sgy"
    source.write_bytes(segy_bytes(code=6, samples=values.view(np.uint8)))
    volume = round_trip(source, tmp_path)
    attributes = zarr.open_array(str(volume / "amplitude"), mode="r").attrs
    assert attributes["min"] == -1.7e308
    assert np.isfinite([attributes[name] for name in ("mean", "rms", "std")]).all()
    assert attributes["std"] > 0


def test_copies_of_integers_that_no_float_holds_are_lossless_or_refused_with_the_alternative(tmp_path):
    source = tmp_path / "source.sgy"
    source.write_bytes(segy_bytes(code=9))
    volume = round_trip(source, tmp_path)
    with pytest.raises(
        InputRefused, match="holds int64, whose error ZFP cannot bound; say --quality lossless"
    ):
        rechunk(str(volume), Copies(quality="low"))
    own = Copies(presets=[], more=[Copy(name="slices", chunks=[1, 7, 9])], quality="lossless")
    (row,) = rechunk(str(volume), own)["arrays"]
    assert row["max_abs_error"] == 0
    slices, amplitude = (zarr.open_array(str(volume / name), mode="r") for name in ("slices", "amplitude"))
    np.testing.assert_array_equal(slices[:], amplitude[:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "dtype"),
    [
        ("segyio/f3.sgy", "int16"),
        ("segyio/f3-lsb.sgy", "int16"),
        ("segyio/multiformats/Format8msb.sgy", "int8"),
        ("segyio/multiformats/Format1msb.sgy", "float32"),
        ("segyio/multiformats/Format5lsb.sgy", "float32"),
    ],
)
def test_real_files_come_back(shared, tmp_path, path, dtype):
    volume = round_trip(shared / "data" / path, tmp_path)
    assert zarr.open_array(str(volume / "amplitude"), mode="r").dtype == dtype


def test_the_same_survey_in_both_byte_orders_has_the_same_samples(shared, tmp_path):
    both = []
    for name in ("f3.sgy", "f3-lsb.sgy"):
        volume = tmp_path / name
        ingest_segy(str(shared / "data" / "segyio" / name), str(volume))
        both.append(zarr.open_array(str(volume / "amplitude"), mode="r")[:])
    np.testing.assert_array_equal(*both)


def lying(code: int, order: str, said: int, said_order: str) -> tuple[bytes, np.ndarray]:
    """A survey whose headers say another format or byte order than its samples have, and its values by hand."""
    rng = np.random.default_rng(code)
    waves = np.apply_along_axis(
        lambda trace: np.convolve(trace, np.hanning(9), "same"), 1, rng.normal(0, 900, (35, 120))
    )
    words = {1: ibm_words, 2: np.rint, 5: np.float32}[code](waves)
    words = words.astype("u4") if code == 1 else words.astype(DTYPES[code]).view("u4")
    if code == 1:
        words[3, 40:42] = 0x50001234, 0x00012345  # not normalised: float32 does not give them back
    samples = words.astype(f"{order}u4").view(np.uint8).reshape(35, -1)
    content = segy_bytes(
        n_samples=120, code=said, order=said_order, samples=samples, binary={(3225, "H"): said}
    )
    return content, values_of(samples, code, order).reshape(*SHAPE, 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "order", "said", "said_order"),
    [
        (1, ">", 5, ">"),
        (5, ">", 1, ">"),
        (1, "<", 5, "<"),
        (5, "<", 1, ">"),
        (1, "<", 1, ">"),
        (2, ">", 5, ">"),
        (5, ">", 2, "<"),
    ],
)
def test_samples_are_read_as_the_option_says_that_scan_proposes(tmp_path, code, order, said, said_order):
    content, values = lying(code, order, said, said_order)
    source, volume = tmp_path / "source.sgy", tmp_path / "volume.zarr"
    source.write_bytes(content)
    flags = scan(str(source))["proposal"]["option"].split()
    given = dict(
        zip((flag.removeprefix("--").replace("-", "_") for flag in flags[::2]), flags[1::2], strict=True)
    )
    ingest_segy(str(source), str(volume), Index(**given), Master(chunks=[2, 4, 64]))
    np.testing.assert_array_equal(zarr.open_array(str(volume / "amplitude"), mode="r")[:], values)
    source_entry = info(str(volume))["sources"][0]
    assert source_entry["sample_format"] == code
    assert [note for note in source_entry["oddities"] if "as was asked" in note]
    assert export_segy(str(volume), str(tmp_path / "back.sgy"))["identical"]
    assert filecmp.cmp(source, tmp_path / "back.sgy", shallow=False)
    prove(str(volume))
    with pytest.raises(DestinationRefused):  # what was asked is part of what a volume is
        ingest_segy(str(source), str(volume), master=Master(chunks=[2, 4, 64]))

    export_segy(str(volume), str(tmp_path / "right.sgy"), Export(selection=["inline=102:106"]))
    again = tmp_path / "right.zarr"
    ingest_segy(str(tmp_path / "right.sgy"), str(again))
    right = scan(str(tmp_path / "right.sgy"))
    assert (right["format"]["sample_format"], right["proposal"]) == (code, {})
    np.testing.assert_array_equal(zarr.open_array(str(again / "amplitude"), mode="r")[:], values[1:4])


@pytest.mark.slow
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("said", [0, 4, 99])
@pytest.mark.parametrize("code", [1, 3, 5, 8])
def test_a_code_that_is_none_needs_the_option(tmp_path, order, said, code):
    samples = sample_bytes(35, N_SAMPLES, code, order)
    source, volume = tmp_path / "source.sgy", tmp_path / "volume.zarr"
    source.write_bytes(
        segy_bytes(n_samples=N_SAMPLES, code=code, order=order, samples=samples, binary={(3225, "H"): said})
    )
    for verb in (scan, ingest_segy):
        with pytest.raises(
            InputRefused, match=r"sample format .*state the format of its samples \(--sample-format\)"
        ):
            verb(str(source), *([str(volume)] if verb is ingest_segy else []))
    found = scan(str(source), Index(sample_format=SAMPLE_FORMATS[code].name))
    assert (found["format"]["sample_format"], found["traces"], found["grid"]["shape"]) == (code, 35, [*SHAPE])
    ingest_segy(str(source), str(volume), Index(sample_format=SAMPLE_FORMATS[code].name), SMALL)
    values = values_of(samples, code, order).reshape(*SHAPE, N_SAMPLES)
    np.testing.assert_array_equal(zarr.open_array(str(volume / "amplitude"), mode="r")[:], values)
    export_segy(str(volume), str(tmp_path / "back.sgy"))
    assert filecmp.cmp(source, tmp_path / "back.sgy", shallow=False)
    export_segy(str(volume), str(tmp_path / "right.sgy"), Export(order="grid"))
    right = read_format(Source(str(tmp_path / "right.sgy")))
    assert (right.sample_format.code, right.byte_order, right.samples_given) == (code, order, False)


@pytest.mark.slow
def test_the_option_is_one_of_the_command(tmp_path):
    source, volume = tmp_path / "source.sgy", tmp_path / "volume.zarr"
    source.write_bytes(lying(1, "<", 5, ">")[0])
    words = ["ingest-segy", str(source), str(volume), *scan(str(source))["proposal"]["option"].split()]
    run([*SEISMILL, *words], check=True, timeout=300)
    assert info(str(volume))["sources"][0]["sample_format"] == 1


def test_an_option_that_says_what_the_header_says_changes_nothing(tmp_path):
    source, volume = tmp_path / "source.sgy", tmp_path / "volume.zarr"
    source.write_bytes(segy_bytes())
    ingest_segy(str(source), str(volume), Index(sample_format="ibm32", sample_endian="big"))
    assert "was done already" in ingest_segy(str(source), str(volume))["notes"]

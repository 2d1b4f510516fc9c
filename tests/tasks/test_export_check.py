"""`export-segy --check`: segyio reads what was written, and finds the volume's samples and header fields.

Covers export/independent.py, export/source_file.py.
"""

from pathlib import Path

import pytest
import segyio
import zarr

from flows import cli
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Master
from tasks.volume.arrays.reader import open_volume
from tasks.volume.export.independent import compare
from tasks.volume.export.rebuild import windows
from tasks.volume.export.segy_parts import open_parts
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.writable import WritableStore
from tests.support.kinds import revision_2, shards, words
from tests.support.segy_maker import segy_bytes
from tests.support.survey import Survey, make_survey


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    """A file of IBM samples with empty cells and a word out of range, and its volume beside it."""
    source = make_survey(tmp_path / "a.sgy", drop=5, n_samples=37, set_words={(0, 3): 0x7FFFFFFF})
    ingest_segy(str(source.path), str(tmp_path / "a.zarr"), master=Master(chunks=[4, 4, 8]))
    return source


def test_segyio_finds_every_trace_of_the_export_as_the_volume_has_it(survey, tmp_path):
    summary = export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "b.sgy"), check=True)
    assert (summary["checked"], summary["identical"]) == (40, True)
    assert (tmp_path / "b.sgy").read_bytes() == survey.content


@pytest.mark.parametrize("make", [shards, words], ids=lambda make: make.__name__)
def test_several_files_and_words_that_float32_does_not_hold_are_checked(make, tmp_path):
    volume = make(tmp_path)
    summary = export_segy(str(volume), str(tmp_path / "again"), check=True)
    assert summary["checked"] == {"shards": 90, "words": 200}[make.__name__]


@pytest.mark.parametrize("code", [2, 3, 5, 6, 8, 10, 11, 12, 16])
def test_each_sample_format_that_segyio_reads_is_checked(tmp_path, code):
    (tmp_path / "a.sgy").write_bytes(segy_bytes(code=code))
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))
    assert export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "b.sgy"), check=True)["checked"] == 35


@pytest.mark.parametrize(
    ("export", "traces"),
    [
        (Export(selection=["inline=12:15", "time=20:60"]), None),
        (Export(sample_format="float32", endian="little"), 40),
        (Export(sample_format="float64", order="grid"), 40),
    ],
    ids=["part", "float32, little endian", "float64, by the grid"],
)
def test_a_part_and_another_form_are_checked(survey, tmp_path, export, traces):
    traces = traces or int((survey.numbers[1:5] >= 0).sum())
    summary = export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "b.sgy"), export, check=True)
    assert summary["checked"] == traces
    order = "little" if export.endian == "little" else "big"
    with segyio.open(str(tmp_path / "b.sgy"), ignore_geometry=True, endian=order) as file:
        assert file.tracecount == traces


def test_floats_written_as_ibm_may_be_rounded(tmp_path):
    source = make_survey(tmp_path / "a.sgy", fmt="ieee", n_samples=30)
    ingest_segy(str(source.path), str(tmp_path / "a.zarr"))
    summary = export_segy(
        str(tmp_path / "a.zarr"), str(tmp_path / "b.sgy"), Export(sample_format="ibm32"), check=True
    )
    assert summary["checked"] == 45


def test_a_header_array_that_is_not_the_file_ends_with_5(survey, tmp_path, capsys):
    headers = zarr.open_array(str(tmp_path / "a.zarr/headers"), mode="r+")
    changed = headers[...]
    changed["cdp_x"][2, 1] += 1
    headers[...] = changed
    code = cli.run(["export-segy", str(tmp_path / "a.zarr"), str(tmp_path / "b.sgy"), "--check"])
    assert code == IntegrityFailure.exit_code
    errors = capsys.readouterr().err
    assert f"field cdp_x (byte 181) of trace {survey.numbers[2, 1]} is" in errors
    assert (tmp_path / "b.sgy").read_bytes() == survey.content  # every byte is the source's: it is kept


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (3600 + 2 * 388 + 240 + 4 * 5 + 1, "sample 5 of trace 2 is"),
        (3600 + 388 + 190, "field inline (byte 189) of trace 1"),
    ],
    ids=["sample", "header"],
)
def test_a_file_that_differs_is_told_with_the_first_place(survey, tmp_path, at, said):
    content = bytearray(survey.content)
    content[at] ^= 0x10
    (tmp_path / "b.sgy").write_bytes(content)
    parts = open_parts(open_volume(WritableStore(str(tmp_path / "a.zarr"))))
    regions, _ = windows(parts)
    assert compare(str(survey.path), parts, regions, parts.fmt) == 40
    with pytest.raises(IntegrityFailure, match=said.replace("(", r"\(").replace(")", r"\)")):
        compare(str(tmp_path / "b.sgy"), parts, regions, parts.fmt)


def test_a_file_that_is_too_short_is_told(survey, tmp_path):
    (tmp_path / "b.sgy").write_bytes(survey.content[:-388])
    parts = open_parts(open_volume(WritableStore(str(tmp_path / "a.zarr"))))
    with pytest.raises(IntegrityFailure, match="segyio finds 39 traces of 37 samples, not 40 of 37"):
        compare(str(tmp_path / "b.sgy"), parts, windows(parts)[0], parts.fmt)


def test_what_segyio_does_not_read_is_refused_before_anything_is_written(survey, tmp_path):
    volume = revision_2(tmp_path)
    with pytest.raises(
        InputRefused, match="segyio, which reads no additional trace headers; export without --check"
    ):
        export_segy(str(volume), str(tmp_path / "b.sgy"), check=True)
    with pytest.raises(InputRefused, match="segyio, which reads local files only"):
        export_segy(str(tmp_path / "a.zarr"), "memory://bucket/b.sgy", check=True)
    assert not list(tmp_path.glob("b.sgy*"))

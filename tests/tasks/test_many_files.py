"""Several files as one source: one volume, and each file comes back byte for byte.

Covers ingest/files.py, ingest/named_files.py.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows.allowed import refuse_outside
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index, Master, StorageOptions
from tasks.prove import prove
from tasks.volume.ingest.files import MOST_OPEN, Files
from tasks.volume.ingest.named_files import list_files
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tests.support.gathers import write_gathers
from tests.support.survey import make_survey
from tests.support.volumes import SPILLED, threads


def write_lines(folder: Path, lines: range, *, crosslines: range = range(101, 108), **more) -> list[Path]:
    """A file for each inline, the extents of textual headers differing between them."""
    paths = []
    for line in lines:
        path = folder / f"line_{line}.sgy"
        make_survey(
            path,
            inlines=[line],
            crosslines=crosslines,
            extended=bytes(3200) if line % 2 else b"",
            seed=line,
            **more,
        )
        paths.append(path)
    return paths


def exports(volume: Path, folder: Path, sources: list[Path]) -> None:
    """Every file comes back under its own name."""
    export_segy(str(volume), str(folder))
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in sources)
    for source in sources:
        assert (folder / source.name).read_bytes() == source.read_bytes()


def test_a_file_for_every_line_is_one_volume(tmp_path):
    sources = write_lines(tmp_path, range(8, 13))
    volume = tmp_path / "a.zarr"
    summary = ingest_segy(f"{tmp_path}/line_*.sgy", str(volume), master=Master(chunks=[2, 3, 5]))
    assert summary["arrays"][0]["shape"] == [5, 7, 13]
    group = zarr.open_group(volume, mode="r")
    assert group["inline"][...].tolist() == [8, 9, 10, 11, 12], "line_8 comes before line_10"
    listed = group.attrs["seismill"]["sources"]
    assert [Path(file["url"]).name for file in listed] == [f"line_{k}.sgy" for k in range(8, 13)]
    assert [(file["first_trace"], file["trace_count"]) for file in listed] == [(7 * k, 7) for k in range(5)]
    assert group["trace_number"][...].tolist() == np.arange(35).reshape(5, 7).tolist()
    assert "," in prove(str(volume))["crc32c"]
    exports(volume, tmp_path / "out", sources)
    again = ingest_segy(f"{tmp_path}/line_*.sgy", str(volume), master=Master(chunks=[2, 3, 5]))
    assert again["notes"] == ["was done already"]


def test_one_of_the_files_is_exported_by_its_number(tmp_path):
    sources = write_lines(tmp_path, range(8, 13))
    ingest_segy(f"{tmp_path}/line_*.sgy", str(tmp_path / "a.zarr"))
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "one.sgy"), file=3)
    assert (tmp_path / "one.sgy").read_bytes() == sources[3].read_bytes()
    with pytest.raises(
        InputRefused, match="was made from 5 files, so there is no file 5; name one from 0 to 4"
    ):
        export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "two.sgy"), file=5)


@pytest.mark.parametrize("spilled", [False, True])
def test_swaths_that_interleave_and_are_shuffled_come_back(tmp_path, spilled):
    cells = np.stack(np.meshgrid(range(1, 10), range(1, 7), indexing="ij"), axis=-1).reshape(-1, 2)
    cells = np.random.default_rng(5).permutation(cells)
    sources, samples = [], []
    for number, part in enumerate(np.array_split(cells, 3)):
        path = tmp_path / f"{'cab'[number]}.sgy"
        codes = np.ones(len(part), int)
        samples.append(
            write_gathers(
                path, {(189, "i4"): part[:, 0], (193, "i4"): part[:, 1], (29, "i2"): codes}, seed=number
            )
        )
        sources.append(path)
    volume = tmp_path / "a.zarr"
    with threads(**SPILLED if spilled else {}) as compute:
        ingest_segy(
            ",".join(map(str, sources)), str(volume), master=Master(chunks=[4, 4, 8]), compute=compute
        )
    group = zarr.open_group(volume, mode="r")
    where = tuple(cells.T - 1)
    np.testing.assert_array_equal(group["amplitude"][...][where], np.concatenate(samples))
    prove(str(volume))
    exports(volume, tmp_path / "out", sources)


def test_auxiliary_traces_of_every_file_come_back(tmp_path):
    sources = []
    for shot in (1, 2, 3):
        path = tmp_path / f"shot{shot}.sgy"
        code = np.array([6, 1, 1, 1, 4, 4])
        write_gathers(
            path,
            {(17, "i4"): shot, (13, "i4"): [1, 1, 2, 3, 1, 2], (29, "i2"): code, (37, "i4"): np.arange(6)},
            seed=shot,
        )
        sources.append(path)
    volume = tmp_path / "a.zarr"
    ingest_segy(f"{tmp_path}/shot*.sgy", str(volume), Index(template="StreamerShotGathers2D"))
    group = zarr.open_group(volume, mode="r")
    assert group["amplitude"].shape == (3, 3, 13)
    assert group["unplaced/trace_number"][...].tolist() == [0, 4, 5, 6, 10, 11, 12, 16, 17]
    prove(str(volume))
    exports(volume, tmp_path / "out", sources)
    export_segy(str(volume), str(tmp_path / "one.sgy"), file=1)
    assert (tmp_path / "one.sgy").read_bytes() == sources[1].read_bytes()


def test_an_export_goes_on_where_it_was_interrupted(tmp_path):
    sources = write_lines(tmp_path, range(1, 5))
    volume, out = tmp_path / "a.zarr", tmp_path / "out"
    ingest_segy(f"{tmp_path}/line_*.sgy", str(volume))
    out.mkdir()
    shutil.copy(sources[1], out)
    stamp = (out / sources[1].name).stat().st_mtime_ns
    (out / f"{sources[2].name}.partial").write_bytes(b"half")
    exports(volume, out, sources)
    assert (out / sources[1].name).stat().st_mtime_ns == stamp
    (out / sources[0].name).write_bytes(b"another file")
    with pytest.raises(DestinationRefused, match=r"line_1\.sgy is there already"):
        export_segy(str(volume), str(out))
    export_segy(str(volume), str(out), overwrite=True)
    assert (out / sources[0].name).read_bytes() == sources[0].read_bytes()


def test_a_file_that_would_not_come_back_fails_the_proof_by_its_name(tmp_path):
    write_lines(tmp_path, range(1, 4))
    volume = tmp_path / "a.zarr"
    ingest_segy(f"{tmp_path}/line_*.sgy", str(volume), master=Master(chunks=[1, 3, 5]))
    (tmp_path / "other").mkdir()
    write_lines(tmp_path / "other", range(11, 14))
    ingest_segy(f"{tmp_path}/other/line_*.sgy", str(tmp_path / "b.zarr"), master=Master(chunks=[1, 3, 5]))
    shutil.copy(tmp_path / "b.zarr/amplitude/c/1/0/0", volume / "amplitude/c/1/0/0")
    with pytest.raises(IntegrityFailure, match=r"does not give back bytes .* of .*line_2\.sgy"):
        prove(str(volume))


def test_files_of_one_name_are_told_apart_by_their_number(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        make_survey(tmp_path / folder / "x.sgy", inlines=[1 + (folder == "b")], crosslines=range(5))
    ingest_segy(f"{tmp_path}/a/x.sgy, {tmp_path}/b/x.sgy", str(tmp_path / "v.zarr"))
    export_segy(str(tmp_path / "v.zarr"), str(tmp_path / "out"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0-x.sgy", "1-x.sgy"]


def test_another_form_of_several_files_is_one_file(tmp_path):
    write_lines(tmp_path, range(1, 4))
    ingest_segy(f"{tmp_path}/line_*.sgy", str(tmp_path / "a.zarr"))
    form = Export(sample_format="float32", selection=["inline=2:3"])
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "some.sgy"), form)
    ingest_segy(str(tmp_path / "some.sgy"), str(tmp_path / "b.zarr"))
    whole, some = (
        zarr.open_group(tmp_path / name, mode="r")["amplitude"][...] for name in ("a.zarr", "b.zarr")
    )
    np.testing.assert_array_equal(some, whole[1:])


def test_more_files_than_are_held_open_are_read(tmp_path):
    count = MOST_OPEN + 9
    sources = write_lines(tmp_path, range(count), crosslines=range(2))
    ingest_segy(f"{tmp_path}/line_*.sgy", str(tmp_path / "a.zarr"))
    exports(tmp_path / "a.zarr", tmp_path / "out", sources)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fmt": "ieee"}, r"b\.sgy differs from .*a\.sgy: sample format 5 and not 1"),
        ({"order": "<"}, "byte order < and not >"),
        ({"n_samples": 14}, "samples per trace 14 and not 13"),
        ({"interval_us": 2000}, "sample interval 2000.0 and not 4000.0"),
        ({"delay_ms": 8}, r"b\.sgy begins at 8 ms \(byte 109\) and not at 0 ms"),
    ],
)
def test_files_that_one_volume_cannot_hold_are_refused(tmp_path, change, sentence):
    make_survey(tmp_path / "a.sgy", inlines=[1])
    make_survey(tmp_path / "b.sgy", inlines=[2], **change)
    with pytest.raises(InputRefused, match=f"{sentence}.*ingest files that differ separately"):
        ingest_segy(f"{tmp_path}/?.sgy".replace("?", "[ab]"), str(tmp_path / "v.zarr"))
    assert not (tmp_path / "v.zarr").exists()


def test_traces_that_two_files_have_are_refused_by_their_numbers(tmp_path):
    make_survey(tmp_path / "a.sgy", inlines=[1, 2])
    make_survey(tmp_path / "b.sgy", inlines=[2, 3])
    with pytest.raises(InputRefused, match=r"5 of 20 traces .* first traces 6 and 11"):
        ingest_segy(f"{tmp_path}/a.sgy,{tmp_path}/b.sgy", str(tmp_path / "v.zarr"), Index(bytes="189,193"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{0}/none_*.sgy", "no file matches"),
        ("{0}/*/a.sgy", "a pattern in a folder's name"),
        ("{0}/a.sgy,{0}/a.sgy", "is named twice"),
        ("{0}/a.sgy,{0}/b.sgy", "there is no file .*b.sgy"),
        (" , ", "no source is named"),
    ],
)
def test_lists_that_name_no_files_are_refused(tmp_path, source, sentence):
    make_survey(tmp_path / "a.sgy")
    with pytest.raises(InputRefused, match=sentence):
        Files.open(source.format(tmp_path), StorageOptions())


def test_a_comma_may_be_part_of_a_name(tmp_path):
    make_survey(tmp_path / "a,b.sgy")
    assert [file.url for file in list_files(f"{tmp_path}/a,b.sgy", StorageOptions())] == [
        f"{tmp_path}/a,b.sgy"
    ]


def test_every_file_of_a_list_must_lie_where_a_triggered_run_may_read(tmp_path):
    (tmp_path / "allowed").mkdir()
    inside = f"{tmp_path}/allowed/a.sgy"
    refuse_outside([f"{inside},{tmp_path}/allowed/b_*.sgy"], f"{tmp_path}/allowed")
    for outside in (
        f"{inside},{tmp_path}/secret.sgy",
        f"{inside}, /etc/passwd",
        f"{inside},s3://other/x.sgy",
    ):
        with pytest.raises(InputRefused, match="is outside of what this worker may touch"):
            refuse_outside([outside], f"{tmp_path}/allowed")


def test_a_pattern_does_not_lead_out_by_a_link(tmp_path):
    (tmp_path / "allowed").mkdir()
    make_survey(tmp_path / "secret.sgy")
    (tmp_path / "allowed" / "a.sgy").symlink_to(tmp_path / "secret.sgy")
    with pytest.raises(InputRefused, match="is outside of what this worker may touch"):
        refuse_outside([f"{tmp_path}/allowed/*.sgy"], f"{tmp_path}/allowed")

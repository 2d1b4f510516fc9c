"""Lines of one source become a volume each, and each gives back its part of the file.

Covers ingest/lines.py, ingest/parts.py, store/part_source.py.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.publishers import direct_audit, direct_sweep
from flows.stages import as_stage, load_verb
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Index, Levels, Master, Publication, Run
from tasks.prove import prove
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.ingest.parts import as_text, from_text, part_of, runs_of
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.store.writable import WritableStore
from tasks.volume.sweeps.catalogue import Catalogue
from tasks.volume.sweeps.receipt import receipt, volumes_at
from tasks.volume.sweeps.staging import look_under
from tests.support.gathers import write_gathers

TRACE = 240 + 4 * 13
LENGTHS = (30, 50, 20)
LINE = np.repeat([1, 2, 3], LENGTHS)
CDP = np.concatenate([101 + np.arange(n) for n in LENGTHS])
K = CDP - 101
X = np.choose(LINE - 1, [1000 + 25 * K, 5000 + 0 * K, 9000 + 18 * K])
Y = np.choose(LINE - 1, [2000 + 0 * K, 1000 + 25 * K, 7000 - 18 * K])
WORDS = {(9, "i4"): LINE, (21, "i4"): CDP, (71, "i2"): 1, (181, "i4"): X, (185, "i4"): Y}


def write(path: Path, order: np.ndarray | None = None) -> np.ndarray:
    """Write the three lines, their traces in some order; return the samples."""
    rows = np.arange(100) if order is None else order
    words = {place: np.broadcast_to(values, 100)[rows] for place, values in WORDS.items()}
    return write_gathers(path, words)


def publish(source: Path | str, folder: Path, index: Index, **more) -> dict:
    """Publish without Prefect."""
    stages = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
    usual = {
        "copies": Copies(),
        "pyramid": Levels(levels=1, until=1),
        "steps": ["copies", "pyramid", "proof"],
    }
    given = {"master": Master(), "run": Run()} | usual | more
    return publish_chain(stages, source=str(source), volume=str(folder), index=index, **given)


@pytest.mark.slow
@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize(
    "index", [Index(split="line"), Index(split="line", bytes="9,21")], ids=["found", "named"]
)
def test_each_line_becomes_a_volume_that_gives_back_its_part(tmp_path, index, scattered):
    source, folder = tmp_path / "lines.sgy", tmp_path / "lines"
    order = np.random.default_rng(2).permutation(100) if scattered else np.arange(100)
    if scattered and index.bytes == "auto":
        pytest.skip("lines whose traces are mixed up are named, not found")
    samples = write(source, order)
    summary = publish(source, folder, index)
    assert summary["proven_at"]
    assert [Path(volume).name for volume in summary["volumes"]] == [
        "line_1.zarr",
        "line_2.zarr",
        "line_3.zarr",
    ]
    content, seen = source.read_bytes(), 0
    for number, length in enumerate(LENGTHS, 1):
        volume = folder / f"line_{number}.zarr"
        group = zarr.open_group(volume, mode="r")
        rows = np.flatnonzero(LINE[order] == number)
        by_cdp = rows[np.argsort(CDP[order][rows])] if index.bytes != "auto" else rows
        np.testing.assert_array_equal(group["cdp"][:], 101 + np.arange(length))
        np.testing.assert_array_equal(group["amplitude"][...], samples[by_cdp])
        np.testing.assert_array_equal(group["cdp_x"][:], X[order][by_cdp])
        assert group.attrs["attributes"]["surveyType"] == "2D"
        export_segy(str(volume), str(tmp_path / "back.sgy"), overwrite=True)
        records = [content[3600 + TRACE * row :][:TRACE] for row in rows]
        assert (tmp_path / "back.sgy").read_bytes() == content[:3600] + b"".join(records)
        assert verify(str(volume), errors=True)["findings"] == []
        seen += length
    assert seen == 100
    again = publish(source, folder, index)
    assert again["notes"] == [  # each told once, not once for each of the three lines
        "ingest: was done already",
        "copies: were done already",
        "pyramid: was done already",
        "proof: was done already",
    ]


def test_a_damaged_chunk_of_a_line_is_made_again_from_its_part_of_the_source(tmp_path):
    source, folder = tmp_path / "lines.sgy", tmp_path / "lines"
    samples = write(source)
    publish(source, folder, Index(split="line"))
    chunk = next(path for path in (folder / "line_2.zarr" / "amplitude" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(b"damaged")
    verify(str(folder / "line_2.zarr"), repair="from_source")
    np.testing.assert_array_equal(
        zarr.open_array(folder / "line_2.zarr/amplitude", mode="r")[...], samples[30:80]
    )
    prove(str(folder / "line_2.zarr"))


def test_nothing_is_written_where_one_line_cannot_be_published(tmp_path):
    source, folder = tmp_path / "lines.sgy", tmp_path / "lines"
    write(source)
    with pytest.raises(InputRefused, match=r"splitting .* gives several volumes"):
        ingest_segy(str(source), str(folder), Index(split="line"))
    with pytest.raises(InputRefused, match="do not fit a volume of cdp and samples"):
        publish(source, folder, Index(split="line"), master=Master(chunks=[4, 4, 4]))
    assert not folder.exists()
    planned = publish(source, folder, Index(split="line"), run=Run(dry_run=True))
    masters = [row["shape"] for row in planned["arrays"] if row["path"].endswith("/amplitude")]
    assert masters[:1] == [(30, 13)]
    assert {(30, 13), (50, 13), (20, 13)} <= set(masters)
    assert not folder.exists()


def test_a_survey_is_not_split(tmp_path):
    line, cdp = (axis.ravel() for axis in np.indices((6, 9)))
    words = {
        (189, "i4"): 1 + line,
        (193, "i4"): 1 + cdp,
        (181, "i4"): 25 * line + 5,
        (185, "i4"): 25 * cdp + 5,
    }
    write_gathers(tmp_path / "cube.sgy", words)
    with pytest.raises(InputRefused, match="is not a set of 2-D lines but PostStack3DTime"):
        publish(tmp_path / "cube.sgy", tmp_path / "lines", Index(split="line"))
    with pytest.raises(
        InputRefused, match=r"byte 41 of .* has 1 values in 54 traces, so it does not number lines"
    ):
        publish(tmp_path / "cube.sgy", tmp_path / "lines", Index(split="line", bytes="41,193"))
    # Whoever names the field splits even a cube.
    publish(tmp_path / "cube.sgy", tmp_path / "lines", Index(split="line", bytes="189,193"), steps=[])
    assert len(list((tmp_path / "lines").iterdir())) == 6


def test_several_files_are_a_line_each(tmp_path):
    for name, first in (("north", 101), ("south", 301)):
        words = {(21, "i4"): first + np.arange(25), (181, "i4"): 25 * np.arange(25), (185, "i4"): first}
        write_gathers(tmp_path / f"{name}.sgy", words)
    publish(tmp_path / "*.sgy", tmp_path / "lines", Index(split="line"), steps=["proof"])
    for name, first in (("north", 101), ("south", 301)):
        assert zarr.open_array(tmp_path / "lines" / f"{name}.zarr" / "cdp", mode="r")[0] == first
        export_segy(str(tmp_path / "lines" / f"{name}.zarr"), str(tmp_path / "back"), overwrite=True)
        assert (tmp_path / "back").read_bytes() == (tmp_path / f"{name}.sgy").read_bytes()


def test_scan_lists_the_lines_with_their_traces(tmp_path):
    write(tmp_path / "lines.sgy")
    found = scan(str(tmp_path / "lines.sgy"), Index(split="line"))
    assert found["lines"] == [
        {"name": "line_1", "traces": "1-30", "count": 30},
        {"name": "line_2", "traces": "31-80", "count": 50},
        {"name": "line_3", "traces": "81-100", "count": 20},
    ]
    json.dumps(found)
    line = scan(str(tmp_path / "lines.sgy"), Index(traces="31-80"))
    assert (line["traces"], line["index"]["template"], line["grid"]["shape"]) == (50, "PostStack2DTime", [50])
    assert "this is a part: traces 31 to 80." in line["notes"][0]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([0], "1"), ([0, 1, 2], "1-3"), ([4, 6, 7, 8, 20], "5,7-9,21"), ([0, 2, 4], "1,3,5"), ([8, 9], "9-10")],
)
def test_runs_of_traces_are_written_as_a_parameter_and_read_again(numbers, text):
    runs = runs_of(np.array(numbers))
    assert as_text(runs) == text
    assert from_text(text, 30) == runs


@pytest.mark.parametrize("traces", ["0-3", "5-4", "90-101", "7-9,8", "3,3"])
def test_traces_that_there_are_not_are_refused(tmp_path, traces):
    write(tmp_path / "lines.sgy")
    with pytest.raises(InputRefused, match="are not ascending numbers from 1 to 100"):
        ingest_segy(str(tmp_path / "lines.sgy"), str(tmp_path / "a.zarr"), Index(traces=traces))


def test_a_part_is_another_volume_than_the_whole_and_has_no_checksum_of_it(tmp_path):
    source, volume = tmp_path / "lines.sgy", str(tmp_path / "a.zarr")
    write(source)
    (tmp_path / "lines.sgy.md5").write_text("0" * 32)
    ingest_segy(str(source), volume, Index(traces="31-80"))
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(str(source), volume, Index(traces="1-30"))
    with pytest.raises(InputRefused, match="a checksum is that of a whole file"):
        ingest_segy(str(source), volume, Index(traces="1-30", checksums=["0" * 32]))


@pytest.mark.slow
def test_a_part_on_s3_is_read_by_ranges(tmp_path, s3):
    import fsspec

    write(tmp_path / "lines.sgy")
    bucket = fsspec.filesystem("s3", endpoint_url=s3, use_listings_cache=False)
    bucket.put_file(str(tmp_path / "lines.sgy"), "staging/lines.sgy")
    summary = publish("s3://staging/lines.sgy", tmp_path / "lines", Index(split="line"), steps=["proof"])
    assert summary["proven_at"]


def test_parts_of_several_files_keep_whole_ones_as_they_are(tmp_path):
    from tasks.parameters import StorageOptions
    from tasks.volume.ingest.files import Files

    for name in ("a", "b", "c"):
        write_gathers(tmp_path / f"{name}.sgy", {(21, "i4"): np.arange(10)})
    files = Files.open(str(tmp_path / "*.sgy"), StorageOptions())
    part = part_of(files, from_text("3-22", 30), StorageOptions())
    assert [one.part for one in part.listed] == [((2, 8),), (), ((0, 2),)]
    assert (part.n_traces, part.size) == (20, 3 * 3600 + 20 * TRACE)
    again = Files.from_json(json.loads(json.dumps(part.to_json())), StorageOptions())
    whole = b"".join((tmp_path / f"{name}.sgy").read_bytes()[3600:] for name in "abc")
    for files_of in (part, again):
        found = b"".join(
            files_of.read(file, 3600, fmt.file_size - 3600) for file, fmt in enumerate(files_of.formats)
        )
        assert found == whole[2 * TRACE : 22 * TRACE]


def test_a_sidecar_splits_and_the_file_is_safe_to_release_when_all_lines_are_proven(tmp_path):
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    staging.mkdir()
    write(staging / "lines.sgy")
    once = {"staging": str(staging), "volumes": str(volumes), "settle_minutes": 0, "run": Run()}
    quick = Publication(steps=["proof"])
    assert direct_sweep(**once, publication=quick)["counts"] == {"quarantined": 1}
    (staging / "lines.seismill.yaml").write_text("index: {split: line}\nattributes: {survey: North}\n")
    assert direct_sweep(**once, publication=quick)["counts"] == {"published": 1}
    assert [path.name for path in sorted((volumes / "lines.zarr").iterdir())] == [
        "line_1.zarr",
        "line_2.zarr",
        "line_3.zarr",
    ]
    for number in (1, 2, 3):
        root = json.loads((volumes / "lines.zarr" / f"line_{number}.zarr" / "zarr.json").read_text())
        assert root["attributes"]["seismill"]["attributes"] == {"survey": "North"}
    table = list(csv.DictReader((volumes / ".seismill" / "catalogue.csv").read_text().splitlines()))
    assert [row["safe_to_release"] for row in table] == ["yes"]
    assert direct_sweep(**once, publication=quick)["counts"] == {"unchanged": 1}
    found = direct_audit(volumes=str(volumes), fraction=1.0)
    assert found["counts"] == {"sound": 3}
    shutil.rmtree(volumes / "lines.zarr" / "line_2.zarr")
    for record in Catalogue(WritableStore(str(volumes))).records.values():
        parts = volumes_at(WritableStore(f"{volumes}/lines.zarr"))
        (source,) = look_under(WritableStore(str(staging)), WritableStore(str(volumes)), quick)[1]
        assert record.proven_at
        assert [Path(part.url).name for part in parts] == ["line_1.zarr", "line_3.zarr"]
        assert receipt(source, Run()).proven_at == ""

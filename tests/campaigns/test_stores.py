"""Every verb on every store, staging and volumes in different ones, and a volume that travels through all of them.

Covers tasks/copy.py.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from flows.chains import ALL_STEPS, publish_chain
from tasks.copy import copy
from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Index, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.arrays.reader import open_any, open_volume
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.pyramid.coarsen import coarsen
from tasks.volume.store.writable import WritableStore
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP

STAGES = {
    "ingest_segy": ingest_segy,
    "rechunk": rechunk,
    "pyramid": pyramid,
    "report": report,
    "prove": prove,
}
COPIES = Copies(
    presets=[], more=[Copy(name="fast_line", chunks=[1, 8, 16]), Copy(name="fast_slice", chunks=[8, 8, 4])]
)


SURVEY: dict[str, int] = {"drop": 3, "n_samples": 37}


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "a.sgy", **SURVEY)


def publish(source: str, volume: str) -> None:
    summary = publish_chain(
        STAGES,
        source=source,
        volume=volume,
        index=Index(),
        master=Master(chunks=[4, 4, 8], shards=[4, 8, 16]),
        copies=COPIES,
        pyramid=Levels(levels=2, until=1),
        steps=list(ALL_STEPS),
        run=Run(created_on=STAMP),
    )
    assert summary["proven_at"] == STAMP


def content(url: str) -> dict[str, bytes]:
    """Every object that readers meet."""
    store = WritableStore(url)
    return {key: store.get(key) for key in store.keys("") if not key.startswith(".seismill/")}


@pytest.fixture(scope="module")
def published_here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every object of the survey's volume on local disk."""
    folder = tmp_path_factory.mktemp("here")
    publish(str(make_survey(folder / "a.sgy", **SURVEY).path), str(folder / "a.zarr"))
    return content(str(folder / "a.zarr"))


@pytest.mark.slow
def test_the_whole_line_works_from_bucket_to_bucket(
    cloud: str, survey: Survey, published_here: dict[str, bytes], tmp_path: Path
) -> None:
    WritableStore(f"{cloud}://staging").put("a.sgy", survey.content)
    source, volume = f"{cloud}://staging/a.sgy", f"{cloud}://volumes/a.zarr"
    assert scan(source)["traces"] == len(survey.headers)
    publish(source, volume)
    here, there = published_here, content(volume)
    same = [key for key in here if key.startswith(("amplitude/c/", "trace_number/c/"))]
    assert same
    assert [key for key in same if here[key] != there.get(key)] == []
    assert verify(volume, errors=True)["findings"] == []
    assert info(volume)["volume"] == volume
    for target in (f"{cloud}://staging/again.sgy", str(tmp_path / "again.sgy")):
        assert export_segy(volume, target)["bytes_written"] == len(survey.content)
    assert WritableStore(f"{cloud}://staging").get("again.sgy") == survey.content
    assert "was done already" in str(export_segy(volume, f"{cloud}://staging/again.sgy")["notes"])
    WritableStore(f"{cloud}://staging").put("other.sgy", survey.content[:-4] + b"else")
    with pytest.raises(DestinationRefused, match="is there already"):
        export_segy(volume, f"{cloud}://staging/other.sgy")
    ingest_segy(source, volume, master=Master(chunks=[4, 4, 8]), overwrite=True)
    assert "fast_line/zarr.json" not in content(volume)


@pytest.mark.slow
def test_stacks_of_images_and_arrays_of_other_tools_lie_in_buckets(cloud: str, tmp_path: Path) -> None:
    staging, volumes = f"{cloud}://staging", f"{cloud}://volumes"
    values = np.random.default_rng(4).integers(0, 60000, (11, 20, 33)).astype(np.uint16)
    for n, plane in enumerate(values):
        tifffile.imwrite(tmp_path / f"s{n}.tif", plane, compression="zlib")
        WritableStore(staging).put(f"core/s{n}.tif", (tmp_path / f"s{n}.tif").read_bytes())
    tifffile.imwrite(tmp_path / "all.tif", values, photometric="minisblack")
    WritableStore(staging).put("all.tif", (tmp_path / "all.tif").read_bytes())
    WritableStore(staging).put("core/slices.txt", "\n".join(f"s{n}.tif" for n in range(11)).encode())
    master = Master(chunks=[4, 8, 16], shards=[8, 16, 32])
    sources = ("core", "core/s*.tif", "core/slices.txt", "all.tif")
    for number, source in enumerate(sources):
        volume = f"{volumes}/{number}.zarr"
        ingest_images(f"{staging}/{source}", volume, master=master)
        np.testing.assert_array_equal(open_volume(WritableStore(volume)).read("attenuation"), values)
    pyramid(volume, Levels(levels=2, until=1))
    levels = [coarsen(values, (2, 2, 2)), coarsen(coarsen(values, (2, 2, 2)), (2, 2, 2))]
    for number, level in enumerate(levels, start=1):
        np.testing.assert_array_equal(
            open_volume(WritableStore(volume)).read(f"pyramid/{number}/attenuation"), level
        )
    assert verify(volume, errors=True)["findings"] == []

    zarr.create_group(tmp_path / "some.zarr").create_array("field/0", data=values, chunks=(4, 8, 16))
    for path in (tmp_path / "some.zarr").rglob("*"):
        if path.is_file():
            WritableStore(volumes).put(str(path.relative_to(tmp_path)), path.read_bytes())
    pyramid(f"{volumes}/some.zarr", Levels(levels=2, until=1), array="field/0")
    group = f"{volumes}/some.zarr/field"
    for number, level in enumerate(levels, start=1):
        np.testing.assert_array_equal(open_any(WritableStore(group)).read(str(number)), level)
    assert verify(group, errors=True)["findings"] == []
    assert len(report(group)["pictures"]) == 4


@pytest.fixture
def all_clouds(s3: str, gcs: str, azure: str) -> None:
    """Servers of every kind, all empty."""


@pytest.mark.slow
@pytest.mark.parametrize(("staging", "volumes"), [("s3", "gs"), ("gs", "az"), ("az", "s3")])
def test_staging_and_volume_may_lie_in_different_stores(
    all_clouds: None, staging: str, volumes: str, survey: Survey
) -> None:
    WritableStore(f"{staging}://staging").put("a.sgy", survey.content)
    volume = f"{volumes}://volumes/a.zarr"
    ingest_segy(f"{staging}://staging/a.sgy", volume, master=Master(chunks=[4, 4, 8]))
    prove(volume)
    export_segy(volume, f"{staging}://staging/again.sgy")
    assert WritableStore(f"{staging}://staging").get("again.sgy") == survey.content


@pytest.mark.slow
def test_a_volume_that_travels_through_every_store_ends_as_it_began(
    all_clouds: None, survey: Survey, tmp_path: Path
) -> None:
    WritableStore("s3://staging").put("a.sgy", survey.content)
    first = "s3://volumes/a.zarr"
    publish("s3://staging/a.sgy", first)
    before = content(first)
    places = [first, "gs://volumes/b.zarr", "az://volumes/c.zarr", str(tmp_path / "d.zarr")]
    for source, target in itertools.pairwise(places):
        assert copy(source, target)["blocks_done"] == 1
        assert content(target) == before
        assert verify(target, errors=True)["findings"] == []
        assert WritableStore(target).get(".seismill/report/report.html") == WritableStore(first).get(
            ".seismill/report/report.html"
        )
    export_segy(places[-1], str(tmp_path / "again.sgy"))
    assert (tmp_path / "again.sgy").read_bytes() == survey.content
    assert copy(places[-2], places[-1])["notes"] == ["was done already"]


@pytest.mark.slow
def test_copies_and_levels_can_be_left_out_of_a_copy(survey: Survey, tmp_path: Path) -> None:
    volume = str(tmp_path / "a.zarr")
    publish(str(survey.path), volume)
    copy(volume, str(tmp_path / "b.zarr"), includes=["fast_slice"])
    copy(volume, str(tmp_path / "c.zarr"), excludes=["fast_slice"])
    whole, some, other = (content(str(tmp_path / name)) for name in ("a.zarr", "b.zarr", "c.zarr"))
    assert whole.keys() - some.keys() == {k for k in whole if k.startswith(("fast_line/", "pyramid/"))}
    assert whole.keys() - other.keys() == {k for k in whole if k.startswith("fast_slice/")}
    for name in ("b.zarr", "c.zarr"):
        assert verify(str(tmp_path / name), errors=True)["findings"] == []
    pyramid(str(tmp_path / "b.zarr"), levels=Levels(levels=2, until=1), run=Run(created_on=STAMP))
    rechunk(str(tmp_path / "b.zarr"), copies=COPIES, run=Run(created_on=STAMP))
    assert {k: v for k, v in content(str(tmp_path / "b.zarr")).items() if k != "zarr.json"} == {
        k: v for k, v in whole.items() if k != "zarr.json"
    }
    with pytest.raises(
        InputRefused,
        match="has no headers to include or leave out; it has fast_line, fast_slice, amplitude",
    ):
        copy(volume, str(tmp_path / "d.zarr"), excludes=["headers"])


def test_a_copy_of_something_damaged_is_refused_and_none_is_seen(survey: Survey, tmp_path: Path) -> None:
    volume, target = str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")
    publish(str(survey.path), volume)
    store = WritableStore(volume)
    key = next(key for key in store.keys("fast_line") if "/c/" in key)
    data = store.get(key)
    store.put(key, data[:-9] + bytes([data[-9] ^ 8]) + data[-8:])
    with pytest.raises(IntegrityFailure, match=f"{key} is not as it was written"):
        copy(volume, target)
    assert not [key for key in content(target) if key.endswith("zarr.json")]
    store.put(key, data)
    copy(volume, target)
    assert content(target) == content(volume)


def test_a_copy_does_not_replace_another_volume_unless_told(survey: Survey, tmp_path: Path) -> None:
    one, other = str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")
    publish(str(survey.path), one)
    ingest_segy(str(survey.path), other, master=Master(chunks=[3, 3, 5]))
    with pytest.raises(DestinationRefused, match=r"holds another volume.*--overwrite"):
        copy(one, other)
    with pytest.raises(InputRefused, match="onto itself"):
        copy(one, f"{one}/")
    dry = copy(one, str(tmp_path / "c.zarr"), run=Run(dry_run=True))
    assert dry["objects"]
    assert not (tmp_path / "c.zarr").exists()
    copy(one, other, overwrite=True)
    assert content(one) == content(other)

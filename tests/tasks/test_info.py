"""A volume says what it is by one small read, at once.

Covers arrays/documents.py, arrays/root_schema.py and arrays/volume_root.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.demo import make_survey
from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image, Levels, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.volume.outcomes import InputRefused
from tests import ROOT
from tests.support.volumes import STAMP

SHAPE = (19, 13, 41)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("survey") / "survey.sgy"
    make_survey(str(path), shape=SHAPE)
    return str(path)


@pytest.fixture(scope="module")
def volume(source: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("volume") / "survey.zarr")
    ingest_segy(source, path)
    rechunk(path, Copies(presets=["fast_time"]))
    pyramid(path, Levels(levels=1, until=1))
    return path


def test_everything_is_told_of_one_request(volume, source):
    found = info(volume)
    assert found["requests"] == 1
    assert found["bytes_read"] == Path(volume, "zarr.json").stat().st_size
    assert found["volume"] == volume
    assert found["template"] == "PostStack3DTime"
    assert found["format"] == 1
    assert found["proven_at"] == ""
    assert found["index"]["bytes"] == [189, 193]
    assert found["exceptions"] == 0
    (shown,) = found["sources"]
    assert shown["url"] == source
    assert shown["bytes"] == Path(source).stat().st_size
    assert shown["revision"] == "1.0"
    assert "crc32c_parts" not in shown
    assert [level["path"] for level in found["levels"]] == ["amplitude", "pyramid/1/amplitude"]
    assert set(found["others"]) >= {"trace_mask", "headers", "time", "cdp_x", "pyramid/1/trace_mask"}
    json.dumps(found)


def test_arrays_are_told_with_sizes_and_the_errors_of_copies(volume):
    rows = {row["path"]: row for row in info(volume)["arrays"]}
    assert {path: row["kind"] for path, row in rows.items()} == {
        "amplitude": "master",
        "fast_time": "copy",
        "pyramid/1/amplitude": "level",
    }
    for path, row in rows.items():
        files = [f for f in Path(volume, path, "c").rglob("*") if f.is_file()]
        assert row["stored_bytes"] == sum(f.stat().st_size for f in files)
        assert row["ratio"] == pytest.approx(row["raw_bytes"] / row["stored_bytes"])
        assert row["dims"] == ["inline", "crossline", "time"]
    assert rows["amplitude"]["shape"] == list(SHAPE)
    assert rows["pyramid/1/amplitude"]["shape"] == [10, 7, 21]
    assert "tolerance" not in rows["amplitude"]
    copy = rows["fast_time"]
    assert 0 < copy["max_abs_error"] <= copy["tolerance"]
    assert copy["rmse"] < copy["max_abs_error"]
    assert copy["snr_db"] > 10


def test_statistics_are_those_of_the_samples(volume):
    import zarr

    values = zarr.open_array(f"{volume}/amplitude", mode="r")[:]
    shown = info(volume)["statistics"]
    live = values[values == values].astype("f8")
    assert shown["count"] == live.size
    assert shown["min"] == live.min()
    assert shown["max"] == live.max()
    assert shown["std"] == pytest.approx(live.std())
    assert shown["live_traces"] * SHAPE[2] == live.size


@pytest.mark.parametrize("content", [None, b"{}", b'{"attributes": {"seismill": {}}}'])
def test_what_is_no_volume_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "zarr.json").write_bytes(content)
    with pytest.raises(InputRefused, match=r"no published volume|not written by Seismill"):
        info(str(tmp_path))


def test_nothing_heavy_is_imported_on_the_way(volume):
    heavy = "zarr numcodecs zfpy numba matplotlib prefect dask distributed s3fs".split()
    code = (
        f"import sys; from tasks.info import info; info({volume!r}); "
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    root = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == []


def test_an_image_is_told_of_in_voxels(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24, dtype="uint16").reshape(2, 3, 4))
    image = Image(
        field_name="density",
        field_unit="g/cm3",
        description="core 7",
        voxel_length=[4, 2.25, 2.25],
        voxel_unit="micrometer",
    )
    ingest_images(str(tmp_path / "a.npy"), str(tmp_path / "v.zarr"), image)
    rechunk(str(tmp_path / "v.zarr"), Copies(presets=["fast_z"]))
    found = info(str(tmp_path / "v.zarr"))
    wanted = {
        "image": "core 7",
        "field": "density g/cm3",
        "voxels": "2 x 3 x 4 uint16",
        "voxel_length": "4, 2.25, 2.25 micrometer",
        "voxel_origin": "0, 0, 0 micrometer",
        "labels": False,
        "compared_at": "",
    }
    assert {name: found[name] for name in wanted} == wanted
    words = json.dumps(found).lower()
    assert [word for word in ("trace", "template", "amplitude", "unplaced", "proven") if word in words] == []
    prove(str(tmp_path / "v.zarr"), Run(created_on=STAMP))
    assert info(str(tmp_path / "v.zarr"))["compared_at"] == STAMP

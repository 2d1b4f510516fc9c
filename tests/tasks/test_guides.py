"""The guides to images and to copies: every command and block runs in order, and every row gives what it promises."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from flows import cli
from tasks.ingest_segy import ingest_segy
from tasks.rechunk import rechunk
from tests import ROOT
from tests.support.survey import Survey, make_survey

pytestmark = pytest.mark.slow

IMAGES = (ROOT / "tasks/volume/stacks/README.md").read_text()
COPIES = (ROOT / "tasks/volume/copies/README.md").read_text()
ROWS = re.findall(r"^\| (.*?) \| `([^|]*)` \|$", IMAGES, re.MULTILINE)


def carry_out(text: str, names: dict[str, Any]) -> None:
    """Run the blocks of a page in their order, commands and programs."""
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL):
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
            continue
        for line in block.splitlines():
            assert cli.run([*shlex.split(line)[1:], *plain(line)]) == 0, line


def plain(line: str) -> list[str]:
    """The flag that leaves Prefect out, for commands that would take it in."""
    return ["--no-flow"] if line.split()[1] == "publish" else []


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The folder of the guide to images after its blocks ran, and the names that they made."""
    folder = tmp_path_factory.mktemp("images")
    names: dict[str, Any] = {"zarr": zarr, "xarray": xarray}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        carry_out(IMAGES, names)
        names["voxels"].tofile("rock.raw")
        np.save("array.npy", names["voxels"])
    return names | {"folder": folder}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Survey, dict[str, Any]]:
    """The folder of the guide to copies after its blocks ran."""
    folder = tmp_path_factory.mktemp("copies")
    survey = make_survey(folder / "survey.sgy", inlines=range(40), crosslines=range(30), n_samples=70)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        carry_out(COPIES, names)
    return folder, survey, names


def test_images_become_what_the_guide_says(images):
    rock = zarr.open_group(images["folder"] / "rock.zarr", mode="r")
    np.testing.assert_array_equal(rock["attenuation"][...], images["voxels"])
    np.testing.assert_array_equal(images["section"], images["voxels"][:, :, 40])
    assert images["scale"] == [2.25, 2.25, 2.25]
    np.testing.assert_array_equal(
        zarr.open_group(images["folder"] / "rock-0.4.zarr", mode="r")["0"][...], images["voxels"]
    )
    assert (images["folder"] / "rock.zarr/labels/phases/zarr.json").exists()


def group(images: dict[str, Any], name: str) -> Any:
    return zarr.open_group(images["folder"] / name, mode="r")


def attenuation(name: str) -> Callable[[dict[str, Any], Any], bool]:
    return lambda images, result: np.array_equal(group(images, name)["attenuation"][...], images["voxels"])


def lengths(images: dict[str, Any], name: str) -> list[float]:
    first = group(images, name).attrs["ome"]["multiscales"][0]["datasets"][0]
    scale: list[float] = first["coordinateTransformations"][0]["scale"]
    return scale


def sphere() -> np.ndarray:
    z, y, x = np.ogrid[:48, :64, :80]
    inside: np.ndarray = (x * 2.25 - 90) ** 2 + (y * 2.25 - 72) ** 2 + (z * 2.25 - 54) ** 2 < 30**2
    return inside


RIGHT: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "initialize_test_image": lambda images, result: group(images, "try.zarr")["field/0"].shape == (64, 64, 64),
    "Downsampler": lambda images, result: group(images, "try.zarr")["field/1"].shape == (32, 32, 32),
    "for Zarr v2": lambda images, result: [24, 32, 40] in [
        json.loads(path.read_text()).get("shape") for path in images["folder"].glob("levels.zarr/**/zarr.json")
    ],
    "a Dask client": lambda images, result: "was done already" in result,
    "import_raw": lambda images, result: (
        attenuation("raw.zarr")(images, result) and lengths(images, "raw.zarr") == [2.25] * 3
    ),
    "voxel_image.zeros": lambda images, result: (
        group(images, "created.zarr")["attenuation"].chunks == (32, 32, 32)
        and not group(images, "created.zarr")["attenuation"][...].any()
        and lengths(images, "created.zarr") == [2.25] * 3
    ),
    "voxel_image.full": lambda images, result: (
        set(group(images, "full.zarr")["density"][...].ravel().tolist()) == {7}
        and group(images, "full.zarr").attrs["ome"]["omero"]["channels"][0]["label"] == "density (g/cm3)"
    ),
    "from_array": attenuation("array.zarr"),
    "rockverse.open": lambda images, result: np.array_equal(result[...], images["voxels"]),
    "image.shape": lambda images, result: "48x64x80" in result,
    "image.voxel_length": lambda images, result: (
        np.allclose(np.diff(result), 2.25) and result.attrs["units"] == "micrometer"
    ),
    "image.copy": attenuation("copied.zarr"),
    "image.export_raw": lambda images, result: np.array_equal(
        np.fromfile(images["folder"] / "exported.raw", "u2").reshape(48, 64, 80), images["voxels"]
    ),
    "Sphere": lambda images, result: (
        np.nanmax(result.values) == images["voxels"].max(where=sphere(), initial=0)
        and np.array_equal(np.isfinite(result.values), sphere())
    ),
    "Histogram": lambda images, result: (
        images["folder"] / "rock.zarr/.seismill/report/report.html"
    ).exists(),
}  # fmt: skip


def test_each_row_has_a_check_of_its_own():
    served = [theirs for theirs, _ in ROWS if "OrthogonalViewer" not in theirs]  # tests/tasks/viewer
    assert [sum(name in theirs for name in RIGHT) for theirs in served] == [1] * len(RIGHT)


def test_each_row_does_what_the_other_tool_does(images, monkeypatch, capsys):
    monkeypatch.chdir(images["folder"])
    for theirs, ours in ROWS:  # in their order: some take what those above them made
        if ours.startswith("seismill view"):
            cli.app.parse_args(shlex.split(ours)[1:], exit_on_error=False, print_error=False)
            continue
        if ours.startswith("seismill "):
            assert cli.run([*shlex.split(ours)[1:], *plain(ours)]) == 0, ours
            result: Any = "".join(capsys.readouterr())
        else:
            result = eval(ours, dict(images))
        (check,) = (check for name, check in RIGHT.items() if name in theirs)
        assert check(images, result), ours


def test_copies_are_what_the_guide_says(copies):
    folder, survey, names = copies
    volume = zarr.open_group(folder / "survey.zarr", mode="r")
    np.testing.assert_array_equal(volume["fast_inline"].attrs["max_abs_error"] > 0, True)
    values, rms = survey.values, np.sqrt(np.nanmean(survey.values.astype("f8") ** 2))
    error = np.sqrt(np.nanmean((volume["fast_inline"][...] - values.astype("f8")) ** 2))
    assert 50 <= 20 * np.log10(rms / error) < 58
    assert set(names["took"]) == {
        (name, across)
        for name in ("amplitude", "fast_inline", "fast_crossline", "fast_time")
        for across in ("inline", "crossline", "time")
    }
    assert (folder / "copies.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_is_what_is_explored_on_that_file(shared, tmp_path):
    url = str(tmp_path / "f3.zarr")
    ingest_segy(str(shared / "data/seisplot/data/F3_very_small.sgy"), url)
    trials = rechunk(url, explore=str(tmp_path / "a.png"))["trials"]
    known = {(trial["codec"], trial["tolerance"]): trial for trial in trials}
    rows = re.findall(r"^\| (zfp|rounded) \| ([^|]*) \|(.*) \|$", COPIES, re.MULTILINE)
    assert len(rows) == 5
    for codec, tolerance, rest in rows:
        trial = known[codec, float(tolerance)]
        cells = [float(cell) for cell in rest.split("|")]
        found = [trial[name] for name in ("ratio", "snr_db", "psnr_db", "ssim", "max_abs_error")]
        np.testing.assert_allclose(cells, found, rtol=0.02)

"""The guide beside the code: every block runs, and every row of its table gives what it promises."""

import filecmp
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from flows import cli
from tasks.parameters import Copy, Run
from tests import ROOT
from tests.support.survey import Survey, make_survey

GUIDE = (ROOT / "tasks/dataset/README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
IN_A_FLOW = [block for block in BLOCKS if "connect()" in block]
ROWS = [
    (mdio, re.fullmatch(r"`(.*)`", ours)[1])
    for mdio, ours in re.findall(
        r"^\| (.*?) \| .* \| (`.*`) \|$",
        GUIDE.partition("## Coming from MDIO")[2].partition("## The")[0],
        re.MULTILINE,
    )
]
OPTIONS = re.findall(
    r"^\| `(\w+)=", GUIDE.partition("| option |")[2].partition("Nothing is read")[0], re.MULTILINE
)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    folder = tmp_path_factory.mktemp("guide")
    live = np.ones((40, 30), bool)
    live[0, 10:] = live[33, :4] = False
    steps = {"inlines": range(10, 90, 2), "crosslines": range(300, 390, 3)}
    return make_survey(folder / "survey.sgy", **steps, n_samples=70, live=live)


@pytest.fixture(scope="module")
def known(survey: Survey) -> Iterator[dict[str, Any]]:
    """The names that exist after all blocks ran in order, in the folder that they ran in."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(survey.path.parent)
        for block in BLOCKS:
            if block not in IN_A_FLOW:
                exec(compile(block, "README.md", "exec"), names)
        yield names | {"zarr": zarr, "Copy": Copy, "Run": Run}


@pytest.mark.slow
def test_the_blocks_give_what_they_say(known: dict[str, Any], survey: Survey):
    values = survey.values
    np.testing.assert_array_equal(known["section"], values[7])
    np.testing.assert_array_equal(known["trace"], values[7, 2])
    np.testing.assert_array_equal(known["window"], values[5:16, :, :26])
    np.testing.assert_array_equal(known["backwards"], values[::-1, [3, 1]])
    assert (
        known["quick"]
        .amplitude.attrs["answered_by"]
        .startswith("inline: fast_inline, crossline: fast_crossline")
    )
    assert known["overview"].amplitude.size <= 20_000
    assert known["placed"].trace_seq_num_line[7, 2] == 1 + survey.numbers[7, 2]
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(known["mean"], values.astype("f8").mean(axis=2), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose([known["inline"], known["crossline"]], [24, 306])
    assert known["arbitrary"].sizes["trace"] == 46
    assert filecmp.cmp("again.sgy", survey.path, shallow=False)
    part = int((survey.numbers[5:16] >= 0).sum())
    assert Path("part.sgy").stat().st_size == 3600 + part * (240 + 4 * 70)
    assert Path("window.sgy").stat().st_size == 3600 + part * (240 + 4 * 26)
    assert known["checked"]["findings"] == []
    assert "amplitude" in known["arrays"]
    assert not any(path.startswith("pyramid") for path in known["arrays"])
    np.testing.assert_array_equal(known["rock"].attenuation, np.load("rock.npy"))
    assert zarr.open_group("made.zarr", mode="r")["field/0"].shape == (64, 64, 64)
    assert zarr.open_group("volumes/survey.zarr", mode="r").attrs["seismill"]["proven_at"]
    assert known["audited"]["counts"] == {"sound": 1}


def same(values: Callable[[Survey], Any]) -> Callable[[Any, Survey], bool]:
    return lambda result, survey: np.array_equal(np.asarray(result), values(survey), equal_nan=True)


def live(survey: Survey) -> np.ndarray:
    return survey.numbers >= 0


def opens(result: Any, survey: Survey) -> bool:
    return np.array_equal(result.amplitude, survey.values, equal_nan=True)


def exports(name: str, traces: Callable[[Survey], int]) -> Callable[[Any, Survey], bool]:
    return lambda result, survey: Path(name).stat().st_size == 3600 + traces(survey) * (240 + 4 * 70)


def holds(name: str, array: str = "amplitude") -> Callable[[Any, Survey], bool]:
    return lambda result, survey: np.array_equal(
        zarr.open_group(name, mode="r")[array][...], survey.values, equal_nan=True
    )


RIGHT: dict[str, Callable[[Any, Survey], bool]] = {
    "MDIOReader(path)": opens,
    'backend="dask"': lambda result, survey: opens(result, survey) and bool(result.amplitude.chunks),
    "new_chunks=": lambda result, survey: result.amplitude.chunks[0] == (40,),
    "storage_options=": opens,
    'access_pattern="0"': lambda result, survey: np.nanmax(np.abs(result.values - survey.values[15])) <= 2,
    'access_pattern="01"': lambda result, survey: (
        np.nanmax(np.abs(result.values - survey.values)) <= result.attrs["max_abs_error"]
    ),
    "return_metadata=True": lambda result, survey: (
        np.array_equal(result.amplitude, survey.values[15])
        and np.array_equal(result.trace_mask, live(survey)[15])
        and np.array_equal(result.trace_seq_num_line, survey.numbers[15] + 1)
    ),
    "memory_cache_size=": same(lambda survey: survey.values[15]),
    "reader.url": lambda result, survey: result == str(survey.path.parent / "survey.zarr"),
    "reader.root": lambda result, survey: np.array_equal(result["amplitude"][15], survey.values[15]),
    "reader.shape": lambda result, survey: result == (40, 30, 70),
    "reader.n_dim": lambda result, survey: result == 3,
    "reader.chunks": lambda result, survey: result == (64, 64, 64),
    "reader.trace_count": lambda result, survey: result == np.count_nonzero(live(survey)),
    "reader.live_mask": same(live),
    "reader.stats": lambda result, survey: np.isclose(result["rms"], np.sqrt(np.nanmean(survey.values**2.0))),
    "reader.text_header": lambda result, survey: result[39] == "C40 SURVEY OF A TEST".ljust(80),
    "reader.binary_header": lambda result, survey: result["samples_per_trace"] == 70,
    "reader[15]": same(lambda survey: survey.values[15]),
    "reader[:, 15]": same(lambda survey: survey.values[:, 15]),
    "reader[..., 33]": same(lambda survey: survey.values[..., 33]),
    "reader._headers[2, 3]": lambda result, survey: result["trace_seq_num_line"] == survey.numbers[2, 3] + 1,
    "reader._headers[:]": lambda result, survey: np.array_equal(
        result.values[live(survey)],
        survey.headers[:, 180:184].copy().view(">i4")[survey.numbers[live(survey)], 0],
    ),
    "reader.coord_to_index": same(lambda survey: [2]),
    "reader.grid.dim_names": lambda result, survey: result == ("inline", "crossline", "time"),
    "reader.grid.select_dim": same(lambda survey: survey.inlines),
    "reader.grid.get_min": lambda result, survey: result == 10,
    "reader.grid.get_max": lambda result, survey: result == 88,
    "reader.copy": holds("copied.zarr"),
    "MDIOWriter": lambda result, survey: np.array_equal(
        xarray.open_zarr("mine.zarr", consolidated=False).amplitude[0], survey.values[15]
    ),
    "segy_to_mdio": holds("other.zarr"),
    "index_names=": holds("third.zarr"),
    "mdio_to_segy(path": lambda result, survey: filecmp.cmp("mdio.sgy", survey.path, shallow=False),
    "selection_mask=": exports("masked.sgy", lambda survey: int(live(survey)[:10].sum())),
    'endian="little"': lambda result, survey: (
        np.fromfile("little.sgy", "<i4")[(3600 + 188) // 4] == survey.inlines[0] == 10
    ),
    "rechunk(reader": holds("survey.zarr", "il"),
    "create_rechunk_plan": lambda result, survey: (
        result["dry_run"] and not Path("survey.zarr/planned").exists()
    ),
    "mdio segy import": holds("a.zarr"),
    "mdio segy export": lambda result, survey: filecmp.cmp("b.sgy", survey.path, shallow=False),
    "mdio info": lambda result, survey: "fast_time" in result,
    "mdio copy": holds("b.zarr"),
}


@pytest.mark.parametrize(
    ("mdio", "ours"),
    [
        pytest.param(
            mdio, ours, id=mdio.strip("`"), marks=pytest.mark.slow if "seismill " in ours[:9] else ()
        )
        for mdio, ours in ROWS
    ],
)
def test_a_row_of_the_table_does_what_mdio_does(known: dict[str, Any], survey: Survey, mdio: str, ours: str):
    (check,) = (check for name, check in RIGHT.items() if longest(mdio) == name)
    if ours.startswith("seismill "):
        cli.app.parse_args(shlex.split(ours)[1:], exit_on_error=False, print_error=False)
        program = "import sys; sys.argv[0] = 'seismill'; from flows.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", program, *shlex.split(ours)[1:]],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        result: Any = done.stdout
    else:
        result = eval(ours, known)
    assert check(result, survey)


def longest(mdio: str) -> str:
    """The name in `RIGHT` that says most of a row's first column."""
    return max((name for name in RIGHT if name in mdio), key=len)


def test_each_row_has_a_check_of_its_own():
    assert sorted(longest(mdio) for mdio, _ in ROWS) == sorted(RIGHT)


def test_the_options_are_those_of_the_engine():
    import inspect

    from tasks.dataset.backend import SeismillBackend

    own = {*inspect.signature(SeismillBackend.open_dataset).parameters} - {
        "self",
        "filename_or_obj",
        "drop_variables",
    }
    assert set(OPTIONS) == own | {"chunks"}


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", IN_A_FLOW)
def test_the_block_with_a_flow_runs_with_a_server_of_its_own(survey: Survey, block: str, tmp_path: Path):
    folder = survey.path.parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    group = zarr.open_group(folder / "published.zarr", mode="r")
    np.testing.assert_array_equal(group["amplitude"][...], survey.values)
    assert "fast_time" in group

"""The guide to stores and credentials: its commands run on servers of all three clouds."""

import re
import shlex
from pathlib import Path

import pytest
import zarr

from flows import cli
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests import ROOT
from tests.support.survey import Survey, make_survey

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "tasks/volume/store/README.md").read_text()
WHOLE, OTHER, CLASSES = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
MINIO = "https://minio.example:9000"


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "survey.sgy", inlines=range(6), crosslines=range(7), n_samples=33)


def carry_out(block: str) -> None:
    for line in block.splitlines():
        _, verb, *words = shlex.split(line)
        assert cli.run([verb, *words, *(["--no-flow"] if verb == "publish" else [])]) == 0, line


def test_one_store_is_written_and_gives_the_file_back(cloud: str, survey: Survey) -> None:
    staging = WritableStore(f"{cloud}://staging")
    staging.put("survey.sgy", survey.content)
    carry_out(WHOLE.replace("s3://", f"{cloud}://"))
    assert staging.get("back.sgy") == survey.content


def test_sources_lie_in_another_store(s3: str, survey: Survey, tmp_path: Path, monkeypatch) -> None:
    WritableStore("s3://staging").put("survey.sgy", survey.content)
    monkeypatch.chdir(tmp_path)
    assert OTHER.count(MINIO) == 2
    carry_out(OTHER.replace(MINIO, s3))
    assert zarr.open_group("local.zarr", mode="r")["amplitude"].shape == survey.values.shape


def test_chunks_go_into_another_class(s3: str, survey: Survey) -> None:
    WritableStore("s3://staging").put("survey.sgy", survey.content)
    carry_out(CLASSES)
    assert Store("s3://volumes/cold.zarr").exists("amplitude/c/0/0/0")


def test_all_options_and_variables_of_the_guide_are_known() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "tasks").rglob("*.py"))
    code += "\n".join(path.read_text() for path in (ROOT / "flows").rglob("*.py"))
    flags = {flag[2:].replace("-", "_") for flag in re.findall(r"--[a-z][a-z-]+", GUIDE)}
    assert {flag for flag in flags if flag not in code} == set()

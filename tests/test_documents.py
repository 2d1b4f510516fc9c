"""The pages for people say what is so: links lead somewhere, commands can be typed, programs run, tests exist.

README.md has its own test, tests/test_readme.py; what FORMAT.md promises is in tests/tasks/volume/test_format.py.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.chains import PUBLISH_STAGES, demo_chain
from flows.stages import as_stage, load_verb
from tests import ROOT

PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        ".github/CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        "README.md",
        "flows/README.md",
        "infra/README.md",
        "infra/RUNBOOK.md",
        "tasks/README.md",
        "tasks/dataset/README.md",
        "tasks/viewer/README.md",
        "tasks/volume/FORMAT.md",
        "tasks/volume/copies/README.md",
        "tasks/volume/protocol/README.md",
        "tasks/volume/stacks/README.md",
        "tasks/volume/sweeps/README.md",
    )
}
LINKS = [
    (name, link.partition("#")[0])
    for name, text in PAGES.items()
    for link in re.findall(r"\]\(([^)\s]+)\)", text)
    if "://" not in link and not link.startswith("#")
]
COMMANDS = [
    (name, line)
    for name, text in PAGES.items()
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("seismill ")
]
TESTS = [
    (name, test) for name, text in PAGES.items() for test in re.findall(r"`(tests/[\w/]+\.py::\w+)`", text)
]
FILES = [
    (name, path)
    for name, text in PAGES.items()
    for path in re.findall(r"`((?:tests|tasks|flows|deployments|infra)/[\w./-]+\.\w+)`", text)
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_every_link_leads_to_a_file(page, link):
    assert ((ROOT / page).parent / link).exists()


@pytest.mark.parametrize(("page", "path"), FILES)
def test_every_file_that_is_named_is_there(page, path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_is_one_that_the_command_line_takes(page, line):
    cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize(("page", "test"), TESTS)
def test_every_test_that_is_named_exists(page, test):
    path, _, name = test.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_the_code_that_the_tour_names_is_where_it_says():
    rows = re.findall(r"^\| (.*) \|$", PAGES["tasks/README.md"], re.MULTILINE)
    found = 0
    for row in rows:
        for names, path in re.findall(r"((?:`\w+`(?:, | and )?)+) (?:in|of) \[[^\]]+\]\(([^)]+)\)", row):
            text = (ROOT / "tasks" / path).read_text()
            for name in re.findall(r"`(\w+)`", names):
                found += 1
                assert re.search(rf"\b{name}\b", text), (name, path)
    assert found >= 8


def test_each_module_of_flows_is_on_its_page():
    modules = {path.name for path in (ROOT / "flows").glob("*.py")} - {"__init__.py"}
    assert modules == set(re.findall(r"\]\((\w+\.py)\)", PAGES["flows/README.md"]))


def test_each_group_of_a_volume_is_on_the_map():
    volume = ROOT / "tasks/volume"
    groups = {f"{path.parent.name}/" for path in volume.glob("*/__init__.py")}
    modules = {path.name for path in volume.glob("*.py")} - {"__init__.py"}
    tour = PAGES["tasks/README.md"].partition("## The map")[2].partition("\n## ")[0]
    assert {name for name in groups | modules if f"        {name} " not in tour} == set()


@pytest.mark.slow
def test_the_program_of_the_tour_runs_where_the_demo_was_run(tmp_path: Path):
    stages = {name: as_stage(load_verb(name)) for name in ("make_survey", *PUBLISH_STAGES, "export_segy")}
    demo_chain(stages, folder=str(tmp_path / "seismill-demo"))
    (program,) = re.findall(r"```python\n(.*?)```", PAGES["tasks/README.md"], re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "objects are as they were written" in done.stdout


def test_ci_runs_everything_on_the_oldest_and_the_newest_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    assert [step["run"] for step in job["steps"] if "run" in step][-1] == ".ci/run"
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()


def test_every_hook_is_a_program_of_the_environment():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert (local["repo"], {hook["language"] for hook in local["hooks"]}) == ("local", {"system"})
    for hook in local["hooks"]:
        program = hook["entry"].split()[0]
        assert shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"), program


@pytest.mark.parametrize("page", [".github/CONTRIBUTING.md", ".justfile", ".ci/run"])
def test_markers_that_are_named_exist(page):
    text = (ROOT / page).read_text()
    markers = re.findall(r'^    "(\w+): ', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    used = re.findall(r'-m "([^"]+)"', text)
    assert used
    assert set(re.findall(r"\w+", " ".join(used))) <= {*markers, "or", "and", "not"}
    if page.endswith("CONTRIBUTING.md"):
        assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(markers)

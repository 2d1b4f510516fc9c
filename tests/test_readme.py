"""What README.md says can be typed and run."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flows import cli
from tests import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
]
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was run."""
    folder = tmp_path_factory.mktemp("readme")
    with contextlib.chdir(folder):
        assert cli.run(["demo", "--no-flow"]) == 0
    return folder


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("seismill ")])
def test_every_command_is_one_that_the_command_line_takes(line):
    cli.app.parse_args(shlex.split(line)[1:], exit_on_error=False, print_error=False)


def test_there_are_two_commands_to_begin_with():
    assert [line for line in COMMANDS if line.startswith("pip ")] == [
        "pip install -e . && seismill demo",
        "pip install -e '.[test]' && pytest",
    ]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(program, marks=[pytest.mark.peer] if "mdio" in program else [], id=program.split()[1])
        for program in PROGRAMS
    ],
)
def test_every_program_runs_where_the_demo_was_run(demo, program):
    python = os.environ["SEISMILL_MDIO_PYTHON"] if "mdio" in program else sys.executable
    done = subprocess.run([python, "-c", program], cwd=demo, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)]+)\)", README))
def test_every_link_leads_to_a_file(path):
    assert (ROOT / path).exists()

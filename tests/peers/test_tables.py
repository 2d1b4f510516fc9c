"""The table beside this file has a row for every public name of other tools, and each row names a test that exists.

SEISMILL_MDIO_PYTHON has multidimio 1.1.3; SEISMILL_IMAGES_PYTHON has pyramid-sampler and RockVerse.
"""

import json
import os
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests import ROOT

PAGE = Path(__file__).with_name("README.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.*) \| (?:`([^`]*)`)? *\|$", PAGE, re.MULTILINE)
NAMES = [name for theirs, _, _ in ROWS for name in re.findall(r"`([^`]+)`", theirs)]

LIST = """
import inspect, json, sys
names = []
def put(value, name, members=False):
    names.append(name)
    if inspect.isclass(value) and members:
        names.extend(f"{name}.{key}" for key, member in inspect.getmembers(value)
            if key[0] != "_" and (callable(member) or isinstance(member, property)))
    if inspect.isroutine(value) or inspect.isclass(value) and value.__init__ is not object.__init__:
        names.extend(f"{name}: {p}" for p in inspect.signature(value).parameters)
"""
OF_MDIO = """
import click, mdio, mdio.optimize
from mdio.__main__ import main
from mdio.builder import template_registry as registry
from mdio.core.config import MDIOSettings
for name in mdio.__all__:
    value = getattr(mdio, name)
    if inspect.isclass(value):
        names.extend([name, *(f"{name}: {field}" for field in value.model_fields)])
    elif callable(value):
        put(value, name)
for name, value in vars(registry).items():
    if name[0] != "_" and getattr(value, "__module__", "") == registry.__name__:
        if inspect.isclass(value):
            names.extend(f"{name}.{key}" for key in vars(value) if key[0] != "_")
        else:
            put(value, name)
put(mdio.optimize.get_default_zfp, "get_default_zfp")
names.extend(f"ZfpQuality.{quality.name}" for quality in mdio.optimize.ZfpQuality)
names.extend(f"template {name}" for name in registry.list_templates())
names.extend(f"setting {name}" for name in MDIOSettings.model_fields)
def commands(command, words):
    if not isinstance(command, click.Group):
        names.extend([words, *(f"{words}: {param.opts[-1]}" for param in command.params)])
        return
    for name in command.list_commands(click.Context(command)):
        commands(command.get_command(click.Context(command), name), f"{words} {name}")
commands(main, "mdio")
print(json.dumps(names))
"""
OF_IMAGES = """
import pyramid_sampler, rockverse
import rockverse.dect, rockverse.optimize, rockverse.region, rockverse.viz, rockverse.voxel_image
put(pyramid_sampler.Downsampler, "Downsampler")
names.extend(f"Downsampler.downsample: {p}"
    for p in list(inspect.signature(pyramid_sampler.Downsampler.downsample).parameters)[1:])
put(pyramid_sampler.initialize_test_image, "initialize_test_image")
put(rockverse.open, "rockverse.open")
put(rockverse.make_logo, "rockverse.make_logo")
put(type(rockverse.config), "rockverse.config", members=True)
for module in (rockverse.voxel_image, rockverse.region, rockverse.viz, rockverse.dect, rockverse.optimize):
    for name, value in vars(module).items():
        own = (getattr(value, "__module__", None) or "").startswith(module.__name__)
        if name[0] == "_" or not callable(value) or not own:
            continue
        if inspect.isclass(value) or module is rockverse.voxel_image:
            put(value, name, members=True)
        elif module is not rockverse.dect or name == "create_group":
            put(value, f"{module.__name__.partition('.')[2]}.{name}")
print(json.dumps(names))
"""


@pytest.mark.peer
@pytest.mark.parametrize(
    ("variable", "program", "least"),
    [("SEISMILL_MDIO_PYTHON", OF_MDIO, 100), ("SEISMILL_IMAGES_PYTHON", OF_IMAGES, 300)],
)
def test_every_public_name_has_a_row(variable: str, program: str, least: int):
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no interpreter")
    command = [python, "-I", "-W", "ignore", "-c", LIST + program]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) >= least
    assert [name for name in found if not any(fnmatchcase(name, row) for row in NAMES)] == []


def test_each_row_names_a_test_that_exists_or_says_that_there_is_nothing_here():
    assert len(ROWS) > 50
    for theirs, ours, test in ROWS[:]:
        if theirs in ("theirs", "---"):
            continue
        if not test:
            assert ours.startswith("not here: "), theirs
            continue
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), test
    assert len(NAMES) == len(set(NAMES))

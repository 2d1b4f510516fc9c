"""The laws of the house that import-linter cannot hold: names, sizes, and where the tests of a module are.

Which package may import which is written in pyproject.toml ([tool.importlinter]).
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

MODULES = sorted(
    path for folder in ("flows", "tasks") for path in (ROOT / folder).rglob("*.py") if path.stem != "__init__"
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
COVERS = re.compile(r"^Covers (.*?)\.$", re.MULTILINE | re.DOTALL)
EACH_STAGE_HAS_ONE = {"block", "finish", "plan"}

# A module longer than this is a table or a kernel.
LINES = 300
TABLES_AND_KERNELS = ("tasks/volume/kernels/", "tasks/parameters.py")
# What is longer yet, until it is divided. Nothing is added to this list.
STILL_LONGER = {
    "flows/cli.py",
    "tasks/volume/arrays/reader.py",
    "tasks/volume/export/rebuild.py",
    "tasks/volume/ingest/block.py",
    "tasks/volume/protocol/root.py",
    "tasks/volume/segy/format.py",
    "tasks/volume/segy/geometry.py",
    "tasks/volume/store/objects.py",
}


def named(path: Path) -> str:
    """The path of a file as it is written here."""
    return path.relative_to(ROOT).as_posix()


def covered(test: Path) -> Iterator[str]:
    """The modules that the docstring of a test file names, as ends of their paths."""
    for names in COVERS.findall(ast.get_docstring(ast.parse(test.read_text())) or ""):
        yield from re.split(r",\s+|\s+and\s+", names)


def test_inside_a_volume_no_two_modules_have_one_name():
    places = defaultdict(list)
    for path in (ROOT / "tasks" / "volume").rglob("*.py"):
        if path.stem not in EACH_STAGE_HAS_ONE | {"__init__"}:
            places[path.stem].append(named(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_two_public_classes_have_one_name():
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(named(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize("test", [test for test in TESTS if list(covered(test))], ids=named)
def test_each_module_that_a_test_file_names_is_one_module(test):
    paths = [f"/{named(path)}" for path in MODULES]
    found = {name: [path for path in paths if path.endswith(f"/{name}")] for name in covered(test)}
    assert {name: where for name, where in found.items() if len(where) != 1} == {}


def test_from_a_modules_name_its_tests_are_found():
    by_name = {test.stem.removeprefix("test_") for test in TESTS}
    by_folder = {named(test).removeprefix("tests/").replace("/test_", "/") for test in TESTS}
    ends = tuple(f"/{name}" for test in TESTS for name in covered(test))
    without = [
        named(path)
        for path in MODULES
        if named(path) not in by_folder
        and (path.stem in EACH_STAGE_HAS_ONE or path.stem not in by_name)
        and not f"/{named(path)}".endswith(ends)
    ]
    assert without == [], (
        "name the test file after the module, or name the module in its docstring (Covers …)"
    )


def test_a_long_module_is_a_table_or_a_kernel():
    lines = {named(path): len(path.read_text().splitlines()) for path in MODULES}
    longer = {
        path: count
        for path, count in lines.items()
        if count > LINES and path not in STILL_LONGER and not path.startswith(TABLES_AND_KERNELS)
    }
    assert longer == {}
    assert {path for path in STILL_LONGER if lines.get(path, 0) <= LINES} == set(), "take it off the list"

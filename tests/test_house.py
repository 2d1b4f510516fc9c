"""The laws of the house that import-linter cannot hold: names, sizes, and where the tests of a module are.

Which package may import which is written in pyproject.toml ([tool.importlinter]).
"""

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict

import pytest

from tasks.volume.store.objects import Store
from tests import ROOT
from tests.of import EACH_STAGE_HAS_ONE, MODULES, TESTS, covered, files_of, named

# A module longer than this is a table or a kernel.
LINES = 300
TABLES_AND_KERNELS = ("tasks/volume/kernels/", "tasks/parameters.py")


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
    without = [named(module) for module in MODULES if not files_of(module)]
    assert without == [], (
        "name the test file after the module, or name the module in its docstring (Covers …)"
    )


def test_benchmarks_import_what_is_there():
    for path in (ROOT / "tests" / "benchmarks").glob("[a-z]*.py"):
        importlib.import_module(f"tests.benchmarks.{path.stem}")


def test_one_command_says_what_to_run():
    command = [sys.executable, "-m", "tests.of", "spill", "segy/samples.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {"tests/tasks/test_geometries.py", "tests/tasks/test_sample_formats.py"} <= set(
        done.stdout.split()
    )
    assert all((ROOT / path).exists() for path in done.stdout.split())
    done = subprocess.run([*command, "nothing"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no module nothing" in done.stderr


def test_a_long_module_is_a_table_or_a_kernel():
    lines = {named(path): len(path.read_text().splitlines()) for path in MODULES}
    longer = {
        path: count
        for path, count in lines.items()
        if count > LINES and not path.startswith(TABLES_AND_KERNELS)
    }
    assert longer == {}


# Who makes a store that can be written. Everything else has a `Store`, in which there is nothing to write with.
MAKERS = {
    "tasks/volume/protocol/owner.py": "under the volume's lock",
    "tasks/volume/protocol/plan.py": "a block's job, which looks at the lock before it writes",
    "tasks/volume/arrays/group_metadata.py": "metadata of other tools' groups above an array of ours",
    "tasks/volume/sweeps/catalogue.py": "records of a sweep, each created once",
    "tasks/export_ome.py": "an export, which is no volume",
    "tasks/make_image.py": "an array at a place that did not exist, which is no volume",
    "tasks/rechunk.py": "a picture outside of the volume",
}
READING = {
    "above",
    "children",
    "exists",
    "files",
    "get",
    "each_key",
    "get_range",
    "get_seen",
    "get_tail",
    "has_bucket",
    "identity",
    "is_file",
    "keys",
    "listing",
    "path",
}


def test_only_an_owner_gets_a_store_that_can_be_written():
    making = re.compile(r"\bWritableStore(\.of)?\(")
    found = {named(path) for path in MODULES if making.search(path.read_text())}
    assert found - {"tasks/volume/store/writable.py", "tasks/volume/integrity/from_source.py"} == set(MAKERS)
    assert {name for name in vars(Store) if not name.startswith("_")} == READING


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    ["put('a', b'')", "create('a', b'')", "replace('a', b'', '')", "delete('a')", "delete_many(['a'])"],
)
def test_a_write_without_an_owner_is_a_type_error(tmp_path, call):
    (tmp_path / "written.py").write_text(
        "from tasks.volume.arrays.reader import Volume\n\n"
        f"def write(volume: Volume) -> None:\n    volume.store.{call}\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        str(tmp_path / "written.py"),
    ]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert f'"Store" has no attribute "{call.partition("(")[0]}"' in output

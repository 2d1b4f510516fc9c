"""Which tests are those of a module: `pytest $(python -m tests.of spill)`.

A test file is a module's if it has the module's name, or names it in its docstring: "Covers ingest/spill.py."
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

from tests import ROOT

MODULES = sorted(
    path for folder in ("flows", "tasks") for path in (ROOT / folder).rglob("*.py") if path.stem != "__init__"
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
EACH_STAGE_HAS_ONE = {"block", "finish", "plan"}
_COVERS = re.compile(r"^Covers (.*?)\.$", re.MULTILINE | re.DOTALL)


def named(path: Path) -> str:
    """The path of a file below the root of the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def covered(test: Path) -> list[str]:
    """The modules that the docstring of a test file names, as ends of their paths."""
    docstring = ast.get_docstring(ast.parse(test.read_text())) or ""
    return [name for names in _COVERS.findall(docstring) for name in re.split(r",\s+|\s+and\s+", names)]


def files_of(module: Path) -> list[Path]:
    """The test files of a module."""
    mirrored = ROOT / "tests" / module.relative_to(ROOT).with_name(f"test_{module.name}")
    by_name = (
        [] if module.stem in EACH_STAGE_HAS_ONE else [t for t in TESTS if t.stem == f"test_{module.stem}"]
    )
    path = f"/{named(module)}"
    by_docstring = [test for test in TESTS if any(path.endswith(f"/{name}") for name in covered(test))]
    return sorted({*(test for test in TESTS if test == mirrored), *by_name, *by_docstring})


def main(names: list[str]) -> int:
    """Print the test files of the modules of these names or paths; 1 if there is no such module."""
    found: set[str] = set()
    for name in names:
        end = f"/{name.removesuffix('.py')}.py"
        modules = [module for module in MODULES if f"/{named(module)}".endswith(end)]
        if not modules:
            print(f"there is no module {name} in flows/ or tasks/", file=sys.stderr)
            return 1
        found |= {named(test) for module in modules for test in files_of(module)}
    print(*sorted(found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

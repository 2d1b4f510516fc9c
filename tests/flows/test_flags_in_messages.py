"""Every flag that a message, a help text or a page names is one that the command line has.

Covers flows/flags.py.
"""

import ast
import re
from collections.abc import Iterator

from flows import cli
from tests import ROOT
from tests.test_documents import PAGES

FLAG = re.compile(r"(?<![\w-])--([A-Za-z][\w-]*)")
OF_OTHERS = {"background", "name", "no-prompt", "prefect-file", "pool", "type"}  # Prefect's own
OF_OTHERS |= {"bokeh-font-size"}  # a property of a style sheet


def flags_of_the_command_line() -> set[str]:
    """Every flag of every command."""
    flags = {"help", "version"}
    for name in cli.app:
        if not name.startswith("-"):
            for argument in cli.app[name].assemble_argument_collection():
                flags |= {flag.removeprefix("--") for flag in argument.names if flag.startswith("--")}
    return flags


def texts() -> Iterator[tuple[str, str]]:
    """Every string of the code, with its file, and every page."""
    for path in (path for folder in ("flows", "tasks") for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "--" in node.value:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
    for name, page in PAGES.items():
        for line in page.splitlines():
            if line.startswith("seismill ") or "`--" in line:
                yield name, line


def test_every_flag_that_a_text_names_exists():
    flags = flags_of_the_command_line()
    named = {(flag, place) for place, text in texts() for flag in FLAG.findall(text)}
    assert {"overwrite", "index-bytes", "has-duplicates", "no-flow", "check"} <= flags
    assert len(named) > 300
    assert sorted(pair for pair in named if pair[0] not in flags | OF_OTHERS) == []

"""Refusals are two lines, and every flag that a sentence of the source names is one of the command line."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr

from flows.cli import app, run
from flows.command import with_flags
from tests import ROOT
from tests.support.segy_maker import segy_bytes

FLAG = re.compile(r"(?<![\w-])--[A-Za-z][A-Za-z0-9-]*")


def flags_of_verbs() -> set[str]:
    """Every flag that some verb of the command line takes, with the names of its negation."""
    names: set[str] = {"--help", "--version"}
    for name in app:
        if name.startswith("-"):
            continue
        for argument in app[name].assemble_argument_collection():
            names |= {flag for flag in argument.names if flag.startswith("--")}
    return names


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module, with those of f-strings put together; docstrings and comments are none."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
        and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_every_flag_that_the_source_names_is_parsed():
    known, unknown, seen = flags_of_verbs(), [], set()
    for folder in ("tasks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, text in texts(path):
                if " " not in text:  # an argument for another program
                    continue
                for flag in FLAG.findall(text):
                    seen.add(flag)
                    if flag not in known:
                        unknown.append(f"{path.relative_to(ROOT)}:{line}: {flag} in {text[:70]!r}")
    assert unknown == []
    assert {"--index-bytes", "--trailing", "--has-duplicates", "--sample-interval", "--epsg"} <= seen | known


@pytest.mark.parametrize(
    ("words", "flags", "command"),
    [
        (["scan", "a.sgy"], "--trailing keep", "seismill scan a.sgy --trailing keep"),
        (["scan", "a b.sgy"], "--domain depth", "seismill scan 'a b.sgy' --domain depth"),
        (
            ["publish", "a", "b", "--index-bytes", "9,21", "--overwrite"],
            "--index-bytes trace",
            "seismill publish a b --overwrite --index-bytes trace",
        ),
        (
            ["publish", "a", "b", "--index-bytes=9,21", "--quality", "low"],
            "--index-bytes 5,9",
            "seismill publish a b --quality low --index-bytes 5,9",
        ),
        (["scan", "a", "--delay", "-4"], "--delay 0", "seismill scan a --delay 0"),
        (
            ["ingest-segy", "--domain", "time", "a", "b"],
            "--domain depth",
            "seismill ingest-segy a b --domain depth",
        ),
    ],
)
def test_the_second_line_is_the_command_with_the_flags(words, flags, command):
    assert with_flags(words, flags) == command


N = np.arange(35)
NOTHING = {(181, "i4"): 0, (185, "i4"): 0, (189, "i4"): 0, (193, "i4"): 0, (5, "i4"): 0}
REFUSED = {
    "something appended": segy_bytes(trailer=b"\1" * 112),
    "duplicates": segy_bytes(traces={(193, "i4"): (N % 7) // 2 * 2}),
    "twice in each cell": segy_bytes(traces={(189, "i4"): 1 + N // 14, (193, "i4"): 1 + N % 7}),
    "a negative interval": segy_bytes(binary={(3217, "h"): -4000}),
    "no grid": segy_bytes(traces=NOTHING),
    "two grids": segy_bytes(
        shape=(8, 12),
        traces={
            (5, "i4"): 0, (189, "i4"): 0, (193, "i4"): 0,
            (181, "i4"): np.arange(96) // 12, (185, "i4"): np.arange(96) % 12,
            (9, "i4"): np.random.default_rng(0).permutation(96) // 12,
            (21, "i4"): np.random.default_rng(0).permutation(96) % 12,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_the_second_line_works_on_the_file(tmp_path, capsys, name):
    source, volume = tmp_path / "a.sgy", tmp_path / "a.zarr"
    source.write_bytes(REFUSED[name])
    assert run(["ingest-segy", str(source), str(volume)]) == 3
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2, lines
    assert lines[0].count(". ") == 0
    assert "--" not in lines[0]
    assert not volume.exists()
    program, *words = shlex.split(lines[1])
    assert program == "seismill"
    assert run(words) == 0, capsys.readouterr().err
    assert zarr.open_group(volume, mode="r")["amplitude"].size


def test_without_a_command_line_the_flags_are_in_the_sentence(tmp_path):
    from tasks.ingest_segy import ingest_segy
    from tasks.volume.outcomes import InputRefused

    (tmp_path / "a.sgy").write_bytes(REFUSED["something appended"])
    with pytest.raises(InputRefused, match=r"; say --trailing keep$") as refused:
        ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))
    assert "--" not in refused.value.sentence

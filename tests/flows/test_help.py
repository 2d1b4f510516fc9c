"""What help shows first.

Covers flows/help.py and flows/__main__.py.
"""

import re
import shlex
import subprocess
import sys

import pytest

from flows.cli import app, run
from flows.help import EXAMPLES, FLAGS, commands
from tests import ROOT

LINES = [line for lines in EXAMPLES.values() for line in lines]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_each_verb_has_an_example_and_no_other_has() -> None:
    assert set(EXAMPLES) == set(commands(app))
    assert {name.replace("_", "-") for name in FLAGS} < set(EXAMPLES)


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_a_command_that_is_understood(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, verb, *words = shlex.split(line.partition(" > ")[0])
    assert program == "seismill"
    assert line in EXAMPLES[verb]
    app.parse_args([verb, *words], exit_on_error=False, print_error=False)
    assert " ".join(line.split()) in " ".join(shown(capsys, verb).split())


def test_commands_come_by_use(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys)
    order = [
        "─ Start here ",
        "│ demo ",
        "│ scan ",
        "│ publish ",
        "│ view ",
        "─ More ",
        "│ audit ",
        "─ Server ",
        "│ up ",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


@pytest.mark.parametrize("verb", FLAGS)
def test_the_flags_of_most_runs_come_first_and_once(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, verb.replace("_", "-"))
    assert not re.findall(r"^│ --\S+( --\S+)? +(\[default.*)?│$", text, re.M), "a flag without a text"
    sections = text.split("╭─ ")
    (first,) = [section for section in sections if section.startswith("Most used")]
    (output,) = [section for section in sections if section.startswith("Output")]
    assert sections.index(first) < sections.index(output)
    for flag in FLAGS[verb]:
        assert f"{flag} " in first or f"{flag}\n" in first
        assert sum(f"│ {flag} " in section or f"│ *  {flag} " in section for section in sections) == 1
    assert len(FLAGS[verb]) <= 5


def test_a_usage_error_names_the_help_of_its_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "a.sgy", "a.zarr", "--nope", "1"]) == 2
    assert "seismill publish --help shows what there is" in capsys.readouterr().err
    assert run(["nothing"]) == 2
    assert "; seismill --help shows what there is" in capsys.readouterr().err


def test_bash_completes_verbs_and_flags() -> None:
    script = (
        'source <("$0" -P -c "from flows.cli import main; main()" completion bash)\n'
        'complete_with() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _seismill; echo "${COMPREPLY[@]}"; }\n'
        "complete_with seismill pub\ncomplete_with seismill publish a b --qual\ncomplete -p seismill\n"
    )
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Where the script has no answer, bash offers files: of what is published.
    assert done.stdout.splitlines() == ["publish", "--quality", "complete -o default -F _seismill seismill"]


def test_the_package_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0.1.0"

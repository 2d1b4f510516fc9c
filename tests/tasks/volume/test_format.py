"""FORMAT.md names whatever a new volume of each kind stores, and its programs read one with zarr and NumPy alone."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import ROOT
from tests.support.kinds import KINDS, shards, survey

FORMAT = (ROOT / "tasks/volume/FORMAT.md").read_text()
NAMED = set(re.findall(r"`([^`\n]+)`", FORMAT))
PROGRAMS = re.findall(r"```python\n(.*?)```", FORMAT, re.DOTALL)
KEY_TABLE = FORMAT.partition("## Keys")[2].partition("## Arrays")[0]
PATTERNS = {
    "<array>": r"(?P<array>.+?)",
    "/<n>/<n>` …": r"(?:/\d+)+",
    "<n>": r"\d+",
    "<digest>": "[0-9a-f]{32}",
    "<name>": "[^/]+",
    "<crc>": "[0-9a-f]{8}",
}
# Whose keys are names that a user or another format chose, and numbers by such names.
OF_OTHERS = {"binaryHeader", "gridOverrides", "overrides", "kept", "stages"}


def key_patterns() -> list[re.Pattern[str]]:
    """The rows of the table of keys as patterns."""
    rows = re.findall(r"^\| (`[^|]+?) \|", KEY_TABLE, re.MULTILINE)
    patterns = []
    for row in rows:
        text = re.escape(row)
        for word, pattern in PATTERNS.items():
            text = text.replace(re.escape(word), pattern, 1 if word == "<array>" else -1)
        patterns.append(re.compile(text.replace("`", "")))
    return patterns


def keys_of(value: Any) -> Iterator[str]:
    """Every key of an attribute and of what it holds."""
    if isinstance(value, list):
        for item in value:
            yield from keys_of(item)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in OF_OTHERS:
                yield from keys_of(inner)


def attributes_of(volume: Path) -> Iterator[str]:
    """Every key of every attribute of a volume, but those that a user gave."""
    root = volume / ".seismill/annex.json"
    document = json.loads((root if root.exists() else volume / "zarr.json").read_text())
    state = document["attributes"]["seismill"]
    state.pop("attributes", None)
    yield from keys_of(document["attributes"])
    for stage in state["stages"].values():
        yield from keys_of({name: value for name, value in stage.items() if name != "kept"})
        for facts in stage.get("kept", {}).values():
            yield from keys_of(facts)
    for member in document["consolidated_metadata"]["metadata"].values():
        yield from keys_of(member["attributes"])


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def volume(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new volume of each kind."""
    return request.param(tmp_path_factory.mktemp(request.param.__name__))


def test_every_stored_key_is_in_the_table(volume):
    stored = [path.relative_to(volume).as_posix() for path in volume.rglob("*") if path.is_file()]
    arrays = {key.removesuffix("/zarr.json") for key in stored if key.endswith("/zarr.json")}
    patterns = key_patterns()
    assert len(stored) > 10
    assert len(patterns) > 15
    for key in stored:
        matches = [match for pattern in patterns if (match := pattern.fullmatch(key))]
        assert matches, f"FORMAT.md has no row for {key}"
        array = matches[0].groupdict().get("array")
        assert array is None or array in arrays or array == ".seismill", key


def test_every_attribute_is_named(volume):
    keys = set(attributes_of(volume))
    assert "format" in keys
    assert {key for key in keys if key not in NAMED} == set()


def test_every_array_is_described(volume):
    document = json.loads((volume / "zarr.json").read_text())
    members = document.get("consolidated_metadata", {}).get("metadata", {})
    described = {
        path
        for path, member in members.items()
        if member["node_type"] == "array"
        and not {"copy_of", "field_name"} & set(member["attributes"])
        and not re.match(r"pyramid/\d+/", path)
    }
    axes = {dim for member in members.values() for dim in member.get("dimension_names") or ()}
    of_coordinates = set(
        " ".join(member["attributes"].get("coordinates", "") for member in members.values()).split()
    )
    generic = {re.sub(r"/\d+/", "/<n>/", path) for path in described - axes - of_coordinates}
    assert {path for path in generic if path not in NAMED} == set()


def run(program: str, folder: Path) -> str:
    """Run a program of FORMAT.md in a folder where Seismill cannot be imported; return what it printed."""
    outside = f"import sys; sys.path = [p for p in sys.path if p != {str(ROOT)!r}]\n"
    barred = "sys.modules['tasks'] = sys.modules['flows'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", outside + barred + program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_of_30_lines_reads_samples_headers_and_checksums(tmp_path):
    volume = survey(tmp_path)
    code = [line for line in PROGRAMS[0].splitlines() if line and not line.startswith("import ")]
    assert len(code) <= 30
    imported = set(re.findall(r"^import (\w+)", PROGRAMS[0], re.MULTILINE))
    assert imported == {"google_crc32c", "json", "numpy", "pathlib", "zarr"}
    printed = run(PROGRAMS[0], tmp_path)
    assert "('inline', 'crossline', 'time') (9, 5, 37) live traces: 40" in printed
    raw = np.fromfile(tmp_path / "a.sgy", np.uint8)[3600 + 3200 :].reshape(40, 240 + 4 * 37)
    inline, crossline, x = (int(raw[0, at - 1 : at + 3].copy().view(">i4")[0]) for at in (189, 193, 181))
    assert f"first trace: {{'inline': {inline}, 'crossline': {crossline}, 'cdp_x': {x}}}" in printed
    assert printed.rstrip().endswith("objects that are not as they were written: []")
    broken = min(path for path in (volume / "fast_line/c").rglob("*") if path.is_file())
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    key = broken.relative_to(volume).as_posix()
    assert run(PROGRAMS[0], tmp_path).rstrip().endswith(f"not as they were written: ['{key}']")


def test_a_program_writes_the_file_again(tmp_path):
    shards(tmp_path)
    run(PROGRAMS[1], tmp_path)
    for number in range(2):
        assert (tmp_path / f"again_{number}.sgy").read_bytes() == (
            tmp_path / f"line_{number}.sgy"
        ).read_bytes()

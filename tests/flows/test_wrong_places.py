"""A place that is no volume, or one whose root is damaged, is a sentence to every verb, and nothing is written.

Covers protocol/place.py and arrays/documents.py.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import cli, credentials
from tasks.ingest_segy import ingest_segy
from tasks.volume.store.objects import Store
from tests.support.survey import make_survey

VERBS = {
    "info": ["{volume}"],
    "verify": ["{volume}"],
    "rechunk": ["{volume}", "--presets", "fast_time", "--lock-wait", "0"],
    "export-segy": ["{volume}", "{folder}/out.sgy"],
    "pyramid": ["{volume}", "--levels", "1", "--until", "1", "--lock-wait", "0"],
    "report": ["{volume}"],
    "copy": ["{volume}", "{folder}/copied.zarr"],
    "prove": ["{volume}"],
}
PLACES = {  # the place, and what every verb says of it
    "a file": ("{folder}/file", r"is a file; name the folder of a volume"),
    "the source": ("{folder}/a.sgy", r"is a file; name the folder of a volume"),
    "below a file": ("{folder}/file/a.zarr", "there is no published volume|is a file or below one"),
    "an empty folder": ("{folder}/empty", "there is no published volume at .*; publish one there first"),
    "nothing": ("{folder}/none/a.zarr", "there is no published volume at .*; publish one there first"),
    "a link to itself": ("{folder}/loop", "cannot be used .*; name another file or folder"),
    "a name that is too long": ("{folder}/" + "x" * 300, "cannot be used .*; name another file or folder"),
    "Azure without an account": (
        "az://volumes/a.zarr",
        r"AZURE_STORAGE_ACCOUNT_NAME \(--account-name\)",
    ),
}


def changed(root: dict[str, Any], **values: Any) -> bytes:
    return json.dumps(root | values).encode()


def of_state(root: dict[str, Any], **values: Any) -> bytes:
    state = root["attributes"]["seismill"] | values
    return changed(root, attributes=root["attributes"] | {"seismill": state})


ROOTS: dict[str, Callable[[bytes, dict[str, Any]], bytes]] = {
    "cut": lambda text, root: text[: len(text) // 2],
    "empty": lambda text, root: b"",
    "a list": lambda text, root: b"[]",
    "a number": lambda text, root: b"1",
    "null": lambda text, root: b"null",
    "nested lists": lambda text, root: b"[" * 100_000 + b"]" * 100_000,
    "nested objects": lambda text, root: b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "no text": lambda text, root: b"\xff\xfe" + text,
    "a long number": lambda text, root: b'{"zarr_format": ' + b"9" * 10_000 + b"}",
    "no attributes": lambda text, root: b'{"zarr_format": 3, "node_type": "group"}',
    "attributes a list": lambda text, root: changed(root, attributes=[]),
    "attributes a text": lambda text, root: changed(root, attributes="x"),
    "state a list": lambda text, root: changed(root, attributes=root["attributes"] | {"seismill": [1]}),
    "stages a number": lambda text, root: changed(
        root, attributes=root["attributes"] | {"seismill": root["attributes"]["seismill"] | {"stages": 1}}
    ),
    "a master without a name": lambda text, root: changed(
        root, attributes=root["attributes"] | {"attributes": {}}
    ),
    "a master that is no member": lambda text, root: changed(
        root, attributes=root["attributes"] | {"attributes": {"defaultVariableName": "none"}}
    ),
    "state null": lambda text, root: changed(root, attributes=root["attributes"] | {"seismill": None}),
    "state of nothing": lambda text, root: changed(root, attributes=root["attributes"] | {"seismill": {}}),
    "a file that is a number": lambda text, root: of_state(
        root, sources=[root["attributes"]["seismill"]["sources"][0] | {"file": 1}]
    ),
    "a checksum that is none": lambda text, root: of_state(
        root, sources=[root["attributes"]["seismill"]["sources"][0] | {"crc32c_parts": ["/etc/passwd"]}]
    ),
    "an axis of nothing": lambda text, root: of_state(root, axes=[{}]),
    "a place of texts": lambda text, root: of_state(root, place={"x": ["a", "b"]}),
    "corners a number": lambda text, root: of_state(root, place={"corners": 1}),
    "no members": lambda text, root: changed(root, consolidated_metadata={"metadata": {}}),
    "members a list": lambda text, root: changed(root, consolidated_metadata={"metadata": []}),
    "members null": lambda text, root: changed(root, consolidated_metadata=None),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    survey = make_survey(folder / "a.sgy", inlines=range(5), crosslines=range(4), n_samples=20)
    ingest_segy(str(survey.path), str(folder / "a.zarr"))
    return folder


def content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def refused(folder: Path, volume: str, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Give the place to every verb; return what each said, which is a sentence and a remedy, and nothing else."""
    refusals = {}
    before = content(folder)
    for verb, words in VERBS.items():
        code = cli.run([verb, *(word.format(volume=volume, folder=folder) for word in words)])
        text = capsys.readouterr().err
        lines = [line for line in text.splitlines() if line and not re.match(r"(verify|compare): \d", line)]
        assert code in (3, 4, 5), (verb, code, text)
        assert len(lines) <= 2, (verb, text)
        assert len(text) < 1500, (verb, text)
        assert not re.search(r"Traceback|\b[A-Z]\w*(Error|Exception)\b", text), (verb, text)
        assert content(folder) == before, (verb, "nothing is written")
        refusals[verb] = text
    return refusals


@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_is_no_volume_is_a_sentence_and_nothing_is_written(
    whole: Path,
    tmp_path: Path,
    place: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AZURE_STORAGE_ACCOUNT_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    credentials.forget_connections()  # of tests before this one
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    assert "loop" not in Store(str(tmp_path)).files()
    assert "loop" not in [key for key, _, _ in Store(str(tmp_path)).listing("")]
    shutil.copy(whole / "a.sgy", tmp_path / "a.sgy")
    where, sentence = PLACES[place]
    for verb, text in refused(tmp_path, where.format(folder=tmp_path), capsys).items():
        assert re.search(sentence, text), (verb, text)


@pytest.mark.slow
@pytest.mark.server
def test_a_bucket_that_is_not_there_is_a_sentence(
    tmp_path: Path, s3_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb, text in refused(tmp_path, "s3://not-there-at-all/a.zarr", capsys).items():
        assert "not-there-at-all" in text, (verb, text)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ROOTS)
def test_a_damaged_root_is_a_sentence_and_nothing_is_written(
    whole: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = tmp_path / "a.zarr"
    shutil.copytree(whole / "a.zarr", volume)
    text = (volume / "zarr.json").read_bytes()
    (volume / "zarr.json").write_bytes(ROOTS[damage](text, json.loads(text)))
    refusals = refused(tmp_path, str(volume), capsys)
    assert "zarr.json" in refusals["verify"]
    assert cli.run(["verify", str(volume), "--repair", "from_master"]) == 0
    assert (volume / "zarr.json").read_bytes() == text


MAKERS = {
    "publish": "publish {folder}/a.sgy {volume}",
    "images": "publish {folder}/a.npy {volume}",
    "copy": "copy {folder}/a.zarr {volume}",
    "ome": "export-ome {folder}/a.zarr {volume}",
    "sweep": "sweep {folder}/staging {volume}",
}


@pytest.mark.parametrize("verb", MAKERS)
def test_a_dry_run_refuses_a_bucket_that_is_not_there(
    s3: str, whole: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "staging").mkdir()
    for name in ("a.sgy", "staging/b.sgy"):
        shutil.copy(whole / "a.sgy", tmp_path / name)
    shutil.copytree(whole / "a.zarr", tmp_path / "a.zarr")
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), "u1"))

    def dry_run(volume: str) -> int:
        words = [word.format(folder=tmp_path, volume=volume) for word in MAKERS[verb].split()]
        return cli.run([*words, "--dry-run", "--no-flow"])

    assert dry_run("s3://nowhere-to-be-seen/a.zarr") == 4
    assert "make the bucket or container first" in capsys.readouterr().err
    assert dry_run("s3://volumes/a.zarr") == 0

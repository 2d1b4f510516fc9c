"""What a disk or a stranger makes of images, metadata and our own documents ends in a sentence, never in an exception.

SEISMILL_MUTANTS says how many of each kind are tried.
"""

import json
import os
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from flows import cli
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Levels
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tests.support.survey import make_survey

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("SEISMILL_MUTANTS", "8"))
SEED = int(os.environ.get("SEISMILL_SEED", "1"))
SECONDS = 20.0
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 40,
    1 << 70,
    1e308,
    "",
    "x",
    "../..",
    "/etc",
    "NaN",
    [],
    {},
    [[]],
    [-1],
    {"a": []},
)
CLASS_NAME = re.compile(r"\b[A-Z][A-Za-z]*(Error|Exception|Warning)\b")


def mutated(data: bytes, drawn: random.Random) -> bytes:
    """Bytes flipped, cut, repeated or replaced; of JSON mostly one value."""
    if data[:1] == b"{" and b"\n{" not in data and drawn.random() < 0.7:
        try:
            document = json.loads(data)
        except ValueError:
            return data[: len(data) // 2]
        places: list[tuple[Any, Any]] = []

        def walk(value: Any) -> None:
            for key in value if isinstance(value, dict) else range(len(value)):
                places.append((value, key))
                if isinstance(value[key], (dict, list)) and value[key]:
                    walk(value[key])

        walk(document)
        if not places:
            return data[: len(data) // 2]
        place, key = drawn.choice(places)
        if drawn.random() < 0.25:
            del place[key]
        else:
            place[key] = drawn.choice(VALUES)
        return json.dumps(document, indent=2).encode()
    changed = bytearray(data)
    for _ in range(drawn.randint(1, 6)):
        at = drawn.randrange(len(changed) + 1)
        match drawn.randrange(5):
            case 0:
                changed[at : at + 1] = bytes([drawn.randrange(256)])
            case 1:
                del changed[at : at + drawn.randint(1, 1 + len(changed) // 4)]
            case 2:
                changed[at:at] = changed[at // 2 : at // 2 + drawn.randint(1, 64)]
            case 3:
                changed[at : at + 4] = drawn.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"))
            case 4:
                changed[at:at] = b"9" * drawn.randint(1, 40)
    return bytes(changed)


def assert_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str], told: str) -> None:
    began = time.monotonic()
    code = cli.run(words)
    said = capsys.readouterr().err
    assert time.monotonic() - began < SECONDS, told
    assert code in (0, 3, 4, 5, 75), (told, code, said[-600:])
    assert not CLASS_NAME.search(said), (told, said[-600:])
    assert "Traceback" not in said, (told, said[-600:])


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with every kind of document."""
    folder = tmp_path_factory.mktemp("volume")
    survey = make_survey(folder / "a.sgy", inlines=range(6), crosslines=range(5), n_samples=20)
    ingest_segy(str(survey.path), str(folder / "a.zarr"))
    rechunk(str(folder / "a.zarr"), Copies(presets=["fast_time"]))
    pyramid(str(folder / "a.zarr"), Levels(levels=1))
    return folder / "a.zarr"


@pytest.mark.parametrize(
    "kind", ["zarr.json", "commits", "plan.json", "grid.npz", "manifests", "lock", "*/zarr.json"]
)
def test_our_own_documents(
    volume: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = random.Random(f"{SEED} {kind}")
    if "/" in kind or kind == "zarr.json":
        files = sorted(volume.glob(kind))
    else:
        files = sorted(
            file for file in (volume / ".seismill").rglob("*") if file.is_file() and kind in str(file)
        )
    for number in range(COUNT):
        place = tmp_path / "a.zarr"
        shutil.copytree(volume, place)
        file = place / drawn.choice(files).relative_to(volume)
        file.write_bytes(mutated(file.read_bytes(), drawn))
        told = f"{kind} {SEED} {number} {file}"
        verb = drawn.choice(
            [
                "info",
                "verify",
                "verify --repair from_master",
                "rechunk --presets fast_inline",
                "pyramid --overwrite --levels 2",
                "prove",
                "export-segy",
            ]
        )
        words = verb.split()
        target = [str(tmp_path / "out.sgy")] if verb == "export-segy" else []
        assert_a_sentence(
            [words[0], str(place), *target, *words[1:], *([] if verb == "info" else ["--lock-wait", "0"])],
            capsys,
            f"{told} {verb}",
        )
        shutil.rmtree(place)
        (tmp_path / "out.sgy").unlink(missing_ok=True)


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_of_other_tools(tmp_path: Path, version: int, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = random.Random(f"{SEED} {version}")
    group = zarr.open_group(str(tmp_path / "whole.zarr"), mode="w", zarr_format=version)  # type: ignore[arg-type]
    group.create_array("0", data=np.arange(512, dtype="u2").reshape(8, 8, 8), chunks=(4, 4, 4))
    files = sorted(
        f.relative_to(tmp_path / "whole.zarr") for f in (tmp_path / "whole.zarr").rglob("*") if f.is_file()
    )
    for number in range(COUNT):
        place = tmp_path / "a.zarr"
        shutil.copytree(tmp_path / "whole.zarr", place)
        documents = [f for f in files if f.name.startswith((".z", "zarr.json"))]
        file = place / drawn.choice(documents if drawn.random() < 0.7 else files)
        file.write_bytes(mutated(file.read_bytes(), drawn))
        verb = drawn.choice(["pyramid --levels 1", "rechunk --quality lossless --presets fast_time", "info"])
        words = verb.split()
        where = (
            []
            if verb == "info"
            else ["--array", "0", "--target", str(tmp_path / "made.zarr"), "--memory", "500MB"]
        )
        assert_a_sentence(
            [words[0], str(place), *words[1:], *where], capsys, f"{SEED} {number} {file} {verb}"
        )
        shutil.rmtree(place)
        shutil.rmtree(tmp_path / "made.zarr", ignore_errors=True)


def images() -> dict[str, bytes]:
    """A file of each format of images."""
    values = np.arange(4 * 6 * 5, dtype="u2").reshape(4, 6, 5)
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"mutants-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / "a.tif", values, imagej=True)
    tifffile.imwrite(folder / "b.tif", values, compression="zlib", photometric="minisblack")
    np.save(folder / "a.npy", values)
    found = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    found["a.png"] = imagecodecs.png_encode(values[0])
    found["a.jp2"] = imagecodecs.jpeg2k_encode(values[0], codecformat="jp2")
    raw = values.tobytes()
    found["a.nrrd"] = (
        b"NRRD0004\ntype: uint16\ndimension: 3\nsizes: 5 6 4\nspacings: 1 2 3\nendian: little\nencoding: raw\n\n"
        + raw
    )
    found["a.mha"] = (
        b"NDims = 3\nDimSize = 5 6 4\nElementType = MET_USHORT\nElementSpacing = 1 2 3\nElementDataFile = LOCAL\n"
        + raw
    )
    return found


@pytest.mark.parametrize("name", sorted(images()))
def test_images(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    drawn, whole = random.Random(f"{SEED} {name}"), images()[name]
    for number in range(COUNT):
        data = mutated(whole, drawn)
        (tmp_path / name).write_bytes(data)
        words = ["ingest-images", str(tmp_path / name), str(tmp_path / "a.zarr"), "--memory", "500MB"]
        assert_a_sentence(words, capsys, f"{name} {SEED} {number} {data[:300]!r}")
        shutil.rmtree(tmp_path / "a.zarr", ignore_errors=True)

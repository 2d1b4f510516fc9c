"""What a disk or a stranger makes of images, metadata and our own documents ends in a sentence, never in an exception.

Each command runs in a fork of a warm process and is measured. SEISMILL_MUTANTS says how many of each kind are tried,
SEISMILL_SEED which: SEISMILL_MUTANTS=250 pytest -n 0 -rP -m slow tests/campaigns/test_mutants.py tries about 2,000 of
images, 500 of Zarr metadata, 250 sidecars and 2,700 documents of ours.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Levels
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.volume.arrays.codecs import crc32c
from tasks.volume.protocol.commits import Commit
from tests.campaigns.test_nothing_is_lost import Killed, killed_at
from tests.support.survey import make_survey
from tests.support.warm import Forks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(36000)]
COUNT = int(os.environ.get("SEISMILL_MUTANTS", "8"))
SEED = int(os.environ.get("SEISMILL_SEED", "1"))
SECONDS, MEGABYTES = 20.0, 600.0
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


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """A warm process whose forks run the commands."""
    made = Forks(tmp_path_factory.mktemp("forks"), 2 * SECONDS)
    yield made
    made.close()


def problem_of(forks: Forks, words: list[str]) -> str:
    """Run a command; return what is wrong with how it ended, empty if it ended in a sentence."""
    ended = forks.run(words)
    problems = [
        name
        for name, wrong in (
            (f"exit {ended.code}", ended.code not in (0, 3, 4, 5, 75)),
            (f"{ended.seconds:.0f} s", ended.seconds > SECONDS),
            (f"{ended.megabytes:.0f} MB", ended.megabytes > MEGABYTES),
            ("traceback", "Traceback" in ended.said),
            ("an exception's name", bool(CLASS_NAME.search(ended.said))),
        )
        if wrong
    ]
    return f"{', '.join(problems)}: {ended.said[-400:]}" if problems else ""


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with every kind of document."""
    folder = tmp_path_factory.mktemp("volume")
    survey = make_survey(folder / "a.sgy", inlines=range(6), crosslines=range(5), n_samples=20)
    ingest_segy(str(survey.path), str(folder / "a.zarr"))
    rechunk(str(folder / "a.zarr"), Copies(presets=["fast_time"]))
    pyramid(str(folder / "a.zarr"), Levels(levels=1, until=1))
    report(str(folder / "a.zarr"))
    for number in range(1, 40):  # a stage that is not finished, with its plan and ledger
        with suppress(Killed), killed_at(number):
            rechunk(str(folder / "a.zarr"), Copies(presets=["fast_inline"]))
        if list((folder / "a.zarr").glob(".seismill/runs/*/ledger/*")):
            return folder / "a.zarr"
    raise AssertionError("no run was stopped after a block and before its end")


VERBS = (
    "info",
    "verify",
    "verify --repair from_master",
    "rechunk --presets fast_inline",
    "rechunk --presets fast_time --overwrite",
    "pyramid --overwrite --levels 2",
    "prove",
    "export-segy",
    "copy",
)
KINDS = (
    "zarr.json",
    "/commits/",
    "plan.json",
    "grid.npz",
    "/manifests/",
    "/lock/",
    "/ledger/",
    "/objects.jsonl",
    "amplitude/zarr.json",
)


def resigned(file: Path, data: bytes) -> None:
    """Write a document as somebody would that knows its format: checksums are those of the content."""
    place = str(file)
    if "/ledger/" in place:
        file.unlink()
        file = file.with_name(f"{file.name.rpartition('-')[0]}-{crc32c(data):08x}.jsonl")
    elif "/manifests/" in place:
        _, _, rest = data.partition(b"\n")
        key = place[place.index(".seismill/manifests/") :]
        data = (
            json.dumps({"key": key, "bytes": len(rest), "crc32c": f"{crc32c(rest):08x}"}).encode()
            + b"\n"
            + rest
        )
    elif "/commits/" in place and not data.startswith(b"superseded"):
        document = data.partition(b"\n")[2]
        data = Commit.of(1, document, b"").content
    file.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_documents(volume: Path, tmp_path: Path, kind: str, forks: Forks) -> None:
    drawn, wrong = random.Random(f"{SEED} {kind}"), []
    files = sorted(
        file
        for file in volume.rglob("*")
        if file.is_file() and (file == volume / kind or (kind != "zarr.json" and kind in str(file)))
    )
    assert files
    for number in range(COUNT):
        place = tmp_path / "a.zarr"
        shutil.copytree(volume, place)
        file = place / drawn.choice(files).relative_to(volume)
        sign = resigned if drawn.random() < 0.5 else Path.write_bytes
        sign(file, mutated(file.read_bytes(), drawn))
        verb = drawn.choice(VERBS)
        words = verb.split()
        target = {"export-segy": ["out.sgy"], "copy": ["copied.zarr"]}.get(verb, [])
        words = [words[0], str(place), *(str(tmp_path / name) for name in target), *words[1:]]
        if problem := problem_of(forks, [*words, *([] if verb == "info" else ["--lock-wait", "0"])]):
            wrong.append(f"{kind} {SEED} {number} {sign.__name__} {file.name} {verb}: {problem}")
        shutil.rmtree(place)
        shutil.rmtree(tmp_path / "copied.zarr", ignore_errors=True)
        (tmp_path / "out.sgy").unlink(missing_ok=True)
    assert wrong == [], "\n".join(wrong)


SIDECAR = b"""volume: north/a
index:
  template: PostStack3DTime
  names: [inline, crossline]
  bytes: [189, 193]
master:
  chunks: [4, 4, 8]
copies:
  presets: [fast_time]
pyramid:
  levels: 1
attributes:
  survey: North
  epsg: 23031
crc32c: "00000000"
"""


@pytest.mark.parametrize("what", ["sidecar", "catalogue"])
def test_sidecars_and_catalogues(tmp_path: Path, what: str, forks: Forks) -> None:
    drawn, wrong = random.Random(f"{SEED} {what}"), []
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    staging.mkdir()
    make_survey(staging / "a.sgy", inlines=range(6), crosslines=range(5), n_samples=20)
    words = ["sweep", str(staging), str(volumes), "--no-flow", "--settle-minutes", "0", "--lock-wait", "0"]
    for number in range(COUNT):
        if what == "sidecar":
            data = mutated(SIDECAR, drawn)
            (staging / "a.seismill.yaml").write_bytes(data)
            shutil.rmtree(volumes, ignore_errors=True)
        else:
            if not volumes.exists():
                assert forks.run(words, 300).code == 0
            file = drawn.choice(sorted(f for f in (volumes / ".seismill").rglob("*") if f.is_file()))
            data = mutated(file.read_bytes(), drawn)
            file.write_bytes(data)
        if problem := problem_of(forks, words):
            wrong.append(f"{what} {SEED} {number} {data[:300]!r}: {problem}")
        if what == "catalogue" and number % 8 == 7:
            shutil.rmtree(volumes)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_of_other_tools(tmp_path: Path, version: int, forks: Forks) -> None:
    drawn, wrong = random.Random(f"{SEED} {version}"), []
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
        if problem := problem_of(forks, [words[0], str(place), *words[1:], *where]):
            wrong.append(f"{SEED} {number} {file} {verb}: {problem}")
        shutil.rmtree(place)
        shutil.rmtree(tmp_path / "made.zarr", ignore_errors=True)
    assert wrong == [], "\n".join(wrong)


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
def test_images(tmp_path: Path, name: str, forks: Forks) -> None:
    drawn, whole, wrong = random.Random(f"{SEED} {name}"), images()[name], []
    for number in range(COUNT):
        data = mutated(whole, drawn)
        (tmp_path / name).write_bytes(data)
        words = ["ingest-images", str(tmp_path / name), str(tmp_path / "a.zarr"), "--memory", "500MB"]
        if problem := problem_of(forks, words):
            wrong.append(f"{name} {SEED} {number} {data[:300]!r}: {problem}")
        shutil.rmtree(tmp_path / "a.zarr", ignore_errors=True)
    assert wrong == [], "\n".join(wrong)

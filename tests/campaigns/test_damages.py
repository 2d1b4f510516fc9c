"""Damages to every kind of object: verify names each, and repair restores the bytes or says what is lost.

Covers integrity/beside.py, integrity/unlisted.py.

SEISMILL_DAMAGES says how many there are, SEISMILL_SEED which:
SEISMILL_DAMAGES=2000 pytest -n 0 -rP -m slow tests/campaigns/test_damages.py
"""

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Copy, Image, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.blocks import Compute
from tasks.volume.integrity import beside
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol import lock
from tests.campaigns.test_repair import SEED, STAMPED, make_of_images, make_of_segy
from tests.support.volumes import threads

DAMAGES = int(os.environ.get("SEISMILL_DAMAGES", "60"))
VERIFY_SECONDS = 60.0
COPIES = Copies(presets=[], more=[Copy(name="fast_line", chunks=[1, 8, 16])])
KEYS_OF_OTHERS = ("0/", "zarr.json")  # in the group of another tool
Content = dict[str, bytes]


def make_of_labels(folder: Path, _: list[int]) -> None:
    labels = np.zeros((9, 20, 17), np.uint16)
    labels[2:7, 5:15, 3:9] = np.random.default_rng(2).integers(0, 5, (5, 10, 6))
    tifffile.imwrite(folder / "a.tif", labels)
    image = Image(voxel_length=[1, 1, 1], field_name="classes")
    ingest_images(str(folder / "a.tif"), str(folder / "a.zarr"), image, Master(chunks=[4, 8, 8]), run=STAMPED)


def make_of_another_tool(folder: Path, _: list[int]) -> None:
    values = np.random.default_rng(3).normal(100, 20, (13, 21, 17)).astype(np.float32)
    group = zarr.open_group(folder / "a.zarr", mode="w")
    array = group.create_array(
        "0", shape=values.shape, dtype="float32", chunks=(8, 8, 8), dimension_names="zyx"
    )
    array[...] = values


MAKERS: dict[str, tuple[Callable[[Path, list[int]], None], list[int]]] = {
    "segy": (make_of_segy, [0]),
    "shards": (make_of_segy, [4, 8, 16]),
    "images": (make_of_images, [0]),
    "labels": (make_of_labels, [0]),
    "another tool": (make_of_another_tool, [0]),
}


@pytest.fixture(params=MAKERS)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A volume with everything that can be stored."""
    make, shards = MAKERS[request.param]
    make(tmp_path, shards)
    volume = str(tmp_path / "a.zarr")
    array = "0" if request.param == "another tool" else ""
    pyramid(volume, levels=Levels(levels=2, until=1), run=STAMPED, array=array)
    if request.param != "labels":
        copies = COPIES.model_copy(update={"quality": "lossless"}) if array else COPIES
        rechunk(volume, copies=copies, run=STAMPED, array=array)
    report(volume)
    return tmp_path / "a.zarr"


def content_of(volume: Path) -> Content:
    """Every object that is ours."""
    found = {str(path.relative_to(volume)): path for path in sorted(volume.rglob("*")) if path.is_file()}
    foreign = (volume / ".seismill/annex.json").exists()
    return {
        key: path.read_bytes()
        for key, path in found.items()
        if not key.startswith(".seismill/tmp/") and not (foreign and key.startswith(KEYS_OF_OTHERS))
    }


def kind_of(key: str) -> str:
    """What an object is."""
    if "/c/" in key:
        return "chunk of " + key.partition("/c/")[0].rpartition("/")[2]
    folder, _, name = key.rpartition("/")
    if folder.startswith(".seismill/runs"):
        return name
    kinds = {
        ".seismill/lock": "lock",
        ".seismill/commits": "commit",
        ".seismill/report": f"report {name[-4:]}",
    }
    if folder.startswith(".seismill/manifests"):
        return "manifest"
    return kinds.get(folder, "root" if key in ("zarr.json", ".seismill/annex.json") else "zarr.json")


def flip(key: str, content: Content, drawn: random.Random) -> Content:
    data = bytearray(content[key])
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    return {key: bytes(data)}


def cut(key: str, content: Content, drawn: random.Random) -> Content:
    return {key: content[key][: drawn.randrange(1, max(2, len(content[key])))]}


def empty(key: str, content: Content, drawn: random.Random) -> Content:
    return {key: b""}


def swap(key: str, content: Content, drawn: random.Random) -> Content:
    others = [other for other in content if kind_of(other) == kind_of(key) and other != key]
    other = drawn.choice(others or [other for other in content if other != key])
    return {key: content[other], other: content[key]}


def delete(key: str, content: Content, drawn: random.Random) -> dict[str, bytes | None]:
    return {key: None}


def append(key: str, content: Content, drawn: random.Random) -> Content:
    return {key: content[key] + drawn.randbytes(drawn.randrange(1, 9))}


WAYS: list[Callable[[str, Content, random.Random], dict[str, bytes | None]]] = [
    flip,
    cut,
    empty,
    swap,
    delete,
    append,
]  # type: ignore[assignment]


def is_none(damage: dict[str, bytes | None], whole: Content) -> bool:
    """Whether nothing is lost: equal objects were swapped, or what is left is what another state would hold."""
    (newest,) = [max(key for key in whole if key.startswith(".seismill/lock/"))]
    return all(
        data == whole[key]
        or (key == newest and data is None)  # nothing tells of the last lock that it was there
        or (key.startswith(".seismill/commits/") and data == b"superseded")  # as early versions wrote it
        for key, data in damage.items()
    )


def apply(damage: dict[str, bytes | None], volume: Path) -> None:
    for key, data in damage.items():
        if data is None:
            (volume / key).unlink()
        else:
            (volume / key).parent.mkdir(parents=True, exist_ok=True)
            (volume / key).write_bytes(data)


def told_and_repaired(
    volume: Path, damage: dict[str, bytes | None], compute: Compute, sentences: list[str]
) -> str:
    """Verify and repair; return how that ended, or what went wrong."""
    began = time.monotonic()
    try:
        verify(str(volume), compute=compute)
    except IntegrityFailure as failure:
        named = {f["key"] for f in getattr(failure, "summary", {"findings": []})["findings"]}
        missed = [key for key in damage if key not in named and key not in str(failure)]
        if missed:
            return f"not named: {missed}, named {sorted(named)}"
    else:
        return "missed"
    if time.monotonic() - began > VERIFY_SECONDS:
        return "took longer than a minute"
    try:
        verify(str(volume), repair="from_source", compute=compute)
    except IntegrityFailure as failure:
        sentences.append(str(failure))
    return ""


@pytest.mark.slow
@pytest.mark.timeout(36000)
def test_each_damage_is_named_and_repaired_or_said_to_be_lost(
    volume: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "UNREADABLE_SECONDS", 0.1)
    drawn, tally, wrong = random.Random(SEED), Counter[str](), []
    original = content_of(volume)
    of_kind: dict[str, list[str]] = {}
    for key in original:
        of_kind.setdefault(kind_of(key), []).append(key)
    kinds, pristine = sorted(of_kind), volume.with_name("pristine.zarr")
    shutil.copytree(volume, pristine)
    with threads() as compute:
        assert verify(str(volume), compute=compute)["findings"] == []
        for number in range(DAMAGES // len(MAKERS)):
            key = drawn.choice(of_kind[kinds[number % len(kinds)]])
            way = drawn.choice(WAYS)
            damage = {k: v for k, v in way(key, original, drawn).items() if v != original[k]}
            if not damage or is_none(damage, original):
                continue
            apply(damage, volume)
            sentences: list[str] = []
            caplog.clear()
            problem = told_and_repaired(volume, damage, compute, sentences)
            sentences += [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
            now = content_of(volume)
            changed = [k for k in original if k not in damage and now.get(k) != original[k]]
            restored = [k for k in damage if now.get(k) == original[k]]
            unsaid = [k for k in damage if k not in restored and not any(k in text for text in sentences)]
            if problem or changed or unsaid:
                wrong.append((SEED, number, way.__name__, list(damage), problem, changed, unsaid, sentences))
            tally[f"{kind_of(key)}: {'restored' if len(restored) == len(damage) else 'said'}"] += 1
            shutil.rmtree(volume)
            shutil.copytree(pristine, volume)
    print(f"{sum(tally.values())} damages, seed {SEED}: {dict(sorted(tally.items()))}")
    assert wrong == [], "\n".join(map(str, wrong))


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json"])
@pytest.mark.parametrize("damage", [b"", None, b"{", b'{"zarr_format": 3}\xff', b"[]"])
def test_damaged_documents_of_another_tool_are_named(tmp_path: Path, name: str, damage: bytes | None) -> None:
    make_of_another_tool(tmp_path, [])
    volume = tmp_path / "a.zarr"
    pyramid(str(volume), levels=Levels(levels=1, until=1), run=STAMPED, array="0")
    assert verify(str(volume))["notes"] == [
        "0 is another tool's: its objects have the sizes and etags that they had, and no checksums."
    ]
    apply({name: damage}, volume)
    for errors in (False, True):
        with pytest.raises(IntegrityFailure, match=r"zarr.json|0: cannot be opened as an array \("):
            verify(str(volume), errors=errors, repair="from_source")
    assert (volume / name).exists() == (damage is not None), "it is not ours to write"


def test_a_damaged_chunk_of_another_tool_is_said_and_found_by_comparing(tmp_path: Path) -> None:
    make_of_another_tool(tmp_path, [])
    volume = tmp_path / "a.zarr"
    pyramid(str(volume), levels=Levels(levels=1, until=1), run=STAMPED, array="0")
    chunk = volume / "0/c/0/0/0"
    for data in (chunk.read_bytes()[:-1], b"", None):
        apply({"0/c/0/0/0": data}, volume)
        assert "was written to since" in verify(str(volume))["notes"][0]
        with pytest.raises(
            IntegrityFailure, match=r"0/ does not decode at \(0, 0, 0\)|1 \(z 0 to .* is not the mean"
        ):
            verify(str(volume), errors=True)


@pytest.mark.slow
def test_a_damaged_report_is_drawn_again_byte_by_byte(volume: Path) -> None:
    whole = content_of(volume)
    keys = [key for key in whole if key.startswith(".seismill/report/")]
    assert len(keys) in (7, 8)  # a survey has a map
    for key in keys:
        (volume / key).write_bytes(b"damaged")
        with pytest.raises(IntegrityFailure, match=f"{key}: .*{beside.DRAW_AGAIN}"):
            verify(str(volume))
        report(str(volume), Run())
        now = content_of(volume)
        assert {key: now[key] for key in whole} == whole
        assert all(key.startswith(".seismill/lock/") for key in now.keys() - whole.keys())
    text, listing = (f".seismill/report/{name}" for name in ("report.html", "objects.jsonl"))
    apply({text: whole[listing], listing: whole[text]}, volume)
    with pytest.raises(IntegrityFailure, match=f"{listing}: .*{text}: "):
        verify(str(volume))

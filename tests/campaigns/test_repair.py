"""Wrong bits are found whatever they hit, and what is broken is put back byte for byte.

SEISMILL_FLIPS says how many bits are turned over one after the other, SEISMILL_SEED which:
SEISMILL_FLIPS=10000 pytest -n 0 -rP tests/campaigns/test_repair.py

Covers integrity/from_source.py, integrity/from_volume.py, ingest/spill.py.
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.commits import newest_commit
from tasks.volume.store.writable import WritableStore
from tests.support.gathers import write_gathers
from tests.support.survey import make_survey
from tests.support.volumes import SPILLED, STAMP, threads

FLIPS = int(os.environ.get("SEISMILL_FLIPS", "60"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
COPIES = Copies(
    presets=[], more=[Copy(name="fast_line", chunks=[1, 8, 16]), Copy(name="fast_slice", chunks=[8, 8, 4])]
)
STAMPED = Run(created_on=STAMP)


def files(volume: Path) -> dict[str, bytes]:
    """Every file that readers, verification or repair meet."""
    notes = (".seismill/lock/", ".seismill/tmp/")
    found = {str(path.relative_to(volume)): path for path in sorted(volume.rglob("*")) if path.is_file()}
    return {key: path.read_bytes() for key, path in found.items() if not key.startswith(notes)}


def make_of_segy(folder: Path, shards: list[int]) -> None:
    survey = make_survey(
        folder / "a.sgy", crosslines=range(101, 116), drop=30, n_samples=37, set_words={(0, 3): 0x7FFFFFFF}
    )
    master = Master(chunks=[4, 4, 8], shards=shards)
    ingest_segy(str(survey.path), str(folder / "a.zarr"), master=master, run=STAMPED)


def make_of_images(folder: Path, shards: list[int]) -> None:
    voxels = np.random.default_rng(1).normal(size=(13, 21, 17)).astype(np.float32)
    tifffile.imwrite(folder / "a.tif", voxels)
    master = Master(chunks=[4, 8, 8], shards=shards)
    ingest_images(
        str(folder / "a.tif"), str(folder / "a.zarr"), Image(voxel_length=[2, 1, 1]), master, run=STAMPED
    )


MAKERS: dict[str, tuple[Callable[[Path, list[int]], None], list[int]]] = {
    "chunks": (make_of_segy, [0]),
    "shards": (make_of_segy, [4, 8, 16]),
    "images": (make_of_images, [0]),
}


@pytest.fixture(scope="module", params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with everything, some of whose chunks are absent."""
    folder = tmp_path_factory.mktemp(request.param)
    make, shards = MAKERS[request.param]
    make(folder, shards)
    rechunk(str(folder / "a.zarr"), copies=COPIES, run=STAMPED)
    pyramid(str(folder / "a.zarr"), levels=Levels(levels=2, until=1), run=STAMPED)
    return folder / "a.zarr"


@pytest.fixture
def volume(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "v.zarr")
    return tmp_path / "v.zarr"


def flip(path: Path, drawn: random.Random) -> None:
    """Turn one bit over."""
    data = bytearray(path.read_bytes())
    data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


def kind_of(key: str) -> str:
    """What an object is: a chunk of one of the arrays, or one of the kinds of metadata."""
    if "/c/" in key:
        return key.partition("/c/")[0]
    folder, _, name = key.rpartition("/")
    if "manifests" in folder:
        return "manifest"
    return "commit" if "commits" in folder else name if folder else "root"


def kinds(whole: dict[str, bytes]) -> dict[str, list[str]]:
    """The objects that may be hit, by kind; a commit that is not the newest says nothing any more."""
    found: dict[str, list[str]] = {}
    for key, data in whole.items():
        if data != b"superseded":
            found.setdefault(kind_of(key), []).append(key)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("count", [pytest.param(FLIPS, id="flips")])
@pytest.mark.timeout(36000)
def test_every_wrong_bit_is_found_and_mended_whatever_it_hits(volume: Path, count: int) -> None:
    drawn, whole = random.Random(SEED), files(volume)
    of_kind = kinds(whole)
    assert verify(str(volume), errors=True)["findings"] == []
    names = sorted(of_kind)
    hit: Counter[str] = Counter()
    with threads() as compute:
        for number in range(count):
            key = drawn.choice(of_kind[names[number % len(names)]])
            hit[kind_of(key)] += 1
            flip(volume / key, drawn)
            with pytest.raises(IntegrityFailure) as failure:
                verify(str(volume), compute=compute)
            assert [f["key"] for f in failure.value.summary["findings"]] == [key]  # type: ignore[attr-defined]
            mended = verify(str(volume), repair="from_source", compute=compute)
            assert mended["repaired"] == [key], (SEED, number)
            if kind_of(key) == "commit":  # which forgets what was before it
                newest = newest_commit(WritableStore(str(volume)))
                assert newest
                assert newest.whole
                assert newest.document == whole["zarr.json"]
                (volume / key).write_bytes(whole[key])
            assert (volume / key).read_bytes() == whole[key], (SEED, number, key)
    assert files(volume) == whole
    print(f"flips by kind, seed {SEED}: {dict(sorted(hit.items()))}")


@pytest.mark.slow
@pytest.mark.timeout(36000)
def test_wrong_bits_in_chunks_are_errors_to_plain_zarr(volume: Path) -> None:
    drawn, whole = random.Random(SEED), files(volume)
    keys = [key for key in whole if "/c/" in key]
    arrays = {
        path: zarr.open_array(str(volume / path), mode="r") for path in {k.partition("/c/")[0] for k in keys}
    }
    missed = []
    for number in range(FLIPS):
        key = drawn.choice(keys)
        path, _, place = key.partition("/c/")
        units = arrays[path].shards or arrays[path].chunks
        region = tuple(
            slice(int(p) * u, (int(p) + 1) * u) for p, u in zip(place.split("/"), units, strict=True)
        )
        assert arrays[path][region] is not None
        flip(volume / key, drawn)
        try:
            arrays[path][region]
        except Exception:
            pass  # whatever zarr's codecs raise, it is no data
        else:
            missed.append((SEED, number, key))
        (volume / key).write_bytes(whole[key])
    assert missed == []


def damage(volume: Path, keys: list[str], drawn: random.Random) -> None:
    """Remove a third of some objects, and turn a bit over in the others."""
    for number, key in enumerate(keys):
        if number % 3:
            flip(volume / key, drawn)
        else:
            (volume / key).unlink()


def of_master(whole: dict[str, bytes]) -> str:
    """An object of the master."""
    name = json.loads(whole["zarr.json"])["attributes"]["attributes"]["defaultVariableName"]
    return next(key for key in whole if key.startswith(f"{name}/c/"))


def stamps(volume: Path) -> dict[str, int]:
    return {key: (volume / key).stat().st_mtime_ns for key in files(volume)}


def test_copies_levels_and_metadata_come_from_the_master_and_nothing_else_is_touched(volume: Path) -> None:
    drawn, whole = random.Random(SEED), files(volume)
    derived = [key for key in whole if key.startswith(("fast_", "pyramid/")) or key.endswith("zarr.json")]
    broken = drawn.sample(derived, 12)
    damage(volume, broken, drawn)
    before = stamps(volume)
    with pytest.raises(IntegrityFailure, match="12 of"):
        verify(str(volume))
    dry = Run(dry_run=True)
    with pytest.raises(IntegrityFailure, match="12 of"):
        verify(str(volume), repair="from_master", run=dry)
    assert stamps(volume) == before
    assert sorted(verify(str(volume), repair="from_master")["repaired"]) == sorted(broken)
    assert files(volume) == whole
    after = stamps(volume)
    assert {key for key in after if after[key] != before.get(key)} == set(broken)
    assert verify(str(volume), errors=True, repair="from_master")["repaired"] == []


@pytest.mark.slow
def test_everything_at_once_comes_from_the_source(volume: Path) -> None:
    drawn, whole = random.Random(SEED), files(volume)
    chunks = [key for key in whole if "/c/" in key]
    broken = chunks + [key for key in whole if key.endswith("zarr.json") and key != "zarr.json"]
    damage(volume, broken, drawn)
    with pytest.raises(IntegrityFailure) as failure:
        verify(str(volume), repair="from_master")
    left = {finding["key"] for finding in failure.value.summary["findings"]}  # type: ignore[attr-defined]
    assert {key for key in left if kind_of(key) == kind_of(of_master(whole))} == {
        key for key in broken if kind_of(key) == kind_of(of_master(whole))
    }
    assert not any(key.endswith("zarr.json") for key in left)
    assert set(failure.value.summary["repaired"]) | left == set(broken)  # type: ignore[attr-defined]
    assert set(verify(str(volume), repair="from_source")["repaired"]) == left
    assert files(volume) == whole
    assert verify(str(volume), errors=True)["findings"] == []


def test_manifests_that_are_gone_come_from_their_objects_even_where_one_of_these_is_gone_too(
    volume: Path,
) -> None:
    whole = files(volume)
    manifests = [key for key in whole if kind_of(key) == "manifest"]
    chunk = next(key for key in whole if key.startswith("fast_line/c/"))
    for key in (*manifests, chunk):
        (volume / key).unlink()
    assert sorted(verify(str(volume), repair="from_master")["repaired"]) == sorted([*manifests, chunk])
    assert files(volume) == whole


@pytest.mark.parametrize(
    "damage", [b"", b"{", bytes(range(256)) * 3, b'{"a": 1}\n'], ids=["empty", "cut", "noise", "other"]
)
def test_a_manifest_of_which_no_line_is_left_comes_from_its_objects(volume: Path, damage: bytes) -> None:
    whole = files(volume)
    manifests = [key for key in whole if kind_of(key) == "manifest"]
    chunk = next(key for key in whole if key.startswith("fast_line/c/"))
    for number, key in enumerate(manifests):
        (volume / key).write_bytes(damage or (b"" if number else whole[manifests[-1]][:-1]))
    (volume / chunk).unlink()
    assert sorted(verify(str(volume), repair="from_master")["repaired"]) == sorted([*manifests, chunk])
    assert files(volume) == whole


def test_damage_that_a_damaged_manifest_hid_is_repaired_with_it(volume: Path) -> None:
    """The objects of an array whose manifest is broken are in no list, so the first look does not find them."""
    whole = files(volume)
    arrays = ("fast_line", "trace_mask") if "trace_mask/zarr.json" in whole else ("fast_line", "z")
    for array in arrays:
        manifest, metadata = f".seismill/manifests/{array}.jsonl", f"{array}/zarr.json"
        chunk = next(key for key in whole if key.startswith(f"{array}/c/"))
        for moved in (False, True):
            (volume / manifest).write_bytes(b"lost")
            if moved:  # another object holds its text
                (volume / chunk).write_bytes(whole[manifest])
            (volume / metadata).write_bytes(whole[metadata][:50])
            assert {manifest, metadata} <= set(verify(str(volume), repair="from_master")["repaired"]) | {
                metadata
            }
            assert files(volume) == whole, (array, moved)


def test_what_nothing_gives_back_is_named_and_all_else_is_repaired(made: Path, volume: Path) -> None:
    whole = files(volume)
    master = of_master(whole)
    copies = [key for key in whole if key.startswith("fast_slice/c/")]
    (volume / master).unlink()
    (volume / copies[-1]).unlink()
    source = next(path for path in made.parent.iterdir() if path.suffix in (".sgy", ".tif"))
    away = source.with_name("away")
    source.rename(away)
    try:
        with pytest.raises(InputRefused, match=r"there is no file|no file matches"):
            verify(str(volume), repair="from_source")
    finally:
        away.rename(source)
    with pytest.raises(IntegrityFailure, match=f"{master} .*is missing"):
        verify(str(volume), repair="from_master")
    os.utime(source)  # put back from an archive, say: the bytes count
    assert master in verify(str(volume), repair="from_source")["repaired"]
    assert files(volume) == whole


def test_chunks_that_nobody_wrote_are_found_and_removed(volume: Path) -> None:
    whole = files(volume)
    for stray in ("fast_line/c/9/9/9", "pyramid/1/trace_mask/c/7/7"):
        (volume / stray).parent.mkdir(parents=True, exist_ok=True)
        (volume / stray).write_bytes(b"another run")
    if not (volume / "trace_mask").exists():
        shutil.rmtree(volume / "pyramid/1/trace_mask")
    strays = sorted(files(volume).keys() - whole.keys())
    with pytest.raises(IntegrityFailure, match=r"fast_line/c/9/9/9: is no part of what was written"):
        verify(str(volume))
    assert sorted(verify(str(volume), repair="from_master")["repaired"]) == strays
    assert files(volume) == whole


def test_a_root_that_was_interrupted_is_no_damage_and_two_broken_ones_are_told(volume: Path) -> None:
    whole = files(volume)
    store = WritableStore(str(volume))
    newest = newest_commit(store)
    assert newest
    older = whole["zarr.json"].replace(b"fast_line", b"fast_kine")
    type(newest).of(newest.number, whole["zarr.json"], older)
    store.put(newest.key, type(newest).of(newest.number, whole["zarr.json"], older).content)
    assert verify(str(volume))["findings"] == []
    store.put("zarr.json", older[:-1])
    store.put(newest.key, whole[newest.key][:-1])
    with pytest.raises(IntegrityFailure, match=r"neither .*zarr.json nor .*commits/\d+ is as it was written"):
        verify(str(volume))


def test_a_volume_that_is_being_written_is_not_repaired_meanwhile(volume: Path) -> None:
    from tasks.volume.protocol.lock import locked

    (volume / "fast_line/zarr.json").unlink()
    with (
        locked(WritableStore(str(volume)), wait_seconds=0),
        pytest.raises(Resumable, match="run this again when it has finished"),
    ):
        verify(str(volume), repair="from_master", run=Run(lock_wait=0))


@pytest.mark.slow
def test_a_volume_that_was_moved_is_verified_and_repaired_where_it_is(
    made: Path, tmp_path: Path, s3: str
) -> None:
    moved = WritableStore("s3://volumes/moved.zarr")
    for key, data in files(made).items():
        moved.put(key, data)
    assert verify(moved.url)["findings"] == []
    whole = {key: moved.get(key) for key in moved.keys("fast_slice")}
    lost = next(key for key in whole if "/c/" in key)
    moved.delete(lost)
    with pytest.raises(IntegrityFailure, match=f"{lost} .*: is missing"):
        verify(moved.url)
    assert verify(moved.url, repair="from_master")["repaired"] == [lost]
    copied: dict[str, Any] = copy(str(made), str(tmp_path / "copied.zarr"))
    assert copied["notes"] == []
    flip(tmp_path / "copied.zarr" / lost, random.Random(1))
    first = of_master(files(made))
    flip(tmp_path / "copied.zarr" / first, random.Random(1))
    assert set(verify(str(tmp_path / "copied.zarr"), repair="from_source")["repaired"]) == {lost, first}


def make_of_shots(folder: Path, **limits: Any) -> None:
    """Shared coordinates, auxiliary traces without a cell, and a file that is not in the order of its grid."""
    shot, channel = np.repeat(np.arange(4), 10), np.tile([1, 1, 2, 2, 3, 4, 5, 5, 6, 1], 4)
    code, order = np.tile([4, 1, 1, 6, 1, 2, 9, 1, 1, 7], 4), np.random.default_rng(2).permutation(40)
    words = {(17, "i4"): shot + 1, (13, "i4"): channel, (29, "i2"): code, (73, "i4"): 5000 + shot}
    words |= {(81, "i4"): 900 + channel}
    write_gathers(folder / "a.sgy", {place: value[order] for place, value in words.items()}, n_samples=21)
    index = Index(template="StreamerShotGathers2D")
    with threads(**limits) as compute:
        ingest_segy(
            str(folder / "a.sgy"), str(folder / "a.zarr"), index, Master(chunks=[2, 2, 8]), compute=compute
        )


def make_of_words(folder: Path, **limits: Any) -> None:
    """IBM words most of which float32 does not give back."""
    words = np.random.default_rng(8).integers(0, 1 << 32, (200, 13), np.uint32)
    survey = make_survey(folder / "a.sgy", inlines=range(20), crosslines=range(10), words=words)
    with threads(**limits) as compute:
        ingest_segy(
            str(survey.path),
            str(folder / "a.zarr"),
            master=Master(chunks=[8, 8, 8], shards=[8, 8, 16]),
            compute=compute,
        )


def make_of_files(folder: Path, **limits: Any) -> None:
    """Two files, some words of which float32 does not give back, with additional textual headers."""
    for number in range(2):
        make_survey(
            folder / f"line_{number}.sgy",
            inlines=range(10 * number, 10 * number + 10),
            n_samples=30,
            set_words={(3, 4): 1},
            extended=b"\x40" * 3200,
        )
    with threads(**limits) as compute:
        ingest_segy(
            str(folder / "line_*.sgy"),
            str(folder / "a.zarr"),
            master=Master(chunks=[4, 4, 8]),
            compute=compute,
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [make_of_shots, make_of_words, make_of_files], ids=lambda make: make.__name__
)
@pytest.mark.parametrize("order", ["file", "spilled"])
def test_whatever_a_master_is_made_of_comes_from_its_source(
    make: Callable[..., None], order: str, tmp_path: Path
) -> None:
    make(tmp_path, **SPILLED if order == "spilled" else {})
    volume = tmp_path / "a.zarr"
    whole = files(volume)
    broken = [key for key in whole if "/c/" in key]
    damage(volume, broken, random.Random(SEED))
    with threads() as compute:
        assert sorted(verify(str(volume), repair="from_source", compute=compute)["repaired"]) == broken
    assert files(volume) == whole

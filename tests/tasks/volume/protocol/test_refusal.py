"""Whatever refuses a run that was to replace something, it refuses before anything is taken away (protocol/owner.py).

Each verb that replaces, on a local disk and in a store, with everything that it is made of damaged in turn, too
little memory, wrong checksums and objects that may not be removed.
Covers integrity/whole.py, protocol/owner.py, ingest/precheck.py.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import zarr

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.blocks import Compute
from tasks.volume.outcomes import IntegrityFailure, Outcome, Resumable
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP

STAMPED = Run(created_on=STAMP)
LOSSLESS = Copies(presets=[], more=[Copy(name="across", chunks=[9, 2, 4])], quality="lossless")
OTHER = Copies(presets=[], more=[Copy(name="across", chunks=[2, 5, 4])], quality="lossless")
VOXELS = Image(voxel_length=[1, 1, 1], voxel_unit="micrometer")


def objects(store: Store) -> dict[str, bytes]:
    """Every object of a volume but the signs of life of who owned it and notes of checksums read."""
    passed = (".seismill/lock/", ".seismill/tmp")
    return {
        key: store.get(key)
        for key in store.keys("")
        if not key.startswith(passed) and "/in_order/" not in key
    }


@contextmanager
def little_memory(memory_bytes: int = 1000) -> Iterator[Compute]:
    with ThreadPoolExecutor(1) as executor:
        yield Compute(executor, 1, memory_bytes)


def flip(store: Store, key: str) -> None:
    data = store.get(key)
    store.put(key, data[:-1] + bytes([data[-1] ^ 1]))


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a new place, by a name."""
    below = str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    return lambda name: f"{below}/{name}"


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(tmp_path / "a.sgy", n_samples=17)


@pytest.fixture
def volume(place: Callable[[str], str], survey: Survey) -> Store:
    store = WritableStore(place("v.zarr"))
    ingest_segy(str(survey.path), store.url, run=STAMPED)
    rechunk(store.url, LOSSLESS, run=STAMPED)
    pyramid(store.url, Levels(factor=[2, 2, 2]), run=STAMPED)
    return store


REPLACING: dict[str, Callable[..., Any]] = {
    "rechunk": lambda store, **more: rechunk(store.url, OTHER, overwrite=True, run=STAMPED, **more),
    "pyramid": lambda store, **more: pyramid(
        store.url, Levels(factor=[3, 3, 3]), overwrite=True, run=STAMPED, **more
    ),
}


@pytest.mark.parametrize(
    "damaged", ["amplitude/c/0/0/0", "trace_mask/c/0/0", "inline/c/0", "amplitude/zarr.json"]
)
@pytest.mark.parametrize("verb", REPLACING)
def test_what_a_damaged_volume_cannot_make_again_is_kept(volume: Store, verb: str, damaged: str) -> None:
    flip(volume, damaged)
    before = objects(volume)
    with pytest.raises(IntegrityFailure, match="nothing was replaced; run seismill verify"):
        REPLACING[verb](volume)
    assert objects(volume) == before


@pytest.mark.parametrize("verb", REPLACING)
def test_what_memory_does_not_hold_is_refused_before_a_lock_is_left(volume: Store, verb: str) -> None:
    before = {key: volume.get(key) for key in volume.keys("")}
    with little_memory() as compute, pytest.raises(Outcome, match="MB") as refusal:
        REPLACING[verb](volume, compute=compute)
    assert refusal.value.exit_code == 3
    assert {key: volume.get(key) for key in volume.keys("")} == before


@pytest.mark.parametrize("verb", REPLACING)
def test_in_a_group_of_another_tool_a_refusal_leaves_nothing(
    place: Callable[[str], str], verb: str, tmp_path: Path
) -> None:
    folder = tmp_path / "g.zarr"
    array = zarr.create_group(folder).create_array(
        "field/0", shape=(40, 40, 40), chunks=(8, 8, 8), dtype="f4"
    )
    array[:] = np.arange(64000).reshape(40, 40, 40)
    before = objects(WritableStore(str(folder)))
    run: Callable[..., Any] = {
        "rechunk": lambda compute: rechunk(str(folder), OTHER, array="field/0", compute=compute),
        "pyramid": lambda compute: pyramid(str(folder), array="field/0", compute=compute),
    }[verb]
    with little_memory() as compute, pytest.raises(Outcome, match="MB"):
        run(compute)
    assert objects(WritableStore(str(folder))) == before
    assert not (folder / "field/.seismill").exists()


@pytest.mark.parametrize("reason", ["memory", "object", "manifest"])
def test_a_copy_that_cannot_be_whole_replaces_nothing(
    place: Callable[[str], str], volume: Store, survey: Survey, tmp_path: Path, reason: str
) -> None:
    target = WritableStore(place("w.zarr"))
    ingest_segy(str(make_survey(tmp_path / "b.sgy", seed=3).path), target.url, run=STAMPED)
    if reason == "object":
        flip(volume, "across/c/0/0/0")
    elif reason == "manifest":
        flip(volume, ".seismill/manifests/across.jsonl")
    before = objects(target)
    with little_memory(1000 if reason == "memory" else 1 << 30) as compute, pytest.raises(Outcome) as refusal:
        copy(volume.url, target.url, overwrite=True, run=STAMPED, compute=compute)
    assert refusal.value.exit_code == (3 if reason == "memory" else 5)
    assert objects(target) == before


def shuffled_without_grid(path: Path) -> Survey:
    """A file whose first headers promise a grid that one in the middle does not keep: two traces of one cell."""
    survey = make_survey(path, n_samples=9, inlines=range(40), crosslines=range(30))
    content = bytearray(survey.content)
    size = 240 + 9 * 4
    first = 3600 + 700 * size
    content[first + 188 : first + 196] = content[first - size + 188 : first - size + 196]
    path.write_bytes(bytes(content))
    return survey


@pytest.mark.parametrize("reason", ["memory", "crc32c", "md5", "chunks", "grid"])
@pytest.mark.parametrize("remote", [False, True])
def test_an_ingest_that_is_refused_replaces_nothing(
    place: Callable[[str], str], volume: Store, tmp_path: Path, reason: str, remote: bool
) -> None:
    path = tmp_path / "b.sgy"
    other = shuffled_without_grid(path) if reason == "grid" else make_survey(path, n_samples=11, seed=5)
    source = str(other.path)
    if remote:
        staging = WritableStore(f"memory://{uuid.uuid4().hex}")
        staging.put("b.sgy", path.read_bytes())
        source = f"{staging.url}/b.sgy"
    more: dict[str, Any] = {
        "memory": {},
        "crc32c": {"index": Index(checksums=["00000000"])},
        "md5": {"index": Index(checksums=["0" * 32])},
        "chunks": {"master": Master(chunks=[3, 3])},
        "grid": {"index": Index(bytes="189,193")},
    }[reason]
    before = objects(volume)
    with little_memory(1000 if reason == "memory" else 1 << 30) as compute, pytest.raises(Outcome) as refusal:
        ingest_segy(source, volume.url, overwrite=True, run=STAMPED, compute=compute, **more)
    assert refusal.value.exit_code in (3, 5)
    assert objects(volume) == before
    assert verify(volume.url)["findings"] == []


@pytest.mark.parametrize("reason", ["truncated", "flipped", "empty", "memory"])
def test_a_stack_with_a_damaged_slice_replaces_nothing(
    place: Callable[[str], str], tmp_path: Path, reason: str
) -> None:
    slices = tmp_path / "slices"
    slices.mkdir()
    rng = np.random.default_rng(1)
    for number in range(12):
        png = imagecodecs.png_encode(rng.integers(0, 255, (9, 7)).astype(np.uint8))
        (slices / f"{number:03d}.png").write_bytes(png)
    store = WritableStore(place("v.zarr"))
    ingest_images(f"{slices}/*.png", store.url, VOXELS, run=STAMPED)
    before = objects(store)
    damaged = slices / "007.png"
    data = damaged.read_bytes()
    if reason != "memory":
        middle = len(data) // 2
        damaged.write_bytes(
            {
                "truncated": data[:middle],
                "flipped": data[:middle] + b"\xff\x00" + data[middle + 2 :],
                "empty": b"",
            }[reason]
        )
    with little_memory(1000 if reason == "memory" else 1 << 30) as compute, pytest.raises(Outcome) as refusal:
        ingest_images(f"{slices}/*.png", store.url, VOXELS, overwrite=True, run=STAMPED, compute=compute)
    assert refusal.value.exit_code in (3, 5)
    assert objects(store) == before


@pytest.mark.parametrize("verb", ["rechunk", "pyramid", "ingest_segy", "copy"])
def test_an_object_that_may_not_be_removed_ends_resumable_and_the_same_command_completes(
    volume: Store, place: Callable[[str], str], tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not volume.local:
        pytest.skip("of a local disk; clouds refuse by policy (tests/infra/test_policies.py)")
    other = make_survey(tmp_path / "b.sgy", n_samples=11, seed=5)
    ingest_segy(str(other.path), place("w.zarr"), run=STAMPED)
    run: Callable[[], Any] = {
        "rechunk": lambda: rechunk(volume.url, OTHER, overwrite=True, run=STAMPED),
        "pyramid": lambda: pyramid(volume.url, Levels(factor=[3, 3, 3]), overwrite=True, run=STAMPED),
        "ingest_segy": lambda: ingest_segy(str(other.path), volume.url, overwrite=True, run=STAMPED),
        "copy": lambda: copy(place("w.zarr"), volume.url, overwrite=True, run=STAMPED),
    }[verb]
    kept = {"rechunk": "across/c/0/0/0", "pyramid": "pyramid/1/amplitude/c/0/0/0"}.get(
        verb, "amplitude/c/0/0/0"
    )
    unlink = os.unlink

    def refused(path: Any, **more: Any) -> None:
        if str(path).endswith(f"/{kept}"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        unlink(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        with pytest.raises(Resumable, match="may be written, and run the same command again to go on"):
            run()
    run()
    assert verify(volume.url, errors=True)["findings"] == []
    fresh = WritableStore(place("fresh.zarr"))
    match verb:
        case "ingest_segy":
            ingest_segy(str(other.path), fresh.url, run=STAMPED)
        case "copy":
            copy(place("w.zarr"), fresh.url, run=STAMPED)
        case _:
            return
    public = {key: data for key, data in objects(volume).items() if not key.startswith(".seismill/")}
    assert public == {key: data for key, data in objects(fresh).items() if not key.startswith(".seismill/")}

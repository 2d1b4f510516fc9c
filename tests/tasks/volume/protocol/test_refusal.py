"""Whatever refuses a run that was to replace something, it refuses before anything is taken away (protocol/owner.py).

Each verb that replaces, on a local disk and in a store, with everything that it is made of damaged in turn, too
little memory, wrong checksums and objects that may not be removed.
Covers integrity/whole.py, protocol/owner.py, ingest/precheck.py.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import zarr

from flows.chains import ALL_STEPS, PUBLISH_STAGES, publish_chain
from flows.publishers import direct_sweep
from flows.stages import as_stage, load_verb
from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Publication, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.blocks import Compute
from tasks.volume.outcomes import IntegrityFailure, Outcome, Resumable
from tasks.volume.protocol.lock import locked
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP, differences

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
    pyramid(store.url, Levels(factor=[2, 2, 2], until=1), run=STAMPED)
    return store


REPLACING: dict[str, Callable[..., Any]] = {
    "rechunk": lambda store, **more: rechunk(store.url, OTHER, overwrite=True, run=STAMPED, **more),
    "pyramid": lambda store, **more: pyramid(
        store.url, Levels(factor=[3, 3, 3], until=1), overwrite=True, run=STAMPED, **more
    ),
}


@pytest.mark.slow
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
        "pyramid": lambda compute: pyramid(str(folder), Levels(until=1), array="field/0", compute=compute),
    }[verb]
    with little_memory() as compute, pytest.raises(Outcome, match="MB"):
        run(compute)
    assert objects(WritableStore(str(folder))) == before
    assert not (folder / "field/.seismill").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        "pyramid": lambda: pyramid(
            volume.url, Levels(factor=[3, 3, 3], until=1), overwrite=True, run=STAMPED
        ),
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
        with pytest.raises(Resumable, match="can be written, and run the same command again to go on"):
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


# Verb x refusal: whatever refuses, the volume is byte-equal.

TABLE_RUN = Run(created_on=STAMP, lock_wait=0)


def table_work(verb: str, below: str, made: Path, run: Run, index: Index) -> Callable[[], Any]:
    """Return the call of a verb that is to replace part of a volume, all of it, or what is kept beside it."""
    url, source, more = f"{below}/v.zarr", str(made / "b.sgy"), {"overwrite": True, "run": run}
    match verb:
        case "publish":
            stages = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
            parts = {"master": Master(), "copies": OTHER, "pyramid": Levels(), "steps": list(ALL_STEPS)}
            return lambda: publish_chain(stages, source=source, volume=url, index=index, **parts, **more)
        case "sweep":
            how = Publication(index=index, copies=OTHER, steps=["copies"])
            return lambda: direct_sweep(
                staging=str(made / "staging"), volumes=below, settle_minutes=0, publication=how, run=run
            )
        case "ingest_segy":
            return lambda: ingest_segy(source, url, index, **more)
        case "ingest_images":
            image = VOXELS.model_copy(update={"checksums": index.checksums})
            return lambda: ingest_images(str(made / "b.npy"), url, image, **more)
        case "rechunk":
            return lambda: rechunk(url, OTHER, **more)
        case "pyramid":
            return lambda: pyramid(url, Levels(factor=[3, 3, 3], until=1), **more)
        case "copy":
            return lambda: copy(f"{below}/w.zarr", url, **more)
        case "prove":
            return lambda: prove(url, run=run)
        case "report":
            return lambda: report(url, run=run)
        case _:
            return lambda: verify(url, repair="from_source", run=run)


def exit_code(work: Callable[[], Any]) -> int:
    try:
        work()
    except Outcome as outcome:
        return outcome.exit_code
    return 0


def stranger(below: WritableStore, *keys: str) -> None:
    for key in keys:
        below.put(key, b"theirs")


HARMS: dict[str, Callable[[WritableStore, Path], Any]] = {
    "memory": lambda below, made: None,  # these three are in the parameters
    "checksum": lambda below, made: None,
    "locked": lambda below, made: None,
    "master": lambda below, made: flip(below, "v.zarr/amplitude/c/0/0/0"),
    "mask": lambda below, made: flip(below, "v.zarr/trace_mask/c/0/0"),
    "coordinate": lambda below, made: flip(below, "v.zarr/inline/c/0"),
    "array metadata": lambda below, made: flip(below, "v.zarr/amplitude/zarr.json"),
    "manifest": lambda below, made: flip(below, "v.zarr/.seismill/manifests/amplitude.jsonl"),
    "root and commit": lambda below, made: [
        below.put(key, b"{}") for key in [*below.keys("v.zarr/.seismill/commits"), "v.zarr/zarr.json"]
    ],
    "others' objects": lambda below, made: stranger(
        below, "v.zarr/amplitude/c/mine", "v.zarr/across/old/c/0", "v.zarr/pyramid/1/amplitude/c/mine"
    ),
    "a volume inside": lambda below, made: stranger(
        below, "v.zarr/in.zarr/zarr.json", "v.zarr/in.zarr/.seismill/lock/00000001"
    ),
    "no source": lambda below, made: [
        (made / name).unlink() for name in ("a.sgy", "b.sgy", "b.npy", "staging/v.sgy")
    ],
    "source cut": lambda below, made: [
        os.truncate(made / name, 3800) for name in ("a.sgy", "b.sgy", "b.npy", "staging/v.sgy")
    ],
    "source of the copy": lambda below, made: flip(below, "w.zarr/amplitude/c/0/0/0"),
}
# How many of them refuse a verb; the others do not concern it, or are repaired, or put into quarantine.
REFUSED = {
    "publish": 8, "sweep": 2, "ingest_segy": 8, "ingest_images": 8, "rechunk": 8, "pyramid": 8, "copy": 6,
    "prove": 4, "report": 5, "verify": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two volumes and their sources."""
    folder = tmp_path_factory.mktemp("table")
    for name, seed, place in (("a.sgy", 1, "v.zarr"), ("b.sgy", 5, "w.zarr")):
        make_survey(folder / name, seed=seed, n_samples=11)
        ingest_segy(str(folder / name), str(folder / "below" / place), run=STAMPED)
    np.save(folder / "b.npy", np.zeros((4, 50, 60), "u2"))
    rechunk(str(folder / "below/v.zarr"), LOSSLESS, run=STAMPED)
    pyramid(str(folder / "below/v.zarr"), Levels(factor=[2, 2, 2], until=1), run=STAMPED)
    (folder / "staging").mkdir()
    shutil.copy(folder / "b.sgy", folder / "staging/v.sgy")
    return folder


def put_all(below: WritableStore, content: dict[str, bytes], seen: dict[str, str]) -> None:
    """Make a store hold this content and nothing else, with few requests."""
    there = {key: identity for key, _, identity in below.listing("")}
    below.delete_many([key for key in there if key not in content])
    for key, data in content.items():
        if key not in there or there[key] != seen.get(key):
            below.put(key, data)
    seen.update({key: identity for key, _, identity in below.listing("")})


# On S3 each verb takes half a minute; SEISMILL_REFUSALS=all tries them all there.
ON_S3 = REFUSED if os.environ.get("SEISMILL_REFUSALS") == "all" else ["ingest_segy", "rechunk", "pyramid"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "verb"), [*(("local", verb) for verb in REFUSED), *(("s3", verb) for verb in ON_S3)]
)
def test_whatever_refuses_a_verb_leaves_the_volume_as_it_was(
    table: Path, verb: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "s3":
        request.getfixturevalue("s3")
    below = WritableStore(str(tmp_path / "below") if kind == "local" else "s3://volumes/below")
    whole = Store(str(table / "below"))
    content = {key: whole.get(key) for key in whole.keys("")}
    seen: dict[str, str] = {}
    refused = {}
    for harm, damage in HARMS.items():
        made = tmp_path / harm
        shutil.copytree(table, made, ignore=shutil.ignore_patterns("below"))
        put_all(below, content, seen)
        damage(below, made)
        store = Store(f"{below.url}/v.zarr")
        before = objects(store)
        index = Index(checksums=["00000000"]) if harm == "checksum" else Index()
        run = TABLE_RUN.model_copy(update={"memory": "1kB"} if harm == "memory" else {})
        work = table_work(verb, below.url, made, run, index)
        with locked(WritableStore(store.url), wait_seconds=0) if harm == "locked" else nullcontext():
            code = exit_code(work)
        if code or verb == "sweep":
            assert differences(objects(store), before) == [], (harm, code)
        if code:
            refused[harm] = code
            assert code in ((75,) if harm == "locked" else (3, 4, 5)), (harm, code)
    assert len(refused) == REFUSED[verb], sorted(refused.items())

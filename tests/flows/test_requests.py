"""How many requests a publication takes of a store: budgets, so that serial chains do not come back.

Covers protocol/remembered.py and protocol/holdings.py.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flows.chains import ALL_STEPS, PUBLISH_STAGES, publish_chain
from flows.stages import as_stage, load_verb
from tasks.parameters import Copies, Index, Levels, Master, Run
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute
from tasks.volume.limits import DEFAULT_LIMITS
from tasks.volume.protocol import summary
from tasks.volume.protocol.lock import kept_locks, locked
from tasks.volume.protocol.remembered import forget, keep_at_most, recall, recalling, remember_chunks
from tasks.volume.store.clouds.in_memory import Memory
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests.support.segy_maker import ibm_of, segy_bytes
from tests.support.volumes import STAMP

METHODS = {"get": "GET", "fetch": "GET", "head": "HEAD", "put": "PUT", "delete": "DELETE", "page": "LIST"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Method and path of each request to a store in memory, as it comes."""
    requests: list[tuple[str, str]] = []

    def noted(method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def send(cloud: Memory, path: Any, *args: Any, **kwargs: Any) -> Any:
            requests.append((method, path if isinstance(path, str) else path[0]))
            return await call(cloud, path, *args, **kwargs)

        return send

    for name, method in METHODS.items():
        monkeypatch.setattr(Memory, name, noted(method, getattr(Memory, name)))
    return requests


def publish(source: str, volume: str, *, dry_run: bool = False) -> dict[str, Any]:
    return publish_chain(
        {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES},
        source=source,
        volume=volume,
        index=Index(),
        master=Master(),
        copies=Copies(),
        pyramid=Levels(levels=2, until=1),
        steps=list(ALL_STEPS),
        run=Run(created_on=STAMP, dry_run=dry_run),
    )


def survey() -> WritableStore:
    """A store in memory with a survey of 40 x 48 traces of 100 samples at a.sgy."""
    store = WritableStore(f"memory://{uuid.uuid4().hex}")
    values = np.random.default_rng(5).normal(0, 100, (40 * 48, 100))
    words = ibm_of(values) | np.where(values < 0, np.uint32(1 << 31), np.uint32(0))
    rows = words.astype(">u4").view(np.uint8).reshape(40 * 48, 400)
    store.put("a.sgy", segy_bytes(shape=(40, 48), n_samples=100, samples=rows))
    return store


def test_a_publication_takes_few_requests_beside_those_for_chunks(sent: list[tuple[str, str]]) -> None:
    store = survey()
    sent.clear()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    beside = [
        (method, path.partition("/a.zarr/")[2])
        for method, path in sent
        if "/.seismill/" in path or not ("/c/" in path or path.endswith(".sgy"))
    ]
    counts = Counter(method for method, _ in beside)
    assert len(beside) <= 115, counts
    assert counts["LIST"] <= 17
    assert counts["GET"] <= 4
    keys = Store(f"{store.url}/a.zarr").keys(".seismill/lock")
    assert keys == [".seismill/lock/00000001"], "all stages go on under one lock"


def test_a_dry_run_says_how_many_requests_a_publication_sends(sent: list[tuple[str, str]]) -> None:
    store = survey()
    planned = publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr", dry_run=True)
    sent.clear()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    counts = Counter("writes" if method == "PUT" else "reads" for method, _ in sent if method != "DELETE")
    assert planned["writes"] == pytest.approx(counts["writes"], rel=0.2)
    assert planned["reads"] == pytest.approx(counts["reads"], rel=0.2)


def test_what_a_publication_stored_it_does_not_read_again_but_for_chunks(
    sent: list[tuple[str, str]],
) -> None:
    store = survey()
    sent.clear()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    stored: set[str] = set()
    again = []
    for method, path in sent:
        key = path.partition("/a.zarr/")[2]
        if method == "PUT":
            stored.add(key)
        elif method == "GET" and key in stored and "/c/" not in key:
            again.append(key)
    assert [key for key in again if not key.endswith("/plan.json")] == []


def test_a_publication_that_is_done_takes_few_requests(sent: list[tuple[str, str]]) -> None:
    store = survey()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    sent.clear()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    counts = Counter(method for method, path in sent if not path.endswith(".sgy"))
    assert sum(counts.values()) <= 30, counts
    assert counts["PUT"] == 2, "the lock, taken and released"


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Bytes of chunks that a store in memory sent, by array."""
    sizes: Counter[str] = Counter()
    get = Memory.get

    async def noted(cloud: Memory, path: str, *args: Any) -> bytes:
        data = await get(cloud, path, *args)
        array, chunk, _ = path.partition("/a.zarr/")[2].partition("/c/")
        if chunk:
            sizes[array] += len(data)
        return data

    monkeypatch.setattr(Memory, "get", noted)
    return sizes


def chunks_in(volume: str) -> dict[str, bytes]:
    store = Store(volume)
    return {key: store.get(key) for key in store.keys("") if "/c/" in key and ".seismill/" not in key}


def test_a_publication_reads_its_chunks_once_for_the_proof(received: Counter[str]) -> None:
    store = survey()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    read = dict(received)
    chunks = chunks_in(f"{store.url}/a.zarr")
    assert read.pop("amplitude") == sum(
        len(data) for key, data in chunks.items() if key.startswith("amplitude/")
    )
    assert not {path for path in read if path.startswith(("fast_", "pyramid/"))}


def test_the_chunks_are_those_that_a_publication_makes_which_keeps_none(
    received: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = survey()
    publish(f"{store.url}/a.sgy", f"{store.url}/a.zarr")
    kept, once = chunks_in(f"{store.url}/a.zarr"), received["amplitude"]
    monkeypatch.setattr(summary, "KEPT_SHARE", 0.0)
    other = survey()
    received.clear()
    publish(f"{other.url}/a.sgy", f"{other.url}/a.zarr")
    assert received["amplitude"] >= 3 * once, "copies, levels and the proof read it"
    assert chunks_in(f"{other.url}/a.zarr") == kept


def test_chunks_are_kept_as_far_as_there_is_room_and_no_longer_than_the_lock() -> None:
    spec = ArraySpec("a", (8,), (4,), "uint8", ("x",))
    store = WritableStore(f"memory://{uuid.uuid4().hex}")
    with kept_locks():
        with locked(store, wait_seconds=0):
            keep_at_most(7)
            for number in range(2):
                remember_chunks(store, spec, f"a/c/{number}", b"1234")
            assert recall(store, "a/c/0") == b"1234"
            assert recall(store, "a/c/1") is None, "7 bytes do not hold both"
        with locked(store, wait_seconds=0):  # the next stage
            assert recalling(store).get_range("a/c/0", 1, 2) == b"23"
            assert recalling(store).get_tail("a/c/0", 3) == b"234"
            with pytest.raises(FileNotFoundError):
                Store(store.url).get("a/c/0")
            keep_at_most(3)
            assert recall(store, "a/c/0") is None
            keep_at_most(100)
            remember_chunks(store, spec, "a/c/0", b"1234")
            remember_chunks(store, spec, "b/c/0", b"1234")
            forget(store, "a/")
            assert recall(store, "a/c/0") is None
            assert recall(store, "b/c/0") == b"1234"
    with locked(store, wait_seconds=0):
        assert recall(store, "b/c/0") is None
        remember_chunks(store, spec, "a/c/0", b"1234")
        assert recall(store, "a/c/0") is None, "no stage follows"
    keep_at_most(0)


def test_what_blocks_take_is_not_kept(pool: ThreadPoolExecutor) -> None:
    compute = Compute(pool, 2, 1000, limits=replace(DEFAULT_LIMITS, kept_bytes=200))
    assert summary.kept_bytes(compute) == 200
    assert summary.kept_bytes(replace(compute, memory_bytes=400)) == 100
    spec = ArraySpec("a", (8,), (4,), "uint8", ("x",))
    store = WritableStore(f"memory://{uuid.uuid4().hex}")
    with kept_locks(), locked(store, wait_seconds=0):
        summary.fitting(compute, 450, "a block")
        remember_chunks(store, spec, "a/c/0", bytes(100))
        remember_chunks(store, spec, "a/c/1", b"1")
        assert [recall(store, f"a/c/{number}") for number in range(2)] == [bytes(100), None]
        summary.fitting(compute, 500, "a block")
        assert recall(store, "a/c/0") is None
    keep_at_most(0)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor

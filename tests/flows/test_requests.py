"""How many requests a publication takes of a store: budgets, so that serial chains do not come back.

Covers protocol/remembered.py.
"""

import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flows.chains import ALL_STEPS, PUBLISH_STAGES, publish_chain
from flows.stages import as_stage, load_verb
from tasks.parameters import Copies, Index, Levels, Master, Run
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


def publish(source: str, volume: str) -> None:
    publish_chain(
        {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES},
        source=source,
        volume=volume,
        index=Index(),
        master=Master(),
        copies=Copies(),
        pyramid=Levels(levels=2, until=1),
        steps=list(ALL_STEPS),
        run=Run(created_on=STAMP),
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
    assert len(beside) <= 122, counts
    assert counts["LIST"] <= 20
    assert counts["GET"] <= 8
    keys = Store(f"{store.url}/a.zarr").keys(".seismill/lock")
    assert keys == [".seismill/lock/00000001"], "all stages go on under one lock"


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

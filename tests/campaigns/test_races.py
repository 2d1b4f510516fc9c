"""Sources that are replaced, triggers that race, and runs that wake after another took over: one right volume each.

SEISMILL_RACES says how many of each are tried, SEISMILL_SEED which; the whole campaign is
SEISMILL_RACES=1000 pytest tests/campaigns/test_races.py

Covers clouds/in_memory.py.
"""

import os
import random
import shutil
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume import blocks
from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import InputRefused, Outcome, Resumable
from tasks.volume.protocol.commits import COMMITS, newest_commit
from tasks.volume.protocol.lock import highest, locked
from tasks.volume.protocol.root import commit, current_root
from tasks.volume.store.calls import Line
from tasks.volume.store.clouds.faults import Transient
from tasks.volume.store.clouds.in_memory import Memory
from tasks.volume.store.objects import Store
from tasks.volume.store.source import Source
from tasks.volume.store.writable import WritableStore
from tests.campaigns.test_faults import FaultProxy, proxy  # noqa: F401  # a fixture
from tests.support.emulators.faults import Rule
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP, differences, threads, tree

RACES = int(os.environ.get("SEISMILL_RACES", "12"))
IN_CLOUDS = int(os.environ.get("SEISMILL_RACES", "1"))  # where each takes longer
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
STAMPED = Run(created_on=STAMP, lock_wait=30)
pytestmark = pytest.mark.timeout(36000)


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    """A file of several blocks, last changed long ago."""
    survey = make_survey(tmp_path / "a.sgy", drop=3, n_samples=37)
    os.utime(survey.path, (1_500_000_000, 1_500_000_000))
    return survey


# Sources that are replaced


def replaced(staging: Store, content: bytes) -> None:
    staging.put("a.sgy", content[:-1] + bytes([content[-1] ^ 1]))


def rewritten(staging: Store, content: bytes) -> None:
    middle = len(content) // 2
    if not staging.local:
        return staging.put("a.sgy", content[:middle] + b"another" + content[middle + 7 :])
    with open(staging.path("a.sgy"), "r+b") as file:
        file.seek(middle)
        file.write(b"another")


def appended(staging: Store, content: bytes) -> None:
    if not staging.local:
        return staging.put("a.sgy", content + content[3600:4000])
    with open(staging.path("a.sgy"), "ab") as file:
        file.write(content[3600:4000])


def truncated(staging: Store, content: bytes) -> None:
    if not staging.local:
        return staging.put("a.sgy", content[: len(content) // 2])
    os.truncate(staging.path("a.sgy"), len(content) // 2)


def removed(staging: Store, content: bytes) -> None:
    staging.delete("a.sgy")


SWAPS = (replaced, rewritten, appended, truncated, removed)


class Reads:
    """Counts the reads of sources, and does something before one of them."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.act = 0, -1, lambda: None
        self._lock, read = threading.Lock(), getattr(Source, name)

        def counted(source: Source, start: int, what: Any) -> Any:
            with self._lock:
                self.count += 1
                if self.count == self.at:
                    self.act()
            return read(source, start, what)

        monkeypatch.setattr(Source, name, counted)

    def arm(self, at: int, act: Callable[[], None]) -> None:
        """Do it before call number `at`, counted from 1 from now on."""
        self.count, self.at, self.act = 0, at, act


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", "s3", "gs", "az"])
def test_a_source_that_is_replaced_at_any_read_is_refused_and_leaves_no_volume(
    place: str,
    survey: Survey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    drawn, content, master = random.Random(SEED), survey.content, Master(chunks=[3, 3, 8])
    if place == "local":
        staging, volume, swaps = WritableStore(str(tmp_path)), WritableStore(str(tmp_path / "a.zarr")), RACES
    else:
        request.getfixturevalue({"s3": "s3", "gs": "gcs", "az": "azure"}[place])
        staging, swaps = WritableStore(f"{place}://staging"), IN_CLOUDS
        volume = WritableStore(f"{place}://volumes/a.zarr")
    # Every read of a local file ends in the first, every other one in the second.
    reads = Reads("read_into" if staging.local else "read", monkeypatch)

    def restore() -> None:
        staging.put("a.sgy", content)
        if staging.local:
            os.utime(survey.path, (1_500_000_000, 1_500_000_000))

    with threads() as compute:

        def ingest() -> None:
            ingest_segy(f"{staging.url}/a.sgy", volume.url, master=master, run=STAMPED, compute=compute)

        restore()
        ingest()
        total, refusals = reads.count, 0
        for number in range(swaps):
            volume.delete_many(volume.keys(""))
            swap, at = drawn.choice(SWAPS), drawn.randrange(2, total + 1)
            reads.arm(at, lambda swap=swap: swap(staging, content))  # type: ignore[misc]
            with pytest.raises(InputRefused, match=r"changed after the run began|there is no file"):
                ingest()
            refusals += 1
            assert not volume.exists("zarr.json"), (SEED, number)
            restore()
    assert refusals == swaps
    print(f"{place}: {refusals} refusals of {swaps} swaps at one of {total} reads")


# Eight triggers at once


def race_of_eight(pool: ThreadPoolExecutor, url: str) -> Store:
    """Eight runs at once of what every verb begins and ends with; exactly one of them commits."""

    def trigger(store: Store, number: int) -> str:
        while True:
            try:
                with locked(store, wait_seconds=1) as epoch:
                    if current_root(store) is None:
                        commit(store, epoch, Root.new({"by": number}))
                        return "committed"
                    return "found"
            except Resumable:
                continue

    ended = Counter(pool.map(lambda number: trigger(WritableStore(url), number), range(8)))
    # Who committed and did not hear of it in time came again, and found what it had done.
    assert ended in ({"committed": 1, "found": 7}, {"found": 8}), SEED
    store = WritableStore(url)
    assert store.keys(COMMITS) == [f"{COMMITS}/00000001"], SEED
    newest = newest_commit(store)
    assert newest
    assert store.get("zarr.json") == newest.document
    assert highest(store) >= 8  # more where one did not reach the store in time and came again
    return store


@pytest.mark.slow
def test_of_eight_triggers_at_once_exactly_one_commits_though_acknowledgements_get_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, put, lost = random.Random(SEED), Memory.put, Counter[str]()

    async def unheard(cloud: Memory, path: str, data: bytes, **how: Any) -> None:
        await put(cloud, path, data, **how)
        if drawn.random() < 0.1:
            lost["acknowledgements"] += 1
            raise Transient(f"put {path}: no answer")

    monkeypatch.setattr(Memory, "put", unheard)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(RACES):
            volume = race_of_eight(pool, f"memory://{uuid.uuid4().hex}")
            volume.delete_many(volume.keys(""))
    print(f"{RACES} races, {lost['acknowledgements']} acknowledgements lost, one commit each")


@pytest.mark.slow
def test_of_eight_triggers_at_once_exactly_one_commits_in_every_cloud(proxy: FaultProxy) -> None:  # noqa: F811
    protocol, lost = proxy.protocol, 0  # type: ignore[attr-defined]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(IN_CLOUDS):
            proxy.do(Rule("lost_ack", share=0.1))
            race_of_eight(pool, f"{protocol}://volumes/{uuid.uuid4().hex}.zarr")
            lost += proxy.fired
            proxy.do()
    print(f"{IN_CLOUDS} races on {protocol}, {lost} acknowledgements lost, one commit each")


@pytest.mark.slow
def test_of_eight_ingests_at_once_one_writes_and_seven_find_it_done(survey: Survey, tmp_path: Path) -> None:
    master = Master(chunks=[4, 4, 8])
    twin = tmp_path / "twin.zarr"
    ingest_segy(str(survey.path), str(twin), master=master, run=STAMPED)
    volume, whole = tmp_path / "a.zarr", tree(twin)

    def trigger(number: int) -> bool:
        return (
            "was done already"
            in ingest_segy(str(survey.path), str(volume), master=master, run=STAMPED)["notes"]
        )

    with ThreadPoolExecutor(8) as pool:
        for race in range(max(1, RACES // 12)):
            found = list(pool.map(trigger, range(8)))
            assert sum(found) == 7, (SEED, race)
            assert differences(tree(volume), whole) == []
            assert WritableStore(str(volume)).keys(COMMITS) == [f"{COMMITS}/00000001"]
            shutil.rmtree(volume)


# Runs that wake after another took over


class Sleeper:
    """Counts the calls that runs of one volume make of its store, and does something in the middle of one of them."""

    CALLS = ("get", "put", "create", "replace", "exists", "keys", "identity", "delete_many")

    def __init__(
        self, url: str, monkeypatch: pytest.MonkeyPatch, called: type = Store, names: Sequence[str] = CALLS
    ) -> None:
        self.count, self.at, self.act = 0, -1, lambda: None
        self._lock, self._over = threading.Lock(), threading.Event()
        self._over.set()
        for name in names:
            of = called if hasattr(called, name) else WritableStore
            monkeypatch.setattr(of, name, self._around(getattr(of, name), url))

    def _around(self, call: Callable[..., Any], url: str) -> Callable[..., Any]:
        def counted(store: Any, *args: Any, **kwargs: Any) -> Any:
            if not url or store.url == url:
                with self._lock:
                    self.count += 1
                    mine = self.count == self.at
                    if mine:
                        self._over.clear()
                if mine:
                    try:
                        self.act()
                    finally:
                        self._over.set()
            return call(store, *args, **kwargs)

        return counted

    def arm(self, at: int, act: Callable[[], None] = lambda: None) -> None:
        """Do it before call number `at`, counted from 1 from now on."""
        self.count, self.at, self.act = 0, at, act

    def wait(self) -> None:
        """Return when what was done in the middle of a call has ended: it may be of a thread beside the run."""
        assert self._over.wait(120)


@pytest.fixture
def wide_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Chunks have threads enough for a sleeper and for whom it is asleep meanwhile."""
    pool = ThreadPoolExecutor(4)
    monkeypatch.setattr(blocks, "chunk_pool", cache(lambda: pool))
    yield
    pool.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("before", ["nothing", "another volume"])
def test_a_run_with_another_plan_that_wakes_after_take_over_changes_nothing(
    before: str, survey: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide_pool: None
) -> None:
    volume, link = tmp_path / "real" / "a.zarr", tmp_path / "link" / "a.zarr"
    # A sleep here takes no time, so it is not told by the clock.
    monkeypatch.setattr("tasks.volume.protocol.lock.RECHECK_SECONDS", 0)
    volume.parent.mkdir()
    link.parent.symlink_to(volume.parent)  # the sleeper calls the same place by another name
    drawn, sleeper = random.Random(SEED), Sleeper(str(link), monkeypatch)

    def ingest(place: Path, *chunks: int) -> None:
        ingest_segy(
            str(survey.path), str(place), master=Master(chunks=list(chunks)), overwrite=True, run=STAMPED
        )

    ingest(tmp_path / "twin.zarr", 3, 5, 7)
    whole = tree(tmp_path / "twin.zarr")

    def prepare() -> None:
        shutil.rmtree(volume, ignore_errors=True)
        if before == "another volume":
            ingest(volume, 5, 5, 5)

    def take_over() -> None:
        # As after the lease: the lock says that it is free.
        store = WritableStore(str(volume))
        key = f".seismill/lock/{highest(store):08d}"
        if store.exists(key):
            lock = volume / key
            lock.write_text(lock.read_text().replace('"held"', '"released"'))
        ingest(volume, 3, 5, 7)

    prepare()
    sleeper.arm(-1)
    ingest(link, 4, 4, 8)
    total, woken, stray, other = sleeper.count, Counter[str](), 0, tree(volume)
    for number in range(max(3, RACES // 20)):
        prepare()
        at = drawn.randrange(1, total + 1)
        sleeper.arm(at, take_over)
        try:
            ingest(link, 4, 4, 8)
            woken["one after the other"] += 1  # the sleeper held no lock yet, or none any more
        except Outcome as outcome:
            woken[type(outcome).__name__] += 1
        # What the sleeper was putting may have come after all, and no reader of the other grid ever asks for it.
        strays = verify(str(volume), repair="from_master")["repaired"]
        assert len(strays) <= 4, "of each thread what it was putting"
        assert not any(key in whole for key in strays)
        stray += len(strays)
        assert verify(str(volume))["findings"] == [], (SEED, number, at)
        left = differences(tree(volume), whole)
        assert left == [] or not differences(tree(volume), other), (SEED, number, at, left)
    print(f"{dict(woken)}, {stray} stray chunks, of sleepers at one of {total} calls")


CLOUDS = {"memory": "", "s3": "s3", "gs": "gcs", "az": "azure"}


def make(verb: str, source: Path, volume: Store, number: int) -> None:
    """What one of the verbs makes under the plan of that number, in the place of what there is."""
    chunks = [(5, 5, 5), (4, 4, 8), (3, 5, 7)][number]
    if verb == "ingest":
        ingest_segy(str(source), volume.url, master=Master(chunks=list(chunks)), overwrite=True, run=STAMPED)
    elif verb == "copies":
        slices = Copy(name="slices", chunks=list(chunks))
        rechunk(volume.url, copies=Copies(presets=[], more=[slices]), overwrite=True, run=STAMPED)
    else:
        levels = Levels(levels=2, until=1, factor=[number + 2] * 3)
        pyramid(volume.url, levels=levels, overwrite=True, run=STAMPED)


def stored(volume: Store) -> dict[str, bytes]:
    """What `tree` gives, in any store."""
    return {key: volume.get(key) for key in volume.keys("") if not key.startswith(".seismill/")}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["ingest", "copies", "levels"])
@pytest.mark.parametrize(
    ("cloud", "before"), [("memory", "nothing"), *((name, "another") for name in CLOUDS)]
)
def test_a_run_in_a_cloud_that_sleeps_before_any_request_changes_nothing_after_take_over(
    cloud: str,
    before: str,
    verb: str,
    survey: Survey,
    monkeypatch: pytest.MonkeyPatch,
    wide_pool: None,
    request: pytest.FixtureRequest,
) -> None:
    if CLOUDS[cloud]:
        request.getfixturevalue(CLOUDS[cloud])
    volume = WritableStore(f"{cloud}://volumes/{uuid.uuid4().hex}.zarr")
    drawn, sleeper = random.Random(SEED), Sleeper("", monkeypatch, Line, ("_try",))
    slept = [0.0]  # seconds that a clock which goes on meanwhile has gone on
    for module in ("store.calls", "protocol.lock", "store.cloud_objects"):
        monkeypatch.setattr(f"tasks.volume.{module}.clock_seconds", lambda: time.monotonic() + slept[0])

    def prepare() -> None:
        volume.delete_many(volume.keys(""))
        for key, data in base.items():
            volume.put(key, data)

    def take_over() -> None:
        slept[0] += 700
        key = f".seismill/lock/{highest(volume):08d}"
        if volume.exists(key):
            volume.put(key, volume.get(key).replace(b'"held"', b'"released"'))
        make(verb, survey.path, volume, 2)

    if verb != "ingest":
        make("ingest", survey.path, volume, 0)
    if before == "another":
        make(verb, survey.path, volume, 0)
    base = {key: volume.get(key) for key in volume.keys("")}
    make(verb, survey.path, volume, 2)
    whole = stored(volume)
    prepare()
    sleeper.arm(-1)
    make(verb, survey.path, volume, 1)
    total, other, woken = sleeper.count, stored(volume), Counter[str]()
    for number in range(RACES if cloud == "memory" else IN_CLOUDS):
        prepare()
        at = drawn.randrange(1, total + 1)
        sleeper.arm(at, take_over)
        try:
            make(verb, survey.path, volume, 1)
            woken["one after the other"] += 1
        except Outcome as outcome:
            woken[type(outcome).__name__] += 1
        sleeper.wait()
        sleeper.arm(-1)
        assert verify(volume.url)["findings"] == [], (SEED, number, at)
        left = stored(volume)
        assert left in (whole, other), (SEED, number, at, differences(left, whole))
    print(f"{verb}, {cloud}: {dict(woken)}, of sleepers before one of {total} requests")

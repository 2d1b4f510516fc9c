"""Whatever is run in whatever order, and however it ends, nothing of others is lost, nor anything that was published.

A machine of random steps (hypothesis) runs verbs and sweeps with and without --overwrite beside arrays, groups, files
and volumes of others, kills them at any call of the store and fills the disk. An oracle remembers every byte: what
others put is never changed; a volume is what it was before a run that was refused, or, after a run that stopped
half-way, what the run was to make as soon as the same command is given again.

SEISMILL_SEQUENCES says how many sequences are tried in all, SEISMILL_SEED which:
TMPDIR=/dev/shm SEISMILL_SEQUENCES=3000 pytest -n 0 -s -m slow tests/campaigns/test_nothing_is_lost.py
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flows.publishers import direct_sweep
from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Publication, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.ingest.precheck import read_before
from tasks.volume.outcomes import Outcome
from tasks.volume.protocol.commits import newest_commit
from tasks.volume.protocol.own_names import Names, chunk_of
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey
from tests.support.volumes import STAMP
from tests.support.warm import Process

SEQUENCES = int(os.environ.get("SEISMILL_SEQUENCES", "300"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
RUN = Run(created_on=STAMP, lock_wait=0)
PLACES = ("a.zarr", "b.zarr", "deep/c.zarr")
SWEPT = ("new.zarr", "deep/c.zarr")
WRITING = ("put", "create", "exchange", "delete_many", "remove_half_written")  # of which all others are made
SMALL = Master(chunks=[4, 4, 8])


class Killed(BaseException):
    """A process that ended in the middle of a call: nothing that it does afterwards reaches the store."""


def end_this_process() -> BaseException:
    """End this process as the kernel does if memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Killed()


@contextmanager
def killed_at(number: int, *, error: Callable[[], BaseException] = Killed) -> Iterator[None]:
    """While open, the n-th call that changes a store raises, and so does every later one of this run."""
    count, real = 0, {name: getattr(WritableStore, name) for name in WRITING}

    def dying(name: str) -> Callable[..., Any]:
        def call(store: WritableStore, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= number:
                raise error()
            return real[name](store, *args, **kwargs)

        return call

    try:
        for name in WRITING:
            setattr(WritableStore, name, dying(name))
        yield
    finally:
        for name, function in real.items():
            setattr(WritableStore, name, function)


def work_of(
    made: Path, below: str, place: str, kind: str, variant: int, overwrite: bool
) -> Callable[[], Any]:
    """Return the call of a verb."""
    url, more = f"{below}/{place}", {"overwrite": overwrite, "run": RUN}
    source = f"{made}/{1 + variant % 2}.sgy"
    chunks = [[4, 4, 4], [6, 2, 8], [2, 6, 4]][variant % 3]
    match kind:
        case "ingest":
            return lambda: ingest_segy(source, url, master=SMALL, **more)
        case "ingest, wrong checksum":
            return lambda: ingest_segy(source, url, Index(checksums=["00000000"]), SMALL, **more)
        case "images":
            image = Image(voxel_length=[1, 1, 1], voxel_unit="micrometer")
            return lambda: ingest_images(f"{made}/image.npy", url, image, SMALL, **more)
        case "rechunk":
            copies = Copies(presets=[], more=[Copy(name="across", chunks=chunks)], quality="lossless")
            return lambda: rechunk(url, copies, **more)
        case "pyramid":
            return lambda: pyramid(url, Levels(factor=[2 + variant % 2] * 3, levels=2, until=1), **more)
        case "copy":
            other = PLACES[(PLACES.index(place) + 1) % len(PLACES)]
            return lambda: copy(f"{below}/{other}", url, **more)
        case "sweep":
            how = Publication(master=SMALL, steps=[])
            return lambda: direct_sweep(
                staging=f"{made}/staging", volumes=below, settle_minutes=0, publication=how, run=RUN
            )
        case _:
            return lambda: verify(url, repair="from_master", run=RUN)


def code_of(job: Callable[[], Any], end: int | None, error: Callable[[], BaseException]) -> int:
    """Run a command; return its exit code, -1 if it was killed."""
    try:
        with killed_at(end or sys.maxsize, error=error):
            job()
    except Outcome as outcome:
        return outcome.exit_code
    except (Killed, OSError):
        return -1
    return 0


def run_and_die(number: int, *work: Any) -> None:
    """Run a verb in a process of its own, which ends at the n-th call that changes a store."""
    sys.exit(code_of(work_of(*work), number, end_this_process))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources, and a volume with a copy and levels."""
    folder = tmp_path_factory.mktemp("made")
    for number in (1, 2):
        make_survey(
            folder / f"{number}.sgy",
            seed=number,
            inlines=range(6),
            crosslines=range(5 + number),
            n_samples=11,
        )
    np.save(folder / "image.npy", np.arange(7 * 6 * 5, dtype="u2").reshape(7, 6, 5))
    (folder / "staging/deep").mkdir(parents=True)
    shutil.copy(folder / "1.sgy", folder / "staging/new.sgy")
    shutil.copy(folder / "2.sgy", folder / "staging/deep/c.sgy")
    for kind in ("ingest", "rechunk", "pyramid"):
        work_of(folder, str(folder), "a.zarr", kind, 0, False)()
    return folder


class Archive(RuleBasedStateMachine):
    """A prefix with volumes of ours and things of others."""

    made: ClassVar[Path]
    ended: ClassVar[Counter[str]]
    local = True

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.below = self.place_of()
        self.archive = WritableStore(self.below)
        self.others: dict[str, Any] = {}
        self.published: dict[str, dict[str, Any]] = {}
        self.stopped: dict[str, tuple[str, int, bool]] = {}
        for place in PLACES[:2]:  # something that could be lost
            self.put_volume(place)
        self.look()
        for place in PLACES[:2]:
            self.published[place] = self.of(place)

    def place_of(self) -> str:
        return str(self.folder / "archive")

    def put_volume(self, place: str, only: tuple[str, ...] = ("",)) -> list[str]:
        whole = self.made / "a.zarr"
        keys = [str(file.relative_to(whole)) for file in sorted(whole.rglob("*")) if file.is_file()]
        chosen = [key for key in keys if key.startswith(only)]
        for key in chosen:
            if self.local:
                (self.folder / "archive" / place / key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(whole / key, self.folder / "archive" / place / key)
            else:
                self.archive.put(f"{place}/{key}", (whole / key).read_bytes())
        return [f"{place}/{key}" for key in chosen]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def url(self, place: str) -> str:
        return f"{self.below}/{place}"

    def look(self) -> None:
        """Read every object."""
        self.now = {key: self.archive.get(key) for key in self.archive.keys("")}

    def of(self, place: str) -> dict[str, Any]:
        """What readers meet of a volume: what in its place is not somebody else's; nothing without a root."""
        if f"{place}/zarr.json" not in self.now:
            return {}
        return {
            key.removeprefix(f"{place}/"): value
            for key, value in self.now.items()
            if key.startswith(f"{place}/")
            and not key.startswith(f"{place}/.seismill/")
            and key not in self.others
        }

    RUNS: ClassVar[dict[str, st.SearchStrategy[Any]]] = {
        "place": st.sampled_from(PLACES),
        "variant": st.integers(0, 5),
        "overwrite": st.booleans(),
        "end": st.one_of(st.none(), st.integers(1, 12), st.integers(1, 60)),
        "full": st.booleans(),
    }

    @rule(kind=st.sampled_from(("ingest", "ingest", "ingest, wrong checksum", "images", "copy")), **RUNS)
    def publish(self, **run: Any) -> None:
        self.work(**run)

    @rule(kind=st.sampled_from(("rechunk", "pyramid", "rechunk", "pyramid", "sweep")), **RUNS)
    def derive(self, **run: Any) -> None:
        self.work(**run)

    @rule(kind=st.just("repair"), **RUNS)
    def repair(self, **run: Any) -> None:
        self.work(**run)

    def work(self, place: str, kind: str, variant: int, overwrite: bool, end: int | None, full: bool) -> None:
        """Run a verb; let it end, or kill it or fill its disk at a call that changes the store."""
        places = SWEPT if kind == "sweep" else (place,)
        before = {place: (self.of(place), self.commits(place)) for place in places}
        code = self.run(place, kind, variant, overwrite, end, OSError if full else Killed)
        self.look()
        assert kind != "sweep" or code in (-1, 0, 75), code
        for place in places:
            self.compare(place, (kind, variant, overwrite), code, *before[place])

    def commits(self, place: str) -> list[str]:
        """Return the keys of the commits of a volume."""
        return [key for key in self.now if key.startswith(f"{place}/.seismill/commits/")]

    def compare(
        self, place: str, job: tuple[str, int, bool], code: int, before: dict[str, Any], commits: list[str]
    ) -> None:
        """Compare a volume with what it was before a run that ended so."""
        kind, after = job[0], self.of(place)
        if kind == "sweep" and place not in self.stopped and before:
            assert after == before, (place, kind, code)  # a sweep replaces nothing
        if code in (2, 3, 4) or (code == 5 and place not in self.stopped):
            if place in self.stopped and after != before:
                # The stopped run had committed a root and not put it yet: whoever holds the lock next does that.
                withdrawn = self.is_withdrawn(place, kind, code)
                after = before if withdrawn or not before else after | {"zarr.json": before["zarr.json"]}
            assert after == before, (place, kind, code)
        elif code == 0:
            if kind == "sweep" and after == before:  # done already, or a source that it refused
                return
            if kind != "repair" or (after and not self.is_to_go(place)):
                self.stopped.pop(place, None)
                self.published[place] = after
        elif kind != "repair":
            changed = after != before or commits != self.commits(place)
            if changed or (kind != "sweep" and (place in self.stopped or code == 75)):
                self.stopped[place] = job

    def is_to_go(self, place: str) -> bool:
        """Return whether the next run takes the volume away, as verify then says: one that replaces it was stopped."""
        newest = newest_commit(WritableStore(self.url(place)))
        assert newest is not None
        assert bool(newest.document) != any(
            "a run is replacing" in n for n in verify(self.url(place))["notes"]
        )
        return not newest.document

    def is_withdrawn(self, place: str, kind: str, code: int) -> bool:
        """Compare the root with the newest commit; return whether that one took it away."""
        store = WritableStore(self.url(place))
        newest = newest_commit(store)
        assert newest is not None
        root = store.get("zarr.json") if store.exists("zarr.json") else b""
        assert root == newest.document, (place, kind, code)
        return not root

    def run(
        self,
        place: str,
        kind: str,
        variant: int,
        overwrite: bool,
        end: int | None = None,
        error: Callable[[], BaseException] = Killed,
    ) -> int:
        """Run a command; return its exit code, -1 if it was killed."""
        code = code_of(work_of(self.made, self.below, place, kind, variant, overwrite), end, error)
        self.ended[f"{kind} {code}"] += 1
        return code

    @precondition(lambda self: bool(getattr(self, "stopped", None)))
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Give the command that was stopped again: it completes, or something is in its way; verify is content."""
        place = data.draw(st.sampled_from(sorted(self.stopped)))
        job = self.stopped.pop(place)
        others = {other: (self.of(other), self.commits(other)) for other in SWEPT if other != place}
        assert self.run(place, *job) in (0, 3, 4, 5)
        self.look()
        if f"{place}/zarr.json" in self.now:
            assert verify(self.url(place))["findings"] == []
        self.published[place] = self.of(place)
        if job[0] == "sweep":
            for other, before in others.items():
                self.compare(other, job, 0, *before)

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(("envelope", "mine/picks", "pyramid/smooth")))
    def add_array(self, place: str, name: str) -> None:
        """Somebody puts an array of their own into a volume."""
        if f"{place}/{name}/zarr.json" in self.others or f"{place}/zarr.json" not in self.now:
            return
        self._add(f"{place}/{name}/zarr.json", b'{"node_type": "array", "zarr_format": 3}')
        self._add(f"{place}/{name}/c/0/0", b"theirs")

    @rule(place=st.sampled_from(PLACES))
    def add_volume(self, place: str) -> None:
        """Somebody moves a volume of theirs into another, where none is to be written."""
        inner = f"{place}/inner.zarr"
        if f"{inner}/zarr.json" in self.others or f"{place}/zarr.json" not in self.now:
            return
        keys = self.put_volume(inner, ("zarr.json", ".seismill/", "amplitude/"))
        self.look()
        self.others |= {key: self.now[key] for key in keys}
        with pytest.raises(Outcome):
            ingest_segy(f"{self.made}/1.sgy", self.url(inner), master=SMALL, overwrite=True, run=RUN)

    @rule(
        name=st.sampled_from(
            (
                "notes.txt",
                "a.zarr/notes.txt",
                "a.zarr/amplitude/c/readme",
                "b.zarr/across/old",
                "deep/x/zarr.json",
            )
        )
    )
    def add_file(self, name: str) -> None:
        """Somebody puts a file anywhere."""
        if name not in self.others:
            self._add(name, uuid.uuid4().bytes)

    @rule(place=st.sampled_from(("", "deep/")))
    def add_catalogue(self, place: str) -> None:
        """A sweep keeps its catalogue beside the volumes."""
        if f"{place}.seismill/catalogue/x.sgy/00000001" not in self.others:
            self._add(f"{place}.seismill/catalogue/x.sgy/00000001", b"{}")

    def _add(self, name: str, data: bytes) -> None:
        self.archive.put(name, data)
        self.look()
        self.others[name] = self.now[name]

    @rule(above=st.sampled_from(("", "deep")), overwrite=st.booleans())
    def write_over_the_folder(self, above: str, overwrite: bool) -> None:
        """Somebody names the folder of volumes in place of one."""
        store = WritableStore(f"{self.below}/{above}".rstrip("/"))
        if not [name for name in store.children() if name != ".seismill"]:
            return
        with pytest.raises(Outcome):
            ingest_segy(f"{self.made}/1.sgy", store.url, master=SMALL, overwrite=overwrite, run=RUN)
        self.look()

    @invariant()
    def nothing_is_lost(self) -> None:
        for name, value in getattr(self, "others", {}).items():
            assert self.now.get(name) == value, name
        for place, content in getattr(self, "published", {}).items():
            if place not in self.stopped:
                assert self.of(place) == content, place


class InMemory(Archive):
    """As before, in a store that compares and writes in one step."""

    local = False

    def place_of(self) -> str:
        return f"memory://{uuid.uuid4().hex}"

    @property
    def objects(self) -> dict[str, Any]:
        return fsspec.filesystem("memory").store  # type: ignore[no-any-return]

    def look(self) -> None:
        above = "/" + self.below.removeprefix("memory://") + "/"
        found = [path for path in self.objects if path.startswith(above)]
        self.now = {path.removeprefix(above): self.objects[path].getvalue() for path in found}

    def teardown(self) -> None:
        super().teardown()
        self.objects.clear()


class InS3(Archive):
    """As before, in a bucket; an ETag is the MD5 of the content."""

    local = False

    def place_of(self) -> str:
        return f"s3://volumes/{uuid.uuid4().hex}"

    def look(self) -> None:
        self.now = {key: identity for key, _, identity in self.archive.listing("")}


class InProcesses(Archive):
    """As the first, and what is killed is a process, by SIGKILL."""

    def run(
        self, place: str, kind: str, variant: int, overwrite: bool, end: Any = None, error: Any = Killed
    ) -> int:
        if end is None:
            return super().run(place, kind, variant, overwrite)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        process = Process(folder, run_and_die, end, self.made, self.below, place, kind, variant, overwrite)
        code = process.wait(60)
        assert code is not None, "it hangs"
        assert code in (0, 2, 3, 4, 5, 75, -signal.SIGKILL), process.errors
        self.ended[f"{kind} {code}"] += 1
        return max(code, -1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("machine", "share"), [(Archive, 0.5), (InMemory, 0.42), (InS3, 0.04), (InProcesses, 0.04)]
)
def test_nothing_is_lost_whatever_is_run(
    machine: type[Archive], share: float, made: Path, request: pytest.FixtureRequest
) -> None:
    if machine is InS3:
        request.getfixturevalue("s3")
    run_sequences(machine, made, int(SEQUENCES * share), SEED + len(machine.__name__))
    print(
        f"SEISMILL_SEED={SEED}: {int(SEQUENCES * share)} sequences, runs by exit code {dict(machine.ended)}"
    )


def run_sequences(machine: type[Archive], made: Path, count: int, number: int) -> None:
    """Try so many sequences of random steps, drawn by the seed `number`."""
    machine.made, machine.ended = made, Counter()
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=count,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # to find the shortest sequence takes minutes
            report_multiple_bugs=False,
        ),
    )


def owned_as_nobody_names_it(names: Names, key: str) -> str:
    """Take everything below a volume for its own, as Seismill once did."""
    return key.removesuffix("/zarr.json") if key.endswith("/zarr.json") else chunk_of(key)[0] or key


def read_when_the_old_is_gone(store: WritableStore, *args: Any) -> Any:
    """Take the old away before what the new is made of was read, as Seismill once did."""
    store.delete_many(store.keys("amplitude"))
    return read_before(store, *args)


FAULTS: dict[str, list[tuple[str, Any]]] = {
    "a folder of volumes is ours because a catalogue lies in it": [
        ("tasks.volume.protocol.place._refuse_catalogue", lambda store, own: None),
        ("tasks.volume.protocol.place._own", lambda store: ["lock"]),
        ("tasks.volume.protocol.own_names.Names.owner", owned_as_nobody_names_it),
    ],
    "what no root names is left over": [
        ("tasks.volume.protocol.own_names.Names.owner", owned_as_nobody_names_it)
    ],
    "the old goes before the new was read": [("tasks.ingest_segy.read_before", read_when_the_old_is_gone)],
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_sequences_find_what_they_were_made_for(
    fault: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, function in FAULTS[fault]:
        monkeypatch.setattr(name, function)
    with pytest.raises((AssertionError, pytest.fail.Exception)) as found:
        run_sequences(InMemory, made, 300, 8)
    print(f"{fault}: {found.value!r:.300}")

"""Whatever is run in whatever order, and however it ends, nothing of others is lost, nor anything that was published.

A machine of random steps (hypothesis) runs verbs with and without --overwrite beside arrays, groups, files and volumes
of others, kills them at any call of the store, fills the disk and damages what they read. An oracle remembers every
byte: what others put is never changed; a volume is what it was before a run that was refused, or, after a run that
stopped half-way, what the run was to make as soon as the same command is given again.

SEISMILL_SEQUENCES says how many sequences are tried (3,000 of them take about an hour and a half).
"""

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.outcomes import Outcome
from tasks.volume.protocol.commits import newest_commit
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey
from tests.support.volumes import STAMP

SEQUENCES = int(os.environ.get("SEISMILL_SEQUENCES", "150"))
RUN = Run(created_on=STAMP, lock_wait=0)
PLACES = ("a.zarr", "b.zarr", "deep/c.zarr")
WRITING = ("put", "create", "replace", "delete", "delete_many")
SMALL = Master(chunks=[4, 4, 8])


class Killed(BaseException):
    """A process that ended in the middle of a call: nothing that it does afterwards reaches the store."""


@contextmanager
def killed_at(number: int, *, error: type[BaseException] = Killed) -> Iterator[None]:
    """While open, the n-th call that changes a store raises, and so does every later one of this run."""
    count, real = 0, {name: getattr(WritableStore, name) for name in WRITING}

    def dying(name: str) -> Callable[..., Any]:
        def call(store: WritableStore, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= number:
                raise error("killed")
            return real[name](store, *args, **kwargs)

        return call

    try:
        for name in WRITING:
            setattr(WritableStore, name, dying(name))
        yield
    finally:
        for name, function in real.items():
            setattr(WritableStore, name, function)


class Archive(RuleBasedStateMachine):
    """A prefix with volumes of ours and things of others."""

    local = True

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.below = str(self.folder / "archive") if self.local else f"memory://{uuid.uuid4().hex}"
        self.archive = WritableStore(self.below)
        self.mine: set[str] = set()
        self.others: dict[str, bytes] = {}
        self.published: dict[str, dict[str, bytes]] = {}
        self.stopped: dict[str, Callable[[], Any]] = {}
        self.sources = []
        for seed in (1, 2):
            survey = make_survey(
                self.folder / f"{seed}.sgy",
                seed=seed,
                inlines=range(6),
                crosslines=range(5 + seed),
                n_samples=11,
            )
            self.sources.append(str(survey.path))
        np.save(self.folder / "image.npy", np.arange(7 * 6 * 5, dtype="u2").reshape(7, 6, 5))
        for place in PLACES[:2]:  # something that could be lost
            for kind in ("ingest", "rechunk", "pyramid"):
                self.jobs(place, kind, 0, False)()
            self.published[place] = self.of(place)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)
            if not self.local:
                memory = fsspec.filesystem("memory")
                path = "/" + self.below.removeprefix("memory://")
                if memory.exists(path):
                    memory.rm(path, recursive=True)

    def url(self, place: str) -> str:
        return f"{self.below}/{place}"

    def of(self, place: str) -> dict[str, bytes]:
        """What readers meet of a volume: what in its place is not somebody else's; nothing without a root."""
        store = WritableStore(self.url(place))
        if not store.exists("zarr.json"):
            return {}
        return {
            key: store.get(key)
            for key in store.keys("")
            if not key.startswith(".seismill/") and f"{place}/{key}" not in self.others
        }

    def jobs(self, place: str, kind: str, variant: int, overwrite: bool) -> Callable[[], Any]:
        url, more = self.url(place), {"overwrite": overwrite, "run": RUN}
        source = self.sources[variant % 2]
        chunks = [[4, 4, 4], [6, 2, 8], [2, 6, 4]][variant % 3]
        match kind:
            case "ingest":
                return lambda: ingest_segy(source, url, master=SMALL, **more)
            case "ingest, wrong checksum":
                return lambda: ingest_segy(source, url, Index(checksums=["00000000"]), SMALL, **more)
            case "images":
                image = Image(voxel_length=[1, 1, 1], voxel_unit="micrometer")
                return lambda: ingest_images(str(self.folder / "image.npy"), url, image, SMALL, **more)
            case "rechunk":
                copies = Copies(presets=[], more=[Copy(name="across", chunks=chunks)], quality="lossless")
                return lambda: rechunk(url, copies, **more)
            case "pyramid":
                return lambda: pyramid(url, Levels(factor=[2 + variant % 2] * 3, levels=2), **more)
            case "copy":
                other = PLACES[(PLACES.index(place) + 1) % len(PLACES)]
                return lambda: copy(self.url(other), url, **more)
            case _:
                return lambda: verify(url, repair="from_master", run=RUN)

    KINDS = st.sampled_from(
        ("ingest", "ingest", "ingest, wrong checksum", "images", "rechunk", "pyramid", "copy", "repair")
    )

    @rule(
        place=st.sampled_from(PLACES),
        kind=KINDS,
        variant=st.integers(0, 5),
        overwrite=st.booleans(),
        end=st.one_of(st.none(), st.none(), st.integers(1, 60)),
        full=st.booleans(),
    )
    def work(self, place: str, kind: str, variant: int, overwrite: bool, end: int | None, full: bool) -> None:
        """Run a verb; let it end, or kill it or fill its disk at a call that changes the store."""
        job, before = self.jobs(place, kind, variant, overwrite), self.of(place)
        code = self.code_of(job, end, OSError if full else Killed)
        after = self.of(place)
        if code in (2, 3, 4) or (code == 5 and place not in self.stopped):
            if place in self.stopped and after != before:
                # The stopped run had committed a root and not put it yet: whoever holds the lock next does that.
                newest = newest_commit(WritableStore(self.url(place)))
                assert newest is not None
                assert after["zarr.json"] == newest.document, (place, kind, code)
                after = after | {"zarr.json": before["zarr.json"]}
            assert after == before, (place, kind, code)
        elif code == 0:
            if after or kind != "repair":
                self.stopped.pop(place, None)
                self.published[place] = after
        elif kind != "repair" and (after != before or place in self.stopped or code == 75):
            self.stopped[place] = job

    def code_of(self, job: Callable[[], Any], end: int | None, error: type[BaseException]) -> int:
        """Run a command; return its exit code, -1 if it was killed."""
        try:
            with killed_at(end or sys.maxsize, error=error):
                job()
        except Outcome as outcome:
            return outcome.exit_code
        except (Killed, OSError):
            return -1
        return 0

    @precondition(lambda self: bool(getattr(self, "stopped", None)))
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Give the command that was stopped again: it completes, or something is in its way; verify is content."""
        place = data.draw(st.sampled_from(sorted(self.stopped)))
        assert self.code_of(self.stopped.pop(place), None, Killed) in (0, 3, 4, 5)
        store = WritableStore(self.url(place))
        if store.exists("zarr.json"):
            assert verify(store.url)["findings"] == []
        self.published[place] = self.of(place)

    @rule(place=st.sampled_from(PLACES), name=st.sampled_from(("envelope", "mine/picks", "pyramid/smooth")))
    def add_array(self, place: str, name: str) -> None:
        """Somebody puts an array of their own into a volume."""
        if f"{place}/{name}/zarr.json" in self.others or not WritableStore(self.url(place)).exists(
            "zarr.json"
        ):
            return
        self._add(f"{place}/{name}/zarr.json", b'{"node_type": "array", "zarr_format": 3}')
        self._add(f"{place}/{name}/c/0/0", b"theirs")

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
        self.others[name] = data

    @rule(above=st.sampled_from(("", "deep")), overwrite=st.booleans())
    def write_over_the_folder(self, above: str, overwrite: bool) -> None:
        """Somebody names the folder of volumes in place of one."""
        store = WritableStore(f"{self.below}/{above}".rstrip("/"))
        if not [name for name in store.children() if name != ".seismill"]:
            return
        with pytest.raises(Outcome):
            ingest_segy(self.sources[0], store.url, master=SMALL, overwrite=overwrite, run=RUN)

    @invariant()
    def nothing_of_others_is_lost(self) -> None:
        for name, data in getattr(self, "others", {}).items():
            assert self.archive.get(name) == data, name

    @invariant()
    def what_was_published_is_as_it_was(self) -> None:
        for place, content in getattr(self, "published", {}).items():
            if place not in self.stopped:
                assert self.of(place) == content, place


class InMemory(Archive):
    """As before, in a store that compares and writes in one step."""

    local = False


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("machine", [Archive, InMemory])
def test_nothing_is_lost_whatever_is_run(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )

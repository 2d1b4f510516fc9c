"""Stores and sources on a local disk and in memory, as far as these differ from others or from S3 (test_s3.py).

Covers store/source.py, store/url.py.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.store.cloud_objects import CloudObjects
from tasks.volume.store.clouds.faults import Transient
from tasks.volume.store.objects import Source, Store, locate
from tasks.volume.store.writable import WritableStore


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return WritableStore(str(tmp_path / "volume"))
    return WritableStore(f"memory://{uuid.uuid4().hex}")


@pytest.mark.parametrize(
    ("url", "protocol", "path"),
    [
        ("/data/a.sgy", "file", "/data/a.sgy"),
        ("file:///data/a.sgy", "file", "/data/a.sgy"),
        ("/data/with space/ü.sgy", "file", "/data/with space/ü.sgy"),
        ("s3://bucket/a/b/", "s3", "bucket/a/b"),
        ("s3a://bucket/a", "s3", "bucket/a"),
        ("gcs://bucket/a", "gs", "bucket/a"),
        ("abfss://container/a", "abfs", "container/a"),
    ],
)
def test_a_url_is_its_protocol_and_path(url: str, protocol: str, path: str) -> None:
    location = locate(url)
    assert (location.protocol, location.path) == (protocol, path)
    assert location.local == (protocol == "file")


@pytest.mark.parametrize(
    ("url", "helps"),
    [
        ("s3://key:XYZ@bucket/a", "identity"),
        ("ftp://host/a.sgy", "s3://, gs:// or az://"),
        ("https://key:XYZ@host/a.sgy", "identity"),
        ("https://host/a.sgy?sig=XYZ", "identity"),
        ("zip::s3://bucket/a.zip", "name the object itself"),
        ("s3://bucket/a?X-Amz-Signature=XYZ", "identity"),
    ],
)
def test_urls_with_secrets_or_of_no_store_are_refused_without_repeating_them(url: str, helps: str) -> None:
    with pytest.raises(InputRefused, match=helps) as refusal:
        locate(url)
    assert "XYZ" not in str(refusal.value)


def test_fewer_bytes_than_asked_for_are_an_error(tmp_path: Path) -> None:
    store = WritableStore(str(tmp_path))
    store.put("a", b"12345")
    with pytest.raises(OSError, match="gave 3 bytes of 4"):
        store.get_range("a", 2, 4)


def test_readers_see_the_old_object_or_the_new_one(store: Store) -> None:
    store.put("a", b"0" * 100_000)
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add(store.get("a"))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(200):
        store.put("a", b"%d" % (number % 10) * 100_000)
    ended.set()
    reader.join()
    assert {len(data) for data in seen} == {100_000}
    assert all(len(set(data)) == 1 for data in seen)


def test_a_writer_killed_half_way_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from tasks.volume.store.writable import WritableStore\n"
        "write = os.write\n"
        "def half(descriptor, data):\n"
        "    write(descriptor, data[: len(data) // 2]); os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.write = half\n"
        "WritableStore(sys.argv[1]).put('a', b'12345678')\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    assert WritableStore(str(tmp_path)).create("a", b"whole")


def test_files_of_killed_writers_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    store = WritableStore(str(tmp_path))
    script = (
        "import os, sys; from tasks.volume.store.writable import WritableStore\n"
        "os.link = lambda a, b: (print(flush=True), sys.stdin.read())\n"
        "WritableStore(sys.argv[1]).create('a', b'12345678')\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as living:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
            for writer in (living, killed):
                assert writer.stdout is not None
                writer.stdout.readline()
            killed.kill()
        assert len(store.keys(".seismill/tmp")) == 2
        store.remove_half_written()
        (left,) = store.keys(".seismill/tmp")
        assert f"-{living.pid}-" in left
        living.kill()
    elsewhere = f".seismill/tmp/0badc0de-{living.pid}-1-{'0' * 32}"
    store.put(elsewhere, b"")
    store.remove_half_written()
    assert store.keys(".seismill/tmp") == [elsewhere], "another machine may still be writing it"
    os.utime(tmp_path / elsewhere, (1, 1))
    store.remove_half_written()
    assert store.keys(".seismill/tmp") == []


def test_whoever_may_not_remove_any_more_removes_no_further_file(tmp_path: Path) -> None:
    store, looks = WritableStore(str(tmp_path)), iter(range(5))
    for number in range(9):
        store.put(f"amplitude/c/{number}", b"old")

    def guard() -> None:
        if next(looks) == 4:
            raise Resumable("another run took over")

    with pytest.raises(Resumable):
        store.delete_many(store.keys("amplitude"), guard=guard)
    assert store.keys("") == [f"amplitude/c/{number}" for number in range(4, 9)]


def test_it_is_looked_every_few_removals_and_before_one_that_comes_late_whether_they_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, keys = WritableStore(f"memory://{uuid.uuid4().hex}/v"), [f"a/{number:02d}" for number in range(40)]
    for key in keys:
        store.put(key, b"")
    looked: list[int] = []
    now, remove = [0.0], CloudObjects._remove

    def late(self: CloudObjects, paths: list[str], before: Callable[[], None] | None = None) -> None:
        remove(self, paths, before)
        now[0] += 600 if paths[0].endswith(keys[19]) else 0

    monkeypatch.setattr(CloudObjects, "_remove", late)
    monkeypatch.setattr("tasks.volume.store.cloud_objects.clock_seconds", lambda: now[0])
    store.delete_many(keys, guard=lambda: looked.append(40 - len(store.keys("a"))))
    assert looked == [0, 16, 20, 32]


@pytest.mark.parametrize("nap", ["before it is sent", "while its turn is awaited", "after a fault"])
def test_a_removal_that_is_sent_late_is_asked_about_again(monkeypatch: pytest.MonkeyPatch, nap: str) -> None:
    store, now, slept, sent = WritableStore(f"memory://{nap}"), [0.0], [], []
    store.put("a/b", b"")
    for module in ("store.calls", "store.cloud_objects"):
        monkeypatch.setattr(f"tasks.volume.{module}.clock_seconds", lambda: now[0])
    (line, cloud), taken = (store._objects._line, store._objects._cloud), [False]
    trying, delete = line._try, cloud.delete

    def sleep() -> None:
        if not slept:
            slept.append(True)
            now[0] += 601

    def one_try(request: Any, *more: Any) -> Any:
        if nap == "while its turn is awaited":
            sleep()
        return trying(request, *more)

    async def sent_to(paths: list[str]) -> None:
        sent.append(paths)
        if nap == "after a fault":
            sleep()
            raise Transient("503")
        await delete(paths)

    def guard() -> None:
        if slept:
            raise Resumable("another run took over")
        taken[0] = True
        if nap == "before it is sent":
            sleep()

    monkeypatch.setattr(line, "_try", one_try)
    monkeypatch.setattr(cloud, "delete", sent_to)
    with pytest.raises(Resumable, match="took over"):
        store.delete_many(["a/b"], guard=guard)
    assert taken == [True]
    assert len(sent) == (nap == "after a fault")
    assert store.exists("a/b")


def test_a_place_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in ("file", "file/volume"):
        store = WritableStore(str(tmp_path / place))
        with pytest.raises(DestinationRefused, match="a folder that does not exist yet"):
            store.children()
        with pytest.raises(DestinationRefused, match="cannot be written"):
            store.probe()


def test_a_source_gives_any_range_and_knows_its_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(100)))
    source = Source(str(tmp_path / "a"))
    assert source.size == 100
    assert source.read(17, 9) == bytes(range(17, 26))
    assert [*source.ranges(40)] == [(0, 40), (40, 40), (80, 20)]
    out = bytearray(5)
    source.read_into(95, memoryview(out))
    assert bytes(out) == bytes(range(95, 100))


def test_reading_past_the_end_of_a_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(
        InputRefused, match="gave 3 bytes of 9 from byte 2: it ends at byte 5, before what its headers"
    ):
        Source(str(tmp_path / "a")).read(2, 9)


@pytest.mark.parametrize(
    ("name", "helps"), [("absent", "there is no file"), ("folder", "is a folder; name one SEG-Y file")]
)
def test_a_source_that_is_no_file_is_refused(tmp_path: Path, name: str, helps: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputRefused, match=helps):
        Source(str(tmp_path / name))


def test_a_file_that_is_replaced_under_the_same_size_and_time_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1" * 8)
    os.utime(path, (5, 5))
    source = Source(str(path))
    assert source.read(0, 8) == b"1" * 8
    for content in (b"2", b"3"):
        (tmp_path / "b").write_bytes(content * 8)
        os.utime(tmp_path / "b", (5, 5))
        os.replace(tmp_path / "b", path)
        assert source.read(0, 8) == content * 8, "as the path has it, not as it was when it was opened"


def test_a_descriptor_on_a_shorter_file_of_before_is_no_short_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345678")
    os.utime(path, (5, 5))
    source = Source(str(path))
    with path.open("r+b") as file:  # what is open is cut, and then the whole file is restored
        file.truncate(3)
    path.unlink()
    path.write_bytes(b"12345678")
    os.utime(path, (5, 5))
    assert source.read(2, 6) == b"345678"


@pytest.mark.slow
def test_threads_that_read_while_the_file_is_replaced_never_get_bytes_of_both(tmp_path: Path) -> None:
    path, size = tmp_path / "a", 1 << 20
    path.write_bytes(b"0" * size)
    os.utime(path, (5, 5))
    source, ended = Source(str(path)), threading.Event()

    def replace() -> None:
        for number in itertools.cycle(b"123456789"):
            if ended.is_set():
                return
            (tmp_path / "b").write_bytes(bytes([number]) * size)
            os.utime(tmp_path / "b", (5, 5))
            os.replace(tmp_path / "b", path)

    def read(_: int) -> int:
        try:
            return len(set(source.read(0, size)))
        except InputRefused:  # replaced faster than it can be read
            return 0

    other = threading.Thread(target=replace)
    other.start()
    with ThreadPoolExecutor(4) as pool:
        kinds = list(pool.map(read, range(200)))
    ended.set()
    other.join()
    assert set(kinds) <= {0, 1}
    assert kinds.count(1) > 20


@pytest.mark.parametrize("change", ["appended", "replaced", "touched"])
def test_a_source_that_changed_is_refused_instead_of_mixed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345678")
    source = Source(str(path))
    assert source.read(0, 4) == b"1234"
    if change == "appended":
        with path.open("ab") as file:
            file.write(b"9")
    elif change == "replaced":
        (tmp_path / "b").write_bytes(b"abcdefgh")
        os.replace(tmp_path / "b", path)
    else:
        os.utime(path, ns=(1, 1))
    with pytest.raises(InputRefused, match=r"changed after the run began.*overwrite"):
        source.read(4, 4)
    with pytest.raises(InputRefused, match="changed after the run began"):
        Source(str(path), identity=source.identity)

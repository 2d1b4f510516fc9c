"""What a store promises of its objects: the same on a local disk, in memory, on S3, Google Cloud Storage and Azure.

Covers store/backend.py, store/cloud_objects.py, store/local.py, store/local_objects.py, store/writable.py.
"""

import os
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.store import local
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.writable import WritableStore

CLOUDS = {"s3": "s3", "gcs": "gs", "azure": "az"}


@pytest.fixture(params=["local", "memory", *CLOUDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return WritableStore(str(tmp_path / "a b" / "survey.zarr"))
    if request.param == "memory":
        return WritableStore(f"memory://{uuid.uuid4().hex}")
    request.getfixturevalue(request.param)
    return WritableStore(f"{CLOUDS[request.param]}://volumes/a b/survey.zarr")


def test_an_object_comes_back_whole_in_part_and_from_its_end(store: Store) -> None:
    data = bytes(range(256)) * 3
    store.put("a/b+c %20", data)
    assert store.get("a/b+c %20") == data
    assert store.get_range("a/b+c %20", 250, 11) == data[250:261]
    assert store.get_tail("a/b+c %20", 7) == data[-7:]
    assert store.get_tail("a/b+c %20", 7000) == data
    with pytest.raises(OSError, match="gave 8 bytes of 9"):
        store.get_range("a/b+c %20", 760, 9)
    with pytest.raises(OSError, match="gave 0 bytes of 1"):
        store.get_range("a/b+c %20", 800, 1)


@pytest.mark.parametrize("data", [b"", b"\r", b"\n", b"\r\n", b"--", bytes(256), b"\r\n--==0==--\r\n" * 3])
def test_every_content_comes_back(store: Store, data: bytes) -> None:
    store.put("a", data)
    assert store.get("a") == data
    assert store.create("b", data)
    assert store.get("b") == data
    assert store.get_tail("b", 3) == data[-3:]


def test_what_is_not_there_is_not_found(store: Store) -> None:
    for work in (store.get, lambda key: store.get_range(key, 0, 1), lambda key: store.get_tail(key, 1)):
        with pytest.raises(FileNotFoundError):
            work("a")
    assert not store.exists("a")
    assert store.keys("") == []
    assert store.children() == []
    store.delete("a")
    store.delete_many(["a", "b"])


def test_an_object_is_created_once_and_put_as_often_as_wanted(store: Store) -> None:
    assert store.create("a", b"first")
    assert not store.create("a", b"second")
    assert not store.create("a", b"first"), "equal bytes of somebody else's are not one's own"
    assert store.get("a") == b"first"
    store.create_or_match("a", b"third")
    assert store.get("a") == b"third"


def test_an_object_is_replaced_only_while_it_is_what_was_seen(store: Store) -> None:
    assert store.identity("a") == ""
    assert store.replace("a", b"first", "")
    seen = store.identity("a")
    assert store.replace("a", b"second", seen)
    assert not store.replace("a", b"late", seen)
    assert not store.replace("a", b"late", "")
    assert not store.replace("b", b"late", seen)
    assert store.get("a") == b"second"
    assert store.keys("") == ["a"]


@pytest.mark.slow
def test_of_many_replacers_at_once_exactly_one_succeeds(store: Store) -> None:
    ready = threading.Barrier(8)

    def work(number: int, seen: str) -> bool:
        ready.wait()
        return store.replace("a", b"%d" % number, seen)

    for _ in range(5):
        store.put("a", b"first")
        seen = store.identity("a")
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(work, range(8), [seen] * 8))
        assert sum(won) == 1
        assert store.get("a") == b"%d" % won.index(True)


def test_who_is_paused_while_it_replaces_holds_up_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ALONE_SECONDS", 0.2)
    store = WritableStore(str(tmp_path))
    store.put("a", b"first")
    with (
        local.alone_in(str(tmp_path), str(tmp_path)),
        pytest.raises(Resumable, match="paused, end it, and run the same"),
    ):
        store.replace("a", b"second", store.identity("a"))
    assert store.replace("a", b"second", store.identity("a"))


@pytest.mark.slow
def test_of_many_creators_at_once_exactly_one_succeeds(store: Store) -> None:
    ready = threading.Barrier(8)

    def work(number: int) -> bool:
        ready.wait()
        return store.create("a", b"%d" % number)

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(work, range(8)))
        assert created.count(True) == 1
        assert store.get("a") == b"%d" % created.index(True)
        store.delete("a")


def test_keys_are_relative_and_sorted_and_neighbours_with_the_same_beginning_are_left_alone(
    store: Store,
) -> None:
    for key in ("a/c/1", "a/c/0", "a/zarr.json", "ab/zarr.json", "b"):
        store.put(key, b"1")
    neighbour = WritableStore(f"{store.url}b")
    neighbour.put("a", b"1")
    assert store.keys("") == ["a/c/0", "a/c/1", "a/zarr.json", "ab/zarr.json", "b"]
    assert store.keys("a") == store.keys("a/") == ["a/c/0", "a/c/1", "a/zarr.json"]
    assert [name for name in store.children() if name != ".seismill"] == ["a", "ab", "b"]
    assert list(store.files()) == ["b"]
    store.delete_many(store.keys("a/"))
    assert store.keys("") == ["ab/zarr.json", "b"]
    assert neighbour.keys("") == ["a"]


@pytest.mark.timeout(20)
def test_only_a_regular_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (*(tmp_path / name for name in ("pipe", "link", "loop", "socket")), Path("/dev/zero")):
            sentence = (
                r"cannot be (used|read) \("
                if path.name == "loop"
                else "no regular file but a pipe, socket or device"
            )
            with pytest.raises(InputRefused, match=sentence):
                Source(str(path))
            for read in (Store.get, lambda s, k: s.get_range(k, 0, 1), lambda s, k: s.get_tail(k, 1)):
                with pytest.raises(InputRefused, match=sentence):
                    read(WritableStore(str(path.parent)), path.name)
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(InputRefused, match="there is no file"):
        Source(str(tmp_path / "file/below"))
    with pytest.raises(FileNotFoundError):
        WritableStore(str(tmp_path / "file")).get("below")
    with pytest.raises(DestinationRefused, match=r"a file lies where .* needs a folder"):
        WritableStore(str(tmp_path)).put("file/below", b"2")
    (tmp_path / "folder/inner").mkdir(parents=True)
    with pytest.raises(DestinationRefused, match=r"needs a file .*; move it away"):
        WritableStore(str(tmp_path)).put("folder", b"2")
    with pytest.raises(DestinationRefused, match=r"a folder lies in the place of .*/folder; move it away"):
        WritableStore(str(tmp_path)).create_or_match("folder", b"2")

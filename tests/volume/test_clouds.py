"""Objects in S3, Google Cloud Storage and Azure: the same promises on each, tried on a server of its kind."""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import fsspec
import google_crc32c
import pytest

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.store import Source, Store, open_upload, traffic


@pytest.fixture
def store(cloud: str) -> Store:
    return Store(f"{cloud}://volumes/a b/survey.zarr")


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
    assert store.files() == {}
    store.delete("a")
    assert store.delete_all("") == 0


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


def test_of_many_replacers_at_once_exactly_one_succeeds(store: Store) -> None:
    store.put("a", b"first")
    seen = store.identity("a")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.replace("a", b"%d" % number, seen), range(8)))
    assert sum(won) == 1
    assert store.get("a") == b"%d" % won.index(True)


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
    neighbour = Store(f"{store.url}b")
    neighbour.put("a", b"1")
    assert store.keys("") == ["a/c/0", "a/c/1", "a/zarr.json", "ab/zarr.json", "b"]
    assert store.keys("a") == store.keys("a/") == ["a/c/0", "a/c/1", "a/zarr.json"]
    assert store.children() == ["a", "ab", "b"]
    assert list(store.files()) == ["b"]
    assert store.delete_all("a/") == 3
    assert store.keys("") == ["ab/zarr.json", "b"]
    assert neighbour.keys("") == ["a"]


def test_a_listing_goes_over_pages(s3: str) -> None:
    store = Store("s3://volumes/many")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"a/{number:04d}", b""), range(1003)))
    before = traffic.requests
    assert store.keys("a") == [f"a/{number:04d}" for number in range(1003)]
    assert traffic.requests - before == 2
    assert store.delete_all("a") == 1003
    assert traffic.requests - before == 6, "two lists and two deletions of up to a thousand"


def test_each_call_is_one_request(store: Store) -> None:
    store.put("a", b"12345")
    before = traffic.requests
    store.get("a")
    store.get_range("a", 1, 2)
    store.create("b", b"1")
    assert store.exists("a")
    assert not store.exists("c")
    store.delete("a")
    assert traffic.requests - before == 6


def test_a_store_without_the_bucket_is_empty_and_cannot_be_written(cloud: str) -> None:
    store = Store(f"{cloud}://nowhere-to-be-seen/a")
    assert not store.exists("a")
    assert store.keys("") == []
    with pytest.raises(DestinationRefused, match="make the bucket or container first"):
        store.probe()


def test_the_probe_passes_where_objects_can_be_created_once(store: Store) -> None:
    store.probe()
    assert store.keys("") == []


def test_a_source_gives_any_range_as_it_was_when_opened(cloud: str) -> None:
    store = Store(f"{cloud}://staging")
    data = bytes(range(100))
    store.put("a.sgy", data)
    source = Source(f"{cloud}://staging/a.sgy")
    assert source.size == 100
    assert source.read(17, 9) == data[17:26]
    assert source.read(99, 0) == b""
    assert source.crc32c == f"{google_crc32c.value(data):08x}"
    out = bytearray(5)
    source.read_into(95, memoryview(out))
    assert bytes(out) == data[95:]
    assert store.files()["a.sgy"] == (100, source.identity)
    with pytest.raises(OSError, match="gave 1 bytes of 2"):
        source.read(99, 2)
    listed = Source(source.url, identity=source.identity, size=100)
    store.put("a.sgy", bytes(100))
    for late in (source, listed):
        with pytest.raises(InputRefused, match=r"changed after the run began.*overwrite"):
            late.read(0, 4)
    with pytest.raises(InputRefused, match="changed after the run began"):
        Source(source.url, identity=source.identity)
    store.delete("a.sgy")
    with pytest.raises(InputRefused, match="changed after the run began"):
        source.read(0, 4)
    with pytest.raises(InputRefused, match="there is no file"):
        Source(source.url)


def test_a_folder_is_no_source(cloud: str) -> None:
    Store(f"{cloud}://staging/folder").put("a.sgy", b"1")
    with pytest.raises(InputRefused, match="is a folder; name one SEG-Y file"):
        Source(f"{cloud}://staging/folder")


PART = 5 << 20  # S3 takes none that is smaller, but for the last


@pytest.mark.parametrize("size", [0, 5, PART, PART + 1, 2 * PART + 77])
def test_an_upload_appears_whole_when_it_is_closed(cloud: str, size: int) -> None:
    store = Store(f"{cloud}://volumes")
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    location = Store(f"{cloud}://volumes/out.sgy").location
    upload = open_upload(location, StorageOptions(), PART)
    for start in range(0, size, 3_000_001):
        upload.write(memoryview(data)[start : start + 3_000_001])
        assert not store.exists("out.sgy")
    upload.close()
    assert store.get("out.sgy") == data
    assert Source(f"{cloud}://volumes/out.sgy").crc32c == f"{google_crc32c.value(data):08x}"


def test_an_upload_that_is_discarded_leaves_nothing(cloud: str) -> None:
    location = Store(f"{cloud}://volumes/out.sgy").location
    upload = open_upload(location, StorageOptions(), PART)
    upload.write(bytes(2 * PART))
    upload.discard()
    assert Store(f"{cloud}://volumes").keys("") == []


def test_a_discarded_upload_is_aborted_on_s3(s3: str) -> None:
    upload = open_upload(Store("s3://volumes/out.sgy").location, StorageOptions(), PART)
    upload.write(bytes(2 * PART))
    pending = functools.partial(fsspec.filesystem("s3").call_s3, "list_multipart_uploads", Bucket="volumes")
    assert [one["Key"] for one in pending()["Uploads"]] == ["out.sgy"]
    upload.discard()
    assert "Uploads" not in pending()

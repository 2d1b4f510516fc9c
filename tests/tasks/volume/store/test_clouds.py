"""Sources, uploads and requests in S3, Google Cloud Storage and Azure, tried on a server of each kind.

Covers clouds/azure.py, clouds/gcs.py, clouds/gcs_session.py, clouds/s3.py, store/upload.py.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import fsspec
import google_crc32c
import pytest

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.store.objects import Source, Store, open_upload, traffic
from tasks.volume.store.writable import WritableStore


@pytest.fixture
def store(cloud: str) -> Store:
    return WritableStore(f"{cloud}://volumes/a b/survey.zarr")


@pytest.mark.slow  # a thousand objects
def test_a_listing_goes_over_pages(s3: str) -> None:
    store = WritableStore("s3://volumes/many")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: store.put(f"a/{number:04d}", b""), range(1003)))
    before = traffic.requests
    assert store.keys("a") == [f"a/{number:04d}" for number in range(1003)]
    assert traffic.requests - before == 2
    store.delete_many(store.keys("a"))
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
    store = WritableStore(f"{cloud}://nowhere-to-be-seen/a")
    assert not store.exists("a")
    assert store.keys("") == []
    with pytest.raises(DestinationRefused, match="make the bucket or container first"):
        store.probe()


def test_the_probe_passes_where_objects_can_be_created_once(store: Store) -> None:
    store.probe()
    assert store.keys("") == []
    assert store.files() == {}


def test_a_source_gives_any_range_as_it_was_when_opened(cloud: str) -> None:
    store = WritableStore(f"{cloud}://staging")
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
    with pytest.raises(InputRefused, match="gave 1 bytes of 2"):
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
    WritableStore(f"{cloud}://staging/folder").put("a.sgy", b"1")
    with pytest.raises(InputRefused, match="is a folder; name one SEG-Y file"):
        Source(f"{cloud}://staging/folder")


PART = 5 << 20  # S3 takes none that is smaller, but for the last


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 5, PART, PART + 1, 2 * PART + 77])
def test_an_upload_appears_whole_when_it_is_closed(cloud: str, size: int) -> None:
    store = WritableStore(f"{cloud}://volumes")
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    location = WritableStore(f"{cloud}://volumes/out.sgy").location
    upload = open_upload(location, StorageOptions(), PART)
    for start in range(0, size, 3_000_001):
        upload.write(memoryview(data)[start : start + 3_000_001])
        assert not store.exists("out.sgy")
    upload.close()
    assert store.get("out.sgy") == data
    assert Source(f"{cloud}://volumes/out.sgy").crc32c == f"{google_crc32c.value(data):08x}"


def test_an_upload_that_is_discarded_leaves_nothing(cloud: str) -> None:
    location = WritableStore(f"{cloud}://volumes/out.sgy").location
    upload = open_upload(location, StorageOptions(), PART)
    upload.write(bytes(2 * PART))
    upload.discard()
    assert WritableStore(f"{cloud}://volumes").keys("") == []


def test_a_discarded_upload_is_aborted_on_s3(s3: str) -> None:
    upload = open_upload(WritableStore("s3://volumes/out.sgy").location, StorageOptions(), PART)
    upload.write(bytes(2 * PART))
    pending = functools.partial(fsspec.filesystem("s3").call_s3, "list_multipart_uploads", Bucket="volumes")
    assert [one["Key"] for one in pending()["Uploads"]] == ["out.sgy"]
    upload.discard()
    assert "Uploads" not in pending()

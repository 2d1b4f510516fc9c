"""Any name can be written in a parameter, and a text that is a name itself means that name."""

import pytest

from flows.allowed import refuse_outside
from tasks.parameters import StorageOptions
from tasks.volume.ingest.named_files import list_files
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.source import Source
from tasks.volume.store.url import as_parameter, exactly, locate, unescaped
from tasks.volume.store.writable import WritableStore

NAMES = [
    "survey, v2.sgy",
    "survey [final].sgy",
    "at@25m.sgy",
    "what?.sgy",
    "all*.sgy",
    "a::b.sgy",
    "50%25 sure, ok.sgy",
    "100%.sgy",
    "a%2Cb.sgy",
    "a#b&c=d+e.sgy",
    "back\\slash.sgy",
    "line\nfeed.sgy",
    "ü\u3042.sgy",
    "deep/at@home/x,y.sgy",
]
EMPTY_PARTS = ["a//b.sgy", "/lead.sgy", "a//,//b.sgy"]
OPTIONS = StorageOptions()


@pytest.mark.parametrize("name", NAMES + EMPTY_PARTS)
def test_the_parameter_of_a_key_means_this_key_alone(name):
    store = WritableStore("memory://names/below")
    store.put(name, name.encode())
    for neighbour in ("survey", "v2.sgy", "survey f.sgy", "allx.sgy", "a,b.sgy", "x", "b.sgy", "a/b.sgy"):
        store.put(neighbour, b"another")
    url = exactly("memory", store.path(name)).url
    (listed,) = list_files(as_parameter(url), OPTIONS)
    assert listed.url == url
    source = Source(listed.url)
    assert source.read(0, source.size) == name.encode()
    store.delete_many(store.keys(""))


@pytest.mark.parametrize("name", [name for name in NAMES if "/" not in name])
def test_the_parameter_of_a_local_file_means_this_file_alone(tmp_path, name):
    for other in ("survey", "v2.sgy", "survey f.sgy", "allx.sgy", "a,b.sgy"):
        (tmp_path / other).write_bytes(b"another")
    (tmp_path / name).write_bytes(b"this")
    (listed,) = list_files(as_parameter(exactly("file", str(tmp_path / name)).url), OPTIONS)
    assert Source(listed.url).read(0, 4) == b"this"


@pytest.mark.parametrize(
    "name", ["survey, v2.sgy", "survey [final].sgy", "all*.sgy", "a%2Cb.sgy", "[1],[2].sgy"]
)
def test_a_text_that_is_the_name_of_an_object_means_that_object(name):
    store = WritableStore("memory://whole-names")
    for key in (name, "survey", "survey f.sgy", "allx.sgy", "a,b.sgy", "1,2.sgy"):
        store.put(key, key.encode())
    (listed,) = list_files(f"memory://whole-names/{name}", OPTIONS)
    assert listed.url == f"memory://whole-names/{name}"


@pytest.mark.parametrize(
    ("folder", "pattern", "names"),
    [
        ("north [2]", "line_*.sgy", ["line_9.sgy", "line_10.sgy"]),
        ("a, b", "line_1[0-9].sgy", ["line_10.sgy"]),
        ("50%", "line_*.sgy", ["line_9.sgy", "line_10.sgy"]),
        ("at@home", "line_9*", ["line_9.sgy"]),
        ("*", "*.sgy", ["line_9.sgy", "line_10.sgy"]),
    ],
)
def test_the_folder_of_a_pattern_is_a_name(tmp_path, folder, pattern, names):
    (tmp_path / folder).mkdir()
    for name in ("line_9.sgy", "line_10.sgy"):
        (tmp_path / folder / name).write_bytes(b"1")
    # A comma separates, so of a folder's name it is encoded.
    written = folder.replace(",", "%2C").replace("@", "%40")
    listed = list_files(f"{tmp_path}/{written}/{pattern}", OPTIONS)
    assert [file.url for file in listed] == [f"{tmp_path}/{folder}/{name}" for name in names]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("s3://b/a%40b.sgy", "b/a@b.sgy"),
        ("s3://b%40c/a%2cb.sgy", "b%40c/a,b.sgy"),  # never the bucket
        ("s3://b/a%2Fb.sgy", None),  # no other folder
        ("s3://b/a/%2E%2E/b.sgy", None),
        ("s3://b/%FF.sgy", None),  # no UTF-8
        ("s3://b/100%.sgy", None),
        ("/data/a%20b.sgy", "/data/a b.sgy"),
    ],
)
def test_percent_encoding_is_of_names_alone(text, path):
    decoded = unescaped(locate(text))
    assert (decoded and decoded.path) == path


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("s3://b/in/at%40x.sgy", "s3://b/in"),
        ("s3://b/in/a, b.sgy", "s3://b/in, b.sgy"),
    ],
)
def test_an_encoded_name_may_be_read_under_an_allowed_prefix(url, allowed):
    refuse_outside([url], allowed)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("s3://b/a%40b/x.sgy", "s3://b/a%40b"),  # decoded it lies elsewhere
        ("s3://b/in, b.sgy", "s3://b/in, ."),  # as one name, too
        ("s3://b/n%6Frth/x.sgy", "s3://b/north"),
        ("s3://b%2Fin/x.sgy", "s3://b/in"),
        ("s3://b/in/%2E%2E/x.sgy", "s3://b/other"),
    ],
)
def test_an_encoded_name_leads_nowhere_else(url, allowed):
    with pytest.raises(InputRefused, match="outside of what this worker may touch"):
        refuse_outside([url], allowed)


@pytest.mark.parametrize("url", ["s3://", "gs:///", "az://", "https://"])
def test_a_store_without_a_bucket_is_refused(url):
    with pytest.raises(InputRefused, match=r"names nothing in the store; write \w+://bucket/name$"):
        locate(url)

"""Many stored objects in little memory: what goes in comes out, sorted, and is found again."""

import pickle
import random

import numpy as np
import pytest

from tasks.volume.protocol.deletion import Shown, strays_among
from tasks.volume.protocol.stored import AT_ONCE, Stored, StoredObjects

SOME = [
    Stored("a/c/10/2", 5, 0xFFFFFFFF, 0),
    Stored("a/c/1/2", 0, 0, 4096),
    Stored("a/zarr.json", 7, 1),
    Stored("a/c", 1 << 40, 2, 0),
    Stored("a/c0/zarr.json", 8, 3),
    Stored("über/c/0", 9, 4, 1),
    Stored("a/b/c/0", 3, 5),
]


def test_objects_come_out_as_they_went_in_sorted_by_key() -> None:
    objects = StoredObjects.of(iter(SOME))
    assert list(objects) == sorted(SOME, key=lambda stored: stored.key)
    assert [objects[n] for n in range(len(objects))] == list(objects)
    assert list(objects[2:4]) == list(objects)[2:4]
    assert objects.total_bytes == sum(stored.bytes for stored in SOME)
    assert list(pickle.loads(pickle.dumps(objects))) == list(objects)


def test_parts_are_joined_in_the_order_of_all_keys() -> None:
    parts = [StoredObjects.of(SOME[:2]), StoredObjects.of(()), StoredObjects.of(SOME[2:])]
    assert list(StoredObjects.joined(parts)) == list(StoredObjects.of(SOME))
    assert len(StoredObjects.joined([])) == 0
    assert StoredObjects.joined([]).total_bytes == 0


@pytest.mark.parametrize(
    ("path", "keys"),
    [("a", ["a/c/1/2", "a/c/10/2"]), ("a/b", ["a/b/c/0"]), ("über", ["über/c/0"]), ("b", []), ("a/c", [])],
)
def test_an_array_has_its_own_chunks_and_none_of_its_neighbours(path: str, keys: list[str]) -> None:
    assert [stored.key for stored in StoredObjects.of(SOME).of_array(path)] == keys


def test_keys_are_found_whatever_their_lengths() -> None:
    objects = StoredObjects.of(SOME)
    asked = ["", "a", "a/c/1/2", "a/c/1/22", "zz" * 300, "über/c/0", "a/c/10/2", "a/c/10"]
    at = objects.find(asked).tolist()
    assert [objects[n].key if n >= 0 else None for n in at] == [
        key if key in {stored.key for stored in SOME} else None for key in asked
    ]
    assert StoredObjects.of(()).find(["a"]).tolist() == [-1]
    assert objects.find([]).tolist() == []


def test_a_hundred_thousand_take_60_bytes_each() -> None:
    many = [Stored(f"amplitude/c/{n // 97}/{n % 97}/0", n, n * 7 % (1 << 32), 0) for n in range(100_000)]
    random.Random(1).shuffle(many)
    objects = StoredObjects.of(many)
    assert objects.keys.nbytes + objects.numbers.nbytes < 60 * len(many)
    assert list(objects) == sorted(many, key=lambda stored: stored.key)


def test_a_listing_tells_strays_and_what_is_missing() -> None:
    whole = [Stored(f"a/c/{n}", 1, 1, 0) for n in range(3 * AT_ONCE)]
    shown = {"a": Shown.before(1, StoredObjects.of(whole)), "b": Shown.before(2, StoredObjects.of(()))}
    gone = {"a/c/0", f"a/c/{2 * AT_ONCE}"}
    others = ["a/notes.txt", "a/c/1/1", "other/c/0", "a/zarr.json", "b/c/1"]  # somebody's, or documents
    listed = [stored.key for stored in whole if stored.key not in gone] + ["a/c/99999", "b/c/1/1", *others]
    random.Random(2).shuffle(listed)
    assert sorted(strays_among(iter(listed), shown)) == ["a/c/99999", "b/c/1/1"]
    lacking = shown["a"].objects.keys[~shown["a"].seen]
    assert np.char.decode(lacking, "utf-8").tolist() == sorted(gone)

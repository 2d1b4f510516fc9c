"""Plans: equal for equal content, stored once, and resumed by the libraries that began them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.plan import digest_of, load_plan, plan_at, settle_plan, time_stamp, versions
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

STAMP = "2026-01-01T00:00:00+00:00"
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=9,
)
bodies = st.dictionaries(st.text(), plain, max_size=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return WritableStore(str(tmp_path / "volume"))


def changed_versions(store: Store, digest: str, **other: str) -> None:
    """Make a stored plan look as if other libraries had begun it."""
    key = f".seismill/runs/{digest}/plan.json"
    document = json.loads(store.get(key))
    document["versions"] |= other
    store.put(key, json.dumps(document).encode())


@pytest.mark.slow
@settings(deadline=None)
@given(bodies)
def test_a_digest_does_not_depend_on_the_order_of_keys_and_survives_json(body: dict) -> None:
    backwards = dict(reversed(body.items()))
    assert digest_of(body) == digest_of(backwards) == digest_of(json.loads(json.dumps(body)))


@pytest.mark.slow
@settings(deadline=None)
@given(bodies, bodies)
def test_digests_of_different_bodies_differ(one: dict, other: dict) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest_of(one) == digest_of(other)) == same


def test_a_plan_is_stored_once_and_keeps_the_stamp_of_whoever_was_first(store: Store) -> None:
    body = {"verb": "test", "shape": (9, 5)}
    plan, found = settle_plan(store, body, created_on=STAMP, accept_versions=False)
    assert not found
    again, found = settle_plan(store, {"shape": [9, 5], "verb": "test"}, created_on="", accept_versions=False)
    assert found
    assert (again.digest, again.created_on) == (plan.digest, STAMP)
    assert again.body == {"verb": "test", "shape": [9, 5]} == load_plan(store, plan.digest).body


def test_of_many_that_settle_a_plan_at_once_one_creates_it(store: Store) -> None:
    stamps = [f"2026-01-01T00:00:{second:02d}+00:00" for second in range(16)]

    def work(stamp: str) -> tuple[str, bool]:
        plan, found = settle_plan(store, {"verb": "test"}, created_on=stamp, accept_versions=False)
        return plan.created_on, found

    with ThreadPoolExecutor(16) as pool:
        plans = list(pool.map(work, stamps))
    assert [found for _, found in plans].count(False) == 1
    assert len({stamp for stamp, _ in plans}) == 1


def test_another_library_version_goes_on_only_if_that_is_accepted(store: Store) -> None:
    plan, _ = settle_plan(store, {"verb": "test"}, created_on="", accept_versions=False)
    changed_versions(store, plan.digest, zarr="2.18.0")
    with pytest.raises(DestinationRefused, match=r"begun with zarr 2\.18\.0 \(here .*accept_versions"):
        settle_plan(store, {"verb": "test"}, created_on="", accept_versions=False)
    _, found = settle_plan(store, {"verb": "test"}, created_on="", accept_versions=True)
    assert found


def test_a_worker_with_other_library_versions_refuses(store: Store) -> None:
    plan, _ = settle_plan(store, {"verb": "test"}, created_on="", accept_versions=False)
    changed_versions(store, plan.digest, numba="0.1")
    with pytest.raises(DestinationRefused, match="give all workers the same image"):
        plan_at(store.url, store.options, plan.digest, False)
    _, loaded = plan_at(store.url, store.options, plan.digest, True)
    assert loaded.versions["numba"] == "0.1"


def test_versions_name_what_stored_bytes_depend_on() -> None:
    assert set(versions()) == {"seismill", "zarr", "numcodecs", "zfpy", "numba", "numpy"}


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00+00:00"]
)
def test_a_time_stamp_without_a_zone_or_a_sense_is_refused(text: str) -> None:
    with pytest.raises(InputRefused, match=r"write 2026-01-01T00:00:00\+00:00"):
        time_stamp(text)


def test_a_time_stamp_is_kept_and_made_when_missing() -> None:
    assert time_stamp(STAMP) == STAMP
    assert time_stamp("") > STAMP

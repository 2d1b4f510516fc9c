"""The root: made visible by one commit after the other, whoever is interrupted where.

Covers protocol/commits.py.
"""

from pathlib import Path

import pytest

from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.protocol.commits import COMMITS, newest_commit
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.root import commit, current_root, root_under_lock
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return WritableStore(str(tmp_path / "volume"))


def root_of(name: str) -> Root:
    """A root whose name tells it from others."""
    return Root.new({"name": name})


def name_in(root: Root | None) -> str:
    assert root is not None
    return str(root.attributes["name"])


def number_of_commits(store: Store) -> int:
    newest = newest_commit(store)
    return newest.number if newest else 0


def test_there_is_no_root_before_the_first_commit_and_then_the_committed_one(store: Store) -> None:
    with locked(store, wait_seconds=0) as epoch:
        assert current_root(store) is None
        root = root_of("first").with_members({"b": {"node_type": "array"}, "a": {"node_type": "group"}})
        commit(store, epoch, root)
        assert (committed := current_root(store)) == root
        assert list(committed.members) == ["a", "b"], "the same content is the same text"
        commit(store, epoch, root_of("second"))
        assert name_in(current_root(store)) == "second"
        assert number_of_commits(store) == 2


@pytest.mark.parametrize("state", ["absent", "older"])
def test_a_commit_that_was_interrupted_before_its_put_is_finished_by_the_next_holder(
    store: Store, state: str
) -> None:
    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, root_of("first"))
        older = store.get("zarr.json")
        commit(store, epoch, root_of("second"))
        newer = store.get("zarr.json")
    if state == "absent":
        store.delete("zarr.json")
    else:
        store.put("zarr.json", older)
    with locked(store, wait_seconds=0):
        assert name_in(current_root(store)) == "second"
    assert store.get("zarr.json") == newer


def test_an_unpublished_volume_has_no_root_even_if_its_removal_was_interrupted(store: Store) -> None:
    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, root_of("first"))
        before = store.get("zarr.json")
        commit(store, epoch, None)
        assert not store.exists("zarr.json")
        store.put("zarr.json", before)
        assert current_root(store) is None
        assert not store.exists("zarr.json")
        commit(store, epoch, root_of("second"))
        assert name_in(current_root(store)) == "second"


def test_a_group_of_somebody_else_is_refused_and_left_as_it_is(store: Store) -> None:
    store.put("zarr.json", b"{}")
    with pytest.raises(DestinationRefused, match=r"did not write; choose another volume"):
        current_root(store)
    assert store.get("zarr.json") == b"{}"


def test_who_lost_the_volume_cannot_commit(store: Store) -> None:
    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, root_of("first"))
    with locked(store, wait_seconds=0) as next_epoch:
        with pytest.raises(Resumable, match="took over"):
            commit(store, epoch, root_of("late"))
        assert name_in(current_root(store)) == "first"
        commit(store, next_epoch, root_of("second"))
    assert number_of_commits(store) == 2


@pytest.mark.parametrize("call", ["keys", "exists", "create"])
def test_who_falls_asleep_in_the_middle_of_a_commit_and_loses_the_volume_changes_nothing(
    store: Store, call: str
) -> None:
    """Whatever call the sleeper is in when it falls asleep, the new owner's root is there at the end."""

    class Sleeper(WritableStore):
        def _sleep(self, name: str) -> None:
            if name != call:
                return
            self._sleep = lambda name: None  # type: ignore[method-assign]
            with locked(store, wait_seconds=0) as next_epoch:
                current_root(store)
                commit(store, next_epoch, root_of("owner"))

        def keys(self, prefix: str) -> list[str]:
            self._sleep("keys")
            return super().keys(prefix)

        def exists(self, key: str) -> bool:
            self._sleep("exists")
            return super().exists(key)

        def create(self, key: str, data: bytes) -> bool:
            self._sleep("create")
            return super().create(key, data)

    with locked(store, wait_seconds=0) as epoch:
        commit(store, epoch, root_of("first"))
    # The lock was released, so that the next one is had at once: to the sleeper it looks as after the lease.
    with pytest.raises(Resumable):
        commit(Sleeper(store.url), epoch, root_of("late"))
    assert name_in(current_root(store)) == "owner"
    assert b"late" not in store.get("zarr.json")


def test_numbers_of_commits_stay_taken(store: Store) -> None:
    with locked(store, wait_seconds=0) as epoch:
        for name in ("first", "second", "third"):
            commit(store, epoch, root_of(name))
    assert store.keys(COMMITS) == [f"{COMMITS}/{number:08d}" for number in (1, 2, 3)]


def test_a_volume_whose_master_was_replaced_since_it_was_looked_at_is_not_worked_on(store: Store) -> None:
    def volume_root(plan: str) -> Root:
        state = {"format": 1, "writer": "", "created_on": "", "levels": [], "sources": []}
        state["stages"] = {"amplitude": {"plan": plan, "request": plan}}
        root = Root.new({"attributes": {"defaultVariableName": "amplitude"}, "seismill": state})
        return root.with_members({"amplitude": {"node_type": "array"}})

    with locked(store, wait_seconds=0) as epoch:
        with pytest.raises(InputRefused, match="removed meanwhile; publish it again"):
            root_under_lock(store, volume_root("first"))
        commit(store, epoch, volume_root("first"))
        assert root_under_lock(store, volume_root("first")) == volume_root("first")
        commit(store, epoch, volume_root("second"))
        with pytest.raises(Resumable, match="replaced meanwhile; run this again"):
            root_under_lock(store, volume_root("first"))

"""Commits, locks and the root, each told from the others and put back where something shows what it was."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Run
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.protocol.commits import newest_commit
from tasks.volume.protocol.deletion import take_away
from tasks.volume.protocol.lock import highest, locked
from tasks.volume.protocol.root import current_root
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey

DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "emptied": lambda file: file.write_bytes(b""),
    "cut in its first line": lambda file: file.write_bytes(file.read_bytes()[:11]),
    "cut in its root": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "appended to": lambda file: file.write_bytes(file.read_bytes() + b"\n"),
    "a bit flipped": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "zeros": lambda file: file.write_bytes(bytes(len(file.read_bytes()))),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume of one commit."""
    folder = tmp_path_factory.mktemp("whole")
    survey = make_survey(folder / "a.sgy", inlines=range(5), crosslines=range(4), n_samples=20)
    ingest_segy(str(survey.path), str(folder / "a.zarr"))
    return folder / "a.zarr"


@pytest.fixture(params=["one commit", "two commits"])
def volume(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> Path:
    """A volume of one or two commits."""
    shutil.copytree(whole, tmp_path / "a.zarr")
    if request.param == "two commits":
        rechunk(str(tmp_path / "a.zarr"), Copies(presets=["fast_inline"]))
    return tmp_path / "a.zarr"


def commit_file(volume: Path) -> Path:
    return max((volume / ".seismill/commits").iterdir())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_commit_is_named_and_put_back_from_the_root(volume: Path, damage: str) -> None:
    root, file = (volume / "zarr.json").read_bytes(), commit_file(volume)
    DAMAGES[damage](file)
    with pytest.raises(
        IntegrityFailure, match=rf"1 of \d+ objects .* wrong: \.seismill/commits/{file.name}: is "
    ):
        verify(str(volume))
    if damage != "a bit flipped" and not file.exists():
        with pytest.raises(IntegrityFailure, match=r"seismill verify --repair from_master"):
            rechunk(str(volume), Copies(presets=["fast_time"]))
    assert verify(str(volume), repair="from_master")["repaired"] == [f".seismill/commits/{file.name}"]
    assert (volume / "zarr.json").read_bytes() == root
    newest = newest_commit(WritableStore(str(volume)))
    assert newest
    assert newest.whole
    assert newest.document == root
    assert verify(str(volume))["findings"] == []
    rechunk(str(volume), Copies(presets=["fast_time"]))
    assert verify(str(volume))["findings"] == []


@pytest.mark.timeout(60)
def test_the_commit_of_another_volume_never_becomes_the_root(volume: Path, tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "b.sgy", inlines=range(6), crosslines=range(3), n_samples=21)
    ingest_segy(str(survey.path), str(tmp_path / "b.zarr"))
    root, file = (volume / "zarr.json").read_bytes(), commit_file(volume)
    shutil.copy(commit_file(tmp_path / "b.zarr"), file)
    with pytest.raises(
        IntegrityFailure, match=rf"commits/{file.name}: is (the commit of another|not as it was)"
    ):
        verify(str(volume))
    with pytest.raises(
        IntegrityFailure, match=r"not as it was written; run seismill verify --repair from_master"
    ):
        rechunk(str(volume), Copies(presets=["fast_time"]))
    assert (volume / "zarr.json").read_bytes() == root
    verify(str(volume), repair="from_master")
    assert (volume / "zarr.json").read_bytes() == root
    assert verify(str(volume))["findings"] == []


@pytest.mark.timeout(60)
def test_a_root_that_differs_from_what_was_stored_does_not_make_the_commit_again(volume: Path) -> None:
    commit_file(volume).unlink()
    root = volume / "zarr.json"
    root.write_bytes(root.read_bytes().replace(b'"chunk_shape"', b'"chunk_shap3"', 1))
    before = root.read_bytes()
    for repair in ("no", "from_master"):
        with pytest.raises(
            IntegrityFailure, match=r"neither .*zarr.json nor .*commits/\d+ is as it was written"
        ):
            verify(str(volume), repair=repair)  # type: ignore[arg-type]
    assert root.read_bytes() == before


@pytest.mark.timeout(60)
def test_all_commits_lost_are_told_from_a_group_of_another_tool(volume: Path) -> None:
    root = (volume / "zarr.json").read_bytes()
    shutil.rmtree(volume / ".seismill/commits")
    with pytest.raises(IntegrityFailure, match=r"commits/00000001: is missing"):
        verify(str(volume))
    with pytest.raises(
        IntegrityFailure, match=r"the commits of .* are missing; run seismill verify --repair"
    ):
        rechunk(str(volume), Copies(presets=["fast_time"]))
    verify(str(volume), repair="from_master")
    assert (volume / "zarr.json").read_bytes() == root
    rechunk(str(volume), Copies(presets=["fast_time"]))
    assert verify(str(volume))["findings"] == []


@pytest.mark.timeout(60)
def test_a_volume_that_was_taken_away_is_gone_also_if_the_commit_that_says_so_is_lost(
    whole: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "a.zarr"
    shutil.copytree(whole, volume)
    store = WritableStore(str(volume))
    with locked(store, wait_seconds=0) as epoch:
        root = current_root(store)
        assert root
        take_away(store, epoch, root, None)
    commit_file(volume).unlink(missing_ok=True)
    with pytest.raises(InputRefused, match="there is no published volume"):
        verify(str(volume))
    ingest_segy(str(whole.parent / "a.sgy"), str(volume))
    assert verify(str(volume))["findings"] == []


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_lock_holds_nobody_up_for_ever(whole: Path, tmp_path: Path, damage: str) -> None:
    volume = tmp_path / "a.zarr"
    shutil.copytree(whole, volume)
    store = WritableStore(str(volume))
    key = f".seismill/lock/{highest(store):08d}"
    DAMAGES[damage](volume / key)
    if damage == "missing":  # nothing else tells that it was there
        assert verify(str(volume))["findings"] == []
    else:
        with pytest.raises(IntegrityFailure, match=f"1 of .* is wrong: {key}: is not as it was written"):
            verify(str(volume))
    began = highest(store)
    try:
        rechunk(str(volume), Copies(presets=["fast_time"]), run=Run(lock_wait=0.5))
    except Exception as refusal:
        assert "whose lock is damaged" in str(refusal)  # noqa: PT017  # a sentence, within the wait
    else:
        assert highest(store) > began


@pytest.mark.timeout(60)
def test_what_is_no_lock_and_no_commit_is_passed_over(volume: Path) -> None:
    for folder in ("lock", "commits"):
        (volume / f".seismill/{folder}/README").write_text("not ours")
        (volume / f".seismill/{folder}/999999999").write_text("not ours")
    assert verify(str(volume))["findings"] == []
    rechunk(str(volume), Copies(presets=["fast_time"]))
    assert info(str(volume))["volume"] == str(volume)


@pytest.mark.timeout(60)
def test_a_number_that_no_run_gave_is_named_at_once(volume: Path) -> None:
    """All numbers below it would be looked at, one by one."""
    for folder in ("lock", "commits"):
        newest = max((volume / f".seismill/{folder}").iterdir())
        shutil.copy(newest, newest.with_name("99999999"))
    with pytest.raises(
        IntegrityFailure, match=r"lock/99999999: has a number that no run gave it: 99,999,99\d"
    ):
        verify(str(volume))
    before = {path: path.read_bytes() for path in (volume / ".seismill/commits").iterdir()}
    with pytest.raises(IntegrityFailure, match=r"^2 of .*commits/99999999.*lock/99999999.*move it away$"):
        verify(str(volume), repair="from_master")
    assert before == {path: path.read_bytes() for path in (volume / ".seismill/commits").iterdir()}
    for folder in ("lock", "commits"):
        (volume / f".seismill/{folder}/99999999").unlink()
    assert verify(str(volume))["findings"] == []


def test_manifests_that_changed_places_are_both_put_back(volume: Path) -> None:
    places = [volume / f".seismill/manifests/{name}.jsonl" for name in ("amplitude", "inline")]
    first, second = (place.read_bytes() for place in places)
    places[0].write_bytes(second)
    places[1].write_bytes(first)
    assert verify(str(volume), repair="from_master")["findings"] == []
    assert [place.read_bytes() for place in places] == [first, second]


def test_a_chunk_whose_plan_is_lost_is_named_as_lost(volume: Path) -> None:
    """Nothing tells how the master was made of its source."""
    for plan in volume.glob(".seismill/runs/*/plan.json*"):
        plan.unlink()
    (volume / "amplitude/c/0/0/0").unlink()
    with pytest.raises(IntegrityFailure, match=r"amplitude/c/0/0/0 .*is missing; .*plan\.json: is missing"):
        verify(str(volume), repair="from_source")


@pytest.mark.timeout(60)
def test_a_folder_in_the_place_of_a_lock_is_named(volume: Path) -> None:
    (volume / f".seismill/lock/{highest(WritableStore(str(volume))) + 1:08d}").mkdir()
    with pytest.raises(Exception, match=r"/lock/0000000\d is not a lock of Seismill; move it"):
        rechunk(str(volume), Copies(presets=["fast_time"]))

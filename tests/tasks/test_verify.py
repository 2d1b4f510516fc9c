"""Verification: every kind of damage is found and named, and nothing is said of what is whole.

Covers integrity/check.py, integrity/entries.py, protocol/manifest.py.
"""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image, Levels, Master
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.arrays.codecs import crc32c, decode_chunk, encode_chunk
from tasks.volume.arrays.spec import spec_of
from tasks.volume.blocks import Progress
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.deletion import take_away
from tasks.volume.protocol.lock import locked
from tasks.volume.protocol.manifest import listed_in, manifest_bytes, manifest_key
from tasks.volume.protocol.root import current_root
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore
from tests.support.survey import make_survey
from tests.support.volumes import threads


@pytest.fixture(params=["chunks", "shards"])
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A volume of every kind of array."""
    survey = make_survey(
        tmp_path / "a.sgy",
        inlines=range(23),
        crosslines=range(17),
        n_samples=29,
        drop=50,
        set_words={(3, 4): 1},
    )
    shards = [16, 10, 35] if request.param == "shards" else []
    ingest_segy(str(survey.path), str(tmp_path / "a.zarr"), master=Master(chunks=[8, 5, 7], shards=shards))
    rechunk(str(tmp_path / "a.zarr"), Copies(presets=["fast_inline", "fast_time"]))
    pyramid(str(tmp_path / "a.zarr"), Levels(levels=2, until=1))
    return tmp_path / "a.zarr"


def failure(volume: Path, **how: object) -> IntegrityFailure:
    with pytest.raises(IntegrityFailure) as failed:
        verify(str(volume), **how)  # type: ignore[arg-type]
    assert failed.value.exit_code == 5
    assert "\n" not in str(failed.value)
    return failed.value


def test_what_is_whole_passes_and_every_object_was_looked_at(volume: Path) -> None:
    summary = verify(str(volume), errors=True)
    assert summary["findings"] == []
    group = zarr.open_group(volume, mode="r")
    paths = [name for name, _ in group.members(max_depth=None)]
    arrays = [path for path in paths if isinstance(group[path], zarr.Array)]
    chunks = [
        path for path in volume.rglob("*") if path.is_file() and "c" in path.relative_to(volume).parts[:-1]
    ]
    groups = len(paths) - len(arrays) + 1  # and .seismill
    notes = len(list(volume.glob(".seismill/runs/*/*")))  # of which there is a twin each
    assert summary["objects"] == summary["checked"] == len(arrays) + len(chunks) + groups + notes


def test_any_flipped_bit_is_found_and_named(volume: Path) -> None:
    drawn = random.Random(3)
    every = [
        path for path in volume.rglob("*") if path.is_file() and "c" in path.relative_to(volume).parts[:-1]
    ]
    for path in drawn.sample(every, 12):
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[drawn.randrange(len(damaged))] ^= 1 << drawn.randrange(8)
        path.write_bytes(damaged)
        error = failure(volume)
        (finding,) = error.summary["findings"]  # type: ignore[attr-defined]
        assert finding["key"] == str(path.relative_to(volume))
        assert finding["problem"] == "has other bytes than were written"
        path.write_bytes(whole)
    assert verify(str(volume))["findings"] == []


@pytest.mark.parametrize("damage", ["missing", "longer", "truncated"])
def test_objects_that_are_missing_or_of_another_size_are_named_with_their_samples(
    volume: Path, damage: str
) -> None:
    path = volume / "fast_time/c/0/0/1"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole + b"x" if damage == "longer" else whole[:-1])
    error = failure(volume)
    (finding,) = error.summary["findings"]  # type: ignore[attr-defined]
    assert finding["array"] == "fast_time"
    assert finding["region"] == "inline 0 to 22, crossline 0 to 16, time 16 to 28"
    problems = (
        "is missing" if damage == "missing" else f"has {path.stat().st_size} bytes, {len(whole)} were written"
    )
    assert finding["problem"] == problems
    assert f"fast_time/c/0/0/1 (inline 0 to 22, crossline 0 to 16, time 16 to 28): {problems}" in str(error)


def test_changed_metadata_is_found(volume: Path) -> None:
    path = volume / "fast_inline/zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["max_abs_error"] = 0.0
    path.write_text(json.dumps(metadata))
    (finding,) = failure(volume).summary["findings"]  # type: ignore[attr-defined]
    assert finding["key"] == "fast_inline/zarr.json"


def test_a_missing_manifest_is_found(volume: Path) -> None:
    (volume / ".seismill/manifests/pyramid/1/amplitude.jsonl").unlink()
    (finding,) = failure(volume).summary["findings"]  # type: ignore[attr-defined]
    assert finding["problem"] == "the manifest is missing"
    assert finding["array"] == "pyramid/1/amplitude"


def test_many_findings_are_counted_and_the_first_are_named(volume: Path) -> None:
    for path in (volume / "fast_time/c").rglob("*"):
        if path.is_file():
            path.unlink()
    error = failure(volume)
    assert len(error.summary["findings"]) == 8  # type: ignore[attr-defined]
    assert "8 of" in str(error)
    assert str(error).endswith("and 3 more; say --repair from_master")


def test_the_sentence_names_what_restores_the_object(volume: Path) -> None:
    for key, tried, flags in (
        ("amplitude/c/0/0/0", "no", "--repair from_source"),
        ("amplitude/zarr.json", "no", "--repair from_master"),
        ("fast_time/c/0/0/1", "no", "--repair from_master"),
        ("amplitude/c/0/0/0", "from_master", "--repair from_source"),
        ("amplitude/c/0/0/999", "no", "--repair from_master"),  # which no manifest lists
    ):
        path = volume / key
        whole = path.read_bytes() if path.exists() else b"stray"
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityFailure) as failed:
            verify(str(volume), repair=tried)  # type: ignore[arg-type]
        assert failed.value.flags == flags
        assert verify(str(volume), repair=flags.split()[1])["repaired"] == [key]  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_fraction_looks_at_so_many_objects_drawn_by_the_seed(volume: Path) -> None:
    whole = verify(str(volume))
    tenth = verify(str(volume), fraction=0.1)
    assert tenth["objects"] == whole["objects"]
    assert tenth["checked"] == -(-whole["objects"] // 10)
    (volume / "fast_time/c/0/0/1").unlink()
    found = []
    for seed in range(60):
        try:
            verify(str(volume), fraction=0.1, seed=seed)
        except IntegrityFailure:
            found.append(seed)
    assert 0 < len(found) < 60, "some seeds draw the object, most do not"


def replace_chunk(volume: Path, array: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Put other samples under a valid checksum and a manifest that lists them: a bug of ours, not of a disk."""
    spec = spec_of(array, json.loads((volume / array / "zarr.json").read_text()))
    path = next(path for path in sorted((volume / array / "c").rglob("*")) if path.is_file())
    data = encode_chunk(spec, np.ascontiguousarray(change(decode_chunk(spec, path.read_bytes()))))
    path.write_bytes(data)
    manifest, key = volume / manifest_key(array), str(path.relative_to(volume))
    listed = listed_in(array, manifest.read_bytes())
    assert listed
    others = [stored for stored in listed if stored.key != key]
    manifest.write_bytes(manifest_bytes(array, [*others, Stored(key, len(data), crc32c(data))]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("array", "problem"),
    [
        ("fast_inline", r"fast_inline .*is off by [\d.]+, its tolerance is"),
        ("pyramid/1/amplitude", r"pyramid/1/amplitude .*is not the mean of amplitude"),
        ("raw_headers", r"does not give back bytes 0 to"),
    ],
)
def test_promises_that_do_not_hold_are_found_with_errors_only(volume: Path, array: str, problem: str) -> None:
    if array == "raw_headers":
        replace_chunk(volume, array, lambda old: np.zeros_like(old))
    else:
        replace_chunk(volume, array, lambda old: old + np.float32(1000))
    assert verify(str(volume))["findings"] == []
    with pytest.raises(IntegrityFailure, match=problem):
        verify(str(volume), errors=True)


@pytest.mark.parametrize("shards", [[], [4, 4, 16], [4, 4, 8]])
def test_objects_of_equal_size_that_changed_places_are_found_and_put_back(
    tmp_path: Path, shards: list[int]
) -> None:
    values = np.random.default_rng(5).integers(0, 1 << 16, (8, 8, 16), np.uint16)  # nothing to compress
    np.save(tmp_path / "a.npy", values)
    volume = tmp_path / "a.zarr"
    image = Image(voxel_length=[1, 1, 1], field_name="noise")
    ingest_images(str(tmp_path / "a.npy"), str(volume), image, Master(chunks=[4, 4, 8], shards=shards))
    copy(str(volume), str(tmp_path / "b.zarr"))
    first, second = (volume / f"noise/c/0/{place}/0" for place in (0, 1))
    whole = first.read_bytes(), second.read_bytes()
    assert len(whole[0]) == len(whole[1])
    assert crc32c(whole[0]) == crc32c(whole[1]), "which is why a manifest goes by more than that"
    first.write_bytes(whole[1])
    second.write_bytes(whole[0])
    with pytest.raises(IntegrityFailure, match="noise/c/0/0/0") as failure:
        verify(str(volume))
    assert [f["key"] for f in failure.value.summary["findings"]] == ["noise/c/0/0/0", "noise/c/0/1/0"]
    with pytest.raises(IntegrityFailure, match=r"noise/c/0/0/0 is not as it was written"):
        copy(str(volume), str(tmp_path / "c.zarr"))
    assert len(verify(str(volume), repair="from_source")["repaired"]) == 2
    assert (first.read_bytes(), second.read_bytes()) == whole
    assert verify(str(tmp_path / "b.zarr"))["findings"] == []


def test_where_there_is_no_volume_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="publish one there first"):
        verify(str(tmp_path / "none.zarr"))


def test_a_verification_that_was_stopped_does_not_say_that_all_is_well(volume: Path) -> None:
    with threads() as compute:
        compute.stopping.set()
        with pytest.raises(Resumable, match=r"stopped after 0 of \d+ objects .*; verify it again") as stop:
            verify(str(volume), compute=compute)
    assert stop.value.exit_code == 75


def test_with_little_memory_objects_come_one_by_one_and_the_findings_are_the_same(volume: Path) -> None:
    with threads(2, 60_000) as compute:
        assert verify(str(volume), errors=False, compute=compute)["findings"] == []
        (volume / "fast_time/c/0/0/1").unlink()
        with pytest.raises(IntegrityFailure, match="fast_time/c/0/0/1"):
            verify(str(volume), compute=compute)


def test_what_another_run_replaced_in_the_meantime_is_not_called_wrong(volume: Path) -> None:
    other = Copies(presets=["fast_inline", "fast_time"], quality="high")
    replaced = []

    def replace(progress: Progress) -> None:
        if not replaced:
            replaced.append(rechunk(str(volume), other, overwrite=True))

    with (
        threads(2, 60_000) as compute,  # so that objects come in several batches
        pytest.raises(Resumable, match=r"was changed by another run .*; verify it again"),
    ):
        verify(str(volume), compute=dataclasses.replace(compute, report=replace))
    assert verify(str(volume))["findings"] == []


def test_a_volume_that_is_being_written_anew_is_not_missing(volume: Path) -> None:
    store = WritableStore(str(volume))
    with locked(store, wait_seconds=0) as epoch:
        root = current_root(store)
        assert root is not None
        take_away(store, epoch, root, None)
        with pytest.raises(Resumable, match=r"process \d+ is writing .*; verify it when that has finished"):
            verify(str(volume))
    with pytest.raises(InputRefused, match="publish one there first"):
        verify(str(volume))

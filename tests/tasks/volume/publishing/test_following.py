"""A publication is planned as a whole: refused before anything is written, and recognised as what is there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.stages import as_stage, load_verb
from tasks.parameters import Copies, Copy, Index, Levels, Master, Publication, Run, Step
from tasks.rechunk import rechunk
from tasks.volume.arrays.reader import open_volume
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.store.objects import Store
from tasks.volume.sweeps.policy import plan_of
from tasks.volume.sweeps.staging import StagedSource
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, tree

STEPS: list[Step] = ["copies", "pyramid"]


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    survey = make_survey(tmp_path / "a.sgy", n_samples=300, inlines=range(40), crosslines=range(50))

    def publish(**more: Any) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "source": str(survey.path),
            "volume": str(tmp_path / "v.zarr"),
            "index": Index(),
            "master": Master(),
            "copies": Copies(),
            "pyramid": Levels(),
            "steps": STEPS,
            "run": Run(created_on=STAMP),
        }
        stages = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
        return publish_chain(stages, **(usual | more))

    return publish


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"copies": Copies(more=[Copy(name="amplitude", chunks=[4, 4, 4])])}, "name is taken"),
        ({"copies": Copies(more=[Copy(name="inline", chunks=[4, 4, 4])])}, "name is taken"),
        ({"copies": Copies(more=[Copy(name="flat", chunks=[4, 4])])}, "3 dimensions"),
        ({"copies": Copies(tolerance=1, quality="high")}, "give one"),
        ({"pyramid": Levels(factor=[2, 2])}, "factor"),
        ({"run": Run(memory="9MB")}, "MB"),
    ],
)
def test_what_no_later_stage_can_do_is_refused_before_the_first_writes(
    publish: Callable[..., dict[str, Any]], tmp_path: Path, more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputRefused, match=problem):
        publish(**more)
    assert not (tmp_path / "v.zarr").exists()


def test_a_dry_run_names_every_array_that_the_run_then_makes(
    publish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    dry = publish(run=Run(dry_run=True))
    assert not (tmp_path / "v.zarr").exists()
    published = publish()
    wanted = {
        row["path"]: (tuple(row["shape"]), tuple(row["chunks"]), tuple(row["shards"]))
        for row in published["arrays"]
    }
    planned = {
        row["path"]: (tuple(row["shape"]), tuple(row["chunks"]), tuple(row["shards"]))
        for row in dry["arrays"]
    }
    assert planned == wanted
    assert {"amplitude", "fast_inline", "fast_time", "pyramid/1/amplitude"} <= set(planned)


def test_publishing_again_takes_copies_of_another_quality_as_they_are(
    publish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    publish()
    rechunk(str(tmp_path / "v.zarr"), Copies(quality="high"), overwrite=True, run=Run(created_on=STAMP))
    before = tree(tmp_path / "v.zarr")
    again = publish()
    assert [stage["blocks_done"] for stage in again["stages"]] == [0, 0, 0]
    assert tree(tmp_path / "v.zarr") == before


def test_a_refusal_names_what_differs_and_the_flag_that_replaces_it(
    publish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    publish(copies=Copies(quality="low"))
    volume = open_volume(Store(str(tmp_path / "v.zarr")))
    tolerance = volume.array_attributes("fast_inline")["tolerance"]
    with pytest.raises(
        DestinationRefused,
        match=rf"fast_inline \(codec ZFP with tolerance {tolerance:g}, asked for ZFP with tolerance .*--overwrite",
    ):
        publish(copies=Copies(quality="high"))
    publish(copies=Copies(quality="high"), update=True)
    assert open_volume(volume.store).array_attributes("fast_inline")["tolerance"] < tolerance / 20


def test_an_update_keeps_the_master_and_overwriting_replaces_it(
    publish: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    publish()
    with pytest.raises(
        DestinationRefused, match=r"chunks \(64, 64, 64\), asked for \(16, 16, 16\).*--overwrite"
    ):
        publish(master=Master(chunks=[16, 16, 16]), update=True)
    publish(master=Master(chunks=[16, 16, 16]), overwrite=True)
    assert open_volume(Store(str(tmp_path / "v.zarr"))).spec("amplitude").chunks == (16, 16, 16)


def test_what_is_done_needs_no_memory(publish: Callable[..., dict[str, Any]]) -> None:
    publish()
    again = publish(run=Run(memory="9MB", created_on=STAMP))
    assert [stage["blocks_done"] for stage in again["stages"]] == [0, 0, 0]


def test_a_source_that_an_earlier_version_published_has_the_same_plan() -> None:
    """The digest is one that a catalogue holds from when quality low was the default."""
    auto = StagedSource("a.sgy", "s3://staging/a.sgy", 1000, "etag", "s3://volumes/a.zarr")
    low = replace(auto, publication=Publication(copies=Copies(quality="low")))
    assert plan_of(auto) == plan_of(low) == "27679cbe5968d6dc49f6d9e3c399ae22"

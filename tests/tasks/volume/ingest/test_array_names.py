"""No index can have the name of something that a volume stores, or a name that is no array's."""

from pathlib import Path

import pytest

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tests.support.survey import make_survey


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["time", "crossline"], "the name time is that of an index and of the samples"),
        (["inline", "amplitude"], "a volume has an array amplitude of its own"),
        (["headers", "crossline"], "a volume has an array headers of its own"),
        (["inline", "trace_mask"], "a volume has an array trace_mask of its own"),
        (["pyramid", "crossline"], "a volume has an array pyramid of its own"),
        (["fast_time", "crossline"], "a volume has an array fast_time of its own"),
        (["segy_files", "crossline"], "a volume has an array segy_files of its own"),
        (["../x", "crossline"], "cannot be the name of an array"),
        (["a/b", "crossline"], "cannot be the name of an array"),
        (["", "crossline"], "cannot be the name of an array"),
        ([".seismill", "crossline"], "cannot be the name of an array"),
        (["x" * 300, "crossline"], "cannot be the name of an array"),
        (["inline", "in\nline"], "cannot be the name of an array"),
    ],
)
def test_a_name_that_collides_is_refused_and_nothing_is_written(
    tmp_path: Path, names: list[str], problem: str
) -> None:
    survey = make_survey(tmp_path / "a.sgy")
    with pytest.raises(InputRefused, match=problem) as refusal:
        ingest_segy(str(survey.path), str(tmp_path / "v.zarr"), Index(bytes="189,193", names=names))
    assert "--index-names" in str(refusal.value)
    assert len(str(refusal.value)) < 250
    assert not (tmp_path / "v.zarr").exists()

"""From a bucket to a bucket: how much is asked for, what is left, and what a killed or replaced run does there.

Covers ingest/spill.py.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Levels, Run, StorageOptions
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.blocks import Progress
from tasks.volume.ingest.prediction import LEAST_PROBES
from tasks.volume.outcomes import InputRefused, Resumable
from tests.support.counting_proxy import Account, counting_proxy
from tests.support.survey import Survey, make_survey
from tests.support.volumes import STAMP, threads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = max(2, int(os.environ.get("SEISMILL_CAMPAIGN", "4")) // 4)
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SIZE = {"inlines": range(70), "crosslines": range(60), "n_samples": 1801}
VOLUME = "s3://volumes/survey.zarr"


@pytest.fixture
def client(s3: str) -> Any:
    return boto3.client("s3", endpoint_url=s3)


@pytest.fixture
def account(s3: str) -> Iterator[Account]:
    """A proxy before the S3 server."""
    with counting_proxy(s3) as account:
        yield account


@pytest.fixture
def run(account: Account) -> Run:
    """Parameters of runs that go through the proxy."""
    return Run(created_on=STAMP, storage_options=StorageOptions(endpoint_url=account.endpoint))


@pytest.fixture
def stage(client: Any, tmp_path: Path) -> Callable[..., Survey]:
    """Makes a survey and puts it into the bucket staging."""

    def stage(**wanted: Any) -> Survey:
        survey = make_survey(tmp_path / "survey.sgy", **(SIZE | wanted))
        client.upload_file(str(survey.path), "staging", "survey.sgy")
        return survey

    return stage


def objects(client: Any, prefix: str = "") -> dict[str, bytes]:
    """Every object of the bucket volumes outside .seismill/."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="volumes", Prefix=prefix)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {
        key: client.get_object(Bucket="volumes", Key=key)["Body"].read()
        for key in keys
        if "/.seismill/" not in key
    }


def kept(client: Any) -> set[str]:
    """First parts of the keys below .seismill/ of the volume."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="volumes", Prefix="survey.zarr/.seismill/"
    )
    return {item["Key"].split("/")[2] for page in pages for item in page.get("Contents", [])}


@pytest.mark.parametrize(
    "wanted",
    [{}, {"sorting": "crossline"}, {"inlines": range(140, 0, -2), "fmt": "ieee", "order": "<"}],
    ids=["sorted by inline", "sorted by crossline", "descending"],
)
def test_a_full_grid_is_read_once_in_large_ranges(
    stage: Callable[..., Survey], account: Account, run: Run, s3: str, wanted: dict[str, Any]
) -> None:
    survey = stage(**wanted)
    size = survey.path.stat().st_size
    ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    gets, read = account.of("GET", "/staging/")
    print(f"{gets} GETs of {size / 1e6:.1f} MB, {read / size:.3f} times the file")
    assert read <= 1.1 * size
    assert gets < size / 1e6 + 50
    array = zarr.open_array(f"{VOLUME}/amplitude", mode="r", storage_options={"endpoint_url": s3})
    assert np.array_equal(array[:], survey.values)


def outline(kind: str) -> np.ndarray:
    """Which cells of a survey of `SIZE` have a trace."""
    i, j = np.meshgrid(np.arange(70) / 70, np.arange(60) / 60, indexing="ij")
    return {
        "a corner missing": i + j > 0.3,
        "an ellipse": (2 * i - 1) ** 2 + (2 * j - 1) ** 2 < 1,
        "a hole": ~((abs(i - 0.4) < 0.1) & (abs(j - 0.7) < 0.1)),
    }[kind]


@pytest.mark.parametrize("sorting", ["inline", "crossline"])
@pytest.mark.parametrize("kind", ["a corner missing", "an ellipse", "a hole"])
def test_a_sorted_file_with_ragged_lines_is_read_once_without_a_spill(
    stage: Callable[..., Survey], account: Account, run: Run, s3: str, kind: str, sorting: str
) -> None:
    survey = stage(live=outline(kind), sorting=sorting)
    size = survey.path.stat().st_size
    ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    gets, read = account.of("GET", "/staging/")
    print(f"{gets} GETs of {size / 1e6:.1f} MB, {read / size:.3f} times the file")
    assert read <= 1.1 * size
    assert gets < size / 1e6 + 50 + LEAST_PROBES
    assert account.of("PUT", "/spill/") == account.of("GET", "/spill/") == (0, 0)
    array = zarr.open_array(f"{VOLUME}/amplitude", mode="r", storage_options={"endpoint_url": s3})
    assert np.array_equal(array[:], survey.values, equal_nan=True)
    prove(VOLUME, run=run)


def test_a_ragged_file_that_is_not_as_was_guessed_goes_through_the_spill(
    stage: Callable[..., Survey], account: Account, run: Run, s3: str
) -> None:
    live = outline("a corner missing")
    crosslines = np.argwhere(live)[:, 1]
    crosslines[[2345, 2346]] = crosslines[
        [2346, 2345]
    ]  # two traces that no probe looks at have changed places
    survey = stage(live=live, headers={(193, "i4"): crosslines})
    size = survey.path.stat().st_size
    ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    read, spilled = account.of("GET", "/staging/")[1], account.of("GET", "/spill/")
    print(f"{read / size:.3f} times the file, {spilled[1] / size:.3f} times from the spill")
    assert spilled[0] > 0
    assert read <= 2.2 * size
    array = zarr.open_array(f"{VOLUME}/amplitude", mode="r", storage_options={"endpoint_url": s3})
    numbers = np.full(live.shape, -1)
    numbers[np.argwhere(live)[:, 0], crosslines] = np.arange(live.sum())
    values = survey.values[live][numbers]
    values[numbers < 0] = np.nan
    assert np.array_equal(array[:], values, equal_nan=True)
    prove(VOLUME, run=run)


@pytest.mark.parametrize(
    "wanted",
    [{"sorting": "shuffled"}, {"drop": 333}, {"sorting": "shuffled", "drop": 333, "set_words": {(9, 9): 1}}],
    ids=["shuffled", "with traces missing", "both"],
)
def test_any_other_file_is_read_once_too_through_the_spill(
    stage: Callable[..., Survey], account: Account, run: Run, client: Any, s3: str, wanted: dict[str, Any]
) -> None:
    survey = stage(**wanted)
    size = survey.path.stat().st_size
    summary = ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    gets, read = account.of("GET", "/staging/")
    spilled = account.of("GET", "/spill/")
    print(
        f"{gets} GETs, {read / size:.3f} times the file; of the spill {spilled[0]}, {spilled[1] / size:.3f} times"
    )
    assert read <= 1.1 * size
    assert gets < size / 1e6 + 50
    assert spilled[1] <= 1.3 * size
    array = zarr.open_array(f"{VOLUME}/amplitude", mode="r", storage_options={"endpoint_url": s3})
    assert np.array_equal(array[:], survey.values, equal_nan=True)
    assert kept(client) == {"zarr.json", "lock", "commits", "manifests", "runs"}
    assert not [path for method, path, _ in account.requests[-5:] if method == "PUT" and "/spill/" in path]
    assert summary["volume"] == VOLUME


def test_a_spilled_run_that_stopped_goes_on_where_it_ended(
    stage: Callable[..., Survey], account: Account, run: Run, client: Any
) -> None:
    survey = stage(sorting="shuffled", drop=333)
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if progress.stage == "ingest" and progress.done == 1:
                compute.stopping.set()

        with pytest.raises(Resumable):
            ingest_segy("s3://staging/survey.sgy", VOLUME, run=run, compute=replace(compute, report=report))
    assert objects(client, "survey.zarr/zarr.json") == {}
    before = account.of("GET", "/staging/")[1]
    summary = ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    assert summary["blocks_resumed"] == 1
    again = account.of("GET", "/staging/")[1] - before
    assert again < 0.1 * survey.path.stat().st_size, "the spill is not made again"
    prove(VOLUME, run=run)


def test_a_source_that_is_replaced_while_it_is_read_is_refused(
    stage: Callable[..., Survey], run: Run, client: Any
) -> None:
    survey = stage()
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if progress.done == 1:
                client.put_object(Bucket="staging", Key="survey.sgy", Body=survey.content[::-1])

        with pytest.raises(InputRefused, match="changed after the run began"):
            ingest_segy("s3://staging/survey.sgy", VOLUME, run=run, compute=replace(compute, report=report))
    assert not [key for key in objects(client) if key.endswith("zarr.json")]


def test_the_whole_line_from_bucket_to_bucket_and_back(
    stage: Callable[..., Survey], account: Account, run: Run, client: Any, s3: str
) -> None:
    survey = stage(drop=100, set_words={(5, 5): 1, (6, 6): 0x7FFFFFFF})
    ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    for work in (
        lambda: rechunk(VOLUME, Copies(quality="high"), run=run),
        lambda: pyramid(VOLUME, Levels(levels=2, until=1), run=run),
        lambda: prove(VOLUME, run=run),
    ):
        before = len(account.requests)
        work()
        print(f"{len(account.requests) - before} requests")
    export_segy(VOLUME, "s3://staging/out.sgy", run=run)
    assert client.get_object(Bucket="staging", Key="out.sgy")["Body"].read() == survey.content
    assert verify(VOLUME, errors=True, run=run)["findings"] == []
    group = zarr.open_group(VOLUME, mode="r", storage_options={"endpoint_url": s3}, use_consolidated=True)
    values = np.nan_to_num(survey.values, nan=0, posinf=0, neginf=0)
    for name in ("fast_inline", "fast_crossline", "fast_time"):
        assert np.abs(group[name][:] - values).max() <= group[name].attrs["tolerance"]
        assert group[name].shards is not None
    before = account.of("PUT", "/volumes/")[0]
    for work in (
        lambda: ingest_segy("s3://staging/survey.sgy", VOLUME, run=run),
        lambda: rechunk(VOLUME, Copies(quality="high"), run=run),
        lambda: pyramid(VOLUME, Levels(levels=2, until=1), run=run),
    ):
        assert work()["blocks_done"] == 0
    assert account.of("PUT", "/volumes/")[0] - before <= 3 * 4, "the lock and the probe"


def test_an_export_of_more_than_a_part_goes_up_in_parts_and_leaves_nothing_when_it_stops(
    stage: Callable[..., Survey], account: Account, run: Run, client: Any
) -> None:
    survey = stage(inlines=range(130), crosslines=range(131), n_samples=1101)
    assert len(survey.content) > 64 << 20
    ingest_segy("s3://staging/survey.sgy", VOLUME, run=run)
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if progress.bytes_done > 70 << 20:
                compute.stopping.set()

        with pytest.raises(Resumable):
            export_segy(VOLUME, "s3://staging/out.sgy", run=run, compute=replace(compute, report=report))
    assert account.of("POST", "uploads")[0] == 1, "an upload was begun"
    assert "Uploads" not in client.list_multipart_uploads(Bucket="staging"), "and aborted"
    assert [item["Key"] for item in client.list_objects_v2(Bucket="staging")["Contents"]] == ["survey.sgy"]
    summary = export_segy(VOLUME, "s3://staging/out.sgy", run=run)
    assert summary["identical"] is True
    assert client.get_object(Bucket="staging", Key="out.sgy")["Body"].read() == survey.content
    assert "Uploads" not in client.list_multipart_uploads(Bucket="staging")


@pytest.mark.parametrize("round_", range(KILLS))
def test_a_killed_run_is_gone_on_with_by_the_next_and_ends_with_the_same_objects(
    stage: Callable[..., Survey], s3: str, client: Any, round_: int
) -> None:
    stage(drop=100, n_samples=301)
    drawn = random.Random(SEED + round_)
    print(f"SEISMILL_SEED={SEED} round {round_}")

    def command(volume: str) -> list[str]:
        return [
            *(
                sys.executable,
                "-c",
                "from flows.cli import main; main()",
                "publish",
                "s3://staging/survey.sgy",
            ),
            *(
                f"s3://volumes/{volume}",
                "--no-flow",
                "--json",
                "--created-on",
                STAMP,
                "--chunks",
                "16,16,128",
            ),
            *(
                "--shards",
                "32,32,1024",
                "--presets",
                "fast_time",
                "--levels",
                "2",
                "--until",
                "1",
                "--endpoint-url",
                s3,
            ),
        ]

    def publish(volume: str) -> dict[str, Any]:
        ended = subprocess.run(command(volume), stdout=subprocess.PIPE, check=True)
        return json.loads(ended.stdout.splitlines()[-1])

    whole = publish("twin.zarr")
    process = subprocess.Popen(command("survey.zarr"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while "Contents" not in client.list_objects_v2(Bucket="volumes", Prefix="survey.zarr/.seismill/lock/"):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(drawn.uniform(0, whole["seconds"]))
    process.kill()
    process.wait()
    found = objects(client, "survey.zarr/")
    wanted = {key.replace("twin.", "survey."): data for key, data in objects(client, "twin.zarr/").items()}
    for key in found:
        if key.endswith("/zarr.json") and key != "survey.zarr/zarr.json":
            array = key.removesuffix("zarr.json")
            assert {k: found.get(k) for k in wanted if k.startswith(array)} == {
                k: data for k, data in wanted.items() if k.startswith(array)
            }
    publish("survey.zarr")
    assert objects(client, "survey.zarr/") == wanted

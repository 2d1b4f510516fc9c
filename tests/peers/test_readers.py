"""Readers go on undisturbed in a process of their own, with zarr alone, while copies are added and replaced."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Levels, Master, Run, StorageOptions
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.volume.arrays.reader import open_volume
from tasks.volume.store.objects import Store
from tests.support.survey import make_survey
from tests.support.volumes import STAMP

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROUNDS = max(3, int(os.environ.get("SEISMILL_CAMPAIGN", "4")))
SHAPE = (61, 47, 129)
KEPT, REPLACED, ADDED = (
    Copy(name="kept", chunks=[4, 48, 132]),
    Copy(name="replaced", chunks=[64, 4, 132]),
    Copy(name="added", chunks=[16, 16, 16]),
)

# Looks until its standard input ends, and then tells what it saw. What an array may hold is in files of NumPy.
LOOK = """
import json, random, sys, threading, warnings
import numpy as np, zarr
warnings.simplefilter("ignore")
url, options, folder, seed = sys.argv[1], json.loads(sys.argv[2]) or None, sys.argv[3], int(sys.argv[4])
may_hold = json.load(open(folder + "/may_hold.json"))
values = {name: [np.load(f"{folder}/{file}.npy") for file in files] for name, files in may_hold.items()}
always = {"amplitude", "kept"}
drawn, wrong, looks, found = random.Random(seed), [], 0, {}
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
def opened(name, how):
    if how == "direct":
        return zarr.open_array(f"{url}/{name}", mode="r", storage_options=options)
    group = zarr.open_group(url, mode="r", storage_options=options, use_consolidated=how == "consolidated")
    return group[name]
held = {name: opened(name, "direct") for name in ("amplitude", "kept", "replaced")}
print("ready", flush=True)
while not ended.is_set():
    looks += 1
    name, how = drawn.choice(sorted(values)), drawn.choice(["direct", "group", "consolidated", "held"])
    try:
        if how == "held":
            if name not in held:
                continue
            array = held[name]
        else:
            array = opened(name, how)
    except (FileNotFoundError, KeyError) as error:
        if name in always:
            wrong.append(f"{name} ({how}) was gone: {error!r}")
        continue
    region = tuple(slice(start := drawn.randrange(n), start + drawn.randrange(1, n)) for n in array.shape)
    try:
        got = array[region]
    except Exception as error:
        wrong.append(f"{name} ({how}): {error!r}")
        continue
    found[f"{name} {how}"] = found.get(f"{name} {how}", 0) + 1
    right = np.zeros(got.shape, bool)
    for twin in values[name]:
        right |= got == twin[region]
    if not right.all():
        wrong.append(f"{name} ({how}): {np.count_nonzero(~right)} of {right.size} samples are of no version, "
                     f"{np.count_nonzero(got == 0)} are 0")
print(json.dumps({"wrong": wrong[:9], "looks": looks, "found": found}))
"""


@contextmanager
def looking(url: str, options: dict[str, str], folder: Path, seed: int) -> Iterator[dict[str, Any]]:
    """While open, a process looks at the volume; what it saw is in the dictionary afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", LOOK, url, json.dumps(options), str(folder), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    seen: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield seen
        printed, _ = process.communicate("", timeout=300)
        seen.update(json.loads(printed))
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Run, dict[str, str]]:
    """Where volumes go, how runs reach it, and how zarr does."""
    if request.param == "local":
        return str(tmp_path), Run(created_on=STAMP), {}
    endpoint = request.getfixturevalue("s3")
    options = StorageOptions(endpoint_url=endpoint)
    return "s3://volumes", Run(created_on=STAMP, storage_options=options), {"endpoint_url": endpoint}


def test_nobody_sees_half_a_copy_while_one_is_added_and_another_replaced(
    place: tuple[str, Run, dict[str, str]], tmp_path: Path
) -> None:
    prefix, run, options = place
    il, xl, n = SHAPE
    survey = make_survey(tmp_path / "a.sgy", inlines=range(il), crosslines=range(xl), n_samples=n)
    master = Master(chunks=[16, 16, 32])
    volume, twin = f"{prefix}/a.zarr", f"{prefix}/twin.zarr"
    rounds = [
        Copies(
            presets=[], more=[REPLACED, ADDED.model_copy(update={"name": f"added{number}"})], quality=quality
        )
        for number, quality in zip(range(ROUNDS), ["high", "low"] * ROUNDS, strict=False)
    ]

    def values(url: str, path: str) -> np.ndarray:
        return open_volume(Store(url, run.storage_options)).read(path)

    may_hold = {"amplitude": ["amplitude"], "kept": ["kept"], "replaced": ["low", "high"]}
    np.save(tmp_path / "amplitude.npy", survey.values)
    for url in (volume, twin):
        ingest_segy(str(survey.path), url, master=master, run=run)
        rechunk(url, Copies(presets=[], more=[KEPT, REPLACED], quality="low"), run=run)
    np.save(tmp_path / "kept.npy", values(twin, "kept"))
    np.save(tmp_path / "low.npy", values(twin, "replaced"))
    for quality in ("low", "high"):
        copy = ADDED.model_copy(update={"name": f"added_{quality}"})
        rechunk(twin, Copies(presets=[], more=[copy], quality=quality), run=run)
        np.save(tmp_path / f"added_{quality}.npy", values(twin, f"added_{quality}"))
    rechunk(twin, Copies(presets=[], more=[REPLACED], quality="high"), overwrite=True, run=run)
    np.save(tmp_path / "high.npy", values(twin, "replaced"))
    may_hold |= {copies.more[1].name: [f"added_{copies.quality}"] for copies in rounds}
    (tmp_path / "may_hold.json").write_text(json.dumps(may_hold))

    with looking(volume, options, tmp_path, 1) as one, looking(volume, options, tmp_path, 2) as two:
        for copies in rounds:
            rechunk(volume, copies, overwrite=True, run=run)
            # Whoever comes after the end finds the new one.
            assert np.array_equal(values(volume, "replaced"), np.load(tmp_path / f"{copies.quality}.npy"))
        pyramid(volume, Levels(levels=2, until=1), run=run)
    for seen in (one, two):
        print(seen)
        assert seen["wrong"] == []
        for name in ("amplitude", "kept", "replaced"):
            assert sum(count for way, count in seen["found"].items() if way.startswith(name)) > 0
        assert sum(count for name, count in seen["found"].items() if name.startswith("added")) > 0

"""SEG-Y out: the source byte for byte, in any order it was in, or nothing.

Covers tasks/prove.py, export/output.py, export/proof.py, export/rebuild.py.
"""

import filecmp
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.blocks import Progress
from tasks.volume.ingest.records import PART_BYTES
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tests.support.survey import TEAPOT, Survey, make_survey
from tests.support.volumes import threads

SMALL = Master(chunks=[4, 3, 5])
CUBES: dict[str, dict[str, Any]] = {
    "sorted by inline": {},
    "sorted by crossline": {"sorting": "crossline"},
    "shuffled with traces missing": {"sorting": "shuffled", "drop": 9},
    "descending": {"inlines": range(20, 2, -2), "crosslines": range(9, 2, -1), "drop": 5},
    "little endian": {"order": "<"},
    "IEEE with NaN payloads": {
        "fmt": "ieee",
        "set_words": {(3, 4): 0x7FA12345, (4, 5): 0xFFC00001, (5, 6): 0x80000000},
    },
    "unnormalised": {"set_words": {(3, 4): 1, (9, 0): 0x42000001, (44, 12): 0xFFFFFFFF}},
    "any words": {"words": np.random.default_rng(1).integers(0, 1 << 32, (45, 13), np.uint32)},
    "extended textual headers": {"extended": bytes(range(256)) * 25},
    "an index elsewhere": {"layout": TEAPOT},
    "bytes that no standard knows": {"headers": {(233, "u4"): 0xDEADBEEF, (237, "u4"): np.arange(45)}},
    "more traces than a row of chunks": {"inlines": range(70), "crosslines": range(66), "n_samples": 5},
}


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., tuple[Survey, Path]]:
    def publish(*, master: Master = SMALL, **wanted: Any) -> tuple[Survey, Path]:
        survey = make_survey(tmp_path / "a.sgy", **wanted)
        volume = tmp_path / "a.zarr"
        ingest_segy(str(survey.path), str(volume), master=master)
        return survey, volume

    return publish


@pytest.mark.parametrize("master", [Master(), SMALL, Master(chunks=[4, 3, 5], shards=[8, 6, 15])])
@pytest.mark.parametrize("name", CUBES)
def test_the_export_is_the_source(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path, name: str, master: Master
) -> None:
    survey, volume = publish(master=master, **CUBES[name])
    summary = export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert (tmp_path / "out.sgy").read_bytes() == survey.content
    assert summary["identical"] is True
    assert summary["bytes"] == len(survey.content)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sgy", "a.zarr", "out.sgy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "seisplot/data/F3_very_small.sgy",
        "segysak/tests/test-data-segysak/f3-withdead.sgy",
        "xtgeo-testdata/cubes/etc/ex2_complete_3d_75x71x26.segy",
        "seg-tutorials-2014/1410_Phase/data/penobscot_xl1155.sgy",
    ],
)
def test_the_export_of_a_real_file_is_that_file(shared: Path, tmp_path: Path, name: str) -> None:
    _there_and_back(shared / "data" / name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"layout": "teapot"},
        {"drop_frac": 0.1},
        {"fmt": "ieee", "nan": 7},
        {"shuffle": True, "drop_frac": 0.05},
        {"fmt": "ieee", "endian": "little"},
        {"endian": "little"},
        {"ilstep": -3, "xlstep": 4, "il0": 900, "xl0": 2000},
        {"layout": "teapot", "shuffle": True, "drop_frac": 0.2, "ilstep": 2},
    ],
    ids=str,
)
def test_the_export_of_a_cube_found_by_auto_is_that_cube(
    make_segy: Callable[..., int], tmp_path: Path, wanted: dict[str, Any]
) -> None:
    make_segy(tmp_path / "a.sgy", shape=(37, 45, 203), **wanted)
    summary = _there_and_back(tmp_path / "a.sgy", tmp_path)
    first = "181,185" if wanted.get("layout") == "teapot" else "189,193"
    assert f"{first} hold inline" in summary["notes"][0]


def _there_and_back(source: Path, folder: Path) -> dict[str, Any]:
    """Everything that publish does to the volume, and the export compared byte for byte; gives ingest's summary."""
    volume = str(folder / "volume.zarr")
    summary = ingest_segy(str(source), volume)
    rechunk(volume)
    pyramid(volume)
    prove(volume)
    export_segy(volume, str(folder / "out.sgy"))
    assert filecmp.cmp(source, folder / "out.sgy", shallow=False)
    assert verify(volume, errors=True)["findings"] == []
    return summary


@pytest.mark.parametrize("memory_bytes", [300_000, 3_000_000])
def test_with_little_memory_windows_are_narrow_and_the_bytes_the_same(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path, memory_bytes: int
) -> None:
    survey, volume = publish(inlines=range(30), crosslines=range(20), n_samples=50, drop=40)
    with threads(2, memory_bytes) as compute:
        export_segy(str(volume), str(tmp_path / "out.sgy"), compute=compute)
    assert (tmp_path / "out.sgy").read_bytes() == survey.content


def test_a_window_that_memory_does_not_hold_is_refused_before_anything_is_written(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path
) -> None:
    _, volume = publish()
    with threads(2, 1000) as compute, pytest.raises(InputRefused, match="a window of the export needs"):
        export_segy(str(volume), str(tmp_path / "out.sgy"), compute=compute)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sgy", "a.zarr"]


def test_a_file_that_is_there_is_replaced_only_when_told_to(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path
) -> None:
    survey, volume = publish()
    target = tmp_path / "out.sgy"
    target.write_bytes(b"older")
    with pytest.raises(DestinationRefused, match="is there already; replace it with --overwrite") as refusal:
        export_segy(str(volume), str(target))
    assert refusal.value.exit_code == 4
    assert target.read_bytes() == b"older"
    export_segy(str(volume), str(target), overwrite=True)
    assert target.read_bytes() == survey.content


def test_a_dry_run_writes_nothing(publish: Callable[..., tuple[Survey, Path]], tmp_path: Path) -> None:
    survey, volume = publish()
    summary = export_segy(str(volume), str(tmp_path / "new" / "out.sgy"), run=Run(dry_run=True))
    assert summary["bytes"] == len(survey.content)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("array", ["amplitude", "raw_headers", "trace_number"])
def test_a_volume_with_a_flipped_bit_gives_no_file_and_no_proof(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path, array: str
) -> None:
    _, volume = publish()
    chunk = next(path for path in sorted((volume / array / "c").rglob("*")) if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 16
    chunk.write_bytes(data)
    with pytest.raises(IntegrityFailure, match=f"{array}.* does not fit its checksum.*verify") as failure:
        export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert failure.value.exit_code == 5
    assert not (tmp_path / "out.sgy").exists()
    with pytest.raises(IntegrityFailure):
        prove(str(volume))


def test_samples_that_changed_under_a_valid_checksum_give_no_file_and_no_proof(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path
) -> None:
    _, volume = publish()
    other = make_survey(tmp_path / "b.sgy", seed=5)
    ingest_segy(str(other.path), str(tmp_path / "b.zarr"), master=SMALL)
    os.replace(tmp_path / "b.zarr/amplitude/c/1/1/1", volume / "amplitude/c/1/1/1")
    with pytest.raises(
        IntegrityFailure, match=r"would have checksum .* nothing was written; run seismill verify"
    ):
        export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert not (tmp_path / "out.sgy").exists()
    assert not (tmp_path / "out.sgy.partial").exists()
    with pytest.raises(
        IntegrityFailure, match=r"does not give back bytes 0 to [\d,]+ of .*a\.sgy; keep the source"
    ):
        prove(str(volume))


def test_a_missing_chunk_gives_no_file(publish: Callable[..., tuple[Survey, Path]], tmp_path: Path) -> None:
    _, volume = publish()
    (volume / "amplitude/c/0/0/0").unlink()
    with pytest.raises(IntegrityFailure, match=r"chunk \(0, 0, 0\), is missing though traces live there"):
        export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert not (tmp_path / "out.sgy").exists()


def test_a_proof_is_remembered_until_the_volume_is_another(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path
) -> None:
    _, volume = publish()
    first = prove(str(volume))
    again = prove(str(volume))
    assert again["proven_at"] == first["proven_at"]
    assert again["notes"] == ["was done already"]
    other = make_survey(tmp_path / "b.sgy", seed=5)
    ingest_segy(str(other.path), str(volume), master=SMALL, overwrite=True)
    assert prove(str(volume))["notes"] == []


def test_a_proof_tells_how_many_bytes_of_traces_it_has_done(
    publish: Callable[..., tuple[Survey, Path]],
) -> None:
    survey, volume = publish()
    reports: list[Progress] = []
    with threads() as compute:
        prove(str(volume), compute=replace(compute, report=reports.append))
    assert reports[-1].done == reports[-1].total
    assert reports[-1].bytes_done == survey.path.stat().st_size - 3600


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Survey, Path]:
    """A file of a whole part of checksums and some more, and its volume."""
    folder = tmp_path_factory.mktemp("large")
    survey = make_survey(folder / "a.sgy", inlines=range(130), crosslines=range(131), n_samples=1001)
    ingest_segy(str(survey.path), str(folder / "a.zarr"), master=Master(chunks=[16, 64, 64], codec="lz4-5"))
    assert PART_BYTES < len(survey.content) < 2 * PART_BYTES
    return survey, folder / "a.zarr"


def stopped(volume: Path, target: Path, windows: int) -> None:
    """An export that is asked to stop after so many windows."""
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if progress.done >= windows:
                compute.stopping.set()

        with pytest.raises(Resumable, match="run the same command again"):
            export_segy(str(volume), str(target), compute=replace(compute, report=report))
    assert not target.exists()


@pytest.mark.slow
def test_an_interrupted_export_keeps_what_proves_right(large: tuple[Survey, Path], tmp_path: Path) -> None:
    survey, volume = large
    target = tmp_path / "out.sgy"
    stopped(volume, target, 8)
    assert PART_BYTES < (tmp_path / "out.sgy.partial").stat().st_size < len(survey.content)
    reports: list[Progress] = []
    with threads(1) as compute:
        summary = export_segy(str(volume), str(target), compute=replace(compute, report=reports.append))
    assert summary["notes"] == [f"{PART_BYTES:,} bytes of an interrupted export proved right and were kept"]
    assert [progress.done for progress in reports] == [8, 9]
    assert target.read_bytes() == survey.content
    assert not (tmp_path / "out.sgy.partial").exists()


@pytest.mark.parametrize("damage", ["flipped", "too short", "something else"])
def test_an_interrupted_export_that_does_not_prove_right_is_written_again(
    large: tuple[Survey, Path], tmp_path: Path, damage: str
) -> None:
    survey, volume = large
    partial = tmp_path / "out.sgy.partial"
    content = bytearray(survey.content)
    if damage == "flipped":
        content[12_345_678] ^= 1
    elif damage == "too short":
        del content[PART_BYTES - 1 :]
    else:
        content = bytearray(b"x" * (len(content) + 99))
    partial.write_bytes(content)
    summary = export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert summary["notes"] == []
    assert (tmp_path / "out.sgy").read_bytes() == survey.content


def test_a_whole_file_that_only_lacks_its_name_is_proven_and_named(
    large: tuple[Survey, Path], tmp_path: Path
) -> None:
    survey, volume = large
    (tmp_path / "out.sgy.partial").write_bytes(survey.content)
    summary = export_segy(str(volume), str(tmp_path / "out.sgy"))
    assert f"{len(survey.content):,} bytes" in summary["notes"][0]
    assert (tmp_path / "out.sgy").read_bytes() == survey.content


@pytest.mark.slow
def test_an_export_that_was_killed_is_gone_on_with(large: tuple[Survey, Path], tmp_path: Path) -> None:
    survey, volume = large
    script = (
        "import os, signal, sys; from dataclasses import replace; from concurrent.futures import ThreadPoolExecutor\n"
        "from tasks.export_segy import export_segy; from tasks.volume.blocks import Compute\n"
        "def report(progress):\n"
        "    if progress.done == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_segy(sys.argv[1], sys.argv[2], compute=Compute(ThreadPoolExecutor(1), 1, 1 << 30, report))\n"
    )
    target = tmp_path / "out.sgy"
    ended = subprocess.run([sys.executable, "-c", script, str(volume), str(target)], check=False)
    assert ended.returncode == -9
    assert not target.exists()
    summary = export_segy(str(volume), str(target))
    assert "proved right and were kept" in summary["notes"][0]
    assert target.read_bytes() == survey.content


def test_two_exports_do_not_write_one_file_at_once(
    publish: Callable[..., tuple[Survey, Path]], tmp_path: Path
) -> None:
    survey, volume = publish()
    refused = []
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if not refused:
                with pytest.raises(
                    Resumable, match=r"another export is writing .*out\.sgy\.partial; run this again"
                ) as two:
                    export_segy(str(volume), str(tmp_path / "out.sgy"))
                refused.append(two.value)

        export_segy(str(volume), str(tmp_path / "out.sgy"), compute=replace(compute, report=report))
    assert len(refused) == 1
    assert (tmp_path / "out.sgy").read_bytes() == survey.content

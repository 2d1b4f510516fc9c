"""Refusals are two lines, and the second is a command that works."""

import shlex

import numpy as np
import pytest
import zarr

from flows.cli import run
from flows.command import with_flags
from tests.support.segy_maker import segy_bytes


@pytest.mark.parametrize(
    ("words", "flags", "command"),
    [
        (["scan", "a.sgy"], "--trailing keep", "seismill scan a.sgy --trailing keep"),
        (["scan", "a b.sgy"], "--domain depth", "seismill scan 'a b.sgy' --domain depth"),
        (
            ["publish", "a", "b", "--index-bytes", "9,21", "--overwrite"],
            "--index-bytes trace",
            "seismill publish a b --overwrite --index-bytes trace",
        ),
        (
            ["publish", "a", "b", "--index-bytes=9,21", "--quality", "low"],
            "--index-bytes 5,9",
            "seismill publish a b --quality low --index-bytes 5,9",
        ),
        (["scan", "a", "--delay", "-4"], "--delay 0", "seismill scan a --delay 0"),
        (
            ["rechunk", "a", "--tolerance", "3", "--lossy-codec", "rounded"],
            "--quality lossless",
            "seismill rechunk a --quality lossless",
        ),
        (
            [
                "scan",
                "a",
                "--index-bytes",
                "1,2,3",
                "--index-names",
                "a,b,c",
                "--template",
                "CocaGathers3DTime",
            ],
            "--index-bytes trace",
            "seismill scan a --index-bytes trace",
        ),
        (
            ["ingest-segy", "--domain", "time", "a", "b"],
            "--domain depth",
            "seismill ingest-segy a b --domain depth",
        ),
    ],
)
def test_the_second_line_is_the_command_with_the_flags(words, flags, command):
    assert with_flags(words, flags) == command


N = np.arange(35)
NOTHING = {(181, "i4"): 0, (185, "i4"): 0, (189, "i4"): 0, (193, "i4"): 0, (5, "i4"): 0}
REFUSED = {
    "something appended": segy_bytes(trailer=b"\1" * 112),
    "duplicates": segy_bytes(traces={(193, "i4"): (N % 7) // 2 * 2}),
    "twice in each cell": segy_bytes(traces={(189, "i4"): 1 + N // 14, (193, "i4"): 1 + N % 7}),
    "a negative interval": segy_bytes(binary={(3217, "h"): -4000}),
    "no grid": segy_bytes(traces=NOTHING),
    "two grids": segy_bytes(
        shape=(8, 12),
        traces={
            (5, "i4"): 0, (189, "i4"): 0, (193, "i4"): 0,
            (181, "i4"): np.arange(96) // 12, (185, "i4"): np.arange(96) % 12,
            (9, "i4"): np.random.default_rng(0).permutation(96) // 12,
            (21, "i4"): np.random.default_rng(0).permutation(96) % 12,
        },
    ),
}  # fmt: skip


LINE = np.repeat([0, 1, 2], [12, 14, 9])
ALONG = np.concatenate([np.arange(12), np.arange(14), np.arange(9)])
REFUSED |= {
    "several lines": segy_bytes(
        traces={
            (189, "i4"): 10 + LINE, (193, "i4"): 1 + ALONG,
            (181, "i4"): 500_000 + 3000 * LINE + (25 * ALONG * np.cos(0.8 * LINE)).astype(int),
            (185, "i4"): 6_000_000 + 2000 * LINE + (25 * ALONG * np.sin(0.8 * LINE)).astype(int),
        },
    ),
    "gathers without a grid": segy_bytes(
        shape=(1, 240),
        traces=NOTHING | {
            (21, "i4"): 100 + np.arange(240) // 12, (9, "i4"): 1,
            (37, "i4"): np.random.default_rng(1).integers(100, 4000, 240),
        },
    ),
    "text as long as two traces": segy_bytes(trailer=(b"END OF FILE. " * 50)[:552]),
    "text longer than a trace": segy_bytes(trailer="THE END ".encode("cp037") * 40),
    "filler as long as a trace": segy_bytes(trailer=b"\xff" * 276),
    "blanks beyond a trace": segy_bytes(trailer=b" " * 300),
    "gathers of nothing": segy_bytes(traces=NOTHING | {(37, "i4"): 100 * N, (9, "i4"): 1}),
    "a wrong index": segy_bytes(),
    "an index outside": segy_bytes(),
    "two types of coordinates": segy_bytes(),
    "coordinates outside": segy_bytes(),
    "traces outside": segy_bytes(),
    "nothing to split": segy_bytes(),
    "ranks without chunks": segy_bytes(traces={(37, "i4"): 100 * N}),
}  # fmt: skip
FLAGS = {
    "a wrong index": "--index-bytes 5,9 --index-names inline,crossline",
    "an index outside": "--index-bytes 189,400",
    "two types of coordinates": "--coordinate-types int32,float32",
    "coordinates outside": "--coordinate-bytes 181,240",
    "traces outside": "--traces 30-70",
    "nothing to split": "--split line",
    "ranks without chunks": "--template CdpOffsetGathers3DTime --non-binned --non-binned-dims offset",
}


PUBLISH = "publish --no-flow --no-copies --no-pyramid --no-report"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "name"),
    [
        *(("ingest-segy", name) for name in REFUSED if name != "nothing to split"),
        *((PUBLISH, name) for name in ("several lines", "nothing to split", "two grids")),
    ],
)
def test_the_second_line_works_on_the_file(tmp_path, capsys, verb, name):
    source, volume = tmp_path / "a.sgy", tmp_path / "a.zarr"
    source.write_bytes(REFUSED[name])
    verb, *more = verb.split()
    assert run([verb, str(source), str(volume), *more, *FLAGS.get(name, "").split()]) == 3
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2, lines
    assert lines[0].count(". ") == 0
    assert "--" not in lines[0]
    assert not volume.exists()
    program, *words = shlex.split(lines[1])
    assert program == "seismill"
    if words[0] != verb.split()[0]:  # of an ingest of several lines
        words += PUBLISH.split()[1:]
    assert run(words) == 0, capsys.readouterr().err
    volumes = [volume] if "--split line" not in lines[1] else list(volume.iterdir())
    assert all(zarr.open_group(path, mode="r")["amplitude"].size for path in volumes)
    assert len(volumes) == (3 if name == "several lines" else 1)


def test_without_a_command_line_the_flags_are_in_the_sentence(tmp_path):
    from tasks.ingest_segy import ingest_segy
    from tasks.volume.outcomes import InputRefused

    (tmp_path / "a.sgy").write_bytes(REFUSED["something appended"])
    with pytest.raises(InputRefused, match=r"; say --trailing keep$") as refused:
        ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))
    assert "--" not in refused.value.sentence

"""What headers contradict each other in is settled, said in a sentence, and does not change a byte of the export."""

import filecmp
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master
from tests.support.segy_maker import segy_bytes

N_TRACES, N_SAMPLES = 35, 9
FEW = np.where(np.arange(N_TRACES) % 7 == 3, 1, 0)  # five traces


def ingested(folder: Path, content: bytes, **options: Any) -> tuple[Any, list[str]]:
    """The volume of a file and the notes on it, after the file came back as it was."""
    source, volume = folder / "source.sgy", folder / "volume.zarr"
    source.write_bytes(content)
    summary = ingest_segy(str(source), str(volume), master=Master(chunks=[2, 4, 8]), **options)
    export_segy(str(volume), str(folder / "back.sgy"))
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    group = zarr.open_group(str(volume), mode="r")
    assert group.attrs["seismill"]["sources"][0]["notes"] == summary["notes"]
    return group, summary["notes"][:-1] if "hold inline" in summary["notes"][-1] else summary["notes"]


def said_in(notes: list[str]) -> str:
    """All that is odd; which words are the index is not."""
    return " ".join(note for note in notes if "hold inline" not in note)


def test_a_plain_file_has_nothing_odd(tmp_path):
    _, notes = ingested(tmp_path, segy_bytes(binary={(3255, "H"): 1}, traces={(89, "i2"): 1}))
    assert said_in(notes) == ""


@pytest.mark.parametrize(
    ("words", "first", "step", "dtype", "sentence"),
    [
        # (binary header interval, trace header words, …): the time axis in ms
        ({}, 0, 4, "int32", ""),
        ({"delay": -8}, -8, 4, "int32", ""),
        ({"delay": 1500}, 1500, 4, "int32", ""),
        ({"interval": 250}, 0, 0.25, "float64", ""),
        ({"interval": 62, "delay": -3}, -3, 0.062, "float64", ""),
        ({"delay": 525, "scalar": -10}, 52.5, 4, "float64", ""),
        ({"delay": 5, "scalar": 100}, 500, 4, "int32", ""),
        ({"delay": 5, "scalar": 77}, 5, 4, "int32", ""),  # no scalar
        ({"delay": 525, "scalar": -10, "revision": 0}, 525, 4, "int32", ""),  # rev 0 has none
        (
            {"delay": 100 * FEW - 8}, -8, 4, "int32",
            r"delay recording time \(byte 109\) goes from -8 to 92 ms: -8 \(30 traces\), 92 \(5 traces\); the axis "
            r"begins at -8, where most traces do",
        ),
        ({"delay": 4 - 4 * FEW}, 4, 4, "int32", r"goes from 0 to 4 ms: 4 \(30 traces\), 0 \(5 traces\)"),
        ({"delay": np.arange(N_TRACES)}, 0, 4, "int32", r"from 0 to 34 ms: 0 \(\d+ traces\), .* and others"),
        (
            {"interval": 0, "trace": 2000}, 0, 2, "int32",
            r"interval is 0 in the binary header \(byte 3217\) and 2000 in the first trace .* 2000 is used",
        ),
        (
            {"interval": 0, "trace": 0}, 0, 1, "int32",
            r"interval is 0 in the binary header .* and the first trace .*; samples are numbered from 0",
        ),
        ({"trace": 2000}, 0, 4, "int32", r"4000 in the binary header .* and 2000 in the first .* 4000 is used"),
        ({"trace": 4000 * FEW}, 0, 4, "int32", ""),  # 0 says nothing
        (
            {"trace": 4000 - 2000 * FEW}, 0, 4, "int32",
            r"interval in trace headers \(byte 117\) varies: 4000 \(30 traces\), 2000 \(5 traces\); 4000 is used",
        ),
    ],
)  # fmt: skip
def test_times_are_settled(tmp_path, words, first, step, dtype, sentence):
    interval = words.get("interval", 4000)
    traces = {
        (109, "i2"): words.get("delay", 0),
        (117, "u2"): words.get("trace", interval),
        (215, "i2"): words.get("scalar", 0),
    }
    content = segy_bytes(interval=interval, traces=traces, revision=words.get("revision", 0x0100))
    group, notes = ingested(tmp_path, content)
    time = group["time"]
    assert time.dtype == dtype
    np.testing.assert_allclose(time[:], first + np.arange(N_SAMPLES) * step, rtol=0, atol=1e-9)
    sentences = said_in(notes)
    assert re.search(sentence, sentences) if sentence else sentences == "", sentences


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (9 - 9 * FEW, ""),
        (
            9 - FEW,
            "samples in trace headers (byte 115) varies: 9 (30 traces), 8 (5 traces); by the size of the file",
        ),
        (
            np.full(N_TRACES, 462),
            "The trace headers say 462 samples (byte 115), the binary header 9 (byte 3221)",
        ),
    ],
)
def test_numbers_of_samples_are_settled_by_the_size_of_the_file(tmp_path, counts, sentence):
    group, notes = ingested(tmp_path, segy_bytes(traces={(115, "u2"): counts}))
    assert group["amplitude"].shape == (5, 7, 9)
    assert sentence in said_in(notes) if sentence else said_in(notes) == ""


@pytest.mark.parametrize(
    ("scalar", "factor", "sentence"),
    [
        (1, 1, ""),
        (100, 100, ""),
        (-100, 0.01, ""),
        (0, 1, "A coordinate scalar of 0 (byte 71) is taken as 1."),
        (7, 7, "is 7, which the standard does not have; it is applied"),
        (
            -11 * FEW + 1,
            None,
            "(byte 71) varies: 1 (30 traces), -10 (5 traces); each trace is placed by its own",
        ),
    ],
)
def test_coordinates_are_scaled_trace_by_trace(tmp_path, scalar, factor, sentence):
    group, notes = ingested(tmp_path, segy_bytes(traces={(71, "i2"): scalar}))
    factor = np.where(FEW, 0.1, 1.0).reshape(5, 7) if factor is None else factor
    x = (4_000_000 + 250 * np.arange(5))[:, np.newaxis] * factor * np.ones((5, 7))
    np.testing.assert_allclose(group["cdp_x"][:], x, rtol=1e-15)
    assert sentence in said_in(notes) if sentence else said_in(notes) == ""


@pytest.mark.parametrize(
    ("system", "unit", "stored", "sentence"),
    [
        (1, 1, {"length": "m"}, ""),
        (2, 1, {"length": "ft"}, ""),
        (1, 0, {"length": "m"}, ""),
        (0, 1, None, ""),  # nothing is said, and nothing guessed
        (9, 1, None, "The measurement system (byte 3255) is 9"),
        (1, 2, None, "Coordinates are in seconds of arc (byte 89 is 2)"),
        (1, 3, None, "decimal degrees (byte 89 is 3), but exceed 360"),
        (1, 4, None, "degrees, minutes and seconds"),
        (1, 1 + FEW, None, "unit of coordinates (byte 89) varies: 1 (30 traces), 2 (5 traces)"),
    ],
)
def test_units_are_what_headers_say(tmp_path, system, unit, stored, sentence):
    group, notes = ingested(tmp_path, segy_bytes(binary={(3255, "H"): system}, traces={(89, "i2"): unit}))
    assert group["cdp_x"].attrs.get("unitsV1") == stored
    assert group["cdp_y"].attrs.get("unitsV1") == stored
    assert sentence in said_in(notes) if sentence else said_in(notes) == ""


@pytest.mark.parametrize(("interval", "step"), [(5000, 5), (5, 0.005)])
def test_depth_is_said_to_be_taken_in_thousandths(tmp_path, interval, step):
    content = segy_bytes(interval=interval)
    group, notes = ingested(tmp_path, content, index=Index(template="PostStack3DDepth"))
    np.testing.assert_allclose(group["depth"][:], np.arange(N_SAMPLES) * step)
    assert f"in thousandths: {interval} at byte 3217 is {step:g} a sample" in said_in(notes)

"""Seismic Unix data: read by a flag in either byte order, proven, and given back as they were or as SEG-Y."""

import io
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import segyio.su
import zarr

from flows.publishers import direct_sweep
from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index, Master, Publication
from tasks.prove import prove
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import Given
from tasks.volume.segy.seismic_unix import format_of
from tests.support.segy_maker import segy_bytes, values_of

SU = Index(file_format="su")
SHAPE, N_SAMPLES = (4, 5), 21
_LINES, _PLACES = (axis.ravel() for axis in np.indices(SHAPE))


def su_bytes(order: str, traces: dict[tuple[int, str], Any] | None = None, **options: Any) -> bytes:
    """Traces on a grid of fldr (byte 9) and cdp (byte 21), with fields of Seismic Unix behind byte 180."""
    own: dict[tuple[int, str], Any] = {
        (181, "f4"): 0.004,
        (185, "f4"): 0,
        (189, "f4"): 12.5,
        (193, "f4"): 1,
        (201, "f4"): 1.5,
        (205, "i4"): 20,
        (209, "i2"): 7,
        (213, "i2"): -3,
        (215, "i2"): 100,
        (9, "i4"): 100 + _LINES,
        (21, "i4"): 1 + _PLACES,
    }
    given = {
        "shape": SHAPE,
        "n_samples": N_SAMPLES,
        "code": 5,
        "order": order,
        "traces": own | (traces or {}),
    }
    return segy_bytes(**given | options)[3600:]


class Source(io.BytesIO):
    """Bytes as a source."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.size, self.name = len(content), "line.su"

    def read(self, start: int, length: int) -> bytes:  # type: ignore[override]
        self.seek(start)
        return super().read(length)


@pytest.mark.parametrize(("order", "name"), [(">", "big"), ("<", "little")])
def test_a_volume_holds_the_traces_and_gives_back_the_file_and_segy(tmp_path, order, name):
    content = su_bytes(order)
    source, volume = tmp_path / "line.su", tmp_path / "line.zarr"
    source.write_bytes(content)
    ingest_segy(str(source), str(volume), SU, Master(chunks=[2, 5, 8]))
    assert prove(str(volume))["crc32c"] == f"{google_crc32c.value(content):08x}"
    records = np.frombuffer(content, np.uint8).reshape(20, -1)
    group = zarr.open_group(volume, mode="r")
    np.testing.assert_array_equal(
        group["amplitude"][:].reshape(20, -1), values_of(records[:, 240:], 5, order)
    )
    with segyio.su.open(str(source), ignore_geometry=True, endian=name) as read:
        np.testing.assert_array_equal(group["amplitude"][:].reshape(20, -1), read.trace.raw[:])
    assert group["time"][:].tolist() == (4 * np.arange(N_SAMPLES)).tolist()
    about = group["headers"].attrs["field_contents"]
    assert (about["cdp_x"], about["cdp_y"]) == ("d1 (float32)", "f1 (float32)")
    known = info(str(volume))["sources"][0]
    assert known["revision"] == "Seismic Unix"
    assert "no textual and no binary header" in json.dumps(known["oddities"])

    again = tmp_path / "again.su"
    assert export_segy(str(volume), str(again), check=True)["checked"] == 20
    assert again.read_bytes() == content
    for endian, wanted in (("source", ">"), ("big", ">"), ("little", "<")):
        target = tmp_path / f"{endian}.sgy"
        summary = export_segy(str(volume), str(target), Export(file_format="segy", endian=endian), check=True)
        assert "were made" in " ".join(summary["notes"])
        raw = target.read_bytes()
        # The same traces as if they had been written in that byte order, field by field.
        assert raw[3600:] == su_bytes(wanted)
        assert raw[:3200].decode("cp500").startswith("C 1 SEG-Y MADE OF SEISMIC UNIX DATA")
        assert struct.unpack(f"{wanted}HHHHH", raw[3216:3226]) == (4000, 0, N_SAMPLES, 0, 5)
        assert raw[3500:3502] == b"\0\0"
        with segyio.open(str(target), ignore_geometry=True, endian="big" if wanted == ">" else "little") as f:
            np.testing.assert_array_equal(f.trace.raw[:], values_of(records[:, 240:], 5, order))
    part = tmp_path / "part.su"
    export_segy(str(volume), str(part), Export(selection=["inline=101:102"]), check=True)
    assert part.read_bytes() == records[5:15].tobytes()


def test_the_segy_has_traces_without_a_cell_too_and_obspy_reads_both_files(tmp_path):
    codes = np.where(np.arange(20) == 3, 4, np.where(np.arange(20) == 8, 10, 1))
    content = su_bytes("<", {(29, "i2"): codes})
    (tmp_path / "line.su").write_bytes(content)
    summary = ingest_segy(str(tmp_path / "line.su"), str(tmp_path / "line.zarr"), SU)
    # Code 10 is an auxiliary trace of SEG-Y; Seismic Unix has another meaning for it.
    assert any("Auxiliary traces by their code (byte 29): 1;" in note for note in summary["notes"])
    export_segy(str(tmp_path / "line.zarr"), str(tmp_path / "line.sgy"), Export(file_format="segy"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from obspy.io.segy.segy import _read_segy, _read_su
    ours, theirs = _read_segy(str(tmp_path / "line.sgy")).traces, _read_su(str(tmp_path / "line.su")).traces
    assert len(ours) == len(theirs) == 20
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.header.trace_identification_code == b.header.trace_identification_code
        assert a.header.original_field_record_number == b.header.original_field_record_number


def test_a_scan_says_what_there_is_not_and_a_damaged_volume_is_repaired_from_the_file(tmp_path):
    (tmp_path / "line.su").write_bytes(su_bytes("<"))
    found = scan(str(tmp_path / "line.su"), SU)
    assert (found["textual_header"], found["format"]["revision"]) == ("", "Seismic Unix")
    assert found["grid"]["shape"] == [4, 5]
    assert "Seismic Unix data have no textual and no binary header" in found["notes"][0]
    volume = tmp_path / "line.zarr"
    ingest_segy(str(tmp_path / "line.su"), str(volume), SU)
    (chunk,) = (p for p in (volume / "amplitude" / "c").rglob("*") if p.is_file())
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    verify(str(volume), repair="from_source")
    assert chunk.read_bytes() == whole


def test_several_files_of_a_survey_come_back_each(tmp_path):
    for line in range(3):
        (tmp_path / f"line_{line}.su").write_bytes(su_bytes("<", {(9, "i4"): 100 + 4 * line + _LINES}))
    volume = str(tmp_path / "all.zarr")
    ingest_segy(str(tmp_path / "line_*.su"), volume, SU)
    export_segy(volume, str(tmp_path / "back"))
    for line in range(3):
        name = f"line_{line}.su"
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_sweep_takes_files_named_su_only_where_this_is_said(tmp_path):
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    staging.mkdir()
    (staging / "a.su").write_bytes(su_bytes("<"))
    (staging / "b.sgy").write_bytes(segy_bytes())
    given: dict[str, Any] = {"staging": str(staging), "volumes": str(volumes), "settle_minutes": 0}
    plain = Publication(steps=["proof"])
    assert direct_sweep(**given, publication=plain)["not_segy"] == {".su": 1}
    summary = direct_sweep(**given, publication=Publication(index=SU, steps=["proof"]))
    # The SEG-Y beside it is read as such, and was published.
    assert summary["counts"] == {"published": 1, "unchanged": 1}
    assert summary["not_segy"] == {}
    export_segy(str(volumes / "a.zarr"), str(tmp_path / "a.su"))
    assert (tmp_path / "a.su").read_bytes() == (staging / "a.su").read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (segy_bytes(code=5), "begins with a textual header, so it is SEG-Y"),
        (b"", "is empty"),
        (b"\x1f\x8b" + bytes(500), "is a gzip file"),
        (bytes(5000), "gives no number of samples that fits"),
        (su_bytes("<")[:-5], "is truncated or has something appended"),
        (su_bytes("<", {(115, "u2"): 10}), "no header follows where it puts one"),
        (bytes(range(256)) * 20, "is not Seismic Unix data"),
    ],
)
def test_what_is_no_seismic_unix_is_refused_with_what_it_is(content, sentence):
    with pytest.raises(InputRefused, match=sentence):
        format_of(Source(content), Given(seismic_unix=True))


def test_a_file_whose_headers_read_the_same_in_both_orders_needs_the_order():
    content = bytearray(240 + 4 * 257)
    struct.pack_into("<H", content, 114, 257)
    with pytest.raises(InputRefused, match="--sample-endian big or little"):
        format_of(Source(bytes(content)), Given(seismic_unix=True))
    assert format_of(Source(bytes(content)), Given(seismic_unix=True, order="<")).byte_order == "<"
    struct.pack_into("<i", content, 0, 1)  # tracl is 1 in one order and 16 million in the other
    assert format_of(Source(bytes(content)), Given(seismic_unix=True)).byte_order == "<"


def test_an_interval_of_0_names_d1_and_zeros_at_the_end_are_kept():
    found = format_of(Source(su_bytes(">", {(117, "u2"): 0}) + bytes(500)), Given(seismic_unix=True))
    assert (found.sample_interval_us, found.n_traces, found.trailer_bytes) == (0, 20, 500)
    assert any("d1 (byte 181) is 0.004" in sentence for sentence in found.oddities)


def test_a_trace_of_one_file_only_says_its_order_by_small_numbers(tmp_path: Path):
    content = su_bytes("<", shape=(1, 1), traces={(9, "i4"): 1, (21, "i4"): 1})
    (tmp_path / "one.su").write_bytes(content)
    found = scan(str(tmp_path / "one.su"), SU)["format"]
    assert (found["byte_order"], found["samples_per_trace"]) == ("little endian", N_SAMPLES)

"""Any number of dimensions: each trace lies where its headers say, with its coordinates, and comes back as it was.

Covers ingest/coordinates.py, ingest/spill.py.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Index, Levels, Master, Overrides, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.writable import WritableStore
from tests.support.gathers import write_gathers
from tests.support.volumes import SPILLED, threads

# Names, bytes and NumPy types of the words of each kind; a template's own words have none.
FIELD = Index(
    template="StreamerFieldRecords3D",
    names=["sail_line", "gun", "cable"],
    bytes="201,203,205",
    types=["int16", "int16", "int16"],
    overrides=Overrides(AutoShotWrap=True),
)
NODES = Index(
    template="ObnReceiverGathers3D",
    names=["receiver", "shot_line", "gun"],
    bytes="201,203,205",
    types=["int16", "int16", "int16"],
    overrides=Overrides(CalculateShotIndex=True),
)


def round_trip(
    folder: Path, source: Path, index: Index, master: Master = Master(), **limits: Any
) -> zarr.Group:
    """Ingest, prove, export and compare; the volume as plain zarr opens it."""
    volume, back = folder / "a.zarr", folder / "back.sgy"
    with threads(**limits) as compute:
        ingest_segy(str(source), str(volume), index, master, compute=compute)
    prove(str(volume))
    export_segy(str(volume), str(back), overwrite=True)
    assert back.read_bytes() == source.read_bytes()
    return zarr.open_group(volume, mode="r")


def cells_of(columns: list[np.ndarray]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Axes and, for each trace, its cell: the plain twin of a grid."""
    pairs = [np.unique(column, return_inverse=True) for column in columns]
    return tuple(axis for axis, _ in pairs), tuple(place for _, place in pairs)


@st.composite
def surveys(draw):
    """Index words of one to four dimensions, in any order, with gaps."""
    rank = draw(st.integers(1, 4))
    axes = [
        [draw(st.integers(-99, 99)) + step * k for k in range(draw(st.integers(1, 3)))]
        for step in draw(st.lists(st.sampled_from([1, 2, 5, -3]), min_size=rank, max_size=rank))
    ]
    cells = list(itertools.product(*map(sorted, map(set, axes))))
    kept = draw(st.lists(st.sampled_from(cells), unique=True, min_size=max(1, len(cells) // 3)))
    return np.array(kept), draw(
        st.lists(st.sampled_from(["int16", "int32", "float32"]), min_size=rank, max_size=rank)
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(surveys())
def test_surveys_of_any_rank_order_and_gaps_come_back(tmp_path_factory, survey):
    values, types = survey
    if len(values) > 1 and all(len(set(column)) == 1 for column in values.T.tolist()):
        return
    rank, folder = values.shape[1], tmp_path_factory.mktemp("any")
    if rank > 1 and len(values) > 3 and all(len(set(c)) == len(values) for c in values.T.tolist()):
        return  # a diagonal is no grid, and refused
    places = [181 + 8 * k for k in range(rank)]
    kinds = {"int16": "i2", "int32": "i4", "float32": "f4"}
    words = {(byte, kinds[kind]): column for byte, kind, column in zip(places, types, values.T, strict=True)}
    samples = write_gathers(folder / "a.sgy", words)
    names = [f"dim{k}" for k in range(rank)]
    index = Index(bytes=",".join(map(str, places)), names=names, types=types, coordinate_bytes="none")
    group = round_trip(folder, folder / "a.sgy", index)
    axes, cells = cells_of(list(values.T))
    master = group["amplitude"]
    assert master.metadata.dimension_names == (*names, "time")
    np.testing.assert_array_equal(master[...][cells], samples)
    assert np.isnan(master[...]).sum() == (master.size // 13 - len(values)) * 13
    for name, axis in zip(names, axes, strict=True):
        assert group[name][...].tolist() == axis.tolist()
    np.testing.assert_array_equal(group["trace_number"][...][cells], np.arange(len(values)))
    assert ("ome" in group.attrs) == (rank + 1 in (2, 3))
    assert group.attrs["seismill"]["levels"][0]["path"] == "amplitude"


def test_shots_share_their_source_and_channels_have_their_own_group(tmp_path):
    shot, channel = (column.ravel() for column in np.meshgrid(np.arange(5), np.arange(7), indexing="ij"))
    order = np.random.default_rng(1).permutation(35)[:31]
    shot, channel = shot[order], channel[order]
    samples = write_gathers(
        tmp_path / "a.sgy",
        {
            (17, "i4"): 101 + 2 * shot,
            (13, "i4"): channel + 1,
            (71, "i2"): np.where(shot == 3, -100, -10),
            (73, "i4"): np.where(shot == 3, 100, 10) * (5000 + 25 * shot),
            (77, "i4"): np.where(shot == 3, 100, 10) * 70,
            (81, "i4"): np.where(shot == 3, 100, 10) * (5000 + 25 * shot - 12 * channel),
        },
    )
    group = round_trip(
        tmp_path, tmp_path / "a.sgy", Index(template="StreamerShotGathers2D"), Master(chunks=[2, 4, 8])
    )
    assert group.attrs["name"] == "StreamerShotGathers2D"
    assert group.attrs["attributes"]["gatherType"] == "common_source"
    assert group["source_coord_x"].metadata.dimension_names == ("shot_point",)
    assert group["source_coord_x"][...].tolist() == [5000 + 25 * k for k in range(5)]
    assert group["source_coord_y"][...].tolist() == [70] * 5
    assert dict(group["source_coord_x"].attrs)["unitsV1"] == {"length": "m"}
    places = np.full((5, 7), np.nan)
    places[shot, channel] = 5000 + 25 * shot - 12 * channel
    np.testing.assert_array_equal(group["group_coord_x"][...], places)
    np.testing.assert_array_equal(group["amplitude"][...][shot, channel], samples)
    assert group["amplitude"].attrs["coordinates"].split() == [
        "source_coord_x",
        "source_coord_y",
        "group_coord_x",
        "group_coord_y",
    ]


def field_records():
    """Two sail lines, two guns that fire in turns, two cables whose channels count on."""
    rows = [
        (line, shot, cable, 4 * (cable - 1) + channel)
        for line in (7, 9)
        for shot in range(20, 26)
        for cable in (1, 2)
        for channel in (1, 2, 3, 4)
    ]
    line, shot, cable, channel = np.array(rows).T
    return line, shot, cable, channel, shot % 2 + 1


def test_field_records_get_a_dense_shot_index_and_wrapped_channels(tmp_path):
    line, shot, cable, channel, gun = field_records()
    samples = write_gathers(
        tmp_path / "a.sgy",
        {
            (201, "i2"): line,
            (203, "i2"): gun,
            (205, "i2"): cable,
            (17, "i4"): shot,
            (13, "i4"): channel,
            (9, "i4"): 1000 + shot,
        },
    )
    index = FIELD.model_copy(update={"overrides": Overrides(AutoShotWrap=True, AutoChannelWrap=True)})
    group = round_trip(tmp_path, tmp_path / "a.sgy", index)
    assert group["amplitude"].metadata.dimension_names == (
        "sail_line",
        "gun",
        "shot_index",
        "cable",
        "channel",
        "time",
    )
    assert group["amplitude"].shape == (2, 2, 3, 2, 4, 13)
    where = (line // 9, gun - 1, (shot - 20) // 2, cable - 1, (channel - 1) % 4)
    np.testing.assert_array_equal(group["amplitude"][...][where], samples)
    assert group["shot_point"].metadata.dimension_names == ("sail_line", "gun", "shot_index")
    assert group["shot_point"][...].tolist() == [[[20, 22, 24], [21, 23, 25]]] * 2
    assert group["orig_field_record_num"][0, 1].tolist() == [1021, 1023, 1025]
    assert group.attrs["attributes"]["gridOverrides"] == {"AutoShotWrap": True, "AutoChannelWrap": True}
    assert rechunk(str(tmp_path / "a.zarr"))["notes"][0].startswith(
        "presets make no copies of a volume of 6 dim"
    )
    copies = Copies(presets=[], more=[Copy(name="shots", chunks=[1, 1, 1, 2, 4, 13])], quality="lossless")
    rechunk(str(tmp_path / "a.zarr"), copies)
    pyramid(str(tmp_path / "a.zarr"), Levels(levels=1, until=1))
    verify(str(tmp_path / "a.zarr"), errors=True)
    opened = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(opened["shots"][...], group["amplitude"][...])
    assert opened["pyramid/1/amplitude"].shape == (2, 2, 3, 1, 2, 7)


@pytest.mark.parametrize("wrapped", [True, False])
def test_cables_are_calculated_from_channels(tmp_path, wrapped):
    shot, channel = (column.ravel() for column in np.meshgrid([5, 6, 7], 1 + np.arange(12), indexing="ij"))
    samples = write_gathers(tmp_path / "a.sgy", {(17, "i4"): shot, (13, "i4"): channel, (201, "i2"): 0})
    overrides = Overrides(CalculateCable=True, ChannelWrap=wrapped, ChannelsPerCable=4)
    index = Index(template="StreamerShotGathers3D", overrides=overrides)
    group = round_trip(tmp_path, tmp_path / "a.sgy", index)
    assert group["cable"][...].tolist() == [1, 2, 3]
    assert group["channel"][...].tolist() == ([1, 2, 3, 4] if wrapped else list(range(1, 13)))
    values = group["amplitude"][...]
    by_channel = (channel - 1) % 4 if wrapped else channel - 1
    np.testing.assert_array_equal(values[shot - 5, (channel - 1) // 4, by_channel], samples)
    assert group["trace_mask"][...].sum() == 36
    assert group.attrs["attributes"]["gridOverrides"] == overrides.model_dump(exclude_defaults=True)


def test_nodes_without_a_component_have_one(tmp_path):
    receiver, line, shot = (
        column.ravel() for column in np.meshgrid([11, 12, 15], [1, 2], np.arange(40, 46), indexing="ij")
    )
    gun = shot % 2
    samples = write_gathers(
        tmp_path / "a.sgy",
        {
            (201, "i2"): receiver,
            (203, "i2"): line,
            (205, "i2"): gun,
            (17, "i4"): shot,
            (71, "i2"): 1,
            (81, "i4"): 10 * receiver,
            (73, "i4"): 7 * shot + line,
        },
    )
    group = round_trip(tmp_path, tmp_path / "a.sgy", NODES)
    assert group["component"][...].tolist() == [1]
    assert group["amplitude"].shape == (1, 3, 2, 2, 3, 13)
    where = (0 * shot, np.searchsorted([11, 12, 15], receiver), line - 1, gun, (shot - 40) // 2)
    np.testing.assert_array_equal(group["amplitude"][...][where], samples)
    assert group["group_coord_x"][...].tolist() == [110, 120, 150]
    assert group["source_coord_x"][1, 1].tolist() == [7 * s + 2 for s in (41, 43, 45)]


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 3)])
def test_gathers_have_copies_and_levels_by_rank(tmp_path, shape):
    places = [column.ravel() for column in np.meshgrid(*map(np.arange, shape), indexing="ij")]
    bytes_of = {3: ["189", "193", "37"], 4: ["189", "193", "37", "201"]}[len(shape)]
    samples = write_gathers(
        tmp_path / "a.sgy", {(int(b), "i4"): 1 + c for b, c in zip(bytes_of, places, strict=True)}
    )
    template = {3: "CdpOffsetGathers3DTime", 4: "CocaGathers3DTime"}[len(shape)]
    names = ["inline", "crossline", "offset", "azimuth"][: len(shape)]
    group = round_trip(
        tmp_path, tmp_path / "a.sgy", Index(template=template, names=names, bytes=",".join(bytes_of))
    )
    np.testing.assert_array_equal(group["amplitude"][...], samples.reshape(*shape, 13))
    added = rechunk(str(tmp_path / "a.zarr"), Copies(quality="high"))
    pyramid(str(tmp_path / "a.zarr"), Levels(levels=2, until=1))
    verify(str(tmp_path / "a.zarr"), errors=True)
    copies = [row["path"] for row in added["arrays"]]
    assert copies == ([] if len(shape) > 3 else ["fast_inline", "fast_crossline", "fast_offset", "fast_time"])
    opened = zarr.open_group(tmp_path / "a.zarr", mode="r")
    for copy in copies:
        error = np.abs(opened[copy][...] - group["amplitude"][...]).max()
        assert error <= opened[copy].attrs["tolerance"]
    assert opened["pyramid/1/amplitude"].shape[: len(shape) - 2] == shape[: len(shape) - 2]
    with pytest.raises(InputRefused, match="set the others to 1"):
        pyramid(str(tmp_path / "a.zarr"), Levels(factor=[2] * (len(shape) + 1), levels=1), overwrite=True)


def test_duplicates_and_what_is_not_binned_are_counted(tmp_path):
    inline, crossline, offset = (
        column.ravel() for column in np.meshgrid([1, 2], [5, 6, 7], [110, 237, 391, 402], indexing="ij")
    )
    offset = offset + 3 * inline  # irregular: as a dimension it would be half empty
    words = {(189, "i4"): inline, (193, "i4"): crossline, (37, "i4"): offset}
    samples = write_gathers(tmp_path / "a.sgy", words)
    both = {"bytes": "189,193", "names": ["inline", "crossline"]}
    with pytest.raises(InputRefused, match="--has-duplicates"):
        ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "refused.zarr"), Index(**both))
    counted = round_trip(tmp_path, tmp_path / "a.sgy", Index(**both, overrides=Overrides(HasDuplicates=True)))
    assert counted["trace"][...].tolist() == [1, 2, 3, 4]
    assert counted["amplitude"].chunks[2] == 1
    np.testing.assert_array_equal(counted["amplitude"][...], samples.reshape(2, 3, 4, 13))
    (tmp_path / "binned").mkdir()
    overrides = Overrides(NonBinned=True, chunksize=2, non_binned_dims=["offset"])
    index = Index(template="CdpOffsetGathers3DTime", overrides=overrides)
    binned = round_trip(tmp_path / "binned", tmp_path / "a.sgy", index)
    assert binned["amplitude"].metadata.dimension_names == ("inline", "crossline", "trace", "time")
    assert binned["amplitude"].chunks[2] == 2
    assert binned["offset"].metadata.dimension_names == ("inline", "crossline", "trace")
    np.testing.assert_array_equal(binned["offset"][...], offset.reshape(2, 3, 4))


AUXILIARY = np.array([4, 1, 1, 6, 1, 2, 9, 1, 1, 7])


@pytest.mark.parametrize("memory", ["local", "spilled"])
def test_auxiliary_traces_have_no_channel_and_come_back(tmp_path, memory):
    shot = np.repeat(np.arange(4), 10)
    code = np.tile(AUXILIARY, 4)
    # Auxiliary channels have the numbers of real ones, which would be duplicates.
    channel = np.tile([1, 1, 2, 2, 3, 4, 5, 5, 6, 1], 4)
    samples = write_gathers(
        tmp_path / "a.sgy",
        {(17, "i4"): shot + 1, (13, "i4"): channel, (29, "i2"): code, (37, "i4"): 10 * channel},
        n_samples=21,
    )
    index, master = Index(template="StreamerShotGathers2D"), Master(chunks=[2, 2, 8])
    limits = SPILLED if memory == "spilled" else {}
    group = round_trip(tmp_path, tmp_path / "a.sgy", index, master, **limits)
    placed = np.isin(code, [1, 2])
    assert group["channel"][...].tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(group["amplitude"][...][shot[placed], channel[placed] - 1], samples[placed])
    np.testing.assert_array_equal(group["unplaced/samples"][...], samples[~placed])
    assert group["unplaced/trace_number"][...].tolist() == np.flatnonzero(~placed).tolist()
    raw = np.frombuffer(group["unplaced/raw_headers"][...].tobytes(), np.uint8).reshape(-1, 240)
    assert raw[:, 29].tolist() == code[~placed].tolist()
    assert group["amplitude"].attrs["dead_coded_traces"] == 4
    assert group["amplitude"].attrs["zero_traces"] == 0
    assert group["amplitude"].attrs["live_traces"] == placed.sum()
    assert group.attrs["seismill"]["unplaced"] == (~placed).sum()
    notes = group.attrs["seismill"]["sources"][0]["notes"]
    assert (
        "Auxiliary traces by their code (byte 29): 16; they have no cell and are kept in unplaced." in notes
    )
    assert "Dead traces: 4 by their code (byte 29 is 2), 0 by zeros alone." in notes
    shown = info(str(tmp_path / "a.zarr"))
    assert (shown["unplaced"], shown["statistics"]["dead_coded_traces"]) == (16, 4)


def test_a_spill_needs_no_more_memory_than_the_file_and_is_refused_before_anything_is_written(tmp_path):
    at = np.random.default_rng(3).permutation(12 * 10)
    words = {(189, "i4"): 1 + at // 10, (193, "i4"): 1 + at % 10}
    samples = write_gathers(tmp_path / "a.sgy", words)
    far = WritableStore(f"memory://{tmp_path.name}")
    far.put("a.sgy", (tmp_path / "a.sgy").read_bytes())
    ingest_segy(f"{far.url}/a.sgy", str(tmp_path / "a.zarr"), run=Run(memory="80 MB"))
    amplitude = zarr.open_array(str(tmp_path / "a.zarr" / "amplitude"), mode="r")[...]
    np.testing.assert_array_equal(amplitude.reshape(120, -1)[at], samples)
    more = np.random.default_rng(4).permutation(400 * 10)
    write_gathers(
        tmp_path / "b.sgy", {(189, "i4"): 1 + more // 10, (193, "i4"): 1 + more % 10}, n_samples=2000
    )
    far.put("b.sgy", (tmp_path / "b.sgy").read_bytes())
    with pytest.raises(InputRefused, match=r"a range to spill needs \d+ MB, but the run may use 80 MB"):
        ingest_segy(f"{far.url}/b.sgy", str(tmp_path / "b.zarr"), run=Run(memory="80 MB"))
    assert not (tmp_path / "b.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sorting", ["by gather", "by crossline", "by offset", "not at all"])
def test_gathers_that_are_spilled_are_read_back_about_once(tmp_path, sorting):
    # As of a file a thousand times as large: many ranges and blocks, an inline larger than either.
    small = {"traces_block_bytes": 64 << 10, "spill_range_bytes": 128 << 10, "spill_gap_bytes": (0, 2048)}
    rng = np.random.default_rng(3)
    inline, crossline, offset = np.nonzero(rng.random((5, 40, 9)) < 0.8)
    order = {
        "by gather": np.arange(len(inline)),
        "by crossline": np.lexsort((offset, inline, crossline)),
        "by offset": np.lexsort((crossline, inline, offset)),
        "not at all": rng.permutation(len(inline)),
    }[sorting]
    cells = tuple(column[order] for column in (inline, crossline, offset))
    words = {(byte, "i4"): 1 + column for byte, column in zip((189, 193, 37), cells, strict=True)}
    samples = write_gathers(tmp_path / "a.sgy", words, n_samples=256)
    index = Index(template="CdpOffsetGathers3DTime")
    with threads(**SPILLED, **small) as compute:
        summary = ingest_segy(
            str(tmp_path / "a.sgy"),
            str(tmp_path / "a.zarr"),
            index,
            Master(chunks=[2, 4, 4, 256]),
            compute=compute,
        )
    amplitude = zarr.open_array(str(tmp_path / "a.zarr" / "amplitude"), mode="r")[...]
    np.testing.assert_array_equal(amplitude[cells], samples)
    assert np.isnan(amplitude).sum() == (5 * 40 * 9 - len(order)) * 256
    # The headers twice, as for any near file whose words are in no order, then the file, and what was spilled of it.
    assert summary["bytes_read"] <= 4.5 * (tmp_path / "a.sgy").stat().st_size
    prove(str(tmp_path / "a.zarr"))
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "back.sgy"))
    assert (tmp_path / "back.sgy").read_bytes() == (tmp_path / "a.sgy").read_bytes()


def test_traces_of_zeros_are_counted_apart_from_those_that_are_coded_dead(tmp_path):
    inline, crossline = (column.ravel() for column in np.meshgrid([1, 2, 3], [1, 2, 3, 4], indexing="ij"))
    code = np.where(np.arange(12) < 3, 2, 1)
    words = {(189, "i4"): inline, (193, "i4"): crossline, (29, "i2"): code}
    write_gathers(tmp_path / "a.sgy", words)
    content = bytearray((tmp_path / "a.sgy").read_bytes())
    for trace in (2, 7):
        start = 3600 + trace * (240 + 52) + 240
        content[start : start + 52] = bytes(52)
    (tmp_path / "a.sgy").write_bytes(content)
    group = round_trip(tmp_path, tmp_path / "a.sgy", Index())
    about = group["amplitude"].attrs
    assert (about["dead_coded_traces"], about["zero_traces"], about["live_traces"]) == (3, 2, 12)


def test_codes_that_every_trace_has_say_nothing(tmp_path):
    inline, crossline = (column.ravel() for column in np.meshgrid([1, 2, 3], [1, 2, 3, 4], indexing="ij"))
    write_gathers(tmp_path / "a.sgy", {(189, "i4"): inline, (193, "i4"): crossline, (29, "i2"): 9})
    group = round_trip(tmp_path, tmp_path / "a.sgy", Index())
    assert "unplaced" not in group
    assert group["amplitude"].shape == (3, 4, 13)


def test_a_regular_file_with_one_auxiliary_trace_in_its_middle_is_scanned(tmp_path):
    inline, crossline = (column.ravel() for column in np.meshgrid(range(40), range(50), indexing="ij"))
    code = np.ones(2000, int)
    code[1234] = 6
    samples = write_gathers(
        tmp_path / "a.sgy", {(189, "i4"): 1 + inline, (193, "i4"): 1 + crossline, (29, "i2"): code}
    )
    group = round_trip(tmp_path, tmp_path / "a.sgy", Index(), all_headers_bytes=0, sampled_traces=2)
    assert group["unplaced/trace_number"][...].tolist() == [1234]
    np.testing.assert_array_equal(group["unplaced/samples"][0], samples[1234])
    assert not group["trace_mask"][24, 34]
    found = scan(str(tmp_path / "a.sgy"))
    assert (found["auxiliary_traces"], found["grid"]["density"]) == (1, 1999 / 2000)


REAL = [
    ("seisplot/data/31_81_PR.sgy", Index(), (534, 1501), "PostStack2DTime"),
    ("seisplot/data/31_81_PR.sgy", Index(bytes="trace"), (534, 1501), "PostStack2DTime"),
    ("UnpluggedSegy/lineE.sgy", Index(), (111, 1001), "PostStack2DTime"),
    ("UnpluggedSegy/lineE.sgy", Index(template="PostStack2DTime", coordinate_bytes="73,77"), (111, 1001), ""),
    ("segyio/small-ps.sgy", Index(), (4, 3, 2, 10), "CdpOffsetGathers3DTime"),
    ("segyio/shot-gather.sgy", Index(bytes="9,13", template="StreamerShotGathers2D"), (4, 26, 25), ""),
    ("segyio/multi-text.sgy", Index(bytes="trace"), (1, 1), "PostStack2DTime"),
    ("segyio/python/tutorials/viking_small.segy", Index(), (4, 120, 600), "StreamerShotGathers2D"),
    (
        "segyio/python/tutorials/viking_small.segy",
        Index(
            template="CdpOffsetGathers2DTime",
            overrides=Overrides(NonBinned=True, chunksize=4, non_binned_dims=["offset"]),
        ),
        (126, 4, 600),
        "CdpOffsetGathers2DTime",
    ),
    ("segyio/small.sgy", Index(), (5, 5, 50), "PostStack3DTime"),
    ("segysak/tests/test-data-segysak/f3-withdead.sgy", Index(), (23, 18, 75), "PostStack3DTime"),
    ("segyio/f3-lsb.sgy", Index(), (23, 18, 75), "PostStack3DTime"),
    ("segyio/multiformats/Format8msb.sgy", Index(), (23, 18, 75), "PostStack3DTime"),
    ("obspy/example.y_first_trace", Index(bytes="trace"), (1, 500), ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "index", "shape", "template"), REAL)
def test_real_files_come_back_byte_for_byte(shared, tmp_path, path, index, shape, template):
    source = shared / "data" / path
    group = round_trip(tmp_path, source, index)
    assert group["amplitude"].shape == shape
    assert group.attrs["name"] == template or not template
    assert os.path.getsize(tmp_path / "back.sgy") == os.path.getsize(source)

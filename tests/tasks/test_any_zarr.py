"""Levels and copies beside arrays that other tools wrote: Zarr v2 and v3, whatever codec, groups and bare arrays.

Covers arrays/foreign.py, arrays/foreign_documents.py, arrays/group_metadata.py, arrays/groups.py,
arrays/level_names.py, protocol/foreign_target.py, pyramid/level_zero.py.
"""

import json
import pickle
import shlex
import shutil
import warnings
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import yaozarrs
import zarr
from PIL import Image
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.errors import ZarrUserWarning

from flows.cli import run
from tasks.copy import copy
from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Copy, Levels, Run
from tasks.parameters import Image as ImageOf
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.arrays.reader import open_any
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.pyramid.coarsen import coarsen
from tasks.volume.report.slices import sides_of
from tasks.volume.store.writable import WritableStore
from tests.support.volumes import STAMP, differences, stopping_after, threads, tree

FIXED = Run(created_on=STAMP)
SHAPE = (37, 21, 65)
TWO = Levels(levels=2, until=1)


def values(dtype="uint16", shape=SHAPE):
    return np.random.default_rng(3).normal(100, 20, shape).astype(dtype)


def field(folder, array=None, consolidated=False, name="field", **options):
    """A Zarr v3 group `field` that holds an array `0`, as pyramid-sampler makes one."""
    array = values() if array is None else array
    root = zarr.open_group(folder / "some.zarr", mode="a")
    group = root.require_group(name)
    options = {"chunks": (8, 8, 16), "dimension_names": ("z", "y", "x")} | options
    group.create_array("0", shape=array.shape, dtype=array.dtype, **options)[...] = array
    if consolidated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)  # it is no part of the Zarr v3 specification yet
            zarr.consolidate_metadata(folder / "some.zarr")
    return folder / "some.zarr"


def levels_of(array, number=2, method="mean", factor=(2, 2, 2)):
    found = []
    for _ in range(number):
        array = coarsen(array, factor, method)
        found.append(array)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compressors": None},
        {"compressors": [GzipCodec()]},
        {"compressors": [BloscCodec(cname="lz4", shuffle="bitshuffle")]},
        {"filters": [TransposeCodec(order=(2, 0, 1))], "compressors": [ZstdCodec(level=1)]},
        {"serializer": BytesCodec(endian="big")},
        {"shards": (16, 16, 32)},
        {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        {"chunks": (37, 21, 65)},
    ],
    ids=[
        "default",
        "raw",
        "gzip",
        "bitshuffle",
        "transposed",
        "big-endian",
        "shards",
        "v2-keys",
        "one-chunk",
    ],
)
def test_levels_of_a_field_lie_beside_it(tmp_path, options):
    store = field(tmp_path, **options)
    summary = pyramid(str(store), TWO, run=FIXED, array="field/0")
    group = zarr.open_group(store, mode="r")
    for number, level in enumerate(levels_of(values()), start=1):
        np.testing.assert_array_equal(group[f"field/{number}"][...], level)
    np.testing.assert_array_equal(group["field/0"][...], values())
    assert [row["path"] for row in summary["arrays"]] == ["1", "2"]
    yaozarrs.validate_zarr_store(str(store / "field"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("<u2", {"compressor": numcodecs.Zstd()}),
        (">f4", {"compressor": numcodecs.Blosc(), "filters": [numcodecs.Delta(dtype=">f4")]}),
        ("<f8", {"compressor": None, "order": "F"}),
        ("|u1", {"compressor": numcodecs.LZ4()}),
        ("<f4", {"compressor": numcodecs.Zlib(), "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_levels_of_zarr_v2_go_to_a_group_of_their_own(tmp_path, dtype, options, bare):
    array = values(dtype)
    options = {"filters": None} | options
    compressor, filters = options.pop("compressor"), options.pop("filters")
    where, path = (tmp_path / "old.zarr", None) if bare else (tmp_path / "old.zarr", "field/0")
    if not bare:
        zarr.open_group(where, mode="w", zarr_format=2).create_group("field")
    made = zarr.create_array(
        where,
        name=path,
        shape=array.shape,
        chunks=(8, 8, 16),
        dtype=array.dtype,
        zarr_format=2,
        compressors=compressor,
        filters=filters,
        **options,
    )
    made[...] = array
    array = made[...]  # differences of floats, summed up, are not quite what they were
    before = tree(where)
    with pytest.raises(InputRefused, match=r"Zarr v2.*--target"):
        pyramid(str(where), TWO, run=FIXED, array=path or "")
    pyramid(str(where), TWO, run=FIXED, array=path or "", target=str(tmp_path / "levels.zarr"))
    group = zarr.open_group(tmp_path / "levels.zarr", mode="r", zarr_format=3)
    for number, level in enumerate(levels_of(array.astype(array.dtype.newbyteorder("="))), start=1):
        assert group[str(number)].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(group[str(number)][...], level)
    assert tree(where) == before, "what is read is left alone"
    yaozarrs.validate_zarr_store(str(tmp_path / "levels.zarr"))


def test_what_is_not_stored_has_the_fill_value_of_the_array(tmp_path):
    store = tmp_path / "some.zarr"
    array = zarr.create_array(
        store, name="field/0", shape=SHAPE, chunks=(8, 8, 16), dtype="int16", fill_value=-7
    )
    array[:8] = 5
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    for number, level in enumerate(levels_of(array[...]), start=1):
        np.testing.assert_array_equal(zarr.open_array(store, path=f"field/{number}")[...], level)


def test_a_field_by_its_own_path_and_any_other_array_into_a_group(tmp_path):
    store = field(tmp_path)
    pyramid(str(store / "field" / "0"), TWO, run=FIXED)
    assert sorted(zarr.open_group(store / "field").array_keys()) == ["0", "1", "2"]
    zarr.open_group(store).create_array("density", data=values("f4"), chunks=(8, 8, 16))
    with pytest.raises(InputRefused, match=r"not level 0.*--target"):
        pyramid(str(store), TWO, run=FIXED, array="density")
    pyramid(str(store), TWO, run=FIXED, array="density", target=str(store / "density_levels"))
    np.testing.assert_array_equal(
        zarr.open_group(store)["density_levels/1"][...], coarsen(values("f4"), (2, 2, 2))
    )


def test_consolidated_metadata_tell_of_the_levels_and_forget_them(tmp_path):
    store = field(tmp_path, consolidated=True)
    pyramid(str(store), Levels(levels=3, until=1), run=FIXED, array="field/0")
    group = zarr.open_consolidated(store)
    assert sorted(group["field"].array_keys()) == ["0", "1", "2", "3"]
    assert len(group["field"].attrs["ome"]["multiscales"][0]["datasets"]) == 4
    pyramid(str(store), Levels(levels=1, until=1, method="max"), overwrite=True, run=FIXED, array="field/0")
    group = zarr.open_consolidated(store)
    assert sorted(group["field"].array_keys()) == ["0", "1"]
    assert [dataset["path"] for dataset in group["field"].attrs["ome"]["multiscales"][0]["datasets"]] == [
        "0",
        "1",
    ]
    np.testing.assert_array_equal(group["field/1"][...], coarsen(values(), (2, 2, 2), "max"))
    assert not (store / "field/3").exists()


def test_an_image_of_another_tool_keeps_its_metadata_and_gets_datasets(tmp_path):
    store = field(tmp_path)
    group = zarr.open_group(store / "field")
    image = {
        "name": "core",
        "axes": [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2.0, 1.0, 1.0]}]}
        ],
    }
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [image]}, "sample": "Ketton"})
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    attributes = zarr.open_group(store / "field").attrs
    assert attributes["sample"] == "Ketton"
    found = attributes["ome"]["multiscales"][0]
    assert (found["name"], found["axes"], found["datasets"][0]) == (
        "core",
        image["axes"],
        image["datasets"][0],
    )
    assert [dataset["path"] for dataset in found["datasets"]] == ["0", "1", "2"]
    scale, translation = found["datasets"][2]["coordinateTransformations"]
    # Finer axes alone first, until voxels are as long as they are wide.
    assert (scale["scale"], translation["translation"]) == ([4.0, 4.0, 4.0], [1.0, 1.5, 1.5])
    np.testing.assert_array_equal(zarr.open_array(store, path="field/1")[...], coarsen(values(), (1, 2, 2)))
    yaozarrs.validate_zarr_store(str(store / "field"))


def test_the_same_again_does_nothing_and_a_changed_array_is_noticed(tmp_path):
    store = field(tmp_path)
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    before = tree(store)
    assert pyramid(str(store), TWO, run=FIXED, array="field/0")["notes"] == ["was done already"]
    zarr.open_group(store / "field").attrs["note"] = "of the owner"
    zarr.open_array(store, path="field/0", mode="a")[3] = 9
    with pytest.raises(DestinationRefused, match="other pyramid levels"):
        pyramid(str(store), TWO, run=FIXED, array="field/0")
    pyramid(str(store), TWO, overwrite=True, run=FIXED, array="field/0")
    assert zarr.open_group(store / "field").attrs["note"] == "of the owner"
    changed = values()
    changed[3] = 9
    np.testing.assert_array_equal(zarr.open_array(store, path="field/1")[...], coarsen(changed, (2, 2, 2)))
    assert differences(before, tree(store))


def test_levels_that_another_tool_made_are_left_alone(tmp_path):
    store = field(tmp_path)
    zarr.open_group(store / "field").create_array("2", data=np.zeros((3, 3, 3), "u2"))
    before = tree(store)
    for how in (FIXED, Run(dry_run=True)):
        with pytest.raises(DestinationRefused, match="field/2 is there already"):
            pyramid(str(store), TWO, run=how, array="field/0")
    assert tree(store) == before


@pytest.mark.parametrize("stop", [1, -1])
def test_a_stopped_run_goes_on_and_leaves_nothing_of_others_out(tmp_path, stop):
    limits = {"level_bytes": 1 << 14, "two_levels_bytes": 0}
    small = Levels(levels=3, until=1)
    whole, stopped = (field(tmp_path / name) for name in "ab")
    zarr.open_group(stopped / "field").create_array("mask", data=np.ones(3))
    shutil.copytree(stopped / "field/mask", whole / "field/mask")
    with threads(**limits) as compute:
        blocks = pyramid(str(whole), small, run=FIXED, array="field/0", compute=compute)["blocks_done"]
    stop %= blocks
    with stopping_after(stop, **limits) as compute, pytest.raises(Resumable):
        pyramid(str(stopped), small, run=FIXED, array="field/0", compute=compute)
    assert not list((stopped / "field").glob("[123]/zarr.json")), "no level is there before all are"
    with threads(**limits) as compute:
        pyramid(str(stopped), small, run=FIXED, array="field/0", compute=compute)
    assert differences(tree(whole), tree(stopped)) == []
    # What an abandoned run left goes when another begins, and nothing else.
    other = field(tmp_path / "c")
    zarr.open_group(other / "field").create_array("mask", data=np.ones(3))
    with stopping_after(stop, **limits) as compute, pytest.raises(Resumable):
        pyramid(str(other), small, run=FIXED, array="field/0", compute=compute)
    pyramid(str(other), Levels(levels=1, until=1), run=FIXED, array="field/0")
    assert sorted(path.name for path in (other / "field").iterdir()) == [
        ".seismill",
        "0",
        "1",
        "mask",
        "zarr.json",
    ]


@pytest.mark.parametrize(("stage", "leave_base"), [("copies", False), ("pyramid", True)])
def test_a_run_that_was_stopped_before_its_new_target_was_a_group_goes_on(tmp_path, stage, leave_base):
    source, whole, stopped = field(tmp_path), tmp_path / "whole.zarr", tmp_path / "stopped.zarr"
    limits = {"level_bytes": 1 << 14, "two_levels_bytes": 0}

    def made(target, compute):
        levels = Levels(levels=2, until=1)
        places = {"array": "field/0", "target": str(target)}
        return pyramid(str(source), levels, run=FIXED, **places, leave_base=leave_base, compute=compute)

    with threads(**limits) as compute:
        made(whole, compute)
    with stopping_after(1, stage=stage, **limits) as compute, pytest.raises(Resumable):
        made(stopped, compute)
    assert [path for path in stopped.rglob("c/*/*/*") if path.is_file()], "some chunks were stored"
    assert not (stopped / "zarr.json").exists(), "and no group yet"
    with threads(**limits) as compute:
        made(stopped, compute)
    assert differences(tree(whole), tree(stopped)) == []


def test_a_chunk_that_does_not_decode_ends_the_run(tmp_path):
    store = field(tmp_path)
    chunk = store / "field/0/c/1/1/1"
    chunk.write_bytes(b"no zstd at all")
    with pytest.raises(IntegrityFailure, match=r"does not decode at \(1, 1, 1\)"):
        pyramid(str(store), TWO, run=FIXED, array="field/0")
    assert sorted(zarr.open_group(store / "field").array_keys()) == ["0"]


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path):
    store = field(tmp_path)
    with pytest.raises(InputRefused, match="such as --array field/0"):
        pyramid(str(store), TWO, run=FIXED)
    with pytest.raises(InputRefused, match=r"no Zarr array at .*field/9"):
        pyramid(str(store), TWO, run=FIXED, array="field/9")
    with pytest.raises(InputRefused, match="no published volume"):
        pyramid(str(tmp_path / "nothing"), TWO, run=FIXED)
    zarr.open_group(store).create_array("waves/0", data=np.zeros(3, "c8"))
    with pytest.raises(InputRefused, match="only numbers"):
        pyramid(str(store), TWO, run=FIXED, array="waves/0")
    (store / "field/0/zarr.json").write_text(
        (store / "field/0/zarr.json").read_text().replace('"zstd"', '"unheard-of"')
    )
    with pytest.raises(InputRefused, match="cannot be read by zarr-python"):
        pyramid(str(store), TWO, run=FIXED, array="field/0")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("verb", ["pyramid", "rechunk", "rechunk --group"])
def test_chunks_of_no_extent_are_refused_and_an_empty_list_of_filters_is_taken(
    tmp_path, capfd, version, verb
):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("0", data=values(), chunks=(8, 8, 16))
    file = tmp_path / "a.zarr/0" / ("zarr.json" if version == 3 else ".zarray")
    whole, words = json.loads(file.read_text()), [str(tmp_path / "a.zarr"), "--target", str(tmp_path / "out")]
    words += ["--group", "auto"] if "--group" in verb else ["--array", "0"]
    words += ["--presets", "", "--copy", "across=4,4,4", "--quality", "lossless"] if verb == "rechunk" else []
    grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 8, 16]}}}
    file.write_text(json.dumps(whole | (grid if version == 3 else {"chunks": [0, 8, 16]})))
    assert run([verb.split()[0], *words, "--no-flow"]) == 3
    assert "chunks of [0, 8, 16], which do not fit; correct its metadata" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    file.write_text(json.dumps(whole | ({} if version == 3 else {"filters": []})))
    assert run([verb.split()[0], *words, "--no-flow"]) == 0
    assert "Warning" not in capfd.readouterr().err


def test_one_large_chunk_is_reckoned_with(tmp_path):
    array = np.zeros((256, 256, 256), "u2")
    store = field(tmp_path, array, chunks=array.shape)
    with threads(memory_bytes=100 << 20) as compute, pytest.raises(InputRefused, match=r"needs .* MB"):
        pyramid(str(store), TWO, run=FIXED, array="field/0", compute=compute)
    assert json.loads((store / "field/zarr.json").read_text())["attributes"] == {}


def test_copies_lie_beside_the_array_with_its_levels(tmp_path):
    store = field(tmp_path, consolidated=True)
    copies = Copies(presets=[], more=[Copy(name="slices", chunks=[2, 21, 65])], quality="lossless")
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    rechunk(str(store), copies, run=FIXED, array="field/0")
    group = zarr.open_consolidated(store)
    assert sorted(group["field"].array_keys()) == ["0", "1", "2", "slices"]
    assert group["field/slices"].chunks == (2, 21, 65)
    np.testing.assert_array_equal(group["field/slices"][...], values())
    assert group["field/slices"].attrs["copy_of"] == "0"
    assert rechunk(str(store), copies, run=FIXED, array="field/0")["notes"] == ["were done already"]
    assert pyramid(str(store), TWO, run=FIXED, array="field/0")["notes"] == ["was done already"]
    other = Copies(presets=[], more=[Copy(name="slices", chunks=[4, 21, 65])], tolerance=0.5)
    with pytest.raises(DestinationRefused, match=r"slices \(chunks \(2, 21, 65\), asked for \(4, 21, 65\)"):
        rechunk(str(store), other, run=FIXED, array="field/0")
    rechunk(str(store), other, overwrite=True, run=FIXED, array="field/0")
    copy = zarr.open_group(store, mode="r", use_consolidated=False)["field/slices"]
    farthest = np.abs(copy[...] - values()).max()
    assert 0 < copy.attrs["max_abs_error"] == farthest <= 0.5
    with pytest.raises(InputRefused, match="a tolerance would be in their unit"):
        rechunk(str(store), Copies(quality="low"), run=FIXED, array="field/0")
    zarr.open_group(store / "field").create_array("mine", data=np.zeros(3))
    mine = Copies(presets=[], more=[Copy(name="mine", chunks=[4, 4, 4])], quality="lossless")
    with pytest.raises(DestinationRefused, match="field/mine is there already"):
        rechunk(str(store), mine, run=FIXED, array="field/0")


def test_copies_of_zarr_v2_with_missing_chunks_go_to_a_group_of_their_own(tmp_path):
    old = zarr.create_array(
        tmp_path / "old.zarr", shape=SHAPE, chunks=(8, 8, 16), dtype=">f4", zarr_format=2, fill_value=np.nan
    )
    old[:8] = values("f4")[:8]
    presets = Copies(quality="lossless")
    rechunk(str(tmp_path / "old.zarr"), presets, run=FIXED, target=str(tmp_path / "new.zarr"))
    group = zarr.open_group(tmp_path / "new.zarr", mode="r")
    assert sorted(group.array_keys()) == ["fast_x", "fast_y", "fast_z"]
    for name in group.array_keys():
        np.testing.assert_array_equal(group[name][...], old[...])


def test_a_store_without_a_disk(tmp_path):

    local = field(tmp_path, shards=(16, 16, 32))
    remote = WritableStore("memory://any/some.zarr")
    for path, data in tree(local).items():
        remote.put(path, data)
    pyramid("memory://any/some.zarr", TWO, run=FIXED, array="field/0")
    for number in (1, 2):
        keys = [key for key in remote.keys(f"field/{number}") if "/c/" in key]
        assert keys
        for key in keys:
            (tmp_path / "copy" / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "copy" / key).write_bytes(remote.get(key))
        described = f"field/{number}/zarr.json"
        (tmp_path / "copy" / described).write_bytes(remote.get(described))
        found = zarr.open_array(tmp_path / "copy", path=f"field/{number}", mode="r")
        np.testing.assert_array_equal(found[...], levels_of(values())[number - 1])
    remote.delete_many(remote.keys(""))


def test_info_and_verify_know_levels_and_copies_beside_an_array(tmp_path):
    place = field(tmp_path)
    pyramid(str(place), TWO, array="field/0", run=FIXED)
    rechunk(
        str(place),
        Copies(presets=[], more=[Copy(name="flat", chunks=(1, 21, 65))], tolerance=2.0),
        array="field/0",
        run=FIXED,
    )
    group = place / "field"
    found = info(str(group))
    assert [(row["path"], row["kind"], row["shape"]) for row in found["arrays"]] == [
        ("0", "master", [37, 21, 65]),
        ("flat", "copy", [37, 21, 65]),
        ("1", "level", [19, 11, 33]),
        ("2", "level", [10, 6, 17]),
    ]
    assert [level["path"] for level in found["levels"]] == ["0", "1", "2"]
    summary = verify(str(group), errors=True)
    assert summary["checked"] == summary["objects"] > 4
    with pytest.raises(InputRefused, match=r"lie in .*some\.zarr/field$"):
        info(str(place))


@pytest.mark.parametrize(
    ("axes", "factor"),
    [("cyx", (1, 2, 2)), ("tcyx", (1, 1, 2, 2)), ("czyx", (1, 2, 2, 2)), ("zyxc", (1, 2, 2, 1))],
)
def test_channels_and_times_are_not_mixed(tmp_path, axes, factor):
    array = values(shape=(3, 21, 33) if len(axes) == 3 else (3, 9, 21, 33))
    chunks = (1, 16, 16) if len(axes) == 3 else (1, 8, 16, 16)
    store = field(tmp_path, array, chunks=chunks, dimension_names=tuple(axes))
    kinds = {"t": "time", "c": "channel"}
    image = {
        "axes": [{"name": name, "type": kinds.get(name, "space")} for name in axes],
        "datasets": [
            {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * len(axes)}]}
        ],
    }
    zarr.open_group(store / "field").attrs.update({"ome": {"version": "0.5", "multiscales": [image]}})
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    for number, level in enumerate(levels_of(array, factor=factor), start=1):
        np.testing.assert_array_equal(zarr.open_array(store, path=f"field/{number}")[...], level)
    if axes != "zyxc":  # OME-Zarr has channels before space
        yaozarrs.validate_zarr_store(str(store / "field"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_another_tool_is_taken_by_the_path_that_it_names(tmp_path, shared, version):
    image, target = shared / f"data/ome_zarr/simple_{version}", str(tmp_path / "levels.zarr")
    with pytest.raises(InputRefused, match=r"such as --array scale0/image \(1 seen\)"):
        pyramid(str(image))
    levels = Levels(levels=1, until=1)
    summary = pyramid(str(image), levels, array="scale0/image", target=target, run=FIXED, leave_base=True)
    (note,) = [note for note in summary["notes"] if "has the coarser levels only" in note]
    found = zarr.open_array(target, path="1", mode="r")
    given = zarr.open_array(str(image), path="scale0/image", mode="r")[...]
    np.testing.assert_array_equal(found[...], coarsen(given, (2, 1)))  # its voxels are of 4 nm by 30
    (made,) = zarr.open_group(target, mode="r").attrs["ome"]["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in made["axes"]] == [("y", "nanometer"), ("x", "nanometer")]
    scale, translation = made["datasets"][0]["coordinateTransformations"]
    assert (scale["scale"], translation["translation"]) == ([8.0, 30.0], [2.0, 0.0])
    yaozarrs.validate_zarr_store(target)
    begin, command = note.split("(up to 200 bytes): seismill ")
    assert begin == f"{target} has the coarser levels only. For viewers that need level 0 there "
    assert run([*shlex.split(command), "--no-flow", "--created-on", FIXED.created_on]) == 0
    (made,) = zarr.open_group(target, mode="r").attrs["ome"]["multiscales"]
    assert [dataset["path"] for dataset in made["datasets"]] == ["full", "1"]
    assert made["datasets"][0]["coordinateTransformations"][0]["scale"] == [4.0, 30.0]
    np.testing.assert_array_equal(zarr.open_array(target, path="full", mode="r")[...], given)
    yaozarrs.validate_zarr_store(target)
    pyramid(
        str(image), Levels(levels=2, until=1), array="scale0/image", target=target, run=FIXED, overwrite=True
    )
    (made,) = zarr.open_group(target, mode="r").attrs["ome"]["multiscales"]
    assert [dataset["path"] for dataset in made["datasets"]] == ["full", "1", "2"]


def test_a_report_draws_another_tools_array_with_its_copies(tmp_path):
    place = field(tmp_path)
    flat = Copies(presets=[], more=[Copy(name="flat", chunks=(1, 21, 65))], tolerance=2.0)
    rechunk(str(place), flat, array="field/0", run=FIXED)
    pyramid(str(place), TWO, array="field/0", run=FIXED)
    group = place / "field"
    before = tree(group)
    summary = report(str(group))
    assert [row["path"] for row in summary["arrays"]] == ["0", "flat", "1", "2"]
    master = summary["arrays"][0]
    held = sum(path.stat().st_size for path in (group / "0").rglob("*") if path.is_file())
    assert (master["raw_bytes"], master["stored_bytes"]) == (values().nbytes, held)
    assert [row["array"] for row in summary["table"]] == ["0", "flat", "1", "2"]
    for name in ("z", "y", "x", "histogram"):
        assert image_size(group / f".seismill/report/{name}.png") > (400, 100)
    assert tree(group) == before, "pictures lie where no reader of arrays looks"


@pytest.mark.parametrize("unit", ["micrometer", "um"])  # RockVerse keeps any text
def test_sides_of_pictures_are_where_voxels_lie_with_their_unit(tmp_path, unit):
    zarr.create_array(tmp_path / "a.zarr", data=values("f4"), dimension_names=("z", "y", "x")).attrs.update(
        {"voxel_length": [4.0, 2.0, 2.0], "voxel_origin": [1.0, 0.0, 0.0], "voxel_unit": unit}
    )
    pyramid(str(tmp_path / "a.zarr"), TWO, run=FIXED, target=str(tmp_path / "levels.zarr"))
    np.save(tmp_path / "v.npy", values("f4"))
    image = ImageOf(voxel_length=[4, 2, 2], voxel_origin=[1, 0, 0], voxel_unit="micrometer")
    ingest_images(str(tmp_path / "v.npy"), str(tmp_path / "v.zarr"), image)
    for name in ("levels.zarr", "v.zarr"):
        z, y, _ = sides_of(open_any(WritableStore(str(tmp_path / name))))
        assert (z.values[:3].tolist(), y.values[:3].tolist()) == ([1, 5, 9], [0, 2, 4])
        assert (z.name, z.unit) == ("z", "micrometer")
    axes = zarr.open_group(tmp_path / "levels.zarr", mode="r").attrs["ome"]["multiscales"][0]["axes"]
    assert {axis["unit"] for axis in axes} == {"micrometer"}
    yaozarrs.validate_zarr_store(str(tmp_path / "levels.zarr"))


def test_a_report_of_levels_in_a_group_of_their_own_draws_the_array_that_lies_elsewhere(tmp_path):
    zarr.create_array(tmp_path / "core.zarr", data=values("f4"), chunks=(8, 8, 16))
    pyramid(
        str(tmp_path / "core.zarr"), TWO, run=FIXED, target=str(tmp_path / "levels.zarr"), leave_base=True
    )
    summary = report(str(tmp_path / "levels.zarr"))
    assert [row["path"] for row in summary["arrays"]] == [str(tmp_path / "core.zarr"), "1", "2"]
    assert len(summary["pictures"]) == 4


def test_a_base_in_zarr_v2_gets_its_levels_and_level_0_in_the_target_by_one_command(tmp_path, shared):
    image, target = shared / "data/ome_zarr/simple_0.4", tmp_path / "levels.zarr"
    words = ["pyramid", str(image), "--array", "scale0/image", "--target", str(target), "--levels", "1"]
    given = zarr.open_array(str(image), path="scale0/image", mode="r")[...]
    dry = pyramid(
        str(image),
        Levels(levels=1, until=1),
        array="scale0/image",
        target=str(target),
        run=FIXED.model_copy(update={"dry_run": True}),
    )
    assert [(row["path"], row["raw_bytes"]) for row in dry["arrays"]] == [("full", 200), ("1", 100)]
    assert f"level 0 is copied from {image}/scale0/image: up to 200 bytes" in dry["notes"]
    assert not target.exists()
    for _ in range(2):  # the second time all is there
        assert run([*words, "--until", "1", "--no-flow", "--created-on", FIXED.created_on]) == 0
        (made,) = zarr.open_group(target, mode="r").attrs["ome"]["multiscales"]
        assert [dataset["path"] for dataset in made["datasets"]] == ["full", "1"]
        np.testing.assert_array_equal(zarr.open_array(target, path="full", mode="r")[...], given)
        np.testing.assert_array_equal(
            zarr.open_array(target, path="1", mode="r")[...], coarsen(given, (2, 1))
        )
        yaozarrs.validate_zarr_store(str(target))
    summary = pyramid(
        str(image), Levels(levels=1, until=1), array="scale0/image", target=str(target), run=FIXED
    )
    assert summary["notes"] == ["was done already"]
    assert verify(str(target), errors=True)["findings"] == []


@pytest.mark.parametrize("case", ["memory", "a level of somebody"])
def test_levels_that_are_refused_are_so_before_level_0_is_copied(tmp_path, case):
    # What was not recorded is NaN while levels are made, which takes more memory than a copy of level 0.
    place, target = field(tmp_path, attributes={"_FillValue": 0}), tmp_path / "levels.zarr"
    if case == "a level of somebody":
        zarr.open_group(target, mode="w").create_array("1", data=values())
    before = tree(target) if target.exists() else None
    refusal = {"memory": (InputRefused, "a block of samples .* needs")}.get(
        case, (DestinationRefused, "levels.zarr.*1")
    )
    run = FIXED.model_copy(update={"memory": "9 MB"} if case == "memory" else {})
    with pytest.raises(refusal[0], match=refusal[1]):
        pyramid(str(place), TWO, array="field/0", target=str(target), run=run)
    assert (tree(target) if target.exists() else None) == before


def test_a_group_of_another_tool_is_copied_with_other_tools_and_verified_there(tmp_path):
    group = field(tmp_path) / "field"
    pyramid(str(group), TWO, array="0", run=FIXED)
    with pytest.raises(InputRefused, match=r"another tool.*copy the whole group with a tool for files"):
        copy(str(group), str(tmp_path / "copy.zarr"))
    assert not (tmp_path / "copy.zarr").exists()
    shutil.copytree(group, tmp_path / "there/field")
    assert verify(str(tmp_path / "there/field"), errors=True)["findings"] == []


def image_size(path):
    with Image.open(path) as picture:
        return picture.size


def test_verify_finds_and_repairs_what_is_broken_beside_an_array(tmp_path):
    group = field(tmp_path) / "field"
    pyramid(str(group), TWO, array="0", run=FIXED)
    before = tree(group)
    chunk, gone, root = group / "1/c/0/0/0", group / "2/zarr.json", group / ".seismill/annex.json"
    chunk.write_bytes(chunk.read_bytes()[:-9] + bytes(9))
    gone.unlink()
    root.write_bytes(root.read_bytes().replace(b"mean", b"moan"))
    with pytest.raises(IntegrityFailure) as failure:
        verify(str(group))
    assert {finding["key"] for finding in failure.value.summary["findings"]} == {
        "1/c/0/0/0",
        "2/zarr.json",
        ".seismill/annex.json",
    }
    verify(str(group), repair="from_master")
    assert differences(before, tree(group)) == []


def test_verify_with_errors_sees_that_the_array_changed_since(tmp_path):
    group = field(tmp_path) / "field"
    pyramid(str(group), TWO, array="0", run=FIXED)
    array = zarr.open_array(group / "0", mode="r+")
    array[0, 0, 0] = array[0, 0, 0] + 1000
    verify(str(group))
    with pytest.raises(IntegrityFailure, match="is not the mean of 0"):
        verify(str(group), errors=True)


@pytest.mark.parametrize(
    "attributes",
    ["x", [[]], None, *({"_ARRAY_DIMENSIONS": names} for names in (5, "zyx", [1, None, []], ["z"]))],
)
def test_attributes_without_names_of_dimensions_name_none(tmp_path, attributes):
    place = field(tmp_path, dimension_names=None)
    document = place / "field/0/zarr.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"attributes": attributes}))
    pyramid(str(place), TWO, run=FIXED, array="field/0", target=str(tmp_path / "levels.zarr"))
    found = zarr.open_array(tmp_path / "levels.zarr", path="1", mode="r")
    assert found.metadata.dimension_names in [("dim_0", "dim_1", "dim_2"), ("z", "y", "x")]
    np.testing.assert_array_equal(found[...], levels_of(values())[0])


@pytest.mark.parametrize(
    "described",
    [
        *({"ome": ome} for ome in (5, [5], {"multiscales": 5}, {"multiscales": [5]})),
        {"multiscales": "x"},
        *(
            {"multiscales": [{"axes": list("zyx"), "datasets": [{"path": "0"}]} | wrong]}
            for wrong in (
                {"axes": 5},
                {"axes": [5, 5, 5]},
                {"datasets": 5},
                {"datasets": [5]},
                {"datasets": [{"path": 5}]},
                {"datasets": [{"path": "0", "coordinateTransformations": 5}]},
                {
                    "datasets": [
                        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, "x", 2]}]}
                    ]
                },
                {"datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale"}]}]},
            )
        ),
    ],
)
def test_images_in_another_form_than_ome_zarr_are_refused_before_anything_is_written(tmp_path, described):
    place = field(tmp_path)
    document = place / "field/zarr.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"attributes": described}))
    before, flat = tree(place), Copies(presets=[], more=[Copy(name="flat", chunks=(1, 21, 65))])
    for work in (
        lambda: pyramid(str(place), TWO, array="field/0"),
        lambda: rechunk(str(place), flat, array="field/0"),
    ):
        with pytest.raises(
            InputRefused, match=r"\(multiscales\) in another form than OME-Zarr; correct or remove"
        ):
            work()
    assert tree(place) == before


@pytest.mark.parametrize("lengths", ["x", [], [0, 1, 1], ["x", 1, 1]])
def test_voxel_lengths_that_are_no_numbers_are_not_used(tmp_path, lengths):
    place = field(tmp_path, attributes={"voxel_length": lengths})
    pyramid(str(place), TWO, run=FIXED, array="field/0")
    np.testing.assert_array_equal(
        zarr.open_array(place, path="field/1", mode="r")[...], levels_of(values())[0]
    )


class _Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["filters", "compressor", "beside another"])
def test_an_array_that_asks_for_pickle_is_refused_and_nothing_is_unpickled(tmp_path, place):
    asked, seen = {"id": "pickle", "protocol": 5}, tmp_path / "unpickled"
    described = {
        "zarr_format": 2,
        **{"shape": [4, 4, 4], "chunks": [4, 4, 4], "dtype": "<f4", "fill_value": 0, "order": "C"},
        "compressor": asked if place == "compressor" else None,
        "filters": {"filters": [asked], "beside another": [{"id": "zlib", "level": 1}, asked]}.get(place),
    }
    folder = tmp_path / "a.zarr" / "field"
    folder.mkdir(parents=True)
    (folder / ".zarray").write_text(json.dumps(described))
    (folder.parent / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
    (folder / "0.0.0").write_bytes(pickle.dumps(_Touch(seen)))
    for verb in (pyramid, rechunk):
        with pytest.raises(InputRefused, match="pickle"):
            verb(str(tmp_path / "a.zarr"), array="field", target=str(tmp_path / "levels.zarr"))
    assert not seen.exists()
    assert not (tmp_path / "levels.zarr").exists()


@pytest.mark.parametrize(
    ("path", "levels"),
    [
        ("s0", ["s1", "s2"]),
        ("level_0", ["level_1", "level_2"]),
        ("scale0/image", ["scale1/image", "scale2/image"]),
    ],
)
def test_levels_lie_beside_level_0_whatever_it_is_named(tmp_path, path, levels):
    group = zarr.open_group(tmp_path / "some.zarr", mode="a")
    group.create_array(path, data=values(), chunks=(8, 8, 16), dimension_names=("z", "y", "x"))
    transform = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    image = {
        "name": "rock",
        "axes": [{"name": name, "type": "space"} for name in "zyx"],
        "datasets": [{"path": path, "coordinateTransformations": transform}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    before = tree(tmp_path / "some.zarr")
    store = str(tmp_path / "some.zarr")
    for _ in range(2):
        pyramid(store, TWO, run=FIXED, array=path)
    group = zarr.open_group(store, mode="r")
    for name, level in zip(levels, levels_of(values()), strict=True):
        np.testing.assert_array_equal(group[name][...], level)
    listed = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [dataset["path"] for dataset in listed] == [path, *levels]
    yaozarrs.validate_zarr_store(store)
    assert verify(store, errors=True)["findings"] == []
    assert [row["path"] for row in info(store)["arrays"]] == [path, *levels]
    changed = differences(before, {k: v for k, v in tree(tmp_path / "some.zarr").items() if k in before})
    assert changed == ["zarr.json"]
    pyramid(store, Levels(levels=1, until=1), overwrite=True, run=FIXED, array=path)
    group = zarr.open_group(store, mode="r")
    assert [dataset["path"] for dataset in group.attrs["ome"]["multiscales"][0]["datasets"]] == [
        path,
        levels[0],
    ]
    assert not (tmp_path / "some.zarr" / levels[1] / "zarr.json").exists()
    if "/" in path:
        assert not (tmp_path / "some.zarr" / "scale2" / "zarr.json").exists()
        np.testing.assert_array_equal(group[path][...], values())


def test_a_group_of_somebody_else_where_a_level_would_go_is_left_alone(tmp_path):
    group = zarr.open_group(tmp_path / "some.zarr", mode="a")
    group.create_array("scale0/image", data=values(), chunks=(8, 8, 16))
    datasets = [
        {"path": "scale0/image", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * 3}]}
    ]
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    group.create_group("scale1")
    before = tree(tmp_path / "some.zarr")
    with pytest.raises(DestinationRefused, match="scale1 is there already"):
        pyramid(str(tmp_path / "some.zarr"), TWO, run=FIXED, array="scale0/image")
    assert tree(tmp_path / "some.zarr") == before


def test_an_array_without_names_has_axes_z_y_and_x(tmp_path):
    store = field(tmp_path, dimension_names=None)
    pyramid(str(store), TWO, run=FIXED, array="field/0")
    group = zarr.open_group(store, mode="r")["field"]
    assert [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]] == ["z", "y", "x"]
    assert group["1"].metadata.dimension_names == ("z", "y", "x")

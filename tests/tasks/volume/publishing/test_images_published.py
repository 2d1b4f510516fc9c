"""One command publishes a stack of images as it does SEG-Y: planned as a whole, resumed, recognised, proven.

Covers publishing/kind.py, stacks/comparison.py, tasks/prove.py.
"""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.stages import as_stage, load_verb
from flows.summary import headline
from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Publication, Raw, Run, StorageOptions
from tasks.prove import prove
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.publishing.kind import is_images
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, differences, threads, tree

SMALL = Master(chunks=[8, 16, 16])
SHAPE = (20, 33, 41)
HERE = StorageOptions()


def voxels(dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        values = rng.standard_normal(SHAPE).astype(dtype)
        values[1, 2, 3:5] = [np.nan, -0.0]
        return values
    return rng.integers(0, 200, SHAPE).astype(dtype)


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def publish(source: Path | str, **more: Any) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "volume": str(tmp_path / "v.zarr"),
            "index": Index(),
            "master": SMALL,
            "copies": Copies(),
            "pyramid": Levels(levels=2, until=1),
            "steps": ["copies", "pyramid", "report", "proof"],
            "run": Run(created_on=STAMP),
        }
        stages = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
        return publish_chain(stages, source=str(source), **(usual | more))

    return publish


def slices(folder: Path, values: np.ndarray) -> Path:
    folder.mkdir()
    for number, layer in enumerate(values):
        tifffile.imwrite(folder / f"s{number:03}.tif", layer)
    return folder


def test_a_folder_of_slices_becomes_levels_pictures_and_a_proof(publish, tmp_path):
    values = voxels()
    summary = publish(slices(tmp_path / "scan", values))
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    np.testing.assert_array_equal(group["attenuation"][...], values)
    assert group["pyramid/1/attenuation"].shape == (10, 17, 21)
    state = group.attrs["seismill"]
    assert (state["compared_at"], state["compared_plan"]) == (STAMP, state["stages"]["attenuation"]["plan"])
    assert "proven_at" not in state  # the tags of the files are not in the volume: they must stay
    assert summary["compared_voxels"] == values.size
    assert "voxels equal to the source's" in headline(summary)
    assert [stage["stage"] for stage in summary["stages"]] == ["ingest", "pyramid", "proof", "report"]
    assert any("--presets fast_z,fast_y,fast_x" in note for note in summary["notes"])
    assert len(summary["pictures"]) == 4
    yaozarrs.validate_zarr_store(str(tmp_path / "v.zarr"))


def test_copies_that_are_named_are_lossless_and_planned_before_anything_is_written(publish, tmp_path):
    values = voxels("float32")
    np.save(tmp_path / "scan.npy", values)
    for copies, problem in (
        (Copies(presets=[], more=[Copy(name="z", chunks=[4, 4, 4])]), "name is taken"),
        (Copies(presets=[], more=[Copy(name="flat", chunks=[4, 4])]), "3 dimensions"),
    ):
        with pytest.raises(InputRefused, match=problem):
            publish(tmp_path / "scan.npy", copies=copies)
    with pytest.raises(InputRefused, match="MB"):
        publish(tmp_path / "scan.npy", run=Run(memory="1kB"))
    assert not (tmp_path / "v.zarr").exists()
    wanted = Copies(presets=["fast_z", "fast_y", "fast_x"])
    dry = publish(tmp_path / "scan.npy", copies=wanted, run=Run(dry_run=True))
    assert not (tmp_path / "v.zarr").exists()
    published = publish(tmp_path / "scan.npy", copies=wanted)
    shapes = [
        {row["path"]: (*row["shape"], *row["chunks"]) for row in summary["arrays"]}
        for summary in (dry, published)
    ]
    assert shapes[0] == shapes[1]
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    for name, chunks in (("fast_z", (4, 36, 44)), ("fast_y", (20, 4, 44)), ("fast_x", (20, 36, 4))):
        assert group[name].chunks == chunks
        assert group[name][...].tobytes() == values.tobytes(), name


def test_a_second_run_does_nothing_and_another_plan_needs_a_word(publish, tmp_path):
    np.save(tmp_path / "scan.npy", voxels())
    publish(tmp_path / "scan.npy")
    before = tree(tmp_path / "v.zarr")
    again = publish(tmp_path / "scan.npy")
    assert [note for note in again["notes"] if "already" in note] == [
        f"{stage}: was done already" for stage in ("ingest", "pyramid", "proof", "report")
    ]
    assert differences(before, tree(tmp_path / "v.zarr")) == []
    with pytest.raises(DestinationRefused, match="--overwrite"):
        publish(tmp_path / "scan.npy", pyramid=Levels(levels=1, until=1))
    publish(tmp_path / "scan.npy", pyramid=Levels(levels=1, until=1), update=True)
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    assert sorted(group["pyramid"]) == ["1"]
    assert group.attrs["seismill"]["compared_at"] == STAMP
    scaled = Image(voxel_length=[2, 2, 2], voxel_unit="micrometer")
    with pytest.raises(DestinationRefused, match="another volume"):
        publish(tmp_path / "scan.npy", image=scaled, update=True)
    summary = publish(tmp_path / "scan.npy", image=scaled, overwrite=True)
    assert summary["compared_at"] == STAMP
    group = zarr.open_group(tmp_path / "v.zarr", mode="r")
    assert group["attenuation"].attrs["voxel_length"] == [2.0, 2.0, 2.0]


def test_the_proof_names_the_first_voxel_that_differs(publish, tmp_path):
    values = voxels("float32")
    np.save(tmp_path / "scan.npy", values)
    publish(tmp_path / "scan.npy", steps=[])
    volume = tmp_path / "v.zarr"
    array = zarr.open_group(volume, mode="r+")["attenuation"]
    array[17, 30, 40] = values[17, 30, 40] + 1  # a valid chunk with another voxel: no checksum shows it
    array[1, 2, 4] = 0.0  # was -0
    with pytest.raises(
        IntegrityFailure, match=r"2 voxels .* differ from its source, the first at z 1, y 2, x 4"
    ):
        prove(str(volume))
    assert "compared_at" not in zarr.open_group(volume, mode="r").attrs["seismill"]
    array[1, 2, 4], array[17, 30, 40] = -0.0, values[17, 30, 40]
    assert prove(str(volume), Run(created_on=STAMP))["compared_voxels"] == values.size
    (tmp_path / "scan.npy").write_bytes((tmp_path / "scan.npy").read_bytes() + b"0")
    assert prove(str(volume))["notes"] == ["was done already"]


def test_a_source_that_is_gone_or_changed_proves_nothing(publish, tmp_path):
    np.save(tmp_path / "scan.npy", voxels())
    publish(tmp_path / "scan.npy", steps=[])
    np.save(tmp_path / "scan.npy", voxels() + 1)
    with pytest.raises(InputRefused, match=r"scan\.npy"):
        prove(str(tmp_path / "v.zarr"))
    (tmp_path / "scan.npy").unlink()
    with pytest.raises(InputRefused, match=r"scan\.npy"):
        prove(str(tmp_path / "v.zarr"))


def test_a_proof_holds_one_slab_of_the_source(tmp_path):
    np.save(tmp_path / "scan.npy", np.random.default_rng(1).integers(0, 9, (32, 256, 256)).astype("f8"))
    with threads(slab_bytes=1) as compute:
        scan, volume = str(tmp_path / "scan.npy"), str(tmp_path / "v.zarr")
        ingest_images(
            scan, volume, master=Master(chunks=[8, 64, 64]), run=Run(created_on=STAMP), compute=compute
        )
    tracemalloc.start()
    assert prove(str(tmp_path / "v.zarr"), Run(created_on=STAMP))["compared_voxels"] == 1 << 21
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    slab = 8 * 256 * 256 * 8
    assert slab < peak < 1.75 * slab


@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_voxels_are_published_as_they_are_described(publish, tmp_path, order):
    values = voxels("int16")
    (tmp_path / "scan.dat").write_bytes(values.tobytes(order=order))
    with pytest.raises(InputRefused, match="dtype"):
        publish(tmp_path / "scan.dat")
    image = Image(raw=Raw(dtype="int16", shape=list(SHAPE), order=order), labels=True)
    summary = publish(tmp_path / "scan.dat", image=image)
    assert summary["compared_voxels"] == values.size
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "v.zarr")["attenuation"][...], values)


def test_what_is_of_the_other_kind_is_refused(publish, tmp_path):
    survey = make_survey(tmp_path / "a.sgy", n_samples=20, inlines=range(4), crosslines=range(5))
    np.save(tmp_path / "scan.npy", voxels())
    with pytest.raises(InputRefused, match="is SEG-Y, but voxel_length is an option of images"):
        publish(survey.path, image=Image(voxel_length=[1, 1, 1]))
    with pytest.raises(InputRefused, match="is a stack of images, but template is an option of SEG-Y"):
        publish(tmp_path / "scan.npy", index=Index(template="PostStack3DTime"))
    assert not (tmp_path / "v.zarr").exists()
    with pytest.raises(IntegrityFailure, match="00000000 was expected"):  # a checksum is of either kind
        publish(tmp_path / "scan.npy", index=Index(checksums=["00000000"]))
    assert not (tmp_path / "v.zarr" / "zarr.json").exists()


def test_kinds_are_told_by_name_content_and_description(tmp_path):
    survey = make_survey(tmp_path / "a.sgy", n_samples=20, inlines=range(4), crosslines=range(5)).path
    bare = tmp_path / "line7"
    bare.write_bytes(survey.read_bytes())
    (tmp_path / "a.bin").write_bytes(survey.read_bytes())
    png = tmp_path / "slice"
    png.write_bytes(imagecodecs.png_encode(np.zeros((5, 6), "u1")))
    scan = slices(tmp_path / "scan", voxels())
    (tmp_path / "slices.txt").write_text("scan/s000.tif\n")
    (tmp_path / "rest").mkdir()
    (tmp_path / "rest" / "b.sgy").write_bytes(b"")
    kinds = {
        str(path): is_images(str(path), Image(), HERE)
        for path in (survey, bare, tmp_path / "a.bin", png, scan, scan / "*.tif", scan / "s*")
    }
    assert list(kinds.values()) == [False, False, False, True, True, True, True]
    assert is_images(str(tmp_path / "slices.txt"), Image(), HERE)
    assert not is_images(str(tmp_path / "rest"), Image(), HERE)
    assert not is_images(f"{survey},{bare}", Image(), HERE)
    assert not is_images(str(tmp_path / "none"), Image(), HERE)
    assert is_images(str(tmp_path / "none"), Image(labels=True), HERE)


def test_a_publication_without_images_is_stored_as_before():
    plain = Publication().model_dump()
    assert "image" not in plain
    assert Publication.model_validate(plain) == Publication()
    described = Publication(image=Image(labels=True))
    assert Publication.model_validate(json.loads(json.dumps(described.model_dump()))) == described


@pytest.mark.parametrize(
    ("folder", "name", "shape"),
    [
        ("spam", "snow.tif", (100, 100, 100)),
        ("puma/python/pumapy/data", "100_fiberform.tif", (100, 100, 100)),
    ],
)
def test_shared_scans_are_published_by_one_call(publish, shared, tmp_path, folder, name, shape):
    summary = publish(shared / "data" / folder / name, master=Master(), pyramid=Levels())
    array = zarr.open_group(tmp_path / "v.zarr", mode="r")["attenuation"]
    assert array.shape == shape
    np.testing.assert_array_equal(array[...], tifffile.imread(shared / "data" / folder / name))
    assert summary["compared_voxels"] == np.prod(shape)

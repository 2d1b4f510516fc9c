"""A small volume of every kind, made by the verbs: what a reader of the stored format may meet."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
import zarr

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Index, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.volume.store.objects import Store
from tasks.volume.sweeps.receipt import describe
from tests.support.gathers import write_gathers
from tests.support.segy_maker import segy_bytes
from tests.support.survey import make_survey

COPIES = Copies(presets=[], more=[Copy(name="fast_line", chunks=[1, 8, 16])])
LOSSLESS = Copies(presets=[], more=[Copy(name="exact_line", chunks=[1, 8, 16])], quality="lossless")


def survey(folder: Path) -> Path:
    """Everything that is made of a post-stack file: copies, levels, report, proof; dead cells, a word out of range."""
    source = make_survey(
        folder / "a.sgy",
        drop=5,
        n_samples=37,
        set_words={(0, 3): 0x7FFFFFFF},
        extended=b"\x40" * 3200,
    )
    volume = str(folder / "survey.zarr")
    ingest_segy(str(source.path), volume, master=Master(chunks=[4, 4, 8]))
    rechunk(volume, COPIES)
    rechunk(volume, LOSSLESS)
    pyramid(volume, Levels(levels=2, until=1))
    report(volume)
    prove(volume)
    describe(Store(volume), {"survey": "Test", "epsg": 23031}, Run())
    return Path(volume)


def shards(folder: Path) -> Path:
    """Two little-endian files in one volume, stored in shards."""
    for number in range(2):
        make_survey(
            folder / f"line_{number}.sgy", inlines=range(9 * number, 9 * number + 9), order="<", fmt="ieee"
        )
    ingest_segy(
        str(folder / "line_*.sgy"),
        str(folder / "shards.zarr"),
        master=Master(chunks=[2, 2, 8], shards=[4, 4, 16]),
    )
    return folder / "shards.zarr"


def words(folder: Path) -> Path:
    """IBM words most of which float32 does not give back."""
    drawn = np.random.default_rng(8).integers(0, 1 << 32, (200, 13), np.uint32)
    source = make_survey(folder / "words.sgy", inlines=range(20), crosslines=range(10), words=drawn)
    ingest_segy(str(source.path), str(folder / "words.zarr"))
    return folder / "words.zarr"


def shots(folder: Path) -> Path:
    """Prestack, with coordinates shared by many traces, and auxiliary traces that have no cell."""
    shot, channel = np.repeat(np.arange(4), 10), np.tile([1, 1, 2, 2, 3, 4, 5, 5, 6, 1], 4)
    code = np.tile([4, 1, 1, 6, 1, 2, 9, 1, 1, 7], 4)
    fields = {(17, "i4"): shot + 1, (13, "i4"): channel, (29, "i2"): code, (73, "i4"): 5000 + shot}
    write_gathers(folder / "shots.sgy", fields | {(81, "i4"): 900 + channel}, n_samples=21)
    ingest_segy(
        str(folder / "shots.sgy"), str(folder / "shots.zarr"), Index(template="StreamerShotGathers2D")
    )
    return folder / "shots.zarr"


def revision_2(folder: Path) -> Path:
    """Revision 2: two bytes a sample, and a second header of each trace."""
    extension = np.zeros((35, 240), np.uint8)
    extension[:, 232:240] = np.frombuffer(b"SEG00001", np.uint8)
    content = segy_bytes(code=3, revision=b"\x02\x00", extensions=extension, binary={(3507, "i"): 1})
    (folder / "revision.sgy").write_bytes(content)
    ingest_segy(str(folder / "revision.sgy"), str(folder / "revision.zarr"))
    return folder / "revision.zarr"


def image(folder: Path) -> Path:
    """Voxels with a length and a unit, a copy of them and a level."""
    voxels = np.random.default_rng(1).normal(size=(13, 21, 17)).astype(np.float32)
    tifffile.imwrite(folder / "a.tif", voxels)
    volume = str(folder / "image.zarr")
    ingest_images(str(folder / "a.tif"), volume, Image(voxel_length=[2, 1, 1], voxel_unit="micrometer"))
    rechunk(volume, Copies(presets=[], more=[Copy(name="fast_plane", chunks=[1, 32, 32])]))
    pyramid(volume, Levels(levels=1, until=1))
    return Path(volume)


def labels(folder: Path) -> Path:
    """Whole numbers that name grains, with a level."""
    grains = np.random.default_rng(2).integers(0, 5, (9, 10, 11), np.uint8)
    np.save(folder / "grains.npy", grains)
    volume = str(folder / "labels.zarr")
    ingest_images(str(folder / "grains.npy"), volume, Image(field_name="grains", labels=True))
    pyramid(volume, Levels(levels=1, until=1))
    return Path(volume)


def beside(folder: Path) -> Path:
    """Levels and a copy of an array that another tool wrote, beside it in its group."""
    group = zarr.open_group(str(folder / "other.zarr"), mode="w")
    array = group.create_array(
        "0", shape=(20, 21, 22), chunks=(8, 8, 8), dtype="uint16", dimension_names=("z", "y", "x")
    )
    array[...] = np.random.default_rng(3).integers(0, 1000, array.shape)
    pyramid(str(folder / "other.zarr"), Levels(levels=1, until=1), array="0")
    rechunk(str(folder / "other.zarr"), LOSSLESS, array="0")
    return folder / "other.zarr"


def copied(folder: Path) -> Path:
    """Part of a volume, copied to another place."""
    copy(str(survey(folder)), str(folder / "copied.zarr"), excludes=["fast_line"])
    return folder / "copied.zarr"


KINDS: tuple[Callable[[Path], Path], ...] = (
    survey, shards, words, shots, revision_2, image, labels, beside, copied,
)  # fmt: skip

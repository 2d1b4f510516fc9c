"""What is explored on a sample is what copies then have.

Covers report/tradeoff.py.
"""

import io
import itertools

import numpy as np
import pytest
import zarr
from PIL import Image as Pillow

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Run
from tasks.rechunk import rechunk
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tests.tasks.volume.copies.test_target import STAMPED, survey_of, waves


@pytest.fixture
def volume(tmp_path):
    survey_of(tmp_path, waves(np.random.default_rng(0)))
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "v.zarr"), run=STAMPED)
    return tmp_path / "v.zarr"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_exploring_writes_a_picture_and_nothing_else_and_tells_what_copies_have(tmp_path, volume):
    before = files(volume)
    summary = rechunk(str(volume), explore=str(tmp_path / "copies.png"), run=STAMPED)
    assert files(volume) == before
    assert summary["pictures"] == [str(tmp_path / "copies.png")]
    picture = Pillow.open(io.BytesIO((tmp_path / "copies.png").read_bytes()))
    assert (picture.format, picture.size) == ("PNG", (1050, 640))
    assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 100
    trials = summary["trials"]
    assert {trial["codec"] for trial in trials} == {"zfp", "rounded"}
    for kind in ("zfp", "rounded"):
        own = [trial for trial in trials if trial["codec"] == kind]
        assert all(a["tolerance"] == 2 * b["tolerance"] for a, b in itertools.pairwise(own))
        for name in ("snr_db", "psnr_db", "ssim"):
            assert np.all(np.diff([trial[name] for trial in own]) >= 0)
        assert all(0 < trial["max_abs_error"] <= trial["tolerance"] for trial in own)
        middle = own[len(own) // 2]
        copies = Copies(
            presets=[],
            more=[Copy(name="one", chunks=[64, 64, 64])],
            tolerance=middle["tolerance"],
            lossy_codec=kind,
        )
        rechunk(str(volume), copies, overwrite=True, run=STAMPED)
        copy = zarr.open_group(volume, mode="r")["one"].attrs
        assert middle["snr_db"] == pytest.approx(copy["snr_db"], abs=0.1)
        assert middle["psnr_db"] == pytest.approx(copy["psnr_db"], abs=0.1)
        assert middle["ratio"] == pytest.approx(copy["ratio"], rel=0.1)
        assert middle["max_abs_error"] == pytest.approx(copy["max_abs_error"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("v.zarr/a.png", "outside of the volume"),
        ("a.svg", "name a .png file"),
        ("there.png", "there already"),
    ],
)
def test_a_picture_replaces_nothing_and_lies_beside_the_volume(tmp_path, volume, name, sentence):
    (tmp_path / "there.png").write_bytes(b"mine")
    before = files(tmp_path)
    with pytest.raises(DestinationRefused, match=sentence):
        rechunk(str(volume), explore=str(tmp_path / name), run=STAMPED)
    assert files(tmp_path) == before
    rechunk(str(volume), explore=str(tmp_path / "new.png"), run=Run(dry_run=True))
    assert files(tmp_path) == before


def test_what_has_no_lossy_copies_is_not_explored(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 2**40, (20, 20, 20)))
    ingest_images(str(tmp_path / "a.npy"), str(tmp_path / "v.zarr"), Image(), run=STAMPED)
    with pytest.raises(InputRefused, match="no lossy copies to explore"):
        rechunk(str(tmp_path / "v.zarr"), explore=str(tmp_path / "a.png"), run=STAMPED)

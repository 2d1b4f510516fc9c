"""Each copy of one read has the quality and codec that are named for it; what is rounded is read without ZFP.

Covers copies/block.py, copies/finish.py and copies/plan.py.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr
from pydantic import ValidationError

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.arrays.codecs import rounded
from tasks.volume.outcomes import InputRefused
from tests.support.survey import make_survey
from tests.tasks.volume.copies.test_target import SAMPLES, SMALL, STAMPED, survey_of, velocities, waves

INLINES, CROSSLINES = range(40), range(36)
MIXED = Copies(
    quality="snr=40,fast_time=lossless,fast_crossline=snr=60", lossy_codec="zfp,fast_crossline=rounded"
)


def with_holes(tmp_path, values, holes):
    """A survey without the traces that `holes` marks, float32, in a volume; what plain zarr reads of it."""
    words = values[~holes].reshape(-1, values.shape[-1]).view(np.uint32)
    make_survey(
        tmp_path / "a.sgy", inlines=INLINES, crosslines=CROSSLINES, n_samples=SAMPLES, fmt="ieee", words=words,
        live=~holes,
    )  # fmt: skip
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "v.zarr"), master=SMALL, run=STAMPED)
    return str(tmp_path / "v.zarr")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("exponent", [-160, -140, -20, -3, 0, 5, 60, 126])
def test_rounding_is_within_its_tolerance_and_keeps_what_is_no_number(dtype, exponent):
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, 20_000) * 2.0 ** rng.integers(-150, 127, 20_000)
    limits = np.finfo(dtype)
    special = [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        limits.max,
        -limits.max,
        limits.tiny,
        limits.smallest_subnormal,
    ]
    values = np.concatenate([values, special]).astype(dtype)
    tolerance = 2.0**exponent
    result = rounded(values, tolerance)
    assert result.dtype == values.dtype
    finite = np.isfinite(values)
    np.testing.assert_array_equal(result[~finite], values[~finite])
    wide, exact = values[finite].astype(np.longdouble), result[finite].astype(np.longdouble)
    assert np.isfinite(exact).all()
    assert np.abs(exact - wide).max() <= tolerance
    assert len(np.unique(result)) < len(np.unique(values)) or exponent < -100


def test_copies_of_one_read_have_the_quality_and_codec_of_their_name(tmp_path):
    cube = waves(np.random.default_rng(0))
    cube[3, 4, 5], cube[20, 20, 100] = np.nan, np.inf
    holes = np.zeros(cube.shape[:2], bool)
    holes[:3, 30:], holes[17, 9] = True, True
    volume = with_holes(tmp_path, cube, holes)
    rechunk(volume, MIXED, run=STAMPED)
    group = zarr.open_group(volume, mode="r")
    master = group["amplitude"][...]
    finite = np.isfinite(master)
    std = group["amplitude"].attrs["std"]

    def snr(name):
        errors = group[name][...][finite].astype("f8") - master[finite]
        return 20 * np.log10(std / np.sqrt(np.mean(errors**2)))

    assert 40 <= snr("fast_inline") < 48
    assert 60 <= snr("fast_crossline") < 68
    np.testing.assert_array_equal(group["fast_time"][...], master)
    exact = group["fast_crossline"]
    np.testing.assert_array_equal(exact[...][~finite], master[~finite])  # holes, NaN and Inf
    step = exact.attrs["rounded_to"]
    assert step == 2 * exact.attrs["tolerance"]
    assert float(np.log2(step)).is_integer()
    assert (
        np.abs(exact[...][finite] - master[finite]).max()
        == exact.attrs["max_abs_error"]
        <= exact.attrs["tolerance"]
    )
    assert (exact[...][finite] % step == 0).all()
    assert [group[f"fast_{n}"].attrs.get("target") for n in ("inline", "crossline", "time")] == [
        "snr=40",
        "snr=60",
        None,
    ]
    assert exact.attrs["long_name"].startswith("amplitude, lossy within ")
    assert verify(volume, errors=True, run=STAMPED)["findings"] == []
    for asked in (MIXED, Copies()):
        assert rechunk(volume, asked, run=STAMPED)["notes"] == ["were done already"]


def test_where_no_trace_is_a_lossy_copy_is_near_zero_and_says_what_decides(tmp_path):
    cube = waves(np.random.default_rng(0))
    holes = np.add.outer(np.arange(40), np.arange(36)) > 60
    holes[11, 13] = True
    volume = with_holes(tmp_path, cube, holes)
    rechunk(volume, Copies(presets=["fast_inline", "fast_time"], quality="snr=30"), run=STAMPED)
    group = zarr.open_group(volume, mode="r")
    mask = group["trace_mask"][...]
    assert (mask == ~holes).all()
    for name in ("fast_inline", "fast_time"):
        copy = group[name]
        assert np.abs(copy[...][~mask]).max() <= copy.attrs["tolerance"] / 2
        assert "trace_mask decides" in copy.attrs["comment"]
    whole = np.zeros((40, 36), bool)
    for i in range(0, 40, 4):  # cells of ZFP that no trace meets are 0
        for j in range(0, 36, 4):
            whole[i : i + 4, j : j + 4] = not mask[i : i + 4, j : j + 4].any()
    assert whole.any()
    assert not group["fast_time"][...][whole].any()


def test_a_damaged_rounded_chunk_is_restored_byte_for_byte(tmp_path):
    survey_of(tmp_path, waves(np.random.default_rng(1)))
    volume = tmp_path / "v.zarr"
    ingest_segy(str(tmp_path / "a.sgy"), str(volume), master=SMALL, run=STAMPED)
    rechunk(str(volume), Copies(presets=["fast_time"], lossy_codec="rounded"), run=STAMPED)
    damaged = next(path for path in (volume / "fast_time" / "c").rglob("*") if path.is_file())
    before = damaged.read_bytes()
    damaged.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    verify(str(volume), repair="from_master", run=STAMPED)
    assert damaged.read_bytes() == before


def test_a_rounded_copy_is_read_where_there_is_no_zfp(tmp_path):
    survey_of(tmp_path, waves(np.random.default_rng(1)))
    volume = tmp_path / "v.zarr"
    ingest_segy(str(tmp_path / "a.sgy"), str(volume), run=STAMPED)
    rechunk(
        str(volume),
        Copies(presets=["fast_inline"], quality="tolerance=5", lossy_codec="rounded"),
        run=STAMPED,
    )
    described = json.loads((volume / "fast_inline" / "zarr.json").read_text())
    assert [codec["name"] for codec in described["codecs"]] == ["bytes", "blosc", "crc32c"]
    assert described["attributes"]["rounded_to"] == 8.0
    program = (
        "import sys; sys.modules['zfpy'] = sys.modules['tasks'] = None\n"
        f"import zarr; a = zarr.open_array({str(volume / 'fast_inline')!r}, mode='r')\n"
        f"m = zarr.open_array({str(volume / 'amplitude')!r}, mode='r')\n"
        "print(abs(a[...] - m[...]).max())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) <= 4.0


def test_velocities_are_rounded_only_where_a_codec_or_quality_is_named(tmp_path):
    survey_of(tmp_path, velocities(np.random.default_rng(1)))
    volume = str(tmp_path / "v.zarr")
    ingest_segy(str(tmp_path / "a.sgy"), volume, run=STAMPED)
    rechunk(
        volume, Copies(presets=["fast_inline", "fast_time"], quality="fast_time=tolerance=1.5"), run=STAMPED
    )
    group = zarr.open_group(volume, mode="r")
    assert group["fast_inline"].attrs["max_abs_error"] == 0
    assert 0 < group["fast_time"].attrs["max_abs_error"] <= 1.5


@pytest.mark.parametrize(
    ("copies", "sentence"),
    [
        (
            Copies(quality="snr=40,fast_depth=snr=30"),
            "fast_depth is given a quality or codec, but is not one of the copies",
        ),
        (Copies(lossy_codec="zfp,mine=rounded"), "mine is given a quality or codec"),
        (Copies(quality="high,fast_time=snr=50", tolerance=3), "both a tolerance"),
    ],
)
def test_what_names_no_copy_is_refused(tmp_path, copies, sentence):
    survey_of(tmp_path, waves(np.random.default_rng(1)))
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "v.zarr"), run=STAMPED)
    with pytest.raises(InputRefused, match=sentence):
        rechunk(str(tmp_path / "v.zarr"), copies, run=STAMPED)


def test_integers_are_not_rounded(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 99, (20, 20, 20), np.uint16))
    ingest_images(str(tmp_path / "a.npy"), str(tmp_path / "v.zarr"), Image(), run=STAMPED)
    with pytest.raises(InputRefused, match="a lossy copy would hold floats in their place"):
        rechunk(str(tmp_path / "v.zarr"), Copies(lossy_codec="rounded", quality="snr=40"), run=STAMPED)


@pytest.mark.parametrize(
    "text", ["snr", "snr=40,", "fast_time", "fast_time=best", "snr=40,snr=50=3", "a=b=c", "high,Low=high"]
)
def test_what_is_no_quality_is_no_parameter(text):
    with pytest.raises(ValidationError):
        Copies(quality=text)


def test_a_request_without_a_codec_is_stored_as_it_was():
    assert "lossy_codec" not in Copies().model_dump()
    assert Copies(lossy_codec="rounded").model_dump()["lossy_codec"] == "rounded"

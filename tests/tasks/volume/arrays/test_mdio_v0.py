"""Volumes of multidimio 0.8 open in xarray and become volumes, whose SEG-Y is the file's as far as it was kept.

Covers ingest/from_mdio_v0.py, flows/migrate.py.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from numcodecs import ZFPY

from flows.chains import PUBLISH_STAGES, migrate_chain
from flows.stages import load_verb
from tasks.info import info
from tasks.parameters import Copies, Index, Levels, Master, Run
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import TRACE_HEADER_DTYPE
from tests.support.mdio_v0 import make_mdio_v0
from tests.support.survey import Survey, make_survey

HOLES = np.ones((9, 6), bool)
HOLES[0, 2:] = HOLES[8, :4] = False  # among them a chunk of headers and samples that is not stored
GARBAGE = ["\ufffd" * 60 + "\x16" * 20] * 40  # an ASCII header after multidimio read it as EBCDIC
NAMES = list(TRACE_HEADER_DTYPE.names or ())


@pytest.fixture(autouse=True)
def quiet():
    """zarr-python has a warning about structured types; the code under test reads them without one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=zarr.errors.ZarrUserWarning)
        yield


def migrate(old: Path, volume: Path, **given: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "index": Index(),
        "master": Master(),
        "copies": Copies(),
        "pyramid": Levels(),
    }
    parameters |= {"steps": ["proof"], "run": Run()} | given
    return migrate_chain(
        {name: load_verb(name) for name in PUBLISH_STAGES}, source=str(old), volume=str(volume), **parameters
    )


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    return make_survey(
        tmp_path / "survey.sgy",
        inlines=range(10, 28, 2),
        crosslines=range(300, 306),
        live=HOLES,
        headers={(233, "i8"): -5, (37, "i4"): 1234},
    )


def test_it_opens_in_xarray_with_headers_texts_and_holes(survey, tmp_path):
    old = make_mdio_v0(tmp_path / "old.mdio", survey, NAMES)
    ds = xarray.open_dataset(
        old, engine="seismill", headers=["source_to_receiver_distance", "cdp_x"], chunks={}
    )
    np.testing.assert_array_equal(ds.amplitude, survey.values)
    np.testing.assert_array_equal(ds.trace_mask, HOLES)
    assert (ds.inline.values.tolist(), ds["sample"].values[:3].tolist()) == (
        list(range(10, 28, 2)),
        [0, 4, 8],
    )
    np.testing.assert_array_equal(ds.source_to_receiver_distance, np.where(HOLES, 1234.0, np.nan))
    assert ds.seismill.text_header[39] == "C40 SURVEY OF A TEST".ljust(80)
    assert ds.seismill.binary_header["sample_interval"] == 4000
    assert (ds.seismill.stats["rms"], ds.seismill.trace_count, ds.seismill.n_dim) == (1.5, HOLES.sum(), 3)
    assert (
        ds.seismill.trace_header(inline=14, crossline=303)["trace_seq_num_line"] == survey.numbers[2, 3] + 1
    )
    again = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(again.amplitude[3].compute(), survey.values[3])
    with pytest.raises(InputRefused, match=r"multidimio 0\.8; seismill migrate "):
        info(str(old))


def test_migrated_it_gives_the_bytes_of_the_file_and_repairs_itself_from_the_old_volume(survey, tmp_path):
    old, volume = make_mdio_v0(tmp_path / "old.mdio", survey, NAMES), tmp_path / "new.zarr"
    summary = migrate(old, volume)
    assert summary["proven_at"]
    assert summary["notes"][0].startswith("lost: multidimio 0.8.5 did not keep the order of traces")
    load_verb("export_segy")(str(volume), str(tmp_path / "new.sgy"))
    assert (tmp_path / "new.sgy").read_bytes() == survey.content
    assert "ingest: was done already" in migrate(old, volume)["notes"]
    chunk = volume / "amplitude" / "c" / "0" / "0" / "0"
    stored = chunk.read_bytes()
    chunk.unlink()
    verify(str(volume), repair="from_source")
    assert chunk.read_bytes() == stored


def test_what_it_lost_is_named(survey, tmp_path):
    old = make_mdio_v0(
        tmp_path / "old.mdio",
        survey,
        NAMES,
        text=GARBAGE,
        codec=ZFPY(mode=4, tolerance=0.5),
        num_extended_text_headers=2,
        data_sample_format=3,
    )
    assert xarray.open_dataset(old, engine="seismill").amplitude.attrs["tolerance"] == 0.5
    notes = "\n".join(migrate(old, tmp_path / "new.zarr", steps=[])["notes"])
    lost = [
        "textual header as EBCDIC",
        "2 extended textual headers",
        "off by 0.5 at most",
        "had int16 samples",
    ]
    for words in (*lost, "Samples of format 3"):
        assert words in notes
    ds = xarray.open_dataset(tmp_path / "new.zarr", engine="seismill")
    assert "HEADER OF THE FILE IS LOST" in ds.seismill.text_header[0]
    assert ds.seismill.binary_header["data_sample_format"] == 5
    assert np.nanmax(np.abs(ds.amplitude.values - survey.values)) <= 0.5
    np.testing.assert_array_equal(np.isnan(ds.amplitude[..., 0]), ~HOLES)


def test_a_dimension_in_no_header_field_is_refused_and_a_field_of_another_name_is_found(survey, tmp_path):
    layout = (9, 21, 181, 185)
    other = make_survey(
        tmp_path / "9.sgy", inlines=range(10, 28, 2), crosslines=range(300, 306), live=HOLES, layout=layout
    )
    migrate(make_mdio_v0(tmp_path / "9.mdio", other, NAMES), tmp_path / "9.zarr", steps=[])
    np.testing.assert_array_equal(
        zarr.open_group(tmp_path / "9.zarr", mode="r")["amplitude"][...], other.values
    )
    headers = survey.headers.copy()
    headers[:, 188:192] = 0
    survey = Survey(**{**vars(survey), "headers": headers})
    with pytest.raises(InputRefused, match=r"no header field of .* holds its dimension inline"):
        migrate(make_mdio_v0(tmp_path / "computed.mdio", survey, NAMES), tmp_path / "c.zarr")

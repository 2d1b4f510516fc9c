"""What multidimio 0.8 wrote opens, is migrated, and its SEG-Y is compared with the export of multidimio 0.8 itself.

SEISMILL_MDIO08_PYTHON has multidimio 0.8 and zfpy 1.0.1.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray

from flows import cli
from tests.support.survey import make_survey

pytestmark = pytest.mark.peer

IMPORT_AND_EXPORT = """
import sys
from mdio import MDIOReader, mdio_to_segy, segy_to_mdio
if __name__ == "__main__":
    source, old, back, values, lossless = sys.argv[1:]
    segy_to_mdio(source, old, index_bytes=(189, 193), index_names=("inline", "crossline"),
        lossless=lossless == "yes", compression_tolerance=0.5)
    import numpy
    reader = MDIOReader(old, return_metadata=True)
    live, headers, samples = reader[:]
    numpy.savez(values, live=live, samples=samples, **{n: headers[n] for n in ("cdp_x", "sample_interval")})
    if back != "-":
        mdio_to_segy(old, back)
"""
FILES = {
    "made": None,
    "lossy": None,
    "f3-withdead": "segysak/tests/test-data-segysak/f3-withdead.sgy",
    "F3_very_small": "seisplot/data/F3_very_small.sgy",
}


@pytest.mark.parametrize("name", FILES)
def test_migrated_a_volume_of_multidimio_gives_the_segy_that_it_exports(name: str, tmp_path: Path):
    python = os.environ.get("SEISMILL_MDIO08_PYTHON")
    if not python:
        pytest.skip("SEISMILL_MDIO08_PYTHON does not name a Python that has multidimio 0.8")
    source = tmp_path / "survey.sgy"
    data = Path(os.environ.get("SEISMILL_SHARED", "")) / "data"
    if file := FILES[name]:
        if not (data / file).exists():
            pytest.skip("SEISMILL_SHARED names no folder of real files")
        source = data / file
    else:
        live = np.ones((70, 67), bool)
        live[3, 5:] = live[66:, 64:] = False
        make_survey(source, inlines=range(10, 150, 2), crosslines=range(300, 367), n_samples=70, live=live)
    old, theirs, ours = tmp_path / "old.mdio", tmp_path / "theirs.sgy", tmp_path / "ours.sgy"
    back = "-" if name == "F3_very_small" else theirs  # it cannot write back the text that it did not read
    words = [source, old, back, tmp_path / "read.npz", "no" if name == "lossy" else "yes"]
    program = tmp_path / "program.py"
    program.write_text(IMPORT_AND_EXPORT)
    done = subprocess.run([python, program, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ds = xarray.open_dataset(old, engine="seismill", headers=["cdp_x", "sample_interval"])
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(ds.trace_mask, read["live"])
        np.testing.assert_array_equal(ds.amplitude.values[read["live"]], read["samples"][read["live"]])
        for field in ("cdp_x", "sample_interval"):
            np.testing.assert_array_equal(ds[field].values[read["live"]], read[field][read["live"]])
    words = ["--no-copies", "--no-pyramid", "--no-report", "--no-flow"]
    assert cli.run(["migrate", str(old), str(tmp_path / "new.zarr"), *words]) == 0
    assert cli.run(["export-segy", str(tmp_path / "new.zarr"), str(ours), "--check"]) == 0
    content, exported = ours.read_bytes(), theirs.read_bytes() if theirs.exists() else b""
    if name == "lossy":  # such samples may have more bits than the IBM words that the other always writes
        assert len(content) == len(exported)
        assert content[:3224] == exported[:3224]
        new = xarray.open_dataset(tmp_path / "new.zarr", engine="seismill")
        np.testing.assert_array_equal(new.amplitude, ds.amplitude)
        return
    expected = source.read_bytes()
    if name == "F3_very_small":
        content, expected = content[3200:], expected[3200:]
    else:
        assert content == exported
    assert content == expected

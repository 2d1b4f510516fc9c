"""What pyramid-sampler is used for, done here: a test image of its own making, downsampled by the name of its field.

It lives in an environment of its own, SEISMILL_IMAGES_PYTHON.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr

from tasks.parameters import Levels
from tasks.pyramid import pyramid

MAKE = """
import sys, zarr
from pyramid_sampler import initialize_test_image
group = zarr.open_group(sys.argv[1], mode="w")
initialize_test_image(group, "field", (256, 256, 256), chunks=(64, 64, 64), dtype=sys.argv[2])
"""

# It takes cubes only.
DOWNSAMPLE = """
import sys
from pyramid_sampler import Downsampler
Downsampler(sys.argv[1], (2, 2, 2), (256, 256, 256), (64, 64, 64)).downsample(3, "field")
"""


@pytest.mark.peer
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float64"])
def test_the_same_levels_beside_its_field_and_none_of_its_bias(tmp_path: Path, dtype: str) -> None:
    theirs, ours = tmp_path / "theirs.zarr", tmp_path / "ours.zarr"
    theirs_run(MAKE, theirs, dtype)
    shutil.copytree(theirs, ours)
    theirs_run(DOWNSAMPLE, theirs)
    pyramid(str(ours), Levels(levels=2, until=1), array="field/0")
    above = zarr.open_array(ours, path="field/0", mode="r")[...].astype(np.float64)
    for level in (1, 2):
        mine, its = (
            zarr.open_array(store, path=f"field/{level}", mode="r")[...].astype(np.float64)
            for store in (ours, theirs)
        )
        assert mine.shape == its.shape
        bias, its_bias = mine.mean() - above.mean(), its.mean() - above.mean()
        print(f"{dtype} level {level}: mean shift {bias:+.6f}, pyramid-sampler's {its_bias:+.6f}")
        assert abs(mine - its).max() <= (1e-9 if dtype == "float64" else level)
        if dtype != "float64":
            # Means of whole numbers are cut off there, at every level once more.
            assert -0.6 * level < its_bias < -0.3 * level
        # Of n means rounded half to even, each is off by a third of 1 at most, and on both sides alike.
        assert abs(bias) < (1e-9 if dtype == "float64" else 4 * 0.3 / np.sqrt(mine.size))
        if level == 1 and dtype != "float64":
            assert abs(bias) < 1e-3


def theirs_run(code: str, *arguments: object) -> None:
    """Run pyramid-sampler."""
    python = os.environ.get("SEISMILL_IMAGES_PYTHON", "")
    if not python:
        pytest.skip("SEISMILL_IMAGES_PYTHON does not name an interpreter that has pyramid-sampler")
    command = [python, "-I", "-c", code, *map(str, arguments)]
    run = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr

"""What is stored must not depend on the width of a processor's vectors."""

import os
import platform
import subprocess
import sys

import pytest

from tests import ROOT

DIGEST = """
import hashlib
import numpy as np
from tasks.volume import kernels

rng, digest = np.random.default_rng(0), hashlib.sha256()
for ibm in (False, True):
    for n in (13, 1501, 5001):
        words = rng.integers(0x3E000000, 0x44FFFFFF, (50, n), dtype=np.uint32)
        out = np.empty((-(-n // 64), 50, 64), np.float32)
        stats, exceptions = kernels.new_stats(), np.zeros((words.size, 3), np.int64)
        kernels.decode_traces(words.reshape(-1), np.arange(50) * n, n, ibm, False, np.nan, out, stats, exceptions)
        kernels.encode_traces(out, words.reshape(-1), np.arange(50) * n, n, True, True)
        for made in (out, stats, exceptions, words):
            digest.update(made.tobytes())
for dtype, width in (("int8", 1), ("uint16", 2), ("int32", 3), ("int64", 8), ("float64", 8)):
    data = rng.integers(0, 128, 50 * 1501 * width, np.uint8)
    out, stats = np.empty((24, 50, 64), dtype), kernels.new_stats()
    kernels.decode_plain(data, np.arange(50) * 1501 * width, 1501, width, True, out, stats)
    digest.update(out.tobytes() + stats.tobytes())
fine = rng.standard_normal((33, 35, 37)).astype(np.float32)
fine[rng.random((33, 35)) < 0.2] = np.nan
for dtype in (np.float32, np.float64):
    coarse = np.empty((11, 35, 19), dtype)
    kernels.mean_floats(fine.astype(dtype), (3, 1, 2), coarse)
    digest.update(coarse.tobytes())
sums = np.zeros(4)
kernels.error_sums(fine, fine * np.float32(1.01), None, sums)
digest.update(sums.tobytes())
chunk = rng.standard_normal((8, 12, 36)).astype(np.float32)
for tolerance in (0.5, 1e-3, 1e-9):
    part, live = chunk[:7, :, :35], chunk[:7, :, 0] > 0
    stream = kernels.encode_zfp_measured(chunk, tolerance, bytes(12), part, live, sums, nonfinite=False)
    digest.update(stream + sums.tobytes())
print(digest.hexdigest())
"""


def digest(cache, **environment):
    finished = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)} | environment,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return finished.stdout


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86")
@pytest.mark.parametrize(("name", "features"), [("generic", ""), ("haswell", "+avx2,+fma")])
def test_a_plainer_processor_gives_the_same_bits(name, features, tmp_path):
    plainer = digest(tmp_path, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
    assert len(plainer) == 65
    assert plainer == digest(tmp_path)

"""An .npz file gives its arrays, whoever reads another one at the same time."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tasks.volume.arrays.array_archive import arrays_of


def test_threads_read_at_once() -> None:
    buffer, wanted = io.BytesIO(), {"a": np.arange(6).reshape(2, 3), "b": np.array([True, False])}
    np.savez_compressed(buffer, **wanted)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(arrays_of, [buffer.getvalue()] * 200):
            assert found.keys() == wanted.keys()
            assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_a_damaged_file_is_none() -> None:
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        arrays_of(b"PK\3\4 cut")

"""Read .npz files, one thread at a time.

NumPy parses the header of each array with `ast`. CPython 3.11 has one recursion counter of `ast` for all threads, so
two threads that parse at the same time can raise a SystemError.
"""

import io
import threading

import numpy as np

_ONE_AT_A_TIME = threading.Lock()


def arrays_of(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Raises:
        ValueError, OSError, zipfile.BadZipFile, zlib.error: It is damaged.
    """
    with _ONE_AT_A_TIME, np.load(io.BytesIO(data)) as stored:
        return {name: stored[name] for name in stored.files}

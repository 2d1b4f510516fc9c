"""Imported by the process that those of `tests.support.warm` are forked from: it did all that they are about to do.

So every module is imported and every kernel is there. No thread is left when it is done: none would outlive a fork.
"""

import io
import tempfile
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import distributed  # noqa: F401
import pytest  # noqa: F401  # which a child of a test imports again
from zarr.core.sync import cleanup_resources

from flows.cli import run
from tasks.volume import blocks
from tests.support.survey import make_survey

said = io.StringIO()
with tempfile.TemporaryDirectory() as folder, redirect_stdout(said), redirect_stderr(said):
    survey = make_survey(Path(folder) / "a.sgy", drop=3, set_words={(5, 5): 1})
    assert (
        run(["publish", str(survey.path), f"{folder}/a.zarr", "--no-flow", "--no-report", "--json"]) == 0
    ), said.getvalue()
for pool in (blocks.chunk_pool, blocks.io_pool):
    pool().shutdown()
    pool.cache_clear()
cleanup_resources()
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()

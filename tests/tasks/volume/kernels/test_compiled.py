"""Kernels are compiled when they are called, and what a command does not need is not imported."""

import subprocess
import sys

import numpy as np
import pytest

from tasks.volume.kernels.compiled import Kernel, kernel


def imported_by(statement: str) -> set[str]:
    """The packages that a new process has imported after a statement."""
    program = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["ingest_segy", "ingest_images", "rechunk", "pyramid", "prove", "report"])
def test_a_verb_imports_what_it_computes_with_when_it_computes(verb: str) -> None:
    modules = imported_by(f"import tasks.{verb}")
    assert "numpy" in modules
    assert not modules & {"numba", "llvmlite", "zarr", "matplotlib", "prefect", "dask", "scipy"}


def test_kernels_that_call_each_other_are_compiled_together_at_the_first_call() -> None:
    program = (
        "import numpy as np; from tasks.volume.kernels import means; from tasks.volume.kernels.compiled import Kernel;"
        "before = [k for k, v in vars(means).items() if isinstance(v, Kernel)];"
        "out = np.zeros((1, 1, 1), np.float32);"
        "means.mean_floats(np.array([[[3, 4]]], np.float32), (1, 1, 2), out);"
        "after = [k for k, v in vars(means).items() if isinstance(v, Kernel)];"
        "print(len(before) > 1, len(after), out.item())"
    )
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert printed.split() == ["True", "0", "3.5"]


def test_a_kernel_that_was_imported_by_name_before_gives_what_the_function_gives() -> None:
    @kernel
    def total(values: np.ndarray) -> float:
        found = 0.0
        for value in values:
            found += value
        return found

    assert isinstance(total, Kernel)
    assert total(np.arange(5.0)) == 10.0
    assert total.__name__ == "total"

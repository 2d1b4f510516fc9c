"""`njit` of numba for functions that are compiled at their first call: importing them does not import numba."""

import functools
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_compiling = threading.Lock()


class Kernel:
    """A placeholder for a compiled function; numba compiles it at the first call."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        """Take the function and the options of `numba.njit`."""
        functools.update_wrapper(self, function)
        self._function, self._options = function, options
        self._dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        """Call what numba makes of the function."""
        if self._dispatcher is None:
            with _compiling:
                import numba

                _replace_all(self._function.__globals__, numba.njit)
                self.make(numba.njit)
        return self._dispatcher(*args)

    def make(self, njit: Callable[..., Any]) -> Any:
        """Return what `numba.njit` makes of the function."""
        self._dispatcher = self._dispatcher or njit(**self._options)(self._function)
        return self._dispatcher


def kernel(function: Callable[..., Any]) -> Kernel:
    """Decorate a function that Python calls; its machine code, with the parts it calls, is cached on disk.

    A kernel calls only parts of its own module: numba compiles again when the kernel's file has changed, and
    does not check other files, so short parts are repeated in each module that calls them. Things that numba
    compiles slowly are made by the caller and passed: arrays, views of another type, whole slices that are
    assigned (3 s), `min` and `max` of integers. A literal argument is a type of its own, for which a part is
    compiled again; `np.int64(0)` avoids that.
    """
    return Kernel(function, {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True})


def part(function: Callable[..., Any]) -> Kernel:
    """Decorate a function that only kernels of the same module call; it is not callable from Python, nor cached."""
    options = {"nogil": True, "error_model": "numpy"}
    return Kernel(function, {**options, "no_cpython_wrapper": True, "no_cfunc_wrapper": True})


@dataclass(frozen=True)
class OfNumba:
    """Stand-in for a function of numba that kernels call."""

    module: str
    name: str

    def make(self, njit: Callable[..., Any]) -> Any:
        """Return the function."""
        return getattr(importlib.import_module(self.module), self.name)


def of_numba(module: str, name: str) -> Any:
    """Return what stands for a function of numba that kernels of a module call."""
    return OfNumba(module, name)


def _replace_all(module: dict[str, Any], njit: Callable[..., Any]) -> None:
    """Compile all kernels of a module together, because they call each other."""
    for name, value in list(module.items()):
        if isinstance(value, Kernel | OfNumba):
            module[name] = value.make(njit)

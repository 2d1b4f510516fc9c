"""What tests ask of a stored volume, with plain files and plain zarr."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.volume.blocks import Compute, Progress
from tasks.volume.limits import Limits

STAMP = "2026-01-01T00:00:00+00:00"
# Kernels are compiled for each type, which takes longer than all else here: narrow, signed, widest, and floats.
COMPILED_SOON = ("bool", "uint8", "int16", "uint64", "float16", "float32")


def every_dtype(*names: str) -> list[Any]:
    """Parameters of a test: those types that the fast set compiles for, and others, which are slow."""
    return [pytest.param(name, marks=() if name in COMPILED_SOON else pytest.mark.slow) for name in names]


def tree(volume: Path) -> dict[str, bytes]:
    """Every file of a local volume outside `.seismill/`, by its relative path."""
    return {
        str(path.relative_to(volume)): path.read_bytes()
        for path in sorted(volume.rglob("*"))
        if path.is_file() and ".seismill" not in path.relative_to(volume).parts
    }


def fingerprint(volume: Path) -> dict[str, str]:
    """As `tree`, with a digest in place of the content."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in tree(volume).items()}


def differences(tree: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names of files that are in one tree only or differ."""
    return sorted(name for name in tree.keys() | other.keys() if tree.get(name) != other.get(name))


def blocks_noted(volume: Path) -> Counter[str]:
    """How many different blocks the ledger of each plan holds, by the plan's verb."""
    counts: Counter[str] = Counter()
    for plan in volume.glob(".seismill/runs/*/plan.json"):
        lines = [line for file in plan.parent.glob("ledger/*") for line in file.read_text().splitlines()]
        blocks = {json.loads(line)["block"] for line in lines}
        if blocks:
            counts[json.loads(plan.read_text())["body"]["verb"]] += len(blocks)
    return counts


# Files are spilled first, however small and however long their ranges are.
SPILLED: dict[str, Any] = {"small_file_bytes": 0, "scattered_bytes": (1 << 40, 1 << 40)}


@contextmanager
def threads(count: int = 2, memory_bytes: int = 1 << 30, **limits: Any) -> Iterator[Compute]:
    """Threads of this process as a compute, with some limits of a run set."""
    with ThreadPoolExecutor(count) as executor:
        yield Compute(executor, count, memory_bytes, limits=Limits(**limits))


@contextmanager
def stopping_after(blocks: int, *, stage: str = "", **limits: Any) -> Iterator[Compute]:
    """A compute of one thread that stops when so many blocks of a stage have been done."""
    with threads(1, **limits) as compute:

        def report(progress: Progress) -> None:
            if progress.seconds and progress.done >= blocks and stage in ("", progress.stage):
                compute.stopping.set()

        compute = replace(compute, report=report)
        yield compute

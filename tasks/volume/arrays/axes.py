"""Summarise an axis: first and last value, step, count and unit."""

from typing import Any

import numpy as np

IRREGULAR = "irregular"


def axis_in_short(name: str, values: np.ndarray, unit: str = "") -> dict[str, Any]:
    """Return the summary of an axis as JSON values; the step is "irregular" if it varies.

    Args:
        name: Name of the axis.
        values: Values at all its positions.
        unit: Unit of the values; "" if there is none.
    """
    steps = np.diff(values.astype(np.float64) if values.dtype.kind == "f" else values.astype(np.int64))
    same = bool(steps.size) and bool(np.allclose(steps, steps[0], rtol=1e-9, atol=0))
    step = steps[0].item() if same else 1 if not steps.size else IRREGULAR
    short = {
        "name": name,
        "first": values[0].item(),
        "last": values[-1].item(),
        "step": step,
        "count": int(values.size),
    }
    return short | ({"unit": unit} if unit else {})

"""Compute the cost of a run from a price file that an environment variable names; none is shipped."""

import json
import os

from flows.summary import Summary
from tasks.volume.outcomes import InputRefused

PRICES = ("gb_month", "thousand_reads", "thousand_writes", "worker_hour")
PRICE_FILE = "SEISMILL_PRICES"


def prices_given() -> dict[str, float]:
    """Return the prices in the file that the environment names; empty if it names none.

    Raises:
        InputRefused: The file is not one of prices.
    """
    path = os.environ.get(PRICE_FILE, "")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            content = dict(json.load(file).items())
        prices = {name: float(content[name]) for name in PRICES if name in content}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputRefused(
            f"{PRICE_FILE} names {path}, which is not a JSON file of prices: {error}"
        ) from error
    if unknown := sorted(set(content) - set(PRICES)):
        raise InputRefused(f"{path} has prices of {', '.join(unknown)}; known are {', '.join(PRICES)}")
    return prices


def money(found: Summary, prices: dict[str, float]) -> dict[str, float]:
    """Return the cost of a run and the monthly cost of its volume, from the prices that are set."""
    amounts = {
        "thousand_reads": ("reads", 1000),
        "thousand_writes": ("writes", 1000),
        "worker_hour": ("hours", 1),
    }
    once = {price: found[name] / by for price, (name, by) in amounts.items() if name in found}
    costs = {name: amount * prices[name] for name, amount in once.items() if name in prices}
    costs_of = {"cost_once": sum(costs.values())} if costs else {}
    if "gb_month" in prices:
        costs_of["cost_per_month"] = found["estimated_bytes"] / 1e9 * prices["gb_month"]
    return costs_of

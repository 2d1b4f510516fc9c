"""Apply MDIO's grid overrides: convert header fields that do not place traces directly to fields that do.

Names and meaning are multidimio's (`mdio.segy.geometry`; ChannelWrap and CalculateCable as it had them before
version 1), the code is not: columns are handled whole, so that millions of traces take seconds, and counts are not
limited to int16. They are applied in one order whatever the order in which they are given, cables before the
channels they are calculated from are wrapped.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.parameters import Overrides
from tasks.volume.outcomes import InputRefused

TRACE = "trace"  # the dimension that numbers traces which nothing else tells apart, from 1
SHOT_INDEX = "shot_index"
Columns = dict[str, np.ndarray]

# The words that an override is about; it fails with their names where one is missing.
KEYS: dict[str, tuple[str, ...]] = {
    "AutoChannelWrap": ("shot_point", "cable", "channel"),
    "ChannelWrap": ("shot_point", "cable", "channel"),
    "CalculateCable": ("shot_point", "cable", "channel"),
    "AutoShotWrap": ("sail_line", "gun", "shot_point", "cable", "channel"),
    "CalculateShotIndex": ("shot_line", "gun", "shot_point"),
}
# What else is changed by each.
_CHANGED = {"AutoChannelWrap": {"channel"}, "ChannelWrap": {"channel"}, "CalculateCable": {"cable"}}


def overridden_dims(
    dims: tuple[str, ...], words: Sequence[str], overrides: Overrides
) -> tuple[tuple[str, ...], int | None]:
    """Return the dimensions after overrides, and how many traces a chunk takes along `trace`, if that is one.

    Args:
        dims: Dimensions before the overrides.
        words: Names of the available header fields.
        overrides: Overrides to apply.

    Raises:
        InputRefused: A word or a parameter that an override needs is missing, or two exclude each other.
    """
    on = [name for name in KEYS if getattr(overrides, name)]
    for name in on:
        missing = [key for key in KEYS[name] if key not in words]
        # Where no word tells guns apart there is one: MDIO's receiver gathers have none.
        if name == "CalculateShotIndex" and "gun" not in dims and "gun" in missing:
            missing.remove("gun")
        if missing:
            raise InputRefused(
                f"{name} needs the header fields {', '.join(KEYS[name])}; these have no name: {', '.join(missing)}; "
                "name them with --index-names and --index-bytes"
            )
    wrapped = [name for name in ("ChannelWrap", "CalculateCable") if name in on]
    if wrapped and not overrides.ChannelsPerCable:
        raise InputRefused(f"{wrapped[0]} needs ChannelsPerCable; give it with --channels-per-cable")
    if wrapped and "AutoChannelWrap" in on:
        raise InputRefused(f"{wrapped[0]} and AutoChannelWrap exclude each other; give only one")
    if overrides.AutoShotWrap and overrides.CalculateShotIndex:
        raise InputRefused("AutoShotWrap and CalculateShotIndex make the same dimension; give one")
    makes_index = overrides.AutoShotWrap or overrides.CalculateShotIndex
    if SHOT_INDEX in dims and not makes_index:
        wanted = "AutoShotWrap" if "cable" in dims else "CalculateShotIndex"
        raise InputRefused(
            f"the dimension {SHOT_INDEX} is calculated from shot points; give the override {wanted}",
            flags="--auto-shot-wrap" if "cable" in dims else "--calculate-shot-index",
        )
    if makes_index:
        dims = tuple(SHOT_INDEX if dim == "shot_point" else dim for dim in dims)
    if overrides.NonBinned and overrides.HasDuplicates:
        raise InputRefused("NonBinned and HasDuplicates both number traces; give one")
    if overrides.NonBinned:
        if not overrides.chunksize:
            raise InputRefused("NonBinned needs chunksize, the traces per chunk", flags="--chunksize 64")
        missing = [name for name in overrides.non_binned_dims if name not in words]
        if missing:
            raise InputRefused(
                f"NonBinned needs the header fields {', '.join(overrides.non_binned_dims)}; these have no name: "
                f"{', '.join(missing)}; name them with --index-names and --index-bytes"
            )
        return (*(dim for dim in dims if dim not in overrides.non_binned_dims), TRACE), overrides.chunksize
    return ((*dims, TRACE), 1) if overrides.HasDuplicates else (dims, None)


def unchanged_words(words: Sequence[str], overrides: Overrides) -> set[str]:
    """Return the header fields that the overrides leave unchanged."""
    changed: set[str] = set()
    for name, what in _CHANGED.items():
        if getattr(overrides, name):
            changed |= what
    return set(words) - changed


def override(
    columns: Mapping[str, np.ndarray], dims: Sequence[str], overrides: Overrides, count: int
) -> list[np.ndarray]:
    """Return the index values of every trace, one array for each of `dims`.

    Args:
        columns: Header words by name, in the order of the traces; without any, traces are counted.
        dims: Result of `overridden_dims`.
        overrides: Overrides to apply.
        count: Number of traces.
    """
    if not columns:
        return [count_within([], count)]
    result: Columns = dict(columns)
    if overrides.CalculateCable:
        result["cable"] = (result["channel"].astype(np.int64) - 1) // overrides.ChannelsPerCable + 1
    if overrides.ChannelWrap:
        result["channel"] = (result["channel"].astype(np.int64) - 1) % overrides.ChannelsPerCable + 1
    if overrides.AutoChannelWrap:
        result["channel"] = wrap_channels(result["cable"], result["channel"])
    if overrides.AutoShotWrap or overrides.CalculateShotIndex:
        line = "sail_line" if overrides.AutoShotWrap else "shot_line"
        result[SHOT_INDEX] = shot_index(result[line], result.get("gun"), result["shot_point"])
    if TRACE in dims:
        result[TRACE] = count_within([result[dim] for dim in dims if dim != TRACE], count)
    return [result[dim] for dim in dims]


def wrap_channels(cable: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Renumber channels from 1 in each cable, unless channels of two cables overlap: each then begins at 1 already."""
    cables, of = np.unique(cable, return_inverse=True)
    low = np.full(len(cables), np.iinfo(np.int64).max)
    high = np.full(len(cables), np.iinfo(np.int64).min)
    np.minimum.at(low, of, channel)
    np.maximum.at(high, of, channel)
    order = np.lexsort((high, low))
    low_first, high_first = low[order], high[order]
    # Ranges that only touch do not overlap: MDIO compares with < and >.
    if (low_first[1:] < np.maximum.accumulate(high_first)[:-1]).any():
        return channel
    return channel - low[of] + 1


def shot_index(line: np.ndarray, gun: np.ndarray | None, shot: np.ndarray) -> np.ndarray:
    """Dense shot numbers from 0 within each line, from shot points that several guns fire in turns.

    Where each gun's shot points differ when divided by the number of guns, the quotient is the index (MDIO's type
    B); where they do not, or no word tells guns apart, it is the rank of the shot point in its line (type A).
    """
    lines, line_of = np.unique(line, return_inverse=True)
    shots, shot_of = np.unique(shot, return_inverse=True)
    pairs, pair_of = np.unique(line_of * len(shots) + shot_of, return_inverse=True)
    pair_line, pair_shot = np.divmod(pairs, len(shots))
    first_of_line = np.searchsorted(pair_line, np.arange(len(lines)))
    if gun is not None:
        guns, gun_of = np.unique(gun, return_inverse=True)
        # A crew is a gun in a line.
        crews, crew_of = np.unique(line_of * len(guns) + gun_of, return_inverse=True)
        guns_in_line = np.bincount(crews // len(guns), minlength=len(lines))
        crew, fired = np.divmod(np.unique(crew_of * len(shots) + shot_of), len(shots))
        quotient = shots[fired] // guns_in_line[crews[crew] // len(guns)]
        # Sorted by crew and shot: equal quotients of one crew lie side by side.
        if not ((np.diff(crew) == 0) & (np.diff(quotient) == 0)).any():
            dense = shots[pair_shot].astype(np.int64) // int(guns_in_line.max())
            return (dense - dense[first_of_line[pair_line]])[pair_of]
    return (np.arange(len(pairs)) - first_of_line[pair_line])[pair_of]


def count_within(columns: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return the 1-based rank of each trace among those with equal index values, in file order; int32."""
    if not columns:
        return np.arange(1, count + 1, dtype=np.int32)
    groups = np.zeros(count, np.int64)
    for values in columns:
        _, positions = np.unique(values, return_inverse=True)
        groups *= int(positions.max(initial=0)) + 1
        groups += positions
        # Kept small: a product of the counts of many dimensions may pass 2^63.
        if groups.max(initial=0) > 2**31:
            groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    within = np.arange(count, dtype=np.int32) - np.repeat(starts, np.diff(np.append(starts, count))).astype(
        np.int32
    )
    result = np.empty(count, np.int32)
    result[order] = within + 1
    return result

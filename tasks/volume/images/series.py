"""The order and the spacing of slices whose headers state their position."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

from tasks.volume.images.header import InSeries
from tasks.volume.outcomes import InputRefused

TOLERANCE = 0.02  # of a distance: scanners write places with few digits
_SHOWN = 3


def distance_of(places: Sequence[float]) -> float | None:
    """Return the one distance of neighbours along an axis; None if there are several."""
    steps = [after - before for before, after in itertools.pairwise(places)]
    if not steps or not all(math.isfinite(step) for step in steps):
        return None
    usual = (places[-1] - places[0]) / len(steps)
    return usual if usual and all(abs(step - usual) <= TOLERANCE * abs(usual) for step in steps) else None


def places_of_slices(
    slices: Sequence[tuple[str, InSeries | None]], where: str
) -> tuple[list[int], float, list[str]]:
    """Return the order of slices, their distance (0 if none is known), and notes.

    Args:
        slices: URL and place of each.
        where: Name of the stack in messages.

    Raises:
        InputRefused: There are several scans, slices twice, or slices missing.
    """
    known = [place for _, place in slices if place is not None]
    scans = Counter(place.series for place in known)
    if len(known) < len(slices) or len(scans) > 1:
        shown = ", ".join(
            f"{name or 'no number'} ({count} files)" for name, count in scans.most_common(_SHOWN)
        )
        raise InputRefused(
            f"{where} holds slices of {len(scans)} scans: {shown}; name the files of one in a list (.txt), or with a "
            "pattern"
        )
    names = [url.rpartition("/")[2] for url, _ in slices]
    if not any(math.isnan(place.position) for place in known):
        order = sorted(range(len(known)), key=lambda k: (known[k].position, known[k].number, names[k]))
        places = [known[k].position for k in order]
        steps = [after - before for before, after in itertools.pairwise(places)]
        usual = Counter(round(step, 3) for step in steps).most_common(1)[0][0]
        least = 1e-6 + TOLERANCE * abs(usual)
        for k, step in enumerate(steps):
            if step < least:
                raise InputRefused(
                    f"{names[order[k]]} and {names[order[k + 1]]} in {where} have the same position, "
                    f"{places[k]:g}; remove "
                    "one, or name the files of one scan in a list (.txt)"
                )
        distance = distance_of(places)
        if distance is None:
            wide = next(k for k, step in enumerate(steps) if abs(step - usual) > least) if usual else 0
            raise InputRefused(
                f"the slices of {where} lie {usual:g} apart, but {steps[wide]:g} between {names[order[wide]]} and "
                f"{names[order[wide + 1]]}; add the missing slices, or name the files of one scan "
                "in a list (.txt)"
            )
        return order, round(distance, 9), []
    order = sorted(range(len(known)), key=lambda k: (known[k].number, names[k]))
    numbers = [known[k].number for k in order]
    for k, (before, after) in enumerate(itertools.pairwise(numbers)):
        if after != before + (numbers[1] - numbers[0]) or after == before:
            raise InputRefused(
                f"the slices of {where} have no positions, and their numbers have a gap: {before} "
                f"({names[order[k]]}), {after} ({names[order[k + 1]]}); add the missing slices"
            )
    return order, 0.0, ["DICOM's slices do not say where they lie; they were sorted by InstanceNumber"]

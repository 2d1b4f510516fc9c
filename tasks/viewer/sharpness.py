"""Choose the level and the array for a plane: the fastest of those that are sharp enough for the screen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.dataset.opened import Opened
from tasks.volume.reading.choice import Cost, ReadableArray, cost_of
from tasks.volume.reading.indexing import Group

QUICK_SECONDS = 0.15  # an answer that is expected to take longer comes after a coarser one
MOST_DECODED_BYTES = 768 << 20  # of the chunks that one answer may decode

Spans = tuple[tuple[int, int], ...]  # start and stop along each axis, at level 0


@dataclass(frozen=True, eq=False)
class Choice:
    """The stored array that answers a request.

    Attributes:
        opened: The level.
        array: The stored array.
        cost: Cost of reading.
        spans: Ranges to read, in positions of level 0.
        partial: Whether this is only the middle of the requested range, because all of it would decode too much.
    """

    opened: Opened
    array: ReadableArray
    cost: Cost
    spans: Spans
    partial: bool


def factors_of(opened: Opened) -> tuple[float, ...]:
    """Return how many positions of level 0 one position of a level covers, along each axis."""
    levels = opened.volume.state.levels
    return tuple(
        (fine_step and coarse / fine_step) or 1.0
        for coarse, fine_step in zip(levels[opened.level].scale, levels[0].scale, strict=True)
    )


def at_level(spans: Spans, factors: Sequence[float], shape: Sequence[int]) -> Spans:
    """Return the positions of a level that cover spans of level 0."""
    found = []
    for (start, stop), factor, extent in zip(spans, factors, shape, strict=True):
        first = min(int(start // factor), extent - 1)
        last = first + 1 if stop - start == 1 else min(max(math.ceil(stop / factor), first + 1), extent)
        found.append((first, last))
    return tuple(found)


def is_sharp(spans: Spans, factors: Sequence[float], pixels: dict[int, int]) -> bool:
    """Return whether a level shows all that level 0 could show on a screen.

    Args:
        spans: Ranges in view, in positions of level 0.
        factors: Factors of the level.
        pixels: Pixels of the screen along each axis that is shown.
    """
    return all(
        (spans[axis][1] - spans[axis][0]) / factors[axis] >= min(spans[axis][1] - spans[axis][0], count)
        for axis, count in pixels.items()
    )


def chosen(
    levels: Sequence[Opened],
    spans: Spans,
    pixels: dict[int, int],
    *,
    groups_at: Callable[[Opened, Spans], Sequence[Group]] | None = None,
    limit_bytes: int = MOST_DECODED_BYTES,
) -> Choice:
    """Return the fastest of the levels and arrays that are sharp enough for the screen.

    If all of those would decode more than the limit, a coarser level answers. If there is none, the middle is read.

    Args:
        levels: The levels that may answer, the finest first.
        spans: Ranges in view, in positions of level 0.
        pixels: Pixels of the screen along each axis that is shown.
        groups_at: Makes spans of a level a selection; a box if not given.
        limit_bytes: Most bytes of chunks to decode.
    """
    groups_at = groups_at or _box
    priced: list[tuple[Opened, bool, ReadableArray, Cost]] = []
    for opened in levels:
        factors = factors_of(opened)
        groups = groups_at(opened, at_level(spans, factors, opened.shape))
        array, cost = opened.answer(groups)
        priced.append((opened, is_sharp(spans, factors, pixels), array, cost))
    sharp = [entry for entry in priced if entry[1] and entry[3].decoded_bytes <= limit_bytes]
    if sharp:
        opened, _, array, cost = min(sharp, key=lambda entry: (entry[3].seconds, entry[0].level))
        return Choice(opened, array, cost, spans, False)
    affordable = [entry for entry in priced if entry[3].decoded_bytes <= limit_bytes]
    if affordable:
        opened, _, array, cost = affordable[0]
        return Choice(opened, array, cost, spans, False)
    opened, local = levels[-1], levels[-1].volume.store.local
    array = min(opened.candidates, key=lambda entry: cost_of(entry, groups, local=local).decoded_bytes)
    return _middle(opened, array, spans, groups_at, limit_bytes)


def quicker(levels: Sequence[Opened], choice: Choice, seconds: float = QUICK_SECONDS) -> Choice | None:
    """Return the finest coarser level that answers within seconds; None if the choice itself does.

    If no level does, it is the coarsest, if that takes at most a quarter of the time.
    """
    if choice.cost.seconds <= seconds or choice.partial:
        return None
    found = None
    for opened in levels[choice.opened.level + 1 :]:
        groups = _box(opened, at_level(choice.spans, factors_of(opened), opened.shape))
        array, cost = opened.answer(groups)
        found = Choice(opened, array, cost, choice.spans, False)
        if cost.seconds <= seconds:
            return found
    return found if found is not None and 4 * found.cost.seconds <= choice.cost.seconds else None


def _middle(
    opened: Opened,
    array: ReadableArray,
    spans: Spans,
    groups_at: Callable[[Opened, Spans], Sequence[Group]],
    limit_bytes: int,
) -> Choice:
    """Return the middle of what is seen, in whole chunks, halved along its longest axis until the limit is kept."""
    factors, local = factors_of(opened), opened.volume.store.local
    units = [max(1, round(chunk * factor)) for chunk, factor in zip(array.spec.pieces, factors, strict=True)]
    while True:
        cost = cost_of(array, groups_at(opened, at_level(spans, factors, opened.shape)), local=local)
        chunks = [(stop - start) / unit for (start, stop), unit in zip(spans, units, strict=True)]
        longest = int(np.argmax(chunks))
        if cost.decoded_bytes <= limit_bytes or chunks[longest] <= 1:
            return Choice(opened, array, cost, spans, True)
        (start, stop), unit = spans[longest], units[longest]
        half = max(1, int(chunks[longest] // 2)) * unit
        first = (start + (stop - start - half) // 2) // unit * unit
        half_span = (max(start, first), min(stop, first + half))
        spans = (*spans[:longest], half_span, *spans[longest + 1 :])


def _box(opened: Opened, spans: Spans) -> list[Group]:
    return [Group((axis,), (range(start, stop),)) for axis, (start, stop) in enumerate(spans)]

"""Names of the levels beside another tool's array, after the name of its level 0."""

import re

_LEVEL_0 = re.compile(r"(.*\D)?0")


def is_elsewhere(array: str) -> bool:
    """Return whether the array of an annex is named by its place, because it does not lie in the annex's group."""
    return array.startswith("/") or "://" in array


def level_0(array: str) -> str:
    """Return a path with {} for the number in the name of level 0; empty if no part of it is such a name.

    A part of the path is such a name if it is 0 or ends in 0; the last one counts: s0, scale0/image.
    """
    parts = array.split("/")
    for at in reversed(range(len(parts))):
        if _LEVEL_0.fullmatch(parts[at]) and "{" not in array and "}" not in array:
            return "/".join([*parts[:at], f"{parts[at][:-1]}{{}}", *parts[at + 1 :]])
    return ""

"""Read YAML of untrusted users as plain values: measured before it is expanded, and never quoted in refusals."""

import math
import re
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tasks.volume.limits import SCALAR_BYTES, SIDECAR_BYTES, SIDECAR_DEPTH, SIDECAR_NODES

NUMBER_BYTES = 40  # of a number as it is written
_TAG = "tag:yaml.org,2002:"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_KNOWN = {
    f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq", "merge")
}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class _Loader(yaml.SafeLoader):
    """Dates stay the text that they are written as."""


_Loader.yaml_constructors = _Loader.yaml_constructors | {f"{_TAG}timestamp": _Loader.construct_yaml_str}


def plain_values(data: bytes) -> Any:
    """Return the values of YAML: dictionaries, lists, texts, booleans and finite numbers of up to 64 bits.

    Raises:
        ValueError: The text is not YAML, holds anything else, or is too large.
    """
    if len(data) > SIDECAR_BYTES:
        raise ValueError(f"it has {len(data)} bytes, wanted at most {SIDECAR_BYTES}")
    try:
        _measure(data)
        loader = _Loader(data)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _expanded(node, {})
            return _checked(loader.construct_document(node))
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML ({_problem(error)})") from None
    except (UnicodeDecodeError, RecursionError, OverflowError):
        raise ValueError("it is not YAML (wanted a text in UTF-8, nested a few levels deep)") from None


def _measure(data: bytes) -> None:
    """Go through the events that a parser makes of it, none of which expands anything."""
    depth = count = 0
    for event in yaml.parse(data, Loader=yaml.SafeLoader):
        count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > SCALAR_BYTES:
            raise ValueError(f"line {_line(event.start_mark)} holds a value of {len(event.value):,} letters")
        if depth > SIDECAR_DEPTH or count > SIDECAR_NODES:
            raise ValueError(
                f"line {_line(event.start_mark)} is nested too deeply, or its values are too many"
            )


def _expanded(node: Node, known: dict[int, int]) -> int:
    """Return the number of values of a node with its aliases expanded.

    Args:
        node: The node.
        known: Counts of nodes that were seen, by identity; 0 of those that are being counted.

    Raises:
        ValueError: The text holds too many values, a node that holds itself, or a value of a kind that is not plain.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"the value in line {_line(node.start_mark)} holds itself")
        return known[id(node)]
    known[id(node)] = 0
    if node.tag not in _KNOWN:
        raise ValueError(f"the value in line {_line(node.start_mark)} has a tag; wanted plain values")
    if node.tag in _NUMBERS and isinstance(node, ScalarNode) and len(node.value) > NUMBER_BYTES:
        raise ValueError(f"the number in line {_line(node.start_mark)} has {len(node.value):,} digits")
    inner: list[Node] = []
    if isinstance(node, SequenceNode):
        inner = node.value
    elif isinstance(node, MappingNode):
        inner = [part for pair in node.value for part in pair]
    count = 1 + sum(_expanded(part, known) for part in inner)
    if count > SIDECAR_NODES:
        raise ValueError(f"the value in line {_line(node.start_mark)} repeats others until they are too many")
    known[id(node)] = count
    return count


def _checked(value: Any) -> Any:
    """Return the same value, after each number in it was seen to be finite and of 64 bits."""
    if isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            _checked(part)
    elif isinstance(value, list):
        for part in value:
            _checked(part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it holds a number that is not finite")
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError("it holds a number of more than 64 bits")
    return value


def _problem(error: yaml.YAMLError) -> str:
    """Return where and why YAML does not parse, without quoting it."""
    mark, problem = (
        getattr(error, "problem_mark", None),
        getattr(error, "problem", None) or "it cannot be read",
    )
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + " ".join(_QUOTED.sub("…", str(problem)).split())[:200]


def _line(mark: Any) -> int:
    return int(mark.line) + 1

"""Parse JSON documents of a store, with limits of size and depth."""

import json
import re
from typing import Any

from pydantic import ValidationError

from tasks.volume import limits
from tasks.volume.outcomes import IntegrityFailure, Outcome


def value_from(data: bytes) -> Any:
    """Return the JSON value in `data`.

    Raises:
        ValueError: The bytes are not a JSON value, or are larger or nested deeper than Seismill's documents.
    """
    if len(data) > limits.DOCUMENT_BYTES:
        raise ValueError(f"it has {len(data):,} bytes, more than such documents have")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def object_from(data: bytes, where: str, failure: type[Outcome] = IntegrityFailure) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Args:
        data: The document.
        where: Name of the document for messages.
        failure: The outcome to raise.
    """
    problem = ""
    if len(data) > limits.DOCUMENT_BYTES:
        problem = f"has {len(data):,} bytes, more than such documents have"
    else:
        try:
            document = json.loads(data)
        except RecursionError:
            problem = "is nested too deeply"
        except ValueError as error:
            problem = f"is not JSON: {error}"
        else:
            if isinstance(document, dict):
                return document
            problem = f"holds {_kind(document)} where a JSON object belongs"
    raise failure(f"{where} {problem}; it is damaged, or not what it is taken for")


def refuse_path(path: str, where: str) -> None:
    """Check that a path in a stored document stays in its volume.

    Raises:
        IntegrityFailure: The path leads out of the volume.
    """
    if path.startswith("/") or "://" in path or ".." in path.split("/") or "\0" in path:
        raise IntegrityFailure(
            f"{where} names {path[:80]!r}, which leads out of its volume; it is damaged, or was tampered with"
        )


def first_problem(error: Exception) -> str:
    """Return where the first problem of a validation lies and what it is; the input is never repeated."""
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(re.sub(r"[^\w./-]", "?", str(part))[:60] for part in first["loc"])
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")

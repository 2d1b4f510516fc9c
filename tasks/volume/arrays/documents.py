"""JSON documents of a store, parsed with limits, and the schema of the root of a volume."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tasks.volume import limits
from tasks.volume.arrays.level_names import is_elsewhere
from tasks.volume.outcomes import IntegrityFailure, Outcome

_Path = Annotated[str, Field(max_length=1024)]
_Extent = Annotated[int, Field(ge=0, le=limits.EXTENT, strict=True)]
_Extents = Annotated[list[_Extent], Field(max_length=limits.DIMENSIONS)]
_Steps = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=limits.DIMENSIONS)]


class _Model(BaseModel):
    """Fields that are not named pass: later versions add some."""

    model_config = ConfigDict(extra="allow")


_Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class _Kept(_Model):
    bytes: Annotated[int, Field(ge=0, strict=True)]
    crc32c: _Checksum


class _Stage(_Model):
    plan: str
    kept: dict[Annotated[str, Field(pattern=r"^[a-z_]+\.[a-z]+$")], _Kept] = {}


class _Level(_Model):
    path: _Path
    scale: _Steps
    translation: _Steps


class _Annex(_Model):
    array: str
    name: str
    axes: list[dict[str, Any]]
    above: Annotated[int, Field(ge=0, le=100, strict=True)]


class _SourceFile(_Model):
    url: str
    bytes: Annotated[int, Field(ge=0, strict=True)]
    etag: str
    file: dict[str, Any] = {}
    crc32c_parts: list[_Checksum] = []


class _Axis(_Model):
    name: str
    first: float
    last: float
    step: float | str
    count: int


class _Place(_Model):
    unit: str = ""
    x: tuple[float, float] = (0, 0)
    y: tuple[float, float] = (0, 0)
    corners: list[dict[str, float]] = []
    bin_size: dict[str, float] = {}
    azimuth: dict[str, float] = {}


class _LeftOut(_Model):
    array: str
    statistics: dict[str, Any]


class _State(_Model):
    format: int
    writer: str
    created_on: str
    stages: dict[str, _Stage]
    levels: Annotated[list[_Level], Field(max_length=limits.LEVELS)]
    sources: list[_SourceFile]
    index: dict[str, Any] = {}
    axes: list[_Axis] = []
    place: _Place = _Place()
    left_out: _LeftOut | None = None
    looks: dict[str, Any] = {}
    annex: _Annex | None = None
    proven_at: str = ""
    compared_at: str = ""
    attributes: dict[str, Any] = {}


class _Variable(_Model):
    defaultVariableName: _Path = ""  # MDIO's name


class _Attributes(_Model):
    attributes: _Variable = _Variable()
    seismill: _State | None = None  # of a group that is no volume

    @field_validator("seismill")
    @classmethod
    def _is_said(cls, state: _State | None) -> _State:
        if state is None:  # only what is there is validated
            raise ValueError("it holds nothing")
        return state


class _Grid(_Model):
    class _Shape(_Model):
        chunk_shape: _Extents

    configuration: _Shape


class _Member(_Model):
    node_type: Literal["array", "group"]
    attributes: dict[str, Any] = {}
    shape: _Extents | None = None
    chunk_grid: _Grid | None = None
    codecs: list[dict[str, Any]] | None = None
    data_type: str | dict[str, Any] | None = None
    dimension_names: list[str | None] | None = None


class _Consolidated(_Model):
    metadata: Annotated[dict[_Path, _Member], Field(max_length=limits.MEMBERS)]


class _Root(_Model):
    attributes: _Attributes
    consolidated_metadata: _Consolidated


def value_from(data: bytes) -> Any:
    """Return the JSON value in `data`.

    Raises:
        ValueError: There is none, or it is larger or nested deeper than a document of ours.
    """
    if len(data) > limits.DOCUMENT_BYTES:
        raise ValueError(f"it has {len(data):,} bytes, which no such document has")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def object_from(data: bytes, where: str, failure: type[Outcome] = IntegrityFailure) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Args:
        data: The document.
        where: What it is, for people.
        failure: The outcome to raise.
    """
    problem = ""
    if len(data) > limits.DOCUMENT_BYTES:
        problem = f"has {len(data):,} bytes, which no such document has"
    else:
        try:
            document = json.loads(data)
        except RecursionError:
            problem = "is nested too deeply"
        except ValueError as error:
            problem = f"is no JSON: {error}"
        else:
            if isinstance(document, dict):
                return document
            problem = f"holds {_kind(document)} where a JSON object belongs"
    raise failure(f"{where} {problem}; it is damaged, or not what it is taken for")


def root_from(data: bytes, where: str) -> dict[str, Any]:
    """Return the root of a volume or annex, in the form in which this software writes it.

    Raises:
        IntegrityFailure: It is not of that form.
    """
    root = object_from(data, f"the root {where}")
    try:
        model = _Root.model_validate(root)
    except (ValidationError, RecursionError) as error:
        raise IntegrityFailure(
            f"the root {where} is damaged ({first_problem(error)}); run seismill verify --repair from_master"
        ) from None
    state, members = model.attributes.seismill, model.consolidated_metadata.metadata
    if "seismill" in root["attributes"] and model.attributes.attributes.defaultVariableName not in members:
        raise IntegrityFailure(
            f"the root {where} is damaged (it does not list its own array); run seismill verify --repair from_master"
        )
    levels = [level.path for level in state.levels] if state else []
    for path in (
        *members,
        *levels,
        model.attributes.attributes.defaultVariableName,
    ):
        refuse_path(path, f"the root {where}")
    if state and state.annex and not is_elsewhere(state.annex.array):
        refuse_path(state.annex.array, f"the root {where}")
    return root


def refuse_path(path: str, where: str) -> None:
    """Return if a path in a stored document stays in its volume.

    Raises:
        IntegrityFailure: It leads out of it.
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

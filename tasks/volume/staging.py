"""What lies under a staging prefix, and where each SEG-Y there would go.

`staging/a/b.sgy` becomes `volumes/a/b.zarr`. Two sources that would become one volume are told apart from all
others by a sentence, and so is a source whose name or sidecar cannot be used: nobody guesses which one was meant.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tasks.parameters import Publication, Url
from tasks.volume.blocks import on_io
from tasks.volume.outcomes import InputRefused
from tasks.volume.store import Store

SUFFIXES = (".sgy", ".segy")
SIDECAR = ".seismill.yaml"
SIDECAR_BYTES = 64 << 10

SizeClass = Literal["s", "m", "l"]
# A run's memory does not grow with its file, but its time and its scratch do.
_LARGEST: dict[SizeClass, int] = {"s": 2 * 10**9, "m": 100 * 10**9}


@dataclass(frozen=True)
class Found:
    """A SEG-Y in staging.

    Attributes:
        name: Below the staging prefix, with '/'.
        url: Where it is.
        bytes: Its size.
        identity: As a `Source` has it: another one for other content.
        volume: Where its volume goes.
        publication: How it is to be published, its sidecar included.
        attributes: What its sidecar says of the survey.
        crc32c: What its sidecar expects of the file, in hexadecimal; empty if nothing.
        sentence: Why it cannot be published as it is; empty if it can.
    """

    name: str
    url: str
    bytes: int
    identity: str
    volume: str
    publication: Publication = field(default_factory=Publication)
    attributes: dict[str, Any] = field(default_factory=dict)
    crc32c: str = ""
    sentence: str = ""


class Sidecar(BaseModel):
    """What a `b.seismill.yaml` beside `b.sgy` may say: facts of the survey, never where anything lies."""

    model_config = ConfigDict(extra="forbid")

    index: dict[str, Any] = {}
    master: dict[str, Any] = {}
    copies: dict[str, Any] = {}
    pyramid: dict[str, Any] = {}
    attributes: dict[str, str | bool | int | float] = {}
    crc32c: str = Field(default="", pattern=r"^([0-9a-f]{8})?$")


def size_class(size: int) -> SizeClass:
    """The class of a file of `size` bytes: s, m or l."""
    return next((name for name, largest in _LARGEST.items() if size <= largest), "l")


def found_under(staging: Store, volumes: Store, publication: Publication) -> list[Found]:
    """Every SEG-Y under a prefix with what its sidecar asks for, by name; those that cannot be used say why.

    Args:
        staging: What is listed: one deep listing, and one of each folder that holds a SEG-Y.
        volumes: Where volumes go.
        publication: How sources without a sidecar are published.

    Raises:
        InputRefused: The staging prefix is a folder that does not exist, or one prefix lies in the other.
    """
    _refuse_nested(staging.url, volumes.url)
    keys = staging.keys("")
    if staging.local and not keys and not staging.children():
        raise InputRefused(f"there is nothing under {staging.url}; check the prefix")
    names = [key for key in keys if key.lower().endswith(SUFFIXES) and not key.startswith(".seismill/")]
    sizes: dict[str, tuple[int, str]] = {}
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        listed = Store(f"{staging.url}/{folder}".rstrip("/"), staging.options).files()
        sizes |= {f"{folder}/{name}".lstrip("/"): about for name, about in listed.items()}
    found = [
        Found(name, f"{staging.url}/{name}", *sizes[name], f"{volumes.url}/{volume_name(name)}", publication)
        for name in names
        if name in sizes  # or it was taken away between the two listings
    ]
    present = set(keys)
    with_sidecar = on_io(lambda one: _with_sidecar(staging, one, present), found)
    return [_with_usable_name(one) for one in without_collisions(with_sidecar)]


def volume_name(name: str) -> str:
    """The name of the volume of a source: a/b.sgy gives a/b.zarr."""
    return str(PurePosixPath(name).with_suffix(".zarr"))


def without_collisions(found: list[Found]) -> list[Found]:
    """The same sources, of which all that would share a volume, or lie in another's, say so."""
    by_volume: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        by_volume[one.volume].append(one)
    told = []
    for one in found:
        others = [other.name for other in by_volume[one.volume] if other is not one]
        around = [str(folder) for folder in PurePosixPath(one.volume).parents if _key(folder) in by_volume]
        if others:
            one = replace(
                one,
                sentence=f"{one.name} and {', '.join(others)} would both become {one.volume}; rename all but one",
            )
        elif around:
            one = replace(
                one, sentence=f"{one.volume} would lie inside of the volume {around[0]}; rename one"
            )
        told.append(one)
    return told


def _key(folder: PurePosixPath) -> str:
    # A pure path writes s3:// with one slash.
    scheme, colon, rest = str(folder).partition(":/")
    return f"{scheme}://{rest}" if colon else str(folder)


def _refuse_nested(staging: str, volumes: str) -> None:
    one, other = f"{staging}/", f"{volumes}/"
    if one.startswith(other) or other.startswith(one):
        raise InputRefused(
            f"{staging} and {volumes} lie in each other; give staging and volumes prefixes of their own, because a "
            "listing of one would go through all objects of the other"
        )


def _with_usable_name(one: Found) -> Found:
    try:
        TypeAdapter(Url).validate_python(one.url)
    except ValidationError:
        return replace(one, sentence=f"the name {one.name!r} holds '@', '?' or ':'; rename the file")
    return one


def _with_sidecar(staging: Store, one: Found, keys: set[str]) -> Found:
    name = str(PurePosixPath(one.name).with_suffix(SIDECAR))
    if name not in keys:
        return one
    try:
        sidecar = read_sidecar(staging.get(name))
        asked = sidecar.model_dump(include={"index", "master", "copies", "pyramid"})
        plain = one.publication.model_dump()
        merged = Publication.model_validate(
            plain | {part: plain[part] | fields for part, fields in asked.items()}
        )
    except (ValueError, FileNotFoundError) as error:
        return replace(
            one, sentence=f"the sidecar {name} cannot be used: {_first(error)}; correct or remove it"
        )
    return replace(one, publication=merged, attributes=sidecar.attributes, crc32c=sidecar.crc32c)


def read_sidecar(data: bytes) -> Sidecar:
    """A sidecar from its YAML.

    Raises:
        ValueError: It is none, or it holds a URL or what looks like a credential.
    """
    if len(data) > SIDECAR_BYTES:
        raise ValueError(f"it has {len(data)} bytes, wanted at most {SIDECAR_BYTES}")
    try:
        plain = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(plain, dict):
        raise ValueError(f"it holds {type(plain).__name__}, wanted keys such as index and attributes")
    _refuse_secrets(plain, "")
    return Sidecar.model_validate(plain)


def _refuse_secrets(value: Any, name: str) -> None:
    """Sidecars are written by whoever may write to staging: they must not be able to point anywhere."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if any(word in str(key).lower() for word in ("password", "secret", "token", "credential")):
                raise ValueError(f"{key} looks like a credential, and those do not belong in a sidecar")
            _refuse_secrets(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            _refuse_secrets(inner, name)
    elif isinstance(value, str) and ("://" in value or "::" in value):
        raise ValueError(f"{name} holds a URL, and a sidecar says nothing of places")


def _first(error: Exception) -> str:
    """The first thing that is wrong, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: got {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"
    return str(error)

"""Sidecars: a `b.seismill.yaml` in staging describes `b.sgy`, the scan `b`, or files that it groups.

A sidecar holds facts about a survey and never addresses: anyone who may write to staging can write one, and it must
not be able to point elsewhere. The files of a group are named relative to its folder.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.parameters import Publication
from tasks.volume.blocks import on_io
from tasks.volume.ingest.named_files import in_natural_order
from tasks.volume.limits import SIDECAR_BYTES
from tasks.volume.outcomes import Resumable, without_secrets
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.url import as_parameter, exactly
from tasks.volume.sweeps.keys import folder_of, is_su, reason, stem_of
from tasks.volume.sweeps.sidecar_yaml import plain_values

SIDECAR = ".seismill.yaml"
_PATTERN = "*["
_WORD = re.compile(r"[\w.\[\]-]{1,60}")

_Crc32c = Annotated[str, Field(pattern=r"^([0-9a-f]{8})?$")]
_Md5 = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]


class Sidecar(BaseModel):
    """The content of a sidecar."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = []
    index: dict[str, Any] = {}
    image: dict[str, Any] = {}
    master: dict[str, Any] = {}
    copies: dict[str, Any] = {}
    pyramid: dict[str, Any] = {}
    attributes: dict[str, str | bool | int | float] = {}
    crc32c: _Crc32c | dict[str, _Crc32c] = ""
    md5: _Md5 | dict[str, _Md5] = ""

    def checksums(self, name: str, files: Mapping[str, str]) -> list[str]:
        """Return the expected checksums of files, as parameters of an ingest.

        Args:
            name: Name of the file or of the sidecar that groups `files`.
            files: URLs by name below the staging prefix.

        Raises:
            ValueError: A checksum is given for several files, or for a file that is not among them.
        """
        expected: list[str] = []
        for kind, stated in (("crc32c", self.crc32c), ("md5", self.md5)):
            if isinstance(stated, dict):
                of_file = {f"{folder_of(name)}{PurePosixPath(own)}": value for own, value in stated.items()}
                if unknown := sorted(of_file.keys() - files.keys()):
                    raise ValueError(f"{kind} names {unknown[0]}, which is not one of its files")
                expected += [f"{files[file]}={value}" for file, value in of_file.items() if value]
            elif stated and len(files) > 1:
                raise ValueError(
                    f"{kind} is one checksum for {len(files)} files; give one for each, by its name"
                )
            elif stated:
                expected.append(stated)
        return expected


def sidecar_of(name: str) -> str:
    """Return the name of the sidecar of a source: beside it; a group is named as its sidecar."""
    if name.endswith("/"):
        return f"{name[:-1]}{SIDECAR}"
    return name if name.endswith(SIDECAR) else f"{stem_of(name)}{SIDECAR}"


def read_sidecars(staging: Store, names: list[str]) -> dict[str, Sidecar | str]:
    """Return sidecars by name; for an unusable one, the error."""

    def read(name: str) -> Sidecar | str | None:
        try:
            return read_sidecar(_fetched(staging, name))
        except Resumable:  # the store, which holds every other source as well
            raise
        except Exception as error:  # whatever one sidecar holds, the others are read
            if not staging.identity(name):  # taken away after it was listed
                return None
            return without_secrets(reason(error))

    contents = zip(names, on_io(read, names), strict=True)
    return {name: entry for name, entry in contents if entry is not None}


def _fetched(staging: Store, name: str) -> bytes:
    """Return the bytes of a sidecar, which is looked at before they are fetched.

    Raises:
        ValueError: The sidecar is not a file, or is too large.
    """
    url = exactly(staging.location.protocol, staging.path(name)).url
    source = Source(as_parameter(url), staging.options)
    try:
        if source.size > SIDECAR_BYTES:
            raise ValueError(f"it has {source.size} bytes, wanted at most {SIDECAR_BYTES}")
        return source.read(0, source.size)
    finally:
        source.close()


def read_sidecar(data: bytes) -> Sidecar:
    """Return a sidecar from its YAML.

    Raises:
        ValueError: The file is not a sidecar, or holds a URL or what looks like a credential.
    """
    plain = plain_values(data)
    if not isinstance(plain, dict):
        raise ValueError("it holds no keys, wanted keys such as index and attributes")
    _refuse_secrets(plain, "")
    try:
        return Sidecar.model_validate(plain)
    except ValidationError as error:
        raise ValueError(_first(error)) from error


def publication_of(sidecar: Sidecar, usual: Publication) -> Publication:
    """Return the settings of a source's publication: those of its sidecar, else the defaults.

    Raises:
        ValueError: The sidecar has an unknown or invalid setting.
    """
    asked = sidecar.model_dump(include={"index", "image", "master", "copies", "pyramid"})
    plain = {part: {} for part in asked} | usual.model_dump()
    try:
        return Publication.model_validate(
            plain | {part: plain[part] | fields for part, fields in asked.items()}
        )
    except ValidationError as error:
        raise ValueError(_first(error)) from error


def of_format(publication: Publication, names: Sequence[str]) -> Publication:
    """Return how files are published: as Seismic Unix where all are named so, else as SEG-Y.

    Args:
        publication: Settings for all sources, which say whether files of Seismic Unix are sources.
        names: Names of files that are candidates.
    """
    own: Literal["segy", "su"] = "su" if all(is_su(name) for name in names) else "segy"
    if publication.index.file_format == own:
        return publication  # one for all sources, for there may be a million
    index = publication.index.model_copy(update={"file_format": own})
    return publication.model_copy(update={"index": index})


def members_of(name: str, sidecar: Sidecar, present: Collection[str]) -> list[str]:
    """Return names of the files that a sidecar groups, in its order; those of a pattern by the numbers in them.

    Args:
        name: Name of the sidecar below the staging prefix.
        sidecar: Content of the sidecar.
        present: Names of the SEG-Y files that are there.

    Raises:
        ValueError: The sidecar names a file twice, or one that is missing or outside of its folder.
    """
    folder = folder_of(name)
    members: list[str] = []
    for own in sidecar.files:
        path = PurePosixPath(own)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"files names {without_secrets(own)}, wanted files in its own folder or below")
        wanted = f"{folder}{path}"
        if wanted in present or not set(path.name) & set(_PATTERN):  # a name comes before a pattern
            names = [wanted] if wanted in present else []
        else:
            beside = [entry for entry in present if folder_of(entry) == folder_of(wanted)]
            matching = [
                dataset for dataset in beside if fnmatch.fnmatchcase(dataset.rpartition("/")[2], path.name)
            ]
            names = in_natural_order(matching)
        if not names:
            raise ValueError(f"files names {without_secrets(own)}, but no such SEG-Y is there")
        members += names
    if twice := [entry for entry, times in Counter(members).items() if times > 1]:
        raise ValueError(f"files names {twice[0]} twice")
    return members


def _refuse_secrets(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if any(word in str(key).lower() for word in ("password", "secret", "token", "credential")):
                raise ValueError(
                    f"{_named(key)} looks like a credential, and those do not belong in a sidecar"
                )
            if isinstance(key, str):
                _refuse_secrets(key, "a key")
            _refuse_secrets(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            _refuse_secrets(inner, name)
    elif isinstance(value, str) and ("://" in value or "::" in value):
        raise ValueError(f"{_named(name)} holds a URL, which does not belong in a sidecar")


def _first(error: ValidationError) -> str:
    """Return the first thing that is wrong, in a few words; what a stranger wrote is not repeated."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(_named(part) for part in first["loc"])
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _named(key: object) -> str:
    """Return a key as a sentence names it: a plain word, or nothing of it."""
    return str(key) if _WORD.fullmatch(str(key)) else "a key"

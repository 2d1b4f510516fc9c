"""List a staging prefix, and decide the volume of each SEG-Y and each scan.

`staging/a/b.sgy`, or the slices in the folder `staging/a/b/`, become `volumes/a/b.zarr`, and so do the files that
`staging/a/b.seismill.yaml` groups. Two sources that would become one
volume, and sources whose name or sidecar cannot be used, are not published; a sentence says why.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Literal

from tasks.parameters import Copies, Image, Index, Kinds, Publication
from tasks.volume.images.stack import find_stack
from tasks.volume.ingest.checksums import BESIDE
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store
from tasks.volume.store.url import as_parameter, exactly
from tasks.volume.sweeps.keys import File, Listing, folder_of, is_packed, listing_of, packed, reason
from tasks.volume.sweeps.places import refuse_nested, volume_name
from tasks.volume.sweeps.scans import Scan, scans_in
from tasks.volume.sweeps.sidecar import (
    SIDECAR,
    Sidecar,
    members_of,
    of_format,
    publication_of,
    read_sidecars,
    sidecar_of,
)
from tasks.volume.sweeps.zip_files import with_zip_files

SizeClass = Literal["s", "m", "l"]
# A run's memory does not grow with its file, but its time and its scratch do.
_LARGEST: dict[SizeClass, int] = {"s": 2 * 10**9, "m": 100 * 10**9}


@dataclass(frozen=True, slots=True)
class StagedSource:
    """Files that become one volume: a SEG-Y in staging, several that a sidecar groups, or a scan.

    Attributes:
        name: Name below the staging prefix, with '/': of a group its sidecar's, of slices the folder's with a '/'.
        url: URL of the file or folder of that name.
        bytes: Size of the source; for a group, of all its files.
        identity: Identity in the form of `Source`; it changes with the content.
        volume: URL of its volume.
        publication: Settings of its publication, its sidecar included.
        attributes: Attributes of the survey from its sidecar.
        beside: Identities of the `<file>.md5` of its files, by name.
        group: The files of a group, in the order of their traces; empty for a single one.
        sentence: Reason why it cannot be published as it is; empty if it can.
        images: Whether it is a scan; `group` then has its slices.
    """

    name: str
    url: str
    bytes: int
    identity: str
    volume: str
    publication: Publication = field(default_factory=Publication)
    attributes: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    group: tuple[File, ...] = ()
    sentence: str = ""
    images: bool = False

    @property
    def files(self) -> tuple[File, ...]:
        """Return the files of the source: those of its group, or the single file."""
        return self.group or (File(self.name, self.url, self.bytes, self.identity),)

    @property
    def source(self) -> str:
        """Return the source parameter for `publish`: exactly these files, with special characters escaped."""
        if self.images and self.group:
            return self.url
        return ",".join(as_parameter(file.url) for file in self.files)

    @property
    def recorded(self) -> tuple[File, ...]:
        """Return the files that the catalogue names one by one; slices are known by their folder."""
        return () if self.images else self.group


def size_class(size: int) -> SizeClass:
    """Return the class of a file of `size` bytes: s, m or l."""
    return next((name for name, largest in _LARGEST.items() if size <= largest), "l")


def look_under(
    staging: Store, volumes: Store, publication: Publication, kinds: Kinds = "all"
) -> tuple[Listing, list[StagedSource]]:
    """Return all keys under a prefix, and each candidate with its sidecar's settings or why it cannot be used.

    Args:
        staging: Store that is listed once; otherwise only sidecars are read.
        volumes: Store of the volumes.
        publication: Settings for sources without a sidecar.
        kinds: Whether scans are sources, too.

    Raises:
        InputRefused: The staging prefix is a folder that does not exist, or one prefix lies in the other, or
            checksums are given for all sources.
    """
    refuse_nested(staging.url, volumes.url)
    if publication.index.checksums or publication.image.checksums:
        raise InputRefused(
            "a checksum belongs to one file; state it in the sidecar of that file, or in <file>.md5 beside it"
        )
    listed = with_zip_files(listing_of(staging, su=publication.index.file_format == "su"), staging)
    files = {name: listed.files[name] for name in listed.candidates}
    sidecars = read_sidecars(staging, [name for name in listed.files if name.endswith(SIDECAR)])

    def single(file: File) -> StagedSource:
        place = f"{volumes.url}/{volume_name(file.name)}"
        own = of_format(surveys, [file.name])
        entry = StagedSource(file.name, file.url, file.bytes, file.identity, place, own)
        sentence = listed.unusable.get(file.name, "") or packed(file, files)
        if sentence:
            return replace(entry, sentence=sentence)
        return _described(entry, sidecars.get(sidecar_of(file.name)))

    def grouped(name: str, sidecar: Sidecar) -> StagedSource:
        place = f"{volumes.url}/{volume_name(name)}"
        empty = StagedSource(
            name, exactly(staging.location.protocol, staging.path(name)).url, 0, "", place, surveys
        )
        try:
            group = tuple(files[member] for member in members_of(name, sidecar, files))
        except ValueError as error:
            return replace(
                empty, sentence=f"the sidecar {name} cannot be used: {error}; correct or remove it"
            )
        identity = digest_of({"files": [(file.name, file.bytes, file.identity) for file in group]})
        size = sum(file.bytes for file in group)
        sentences = (listed.unusable.get(file.name, "") or packed(file, files) for file in group)
        whole = replace(
            empty,
            bytes=size,
            identity=identity,
            publication=of_format(surveys, [file.name for file in group]),
            group=group,
            sentence=next(filter(None, sentences), ""),
        )
        return _described(whole, sidecar)

    def scanned(scan: Scan) -> StagedSource:
        slices = scan.name.endswith("/")
        url = exactly(staging.location.protocol, staging.path(scan.name.rstrip("/"))).url
        identity = digest_of({"files": [(file.name, file.bytes, file.identity) for file in scan.files]})
        entry = StagedSource(
            scan.name,
            url,
            sum(file.bytes for file in scan.files),
            identity if slices else scan.files[0].identity,
            f"{volumes.url}/{volume_name(scan.name)}",
            # What is said of all sources are copies of surveys; a scan has those that its sidecar names.
            publication.model_copy(update={"index": Index(), "copies": Copies()}),
            group=scan.files if slices else (),
            images=True,
        )
        return _described(entry, sidecars.get(sidecar_of(scan.name)))

    scans = scans_in(listed.files, sidecars, partial(_holds_a_volume, staging)) if kinds == "all" else []
    surveys = publication.model_copy(update={"image": Image()})
    groups = [
        grouped(name, entry) for name, entry in sidecars.items() if isinstance(entry, Sidecar) and entry.files
    ]
    taken = {file.name for group in groups for file in group.group}
    singles = [single(file) for name, file in files.items() if name not in taken]
    parts = [replace(group, beside=_beside(group, listed.files)) for group in (*singles, *groups)]
    parts += [scanned(scan) for scan in scans if scan.files[0].name not in listed.unusable]
    staged = _held_back(_in_one_group(parts, sidecars), sidecars)
    # What is never published takes no other's place.
    apart = {
        entry.name for entry in staged if entry.sentence and is_packed(entry.name)
    } | listed.unusable.keys()
    parts = without_collisions([entry for entry in staged if entry.name not in apart])
    parts += [entry for entry in staged if entry.name in apart]
    return listed, sorted(parts, key=lambda entry: entry.name)


def _holds_a_volume(staging: Store, file: File) -> bool:
    """Return whether an image file has several slices; one that cannot be read is refused when it is published."""
    try:
        return find_stack(file.url, staging.options).first.count > 1
    except InputRefused:
        return False


def _beside(source: StagedSource, listed: Mapping[str, File]) -> dict[str, str]:
    """Identities of the `<file>.md5` that lie beside the files of a source, by name."""
    names = [f"{file.name}{BESIDE}" for file in source.files]
    return {name: listed[name].identity for name in names if name in listed}


def _described(source: StagedSource, sidecar: Sidecar | str | None) -> StagedSource:
    """Return a source with its sidecar's words; the sidecar may be a sentence that says why it cannot be used."""
    if sidecar is None or source.sentence:
        return source
    try:
        if isinstance(sidecar, str):
            raise ValueError(sidecar)
        other = "index" if source.images else "image"
        if getattr(sidecar, other):
            raise ValueError(f"{other} is not of {'images' if source.images else 'SEG-Y'}")
        publication = publication_of(sidecar, source.publication)
        expected = sidecar.checksums(source.name, {file.name: file.url for file in source.files})
        of_kind: Index | Image = publication.image if source.images else publication.index
        of_kind = of_kind.model_copy(update={"checksums": [*of_kind.checksums, *expected]})
        publication = publication.model_copy(update={"image" if source.images else "index": of_kind})
        # What a digest or a stored document cannot hold is found here, and not while others are published.
        json.dumps([publication.model_dump(), sidecar.attributes], allow_nan=False)
    except Exception as error:  # whatever a sidecar does, it does to its own source alone
        name = sidecar_of(source.name)
        return replace(
            source, sentence=f"the sidecar {name} cannot be used: {reason(error)}; correct or remove it"
        )
    return replace(source, publication=publication, attributes=sidecar.attributes)


def _in_one_group(staged: list[StagedSource], sidecars: Mapping[str, Sidecar | str]) -> list[StagedSource]:
    """Return the same sources; groups that share a file, or whose file has its own sidecar, get a sentence."""
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in staged:
        for file in entry.group:
            groups[file.name].append(entry.name)
    parts = []
    for entry in staged:
        for file in entry.group:
            also = [name for name in groups[file.name] if name != entry.name]
            own = sidecar_of(file.name)
            also += [own] if own in sidecars and own not in (entry.name, *also) else []
            if also and not entry.sentence:
                entry = replace(
                    entry, sentence=f"{file.name} belongs to {entry.name} and to {also[0]}; keep it in one"
                )
        parts.append(entry)
    return parts


def _held_back(staged: list[StagedSource], sidecars: Mapping[str, Sidecar | str]) -> list[StagedSource]:
    """Return the same sources; those that an unreadable sidecar in their folder may group get a sentence.

    A sidecar with the name of a file beside it holds back that one alone.
    """
    described = {sidecar_of(entry.name) for entry in staged}
    unread = {
        folder_of(name): (name, why)
        for name, why in sidecars.items()
        if isinstance(why, str) and name not in described
    }
    parts = []
    for item in staged:
        name, why = unread.get(folder_of(item.name), ("", ""))
        if name and not item.sentence and sidecar_of(item.name) not in sidecars:
            item = replace(
                item,
                sentence=f"the sidecar {name}, which may group it, cannot be used: {why}; correct or remove it",
            )
        parts.append(item)
    return parts


def without_collisions(staged: list[StagedSource]) -> list[StagedSource]:
    """Return the same sources; those that would share a volume, or lie in another's, get a sentence."""
    by_volume: dict[str, list[StagedSource]] = defaultdict(list)
    for entry in staged:
        by_volume[entry.volume].append(entry)
    parts = []
    for entry in staged:
        others = [other.name for other in by_volume[entry.volume] if other is not entry]
        around = [str(folder) for folder in PurePosixPath(entry.volume).parents if _key(folder) in by_volume]
        if others:
            entry = replace(
                entry,
                sentence=f"{entry.name} and {', '.join(others)} would both become {entry.volume}; rename all but one",
            )
        elif around:
            entry = replace(
                entry, sentence=f"{entry.volume} would lie inside of the volume {around[0]}; rename one"
            )
        parts.append(entry)
    return parts


def _key(folder: PurePosixPath) -> str:
    # A pure path writes s3:// with one slash.
    scheme, colon, rest = str(folder).partition(":/")
    return f"{scheme}://{rest}" if colon else str(folder)

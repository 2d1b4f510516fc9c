"""List every key under a staging prefix, and classify it by name: candidates, sidecars and checksums, other files.

A sweep accounts for each listed key. A candidate is a file whose name is that of SEG-Y, also compressed, in capital
letters or in a folder without a name.
"""

import os
import shlex
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.segy.not_segy import SU_SUFFIX, SUFFIXES
from tasks.volume.store.calls import count
from tasks.volume.store.objects import Store
from tasks.volume.store.url import exactly

READ_PACKED = (".gz", ".zip")
# How each kind of compressed file is unpacked, to standard output.
UNPACK = {
    ".gz": "gunzip -c",
    ".bz2": "bunzip2 -c",
    ".xz": "xz -dc",
    ".zst": "zstd -dc",
    ".lz4": "lz4 -dc",
    ".z": "uncompress -c",
    ".zip": "unzip -p",
}
_COPY = {"s3": "aws s3 cp", "gs": "gcloud storage cp"}


@dataclass(frozen=True, slots=True)
class File:
    """A file in staging.

    Attributes:
        name: Name below the staging prefix, with '/'.
        url: URL of the file.
        bytes: Size of the file.
        identity: Identity in the form of `Source`; it changes with the content.
        crc32c: CRC32C of the file in hexadecimal; empty before it was read.
    """

    name: str
    url: str
    bytes: int
    identity: str
    crc32c: str = ""


@dataclass(frozen=True)
class Listing:
    """The content of a staging prefix.

    Attributes:
        files: Everything that was listed, by name.
        unusable: Why a file cannot be read as it is, by name; such files are candidates, whatever they are called.
        su: Whether files of Seismic Unix are candidates.
        archives: Names of the ZIP files that hold candidates, whatever they are called.
    """

    files: Mapping[str, File]
    unusable: Mapping[str, str]
    su: bool = False
    archives: frozenset[str] = frozenset()

    @property
    def candidates(self) -> list[str]:
        """Return names of the files that are SEG-Y by their names."""
        return [name for name in self.files if self.has_candidate(name)]

    def has_candidate(self, name: str) -> bool:
        """Return whether a file is SEG-Y by its name, holds such, or must be looked at."""
        return is_candidate(name, su=self.su) or name in self.archives or name in self.unusable

    def account(
        self, sources: Sequence["OfFiles"], states: Sequence[str]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Count every listed key: files by the state of their source, all others by their suffix.

        Raises:
            IntegrityFailure: A candidate is part of no source, or a source names what was not listed.
        """
        state_of = {
            file.name: state for entry, state in zip(sources, states, strict=True) for file in entry.files
        }
        files = dict(Counter(state_of.values()))
        others = Counter(suffix_of(name) or "(none)" for name in self.files if name not in state_of)
        lost = [name for name in self.candidates if name not in state_of]
        lost += [name for name in state_of if name not in self.files]
        if lost or sum(files.values()) + others.total() != len(self.files):
            raise IntegrityFailure(
                f"the sweep does not account for {len(lost)} of {len(self.files)} objects, such as {lost[:3]}; "
                "treat the migration as incomplete, and report it"
            )
        return files, dict(others.most_common())


class OfFiles(Protocol):
    """An entry that names its files."""

    @property
    def files(self) -> tuple[File, ...]:
        """Return the files."""


def listing_of(staging: Store, *, su: bool = False) -> Listing:
    """List a staging prefix: one deep listing, each key with size and identity.

    Args:
        staging: The prefix.
        su: Whether files of Seismic Unix are candidates.

    Raises:
        InputRefused: The prefix is a folder that does not exist, or its bucket does not.
    """
    files: dict[str, File] = {}
    unusable: dict[str, str] = {}
    entries = _on_disk(staging, su=su) if staging.local else ((*entry, "") for entry in staging.listing(""))
    for key, size, identity, problem in entries:
        name, url = key, exactly(staging.location.protocol, f"{staging.path('')}/{key}").url
        if not _is_unicode(key):
            name, url = _printable(key), _printable(url)
            problem = "its name is not UTF-8; rename the file" if is_candidate(name, su=su) else ""
        elif is_candidate(key, su=su) and {".", ".."} & set(key.split("/")):
            problem = "a folder in its name is called '.' or '..', which clients resolve; rename it"
        files[name] = File(name, url, size, identity)
        if problem:
            unusable[name] = f"{url} cannot be read: {problem}"
    if staging.local and not files and not staging.children():
        raise InputRefused(f"there is nothing under {staging.url}; check the prefix")
    if not files and not staging.has_bucket():
        raise InputRefused(f"there is no bucket {staging.url}; check the prefix and the address of its store")
    return Listing(dict(sorted(files.items())), unusable, su)


def _on_disk(staging: Store, *, su: bool) -> Iterator[tuple[str, int, str, str]]:
    """Key, size, identity and what is wrong of everything below a folder; links to folders are not followed."""
    root = staging.location.path
    unread: list[OSError] = []
    count()
    for folder, below, names in os.walk(root, onerror=unread.append):
        prefix = "" if folder == root else f"{os.path.relpath(folder, root)}/"
        for name in below:
            if os.path.islink(f"{folder}/{name}"):
                yield (
                    f"{prefix}{name}",
                    0,
                    "link",
                    "it is a link to a folder; sweep that folder, or move it here",
                )
        for name in names:
            try:
                status = os.stat(f"{folder}/{name}")
            except OSError as error:
                if os.path.lexists(f"{folder}/{name}"):
                    candidate = is_candidate(name, su=su)
                    problem = f"{error.strerror}; correct or remove the link" if candidate else ""
                    yield f"{prefix}{name}", 0, "unreadable", problem
                continue
            regular = stat.S_ISREG(status.st_mode)
            problem = "it is no regular file; remove it" if is_candidate(name, su=su) and not regular else ""
            yield f"{prefix}{name}", status.st_size, f"{status.st_size}-{status.st_mtime_ns}", problem
    for failure in unread:
        if (folder := str(failure.filename)) == root and not isinstance(failure, FileNotFoundError):
            raise InputRefused(f"{root} cannot be listed ({failure.strerror}); check the prefix")
        if os.path.lexists(folder) and folder != root:
            key = os.path.relpath(folder, root)
            yield key, 0, "unreadable", f"{failure.strerror}; allow this user to list the folder"


def is_candidate(name: str, *, su: bool = False) -> bool:
    """Return whether a name is that of SEG-Y, or of Seismic Unix where this is a source too, compressed or not."""
    suffixes = (*SUFFIXES, SU_SUFFIX) if su else SUFFIXES
    plain = name if name.lower().endswith(suffixes) else _unpacked(name)
    return plain.lower().endswith(suffixes) and not name.startswith(".seismill/")


def is_su(name: str) -> bool:
    """Return whether a name is that of Seismic Unix data, compressed or not."""
    return _unpacked(name).lower().endswith(SU_SUFFIX)


def is_packed(name: str) -> bool:
    """Return whether a name is that of compressed SEG-Y or Seismic Unix data."""
    return is_candidate(name, su=True) and _unpacked(name) != name


def packed(file: File, present: Collection[str]) -> str:
    """Return why a compressed file is not published, with the command that unpacks it; empty for any other.

    Those in `READ_PACKED` are read as they are.
    """
    if not is_packed(file.name):
        return ""
    plain = _unpacked(file.name)
    if plain in present:
        return (
            f"{file.url} is compressed and is passed over, because {plain} lies beside it; remove one of them"
        )
    suffix = file.name[len(plain) :].lower()
    if suffix in READ_PACKED:
        return ""
    target = file.url[: len(file.url) - len(suffix)]
    scheme = file.url.partition("://")[0] if "://" in file.url else ""
    source, unpacked = shlex.quote(file.url), shlex.quote(target)
    if copy := _COPY.get(scheme):
        command = f"{copy} {source} - | {UNPACK[suffix]} | {copy} - {unpacked}"
    elif not scheme:
        command = f"{UNPACK[suffix]} {source} > {unpacked}"
    else:
        command = f"{UNPACK[suffix]} {shlex.quote(file.name.rpartition('/')[2])}"
    return f"{file.url} is compressed in a way that is not read; unpack it beside: {command}"


def _unpacked(name: str) -> str:
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in UNPACK else name


def suffix_of(name: str) -> str:
    """Return the suffix of a name in small letters, with its dot; of a sidecar both of its suffixes."""
    last = name.rpartition("/")[2]
    stem, dot, suffix = last.rpartition(".")
    if not dot or not stem:
        return ""
    twice = stem.lower().endswith(".seismill") and suffix.lower() == "yaml"
    return f"{'.seismill' if twice else ''}.{suffix.lower()}"


def stem_of(name: str) -> str:
    """Return a name without the suffix of its last part: a/b.sgy gives a/b, and a/b.sgy.gz gives a/b, too."""
    plain = _unpacked(name) if is_packed(name) else name
    suffix = suffix_of(plain)
    return plain[: len(plain) - len(suffix)] if suffix else plain


def folder_of(name: str) -> str:
    """Return the folder of a name, up to and with the last '/'; empty parts stay."""
    return name[: len(name) - len(name.rpartition("/")[2])]


def reason(error: Exception) -> str:
    """Return what an exception says, in one line, without its Python name."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    text = " ".join(str(error).split())
    return text or "for a reason that is not known; --debug shows where"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()

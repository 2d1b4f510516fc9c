"""Expected checksums of source files: from a parameter, a sidecar, or `<file>.md5` beside a file.

A CRC32C is put together from the ranges that are read anyway, in any order. An MD5 wants the bytes in the order of the
file, which no block has: such files are read once more, in order, before anything of a volume is changed. The CRC32C of
that reading is kept, and shows at the end that blocks read the same bytes.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tasks.parameters import StorageOptions
from tasks.volume.blocks import on_io
from tasks.volume.ingest.from_mdio_v0 import is_of_mdio_v0
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Source, Store
from tasks.volume.store.source import file_at
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.spilled import is_archive
from tasks.volume.store.url import WEB, locate

log = logging.getLogger(__name__)

BESIDE = ".md5"
MOST_ASKED_FOR = 8  # files of a folder whose `.md5` is asked for one by one; of more the folder is listed
_KINDS = {8: "crc32c", 32: "md5"}
_NAMES = {"crc32c": "CRC32C", "md5": "MD5"}
_GIVEN = re.compile(r"(?:(.+)=)?([0-9a-fA-F]{8}|[0-9a-fA-F]{32})", re.DOTALL)
_LINE = re.compile(r"\\?([0-9a-fA-F]{32})(?:\s+\*?(.*))?|MD5 ?\((.*)\) ?= ?([0-9a-fA-F]{32})")

Open = Callable[[int], AbstractContextManager[Source]]
Sums = dict[str, str]  # hexadecimal, by kind: "crc32c", "md5"


@dataclass(frozen=True)
class ExpectedChecksum:
    """One checksum that a file must have, and the file that states it, unless a parameter does."""

    kind: str
    value: str
    where: str = ""


@dataclass(frozen=True)
class Expected:
    """The checksums that the files of an ingest must have.

    Attributes:
        urls: URLs of the files, in their order.
        sizes: Bytes of each file.
        checksums: Expected checksums of a file, by its number.
        unknown: URLs that may hold a checksum and may not be read.
    """

    urls: tuple[str, ...]
    sizes: tuple[int, ...]
    checksums: Mapping[int, tuple[ExpectedChecksum, ...]]
    unknown: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Equal where the same is expected of the same files; empty where nothing is."""
        if not self.checksums:
            return ""
        return digest_of(
            {
                self.urls[file]: sorted((entry.kind, entry.value) for entry in stated)
                for file, stated in self.checksums.items()
            }
        )

    def of_kind(self, kind: str) -> list[int]:
        """Return the files that have an expected checksum of this kind."""
        return [
            file for file, stated in self.checksums.items() if any(entry.kind == kind for entry in stated)
        ]

    def notes(self, files: Sequence[int]) -> list[str]:
        """Return the notes to log before these files are read once more."""
        if not files:
            return []
        size = sum(self.sizes[file] for file in files)
        which = self.urls[files[0]] + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        return [f"{which}: read once more, in order ({size:,} bytes), for the checksum that is expected."]

    @property
    def doubts(self) -> list[str]:
        """Return the notes on checksums that were not compared."""
        if not self.unknown:
            return []
        more = f" (and {len(self.unknown) - 1} more)" if len(self.unknown) > 1 else ""
        return [f"{self.unknown[0]}{more} may not be read: if it holds a checksum, that was not compared."]

    def refuse(self, file: int, sums: Sums) -> None:
        """Compare the expected checksum of a file with `sums`, if these contain its kind.

        Raises:
            IntegrityFailure: The file has another checksum.
        """
        for entry in self.checksums.get(file, ()):
            if sums.get(entry.kind, entry.value) != entry.value:
                where = f" ({entry.where})" if entry.where else ""
                raise IntegrityFailure(
                    f"{self.urls[file]} has the {_NAMES[entry.kind]} {sums[entry.kind]}, but {entry.value} was "
                    f"expected{where}; copy the file again, or correct the checksum"
                )


def expected_of(files: Mapping[str, int], given: Sequence[str], options: StorageOptions) -> Expected:
    """Return the expected checksums of some files.

    Args:
        files: URLs and the bytes of each.
        given: A checksum alone, if there is one file, or `name=checksum`; the name is the end of a file's URL.
        options: Options of their store.

    Raises:
        InputRefused: A checksum that is given or lies beside a file belongs to none of the files.
    """
    urls = list(files)
    stated: dict[int, list[ExpectedChecksum]] = defaultdict(list)
    for text in given:
        match = _GIVEN.fullmatch(text)
        if not match:
            raise InputRefused(
                f"{text!r} is not a checksum; give 8 hexadecimal digits (CRC32C) or 32 (MD5), for one of several "
                "files as name=checksum"
            )
        name, value = match[1], match[2].lower()
        matching = [file for file, url in enumerate(urls) if not name or f"/{url}".endswith(f"/{name}")]
        if len(matching) != 1:
            raise InputRefused(
                f"the checksum {text!r} is for {len(matching)} of {len(urls)} files, wanted one; name it as in its URL"
            )
        stated[matching[0]].append(ExpectedChecksum(_KINDS[len(value)], value))
    beside, unknown = _beside(urls, options)
    for file, value in beside.items():
        stated[file].append(ExpectedChecksum("md5", value, f"{urls[file]}{BESIDE}"))
    of_file = {file: tuple(stated[file]) for file in sorted(stated)}
    expected = Expected(tuple(urls), tuple(files.values()), of_file, tuple(unknown))
    for doubt in expected.doubts:
        log.warning("%s", doubt)
    return expected


def is_beside(name: str, present: Container[str]) -> bool:
    """Return whether a name is the checksum file of another listed file."""
    return name.endswith(BESIDE) and name.removesuffix(BESIDE) in present


def _beside(urls: Sequence[str], options: StorageOptions) -> tuple[dict[int, str], list[str]]:
    """Return the MD5 in `<file>.md5`, by the number of the file, and URLs of those that may not be read.

    Without ListBucket S3 answers 403 for a missing object too, so "forbidden" can mean that there is no .md5.
    """
    options = of_sources(options)
    folders: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    for file, url in enumerate(urls):
        # It would be that of the archive, or of a document; servers answer anything.
        if is_archive(url) or is_of_mdio_v0(url) or locate(url).protocol in WEB:
            continue
        root, below, name = file_at(url, options).parts
        folders[root, below].append((file, name))
    asked: list[tuple[Store, int, str]] = []
    unknown: list[str] = []
    for (root, below), files in folders.items():
        store = Store(root, options)
        try:
            present = store.files(below) if len(files) > MOST_ASKED_FOR else None
        except (PermissionError, DestinationRefused) as error:
            if not _forbidden(error):
                raise
            unknown.append(f"{store.url}/{below}*{BESIDE}")
            continue
        for file, name in files:
            if present is None or name + BESIDE in present:
                asked.append((store, file, below + name))

    def read(entry: tuple[Store, int, str]) -> str:
        store, file, key = entry
        try:
            return _md5_in(store.get(key + BESIDE), urls[file], key.rpartition("/")[2])
        except FileNotFoundError:
            return ""
        except (PermissionError, IsADirectoryError, DestinationRefused) as error:
            if _forbidden(error):
                unknown.append(f"{urls[file]}{BESIDE}")
                return ""
            raise InputRefused(
                f"{urls[file]}{BESIDE} cannot be read ({error}); check that it is a readable file"
            ) from error

    answers = zip(asked, on_io(read, asked), strict=True)
    return {file: value for (_, file, _), value in answers if value}, sorted(unknown)


def _forbidden(error: Exception) -> bool:
    return isinstance(error, PermissionError) or isinstance(error.__cause__, PermissionError)


def _md5_in(data: bytes, url: str, name: str) -> str:
    """Return the MD5 of a file from the output of md5sum or md5."""
    lines = [line.strip() for line in data[:65536].decode(errors="replace").splitlines()]
    matches = [match for match in map(_LINE.fullmatch, filter(None, lines)) if match]
    named = [m for m in matches if (m[2] or m[3] or "").replace("\\", "/").rpartition("/")[2] == name]
    # A file that was renamed since keeps its bytes, and so a single line without its name counts.
    chosen = named if named else matches if len(matches) == 1 else []
    values = {(match[1] or match[4]).lower() for match in chosen}
    if len(values) != 1:
        raise InputRefused(
            f"{url}{BESIDE} holds no MD5 of {name}; wanted 32 hexadecimal digits, as md5sum writes them: correct or "
            "remove it"
        )
    return values.pop()


def noted_of(sources: Sequence[Mapping[str, Any]]) -> list[Sums]:
    """Return the checksums that a volume has of its sources."""
    return [{kind: source[kind] for kind in _NAMES if kind in source} for source in sources]

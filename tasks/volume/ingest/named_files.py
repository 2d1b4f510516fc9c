"""The files that a parameter names: a URL, several separated by commas, or a pattern as the name of a file."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.parameters import StorageOptions
from tasks.volume.ingest.checksums import is_beside
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Store
from tasks.volume.store.source import file_at, is_there
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.spilled import archive_and_member
from tasks.volume.store.url import exactly, is_one_name, locate, unescaped

_PATTERN = re.compile(r"[*\[]")
_SEVERAL = re.compile(r"[*\[,]")


@dataclass(frozen=True)
class Listed:
    """One file: its URL, and size and identity where they are known already.

    `part` has the runs (first trace, count) that are seen of it, and `size` is theirs with the headers; () for all.
    """

    url: str
    size: int = -1
    identity: str = ""
    part: tuple[tuple[int, int], ...] = ()


def list_files(source: str, options: StorageOptions) -> list[Listed]:
    """Return the files that a parameter names: URLs separated by commas, each a file or with a pattern as its name.

    A file whose name is the text itself comes before a list or a pattern, on a disk and in a store; a character of a
    name may be percent-encoded. Files of a pattern come in the order of the numbers in their names, line_2 before
    line_10.

    Raises:
        InputRefused: A pattern matches nothing or is not in the file's name, or a file is named twice.
    """
    options = of_sources(options)
    if _SEVERAL.search(source) and is_one_name(source) and (item := _literal(source, options)):
        return [item]
    listed: list[Listed] = []
    for part in filter(None, (part.strip() for part in source.split(","))):
        if not _PATTERN.search(part):
            file, member = archive_and_member(part)
            listed.append(Listed(file_at(file, options).url + (f":{member}" if member else "")))
        elif part != source and (item := _literal(part, options)):
            listed.append(item)
        else:
            listed += _matching(part, options)
    urls = [entry.url for entry in listed]
    if len(set(urls)) != len(urls):
        twice = next(url for url in urls if urls.count(url) > 1)
        raise InputRefused(f"{twice} is named twice; name each file once")
    if not listed:
        raise InputRefused("no source is named; name a SEG-Y file")
    return listed


def _literal(text: str, options: StorageOptions) -> Listed | None:
    """Return the file that has this very name, or None."""
    location = locate(text)
    return Listed(location.url) if is_there(location, options) else None


def _matching(url: str, options: StorageOptions) -> list[Listed]:
    location = locate(url)
    pattern = location.path.rpartition("/")[2]
    if not _PATTERN.search(pattern):
        raise InputRefused(f"{url} has a pattern in a folder's name; only the name of the file may have one")
    folders = [exactly(location.protocol, location.path.rpartition("/")[0])]
    decoded = unescaped(folders[0])
    present: dict[str, tuple[int, str]] = {}
    for folder in filter(None, (folders[0], decoded)):
        try:
            present = Store(folder, options).files()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if present:
            break
    matching = fnmatch.filter(present, pattern)
    names = in_natural_order(name for name in matching if not is_beside(name, present))
    if not names:
        within = folder.path.rpartition("/")[2]
        more = "; a folder's name is no pattern" if _PATTERN.search(within) and not present else ""
        raise InputRefused(f"no file matches {url}; check the path{more}")
    return [Listed(exactly(folder.protocol, f"{folder.path}/{name}").url, *present[name]) for name in names]


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of the numbers in them: line_2 before line_10."""

    def numbers(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

    return sorted(names, key=numbers)

"""Tell whether a source is images or SEG-Y, by its name or, where that says nothing, by its first bytes."""

from contextlib import closing
from fnmatch import fnmatchcase

from tasks.parameters import Image, Index, StorageOptions
from tasks.volume.images.formats import ARCHIVES, NOT_READ
from tasks.volume.images.listing import LIST_SUFFIXES, is_folder
from tasks.volume.images.names import RAW_SUFFIXES, is_image
from tasks.volume.images.stack import find_stack
from tasks.volume.images.suffixes import suffix_of, without_part
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.not_segy import SUFFIXES, is_text
from tasks.volume.store.objects import Source, Store

# Of files of images that are not read, which are refused for what they are. An archive may hold a SEG-Y.
_UNREAD = {suffix for row in NOT_READ if row not in ARCHIVES for suffix in row[2]} - {*SUFFIXES}
_TEXT_BYTES = 3200


def is_images(source: str, image: Image, options: StorageOptions) -> bool:
    """Return whether a source is a stack of images; what is neither is taken for SEG-Y, which refuses it by name.

    Args:
        source: Source to publish.
        image: Description of voxels; only images have one.
        options: Non-secret options of the store.

    Raises:
        InputRefused: A file without a header is neither described as voxels nor SEG-Y.
    """
    folder, _, last = source.rpartition("/")
    file, part = without_part(source)
    suffix = suffix_of(file)
    if suffix in SUFFIXES:
        return False
    if suffix in LIST_SUFFIXES or is_image(suffix) or part:
        return True
    if not last or "*" in last or "." not in last:
        names = _names_in(folder if "*" in last else source, options)
        chosen = [name for name in names if "*" not in last or fnmatchcase(name, last)]
        if chosen:
            return not any(name.lower().endswith(SUFFIXES) for name in chosen)
    if any(part.strip().lower().endswith(SUFFIXES) for part in source.split(",")):
        return False
    try:
        find_stack(source, options, image.raw)
    except InputRefused:
        if describes_voxels(image):
            return True
        if (suffix in RAW_SUFFIXES | _UNREAD and not _is_text(source, options)) or is_folder(source, options):
            raise
        return False
    return True


def describes_voxels(image: Image) -> bool:
    """Return whether any option describes voxels. Checksums do not: files of every kind have them."""
    return image.model_copy(update={"checksums": []}) != Image()


def refuse_other_kind(source: str, index: Index, image: Image, *, images: bool) -> None:
    """Refuse parameters that belong to the other kind of source (SEG-Y or images).

    Raises:
        InputRefused: A parameter is of the other kind of source.
    """
    other: Index | Image = index if images else image
    usual = type(other)()
    given = [
        name
        for name in type(other).model_fields
        if name != "checksums" and getattr(other, name) != getattr(usual, name)
    ]
    if given:
        kind, of = ("a stack of images", "SEG-Y") if images else ("SEG-Y", "images")
        raise InputRefused(
            f"{source} is {kind}, but {given[0]} is an option of {of}; leave it out, or name another source"
        )


def _names_in(folder: str, options: StorageOptions) -> list[str]:
    """Return the names of the files in a folder; none if it is no folder."""
    try:
        return list(Store(folder or ".", options).files())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_text(source: str, options: StorageOptions) -> bool:
    """Return whether a file begins with a textual header, as SEG-Y does."""
    try:
        with closing(Source(source, options)) as file:
            head = file.read(0, min(file.size, _TEXT_BYTES))
            return is_text(head) and 2 * head.count(0) < len(head)
    except InputRefused:
        return False

"""Tell by their names which files are volumes, which may be pictures, and which have no header."""

from tasks.volume.images.suffixes import FORMAT_OF

HEADERS = {".mhd", ".nhdr"}  # which name the file that holds the voxels
# Of files without a header: their bytes say nothing, so somebody has to.
RAW_SUFFIXES = {".raw", ".vol", ".bin", ".img", ".dat"}
# A single file of these is mostly a figure or a photograph.
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".jp2", ".j2k", ".j2c", ".jpc"}


def is_image(suffix: str) -> bool:
    """Return whether a suffix (lower case, with its dot) belongs to an image format."""
    return suffix in FORMAT_OF


def is_picture(suffix: str) -> bool:
    """Return whether a suffix belongs to a single picture, which is often no scan."""
    return suffix in PICTURES

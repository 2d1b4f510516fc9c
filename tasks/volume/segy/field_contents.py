"""Name the content of fields of `headers` that do not hold what the standard says.

The names stay those of the standard, because multidimio writes header bytes by them; an attribute tells the contents.
"""

from tasks.volume.segy.headers import TRACE_HEADER_FIELDS, HeaderField, word_bytes
from tasks.volume.segy.placement import Placement
from tasks.volume.segy.templates import QUANTITIES

UNKNOWN = "unknown"


def field_contents(placement: Placement) -> dict[str, str]:
    """Return the content of fields whose name says something else, by name.

    A field that has the name of an index word or a coordinate of the volume, which lies elsewhere, is `unknown`. Words
    that are no int32 or lie across fields say so, as in `inline (float32)`.

    Args:
        placement: Placement of the volume.
    """
    words = {word.name: (word.byte, word.type) for word in placement.words if word.byte}
    words |= {
        coordinate.name: (coordinate.byte, coordinate.type)
        for coordinate in placement.coordinates
        if coordinate.byte
    }
    contents: dict[str, str] = {}
    for name, (byte, kind) in words.items():
        for field in _covered(byte, word_bytes(kind)):
            whole = (field.byte, field.type) == (byte, kind)
            standard = QUANTITIES[name].byte if name in QUANTITIES else 0
            if whole and (field.name == name or byte == standard):
                continue
            about = kind if field.byte == byte else f"part of {kind} at byte {byte}"
            contents[field.name] = name if whole else f"{name} ({about})"
    for field in TRACE_HEADER_FIELDS:
        elsewhere = field.name in words and words[field.name][0] != field.byte
        if elsewhere and field.name not in contents:
            contents[field.name] = UNKNOWN
    return contents


def _covered(byte: int, width: int) -> list[HeaderField]:
    """Return the fields of the standard that share bytes with a word."""
    return [
        field
        for field in TRACE_HEADER_FIELDS
        if field.byte < byte + width and byte < field.byte + word_bytes(field.type)
    ]

"""Read the words of the binary header that say how the rest of a file is read: byte order, format, revision."""

import struct
from typing import Any, Literal

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.standards import (
    EXTRA_HEADERS,
    EXTRA_HEADERS_SHORT,
    FORMAT_NAMES,
    REVISIONS,
    SAMPLE_FORMATS,
    Feature,
    Revision,
    SampleFormat,
)
from tasks.volume.segy.trace_reading import HEADERS_BYTES, TEXT_BYTES, TRACE_HEADER_BYTES

ByteOrder = Literal[">", "<"]
ORDER_NAMES: dict[str, str] = {">": "big endian", "<": "little endian"}


def word(binary: bytes, byte: int, code: str, order: str) -> Any:
    """Return a word of the binary header; code is struct's."""
    return struct.unpack_from(order + code, binary, byte - TEXT_BYTES - 1)[0]


def byte_order_of(name: str, size: int, binary: bytes, given_code: int) -> tuple[ByteOrder, str]:
    """Return the byte order of a file's headers, and the evidence for it.

    Args:
        name: Name of the file.
        size: Bytes of the file.
        binary: The binary header.
        given_code: Sample format that was given; 0 for that of the header.

    Raises:
        InputRefused: Neither order gives a sample format.
    """
    constant = tuple(binary[3297 - TEXT_BYTES - 1 :][:4])  # SEG-Y rev 2.0, bytes 3297-3300
    if constant == (1, 2, 3, 4):
        return ">", "the constant at byte 3297 reads 1, 2, 3, 4"
    if constant == (4, 3, 2, 1):
        return "<", "the constant at byte 3297 reads 4, 3, 2, 1"
    if constant == (2, 1, 4, 3):
        raise InputRefused(
            f"{name} has its bytes swapped in pairs (byte 3297 reads 2, 1, 4, 3); swap them back first"
        )
    big, little = word(binary, 3225, "H", ">"), word(binary, 3225, "H", "<")
    if big in FORMAT_NAMES:
        return ">", f"the sample format at byte 3225 reads {big} in big endian and {little} in little endian"
    if little in FORMAT_NAMES:
        return "<", f"the sample format at byte 3225 reads {little} in little endian and {big} in big endian"
    if given_code:
        return _order_that_fits(size, binary, SAMPLE_FORMATS[given_code].bytes_per_sample)
    if big == 0:
        raise InputRefused(
            f"{name} has sample format 0 at byte 3225, which the standard does not define; state the format of its "
            "samples (--sample-format)"
        )
    raise InputRefused(
        f"{name} is not SEG-Y: the sample format at byte 3225 reads {big} in big endian and {little} in "
        "little endian, and the standard has 1 to 16; check that it is the right file, or state the format of its "
        "samples (--sample-format)"
    )


def _order_that_fits(size: int, binary: bytes, bytes_per_sample: int) -> tuple[ByteOrder, str]:
    """Return the order in which the number of samples is one that fills the file; the standard's if neither does."""
    orders: tuple[ByteOrder, ByteOrder] = (">", "<")
    for order in orders:
        samples, texts = word(binary, 3221, "H", order), max(0, word(binary, 3505, "h", order))
        room = size - HEADERS_BYTES - texts * TEXT_BYTES
        if samples and room > 0 and room % (TRACE_HEADER_BYTES + samples * bytes_per_sample) == 0:
            return order, f"traces of {samples:,} samples (byte 3221) fill the file in {ORDER_NAMES[order]}"
    return ">", "the standard has big endian, and nothing speaks for the other"


def sample_format_of(name: str, code: int) -> SampleFormat:
    """Return the sample format of a code.

    Raises:
        InputRefused: The format is not read.
    """
    if code in SAMPLE_FORMATS:
        return SAMPLE_FORMATS[code]
    known = ", ".join(map(str, SAMPLE_FORMATS))
    what = FORMAT_NAMES.get(code, "not in the standard")
    raise InputRefused(
        f"{name} has sample format {code} ({what}) at byte 3225, but only {known} are read; convert it, or "
        "state the format of its samples (--sample-format)"
    )


def revision_of(binary: bytes, order: ByteOrder) -> tuple[Revision, list[str]]:
    """Return the revision by which a binary header is read, and a warning if the header states another one."""
    stated = word(binary, 3501, "H", ">")
    # Little-endian writers swap the word or do not; neither is worth a remark.
    for seen in (stated, word(binary, 3501, "H", order)):
        for revision in REVISIONS:
            if seen == revision.words[0]:
                return revision, []
    meant = next((revision for revision in REVISIONS if stated in revision.words), None)
    # A minor revision yet unknown may ask for what the latest can; anything else was left there by chance.
    meant = meant or (REVISIONS[-1] if stated >> 8 == 2 else REVISIONS[0])
    return meant, [f"The revision at byte 3501 is 0x{stated:04x}; the file is read as rev {meant.name}."]


def extra_headers_of(binary: bytes, order: str, revision: Revision) -> tuple[int, ...]:
    """Return the possible numbers of additional headers of a trace: as its revision, then as the other stores it."""
    widths = extra_header_fields(revision)
    return tuple(word(binary, feature.byte, feature.code, order) for feature in widths)


def extra_header_fields(revision: Revision) -> list[Feature]:
    """Return the fields that may hold the number of additional headers: the revision's own, then the other."""
    own = next((f for f in (EXTRA_HEADERS, EXTRA_HEADERS_SHORT) if f in revision.features), None)
    return list(dict.fromkeys((own, EXTRA_HEADERS, EXTRA_HEADERS_SHORT))) if own else []

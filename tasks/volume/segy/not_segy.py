"""Recognise files of other formats that are passed as SEG-Y, so that a refusal can name the format.

A SEG-Y file has no signature of its own; without this, a compressed file or a storage service's error page
would be refused with a sentence about sample formats.
"""

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.text import decoded, encoding, printable

SUFFIXES = (".sgy", ".segy", ".seg")
SU_SUFFIX = ".su"  # Seismic Unix, a source of a sweep only where this is said

# What a file begins with, what it then is, and what helps.
_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file", "unpack it first"),
    (b"BZh", "a bzip2 file", "unpack it first"),
    (b"\xfd7zXZ\x00", "an xz file", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it first"),
    (b"PK\x03\x04", "a zip file", "unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file", "unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "convert it to SEG-Y first"),
    (b"%PDF", "a PDF document", "check the address"),
    (b"\x55\x3a", "SEG-2", "convert it to SEG-Y first"),
    (b"\x3a\x55", "SEG-2", "convert it to SEG-Y first"),
)
_MARKUP = (b"<?xml", b"<!doctype", b"<html", b"<error", b"<listbucketresult")

# SEG-D rev 0 to 3: format codes at bytes 3-4 of the first general header block, as BCD.
_SEGD_CODES = frozenset(
    code.to_bytes(2, "big")
    for low in (0x15, 0x22, 0x24, 0x36, 0x38, 0x42, 0x44, 0x48, 0x58, 0x80)
    for code in (low, 0x8000 | low)
)
_TEXT_BYTES = 3200
_LEAST_NUMBERED = 5  # lines that begin with C and their number
_SU_SAMPLES = slice(114, 116)
_TRACE_HEADER_BYTES = 240


def refuse_signature(name: str, size: int, head: bytes) -> None:
    """Raise a refusal if the first bytes of a file are the signature of another format, or the file is empty.

    Args:
        name: Name of the file for messages.
        size: Bytes of the file.
        head: First bytes of the file.
    """
    if size == 0:
        raise InputRefused(f"{name} is empty; fetch it again")
    for signature, what, advice in _SIGNATURES:
        if head.startswith(signature):
            raise InputRefused(f"{name} is {what}, not SEG-Y (it begins with {head[:4].hex(' ')}); {advice}")


def refuse_foreign(name: str, size: int, head: bytes) -> None:
    """Refuse a file whose first bytes belong to another format.

    Args:
        name: Name of the file for messages.
        size: Bytes of the file.
        head: First bytes of the file, 3,840 or more if it has as many.
    """
    refuse_signature(name, size, head)
    opening = head[:200].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if opening.startswith(_MARKUP):
        raise InputRefused(
            f"{name} is an XML or HTML page, not SEG-Y, most likely the error of a server: "
            f"{head[:60].decode('latin-1').strip()!r}; check the address and the access rights"
        )
    if head[257:262] == b"ustar":
        raise InputRefused(f"{name} is a tar archive, not SEG-Y ('ustar' at byte 258); unpack it first")
    if head[4:7] == b"SD1" or head[4:7] == b"SD2":
        raise InputRefused(f"{name} is SEG-D with a tape label (byte 5); convert it to SEG-Y first")
    if head[4:7] == b"SY1" or head[4:7] == b"SY2":
        raise InputRefused(
            f"{name} begins with a SEG-Y tape label of 128 bytes (byte 5 reads "
            f"{head[4:9].decode('latin-1')}); cut it off first"
        )
    if _is_swapped(head[:_TEXT_BYTES]):
        raise InputRefused(
            f"{name} has its bytes swapped in pairs (the lines of its textual header begin with 1C0, 1C1 …); swap them "
            "back first, as dd conv=swab does"
        )
    if not any(head[:3600]):
        raise InputRefused(f"{name} holds only zeros in its first {len(head[:3600]):,} bytes; fetch it again")
    if not is_text(head[:_TEXT_BYTES]):
        if head[2:4] in _SEGD_CODES and _is_bcd(head[:4]):
            raise InputRefused(
                f"{name} looks like SEG-D (format code {head[2:4].hex()} at byte 3, no textual header); "
                "convert it to SEG-Y first"
            )
        if samples := _su_samples(size, head):
            raise InputRefused(
                f"{name} looks like Seismic Unix data ({samples} samples at byte 115, no textual header); "
                "read it with --file-format su"
            )


def _is_swapped(raw: bytes) -> bool:
    """Return whether a textual header was swapped in byte pairs: its line numbers read right when swapped back.

    Only numbers of two digits tell: a line that begins with a blank before its C looks the same for the others.
    """
    even = raw[: len(raw) // 2 * 2]
    back = bytearray(even)
    back[::2], back[1::2] = even[1::2], even[::2]
    text = decoded(bytes(back), encoding(bytes(back)))
    numbered = sum(text[80 * (line - 1) :].startswith(f"C{line}") for line in range(10, 41))
    return numbered >= _LEAST_NUMBERED


def is_text(raw: bytes) -> bool:
    """Return whether three in four bytes that are not NUL are printable: real texts have 98 %, samples about 40 %."""
    filled = raw.replace(b"\x00", b"")
    return bool(filled) and 4 * printable(filled, encoding(filled)) >= 3 * len(filled)


def _is_bcd(raw: bytes) -> bool:
    return all(byte >> 4 <= 9 and byte & 15 <= 9 for byte in raw)


def _su_samples(size: int, head: bytes) -> int:
    """Return the number of samples if the file reads as Seismic Unix traces of 4-byte samples, else 0."""
    for order in ("little", "big"):
        samples = int.from_bytes(head[_SU_SAMPLES], order)
        trace_bytes = _TRACE_HEADER_BYTES + 4 * samples
        if samples == 0 or size % trace_bytes:
            continue
        following = head[trace_bytes:][_SU_SAMPLES]
        if len(following) < 2 or int.from_bytes(following, order) == samples:
            return samples
    return 0

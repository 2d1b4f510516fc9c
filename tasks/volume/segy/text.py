"""The textual header as text that people and MDIO can read; the bytes themselves are kept elsewhere.

Whether it is EBCDIC or ASCII is not recorded in a SEG-Y file, so it is told by which of the two gives more
printable characters. MDIO can only write back text that is ASCII, hence the replacements.
"""

TEXT_HEADER_BYTES = 3200
_LINE = 80
_BLANKS = dict.fromkeys([*range(32), *range(127, 160)], " ")
# cp500 is the EBCDIC that the `segy` package writes ('!' is 0x4F there, '|' in cp037).
_EBCDIC = "cp500"


def textual_header(raw: bytes) -> str:
    """40 lines of 80 characters joined by newlines, ASCII only.

    Control characters (NUL padding, line ends) become spaces, other characters outside ASCII '?'. A short
    header is filled with spaces.
    """
    text = raw.decode(encoding(raw)).translate(_BLANKS).encode("ascii", "replace").decode()
    text = text[:TEXT_HEADER_BYTES].ljust(TEXT_HEADER_BYTES)
    return "\n".join(text[start : start + _LINE] for start in range(0, TEXT_HEADER_BYTES, _LINE))


def encoding(raw: bytes) -> str:
    """The codec, cp500 or latin-1 (ASCII and whatever else), that gives more printable characters."""
    return _EBCDIC if printable(raw, _EBCDIC) >= printable(raw, "latin-1") else "latin-1"


def printable(raw: bytes, codec: str) -> int:
    """How many bytes are printable ASCII when decoded with `codec`."""
    return sum(" " <= character <= "~" for character in raw.decode(codec))

"""The textual header as text that people and MDIO can read; the bytes themselves are kept elsewhere.

Whether it is EBCDIC or ASCII is not recorded in a SEG-Y file, so it is told by which of the two gives more
printable characters. MDIO can only write back text that is ASCII, hence the replacements.
"""

import re

TEXT_HEADER_BYTES = 3200
_LINES, _COLUMNS = 40, 80
_BLANKS = dict.fromkeys([*range(32), *range(127, 160)], " ")
# Carriage return, line feed, and the next-line character that EBCDIC has.
_LINE_END = re.compile("\r\n|[\r\n\x85]")
# cp500 is the EBCDIC that the `segy` package writes ('!' is 0x4F there, '|' in cp037).
_EBCDIC = "cp500"


def textual_header(raw: bytes) -> str:
    """40 lines of 80 characters joined by newlines, ASCII only.

    Cut at every 80th character, as the standard has it, or at line ends if the header is written with them.
    Control characters (NUL padding) become spaces, other characters outside ASCII '?'.
    """
    text = raw[:TEXT_HEADER_BYTES].decode(encoding(raw))
    lines = [_plain(line).rstrip() for line in _LINE_END.split(text)]
    while lines and not lines[-1]:
        lines.pop()
    if not 1 < len(lines) <= _LINES or max(map(len, lines)) > _COLUMNS:
        text = _plain(text)
        lines = [text[start : start + _COLUMNS] for start in range(0, len(text), _COLUMNS)]
    lines += [""] * (_LINES - len(lines))
    return "\n".join(line.ljust(_COLUMNS) for line in lines)


def encoding(raw: bytes) -> str:
    """The codec, cp500 or latin-1 (ASCII and whatever else), that gives more printable characters."""
    return _EBCDIC if printable(raw, _EBCDIC) >= printable(raw, "latin-1") else "latin-1"


def printable(raw: bytes, codec: str) -> int:
    """How many bytes are printable ASCII when decoded with `codec`."""
    return sum(" " <= character <= "~" for character in raw.decode(codec))


def _plain(text: str) -> str:
    """As many characters, all printable ASCII."""
    return text.translate(_BLANKS).encode("ascii", "replace").decode()

"""The textual header as text that people and MDIO can read; the bytes themselves are kept elsewhere.

A SEG-Y file does not record its character code; the one that gives the most printable characters is used.
MDIO can only write back text that is ASCII, hence the replacements.
"""

import codecs
import re
import unicodedata
from itertools import pairwise

import numpy as np

TEXT_HEADER_BYTES = 3200
_LINES, _COLUMNS = 40, 80
_BLANKS = dict.fromkeys([*range(32), *range(127, 160)], " ")
# Carriage return, line feed, and the next-line character that EBCDIC has.
_LINE_END = re.compile("\r\n|[\r\n\x85]")
_NUMBERED = re.compile(r"C ?(\d\d?)(?!\d)")
# Code page 1047 of z/OS, which Python lacks, is 037 but for six characters.
_FROM_037 = str.maketrans("\xac^\xdd\xa8[]", "^\xac[]\xdd\xa8")
# Pages of EBCDIC, which differ in punctuation. The first is what the `segy` package writes, so it wins where the
# text does not tell.
_EBCDIC = ("cp500", "cp037", "cp1047")
_LEAST_NUMBERED = 5


def textual_header(raw: bytes) -> str:
    """Return 40 lines of 80 ASCII characters, joined by newlines.

    Lines are 80 characters, as in the standard, unless the header shows otherwise: by line ends, or by the line numbers
    at their beginnings. Control characters (NUL padding) become spaces, accents
    are dropped, and other characters outside ASCII become '?'.
    """
    lines = _lines(decoded(raw[:TEXT_HEADER_BYTES], encoding(raw[:TEXT_HEADER_BYTES])))
    lines += [""] * (_LINES - len(lines))
    return "\n".join(line.ljust(_COLUMNS) for line in lines[:_LINES])


def encoding(raw: bytes) -> str:
    """Return the code with the most printable characters: cp500, cp037, cp1047, utf-8, or else latin-1."""
    if not raw.isascii() and _is_utf8(raw):
        return "utf-8"
    best = max(_EBCDIC, key=lambda page: (printable(raw, page), _balanced(decoded(raw, page))))
    return best if printable(raw, best) >= printable(raw, "latin-1") else "latin-1"


def decoded(raw: bytes, code: str) -> str:
    """Return the text of some bytes in a code that `encoding` gives."""
    if code == "cp1047":
        return raw.decode("cp037").translate(_FROM_037)
    return raw.decode(code, "ignore")  # a character of UTF-8 that is cut off at the end


def printable(raw: bytes, code: str) -> int:
    """Return how many bytes decode to printable ASCII; in UTF-8, where nothing decodes by chance, to any character."""
    if code == "utf-8":
        return len(raw) - sum(byte < 32 for byte in raw)
    characters = np.frombuffer(decoded(raw, code).encode("utf-32-le", "surrogatepass"), "<u4")
    return int(np.count_nonzero((characters >= ord(" ")) & (characters <= ord("~"))))


def _is_utf8(raw: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        return False
    return True


def _balanced(text: str) -> bool:
    return text.count("[") == text.count("]")


def _lines(text: str) -> list[str]:
    """Return the lines of a text as it was written, each of at most 80 characters; any number of them."""
    parts = [_plain(line).rstrip() for line in _LINE_END.split(text)]
    while parts and not parts[-1]:
        parts.pop()
    wrapped = [piece for part in parts for piece in _cut(part, _COLUMNS) or [""]]
    # A line end in a text of fixed lines is an accident.
    if 1 < len(wrapped) <= _LINES and 2 * len(parts) > len(wrapped):
        return wrapped
    plain = _plain(text)
    width = _numbered_width(plain)
    if width in (0, _COLUMNS):
        return _cut(plain, _COLUMNS)
    return [piece for line in _cut(plain, width) for piece in _cut(line.rstrip(), _COLUMNS) or [""]]


def _numbered_width(text: str) -> int:
    """Return the distance at which C1, C2, C3 and so on follow each other, or 0."""
    starts, wanted = [], 1
    for match in _NUMBERED.finditer(text):
        if int(match[1]) == wanted:
            starts.append(match.start())
            wanted += 1
    distances = {b - a for a, b in pairwise(starts)}
    return distances.pop() if len(starts) >= _LEAST_NUMBERED and len(distances) == 1 and starts[0] == 0 else 0


def _cut(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]


def _plain(text: str) -> str:
    """Return text of the same length, all printable ASCII."""
    text = text.translate(_BLANKS)
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFKD", c)[0] for c in text).encode("ascii", "replace").decode()

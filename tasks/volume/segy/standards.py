"""The SEG-Y standard as data: sample formats, revisions, and what a revision can ask for.

One more sample format or revision is one more row; nothing that reads files changes.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SampleFormat:
    """How a sample is stored (binary header, byte 3225) and the NumPy type a volume holds it in."""

    code: int
    name: str
    bytes_per_sample: int
    dtype: str


# SEG-Y rev 2.1, table 2, bytes 3225-3226. Code 4, fixed point with gain, is obsolete and not read; 13 and 14 are
# not assigned.
SAMPLE_FORMATS = {
    sample_format.code: sample_format
    for sample_format in (
        SampleFormat(1, "ibm32", 4, "float32"),
        SampleFormat(2, "int32", 4, "int32"),
        SampleFormat(3, "int16", 2, "int16"),
        SampleFormat(5, "float32", 4, "float32"),
        SampleFormat(6, "float64", 8, "float64"),
        SampleFormat(7, "int24", 3, "int32"),
        SampleFormat(8, "int8", 1, "int8"),
        SampleFormat(9, "int64", 8, "int64"),
        SampleFormat(10, "uint32", 4, "uint32"),
        SampleFormat(11, "uint16", 2, "uint16"),
        SampleFormat(12, "uint64", 8, "uint64"),
        SampleFormat(15, "uint24", 3, "uint32"),
        SampleFormat(16, "uint8", 1, "uint8"),
    )
}

# The standard's own words, to refuse by name what is not read.
FORMAT_NAMES = {
    1: "4-byte IBM floating-point",
    2: "4-byte, two's complement integer",
    3: "2-byte, two's complement integer",
    4: "4-byte fixed-point with gain",
    5: "4-byte IEEE floating-point",
    6: "8-byte IEEE floating-point",
    7: "3-byte, two's complement integer",
    8: "1-byte, two's complement integer",
    9: "8-byte, two's complement integer",
    10: "4-byte, unsigned integer",
    11: "2-byte, unsigned integer",
    12: "8-byte, unsigned integer",
    13: "not assigned",
    14: "not assigned",
    15: "3-byte, unsigned integer",
    16: "1-byte, unsigned integer",
}


@dataclass(frozen=True)
class Feature:
    """A word of the binary header that a later revision adds; 0 says nothing.

    `byte` is counted in the file from 1; `code` is struct's.
    """

    name: str
    byte: int
    code: str


EXTENDED_SAMPLES = Feature("extended number of samples", 3269, "I")
EXTENDED_INTERVAL = Feature("extended sample interval", 3273, "d")
# Rev 2.0 has four bytes for the number of additional headers; rev 2.1 two, and the type of survey in the others.
EXTRA_HEADERS = Feature("additional trace headers", 3507, "i")
EXTRA_HEADERS_SHORT = Feature("additional trace headers", 3507, "h")
TRACE_COUNT = Feature("number of traces", 3513, "Q")
FIRST_TRACE = Feature("offset of the first trace", 3521, "Q")
TRAILER_TEXTS = Feature("trailer stanzas", 3529, "i")
_REV_2 = (EXTENDED_SAMPLES, EXTENDED_INTERVAL, EXTRA_HEADERS, TRACE_COUNT, FIRST_TRACE, TRAILER_TEXTS)
_REV_2_1 = (EXTENDED_SAMPLES, EXTENDED_INTERVAL, EXTRA_HEADERS_SHORT, TRACE_COUNT, FIRST_TRACE, TRAILER_TEXTS)

BYTE_ORDER_CONSTANT = 3297

# First byte, from 1, and width of the words that rev 2 adds to the binary header (but for that at 3507, of which
# revisions have different widths), and of those in the first
# additional header of a trace (rev 2.1, trace header extension 1), which is known by its name in the last eight bytes.
REV_2_BINARY_WORDS = (
    *((byte, 4) for byte in (3261, 3265, 3269)),
    *((byte, 8) for byte in (3273, 3281)),
    *((byte, 4) for byte in (3289, 3293, BYTE_ORDER_CONSTANT)),
    (3511, 2),
    *((byte, 8) for byte in (3513, 3521)),
    (3529, 4),
)
EXTENSION_NAMES = (b"SEG00001", "SEG00001".encode("cp500"))
EXTENSION_SAMPLES = 137
EXTENSION_WORDS = (
    *((byte, 8) for byte in range(1, 137, 8)),
    *((byte, 4) for byte in (EXTENSION_SAMPLES, 141)),
    (145, 8),
    (153, 4),
    *((byte, 2) for byte in (157, 159)),
    *((byte, 8) for byte in (161, 169)),
)


@dataclass(frozen=True)
class Revision:
    """A revision of the standard and the words at byte 3501 that files use for it, the right one first."""

    name: str
    words: tuple[int, ...]
    features: tuple[Feature, ...] = ()


# What stands for the revision of traces without headers of the file, and the fields that these have of their own.
SEISMIC_UNIX = "Seismic Unix"
SEISMIC_UNIX_WORDS = (
    *((byte, 4) for byte in (181, 185, 189, 193, 197, 201, 205)),
    *((byte, 2) for byte in range(209, 240, 2)),
)

# 1, 16 and 100 are found in files where 0x0100 is meant; those of rev 2 are the same mistakes.
REVISIONS = (
    Revision("0", (0x0000,)),
    Revision("1.0", (0x0100, 0x0001, 0x0010, 0x0064)),
    Revision("2.0", (0x0200, 0x0002, 0x0020, 0x00C8), _REV_2),
    Revision("2.1", (0x0201, 0x0021, 0x00D2), _REV_2_1),
)

"""What a SEG-Y file is made of: revision, sample format, byte order, and where its traces lie.

Revisions and sample formats are values in tables: one more is one more row, and nothing that reads files
changes. Headers lie, so no number in them is believed before it agrees with the size of the file; what
contradicts is resolved by what divides that size, and reported as an oddity. Nothing is ever allocated or
read in proportion to a number found in a header.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol, cast

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.foreign import refuse_foreign

ByteOrder = Literal[">", "<"]

TEXT_BYTES = 3200
HEADERS_BYTES = 3600
TRACE_HEADER_BYTES = 240
# Read at once: the file's headers and, mostly, the first traces, so that opening a remote file costs few requests.
_HEAD_BYTES = 64 * 1024
# More extended textual headers than this before SEG:EndText is not a text any more.
_MOST_EXTENDED_TEXTS = 1000


class Source(Protocol):
    """Bytes somewhere: `read` returns exactly `length` bytes or raises."""

    @property
    def size(self) -> int: ...
    @property
    def name(self) -> str: ...
    def read(self, start: int, length: int) -> bytes: ...


@dataclass(frozen=True)
class SampleFormat:
    """How a sample is stored (binary header, byte 3225) and the NumPy type a volume holds it in."""

    code: int
    name: str
    bytes_per_sample: int
    dtype: str


SAMPLE_FORMATS = {
    sample_format.code: sample_format
    for sample_format in (SampleFormat(1, "ibm32", 4, "float32"), SampleFormat(5, "float32", 4, "float32"))
}

# SEG-Y rev 2.1, table 2, bytes 3225-3226: the standard's own words, to refuse by name what is not read.
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
    """A word of the binary header that can ask for more than is read.

    `byte` is counted in the file; `code` is struct's. A value of 0 asks for nothing.
    """

    name: str
    byte: int
    code: str


@dataclass(frozen=True)
class Revision:
    """A revision of the standard and the words at byte 3501 that files use for it, the right one first."""

    name: str
    words: tuple[int, ...]
    features: tuple[Feature, ...] = ()


_REV2_FEATURES = (
    Feature("extended number of samples", 3269, "I"),
    Feature("extended sample interval", 3273, "d"),
    Feature("additional trace headers", 3507, "i"),
    Feature("number of traces", 3513, "Q"),
    Feature("offset of the first trace", 3521, "Q"),
    Feature("trailer stanzas", 3529, "i"),
)

# Seen in files: 1 where 0x0100 is meant (segyio's convention, and little-endian writers), 16 and 100.
REVISIONS = (
    Revision("0", (0x0000,)),
    Revision("1.0", (0x0100, 0x0001, 0x0010, 0x0064, 0x000A, 0x0101)),
    Revision("2.0", (0x0200, 0x0002, 0x0020, 0x00C8), _REV2_FEATURES),
    Revision("2.1", (0x0201, 0x0102, 0x0021, 0x00D2), _REV2_FEATURES),
)


@dataclass(frozen=True)
class FileFormat:
    """What a file is made of.

    `first_trace_offset` counts from 0 and `trace_bytes` includes the trace header; `n_traces` whole traces
    end with the file. `byte_order_reason` and `oddities` are for people: phrases and sentences.
    """

    revision: str
    sample_format: SampleFormat
    byte_order: ByteOrder
    byte_order_reason: str
    n_samples: int
    sample_interval_us: float
    extended_texts: int
    first_trace_offset: int
    trace_bytes: int
    n_traces: int
    file_size: int
    oddities: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a plan stores them."""
        return asdict(self) | {"sample_format": self.sample_format.code, "oddities": list(self.oddities)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FileFormat":
        """The format that `to_json` wrote."""
        sample_format = SAMPLE_FORMATS[values["sample_format"]]
        return cls(**values | {"sample_format": sample_format, "oddities": tuple(values["oddities"])})

    def trace_offset(self, trace: int) -> int:
        """Where the header of a trace begins in the file; both count from 0."""
        return self.first_trace_offset + trace * self.trace_bytes


@dataclass(frozen=True)
class _Layout:
    """A guess of where traces lie. `agrees`: trace headers found there say so, contradict, or (None) say nothing."""

    extended_texts: int
    first: int
    n_samples: int
    trace_bytes: int
    whole: int
    rest: int
    agrees: bool | None

    @property
    def fit(self) -> tuple[bool, int]:
        return self.whole > 0 and self.rest == 0, {True: 2, None: 1, False: 0}[self.agrees]


def read_format(source: Source) -> FileFormat:
    """The format of a file, from its first bytes and the headers of a few traces.

    Raises:
        InputRefused: The file is not SEG-Y, is damaged, or uses what is not read; the sentence says where.
    """
    name, size = source.name, source.size
    head = source.read(0, min(size, _HEAD_BYTES))
    refuse_foreign(name, size, head)
    if size <= HEADERS_BYTES:
        raise InputRefused(
            f"{name} has {size:,} bytes, but SEG-Y has {HEADERS_BYTES:,} before its first trace; fetch it again"
        )

    def read(start: int, length: int) -> bytes:
        end = start + length
        return head[start:end] if end <= len(head) else source.read(start, length)

    binary = head[TEXT_BYTES:HEADERS_BYTES]
    order, reason = _byte_order(name, binary)
    sample_format = _sample_format(name, _unpack(binary, 3225, "H", order))
    revision, oddities = _revision(binary, order)
    announced = _announced_texts(name, size, binary, order, read)
    layouts = list(_layouts(size, binary, order, sample_format.bytes_per_sample, announced, read))
    if not layouts:
        raise InputRefused(
            f"{name}: the number of samples is 0 in the binary header (byte 3221) and in the first trace header "
            "(byte 115); correct one of them"
        )
    layout = max(layouts, key=lambda guess: guess.fit)
    _refuse_rest(name, size, layout)
    oddities += _contradictions(name, layout, binary, order, announced, read)
    interval, found = _sample_interval(binary, order, read(layout.first, TRACE_HEADER_BYTES))
    file_format = FileFormat(
        revision=revision.name,
        sample_format=sample_format,
        byte_order=order,
        byte_order_reason=reason,
        n_samples=layout.n_samples,
        sample_interval_us=interval,
        extended_texts=layout.extended_texts,
        first_trace_offset=layout.first,
        trace_bytes=layout.trace_bytes,
        n_traces=layout.whole,
        file_size=size,
    )
    oddities += found + _unread_features(name, revision, binary, file_format)
    return replace(file_format, oddities=tuple(oddities))


def _unpack(header: bytes, byte: int, code: str, order: str, *, first_byte: int = 3201) -> Any:
    """The word at `byte`, counted as `first_byte` is the first one's number."""
    return struct.unpack_from(order + code, header, byte - first_byte)[0]


def _trace_word(header: bytes, byte: int, order: str) -> int:
    return cast(int, _unpack(header, byte, "H", order, first_byte=1))


def _byte_order(name: str, binary: bytes) -> tuple[ByteOrder, str]:
    constant = binary[96:100]
    if constant == bytes((2, 1, 4, 3)):
        raise InputRefused(
            f"{name} has its bytes swapped in pairs (byte 3297 reads 02 01 04 03); swap them back first"
        )
    if constant == bytes((1, 2, 3, 4)):
        return ">", "the constant at byte 3297 reads 1, 2, 3, 4"
    if constant == bytes((4, 3, 2, 1)):
        return "<", "the constant at byte 3297 reads 4, 3, 2, 1"
    big, little = _unpack(binary, 3225, "H", ">"), _unpack(binary, 3225, "H", "<")
    if big in FORMAT_NAMES:
        return ">", f"the sample format at byte 3225 reads {big} in big endian and {little} in little endian"
    if little in FORMAT_NAMES:
        return "<", f"the sample format at byte 3225 reads {little} in little endian and {big} in big endian"
    if big == 0:
        raise InputRefused(
            f"{name} has sample format 0 at byte 3225, which the standard does not define; write the code of its samples there"
        )
    raise InputRefused(
        f"{name} is not SEG-Y: the sample format at byte 3225 reads {big} in big endian and {little} in little "
        "endian, and the standard has 1 to 16; check that it is the right file"
    )


def _sample_format(name: str, code: int) -> SampleFormat:
    if code in SAMPLE_FORMATS:
        return SAMPLE_FORMATS[code]
    known = " and ".join(f"{code} ({FORMAT_NAMES[code]})" for code in SAMPLE_FORMATS)
    what = FORMAT_NAMES.get(code, "unknown to the standard")
    raise InputRefused(
        f"{name} has sample format {code} ({what}) at byte 3225; only {known} are read: convert it first"
    )


def _revision(binary: bytes, order: ByteOrder) -> tuple[Revision, list[str]]:
    word = _unpack(binary, 3501, "H", ">")
    # Little-endian writers swap the word or do not; neither is wrong enough to refuse.
    for seen in (word, _unpack(binary, 3501, "H", order)):
        for revision in REVISIONS:
            if seen == revision.words[0]:
                return revision, []
    for revision in REVISIONS:
        if word in revision.words:
            return revision, [f"The revision at byte 3501 is 0x{word:04x}; taken as {revision.name}."]
    return REVISIONS[0], [f"The revision at byte 3501 is 0x{word:04x}, which no standard has; taken as 0."]


def _announced_texts(
    name: str, size: int, binary: bytes, order: ByteOrder, read: Callable[[int, int], bytes]
) -> int:
    """How many extended textual headers byte 3505 announces; -1 is counted to the SEG:EndText stanza."""
    announced = cast(int, _unpack(binary, 3505, "h", order))
    if announced != -1:
        return announced
    for count in range(min((size - HEADERS_BYTES) // TEXT_BYTES, _MOST_EXTENDED_TEXTS)):
        opening = read(HEADERS_BYTES + count * TEXT_BYTES, 80)
        if any(
            b"((SEG:ENDTEXT))" in text.upper().replace(b" ", b"") for text in (opening, _from_ebcdic(opening))
        ):
            return count + 1
    raise InputRefused(
        f"{name} announces extended textual headers up to SEG:EndText (-1 at byte 3505), but none of its first "
        f"{_MOST_EXTENDED_TEXTS:,} texts is that; correct the count"
    )


def _from_ebcdic(raw: bytes) -> bytes:
    return raw.decode("cp500").encode("latin-1")


def _layouts(
    size: int,
    binary: bytes,
    order: ByteOrder,
    bytes_per_sample: int,
    announced: int,
    read: Callable[[int, int], bytes],
) -> Iterator[_Layout]:
    """Every way to read the counts of extended texts and samples, the one the binary header says first."""
    for texts in dict.fromkeys((announced, 0)):
        first = HEADERS_BYTES + texts * TEXT_BYTES
        if texts < 0 or first + TRACE_HEADER_BYTES > size:
            continue
        said = _trace_word(read(first, TRACE_HEADER_BYTES), 115, order)
        for n_samples in dict.fromkeys((cast(int, _unpack(binary, 3221, "H", order)), said)):
            if n_samples == 0:
                continue
            trace_bytes = TRACE_HEADER_BYTES + n_samples * bytes_per_sample
            whole, rest = divmod(size - first, trace_bytes)
            later = sorted({1, whole // 2, whole - 1} & set(range(1, whole)))
            counts = {
                _trace_word(read(first + t * trace_bytes, TRACE_HEADER_BYTES), 115, order) for t in later
            }
            agrees = counts == {said} if later and counts | {said} != {0} else None
            yield _Layout(texts, first, n_samples, trace_bytes, whole, rest, agrees)


def _refuse_rest(name: str, size: int, layout: _Layout) -> None:
    if layout.whole == 0:
        raise InputRefused(
            f"{name} holds no whole trace: one of {layout.n_samples:,} samples (byte 3221) takes "
            f"{layout.trace_bytes:,} bytes, and {size - layout.first:,} follow the headers; fetch it again"
        )
    if layout.rest:
        raise InputRefused(
            f"{name} is truncated or has something appended: {layout.rest:,} bytes follow trace {layout.whole:,}, "
            f"at byte {size - layout.rest + 1:,}, and a trace takes {layout.trace_bytes:,}; fetch it again or cut them off"
        )


def _contradictions(
    name: str,
    layout: _Layout,
    binary: bytes,
    order: ByteOrder,
    announced: int,
    read: Callable[[int, int], bytes],
) -> list[str]:
    """What the headers say otherwise than the layout, as sentences; refuses traces in the other byte order."""
    oddities = []
    if layout.extended_texts != announced:
        oddities.append(
            f"Byte 3505 announces {announced} extended textual headers; by the size of the file there are {layout.extended_texts}."
        )
    said = _unpack(binary, 3221, "H", order)
    header = read(layout.first, TRACE_HEADER_BYTES)
    trace_said = _trace_word(header, 115, order)
    swapped = _trace_word(header, 115, "<" if order == ">" else ">")
    if trace_said != swapped == layout.n_samples and layout.agrees:
        raise InputRefused(
            f"{name} has a binary header and trace headers of different byte orders: byte 115 of the traces reads "
            f"{trace_said} where {swapped} samples are; write it anew in one byte order"
        )
    if trace_said not in (0, said):
        oddities.append(
            f"The trace headers say {trace_said} samples (byte 115), the binary header {said} (byte 3221); "
            f"by the size of the file there are {layout.n_samples}."
        )
    elif layout.agrees is False:
        oddities.append(
            f"The trace headers differ in their number of samples (byte 115); all have {layout.n_samples}."
        )
    return oddities


def _sample_interval(binary: bytes, order: ByteOrder, header: bytes) -> tuple[float, list[str]]:
    said, trace_said = _unpack(binary, 3217, "H", order), _trace_word(header, 117, order)
    if said == 0 and trace_said == 0:
        return 0.0, [
            "The sample interval is 0 in the binary header (byte 3217) and the trace headers (byte 117)."
        ]
    if said == 0:
        return float(trace_said), [
            f"The sample interval is 0 in the binary header (byte 3217); {trace_said} is taken from the first trace (byte 117)."
        ]
    if trace_said not in (0, said):
        return float(said), [
            f"The sample interval is {said} in the binary header (byte 3217) and {trace_said} in trace 1 (byte 117)."
        ]
    return float(said), []


def _unread_features(name: str, revision: Revision, binary: bytes, found: FileFormat) -> list[str]:
    """Refuse what a revision can ask for and is not read, unless it says what is known without it."""
    known = {
        "extended number of samples": found.n_samples,
        "extended sample interval": found.sample_interval_us,
        "number of traces": found.n_traces,
        "offset of the first trace": found.first_trace_offset,
    }
    oddities = []
    for feature in revision.features:
        value = _unpack(binary, feature.byte, feature.code, found.byte_order)
        if value == 0 or value == known.get(feature.name):
            continue
        if feature.name == "number of traces":
            if value > found.n_traces:
                raise InputRefused(
                    f"{name} is truncated: its binary header (byte 3513) says {value:,} traces, and it holds "
                    f"{found.n_traces:,}; fetch it again"
                )
            oddities.append(
                f"The binary header says {value:,} traces (byte 3513); the file holds {found.n_traces:,}."
            )
            continue
        raise InputRefused(
            f"{name} is SEG-Y rev {revision.name} with {feature.name} {value:g} at byte {feature.byte}, which is not read; "
            "write it as rev 1"
        )
    return oddities

"""Determine the format of a SEG-Y file: revision, sample format, byte order, and the place of its traces.

Headers lie, so what they say is believed where it agrees with the size of the file; contradictions are
resolved and reported as oddities, and what cannot be read is refused with one sentence that says where.
"""

import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.contradictions import contradictions
from tasks.volume.segy.not_segy import refuse_foreign
from tasks.volume.segy.sample_interval import sample_interval
from tasks.volume.segy.standards import (
    EXTENDED_INTERVAL,
    EXTENDED_SAMPLES,
    EXTRA_HEADERS,
    EXTRA_HEADERS_SHORT,
    FIRST_TRACE,
    FORMAT_NAMES,
    REVISIONS,
    SAMPLE_FORMATS,
    TRACE_COUNT,
    TRAILER_TEXTS,
    Feature,
    Revision,
    SampleFormat,
)
from tasks.volume.segy.text import textual_header
from tasks.volume.segy.trace_layout import find_layout
from tasks.volume.segy.trace_reading import HEADERS_BYTES, TEXT_BYTES, TRACE_HEADER_BYTES, Announced, Read

ByteOrder = Literal[">", "<"]
ORDER_NAMES: dict[str, str] = {">": "big endian", "<": "little endian"}
_OTHER: dict[ByteOrder, ByteOrder] = {">": "<", "<": ">"}
# Read at once: the file's headers and mostly the first traces, so that opening a far file costs few requests.
_HEAD_BYTES = 64 * 1024


class ByteSource(Protocol):
    """Bytes somewhere."""

    @property
    def size(self) -> int:
        """Return the number of positions."""

    @property
    def name(self) -> str:
        """Return the name of the source, as messages give it."""

    def read(self, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`, or an error."""


@dataclass(frozen=True)
class Given:
    """Corrections by the user; 0, "" and None leave the header's value.

    Attributes:
        code: Sample format.
        order: Byte order of the samples.
        n_samples: Samples per trace.
        interval_us: Distance of the samples; in depth, thousandths of the unit.
        keep_trailing: Keep whatever follows the last trace; otherwise only zeros.
        seismic_unix: The file has traces alone, as Seismic Unix writes them.
    """

    code: int = 0
    order: ByteOrder | Literal[""] = ""
    n_samples: int = 0
    interval_us: float | None = None
    keep_trailing: bool = False
    seismic_unix: bool = False


@dataclass(frozen=True)
class FileFormat:
    """The format of a file.

    `first_trace_offset` counts from 0 and `trace_bytes` includes the trace header and the `extra_headers` of 240
    bytes after it; `n_traces` whole traces are followed by `trailer_bytes`. `byte_order_reason` and `oddities`
    are for people: a clause, and sentences. `samples_given` where somebody said otherwise than the headers what the
    samples are; `samples_turned` where they are in the other byte order than the headers. `text` has the lines of
    the textual header and of those after it, and `measurement_system` is byte 3255; plans hold neither.
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
    extra_headers: int = 0
    trailer_bytes: int = 0
    oddities: tuple[str, ...] = ()
    samples_given: bool = False
    samples_turned: bool = False
    text: str = field(default="", compare=False, repr=False)
    measurement_system: int = field(default=0, compare=False, repr=False)

    @property
    def sample_order(self) -> ByteOrder:
        """Byte order of the samples."""
        return _OTHER[self.byte_order] if self.samples_turned else self.byte_order

    @property
    def extension_bytes(self) -> int:
        """Return bytes of the additional headers of a trace."""
        return TRACE_HEADER_BYTES * self.extra_headers

    @property
    def trace_header_bytes(self) -> int:
        """Return bytes of a trace before its samples."""
        return TRACE_HEADER_BYTES + self.extension_bytes

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a plan stores them."""
        plain = asdict(self) | {"sample_format": self.sample_format.code, "oddities": list(self.oddities)}
        return {name: value for name, value in plain.items() if name not in ("text", "measurement_system")}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "FileFormat":
        """Return the format that `to_json` wrote."""
        sample_format = SAMPLE_FORMATS[values["sample_format"]]
        return cls(**values | {"sample_format": sample_format, "oddities": tuple(values["oddities"])})

    def trace_offset(self, trace: int) -> int:
        """Return the file offset of a trace header; both count from 0."""
        return self.first_trace_offset + trace * self.trace_bytes


def reader_with(head: bytes, source: ByteSource) -> Read:
    """Return a function that reads (start, length) of a file; what lies in its head is not fetched again."""

    def read(start: int, length: int) -> bytes:
        end = start + length
        return head[start:end] if end <= len(head) else source.read(start, length)

    return read


def read_format(source: ByteSource, given: Given = Given()) -> FileFormat:
    """Return the format of a file, from its first 64 KiB and the headers of at most a dozen traces.

    Args:
        source: The file.
        given: Properties of its samples, where its headers are wrong.

    Raises:
        InputRefused: The file is not SEG-Y, is damaged, or uses what is not read; the sentence says where.
    """
    name, size = source.name, source.size
    head = source.read(0, min(size, _HEAD_BYTES))
    refuse_foreign(name, size, head)
    if size <= HEADERS_BYTES:
        raise InputRefused(
            f"{name} has {size:,} bytes, but the headers of SEG-Y take {HEADERS_BYTES:,} before the first "
            "trace; fetch it again"
        )

    read = reader_with(head, source)
    binary = head[TEXT_BYTES:HEADERS_BYTES]
    order, reason = _byte_order(name, size, binary, given)
    stated = _word(binary, 3225, "H", order)
    sample_format = _sample_format(name, given.code or stated)
    revision, oddities = _revision(binary, order)

    def value(feature: Feature) -> Any:
        return _word(binary, feature.byte, feature.code, order) if feature in revision.features else 0

    announced = Announced(
        n_samples=_word(binary, 3221, "H", order),
        texts=_word(binary, 3505, "h", order),
        extended_samples=value(EXTENDED_SAMPLES),
        extra_headers=_extra_headers(binary, order, revision),
        n_traces=value(TRACE_COUNT),
        first=value(FIRST_TRACE),
        trailer_texts=value(TRAILER_TEXTS),
        given_samples=given.n_samples,
    )
    layout = find_layout(
        name,
        size,
        read,
        announced,
        byte_order=order,
        bytes_per_sample=sample_format.bytes_per_sample,
        keep=given.keep_trailing,
    )
    if announced.n_traces > layout.whole:
        raise InputRefused(
            f"{name} is truncated: its binary header says {announced.n_traces:,} traces (byte {TRACE_COUNT.byte}), "
            f"and {layout.whole:,} are there; fetch it again"
        )
    turned = given.order not in ("", order)
    otherwise = turned or sample_format.code != stated
    if otherwise:
        oddities.append(
            f"The samples are read as {FORMAT_NAMES[sample_format.code]} in {ORDER_NAMES[given.order or order]}, as "
            f"was asked; the headers are in {ORDER_NAMES[order]} and say {stated} (byte 3225, "
            f"{FORMAT_NAMES.get(stated, 'not in the standard')})."
        )
    header = read(layout.first, TRACE_HEADER_BYTES)
    if given.interval_us is None:
        interval, interval_oddities = sample_interval(name, binary, order, header, value(EXTENDED_INTERVAL))
    else:
        interval, interval_oddities = given.interval_us, []
    return FileFormat(
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
        extra_headers=layout.extra_headers,
        trailer_bytes=layout.kept_bytes,
        oddities=(*oddities, *contradictions(layout, announced), *interval_oddities),
        samples_given=otherwise,
        samples_turned=turned,
        text="\n".join(_texts(head, layout.extended_texts)),
        measurement_system=_word(binary, 3255, "h", order),
    )


def _texts(head: bytes, extended: int) -> Iterator[str]:
    """Yield the textual header and those extended ones that were read with it."""
    yield textual_header(head)
    for number in range(extended):
        start = HEADERS_BYTES + number * TEXT_BYTES
        if start + TEXT_BYTES <= len(head):
            yield textual_header(head[start : start + TEXT_BYTES])


def _word(binary: bytes, byte: int, code: str, order: str) -> Any:
    """Return a word of the binary header; code is struct's."""
    return struct.unpack_from(order + code, binary, byte - TEXT_BYTES - 1)[0]


def _byte_order(name: str, size: int, binary: bytes, given: Given) -> tuple[ByteOrder, str]:
    constant = tuple(binary[3297 - TEXT_BYTES - 1 :][:4])  # SEG-Y rev 2.0, bytes 3297-3300
    if constant == (1, 2, 3, 4):
        return ">", "the constant at byte 3297 reads 1, 2, 3, 4"
    if constant == (4, 3, 2, 1):
        return "<", "the constant at byte 3297 reads 4, 3, 2, 1"
    if constant == (2, 1, 4, 3):
        raise InputRefused(
            f"{name} has its bytes swapped in pairs (byte 3297 reads 2, 1, 4, 3); swap them back first"
        )
    big, little = _word(binary, 3225, "H", ">"), _word(binary, 3225, "H", "<")
    if big in FORMAT_NAMES:
        return ">", f"the sample format at byte 3225 reads {big} in big endian and {little} in little endian"
    if little in FORMAT_NAMES:
        return "<", f"the sample format at byte 3225 reads {little} in little endian and {big} in big endian"
    if given.code:
        return _order_that_fits(size, binary, SAMPLE_FORMATS[given.code].bytes_per_sample)
    if big == 0:
        raise InputRefused(
            f"{name} has sample format 0 at byte 3225, which the standard does not define; say what its samples are "
            "(--sample-format)"
        )
    raise InputRefused(
        f"{name} is not SEG-Y: the sample format at byte 3225 reads {big} in big endian and {little} in "
        "little endian, and the standard has 1 to 16; check that it is the right file, or say what its samples are "
        "(--sample-format)"
    )


def _order_that_fits(size: int, binary: bytes, bytes_per_sample: int) -> tuple[ByteOrder, str]:
    """Return the order in which the number of samples is one that fills the file; the standard's if neither does."""
    orders: tuple[ByteOrder, ByteOrder] = (">", "<")
    for order in orders:
        samples, texts = _word(binary, 3221, "H", order), max(0, _word(binary, 3505, "h", order))
        room = size - HEADERS_BYTES - texts * TEXT_BYTES
        if samples and room > 0 and room % (TRACE_HEADER_BYTES + samples * bytes_per_sample) == 0:
            return order, f"traces of {samples:,} samples (byte 3221) fill the file in {ORDER_NAMES[order]}"
    return ">", "the standard has big endian, and nothing speaks for the other"


def _sample_format(name: str, code: int) -> SampleFormat:
    if code in SAMPLE_FORMATS:
        return SAMPLE_FORMATS[code]
    known = ", ".join(map(str, SAMPLE_FORMATS))
    what = FORMAT_NAMES.get(code, "not in the standard")
    raise InputRefused(
        f"{name} has sample format {code} ({what}) at byte 3225, and {known} are read; convert it first, or "
        "say what its samples are (--sample-format)"
    )


def _revision(binary: bytes, order: ByteOrder) -> tuple[Revision, list[str]]:
    word = _word(binary, 3501, "H", ">")
    # Little-endian writers swap the word or do not; neither is worth a remark.
    for seen in (word, _word(binary, 3501, "H", order)):
        for revision in REVISIONS:
            if seen == revision.words[0]:
                return revision, []
    meant = next((revision for revision in REVISIONS if word in revision.words), None)
    # A minor revision yet unknown may ask for what the latest can; anything else was left there by chance.
    meant = meant or (REVISIONS[-1] if word >> 8 == 2 else REVISIONS[0])
    return meant, [f"The revision at byte 3501 is 0x{word:04x}; the file is read as rev {meant.name}."]


def _extra_headers(binary: bytes, order: str, revision: Revision) -> tuple[int, ...]:
    """Return how many additional headers a trace may have: in the width of the file's revision, then in the other."""
    widths = extra_header_fields(revision)
    return tuple(_word(binary, feature.byte, feature.code, order) for feature in widths)


def extra_header_fields(revision: Revision) -> list[Feature]:
    """Return the fields that may hold the number of additional headers: the revision's own, then the other."""
    own = next((f for f in (EXTRA_HEADERS, EXTRA_HEADERS_SHORT) if f in revision.features), None)
    return list(dict.fromkeys((own, EXTRA_HEADERS, EXTRA_HEADERS_SHORT))) if own else []


def extra_header_words(binary: bytes, fmt: FileFormat) -> tuple[tuple[int, int], ...]:
    """Return first byte and width of each field from byte 3507 on, as the number of additional headers shows them.

    Args:
        binary: The binary header.
        fmt: Format of the file.
    """
    revision = next(revision for revision in REVISIONS if revision.name == fmt.revision)
    fields = extra_header_fields(revision)
    counts = _extra_headers(binary, fmt.byte_order, revision)
    holding = [field for field, count in zip(fields, counts, strict=True) if count == fmt.extra_headers]
    if (holding or fields)[:1] == [EXTRA_HEADERS_SHORT]:
        return ((EXTRA_HEADERS.byte, 2), (EXTRA_HEADERS.byte + 2, 2))
    return ((EXTRA_HEADERS.byte, 4),)

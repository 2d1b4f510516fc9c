"""Determine the format of a SEG-Y file: revision, sample format, byte order, and the place of its traces.

Headers can be wrong, so their statements are used only if they agree with the size of the file. Contradictions are
resolved and reported as oddities; a file that cannot be read is refused with one sentence that says where.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.binary_header import (
    ORDER_NAMES,
    ByteOrder,
    byte_order_of,
    extra_header_fields,
    extra_headers_of,
    revision_of,
    sample_format_of,
    word,
)
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
    SampleFormat,
)
from tasks.volume.segy.text import textual_header
from tasks.volume.segy.trace_layout import find_layout
from tasks.volume.segy.trace_reading import HEADERS_BYTES, TEXT_BYTES, TRACE_HEADER_BYTES, Announced, Read

_OTHER: dict[ByteOrder, ByteOrder] = {">": "<", "<": ">"}
# Read at once: the file's headers and mostly the first traces, so that opening a far file costs few requests.
_HEAD_BYTES = 64 * 1024


class ByteSource(Protocol):
    """A file or part of one that can be read by ranges."""

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

    `first_trace_offset` counts from 0 and `trace_bytes` includes the trace header and the `extra_headers` of
    240 bytes after it; `n_traces` whole traces are followed by `trailer_bytes`. `byte_order_reason` (a clause)
    and `oddities` (sentences) are shown to users. `samples_given`: the user stated the sample format against
    the headers. `samples_turned`: the samples are in the other byte order than the headers. `text` has the
    lines of all textual headers, and `measurement_system` is byte 3255; plans hold neither.
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
    """Return a function that reads (start, length) of a file; bytes of its head are taken from memory."""

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
        InputRefused: The file is not SEG-Y, is damaged, or has a feature that is not supported; the sentence
            says where.
    """
    name, size = source.name, source.size
    head = source.read(0, min(size, _HEAD_BYTES))
    refuse_foreign(name, size, head)
    if size <= HEADERS_BYTES:
        raise InputRefused(
            f"{name} holds no trace: it has {size:,} bytes, and the headers of SEG-Y alone take {HEADERS_BYTES:,}; "
            "fetch it again"
        )

    read = reader_with(head, source)
    binary = head[TEXT_BYTES:HEADERS_BYTES]
    order, reason = byte_order_of(name, size, binary, given.code)
    stated = word(binary, 3225, "H", order)
    sample_format = sample_format_of(name, given.code or stated)
    revision, oddities = revision_of(binary, order)

    def value(feature: Feature) -> Any:
        return word(binary, feature.byte, feature.code, order) if feature in revision.features else 0

    announced = Announced(
        n_samples=word(binary, 3221, "H", order),
        texts=word(binary, 3505, "h", order),
        extended_samples=value(EXTENDED_SAMPLES),
        extra_headers=extra_headers_of(binary, order, revision),
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
        measurement_system=word(binary, 3255, "h", order),
    )


def _texts(head: bytes, extended: int) -> Iterator[str]:
    """Yield the textual header and those extended ones that were read with it."""
    yield textual_header(head)
    for number in range(extended):
        start = HEADERS_BYTES + number * TEXT_BYTES
        if start + TEXT_BYTES <= len(head):
            yield textual_header(head[start : start + TEXT_BYTES])


def extra_header_words(binary: bytes, fmt: FileFormat) -> tuple[tuple[int, int], ...]:
    """Return first byte and width of each field from byte 3507 on, given the number of additional trace headers.

    Args:
        binary: The binary header.
        fmt: Format of the file.
    """
    revision = next(revision for revision in REVISIONS if revision.name == fmt.revision)
    fields = extra_header_fields(revision)
    counts = extra_headers_of(binary, fmt.byte_order, revision)
    holding = [field for field, count in zip(fields, counts, strict=True) if count == fmt.extra_headers]
    if (holding or fields)[:1] == [EXTRA_HEADERS_SHORT]:
        return ((EXTRA_HEADERS.byte, 2), (EXTRA_HEADERS.byte + 2, 2))
    return ((EXTRA_HEADERS.byte, 4),)

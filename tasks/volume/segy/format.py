"""What a SEG-Y file is made of: revision, sample format, byte order, and where its traces lie.

Headers lie, so what they say is believed where it agrees with the size of the file; contradictions are
resolved and reported as oddities, and what cannot be read is refused with one sentence that says where.
"""

import struct
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.foreign import refuse_foreign
from tasks.volume.segy.standards import (
    EXTENDED_INTERVAL,
    EXTENDED_SAMPLES,
    FIRST_TRACE,
    FORMAT_NAMES,
    REVISIONS,
    SAMPLE_FORMATS,
    TRACE_COUNT,
    Revision,
    SampleFormat,
)
from tasks.volume.segy.trace_layout import (
    HEADERS_BYTES,
    TEXT_BYTES,
    TRACE_HEADER_BYTES,
    TraceLayout,
    find_layout,
)

ByteOrder = Literal[">", "<"]
# Read at once: the file's headers and mostly the first traces, so that opening a far file costs few requests.
_HEAD_BYTES = 64 * 1024


class Source(Protocol):
    """Bytes somewhere."""

    @property
    def size(self) -> int:
        """How many there are."""

    @property
    def name(self) -> str:
        """What they are called in messages."""

    def read(self, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`, or an error."""


@dataclass(frozen=True)
class FileFormat:
    """What a file is made of.

    `first_trace_offset` counts from 0 and `trace_bytes` includes the trace header; `n_traces` whole traces
    end with the file. `byte_order_reason` and `oddities` are for people: a clause, and sentences.
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

    @property
    def trace_header_bytes(self) -> int:
        """Bytes of a trace before its samples."""
        return TRACE_HEADER_BYTES

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


def read_format(source: Source) -> FileFormat:
    """The format of a file, from its first 64 KiB and the headers of at most a dozen traces.

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

    def read(start: int, length: int) -> bytes:
        end = start + length
        return head[start:end] if end <= len(head) else source.read(start, length)

    binary = head[TEXT_BYTES:HEADERS_BYTES]
    order, reason = _byte_order(name, binary)
    sample_format = _sample_format(name, _word(binary, 3225, "H", order))
    revision, oddities = _revision(binary, order)
    _refuse_features(name, revision, binary, order)
    n_samples, texts = _word(binary, 3221, "H", order), _word(binary, 3505, "h", order)
    layout = find_layout(
        name,
        size,
        read,
        byte_order=order,
        n_samples=n_samples,
        texts=texts,
        bytes_per_sample=sample_format.bytes_per_sample,
    )
    interval, interval_oddities = _sample_interval(binary, order, read(layout.first, TRACE_HEADER_BYTES))
    oddities += _contradictions(layout, n_samples, texts) + interval_oddities
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
    oddities += _compare_with_rev_2(name, revision, binary, file_format)
    return replace(file_format, oddities=tuple(oddities))


def _word(header: bytes, byte: int, code: str, order: str, *, first_byte: int = TEXT_BYTES + 1) -> Any:
    """A word of a header that begins at `first_byte`; code is struct's."""
    return struct.unpack_from(order + code, header, byte - first_byte)[0]


def _byte_order(name: str, binary: bytes) -> tuple[ByteOrder, str]:
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
    if big == 0:
        raise InputRefused(
            f"{name} has sample format 0 at byte 3225, which the standard does not define; write the code of "
            "its samples there"
        )
    raise InputRefused(
        f"{name} is not SEG-Y: the sample format at byte 3225 reads {big} in big endian and {little} in "
        "little endian, and the standard has 1 to 16; check that it is the right file"
    )


def _sample_format(name: str, code: int) -> SampleFormat:
    if code in SAMPLE_FORMATS:
        return SAMPLE_FORMATS[code]
    known = ", ".join(map(str, SAMPLE_FORMATS))
    what = FORMAT_NAMES.get(code, "not in the standard")
    raise InputRefused(
        f"{name} has sample format {code} ({what}) at byte 3225, and {known} are read; convert it first, or "
        "write the code of its samples there"
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


def _refuse_features(name: str, revision: Revision, binary: bytes, order: ByteOrder) -> None:
    """Refuse what a revision can ask for and is not read, unless it repeats what rev 1 words say."""
    repeats: dict[str, float] = {
        EXTENDED_SAMPLES.name: _word(binary, 3221, "H", order),
        EXTENDED_INTERVAL.name: _word(binary, 3217, "H", order),
    }
    for feature in revision.features:
        value = _word(binary, feature.byte, feature.code, order)
        if feature not in (FIRST_TRACE, TRACE_COUNT) and value not in (0, repeats.get(feature.name)):
            raise InputRefused(
                f"{name} is SEG-Y rev {revision.name} with {feature.name} {value:.10g} at byte "
                f"{feature.byte}, which is not read; write it as rev 1"
            )


def _compare_with_rev_2(name: str, revision: Revision, binary: bytes, found: FileFormat) -> list[str]:
    """Compare place and number of traces with what rev 2 files say; a file with fewer was cut."""
    if not revision.features:
        return []
    first = _word(binary, FIRST_TRACE.byte, FIRST_TRACE.code, found.byte_order)
    if first not in (0, found.first_trace_offset):
        raise InputRefused(
            f"{name} says that its first trace begins at offset {first:,} (byte {FIRST_TRACE.byte}), and its "
            f"headers end at {found.first_trace_offset:,}; that is not read: write it as rev 1"
        )
    said = _word(binary, TRACE_COUNT.byte, TRACE_COUNT.code, found.byte_order)
    if said > found.n_traces:
        raise InputRefused(
            f"{name} is truncated: its binary header says {said:,} traces (byte {TRACE_COUNT.byte}), and "
            f"{found.n_traces:,} are there; fetch it again"
        )
    if said in (0, found.n_traces):
        return []
    return [
        f"The binary header says {said:,} traces (byte {TRACE_COUNT.byte}); {found.n_traces:,} are there."
    ]


def _contradictions(layout: TraceLayout, n_samples: int, texts: int) -> list[str]:
    """What headers say otherwise than the layout."""
    oddities = []
    if texts not in (layout.extended_texts, -1):
        oddities.append(
            f"The binary header says {texts} extended textual headers (byte 3505); by the size of the file "
            f"there are {layout.extended_texts}."
        )
    if layout.said not in (0, n_samples) or layout.n_samples != n_samples:
        oddities.append(
            f"The trace headers say {layout.said} samples (byte 115), the binary header {n_samples} (byte "
            f"3221); by the size of the file there are {layout.n_samples}."
        )
    elif layout.agrees is False:
        oddities.append(
            f"The trace headers differ in their number of samples (byte 115); by the size of the file all "
            f"have {layout.n_samples}."
        )
    return oddities


def _sample_interval(binary: bytes, order: ByteOrder, trace_header: bytes) -> tuple[float, list[str]]:
    said = _word(binary, 3217, "H", order)
    trace_said = _word(trace_header, 117, "H", order, first_byte=1)
    if trace_said in (0, said) and said:
        return float(said), []
    if trace_said == 0:
        return 0.0, [
            "The sample interval is 0 in the binary header (byte 3217) and the first trace (byte 117)."
        ]
    return float(said or trace_said), [
        f"The sample interval is {said} in the binary header (byte 3217) and {trace_said} in the first trace "
        f"(byte 117); {said or trace_said} is used."
    ]

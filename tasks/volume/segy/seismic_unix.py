"""Seismic Unix data: the trace records of SEG-Y with IEEE samples, in either byte order, without headers of the file.

Such a file cannot be recognised by its content, so the user must say that it is one. Number of samples and sample
interval are those of the first trace header; the byte order is the one in which the headers are consistent.
"""

import struct

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.binary_header import ORDER_NAMES, ByteOrder
from tasks.volume.segy.format import ByteSource, FileFormat, Given, read_format, reader_with
from tasks.volume.segy.headers import TRACE_HEADER_FIELDS
from tasks.volume.segy.not_segy import is_text, refuse_signature
from tasks.volume.segy.padding import MOST_BESIDE_BYTES, refuse_rest, without_padding
from tasks.volume.segy.sample_interval import is_negative
from tasks.volume.segy.standards import FORMAT_NAMES, SAMPLE_FORMATS, SEISMIC_UNIX
from tasks.volume.segy.trace_reading import (
    HEADERS_BYTES,
    SAMPLES_BYTE,
    TEXT_BYTES,
    TRACE_HEADER_BYTES,
    Read,
    TraceLayout,
    stated_samples,
)

_IEEE = 5
_HEAD_BYTES = 64 * 1024
_INTERVAL_BYTE = 117
# Whole numbers that are small in the right byte order: counters, the code of the trace, samples and interval.
_SMALL = ((1, "i"), (5, "i"), (9, "i"), (21, "i"), (37, "i"), (29, "h"), (115, "H"), (117, "H"))
_UNSCALE = "part of unscale, float32 at byte 201"
_CONTENTS = {
    181: "d1 (float32)",
    185: "f1 (float32)",
    189: "d2 (float32)",
    193: "f2 (float32)",
    197: "ungpow (float32)",
    201: _UNSCALE,
    203: _UNSCALE,
    205: "ntr",
    209: "mark",
}
_LINES = (
    "SEG-Y MADE OF SEISMIC UNIX DATA, WHICH HAVE NO HEADERS OF THE FILE",
    "THESE LINES AND THE BINARY HEADER WERE MADE OF THE FIRST TRACE HEADER",
    "BYTES 181 TO 240 OF TRACE HEADERS HOLD FIELDS OF SEISMIC UNIX",
)


def format_of(source: ByteSource, given: Given = Given()) -> FileFormat:
    """Return the format of a file: of SEG-Y from its headers, or of Seismic Unix data if the user says that it is one.

    Raises:
        InputRefused: The file is not of that kind.
    """
    return _read_seismic_unix(source, given) if given.seismic_unix else read_format(source, given)


def _read_seismic_unix(source: ByteSource, given: Given) -> FileFormat:
    """Return what a file of Seismic Unix data is made of, from the headers of at most a dozen traces."""
    name, size = source.name, source.size
    head = source.read(0, min(size, _HEAD_BYTES))
    refuse_signature(name, size, head)
    if size <= TRACE_HEADER_BYTES:
        raise InputRefused(
            f"{name} has {size:,} bytes, and a trace of Seismic Unix takes more than {TRACE_HEADER_BYTES}; fetch it "
            "again"
        )

    read = reader_with(head, source)
    sample_format = SAMPLE_FORMATS[given.code or _IEEE]
    layout, order, reason = _layout(name, size, read, given, sample_format.bytes_per_sample)
    layout = without_padding(layout, size, read, order, keep=given.keep_trailing)
    if layout.rest:
        refuse_rest(name, size, read, layout, order, sample_format.bytes_per_sample)
    if layout.kept_bytes > MOST_BESIDE_BYTES:
        raise InputRefused(
            f"{name} has {layout.kept_bytes:,} bytes after its last trace, and at most {MOST_BESIDE_BYTES:,} are kept; "
            "cut them off"
        )
    turned = given.order not in ("", order)
    otherwise = turned or sample_format.code != _IEEE
    interval, notes = _interval(name, head, order, given)
    if otherwise:
        notes.append(
            f"The samples are read as {FORMAT_NAMES[sample_format.code]} in {ORDER_NAMES[given.order or order]}, as "
            f"was asked; the headers are in {ORDER_NAMES[order]}, and Seismic Unix has {FORMAT_NAMES[_IEEE]}."
        )
    return FileFormat(
        revision=SEISMIC_UNIX,
        sample_format=sample_format,
        byte_order=order,
        byte_order_reason=reason,
        n_samples=layout.n_samples,
        sample_interval_us=interval,
        extended_texts=0,
        first_trace_offset=0,
        trace_bytes=layout.trace_bytes,
        n_traces=layout.whole,
        file_size=size,
        trailer_bytes=layout.kept_bytes,
        oddities=(
            "Seismic Unix data have no textual and no binary header: samples per trace (byte 115) and sample interval "
            "(byte 117) are those of the first trace.",
            *notes,
            *(
                [
                    f"{layout.padding:,} bytes follow trace {layout.whole:,}, the last; they come back on export."
                ]
                if layout.padding
                else []
            ),
        ),
        samples_given=otherwise,
        samples_turned=turned,
    )


def _layout(
    name: str, size: int, read: Read, given: Given, bytes_per_sample: int
) -> tuple[TraceLayout, ByteOrder, str]:
    """Return the layout of traces, the byte order, and the reason for it."""
    header = read(0, TRACE_HEADER_BYTES)
    orders: tuple[ByteOrder, ByteOrder] = (">", "<")
    readings = {
        order: layout
        for order in orders
        if (layout := _reading(size, read, order, given.n_samples, bytes_per_sample))
    }
    # Text that a reading makes sense of is no text: a header of mostly zeros may look like it.
    if not any(reading.agrees or reading.fills for reading in readings.values()) and is_text(
        read(0, min(size, TEXT_BYTES))
    ):
        raise InputRefused(
            f"{name} begins with a textual header, so it is SEG-Y and no Seismic Unix data; leave out --file-format su"
        )
    if not readings:
        raise InputRefused(
            f"{name} is not Seismic Unix data: byte {SAMPLES_BYTE} of its first trace gives no number of samples that "
            "fits the file in either byte order; check that it is the right file, or say the number with "
            "--samples-per-trace"
        )
    # What later headers repeat counts most, then whether traces fill the file, then which numbers are small.
    sizes = {order: _bits(header, order) for order in readings}
    rank = {
        o: (reading.agrees is True, reading.fills, reading.agrees is None, -sizes[o])
        for o, reading in readings.items()
    }
    best = max(readings, key=lambda order: rank[order])
    layout = readings[best]
    if layout.agrees is False and not layout.fills:
        raise InputRefused(
            f"{name} is not Seismic Unix data, or its traces differ in length: byte {SAMPLES_BYTE} of its first trace "
            f"says {layout.n_samples:,} samples, and no header follows where it puts one; check that it is the "
            "right file"
        )
    other = orders[best == ">"]
    if len(set(rank.values())) < len(readings):
        if not given.order:
            raise InputRefused(
                f"the headers of {name} read the same in both byte orders; say it with --sample-endian big or little"
            )
        best = ">" if given.order == ">" else "<"
        return readings[best], best, "as was asked, because the headers read the same in both"
    reason = f"byte {SAMPLES_BYTE} of the first trace reads {layout.stated} in {ORDER_NAMES[best]} and "
    reason += f"{stated_samples(header, other)} in {ORDER_NAMES[other]}"
    return layout, best, reason


def _reading(
    size: int, read: Read, order: ByteOrder, given_samples: int, bytes_per_sample: int
) -> TraceLayout | None:
    """Return the traces as their first header has them in one byte order; None if it has none."""
    stated = stated_samples(read(0, TRACE_HEADER_BYTES), order)
    samples = given_samples or stated
    trace_bytes = TRACE_HEADER_BYTES + samples * bytes_per_sample
    whole, rest = divmod(size, trace_bytes)
    if samples == 0 or whole == 0:
        return None
    later = sorted({trace for trace in (1, whole // 2, whole - 1) if 0 < trace < whole})
    counts = {stated_samples(read(trace * trace_bytes, TRACE_HEADER_BYTES), order) for trace in later}
    agrees = None if not counts - {0} or counts == {0, stated} else counts == {stated}
    return TraceLayout(0, 0, samples, trace_bytes, 0, whole, rest, stated, agrees)


def _bits(header: bytes, order: ByteOrder) -> int:
    """Return how many bits fields take that hold small numbers in the right byte order."""
    return sum(
        abs(struct.unpack_from(order + code, header, byte - 1)[0]).bit_length() for byte, code in _SMALL
    )


def _interval(name: str, header: bytes, order: ByteOrder, given: Given) -> tuple[float, list[str]]:
    """Return the sample interval in microseconds, and sentences on it."""
    if given.interval_us is not None:
        return given.interval_us, []
    stated = struct.unpack_from(f"{order}H", header, _INTERVAL_BYTE - 1)[0]
    if is_negative(stated):
        raise InputRefused(
            f"{name} has a negative sample interval, {stated - 65536} (byte {_INTERVAL_BYTE})",
            flags=f"--sample-interval {(65536 - stated) / 1000:g}",
        )
    if stated:
        return float(stated), []
    d1 = struct.unpack_from(f"{order}f", header, 180)[0]
    own = f" d1 (byte 181) is {d1:g}; say it with --sample-interval if it is the interval." if d1 > 0 else ""
    return 0.0, [f"The sample interval is 0 (byte {_INTERVAL_BYTE}); samples are numbered from 0.{own}"]


def field_contents() -> dict[str, str]:
    """Return what fields of trace headers hold whose name says something else, by their names."""
    return {field.name: _CONTENTS[field.byte] for field in TRACE_HEADER_FIELDS if field.byte in _CONTENTS}


def made_header(fmt: FileFormat) -> bytes:
    """Return textual and binary header of SEG-Y for traces that have none.

    Args:
        fmt: Format of the file.
    """
    lines = [f"C{number:2d} {text}".ljust(80) for number, text in enumerate(_LINES, start=1)]
    lines += [f"C{number:2d}".ljust(80) for number in range(len(lines) + 1, 41)]
    binary = bytearray(HEADERS_BYTES - TEXT_BYTES)
    interval = round(fmt.sample_interval_us) if fmt.sample_interval_us < 1 << 16 else 0
    for byte, value in ((3217, interval), (3221, fmt.n_samples & 0xFFFF), (3225, fmt.sample_format.code)):
        struct.pack_into(f"{fmt.byte_order}H", binary, byte - TEXT_BYTES - 1, value)
    return "".join(lines).encode("cp500") + bytes(binary)

"""Warn if the binary header contradicts the size of the file."""

from tasks.volume.segy.standards import (
    EXTENDED_SAMPLES,
    EXTRA_HEADERS,
    FIRST_TRACE,
    TRACE_COUNT,
    TRAILER_TEXTS,
)
from tasks.volume.segy.trace_reading import TEXT_BYTES, Announced, TraceLayout


def contradictions(layout: TraceLayout, announced: Announced) -> list[str]:
    """Return the statements of headers that contradict the layout."""
    oddities = []
    stated, there = announced, layout
    if stated.first not in (0, there.first):
        oddities.append(
            f"The binary header says that the first trace begins at offset {stated.first:,} (byte {FIRST_TRACE.byte}); "
            f"by the size of the file it begins at {there.first:,}."
        )
    elif stated.texts not in (there.extended_texts, -1):
        oddities.append(
            f"The binary header says {stated.texts} extended textual headers (byte 3505); by the "
            f"{'offset of the first trace' if stated.first else 'size of the file'} there are {there.extended_texts}."
        )
    if there.extra_headers not in (stated.extra_headers or (0,)):
        oddities.append(
            f"The binary header says {stated.extra_headers[0]:,} additional trace headers (byte {EXTRA_HEADERS.byte}); "
            f"by the size of the file there are {there.extra_headers}."
        )
    if stated.trailer_texts not in (there.trailer_bytes // TEXT_BYTES, -1):
        oddities.append(
            f"The binary header says {stated.trailer_texts:,} records after the last trace "
            f"(byte {TRAILER_TEXTS.byte}); by the size of the file there are {there.trailer_bytes // TEXT_BYTES}."
        )
    if stated.n_traces not in (0, there.whole):
        oddities.append(
            f"The binary header says {stated.n_traces:,} traces (byte {TRACE_COUNT.byte}); {there.whole:,} are there."
        )
    if there.padding:
        oddities.append(
            f"{there.padding:,} bytes follow trace {there.whole:,}, the last; they are kept and come back on export."
        )
    return oddities + _sample_counts(layout, announced)


def _sample_counts(layout: TraceLayout, announced: Announced) -> list[str]:
    if announced.given_samples:
        return []
    there, short, extended = layout.n_samples, announced.n_samples, announced.extended_samples
    # With an extended number the short one is 0, or what of it fits in 16 bits.
    settled = {there, 0, there & 0xFFFF, 0xFFFF} if extended == there else {there}
    if layout.stated not in (0, there) or short not in settled or extended not in (0, there):
        claims = [f"the trace headers say {layout.stated} samples (byte 115)"] if layout.stated else []
        claims.append(
            f"the binary header {'' if claims else 'says '}{short}{'' if claims else ' samples'} (byte 3221)"
        )
        claims += [f"and {extended} (byte {EXTENDED_SAMPLES.byte})"] if extended else []
        sentence = ", ".join(claims)
        return [f"{sentence[0].upper()}{sentence[1:]}; by the size of the file there are {there}."]
    if layout.agrees is False:
        return [
            f"The trace headers differ in their number of samples (byte 115); by the size of the file all have {there}."
        ]
    return []

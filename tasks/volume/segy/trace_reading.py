"""One interpretation of the layout of a file's traces, and the statements of the binary header on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tasks.volume.segy.standards import EXTENSION_NAMES, EXTENSION_SAMPLES

TEXT_BYTES = 3200
HEADERS_BYTES = 3600
TRACE_HEADER_BYTES = 240
SAMPLES_BYTE = 115

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Announced:
    """Fields of the binary header that determine where traces are; 0 is unset, and below rev 2 all but two are 0.

    Attributes:
        n_samples: Samples per trace (byte 3221).
        given_samples: Samples per trace from the user, which replaces the other numbers.
        texts: Extended textual headers; -1: up to SEG:EndText (byte 3505).
        extended_samples: Number of samples that overrides the other (byte 3269).
        extra_headers: Additional headers of each trace (byte 3507), in every reading of that field, likeliest first.
        n_traces: Number of traces in the file (byte 3513).
        first: First byte of the first trace (byte 3521).
        trailer_texts: Records of 3200 bytes after the last trace; -1: some (byte 3529).
    """

    n_samples: int
    texts: int
    extended_samples: int = 0
    extra_headers: tuple[int, ...] = ()
    n_traces: int = 0
    first: int = 0
    trailer_texts: int = 0
    given_samples: int = 0


@dataclass(frozen=True)
class TraceLayout:
    """One reading of a file.

    Attributes:
        first: Offset of the first trace, from 0.
        extra_headers: Additional headers of each trace, 240 bytes each.
        n_samples: Samples per trace.
        trace_bytes: A trace with its headers.
        trailer_bytes: Bytes after the last trace.
        whole: Traces that fit into the file.
        rest: Bytes between them and the trailer.
        padding: Bytes after the last trace that are neither traces nor announced, and are kept.
        stated: Number of samples in the first trace header; 0 if it states none.
        agrees: Whether headers of later traces state the same number; None if there are none, or some state 0.
    """

    first: int
    extra_headers: int
    n_samples: int
    trace_bytes: int
    trailer_bytes: int
    whole: int
    rest: int
    stated: int
    agrees: bool | None
    padding: int = 0

    @property
    def fills(self) -> bool:
        """Return whether traces and trailer are the whole file."""
        return self.whole > 0 and self.rest == 0

    @property
    def kept_bytes(self) -> int:
        """Return bytes after the last trace that the volume keeps."""
        return self.trailer_bytes + self.padding

    @property
    def extended_texts(self) -> int:
        """Return how many extended textual headers fit before the first trace."""
        return (self.first - HEADERS_BYTES) // TEXT_BYTES


def stated_samples(trace_headers: bytes, byte_order: str) -> int:
    """Return the number of samples in the headers of a trace, unsigned: files exceed 32767."""
    order: Literal["big", "little"] = "big" if byte_order == ">" else "little"
    extension = trace_headers[TRACE_HEADER_BYTES:][:TRACE_HEADER_BYTES]
    if extension[-8:] in EXTENSION_NAMES:
        word = extension[EXTENSION_SAMPLES - 1 :][:4]
        if any(word):
            return int.from_bytes(word, order)
    return int.from_bytes(trace_headers[SAMPLES_BYTE - 1 : SAMPLES_BYTE + 1], order)

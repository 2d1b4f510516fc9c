"""Export of a file that differs from the source: a subset of its traces, or another order, format or byte order.

An edition has the source's parts with new trace numbers, so that the windows of an export are in the order of the new
file. Its records are rewritten window by window.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tasks.parameters import Export
from tasks.volume.blocks import on_chunks
from tasks.volume.export.segy_parts import SegyParts
from tasks.volume.export.selection import Selection, select
from tasks.volume.segy.binary_header import ByteOrder
from tasks.volume.segy.convert import Lost, convert_samples
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import word_bytes
from tasks.volume.segy.rewritten_headers import file_header, target_format, trace_headers, with_file_headers
from tasks.volume.segy.standards import SAMPLE_FORMATS, SEISMIC_UNIX

_PIECE_BYTES = 2 << 20  # of source records that are rewritten at once, on each processor
_MOST_PIECES = 4
# Samples pass as float64 with several temporaries: 2-byte samples become 4 times as much, six times over.
REWRITE_BYTES = _MOST_PIECES * _PIECE_BYTES * 24


@dataclass(frozen=True, eq=False)
class Edition:
    """A file to be written.

    Attributes:
        parts: Parts of the source, its traces numbered in the order of the new file.
        source_numbers: Number of each trace in the source, int64.
        fmt: Format of the new file.
        header: All bytes before the first trace.
        first_sample: Number of the source's sample that comes first.
        own_words: First byte and width of the header fields that place traces.
    """

    parts: SegyParts
    source_numbers: np.ndarray
    fmt: FileFormat
    header: bytes
    first_sample: int
    own_words: tuple[tuple[int, int], ...]


def edition_of(parts: SegyParts, export: Export) -> Edition | None:
    """Return the edition to write; None for the source itself.

    Raises:
        InputRefused: The selection holds no traces or samples.
    """
    if export == Export() and parts.of_copy and len(parts.files) == 1:
        # All of the source, the traces that have no cell as well.
        numbers = np.arange(parts.fmt.n_traces)
        return Edition(parts, numbers, parts.fmt, parts.header, 0, _own_words(parts))
    if export == Export() and not parts.of_copy:
        return None
    named = parts.fmt.revision == SEISMIC_UNIX and export.file_format == "segy"
    if named and len(parts.files) == 1 and export == Export(file_format="segy"):
        # As above: all of the source.
        target = with_file_headers(replace(parts.fmt, byte_order=">", samples_turned=False))
        return Edition(
            parts,
            np.arange(target.n_traces),
            target,
            file_header(b"", parts.fmt, target),
            0,
            _own_words(parts),
        )
    chosen = select(parts.volume, export.selection, export.mask)
    numbers, source_numbers = _numbered(parts.trace_numbers, chosen, by_grid=export.order == "grid")
    formats = {sample_format.name: sample_format for sample_format in SAMPLE_FORMATS.values()}
    orders: dict[str, ByteOrder] = {
        "big": ">",
        "little": "<",
        "source": ">" if named else parts.fmt.byte_order,
    }
    target = target_format(
        parts.fmt,
        sample_format=formats.get(export.sample_format, parts.fmt.sample_format),
        byte_order=orders[export.endian],
        n_samples=chosen.n_samples,
        n_traces=source_numbers.size,
    )
    target = with_file_headers(target) if named else target
    same = replace(target, oddities=parts.fmt.oddities) == parts.fmt
    if same and np.array_equal(numbers, parts.trace_numbers) and not parts.of_copy:
        return None
    header = file_header(parts.header, parts.fmt, target)
    # Traces that have no cell have no coordinates to be chosen by.
    numbered = replace(
        parts,
        trace_numbers=numbers,
        unplaced=np.empty(0, np.int64),
        exceptions=_exceptions(parts, source_numbers),
    )
    return Edition(numbered, source_numbers, target, header, chosen.first_sample, _own_words(parts))


def _own_words(parts: SegyParts) -> tuple[tuple[int, int], ...]:
    own = parts.volume.state.index
    types = [*own["types"], *own.get("coordinate_types", ["int32"] * len(own["coordinate_bytes"]))]
    widths = [word_bytes(word_type) for word_type in types]
    return tuple(sorted(set(zip([*own["bytes"], *own["coordinate_bytes"]], widths, strict=True))))


def _numbered(numbers: np.ndarray, chosen: Selection, *, by_grid: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the new trace number of each cell (-1 if not selected), and the old numbers in the new order."""
    # Of several files only some may be wanted: the others' traces have no number.
    cells = chosen.cells & (numbers >= 0)
    old = numbers[cells]
    order = np.arange(old.size) if by_grid else np.argsort(old)
    new = np.empty(old.size, np.int64)
    new[order] = np.arange(old.size)
    grid = np.full(numbers.shape, -1, np.int64)
    grid[cells] = new
    return grid, old[order]


def _exceptions(parts: SegyParts, source_numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the exceptions of the chosen traces by their new numbers, sorted."""
    traces, samples, words = parts.exceptions
    new_of = np.full(parts.files[-1].stop, -1, np.int64)
    new_of[source_numbers] = np.arange(source_numbers.size)
    known = traces < new_of.size  # of these files
    traces, samples, words = traces[known], samples[known], words[known]
    new = new_of[traces]
    kept = np.flatnonzero(new >= 0)
    kept = kept[np.lexsort((samples[kept], new[kept]))]
    return new[kept], samples[kept], words[kept]


def rewritten_records(
    edition: Edition, first: int, records: np.ndarray
) -> Iterator[tuple[int, np.ndarray, Lost]]:
    """Yield the records of the new file for some of the source's that follow each other in it.

    Args:
        edition: The file.
        first: New number of the first record.
        records: The source's, uint8, shape (record, byte of the record).

    Yields:
        New number of a first record, bytes of some records, and what was lost of their samples.
    """
    source, fmt = edition.parts.fmt, edition.fmt
    step = max(1, _PIECE_BYTES // source.trace_bytes)

    def rewrite(start: int) -> tuple[int, np.ndarray, Lost]:
        piece = records[start : start + step]
        numbers = np.arange(first + start, first + start + len(piece))
        headers = trace_headers(
            piece[:, : source.trace_header_bytes],
            source,
            fmt,
            first_sample=edition.first_sample,
            own_words=edition.own_words,
            source_numbers=edition.source_numbers[numbers],
            target_numbers=numbers,
        )
        samples, lost = convert_samples(piece, source, fmt, edition.first_sample)
        return first + start, np.concatenate([headers, samples], axis=1).reshape(-1), lost

    starts = range(0, len(records), step)
    for group in range(0, len(starts), _MOST_PIECES):
        yield from on_chunks(rewrite, starts[group : group + _MOST_PIECES])


def notes_on(edition: Edition, lost: Lost) -> list[str]:
    """Return the notes on a file that was written."""
    source, fmt = edition.parts.fmt, edition.fmt
    notes = [
        f"{fmt.n_traces:,} of {source.n_traces:,} traces were written with {fmt.n_samples:,} samples each"
    ]
    if source.revision == SEISMIC_UNIX and fmt.first_trace_offset:
        notes.append("the textual and the binary header were made, because Seismic Unix has none")
    if edition.parts.of_copy:
        path = edition.parts.master.path
        about = edition.parts.volume.array_attributes(path)
        notes.append(
            f"the samples are those of {path}, not the source's: {about.get('long_name', 'a copy without loss')}"
        )
    name, total = fmt.sample_format.name, fmt.n_traces * fmt.n_samples
    if fmt.sample_format.code > 5 and not fmt.revision.startswith("2"):
        notes.append(
            f"samples of {name} are of rev 2, and the file says rev {fmt.revision} as its source does"
        )
    if lost.count:
        notes.append(
            f"{lost.count:,} of {total:,} samples are not exact as {name}; the farthest is off by {lost.farthest:g}"
        )
    if lost.nan:
        notes.append(f"{lost.nan:,} samples that are NaN were written as 0, for {name} has none")
    return notes

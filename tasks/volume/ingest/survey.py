"""Find format, index and grid of files with as few reads as their order allows.

A trace is about as long as a page, so looking at every header reads a whole file. Files whose headers
look like a full regular grid are therefore only sampled; of those that are sorted but not full, the ends of the lines
are looked for; and each header is compared when its block is read. Otherwise near files are scanned, while of far
ones only the sample is taken: their headers are collected when they are read, once, to be spilled.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.parameters import Index
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.prediction import field_values, predicted_grid
from tasks.volume.ingest.sampling import Sample, all_headers, sample_of
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.axis_domain import in_its_domain
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.geometry import Grid, grid_of
from tasks.volume.segy.header_counts import commonest, first_sample_ms, tallies_of
from tasks.volume.segy.index_detect import IndexChoice, choose_index
from tasks.volume.segy.overrides import override
from tasks.volume.segy.placement import XY, Placement, Word
from tasks.volume.segy.sample_guess import likelier_reading
from tasks.volume.segy.standards import SEISMIC_UNIX

# SEG-Y rev 1, bytes 29-30: time break, uphole, sweep, timing, water break, gun signatures, vibrator signals and
# pairs of times and velocities are no channels of the survey. The last two are rev 2's.
IDENTIFICATION = Word("trace_id_code", 29, "int16")
AUXILIARY = (4, 5, 6, 7, 8, 9, 10, 18, 19, 20, 21, 22)
AUXILIARY_REV_2 = (*AUXILIARY, 23, 24)
AUXILIARY_SU = AUXILIARY[:5]  # its codes from 9 on are others


@dataclass(frozen=True, eq=False)
class Survey:
    """Files and their geometry.

    Attributes:
        files: Files in order.
        placement: Rules that place traces.
        auxiliary: Trace identification codes of traces that have no cell; () where codes are not believed.
        grid: Position of each trace; None if only reading all files can tell.
        predicted: Whether `grid` is a guess from some headers, to be compared with each header when it is read.
        delay_ms: Time of the first sample, of most of the traces that were looked at.
        notes: Sentences on what was chosen and what is odd.
        before: Placement that earlier versions made from the same words, if it differs.
    """

    files: Files
    placement: Placement
    auxiliary: tuple[int, ...]
    grid: Grid | None
    predicted: bool
    delay_ms: float
    notes: tuple[str, ...] = ()
    before: Placement | None = None

    @property
    def fmt(self) -> FileFormat:
        """Return the format of the files."""
        return self.files.fmt

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return self.placement.dims

    @property
    def index_bytes(self) -> tuple[int, ...]:
        """First byte of each index word."""
        return tuple(word.byte for word in self.placement.words if word.byte)

    @property
    def coordinate_bytes(self) -> tuple[int, ...]:
        """First bytes of X and Y of the CDPs; () if no words hold them."""
        return tuple(coordinate.byte for coordinate in self.placement.coordinates if coordinate.name in XY)

    def index_json(self) -> dict[str, Any]:
        """Return a summary of the index."""
        short: dict[str, Any] = {
            "bytes": list(self.index_bytes),
            "types": [word.type for word in self.placement.words if word.byte],
            "names": list(self.names),
            "coordinate_bytes": list(self.coordinate_bytes),
        }
        types = [coordinate.type for coordinate in self.placement.coordinates if coordinate.name in XY]
        return short | ({"coordinate_types": types} if set(types) - {"int32"} else {})

    def placement_json(self) -> dict[str, Any]:
        """Return the placement of traces, for a plan."""
        return self.placement.to_json() | {"auxiliary": list(self.auxiliary)}

    def unpredicted(self, *, near: bool) -> "Survey":
        """Return the same files after a failed prediction: scanned if they are local, else without a grid."""
        grid = scan_grid(self) if near else None
        return replace(self, grid=grid, predicted=False)


def survey_files(files: Files, index: Index, *, near: bool, sample: Sample | None = None) -> Survey:
    """Survey files: their formats, their index and their grid.

    Args:
        files: All files, whose traces are numbered as one sequence.
        index: Index parameters of the user.
        near: Whether the files can be read whole at little cost.
        sample: Result of `sample_of`, where it was read before.

    Raises:
        InputRefused: A file cannot be read, or no index is found.
    """
    sample = sample or sample_of(files, near=near)
    try:
        return _survey(files, index, sample, near=near)
    except InputRefused as refusal:
        if refusal.flags or index.bytes in ("auto", "trace"):
            raise
        detected = index.model_copy(update={"bytes": "auto", "names": [], "types": []})
        try:
            _survey(files, detected, sample, near=near)
        except InputRefused:
            raise refusal from None
        raise InputRefused(f"{refusal}; other bytes do fit", flags="--index-bytes auto") from refusal


def _survey(files: Files, index: Index, sample: Sample, *, near: bool) -> Survey:
    """Return what files hold if they are indexed so, and refuse what cannot be."""
    fmt = files.fmt
    numbers, headers = sample.numbers, sample.headers
    if index.delay == "header":
        _refuse_other_delays(files, headers[:1])
    codes = field_values([IDENTIFICATION], headers, fmt.byte_order)[0]
    choice = _choose(files, headers, numbers, ~np.isin(codes, index.unplaced_codes), index)
    placement, domain_notes = in_its_domain(choice.placement, fmt, sample.samples, index)
    known_codes: tuple[int, ...] = AUXILIARY_REV_2 if fmt.revision.startswith("2") else AUXILIARY
    known_codes = AUXILIARY_SU if fmt.revision == SEISMIC_UNIX else known_codes
    # Where every trace has such a code it says nothing: somebody wrote a number there.
    auxiliary = known_codes if not np.isin(codes, known_codes).all() else ()
    auxiliary = tuple(dict.fromkeys((*auxiliary, *index.unplaced_codes)))
    survey = Survey(
        files=files,
        placement=placement,
        auxiliary=auxiliary,
        grid=None,
        predicted=False,
        delay_ms=placement.corrections.first_sample(commonest(tallies_of(headers, fmt), "delay")),
        notes=tuple(dict.fromkeys((*oddities(files, sample), *choice.notes, *domain_notes))),
        before=choice.before or (choice.placement if placement != choice.placement else None),
    )
    if not np.isin(codes, auxiliary).any() and (
        grid := predicted_grid(files, placement, numbers, headers, near=near)
    ):
        return replace(survey, grid=grid, predicted=True)
    return replace(survey, grid=scan_grid(survey)) if near else survey


def _choose(
    files: Files, headers: np.ndarray, numbers: np.ndarray, placed: np.ndarray, index: Index
) -> IndexChoice:
    """Choose the index by the traces that are to have a place."""
    n_traces = files.n_traces
    if not placed.all() and placed.any():
        whole = len(numbers) == n_traces
        headers, numbers = headers[placed], numbers[placed]
        # Of all traces those that are left count as a file of their own; of a sample nobody knows how many are.
        numbers, n_traces = (np.arange(len(headers)), len(headers)) if whole else (numbers, n_traces)
    ibm = files.fmt.sample_format.name == "ibm32"
    return choose_index(headers, numbers, n_traces, files.fmt.byte_order, index, ibm=ibm)


def oddities(files: Files, sample: Sample) -> list[str]:
    """Return warnings that do not depend on the index."""
    warnings = [note for file in files.formats for note in file.oddities]
    for entry in files.listed:
        if entry.part:
            first, count = entry.part[0]
            more = f" and {len(entry.part) - 1} more ranges" if len(entry.part) > 1 else ""
            warnings.append(
                f"Of {entry.url} this is a part: traces {first + 1:,} to {first + count:,}{more}."
            )
    likelier = likelier_reading(files.fmt, sample.samples)
    return [*warnings, likelier.sentence(files.fmt)] if likelier else warnings


def read_words(placement: Placement, headers: np.ndarray, byte_order: str) -> list[np.ndarray]:
    """Return index fields and, last, identification codes of some traces, from headers (uint8, (trace, byte))."""
    return field_values([*placement.words, IDENTIFICATION], headers, byte_order)


def grid_from_words(
    columns: list[np.ndarray], placement: Placement, auxiliary: tuple[int, ...], n_traces: int
) -> Grid:
    """Return the grid of all traces that are no auxiliary ones.

    Args:
        columns: Words of every trace from `read_words`; emptied, for they are large.
        placement: Rules that place traces by these words.
        auxiliary: Identification codes of traces that have no cell.
        n_traces: Number of traces of all files.

    Raises:
        InputRefused: The words hold no grid.
    """
    outside = np.isin(columns.pop(), auxiliary) if auxiliary else np.zeros(1, bool)
    numbers = None
    if outside.any():
        numbers = np.flatnonzero(~outside)
        columns[:] = [values[numbers] for values in columns]
    count = n_traces if numbers is None else len(numbers)
    if not count:
        raise InputRefused(
            f"all {n_traces:,} traces are auxiliary ones (byte 29); there is no survey to place"
        )
    named = dict(zip((word.name for word in placement.words), columns, strict=True))
    columns.clear()
    values = override(named, placement.dims, placement.overrides, count)
    places = [entry.byte for _, entry in placement.compared] if placement.direct else []
    return grid_of(values, placement.dims, index_bytes=places, numbers=numbers)


def scan_grid(survey: Survey) -> Grid:
    """Return the grid from every header of all files.

    Memory is that of the words, in their own types, and of the grid.
    """
    files = survey.files
    columns: list[np.ndarray] = []
    for first, headers in all_headers(files):
        words = read_words(survey.placement, headers, survey.fmt.byte_order)
        if not columns:
            columns = [np.empty(files.n_traces, values.dtype) for values in words]
        for column, values in zip(columns, words, strict=True):
            column[first : first + len(values)] = values
    return grid_from_words(columns, survey.placement, survey.auxiliary, files.n_traces)


def _refuse_other_delays(files: Files, first_header: np.ndarray) -> None:
    """Refuse files whose first traces begin at different times: one axis cannot say both."""
    others = [np.frombuffer(files.header(int(first)), np.uint8)[np.newaxis] for first in files.firsts[1:-1]]
    delays = [float(first_sample_ms(raw, files.fmt)[0]) for raw in (first_header, *others)]
    other = next((file for file, delay in enumerate(delays) if delay != delays[0]), 0)
    if other:
        raise InputRefused(
            f"{files.listed[other].url} begins at {delays[other]:g} ms (byte 109) and not at {delays[0]:g} ms as "
            f"{files.listed[0].url} does; ingest files that differ separately"
        )

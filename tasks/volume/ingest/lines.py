"""The 2-D lines of a source: which traces belong to each, so that each becomes a volume of its own."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from tasks.parameters import Index
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.parts import Runs, as_text, runs_of
from tasks.volume.ingest.sampling import all_headers
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.field_types import number_type
from tasks.volume.segy.headers import word
from tasks.volume.segy.index_detect import choose_index
from tasks.volume.segy.line_detect import SeveralLines


@dataclass(frozen=True)
class SourceLine:
    """One line: its name, which names its volume too, and its traces."""

    name: str
    runs: Runs

    def to_json(self) -> dict[str, Any]:
        """Return plain values, with the traces as the parameter has them."""
        return {"name": self.name, "traces": as_text(self.runs), "count": sum(n for _, n in self.runs)}


def lines_of(files: Files, index: Index) -> list[SourceLine]:
    """Return the lines of a source, from every header of its files.

    Several files are a line each, unless index bytes are named. In one file lines are told apart by the first index
    byte, or by the field that numbers them where coordinates show that there are several.

    Args:
        files: Whole ones.
        index: Index parameters of the user.

    Raises:
        InputRefused: No header field numbers lines.
    """
    if len(files.listed) > 1 and index.bytes == "auto":
        return _one_each(files)
    headers = np.concatenate([part for _, part in all_headers(files)])
    byte, kind = _line_field(files, headers, index)
    values = word(headers, byte, kind, files.fmt.byte_order).astype(np.int64)
    numbers = np.arange(files.n_traces)
    lines = [SourceLine(f"line_{value}", runs_of(numbers[values == value])) for value in np.unique(values)]
    if len(lines) < 2 or len(lines) > files.n_traces // 2:
        raise InputRefused(
            f"byte {byte} of {files.name} has {len(lines):,} values in {files.n_traces:,} traces, so it does not "
            "number lines; name the field that does, and the CDP after it, such as --index-bytes 9,21"
        )
    return lines


def index_of_line(index: Index, line: dict[str, Any]) -> Index:
    """Return how one line is indexed: as the whole, without the field that numbers lines.

    Args:
        index: Index parameters of the whole file, with `split`.
        line: Line in the form of `SourceLine.to_json`.
    """
    update: dict[str, Any] = {"traces": line["traces"]}
    _, comma, rest = index.bytes.partition(",")
    if comma:
        update |= {"bytes": rest, "names": index.names[1:], "types": index.types[1:]}
    elif index.bytes not in ("auto", "trace"):
        update |= {"bytes": "auto", "names": [], "types": []}
    return index.model_copy(update=update)


def _one_each(files: Files) -> list[SourceLine]:
    names = [PurePosixPath(file.url).stem for file in files.listed]
    if len(set(names)) < len(names):
        names = [f"line_{number}" for number in range(1, len(names) + 1)]
    firsts = files.firsts.tolist()
    return [
        SourceLine(name, ((first, after - first),))
        for name, first, after in zip(names, firsts[:-1], firsts[1:], strict=True)
    ]


def _line_field(files: Files, headers: np.ndarray, index: Index) -> tuple[int, str]:
    """Return the first byte and type of the field that numbers lines."""
    order = files.fmt.byte_order
    if index.bytes not in ("auto", "trace"):
        byte = int(index.bytes.partition(",")[0])
        return byte, index.types[0] if index.types else number_type(headers, byte, order)
    ibm = files.fmt.sample_format.name == "ibm32"
    whole = index.model_copy(update={"split": "no"})
    try:
        choice = choose_index(headers, np.arange(len(headers)), files.n_traces, order, whole, ibm=ibm)
    except SeveralLines as lines:
        return lines.field
    raise InputRefused(
        f"{files.name} is not a set of 2-D lines but {choice.placement.template} ({choice.notes[0].rstrip('.')}); if "
        "it holds lines, name as index the field that numbers them, and the CDP after it; to publish it whole",
        flags="--split no",
    )

"""The index chosen for a file: the placement of its traces, and the reasons."""

from dataclasses import dataclass, field

from tasks.volume.segy.index_score import Candidate
from tasks.volume.segy.placement import XY, Placement


@dataclass(frozen=True)
class IndexChoice:
    """The index of a file: the placement of its traces, and the reasons.

    `notes` are sentences on the choice and its reasons; `candidates` are the judged indexes, empty if the user named
    the fields. `before` is the placement by the same fields read as int32, as earlier versions did; None if the same.
    """

    placement: Placement
    notes: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)
    before: Placement | None = field(default=None, repr=False)

    @property
    def bytes(self) -> tuple[int, ...]:
        """Return the first byte of each index field."""
        return tuple(word.byte for word in self.placement.words)

    @property
    def types(self) -> tuple[str, ...]:
        """Return the type of each index field."""
        return tuple(word.type for word in self.placement.words)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return self.placement.dims

    @property
    def coordinate_bytes(self) -> tuple[int, ...]:
        """Return the first bytes of X and Y of the CDPs; () if no fields hold them."""
        return tuple(coordinate.byte for coordinate in self.placement.coordinates if coordinate.name in XY)

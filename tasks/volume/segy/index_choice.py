"""The index of a file as it was chosen: where its traces go, and why."""

from dataclasses import dataclass, field

from tasks.volume.segy.index_score import Candidate
from tasks.volume.segy.placement import XY, Placement


@dataclass(frozen=True)
class IndexChoice:
    """The index of a file: where its traces go, and why.

    `notes` are sentences on what was chosen and why; `candidates` is what was judged, empty if the user named the
    words. `before` is what earlier versions, which read every field as int32, made of the same words; None if the same.
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
        """Type of each."""
        return tuple(word.type for word in self.placement.words)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return self.placement.dims

    @property
    def coordinate_bytes(self) -> tuple[int, ...]:
        """First bytes of X and Y of the CDPs; () if no words hold them."""
        return tuple(coordinate.byte for coordinate in self.placement.coordinates if coordinate.name in XY)

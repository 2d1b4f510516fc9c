"""The grid of a volume, with the names of MDIO's API."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.outcomes import InputRefused


@dataclass(frozen=True, eq=False)
class GridDimension:
    """One dimension: its name and its coordinates."""

    name: str
    coords: np.ndarray

    @property
    def size(self) -> int:
        """Return the number of coordinates."""
        return int(self.coords.size)

    def min(self) -> Any:
        """Return the least coordinate."""
        return self.coords.min()

    def max(self) -> Any:
        """Return the greatest coordinate."""
        return self.coords.max()

    def positions(self, wanted: Any) -> np.ndarray:
        """Return the positions of coordinates, counted from 0.

        Raises:
            InputRefused: There is no such coordinate.
        """
        queries = np.atleast_1d(np.asarray(wanted))
        order = np.argsort(self.coords)
        places = np.minimum(np.searchsorted(self.coords, queries, sorter=order), self.size - 1)
        matches = order[places]
        missing = self.coords[matches] != queries
        if missing.any():
            raise InputRefused(
                f"{self.name} has no {queries[missing][0]}; it goes from {self.min()} to {self.max()}"
            )
        return matches


@dataclass(frozen=True, eq=False)
class VolumeGrid:
    """The dimensions of a volume, the samples last."""

    dims: tuple[GridDimension, ...]

    @property
    def dim_names(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return tuple(dim.name for dim in self.dims)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the extents."""
        return tuple(dim.size for dim in self.dims)

    @property
    def ndim(self) -> int:
        """Return the number of dimensions."""
        return len(self.dims)

    def select_dim(self, name: str) -> GridDimension:
        """Return a dimension by its name.

        Raises:
            InputRefused: The grid has no such dimension.
        """
        for dim in self.dims:
            if dim.name == name:
                return dim
        raise InputRefused(f"there is no dimension {name}; there are {', '.join(self.dim_names)}")

    def get_min(self, name: str) -> Any:
        """Return the least coordinate of a dimension."""
        return self.select_dim(name).min()

    def get_max(self, name: str) -> Any:
        """Return the greatest coordinate of a dimension."""
        return self.select_dim(name).max()

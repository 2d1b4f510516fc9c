"""Add `ds.seismill` to datasets: headers, exports and thumbnails of their volume, with the names of MDIO's reader.

Code that writes is imported when it is called, because importing kernels takes longer than opening a volume.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray

from tasks.dataset.grid import GridDimension, VolumeGrid
from tasks.dataset.ground import along, as_numbers, line_dims, line_positions, survey_map
from tasks.dataset.opened import TRACE_MASK, Opened
from tasks.dataset.thumbnails import thumbnail
from tasks.dataset.variables import answer_to
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.affine import Affine

ENCODED = "seismill"  # where a dataset's encoding holds what it was opened from
FILE_HEADER = "segy_file_header"
STATISTICS = ("mean", "std", "rms", "min", "max", "count", "nonfinite_count", "zero_count")


@xarray.register_dataset_accessor("seismill")
class SeismillAccessor:
    """The volume behind a dataset that `engine="seismill"` opened, or behind a selection of it.

    `shape`, `n_dim`, `live_mask`, item access, `line` and `gather` refer to the selection. Headers, statistics,
    `grid` and `trace_count` refer to the whole volume.
    """

    def __init__(self, dataset: xarray.Dataset) -> None:
        """Take the dataset."""
        self._dataset = dataset

    @cached_property
    def _opened(self) -> Opened:
        opened: Any = self._dataset.encoding.get(ENCODED)
        if not isinstance(opened, Opened):
            raise InputRefused(
                "this dataset does not name its volume; use the dataset that "
                'xarray.open_dataset(url, engine="seismill") returned, or a selection of it'
            )
        return opened

    @cached_property
    def _finest(self) -> Opened:
        opened = self._opened
        return opened if opened.level == 0 else opened.at_level(0, opened.max_error)

    @property
    def _samples(self) -> xarray.DataArray:
        return self._dataset[self._opened.name]

    @property
    def url(self) -> str:
        """Return the volume's address."""
        return self._opened.where

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the extents of the samples."""
        return tuple(self._samples.shape)

    @property
    def n_dim(self) -> int:
        """Return the number of dimensions of the samples."""
        return self._samples.ndim

    @property
    def chunks(self) -> tuple[int, ...]:
        """Return the extents of a chunk of the master, or of this level."""
        return self._opened.candidates[0].spec.chunks

    @property
    def live_mask(self) -> np.ndarray:
        """Return which traces exist, bool.

        Raises:
            InputRefused: The volume has no traces.
        """
        if TRACE_MASK not in self._dataset:
            raise InputRefused(
                f"this dataset of {self.url} has no {TRACE_MASK}; only volumes made from SEG-Y have"
            )
        return self._dataset[TRACE_MASK].values

    @property
    def trace_count(self) -> int:
        """Return the number of traces of the volume."""
        attributes = self._finest.volume.array_attributes(self._finest.array)
        if "live_traces" not in attributes:
            raise InputRefused(f"{self.url} has no traces; only volumes made from SEG-Y have them")
        return int(attributes["live_traces"])

    @property
    def stats(self) -> dict[str, float]:
        """Return statistics of the volume's live samples: mean, std, rms, min, max and counts."""
        attributes = self._finest.volume.array_attributes(self._finest.array)
        return {name: attributes[name] for name in STATISTICS if name in attributes}

    @property
    def text_header(self) -> list[str]:
        """Return the 40 lines of the first source's textual header."""
        return str(self._file_header["textHeader"]).split("\n")

    @property
    def binary_header(self) -> dict[str, int]:
        """Return the fields of the first source's binary header by MDIO's names."""
        return dict(self._file_header["binaryHeader"])

    @property
    def grid(self) -> VolumeGrid:
        """Return the dimensions of the volume with their coordinates."""
        return VolumeGrid(tuple(GridDimension(dim, values) for dim, values in self._finest.labels.items()))

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return samples by position, as NumPy indexes them; several lists choose where they cross."""
        return self._samples[key].values

    def coord_to_index(self, *args: Any, dimensions: str | Sequence[str] | None = None) -> Any:
        """Return the positions of coordinates, counted from 0.

        Args:
            *args: Coordinates, a number or a list for each dimension.
            dimensions: Names of the dimensions; all of the volume's if not given.

        Returns:
            An array for each dimension; of a single one the array itself.

        Raises:
            InputRefused: A coordinate does not exist, or there are not as many as dimensions.
        """
        grid = self.grid
        names = [dimensions] if isinstance(dimensions, str) else list(dimensions or grid.dim_names)
        if len(args) != len(names):
            raise InputRefused(
                f"coordinates are given for {len(args)} dimensions; give them for {', '.join(names)}"
            )
        indices = tuple(
            grid.select_dim(name).positions(wanted) for name, wanted in zip(names, args, strict=True)
        )
        return indices if len(indices) > 1 else indices[0]

    def trace_header(self, *, raw: bool = False, **labels: float) -> dict[str, int] | bytes:
        """Return the header of one trace, by the names of its fields.

        Args:
            raw: Return the 240 bytes as the source has them instead.
            **labels: The trace's coordinate along each dimension, such as inline=111, crossline=875.

        Raises:
            InputRefused: There is no such trace, or the volume was not made from SEG-Y.
        """
        from tasks.dataset.handover import trace_header

        return trace_header(self._finest, self.grid, labels, raw=raw)

    @cached_property
    def _map(self) -> Affine:
        return survey_map(self._finest)

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return the inline and crossline of X and Y, with fractions between traces; numbers or arrays.

        Raises:
            InputRefused: The volume has no coordinates, or they are no affine function of its line numbers.
        """
        return as_numbers(self._map.at_xy(x, y))

    def xy(self, inline: Any, crossline: Any) -> tuple[Any, Any]:
        """Return X and Y of an inline and crossline, which may lie between traces; the inverse of `at`."""
        return as_numbers(self._map.xy(inline, crossline))

    def line(self, points: Sequence[Sequence[float]], *, xy: bool = False) -> xarray.Dataset:
        """Return the traces along a line through the survey, each the nearest one, with the distance on the ground.

        Args:
            points: Corners of the line: pairs of inline and crossline.
            xy: The pairs are X and Y.

        Returns:
            The dataset along the dimension `trace`; nothing is read yet. `distance` is left out where `at` is refused.

        Raises:
            InputRefused: The line leaves this dataset, or that has no inlines and crosslines.
        """
        dims = line_dims(self._opened)
        if not set(dims) <= set(self._dataset.dims):
            raise InputRefused(
                f"this selection lacks a dimension of {' and '.join(dims)}; draw the line before you select"
            )
        labels = {dim: self._dataset[dim].values for dim in dims}
        places = line_positions(labels, points, self._map if xy else None, self.url)
        chosen = self._dataset.isel(
            {dim: xarray.DataArray(where, dims="trace") for dim, where in places.items()}
        )
        try:
            distance = along(self._map, *(labels[dim][places[dim]] for dim in dims))
        except InputRefused:
            return chosen
        unit = self._dataset["cdp_x"].attrs.get("units", "") if "cdp_x" in self._dataset else ""
        about = {"long_name": "Distance along the line"} | ({"units": unit} if unit else {})
        return chosen.assign_coords(distance=("trace", distance, about))

    def gather(self, **labels: float) -> xarray.DataArray:
        """Return the samples at some coordinates; along the last remaining trace dimension, only live ones.

        Raises:
            InputRefused: There is no such coordinate.
        """
        for dim, label in labels.items():
            if dim not in self._dataset.dims:
                raise InputRefused(
                    f"there is no dimension {dim}; there are {', '.join(map(str, self._samples.dims))}"
                )
            GridDimension(dim, self._dataset[dim].values).positions(label)
        chosen = self._samples.sel(labels)
        left = [dim for dim in chosen.dims[:-1]]
        if len(left) != 1 or TRACE_MASK not in self._dataset:
            return chosen
        return chosen.isel({left[0]: np.flatnonzero(self._dataset[TRACE_MASK].sel(labels).values)})

    def thumbnail(self, dim: str = "", label: float | None = None, size: int = 256) -> np.ndarray:
        """Return a small picture of a slice as RGBA: greys, clipped at the 99th percentile, transparent without traces.

        Args:
            dim: The dimension that the slice is across; the first if not given.
            label: Coordinate of the slice, the nearest is taken; the middle if not given.
            size: Most pixels along each side.

        Returns:
            uint8 of shape (height, width, 4), time and depth downwards.

        Raises:
            InputRefused: There is no such dimension.
        """
        opened = self._opened
        return thumbnail(opened, dim or (opened.dims[0] if len(opened.dims) > 2 else ""), label, size)

    def answered_by(self, **labels: Any) -> dict[str, Any]:
        """Return the stored array that answers a selection of this level, and the cost of reading it.

        The labels are coordinates, lists or slices of them, as `sel` takes them.
        """
        return answer_to(self._opened, labels)

    def export_segy(
        self,
        target: str,
        *,
        mask: np.ndarray | None = None,
        sample_format: Literal["source", "ibm32", "float32", "float64"] = "source",
        endian: Literal["source", "big", "little"] = "source",
        order: Literal["source", "grid"] = "source",
        overwrite: bool = False,
    ) -> dict[str, Any]:
        """Write SEG-Y: the whole volume, or the traces and samples that this dataset selects.

        The samples are the volume's, not what was calculated in the dataset.

        Args:
            target: The file to write, local or in a cloud.
            mask: Traces to write, bool of the shape of the volume's grid; all if not given.
            sample_format: Sample format of the file.
            endian: Byte order of headers and samples.
            order: Order of the traces.
            overwrite: Replace an existing file.

        Returns:
            The summary: `target`, `bytes`, `crc32c` and, if the whole source is written unchanged, `identical`.

        Raises:
            InputRefused: The dataset is a coarser level, or does not cover one range of each coordinate.
            DestinationRefused: The target exists already.
        """
        from tasks.dataset.handover import written

        form = {"sample_format": sample_format, "endian": endian, "order": order}
        return written(self._dataset, self._opened, str(target), mask, form, overwrite=overwrite)

    def copy(
        self, target: str, includes: Sequence[str] = (), excludes: Sequence[str] = (), overwrite: bool = False
    ) -> dict[str, Any]:
        """Copy the volume to another URL; arguments as for `tasks.copy.copy`."""
        from tasks.dataset.handover import copied

        return copied(self._opened, str(target), includes, excludes, overwrite=overwrite)

    @property
    def _file_header(self) -> Mapping[str, Any]:
        volume = self._opened.volume
        if not volume.has(FILE_HEADER):
            raise InputRefused(
                f"{self.url} has no textual and binary header; only volumes made from SEG-Y have"
            )
        return volume.array_attributes(FILE_HEADER)

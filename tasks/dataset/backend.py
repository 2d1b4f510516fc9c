"""The engine: `xarray.open_dataset(url, engine="seismill")`."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import xarray
from pydantic import ValidationError
from xarray.backends import BackendEntrypoint
from xarray.core.indexing import LazilyIndexedArray

from tasks.dataset import accessor as accessor  # registers ds.seismill
from tasks.dataset.arrays import LazyArray
from tasks.dataset.opened import Opened, level_of
from tasks.dataset.variables import (
    HEADERS,
    answer_attributes,
    attributes_of,
    coordinate_names,
    dataset_attributes,
    header_attributes,
    header_fields,
    is_masked,
    stored_arrays,
)
from tasks.parameters import StorageOptions
from tasks.volume.arrays.mdio_v0 import DOCUMENT, MdioV0
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import TRACE_HEADER_DTYPE
from tasks.volume.store.objects import Store

READING_OPTIONS = ("endpoint_url", "region_name", "requester_pays", "account_name", "project", "anonymous")


class SeismillBackend(BackendEntrypoint):
    """Opens volumes that Seismill made."""

    description = "Open seismic and image volumes made by Seismill"
    url = ""
    supports_groups = False

    def open_dataset(  # type: ignore[override]  # what is not an address is refused
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Collection[str] | None = None,
        mask_and_scale: bool = True,
        max_error: float = 0.0,
        headers: Collection[str] | str = (),
        level: int = 0,
        max_samples: int = 0,
        copies: bool = False,
        storage_options: Mapping[str, Any] | StorageOptions | None = None,
    ) -> xarray.Dataset:
        """Open a level of a volume; samples are read when they are needed.

        Args:
            filename_or_obj: Address of the volume: a local path, s3://, gs:// or az://.
            drop_variables: Names of variables to leave out.
            mask_and_scale: Set samples without a trace to NaN. False: values and types as they are stored.
            max_error: Largest error of a sample that is accepted. 0: lossless.
            headers: Fields of the trace headers that become variables, or "all".
            level: Number of the level; 0 is the finest, -1 the coarsest.
            max_samples: Open the finest level of at most so many samples, instead of `level`.
            copies: Make a variable of each copy as well.
            storage_options: Non-secret options of the store; credentials come from the environment.

        Returns:
            The dataset. `answered_by` of the samples names the stored array for each kind of request.

        Raises:
            InputRefused: The place holds no volume, or the volume lacks a requested part.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            raise InputRefused("a volume is opened by its address; give a path or a URL")
        store = Store(os.fspath(filename_or_obj), options_of(storage_options))
        volume = opened_volume(store)
        opened = Opened(volume, level_of(volume, level, max_samples), max_error, mask_and_scale)
        dropped = {drop_variables} if isinstance(drop_variables, str) else set(drop_variables or ())
        dataset = _dataset(opened, headers, dropped, copies=copies)
        dataset.encoding = {"source": volume.store.url, accessor.ENCODED: opened}
        return dataset

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Return False: other engines open Zarr groups, too, so this engine must be named."""
        return False


def opened_volume(store: Store) -> Volume:
    """Open a volume of Seismill, levels and copies of another tool's array, or a volume of multidimio 0.8.

    Raises:
        InputRefused: The place holds no volume.
    """
    try:
        return open_any(store)
    except InputRefused:
        if not store.exists(DOCUMENT):
            raise
        return MdioV0(store.location, store.options).as_volume()


def options_of(given: Mapping[str, Any] | StorageOptions | None) -> StorageOptions:
    """Return storage options, given as such or as a dictionary in the form of fsspec.

    Raises:
        InputRefused: An option is unknown or secret; its value is not repeated.
    """
    if given is None or isinstance(given, StorageOptions):
        return given or StorageOptions()
    flat = {k: v for k, v in given.items() if k != "client_kwargs"} | dict(given.get("client_kwargs", {}))
    unknown = sorted(set(flat) - set(READING_OPTIONS))
    if unknown:
        raise InputRefused(
            f"storage_options has {', '.join(unknown)}; it takes {', '.join(READING_OPTIONS)}, and credentials come "
            "from the environment"
        )
    try:
        return StorageOptions(**flat)
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
        raise InputRefused(
            f"storage_options has an invalid value for {names}; look at seismill info --help"
        ) from None


def _dataset(
    opened: Opened, headers: Collection[str] | str, dropped: set[str], *, copies: bool
) -> xarray.Dataset:
    variables: dict[str, xarray.Variable] = {}
    for dim, values in opened.labels.items():
        variables[dim] = xarray.Variable((dim,), values, attributes_of(opened, opened.path(dim), dim))
    samples = opened.candidates[0].spec
    others = [spec for spec in stored_arrays(opened, copies=copies) if _name(spec) not in opened.labels]
    for spec in [samples, *others]:
        name = opened.name if spec is samples else _name(spec)
        if spec is samples:
            dtype = opened.samples_dtype
        elif is_masked(name):
            dtype = spec.numpy.newbyteorder("=")
        else:
            dtype = opened.reading_dtype(spec.dims, spec.numpy)
        variables[name] = _lazy(opened, spec, dtype, attributes_of(opened, spec.path, name))
    variables[opened.name].attrs.update(answer_attributes(opened))
    for name, field in header_fields(opened, headers, variables).items():
        spec = opened.volume.spec(opened.path(HEADERS))
        dtype = opened.reading_dtype(spec.dims, TRACE_HEADER_DTYPE[field])
        variables[name] = _lazy(opened, spec, dtype, header_attributes(field), field)
    kept = {name: variable for name, variable in variables.items() if name not in dropped}
    names = coordinate_names(opened)
    return xarray.Dataset(
        {name: variable for name, variable in kept.items() if name not in names},
        {name: variable for name, variable in kept.items() if name in names},
        dataset_attributes(opened),
    )


def _name(spec: ArraySpec) -> str:
    return spec.path.rpartition("/")[2]


def _lazy(
    opened: Opened, spec: ArraySpec, dtype: np.dtype[Any], attributes: dict[str, Any], field: str = ""
) -> xarray.Variable:
    chunks = {dim: min(u, n) for dim, u, n in zip(spec.dims, spec.unit, spec.shape, strict=True)}
    array = LazilyIndexedArray(LazyArray(opened, spec.path, dtype, field))
    return xarray.Variable(spec.dims, array, attributes, {"preferred_chunks": chunks})

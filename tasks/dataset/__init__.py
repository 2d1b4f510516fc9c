"""A volume as an xarray Dataset; the only page of the project that knows xarray."""

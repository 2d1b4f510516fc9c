"""A volume as an xarray Dataset; the only package of the project that imports xarray."""

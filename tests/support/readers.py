"""What other people's tools find in a volume; each function runs in a process of its own.

There this project cannot be imported and warnings are errors. The functions import what they need themselves, because
only their source travels. What they raise fails the test; what they must find travels as an .npz.
"""

import inspect
import subprocess
import sys
import sysconfig
from collections.abc import Callable

PRELUDE = """
import importlib.util, sys, warnings
sys.path += {paths!r}
assert not any(map(importlib.util.find_spec, ("tasks", "flows", "seismill"))), "this project can be imported"
warnings.simplefilter("error")
# ZFP has no codec of its own in the Zarr v3 core; every reader named in the README knows numcodecs' one.
warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3 specification")
"""


def elsewhere(reader: Callable[..., None], *arguments: object, python: str = "", prelude: str = "") -> None:
    """Run `reader` in a process that cannot import this project, and fail with what it says if it fails."""
    paths: list[str] = []
    command = [python, "-I"]
    if not python:
        # Without `site` the .pth of an editable install is not read; site-packages is then a folder like any other.
        command = [sys.executable, "-I", "-S"]
        paths = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    source = PRELUDE.format(paths=paths) + prelude + inspect.getsource(reader)
    call = f"\n{reader.__name__}(*{[str(argument) for argument in arguments]!r})"
    run = subprocess.run(
        [*command, "-c", source + call], cwd="/", capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


def read_with_zarr(volume: str, truth_file: str, vertical: str) -> None:
    """The master, every header and every axis; with and without consolidated metadata, and arrays alone."""
    import numpy as np
    import zarr

    truth = np.load(truth_file)

    def check(array_of):
        values, live = array_of("amplitude")[...], array_of("trace_mask")[...]
        assert values.dtype == np.float32
        np.testing.assert_array_equal(live, truth["live"])
        np.testing.assert_array_equal(values.view(np.uint32)[live], truth["samples"].view(np.uint32)[live])
        assert np.isnan(values[~live]).all()
        headers = array_of("headers")[...]
        assert headers.dtype == truth["headers"].dtype
        for name in headers.dtype.names:
            np.testing.assert_array_equal(headers[name], truth["headers"][name], name)
        raw = np.frombuffer(array_of("raw_headers")[...].tobytes(), np.uint8)
        np.testing.assert_array_equal(raw.reshape(truth["raw_headers"].shape), truth["raw_headers"])
        names = {"inline": "inline", "crossline": "crossline", vertical: "vertical"}
        for name, true_name in (names | {n: n for n in ("cdp_x", "cdp_y", "trace_number")}).items():
            np.testing.assert_allclose(array_of(name)[...], truth[true_name], rtol=1e-15)

    for consolidated in (True, False):
        check(zarr.open_group(volume, mode="r", use_consolidated=consolidated).__getitem__)
    check(lambda name: zarr.open_array(f"{volume}/{name}", mode="r"))
    # A walk over stored keys says of everything below .seismill that it is no part of the hierarchy, which is so.
    warnings.filterwarnings("ignore", "Object at .* is not recognized as a component of a Zarr hierarchy")  # noqa: F821
    walked = dict(zarr.open_group(volume, mode="r", use_consolidated=False).members(max_depth=None))
    listed = dict(zarr.open_group(volume, mode="r", use_consolidated=True).members(max_depth=None))
    assert set(walked) - {".seismill"} == set(listed)
    for name, member in listed.items():
        assert dict(member.attrs) == dict(walked[name].attrs), name


def read_copies(volume: str, truth_file: str) -> None:
    """Each copy is within its tolerance, and its error is the one its attributes give."""
    import numpy as np
    import zarr

    truth = np.load(truth_file)
    group = zarr.open_group(volume, mode="r")
    copies = {name: array for name, array in group.arrays() if "copy_of" in array.attrs}
    assert len(copies) == 4
    finite = np.isfinite(truth["samples"])
    for name, copy in copies.items():
        values = copy[...]
        assert np.isfinite(values).all()
        # They are encoded as 0 beside others, and may be off as much.
        assert np.abs(values[~finite]).max() <= copy.attrs["tolerance"], name
        errors = np.abs(values[finite].astype(np.float64) - truth["samples"][finite])
        attributes = copy.attrs
        assert 0 < errors.max() <= attributes["tolerance"], name
        assert errors.max() == attributes["max_abs_error"]
        np.testing.assert_allclose(np.sqrt(np.mean(errors**2)), attributes["rmse"], rtol=1e-12)
        std = truth["samples"][finite].astype(np.float64).std()
        assert 20 * np.log10(std / attributes["rmse"]) >= 40, name
        assert attributes["nonfinite_count"] == (~finite & truth["live"][..., None]).sum()


def read_with_xarray(volume: str, truth_file: str, vertical: str) -> None:
    """Labels select the samples they name, in the master and in a coarser level."""
    import numpy as np
    import xarray

    truth = np.load(truth_file)
    for consolidated in (True, False):
        volume_opened = xarray.open_zarr(volume, consolidated=consolidated)
        amplitude = volume_opened["amplitude"]
        assert amplitude.dims == ("inline", "crossline", vertical)
        assert set(amplitude.coords) == {"inline", "crossline", vertical, "cdp_x", "cdp_y"}
        np.testing.assert_array_equal(amplitude.values, truth["samples"])
    at = tuple(np.argwhere(truth["live"])[-1])
    labels = {"inline": truth["inline"][at[0]], "crossline": truth["crossline"][at[1]]}
    trace = amplitude.sel({**labels, vertical: slice(truth["vertical"][3], truth["vertical"][20])})
    np.testing.assert_array_equal(trace.values, truth["samples"][at][3:21])
    np.testing.assert_allclose(float(trace.cdp_x), truth["cdp_x"][at], rtol=1e-15)

    level = xarray.open_zarr(volume, group="pyramid/1", consolidated=False)["amplitude"]
    padded = np.pad(
        truth["samples"].astype(np.float64), [(0, n % 2) for n in amplitude.shape], constant_values=np.nan
    )
    cells = padded.reshape([m for n in padded.shape for m in (n // 2, 2)])
    with np.errstate(invalid="ignore"):
        counts = (~np.isnan(cells)).sum(axis=(1, 3, 5))
        means = np.nansum(cells, axis=(1, 3, 5)) / counts
    np.testing.assert_allclose(level.values, means, rtol=1e-6, atol=1e-3)
    for dim, name in zip(level.dims, ("inline", "crossline", "vertical"), strict=True):
        step = truth[name][1] - truth[name][0]
        np.testing.assert_allclose(level[dim], truth[name][::2] + step / 2)


def read_with_mdio(volume: str, truth_file: str, vertical: str) -> None:
    """Variables, attributes and statistics are what multidimio takes for its own."""
    import mdio
    import numpy as np
    from mdio.builder.schemas.v1.dataset import DatasetMetadata
    from mdio.builder.schemas.v1.stats import SummaryStatistics

    assert mdio.__version__ == "1.1.3"
    truth = np.load(truth_file)
    opened = mdio.open_mdio(volume)
    amplitude = opened[opened.attrs["attributes"]["defaultVariableName"]]
    assert amplitude.dims == ("inline", "crossline", vertical)
    np.testing.assert_array_equal(amplitude.values, truth["samples"])
    np.testing.assert_array_equal(opened["trace_mask"].values, truth["live"])
    np.testing.assert_array_equal(opened["headers"].values, truth["headers"])
    for name in ("cdp_x", "cdp_y", "inline", "crossline"):
        np.testing.assert_allclose(opened[name].values, truth[name], rtol=1e-15)
    np.testing.assert_array_equal(opened[vertical].values, truth["vertical"])
    for name in ("fast_inline", "fast_crossline", f"fast_{vertical}"):
        copy = opened[name].values
        finite = np.isfinite(truth["samples"])
        assert np.abs(copy[finite] - truth["samples"][finite]).max() <= opened[name].attrs["tolerance"]
    known = {k: v for k, v in opened.attrs.items() if k not in ("ome", "seismill")}
    DatasetMetadata.model_validate(known)
    stats = SummaryStatistics.model_validate_json(amplitude.attrs["statsV1"])
    finite = truth["samples"][np.isfinite(truth["samples"])].astype(np.float64)
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    np.testing.assert_allclose(stats.std, finite.std(), rtol=1e-6)


def export_with_mdio(volume: str, target: str, sample_format: str) -> None:
    """A SEG-Y written by multidimio after the rev 1 specification."""
    import mdio
    from segy.standards import get_segy_standard

    specification = get_segy_standard(1.0)
    # It encodes samples as the specification says, IBM if it is left alone, whatever the binary header says.
    specification.trace.data.format = {"1": "ibm32", "5": "float32"}[sample_format]
    mdio.mdio_to_segy(specification, volume, target)

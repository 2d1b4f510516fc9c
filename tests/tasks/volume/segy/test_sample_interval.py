"""The sample interval of a file: which field holds it, and whether it can be one."""

import pytest

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import Given, read_format
from tasks.volume.segy.sample_interval import is_negative


@pytest.mark.parametrize("value", [-1, -32, -500, -1000, -2000, -4000, -12_500, -32_000])
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("place", ["binary", "trace"])
def test_a_negative_interval_is_refused_with_the_option_that_says_it(segy, source, value, order, place):
    binary, trace = (value, 4000) if place == "binary" else (0, value)
    content = segy(order=order, binary={(3217, "h"): binary}, traces={(117, "h"): trace})
    byte = {"binary": 3217, "trace": 117}[place]
    with pytest.raises(InputRefused) as caught:
        read_format(source(content))
    sentence = f"negative sample interval, {value} (byte {byte})"
    assert sentence in str(caught.value)
    assert f"--sample-interval {-value / 1000:g}" in str(caught.value)
    assert read_format(source(content), Given(interval_us=-value)).sample_interval_us == -value


@pytest.mark.parametrize("value", [32_768, 33_333, 40_000, 50_000, 60_000, 65_000, 62_500])
def test_long_intervals_are_no_negative_ones(segy, source, value):
    assert not is_negative(value)
    found = read_format(source(segy(binary={(3217, "H"): value}, traces={(117, "H"): value})))
    assert (found.sample_interval_us, found.oddities) == (float(value), ())


@pytest.mark.parametrize("given", [0.0, 0.5, 2000.0, 62.5, 3048.0])
def test_a_said_interval_overrides_every_field(segy, source, given):
    words = {(3217, "H"): 4000, (3273, "d"): 1000.0}
    found = read_format(source(segy(revision=b"\2\1", binary=words)), Given(interval_us=given))
    assert (found.sample_interval_us, found.oddities) == (given, ())

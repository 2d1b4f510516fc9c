"""Samples that look otherwise than the file says are told; samples that may be what it says are not."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from tasks.volume.segy.format import FileFormat, read_format
from tasks.volume.segy.sample_guess import likelier_reading
from tasks.volume.segy.standards import SAMPLE_FORMATS
from tasks.volume.store.objects import Source
from tests.support.segy_maker import ibm_of, segy_bytes
from tests.support.survey import ibm_values

RNG = np.random.default_rng(11)


def wavelets(scale: float) -> np.ndarray:
    """A few traces of band-limited noise, with a dead one."""
    noise = RNG.normal(0, 1, (12, 800))
    smooth = np.apply_along_axis(lambda trace: np.convolve(trace, np.hanning(9), "same"), 1, noise)
    smooth[5] = 0
    return (scale * smooth).astype(np.float32)


DATA = {
    "amplitudes": wavelets(3000.0),
    "small amplitudes": wavelets(2e-7),
    "tiny amplitudes": wavelets(3e-25),
    "large amplitudes": wavelets(4e11),
    "16-bit integers": np.rint(wavelets(9000.0)),
    "velocities": np.linspace(1480, 5200, 9600, dtype=np.float32).reshape(12, 800),
    "phases": RNG.uniform(-180, 180, (12, 800)).astype(np.float32),
}


def stored(words: np.ndarray, order: str) -> np.ndarray:
    return words.astype(f"{order}u4").view(np.uint8).reshape(len(words), -1)


@pytest.fixture(scope="module")
def fmt(tmp_path_factory: pytest.TempPathFactory) -> FileFormat:
    path = tmp_path_factory.mktemp("any") / "any.sgy"
    path.write_bytes(segy_bytes())
    return read_format(Source(str(path)))


def test_the_ibm_words_of_this_test_are_the_values_they_stand_for():
    values = DATA["amplitudes"]
    np.testing.assert_allclose(ibm_values(ibm_of(values)), values, rtol=2**-20)


@pytest.mark.parametrize("values", DATA.values(), ids=DATA)
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("code", [1, 5])
@pytest.mark.parametrize("said_order", [">", "<"])
@pytest.mark.parametrize("said", [1, 5])
def test_floats_are_told_by_their_words(fmt, values, code, order, said, said_order):
    words = ibm_of(values) if code == 1 else values.view(np.uint32)
    claimed = replace(fmt, sample_format=SAMPLE_FORMATS[said], byte_order=said_order)
    found = likelier_reading(claimed, stored(words, order))
    if (code, order) == (said, said_order):
        assert found is None
    else:
        assert (found.code, found.byte_order) == (code, order)
        sentence = found.sentence(claimed)
        assert f"look like 4-byte {'IBM' if code == 1 else 'IEEE'} floating-point in " in sentence
        assert "byte 3225" in sentence


@pytest.mark.parametrize("order", [">", "<"])
def test_integers_and_floats_are_not_taken_for_each_other(fmt, order):
    integers = stored(RNG.normal(0, 20_000, (12, 800)).astype(np.int32).view(np.uint32), order)
    floats = stored(DATA["amplitudes"].view(np.uint32), order)
    as_integer, as_float = (
        replace(fmt, sample_format=SAMPLE_FORMATS[code], byte_order=order) for code in (2, 5)
    )
    assert likelier_reading(as_integer, integers) is None
    assert likelier_reading(as_float, floats) is None
    assert likelier_reading(as_float, integers).code == 2
    assert likelier_reading(as_integer, floats).code == 5


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (np.zeros((12, 800), np.uint32), "dead traces"),
        (np.full((12, 800), 0x447A0000, np.uint32), "one value"),
        (RNG.integers(0, 2**32, (12, 800), np.uint32), "noise that no reading fits"),
        (np.full((12, 800), 0x7FC00000, np.uint32), "nothing but NaN"),
        (RNG.integers(1480, 1500, (12, 800)).astype(np.float32).view(np.uint32), "a few values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("said", [1, 5, 2])
def test_where_words_do_not_tell_nothing_is_said(fmt, words, why, said):
    assert likelier_reading(replace(fmt, sample_format=SAMPLE_FORMATS[said]), stored(words, ">")) is None, why


@pytest.mark.parametrize("code", sorted(set(SAMPLE_FORMATS) - {1, 2, 5}))
def test_samples_of_other_widths_and_unsigned_ones_are_believed(fmt, code):
    of_code = SAMPLE_FORMATS[code]
    raw = RNG.integers(0, 256, (12, 800 * of_code.bytes_per_sample), np.uint8)
    assert likelier_reading(replace(fmt, sample_format=of_code), raw) is None


def test_single_words_that_are_no_floats_change_nothing(fmt):
    words = ibm_of(DATA["amplitudes"])
    words[3, 5:15] = 0x00100000  # and some that are not normalised
    words[3, 20:30] = struct.unpack(">I", b"\x42\x01\x00\x00")[0]
    assert likelier_reading(fmt, stored(words, ">")) is None

"""Guess the sample format from the samples, because a file with a wrong format code reads without an error.

Two properties distinguish 4-byte formats. Samples read in the wrong byte order or format have magnitudes that no survey
has. And IBM floats are normalised: the first hexadecimal digit of their fraction is not 0. Read as IEEE floats, they
leave a gap in every second octave, which real IEEE values fill. If neither property is clear, there is no warning.
"""

from dataclasses import dataclass

import numpy as np

from tasks.volume.segy.binary_header import ORDER_NAMES, ByteOrder
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.standards import FORMAT_NAMES, SAMPLE_FORMATS, SEISMIC_UNIX

_IBM, _INTEGER, _IEEE = 1, 2, 5
_CODES = (_IBM, _IEEE, _INTEGER)
_LEAST_WORDS = 200  # that are not zero; of fewer nothing is said
_SPREAD_OCTAVES, _FAR_OCTAVES = (
    64,
    100,
)  # magnitudes spread over more, or mostly beyond 1e30 or 1e-30, are no amplitudes
_INTEGER_OCTAVES = 28  # integers as large as this are mostly the exponents of floats
_LEAST_BESIDE_GAPS = 16  # different words on either side of the gaps
_EMPTY, _FILLED, _OVERFULL = 0.02, 0.3, 3.0  # words in the gaps by what their neighbours promise


@dataclass(frozen=True)
class Resemblance:
    """A reading of the samples that is likelier than what the file says; `reason` is a clause."""

    code: int
    byte_order: ByteOrder
    reason: str

    @property
    def option(self) -> str:
        """Return the command-line option for this reading."""
        endian = ORDER_NAMES[self.byte_order].split()[0]
        return f"--sample-format {SAMPLE_FORMATS[self.code].name} --sample-endian {endian}"

    def sentence(self, fmt: FileFormat) -> str:
        """Return the warning."""
        stated = f"{FORMAT_NAMES[fmt.sample_format.code]} in {ORDER_NAMES[fmt.sample_order]}"
        return (
            f"The samples look like {FORMAT_NAMES[self.code]} in {ORDER_NAMES[self.byte_order]} ({self.reason}), but "
            f"are read as {stated}, as {_given_by(fmt)}; "
            f"if they are, ingest it with {self.option}."
        )


def _given_by(fmt: FileFormat) -> str:
    if fmt.samples_given:
        return "was asked"
    return "Seismic Unix has them" if fmt.revision == SEISMIC_UNIX else "the file says (byte 3225)"


def likelier_reading(fmt: FileFormat, samples: np.ndarray) -> Resemblance | None:
    """Return the likelier reading of samples, if it differs from the file's statement.

    Args:
        fmt: Format that the file states.
        samples: Stored bytes of some traces, uint8, shape (trace, byte).

    Returns:
        None if the samples fit the statement, or are not 4 bytes long.
    """
    declared, order = fmt.sample_format.code, fmt.sample_order
    if declared not in _CODES:
        return None
    other: ByteOrder = "<" if order == ">" else ">"
    words = {o: _different(samples, o) for o in (order, other)}
    if len(words[order]) < _LEAST_WORDS:
        return None
    floats = [(code, o) for o in (order, other) for code in (declared, _IBM, _IEEE) if code != _INTEGER]
    readings = [(declared, order), *floats, (_INTEGER, order), (_INTEGER, other)]
    likelier = next((reading for reading in readings if _plausible(words[reading[1]], reading[0])), None)
    if likelier is None:
        return None
    code, at = likelier
    reason = f"as {SAMPLE_FORMATS[declared].name} in {ORDER_NAMES[order]} their magnitudes would be absurd"
    if code != _INTEGER:
        code, float_reason = _which_float(words[at], code)
        if at == order and declared != _INTEGER:
            reason = float_reason or reason
    return None if (code, at) == (declared, order) else Resemblance(code, at, reason)


def _different(samples: np.ndarray, order: str) -> np.ndarray:
    """Return the different words, uint32 as numbers of this machine, without both zeros."""
    words = np.unique(np.ascontiguousarray(samples).view(f"{order}u4").astype(np.uint32))
    return words[(words & np.uint32(0x7FFFFFFF)) != 0]


def _plausible(words: np.ndarray, code: int) -> bool:
    """Return whether words read so have magnitudes of amplitudes."""
    if code == _INTEGER:
        magnitudes = np.abs(words.view(np.int32).astype(np.float64))
        return bool(np.percentile(magnitudes, 95) < 2.0**_INTEGER_OCTAVES)
    if code == _IEEE:
        octaves = (words >> np.uint32(23) & np.uint32(0xFF)).astype(np.int64) - 127
    else:
        octaves = 4 * ((words >> np.uint32(24) & np.uint32(0x7F)).astype(np.int64) - 64)
    low, middle, high = np.percentile(octaves, [5, 50, 95])
    return bool(high - low <= _SPREAD_OCTAVES and abs(middle) <= _FAR_OCTAVES)


def _which_float(words: np.ndarray, code: int) -> tuple[int, str]:
    """Return IBM or IEEE with the reason; `code` unchanged if the words do not decide."""
    counts = np.bincount((words >> np.uint32(20) & np.uint32(0x7FF)).astype(np.int64), minlength=2048)
    by_exponent = counts.reshape(128, 16)
    beside = np.minimum(by_exponent[:-1, 15], by_exponent[1:, 1])
    promised = int(beside.sum())
    if promised < _LEAST_BESIDE_GAPS:
        return code, ""
    there = int(by_exponent[1:, 0][beside > 0].sum())
    if there <= _EMPTY * promised and _plausible(words, _IBM):
        return _IBM, f"all of {len(words):,} different words are normalised as IBM floats are"
    if _FILLED * promised <= there <= _OVERFULL * promised and _plausible(words, _IEEE):
        share = int(by_exponent[:, 0].sum()) / len(words)
        return _IEEE, f"{share:.1%} of {len(words):,} different words are not normalised as IBM floats are"
    return code, ""

"""Make a synthetic post-stack 3-D survey that looks and is numbered like a real one.

The geology is a function of position and two-way time, so every inline is computed by itself and memory does not
grow with the survey: flat-lying beds over an unconformity, below it folded and faulted ones with a dome and a
bright spot on its crest, and a meandering channel. Numbering, coordinates, missing and dead traces are as
in real surveys, so that a reader is tested on them.
"""

from dataclasses import dataclass

import numpy as np

from tasks.volume.kernels.traces import encode_traces
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import BINARY_HEADER_FIELDS, REVISION_BYTE, TRACE_HEADER_FIELDS
from tasks.volume.segy.trace_reading import HEADERS_BYTES, TEXT_BYTES

SAMPLE_INTERVAL_US = 4000
FIRST_INLINE, FIRST_CROSSLINE, CROSSLINE_STEP = 1001, 2040, 2
INLINE_SPACING, CROSSLINE_SPACING, AZIMUTH_DEGREES = 18.75, 25.0, 28.0  # metres; from grid north
ORIGIN = 456_200.0, 6_782_100.0
COORDINATE_SCALAR = -10  # coordinates are stored in tenths of a metre
DEAD_TRACES = 5
AMPLITUDE = 1200.0  # of a strong reflection
TABLE_MS = 0.5  # step of the table of reflections

_TRACE_HEADER = np.dtype(
    [
        *((field.name, np.dtype(field.type).newbyteorder(">")) for field in TRACE_HEADER_FIELDS),
        ("unassigned", "V8"),
    ]
)


def make_survey(path: str, *, shape: tuple[int, int, int] = (120, 96, 501), seed: int = 0) -> None:
    """Write a SEG-Y rev 1 file of IBM floats: a rotated grid, stacked, migrated-looking, with a corner missing.

    The same arguments give the same file.

    Args:
        path: A local file; replaced if it is there.
        shape: Inlines, crosslines and samples.
        seed: Seed of beds, noise and dead traces.

    Raises:
        InputRefused: The shape is not of a volume that SEG-Y rev 1 can hold.
    """
    if len(shape) != 3 or min(shape) < 1 or shape[2] > 32767:
        raise InputRefused(f"got shape {shape}; give 3 positive numbers, the last at most 32767")
    beds = _beds(shape[2] * SAMPLE_INTERVAL_US / 1000, np.random.default_rng(seed))
    live = _live(shape[0], shape[1])
    traces = int(live.sum())
    dead = np.random.default_rng(seed + 1).choice(traces, min(DEAD_TRACES, traces // 50), replace=False)
    with open(path, "wb") as file:
        file.write(_text(shape, traces, seed) + _binary_header(shape[2]))
        first = 0
        for inline in range(shape[0]):
            crosslines = np.flatnonzero(live[inline])
            numbers = first + np.arange(len(crosslines))
            rng = np.random.default_rng([seed, inline])
            samples = _section(beds, shape, inline, crosslines, rng)
            is_dead = np.isin(numbers, dead)
            samples[is_dead] = 0
            file.write(_records(samples, inline, crosslines, numbers, is_dead))
            first += len(crosslines)


@dataclass(frozen=True, eq=False)
class _Beds:
    """The ground as it was laid down: reflections by time of deposition, and noise; times in ms.

    `table` and `noise` have one value per `TABLE_MS` and per sample; `end` is the time of the last sample.
    """

    table: np.ndarray
    noise: np.ndarray
    end: float


def _beds(end: float, rng: np.random.Generator) -> _Beds:
    count = int(2 * end / TABLE_MS) + 400
    time = np.arange(count) * TABLE_MS
    # Few strong reflectors among many weak ones, in packages: sand and shale, then quiet shale, then again.
    spikes = rng.laplace(0, 1.0, count) * (rng.random(count) < TABLE_MS / 5.0)
    knots = np.arange(0, time[-1] + 110, 110)
    package = np.exp(0.45 * np.interp(time, knots, rng.standard_normal(len(knots))))
    reflectivity = spikes * package
    # The ground takes away high frequencies on the way down.
    around = np.arange(-60, 60.1, TABLE_MS)
    sharp, dull = (np.convolve(reflectivity, ricker(around, hertz), "same") for hertz in (38.0, 22.0))
    depth = np.clip(time / (1.2 * end), 0, 1)
    table = (1 - depth) * sharp + depth * dull
    table *= 0.30 / table.std()
    white = rng.standard_normal(1 << 16)
    noise = np.convolve(white, ricker(np.arange(-60, 60.1, SAMPLE_INTERVAL_US / 1000), 24.0), "same")
    return _Beds(table, (noise / noise.std()).astype(np.float32), end)


def ricker(time_ms: np.ndarray, hertz: float) -> np.ndarray:
    """Return the Ricker wavelet of a peak frequency, 1 at time 0."""
    square = (np.pi * hertz * time_ms / 1000) ** 2
    return (1 - 2 * square) * np.exp(-square)


def _section(
    beds: _Beds, shape: tuple[int, int, int], inline: int, crosslines: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the samples of one inline, float32, shape (trace, sample)."""
    end = beds.end
    time = np.arange(shape[2]) * (SAMPLE_INTERVAL_US / 1000)
    y = 2 * inline / max(shape[0] - 1, 1) - 1
    x = (2 * crosslines / max(shape[1] - 1, 1) - 1)[:, np.newaxis]
    dome = np.exp(-((x - 0.15) ** 2) / 0.20 - (y + 0.10) ** 2 / 0.30)
    seabed = end * (0.06 + 0.012 * x - 0.008 * y)
    unconformity = end * (0.30 + 0.035 * x + 0.02 * np.sin(2.4 * y + 1.5 * x) - 0.05 * dome)
    below = time > unconformity

    # Beds below the unconformity: tilted, folded over the dome and cut by two faults that dip towards each other.
    age = np.clip((time - unconformity) / (0.6 * end), 0, 1)
    folded = end * (0.07 * x - 0.03 * y + 0.014 * np.sin(5 * x + 2 * y)) - end * 0.15 * dome * (
        0.45 + 0.55 * age
    )
    for at, lean, tilt, throw in ((-0.42, 0.45, 0.10, 0.040), (0.78, -0.38, -0.12, -0.034)):
        fault = at + lean * time / end + tilt * y
        folded = folded + np.where(x > fault, end * throw * np.exp(-((y - 0.1) ** 2) / 1.5), 0)
    laid_down = np.where(below, time - folded + 0.35 * end, time - seabed * 0.8 + 0.02 * end * dome)
    place = np.clip(laid_down / TABLE_MS, 0, len(beds.table) - 2)
    whole = place.astype(np.int32)
    part = (place - whole).astype(np.float32)
    table = beds.table.astype(np.float32)
    data = table[whole] * (1 - part) + table[whole + 1] * part

    # Gas on the crest of the dome: brighter beds over a flat contact with water.
    gas_time = 0.46 * end
    gas = np.clip((dome - 0.62) / 0.2, 0, 1) * np.exp(-(((time - gas_time) / (0.035 * end)) ** 2))
    data *= 1 + 1.8 * gas
    # A channel in the beds of one age, meandering along the inlines.
    channel = np.exp(-(((x - 0.45 * np.sin(3.3 * y + 0.6) + 0.2) / 0.09) ** 2))
    data -= 1.1 * channel * ricker(laid_down - 0.86 * end, 26.0) * below
    data += 0.75 * ricker(time - unconformity, 28.0) + 1.3 * ricker(time - seabed, 34.0)
    data *= 1.15 - 0.4 * time / end
    starts = rng.integers(0, len(beds.noise) - shape[2], len(crosslines))
    data += 0.06 * beds.noise[starts[:, np.newaxis] + np.arange(shape[2])]
    data *= np.clip((time - seabed) / 12 + 1, 0, 1)  # muted in the water
    return (AMPLITUDE * data).astype(np.float32)


def _live(inlines: int, crosslines: int) -> np.ndarray:
    """Return the live mask: all but a corner with a stepped edge, as at a licence border; all of a tiny survey."""
    if min(inlines, crosslines) < 8:
        return np.ones((inlines, crosslines), bool)
    i, j = np.ogrid[:inlines, :crosslines]
    corner = (inlines - i) // 4 * 4 / inlines + j / crosslines
    return corner >= 0.30


def _records(
    samples: np.ndarray, inline: int, crosslines: np.ndarray, numbers: np.ndarray, is_dead: np.ndarray
) -> bytes:
    """Traces as they lie in the file."""
    count, n_samples = samples.shape
    words = np.zeros((count, _TRACE_HEADER.itemsize // 4 + n_samples), np.uint32)
    header = np.zeros(count, _TRACE_HEADER)
    along, across = inline * INLINE_SPACING, crosslines * CROSSLINE_SPACING
    angle = np.radians(AZIMUTH_DEGREES)
    x = ORIGIN[0] + across * np.sin(angle) + along * np.cos(angle)
    y = ORIGIN[1] + across * np.cos(angle) - along * np.sin(angle)
    for name, values in {
        "trace_seq_num_line": np.arange(count) + 1,
        "trace_seq_num_reel": numbers + 1,
        "orig_field_record_num": FIRST_INLINE + inline,
        "ensemble_num": FIRST_CROSSLINE + CROSSLINE_STEP * crosslines,
        "trace_num_ensemble": 1,
        "trace_id_code": np.where(is_dead, 2, 1),
        "horizontally_stacked_traces": 48,
        "data_use": 1,
        "coordinate_scalar": COORDINATE_SCALAR,
        "coordinate_unit": 1,
        "samples_per_trace": n_samples,
        "sample_interval": SAMPLE_INTERVAL_US,
        "year_recorded": 2019,
        "day_of_year": 171,
        "cdp_x": np.rint(x * -COORDINATE_SCALAR),
        "cdp_y": np.rint(y * -COORDINATE_SCALAR),
        "inline": FIRST_INLINE + inline,
        "crossline": FIRST_CROSSLINE + CROSSLINE_STEP * crosslines,
    }.items():
        header[name] = values
    words[:, : _TRACE_HEADER.itemsize // 4] = header.view(np.uint32).reshape(count, -1)
    flat, starts = (
        words.reshape(-1),
        np.arange(count, dtype=np.int64) * words.shape[1] + _TRACE_HEADER.itemsize // 4,
    )
    encode_traces(samples[np.newaxis], flat, starts, n_samples, ibm=True, swap=bool(np.little_endian))
    return flat.tobytes()


def _binary_header(n_samples: int) -> bytes:
    header = np.zeros(HEADERS_BYTES - TEXT_BYTES, np.uint8)
    fields = {field.name: field for field in BINARY_HEADER_FIELDS}
    for name, value in {
        "job_id": 1,
        "line_num": 1,
        "reel_num": 1,
        "data_traces_per_ensemble": 1,
        "sample_interval": SAMPLE_INTERVAL_US,
        "orig_sample_interval": SAMPLE_INTERVAL_US,
        "samples_per_trace": n_samples,
        "orig_samples_per_trace": n_samples,
        "data_sample_format": 1,
        "ensemble_fold": 48,
        "trace_sorting_code": 4,
        "measurement_system_code": 1,
        "impulse_polarity_code": 1,
        "fixed_length_trace_flag": 1,
    }.items():
        field = fields[name]
        raw = np.array(value, ">" + np.dtype(field.type).str[1:]).tobytes()
        header[field.byte - 1 : field.byte - 1 + len(raw)] = np.frombuffer(raw, np.uint8)
    header[REVISION_BYTE - 1] = 1  # rev 1.0 is 0x0100
    return header.tobytes()


def _text(shape: tuple[int, int, int], traces: int, seed: int) -> bytes:
    """Return the textual header: 40 lines of EBCDIC that say what the file is."""
    last_inline = FIRST_INLINE + shape[0] - 1
    last_crossline = FIRST_CROSSLINE + CROSSLINE_STEP * (shape[1] - 1)
    lines = {
        1: "SEISMILL DEMONSTRATION SURVEY: SYNTHETIC, NO REAL GROUND",
        2: f"3-D POST-STACK, TIME, MADE WITH SEED {seed}",
        4: "SEG-Y REV 1, BIG ENDIAN, SAMPLES IN 4-BYTE IBM FLOATING POINT",
        5: f"SAMPLES PER TRACE {shape[2]}, INTERVAL {SAMPLE_INTERVAL_US} US, FIRST SAMPLE AT 0 MS",
        6: f"TRACES {traces} OF {shape[0] * shape[1]} IN THE GRID: A CORNER IS MISSING",
        8: f"INLINE    BYTES 189-192  {FIRST_INLINE} TO {last_inline} BY 1, {INLINE_SPACING:g} M APART",
        9: f"CROSSLINE BYTES 193-196  {FIRST_CROSSLINE} TO {last_crossline} BY {CROSSLINE_STEP}, "
        f"{CROSSLINE_SPACING:g} M APART",
        10: f"CDP X, Y  BYTES 181-188  METRES, SCALAR {COORDINATE_SCALAR} IN BYTES 71-72",
        11: f"CROSSLINES COUNT TOWARDS {AZIMUTH_DEGREES:g} DEGREES EAST OF GRID NORTH",
        12: "DEAD TRACES HAVE TRACE IDENTIFICATION CODE 2",
        14: "POLARITY: AN INCREASE IN IMPEDANCE IS A POSITIVE NUMBER",
        39: "SEG Y REV1",
        40: "END TEXTUAL HEADER",
    }
    return "".join(f"C{n:2d} {lines.get(n, '')}"[:80].ljust(80) for n in range(1, 41)).encode("cp500")

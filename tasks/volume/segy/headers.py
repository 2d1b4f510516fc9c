"""Tables of the header words of SEG-Y rev 1, and functions that read words by them.

Names and types are those of MDIO (the `segy` package's rev 1 specification), because they are stored in
volumes that mdio opens. Header words are described only here: dtypes, widths and offsets are derived from the
tables, so another revision is another table.
"""

from dataclasses import dataclass

import numpy as np

TRACE_HEADER_BYTES = 240
BINARY_HEADER_BYTES = 400


@dataclass(frozen=True)
class HeaderField:
    """A word of a header: MDIO's name, first byte counted from 1 as the standard does, and type."""

    name: str
    byte: int
    type: str


# SEG-Y rev 1, table 3. The 89 fields tile bytes 1 to 232; the last eight are unassigned and kept raw only.
TRACE_HEADER_FIELDS = (
    HeaderField("trace_seq_num_line", 1, "int32"),
    HeaderField("trace_seq_num_reel", 5, "int32"),
    HeaderField("orig_field_record_num", 9, "int32"),
    HeaderField("trace_num_orig_record", 13, "int32"),
    HeaderField("energy_source_point_num", 17, "int32"),
    HeaderField("ensemble_num", 21, "int32"),
    HeaderField("trace_num_ensemble", 25, "int32"),
    HeaderField("trace_id_code", 29, "int16"),
    HeaderField("vertically_summed_traces", 31, "int16"),
    HeaderField("horizontally_stacked_traces", 33, "int16"),
    HeaderField("data_use", 35, "int16"),
    HeaderField("source_to_receiver_distance", 37, "int32"),
    HeaderField("receiver_group_elevation", 41, "int32"),
    HeaderField("source_surface_elevation", 45, "int32"),
    HeaderField("source_depth_below_surface", 49, "int32"),
    HeaderField("receiver_datum_elevation", 53, "int32"),
    HeaderField("source_datum_elevation", 57, "int32"),
    HeaderField("source_water_depth", 61, "int32"),
    HeaderField("receiver_water_depth", 65, "int32"),
    HeaderField("elevation_depth_scalar", 69, "int16"),
    HeaderField("coordinate_scalar", 71, "int16"),
    HeaderField("source_coord_x", 73, "int32"),
    HeaderField("source_coord_y", 77, "int32"),
    HeaderField("group_coord_x", 81, "int32"),
    HeaderField("group_coord_y", 85, "int32"),
    HeaderField("coordinate_unit", 89, "int16"),
    HeaderField("weathering_velocity", 91, "int16"),
    HeaderField("subweathering_velocity", 93, "int16"),
    HeaderField("source_uphole_time", 95, "int16"),
    HeaderField("group_uphole_time", 97, "int16"),
    HeaderField("source_static_correction", 99, "int16"),
    HeaderField("receiver_static_correction", 101, "int16"),
    HeaderField("total_static_applied", 103, "int16"),
    HeaderField("lag_time_a", 105, "int16"),
    HeaderField("lag_time_b", 107, "int16"),
    HeaderField("delay_recording_time", 109, "int16"),
    HeaderField("mute_time_start", 111, "int16"),
    HeaderField("mute_time_end", 113, "int16"),
    HeaderField("samples_per_trace", 115, "int16"),
    HeaderField("sample_interval", 117, "int16"),
    HeaderField("instrument_gain_type", 119, "int16"),
    HeaderField("instrument_gain_const", 121, "int16"),
    HeaderField("instrument_gain_initial", 123, "int16"),
    HeaderField("correlated_data", 125, "int16"),
    HeaderField("sweep_freq_start", 127, "int16"),
    HeaderField("sweep_freq_end", 129, "int16"),
    HeaderField("sweep_length", 131, "int16"),
    HeaderField("sweep_type", 133, "int16"),
    HeaderField("sweep_taper_start", 135, "int16"),
    HeaderField("sweep_taper_end", 137, "int16"),
    HeaderField("taper_type", 139, "int16"),
    HeaderField("alias_filter_freq", 141, "int16"),
    HeaderField("alias_filter_slope", 143, "int16"),
    HeaderField("notch_filter_freq", 145, "int16"),
    HeaderField("notch_filter_slope", 147, "int16"),
    HeaderField("low_cut_freq", 149, "int16"),
    HeaderField("high_cut_freq", 151, "int16"),
    HeaderField("low_cut_slope", 153, "int16"),
    HeaderField("high_cut_slope", 155, "int16"),
    HeaderField("year_recorded", 157, "int16"),
    HeaderField("day_of_year", 159, "int16"),
    HeaderField("hour_of_day", 161, "int16"),
    HeaderField("minute_of_hour", 163, "int16"),
    HeaderField("second_of_minute", 165, "int16"),
    HeaderField("time_basis_code", 167, "int16"),
    HeaderField("trace_weighting_factor", 169, "int16"),
    HeaderField("group_num_roll_switch", 171, "int16"),
    HeaderField("group_num_first_trace", 173, "int16"),
    HeaderField("group_num_last_trace", 175, "int16"),
    HeaderField("gap_size", 177, "int16"),
    HeaderField("taper_overtravel", 179, "int16"),
    HeaderField("cdp_x", 181, "int32"),
    HeaderField("cdp_y", 185, "int32"),
    HeaderField("inline", 189, "int32"),
    HeaderField("crossline", 193, "int32"),
    HeaderField("shot_point", 197, "int32"),
    HeaderField("shot_point_scalar", 201, "int16"),
    HeaderField("trace_value_unit", 203, "int16"),
    HeaderField("transduction_const_mantissa", 205, "int32"),
    HeaderField("transduction_const_exponent", 209, "int16"),
    HeaderField("transduction_unit", 211, "int16"),
    HeaderField("device_trace_id", 213, "int16"),
    HeaderField("times_scalar", 215, "int16"),
    HeaderField("source_type_orientation", 217, "int16"),
    HeaderField("source_energy_dir_mantissa", 219, "int32"),
    HeaderField("source_energy_dir_exponent", 223, "int16"),
    HeaderField("source_measurement_mantissa", 225, "int32"),
    HeaderField("source_measurement_exponent", 229, "int16"),
    HeaderField("source_measurement_unit", 231, "int16"),
)

# SEG-Y rev 1, table 2, without the revision, which MDIO stores as two numbers (see `binary_header`). Bytes
# are counted from the start of the binary header: 1 here is byte 3201 of the file.
BINARY_HEADER_FIELDS = (
    HeaderField("job_id", 1, "int32"),
    HeaderField("line_num", 5, "int32"),
    HeaderField("reel_num", 9, "int32"),
    HeaderField("data_traces_per_ensemble", 13, "int16"),
    HeaderField("aux_traces_per_ensemble", 15, "int16"),
    HeaderField("sample_interval", 17, "int16"),
    HeaderField("orig_sample_interval", 19, "int16"),
    HeaderField("samples_per_trace", 21, "int16"),
    HeaderField("orig_samples_per_trace", 23, "int16"),
    HeaderField("data_sample_format", 25, "int16"),
    HeaderField("ensemble_fold", 27, "int16"),
    HeaderField("trace_sorting_code", 29, "int16"),
    HeaderField("vertical_sum_code", 31, "int16"),
    HeaderField("sweep_freq_start", 33, "int16"),
    HeaderField("sweep_freq_end", 35, "int16"),
    HeaderField("sweep_length", 37, "int16"),
    HeaderField("sweep_type_code", 39, "int16"),
    HeaderField("sweep_trace_num", 41, "int16"),
    HeaderField("sweep_taper_start", 43, "int16"),
    HeaderField("sweep_taper_end", 45, "int16"),
    HeaderField("taper_type_code", 47, "int16"),
    HeaderField("correlated_data_code", 49, "int16"),
    HeaderField("binary_gain_code", 51, "int16"),
    HeaderField("amp_recovery_code", 53, "int16"),
    HeaderField("measurement_system_code", 55, "int16"),
    HeaderField("impulse_polarity_code", 57, "int16"),
    HeaderField("vibratory_polarity_code", 59, "int16"),
    HeaderField("fixed_length_trace_flag", 303, "int16"),
    HeaderField("num_extended_text_headers", 305, "int16"),
)
REVISION_BYTE = 301

TRACE_HEADER_DTYPE = np.dtype([(f.name, np.dtype(f.type).newbyteorder("<")) for f in TRACE_HEADER_FIELDS])
FIELD_WIDTHS = np.array([np.dtype(f.type).itemsize for f in TRACE_HEADER_FIELDS], np.uint8)

# A type of header word is the unsigned type of its bits and how many bytes they take.
_WORD_BITS = {"int16": "u2", "uint16": "u2", "int32": "u4", "uint32": "u4", "float32": "u4", "ibm32": "u4"}


def word_bytes(word_type: str) -> int:
    """Return the width in bytes of a header field of this type."""
    return np.dtype(_WORD_BITS[word_type]).itemsize


def word(raw: np.ndarray, byte: int, word_type: str, byte_order: str) -> np.ndarray:
    """Return one header field of many traces, in native byte order.

    Args:
        raw: Trace headers as stored, uint8, shape (traces, 240).
        byte: First byte of the word, counted from 1.
        word_type: int16, uint16, int32, float32 or ibm32; the last comes as float64, which holds it exactly.
        byte_order: '>' or '<', of the file.
    """
    width = word_bytes(word_type)
    if not 1 <= byte <= raw.shape[1] - width + 1:
        raise ValueError(
            f"a header field of type {word_type} cannot start at byte {byte}; a trace header has bytes 1 to "
            f"{raw.shape[1]}, so it starts between 1 and {raw.shape[1] - width + 1}"
        )
    stored = np.ascontiguousarray(raw[:, byte - 1 : byte - 1 + width]).view(
        byte_order + _WORD_BITS[word_type]
    )
    bits = stored[:, 0].astype(_WORD_BITS[word_type])
    return ibm_values(bits) if word_type == "ibm32" else bits.view(word_type)


def ibm_values(bits: np.ndarray) -> np.ndarray:
    """Return the float64 values of IBM words given as native uint32; exact, also for unnormalised words."""
    fraction = (bits & np.uint32(0x00FFFFFF)).astype(np.float64)
    exponent = ((bits >> np.uint32(24)) & np.uint32(0x7F)).astype(np.int32)
    # The fraction is an integer of 24 bits here, hence - 24; the exponent counts sixteens from 64.
    magnitude = np.ldexp(fraction, 4 * (exponent - 64) - 24)
    return np.where(bits >> np.uint32(31), -magnitude, magnitude)


def binary_header(raw: bytes, byte_order: str) -> dict[str, int]:
    """MDIO's `binaryHeader` attribute: every assigned word of the 400 bytes by MDIO's name, plain integers.

    The revision is split into segy_revision_major and segy_revision_minor so that multidimio, which joins
    them to (major << 8) | minor in a big-endian file, writes the word back. Below rev 2 it is a 16-bit word
    in the file's byte order; from rev 2 on it is two bytes whatever the order.
    """
    if len(raw) != BINARY_HEADER_BYTES:
        raise ValueError(f"a binary header has {BINARY_HEADER_BYTES} bytes, not {len(raw)}")
    header = np.frombuffer(raw, np.uint8)[np.newaxis]
    values = {f.name: int(word(header, f.byte, f.type, byte_order)[0]) for f in BINARY_HEADER_FIELDS}
    major, minor = raw[REVISION_BYTE - 1], raw[REVISION_BYTE]
    if major < 2:
        major, minor = divmod(int(word(header, REVISION_BYTE, "uint16", byte_order)[0]), 256)
    return values | {"segy_revision_major": major, "segy_revision_minor": minor}

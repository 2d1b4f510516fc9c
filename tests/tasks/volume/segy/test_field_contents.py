"""Names of header fields do not lie: an attribute has what they hold, and header bytes come back by their names."""

import numpy as np
import pytest
import zarr
from segy.standards import get_segy_standard

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index
from tests.support.segy_maker import segy_bytes

SHAPE = (5, 7)
LINES, CROSSLINES = (axis.ravel() for axis in np.indices(SHAPE))
X, Y = 4_000_000 + 250 * LINES, 61_000_000 + 125 * CROSSLINES
SWAPPED = {(181, "i4"): 1 + LINES, (185, "i4"): 3 + CROSSLINES, (189, "i4"): X, (193, "i4"): Y}


@pytest.mark.parametrize(
    ("words", "index", "contents"),
    [
        ({}, Index(), None),
        (
            SWAPPED,
            Index(),
            {"cdp_x": "inline", "cdp_y": "crossline", "inline": "cdp_x", "crossline": "cdp_y"},
        ),
        (
            {(189, "i4"): 0, (193, "i4"): 0, (9, "i4"): 1 + LINES, (21, "i4"): 3 + CROSSLINES},
            Index(),
            {
                "orig_field_record_num": "inline",
                "ensemble_num": "crossline",
                "inline": "unknown",
                "crossline": "unknown",
            },
        ),
        (
            {(181, "f4"): X / 7, (185, "f4"): Y / 70, (71, "i2"): 1},
            Index(),
            {"cdp_x": "cdp_x (float32)", "cdp_y": "cdp_y (float32)"},
        ),
        (
            {(181, "i4"): 0, (185, "i4"): 0, (73, "i4"): X, (77, "i4"): Y},
            Index(),
            {"source_coord_x": "cdp_x", "source_coord_y": "cdp_y", "cdp_x": "unknown", "cdp_y": "unknown"},
        ),
        (
            {(201, "i4"): 1 + LINES},
            Index(bytes="201,193"),
            {
                "shot_point_scalar": "inline (int32)",
                "trace_value_unit": "inline (part of int32 at byte 201)",
                "inline": "unknown",
            },
        ),
    ],
)
def test_what_a_field_holds_is_told_where_its_name_does_not(tmp_path, words, index, contents):
    source, volume = tmp_path / "a.sgy", tmp_path / "a.zarr"
    source.write_bytes(segy_bytes(shape=SHAPE, traces=words))
    ingest_segy(str(source), str(volume), index)
    headers = zarr.open_array(volume / "headers", mode="r")
    assert headers.attrs.get("field_contents") == contents
    # The names stay the standard's, so that whatever writes headers by them writes the bytes of the source.
    names = [field.name for field in get_segy_standard(1.0).trace.header.fields]
    assert list(headers.dtype.names) == names
    raw = np.fromfile(source, np.uint8, offset=3600).reshape(35, -1)[:, :232]
    numbers = zarr.open_array(volume / "trace_number", mode="r")[...].ravel()
    swapped = headers[...].ravel()[np.argsort(numbers)]
    big = np.rec.fromarrays([swapped[name].astype(swapped[name].dtype.newbyteorder(">")) for name in names])
    assert big.tobytes() == raw.tobytes()

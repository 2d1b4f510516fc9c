"""A volume as multidimio 0.8 lays it out, written with zarr-python and nothing of the code under test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import Blosc

from tests.support.survey import Survey

# Names and widths of its trace header fields; together the 240 bytes of a header.
_WIDTHS = "4444444 2222 44444444 22 4444 2" + "2" * 45 + "44444 22 4 22222 4 2 4 22 8"


def make_mdio_v0(
    path: Path,
    survey: Survey,
    names: list[str],
    *,
    text: list[str] | None = None,
    codec: Any = None,
    **binary: Any,
) -> Path:
    """Write what multidimio 0.8 makes of a survey.

    Args:
        path: The folder.
        survey: Its values, headers and file header.
        names: Of the 89 fields of a trace header, in their order.
        text: The lines of the textual header; those of the file, which is EBCDIC, if not given.
        codec: Of the samples; Blosc with Zstandard if not given.
        **binary: Fields of the binary header.
    """
    content, live = survey.content, survey.numbers >= 0
    widths = [int(width) for width in _WIDTHS.replace(" ", "")]
    header = np.dtype(
        [(name, f"<i{width}") for name, width in zip([*names, "unassigned"], widths, strict=True)]
    )
    headers = np.zeros(live.shape, header)
    headers[live] = (
        survey.headers.view(header.newbyteorder(">")).reshape(-1).astype(header)[survey.numbers[live]]
    )
    arrays = {
        "data/chunked_012": (np.where(live[..., None], survey.values, 0).astype("<f4"), (8, 4, 5), codec),
        "metadata/chunked_012_trace_headers": (headers, (8, 4), None),
        "metadata/live_mask": (live, live.shape, None),
    }
    raw = content[:3200].decode("cp500")
    attributes = {
        "api_version": "0.8.5",
        "created": "2024-01-01T00:00:00+00:00",
        "dimension": [
            {"name": "inline", "coords": survey.inlines.tolist()},
            {"name": "crossline", "coords": survey.crosslines.tolist()},
            {"name": "sample", "coords": [4 * n for n in range(survey.values.shape[-1])]},
        ],
        "trace_count": int(live.sum()),
        **{"mean": 0.5, "std": 1.0, "rms": 1.5, "min": -2.0, "max": 2.0},
    }
    words = np.frombuffer(content, ">i2", 200, 3200)
    about = {
        "text_header": text or [raw[n : n + 80] for n in range(0, 3200, 80)],
        "binary_header": {
            "job_id": int.from_bytes(content[3200:3204], "big"),
            "line_num": int.from_bytes(content[3204:3208], "big"),
            "reel_num": int.from_bytes(content[3208:3212], "big"),
            "data_traces_per_ensemble": int(words[6]),
            "sample_interval": int(words[8]),
            "samples_per_trace": int(words[10]),
            "data_sample_format": int(words[12]),
            "measurement_system_code": int(words[27]),
            "segy_revision_major": int(words[150]) >> 8,
            "segy_revision_minor": int(words[150]) & 255,
            "fixed_length_trace_flag": int(words[151]),
            "num_extended_text_headers": 0,
        }
        | binary,
    }
    documents = {".zgroup": {"zarr_format": 2}, ".zattrs": attributes, "metadata/.zattrs": about}
    documents |= {"data/.zgroup": {"zarr_format": 2}, "metadata/.zgroup": {"zarr_format": 2}}
    for name, (values, chunks, own) in arrays.items():
        array = zarr.create_array(
            path / name,
            shape=values.shape,
            chunks=chunks,
            dtype=values.dtype,
            zarr_format=2,
            compressors=own or Blosc("zstd"),
            fill_value=None if values.dtype.names else 0,
            chunk_key_encoding={"name": "v2", "separator": "/"},
            config={"write_empty_chunks": False},
        )
        array[...] = values
        documents[f"{name}/.zarray"] = json.loads((path / name / ".zarray").read_text())
    for name, document in documents.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(json.dumps(document))
    (path / ".zmetadata").write_text(json.dumps({"metadata": documents, "zarr_consolidated_format": 1}))
    return path

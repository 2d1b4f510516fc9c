"""Estimate how many requests a publication sends to a cloud store, by formulas fitted to publications to S3.

They were fitted to surveys of 0.7 to 430 MB, from local disk and from a store, and to images of 4 and 150 MB from
local disk. Copies and levels fetch arrays again that memory does not keep from one stage to the next; the report
fetches parts.
"""

from typing import Any

from tasks.volume.arrays.groups import PYRAMID

# Writes: small objects of a volume, of a copy (zarr.json and manifest), and of a level, which has coordinates, too.
SMALL_WRITES, WRITES_PER_COPY, WRITES_PER_LEVEL = 70, 2, 17
# Reads: small ones of a volume and of a report; of a source in a store those that find its index, and bytes of another.
SMALL_READS, SMALL_OF_REPORT, INDEX_READS, SOURCE_READ_BYTES = 27, 5, 44, 13_500_000
# Bytes of the master in a read of the proof, and in one of copies and levels together; reads of a report.
PROOF_READ_BYTES, DERIVE_READ_BYTES = 4_600_000, 2_100_000
LEAST_OF_REPORT, MOST_OF_REPORT, REPORT_READ_BYTES = 39, 114, 900_000
# Images: writes beside objects, of each array, of a report; small reads; bytes in a read of the proof, and of a stage.
IMAGE_WRITES, IMAGE_WRITES_PER_ARRAY, IMAGE_REPORT_WRITES = 26, 10, 7
IMAGE_READS, IMAGE_PROOF_READ_BYTES, IMAGE_STAGE_READ_BYTES = 15, 10_000_000, 2_400_000


def _fetched(rows: list[dict[str, Any]], kept: int) -> float:
    """Return the part of what a publication stores that its later stages fetch, because memory does not keep it."""
    stored = sum(row["stored_bytes"] for row in rows)
    return max(0.0, 1 - kept / stored) if stored else 0.0


def requests_of_survey(
    rows: list[dict[str, Any]], source_bytes: float, kept: int, *, report: bool
) -> dict[str, int]:
    """Return the requests for reading and writing that a publication sends to a cloud store.

    Args:
        rows: Rows of the arrays, with what they store; the master first.
        source_bytes: Size of a source that is in a store; 0 of one on a local disk.
        kept: Bytes of chunks that memory keeps.
        report: Whether a report is made.
    """
    stored, fetched = rows[0]["stored_bytes"], _fetched(rows, kept)
    reads = SMALL_READS + stored / PROOF_READ_BYTES + fetched * stored / DERIVE_READ_BYTES
    if source_bytes:
        reads += INDEX_READS + source_bytes / SOURCE_READ_BYTES
    if report:
        of_chunks = min(MOST_OF_REPORT, LEAST_OF_REPORT + stored / REPORT_READ_BYTES)
        reads += SMALL_OF_REPORT + fetched * of_chunks
    levels = sum(row["path"].startswith(f"{PYRAMID}/") for row in rows)
    writes = sum(row["objects"] for row in rows) + SMALL_WRITES
    writes += WRITES_PER_LEVEL * levels + WRITES_PER_COPY * (len(rows) - 1 - levels)
    return {"writes": writes, "reads": round(reads)}


def requests_of_images(
    rows: list[dict[str, Any]], steps: list[str], kept: int, *, local: bool
) -> dict[str, int]:
    """Return the requests of a publication of images; only those that write if the images are in a store.

    Args:
        rows: Same as in `requests_of_survey`.
        steps: Stages after the master.
        kept: Bytes of chunks that memory keeps.
        local: Whether the images are on a local disk.
    """
    report, stored, fetched = "report" in steps, rows[0]["stored_bytes"], _fetched(rows, kept)
    writes = sum(row["objects"] for row in rows) + IMAGE_WRITES + IMAGE_WRITES_PER_ARRAY * len(rows)
    reads = IMAGE_READS + ("proof" in steps) * stored / IMAGE_PROOF_READ_BYTES
    reads += fetched * len({"copies", "pyramid"} & set(steps)) * stored / IMAGE_STAGE_READ_BYTES
    if report:
        writes += IMAGE_REPORT_WRITES
        reads += SMALL_OF_REPORT + fetched * min(MOST_OF_REPORT, stored / REPORT_READ_BYTES)
    return {"writes": writes} | ({"reads": round(reads)} if local else {})

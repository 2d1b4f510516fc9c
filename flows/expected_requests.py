"""How many requests a publication sends to a store in a cloud: a formula fitted to publications to S3."""

from typing import Any

from tasks.volume.arrays.groups import PYRAMID

# Requests to S3, fitted to publications of 12, 78 and 264 MB. Writes: small objects of a volume, of a copy (zarr.json
# and manifest), and of a level, which has coordinates and a mask.
SMALL_WRITES, WRITES_PER_COPY, WRITES_PER_LEVEL = 70, 2, 17
# Reads: small ones; bytes of a read of the source, and of the master by the proof, and by copies and levels together,
# which send none for what is kept in memory; those of a report likewise, but for small ones.
SMALL_READS, SOURCE_READ_BYTES, PROOF_READ_BYTES, DERIVE_READ_BYTES = 75, 13_500_000, 3_100_000, 2_100_000
SMALL_OF_REPORT, LEAST_OF_REPORT, MOST_OF_REPORT, REPORT_READ_BYTES = 6, 39, 114, 900_000
# The same of volumes of images, fitted to three of 3 to 294 MB: writes beside objects, of each array, of a report;
IMAGE_WRITES, IMAGE_WRITES_PER_ARRAY, IMAGE_REPORT_WRITES = 26, 10, 7
# small reads, of each array, bytes of a read of the master (once for copies, levels and proof each); those of a report.
IMAGE_READS, IMAGE_READS_PER_ARRAY, IMAGE_READ_BYTES, IMAGE_REPORT_READS = 12, 4, 2_400_000, 15


def _fetched(rows: list[dict[str, Any]], kept: int) -> float:
    """Return the part of what a publication stores that its later stages fetch, because memory does not keep it."""
    stored = sum(row["stored_bytes"] for row in rows)
    return max(0.0, 1 - kept / stored) if stored else 0.0


def requests_of_survey(
    rows: list[dict[str, Any]], source_bytes: float, kept: int, *, report: bool
) -> dict[str, int]:
    """Return the requests for reading and writing that a publication sends to a cloud store."""
    stored, fetched = rows[0]["stored_bytes"], _fetched(rows, kept)
    reads = SMALL_READS + source_bytes / SOURCE_READ_BYTES + stored / PROOF_READ_BYTES
    reads += fetched * stored / DERIVE_READ_BYTES
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
    """Return the requests of a publication of images; of those in a store, whose reads depend on the files, writes."""
    report, stored, fetched = "report" in steps, rows[0]["stored_bytes"], _fetched(rows, kept)
    writes = sum(row["objects"] for row in rows) + IMAGE_WRITES + IMAGE_WRITES_PER_ARRAY * len(rows)
    passes = ("proof" in steps) + fetched * len({"copies", "pyramid"} & set(steps))
    reads = IMAGE_READS + IMAGE_READS_PER_ARRAY * len(rows) + passes * stored / IMAGE_READ_BYTES
    if report:
        writes += IMAGE_REPORT_WRITES
        reads += IMAGE_REPORT_READS + fetched * min(MOST_OF_REPORT, stored / REPORT_READ_BYTES)
    return {"writes": writes} | ({"reads": round(reads)} if local else {})

"""Shards that a local disk gets where chunks of their own would be too many files: `chunking`, and what asks it."""

import numpy as np
import zarr

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tests.support.segy_maker import segy_bytes, values_of
from tests.support.volumes import threads

FIELD = Image().field_name
CHUNKS = Master(chunks=[4, 4, 4])
COPIES = Copies(presets=[], more=[Copy(name="flat", chunks=[2, 8, 8])], quality="lossless")


def test_arrays_of_too_many_chunks_get_shards_and_those_that_are_there_are_recognised(tmp_path):
    raw = segy_bytes(shape=(16, 17), n_samples=18, code=5)
    (tmp_path / "a.sgy").write_bytes(raw)
    samples = np.frombuffer(raw[3600:], np.uint8).reshape(16 * 17, -1)[:, 240:]
    expected = values_of(samples, 5, ">").reshape(16, 17, 18)
    np.save(tmp_path / "a.npy", np.arange(16 * 17 * 18, dtype="u2").reshape(16, 17, 18))

    def publish(name: str, **limits: int) -> list[str]:
        survey, scan = f"{tmp_path}/{name}.zarr", f"{tmp_path}/{name}-scan.zarr"
        with threads(**limits) as compute:
            summaries = [
                ingest_segy(f"{tmp_path}/a.sgy", survey, master=CHUNKS, compute=compute),
                rechunk(survey, COPIES, compute=compute),
                pyramid(survey, Levels(levels=1, until=1), compute=compute),
                ingest_images(f"{tmp_path}/a.npy", scan, master=CHUNKS, compute=compute),
                pyramid(scan, Levels(levels=1, until=1), compute=compute),
            ]
        return [note for summary in summaries for note in summary["notes"] if "already" in note]

    assert publish("each") == []
    assert len(publish("each", local_objects=3)) == 5, "volumes of earlier versions are recognised"
    assert publish("shared", local_objects=3) == []
    for name, sharded in (("each", False), ("shared", True)):
        group, scan = (zarr.open_group(tmp_path / f"{name}{more}.zarr", mode="r") for more in ("", "-scan"))
        assert np.array_equal(group["amplitude"][:], expected, equal_nan=True)
        assert np.array_equal(group["flat"][:], expected, equal_nan=True)
        assert np.array_equal(scan[FIELD][:].reshape(-1), np.arange(16 * 17 * 18))
        for array in (group["amplitude"], group["flat"], group["pyramid/1/amplitude"], scan[FIELD]):
            assert (array.shards is not None) == sharded


def test_a_dry_run_says_that_an_array_would_be_too_many_files(tmp_path):
    (tmp_path / "a.sgy").write_bytes(segy_bytes(shape=(16, 17), n_samples=18))
    master = Master(chunks=[4, 4, 4], shards=[0])
    with threads(local_objects=3) as compute:
        summary = ingest_segy(
            f"{tmp_path}/a.sgy", f"{tmp_path}/a.zarr", master=master, run=Run(dry_run=True), compute=compute
        )
    assert summary["arrays"][0]["objects"] == 4 * 5 * 5
    assert [note for note in summary["notes"] if note.startswith("amplitude would be 100 files")]

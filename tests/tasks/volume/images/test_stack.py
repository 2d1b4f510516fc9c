"""Stacks on object stores: the same voxels, few requests, and files that change meanwhile.

Covers images/slab.py.
"""

import fsspec
import imagecodecs
import numpy as np
import pytest
import tifffile

from tasks.parameters import Raw, StorageOptions
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import find_stack
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import traffic
from tests.support.voxel_makers import slab

HERE = StorageOptions()


def voxels(shape=(11, 40, 60)):
    return np.random.default_rng(6).integers(0, 60000, shape).astype("u2")


@pytest.fixture
def files(tmp_path):
    """A stack in every form, by the URL below its folder."""
    expected = voxels()
    (tmp_path / "png").mkdir()
    (tmp_path / "tif").mkdir()
    for n, one in enumerate(expected):
        (tmp_path / "png" / f"s{n}.png").write_bytes(imagecodecs.png_encode(one))
        tifffile.imwrite(
            tmp_path / "tif" / f"s{n}.tif", one, compression="zlib", rowsperstrip=7, metadata=None
        )
    with tifffile.TiffWriter(tmp_path / "many.tif", byteorder=">") as writer:
        for one in expected:
            writer.write(one, tile=(16, 16), compression="zstd", metadata=None, contiguous=False)
    with tifffile.TiffWriter(tmp_path / "plain.tif", byteorder=">") as writer:
        for one in expected:
            writer.write(one, metadata=None, contiguous=False)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(expected))
    (tmp_path / "a.raw").write_bytes(expected.tobytes())
    return tmp_path, expected


def assert_all_read(base, expected, options=HERE):
    raw = Raw(dtype="uint16", shape=list(expected.shape))
    for name in ("png", "tif/s*.tif", "many.tif", "plain.tif", "fortran.npy", "a.raw"):
        stack = find_stack(f"{base}/{name}", options, raw)
        assert stack.shape == expected.shape
        slow = np.moveaxis(expected, stack.slow_axis, 0)
        for first, count in ((0, 4), (4, 4), (8, 3)):
            found = np.moveaxis(read_block(stack, slab(stack, first, count), options), stack.slow_axis, 0)
            np.testing.assert_array_equal(found, slow[first : first + count])


def test_stacks_in_memory_give_their_voxels(files):
    folder, expected = files
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/lab/core", recursive=True)
    try:
        assert_all_read("memory://lab/core", expected)
    finally:
        memory.rm("/lab", recursive=True)


@pytest.mark.slow
def test_stacks_on_s3_give_their_voxels_in_few_requests(files, s3):
    folder, expected = files
    options = StorageOptions(endpoint_url=s3)
    remote = fsspec.filesystem("s3", use_listings_cache=False)
    remote.put(str(folder), "staging/core", recursive=True)
    assert_all_read("s3://staging/core", expected, options)
    before = traffic.snapshot()
    stack = find_stack("s3://staging/core/many.tif", options)
    assert traffic.since(before).requests <= 5
    before = traffic.snapshot()
    read_block(stack, slab(stack, 0, 11), options)
    assert traffic.since(before).requests <= 11 + 5
    before = traffic.snapshot()
    find_stack("s3://staging/core/png", options)
    assert traffic.since(before).requests <= 1 + 2 * 11 + 2  # a listing, the slices, one look for a sidecar
    remote.pipe_file("staging/core/png/s3.png", imagecodecs.png_encode(expected[4]))
    stack = find_stack("s3://staging/core/png", options)
    remote.pipe_file("staging/core/png/s3.png", imagecodecs.png_encode(expected[5]))
    with pytest.raises(InputRefused, match="changed after the run began"):
        read_block(stack, slab(stack, 0, 11), options)


def test_a_slice_that_changed_since_it_was_described_is_refused(files):
    folder, _ = files
    for name, changed in (
        ("png", "png/s3.png"),
        ("many.tif", "many.tif"),
        ("a.raw", "a.raw"),
        ("tif", "tif/s7.tif"),
    ):
        raw = Raw(dtype="uint16", shape=[11, 40, 60])
        stack = find_stack(f"{folder}/{name}", HERE, raw)
        with open(folder / changed, "ab") as file:
            file.write(b"x")
        with pytest.raises(InputRefused, match="changed after the run began"):
            read_block(stack, slab(stack, 0, 11), HERE)


def test_the_files_stay_open_only_while_they_are_read(files):
    import os

    folder, expected = files
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        stack = find_stack(f"{folder}/png", HERE)
        read_block(stack, slab(stack, 0, len(expected)), HERE)
    assert len(os.listdir("/proc/self/fd")) <= before

"""TIFF against tifffile's own reading, over byte orders, sizes, tilings, codings and ways of writing stacks.

Covers images/descriptions.py, images/ranged.py.
"""

import struct
import zlib

import numpy as np
import pytest
import tifffile

from tasks.parameters import StorageOptions
from tasks.volume.images.header import Voxels
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import find_stack
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tests.support.voxel_makers import slab

HERE = StorageOptions()


def voxels(dtype, shape=(9, 21, 35)):
    rng = np.random.default_rng(1)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.4
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def assert_read(path, expected):
    stack = find_stack(str(path), HERE)
    assert stack.shape == expected.shape
    assert stack.first.dtype == expected.dtype.name
    for first, count in (
        (0, len(expected)),
        (len(expected) // 3, len(expected) // 2),
        (len(expected) - 1, 1),
    ):
        found = read_block(stack, slab(stack, first, count), HERE)
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, expected[first : first + count])
    return stack


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type_in_both_byte_orders(tmp_path, dtype, byteorder):
    expected = voxels(dtype)
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as writer:
        for one in expected:
            writer.write(one, contiguous=False, metadata=None, photometric="minisblack")
    assert_read(path, expected)
    np.testing.assert_array_equal(tifffile.imread(path), expected)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "zstd", "deflate", "jpeg2000", "png"])
@pytest.mark.parametrize("layout", ["strips", "one strip", "tiles"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_every_coding_in_strips_and_tiles(tmp_path, compression, layout, bigtiff):
    expected = voxels("u2", (5, 45, 61))
    options = {"strips": {"rowsperstrip": 7}, "one strip": {"rowsperstrip": 45}, "tiles": {"tile": (16, 32)}}[
        layout
    ]
    if compression == "zlib":
        options["predictor"] = True
    if compression == "jpeg2000":
        options["compressionargs"] = {"level": 0, "reversible": True}
    path = tmp_path / "stack.tif"
    swapped = bigtiff and compression not in (
        "jpeg2000",
        "png",
    )  # tifffile hands those encoders swapped voxels
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=">" if swapped else "<") as writer:
        for one in expected:
            writer.write(
                one,
                compression=compression,
                contiguous=False,
                metadata=None,
                photometric="minisblack",
                **options,
            )
    assert_read(path, expected)
    np.testing.assert_array_equal(tifffile.imread(path), expected)


def test_floats_with_a_predictor(tmp_path):
    expected = voxels("f4")
    tifffile.imwrite(tmp_path / "a.tif", expected, compression="zlib", predictor=3, photometric="minisblack")
    assert_read(tmp_path / "a.tif", expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_stacks_behind_the_description_of_one_page(tmp_path, byteorder):
    expected = voxels("u2")
    tifffile.imwrite(
        tmp_path / "shaped.tif",
        expected,
        photometric="minisblack",
        metadata={"axes": "ZYX"},
        byteorder=byteorder,
    )
    assert_read(tmp_path / "shaped.tif", expected)
    tifffile.imwrite(
        tmp_path / "imagej.tif", expected, imagej=True, metadata={"axes": "ZYX"}, byteorder=byteorder
    )
    with tifffile.TiffFile(tmp_path / "imagej.tif") as file:
        assert len(file.pages) in (1, 9)
    assert_read(tmp_path / "imagej.tif", expected)


def one_page_stack(path, expected, images):
    """A stack as ImageJ writes it beyond 4 GB: one description of a page, all voxels behind it."""
    tifffile.imwrite(
        path, expected[0], description=f"ImageJ=1.53t\nimages={images}\nslices={images}\n", metadata=None
    )
    with open(path, "ab") as file:
        data = expected[0].tobytes()
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages[0].dataoffsets[0] + len(data) == file.tell()
        file.write(expected[1:].tobytes())


def test_imagej_stacks_of_one_page_are_read_whole_or_refused(tmp_path):
    expected = voxels("u2")
    one_page_stack(tmp_path / "a.tif", expected, 9)
    stack = assert_read(tmp_path / "a.tif", expected)
    assert stack.first.kind == "plain"
    one_page_stack(tmp_path / "b.tif", expected, 10)
    with pytest.raises(InputRefused, match="says that 10 slices follow its only page, but ends before them"):
        find_stack(str(tmp_path / "b.tif"), HERE)


def test_voxel_lengths_come_from_imagej_and_ome(tmp_path):
    expected = voxels("u1")
    tifffile.imwrite(
        tmp_path / "j.tif",
        expected,
        imagej=True,
        resolution=(1 / 2.5, 1 / 3.5),
        metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"},
    )
    said = find_stack(str(tmp_path / "j.tif"), HERE).voxels
    assert said.unit == "micrometer"
    assert said.length == pytest.approx((4.0, 3.5, 2.5), rel=1e-6)
    sizes = {
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.75,
        "PhysicalSizeZ": 2.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZUnit": "nm",
    }
    tifffile.imwrite(tmp_path / "o.ome.tif", expected, metadata={"axes": "ZYX", **sizes})
    stack = assert_read(tmp_path / "o.ome.tif", expected)
    assert stack.voxels == Voxels((2.0, 0.75, 0.5), "nanometer")
    tifffile.imwrite(
        tmp_path / "p.tif", expected, photometric="minisblack", resolution=(72, 72), resolutionunit="inch"
    )
    screen = find_stack(str(tmp_path / "p.tif"), HERE).voxels
    assert screen.length == ()
    assert screen.notes == (
        "TIFF's resolution of 72 per inch is what programs write for screens; it was not taken",
    )


def test_thumbnails_are_passed_over(tmp_path):
    expected = voxels("u2", (3, 16, 16))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for one in expected:
            writer.write(one, metadata=None, contiguous=False)
            writer.write(one[::4, ::4], subfiletype=1, metadata=None, contiguous=False)
    assert_read(tmp_path / "a.tif", expected)


def test_strips_that_were_left_out_are_zero(tmp_path):
    expected = voxels("u2", (2, 32, 16))
    expected[:, 16:] = 0

    def tiles():
        for one in expected:
            yield one[:16]
            yield None

    tifffile.imwrite(
        tmp_path / "a.tif",
        tiles(),
        shape=expected.shape,
        dtype="u2",
        tile=(16, 16),
        compression="zlib",
        metadata=None,
    )
    assert_read(tmp_path / "a.tif", expected)


def test_pages_that_differ_are_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for rows in (9, 9, 8, 9):
            writer.write(voxels("u2", (rows, 5)), metadata=None, contiguous=False)
    with pytest.raises(
        InputRefused,
        match=r"slice 2 of .* holds \(8, 5\) uint16 where slice 0 holds \(9, 5\) uint16; 1 of 4 differ",
    ):
        find_stack(str(tmp_path / "a.tif"), HERE)


def test_the_only_axis_of_a_stack_is_its_depth_and_foreign_codings_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "t.ome.tif", voxels("u2", (4, 9, 5)), metadata={"axes": "TYX"})
    stack = find_stack(str(tmp_path / "t.ome.tif"), HERE)
    assert stack.shape == (4, 9, 5), "what is the only axis of a stack is its depth, whatever it is called"
    assert "calls 4 times was taken as its slices" in stack.voxels.notes[0]
    tifffile.imwrite(tmp_path / "j.tif", voxels("u1", (16, 16)), compression="lerc")
    with pytest.raises(InputRefused, match="coded with LERC, which is not read"):
        find_stack(str(tmp_path / "j.tif"), HERE)
    tifffile.imwrite(tmp_path / "z.tif", voxels("f4", (9, 5)).astype("c8"))
    with pytest.raises(InputRefused, match="holds complex64 voxels"):
        find_stack(str(tmp_path / "z.tif"), HERE)


def chained(tmp_path, **options):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **options) as writer:
        for one in voxels("u2", (5, 9, 7)):
            writer.write(one, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
    return path, bytearray(path.read_bytes()), offsets


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_chain_of_pages_that_breaks_is_refused_and_never_a_shorter_stack(tmp_path, bigtiff, byteorder):
    path, data, offsets = chained(tmp_path, bigtiff=bigtiff, byteorder=byteorder)
    counting, tag, form = ("Q", 20, "Q") if bigtiff else ("H", 12, "I")

    def next_at(page):
        tags = struct.unpack_from(byteorder + counting, data, offsets[page])[0]
        return offsets[page] + struct.calcsize(counting) + tags * tag

    for target, sentence in ((offsets[1], "an earlier page"), (10**9, "beyond its end")):
        broken = bytearray(data)
        struct.pack_into(byteorder + form, broken, next_at(2), target)
        path.write_bytes(broken)
        with pytest.raises(InputRefused, match=f"page 4 of .* should begin at byte .* {sentence}"):
            find_stack(str(path), HERE)
    path.write_bytes(data[: next_at(4)])
    with pytest.raises(InputRefused, match=r"cut off|cannot be read|beyond its end|where the file, of"):
        find_stack(str(path), HERE)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputRefused, match=r"cut off|cannot be read|beyond its end|where the file, of"):
        find_stack(str(path), HERE)


def test_what_is_no_tiff_at_all_is_refused(tmp_path):
    for number, content in enumerate(
        (b"II*\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08\0\1", b"II+\0\x08\0\0\0" + b"\xff" * 40)
    ):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(content)
        with pytest.raises(InputRefused, match="tif"):
            find_stack(str(path), HERE)


def lying(tmp_path, tag, value, **options):
    """A file of one page, one of whose tags says `value`."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels("u2", (32, 48)), metadata=None, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[tag].overwrite(value)
    return path


def test_headers_that_lie_about_sizes_are_refused(tmp_path):
    for tag, value, options in (
        ("ImageWidth", 2**31, {}),
        ("ImageWidth", 49, {}),
        ("ImageLength", 2**31, {}),
        ("ImageLength", 2**31, {"compression": "zlib"}),
        ("StripByteCounts", 2**31, {}),
        ("StripOffsets", 2**31, {}),
        ("TileWidth", 2**15 * 16, {"tile": (16, 16), "compression": "zlib"}),
    ):
        with pytest.raises(InputRefused, match=r"damaged|cannot be"):
            find_stack(str(lying(tmp_path, tag, value, **options)), HERE)


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzw", "packbits"])
def test_a_strip_that_would_swell_is_not_let(tmp_path, compression):
    import tracemalloc

    import imagecodecs

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), "u1"), compression=compression, rowsperstrip=64, metadata=None)
    zeros = bytes(16 << 20)
    data = {
        "zlib": lambda: zlib.compress(zeros),
        "zstd": lambda: imagecodecs.zstd_encode(zeros),
        "lzw": lambda: imagecodecs.lzw_encode(zeros),
        "packbits": lambda: b"\x81\x00" * (len(zeros) // 128),  # 128 zeros each
    }[compression]()
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.write(data)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["StripOffsets"].overwrite(size)
        file.pages[0].tags["StripByteCounts"].overwrite(len(data))
    tracemalloc.start()
    try:
        stack = find_stack(str(path), HERE)
        before = tracemalloc.get_traced_memory()[1]
        assert not read_block(stack, slab(stack, 0, 1), HERE).any()
    except (IntegrityFailure, InputRefused):
        before = tracemalloc.get_traced_memory()[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 4 << 20


def test_damaged_strips_are_told_from_slices(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels("u2", (32, 48)), compression="zlib", metadata=None, rowsperstrip=32)
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    stack = find_stack(str(path), HERE)
    with pytest.raises(IntegrityFailure, match=r"slice 0 of .*a\.tif cannot be decoded"):
        read_block(stack, slab(stack, 0, 1), HERE)


def test_single_page_files_make_a_stack_and_odd_ones_are_named(tmp_path):
    expected = voxels("u2", (11, 9, 7))
    for n, one in enumerate(expected):
        tifffile.imwrite(tmp_path / f"s{n}.tif", one, compression="zlib" if n % 2 else None, metadata=None)
    assert_read(tmp_path, expected)
    tifffile.imwrite(tmp_path / "s4.tif", expected[4, :8])
    tifffile.imwrite(tmp_path / "s7.tif", expected[7].astype("u1"))
    with pytest.raises(
        InputRefused,
        match=r"9 files of .* hold slices of 9 x 7 uint16, but 2 do not: s4.tif \(8 x 7 uint16\), s7.tif",
    ):
        find_stack(str(tmp_path), HERE)


def test_files_of_several_pages_follow_each_other(tmp_path):
    expected = voxels("u2", (11, 9, 7))
    for n, (start, stop) in enumerate(((0, 4), (4, 8), (8, 11))):
        with tifffile.TiffWriter(tmp_path / f"part{n}.tif") as writer:
            for one in expected[start:stop]:
                writer.write(one, metadata=None, contiguous=False, compression="lzw")
    assert_read(tmp_path, expected)


def test_the_shared_stacks_equal_tifffile(shared):
    for name in ("spam/snow.tif", "puma/python/pumapy/data/100_fiberform.tif"):
        assert_read(shared / "data" / name, tifffile.imread(shared / "data" / name))

"""Raw binary, .npy, NRRD and MetaImage: every order and header, and the numbers held against the file's size.

Covers images/header.py.
"""

import gzip
import json
import zlib

import numpy as np
import pytest

from tasks.parameters import Raw, StorageOptions
from tasks.volume.images.header import Voxels
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import Stack, find_stack
from tasks.volume.outcomes import InputRefused
from tests.support.voxel_makers import slab

HERE = StorageOptions()
SHAPE = (9, 5, 13)


def voxels(dtype="u2"):
    if dtype == "bool":
        return np.random.default_rng(5).random(SHAPE) < 0.5
    return np.random.default_rng(5).integers(0, 120, SHAPE).astype(dtype)


def assert_read(url, expected, raw=Raw()):
    stack = find_stack(str(url), HERE, raw)
    stack = Stack.from_json(json.loads(json.dumps(stack.to_json())))
    assert (stack.shape, stack.first.dtype) == (expected.shape, expected.dtype.newbyteorder("=").name)
    slow = np.moveaxis(expected, stack.slow_axis, 0)
    for first, count in ((0, len(slow)), (len(slow) // 3, (len(slow) + 1) // 2)):
        found = read_block(stack, slab(stack, first, count), HERE)
        assert found.dtype.isnative
        np.testing.assert_array_equal(np.moveaxis(found, stack.slow_axis, 0), slow[first : first + count])
    return stack


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint32", "int64", "float16", "float32", "float64"]
)
def test_raw_files_in_both_orders(tmp_path, order, byte_order, dtype):
    expected = voxels(dtype)
    stored = expected.astype(np.dtype(dtype).newbyteorder({"little": "<", "big": ">"}[byte_order]))
    (tmp_path / "a.raw").write_bytes(b"x" * 7 + stored.tobytes(order))
    stack = assert_read(
        tmp_path / "a.raw",
        expected,
        Raw(dtype=dtype, shape=list(SHAPE), offset=7, order=order, byte_order=byte_order),
    )
    assert stack.slow_axis == (2 if order == "F" else 0)


def test_raw_slices_in_files_of_their_own(tmp_path):
    expected = voxels()
    for n, one in enumerate(expected):
        (tmp_path / f"s{n}.raw").write_bytes(one.tobytes())
    assert_read(f"{tmp_path}/s*.raw", expected, Raw(dtype="uint16", shape=[1, 5, 13]))
    with pytest.raises(InputRefused, match="9 files in Fortran order"):
        find_stack(f"{tmp_path}/s*.raw", HERE, Raw(dtype="uint16", shape=[1, 5, 13], order="F"))


def test_any_byte_but_zero_of_a_boolean_file_is_true(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes([0, 1, 2, 255]))
    stack = find_stack(str(tmp_path / "a.raw"), HERE, Raw(dtype="bool", shape=[1, 2, 2]))
    assert read_block(stack, slab(stack, 0, 1), HERE).tobytes() == bytes([0, 1, 1, 1])


def test_raw_files_need_a_shape_that_gives_their_size(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(InputRefused, match=r"give its dtype and its shape .* --dtype uint16 --shape"):
        find_stack(str(tmp_path / "a.raw"), HERE)
    with pytest.raises(
        InputRefused,
        match=r"has 100 bytes, but \(2, 5, 5\) voxels of uint16 after 4 bytes of header make 104",
    ):
        find_stack(str(tmp_path / "a.raw"), HERE, Raw(dtype="uint16", shape=[2, 5, 5], offset=4))
    (tmp_path / "a.tif").write_bytes(bytes(100))
    with pytest.raises(InputRefused, match="does not begin like a file of that name"):
        find_stack(str(tmp_path / "a.tif"), HERE, Raw(dtype="uint8", shape=[1, 10, 10]))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "?", ">f4", "<i8"])
def test_numpy_files(tmp_path, order, dtype):
    expected = voxels("bool" if dtype == "?" else dtype)
    np.save(tmp_path / "a.npy", np.asarray(expected, order=order))
    assert_read(tmp_path / "a.npy", expected)
    np.save(tmp_path / "b.npy", expected[3])
    assert_read(tmp_path / "b.npy", expected[3:4])


def test_numpy_files_of_what_is_no_image_are_refused(tmp_path):
    for values, sentence in (
        (np.zeros((2, 2, 2, 2)), "shape .2, 2, 2, 2.; wanted two or three axes"),
        (np.zeros((3, 3), complex), "complex128 voxels"),
        (np.array([[None]]), "object voxels"),
        (np.zeros((3, 0, 3)), "none of them empty"),
    ):
        np.save(tmp_path / "a.npy", values)
        with pytest.raises(InputRefused, match=sentence):
            find_stack(str(tmp_path / "a.npy"), HERE)
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(InputRefused, match="or the file is cut off"):
        find_stack(str(tmp_path / "a.npy"), HERE)
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\x05\x00{}")
    with pytest.raises(InputRefused, match="not a NumPy file that can be read"):
        find_stack(str(tmp_path / "a.npy"), HERE)


NRRD = """NRRD0005
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
type: {type}
dimension: 3
space: left-posterior-superior
sizes: 13 5 9
space directions: (0.5,0,0) (0,0.25,0) (0,0,2)
kinds: domain domain domain
endian: {endian}
encoding: raw
space origin: (1,2,3)
space units: "mm" "mm" "mm"
who:=somebody
"""


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_nrrd_files(tmp_path, endian, line):
    expected = voxels("i2")
    stored = expected.astype(">i2" if endian == "big" else "<i2").tobytes()
    text = NRRD.format(type="signed short int", endian=endian).replace("\n", line)
    (tmp_path / "a.nrrd").write_bytes(text.encode() + line.encode() + stored)
    stack = assert_read(tmp_path / "a.nrrd", expected)
    assert stack.voxels == Voxels((2.0, 0.25, 0.5), "millimeter", (3.0, 2.0, 1.0))
    detached = text + "byte skip: 3" + line + "data file: a.raw" + line
    (tmp_path / "b.nhdr").write_bytes(detached.encode())
    (tmp_path / "a.raw").write_bytes(b"xyz" + stored)
    assert assert_read(tmp_path / "b.nhdr", expected).files[0][0].url.endswith("a.raw")
    (tmp_path / "b.nhdr").write_bytes(detached.replace("byte skip: 3", "byte skip: -1").encode())
    assert_read(tmp_path / "b.nhdr", expected)


META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = {big}
CompressedData = False
Offset = 1 2 3
ElementSpacing = 0.5 0.25 2
DimSize = 13 5 9
ElementType = MET_{type}
ElementDataFile = {data}
"""


@pytest.mark.parametrize("big", ["True", "False"])
def test_meta_images(tmp_path, big):
    expected = voxels("f4")
    stored = expected.astype(">f4" if big == "True" else "<f4").tobytes()
    (tmp_path / "a.mha").write_bytes(META.format(big=big, type="FLOAT", data="LOCAL").encode() + stored)
    stack = assert_read(tmp_path / "a.mha", expected)
    assert stack.voxels == Voxels((2.0, 0.25, 0.5), "", (3.0, 2.0, 1.0))
    (tmp_path / "b.mhd").write_text("HeaderSize = -1\n" + META.format(big=big, type="FLOAT", data="b.raw"))
    (tmp_path / "b.raw").write_bytes(b"anything" + stored)
    assert_read(tmp_path / "b.mhd", expected)


@pytest.mark.parametrize("endian", ["little", "big"])
def test_compressed_nrrd_files_and_meta_images(tmp_path, endian):
    expected = voxels("i2")
    stored = expected.astype(">i2" if endian == "big" else "<i2").tobytes()
    text = NRRD.format(type="short", endian=endian).replace("raw", "gzip")
    (tmp_path / "a.nrrd").write_bytes(text.encode() + b"\n" + gzip.compress(stored))
    assert_read(tmp_path / "a.nrrd", expected)
    (tmp_path / "b.nhdr").write_text(text + "byte skip: 3\ndata file: b.raw.gz\n")
    (tmp_path / "b.raw.gz").write_bytes(gzip.compress(b"xyz" + stored[:99]) + gzip.compress(stored[99:]))
    assert_read(tmp_path / "b.nhdr", expected)
    meta = META.format(big=str(endian == "big"), type="SHORT", data="LOCAL").replace(
        "Data = False", "Data = True"
    )
    (tmp_path / "c.mha").write_bytes(meta.encode() + zlib.compress(stored))
    assert_read(tmp_path / "c.mha", expected)
    (tmp_path / "d.mhd").write_text(meta.replace("LOCAL", "d.zraw"))
    (tmp_path / "d.zraw").write_bytes(zlib.compress(stored))
    assert_read(tmp_path / "d.mhd", expected)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.nrrd", NRRD.format(type="block", endian="little") + "\n", "an NRRD file of type 'block'"),
        (
            "a.nrrd",
            NRRD.format(type="short", endian="little").replace("raw", "bzip2") + "\n",
            "encoded as bzip2, which is not read; save it as raw or gzip",
        ),
        (
            "a.nrrd",
            NRRD.format(type="short", endian="little").replace("raw", "gzip") + "\nno gzip",
            "the last 7 bytes of .* are no compressed stream of 1,170 bytes",
        ),
        (
            "a.nrrd",
            NRRD.format(type="short", endian="little").replace("raw", "gzip") + "byte skip: -1\n\nx",
            "counts its byte skip from the end",
        ),
        ("a.nhdr", NRRD.format(type="short", endian="little") + "data file: ../a.raw\n", "lies elsewhere"),
        (
            "a.nhdr",
            NRRD.format(type="short", endian="little") + "data file: s%03d.raw 1 9 1 2\n",
            "over several files",
        ),
        ("a.nrrd", NRRD.format(type="short", endian="little") + "\nxx", "has 366 bytes|bytes, but"),
        (
            "a.nrrd",
            NRRD.format(type="short", endian="little").replace("13 5 9", "13 five 9") + "\n",
            "where numbers belong",
        ),
        ("a.mhd", META.format(big="False", type="SHORT", data="/etc/passwd"), "lies elsewhere"),
        ("a.mhd", META.format(big="False", type="SHORT", data="LIST"), "over several files"),
        ("a.mhd", META.format(big="False", type="SHORT", data="a\0.raw"), "names no file as its data"),
        ("a.mhd", META.format(big="False", type="SHORT", data="a" * 300), "names no file as its data"),
        ("a.mhd", META.format(big="False", type="SHORT", data="none.raw"), "there is no file"),
        (
            "a.mhd",
            META.format(big="False", type="SHORT", data="LOCAL").replace(
                "CompressedData = False", "CompressedData = True"
            ),
            "the last 0 bytes of .* are no compressed stream",
        ),
        (
            "a.mhd",
            "ElementNumberOfChannels = 3\n" + META.format(big="False", type="SHORT", data="LOCAL"),
            "3 values per voxel",
        ),
        ("a.mhd", "NDims = 3\n", "without ElementDataFile"),
        ("a.mha", META.format(big="False", type="OTHER", data="LOCAL"), "MetaImage of type 'MET_OTHER'"),
    ],
)
def test_headers_that_do_not_describe_their_file_are_refused(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputRefused, match=sentence):
        find_stack(str(tmp_path / name), HERE)


def test_a_raw_file_in_gzip_is_read_as_what_it_holds(tmp_path):
    values = np.random.default_rng(5).integers(0, 60000, (6, 7, 9)).astype(">u2")
    (tmp_path / "scan.raw.gz").write_bytes(gzip.compress(b"head" + values.tobytes()))
    raw = Raw(dtype="uint16", shape=[6, 7, 9], byte_order="big", offset=4)
    stack = find_stack(str(tmp_path / "scan.raw.gz"), HERE, raw)
    np.testing.assert_array_equal(read_block(stack, slab(stack, 2, 3), HERE), values[2:5])

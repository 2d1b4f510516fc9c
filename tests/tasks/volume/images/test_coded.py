"""PNG and JPEG 2000 stacks, and what their headers may not say.

Covers tasks/volume/limits.py.
"""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest

from tasks.parameters import StorageOptions
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import find_stack
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tests.support.voxel_makers import slab

HERE = StorageOptions()


def slices(dtype, shape=(5, 33, 47)):
    limits = np.iinfo(dtype)
    return np.random.default_rng(3).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def png(values, bits):
    """A gray PNG of 1, 2 or 4 bits, which imagecodecs does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = []
    for row in values:
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows.append(b"\0" + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)))
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"".join(rows)))
        + chunk(b"IEND", b"")
    )


def assert_read(folder, expected):
    stack = find_stack(str(folder), HERE)
    assert (stack.shape, stack.first.dtype) == (expected.shape, expected.dtype.name)
    np.testing.assert_array_equal(read_block(stack, slab(stack, 1, 3), HERE), expected[1:4])
    np.testing.assert_array_equal(read_block(stack, slab(stack, 0, len(expected)), HERE), expected)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_png_stacks_keep_their_values(tmp_path, dtype):
    expected = slices(dtype)
    for n, one in enumerate(expected):
        (tmp_path / f"s{n}.png").write_bytes(imagecodecs.png_encode(one))
    assert_read(tmp_path, expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_gives_the_numbers_stored(tmp_path, bits):
    expected = np.random.default_rng(4).integers(0, 2**bits, (5, 9, 13)).astype(bool if bits == 1 else "u1")
    for n, one in enumerate(expected):
        (tmp_path / f"s{n}.png").write_bytes(png(one, bits))
    assert_read(tmp_path, expected)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
@pytest.mark.parametrize(("suffix", "form"), [("jp2", "jp2"), ("j2k", "j2k")])
def test_jpeg2000_stacks_keep_their_values(tmp_path, dtype, suffix, form):
    expected = slices(dtype)
    for n, one in enumerate(expected):
        data = imagecodecs.jpeg2k_encode(one, level=0, reversible=True, codecformat=form)
        (tmp_path / f"s{n}.{suffix}").write_bytes(data)
    assert_read(tmp_path, expected)


def test_jpeg2000_of_twelve_bits(tmp_path):
    expected = slices("u2") % 4096
    for n, one in enumerate(expected):
        (tmp_path / f"s{n}.jp2").write_bytes(
            imagecodecs.jpeg2k_encode(one, level=0, reversible=True, bitspersample=12)
        )
    assert_read(tmp_path, expected)


@pytest.mark.parametrize(("values", "opacity"), [(1, False), (2, True), (3, False), (4, True)])
def test_opacity_is_told_as_the_channel_that_it_becomes(tmp_path, values, opacity):
    shape = (3, 33, 47, values) if values > 1 else (3, 33, 47)
    for number, page in enumerate(slices("uint8", shape)):
        (tmp_path / f"s{number}.png").write_bytes(imagecodecs.png_encode(page))
    notes = find_stack(str(tmp_path), HERE).voxels.notes
    assert (
        "the last value of each voxel is its opacity (alpha); it was taken as a channel" in notes
    ) == opacity


def test_a_palette_and_parts_of_unlike_depths_are_refused(tmp_path):
    palette = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 7, 9, 8, 3, 0, 0, 0)
    )
    (tmp_path / "a.png").write_bytes(palette + b"crc!" + bytes(100))
    with pytest.raises(InputRefused, match="a PNG with a palette"):
        find_stack(str(tmp_path / "a.png"), HERE)
    colour = bytearray(
        imagecodecs.jpeg2k_encode(slices("u1", (9, 7, 3)), level=0, reversible=True, codecformat="j2k")
    )
    colour[42] = 9  # bits of the first component, less one
    (tmp_path / "b.j2k").write_bytes(colour)
    with pytest.raises(InputRefused, match="3 values per voxel; wanted up to 4, all alike"):
        find_stack(str(tmp_path / "b.j2k"), HERE)


def test_the_memory_that_a_header_asks_for_is_known_before_decoding(tmp_path):
    head = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + b"crc!")
    with pytest.raises(InputRefused, match=r"2,147,483,647 voxels, which 33 bytes of PNG cannot hold"):
        find_stack(str(path), HERE)
    data = bytearray(
        imagecodecs.jpeg2k_encode(slices("u2", (9, 7)), level=0, reversible=True, codecformat="j2k")
    )
    struct.pack_into(">II", data, 8, 2**32 - 1, 2**32 - 1)
    (tmp_path / "b.j2k").write_bytes(data)
    assert find_stack(str(tmp_path / "b.j2k"), HERE).reading_bytes() > 2**63


@pytest.mark.parametrize("encode", [imagecodecs.png_encode, imagecodecs.jpeg2k_encode], ids=["png", "jp2"])
def test_damaged_files_are_refused_or_told_when_read(tmp_path, encode):
    data = encode(slices("u2", (33, 47)))
    path = tmp_path / "a.bin"
    for length in (9, 20, 30):
        path.write_bytes(data[:length])
        with pytest.raises(InputRefused):
            find_stack(str(path), HERE)
    path.write_bytes(data[: len(data) // 2])
    stack = find_stack(str(path), HERE)
    with pytest.raises(IntegrityFailure, match=r"a\.bin cannot be decoded"):
        read_block(stack, slab(stack, 0, 1), HERE)


def test_a_file_whose_image_is_not_what_its_header_said_is_told_when_read(tmp_path):
    first, other = slices("u1", (9, 13)), slices("u1", (9, 14))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(first))
    stack = find_stack(str(tmp_path), HERE)
    from tasks.volume.images import coded

    with pytest.raises(IntegrityFailure, match="holds a piece of 9 x 14 voxels where 117 belong"):
        coded.decode(imagecodecs.png_encode(other), stack.first.details, np.empty((9, 13), "u1"), "a.png")
    with pytest.raises(IntegrityFailure, match=r"cannot be decoded to \(9, 13\) uint8, as its header says"):
        coded.decode(
            imagecodecs.png_encode(other.T.copy()[:13, :9]), stack.first.details, np.empty((9, 13), "u1"), "b"
        )


def test_a_small_image_before_the_one_that_is_decoded_does_not_vouch_for_it():
    from tasks.volume.images import coded

    small, large = (
        imagecodecs.jpeg2k_encode(slices("u1", shape), codecformat="jp2") for shape in ((9, 7), (90, 70))
    )
    inner = small[small.find(coded.CODESTREAM) :]
    decoy = struct.pack(">I", 8 + len(inner)) + b"free" + inner
    first = large.find(b"ftyp") - 4
    length = int.from_bytes(large[first : first + 4], "big")
    data = large[: first + length] + decoy + large[first + length :]
    with pytest.raises(IntegrityFailure, match="holds a piece of 90 x 70 voxels where 63 belong"):
        coded.decode(data, {"bits": 8}, np.empty((9, 7), "u1"), "a.jp2")

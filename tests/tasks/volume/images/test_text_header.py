"""Headers of strangers are read in time that grows with their length alone, and refused in one short sentence."""

import time

import numpy as np
import pytest

from tasks.parameters import StorageOptions
from tasks.volume.images.stack import find_stack
from tasks.volume.outcomes import InputRefused

HERE = StorageOptions()
META = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\n{}ElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n{}\n"
FULL = 1 << 20  # bytes, more than any header that is read


def hostile() -> dict[str, tuple[str, bytes]]:
    """Headers by what is wrong with them, with the name of their file."""
    voxels = bytes(24)
    texts = {
        "newlines": "\n" * 60_000,
        "blanks": " " * 60_000 + "\n",
        "many blanks": " " * FULL,
        "key and blanks": "a" + " " * 60_000 + "=\n",
        "blanks before a value": "a =" + " " * 60_000 + "x" + " " * 4000 + "\n",
        "many lines": "a = 1\n" * 200_000,
        "carriage returns": "\r" * FULL,
        "a number of a million digits": "HeaderSize = " + "9" * FULL + "\n",
        "a long number": "HeaderSize = " + "9" * 5000 + "\n",
    }
    found = {f"meta, {name}": ("a.mha", META.format(text).encode() + voxels) for name, text in texts.items()}
    texts = {
        "blanks in a key": "a" + " " * 60_000 + ": 1\n",
        "blanks after a value": "a: 1" + " " * 60_000 + "\n",
        "blanks without a colon": "a" + " " * 60_000 + "\n",
        "a million blanks": "a" + " " * FULL,
        "open brackets": "space directions: " + "(" * 60_000 + "\n",
        "quotes": "space units: " + '"' * 60_001 + "\n",
        "many lines": "a: 1\n" * 200_000,
        "a skip that is no number": "byte skip: many\n",
        "a skip of many digits": "byte skip: " + "9" * 5000 + "\n",
        "a million sizes": "sizes:" + " 1" * 30_000 + "\n",
    }
    found |= {
        f"nrrd, {name}": ("a.nrrd", NRRD.format(text).encode() + voxels) for name, text in texts.items()
    }
    for name, text in (
        ("open brackets", "(" * 9000),
        ("a shape of texts", "{'descr': '<u1', 'fortran_order': 0}"),
    ):
        head = text.encode() + b"\n"
        found[f"npy, {name}"] = (
            "a.npy",
            b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + voxels,
        )
    return found


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", hostile())
def test_a_hostile_header_is_read_or_refused_within_seconds(tmp_path, name):
    file, data = hostile()[name]
    (tmp_path / file).write_bytes(data)
    began = time.process_time()
    refusal, stack = "", None
    try:
        stack = find_stack(str(tmp_path / file), HERE)
    except InputRefused as error:
        refusal = str(error)
    assert stack is None or stack.shape == (4, 3, 2)
    assert stack is not None or refusal
    assert len(refusal) < 600
    assert "\n" not in refusal
    assert "Error" not in refusal
    assert time.process_time() - began < 5.0  # of all threads of a process that may be busy; minutes before


def test_lengths_that_are_no_numbers_are_no_lengths(tmp_path):
    for spacing in ("1 nan 1", "1 1e999 1", "1 0 1"):
        (tmp_path / "a.mha").write_bytes(META.format(f"ElementSpacing = {spacing}\n").encode() + bytes(24))
        assert find_stack(str(tmp_path / "a.mha"), HERE).voxels.length == ()
    (tmp_path / "a.mha").write_bytes(
        META.format("ElementSpacing = 1 2 3\nOffset = 1 nan 1\n").encode() + bytes(24)
    )
    voxels = find_stack(str(tmp_path / "a.mha"), HERE).voxels
    assert (voxels.length, voxels.origin) == ((3.0, 2.0, 1.0), ())


def test_lines_that_end_in_cr_lf_hold_the_same_values(tmp_path):
    expected = np.arange(24, dtype=">u2").reshape(4, 3, 2)
    text = META.replace("UCHAR", "USHORT").format("BinaryDataByteOrderMSB = True\n").replace("\n", "\r\n")
    (tmp_path / "a.mha").write_bytes(text.encode() + expected.tobytes())
    stack = find_stack(str(tmp_path / "a.mha"), HERE)
    from tasks.volume.images.slab import read_block
    from tests.support.voxel_makers import slab

    assert np.array_equal(read_block(stack, slab(stack, 0, 4), HERE), expected)

"""Header tables against the standard, words against hand values, texts against what was written.

Covers segy/text.py.
"""

import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import segyio
from hypothesis import given
from hypothesis import strategies as st

from tasks.volume.segy.headers import (
    BINARY_HEADER_FIELDS,
    FIELD_WIDTHS,
    TRACE_HEADER_DTYPE,
    TRACE_HEADER_FIELDS,
    binary_header,
    ibm_values,
    word,
    word_bytes,
)
from tasks.volume.segy.text import encoding, textual_header


def test_the_89_trace_header_fields_tile_bytes_1_to_232():
    assert len(TRACE_HEADER_FIELDS) == 89
    byte = 1
    for field in TRACE_HEADER_FIELDS:
        assert field.byte == byte
        byte += word_bytes(field.type)
    assert byte == 233
    assert FIELD_WIDTHS.dtype == np.uint8
    assert FIELD_WIDTHS.sum() == 232 == TRACE_HEADER_DTYPE.itemsize
    assert len({field.name for field in TRACE_HEADER_FIELDS}) == 89
    assert all(np.dtype(kind).str[0] == "<" for kind, _ in TRACE_HEADER_DTYPE.fields.values())


def test_fields_lie_where_segyio_has_them():
    assert {field.byte for field in TRACE_HEADER_FIELDS} == {
        int(key) for key in segyio.TraceField.enums()
    } - {
        0,  # not a field
        *range(233, 241, 4),  # rev 1 leaves them unassigned
    }
    assert {field.byte + 3200 for field in BINARY_HEADER_FIELDS} <= {
        int(key) for key in segyio.BinField.enums()
    }


def test_names_and_types_are_those_that_multidimio_stores(shared):
    stored = json.loads((shared / "data" / "f3-very-small.mdio" / "headers" / "zarr.json").read_text())
    fields = [tuple(field) for field in stored["data_type"]["configuration"]["fields"]]
    # That volume was made with the rev 0 specification and the four words that index it.
    ours = [(field.name, field.type) for field in TRACE_HEADER_FIELDS]
    assert fields[:71] == ours[:71]
    assert set(fields[71:]) == {(name, "int32") for name in ("inline", "crossline", "cdp_x", "cdp_y")}
    assert set(fields) <= set(ours)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    ("word_type", "code", "values"),
    [
        ("int16", "h", [-32768, -1, 0, 32767]),
        ("uint16", "H", [0, 32768, 65535]),
        ("int32", "i", [-(2**31), -1, 0, 2**31 - 1]),
        ("float32", "f", [-2.5, 0.0, 1e30]),
    ],
)
@pytest.mark.parametrize("byte", [1, 18, 71, 237])
def test_words_are_read_at_any_byte_in_either_order(word_type, code, values, byte, order):
    raw = np.full((len(values), 240), 0xA5, np.uint8)
    for row, value in zip(raw, values, strict=True):
        packed = struct.pack(order + code, value)
        row[byte - 1 : byte - 1 + len(packed)] = list(packed)
    found = word(raw, byte, word_type, order)
    assert found.dtype == np.dtype(word_type)
    np.testing.assert_array_equal(found, np.array(values, word_type))


def test_words_of_a_strided_view_are_read():
    records = np.arange(3 * 300, dtype=np.uint32).astype(np.uint8).reshape(3, 300)
    found = word(records[:, :240], 9, "int32", ">")
    assert found.tolist() == [int.from_bytes(row[8:12].tobytes(), "big", signed=True) for row in records]


@pytest.mark.parametrize(
    ("bits", "value"),
    [
        (0x00000000, 0.0),
        (0x42640000, 100.0),
        (0xC276A000, -118.625),
        (0x41100000, 1.0),
        (0x42010000, 1.0),  # unnormalised
        (0x7FFFFFFF, (1 - 2**-24) * 16.0**63),
        (0x00000001, 2.0**-24 * 16.0**-64),
    ],
)
def test_ibm_words_have_their_exact_value(bits, value):
    assert ibm_values(np.array([bits], np.uint32))[0] == value
    raw = np.zeros((1, 240), np.uint8)
    raw[0, 180:184] = list(bits.to_bytes(4, "big"))
    assert word(raw, 181, "ibm32", ">")[0] == value


@pytest.mark.parametrize(
    ("byte", "word_type"), [(0, "int16"), (240, "int16"), (238, "int32"), (500, "int16")]
)
def test_words_outside_the_header_say_where_they_can_start(byte, word_type):
    with pytest.raises(ValueError, match=r"cannot start at byte \d+; .* it starts between 1 and 23[79]"):
        word(np.zeros((2, 240), np.uint8), byte, word_type, ">")


def test_the_binary_header_has_the_keys_and_values_that_multidimio_stores(shared):
    raw = (shared / "data" / "seisplot" / "data" / "F3_very_small.sgy").read_bytes()[3200:3600]
    stored = json.loads(
        (shared / "data" / "f3-very-small.mdio" / "segy_file_header" / "zarr.json").read_text()
    )
    by_peer = stored["attributes"]["binaryHeader"]
    ours = binary_header(raw, ">")
    # That volume was made with the rev 0 specification, which lacks two words and garbles the revision.
    assert list(ours) == [
        *(key for key in by_peer if not key.startswith("segy_revision")),
        "fixed_length_trace_flag",
        "num_extended_text_headers",
        "segy_revision_major",
        "segy_revision_minor",
    ]
    assert all(ours[key] == value for key, value in by_peer.items() if not key.startswith("segy_revision"))
    assert (ours["segy_revision_major"], ours["segy_revision_minor"]) == (1, 0)
    assert all(type(value) is int for value in ours.values())


@pytest.mark.parametrize(
    ("order", "stored", "expected"),
    [
        (">", "0100", (1, 0)),
        (">", "0001", (0, 1)),
        ("<", "0001", (1, 0)),
        ("<", "0100", (0, 1)),
        (">", "0201", (2, 1)),
        ("<", "0201", (2, 1)),
    ],
)
def test_the_revision_is_split_as_multidimio_joins_it(segy, order, stored, expected):
    raw = segy(order=order, revision=bytes.fromhex(stored))[3200:3600]
    found = binary_header(raw, order)
    assert (found["segy_revision_major"], found["segy_revision_minor"]) == expected
    assert (found["samples_per_trace"], found["sample_interval"]) == (9, 4000)


LINES = [
    f"C{line:2d} LINE {line} OF A SURVEY, 100 % (A/B) 'x' <y> = 3; z: #1 @ 2 + 4 * 5 - 6 _ ?"
    for line in range(1, 41)
]


@pytest.mark.parametrize("codec", ["cp500", "ascii"])
def test_texts_in_ebcdic_and_ascii_read_the_same(codec):
    raw = "".join(line.ljust(80) for line in LINES).encode(codec)
    assert textual_header(raw) == "\n".join(line.ljust(80) for line in LINES)
    assert encoding(raw) == ("cp500" if codec == "cp500" else "latin-1")


@pytest.mark.parametrize(
    ("raw", "start"),
    [
        (b"C01 NULS\x00\x00\x00\x07 HERE".ljust(3200, b"\x00"), "C01 NULS     HERE"),
        ("C01 Größe in mètres".encode("latin-1").ljust(3200), "C01 Gro?e in metres"),
        ("C01 Größe in mètres, 水深 50 м".encode().ljust(3200), "C01 Gro?e in metres, ?? 50 ?"),
        ("C01 mètres".encode() + b" " * 3188 + "è".encode()[:1], "C01 metres"),
        (b"C01 a line end\nthat is none".ljust(80) + b"C02 " * 780, "C01 a line end that is none"),
        ("C01 Größe".encode("cp500").ljust(3200, b"\x40"), "C01 Gro?e"),
        (b"short text", "short text"),
    ],
)
def test_what_ascii_lacks_is_replaced(raw, start):
    text = textual_header(raw)
    assert text.split("\n")[0].rstrip() == start
    assert [len(line) for line in text.split("\n")] == [80] * 40


@pytest.mark.parametrize("codec", ["cp500", "ascii"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_written_with_line_ends_are_cut_there(codec, end):
    raw = end.join(LINES[:31]).encode(codec).ljust(3200, b"\x00")
    assert textual_header(raw) == "\n".join(line.ljust(80) for line in LINES[:31] + [""] * 9)


PUNCTUATION = "C 1 depth [m] | amplitude! ^ limits [0, 1] ~".ljust(3200)


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("cp037", {"[": 0xBA, "]": 0xBB, "|": 0x4F, "!": 0x5A, "^": 0xB0}),
        ("cp500", {"[": 0x4A, "]": 0x5A, "|": 0xBB, "!": 0x4F, "^": 0x5F}),
        ("cp1047", {"[": 0xAD, "]": 0xBD, "|": 0x4F, "!": 0x5A, "^": 0x5F}),
    ],
)
def test_pages_of_ebcdic_are_told_by_their_punctuation(code, places):
    # IBM's tables; the other characters are the same in all three.
    raw = bytes(places.get(character, character.encode("cp500")[0]) for character in PUNCTUATION)
    assert encoding(raw) == code
    assert textual_header(raw).split("\n")[0] == PUNCTUATION[:80]


def test_a_bracket_without_its_pair_is_an_exclamation_mark():
    raw = bytearray(b"\x40" * 3200)
    raw[:11] = "C 1 beware ".encode("cp500")
    raw[11] = 0x5A
    assert textual_header(bytes(raw)).startswith("C 1 beware !")


@pytest.mark.parametrize("codec", ["cp500", "ascii"])
@pytest.mark.parametrize(("width", "count"), [(79, 40), (72, 40), (81, 39), (100, 20)])
def test_lines_of_another_length_are_told_by_their_numbers(codec, width, count):
    lines = [f"C{line:2d} FIRST {line}".ljust(60, ".") for line in range(1, count + 1)]
    raw = "".join(line.ljust(width) for line in lines).encode(codec).ljust(3200, b" ".decode().encode(codec))
    expected = [line.ljust(80) for line in lines]
    assert [line for line in textual_header(raw).split("\n") if line.strip()] == expected[:40]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_longer_lines_with_line_ends_are_wrapped(end):
    lines = [f"C{line:2d} ".ljust(100, "x") for line in range(1, 21)]
    text = textual_header(end.join(lines).encode().ljust(3200)).split("\n")
    assert text[0:4] == [lines[0][:80], lines[0][80:].ljust(80), lines[1][:80], lines[1][80:].ljust(80)]


@given(st.binary(max_size=3300))
def test_any_bytes_become_40_lines_of_printable_ascii(raw):
    text = textual_header(raw)
    assert [len(line) for line in text.split("\n")] == [80] * 40
    assert text.replace("\n", "").isascii()
    assert text.replace("\n", "").isprintable()


def test_an_ascii_header_that_multidimio_garbles_is_readable(shared):
    raw = (shared / "data" / "seisplot" / "data" / "F3_very_small.sgy").read_bytes()[:3200]
    assert textual_header(raw).startswith("C01  Created by: OpendTect     (Thu 27 Aug 2015, 14:47:17)")


PEER = """
import json, sys
from mdio.segy.file import get_segy_file_info
from segy.standards import get_segy_standard
found = {}
for path in sys.argv[1:]:
    spec = get_segy_standard(1.0)
    spec.endianness = None  # inferred
    info = get_segy_file_info({"url": path, "spec": spec, "settings": None, "header_overrides": None})
    found[path] = [info.text_header, info.binary_header_dict]
print(json.dumps(found))
"""


@pytest.mark.peer
def test_texts_and_binary_headers_are_those_of_multidimio(shared, make_segy, tmp_path):
    python = os.environ.get("SEISMILL_MDIO_PYTHON") or pytest.skip(
        "SEISMILL_MDIO_PYTHON names no interpreter"
    )
    made = [tmp_path / f"{endian}.sgy" for endian in ("big", "little")]
    for path in made:
        make_segy(path, shape=(3, 5, 9), endian=path.stem)
    names = (
        "segyio/multiformats/Format1msb.sgy",
        "segyio/python/tutorials/viking_small.segy",
        "segysak/tests/test-data-segysak/f3-withdead.sgy",
        "seisplot/data/31_81_PR.sgy",
        "seisplot/data/F3_very_small.sgy",
        "UnpluggedSegy/lineE.sgy",
        "xtgeo-testdata/cubes/etc/ex2_complete_3d_75x71x26.segy",
    )
    paths = [*(shared / "data" / name for name in names), *made]
    run = subprocess.run([python, "-c", PEER, *map(str, paths)], capture_output=True, text=True, check=True)
    for path, (text, binary) in json.loads(run.stdout).items():
        raw = Path(path).read_bytes()[:3600]
        ours = binary_header(raw[3200:], "<" if path.endswith("little.sgy") else ">")
        assert list(ours) == list(binary), path
        assert ours == binary, path
        # It takes a text in ASCII for EBCDIC, and drops lines, where there are line ends in it.
        if "\ufffd" not in text and len(text.split("\n")[1]) == 80:
            assert textual_header(raw[:3200]) == text, path

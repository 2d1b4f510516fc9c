"""What files are made of, and the sentences for those that cannot be read.

Covers segy/binary_header.py, segy/standards.py, segy/trace_layout.py.
"""

import bz2
import gzip
import io
import json
import re
import struct
import tarfile
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat, read_format
from tasks.volume.segy.standards import FORMAT_NAMES, REVISIONS, SAMPLE_FORMATS


def ieee_text() -> bytes:
    return b"".join(f"C{line:2d} ASCII TEXT".ljust(80).encode() for line in range(1, 41))


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("code", [1, 5])
def test_a_plain_file_is_described_completely(segy, source, order, code):
    content = segy(n_traces=7, n_samples=13, order=order, code=code)
    found = read_format(source(content))
    assert found == FileFormat(
        revision="1.0",
        sample_format=SAMPLE_FORMATS[code],
        byte_order=order,
        byte_order_reason=found.byte_order_reason,
        n_samples=13,
        sample_interval_us=4000.0,
        extended_texts=0,
        first_trace_offset=3600,
        trace_bytes=240 + 4 * 13,
        n_traces=7,
        file_size=len(content),
        oddities=(),
    )
    assert f"reads {code} in {'big' if order == '>' else 'little'} endian" in found.byte_order_reason
    assert found.trace_offset(2) == 3600 + 2 * 292


def test_the_format_survives_json(segy, source):
    found = read_format(source(segy(traces={(115, "H"): 8})))
    assert found.oddities
    assert FileFormat.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("stored", "order", "name", "odd"),
    [
        ("0000", ">", "0", False),
        ("0100", ">", "1.0", False),
        ("0100", "<", "1.0", False),  # bytes, as the standard counts them
        ("0001", "<", "1.0", False),  # a 16-bit word in the file's order
        ("0001", ">", "1.0", True),  # segyio's convention
        ("0010", ">", "1.0", True),
        ("0064", ">", "1.0", True),
        ("0200", ">", "2.0", False),
        ("0201", ">", "2.1", False),
        ("0201", "<", "2.1", False),
        ("0205", ">", "2.1", True),  # unknown yet
        ("4040", ">", "0", True),  # EBCDIC blanks
    ],
)
def test_revision_words_found_in_files_are_understood(segy, source, stored, order, name, odd):
    found = read_format(source(segy(order=order, revision=bytes.fromhex(stored))))
    assert found.revision == name
    assert any(f"0x{stored}" in oddity for oddity in found.oddities) == odd


@pytest.mark.parametrize("code", sorted(set(FORMAT_NAMES) - set(SAMPLE_FORMATS)))
@pytest.mark.parametrize("order", [">", "<"])
def test_sample_formats_that_are_not_read_are_refused_by_name(segy, source, code, order):
    with pytest.raises(
        InputRefused, match=rf"sample format {code} \({re.escape(FORMAT_NAMES[code])}\) at byte 3225"
    ):
        read_format(source(segy(order=order, code=code)))


@pytest.mark.parametrize(
    ("code", "sentence"), [(0, "sample format 0 at byte 3225"), (0x5A5B, "23131 in big endian")]
)
def test_codes_outside_the_standard_are_refused(segy, source, code, sentence):
    with pytest.raises(InputRefused, match=sentence):
        read_format(source(segy(code=code)))


@pytest.mark.parametrize(
    ("binary", "first_trace"),
    [(9, 462), (462, 9), (0, 9), (9, 0)],
    ids=[
        "trace headers lie",
        "the binary header lies",
        "the binary header is silent",
        "trace headers are silent",
    ],
)
def test_contradicting_sample_counts_are_settled_by_the_size_of_the_file(segy, source, binary, first_trace):
    content = segy(n_traces=5, binary={(3221, "H"): binary}, traces={(115, "H"): first_trace})
    found = read_format(source(content))
    assert (found.n_samples, found.n_traces) == (9, 5)
    assert bool(found.oddities) == (first_trace != 0)


def test_sample_counts_beyond_32767_are_read_unsigned(segy, source):
    found = read_format(source(segy(n_traces=2, n_samples=40000)))
    assert (found.n_samples, found.oddities) == (40000, ())


def test_where_both_counts_divide_the_file_later_trace_headers_decide(segy, source):
    # 6 traces of 9 samples (276 bytes) are also 3 traces of 78 (552 bytes).
    content = segy(n_traces=6, n_samples=9, binary={(3221, "H"): 78})
    assert read_format(source(content)).n_samples == 9
    assert read_format(source(segy(n_traces=3, n_samples=78, traces={(115, "H"): 9}))).n_samples == 78


def test_trace_headers_that_differ_among_themselves_are_reported(segy, source):
    found = read_format(source(segy(n_traces=5, traces={(115, "H"): [9, 8, 9, 9, 7]})))
    assert found.n_samples == 9
    assert "differ in their number of samples" in found.oddities[0]


@pytest.mark.parametrize(
    ("binary", "trace", "interval", "oddity"),
    [
        (4000, 4000, 4000.0, None),
        (4000, 0, 4000.0, None),
        (0, 2000, 2000.0, "is 0 in the binary header .* and 2000"),
        (4000, 2000, 4000.0, "4000 is used"),
        (0, 0, 0.0, "is 0 in the binary header .* and the first trace"),
        (40000, 40000, 40000.0, None),
    ],
)
def test_the_sample_interval_is_settled_and_doubts_are_said(segy, source, binary, trace, interval, oddity):
    found = read_format(source(segy(binary={(3217, "H"): binary}, traces={(117, "H"): trace})))
    assert found.sample_interval_us == interval
    assert bool(found.oddities) == (oddity is not None)
    assert oddity is None or re.search(oddity, found.oddities[0])


@pytest.mark.parametrize("revision", ["0000", "0100"])
def test_extended_textual_headers_move_the_first_trace(segy, source, revision):
    content = segy(
        binary={(3505, "h"): 2}, between=ieee_text() + bytes(3200), revision=bytes.fromhex(revision)
    )
    found = read_format(source(content))
    assert (found.extended_texts, found.first_trace_offset, found.n_traces) == (2, 10000, 6)


@pytest.mark.parametrize("codec", ["ascii", "cp500"])
def test_textual_headers_up_to_endtext_are_counted(segy, source, codec):
    texts = "".join(start.ljust(3200) for start in ("((SEG: Location))", "more", "((SEG: EndText))")).encode(
        codec
    )
    found = read_format(source(segy(binary={(3505, "h"): -1}, between=texts)))
    assert (found.extended_texts, found.n_traces, found.oddities) == (3, 6, ())


@pytest.mark.parametrize("announced", [-7, 5, 12000])
def test_a_lying_number_of_textual_headers_is_settled_by_the_size_of_the_file(segy, source, announced):
    content = segy(binary={(3505, "h"): announced})
    found = read_format(source(content))
    assert (found.extended_texts, found.n_traces) == (0, 6)
    assert f"says {announced} extended" in found.oddities[0]


def test_textual_headers_without_an_end_are_refused(segy, source):
    with pytest.raises(InputRefused, match=r"byte 3505 is -1.*write their number"):
        read_format(source(segy(binary={(3505, "h"): -1})))


@pytest.mark.parametrize("cut", [1, 4, 36, 37, 200, 275])
def test_a_truncated_file_names_the_bytes_and_the_trace(segy, source, cut):
    content = segy(n_traces=5, n_samples=9)[:-cut]
    with pytest.raises(
        InputRefused, match=rf"truncated .*: {276 - cut} bytes follow trace 4, from byte 4,705 on"
    ):
        read_format(source(content))


def test_trailing_bytes_are_refused_with_their_number(segy, source):
    with pytest.raises(InputRefused, match=r"17 bytes follow trace 6, from byte 5,257 on"):
        read_format(source(segy() + bytes(17)))


@pytest.mark.parametrize("length", [1, 100, 3199, 3200, 3225, 3599, 3600])
def test_a_file_that_ends_in_its_headers_is_refused(segy, source, length):
    with pytest.raises(
        InputRefused, match=rf"has {length:,} bytes, and the headers of SEG-Y alone take 3,600"
    ):
        read_format(source(segy()[:length]))


@pytest.mark.parametrize("length", [3601, 3839, 3840, 3875])
def test_a_file_that_ends_in_its_first_trace_is_refused(segy, source, length):
    with pytest.raises(InputRefused, match=r"no whole trace|no number of samples"):
        read_format(source(segy()[:length]))


def test_a_file_without_a_number_of_samples_is_refused(segy, source):
    with pytest.raises(InputRefused, match=r"no number of samples .byte 3221, and byte 115"):
        read_format(source(segy(binary={(3221, "H"): 0}, traces={(115, "H"): 0})))


def test_absurd_counts_are_refused_without_reading_or_allocating(segy, source):
    file = source(segy(n_traces=400, binary={(3221, "H"): 65535}, traces={(115, "H"): 65534}))
    with pytest.raises(InputRefused, match=r"65,535 samples .byte 3221. and their header take 262,380 bytes"):
        read_format(file)
    assert file.bytes_read < 70_000


def test_opening_a_large_file_reads_its_beginning_and_a_few_trace_headers(segy, source):
    file = source(segy(n_traces=3000, n_samples=99))
    assert read_format(file).n_traces == 3000
    assert file.bytes_read <= 64 * 1024 + 4 * 240


def test_headers_of_different_byte_orders_are_refused(segy, source):
    swapped = int.from_bytes((300).to_bytes(2, "big"), "little")
    with pytest.raises(InputRefused, match=f"different byte orders: byte 115 of the traces reads {swapped}"):
        read_format(source(segy(n_samples=300, traces={(115, "H"): swapped})))


@pytest.mark.parametrize(("constant", "order"), [(b"\1\2\3\4", ">"), (b"\4\3\2\1", "<")])
def test_the_declared_byte_order_is_believed(segy, source, constant, order):
    content = bytearray(segy(order=order, revision=b"\2\0"))
    content[3296:3300] = constant
    found = read_format(source(bytes(content)))
    assert found.byte_order == order
    assert "byte 3297" in found.byte_order_reason


def test_pairwise_swapped_bytes_are_refused_by_name(segy, source):
    content = bytearray(segy(revision=b"\2\0"))
    content[3296:3300] = b"\2\1\4\3"
    with pytest.raises(InputRefused, match=r"swapped in pairs .byte 3297"):
        read_format(source(bytes(content)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({(3269, "I"): 70000}, r"says 9 samples \(byte 3221\), and 70000 \(byte 3269\); .* there are 9\."),
        ({(3269, "I"): 0xFFFFFFFF}, r"4294967295 \(byte 3269\)"),
        ({(3273, "d"): -0.5}, r"interval \(byte 3273\) is -0.5, which is no interval; 4000 is used"),
        ({(3273, "d"): float("nan")}, r"is nan, which is no interval; 4000 is used"),
        ({(3273, "d"): float("inf")}, r"is inf, which is no interval"),
        ({(3507, "h"): 1}, r"says 1 additional trace headers \(byte 3507\); .* there are 0"),
        ({(3507, "h"): 2**15 - 1}, r"says 32,767 additional"),
        ({(3507, "i"): -1}, r"says -1 additional"),
        ({(3529, "i"): 2}, r"says 2 records after the last trace \(byte 3529\); .* there are 0"),
        ({(3529, "i"): -5}, r"says -5 records"),
        (
            {(3521, "Q"): 4000},
            r"begins at offset 4,000 \(byte 3521\); by the size of the file it begins at 3,600",
        ),
        ({(3521, "Q"): 2**64 - 1}, r"begins at offset 18,446,744,073,709,551,615"),
        ({(3513, "Q"): 4}, r"says 4 traces \(byte 3513\); 6 are there"),
    ],
)
@pytest.mark.parametrize("order", [">", "<"])
def test_words_of_rev_2_that_the_size_of_the_file_denies_are_reported(segy, source, words, sentence, order):
    found = read_format(source(segy(order=order, revision=b"\2\1", binary=words)))
    assert re.search(sentence, found.oddities[0])
    assert len(found.oddities) == 1
    # The same bytes mean nothing in rev 1.
    plain = read_format(source(segy(order=order, binary=words)))
    assert plain.oddities == ()
    assert replace(found, revision="1.0", oddities=()) == plain


def test_traces_that_rev_2_counts_and_that_are_missing_are_a_truncation(segy, source):
    with pytest.raises(
        InputRefused, match=r"truncated: its binary header says 7 traces .byte 3513., and 6 are"
    ):
        read_format(source(segy(revision=b"\2\1", binary={(3513, "Q"): 7})))


def test_rev_2_files_that_ask_for_no_more_than_rev_1_are_read(segy, source):
    same = {(3269, "I"): 9, (3273, "d"): 4000.0, (3513, "Q"): 6, (3521, "Q"): 3600}
    found = read_format(source(segy(revision=b"\2\1", binary=same)))
    assert (found.revision, found.oddities) == ("2.1", ())


def tar_of(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("a.sgy")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def zip_of(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.sgy", content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("disguise", "sentence"),
    [
        (lambda content: b"", "is empty"),
        (gzip.compress, "is a gzip file.*unpack it first"),
        (bz2.compress, "is a bzip2 file"),
        (zip_of, "is a zip file"),
        (tar_of, "is a tar archive"),
        (lambda content: b"\x55\x3a" + content, "is SEG-2"),
        (lambda content: b"\x3a\x55" + content, "is SEG-2"),
        (lambda content: bytes(20000), "only zeros in its first 3,600 bytes"),
        (lambda content: bytes(2000), "only zeros in its first 2,000 bytes"),
        (
            lambda content: b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
            "AccessDenied|XML or HTML",
        ),
        (lambda content: b"\xef\xbb\xbf \r\n<!DOCTYPE html><html>" + b" " * 9000, "XML or HTML page"),
        (
            lambda content: b"   1SY1.0RECORD" + b" " * 113 + content,
            "tape label of 128 bytes .byte 5 reads SY1.0",
        ),
        (lambda content: b"   1SD2.1RECORD" + b" " * 113 + content, "SEG-D with a tape label"),
        (
            lambda content: bytes.fromhex("00128058000000000000") + bytes(range(256)) * 40,
            "looks like SEG-D .format code 8058",
        ),
    ],
)
def test_files_of_another_kind_are_refused_by_name(segy, source, disguise, sentence):
    with pytest.raises(InputRefused, match=sentence):
        read_format(source(disguise(segy())))


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("n_traces", [1, 2, 40])
def test_seismic_unix_data_is_refused_by_name(segy, source, order, n_traces):
    # Without file headers, and samples that are no text.
    content = segy(n_traces=n_traces, n_samples=901, order=order, traces={(1, "i"): range(1, n_traces + 1)})[
        3600:
    ]
    with pytest.raises(InputRefused, match=r"looks like Seismic Unix data \(901 samples at byte 115"):
        read_format(source(content))


def test_a_textual_header_of_zeros_is_no_reason_to_refuse(segy, source):
    assert read_format(source(segy(text=bytes(3200)))).n_traces == 6


def test_every_refusal_is_one_sentence_that_names_the_file(segy, source):
    for content in (segy(code=4), segy()[:-5], b"", gzip.compress(segy()), segy(binary={(3505, "h"): -1})):
        with pytest.raises(InputRefused) as caught:
            read_format(source(content, "survey.sgy"))
        sentence = str(caught.value)
        assert sentence.startswith("survey.sgy")
        assert "\n" not in sentence
        assert ". " not in sentence


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([">", "<"]),
    st.lists(st.tuples(st.integers(0, 5255), st.binary(min_size=1, max_size=8)), max_size=12),
    st.integers(0, 5256),
)
def test_arbitrary_bytes_are_described_or_refused_and_never_read_beyond_the_file(
    segy, source, order, changes, cut
):
    content = bytearray(segy(order=order))
    for start, some in changes:
        content[start : start + len(some)] = some
    file = source(bytes(content[: len(content) - cut]))
    try:
        found = read_format(file)
    except InputRefused:
        found = None
    assert file.bytes_read < 4 * max(file.size, 4000)
    if found is not None:
        traces = found.n_traces * found.trace_bytes
        assert found.first_trace_offset + traces + found.trailer_bytes == file.size
        assert found.n_traces > 0


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=100, max_size=100), st.sampled_from([0, 24, 96, 300]))
def test_arbitrary_binary_headers_are_described_or_refused(segy, source, some, start):
    content = bytearray(segy())
    content[3200 + start : 3200 + start + 100] = some
    try:
        found = read_format(source(bytes(content)))
    except InputRefused:
        return
    assert found.first_trace_offset + found.n_traces * found.trace_bytes + found.trailer_bytes == len(content)


@pytest.mark.parametrize(
    ("path", "order", "code", "n_samples", "n_traces", "oddity"),
    [
        ("seisplot/data/F3_very_small.sgy", ">", 1, 463, 121, None),
        ("segysak/tests/test-data-segysak/f3-withdead.sgy", ">", 1, 75, 239, None),
        ("xtgeo-testdata/cubes/etc/ex2_complete_3d_75x71x26.segy", ">", 5, 26, 5325, None),
        ("seg-tutorials-2014/1410_Phase/data/penobscot_xl1155.sgy", ">", 1, 1501, 601, None),
        ("seisplot/data/31_81_PR.sgy", ">", 1, 1501, 534, None),
        ("UnpluggedSegy/lineE.sgy", ">", 1, 1001, 111, None),
        ("segyio/small.sgy", ">", 1, 50, 25, None),
        ("segyio/small-ps.sgy", ">", 1, 10, 24, None),
        ("segyio/shot-gather.sgy", ">", 1, 25, 61, None),
        ("segyio/multi-text.sgy", ">", 1, 1, 1, None),
        ("segyio/multiformats/Format1msb.sgy", ">", 1, 75, 414, "say 462 samples"),
        ("segyio/multiformats/Format5lsb.sgy", "<", 5, 75, 414, "say 462 samples"),
        ("segyio/multiformats/Format8msb.sgy", ">", 8, 75, 414, "say 462 samples"),
        ("segyio/f3.sgy", ">", 3, 75, 414, "say 462 samples"),
        ("segyio/f3-lsb.sgy", "<", 3, 75, 414, "say 462 samples"),
        ("segyio/python/tutorials/viking_small.segy", ">", 1, 600, 480, "say 1500 samples"),
    ],
)
def test_real_files_are_described(shared, source, path, order, code, n_samples, n_traces, oddity):
    found = read_format(source((shared / "data" / path).read_bytes()))
    assert (found.byte_order, found.sample_format.code) == (order, code)
    assert (found.n_samples, found.n_traces) == (n_samples, n_traces)
    assert found.sample_interval_us == (1000 if "shot-gather" in path else 4000)
    assert found.extended_texts == (4 if "multi-text" in path else 0)
    assert oddity is None or any(oddity in sentence for sentence in found.oddities)
    assert oddity is not None or found.oddities == ()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("segyio/broken.sgy", "68 bytes follow trace 3"),
        ("spam/snow.tif", "is not SEG-Y"),
    ],
)
def test_real_files_that_cannot_be_read_are_refused_by_name(shared, source, path, sentence):
    with pytest.raises(InputRefused, match=sentence):
        read_format(source((shared / "data" / path).read_bytes()))


def test_tables_have_one_row_for_each_code_and_word():
    assert all(code == sample_format.code for code, sample_format in SAMPLE_FORMATS.items())
    words = [word for revision in REVISIONS for word in revision.words]
    assert len(words) == len(set(words))
    for feature in REVISIONS[-1].features:
        assert 3201 <= feature.byte <= 3601 - struct.calcsize(">" + feature.code)

"""Stacks by their names: order, gaps, strangers; on disk and on fsspec's memory store."""

import fsspec
import pytest

from tasks.parameters import StorageOptions
from tasks.volume.images.listing import find_files, in_order
from tasks.volume.outcomes import InputRefused

HERE = StorageOptions()


def names(files):
    return [file.url.rpartition("/")[2] for file in files]


def put(folder, *files):
    folder.mkdir(exist_ok=True, parents=True)
    for name in files:
        (folder / name).write_bytes(name.encode())
    return str(folder)


def test_numbers_in_names_are_ordered_as_numbers():
    assert in_order(["s10.tif", "s9.tif", "s8.tif"], where="x") == ["s8.tif", "s9.tif", "s10.tif"]
    assert in_order(["core2_s010.tif", "core2_s009.tif"], where="x") == ["core2_s009.tif", "core2_s010.tif"]
    assert in_order(["0.tif", "20.tif", "10.tif"], where="x") == ["0.tif", "10.tif", "20.tif"]
    assert in_order(["b.tif", "a.tif"], where="x") == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ["s1.tif", "s2.tif", "s4.tif", "s5.tif"],
            "1 slice is missing from x between s1.tif and s5.tif: 3;",
        ),
        ([f"s{n}.tif" for n in range(30) if n % 3 or n > 20], "6 slices are missing .* 3, 6, 9, 12, 15, …;"),
        (["s1.tif", "s2.tif", "dark.tif"], r"2 files named like s#\.tif, and also dark\.tif"),
        (["s1.tif", "s01.tif", "s2.tif"], "slice 1 twice: s01.tif and s1.tif"),
        (["t1_z1.tif", "t1_z2.tif", "t2_z1.tif"], "2 numbers vary in the names"),
        (
            ["s0.tif", "s10.tif", "s20.tif", "s25.tif", "s30.tif", "s40.tif"],
            "s25.tif in x lie between slices numbered in steps of 10",
        ),
    ],
)
def test_what_is_no_series_is_refused_by_name(given, sentence):
    with pytest.raises(InputRefused, match=sentence):
        in_order(given, where="x")


def test_a_folder_gives_its_images_and_passes_over_a_log(tmp_path):
    folder = put(
        tmp_path / "scan", "s2.tif", "s10.tif", *(f"s{n}.tif" for n in range(3, 10)), "scan.log", ".s1.tif"
    )
    assert names(find_files(folder, HERE)) == [f"s{n}.tif" for n in range(2, 11)]
    assert names(find_files(folder + "/", HERE))[0] == "s2.tif"


def test_a_folder_of_two_kinds_of_images_is_refused_with_a_pattern(tmp_path):
    with pytest.raises(
        InputRefused, match=r"2 \.tif and 1 \.png files; name the slices with a pattern, such as .*/\*\.tif"
    ):
        find_files(put(tmp_path, "s1.tif", "s2.tif", "view.png"), HERE)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="holds no image in 1 files"):
        find_files(put(tmp_path, "notes.md"), HERE)


@pytest.mark.parametrize("document", ["zarr.json", ".zgroup", ".zarray"])
def test_a_zarr_group_is_no_folder_of_images(tmp_path, document):
    with pytest.raises(
        InputRefused, match=r"is a Zarr group or array, .* seismill copy .*, seismill pyramid"
    ):
        find_files(put(tmp_path, document), HERE)


def test_a_pattern_chooses_files(tmp_path):
    folder = put(tmp_path, "a1.raw", "a2.raw", "b1.raw")
    assert names(find_files(f"{folder}/a*.raw", HERE)) == ["a1.raw", "a2.raw"]
    assert names(find_files(f"{folder}/a[23456789].raw", HERE)) == ["a2.raw"]
    with pytest.raises(InputRefused, match=r"no file is named c\*\.raw in .*, which holds 3 files"):
        find_files(f"{folder}/c*.raw", HERE)
    with pytest.raises(InputRefused, match="pattern in a folder's name"):
        find_files(f"{folder}/*/a1.raw", HERE)


def test_brackets_in_the_name_of_what_is_there_are_no_pattern(tmp_path):
    folder = put(tmp_path / "core [1]", "s1.tif", "s2.tif", "map [2].tif")
    assert names(find_files(f"{folder}/s*.tif", HERE)) == ["s1.tif", "s2.tif"]
    assert names(find_files(f"{folder}/map [2].tif", HERE)) == ["map [2].tif"]
    assert names(find_files(put(tmp_path / "b[1]", "s1.tif", "s2.tif"), HERE)) == ["s1.tif", "s2.tif"]


def test_a_list_gives_its_own_order(tmp_path):
    folder = put(tmp_path, "s1.tif", "s3.tif")
    put(tmp_path / "below", "s2.tif")
    (tmp_path / "slices.txt").write_text("s3.tif\nbelow/s2.tif\n\ns1.tif\n")
    assert names(find_files(f"{folder}/slices.txt", HERE)) == ["s3.tif", "s2.tif", "s1.tif"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s1.tif\ns9.tif\n", "names 1 files that do not exist: s9.tif"),
        ("s1.tif\ns1.tif\n", "names s1.tif twice"),
        ("/etc/passwd\n", "must name files of its own folder"),
        ("below/../../x.tif\n", "must name files of its own folder"),
        ("s3://other/x.tif\n", "must name files of its own folder"),
        ("", "must name files of its own folder, one a line; it names none"),
    ],
)
def test_a_list_that_leads_elsewhere_or_nowhere_is_refused(tmp_path, text, sentence):
    put(tmp_path, "s1.tif")
    (tmp_path / "slices.lst").write_text(text)
    with pytest.raises(InputRefused, match=sentence):
        find_files(str(tmp_path / "slices.lst"), HERE)


def test_what_is_not_there_is_said_so(tmp_path):
    with pytest.raises(InputRefused, match="there is no file"):
        find_files(str(tmp_path / "none.tif"), HERE)
    with pytest.raises(InputRefused, match="there is no folder"):
        find_files(str(tmp_path / "none" / "*.tif"), HERE)


def test_the_same_on_a_remote_store():
    memory = fsspec.filesystem("memory")
    for n in (9, 10, 8):
        memory.pipe_file(f"/lab/scan/s{n}.tif", b"x" * n)
    memory.pipe_file("/lab/scan/below/s11.tif", b"x")
    try:
        for url in ("memory://lab/scan", "memory://lab/scan/", "memory://lab/scan/s*.tif"):
            files = find_files(url, HERE)
            assert names(files) == ["s8.tif", "s9.tif", "s10.tif"]
            assert [file.bytes for file in files] == [8, 9, 10]
        assert files[0].open(HERE).read(0, 8) == b"x" * 8
        assert names(find_files("memory://lab/scan/s9.tif", HERE)) == ["s9.tif"]
    finally:
        memory.rm("/lab", recursive=True)

"""A file without the checksum that is expected of it never becomes a volume, wherever it lies and that is said.

Covers ingest/read_in_order.py.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import tifffile

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Image, Index, Master, Run, StorageOptions
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.ingest.checksums import MOST_ASKED_FOR, expected_of
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.root import current_root
from tasks.volume.store.objects import Store
from tasks.volume.store.source import Source
from tasks.volume.store.writable import WritableStore
from tests.support.emulators.faults import FaultProxy, Rule
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, threads

MASTER = Master(chunks=[4, 4, 8])
WRONG = {"crc32c": "0a1b2c3d", "md5": "0a1b2c3d" * 4}


def sums(data: bytes) -> dict[str, str]:
    return {
        "crc32c": f"{google_crc32c.value(data):08x}",
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
    }


PIECES: dict[str, Any] = {"piece_bytes": 5000}


def in_pieces(*args: Any, **parameters: Any) -> dict[str, Any]:
    """Ingest; files are read in order in pieces much smaller than these."""
    with threads(**PIECES) as compute:
        return ingest_segy(*args, **parameters, compute=compute)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A prefix with a survey in three files, line_9 to line_11."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    store = WritableStore("s3://staging" if request.param == "s3" else str(tmp_path / "staging"))
    for number, inlines in {9: range(0, 8), 10: range(8, 16), 11: range(16, 24)}.items():
        survey = make_survey(tmp_path / "one.sgy", inlines=inlines, n_samples=37)
        store.put(f"line_{number}.sgy", survey.content)
    return store


@pytest.fixture
def volume(staging: Store, tmp_path: Path) -> Store:
    """Where the volume goes."""
    return WritableStore(str(tmp_path / "a.zarr") if staging.local else "s3://volumes/a.zarr")


def say(staging: Store, how: str, kind: str, names: list[str], last: str) -> list[str]:
    """Say right checksums of files and another one of the last; the parameter that says them, if one does."""
    values = [sums(staging.get(name))[kind] for name in names[:-1]] + [last]
    if how == "beside":
        for name, value in zip(names, values, strict=True):
            staging.put(f"{name}.md5", f"{value}  {name}\n".encode())
        return []
    return values if len(names) == 1 else [f"{n}={v}" for n, v in zip(names, values, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("names", [["line_9.sgy"], ["line_9.sgy", "line_10.sgy", "line_11.sgy"]], ids=len)
@pytest.mark.parametrize(("how", "kind"), [("given", "crc32c"), ("given", "md5"), ("beside", "md5")])
def test_a_file_that_is_not_what_is_expected_leaves_no_volume_and_one_that_is_becomes_one(
    staging: Store, volume: Store, names: list[str], how: str, kind: str
) -> None:
    source = ",".join(f"{staging.url}/{name}" for name in names)
    right = sums(staging.get(names[-1]))[kind]

    def ingest(last: str, **more: Any) -> dict[str, Any]:
        index = Index(checksums=say(staging, how, kind, names, last))
        return in_pieces(source, volume.url, index, MASTER, run=Run(created_on=STAMP), **more)

    with pytest.raises(IntegrityFailure) as failure:
        ingest(WRONG[kind])
    beside = f" ({staging.url}/{names[-1]}.md5)" if how == "beside" else ""
    assert str(failure.value) == (
        f"{staging.url}/{names[-1]} has the {kind.upper()} {right}, but {WRONG[kind]} was expected{beside}; copy "
        "the file again, or correct the checksum"
    )
    assert failure.value.exit_code == 5
    assert current_root(volume) is None
    # Of what its store knows the checksum, or what is read in order, nothing was written at all.
    shown = [key for key in volume.keys("") if not key.startswith(".seismill/")]
    assert shown == [] or (staging.local and kind == "crc32c" and not volume.exists("amplitude/zarr.json"))
    ingest(right)
    root = current_root(volume)
    assert root
    for source_of, name in zip(root.state.sources, names, strict=True):
        own = sums(staging.get(name))
        assert source_of.crc32c == own["crc32c"]
        assert source_of.md5 == (own["md5"] if kind == "md5" else "")
    assert verify(volume.url, errors=True)["findings"] == []
    assert "was done already" in ingest(right)["notes"]
    with pytest.raises(IntegrityFailure, match=WRONG[kind]):  # who asks again is not told that all is well
        ingest(WRONG[kind])


@contextmanager
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int, int]]]:
    """What is read of sources meanwhile: URL, first byte, bytes."""
    found: list[tuple[str, int, int]] = []
    read = Source.read

    def counted(source: Source, start: int, length: int) -> bytes:
        found.append((source.url.rpartition("/")[2], start, length))
        return read(source, start, length)

    with monkeypatch.context() as patch:
        patch.setattr(Source, "read", counted)
        yield found


def test_an_old_volume_stays_until_the_file_that_replaces_it_has_shown_its_checksum(
    staging: Store, volume: Store
) -> None:
    in_pieces(f"{staging.url}/line_9.sgy", volume.url, master=MASTER)
    old = volume.get("zarr.json")
    staging.put("line_10.sgy.md5", WRONG["md5"].encode())
    with pytest.raises(IntegrityFailure, match="line_10"):
        in_pieces(f"{staging.url}/line_10.sgy", volume.url, master=MASTER, overwrite=True)
    assert volume.get("zarr.json") == old
    assert verify(volume.url, errors=True)["findings"] == []


def test_a_run_that_is_gone_on_with_does_not_read_again_what_was_read_in_order(
    staging: Store, volume: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["line_9.sgy", "line_10.sgy", "line_11.sgy"]
    for name in names:
        staging.put(f"{name}.md5", sums(staging.get(name))["md5"].encode())
    source, size = f"{staging.url}/line_*.sgy", len(staging.get(names[0]))
    pieces = -(-size // 5000)

    def read_so_far(found: list[tuple[str, int, int]]) -> list[str]:
        return [name for name, start, length in found if length == 5000 and start % 5000 == 0]

    def ingest(compute: Any) -> None:
        ingest_segy(source, volume.url, master=MASTER, run=Run(created_on=STAMP), compute=compute)

    with threads(1, **PIECES, noted_bytes=1) as compute, reads(monkeypatch) as first:
        stop = pieces + 2  # in the second file

        def report(progress: Any) -> None:
            if progress.stage == "checksums" and progress.done >= stop:
                compute.stopping.set()

        object.__setattr__(compute, "report", report)
        with pytest.raises(Resumable, match="run the same command again"):
            ingest(compute)
    assert names[0] in read_so_far(first)
    with threads(1, **PIECES, noted_bytes=1) as compute, reads(monkeypatch) as second:
        ingest(compute)
    assert names[0] not in read_so_far(second)
    assert {names[1], names[2]} <= set(read_so_far(second))
    assert not [key for key in volume.keys(".seismill") if "in_order" in key]
    assert verify(volume.url, errors=True)["findings"] == []


def test_bytes_that_were_damaged_on_their_way_are_read_again_by_the_next_run(
    staging: Store, volume: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, content = f"{staging.url}/line_9.sgy", staging.get("line_9.sgy")
    index = Index(checksums=[sums(content)["md5"]])
    read, flipped = Source.read, []

    def spoilt(source: Source, start: int, length: int) -> bytes:
        data = bytearray(read(source, start, length))
        if start == 5000 and not flipped:  # while it is read in order
            flipped.append(start)
            data[7] ^= 1
        return bytes(data)

    monkeypatch.setattr(Source, "read", spoilt)
    with pytest.raises(IntegrityFailure, match=f"but {sums(content)['md5']} was expected"):
        in_pieces(url, volume.url, index, MASTER)
    assert flipped
    in_pieces(url, volume.url, index, MASTER)
    assert verify(volume.url, errors=True)["findings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, MOST_ASKED_FOR + 1])
def test_who_may_not_look_beside_a_file_reads_it_and_is_told(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    # As S3 answers who may get objects and not list them.
    names = [f"line_{n}.sgy" for n in range(count)]
    for n, name in enumerate(names):
        WritableStore("s3://staging").put(
            name, make_survey(tmp_path / name, inlines=range(2 * n, 2 * n + 2)).content
        )
    with FaultProxy(s3) as proxy:
        proxy.do(Rule("403", match=r"\.md5|list-type"))
        run = Run(storage_options=StorageOptions(endpoint_url=proxy.url))
        sources = ",".join(f"s3://staging/{name}" for name in names)
        summary = in_pieces(sources, str(tmp_path / "a.zarr"), run=run)
        seen = scan(sources, storage_options=run.storage_options)
    beside = "line_0.sgy.md5" if count == 1 else "*.md5"
    note = f"s3://staging/{beside} may not be read: if it holds a checksum, that was not compared."
    assert note in summary["notes"]
    assert note in seen["notes"]
    assert verify(str(tmp_path / "a.zarr"))["findings"] == []


def test_a_dry_run_says_that_a_file_is_read_once_more(staging: Store, volume: Store) -> None:
    content = staging.get("line_9.sgy")
    index = Index(checksums=[sums(content)["md5"]])
    planned = in_pieces(f"{staging.url}/line_9.sgy", volume.url, index, MASTER, run=Run(dry_run=True))
    again = f"read once more, in order ({len(content):,} bytes), for the checksum that is expected."
    assert f"{staging.url}/line_9.sgy: {again}" in planned["notes"]
    assert volume.keys("") == []


@pytest.mark.parametrize("how", ["given", "beside"])
def test_slices_have_the_checksums_that_are_expected_of_them(staging: Store, volume: Store, how: str) -> None:
    names = [f"s_{z}.tif" for z in range(5)]
    for z, name in enumerate(names):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, np.random.default_rng(z).integers(0, 255, (21, 17), np.uint8))
        staging.put(name, buffer.getvalue())
    right = sums(staging.get(names[-1]))["md5"]

    def ingest(last: str) -> dict[str, Any]:
        image = Image(checksums=say(staging, how, "md5", names, last))
        return ingest_images(f"{staging.url}/s_*.tif", volume.url, image)

    with pytest.raises(
        IntegrityFailure, match=rf"s_4.tif has the MD5 {right}, but {WRONG['md5']} was expected"
    ):
        ingest(WRONG["md5"])
    assert [key for key in volume.keys("") if not key.startswith(".seismill/")] == []
    ingest(right)
    assert "was done already" in ingest(right)["notes"]
    with pytest.raises(IntegrityFailure, match=r"s_4\.tif has the MD5"):
        ingest(WRONG["md5"])
    assert verify(volume.url)["findings"] == []


# What is said


DIGITS = "d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (DIGITS, "alone"),
        (f"{DIGITS}\n", "with the end of a line"),
        (f"{DIGITS}  a.sgy\n", "md5sum"),
        (f"{DIGITS} *a.sgy\r\n", "md5sum of bytes, with the end of a line of Windows"),
        (f"{DIGITS}  some/where/a.sgy\n", "md5sum of a file in a folder"),
        (f"{DIGITS}  named_otherwise_then.sgy\n", "of a file that was renamed since"),
        (f"MD5 (a.sgy) = {DIGITS}\n", "BSD's"),
        (f"{DIGITS.upper()}  a.sgy\n", "in large letters"),
        (f"{'0' * 32}  b.sgy\n{DIGITS}  a.sgy\n", "of several files"),
    ],
)
def test_an_md5_beside_a_file_is_read_as_it_is_usually_written(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.sgy.md5").write_text(text)
    found = expected_of({f"{tmp_path}/a.sgy": 1}, [], StorageOptions())
    assert [checksum.value for checksum in found.checksums[0]] == [DIGITS], why


@pytest.mark.parametrize("text", ["", "no checksum", f"{'0' * 32}  b.sgy\n{DIGITS}  c.sgy\n", DIGITS[:-1]])
def test_what_holds_no_md5_of_the_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.sgy.md5").write_text(text)
    with pytest.raises(InputRefused, match=r"a.sgy.md5 holds no MD5 of a.sgy; wanted 32 hexadecimal digits"):
        expected_of({f"{tmp_path}/a.sgy": 1}, [], StorageOptions())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("0a1b2c3", "is not a checksum; give 8 hexadecimal digits"),
        ("0a1b2c3d", "is for 2 of 2 files"),
        ("c.sgy=0a1b2c3d", "is for 0 of 2 files"),
        ("b.sgy=0a1b2c3d", ""),
        ("y/b.sgy=0a1b2c3d", ""),
        ("/x/y/b.sgy=0A1B2C3D", ""),
        ("sgy=0a1b2c3d", "is for 0 of 2 files"),
    ],
)
def test_a_checksum_that_is_given_is_of_one_file(given: str, sentence: str) -> None:
    urls = ["/x/y/a.sgy", "/x/y/b.sgy"]
    if sentence:
        with pytest.raises(InputRefused, match=sentence):
            expected_of(dict.fromkeys(urls, 1), [given], StorageOptions())
    else:
        found = expected_of(dict.fromkeys(urls, 1), [given], StorageOptions())
        assert {file: [checksum.value for checksum in said] for file, said in found.checksums.items()} == {
            1: ["0a1b2c3d"]
        }


def test_of_many_files_in_a_folder_the_folder_is_listed(staging: Store) -> None:
    names = [f"many/line_{number}.sgy" for number in range(MOST_ASKED_FOR + 2)]
    staging.put(f"{names[3]}.md5", DIGITS.encode())
    staging.put(names[0], b"")
    urls = [f"{staging.url}/{name}" for name in names]
    found = expected_of(dict.fromkeys(urls, 0), [], StorageOptions())
    assert {file: said[0].value for file, said in found.checksums.items()} == {3: DIGITS}


def test_a_pattern_that_matches_checksums_means_the_files(staging: Store, volume: Store) -> None:
    for name in ("line_9.sgy", "line_10.sgy", "line_11.sgy"):
        staging.put(f"{name}.md5", sums(staging.get(name))["md5"].encode())
    in_pieces(f"{staging.url}/line_*", volume.url, master=MASTER)
    root = current_root(volume)
    assert root
    assert len(root.state.sources) == 3

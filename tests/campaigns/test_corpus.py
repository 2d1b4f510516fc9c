"""Every case of the corpus ends as it should, and no bytes in any header crash, hang or fill memory."""

import filecmp
import json
import os
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master
from tasks.volume.outcomes import InputRefused
from tests.corpus import Case, cases, judge
from tests.support.command import seismill
from tests.support.segy_maker import WIDTHS, segy_bytes

CORPUS = list(cases())
TRACE_BYTES = 240 + 4 * 9
SMALL = Master(chunks=[2, 4, 8])
EXAMPLES = int(os.environ.get("SEISMILL_EXAMPLES", "300"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
FIXED_BYTES = 8 << 20  # what a run takes whatever the size of the file


def test_the_corpus_is_as_large_as_was_promised():
    assert len(CORPUS) >= 150
    assert len({case.name for case in CORPUS}) == len(CORPUS)
    assert sum(bool(case.refusal) for case in CORPUS) >= 50


@pytest.mark.parametrize(
    "case",
    # Every fifth tells most, soon.
    [pytest.param(one, marks=pytest.mark.slow if k % 5 else (), id=one.name) for k, one in enumerate(CORPUS)],
)
def test_each_case_comes_back_or_is_refused_in_one_sentence(case: Case, tmp_path: Path) -> None:
    verdict = judge(case, tmp_path)
    assert verdict.right, verdict.said


def test_the_command_ends_with_3_and_one_sentence(tmp_path: Path) -> None:
    for number, case in enumerate(
        case for case in CORPUS if case.name in ("format 4, big endian", "an empty file")
    ):
        (tmp_path / f"{number}.sgy").write_bytes(case.content)
        words = ["ingest-segy", str(tmp_path / f"{number}.sgy"), str(tmp_path / "volume.zarr")]
        done = seismill(*words)
        assert done.returncode == 3
        assert "Traceback" not in done.stderr
        assert case.refusal.split("\\")[0] in done.stderr


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every library imported and every kernel loaded: what that takes is not a file's doing."""
    for code in WIDTHS:
        judge(Case("warm", segy_bytes(code=code), code=code), tmp_path_factory.mktemp("warm"))


def attempt(content: bytes, folder: Path, index: Index = Index()) -> None:
    """Ingest and export: the same bytes, or a refusal; in memory of four times the file and what every run takes."""
    source, volume, back = folder / "any.sgy", folder / "any.zarr", folder / "back.sgy"
    for path in (source, back):
        path.unlink(missing_ok=True)
    source.write_bytes(content)
    tracemalloc.start()
    refusal = None
    try:
        ingest_segy(str(source), str(volume), index=index, master=SMALL, overwrite=True)
    except InputRefused as refused:
        refusal = refused
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= 4 * len(content) + FIXED_BYTES
    if refusal is not None:
        assert refusal.exit_code == 3
        assert "\n" not in str(refusal)
        return
    export_segy(str(volume), str(back))
    assert filecmp.cmp(source, back, shallow=False)
    root = json.loads((volume / "zarr.json").read_text())  # every number that was stored is one that JSON has
    assert root["attributes"]["seismill"]["sources"][0]["bytes"] == len(content)


def mutated(revision: int, order: str, changes: list[tuple[int, bytes]]) -> bytes:
    """A small file with bytes of its binary and trace headers changed."""
    content = bytearray(segy_bytes(revision=revision, order=order))
    for place, some in changes:
        if place < 400:
            start, stop = 3200 + place, 3600
        else:
            trace, byte = divmod(place - 400, 240)
            start = 3600 + trace * TRACE_BYTES + byte
            stop = 3600 + trace * TRACE_BYTES + 240
        content[start : min(start + len(some), stop)] = some[: stop - start]
    return bytes(content)


PLACES = st.integers(0, 399 + 35 * 240)
CHANGES = st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=6)
REVISIONS = st.sampled_from([0, 0x0100, 0x0200, 0x0201])


def many(test: Callable[..., None], examples: int) -> Callable[..., None]:
    """The same property, tried so often."""
    health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(deadline=None, max_examples=examples, suppress_health_check=health)(test)


def any_header_bytes(tmp_path, revision, order, changes, given_index):
    index = Index(bytes="189,193") if given_index else Index()
    attempt(mutated(revision, order, changes), tmp_path, index)


GIVEN = given(revision=REVISIONS, order=st.sampled_from("<>"), changes=CHANGES, given_index=st.booleans())


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_any_bytes_in_a_header_come_back_or_are_refused(tmp_path):
    many(GIVEN(lambda **words: any_header_bytes(tmp_path, **words)), 25)()


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("warm")
def test_any_bytes_in_a_header_come_back_or_are_refused_many_times(tmp_path):
    print(f"{EXAMPLES} examples, SEISMILL_SEED={SEED}")
    many(seed(SEED)(GIVEN(lambda **words: any_header_bytes(tmp_path, **words))), EXAMPLES)()


@pytest.mark.campaign
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("revision", [0x0100, 0x0201])
@pytest.mark.parametrize("value", [b"\x00", b"\xff", b"\x7f", b"\x80", b"\x01"])
def test_every_word_of_the_binary_header_may_be_anything(tmp_path, revision, value):
    for byte in range(0, 400, 2):
        attempt(mutated(revision, ">", [(byte, value * 2)]), tmp_path)

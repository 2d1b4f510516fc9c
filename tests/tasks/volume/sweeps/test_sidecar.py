"""Sidecars of strangers are measured before they are expanded, and each ends in a sentence of its own source.

Covers sweeps/sidecar.py and sweeps/sidecar_yaml.py.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tasks.volume.store.objects import Store
from tasks.volume.sweeps.sidecar import Sidecar, read_sidecar, read_sidecars
from tasks.volume.sweeps.sidecar_yaml import plain_values

GOOD = b"index: {bytes: [9, 13]}\nattributes: {survey: North, epsg: 23031, shot: 2020-05-01, wet: true}\n"


def doubling(levels: int) -> str:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = {
    "a billion texts": (doubling(30), "repeats others until they are too many"),
    "a mapping that holds itself": ("attributes: &a {b: *a}", "holds itself"),
    "a list that holds itself": ("files: &a [*a]", "holds itself"),
    "deep lists": ("files: " + "[" * 30_000, "nested too deeply"),
    "deep mappings": ("{a: " * 10_000, "nested too deeply"),
    "deep blocks": ("- " * 30_000, "nested too deeply"),
    "many values": ("files: [" + "a," * 30_000 + "]", "too many"),
    "not a number": ("attributes: {a: .nan}", "not finite"),
    "infinite": ("attributes: {a: -.inf}", "not finite"),
    "infinite when read": ("attributes: {a: 1.0e+999}", "not finite"),
    "sexagesimal": ("attributes: {a: " + "1:" * 5000 + "1}", "letters"),
    "short sexagesimal": ("attributes: {a: " + "59:" * 1000 + "59}", "digits"),
    "many digits": ("attributes: {a: " + "9" * 4000 + "}", "digits"),
    "more than 64 bits": ("attributes: {a: 9223372036854775808}", "more than 64 bits"),
    "a long text": ("attributes: {a: " + "x" * 50_000 + "}", "letters"),
    "python": ("!!python/object/apply:os.system [echo]", "has a tag"),
    "binary": ("attributes: {a: !!binary aGFsbG8=}", "has a tag"),
    "a set": ("files: !!set {a, b}", "has a tag"),
    "a date that is none": ("attributes: {a: 2020-99-99, b: .nan}", "not finite"),
    "a key that is a list": ("? [a]\n: b", "is not YAML"),
    "two documents": ("a: 1\n--- \nb: 2", "is not YAML"),
    "merged without end": ("a: &a {<<: *a}", "holds itself"),
    "nothing": ("", "no keys"),
    "zeros": ("\0" * 100, "is not YAML"),
    "too long": ("#" * 70_000, "wanted at most 65536"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_sidecar_is_refused_in_one_sentence(name: str) -> None:
    text, sentence = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(ValueError, match=sentence) as refused:
        read_sidecar(text.encode())
    assert time.process_time() - began < 5
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value)
    assert "Error" not in str(refused.value)


def test_what_is_plain_stays_what_it_was() -> None:
    sidecar = read_sidecar(GOOD)
    assert sidecar.index == {"bytes": [9, 13]}
    assert sidecar.attributes == {"survey": "North", "epsg": 23031, "shot": "2020-05-01", "wet": True}
    shared = b"copies: &c {quality: high}\npyramid: {levels: 2}\nattributes: &a {x: 1.5, y: -3}\n"
    assert read_sidecar(shared).attributes == {"x": 1.5, "y": -3}
    assert plain_values(b"a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n") == {
        "a": {"x": 1},
        "b": {"x": 1},
        "c": {"x": 1, "y": 2},
    }


def test_each_sidecar_is_of_its_own_source_alone(tmp_path: Path) -> None:
    for number, (text, _) in enumerate(HOSTILE.values()):
        (tmp_path / f"{number:02d}.seismill.yaml").write_text(text)
    (tmp_path / "good.seismill.yaml").write_bytes(GOOD)
    with (tmp_path / "vast.seismill.yaml").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "folder.seismill.yaml").mkdir()
    os.mkfifo(tmp_path / "fifo.seismill.yaml")
    (tmp_path / "dangling.seismill.yaml").symlink_to(tmp_path / "nowhere")
    names = sorted(path.name for path in tmp_path.iterdir())
    found = read_sidecars(Store(str(tmp_path)), names)
    assert isinstance(found.pop("good.seismill.yaml"), Sidecar)
    assert "dangling.seismill.yaml" not in found
    assert set(found) >= {f"{number:02d}.seismill.yaml" for number in range(len(HOSTILE))}
    assert all(isinstance(sentence, str) and sentence for sentence in found.values())
    assert found["vast.seismill.yaml"] == "it has 1099511627776 bytes, wanted at most 65536"


def test_mutated_sidecars_are_read_or_refused() -> None:
    drawn = random.Random(7)
    seeds = [GOOD, *(text.encode()[:2000] for text, _ in HOSTILE.values())]
    for _ in range(int(os.environ.get("SEISMILL_MUTANTS", "200"))):
        data = bytearray(drawn.choice(seeds))
        for _ in range(drawn.randint(1, 8)):
            at = drawn.randrange(len(data) + 1)
            data[at : at + drawn.choice((0, 1, 5))] = drawn.choice(
                (
                    bytes([drawn.randrange(256)]),
                    b"&a ",
                    b"*a",
                    b"[",
                    b"{",
                    b": ",
                    b"\n",
                    b"!!int ",
                    b"1:",
                    b"<<: ",
                    b".nan",
                )
            )
        refusal = ""
        try:
            read_sidecar(bytes(data))
        except ValueError as error:
            refusal = str(error)
        assert "\n" not in refusal, bytes(data)
        assert "Error" not in refusal, bytes(data)
        assert len(refusal) < 400, bytes(data)

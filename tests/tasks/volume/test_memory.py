"""The memory budget is the smallest limit that would end the process, less what it already holds."""

from pathlib import Path

import pytest

from tasks.volume.memory import enough_mb, memory_budget, memory_limit, resident_bytes

MACHINE = 24_000_000 * 1024


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("4 GiB", 4 * 1024**3),
        ("4GB", 4 * 1000**3),
        ("1.5 MiB", 1_572_864),
        ("500 kB", 500_000),
        ("2 TiB", 2 * 1024**4),
    ],
)
def test_amounts_are_taken_as_they_are(text, wanted):
    assert memory_budget(text) == wanted


@pytest.mark.parametrize("text", ["4", "4 GB of", "lots", "-1 GB", "4 gb", ""])
def test_other_texts_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match='such as "4 GiB"'):
        memory_budget(text)


def test_auto_is_positive_and_leaves_a_fifth_of_the_machine():
    assert 0 < memory_budget("auto") <= 0.8 * memory_limit()


def test_auto_falls_by_what_the_process_holds():
    before = memory_budget("auto")
    held = bytearray(64_000_000)
    held[::4096] = b"x" * len(held[::4096])  # touched, so that the pages exist
    assert memory_budget("auto") < before - 50_000_000


def test_resident_bytes_are_those_of_a_python_with_libraries():
    assert 10_000_000 < resident_bytes() < memory_limit()


def fake_machine(tmp_path: Path, membership: str | None, limits: dict[str, str]) -> tuple[Path, Path]:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:       24000000 kB\nMemFree:         1000 kB\n")
    if membership is not None:
        (proc / "self" / "cgroup").write_text(membership)
    for name, text in limits.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text + "\n")
    return proc, cgroups


@pytest.mark.parametrize(
    ("membership", "limits", "wanted", "reason"),
    [
        (None, {}, MACHINE, "no cgroups at all"),
        ("0::/\n", {}, MACHINE, "the root group has no limit file"),
        ("0::/\n", {"memory.max": "max"}, MACHINE, "v2 without a limit"),
        ("0::/\n", {"memory.max": "1000000"}, 1_000_000, "v2 in a container that sees its own group as root"),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "70"}, 70, "a parent's limit counts"),
        ("0::/a/b\n", {"a/b/memory.max": "50", "a/memory.max": "70"}, 50, "the smallest counts"),
        ("0::/host/path\n", {"memory.max": "90"}, 90, "a path of the host that is not mounted here"),
        (
            "4:memory:/a\n0::/\n",
            {"memory/a/memory.limit_in_bytes": "80", "memory/memory.limit_in_bytes": "9223372036854771712"},
            80,
            "v1, whose huge number means no limit",
        ),
        (
            "4:cpu,memory:/\n",
            {"memory/memory.limit_in_bytes": "60"},
            60,
            "v1 mounted with another controller",
        ),
        ("3:cpuset:/a\n", {"memory/a/memory.limit_in_bytes": "10"}, MACHINE, "another controller's path"),
    ],
)
def test_the_smallest_limit_on_the_way_up_counts(tmp_path, membership, limits, wanted, reason):
    assert memory_limit(*fake_machine(tmp_path, membership, limits)) == wanted, reason


@pytest.mark.parametrize("needed", [1, 999_999, 3_400_000, 1_234_567_890])
def test_an_amount_to_give_is_enough_and_can_be_given(needed):
    assert 0 <= memory_budget(enough_mb(needed)) - needed < 1_000_000

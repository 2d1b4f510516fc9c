"""Blocks tile an array once, and run with a bounded number in flight until they end or are stopped."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.blocks import (
    Compute,
    block_count,
    cpu_count,
    nth_region,
    on_chunks,
    on_io,
    regions,
    run_window,
)

shapes = st.lists(st.tuples(st.integers(1, 17), st.integers(1, 19)), min_size=1, max_size=4)


@pytest.fixture
def compute() -> Iterator[Compute]:
    with ThreadPoolExecutor(3) as executor:
        yield Compute(executor, 3, 1 << 30)


@settings(deadline=None)
@given(shapes)
def test_regions_tile_a_shape_once_in_the_order_of_their_numbers(extents: list[tuple[int, int]]) -> None:
    shape, block = zip(*extents, strict=True)
    times_met = np.zeros(shape, int)
    listed = list(regions(shape, block))
    for region in listed:
        times_met[region] += 1
        assert all(r.stop - r.start <= b and r.start % b == 0 for r, b in zip(region, block, strict=True))
    assert (times_met == 1).all()
    assert len(listed) == block_count(shape, block)
    assert listed == [nth_region(shape, block, number) for number in range(len(listed))]


def test_results_of_all_jobs_arrive_and_never_more_than_the_workers_run_at_once(compute: Compute) -> None:
    running, most, results = 0, 0, []
    lock = threading.Lock()

    def work(number: int, factor: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return number * factor

    taken = 0

    def jobs() -> Iterator[tuple[int, int]]:
        nonlocal taken
        for number in range(40):
            taken += 1
            assert taken - len(results) <= 3 + 1, "a window, not a queue as long as the volume"
            yield number, 3

    run_window(compute, work, jobs(), results.append)
    assert sorted(results) == [number * 3 for number in range(40)]
    assert most == 3


def test_after_a_failure_no_job_starts_and_those_in_flight_are_handed_over(compute: Compute) -> None:
    started, results = [], []
    failing = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        if number == 2:
            failing.set()
            raise ValueError("block 2 is wrong")
        failing.wait(10)
        time.sleep(0.2)
        return number

    with pytest.raises(ValueError, match="block 2 is wrong"):
        run_window(compute, work, ((number,) for number in range(99)), results.append)
    assert sorted(started) == [0, 1, 2]
    assert sorted(results) == [0, 1]


def test_when_asked_to_stop_no_job_starts_and_those_in_flight_are_handed_over(compute: Compute) -> None:
    results = []

    def work(number: int) -> int:
        if number == 5:
            compute.stopping.set()
        time.sleep(0.01)
        return number

    run_window(compute, work, ((number,) for number in range(99)), results.append)
    assert set(range(6)) <= set(results) <= set(range(8))


def test_when_interrupted_blocks_in_flight_are_handed_over_before_the_interrupt_goes_on(
    compute: Compute,
) -> None:
    results = []

    def work(number: int) -> int:
        time.sleep(0.1)
        return number

    def interrupted(number: int) -> None:
        results.append(number)
        if len(results) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_window(compute, work, ((number,) for number in range(99)), interrupted)
    assert compute.stopping.is_set()
    assert 1 <= len(results) <= 4, "what ran, and nothing after it"


def test_the_pools_give_results_in_order_and_the_first_failure_after_what_had_begun() -> None:
    assert (
        on_chunks(lambda n: n * n, range(50))
        == on_io(lambda n: n * n, range(50))
        == [n * n for n in range(50)]
    )
    began, ended = [], []

    def work(number: int) -> None:
        began.append(number)
        if number in (1, 3):
            raise ValueError(f"chunk {number}")
        time.sleep(0.02)
        ended.append(number)

    with pytest.raises(ValueError, match="chunk 1"):
        on_chunks(work, range(1000))
    assert sorted([*ended, *({1, 3} & {*began})]) == sorted(began), "no task outlives its buffers"
    assert len(began) < 900, "and what was not begun is left"


def test_there_is_a_processor() -> None:
    assert cpu_count() >= 1

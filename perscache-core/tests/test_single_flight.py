"""One computation a key at a time, among threads and tasks; and never a wait without end."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from perscache import Cache


@pytest.fixture(params=["local", "memory"])
def cache(request, tmp_path):
    return Cache(storage=tmp_path / "cache" if request.param == "local" else "memory://")


def at_once(function, count=16):
    """Call ``function`` in ``count`` threads that start together; gives their outcomes."""
    barrier = threading.Barrier(count)

    def one(_):
        barrier.wait()
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count), timeout=30))


def test_threads_that_ask_together_compute_once(cache):
    runs = []

    @cache
    def slow(x):
        runs.append(x)
        time.sleep(0.1)
        return [x]

    values = at_once(lambda: slow(1))
    assert values == [[1]] * 16
    assert runs == [1]
    assert len({id(value) for value in values}) == 16
    assert slow.cache_info()[:2] == (15, 1)


def test_tasks_that_ask_together_compute_once(cache):
    runs = []

    @cache
    async def slow(x):
        runs.append(x)
        await asyncio.sleep(0.1)
        return [x]

    async def main():
        return await asyncio.gather(*(slow(1) for _ in range(500)))

    assert asyncio.run(main()) == [[1]] * 500
    assert runs == [1]


def test_an_event_loop_does_other_things_while_thousands_of_tasks_get_one_result(cache):
    """In turns of the loop, not in seconds."""
    turn, runs, served = 0, [], []

    @cache
    async def slow(x):
        runs.append(x)
        await asyncio.sleep(0.1)
        return [x]

    async def ask():
        assert await slow(1) == [1]
        served.append(turn)

    async def main():
        nonlocal turn
        tasks = [asyncio.create_task(ask()) for _ in range(10_000)]
        while len(served) < len(tasks):
            await asyncio.sleep(0)
            turn += 1
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert runs == [1]
    assert len(served) == 10_000
    assert max(Counter(served).values()) <= 100


def test_loops_in_several_threads_compute_once(cache):
    runs = []

    @cache
    async def slow():
        runs.append(1)
        await asyncio.sleep(0.2)
        return 1

    assert at_once(lambda: asyncio.run(slow()), 8) == [1] * 8
    assert runs == [1]


def test_the_leaders_exception_goes_to_those_already_waiting_and_not_further(cache):
    runs = []

    @cache
    def fails():
        runs.append(1)
        time.sleep(0.5)
        if len(runs) == 1:
            raise LookupError("once")
        return "second"

    assert {type(outcome) for outcome in at_once(fails)} == {LookupError}
    assert fails() == "second"
    assert len(runs) == 2


def test_without_lock_each_computes(cache):
    runs = []

    @cache(lock=False)
    def slow():
        runs.append(1)
        time.sleep(0.1)

    at_once(slow, 4)
    assert len(runs) == 4


def test_results_that_cannot_be_stored_are_shared(cache):
    runs = []

    @cache(store_if=lambda result: False)
    def slow():
        runs.append(1)
        time.sleep(0.1)
        return threading.Lock()

    assert len({id(lock) for lock in at_once(slow)}) == 1
    assert runs == [1]


def test_a_function_that_asks_for_its_own_key_computes(cache):
    depth = []

    @cache
    def f():
        depth.append(1)
        return f() if len(depth) < 3 else "bottom"

    assert at_once(f, 1) == ["bottom"]


def test_two_functions_that_ask_for_each_other_never_wait_for_ever(cache):
    runs = []

    @cache(ignore="started")
    def ping(started):
        runs.append("ping")
        started.wait(10)
        return pong(started) if len(runs) < 6 else "end"

    @cache(ignore="started")
    def pong(started):
        runs.append("pong")
        started.wait(10)
        return ping(started) if len(runs) < 6 else "end"

    class Once(threading.Barrier):
        """Brings the two together at first, and lets all pass later."""

        def wait(self, timeout=None):
            return super().wait(timeout) if len(runs) <= 2 else 0

    started = Once(2)
    with ThreadPoolExecutor(2) as pool:
        futures = pool.submit(ping, started), pool.submit(pong, started)
        assert [future.result(timeout=20) for future in futures] == ["end", "end"]


def test_children_of_a_computation_that_ask_for_its_key_compute(cache):
    runs = []

    @cache
    async def f():
        runs.append(1)
        if len(runs) < 4:
            return await asyncio.gather(f(), f())
        return "bottom"

    async def main():
        return await asyncio.wait_for(f(), 10)

    assert asyncio.run(main()) is not None


def test_a_cancelled_leader_leaves_the_work_to_another(cache):
    runs = []

    @cache
    async def slow():
        runs.append(1)
        await asyncio.sleep(0.1)
        return "done"

    async def main():
        leader = asyncio.create_task(slow())
        await asyncio.sleep(0.02)
        waiters = [asyncio.create_task(slow()) for _ in range(10)]
        await asyncio.sleep(0.02)
        leader.cancel()
        return await asyncio.gather(leader, *waiters, return_exceptions=True)

    cancelled, *values = asyncio.run(main())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert values == ["done"] * 10
    assert len(runs) == 2


def test_a_cancelled_waiter_disturbs_nobody(cache):
    @cache
    async def slow():
        await asyncio.sleep(0.1)
        return "done"

    async def main():
        tasks = [asyncio.create_task(slow()) for _ in range(4)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    values = asyncio.run(main())
    assert [values[0], *values[2:]] == ["done"] * 3
    assert isinstance(values[1], asyncio.CancelledError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_a_computation_is_under_way_does_no_harm(tmp_path):
    cache = Cache(storage=tmp_path)
    inside, release = threading.Event(), threading.Event()

    @cache(ignore=("inside", "release"))
    def slow(inside, release):
        inside.set()
        release.wait(20)
        return "done"

    thread = threading.Thread(target=slow, args=(inside, release))
    thread.start()
    inside.wait(20)
    misses = slow.cache_info().misses
    child = os.fork()
    if child == 0:
        release.set()  # The child's; the parent goes on computing, and the child waits for its result.
        os._exit(0 if slow(inside, release) == "done" and slow.cache_info().misses == misses else 1)
    time.sleep(0.3)
    release.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    thread.join()
    assert slow.cache.get(inside, release) == "done"


def test_a_result_stored_in_between_is_not_computed_again(cache):
    """Whoever looked before the leader had stored, and asks for the lead after, looks again."""
    runs = []

    @cache
    def quick(x):
        runs.append(x)
        return x

    for number in range(200):
        at_once(lambda number=number: quick(number), 4)
    assert sorted(runs) == list(range(200))

"""``f.cache.map``: many calls at once, looked up together, the missing ones run, on executors or in tasks."""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest

import perscache
from perscache import Cache, CacheMiss, NoCache, PerscacheWarning
from perscache.errors import ConfigurationError, PluginError, SerializationError, UnkeyableError
from perscache.plugins import hookimpl
from perscache.serializers import JSONSerializer
from perscache.storage import LocalFileStorage, Storage

SECONDS = 60
"""The longest that anything here may take."""


@pytest.fixture(scope="module")
def processes():
    """Two processes, which know of the functions here by value only."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def threads():
    """Two threads."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def square(cache, tmp_path):
    """A function that leaves a line for each of its runs; see `runs`."""
    log = str(tmp_path / "runs")

    @cache(serializer="json", name="square")
    def square(x, *, plus=0):
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{os.getpid()} {x}\n".encode())
        os.close(fd)
        if x == 13:
            raise ValueError("thirteen")
        return x * x + plus

    return square


def runs(tmp_path, pid: bool = False) -> list[str]:
    file = tmp_path / "runs"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return sorted(line.split()[0 if pid else 1] for line in lines)


async def collect(iterator):
    return [value async for value in iterator]


# --- How calls are written.


def test_a_tuple_is_positions_a_dict_is_keywords_all_else_is_one_argument(cache):
    class Point(NamedTuple):
        x: int
        y: int

    @cache
    def f(*args, **kwargs):
        return args, kwargs

    calls = [(1, 2), {"a": 1}, 3, "text", [4, 5], ((6, 7),), ({"b": 8},), (), {}, Point(1, 2), None]
    assert list(f.cache.map(calls)) == [
        ((1, 2), {}),
        ((), {"a": 1}),
        ((3,), {}),
        (("text",), {}),
        (([4, 5],), {}),
        (((6, 7),), {}),
        (({"b": 8},), {}),
        ((), {}),
        ((), {}),
        ((1, 2), {}),
        ((None,), {}),
    ]
    # The same calls as ever.
    assert f.cache_contains(1, 2)
    assert f.cache_contains(a=1)


def test_arguments_are_a_call_of_any_form(cache):
    @cache
    def f(x, /, *rest, y, **more):
        return x, rest, y, more

    calls = (f.cache.arguments(x, *"ab", y=2, z=3) for x in (1, (1, 2)))
    assert list(f.cache.map(calls)) == [(1, ("a", "b"), 2, {"z": 3}), ((1, 2), ("a", "b"), 2, {"z": 3})]


def test_on_methods_the_instance_comes_first(cache):
    @dataclass
    class Model:
        factor: int

        @cache
        def predict(self, x):
            return self.factor * x

    assert list(Model.predict.cache.map([(Model(2), 1), {"self": Model(3), "x": 1}])) == [2, 3]
    assert Model.predict.cache.get(Model(3), 1) == 3


def test_a_call_that_does_not_fit_says_how_calls_are_written(square):
    results = square.cache.map([(1, 2), 2, {"q": 1}, {3: 4}], return_exceptions=True)
    misfit, four, unknown, no_name = results
    assert four == 4
    for error in (misfit, unknown, no_name):
        assert isinstance(error, TypeError)
        assert "(x,) for one x" in error.__notes__[0]


def test_a_dict_that_the_caller_goes_on_to_change_is_another_call(square):
    def calls():
        row = {}
        for x in range(3):
            row["x"] = x
            yield row

    with ThreadPoolExecutor(1) as pool:
        assert list(square.cache.map(calls(), pool)) == [0, 1, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"executor": 4}, "not int.*ThreadPoolExecutor"),
        ({"ahead": 0}, "ahead=0"),
        ({"ahead": 1.5}, "ahead=1.5"),
        ({"limit": 2}, "limit= is for coroutine functions"),
    ],
)
def test_a_setting_without_meaning_is_refused_at_once(square, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        square.cache.map([1], **settings)
    with pytest.raises(TypeError, match="not iterable"):
        square.cache.map(1)


# --- Looking up together, running what is missing.


def test_only_the_missing_calls_run_and_results_keep_the_order(square, tmp_path):
    square(2)
    assert list(square.cache.map([3, 2, 1, (2,)])) == [9, 4, 1, 4]
    assert runs(tmp_path) == ["1", "2", "3"]
    assert list(square.cache.map(range(1, 4))) == [1, 4, 9]
    assert list(square.cache.map([])) == []
    assert runs(tmp_path) == ["1", "2", "3"]


class Far(LocalFileStorage):
    """A storage whose answers take their time."""

    local = False
    waiting: Any = None
    loads = 0

    def load(self, path, max_age=None):
        type(self).loads += 1
        if self.waiting is not None:
            self.waiting()
        return super().load(path, max_age)


def test_look_ups_of_a_remote_storage_are_under_way_together(tmp_path):
    class There(Far):
        waiting = threading.Barrier(32, timeout=SECONDS).wait

    near = Cache("json", tmp_path)(name="f", track="none")(lambda x: x)
    f = Cache("json", There(tmp_path))(name="f", track="none")(lambda x: x)
    list(near.cache.map(range(64)))
    # No answer comes before 32 are asked for; but the one that makes the first key is alone.
    There.waiting, waiting = None, There.waiting
    f.cache.key(0), list(f.cache.map([0]))
    There.waiting = waiting
    assert list(f.cache.map(range(64))) == [*range(64)]
    assert f.cache_info().hits == 65


def test_a_remote_storage_is_asked_once_for_each_key(tmp_path):
    class There(Far):
        loads = 0

    cache = Cache("json", There(tmp_path), lock=False)
    f = cache(lambda x: x)
    f(-1)
    before = There.loads
    list(f.cache.map([*range(50), *range(50)]))
    assert There.loads - before == 50 + 50  # Of the second fifty each is loaded, once, when it was stored.
    before = There.loads
    assert list(f.cache.map([*range(50), *range(50)])) == [*range(50)] * 2
    assert There.loads - before == 50


def test_calls_are_read_one_at_a_time_where_looking_ahead_gains_nothing(square):
    calls = iter(itertools.count())
    results = square.cache.map(calls)
    assert [next(results), next(results)] == [0, 1]
    assert next(calls) == 2


def test_the_first_calls_run_before_all_are_read(cache, threads):
    running = threading.Event()

    @cache(track="none")
    def f(x):
        running.set()
        return x

    def calls():
        yield from (1, 2)
        assert running.wait(SECONDS)
        yield 3

    assert list(f.cache.map(calls(), threads)) == [1, 2, 3]


@pytest.mark.parametrize("way", ["far", "threads", "async"])
def test_no_more_calls_are_read_than_the_look_ahead_allows(tmp_path, threads, way):
    calls = iter(itertools.count())
    cache = Cache("json", Far(tmp_path) if way == "far" else tmp_path)
    f = cache(lambda x: x)
    if way == "async":

        async def main():
            results = f.cache.amap(calls, ahead=7)
            first = [await anext(results) for _ in range(5)]
            await results.aclose()
            return first

        first = asyncio.run(main())
    else:
        results = f.cache.map(calls, threads if way == "threads" else None, ahead=7)
        first = [next(results) for _ in range(5)]
        results.close()
    assert first == [0, 1, 2, 3, 4]
    assert 5 <= next(calls) <= 12


def test_large_results_are_not_read_long_before_their_turn(tmp_path, threads, monkeypatch):
    monkeypatch.setattr("perscache.delivery.HELD", 1000)

    class There(Far):
        loads = 0
        local = True

    f = Cache("json", There(tmp_path))(lambda x: "x" * 500)
    assert all(f.cache.map(range(50)))
    before = There.loads
    results = f.cache.map(range(50), threads)
    next(results)
    assert There.loads - before <= 3
    assert len(list(results)) == 49


@pytest.mark.parametrize("mode", ["normal", "refresh"])
@pytest.mark.parametrize("where", ["here", "threads"])
def test_equal_calls_run_once(cache, threads, mode, where):
    ran = []

    @cache
    def f(x):
        ran.append(x)
        return [x]

    with cache.mode(mode):
        results = f.cache.map([1, 2, (1,), {"x": 1}, 2], threads if where == "threads" else None)
    assert list(results) == [[1], [2], [1], [1], [2]]
    assert sorted(ran) == [1, 2]
    assert f.cache_info()[:2] == (3, 2)


@pytest.mark.parametrize("mode", ["normal", "refresh", "readonly"])
def test_equal_calls_that_are_waiting_run_once_though_nothing_is_stored(cache, threads, mode):
    ran, all_read = [], threading.Event()

    def calls():
        yield from [1, 2, (1,), {"x": 1}, 2]
        all_read.set()

    @cache(store_if=lambda _: mode == "readonly", track="none")
    def f(x):
        assert all_read.wait(SECONDS)
        ran.append(x)
        return [x]

    with cache.mode(mode):
        assert list(f.cache.map(calls(), threads)) == [[1], [2], [1], [1], [2]]
    assert sorted(ran) == [1, 2]
    assert f.cache_info()[:2] == (3, 2)


def test_equal_calls_have_values_of_their_own(cache, threads):
    f = cache(lambda x: [x])
    for executor in (None, threads):
        results = f.cache.map([1, 1, 1], executor)
        next(results).append("changed by the caller")
        assert list(results) == [[1], [1]]
        f.cache_clear()


def test_equal_calls_that_are_waiting_raise_the_same(cache, threads):
    all_read = threading.Event()

    def calls():
        yield from [1, 1]
        all_read.set()

    @cache(track="none")
    def f(x):
        assert all_read.wait(SECONDS)
        raise ValueError(x)

    first, second = f.cache.map(calls(), threads, return_exceptions=True)
    assert first is second
    assert f.cache_info().misses == 1


def test_a_damaged_result_is_made_again(square, cache, tmp_path):
    list(square.cache.map([1, 2, 3]))
    Path(cache.storage.location, square.cache.key(2)).write_bytes(b"?")
    with pytest.warns(PerscacheWarning, match="read failed"):
        assert list(square.cache.map([1, 2, 3])) == [1, 4, 9]
    assert runs(tmp_path) == ["1", "2", "2", "3"]
    assert square.cache_info().errors == 1


def test_an_expired_result_is_made_again(cache, monkeypatch):
    f = cache(ttl="1h")(lambda x: x)
    assert list(f.cache.map([1, 2])) == [1, 2]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7200)
    assert list(f.cache.map([1, 2])) == [1, 2]
    assert f.cache_info()[:2] == (0, 4)
    assert f.cache_info().stale == 2


def test_results_of_an_accepted_version_are_found(tmp_path):
    def make(source):
        scope: dict[str, Any] = {"__name__": "shop"}
        exec(source, scope)
        return Cache("json", tmp_path)(scope["f"])

    list(make("def f(x): return x").cache.map(range(3)))
    make("def f(x): return 1 * x").cache.accept()
    again = make("def f(x): return 1 * x")
    assert list(again.cache.map(range(3))) == [0, 1, 2]
    assert again.cache_info()[:2] == (3, 0)


def test_a_call_that_no_key_can_be_made_of_raises_in_its_turn(cache):
    f = cache(lambda x: 1)
    error, one = f.cache.map([threading.Lock(), 1], return_exceptions=True)
    assert isinstance(error, UnkeyableError)
    assert one == 1


def test_a_plugin_that_makes_no_key_costs_no_result(cache, threads):
    def key(x):
        raise PluginError("no key today")

    f = cache(key=key)(lambda x: x)
    with pytest.warns(PerscacheWarning, match="no key today") as warned:
        results = [list(f.cache.map([1, 2], executor)) for executor in (None, threads)]
    assert results == [[1, 2], [1, 2]]
    assert len(warned) == 1
    assert f.cache_info()[:2] == (0, 4)
    assert f.cache_info().errors == 4


def test_generator_functions_give_lists_of_their_items(cache, threads, processes):
    @cache
    def count(n):
        yield from range(n)

    assert list(count.cache.map([1, 2])) == [[0], [0, 1]]
    assert list(count.cache.map([1, 2, 3, 4], threads)) == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]
    assert list(count.cache.map([4, 5], processes)) == [[0, 1, 2, 3], [0, 1, 2, 3, 4]]
    assert count.cache_info()[:2] == (3, 5)


# --- Modes.


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
def test_modes_hold(square, cache, tmp_path, threads, processes, where):
    executor = {"here": None, "threads": threads, "processes": processes}[where]
    square(1)
    with cache.mode("readonly"):
        assert list(square.cache.map([1, 2], executor)) == [1, 4]
    assert not square.cache_contains(2)
    with cache.mode("bypass"):
        assert list(square.cache.map([1, 2], executor)) == [1, 4]
    assert not square.cache_contains(2)
    with cache.mode("refresh"):
        assert list(square.cache.map([1, 3], executor)) == [1, 9]
    assert square.cache_contains(3)
    assert runs(tmp_path) == ["1", "1", "1", "2", "2", "3"]
    with perscache.mode("offline"):
        hit, miss = square.cache.map([1, 2], executor, return_exceptions=True)
        assert hit == 1
        assert isinstance(miss, CacheMiss)
        results = square.cache.map([1, 2, 3], executor)
        assert next(results) == 1
        with pytest.raises(CacheMiss, match="square"):
            next(results)
    assert runs(tmp_path) == ["1", "1", "1", "2", "2", "3"]


def test_the_mode_is_the_one_in_force_when_map_is_called(square, cache, tmp_path):
    square(1)
    with cache.mode("refresh"):
        results = square.cache.map([1])
    assert list(results) == [1]
    assert runs(tmp_path) == ["1", "1"]


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
def test_what_the_function_calls_is_in_the_mode_of_the_block(cache, tmp_path, threads, processes, where):
    log = str(tmp_path / "runs")

    @cache(name="inner")
    def inner():
        with open(log, "a") as file:
            file.write(f"{os.getpid()} inner\n")

    @cache(name="outer")
    def outer(x):
        inner()

    inner()
    with perscache.mode("refresh"):
        list(outer.cache.map([1], {"here": None, "threads": threads, "processes": processes}[where]))
    assert runs(tmp_path) == ["inner", "inner"]


def test_nocache_runs_every_call(threads, processes):
    f = NoCache()(lambda x: x + 1)
    for executor in (None, threads, processes):
        assert list(f.cache.map([1, 1, 2], executor)) == [2, 2, 3]
    assert f.cache_info()[:2] == (0, 9)
    assert list(NoCache()(lambda lock: 1).cache.map([threading.Lock()])) == [1]


# --- Exceptions.


@pytest.mark.parametrize("where", ["here", "threads", "processes", "async"])
def test_an_exception_does_not_lose_the_other_calls(square, tmp_path, threads, processes, where):
    executor = {"threads": threads, "processes": processes}.get(where)
    got = []

    async def main():
        async for value in square.cache.amap(range(10, 16)):
            got.append(value)  # noqa: PERF401 - what came before the exception stays

    with pytest.raises(ValueError, match="thirteen") as caught:
        asyncio.run(main()) if where == "async" else got.extend(square.cache.map(range(10, 16), executor))
    assert got == [100, 121, 144]
    assert caught.value.__notes__[-1] == "perscache: raised by calls[3] of square.cache.map()"
    assert runs(tmp_path) == ["10", "11", "12", "13", "14", "15"]
    assert list(square.cache.map([10, 11, 12, 14, 15])) == [100, 121, 144, 196, 225]
    assert len(runs(tmp_path)) == 6


def test_the_first_exception_says_how_many_more_there_were(cache):
    @cache
    def f(x):
        raise LookupError(x)

    with pytest.raises(LookupError, match="0") as caught:
        list(f.cache.map(range(5)))
    assert "calls[0]" in caught.value.__notes__[-1]
    assert "4 other calls raised too" in caught.value.__notes__[-1]


def test_exceptions_can_be_handed_out_instead(square):
    results = list(square.cache.map([12, 13, 14], return_exceptions=True))
    assert [results[0], results[2]] == [144, 196]
    assert isinstance(results[1], ValueError)
    assert not hasattr(results[1], "__notes__")


def test_an_exception_among_the_calls_comes_after_the_results_before_it(square, threads):
    def calls():
        yield 1
        yield 2
        raise LookupError("no third call")

    for executor in (None, threads):
        results = square.cache.map(calls(), executor, return_exceptions=True)
        assert [next(results), next(results)] == [1, 4]
        with pytest.raises(LookupError, match="no third call"):
            next(results)


def test_an_interrupt_ends_it_at_once_and_says_what_had_been_raised(cache, tmp_path):
    @cache
    def f(x):
        if x == 2:
            raise KeyboardInterrupt
        raise ValueError("first")

    with pytest.raises(KeyboardInterrupt) as caught:
        list(f.cache.map(range(5)))
    assert "calls[0] of map() had raised ValueError('first')" in caught.value.__notes__[-1]
    assert f.cache_info().misses == 3


def test_on_error_raise_raises_in_its_turn_with_the_result(tmp_path):
    class Full(LocalFileStorage):
        def store(self, entry, data):
            raise OSError("full")

    f = Cache("json", Full(tmp_path), on_error="raise")(lambda x: x)
    first, second = f.cache.map([1, 2], return_exceptions=True)
    assert [first.result, second.result] == [1, 2]


# --- Threads.


def test_results_come_as_soon_as_those_before_them_are_there(cache):
    release = threading.Event()

    @cache(track="none")
    def f(x):
        assert x < 2 or release.wait(SECONDS)
        return x

    with ThreadPoolExecutor(4) as pool:
        results = f.cache.map(range(4), pool)
        assert [next(results), next(results)] == [0, 1]
        release.set()
        assert list(results) == [2, 3]


def test_missing_calls_run_side_by_side_on_threads(cache):
    together = threading.Barrier(4, timeout=SECONDS)

    @cache(track="none")
    def f(x):
        together.wait()
        return x

    with ThreadPoolExecutor(4) as pool:
        assert list(f.cache.map(range(4), pool)) == [0, 1, 2, 3]


setting: ContextVar[str] = ContextVar("setting", default="none")


def test_threads_run_in_the_context_of_who_iterates(threads):
    f = NoCache()(lambda x: setting.get())
    token = setting.set("mine")
    assert list(f.cache.map(range(3), threads)) == ["mine"] * 3
    setting.reset(token)


def test_a_computation_that_maps_itself_further_on_threads_never_waits_for_itself(cache):
    with ThreadPoolExecutor(4) as pool:

        @cache(track="none")
        def fib(n):
            return n if n < 2 else sum(fib.cache.map([n - 1, n - 2], pool if n == 5 else None))

        assert list(fib.cache.map(range(8), pool)) == [0, 1, 1, 2, 3, 5, 8, 13]


def test_who_stops_iterating_cancels_what_has_not_started(cache, recwarn):
    started, release, ran = threading.Event(), threading.Event(), []

    @cache(track="none")
    def f(x):
        ran.append(x)
        started.set()
        assert x == 0 or release.wait(SECONDS)

    with ThreadPoolExecutor(1) as pool:
        results = f.cache.map(range(100), pool)
        next(results)
        results.close()
        release.set()
    assert len(ran) <= 2
    gc.collect()
    assert [warning for warning in recwarn if warning.category is not PerscacheWarning] == []


def test_nothing_happens_before_the_first_result_is_asked_for(square, cache, tmp_path, threads):
    calls = iter([1, 2, 3])
    square.cache.map(calls, threads).close()
    assert next(calls) == 1
    assert not Path(cache.storage.location).exists()


def test_an_executor_that_takes_no_more_is_told_of_after_the_results_before(square):
    with ThreadPoolExecutor(1) as pool:
        results = square.cache.map(itertools.count(), pool, ahead=4)
        got = [next(results)]
    with pytest.raises(RuntimeError, match="shutdown") as caught:
        got.extend(results)
    assert got == [x * x for x in range(len(got))]
    assert len(got) >= 2
    assert any("keep the executor open" in note for note in caught.value.__notes__)


def test_what_an_executor_cancelled_is_no_miss(square):
    class Lazy(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.cancel()
            return future

    results = list(square.cache.map([1, 2], Lazy(1), return_exceptions=True))
    assert [type(error).__name__ for error in results] == ["CancelledError"] * 2
    assert square.cache_info()[:2] == (0, 0)


# --- Processes.


def test_missing_calls_run_and_are_stored_in_other_processes(square, tmp_path, processes):
    square(3)
    assert list(square.cache.map(range(6), processes)) == [0, 1, 4, 9, 16, 25]
    assert runs(tmp_path) == ["0", "1", "2", "3", "4", "5"]
    assert runs(tmp_path, pid=True).count(str(os.getpid())) == 1
    assert list(square.cache.map(range(6), processes)) == [0, 1, 4, 9, 16, 25]
    assert len(runs(tmp_path)) == 6
    entry = square.cache.peek(5)
    assert (entry.function, "5" in entry.arguments) == ("square", True)


class Diary:
    """What an observer hears."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def perscache_hit(self, call, entry, seconds):
        self.heard.append(("hit", call.path, entry.path))

    @hookimpl
    def perscache_miss(self, call, reason):
        self.heard.append(("miss", call.path, reason))

    @hookimpl
    def perscache_store(self, call, entry, seconds):
        self.heard.append(("store", call.path, entry.size))

    @hookimpl
    def perscache_error(self, call, stage, error):
        self.heard.append(("error", call.path, stage, str(error)))


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
@pytest.mark.parametrize("shared", [True, False])
def test_counts_and_events_are_those_of_single_calls(tmp_path, threads, processes, where, shared):
    def prepared(name):
        diary = Diary()
        storage = tmp_path / name if shared else "memory://"
        cache = Cache("json", storage, observers=[diary], on_error="ignore")

        @cache(name="f", track="source", ttl="1h")
        def f(x):
            if x == 3:
                raise ValueError("three")
            # JSON cannot hold it.
            return {1} if x == 4 else x

        f(1)
        return f, diary

    calls = [1, 2, 3, 4, 1]
    single, expected = prepared("single")
    for x in calls:
        with suppress(ValueError):
            single(x)
    f, diary = prepared("map")
    executor = {"here": None, "threads": threads, "processes": processes}[where]
    results = list(f.cache.map(calls, executor, return_exceptions=True))
    assert results[:2] + results[3:] == [1, 2, {1}, 1]
    assert f.cache_info()._replace(saved=0) == single.cache_info()._replace(saved=0)
    assert sorted(diary.heard, key=str) == sorted(expected.heard, key=str)


def test_what_workers_count_reaches_the_ledger_once(script):
    output = script(
        """
from concurrent.futures import ProcessPoolExecutor
from perscache import Cache

cache = Cache("json", "shared")

@cache(name="f")
def f(x):
    return x

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(f.cache.map([1, 2, 3], pool))
        list(f.cache.map([1, 2, 3, 4], pool))
    print(*f.cache_info()[:2], *cache.statistics()["f"][:2])
    import subprocess, sys
    other = "from perscache import Cache; print(*Cache('json', 'shared').statistics().get('f', ())[:2])"
    print(subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=True).stdout.strip())
"""
    )
    assert output.splitlines() == ["3 4 3 4", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_worker_stores_its_result_even_if_nobody_waits_for_it_any_more(square, tmp_path):
    Path("script.py").write_text(
        """
import os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from perscache import Cache

@Cache("json", "shared")(name="f", track="none")
def f(x):
    Path("running").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return x

if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        list(f.cache.map([1], pool))
"""
    )
    parent = subprocess.Popen([sys.executable, "script.py"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while not Path("running").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    Path("go").touch()
    f = Cache("json", "shared")(name="f", track="none")(lambda x: None)
    while not f.cache_contains(1):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert f.cache.get(1) == 1


@pytest.mark.parametrize("storage", ["memory://", "memory://shared", "own"])
def test_results_of_workers_that_do_not_see_the_storage_are_stored_here(storage, tmp_path, processes):
    class Own(LocalFileStorage):
        @property
        def identity(self):
            return f"process {os.getpid()}"

    cache = Cache("json", Own(tmp_path / "own") if storage == "own" else storage)

    @cache(name="f")
    def f(x):
        time.sleep(0.01)
        return os.getpid()

    made = list(f.cache.map(range(4), processes))
    assert os.getpid() not in made
    assert list(f.cache.map(range(4))) == made
    assert f.cache_info()[:2] == (4, 4)
    assert f.cache.peek(1).compute_time >= 0.01


def test_a_call_that_has_another_key_in_the_worker_runs_here(cache, tmp_path, processes):
    f = cache(key=lambda x: (x, os.getpid()), name="f")(lambda x: os.getpid())
    with pytest.warns(PerscacheWarning, match=r"runs in this process.*bring the workers up to date") as warned:
        assert list(f.cache.map([1, 2], processes)) == [os.getpid()] * 2
    assert len(warned) == 1
    assert f.cache_contains(1)
    assert f.cache_info()[:2] == (0, 2)


class Odd(Exception):
    """An exception that can be pickled and not be read."""

    def __init__(self, one, two):
        super().__init__("odd")


def test_exceptions_arrive_whatever_pickle_thinks_of_them(cache, processes):
    class Local(Exception):
        """Known to nobody else."""

    @cache
    def f(x):
        raise [ZeroDivisionError("plain"), Local("local"), Odd(1, 2), StopIteration("stop")][x]

    plain, local, odd, stop = f.cache.map(range(4), processes, return_exceptions=True)
    assert isinstance(plain, ZeroDivisionError)
    assert type(local).__qualname__ == Local.__qualname__
    assert isinstance(odd, perscache.PerscacheError)
    assert str(odd) == "Odd: odd"
    assert "Odd(1, 2)" in odd.__notes__[0]  # Where it was raised.
    assert isinstance(stop, StopIteration)
    assert f.cache_info()[:2] == (0, 4)


def test_a_result_that_cannot_be_sent_is_fetched_from_storage(cache, processes):
    class Locks(JSONSerializer):
        def dumps(self, data):
            return b"locked" if data.locked() else b"free"

        def loads(self, data):
            lock = threading.Lock()
            return lock if bytes(data) == b"free" else lock.acquire() and lock

        def changes(self, data):
            return None

    def make(locked):
        lock = threading.Lock()
        return lock.acquire() and lock if locked else lock

    f = cache(serializer=Locks())(make)
    assert [lock.locked() for lock in f.cache.map([True, False], processes)] == [True, False]
    g = cache(serializer=Locks(), store_if=lambda lock: False, name="g")(make)
    with pytest.raises(SerializationError, match=r"cannot be sent back.*is not stored.*threads"):
        list(g.cache.map([True], processes))


def test_an_argument_that_cannot_be_sent_raises_in_its_turn(cache, processes):
    f = cache(ignore="lock")(lambda x, lock: x)
    results = list(f.cache.map([(1, None), (2, threading.Lock()), (3, None)], processes, return_exceptions=True))
    assert [results[0], results[2]] == [1, 3]
    assert isinstance(results[1], TypeError)


def test_a_dead_worker_loses_no_stored_result(square, cache, tmp_path):
    dying = cache(name="dying")(lambda x: os._exit(1))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(square.cache.map([1, 2], pool)) == [1, 4]
        with pytest.raises(BrokenProcessPool):
            list(dying.cache.map(range(50), pool, ahead=4))
    assert list(square.cache.map([1, 2])) == [1, 4]
    assert len(runs(tmp_path)) == 2


def test_functions_travel_by_name_where_they_can_be_imported(script, tmp_path):
    Path("shop.py").write_text(
        """
from perscache import Cache

cache = Cache("json", "shared")
heavy = [0] * 1_000_000

class Model:
    @cache
    def method(self, x):
        return len(heavy) + x

    @classmethod
    @cache
    def of_class(cls, x):
        return len(heavy) + x
"""
    )
    output = script(
        """
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from shop import Model

class Measuring(ProcessPoolExecutor):
    def submit(self, errand):
        sizes.append(len(pickle.dumps(errand)))
        return super().submit(errand)

sizes = []
if __name__ == "__main__":
    with Measuring(1, mp_context=get_context("spawn")) as pool:
        print(*Model.method.cache.map([(Model(), 1)], pool), *Model.of_class.cache.map([(Model, 2)], pool))
    print(max(sizes) < 5000, Model.method.cache_info()[:2], Model.of_class.cache_info()[:2])
""",
        PYTHONPATH=os.getcwd(),
    )
    assert output.splitlines() == ["1000001 1000002", "True (0, 1) (0, 1)"]


# --- Progress.


class Bar:
    """What tqdm would show."""

    made: ClassVar[list[Bar]] = []

    def __init__(self, total, desc, unit):
        self.total, self.desc, self.unit = total, desc, unit
        self.done, self.counts, self.closed = 0, {}, False
        self.made.append(self)

    def set_postfix(self, counts, refresh):
        self.counts = dict(counts)

    def update(self):
        self.done += 1

    def close(self):
        self.closed = True


def test_a_bar_shows_hits_and_misses(square):
    Bar.made.clear()
    square(1)
    list(square.cache.map([1, 2, 13, 3], progress=Bar, return_exceptions=True))
    list(square.cache.map(iter([1]), progress=Bar))
    first, second = Bar.made
    assert (first.total, first.desc, first.unit) == (4, "square", "call")
    assert (first.done, first.counts, first.closed) == (4, {"hits": 1, "misses": 2, "failed": 1}, True)
    assert (second.total, second.done, second.closed) == (1, 1, True)


def test_a_bar_of_unknown_length_has_no_total(square):
    Bar.made.clear()
    results = square.cache.map((x for x in range(3)), progress=Bar)
    assert Bar.made == []
    next(results)
    results.close()
    assert (Bar.made[0].total, Bar.made[0].done, Bar.made[0].closed) == (None, 1, True)


def test_without_tqdm_one_warning_says_so(square, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.warns(PerscacheWarning, match="pip install tqdm") as warned:
        results = [*square.cache.map([1], progress=True), *square.cache.map([1], progress=True)]
    assert results == [1, 1]
    assert len(warned) == 1


def test_with_tqdm_there_is_its_bar(square, capsys):
    pytest.importorskip("tqdm", reason="tqdm is a choice of the user's")
    list(square.cache.map([1, 2, 1], progress=True))
    shown = capsys.readouterr().err
    assert "square: 100%" in shown
    assert "hits=1, misses=2" in shown


# --- Coroutines.


@pytest.fixture
def double(cache):
    """A coroutine function; ``double.ran`` says for what it ran."""
    ran = []

    @cache(serializer="json", name="double")
    async def double(x):
        ran.append(x)
        await asyncio.sleep(0)
        if x == 13:
            raise ValueError("thirteen")
        return 2 * x

    double.ran = ran
    return double


@pytest.mark.parametrize("twin", ["map", "amap"])
def test_a_coroutine_functions_results_come_by_async_for(double, twin):
    asyncio.run(double(2))
    results = getattr(double.cache, twin)([3, 2, 1, (2,), 3])
    assert asyncio.run(collect(results)) == [6, 4, 2, 4, 6]
    assert sorted(double.ran) == [1, 2, 3]
    assert double.cache_info()[:2] == (3, 3)


def test_an_async_generator_functions_items_come_in_lists(cache):
    @cache
    async def count(n):
        for i in range(n):
            yield i

    assert asyncio.run(collect(count.cache.map([2, 3]))) == [[0, 1], [0, 1, 2]]
    assert asyncio.run(collect(count.cache.map([2, 3]))) == [[0, 1], [0, 1, 2]]
    assert count.cache_info()[:2] == (2, 2)


@pytest.mark.parametrize("limit", [1, 3, None])
def test_as_many_coroutines_run_at_once_as_the_limit_says(cache, limit):
    most = running = 0

    @cache
    async def f(x):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1

    asyncio.run(collect(f.cache.map(range(150), limit=limit)))
    assert most == (limit or 100)


def test_look_ups_of_coroutines_are_under_way_together(tmp_path):
    class Slow(LocalFileStorage):
        under_way = most = 0

        async def aload(self, path, max_age=None):
            cls = type(self)
            cls.under_way += 1
            cls.most = max(cls.most, cls.under_way)
            await asyncio.sleep(0.001)
            cls.under_way -= 1
            return self.load(path, max_age)

    async def f(x):
        return x

    cached = Cache("json", Slow(tmp_path))(f)
    assert asyncio.run(collect(cached.cache.map(range(200)))) == [*range(200)]
    Slow.most = 0
    assert asyncio.run(collect(cached.cache.map(range(200)))) == [*range(200)]
    assert Slow.most == 64


def test_recursive_coroutines_never_wait_for_their_own_limit(cache):
    @cache(track="none")
    async def fib(n):
        return n if n < 2 else await fib(n - 1) + await fib(n - 2)

    async def main():
        return await asyncio.wait_for(collect(fib.cache.map([7, 5, 6, 1], limit=1)), SECONDS)

    assert asyncio.run(main()) == [13, 5, 8, 1]


def test_cancelling_the_consumer_cancels_what_runs(cache):
    begun, cancelled, five = [], [], asyncio.Event()

    @cache(track="none")
    async def f(x):
        begun.append(x)
        if len(begun) == 5:
            five.set()
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            cancelled.append(x)
            raise

    async def main():
        task = asyncio.create_task(collect(f.cache.map(range(1000), limit=5)))
        await asyncio.wait_for(five.wait(), SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert sorted(begun) == sorted(cancelled)
    assert len(begun) == 5


def test_who_leaves_the_loop_leaves_nothing_running(double, recwarn):
    async def main():
        async for value in double.cache.map(range(1000), limit=2):
            assert value == 0
            break
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - nobody tells of that
            await asyncio.sleep(0)

    asyncio.run(main())
    assert len(double.ran) < 200
    gc.collect()
    assert [*recwarn] == []


def test_exceptions_of_coroutines_come_as_those_of_functions_do(double):
    with pytest.raises(ValueError, match="thirteen"):
        asyncio.run(collect(double.cache.map(range(10, 16))))
    assert sorted(double.ran) == [10, 11, 12, 13, 14, 15]
    results = asyncio.run(collect(double.cache.map([12, 13], return_exceptions=True)))
    assert results[0] == 24
    assert isinstance(results[1], ValueError)


def test_a_coroutine_that_cancels_itself_holds_up_nobody(cache):
    @cache
    async def f(x):
        if x == 1:
            raise asyncio.CancelledError
        return x

    async def main():
        return await asyncio.wait_for(collect(f.cache.map(range(3), return_exceptions=True)), SECONDS)

    first, second, third = asyncio.run(main())
    assert [first, third] == [0, 2]
    assert isinstance(second, asyncio.CancelledError)


def test_coroutines_take_no_executor(double, threads):
    with pytest.raises(ConfigurationError, match=r"coroutine function.*limit="):
        double.cache.map([1], threads)
    with pytest.raises(ConfigurationError, match="limit=0"):
        double.cache.map([1], limit=0)


def test_modes_hold_for_coroutines(double, cache):
    async def main():
        with cache.mode("refresh"):
            results = double.cache.map([1, 1, 2])
        return await collect(results), await collect(double.cache.map([1, 2]))

    assert asyncio.run(main()) == ([2, 2, 4], [2, 4])
    assert sorted(double.ran) == [1, 2]
    with cache.mode("offline"), pytest.raises(CacheMiss):
        asyncio.run(collect(double.cache.map([1, 3])))


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
def test_a_plain_function_is_mapped_off_the_event_loop(square, tmp_path, threads, processes, where):
    square(2)
    executor = {"here": None, "threads": threads, "processes": processes}[where]
    assert asyncio.run(collect(square.cache.amap([3, 2, 1, 3], executor))) == [9, 4, 1, 9]
    assert runs(tmp_path) == ["1", "2", "3"]
    assert square.cache_info()[:2] == (2, 3)


@pytest.mark.parametrize("where", ["here", "threads", "processes"])
def test_exceptions_that_asyncio_cannot_carry_hold_up_nobody(cache, threads, processes, where):
    @cache
    def f(x):
        raise StopIteration(x)

    executor = {"here": None, "threads": threads, "processes": processes}[where]

    async def main():
        return await asyncio.wait_for(collect(f.cache.amap(range(3), executor, return_exceptions=True)), SECONDS)

    assert [error.args for error in asyncio.run(main())] == [(0,), (1,), (2,)]
    assert f.cache_info().misses == 3


def test_the_loop_stays_free_and_a_plain_function_runs_alone(cache):
    alone = threading.Lock()
    going = threading.Event()

    @cache(track="none")
    def f(x):
        assert alone.acquire(blocking=False)
        assert going.wait(SECONDS)
        alone.release()
        return threading.get_ident()

    async def main():
        task = asyncio.create_task(collect(f.cache.amap(range(5))))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        going.set()
        return await task

    assert threading.get_ident() not in asyncio.run(main())


# --- What a storage of one's own gives.


class Plain(Storage):
    """Two methods."""

    def __init__(self):
        self.kept = {}

    def read(self, path, deadline):
        if path not in self.kept:
            raise FileNotFoundError(path)
        return self.kept[path]

    def write(self, path, data):
        self.kept[path] = data


def test_many_loads_are_answered_in_order_each_with_its_own_trouble():
    storage = Plain()
    for i in range(0, 200, 2):
        storage.write(f"f-{i}.json", str(i).encode())
    answers = list(storage.load_many([f"f-{i}.json" for i in range(200)]))
    assert [answer.data for answer in answers[::2]] == [str(i).encode() for i in range(0, 200, 2)]
    assert {type(answer) for answer in answers[1::2]} == {FileNotFoundError}


def test_closing_many_loads_leaves_no_thread_behind():
    storage = Plain()
    answers = storage.load_many([f"f-{i}.json" for i in range(200)])
    next(answers)
    answers.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("perscache-look-up")]


def test_a_storage_that_answers_too_little_is_found_out():
    class Mute(Plain):
        def load_many(self, paths, max_age=None, form=None):
            yield from list(paths)[:0]

    with pytest.raises(perscache.PerscacheError, match=r"Mute\.load_many\(\) gave fewer answers"):
        list(Cache("json", Mute())(lambda x: x).cache.map([1, 2]))


def test_a_storage_of_two_methods_is_mapped_too(threads, processes):
    f = Cache("json", Plain())(lambda x: x)
    for executor in (None, threads, processes):
        assert list(f.cache.map(range(5), executor)) == [0, 1, 2, 3, 4]
    assert f.cache_info()[:2] == (10, 5)
    f.cache_info()

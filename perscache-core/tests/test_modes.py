"""Modes: what each allows, and how switches nest."""

from __future__ import annotations

import asyncio
import threading

import pytest

import perscache
from perscache import Cache, CacheMiss
from perscache.errors import ConfigurationError


@pytest.fixture
def counted(cache):
    """A cached function with one stored call, f(1), and the list of its runs."""
    runs = []

    @cache
    def f(x):
        runs.append(x)
        return x, len(runs)

    f(1)
    runs.clear()
    return f, runs


@pytest.mark.parametrize(
    ("mode", "runs_on_hit", "runs_on_miss", "stores"),
    [
        ("normal", False, True, True),
        ("refresh", True, True, True),
        ("bypass", True, True, False),
        ("readonly", False, True, False),
    ],
)
def test_each_mode_does_what_its_table_says(cache, counted, mode, runs_on_hit, runs_on_miss, stores):
    f, runs = counted
    with cache.mode(mode):
        f(1)
        assert runs == [1] * runs_on_hit
        f(2)
        assert runs.count(2) == runs_on_miss
    assert f.cache_contains(2) is stores


def test_offline_never_runs_the_function_and_says_so(cache, counted):
    f, runs = counted
    with cache.mode("offline"):
        assert f(1) == (1, 1)
        with pytest.raises(CacheMiss, match="not stored") as caught:
            f(2)
    assert isinstance(caught.value, KeyError)
    assert runs == []
    assert f.__name__ in str(caught.value)


def test_refresh_overwrites(cache, counted):
    f, _ = counted
    with cache.mode("refresh"):
        f(1)
        f(1)
    assert f(1) == (1, 2)


def test_bypass_makes_no_key(cache):
    @cache
    def f(lock):
        return 1

    with cache.mode("bypass"):
        assert f(threading.Lock()) == 1


def test_the_innermost_switch_wins_and_a_cache_switches_alone(cache, tmp_path):
    other = Cache(storage=tmp_path / "other")
    runs = []
    f = cache(lambda: runs.append("f"))
    g = other(lambda: runs.append("g"))
    f()
    g()
    with perscache.mode("refresh"), cache.mode("normal"):
        f()
        g()
    assert runs == ["f", "g", "g"]
    with cache.mode("refresh"), perscache.mode("normal"):
        f()
    assert runs == ["f", "g", "g"]


def test_a_switch_does_not_leak_into_threads_and_tasks(cache, counted):
    f, runs = counted
    with cache.mode("refresh"):
        thread = threading.Thread(target=f, args=(1,))
        thread.start()
        thread.join()
    assert runs == []

    async def switching():
        with cache.mode("refresh"):
            await asyncio.sleep(0.05)

    async def main():
        task = asyncio.create_task(switching())
        await asyncio.sleep(0.01)
        f(1)
        await task

    asyncio.run(main())
    assert runs == []


def test_the_environment_is_stronger_than_code(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSCACHE_MODE", "offline")
    cache = Cache(storage=tmp_path, mode="refresh")
    f = cache(lambda: 1)
    with cache.mode("normal"), pytest.raises(CacheMiss):
        f()


def test_an_unknown_mode_is_an_error_with_a_suggestion(cache, monkeypatch):
    with pytest.raises(ConfigurationError, match="did you mean 'refresh'"), cache.mode("refesh"):
        pass
    with pytest.raises(ConfigurationError, match="normal, refresh, bypass, readonly, offline"):
        Cache(mode="x")
    monkeypatch.setenv("PERSCACHE_MODE", "ofline")
    with pytest.raises(ConfigurationError, match="did you mean 'offline'"):
        Cache()


def test_modes_hold_for_coroutines_and_generators(cache):
    runs = []

    @cache
    async def f():
        runs.append("f")

    @cache
    def g():
        runs.append("g")
        yield 1

    @cache
    async def h():
        runs.append("h")
        yield 1

    async def main():
        await f()
        list(g())
        [i async for i in h()]

    for _ in range(2):
        asyncio.run(main())
    assert runs == ["f", "g", "h"]
    with perscache.mode("refresh"):
        asyncio.run(main())
    with perscache.mode("bypass"):
        asyncio.run(main())
    assert runs == ["f", "g", "h"] * 3
    cache.storage.clear()
    with perscache.mode("offline"):
        for call in (lambda: asyncio.run(f()), lambda: list(g()), lambda: asyncio.run(anext(h()))):
            with pytest.raises(CacheMiss):
                call()
    assert len(runs) == 9

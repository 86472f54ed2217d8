"""The handle ``f.cache`` and the attributes of a cached function."""

from __future__ import annotations

import asyncio
import datetime as dt
import time

import pytest

from perscache import Cache, CacheMiss
from perscache.storage import MemoryStorage


@pytest.fixture
def square(cache):
    @cache(serializer="json")
    def square(x):
        """The square of x."""
        time.sleep(0.01)
        return x * x

    return square


def test_get_gives_the_value_or_a_miss_without_running(square):
    with pytest.raises(CacheMiss, match="square"):
        square.cache.get(3)
    square(3)
    assert square.cache.get(3) == 9
    assert asyncio.run(square.cache.aget(x=3)) == 9
    with pytest.raises(CacheMiss):
        asyncio.run(square.cache.aget(4))
    assert square.cache_info().misses == 1


def test_peek_tells_of_an_entry_without_loading_it(square):
    assert square.cache.peek(3) is None
    before = dt.datetime.now(dt.UTC)
    square(3)
    entry = square.cache.peek(3)
    assert entry == asyncio.run(square.cache.apeek(3))
    assert entry.path == square.cache.key(3)
    assert abs(entry.created - before) < dt.timedelta(seconds=30)
    assert entry.expires is None
    assert entry.size == len(b"9")
    assert entry.compute_time >= 0.01
    assert entry.format == "json"
    assert "3" in entry.arguments
    assert entry.function.endswith("square")


def test_an_entry_expires_by_the_time_to_live_in_force(cache):
    f = cache(ttl="1h")(lambda: 1)
    f()
    entry = f.cache.peek()
    assert entry.expires - entry.created == dt.timedelta(hours=1)


def test_a_storage_is_told_when_an_entry_will_expire():
    told = []

    class Told(MemoryStorage):
        def store(self, entry, data):
            told.append(entry)
            super().store(entry, data)

    cache = Cache("json", Told(name="told"))
    cache(ttl="1h")(lambda: 1)()
    cache(lambda: 2)()

    assert told[0].expires - told[0].created == dt.timedelta(hours=1)
    assert told[1].expires is None


def test_put_stores_by_hand(square):
    square.cache.put(10, 3)
    assert square(3) == 10
    assert square.cache_info()[:2] == (1, 0)


def test_refresh_and_bypass_run_the_function(cache):
    runs = []

    @cache
    def f():
        runs.append(1)
        return len(runs)

    assert [f(), f.cache.refresh(), f(), f.cache.bypass(), f()] == [1, 2, 2, 3, 2]


def test_call_tells_value_hit_age_and_saved_time(square):
    new = square.cache.call(3)
    assert (new.value, new.hit, new.age, new.saved) == (9, False, 0.0, 0.0)
    time.sleep(0.02)
    old = square.cache.call(3)
    assert (old.value, old.hit) == (9, True)
    assert 0.01 < old.age < 30
    assert 0.01 <= old.saved < 30
    assert square.cache_info().saved == pytest.approx(old.saved)


def test_contains_and_invalidate(square):
    assert not square.cache_contains(3)
    square(3)
    square(4)
    assert square.cache_contains(3)
    assert square.cache_invalidate(3) is True
    assert square.cache_invalidate(3) is False
    assert not square.cache_contains(3)
    assert square.cache_contains(4)


def test_clear_removes_this_functions_entries_only(cache, square):
    other = cache(lambda: 1)
    other()
    square(1)
    square(2)
    assert {entry.path for entry in square.cache.entries()} == {square.cache.key(1), square.cache.key(2)}
    square.cache_clear()
    assert list(square.cache.entries()) == []
    assert other.cache_contains()


def test_info_has_the_fields_of_functools_first(square):
    square(1)
    square(1)
    square(2)
    info = square.cache_info()
    assert info._fields == ("hits", "misses", "maxsize", "currsize", "stale", "errors", "bytes", "saved")
    assert info[:4] == (1, 2, None, 2)
    assert info.bytes == 1
    assert info.errors == info.stale == 0


def test_parameters_are_the_settings_in_force(tmp_path, monkeypatch):
    monkeypatch.setenv("PERSCACHE_TTL", "1h")

    @Cache("json", tmp_path, lock=False)(ignore="y", name="f")
    def f(x, y): ...

    settings = f.cache_parameters()
    assert settings["serializer"] == "json"
    assert settings["ttl"] == 3600
    assert settings["lock"] is False
    assert settings["ignore"] == "y"
    assert settings["name"] == "f"
    assert settings["on_error"] == "warn"
    assert str(tmp_path) in settings["storage"]


def test_on_a_coroutine_function_what_runs_it_is_awaited(cache):
    runs = []

    @cache
    async def f(x):
        runs.append(x)
        return x + len(runs)

    async def main():
        result = await f.cache.call(1)
        return result.value, await f.cache.refresh(1), await f.cache.bypass(1), f.cache.get(1), await f.cache.aget(1)

    assert asyncio.run(main()) == (2, 3, 4, 3, 3)


def test_on_a_generator_function_the_value_is_the_list_of_items(cache):
    @cache
    def f():
        yield 1
        yield 2

    assert f.cache.call() == ([1, 2], False, 0.0, 0.0)
    assert f.cache.call().hit
    assert f.cache.get() == [1, 2]
    assert list(f.cache.refresh()) == list(f.cache.bypass()) == [1, 2]
    f.cache.put([3])
    assert list(f()) == [3]


def test_argument_summaries_leave_out_what_is_ignored(cache):
    @cache(ignore="password")
    def f(user, password):
        return 1

    f("ada", "hunter2")
    assert "ada" in f.cache.peek("ada", "").arguments
    assert "hunter2" not in str(f.cache.peek("ada", ""))

"""Trouble: whatever the storage and the serializer do, the caller gets the result."""

from __future__ import annotations

import asyncio
import logging
import warnings

import pytest

from perscache import Cache, PerscacheWarning
from perscache.errors import ConfigurationError, DamagedEntry, SerializationError
from perscache.serializers import Serializer
from perscache.storage import MemoryStorage, Storage


class Faulty(MemoryStorage):
    """A memory storage that raises on demand."""

    fail_load = fail_store = None

    def load(self, path, max_age=None):
        if self.fail_load:
            raise self.fail_load
        return super().load(path, max_age)

    async def aload(self, path, max_age=None):
        return self.load(path, max_age)

    def store(self, entry, data):
        if self.fail_store:
            raise self.fail_store
        super().store(entry, data)

    async def astore(self, entry, data):
        self.store(entry, data)


class Moody(Serializer):
    """A serializer that raises on demand."""

    extension = "moody"
    fail_dumps = fail_loads = None

    def dumps(self, data):
        if self.fail_dumps:
            raise self.fail_dumps
        return repr(data).encode()

    def loads(self, data):
        if self.fail_loads:
            raise self.fail_loads
        return int(data)


def set_fault(cache, where):
    error = OSError(28, "No space left on device") if where in ("load", "store") else ValueError("odd bytes")
    setattr(cache.storage if where in ("load", "store") else cache.serializer, f"fail_{where}", error)
    return error


@pytest.fixture(params=["sync", "async"])
def colour(request):
    """Decorates a function of no arguments and calls it, as a function or as a coroutine function."""

    def decorate(cache, function):
        if request.param == "sync":
            return cache(name="counted")(function)

        @cache(name="counted")
        async def counted():
            return function()

        return lambda: asyncio.run(counted())

    return decorate


WHERE = ["load", "store", "dumps", "loads"]


@pytest.mark.parametrize("where", WHERE)
def test_the_result_arrives_with_one_warning(colour, where, caplog):
    cache = Cache(Moody(), Faulty())
    runs = []

    def function():
        runs.append(1)
        return len(runs)

    call = colour(cache, function)
    call()
    cache.storage.clear() if where in ("store", "dumps") else None
    set_fault(cache, where)
    with pytest.warns(PerscacheWarning, match="counted: .* failed") as caught:
        assert [call(), call()] == [2, 3]
    assert len(caught) == 1
    assert [record.levelname for record in caplog.records if record.levelno >= logging.WARNING] == ["WARNING"]


@pytest.mark.parametrize("where", WHERE)
def test_raise_raises_what_happened_with_the_result(colour, where):
    cache = Cache(Moody(), Faulty(), on_error="raise")
    call = colour(cache, lambda: 7)
    call()
    cache.storage.clear() if where in ("store", "dumps") else None
    error = set_fault(cache, where)
    with pytest.raises(type(error)) as caught:
        call()
    assert caught.value is error
    if where in ("store", "dumps"):
        assert caught.value.result == 7


@pytest.mark.parametrize("where", WHERE)
def test_ignore_is_silent(colour, where):
    cache = Cache(Moody(), Faulty(), on_error="ignore")
    call = colour(cache, lambda: 7)
    call()
    set_fault(cache, where)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call() == 7


def test_trouble_is_counted():
    cache = Cache(Moody(), Faulty(), on_error="ignore")
    f = cache(lambda: 7)
    set_fault(cache, "store")
    f()
    f()
    assert f.cache_info().errors == 2


def test_warnings_made_errors_by_a_filter_cost_no_result():
    cache = Cache(Moody(), Faulty())
    set_fault(cache, "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache(lambda: 7)() == 7


def test_a_storage_that_says_damaged_is_a_miss_and_is_overwritten():
    cache = Cache(Moody(), Faulty())
    f = cache(lambda: 7)
    f()
    cache.storage.fail_load = DamagedEntry("cut short")
    with pytest.warns(PerscacheWarning, match="cut short"):
        f()
    cache.storage.fail_load = None
    assert f.cache_info().misses == 2
    f()
    assert f.cache_info().hits == 1


def test_a_serializer_that_gives_text_is_told_so():
    class Text(Moody):
        def dumps(self, data):
            return "text"

    with pytest.raises(SerializationError, match="Text: dumps\\(\\) gave str"):
        Cache(Text(), "memory://", on_error="raise")(lambda: 7)()


def test_a_value_that_a_format_would_change_is_said_once():
    cache = Cache("json", "memory://")

    @cache
    def pair(n):
        return (n, n)

    with pytest.warns(PerscacheWarning, match="tuple") as caught:
        assert [pair(1), pair(2)] == [(1, 1), (2, 2)]
    assert len(caught) == 1
    with pytest.raises(SerializationError, match="tuple") as raised:
        cache(on_error="raise", name="other")(pair.__wrapped__)(1)
    assert raised.value.result == (1, 1)


def test_store_if_that_raises_costs_no_result():
    f = Cache(storage="memory://")(store_if=lambda result: result.missing)(lambda: 7)
    with pytest.warns(PerscacheWarning, match="store_if failed"):
        assert f() == 7


def test_an_unknown_reaction_is_an_error():
    with pytest.raises(ConfigurationError, match="'warn', 'raise' or 'ignore'"):
        Cache(on_error="panic")


def test_a_storage_of_read_and_write_only_works_as_it_stands():
    class Mine(Storage):
        def __init__(self):
            self.kept = {}

        def read(self, path, deadline):
            try:
                return self.kept[path]
            except KeyError:
                raise FileNotFoundError(path) from None

        def write(self, path, data):
            self.kept[path] = data

    cache = Cache(storage=Mine())
    f = cache(lambda x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [f(1), f(1)] == [1, 1]
        assert asyncio.run(f.cache.aget(1)) == 1
    assert f.cache_info().hits == 2
    assert list(cache.storage.kept) == [f.cache.key(1)]
    assert "/" not in f.cache.key(1)
    assert f.cache_contains(1)
    assert f.cache_info().currsize is None
    with pytest.raises(NotImplementedError, match=r"Mine cannot delete: .* give it the method"):
        f.cache_invalidate(1)

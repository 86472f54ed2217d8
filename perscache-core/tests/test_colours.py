"""Functions of every colour: coroutines, generators, methods, lambdas, and how each is answered."""

from __future__ import annotations

import asyncio
import inspect
import json
import pickle

import cloudpickle
import pytest

from perscache import Cache
from perscache.errors import ConfigurationError

calls: list[object] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def test_a_coroutine_function_stays_one_and_hits(cache):
    @cache
    async def double(x):
        await asyncio.sleep(0)
        calls.append(x)
        return 2 * x

    async def main():
        return [await double(2), await double(2), await double(x=2)]

    assert inspect.iscoroutinefunction(double)
    assert asyncio.run(main()) == [4, 4, 4]
    assert asyncio.run(main()) == [4, 4, 4]
    assert calls == [2]


def test_a_coroutines_exception_reaches_its_awaiter(cache):
    @cache
    async def fails():
        raise LookupError("as ever")

    for _ in range(2):
        with pytest.raises(LookupError, match="as ever"):
            asyncio.run(fails())


def test_storage_of_an_async_call_leaves_the_loop_free(tmp_path):
    class Slow(Cache().storage.__class__):
        def load(self, path, max_age=None):
            import time

            time.sleep(0.3)
            return super().load(path, max_age)

        async def aload(self, path, max_age=None):
            return await asyncio.to_thread(self.load, path, max_age)

    @Cache(storage=Slow(tmp_path))
    async def f():
        return 1

    async def main():
        ticks = 0
        task = asyncio.create_task(f())
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(main()) > 5


def test_a_generator_is_recorded_and_replayed_lazily(cache):
    @cache
    def count(n):
        for i in range(n):
            calls.append(i)
            yield i

    assert inspect.isgeneratorfunction(count)
    iterator = count(3)
    assert calls == []
    assert next(iterator) == 0
    assert calls == [0]
    assert list(iterator) == [1, 2]
    assert list(count(3)) == [0, 1, 2]
    assert calls == [0, 1, 2]
    assert count.cache.get(3) == [0, 1, 2]


def test_an_abandoned_iteration_stores_nothing(cache):
    @cache
    def count(n):
        try:
            yield from range(n)
        finally:
            calls.append("closed")

    iterator = count(3)
    next(iterator)
    iterator.close()
    assert calls == ["closed"]
    assert not count.cache_contains(3)


def test_items_are_stored_as_they_were_when_they_came(cache):
    @cache
    def rows():
        row = []
        for i in range(3):
            row.append(i)
            yield row

    new = []
    for row in rows():
        new.append(list(row))
        row.append("changed by the consumer")
        row.pop()
    assert new == list(rows()) == [[0], [0, 1], [0, 1, 2]]


def test_a_generator_that_is_sent_to_or_returns_a_value_works_and_is_not_stored(cache):
    @cache
    def echo():
        received = yield 1
        yield received
        return "done"

    @cache
    def returns():
        yield 1
        return "done"

    def drain(generator):
        items = []
        while True:
            try:
                items.append(next(generator))
            except StopIteration as stop:
                return items, stop.value

    iterator = echo()
    next(iterator)
    assert iterator.send("hello") == "hello"
    assert drain(iterator) == ([], "done")
    assert drain(returns()) == drain(returns()) == ([1], "done")
    assert not echo.cache_contains()
    assert not returns.cache_contains()


def test_what_is_thrown_into_a_generator_reaches_it(cache):
    @cache
    def survives():
        try:
            yield 1
        except KeyError:
            yield "caught"

    iterator = survives()
    next(iterator)
    assert iterator.throw(KeyError("x")) == "caught"
    assert list(iterator) == []
    assert not survives.cache_contains()


def test_an_async_generator_is_recorded_and_replayed(cache):
    @cache
    async def count(n):
        for i in range(n):
            await asyncio.sleep(0)
            calls.append(i)
            yield i

    async def main():
        first = [i async for i in count(3)]
        abandoned = count(4)
        await anext(abandoned)
        await abandoned.aclose()
        return first, [i async for i in count(3)], (await count.cache.call(3))

    assert inspect.isasyncgenfunction(count)
    first, second, result = asyncio.run(main())
    assert first == second == result.value == [0, 1, 2]
    assert result.hit
    assert calls == [0, 1, 2, 0]
    assert not count.cache_contains(4)


cache_of_classes = Cache(storage="memory://")


class Model:
    def __init__(self, scale):
        self.scale = scale

    @cache_of_classes
    def method(self, x):
        calls.append(x)
        return self.scale * x

    @classmethod
    @cache_of_classes
    def of_class(cls, x):
        calls.append(x)
        return cls.__name__, x

    @cache_of_classes
    @classmethod
    def of_class_outside(cls, x):
        calls.append(x)
        return cls.__name__, x

    @staticmethod
    @cache_of_classes
    def static(x):
        calls.append(x)
        return x

    @cache_of_classes
    @staticmethod
    def static_outside(x):
        calls.append(x)
        return x

    @property
    @cache_of_classes
    def size(self):
        calls.append("size")
        return self.scale


class Child(Model):
    pass


def test_methods_are_keyed_by_the_state_of_the_instance():
    assert Model(2).method(3) == Model(2).method(3) == 6
    assert Model(5).method(3) == 15
    assert calls == [3, 3]
    assert Model.method.cache.peek(Model(2), 3) is not None
    changed = Model(2)
    changed.scale = 7
    assert changed.method(3) == 21


def test_class_methods_static_methods_and_properties():
    assert Model.of_class(1) == Model(1).of_class(1) == ("Model", 1)
    assert Child.of_class(1) == ("Child", 1)
    assert Model.of_class_outside(2) == Model.of_class_outside(2) == ("Model", 2)
    assert Model.static(3) == Model(0).static(3) == 3
    assert Model.static_outside(4) == Model(0).static_outside(4) == 4
    assert Model(9).size == Model(9).size == 9
    assert calls == [1, 1, 2, 3, 4, "size"]


def test_lambdas_of_one_line_are_told_apart(cache):
    pair = cache(lambda x: x + 1), cache(lambda x: x + 2)
    assert [f(1) for f in pair] == [2, 3]


def test_functions_without_source_work(cache):
    namespace = {"__name__": "__main__"}
    exec("def f(x):\n    return x + 1", namespace)
    f = cache(namespace["f"])
    assert f(1) == f(1) == 2
    assert f.cache_info().hits == 1


@cache_of_classes
def importable(x):
    calls.append(x)
    return x


def test_an_importable_function_pickles_by_name():
    assert pickle.loads(pickle.dumps(importable)) is importable


def test_any_cached_function_pickles_with_cloudpickle(tmp_path):
    cache = Cache("json", tmp_path, ttl="1h")

    def make():
        @cache
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        return fib

    fib = make()
    assert fib(10) == 55
    copy = cloudpickle.loads(cloudpickle.dumps(fib))
    assert copy.cache.key(10) == fib.cache.key(10)
    assert copy(10) == 55
    assert copy.cache_info()[:2] == (1, 0)


@pytest.mark.parametrize(("thing", "message"), [(Model, "class"), (property(len), "@property above"), (3, "function")])
def test_what_cannot_be_decorated_is_refused_with_the_way_out(cache, thing, message):
    with pytest.raises(ConfigurationError, match=message):
        cache(thing)


def test_the_items_of_a_generator_are_a_plain_list_in_the_file(tmp_path):
    @Cache("json", tmp_path)
    def words():
        yield "a"
        yield "b"

    assert list(words()) == list(words()) == ["a", "b"]
    assert json.loads((tmp_path / words.cache.key()).read_text()) == ["a", "b"]

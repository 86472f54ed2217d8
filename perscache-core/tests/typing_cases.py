"""What type checkers must see of cached functions: read by mypy and pyright in test_typing.py, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import Executor
from typing import Any, assert_type

from perscache import Cache, NoCache
from perscache.entry import Entry
from perscache.handle import CacheInfo
from perscache.protocol import Result

cache = Cache(serializer="json", storage="memory://", ttl="1d")


@cache
def plain(x: int, *, y: str = "") -> list[int]:
    return [x]


@cache(ttl=1, ignore="x")
def configured(x: int) -> str:
    return ""


@NoCache()
def uncached(x: int) -> str:
    return ""


@cache
async def coroutine(x: int) -> str:
    return ""


@cache
def generator(x: int) -> Iterator[str]:
    yield ""


@cache
def full_generator(x: int) -> Generator[str, None, None]:
    yield ""


@cache
async def async_generator(x: int) -> AsyncIterator[str]:
    yield ""


class Model:
    @cache
    def method(self, x: int) -> str:
        return ""

    @cache
    async def coroutine(self, x: int) -> str:
        return ""

    @classmethod
    @cache
    def of_class(cls, x: int) -> str:
        return ""

    @staticmethod
    @cache
    def static(x: int) -> str:
        return ""


@cache
def unannotated(x):  # type: ignore[no-untyped-def]
    return [x]


class Unannotated:
    @cache
    def method(self, x):  # type: ignore[no-untyped-def]
        return x

    @classmethod
    @cache
    def of_class(cls, x):  # type: ignore[no-untyped-def]
        return x


def check_unannotated() -> None:
    unannotated(1)
    unannotated(x=1)
    unannotated(1).append(2)
    Unannotated().method(1)  # pyright: ignore[reportUnknownMemberType]
    Unannotated.of_class(1)  # pyright: ignore[reportUnknownMemberType]


def check() -> None:
    assert_type(plain(1, y="a"), list[int])
    assert_type(configured(1), str)
    assert_type(uncached(1), str)
    assert_type(generator(1), Iterator[str])
    assert_type(full_generator(1), Generator[str, None, None])
    assert_type(async_generator(1), AsyncIterator[str])

    plain("1")  # expect-error
    plain(1, 2)  # expect-error
    plain()  # expect-error
    configured(y=1)  # expect-error

    assert_type(plain.cache.get(1), list[int])
    assert_type(plain.cache.call(1), Result[list[int]])
    assert_type(plain.cache.refresh(1, y="b"), list[int])
    assert_type(plain.cache.peek(1), Entry | None)
    assert_type(plain.cache.key(1), str)
    assert_type(plain.cache_info(), CacheInfo)
    assert_type(plain.cache_contains(1), bool)
    plain.cache.put([2], 1)
    plain.cache.put("2", 1)  # expect-error
    plain.cache.get("1")  # expect-error
    assert_type(generator.cache.get(1), list[str])


def check_methods(model: Model) -> None:
    assert_type(model.method(1), str)
    assert_type(Model.method(model, 1), str)
    assert_type(Model.method.cache.get(model, 1), str)
    assert_type(Model.of_class(1), str)
    assert_type(Model.of_class.cache.get(Model, 1), str)
    assert_type(model.of_class(1), str)
    assert_type(Model.static(1), str)
    model.method("1")  # expect-error
    model.method()  # expect-error


def check_map(executor: Executor, model: Model) -> None:
    assert_type(plain.cache.map([1, 2]), Generator[list[int], None, None])
    assert_type(plain.cache.map([1, 2], executor, True), Generator[list[int], None, None])
    assert_type(plain.cache.map([1], return_exceptions=True), Generator[list[int] | Exception, None, None])
    assert_type(plain.cache.amap([1], executor), AsyncGenerator[list[int], None])
    assert_type(generator.cache.map([1]), Generator[list[str], None, None])
    assert_type(Model.method.cache.map([(model, 1)]), Generator[str, None, None])
    assert_type(coroutine.cache.map([1], limit=3), AsyncGenerator[str, None])
    assert_type(coroutine.cache.map([1], return_exceptions=True), AsyncGenerator[str | Exception, None])
    assert_type(async_generator.cache.map([1]), AsyncGenerator[list[str], None])
    assert_type(Model.coroutine.cache.map([(model, 1)]), AsyncGenerator[str, None])
    plain.cache.map(plain.cache.arguments(x, y="a") for x in range(3))
    plain.cache.arguments("1")  # expect-error
    plain.cache.map(1)  # expect-error
    plain.cache.map([1], limit=3)  # expect-error


async def check_async(model: Model) -> None:
    assert_type(await coroutine(1), str)
    assert_type(await model.coroutine(1), str)
    assert_type(coroutine.cache.get(1), str)
    assert_type(await coroutine.cache.aget(1), str)
    assert_type(await coroutine.cache.refresh(1), str)
    pending: Coroutine[Any, Any, str] = coroutine(1)
    await pending
    await coroutine("1")  # expect-error

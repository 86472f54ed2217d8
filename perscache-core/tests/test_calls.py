"""Calls of cached functions: what runs, what does not, and what the caller gets."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import inspect
import logging
import os
import re
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache, CacheExpired, CacheMiss, mode, trouble
from perscache.errors import ConfigurationError


def test_a_second_call_does_not_run_the_function(cache):
    calls = []

    @cache
    def double(x):
        calls.append(x)
        return 2 * x

    assert [double(3), double(3), double(4)] == [6, 6, 8]
    assert calls == [3, 4]


def test_every_spelling_of_a_call_is_one_call(cache):
    calls = []

    @cache
    def f(a, b=2, *rest, c=3, **more):
        calls.append(a)
        return a

    f(1)
    f(1, 2)
    f(a=1)
    f(b=2, a=1)
    f(1, c=3)
    f(1, 2, c=3)
    assert calls == [1]
    f(1, 2, 3)
    f(1, d=3)
    assert len(calls) == 3


def test_sets_and_dicts_are_keyed_without_their_order(cache):
    calls = []

    @cache
    def f(names, options):
        calls.append(1)

    f({"b", "a", "c"}, {"x": 1, "y": 2})
    f({"c", "a", "b"}, {"y": 2, "x": 1})
    assert calls == [1]


def test_what_only_compares_equal_is_not_the_same_argument(cache):
    @cache
    def kind(x):
        return type(x).__name__

    assert [kind(1), kind(1.0), kind(True), kind("1"), kind(b"1")] == ["int", "float", "bool", "str", "bytes"]


def test_a_call_that_does_not_fit_raises_as_the_function_would(cache, tmp_path):
    @cache
    def f(a, *, b=1):
        return a

    for call in (lambda: f(), lambda: f(1, 2), lambda: f(1, c=2), lambda: f(1, a=1)):
        with pytest.raises(TypeError, match="f\\(\\)"):
            call()
    assert list(cache.storage.entries()) == []


def test_the_functions_exception_reaches_the_caller_and_stores_nothing(cache):
    calls = []

    @cache
    def fails():
        calls.append(1)
        raise ZeroDivisionError("as ever")

    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="as ever"):
            fails()
    assert calls == [1, 1]


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, KeyboardInterrupt, StopAsyncIteration, CacheMiss])
def test_exceptions_that_control_python_pass_unchanged(cache, error):
    @cache
    def raises():
        raise error("mine")

    with pytest.raises(error, match="mine"):
        raises()


def test_none_is_a_result_like_any_other(cache):
    calls = []

    @cache
    def nothing():
        calls.append(1)

    assert nothing() is None
    assert nothing() is None
    assert calls == [1]


def test_what_a_caller_does_to_a_result_is_not_seen_by_the_next(cache):
    @cache
    def rows():
        return [1, 2]

    rows().append(3)
    rows().append(4)
    assert rows() == [1, 2]


def test_arguments_are_keyed_before_the_function_changes_them(cache):
    calls = []

    @cache
    def drain(items):
        calls.append(1)
        total = sum(items)
        items.clear()
        return total

    assert drain([1, 2, 3]) == 6
    assert drain([1, 2, 3]) == 6
    assert drain([]) == 0
    assert len(calls) == 2


def test_ignored_arguments_are_not_looked_at(cache):
    class Untouchable:
        def __reduce__(self):
            raise AssertionError("touched")

        __repr__ = __hash__ = __eq__ = __reduce__

    calls = []

    @cache(ignore="session")
    def f(x, session):
        calls.append(x)
        return x

    @cache(ignore=("session", "retries"))
    def g(x, session=None, *, retries=3):
        return x

    assert f(1, Untouchable()) == f(1, session=Untouchable()) == 1
    assert calls == [1]
    assert g.cache.key(1, Untouchable(), retries=5) == g.cache.key(1)


def test_the_documents_names_of_settings_work(cache):
    @cache(ignore_args="y", serialization="json")
    def f(x, y):
        return x

    assert f(1, 2) == f(1, 3) == 1
    assert f.cache.key(1, 2).endswith(".json")


def test_an_unknown_setting_or_parameter_is_an_error_at_decoration(cache):
    with pytest.raises(ConfigurationError, match="did you mean ignore="):

        @cache(ignored="x")
        def f(x): ...

    with pytest.raises(ConfigurationError, match="session"):

        @cache(ignore="sesion")
        def g(x, session): ...

    with pytest.raises(ConfigurationError, match="Cache\\(mode="):

        @cache(mode="refresh")
        def h(x): ...


def test_results_expire_by_age_judged_when_reading(tmp_path):
    calls = []

    def f():
        calls.append(1)
        return len(calls)

    forever = Cache(storage=tmp_path)(f)
    briefly = Cache(storage=tmp_path, ttl=0.05)(f)
    assert [forever(), briefly()] == [1, 1]
    time.sleep(0.1)
    with pytest.raises(CacheExpired):
        briefly.cache.get()
    assert forever() == 1
    assert briefly() == 2
    assert forever() == 2
    assert briefly.cache_info().stale == 1


@pytest.mark.parametrize("ttl", [dt.timedelta(days=1), 86400, 86400.0, "1d", "24h", "23h60m"])
def test_a_time_to_live_is_a_timedelta_seconds_or_text(cache, ttl):
    @cache(ttl=ttl)
    def f(): ...

    assert f.cache_parameters()["ttl"] == 86400


@pytest.mark.parametrize("ttl", [-1, "1 fortnight", "", "d", True, float("nan"), [1], dt.timedelta(-1)])
def test_a_time_to_live_without_meaning_is_an_error_at_decoration(cache, ttl):
    with pytest.raises(ConfigurationError, match="no duration"):
        cache(ttl=ttl)(lambda: None)


def test_a_time_to_live_of_zero_never_hits(cache):
    calls = []

    @cache(ttl=0)
    def f():
        calls.append(1)

    f()
    f()
    assert calls == [1, 1]


def test_what_store_if_refuses_is_returned_and_not_stored(cache):
    answers = ["never asked", "found", None]

    @cache(store_if=lambda result: result is not None)
    def search():
        return answers.pop()

    assert [search(), search(), search()] == [None, "found", "found"]


def test_version_separates_results(cache):
    def f():
        return 1

    assert cache(version=1)(f).cache.key() != cache(version=2)(f).cache.key() != cache(f).cache.key()


def test_key_replaces_the_arguments_part_only(cache):
    calls = []

    @cache(key=lambda url, **_: url.lower())
    def fetch(url, *, timeout=1):
        calls.append(url)
        return url

    assert fetch("A") == fetch("a", timeout=2) == "A"
    assert calls == ["A"]


def test_functions_of_one_name_in_two_modules_never_share(cache):
    source = "def f(x):\n    return {!r}\n"
    modules = []
    for number, text in enumerate(("one", "two")):
        namespace = {"__name__": f"module_{number}"}
        exec(source.format(text), namespace)
        modules.append(cache(namespace["f"]))
    assert [f(1) for f in modules] == ["one", "two"]


def test_two_closures_never_share(cache):
    def scaled(factor):
        @cache
        def scale(x):
            return factor * x

        return scale

    assert [scaled(2)(10), scaled(3)(10), scaled(2)(10)] == [20, 30, 20]


def test_changed_code_is_a_miss_and_going_back_is_a_hit(cache):
    def compiled(body, calls):
        namespace = {"__name__": "changing", "calls": calls}
        exec(f"def f(x):\n    calls.append(x)\n    return {body}\n", namespace)
        return cache(namespace["f"])

    calls = []
    assert [compiled("x + 1", calls)(1), compiled("x + 2", calls)(1), compiled("x + 1", calls)(1)] == [2, 3, 2]
    assert len(calls) == 2


def test_the_storage_path_names_function_and_format(cache):
    @cache(serializer="json", name="shop.prices")
    def f(x):
        return x

    folder, _, file = f.cache.key(1).partition("/")
    digest, _, extension = file.partition(".")
    assert folder == "shop.prices"
    assert extension == "json"
    assert set(digest) <= set("0123456789abcdef")
    f(1)
    assert (cache.storage.location / f.cache.key(1)).is_file()


def test_the_wrapper_is_a_function_that_looks_like_the_wrapped(cache):
    def f(a: int, /, b: str = "x", *, c: float = 1.0) -> bytes:
        """What it does."""

    wrapper = cache(f)
    assert inspect.isfunction(wrapper)
    assert wrapper.__wrapped__ is f
    assert (wrapper.__name__, wrapper.__qualname__, wrapper.__doc__) == (f.__name__, f.__qualname__, f.__doc__)
    assert inspect.signature(wrapper) == inspect.signature(f)
    assert wrapper.__module__ == __name__


def test_positional_arguments_of_the_cache_are_serializer_and_storage(tmp_path):
    cache = Cache("json", tmp_path / "here")
    assert cache.serializer.extension == "json"
    assert cache.storage.location == tmp_path / "here"
    assert cache.cache(ttl=1)(lambda: 1)() == 1


# --- Hits have a path of their own, which must come to what the rules come to.


def _raise(*_: object) -> None:
    raise ValueError("not loadable")


class Unloadable:
    def __reduce__(self):
        return _raise, ()


def _story(tmp_path: Path, folder: str, call: Callable[..., Any], decorate: Callable[..., Any]) -> list[Any]:
    """What calls come to, one after the other, and what is counted."""
    told: list[Any] = []
    cache = Cache(storage=tmp_path / folder)
    f = decorate(cache(ttl="1h", name="f"))

    def tell(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                came: Any = call(f, *args, **kwargs)
                came = came if isinstance(came, (int, bytes)) else type(came).__name__
            except Exception as error:
                came = f"{type(error).__name__}: {error}"
        said = [re.sub(r"/\S+", "a path", str(warning.message)) for warning in warned]
        told.append((came, said, f.cache_info()._replace(saved=0.0)))

    for _ in range(2):  # stored, found
        tell(1)
        tell(x=1)
        tell(b"0" * 600_000)
        tell("raise")
        tell("unloadable")
        tell()
        tell(number for number in range(3))
    files = [tmp_path / folder / entry.path for entry in f.cache.entries()]
    for file in files:
        os.utime(file, (1, 1))
    tell(1)  # expired
    for file in files:
        file.write_bytes(b"noise")
    tell(1)  # damaged
    tell(1)
    with mode("offline"):
        tell(1)
        tell(77)
    with mode("refresh"):
        tell(1)
    return told


def _result(x: Any) -> Any:
    if x == "raise":
        raise KeyError(x)
    return Unloadable() if x == "unloadable" else x


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_the_straight_path_of_hits_comes_to_what_the_rules_come_to(tmp_path, caplog, colour):
    def plain(decorator):
        @decorator
        def f(x):
            return _result(x)

        return f

    def coroutine(decorator):
        @decorator
        async def f(x):
            return _result(x)

        return f

    def run(f, *args, **kwargs):
        return asyncio.run(f(*args, **kwargs))

    how = {"plain": (lambda f, *args, **kwargs: f(*args, **kwargs), plain), "async": (run, coroutine)}[colour]
    straight = _story(tmp_path, "straight", *how)
    trouble.forget()
    caplog.set_level(logging.DEBUG, "perscache")
    assert straight == _story(tmp_path, "rules", *how)
    assert {came for came, *_ in straight} >= {1, "KeyError: 'raise'", "Unloadable"}
    assert straight[-1][-1].hits > 3
    assert sum(len(said) for _, said, _ in straight) == 2


class Table:
    """Large, one may think."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_what_a_call_was_given_and_gave_is_let_go_without_the_collector(cache, colour):
    if colour == "plain":

        @cache
        def f(table: Table) -> Table:
            return Table(table.number + 1)

    else:

        @cache
        async def f(table: Table) -> Table:
            return Table(table.number + 1)

    def call() -> list[weakref.ref[Any]]:
        given = Table(3)
        gave = asyncio.run(f(given)) if colour == "async" else f(given)
        return [weakref.ref(given), weakref.ref(gave)]

    gc.disable()
    try:
        for _ in range(2):  # a miss, a hit
            assert [kept() for kept in call()] == [None, None]
    finally:
        gc.enable()

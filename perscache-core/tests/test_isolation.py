"""For a while results lie in a folder of their own, and calls are in one mode; afterwards all is as it was."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache, CacheMiss, NoCache, PerscacheWarning, statistics
from perscache.isolation import isolated
from perscache.modes import Mode, pinned
from perscache.storage import LocalFileStorage, MemoryStorage


def counting(cache: Cache, name: str = "f", **settings: Any) -> tuple[Callable[[int], int], list[int]]:
    """A cached function, and the arguments that it ran with."""
    ran: list[int] = []

    @cache(name=name, **settings)
    def f(x: int) -> int:
        ran.append(x)
        return x

    return f, ran


def stored(folder: str | Path) -> set[str]:
    return {entry.function for entry in LocalFileStorage(folder).entries()}


# --- Whose results lie elsewhere.


def test_what_exists_uses_the_folder_and_afterwards_its_own_again():
    cache = Cache()
    f, ran = counting(cache)
    f(1)
    with isolated("apart") as storage:
        f(1), f(1)
        assert ran == [1, 1]
        assert (f.cache_info().hits, f.cache_info().misses) == (1, 1)
        assert f.cache_parameters()["storage"] == cache.storage.identity == storage.identity
        assert {entry.path for entry in storage.entries()} == {f.cache.key(1)}
    f(1)
    assert ran == [1, 1]
    assert (f.cache_info().hits, f.cache_info().misses) == (1, 1)
    assert f.cache_parameters()["storage"] == cache.storage.identity == f"file:{Path('.cache').absolute()}"


def test_what_is_made_meanwhile_uses_the_folder_and_afterwards_the_default():
    with isolated("apart"):
        cache = Cache()
        f, ran = counting(cache)
        f(1)
    assert stored("apart") == {"f"}
    assert stored(".cache") == set()
    f(1)
    assert ran == [1, 1]
    assert stored(".cache") == {"f"}
    assert cache.storage.identity == f"file:{Path('.cache').absolute()}"


@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_configured_storage_is_the_default_one(source, monkeypatch):
    if source == "environment":
        monkeypatch.setenv("PERSCACHE_STORAGE", "configured")
    else:
        Path("perscache.toml").write_text('storage = "configured"\n')
    before, _ = counting(Cache())
    with isolated("apart"):
        before(1)
        meanwhile, _ = counting(Cache(), "g")
        meanwhile(1)
    assert stored("apart") == {"f", "g"}
    before(1), meanwhile(1)
    assert stored("configured") == {"f", "g"}


def test_a_storage_that_code_names_stays_unless_it_is_the_default_one(tmp_path):
    memory = MemoryStorage()
    named = [Cache(storage=tmp_path / "named"), Cache(storage=memory), Cache(storage=".cache")]
    functions = [counting(cache, f"f{number}")[0] for number, cache in enumerate(named)]
    functions.append(counting(Cache(), "own", storage="own")[0])
    with isolated("apart"):
        meanwhile, _ = counting(Cache(storage=".cache"), "meanwhile")
        for f in (*functions, meanwhile):
            f(1)
    assert stored("apart") == {"f2", "meanwhile"}
    assert stored(tmp_path / "named") == {"f0"}
    assert {entry.function for entry in memory.entries()} == {"f1"}
    assert stored("own") == {"own"}
    meanwhile(1)
    assert stored(".cache") == {"meanwhile"}


def test_a_function_outlives_its_cache():
    f, _ = counting(Cache())
    gc.collect()
    with isolated("apart"):
        f(1)
    assert stored("apart") == {"f"}


def test_blocks_within_blocks():
    outer, _ = counting(Cache(), "outer")
    with isolated("first"):
        with isolated("second"):
            inner, _ = counting(Cache(), "inner")
            outer(1), inner(1)
        outer(2), inner(2)
        assert (len(list(LocalFileStorage("first").entries())), stored("first")) == (2, {"outer", "inner"})
    outer(3), inner(3)
    assert stored(".cache") == stored("second") == {"outer", "inner"}


def test_all_is_as_before_after_an_exception(monkeypatch):
    monkeypatch.setenv("PERSCACHE_STORAGE", "configured")
    f, _ = counting(Cache())
    with pytest.raises(ZeroDivisionError), isolated("apart"):
        1 / 0  # noqa: B018
    f(1)
    assert stored("configured") == {"f"}
    assert os.environ["PERSCACHE_STORAGE"] == "configured"


def test_it_holds_in_threads_and_in_processes_started_meanwhile():
    f, _ = counting(Cache())
    source = "from perscache import Cache\nCache()(name='child')(lambda: 1)()"
    with isolated("apart"):
        thread = threading.Thread(target=f, args=(1,))
        thread.start()
        thread.join()
        subprocess.run([sys.executable, "-c", source], check=True, timeout=60)
    assert stored("apart") == {"f", "child"}
    assert not Path(".cache").exists()


def test_the_limit_and_the_observers_of_a_cache_hold_in_the_folder():
    evicted: list[str] = []

    class Observer:
        from perscache.plugins import hookimpl

        @hookimpl
        def perscache_evict(self, entry: Any) -> None:
            evicted.append(entry.function)

    cache = Cache(max_size=1000, observers=[Observer()])
    f = cache(name="f")(lambda x: bytes(600))
    with isolated("apart"):
        f(1), f(2)
        assert cache.storage.max_size == 1000
    assert evicted == ["f"]


def test_iterators_methods_and_coroutines_go_along():
    import asyncio

    cache = Cache()

    @cache(name="generator")
    def generator() -> Any:
        yield 1

    @cache(name="coroutine")
    async def coroutine() -> int:
        return 1

    @cache(name="async generator")
    async def agenerator() -> Any:
        yield 1

    class Model:
        @cache(name="method")
        def method(self) -> int:
            return 1

        @classmethod
        @cache(name="classmethod")
        def of(cls) -> int:
            return 1

    async def drain() -> None:
        await coroutine()
        async for _ in agenerator():
            pass

    with isolated("apart"):
        list(generator()), Model().method(), Model.of()
        asyncio.run(drain())
    assert stored("apart") == {"generator", "coroutine", "async generator", "method", "classmethod"}
    assert not Path(".cache").exists()


def test_nocache_keeps_nothing_here_either():
    before = NoCache()(lambda: 1)
    with isolated("apart"):
        meanwhile = NoCache()(lambda: 1)
        before(), meanwhile()
        assert not before.cache_contains()
    assert not Path("apart").exists()
    assert before.cache_parameters()["storage"] == meanwhile.cache_parameters()["storage"] == "nowhere"


def test_accepted_edits_belong_to_their_storage():
    namespace: dict[str, Any] = {"cache": Cache()}

    def define(expression: str) -> Any:
        exec(f"@cache(name='f')\ndef f(x):\n    return {expression}", namespace)
        return namespace["f"]

    define("x")(1)
    f = define("x + 0")
    assert f.cache.accept() == 1
    with isolated("apart"):
        assert f.cache.key(1) == define("x + 0").cache.key(1)
        assert not f.cache_contains(1)
        f(1)
    assert f.cache_contains(1)
    assert f.cache_info().hits + f.cache_info().misses == 0
    f(1)
    assert f.cache_info().hits == 1


def test_counts_of_the_block_are_not_written_beside_anything(script):
    source = """
from perscache import Cache
from perscache.isolation import isolated
cache = Cache()
f = cache(name="f")(lambda: 1)
f()
with isolated("apart"):
    f()
    print(cache.statistics()["f"].misses)
f()
"""
    assert script(source) == "1\n"
    assert not Path("apart/.state/statistics.jsonl").exists()
    counts = LocalFileStorage(".cache").ledger().read()["f"]
    assert (counts.hits, counts.misses) == (1, 1)


def test_every_block_hears_the_warnings():
    f = Cache("json")(lambda: (1, 2))
    for folder in ("first", "second"):
        with isolated(folder), pytest.warns(PerscacheWarning, match="becomes a list"):
            f()


def test_what_was_collected_is_not_moved():
    f, _ = counting(Cache())
    del f
    gc.collect()
    with isolated("apart"):
        pass
    assert not Path("apart").exists()


# --- One mode for all.


def test_all_calls_are_in_the_mode_and_afterwards_in_their_own():
    f, ran = counting(Cache())
    refreshing, _ = counting(Cache(mode="refresh"), "g")
    with pinned(Mode.OFFLINE):
        g, _ = counting(Cache(), "h")
        for offline in (f, refreshing, g):
            with pytest.raises(CacheMiss):
                offline(1)
        assert os.environ["PERSCACHE_MODE"] == f.cache_parameters()["mode"] == "offline"
    assert "PERSCACHE_MODE" not in os.environ
    f(1), f(1), refreshing(1), refreshing(1)
    assert ran == [1]
    assert refreshing.cache_info().misses == 2
    assert refreshing.cache_parameters()["mode"] == "refresh"


def test_the_mode_of_the_environment_comes_back(monkeypatch):
    monkeypatch.setenv("PERSCACHE_MODE", "bypass")
    f, ran = counting(Cache())
    with pinned(Mode.OFFLINE):
        f(1)  # What the environment said first stays, as ever.
    assert os.environ["PERSCACHE_MODE"] == "bypass"
    f(1)
    assert ran == [1, 1]


# --- Counts of a process.


def test_the_counts_of_a_process_include_functions_that_are_gone():
    before = statistics.of_process()
    f, _ = counting(Cache())
    f(1), f(1), f(2)
    with isolated("apart"):
        f(1)
    f.cache.bypass(1)
    del f
    gc.collect()
    after = statistics.of_process().minus(before)
    assert (after.hits, after.misses) == (1, 4)

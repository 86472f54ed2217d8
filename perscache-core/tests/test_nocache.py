"""NoCache: the same decorators and attributes, and nothing kept."""

from __future__ import annotations

import asyncio

import pytest

from perscache import CacheMiss, NoCache


@pytest.mark.parametrize("decorate", [lambda cache: cache, lambda cache: cache(), lambda cache: cache.cache])
def test_every_call_runs(decorate):
    nocache = NoCache("parquet", "gs://bucket/folder", ttl="1d", max_size="1GB")
    runs = []

    @decorate(nocache)
    def f(x):
        runs.append(x)
        return x

    @decorate(nocache)
    async def g(x):
        runs.append(x)
        return x

    class Model:
        @decorate(nocache)
        def method(self, x):
            runs.append(x)
            return x

    for _ in range(2):
        assert f(1) == 1
        assert asyncio.run(g(2)) == 2
        assert Model().method(3) == 3
    assert runs == [1, 2, 3] * 2


def test_the_attributes_are_there_and_always_say_miss():
    @NoCache()
    def f(x):
        return x

    f(1)
    f(1)
    assert f.cache_info()[:4] == (0, 2, None, 0)
    assert f.cache_contains(1) is False
    assert f.cache_invalidate(1) is False
    f.cache_clear()
    f.cache.put(5, 1)
    assert f.cache.peek(1) is None
    assert f.cache.call(1) == (1, False, 0.0, 0.0)
    assert f.cache.refresh(1) == f.cache.bypass(1) == 1
    assert list(f.cache.entries()) == []
    assert f.cache_parameters()["mode"] == "bypass"
    with pytest.raises(CacheMiss):
        f.cache.get(1)


def test_the_environments_mode_does_not_switch_caching_on(monkeypatch):
    monkeypatch.setenv("PERSCACHE_MODE", "offline")
    assert NoCache()(lambda: 1)() == 1


def test_nothing_is_written(tmp_path):
    NoCache(storage=tmp_path / "cache")(lambda: 1)()
    assert not (tmp_path / "cache").exists()


def test_a_call_that_no_key_can_be_made_of_is_no_trouble():
    assert NoCache()(lambda lock: 1)(object()) == 1

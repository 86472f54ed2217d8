"""``f.cache.explain()`` says why a call is a hit or a miss; ``f.cache.accept()`` keeps results after harmless edits."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from perscache import Cache, CacheMiss
from perscache.storage import LocalFileStorage, Storage

SOURCE = """
LIMIT = {limit}

def helper(x):
    return {helper}

def prices(day, shop="a"):
    runs.append(day)
    return helper(day) + LIMIT
"""


@pytest.fixture
def shop(tmp_path):
    """Compiles a module with a function `prices`, a helper and a global, and decorates it."""

    def make(*, limit=1, helper="x * 2", runs=None, **settings):
        namespace = {"__name__": "shop", "runs": [] if runs is None else runs}
        exec(SOURCE.format(limit=limit, helper=helper), namespace)
        cache = Cache("json", settings.pop("storage", tmp_path / "cache"), **settings)
        return cache(name="shop.prices")(namespace["prices"])

    return make


def test_nothing_stored_is_said(shop):
    explanation = shop().cache.explain(1)
    assert (explanation.hit, explanation.reason, explanation.nearest) == (False, "absent", None)
    assert "nothing that could be compared is stored" in str(explanation)


def test_a_hit_says_since_when(shop):
    f = shop()
    f(1)
    explanation = f.cache.explain(1)
    assert explanation.hit
    assert explanation.entry.path == f.cache.key(1)
    assert "hit" in str(explanation)
    assert "UTC" in str(explanation)


@pytest.mark.parametrize(
    ("change", "call", "named"),
    [
        ({}, (2,), "argument 'day'"),
        ({}, (1, "b"), "argument 'shop'"),
        ({"helper": "x * 3"}, (1,), "function shop.helper"),
        ({"limit": 2}, (1,), "global shop.LIMIT"),
        ({"version": 2}, (1,), "setting version"),
    ],
)
def test_a_miss_names_what_differs_and_nothing_else(shop, change, call, named):
    shop()(1)
    explanation = shop(**change).cache.explain(*call)
    assert not explanation.hit
    assert [difference.removesuffix(" (new)") for difference in explanation.differences] == [named]
    assert named in str(explanation)


def test_an_expired_entry_is_said_to_be(shop):
    f = shop(ttl=0.05)
    f(1)
    time.sleep(0.1)
    explanation = f.cache.explain(1)
    assert explanation.reason == "expired"
    assert explanation.entry.expires is not None
    assert "raise the ttl" in str(explanation)


def test_explaining_runs_and_stores_nothing(shop):
    runs = []
    f = shop(runs=runs)
    f.cache.explain(1)
    assert runs == []
    assert f.cache_info()[:4] == (0, 0, None, 0)


def test_the_log_of_a_miss_says_what_differs(shop, caplog):
    f = shop()
    f(1)
    with caplog.at_level(logging.INFO, "perscache"):
        f(2)
    assert [record.getMessage() for record in caplog.records if "argument 'day'" in record.getMessage()]


def test_a_storage_that_cannot_list_explains_what_it_can():
    class Mine(Storage):
        def read(self, path, deadline):
            raise FileNotFoundError(path)

        def write(self, path, data):
            pass

    assert Cache(storage=Mine())(lambda x: x).cache.explain(1).reason == "absent"


@pytest.mark.parametrize("storage", ["local", "memory://"])
def test_an_accepted_edit_keeps_the_results_of_the_former_version(shop, tmp_path, storage):
    settings = {"storage": tmp_path / "cache" if storage == "local" else f"memory://{tmp_path.name}"}
    runs = []
    before = shop(runs=runs, **settings)
    before(1)
    before(2)
    edited = shop(helper="2 * x", runs=runs, **settings)
    assert not edited.cache_contains(1)
    assert edited.cache.accept() == 2
    assert edited(1) == 3
    # As in another process, where nothing is known yet.
    again = shop(helper="2 * x", runs=runs, **settings)
    assert again(2) == 5
    assert runs == [1, 2]
    assert again.cache.explain(1).accepted
    assert "accept()" in str(again.cache.explain(1))
    assert len(list(again.cache.entries())) == 2


def test_accepting_can_be_taken_back(shop):
    runs = []
    shop(runs=runs)(1)
    edited = shop(helper="2 * x", runs=runs)
    assert edited.cache.accept() == 1
    assert edited.cache.accept(undo=True) == 1
    assert edited.cache.accept(undo=True) == 0
    edited(1)
    assert runs == [1, 1]
    with pytest.raises(CacheMiss):
        shop(helper="x + x").cache.get(1)


def test_with_nothing_to_accept_nothing_changes(shop):
    f = shop()
    key = f.cache.key(1)
    assert f.cache.accept() == 0
    f(1)
    assert f.cache.accept() == 0
    assert f.cache.key(1) == key


def test_a_further_edit_needs_accepting_again(shop):
    runs = []
    shop(runs=runs)(1)
    shop(helper="2 * x", runs=runs).cache.accept()
    third = shop(helper="x + x", runs=runs)
    assert not third.cache_contains(1)
    third.cache.accept()
    assert third(1) == 3
    assert runs == [1]


def test_coroutines_and_generators_find_accepted_results(tmp_path):
    def make(body, decorate):
        namespace = {}
        exec(body, namespace)
        return decorate(name="f")(namespace["f"])

    cache = Cache(storage=tmp_path)
    asyncio.run(make("async def f(x): return x + 1", cache)(1))
    edited = make("async def f(x): return 1 + x", cache)
    edited.cache.accept()
    fresh = make("async def f(x): return 1 + x", cache)
    assert asyncio.run(fresh(1)) == 2
    assert fresh.cache_info()[:2] == (1, 0)
    assert asyncio.run(fresh.cache.aget(1)) == 2
    fresh.cache_clear()

    list(make("def f(x): yield x + 1", cache)(1))
    make("def f(x): yield 1 + x", cache).cache.accept()
    fresh = make("def f(x): yield 1 + x", cache)
    assert list(fresh(1)) == [2]
    assert fresh.cache_info()[:2] == (1, 0)


def test_clearing_forgets_what_was_accepted(shop):
    shop()(1)
    edited = shop(helper="2 * x")
    own = edited.cache.key(1)
    edited.cache.accept()
    assert edited.cache.key(1) != own
    edited.cache_clear()
    assert edited.cache.key(1) == own


@pytest.mark.parametrize("removal", ["prune", "limit"])
def test_what_was_accepted_outlives_the_results(shop, tmp_path, removal):
    storage = LocalFileStorage(tmp_path / "cache", max_entries=2)
    shop(storage=storage)(1)
    edited = shop(helper="2 * x", storage=storage)
    edited.cache.accept()
    accepted = edited.cache.key(2)
    if removal == "prune":
        storage.prune(0)
    else:
        for day in range(3, 9):
            edited(day)
    assert not edited.cache_contains(1)
    again = shop(helper="2 * x", storage=LocalFileStorage(tmp_path / "cache"))
    again.cache_contains(1)  # The storage is asked.
    assert again.cache.key(2) == accepted


def test_clearing_everything_forgets_what_was_accepted_too(shop, tmp_path):
    shop()(1)
    edited = shop(helper="2 * x")
    own = edited.cache.key(1)
    edited.cache.accept()
    LocalFileStorage(tmp_path / "cache").clear()
    again = shop(helper="2 * x")
    assert not again.cache_contains(1)  # The storage is asked.
    assert again.cache.key(1) == own

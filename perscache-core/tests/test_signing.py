"""Signed pickles: what others put into the cache is a miss, and never code that runs."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest

from perscache import Cache, PerscacheWarning
from perscache.errors import ConfigurationError

KEY = "thirty-two bytes of a real secret"


@pytest.fixture
def two_caches():
    """A cache that signs and one that does not, on the same storage, and a function of both."""
    signing = Cache("pickle", "memory://", signing_key=KEY)
    plain = Cache("pickle", signing.storage)

    def f(x):
        return [x]

    return signing(f), plain(f), signing.storage


def test_what_was_signed_is_a_hit(two_caches):
    signed, _, _ = two_caches
    assert signed(1) == signed(1) == [1]
    assert signed.cache_info()[:2] == (1, 1)


def test_an_unsigned_pickle_is_a_miss(two_caches):
    signed, plain, _ = two_caches
    plain(1)
    with pytest.warns(PerscacheWarning, match="no signature"):
        assert signed(1) == [1]
    assert signed.cache_info()[:2] == (0, 1)


def test_a_pickle_signed_with_another_key_or_for_another_call_is_a_miss(two_caches):
    signed, _, storage = two_caches
    Cache("pickle", storage, signing_key="another")(signed.__wrapped__)(1)
    with pytest.warns(PerscacheWarning, match="another key"):
        assert signed(1) == [1]
    signed(2)
    storage.write(signed.cache.key(3), storage.read(signed.cache.key(2), None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert signed(3) == [3]


def test_a_planted_pickle_does_not_run(two_caches):
    signed, _, storage = two_caches

    class Bomb:
        def __reduce__(self):
            return exec, ("import pathlib; pathlib.Path('ran').touch()",)

    storage.write(signed.cache.key(1), pickle.dumps(Bomb()))
    with pytest.warns(PerscacheWarning, match="no signature"):
        assert signed(1) == [1]
    assert not Path("ran").exists()


def test_signed_files_stay_pickles(tmp_path):
    f = Cache("pickle", tmp_path, signing_key=KEY.encode())(lambda: {"a": 1})
    f()
    assert pickle.loads((tmp_path / f.cache.key()).read_bytes()) == {"a": 1}


def test_formats_that_run_no_code_are_not_signed():
    cache = Cache("json", "memory://", signing_key=KEY)
    f = cache(lambda: 1)
    f()
    assert cache.storage.read(f.cache.key(), None) == b"1"


def test_the_key_may_come_from_the_environment_and_is_not_empty(monkeypatch):
    monkeypatch.setenv("PERSCACHE_SIGNING_KEY", KEY)
    signing = Cache("pickle", "memory://")
    f = signing(lambda: 1)
    f()
    monkeypatch.delenv("PERSCACHE_SIGNING_KEY")
    assert Cache("pickle", signing.storage, signing_key=KEY)(f.__wrapped__).cache.get() == 1
    with pytest.raises(ConfigurationError, match="empty"):
        Cache(signing_key="")

"""A server of Redis on this machine, as pytest fixtures, and a proxy before it that fails on demand.

from perscache_redis.testing import redis_server, redis_url

def test_a_result_survives(redis_url, monkeypatch):
    monkeypatch.setenv("PERSCACHE_STORAGE", redis_url)
    ...
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from .proxy import Fault, FaultyRedis
from .server import server

__all__ = ["Fault", "FaultyRedis", "faulty_redis", "redis_server", "redis_url", "server"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a server that runs while the tests do, ``redis://127.0.0.1:…``."""
    with server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of a place on it, of this test alone."""
    return f"{redis_server}/0/test-{next(_numbers)}"


@pytest.fixture
def faulty_redis(redis_server: str) -> Iterator[FaultyRedis]:
    """A proxy before the server of `redis_url`."""
    with FaultyRedis(redis_server) as proxy:
        yield proxy

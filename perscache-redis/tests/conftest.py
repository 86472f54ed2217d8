"""A server, storages on it, and the settings of this machine out of the way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from perscache import trouble
from perscache_redis import RedisStorage
from perscache_redis.testing import FaultyRedis, faulty_redis, redis_server, redis_url, server

__all__ = ["faulty_redis", "redis_server", "redis_url"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "REDIS_"))]:
        monkeypatch.delenv(name)
    trouble.forget()


@pytest.fixture
def storage(redis_url: str) -> RedisStorage:
    """A storage in an empty place, with a minute to answer, for slow machines."""
    return RedisStorage(redis_url, timeout=60)


@pytest.fixture
def bare(redis_server: str) -> Iterator[redis.Redis]:
    """redis-py's own client, to look around the storage."""
    with redis.Redis.from_url(f"{redis_server}/0") as client:
        yield client


@pytest.fixture
def behind(redis_url: str, redis_server: str, faulty_redis: FaultyRedis) -> RedisStorage:
    """A storage behind the proxy, connected."""
    storage = RedisStorage(redis_url.replace(redis_server, faulty_redis.endpoint), timeout=60)
    with pytest.raises(FileNotFoundError):
        storage.load("warm/up")
    faulty_redis.forget()
    return storage


@pytest.fixture
def own_server() -> Iterator[str]:
    """A server of this test alone, to be set up badly."""
    with server() as url:
        yield url

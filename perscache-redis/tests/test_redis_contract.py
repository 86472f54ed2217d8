"""What every storage promises, asked of Redis; redis-py's own client looks around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from perscache.testing import Around, PluginTests, StorageTests
from perscache_redis import RedisStorage

if TYPE_CHECKING:
    from redis import Redis


class TestRedis(StorageTests):
    resolution = 0.01

    @pytest.fixture
    def open_storage(self, redis_url: str) -> Callable[..., RedisStorage]:
        # A minute to answer, for slow machines.
        return lambda **options: RedisStorage(redis_url, timeout=60, **options)

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return redis_url

    @pytest.fixture
    def around(self, redis_url: str, bare: Redis) -> Around:
        prefix = redis_url.rpartition("/")[2]

        def read(path: str) -> bytes:
            return bare.get(f"{prefix}/{path}").partition(b"\n")[2]

        def write(path: str, data: bytes) -> None:
            line = bare.get(f"{prefix}/{path}").partition(b"\n")[0]
            bare.set(f"{prefix}/{path}", line + b"\n" + data, keepttl=True)

        return Around(read, write)


class TestPlugin(PluginTests):
    module = "perscache_redis"

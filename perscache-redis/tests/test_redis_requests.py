"""How many requests a call costs, written down by a proxy before the server, and how many commands, counted by it."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis

from perscache import Cache
from perscache.errors import StorageError
from perscache_redis import RedisStorage
from perscache_redis.testing import FaultyRedis

PATH = "f/0123456789abcdef0123456789abcdef.json"
LOOK_UP = ("PTTL", "GET")


def test_a_hit_is_one_request(behind: RedisStorage, faulty_redis: FaultyRedis):
    behind.write(PATH, b"x" * 1000)
    faulty_redis.forget()

    behind.load(PATH, max_age=60)
    asyncio.run(behind.aload(PATH, max_age=60))

    assert faulty_redis.asked == [LOOK_UP, LOOK_UP]


def test_a_look_up_that_misses_is_one_request(redis_url: str, redis_server: str, faulty_redis: FaultyRedis):
    storage = RedisStorage(redis_url.replace(redis_server, faulty_redis.endpoint), timeout=60)

    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            storage.load(PATH)

    assert faulty_redis.asked == [LOOK_UP] * 3


@pytest.mark.parametrize("size", [0, 1000, 20_000_000])
def test_a_store_is_one_request(behind: RedisStorage, faulty_redis: FaultyRedis, size: int):
    behind.write(PATH, b"x" * size)

    assert faulty_redis.asked == [("SET",)]
    assert behind.load(PATH).data == b"x" * size


def test_what_is_larger_than_the_limit_is_not_sent(redis_url: str, redis_server: str, faulty_redis: FaultyRedis):
    storage = RedisStorage(redis_url.replace(redis_server, faulty_redis.endpoint), max_size=10)

    with pytest.raises(StorageError, match="11 bytes, more than max_size"):
        storage.write(PATH, b"x" * 11)

    assert faulty_redis.asked == []


def test_a_miss_of_a_function_is_five_requests_with_its_lease_and_two_without(
    behind: RedisStorage, faulty_redis: FaultyRedis
):
    cache = Cache("json", behind)

    @cache
    def f(x):
        return x

    @cache(lock=False)
    def alone(x):
        return x

    f(0), alone(0)  # ask for records of accepted edits, and whether the server keeps conditions
    wait_for_threads("perscache-lease")
    faulty_redis.forget()
    alone(1)
    assert faulty_redis.asked == [LOOK_UP, ("SET",)]

    faulty_redis.forget()
    f(1)
    wait_for_threads("perscache-lease")
    assert faulty_redis.asked == [LOOK_UP, ("SET",), LOOK_UP, ("SET",), ("EVAL",)]

    faulty_redis.forget()
    f(1)
    assert faulty_redis.asked == [LOOK_UP]


def test_looking_removing_and_listing_are_few_requests(behind: RedisStorage, faulty_redis: FaultyRedis):
    for number in range(100):
        behind.write(f"f/{number:032x}.json", b"x")
    faulty_redis.forget()

    behind.peek("f/00000000000000000000000000000000.json")
    assert faulty_redis.asked == [("GETRANGE", "PTTL")]

    faulty_redis.forget()
    assert behind.delete("f/00000000000000000000000000000000.json")
    assert faulty_redis.asked == [("UNLINK",)]


def test_the_server_counts_the_same_commands(own_server: str):
    storage = RedisStorage(own_server, timeout=60)

    @Cache("json", storage, lock=False)
    def f(x):
        return x

    with redis.Redis.from_url(own_server) as bare:
        f(0)
        bare.config_resetstat()
        f(1)
        f(1)
        counted = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in bare.info("commandstats").items()}

    assert {name: counted.get(name) for name in ("get", "pttl", "set")} == {"get": 2, "pttl": 2, "set": 1}
    assert {name.partition("|")[0] for name in counted} <= {"get", "pttl", "set", "config", "info"}


def wait_for_threads(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(60)

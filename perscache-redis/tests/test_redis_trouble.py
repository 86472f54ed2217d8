"""A server in trouble costs a call its deadline at most, once, and says what is wrong and what to do."""

from __future__ import annotations

import asyncio
import socket
import time
import warnings

import pytest
import redis

from perscache import Cache
from perscache.errors import StorageError
from perscache.storage.remote import Refused
from perscache_redis import RedisStorage
from perscache_redis.testing import FaultyRedis

PATH = "f/0123456789abcdef0123456789abcdef.json"
TIMEOUT = 0.5


@pytest.fixture
def shaky(redis_url: str, redis_server: str, faulty_redis: FaultyRedis, behind: RedisStorage) -> RedisStorage:
    """A storage with a short deadline, with one entry."""
    behind.write(PATH, b"a value")
    storage = RedisStorage(redis_url.replace(redis_server, faulty_redis.endpoint), timeout=TIMEOUT)
    faulty_redis.forget()
    return storage


def survives(storage: RedisStorage, calls: int = 3) -> list[str]:
    """The warnings of a function that returns its results all the same."""

    @Cache("json", storage)
    def f(x):
        return [x]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert [f(number) for number in range(calls)] == [[number] for number in range(calls)]
        assert asyncio.run(asyncio.to_thread(f, calls)) == [calls]
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("fault", ["reset", "stall", "cut", "lost", "LOADING Redis is loading the dataset in memory"])
def test_the_result_is_returned_whatever_the_server_does(shaky: RedisStorage, faulty_redis: FaultyRedis, fault: str):
    faulty_redis.fail(fault, times=None)
    started = time.monotonic()

    said = survives(shaky)

    # redis-py alone would try for half a minute; the factor is for slow machines.
    assert time.monotonic() - started < 30 * TIMEOUT
    assert len(said) == len({message.split(" failed")[0] for message in said}) <= 2  # reading and writing, once each
    assert all(faulty_redis.endpoint in message for message in said)


@pytest.mark.parametrize("fault", ["reset", "cut", "lost", "LOADING Redis is loading the dataset in memory"])
def test_trouble_that_passes_is_not_noticed(behind: RedisStorage, faulty_redis: FaultyRedis, fault: str):
    faulty_redis.fail(fault, command="SET")
    behind.write(PATH, b"a value")
    faulty_redis.fail(fault, command="GET")

    assert behind.load(PATH).data == b"a value"


def test_a_lease_whose_reply_was_lost_is_held(behind: RedisStorage, faulty_redis: FaultyRedis):
    lock = behind.lock(PATH)
    assert lock is not None
    faulty_redis.fail("lost", command="SET")

    assert lock.acquire(()) is True
    assert behind.lock(PATH).acquire(()) is None
    lock.release()


@pytest.mark.parametrize("deed", ["write", "peek", "delete", "clear", "prune"])
def test_every_deed_has_a_deadline(shaky: RedisStorage, faulty_redis: FaultyRedis, deed: str):
    faulty_redis.fail("stall", times=None)
    arguments = {"write": (PATH, b"x"), "peek": (PATH,), "delete": (PATH,)}.get(deed, ())

    with pytest.raises(StorageError, match=r"did not answer within 0\.5 s"):
        getattr(shaky, deed)(*arguments)


def test_a_server_in_trouble_is_left_alone_for_a_while(shaky: RedisStorage, faulty_redis: FaultyRedis):
    faulty_redis.fail("stall", times=None)
    with pytest.raises(StorageError):
        shaky.load(PATH)
    faulty_redis.forget()

    for deed in (lambda: shaky.load(PATH), lambda: shaky.write(PATH, b"x"), lambda: list(shaky.entries())):
        with pytest.raises(StorageError, match=r"left alone for another \d+ s"):
            deed()

    assert faulty_redis.asked == []


def test_who_is_cancelled_need_not_wait_for_the_server(shaky: RedisStorage, faulty_redis: FaultyRedis):
    async def cancelled() -> None:
        task = asyncio.create_task(shaky.aload(PATH))
        while not faulty_redis.asked:  # noqa: ASYNC110 - the proxy is in threads
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    faulty_redis.fail("stall")
    asyncio.run(cancelled())

    assert shaky.load(PATH).data == b"a value"


def test_a_refused_connection_is_given_up_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        storage = RedisStorage(f"redis://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(StorageError, match=r"cannot be reached .*refused.*look whether it runs"):
            storage.load(PATH)
        storage = RedisStorage(f"redis://127.0.0.1:{closed.getsockname()[1]}")
        assert len(survives(storage)) <= 2


def test_a_server_without_memory_reads_and_says_what_to_do(own_server: str):
    storage = RedisStorage(own_server, timeout=60)
    storage.write(PATH, b"kept")
    with redis.Redis.from_url(own_server) as bare:
        bare.config_set("maxmemory", 1)

    said = survives(storage)

    assert said
    assert all("no memory left" in message and "allkeys-lru" in message for message in said)
    assert len(said) == len({message.split(" failed")[0] for message in said}) <= 2  # the lease and the result
    assert storage.load(PATH).data == b"kept"


def test_what_the_server_evicts_is_a_miss(own_server: str):
    storage = RedisStorage(own_server, timeout=60)
    with redis.Redis.from_url(own_server) as bare:
        bare.config_set("maxmemory-policy", "allkeys-lru")
        bare.config_set("maxmemory", bare.info("memory")["used_memory"] + 2_000_000)
        for number in range(100):
            storage.write(f"f/{number:032x}.json", b"x" * 100_000)

        kept = len(list(storage.entries()))
        assert 0 < kept < 100

    assert survives(storage) == []


def test_a_replica_reads_and_says_what_to_do(own_server: str):
    storage = RedisStorage(own_server, timeout=60)
    storage.write(PATH, b"kept")
    with redis.Redis.from_url(own_server) as bare, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        bare.replicaof("127.0.0.1", closed.getsockname()[1])

        said = survives(storage)

        assert storage.load(PATH).data == b"kept"
    assert said
    assert all("is a replica" in message and "name its primary" in message for message in said)
    assert len(said) == len({message.split(" failed")[0] for message in said}) <= 2


def test_a_wrong_password_is_named_with_the_way_out(own_server: str):
    with redis.Redis.from_url(own_server) as bare:
        bare.config_set("requirepass", "right")

    for url in (own_server, own_server.replace("//", "//:wrong@"), own_server.replace("//", "//nobody:wrong@")):
        with pytest.raises(StorageError, match=r"user and password.*REDIS_USERNAME and REDIS_PASSWORD"):
            RedisStorage(url, timeout=60).load(PATH)
    assert len(survives(RedisStorage(own_server, timeout=60))) <= 2
    RedisStorage(own_server.replace("//", "//:right@"), timeout=60).write(PATH, b"1")


def test_a_right_that_is_missing_is_named(redis_url: str, bare: redis.Redis):
    bare.acl_setuser("reader", enabled=True, nopass=True, keys=["test-*"], commands=["+get", "+pttl", "+getrange"])
    try:
        storage = RedisStorage(redis_url, username="reader", password="any", timeout=60)
        with pytest.raises(FileNotFoundError):
            storage.load(PATH)
        with pytest.raises(Refused, match=rf"ACL SETUSER <user> ~{storage.prefix}/\* .*\+set"):
            storage.write(PATH, b"1")
    finally:
        bare.acl_deluser("reader")


def test_a_database_that_is_not_there_is_named(redis_server: str):
    storage = RedisStorage(f"{redis_server}/99", timeout=60)

    for deed in (lambda: storage.load(PATH), lambda: storage.write(PATH, b"x"), lambda: list(storage.entries())):
        with pytest.raises(StorageError, match="has no database 99"):
            deed()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("MOVED 3999 10.0.0.1:6381", "one node of a Redis Cluster"),
        ("CLUSTERDOWN Hash slot not served", "one node of a Redis Cluster"),
        ("ERR SELECT is not allowed in cluster mode", "one node of a Redis Cluster"),
        ("MASTERDOWN Link with MASTER is down", "not ready yet"),
        ("ERR something new", "failed .*something new"),
    ],
)
def test_what_else_a_server_says_is_told(behind: RedisStorage, faulty_redis: FaultyRedis, answer: str, says: str):
    faulty_redis.fail(answer, times=None)

    with pytest.raises(StorageError, match=says):
        behind.load(PATH)


def test_a_value_that_the_server_does_not_take_is_returned(own_server: str):
    with redis.Redis.from_url(own_server) as bare:
        bare.config_set("proto-max-bulk-len", 1 << 20)
    storage = RedisStorage(own_server, timeout=60)

    @Cache("json", storage)
    def f(x):
        return x * 3_000_000

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert f("x") == "x" * 3_000_000
    assert len(caught) == 1

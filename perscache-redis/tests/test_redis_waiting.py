"""Leases and waiting for them, many threads, and an import that waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from perscache.storage import lease
from perscache_redis import RedisStorage, waking
from perscache_redis.waking import Alarm

PATH = "f/0123456789abcdef0123456789abcdef.json"


def test_the_server_forgets_a_lease_that_nobody_renews(storage: RedisStorage):
    name = f"{storage.prefix}/locks/a"
    storage._put_if(name, b"first", None, 0.05)

    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        try:
            storage._put_if(name, b"second", None, 30)
            break
        except FileExistsError:
            time.sleep(0.01)
    assert storage._get(name).data == b"second"


@pytest.mark.parametrize("way", ["in a thread", "on an event loop"])
def test_who_waits_is_woken_when_the_lease_is_given_back(
    storage: RedisStorage, redis_url: str, bare, monkeypatch: pytest.MonkeyPatch, way: str
):
    monkeypatch.setattr(lease, "_FIRST_NAP", 600.0)
    monkeypatch.setattr(lease, "_LONGEST_NAP", 600.0)
    holder, waiting = RedisStorage(redis_url, timeout=60).lock(PATH), storage.lock(PATH)
    assert holder.acquire(()) is True
    assert waiting.acquire(()) is None
    came: list[bool | None] = []

    def wait() -> None:
        came.append(waiting.acquire(()) if way == "in a thread" else asyncio.run(waiting.aacquire(())))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while bare.pubsub_numsub(storage._channel)[0][1] == 0:
        time.sleep(0.01)
    holder.release()
    thread.join(120)

    assert came == [True]
    waiting.release()


def test_what_was_given_back_while_one_asked_is_not_missed(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch):
    alarm = Alarm("key")

    alarm.ring()
    alarm.wait(600)
    alarm.ring()
    asyncio.run(alarm.await_(600))


def test_nobody_listens_when_nobody_waits(storage: RedisStorage, redis_url: str, bare, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waking, "LISTEN", 0.05)
    holder, waiting = RedisStorage(redis_url, timeout=60).lock(PATH), storage.lock(PATH)
    assert holder.acquire(()) is True
    assert waiting.acquire(()) is waiting.acquire(()) is None
    while bare.pubsub_numsub(storage._channel)[0][1] == 0:
        time.sleep(0.01)

    del waiting
    while bare.pubsub_numsub(storage._channel)[0][1]:
        time.sleep(0.01)

    heir = storage.lock(PATH)
    assert heir.acquire(()) is heir.acquire(()) is None
    while bare.pubsub_numsub(storage._channel)[0][1] == 0:
        time.sleep(0.01)
    holder.release()


def test_more_threads_than_connections_share_a_storage(storage: RedisStorage):
    failures: list[BaseException] = []
    start = threading.Barrier(100)

    def work(number: int) -> None:
        try:
            path = f"f/{number:032x}.json"
            start.wait(60)
            storage.write(path, b"%d" % number)
            assert storage.load(path).data == b"%d" % number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_redis_is_imported_at_the_first_call_and_not_before():
    code = (
        "import sys; from perscache import Cache; c = Cache('json', 'redis://127.0.0.1:1/0'); f = c(lambda x: x); "
        "assert 'redis' not in sys.modules, 'imported'"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

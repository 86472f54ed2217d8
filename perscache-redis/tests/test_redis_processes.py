"""One computation for all machines, and a storage that goes along into children, threads and event loops."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perscache import Cache
from perscache.storage import lease
from perscache_redis import RedisStorage, waking
from perscache_redis.waking import Alarm

PATH = "f/0123456789abcdef0123456789abcdef.json"

WORKER = """
import os, sys, time
from perscache import Cache
from perscache_redis import RedisStorage

url, ran = sys.argv[1:]
cache = Cache("json", RedisStorage(url, timeout=60, lease=3))

@cache(name="work", track="none")
def work(n):
    with open(ran, "a") as file:
        file.write(f"{n}\\n")
    time.sleep(float(os.environ.get("TAKES", "0.3")))
    return n

print("ready", flush=True)
sys.stdin.readline()
for n in range(3):
    work(n)
"""


def start(url: str, ran: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", WORKER, url, str(ran)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_compute_each_key_once(redis_url: str, tmp_path: Path):
    ran = tmp_path / "ran"
    workers = [start(redis_url, ran) for _ in range(3)]

    said = [worker.communicate("go\n", timeout=120) for worker in workers]

    assert [(worker.returncode, error) for worker, (_, error) in zip(workers, said, strict=True)] == [(0, "")] * 3
    assert sorted(ran.read_text().split()) == ["0", "1", "2"]


def test_a_machine_that_dies_is_taken_over_from(redis_url: str, tmp_path: Path):
    ran = tmp_path / "ran"
    dead = start(redis_url, ran, TAKES="600")
    assert dead.stdin is not None
    dead.stdin.write("go\n")
    dead.stdin.flush()
    while not (ran.exists() and ran.read_text()):
        assert dead.poll() is None
    dead.kill()
    dead.communicate()

    heir = start(redis_url, ran)
    _, error = heir.communicate("go\n", timeout=120)

    assert (heir.returncode, error) == (0, "")
    assert sorted(ran.read_text().split()) == ["0", "0", "1", "2"]


def test_of_sixteen_that_create_one_wins(storage: RedisStorage):
    def create(number: int) -> str | None:
        try:
            return storage._put_if(f"{storage.prefix}/locks/{number // 16}", b"%d" % number, None, 30)
        except FileExistsError:
            return None

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(160)))

    assert [sum(one is not None for one in won[at : at + 16]) for at in range(0, 160, 16)] == [1] * 10


def test_of_several_that_take_over_one_wins(storage: RedisStorage):
    name = f"{storage.prefix}/locks/a"
    first = storage._put_if(name, b"first", None, 30)

    def take(number: int) -> bool:
        try:
            storage._put_if(name, b"%d" % number, first, 30)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(16))) == 1
    with pytest.raises(FileExistsError):
        storage._put_if(f"{storage.prefix}/locks/gone", b"x", first, 30)


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork in a process with threads, on purpose
def test_a_child_that_was_forked_after_use_has_a_client_of_its_own(storage: RedisStorage):
    storage.write(PATH, b"1")

    child = os.fork()
    if child == 0:
        os._exit(0 if storage.load(PATH).data == b"1" else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert storage.load(PATH).data == b"1"


def test_two_event_loops_one_after_the_other_use_one_storage(storage: RedisStorage):
    @Cache("json", storage)
    async def f(x):
        return [x]

    async def several() -> list[list[int]]:
        return await asyncio.gather(*(f(number) for number in range(5)))

    assert asyncio.run(several()) == asyncio.run(several())
    assert (f.cache_info().hits, f.cache_info().misses) == (5, 5)


def test_another_process_s_writes_and_removals_are_seen_at_once(storage: RedisStorage, redis_url: str):
    other = RedisStorage(redis_url, timeout=60)
    other.write(PATH, b"1")
    assert storage.load(PATH).data == b"1"
    other.write(PATH, b"2")
    assert storage.load(PATH).data == b"2"
    other.delete(PATH)
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)


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

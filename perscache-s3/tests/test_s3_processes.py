"""One computation for all machines, and a storage that goes along into children, threads and event loops."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perscache import Cache
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket

PATH = "f/0123456789abcdef0123456789abcdef.json"

WORKER = """
import os, sys, time
from perscache import Cache
from perscache_s3 import S3Storage

bucket, endpoint, ran = sys.argv[1:]
cache = Cache("json", S3Storage(bucket, endpoint_url=endpoint, timeout=60, lease=3))

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


def start(bucket: Bucket, ran: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, bucket.name, bucket.endpoint, str(ran)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_compute_each_key_once(s3_bucket: Bucket, tmp_path: Path):
    ran = tmp_path / "ran"
    workers = [start(s3_bucket, ran) for _ in range(3)]

    said = [worker.communicate("go\n", timeout=120) for worker in workers]

    assert [(worker.returncode, error) for worker, (_, error) in zip(workers, said, strict=True)] == [(0, "")] * 3
    assert sorted(ran.read_text().split()) == ["0", "1", "2"]


def test_a_machine_that_dies_is_taken_over_from(s3_bucket: Bucket, tmp_path: Path):
    ran = tmp_path / "ran"
    dead = start(s3_bucket, ran, TAKES="600")
    assert dead.stdin is not None
    dead.stdin.write("go\n")
    dead.stdin.flush()
    while not (ran.exists() and ran.read_text()):
        assert dead.poll() is None
    dead.kill()
    dead.communicate()

    heir = start(s3_bucket, ran)
    _, error = heir.communicate("go\n", timeout=120)

    assert (heir.returncode, error) == (0, "")
    assert sorted(ran.read_text().split()) == ["0", "0", "1", "2"]


def test_of_sixteen_that_create_one_wins(storage: S3Storage):
    def create(number: int) -> str | None:
        try:
            return storage._put_if(f"folder/locks/{number // 16}", b"%d" % number, None, 30)
        except FileExistsError:
            return None

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(160)))

    assert [sum(one is not None for one in won[at : at + 16]) for at in range(0, 160, 16)] == [1] * 10


def test_of_several_that_take_over_one_wins(storage: S3Storage):
    first = storage._put_if("folder/locks/a", b"first", None, 30)

    def take(number: int) -> bool:
        try:
            storage._put_if("folder/locks/a", b"%d" % number, first, 30)
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(take, range(16))) == 1
    with pytest.raises(FileExistsError):
        storage._put_if("folder/locks/gone", b"x", first, 30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork in a process with threads, on purpose
def test_a_child_that_was_forked_after_use_has_a_client_of_its_own(storage: S3Storage):
    storage.write(PATH, b"1")

    child = os.fork()
    if child == 0:
        os._exit(0 if storage.load(PATH).data == b"1" else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert storage.load(PATH).data == b"1"


def test_two_event_loops_one_after_the_other_use_one_storage(storage: S3Storage):
    @Cache("json", storage)
    async def f(x):
        return [x]

    async def several() -> list[list[int]]:
        return await asyncio.gather(*(f(number) for number in range(5)))

    assert asyncio.run(several()) == asyncio.run(several())
    assert (f.cache_info().hits, f.cache_info().misses) == (5, 5)


def test_another_process_s_writes_and_removals_are_seen_at_once(storage: S3Storage, s3_bucket: Bucket):
    other = S3Storage(f"{s3_bucket.name}/folder", endpoint_url=s3_bucket.endpoint, timeout=60)
    other.write(PATH, b"1")
    assert storage.load(PATH).data == b"1"
    other.write(PATH, b"2")
    assert storage.load(PATH).data == b"2"
    other.delete(PATH)
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)


def test_many_threads_share_a_storage(storage: S3Storage):
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            path = f"f/{number:032x}.json"
            storage.write(path, b"%d" % number)
            assert storage.load(path).data == b"%d" % number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []

"""One computation for all machines, and a storage that goes along into children, threads and event loops."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perscache import Cache
from perscache_azure import AzureStorage
from perscache_azure.testing import Container

PATH = "f/0123456789abcdef0123456789abcdef.json"

WORKER = """
import os, sys, time
from perscache import Cache
from perscache_azure import AzureStorage

container, ran = sys.argv[1:]
cache = Cache("json", AzureStorage(container, timeout=60, lease=3))

@cache(name="work", track="none")
def work(n):
    with open(ran, "a") as file:
        file.write(f"{n}\\n")
    time.sleep(float(os.environ.get("TAKES", "0.2")))
    return n

print("ready", flush=True)
sys.stdin.readline()
for n in range(3):
    work(n)
"""


def start(container: Container, ran: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", WORKER, container.name, str(ran)]
    pipe = subprocess.PIPE
    settings = {**os.environ, "AZURE_STORAGE_CONNECTION_STRING": container.connection_string, **environment}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=settings)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_compute_each_key_once_and_print_nothing(azure_container: Container, tmp_path: Path):
    ran = tmp_path / "ran"
    workers = [start(azure_container, ran) for _ in range(2)]

    said = [worker.communicate("go\n", timeout=120) for worker in workers]

    assert [(worker.returncode, error) for worker, (_, error) in zip(workers, said, strict=True)] == [(0, "")] * 2
    assert sorted(ran.read_text().split()) == ["0", "1", "2"]


def test_a_machine_that_dies_is_taken_over_from(azure_container: Container, tmp_path: Path):
    ran = tmp_path / "ran"
    dead = start(azure_container, ran, TAKES="600")
    assert dead.stdin is not None
    dead.stdin.write("go\n")
    dead.stdin.flush()
    while not (ran.exists() and ran.read_text()):
        assert dead.poll() is None
    dead.kill()
    dead.communicate()

    heir = start(azure_container, ran)
    _, error = heir.communicate("go\n", timeout=120)

    assert (heir.returncode, error) == (0, "")
    assert sorted(ran.read_text().split()) == ["0", "0", "1", "2"]


def test_of_several_that_take_over_one_wins(storage: AzureStorage):
    first = storage._put_if("folder/locks/a", b"first", None, 30)
    assert storage._get("folder/locks/a").generation == first

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


def test_two_event_loops_one_after_the_other_use_one_storage(storage: AzureStorage):
    @Cache("json", storage)
    async def f(x):
        return [x]

    async def several() -> list[list[int]]:
        return await asyncio.gather(*(f(number) for number in range(5)))

    assert asyncio.run(several()) == asyncio.run(several())
    assert (f.cache_info().hits, f.cache_info().misses) == (5, 5)


def test_as_many_threads_as_look_up_at_once_share_a_storage(storage: AzureStorage, caplog: pytest.LogCaptureFixture):
    paths = [f"f/{number:032x}.json" for number in range(64)]

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda path: storage.write(path, path.encode()), paths))
    loaded = list(storage.load_many(paths))

    assert [stored if isinstance(stored, Exception) else stored.data.decode() for stored in loaded] == paths
    # urllib3 would tell of connections that have no room.
    assert caplog.text == ""

"""A storage that goes along into children, threads and event loops, and what machines that share it see."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from perscache import Cache

PATH = "f/0123456789abcdef0123456789abcdef.json"


def test_instances_pickle_with_their_options_only(place):
    storage = place.open()
    storage.write(PATH, b"1")
    twin = pickle.loads(pickle.dumps(storage))

    assert twin.identity == storage.identity
    assert twin.load(PATH).data == b"1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # fork in a process with threads, on purpose
def test_a_child_that_was_forked_after_use_has_connections_of_its_own(place):
    storage = place.open()
    storage.write(PATH, b"1")

    child = os.fork()
    if child == 0:
        try:
            right = storage.load(PATH).data == b"1"
            storage.write(PATH, b"2")
        except BaseException:
            right = False
        os._exit(0 if right else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert storage.load(PATH).data == b"2"


def test_two_event_loops_one_after_the_other_use_one_storage(place):
    @Cache("json", place.open(), on_error="raise")
    async def f(x):
        return [x]

    async def several() -> list[list[int]]:
        return await asyncio.gather(*(f(number) for number in range(5)))

    assert asyncio.run(several()) == asyncio.run(several())
    assert (f.cache_info().hits, f.cache_info().misses) == (5, 5)


def test_an_event_loop_is_not_held_up(place):
    storage = place.open()
    storage.write(PATH, b"1")

    async def both() -> int:
        ticks, over = 0, asyncio.create_task(storage.aload(PATH))
        while not over.done():
            ticks += 1
            await asyncio.sleep(0)
        assert (await over).data == b"1"
        return ticks

    assert asyncio.run(both()) > 1


def test_another_process_s_writes_and_removals_are_seen_at_once(place):
    storage, other = place.open(), place.open()
    other.write(PATH, b"1")
    assert storage.load(PATH).data == b"1"
    assert [entry.path for entry in storage.entries()] == [PATH]
    other.write(PATH, b"2")
    other.write(PATH.replace("f/", "g/"), b"2")
    assert storage.load(PATH).data == b"2"
    assert len(list(storage.entries())) == 2
    other.delete(PATH)
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)
    assert len(list(storage.entries())) == 1


def test_many_threads_share_a_storage(place):
    storage = place.open(connections=4)
    paths = [f"f/{number:032x}.{('json', 'csv')[number % 2]}" for number in range(24)]

    def work(path: str) -> bytes:
        storage.write(path, path.encode())
        return storage.load(path).data

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(work, paths)) == [path.encode() for path in paths]
    assert sum(thread.name == "perscache-fsspec" for thread in threading.enumerate()) >= 1
    assert sorted(entry.path for entry in storage.entries()) == sorted(paths)


def test_many_keys_are_looked_up_together(place):
    @Cache("json", place.open())
    def f(x):
        return [x]

    assert list(f.cache.map(range(30))) == [[number] for number in range(30)]
    assert list(f.cache.map(range(30))) == [[number] for number in range(30)]
    assert (f.cache_info().hits, f.cache_info().misses) == (30, 30)


def test_writers_of_one_entry_leave_one_of_theirs_whole(place):
    storages = [place.open() for _ in range(4)]

    for extension in ("pickle", "json"):
        path = PATH.replace("json", extension)
        values = [bytes([number]) * 50_000 for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda storage, value: storage.write(path, value), storages, values))  # noqa: B023
        assert storages[0].load(path).data in values


def test_there_is_no_lease_to_be_had(place):
    assert place.open().lock(PATH) is None


def test_connections_end_with_their_storage(place):
    before = set(threading.enumerate())
    storage = place.open()
    storage.write(PATH, b"1")
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name == "perscache-fsspec"]
    assert threads

    del storage
    gc.collect()

    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_nothing_is_said_at_exit(place):
    program = f"""
import asyncio
from perscache import Cache

@Cache("json", {place.url!r} + "?timeout=60", on_error="raise")
def f(x):
    return x

@Cache("json", {place.url!r} + "?timeout=60", on_error="raise")
async def g(x):
    return x

assert [f(1), f(1), asyncio.run(g(1)), asyncio.run(g(1))] == [1] * 4
assert f.cache_info().hits == g.cache_info().hits == 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_naming_a_place_imports_and_asks_nothing():
    program = """
import sys
from perscache import Cache
Cache(storage="sftp://nobody@host.invalid/folder")
Cache(storage="ftp://host.invalid/folder?max_size=1GB")
heavy = {"fsspec", "paramiko", "aiohttp", "asyncio", "concurrent.futures"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stderr) == (0, "")

"""Memory: every hit a fresh copy, one store a name, and a limit by last use."""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
import time
from contextlib import suppress

import pytest

from perscache.entry import Entry, moment
from perscache.errors import CacheExpired, ConfigurationError, StorageError
from perscache.storage.memory import MemoryStorage

PATH = "shop.prices/9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e.json"


def held(storage: MemoryStorage) -> list[str]:
    return [entry.path for entry in storage.entries()]


def test_what_is_kept_cannot_be_changed_from_outside():
    storage = MemoryStorage()
    data = bytearray(b"abc")
    storage.store(Entry(PATH, moment(0), 3, compute_time=1.5, arguments="x=1"), data)
    data[:] = b"xyz"
    stored = storage.load(PATH)
    assert (stored.data, stored.compute_time) == (b"abc", 1.5)
    entry = storage.peek(PATH)
    assert entry is not None
    assert (entry.size, entry.arguments) == (3, "x=1")
    assert storage.read(PATH, None) == b"abc"


def test_what_is_not_there_or_too_old_is_said_by_the_usual_errors():
    storage = MemoryStorage()
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)
    assert storage.peek(PATH) is None
    storage.write(PATH, b"1")
    assert storage.load(PATH, 60).data == b"1"
    with pytest.raises(CacheExpired):
        storage.load(PATH, -1)
    with pytest.raises(CacheExpired):
        storage.read(PATH, moment(time.time() + 60))


def test_the_asynchronous_twins_give_the_same():
    async def go() -> bytes:
        storage = MemoryStorage()
        await storage.astore(Entry(PATH, moment(0), 1), b"1")
        return bytes((await storage.aload(PATH)).data)

    assert asyncio.run(go()) == b"1"


def test_without_a_name_memory_is_private_and_with_one_it_is_shared():
    one, two = MemoryStorage.from_url("memory://"), MemoryStorage.from_url("memory://")
    one.write(PATH, b"1")
    assert two.peek(PATH) is None
    assert one.identity != two.identity
    one, two = MemoryStorage.from_url("memory://shop"), MemoryStorage.from_url("memory://shop?max_size=1MB")
    one.write(PATH, b"1")
    assert two.load(PATH).data == b"1"
    assert one.identity == two.identity != MemoryStorage.from_url("memory://other").identity
    one.clear()


def test_a_pickled_instance_keeps_its_options_and_its_name():
    named = MemoryStorage(name="pickled", max_size="1kB")
    named.write(PATH, b"1")
    copy = pickle.loads(pickle.dumps(named))
    assert (copy.max_size, copy.load(PATH).data) == (1000, b"1")
    private = MemoryStorage(max_entries=3)
    private.write(PATH, b"1")
    copy = pickle.loads(pickle.dumps(private))
    assert (copy.max_entries, held(copy)) == (3, [])
    named.clear()


def test_what_was_used_longest_ago_leaves_first():
    storage = MemoryStorage("300B")
    heard = []
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
    for name in "abc":
        storage.write(f"f/{name}.json", b"x" * 100)
    storage.load("f/a.json")
    storage.write("f/d.json", b"x" * 150)
    assert sorted(held(storage)) == ["f/a.json", "f/d.json"]
    assert heard == [("f/b.json", "limit"), ("f/c.json", "limit")]
    with pytest.raises(StorageError, match="301 bytes"):
        storage.write("f/e.json", b"x" * 301)
    assert sorted(held(storage)) == ["f/a.json", "f/d.json"]
    storage.write("f/d.json", b"x" * 200)
    assert sorted(held(storage)) == ["f/a.json", "f/d.json"]
    counted = MemoryStorage(max_entries=2)
    for name in "abc":
        counted.write(f"f/{name}.json", b"")
    assert held(counted) == ["f/b.json", "f/c.json"]


def test_removing_says_how_many_and_tells_why():
    storage = MemoryStorage()
    heard = []
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
    for name in ("f/a.json", "f/b.json", "g/c.json", "ff/d.json"):
        storage.write(name, b"1")
    assert storage.delete("f/a.json")
    assert not storage.delete("f/a.json")
    assert storage.clear("f") == 1
    assert storage.prune(60) == 0
    assert storage.prune(-1) == 2
    storage.write("f/e.json", b"1")
    assert storage.clear() == 1
    reasons = ["invalidated", "cleared", "expired", "expired", "cleared"]
    assert [reason for _, reason in heard] == reasons
    assert held(storage) == []


def test_threads_keep_the_limit_and_the_count():
    storage = MemoryStorage(max_size=5000)
    failures = []

    def work(seed: int) -> None:
        for number in range(2000):
            path = f"f/{(seed * 7 + number * 13) % 97}.json"
            try:
                assert storage.load(path).data == path.encode() * 10
            except FileNotFoundError:
                storage.write(path, path.encode() * 10)
            except BaseException as error:
                failures.append(error)
            if number % 50 == 0:
                storage.delete(path)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(entry.size for entry in storage.entries()) <= 5000
    storage.clear()
    storage.write("f/a.json", b"x" * 5000)
    assert held(storage) == ["f/a.json"]


def test_hits_disturb_neither_stores_at_the_limit_nor_listings():
    storage = MemoryStorage(max_entries=8)
    paths = [f"f/{number}.json" for number in range(12)]
    done = threading.Event()

    def hit() -> None:
        while not done.is_set():
            for path in paths:
                with suppress(FileNotFoundError):
                    storage.load(path)

    threads = [threading.Thread(target=hit) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    for thread in threads:
        thread.start()
    try:
        for number in range(5_000):
            storage.write(paths[number % 12], b"1")
            assert len(list(storage.entries())) == min(number + 1, 8)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()


def test_a_wrong_option_is_refused():
    with pytest.raises(ConfigurationError, match="did you mean 'max_size'"):
        MemoryStorage.from_url("memory://?maxsize=1MB")

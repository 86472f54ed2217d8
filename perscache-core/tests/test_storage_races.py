"""Eight processes of eight threads each, on one key and on a thousand, at a limit that forces removal."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache
from perscache.storage import LocalFileStorage
from perscache.storage.layout import Layout
from perscache.storage.usage import Usage

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PROCESSES = THREADS = 8
LIMIT = 300
FORK = multiprocessing.get_context("fork")


def in_all_threads(work: Callable[[int], None]) -> None:
    """Run ``work`` with a number of its own in each thread of each process, all at once, and raise what it raises."""
    barrier = FORK.Barrier(PROCESSES * THREADS)

    def process(number: int) -> None:
        failures: list[BaseException] = []

        def thread(number: int) -> None:
            try:
                barrier.wait(60)
                work(number)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=thread, args=(number * THREADS + index,)) for index in range(THREADS)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for failure in failures:
            raise failure

    processes = [FORK.Process(target=process, args=(number,)) for number in range(PROCESSES)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(300)
    assert [each.exitcode for each in processes] == [0] * PROCESSES


def told(file: Path) -> Callable[[Any], None]:
    """Notes a run of a function, of whichever process and thread."""

    def tell(what: Any) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{what}\n".encode())
        os.close(fd)

    return tell


@pytest.mark.parametrize("serializer", ["json", "cloudpickle"])
def test_all_who_ask_for_one_key_get_one_computation(tmp_path, serializer):
    tell = told(tmp_path / "runs")

    @Cache(serializer, tmp_path / "cache")(ignore="tell")
    def slow(x, tell):
        tell(x)
        time.sleep(0.2)
        return {"x": x}

    def work(number: int) -> None:
        assert slow(1, tell) == {"x": 1}
        assert slow(1, tell) == {"x": 1}
        assert slow.cache_info().errors == 0

    in_all_threads(work)
    assert (tmp_path / "runs").read_text() == "1\n"


def test_of_many_who_wait_for_a_leader_that_is_killed_one_computes(tmp_path):
    tell = told(tmp_path / "runs")

    @Cache("json", tmp_path / "cache")(ignore="tell")
    def slow(tell):
        tell("run")
        time.sleep(0.1 if (tmp_path / "killed").exists() else 300)
        return "done"

    leader = FORK.Process(target=slow, args=(tell,))
    leader.start()
    while not (tmp_path / "runs").exists():
        time.sleep(0.01)
    waiting = FORK.Event()

    def kill() -> None:
        waiting.wait(60)
        time.sleep(0.3)
        (tmp_path / "killed").touch()
        leader.kill()
        leader.join()

    killer = threading.Thread(target=kill)
    killer.start()

    def work(number: int) -> None:
        waiting.set()
        assert slow(tell) == "done"

    in_all_threads(work)
    killer.join()
    assert (tmp_path / "runs").read_text() == "run\nrun\n"


def test_a_thousand_keys_of_all_at_a_limit_give_right_values_and_keep_it(tmp_path):
    location = tmp_path / "cache"

    @Cache("json", LocalFileStorage(location, max_entries=LIMIT))
    def f(x):
        return {"x": x, "more": [x] * (x % 50)}

    def work(number: int) -> None:
        chance = random.Random(number)
        for _ in range(60):
            # Half of the calls go to a tenth of the keys.
            x = chance.randrange(1000 if chance.random() < 0.5 else 100)
            assert f(x) == {"x": x, "more": [x] * (x % 50)}
        assert f.cache_info().errors == 0

    in_all_threads(work)
    assert sum(1 for _ in f.cache.entries()) <= LIMIT + PROCESSES * THREADS
    # Who comes next counts, and finds the limit.
    storage = LocalFileStorage(location, max_entries=LIMIT)
    storage.prune()
    for number in range(100):
        storage.write(f"other/{number:016x}.json", b"[1]")
        left = list(storage.entries())
        counted = Usage(Layout(str(location), shared=False), needed=False).total()
        assert counted is not None
        assert (counted.entries, counted.bytes) == (len(left), sum(entry.size for entry in left))
        assert len(left) <= LIMIT
    assert not list(location.rglob("aside"))
    assert not list(location.rglob("*.tmp"))

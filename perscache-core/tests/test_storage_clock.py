"""A clock that is set back costs at most a computation: nothing is fresh for too long, and nothing stays for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from perscache import Cache
from perscache.storage import LocalFileStorage

HOUR = 3600.0


class Clock:
    """The one of this process: it runs on, ``ahead`` of the machine's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        seconds, nanoseconds = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: seconds() + self.ahead)
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(self.ahead * 1e9))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def numbered(number: int) -> str:
    return f"f/{number * 0x9E3779B97F4A7C15 % 2**64:016x}.pickle"


def held(location: Path, most: int) -> set[int]:
    paths = {entry.path for entry in LocalFileStorage(location).entries()}
    return {number for number in range(most) if numbered(number) in paths}


def test_what_was_stored_in_the_future_expires_and_is_replaced(tmp_path, clock):
    runs = []

    @Cache("json", tmp_path)(ttl=HOUR)
    def f():
        runs.append(1)
        return len(runs)

    clock.ahead = 24 * HOUR
    assert f() == f() == 1
    clock.ahead = 0
    assert not f.cache_contains()
    assert f() == f() == 2
    clock.ahead = HOUR / 2
    assert f() == 2
    clock.ahead = 2 * HOUR
    assert f() == 3


def test_a_clock_that_is_a_little_slow_costs_nothing(tmp_path, clock):
    f = Cache("json", tmp_path)(ttl=HOUR)(lambda: 1)
    clock.ahead = 3
    f()
    clock.ahead = 0
    assert f.cache.call().hit


def test_without_a_time_to_live_the_future_is_as_good_as_the_past(tmp_path, clock):
    f = Cache("json", tmp_path)(lambda: 1)
    clock.ahead = 24 * HOUR
    f()
    clock.ahead = 0
    assert f.cache.call()[:3] == (1, True, 0.0)


def test_pruning_by_age_removes_the_future_too(tmp_path, clock):
    storage = LocalFileStorage(tmp_path)
    storage.write(numbered(0), b"x")
    clock.ahead = 24 * HOUR
    storage.write(numbered(1), b"x")
    clock.ahead = 0
    assert storage.prune(HOUR) == 1
    assert held(tmp_path, 2) == {0}


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "next process"])
def test_after_the_clock_was_set_back_what_is_used_stays_and_the_rest_leaves(tmp_path, clock, fresh):
    storage = LocalFileStorage(tmp_path, max_entries=5)
    clock.ahead = 24 * HOUR
    for number in range(5):
        storage.write(numbered(number), b"x")
    clock.ahead = 0
    if fresh:
        storage = LocalFileStorage(tmp_path, max_entries=5)
    storage.load(numbered(0))
    for number in range(5, 9):
        storage.write(numbered(number), b"x")
    assert held(tmp_path, 10) == {0, 5, 6, 7, 8}
    storage.load(numbered(0))
    storage.write(numbered(9), b"x")
    assert held(tmp_path, 10) == {0, 6, 7, 8, 9}


def test_in_a_large_storage_too(tmp_path, clock):
    clock.ahead = 24 * HOUR
    storage = LocalFileStorage(tmp_path)
    for number in range(5000):
        storage.write(numbered(number), b"x")
    LocalFileStorage(tmp_path, max_entries=5000).prune()
    clock.ahead = 0
    storage = LocalFileStorage(tmp_path, max_entries=5000)
    for number in range(5000, 5300):
        storage.write(numbered(number), b"x")
    left = held(tmp_path, 5300)
    assert len(left) == 5000
    assert left >= set(range(5000, 5300))


def test_temporary_files_of_the_future_are_swept(tmp_path):
    storage = LocalFileStorage(tmp_path)
    storage.write(numbered(0), b"x")
    file = tmp_path / "f" / ".0123abcd-1-1.tmp"
    file.write_bytes(b"half")
    os.utime(file, (0, time.time() + 24 * HOUR))
    storage.prune()
    assert not file.exists()

"""Kills, full disks and forks cost at worst the entry in flight."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from perscache import Cache, PerscacheWarning
from perscache.entry import Entry, moment
from perscache.errors import DamagedEntry
from perscache.storage.layout import Layout
from perscache.storage.local import LocalFileStorage
from perscache.storage.memory import MemoryStorage
from perscache.storage.usage import Usage

EXTENSIONS = ["pickle", "json", "yaml", "csv", "parquet"]


LIMIT = 30
# What a writer that will be killed does, and how often in a hundred times.
WRITERS = {
    "stores": {"store": 100},
    "sweeps": {"store": 40, "delete": 30, "prune": 15, "sweep": 15},
    "clears": {"store": 70, "clear one": 20, "clear all": 10},
}


def work_for_ever(location: Path, deeds: dict[str, int], seed: int) -> None:
    # Without a limit nothing is removed but by those who are asked to.
    storage = LocalFileStorage(location, max_entries=LIMIT if "prune" in deeds else None)
    chance = random.Random(seed)
    while True:
        path = path_of(chance.randrange(60))
        match chance.choices(list(deeds), list(deeds.values()))[0]:
            case "store":
                # A journal of such lines is rewritten again and again.
                data = f"{path} ".encode() * chance.choice([1, 20, 2000])
                storage.store(Entry(path, moment(time.time()), len(data), arguments="x" * 200), data)
            case "delete":
                storage.delete(path)
            case "prune":
                storage.prune()
            case "sweep":
                storage.prune(max_age=chance.choice([0.01, 60]))
            case "clear one":
                storage.clear(path.partition("/")[0])
            case "clear all":
                storage.clear()


def path_of(number: int) -> str:
    return f"f{number % 3}/{number * 0x9E3779B97F4A7C15 % 2**64:016x}.{EXTENSIONS[number % 5]}"


def start_writer(location: Path, deeds: dict[str, int], seed: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            work_for_ever(location, deeds, seed)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return child


def kill(writer: int) -> None:
    os.kill(writer, signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(writer, 0)[1]) == signal.SIGKILL


def assert_every_entry_is_whole(location: Path) -> int:
    """Whatever has the name of an entry, listed or not; how many there are."""
    storage = LocalFileStorage(location)
    count = 0
    for path in paths_in(location):
        with suppress(FileNotFoundError):  # removed by another process meanwhile
            data = storage.load(path).data
            unit = f"{path} ".encode()
            assert bytes(data) == unit * (len(data) // len(unit))
            count += 1
    return count


def paths_in(location: Path) -> Iterator[str]:
    for function in ("f0", "f1", "f2"):
        with suppress(FileNotFoundError):
            names = os.listdir(location / function)
            yield from (f"{function}/{name}" for name in names if name[0] != "." and "." in name)


@pytest.mark.parametrize("kind", WRITERS)
def test_killed_at_any_moment_nothing_wrong_is_left(tmp_path, kind):
    """Two hundred kills of each kind, each followed by a look at everything, while other writers go on."""
    location = tmp_path / "cache"
    for function in ("f0", "f1", "f2"):
        (location / function).mkdir(parents=True)
        (location / function / "notes").write_text("mine")
    chance = random.Random(kind)
    writers = [start_writer(location, WRITERS[kind], seed) for seed in range(3)]
    most = 0
    try:
        for seed in range(3, 203):
            time.sleep(chance.random() / 100)
            kill(writers.pop(0))
            most = max(most, assert_every_entry_is_whole(location))
            writers.append(start_writer(location, WRITERS[kind], seed))
    finally:
        for writer in writers:
            kill(writer)
    assert 0 < most <= 60
    storage = LocalFileStorage(location, max_entries=LIMIT)
    storage.prune()
    left = assert_every_entry_is_whole(location)
    assert left <= LIMIT
    counted = Usage(Layout(str(location), shared=False), needed=False).total()
    assert counted is not None
    assert counted.entries == left
    assert not list(location.rglob("aside"))
    assert not list(location.glob(".state/trash/*"))
    assert [file.read_text() for file in location.glob("f?/notes")] == ["mine"] * 3


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_disk_that_is_full_costs_the_new_entry_only(tmp_path, extension):
    """The limit of a process on the size of its files ends a write early, as a full disk does."""
    location = tmp_path / "cache"
    storage = LocalFileStorage(location)
    path = f"f/0123456789abcdef.{extension}"
    storage.write(path, b"old")
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
            try:
                storage.write(path, b"new" * 100_000)
            except OSError as error:
                os._exit(0 if error.errno == errno.EFBIG else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert storage.load(path).data == b"old"
    assert not list(location.rglob("*.tmp"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """One of 600 KB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)], check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_small_disk_fills_up_and_everything_on_it_stays_readable(disk):
    storage = LocalFileStorage(disk / "cache")
    full = 0
    for number in range(200):
        path = f"f{number % 3}/{number:016x}.{EXTENSIONS[number % 5]}"
        try:
            storage.write(path, f"{path} ".encode() * 200)
        except OSError as error:
            full += error.errno == errno.ENOSPC
    assert full > 10
    assert assert_every_entry_is_whole(disk / "cache") == 200 - full
    assert not list(disk.rglob("*.tmp"))
    assert storage.clear() == 200 - full
    storage.write(f"f/{7:016x}.json", b"1")
    assert storage.load(f"f/{7:016x}.json").data == b"1"


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_takes_no_more_gives_what_it_has_and_costs_no_result(disk, trouble):
    runs = []

    def f(x, runs):
        runs.append(x)
        return [x] * 1000

    # A file that is open for writing, as that of the locks, keeps a disk from becoming read-only.
    assert Cache("json", disk / "cache", lock=False)(ignore="runs")(f)(1, runs) == [1] * 1000
    if trouble == "full":
        with suppress(OSError), (disk / "filler").open("wb") as filler:
            filler.write(bytes(10**6))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    f = Cache("json", LocalFileStorage(disk / "cache", max_entries=50))(ignore="runs")(f)
    with pytest.warns(PerscacheWarning, match="not stored") as warned:
        values = [f(x, runs) for x in (1, 2, 3, 2, 1)]
    assert len(warned) == 1
    assert values == [[x] * 1000 for x in (1, 2, 3, 2, 1)]
    assert runs == [1, 2, 3, 2]
    assert f.cache_info()[:2] == (2, 3)


def test_a_folder_that_vanishes_is_a_miss_and_comes_back(tmp_path):
    storage = LocalFileStorage(tmp_path / "cache", max_entries=5)
    path = f"f/{1:016x}.json"
    for _ in range(3):
        storage.write(path, b"1")
        assert storage.load(path).data == b"1"
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(FileNotFoundError):
            storage.load(path)
        assert storage.peek(path) is None
        assert list(storage.entries()) == []
        assert storage.clear() == storage.prune() == 0


def test_a_reader_never_sees_part_of_an_entry_that_is_being_replaced(tmp_path):
    storage = LocalFileStorage(tmp_path / "cache")
    stop = threading.Event()
    paths = [f"f/{number:016x}.{extension}" for number, extension in enumerate(EXTENSIONS)]
    values = [letter * size for letter in (b"a", b"b") for size in (10, 100_000)]
    failures: list[BaseException] = []

    def write() -> None:
        try:
            while not stop.is_set():
                for path in paths:
                    for value in values:
                        storage.write(path, value)
        except BaseException as error:
            failures.append(error)

    for path in paths:
        storage.write(path, values[0])
    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(300):
            for path in paths:
                assert bytes(storage.load(path).data) in values
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert failures == []


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_replacement_is_never_taken_for_the_damaged_file_that_it_replaces(tmp_path, extension):
    """The damaged file was read, then somebody else stored: what is set aside is the file that was read, or nothing."""
    storage = LocalFileStorage(tmp_path / "cache")
    path = f"f/{1:016x}.{extension}"
    for _ in range(30):
        storage.write(path, b"good")
        os.truncate(tmp_path / "cache" / path, 2)
        racing = threading.Thread(target=LocalFileStorage(tmp_path / "cache").write, args=(path, b"good"))
        racing.start()
        with suppress(DamagedEntry, FileNotFoundError):
            assert storage.load(path).data == b"good"
        racing.join()
        storage.write(path, b"good")
        assert storage.load(path).data == b"good"


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_child_that_is_forked_in_the_middle_of_stores_works(tmp_path, kind):
    storage = LocalFileStorage(tmp_path, max_entries=50) if kind == "local" else MemoryStorage(max_entries=50)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            storage.write(f"f/{number % 100:016x}.pickle", b"x" * 50)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(20)  # a child that waits for a lock of the parent's threads would wait for ever
                code = 1
                try:
                    storage.write(f"f/{999:016x}.pickle", b"child")
                    code = storage.load(f"f/{999:016x}.pickle").data != b"child"
                except FileNotFoundError:
                    code = 0  # the parent's threads go on, and may have pushed it out
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    # One for each writer, and one for each child: it ends at once, with what it may not have counted yet.
    assert sum(1 for _ in storage.entries()) <= 50 + 4 + 20


def test_a_process_stopped_while_it_holds_the_counters_keeps_nobody_waiting_for_long(tmp_path):
    storage = LocalFileStorage(tmp_path, max_entries=50)
    storage.write(f"f/{1:016x}.json", b"1")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys, time; file = open(sys.argv[1], 'r+b'); fcntl.flock(file, fcntl.LOCK_EX); "  # noqa: ISC004
            "print('held', flush=True); time.sleep(60)",
            str(tmp_path / ".state" / "usage"),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        begun = time.monotonic()
        for number in range(20):
            storage.write(f"f/{number:016x}.json", b"2")
            assert storage.load(f"f/{number:016x}.json").data == b"2"
        assert time.monotonic() - begun < 15
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()

"""The limit of local files: what was used longest ago leaves first, for all processes together."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest

from perscache.errors import StorageError
from perscache.storage import eviction
from perscache.storage.layout import Layout
from perscache.storage.local import LocalFileStorage
from perscache.storage.usage import Usage


def numbered(number: int, extension: str = "pickle") -> str:
    return f"f/{number * 0x9E3779B97F4A7C15 % 2**64:016x}.{extension}"


def held(location: Path) -> set[str]:
    return {entry.path for entry in LocalFileStorage(location).entries()}


def bytes_held(location: Path) -> int:
    return sum(entry.size for entry in LocalFileStorage(location).entries())


@pytest.mark.parametrize("extension", ["pickle", "json", "csv"])
def test_the_limit_counts_the_bytes_of_values(tmp_path, extension):
    storage = LocalFileStorage(tmp_path, max_size=1000)
    for number in range(10):
        storage.write(numbered(number, extension), b"x" * 100)
    assert bytes_held(tmp_path) == 1000
    storage.write(numbered(10, extension), b"x" * 100)
    assert held(tmp_path) == {numbered(number, extension) for number in range(1, 11)}


def test_what_was_read_last_stays(tmp_path):
    storage = LocalFileStorage(tmp_path, max_entries=3)
    for number in range(3):
        storage.write(numbered(number), b"x")
    storage.load(numbered(0))
    storage.write(numbered(3), b"x")
    storage.load(numbered(2))
    storage.write(numbered(4), b"x")
    assert held(tmp_path) == {numbered(2), numbered(3), numbered(4)}


def test_the_order_is_that_of_a_model(tmp_path):
    storage, model = LocalFileStorage(tmp_path, max_entries=20), OrderedDict[int, None]()
    chance = random.Random(7)
    for _ in range(1500):
        number = int(chance.paretovariate(0.6)) % 60
        try:
            storage.load(numbered(number))
            assert number in model
            model.move_to_end(number)
        except FileNotFoundError:
            assert number not in model
            storage.write(numbered(number), b"%d" % number)
            model[number] = None
            if len(model) > 20:
                model.popitem(last=False)
        # A use is noted when the last note is older than a sixteenth of the oldest: every use here is the newest, so
        # let the clock show it.
        os.utime(tmp_path / numbered(number), ns=(time.time_ns(), time.time_ns()))
    assert held(tmp_path) == {numbered(number) for number in model}


def test_a_value_larger_than_the_limit_is_not_stored_and_pushes_nothing_out(tmp_path):
    storage = LocalFileStorage(tmp_path, max_size=100)
    storage.write(numbered(1), b"x" * 100)
    with pytest.raises(StorageError, match=r"101 bytes and max_size is 100.*raise max_size"):
        storage.write(numbered(2), b"x" * 101)
    assert held(tmp_path) == {numbered(1)}


def test_a_replaced_value_counts_once(tmp_path):
    storage = LocalFileStorage(tmp_path, max_size=1000)
    storage.write(numbered(0), b"x" * 400)
    for size in (100, 600, 10, 600):
        storage.write(numbered(1), b"x" * size)
    assert held(tmp_path) == {numbered(0), numbered(1)}
    storage.delete(numbered(1))
    storage.write(numbered(2), b"x" * 600)
    assert held(tmp_path) == {numbered(0), numbered(2)}


def test_the_oldest_value_keeps_to_the_limit_when_a_larger_one_replaces_it(tmp_path):
    storage = LocalFileStorage(tmp_path, max_size=300)
    for number in range(3):
        storage.write(numbered(number), b"x" * 100)
    storage.write(numbered(0), b"x" * 150)
    assert held(tmp_path) == {numbered(0), numbered(2)}


def test_a_smaller_limit_acts_on_what_is_there_already(tmp_path):
    wide = LocalFileStorage(tmp_path)
    for number in range(50):
        wide.write(numbered(number), b"x" * 100)
    narrow = LocalFileStorage(tmp_path, max_size=1000)
    assert narrow.prune() == 40
    assert held(tmp_path) == {numbered(number) for number in range(40, 50)}
    LocalFileStorage(tmp_path, max_size=500).write(numbered(99), b"x" * 100)
    assert held(tmp_path) == {numbered(number) for number in (46, 47, 48, 49, 99)}


def test_two_processes_keep_one_limit_and_one_order(tmp_path):
    mine = LocalFileStorage(tmp_path, max_entries=10)
    for number in range(10):
        mine.write(numbered(number), b"x")
    run_in_child(_read, tmp_path, 0)
    mine.write(numbered(10), b"x")
    assert held(tmp_path) == {numbered(number) for number in (0, *range(2, 11))}
    run_in_child(_write, tmp_path, range(11, 14))
    mine.write(numbered(14), b"x")
    assert held(tmp_path) == {numbered(number) for number in (0, *range(6, 15))}


def run_in_child(action, *arguments):
    child = multiprocessing.get_context("fork").Process(target=action, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0


def _read(location: Path, number: int) -> None:
    LocalFileStorage(location, max_entries=10).load(numbered(number))


def _write(location: Path, numbers: range) -> None:
    storage = LocalFileStorage(location, max_entries=10)
    for number in numbers:
        storage.write(numbered(number), b"x")


def test_many_writers_at_once_stay_within_one_entry_each(tmp_path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_mix, args=(tmp_path, seed)) for seed in range(6)]
    for child in children:
        child.start()
    most = 0
    while any(child.is_alive() for child in children):
        # One listing is no snapshot; what is in two of them was there, all at once, between them.
        most = max(most, len(_files(tmp_path / "f") & _files(tmp_path / "f")))
    assert [child.exitcode for child in children] == [0] * 6
    assert most <= 40 + 6
    LocalFileStorage(tmp_path, max_entries=40).write(numbered(10**6), b"x")
    assert len(held(tmp_path)) <= 40


def _files(folder: Path) -> set[tuple[str, int, int]]:
    found: set[tuple[str, int, int]] = set()
    with suppress(FileNotFoundError):
        for file in folder.iterdir():
            with suppress(FileNotFoundError):
                status = file.stat()
                if file.suffix == ".pickle":
                    found.add((file.name, status.st_ino, status.st_mtime_ns))
    return found


def _mix(location: Path, seed: int) -> None:
    storage = LocalFileStorage(location, max_entries=40)
    chance = random.Random(seed)
    for _ in range(300):
        number = chance.randrange(200)
        try:
            assert storage.load(numbered(number)).data == b"%d" % number
        except FileNotFoundError:
            storage.write(numbered(number), b"%d" % number)


@pytest.mark.parametrize("wreck", ["remove", "empty", "cut", "noise", "total", "folder"])
def test_counters_that_are_lost_are_made_again(tmp_path, wreck):
    storage = LocalFileStorage(tmp_path, max_entries=30)
    for number in range(30):
        storage.write(numbered(number), b"x")
    usage = tmp_path / ".state" / "usage"
    whole = usage.read_bytes()
    match wreck:
        case "remove":
            usage.unlink()
        case "empty":
            usage.write_bytes(b"")
        case "cut":
            os.truncate(usage, 1000)
        case "noise":
            usage.write_bytes(random.Random(1).randbytes(len(whole)))
        case "total":
            usage.write_bytes(whole[:-32] + bytes(32))
        case "folder":
            usage.unlink()
            usage.mkdir()
    for one in (storage, LocalFileStorage(tmp_path, max_entries=30)):
        for number in range(100, 110):
            one.write(numbered(number + id(one) % 7), b"x")
    if wreck != "folder":
        assert len(held(tmp_path)) == 30
    else:  # nothing can be counted, and nobody is troubled
        usage.rmdir()
        storage.write(numbered(999), b"x")
        assert len(held(tmp_path)) == 30


def test_nobody_counts_before_there_is_a_limit_and_everybody_from_then_on(tmp_path):
    usage = tmp_path / ".state" / "usage"
    free = LocalFileStorage(tmp_path)
    for number in range(30):
        free.write(numbered(number), b"x")
    free.delete(numbered(0))
    assert not usage.exists()
    limited = LocalFileStorage(tmp_path, max_entries=40)
    limited.write(numbered(30), b"x")
    for number in range(31, 80):
        free.write(numbered(number), b"xy")
    free.delete(numbered(50))
    limited.write(numbered(80), b"x")
    counted = Usage(Layout(str(tmp_path), shared=False), needed=True).total()
    assert counted is not None
    assert (counted.entries, counted.bytes) == (len(held(tmp_path)), bytes_held(tmp_path))
    assert len(held(tmp_path)) == 40
    assert free.clear() == 40
    assert limited.clear() == 0


def test_a_limit_that_comes_while_others_store_without_one_is_kept(tmp_path):
    for number in range(300):
        LocalFileStorage(tmp_path).write(numbered(10**6 + number), b"x")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_freely, args=(tmp_path, seed)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    limited = LocalFileStorage(tmp_path, max_entries=350)
    while any(writer.is_alive() for writer in writers):
        limited.write(numbered(0), b"x")
    assert [writer.exitcode for writer in writers] == [0, 0]
    limited.prune()  # what others stored while it first counted may be missing until then
    assert len(held(tmp_path)) == 350
    counted = Usage(Layout(str(tmp_path), shared=False), needed=True).total()
    assert counted is not None
    assert (counted.entries, counted.bytes) == (350, 350)


def _write_freely(location: Path, seed: int) -> None:
    storage = LocalFileStorage(location)
    for number in range(200):
        storage.write(numbered(1000 * seed + number), b"x")


def test_entries_removed_by_hand_are_noticed(tmp_path):
    storage = LocalFileStorage(tmp_path, max_entries=10)
    for number in range(10):
        storage.write(numbered(number), b"x")
    for number in range(2, 10):
        (tmp_path / numbered(number)).unlink()
    for number in range(10, 17):
        storage.write(numbered(number), b"x")
    assert held(tmp_path) >= {numbered(number) for number in range(10, 17)}


def test_files_that_are_not_ours_are_never_evicted(tmp_path):
    storage = LocalFileStorage(tmp_path, max_size=300)
    (tmp_path / "f").mkdir(exist_ok=True)
    mine = tmp_path / "f" / "0123456789abcdef.json"
    mine.write_bytes(b"[1]" * 50)
    mine.chmod(0o644)
    os.utime(mine, (1, 1))
    for number in range(20):
        storage.write(numbered(number), b"x" * 100)
    storage.prune()
    assert mine.read_bytes() == b"[1]" * 50
    assert bytes_held(tmp_path) <= 300


@pytest.mark.parametrize("seal", ["kept", "lost"])
def test_what_was_edited_is_never_evicted(tmp_path, seal):
    storage = LocalFileStorage(tmp_path, max_size=300)
    storage.write(numbered(0, "json"), b"[1]" * 30)
    edited = tmp_path / numbered(0, "json")
    edited.write_bytes(b"[2]" * 30 + (edited.read_bytes()[90:] if seal == "kept" else b""))
    os.utime(edited, (2, 1))
    for number in range(1, 20):
        storage.write(numbered(number), b"x" * 100)
    storage.prune()
    assert edited.read_bytes()[:90] == b"[2]" * 30


def test_a_storage_beyond_the_exact_size_keeps_its_limit_and_removes_old_entries(tmp_path):
    filled = LocalFileStorage(tmp_path)
    for number in range(5000):
        filled.write(numbered(number), b"x")
    storage = LocalFileStorage(tmp_path, max_entries=5000)
    for number in range(5000, 5300):
        storage.write(numbered(number), b"x")
    left = held(tmp_path)
    assert len(left) == 5000
    gone = [number for number in range(5300) if numbered(number) not in left]
    assert max(gone) < 2000


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A storage of 1,200 entries, which counts as one that is not looked at as a whole."""
    monkeypatch.setattr(eviction, "EXACT", 500)
    storage = LocalFileStorage(tmp_path, max_entries=1200)
    for number in range(1200):
        storage.write(numbered(number), b"x")
    return storage


def test_files_removed_by_hand_from_a_large_storage_are_noticed(large, tmp_path):
    for file in list(tmp_path.glob("f/*.pickle"))[::2]:
        file.unlink()
    for number in range(1200, 1600):
        large.write(numbered(number), b"x")
    assert len(held(tmp_path)) > 900


def test_clearing_one_function_leaves_the_limit_in_force_for_the_others(large, tmp_path):
    for number in range(2):
        large.write(f"g/{number:016x}.pickle", b"x")
    assert large.clear("g") == 2
    for number in range(1200, 1300):
        large.write(numbered(number), b"x")
    assert len(held(tmp_path)) == 1200


def test_an_eviction_takes_a_dozen_looks_at_files(large, monkeypatch):
    large.write(numbered(1200), b"x")
    looks = 0

    def counted(*arguments, **settings):
        nonlocal looks
        looks += 1
        return lstat(*arguments, **settings)

    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", counted)
    large.write(numbered(1201), b"x")
    of_a_store = looks - 1
    looks = 0
    for number in range(1202, 1802):
        large.write(numbered(number), b"x")
    assert looks - 600 * of_a_store <= 12 * 600


def test_a_hit_writes_a_use_mark_only_when_it_matters(tmp_path):
    storage = LocalFileStorage(tmp_path, max_entries=10)
    for number in range(3):
        storage.write(numbered(number), b"x")
    hour = 3600 * 10**9
    now = time.time_ns()
    # The oldest use is 100 hours ago, so marks up to an hour old are left alone.
    for number, age in enumerate((100, 0.5, 2)):
        os.utime(tmp_path / numbered(number), ns=(now - int(age * hour), now - 200 * hour))
    storage.prune()
    fresh = LocalFileStorage(tmp_path, max_entries=10)
    for number in range(3):
        fresh.load(numbered(number))
    ages = [(time.time_ns() - (tmp_path / numbered(number)).stat().st_atime_ns) / hour for number in range(3)]
    assert ages[0] < 0.01
    assert 0.4 < ages[1] < 0.6
    assert ages[2] < 0.01
    assert {(tmp_path / numbered(number)).stat().st_mtime_ns for number in range(3)} == {now - 200 * hour}


def test_without_a_limit_a_hit_writes_nothing(tmp_path):
    storage = LocalFileStorage(tmp_path)
    storage.write(numbered(1), b"x")
    os.utime(tmp_path / numbered(1), (1, 2))
    storage.load(numbered(1))
    assert (tmp_path / numbered(1)).stat().st_atime == 1

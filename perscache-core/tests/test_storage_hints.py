"""Counters, journals, locks, statistics and records of accepted edits are hints: no harm to one costs a result."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache
from perscache.counts import Counts
from perscache.storage import LocalFileStorage

LIMIT = 20


def deleted(file: Path) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size * 2 // 3)


def noise(file: Path) -> None:
    file.write_bytes(random.Random(3).randbytes(max(100, file.stat().st_size)))


def flipped(file: Path) -> None:
    whole = bytearray(file.read_bytes() or b"x")
    for position in range(0, len(whole), 7):
        whole[position] ^= 1 << position % 8
    file.write_bytes(whole)


def repeated(file: Path) -> None:
    file.write_bytes(file.read_bytes() * 3)


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "inside").write_text("mine")


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_symlink(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


HARM = [deleted, emptied, cut, noise, flipped, repeated, a_folder, a_pipe, a_symlink]
HINTS = [".state/usage", ".state/lock", ".state/statistics.jsonl", "f/.index.jsonl"]


def function(location: Path, runs: list[int], max_entries: int | None = None) -> Any:
    @Cache("json", LocalFileStorage(location, max_entries=max_entries))(name="f", ignore="runs")
    def f(x: int, runs: list[int]) -> dict[str, int]:
        runs.append(x)
        return {"x": x}

    return lambda x: f(x, runs)


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """A storage with every kind of hint."""
    location = tmp_path / "cache"
    f = function(location, [], 10 * LIMIT)  # with a limit, so that somebody counts
    for x in range(LIMIT):
        f(x)
    LocalFileStorage(location).ledger().add({"f": Counts(1)})
    return location


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_hint_that_is_harmed_costs_no_result(location, hint, harm, when):
    runs: list[int] = []
    f = function(location, runs)
    storage = LocalFileStorage(location)
    if when == "meanwhile":
        assert f(-1) == {"x": -1}
        runs.clear()
    harm(location / hint)
    assert [f(x) for x in range(LIMIT + 5)] == [{"x": x} for x in range(LIMIT + 5)]
    assert runs == list(range(LIMIT, LIMIT + 5))
    entries = {entry.path for entry in storage.entries()}
    assert len(entries) == LIMIT + 5 + (when == "meanwhile")
    assert all(storage.peek(path) is not None for path in entries)
    with suppress(OSError):  # where nobody minds
        storage.ledger().add({"f": Counts(1)})
    assert storage.ledger().read().keys() <= {"f"}
    gone = entries.pop()
    assert storage.delete(gone)
    assert {entry.path for entry in storage.entries()} == entries
    storage.write(gone, b"1")
    assert storage.prune(3600) == 0
    assert storage.clear() == len(entries) + 1
    assert f(1) == {"x": 1}


@pytest.mark.parametrize("hint", HINTS)
@pytest.mark.parametrize("harm", HARM)
def test_a_limit_is_kept_whatever_is_harmed(location, hint, harm):
    storage = LocalFileStorage(location, max_entries=LIMIT)
    storage.write(f"f/{1:016x}.json", b"1")
    harm(location / hint)
    for one in (storage, LocalFileStorage(location, max_entries=LIMIT)):
        for number in range(LIMIT, 2 * LIMIT):
            one.write(f"f/{number:016x}.json", b"1")
    if hint == ".state/usage" and harm in {a_folder, a_pipe, a_symlink}:
        deleted(location / hint)  # Until then nothing can be counted, and nobody is troubled.
        for number in range(LIMIT):  # each in a hurry, and with more to remove than it brings
            storage.write(f"f/{3 * LIMIT + number:016x}.json", b"1")
    assert sum(1 for _ in storage.entries()) <= LIMIT
    storage.prune()
    assert sum(1 for _ in storage.entries()) == LIMIT


def test_a_lock_file_that_is_deleted_keeps_nobody_waiting(location):
    path = f"f/{1:016x}.json"
    mine, theirs = (LocalFileStorage(location).lock(path) for _ in range(2))
    assert mine.acquire(())
    (location / ".state" / "lock").unlink()
    assert theirs.acquire(())
    theirs.release()
    mine.release()


@pytest.mark.parametrize("name", [".state", ".state/trash", ".state/aside", ".state/waiting"])
@pytest.mark.parametrize("instead", ["nothing", "file", "symlink", "rubbish"])
def test_a_folder_of_ours_that_is_gone_or_something_else_costs_no_result(location, tmp_path, name, instead):
    runs: list[int] = []
    f = function(location, runs, 2 * LIMIT)
    storage = LocalFileStorage(location)
    path = next(storage.entries()).path
    folder = location / name
    shutil.rmtree(folder, ignore_errors=True)
    match instead:
        case "file":
            folder.write_text("mine")
        case "symlink":
            folder.symlink_to(tmp_path)
        case "rubbish":
            folder.mkdir()
            (folder / "file").write_text("mine")
            (folder / "folder").mkdir()
            (folder / "folder" / "file").write_text("mine")
            os.mkfifo(folder / "pipe")
            (folder / "symlink").symlink_to("nowhere")
    assert [f(x) for x in range(LIMIT + 5)] == [{"x": x} for x in range(LIMIT + 5)]
    assert [f(x) for x in range(LIMIT + 5)] == [{"x": x} for x in range(LIMIT + 5)]
    assert runs == list(range(LIMIT, LIMIT + 5))
    assert storage.delete(path)
    assert storage.prune(3600) == 0
    assert len(list(storage.entries())) == LIMIT + 4
    before = sorted(file for file in tmp_path.rglob("*") if file.is_file() and file.read_bytes() == b"mine")
    assert len(before) == {"nothing": 0, "symlink": 0, "file": 1, "rubbish": 2}[instead]


def test_rubbish_in_the_trash_keeps_nothing_else_there(location):
    storage = LocalFileStorage(location)
    trash = location / ".state" / "trash"
    trash.mkdir()
    for name in ("0", "z"):
        (trash / name).write_text("mine")
        (trash / f"{name}{name}").mkdir()
        (trash / f"{name}{name}" / "f").write_text("mine")
    (trash / "m").mkdir()
    (location / "f").rename(trash / "m" / "f")
    storage.empty_trash()
    assert not (trash / "m").exists()
    assert len([file for file in trash.rglob("*") if file.is_file()]) == 4


# --- Records of accepted edits.


@pytest.mark.parametrize("harm", HARM)
def test_a_record_of_accepted_edits_that_is_harmed_costs_no_result(tmp_path, harm):
    def edition(number: int, runs: list[int]) -> Any:
        namespace: dict[str, Any] = {"runs": runs}
        exec(f"def f(x):\n    runs.append(x)\n    return [x, {number}][0]", namespace)
        return Cache("json", tmp_path)(name="f")(namespace["f"])

    edition(1, [])(7)
    assert edition(2, []).cache.accept() == 1
    runs: list[int] = []
    assert edition(2, runs)(7) == 7
    assert runs == []
    (record,) = tmp_path.glob("perscache.accepted/*.json")
    harm(record)
    for expected in ([7], []):
        runs = []
        assert edition(2, runs)(7) == 7
        assert runs == expected
    assert edition(1, runs)(7) == 7
    assert runs == []

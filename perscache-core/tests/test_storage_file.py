"""A user's own file storage: nine operations, and everything else follows."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import pytest

from perscache.errors import CacheExpired, StorageError
from perscache.storage.file import FileStorage


class Attic(FileStorage):
    """As a user would write one."""

    def read_file(self, path):
        return path.read_bytes()

    def write_file(self, path, data):
        path.write_bytes(data)

    def ensure_path(self, path):
        path.mkdir(parents=True, exist_ok=True)

    def iterdir(self, path):
        return path.iterdir() if path.is_dir() else []

    def rmdir(self, path):
        path.rmdir()

    def mtime(self, path):
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)

    def atime(self, path):
        return dt.datetime.fromtimestamp(path.stat().st_atime, dt.UTC)

    def size(self, path):
        if path.is_dir():
            return sum(self.size(child) for child in path.iterdir())
        return path.stat().st_size if path.exists() else 0

    def delete(self, path):
        path.unlink()


class Dictionary(FileStorage):
    """Files that are no files: a dictionary of paths."""

    def __init__(self, location, max_size=None):
        super().__init__(location, max_size)
        self.kept = {}

    def read_file(self, path):
        try:
            return self.kept[path][0]
        except KeyError:
            raise FileNotFoundError(path) from None

    def write_file(self, path, data):
        now = dt.datetime.now(dt.UTC)
        self.kept[path] = [data, now, now]

    def ensure_path(self, path):
        pass

    def iterdir(self, path):
        depth = len(path.parts)
        return {type(path)(*file.parts[: depth + 1]) for file in self.kept if path in file.parents}

    def rmdir(self, path):
        pass

    def mtime(self, path):
        if path not in self.kept:
            raise FileNotFoundError(path)
        return self.kept[path][1]

    def atime(self, path):
        if path not in self.kept:
            raise FileNotFoundError(path)
        return self.kept[path][2]

    def size(self, path):
        return sum(len(kept[0]) for file, kept in self.kept.items() if path == file or path in file.parents)

    def delete(self, path):
        if path not in self.kept:
            raise FileNotFoundError(path)
        del self.kept[path]


def named(number: int) -> str:
    return f"shop.prices-{number:032x}.json"


@pytest.fixture(params=[Attic, Dictionary])
def storage(request, tmp_path) -> FileStorage:
    return request.param(tmp_path / "attic")


def test_what_is_written_is_read_until_it_is_too_old(storage):
    with pytest.raises(FileNotFoundError):
        storage.read(named(1), None)
    with pytest.raises(FileNotFoundError):
        storage.load(named(1), 60)
    storage.write(named(1), b"1")
    assert storage.read(named(1), None) == b"1"
    assert storage.load(named(1), 60).data == b"1"
    assert storage.load(named(1), 60).created == pytest.approx(time.time(), abs=10)
    with pytest.raises(CacheExpired):
        storage.read(named(1), dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
    with pytest.raises(CacheExpired):
        storage.load(named(1), -1)


def test_delete_removes_a_file_by_its_path_and_an_entry_by_its_name(storage):
    storage.write(named(1), b"1")
    assert storage.delete(named(1)) is True
    assert storage.delete(named(1)) is False
    storage.write(named(1), b"1")
    storage.delete(storage.location / named(1))
    with pytest.raises(FileNotFoundError):
        storage.delete(storage.location / named(1))


def test_a_subclass_of_a_subclass_may_extend_delete(tmp_path):
    class Loud(Attic):
        heard: tuple[Path, ...] = ()

        def delete(self, path):
            self.heard += (path,)
            super().delete(path)

    storage = Loud(tmp_path)
    storage.write(named(1), b"1")
    assert storage.delete(named(1)) is True
    assert storage.heard == (tmp_path / named(1),)


def test_what_is_stored_is_listed_and_cleared_and_nothing_else(storage):
    for path in (named(1), named(2), f"other/{3:032x}.json"):
        storage.write(path, b"123")
    storage.ensure_path(storage.location / "mine")
    mine = [storage.location / "notes.md", storage.location / "mine" / "table.csv"]
    for file in mine:
        storage.write_file(file, b"mine")
    assert {entry.path for entry in storage.entries()} == {named(1), named(2), f"other/{3:032x}.json"}
    assert {entry.path for entry in storage.entries("shop.prices")} == {named(1), named(2)}
    entry = storage.peek(named(1))
    assert (entry.size, entry.function, entry.format) == (3, "shop.prices", "json")
    assert storage.peek(named(9)) is None
    assert storage.clear("other") == 1
    assert storage.clear() == 2
    assert list(storage.entries()) == []
    assert [storage.read_file(file) for file in mine] == [b"mine", b"mine"]


def test_room_is_made_by_what_was_used_longest_ago(tmp_path):
    storage = Attic(tmp_path, "300B")
    heard = []
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
    for number in range(3):
        storage.write(named(number), b"x" * 100)
        os.utime(tmp_path / named(number), (1000 + number, 2000))
    os.utime(tmp_path / named(0), (5000, 2000))
    storage.write(named(3), b"x" * 150)
    assert {entry.path for entry in storage.entries()} == {named(0), named(3)}
    assert heard == [(named(1), "limit"), (named(2), "limit")]
    storage.write(named(3), b"y" * 200)
    assert {entry.path for entry in storage.entries()} == {named(0), named(3)}
    with pytest.raises(StorageError, match="301 bytes and max_size is 300"):
        storage.write(named(4), b"x" * 301)
    assert {entry.path for entry in storage.entries()} == {named(0), named(3)}


def test_prune_removes_what_is_too_old_and_what_is_over_the_limit(tmp_path):
    storage = Attic(tmp_path)
    for number in range(4):
        storage.write(named(number), b"x" * 100)
        os.utime(tmp_path / named(number), (1000 + number, 1000 if number == 3 else time.time()))
    assert storage.prune(60) == 1
    narrow = Attic(tmp_path, 250)
    assert narrow.prune() == 1
    assert {entry.path for entry in narrow.entries()} == {named(1), named(2)}


def test_a_location_may_be_a_bucket_and_a_folder():
    storage = Dictionary("bucket/folder")
    storage.write(named(1), b"1")
    assert list(storage.kept) == [Path("bucket/folder") / named(1)]
    assert storage.identity == "Dictionary:bucket/folder"


def test_a_storage_that_lacks_an_operation_cannot_be_made(tmp_path):
    class Half(FileStorage):
        def read_file(self, path):
            return b""

    with pytest.raises(TypeError, match="abstract"):
        Half(tmp_path)

"""Local files: whole entries or none, nothing touched that is not ours, and messages that say the way out."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perscache.entry import Entry, moment
from perscache.errors import CacheExpired, ConfigurationError, DamagedEntry, StorageError
from perscache.storage import aside
from perscache.storage.local import LocalFileStorage

PATH = "shop.prices/9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e.json"
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def storage(location: Path) -> LocalFileStorage:
    return LocalFileStorage(location)


def numbered(number: int, extension: str = "pickle", function: str = "f") -> str:
    return f"{function}/{number * 0x9E3779B97F4A7C15 % 2**64:016x}.{extension}"


def as_nobody(action: Callable[[], str]) -> str:
    """What ``action`` gives in a forked child without rights."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            said = action()
        except BaseException as error:
            said = repr(error)
        os.write(sink, said.encode())
        os._exit(0)
    os.close(sink)
    os.waitpid(child, 0)
    with open(source) as said_by_child:
        return said_by_child.read()


# --- Reading.


def test_what_is_not_there_is_said_cheaply_and_by_the_usual_error(storage):
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)
    with pytest.raises(FileNotFoundError):
        storage.read(PATH, None)


def test_an_entry_expires_by_its_age(storage, location):
    storage.write(PATH, b"1")
    assert storage.load(PATH, 60).data == b"1"
    now = time.time()
    os.utime(location / PATH, (now, now - 100))
    assert storage.load(PATH, 101).data == b"1"
    with pytest.raises(CacheExpired, match="too old"):
        storage.load(PATH, 99)
    with pytest.raises(CacheExpired):
        storage.read(PATH, datetime.now(UTC) - timedelta(seconds=99))
    assert storage.load(PATH).data == b"1"


def test_an_entry_from_the_future_is_expired(storage, location):
    storage.write(PATH, b"1")
    os.utime(location / PATH, (time.time(), time.time() + 1000))
    with pytest.raises(CacheExpired):
        storage.load(PATH, 10**9)


def test_an_expired_entry_is_replaced(storage, location):
    storage.write(PATH, b"old")
    os.utime(location / PATH, (0, 0))
    storage.store(Entry(PATH, moment(100), 3, expires=moment(110)), b"new")
    assert storage.load(PATH, 60).data == b"new"


@pytest.mark.parametrize("size", [10, 300_000])
def test_the_asynchronous_twins_give_the_same(storage, size):
    async def go() -> None:
        data = os.urandom(size)
        await storage.astore(Entry(PATH, moment(0), size, compute_time=1.0), data)
        assert await storage.aload(PATH) == storage.load(PATH)
        assert (await storage.aload(PATH)).data == data
        with pytest.raises(CacheExpired):
            await storage.aload(PATH, -1)
        with pytest.raises(FileNotFoundError):
            await storage.aload(numbered(1))

    asyncio.run(go())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux shows them")
def test_no_descriptor_stays_open(storage, location):
    storage.write(PATH, b"1")
    before = len(os.listdir("/proc/self/fd"))
    for trouble in (lambda: None, lambda: os.utime(location / PATH, (0, 0)), lambda: os.truncate(location / PATH, 3)):
        trouble()
        for _ in range(3):
            with suppress(CacheExpired, DamagedEntry, FileNotFoundError):
                storage.load(PATH, 60)
        storage.write(PATH, b"1")
    storage.peek(PATH)
    list(storage.entries())
    storage.prune()
    storage.clear()
    assert len(os.listdir("/proc/self/fd")) == before


# --- Files and folders.


def test_a_folder_that_we_make_says_what_it_is_and_is_ours_alone(location):
    assert not location.exists()
    LocalFileStorage(location, max_entries=9).write(PATH, b"1")
    assert (location / ".gitignore").read_text() == "*\n"
    assert (location / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    for folder in (location, location / "shop.prices", location / ".state"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((location / PATH).stat().st_mode) == 0o600


def test_a_folder_that_was_there_gets_no_files_of_ours_but_entries(location):
    location.mkdir()
    LocalFileStorage(location).write(PATH, b"1")
    assert os.listdir(location) == ["shop.prices"]


def test_a_shared_storage_is_the_groups(location):
    before = os.umask(0o077)
    try:
        LocalFileStorage(location, shared=True).write(PATH, b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((location / PATH).stat().st_mode) == 0o660
    assert stat.S_IMODE((location / "shop.prices").stat().st_mode) == 0o2770
    assert LocalFileStorage(location, shared=True).load(PATH).data == b"1"


def test_a_relative_location_stays_where_it_was_when_the_process_moves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = LocalFileStorage("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    storage.write(PATH, b"1")
    assert (tmp_path / "here" / PATH).exists()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "f",
        "f/",
        "/f/a.json",
        "../f/a.json",
        "f/../a.json",
        "f/g/a.json",
        ".state/a.json",
        "f/.a.json",
        "f/a",
        "f\\a.b/c",
    ],
)
def test_what_is_no_path_of_an_entry_is_refused_and_nothing_is_touched(storage, location, path):
    for deed in (storage.load, storage.peek, storage.delete, lambda path: storage.write(path, b"1")):
        with pytest.raises(StorageError, match="no path of an entry"):
            deed(path)
    assert not location.exists()


def test_a_function_of_many_entries_fans_out_and_all_of_them_are_found(storage, location):
    for number in range(2300):
        storage.write(numbered(number), b"%d" % number)
    assert len(list((location / "f").glob("??"))) > 100
    for one in (storage, LocalFileStorage(location)):
        assert all(one.load(numbered(number)).data == b"%d" % number for number in range(2300))
        assert {entry.path for entry in one.entries("f")} == {numbered(number) for number in range(2300)}
    fresh = LocalFileStorage(location)
    fresh.write(numbered(5), b"again")  # its first writing lies in the flat part
    assert LocalFileStorage(location).load(numbered(5)).data == b"again"
    assert len(list(fresh.entries())) == 2300
    assert fresh.delete(numbered(2299))
    assert fresh.peek(numbered(2299)) is None
    assert fresh.clear() == 2299


def test_a_writer_that_fails_leaves_the_former_entry_and_no_rubbish(storage, location):
    storage.write(PATH, b"old")
    (location / "shop.prices").rename(location / "aside")
    (location / "shop.prices").write_bytes(b"a file where the folder was")
    with pytest.raises(NotADirectoryError):
        storage.write(PATH, b"new")
    (location / "shop.prices").unlink()
    (location / "aside").rename(location / "shop.prices")
    assert storage.load(PATH).data == b"old"
    assert not list(location.rglob("*.tmp"))


def test_temporary_files_of_killed_writers_are_swept_after_an_hour(storage, location):
    storage.write(PATH, b"1")
    folder = location / "shop.prices"
    old, new, foreign = folder / ".0123abcd-1-1.tmp", folder / ".0123abcd-1-2.tmp", folder / ".mine.tmp"
    for file in (old, new, foreign):
        file.write_bytes(b"half")
    for file in (old, foreign):
        os.utime(file, (0, time.time() - 4000))
    storage.prune()
    assert not old.exists()
    assert new.exists()
    assert foreign.exists()


# --- Planted things.


def test_a_symlink_in_the_place_of_an_entry_is_neither_read_nor_written(storage, location, tmp_path):
    storage.write(PATH, b"1")
    secret = tmp_path / "secret"
    (location / PATH).rename(secret)
    (location / PATH).symlink_to(secret)
    before = secret.read_bytes()
    with pytest.raises(StorageError, match="symlink"):
        storage.load(PATH)
    with pytest.raises(StorageError, match="not ours"):
        storage.write(PATH, b"2")
    assert storage.peek(PATH) is None
    assert not storage.delete(PATH)
    assert list(storage.entries()) == []
    assert secret.read_bytes() == before


def test_a_symlink_in_the_place_of_a_folder_is_not_followed(location, tmp_path):
    outside = LocalFileStorage(tmp_path / "outside")
    outside.write(PATH, b"1")
    location.mkdir()
    (location / "shop.prices").symlink_to(tmp_path / "outside" / "shop.prices")
    storage = LocalFileStorage(location, max_size=10)
    for deed in (storage.load, storage.delete, lambda path: storage.write(path, b"2")):
        with pytest.raises(StorageError, match="symlink"):
            deed(PATH)
    assert list(storage.entries()) == []
    assert storage.clear() == storage.clear("shop.prices") == storage.prune(0) == 0
    assert outside.load(PATH).data == b"1"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_place_of_an_entry_does_not_hang(storage, location):
    (location / "shop.prices").mkdir(parents=True)
    os.mkfifo(location / PATH)
    with pytest.raises(StorageError, match="no plain file"):
        storage.load(PATH)
    with pytest.raises(StorageError, match="no plain file"):
        storage.write(PATH, b"1")


def test_a_file_that_anybody_may_write_is_not_read(storage, location):
    storage.write(PATH, b"1")
    (location / PATH).chmod(0o666)
    with pytest.raises(StorageError, match=r"anybody.*chmod"):
        storage.load(PATH)
    assert (location / PATH).exists()


@pytest.mark.skipif(not ROOT, reason="only root gives files away")
def test_a_strangers_file_is_not_read_unless_the_storage_is_shared(storage, location):
    storage.write(PATH, b"1")
    os.chown(location / PATH, 65534, -1)
    with pytest.raises(StorageError, match=r"belongs to user 65534.*shared=True"):
        storage.load(PATH)
    assert LocalFileStorage(location, shared=True).load(PATH).data == b"1"


@pytest.mark.skipif(not ROOT, reason="only root can stand for another user")
@pytest.mark.skipif(os.geteuid() != 0, reason="files of Windows belong to user 0, as only root's do here")
def test_where_there_are_no_users_the_bits_of_a_file_say_nothing(location):
    # As on Windows, where every file looks as if anybody could write it.
    program = """
import os, sys
for name in ("geteuid", "getegid", "getuid", "getgid", "fork", "pread", "writev", "register_at_fork"):
    delattr(os, name)
for flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOATIME"):
    delattr(os, flag)
os.supports_fd = frozenset()
from perscache.storage import LocalFileStorage
storage = LocalFileStorage(sys.argv[1], max_size="1MB")
storage.write("f/9c1e.json", b"[1]")
os.chmod(os.path.join(sys.argv[1], "f", "9c1e.json"), 0o666)
assert storage.read("f/9c1e.json", None) == b"[1]"
"""
    subprocess.run([sys.executable, "-c", program, str(location)], check=True, timeout=60)


def test_a_read_only_folder_of_root_is_a_read_only_cache():
    with tempfile.TemporaryDirectory() as top:
        location = Path(top) / "cache"
        storage = LocalFileStorage(location)
        storage.write(PATH, b"1")
        for folder in (location.parent, location, location / "shop.prices"):
            folder.chmod(0o755)
        (location / PATH).chmod(0o644)

        def read_and_write() -> str:
            theirs = LocalFileStorage(location, max_size=1000)
            found = [theirs.load(PATH).data for _ in range(3)]
            try:
                theirs.write(PATH, b"2")
            except PermissionError:
                return f"{found} and no more"
            return "written"

        assert as_nobody(read_and_write) == "[b'1', b'1', b'1'] and no more"
        assert storage.load(PATH).data == b"1"


# --- Damage and edits.


def test_a_damaged_file_is_set_aside_once_and_the_next_call_is_a_plain_miss(storage, location):
    storage.write(PATH, b"[1]")
    (location / PATH).write_bytes(b"[2]")
    with pytest.raises(DamagedEntry, match=r"perscache seal .*aside.*trust_unsealed=True"):
        storage.load(PATH)
    (moved,) = (location / ".state" / "aside").rglob("*.json")
    assert moved.read_bytes() == b"[2]"
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)
    storage.write(PATH, b"[3]")
    assert storage.load(PATH).data == b"[3]"


def test_of_the_files_set_aside_the_last_ones_are_kept(storage, location, monkeypatch):
    folder = location / ".state" / "aside"

    def set_aside(number: int, content: bytes) -> None:
        storage.write(PATH, b"[]")
        (location / PATH).write_bytes(content)
        known = set(folder.glob("*"))
        with pytest.raises(DamagedEntry, match="last 256"):
            storage.load(PATH)
        (new,) = set(folder.glob("*")) - known
        os.utime(new, (number, number))  # the clock of the disk may stand still in between

    for number in range(260):
        set_aside(number, b"%d" % number)
    assert {int(file.read_bytes()) for file in folder.rglob("*.json")} == set(range(4, 260))
    monkeypatch.setattr(aside, "MOST_BYTES", 10_000)
    (folder / "notes.txt").write_text("mine")
    for number in range(4):
        set_aside(300 + number, b"%d" % number * 4000)
    assert sorted(file.read_bytes()[:1] for file in folder.rglob("*.json")) == [b"1", b"2", b"3"]
    set_aside(400, b"4" * 20_000)
    assert b"4" in {file.read_bytes()[:1] for file in folder.rglob("*.json")}
    assert len(list(folder.iterdir())) == 4
    assert (folder / "notes.txt").read_text() == "mine"


def test_sealing_takes_an_edit_in_place_or_from_aside(storage, location):
    storage.store(Entry(PATH, moment(0), 3, arguments="x=1", format="json"), b"[1]")
    (location / PATH).write_bytes(b"[2]")
    assert storage.seal(location / PATH) == PATH
    assert storage.load(PATH).data == b"[2]"
    entry = storage.peek(PATH)
    assert entry is not None
    assert entry.arguments == "x=1"
    (location / PATH).write_bytes(b"[4]")
    with pytest.raises(DamagedEntry):
        storage.load(PATH)
    storage.write(PATH, b"[3]")
    (moved,) = (location / ".state" / "aside").rglob("*.json")
    assert storage.seal(moved) == PATH
    assert storage.load(PATH).data == b"[4]"
    assert not moved.exists()


def test_an_edit_that_kept_the_old_seal_loses_it_when_it_is_sealed(storage, location):
    storage.write(PATH, b"[1]")
    (location / PATH).write_bytes((location / PATH).read_bytes().replace(b"[1]", b"[2]"))
    storage.seal(location / PATH)
    assert storage.load(PATH).data == b"[2]"


def test_what_is_no_entry_cannot_be_sealed(storage, location, tmp_path):
    storage.write(PATH, b"[1]")
    (tmp_path / "other.json").write_bytes(b"[1]")
    for file in (tmp_path / "other.json", location / "CACHEDIR.TAG", location / ".gitignore"):
        with pytest.raises(StorageError):
            storage.seal(file)
    assert (tmp_path / "other.json").read_bytes() == b"[1]"


@pytest.mark.parametrize("extension", ["json", "yaml", "csv"])
def test_who_trusts_edits_gets_them_with_and_without_the_old_seal(location, extension):
    storage = LocalFileStorage(location, trust_unsealed=True)
    path = numbered(1, extension)
    storage.write(path, b"a: 1\n")
    file = location / path
    file.write_bytes(file.read_bytes().replace(b"1", b"2", 1))
    assert storage.load(path).data == b"a: 2\n"
    fresh = file.with_suffix(".new")
    fresh.write_bytes(b"a: 3\n")
    fresh.chmod(0o600)
    fresh.replace(file)
    assert storage.load(path).data == b"a: 3\n"


def test_trust_in_edits_does_not_cover_a_damaged_binary(location):
    storage = LocalFileStorage(location, trust_unsealed=True)
    storage.write(numbered(1), b"abcdef")
    with (location / numbered(1)).open("r+b") as out:
        out.write(b"x")
    with pytest.raises(DamagedEntry):
        storage.load(numbered(1))


def test_a_file_of_the_users_under_our_name_is_never_overwritten_or_deleted(storage, location):
    (location / "shop.prices").mkdir(parents=True)
    for deed in (lambda: storage.write(PATH, b"1"), lambda: storage.delete(PATH), storage.clear):
        (location / "shop.prices").mkdir(exist_ok=True)
        (location / PATH).unlink(missing_ok=True)
        (location / PATH).write_bytes(b"mine")
        deed()
        assert any(file.read_bytes() == b"mine" for file in location.rglob("*.json"))


# --- Looking.


def test_peek_and_listing_know_what_was_told_when_storing(storage, location):
    before = moment(time.time() - 1)
    entry = Entry(
        PATH,
        created=moment(time.time()),
        size=4,
        expires=moment(time.time() + 60),
        compute_time=1.25,
        format="json",
        function="shop.prices",
        arguments="day='ü'",
        parts={"code": "12ab"},
    )
    storage.store(entry, b"[10]")
    for known in (storage.peek(PATH), *storage.entries(), *storage.entries("shop.prices")):
        assert known is not None
        assert before < known.created <= moment(time.time())
        assert known.used is not None
        for name in ("path", "size", "compute_time", "format", "function", "arguments", "parts", "expires"):
            assert getattr(known, name) == getattr(entry, name), name
    assert storage.peek(numbered(1)) is None
    assert list(storage.entries("other")) == list(storage.entries("../x")) == []


@pytest.mark.parametrize("noise", [b"", b"\xff\x00\n\n{", b'{"sum":"0123456789abcdef","file":"9c1e'])
def test_a_journal_that_is_lost_or_torn_costs_only_the_arguments(storage, location, noise):
    storage.store(Entry(PATH, moment(0), 1, arguments="x=1"), b"1")
    journal = location / "shop.prices" / ".index.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(noise or b"")
    for known in (storage.peek(PATH), *storage.entries()):
        assert known is not None
        assert (known.path, known.size, known.arguments, known.format) == (PATH, 1, "", "json")
    journal.write_bytes(noise + b"\n" + whole + whole[: len(whole) // 2])
    for known in (storage.peek(PATH), *storage.entries()):
        assert known is not None
        assert known.arguments == "x=1"


def test_each_line_of_the_journal_is_json(storage, location):
    for number in range(3):
        storage.store(Entry(numbered(number), moment(0), 1, arguments='x="\n"'), b"1")
    lines = (location / "f" / ".index.jsonl").read_text().splitlines()
    assert [json.loads(line)["arguments"] for line in lines] == ['x="\n"'] * 3


def test_the_journal_does_not_grow_for_ever(location):
    storage = LocalFileStorage(location, max_entries=20)
    for number in range(3000):
        storage.store(Entry(numbered(number), moment(0), 1, arguments="a" * 200), b"1")
    assert (location / "f" / ".index.jsonl").stat().st_size < 200_000
    assert {entry.arguments for entry in storage.entries()} == {"a" * 200}


# --- Removing.


def test_delete_says_whether_there_was_one(storage):
    storage.write(PATH, b"1")
    assert storage.delete(PATH)
    assert not storage.delete(PATH)
    with pytest.raises(FileNotFoundError):
        storage.load(PATH)


@pytest.mark.parametrize("count", [3, 2100])
def test_clear_removes_what_we_wrote_and_nothing_else(storage, location, count):
    for number in range(count):
        storage.write(numbered(number), b"1")
    storage.write(PATH, b"1")
    mine = {location / "f" / "notes.md", location / "f" / f"{7:016x}.json", location / "f" / "sub" / "deep.txt"}
    mine |= {location / "table.csv", location / "own" / "a.txt"}
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    assert storage.clear("f") == count
    assert [entry.path for entry in storage.entries()] == [PATH]
    assert storage.clear() == 1
    for thread in threading.enumerate():
        if thread.name == "perscache-trash":
            thread.join()
    assert {file for file in location.rglob("*") if file.is_file() and file.read_text("latin-1") == "mine"} == mine
    assert not any((location / ".state" / "trash").iterdir())
    storage.write(numbered(1), b"2")
    assert storage.load(numbered(1)).data == b"2"


@pytest.mark.parametrize("removal", ["overwrite", "delete", "prune", "clear"])
def test_an_edit_that_nobody_read_yet_outlives_its_entry(storage, location, removal):
    storage.write(PATH, b"[1]")
    file = location / PATH
    file.write_bytes(file.read_bytes().replace(b"[1]", b"[2]"))
    os.utime(file, (2, 1))
    match removal:
        case "overwrite":
            storage.write(PATH, b"[3]")
        case "delete":
            storage.delete(PATH)
        case "prune":
            storage.prune(60)
        case "clear":
            storage.clear()
    assert [found for found in location.rglob("*.json") if found.read_bytes().startswith(b"[2]")]


def test_a_copy_that_lost_its_times_is_ours_as_long_as_its_seals_match(storage, location):
    for number, extension in enumerate(("pickle", "json", "csv", "parquet")):
        storage.write(numbered(number, extension), b"x" * 1000)
        os.utime(location / numbered(number, extension), (2, 1))
    assert storage.prune(60) == 4
    storage.write(PATH, b"1")
    os.utime(location / PATH, (2, 1))
    storage.clear()
    assert not list(location.rglob("*/*.json"))


def test_what_a_killed_process_left_in_the_trash_is_deleted_by_the_next(storage, location):
    storage.write(PATH, b"1")
    trash = location / ".state" / "trash" / "abc"
    trash.mkdir(parents=True)
    (location / "shop.prices").rename(trash / "shop.prices")
    (trash / "shop.prices" / "mine.txt").write_text("mine")
    LocalFileStorage(location).write(numbered(1), b"1")
    for thread in threading.enumerate():
        if thread.name == "perscache-trash":
            thread.join()
    assert not trash.exists()
    assert (location / "shop.prices" / "mine.txt").read_text() == "mine"


def test_prune_removes_what_is_too_old(storage, location):
    for number in range(4):
        storage.write(numbered(number), b"1")
    for number in range(2):
        os.utime(location / numbered(number), (0, time.time() - 100))
    assert storage.prune(1000) == 0
    assert storage.prune(50) == 2
    assert {entry.path for entry in storage.entries()} == {numbered(2), numbered(3)}


def test_listeners_hear_of_each_removal_and_why(location):
    storage = LocalFileStorage(location, max_entries=2)
    heard = []
    storage.listeners = (lambda _, entry, reason: heard.append((entry.path, reason)),)
    for number in range(3):
        storage.write(numbered(number), b"1")
    storage.delete(numbered(1))
    os.utime(location / numbered(2), (0, 0))
    storage.prune(10)
    storage.write(numbered(4), b"1")
    storage.clear()
    reasons = ["limit", "invalidated", "expired", "cleared"]
    assert heard == list(zip(map(numbered, (0, 1, 2, 4)), reasons, strict=True))


# --- Making one.


def test_urls_name_folders_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = LocalFileStorage.from_url(f"file://{tmp_path}/a%20b?max_size=20GB&shared=true&durable=no&max_entries=7")
    assert made.location == tmp_path / "a b"
    assert (made.max_size, made.shared, made.durable, made.max_entries) == (20 * 10**9, True, False, 7)
    assert LocalFileStorage.from_url("file:///x?max_size=1GB", max_size=5).max_size == 5
    assert LocalFileStorage.from_url("file://localhost/x").location == Path("/x")
    assert LocalFileStorage.from_url("file://.cache/y").identity == f"file:{tmp_path}/.cache/y"
    assert LocalFileStorage.from_url("file://~/z").location == tmp_path / "home/z"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///x?max_sice=1GB", "did you mean 'max_size'"),
        ("file:///x?max_size=lots", "no size"),
        ("file:///x?shared=perhaps", "neither true nor false"),
        ("file:///x?max_entries=-1", "no whole number"),
        ("file://", "names no folder"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_out(url, says):
    with pytest.raises(ConfigurationError, match=says):
        LocalFileStorage.from_url(url)


def test_instances_pickle_with_their_options_only(storage, location):
    made = LocalFileStorage(location, "1MB", max_entries=9, durable=True, trust_unsealed=True)
    made.listeners = (lambda *_: None,)
    made.write(PATH, b"1")
    copy = pickle.loads(pickle.dumps(made))
    assert copy.load(PATH).data == b"1"
    assert copy.identity == made.identity
    for name in ("location", "max_size", "max_entries", "durable", "shared", "trust_unsealed"):
        assert getattr(copy, name) == getattr(made, name)
    assert copy.listeners == ()


def test_a_subclass_keeps_its_own_options_when_it_is_pickled(location):
    made = Labelled(location, "blue")
    assert pickle.loads(pickle.dumps(made)).label == "blue"


class Labelled(LocalFileStorage):
    def __init__(self, location: Path, label: str) -> None:
        super().__init__(location)
        self.label = label

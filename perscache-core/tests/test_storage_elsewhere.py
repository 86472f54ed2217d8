"""Windows and macOS, as far as they can be tried elsewhere: their locks, their names, and what they have not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perscache import Cache
from perscache.entry import Entry, moment
from perscache.storage import LocalFileStorage, local, publisher

# What Python has on Linux and not there is taken away before the library is imported.
MACOS = """
import fcntl, os
for name in ("F_OFD_SETLK", "F_OFD_SETLKW"):
    delattr(fcntl, name)
for name in ("getxattr", "setxattr", "O_NOATIME"):
    delattr(os, name)
"""

WINDOWS = """
import errno, fcntl, os, struct, sys, types
import asyncio, importlib.metadata, logging, pathlib, subprocess, threading  # They ask for the platform, too.

def locking(fd, mode, count):
    position = os.lseek(fd, 0, os.SEEK_CUR)
    assert position >= os.fstat(fd).st_size, "nobody can read what is locked"
    region = struct.pack("@hhqqi0q", (fcntl.F_UNLCK, fcntl.F_WRLCK)[mode], os.SEEK_SET, position, count, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, region)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "somebody else locked it") from None

sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_UNLCK=0, LK_NBLCK=1)
for name in ("geteuid", "getegid", "fork", "register_at_fork", "pread", "readv", "writev", "getxattr", "setxattr"):
    delattr(os, name)
for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOATIME", "O_DIRECTORY"):
    delattr(os, name)
os.supports_fd = frozenset()
sys.platform = "win32"
import perscache.storage.locks, perscache.storage.locked_file, perscache.storage.usage
sys.platform = "linux"
"""

PROGRAM = """
import json, os, sys, time, warnings
from pathlib import Path
from perscache import Cache
from perscache.serializers import make_serializer
from perscache.storage import LocalFileStorage

Text = make_serializer("Text", "txt", lambda value: json.dumps(value).encode(), lambda data: json.loads(bytes(data)))

def ran(name):
    fd = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name}\\n".encode())
    os.close(fd)

@Cache("json", "cache")
def slow():
    ran("slow")
    time.sleep(0.5)
    return [1]

Path(f"here-{os.getpid()}").touch()
while len(list(Path().glob("here-*"))) < 3:
    time.sleep(0.001)
assert slow() == slow() == [1]
assert slow.cache_info()[0] >= 1

for serializer in ("pickle", "json", Text()):
    storage = LocalFileStorage(f"own-{os.getpid()}", max_entries=10)
    f = Cache(serializer, storage, ttl=3600)(lambda x: {"x": x})
    for x in (*range(15), 14, 0):
        assert f(x) == {"x": x}
    assert f.cache_info().hits == 1
    assert len(list(storage.entries())) == 10
    file = storage.location / f.cache.key(14)
    os.utime(file, (1, 1))
    assert f(14) == {"x": 14} and f.cache_info().stale == 1
    file.write_bytes(b'{"x": 15}')
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert f(14) == {"x": 14} and f.cache_info().errors == 1
    (aside,) = storage.location.glob(f".state/aside/*/{f.cache.key(14)}")
    assert aside.read_bytes() == b'{"x": 15}'
    aside.unlink()
    assert f.cache_invalidate(14)
    assert storage.prune() == 0
    assert storage.clear() == 9
    assert not [name for name in storage.location.rglob("*") if name.suffix in {".tmp", ".seal"}]
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems are mimicked on Linux")
@pytest.mark.parametrize("system", [MACOS, WINDOWS], ids=["macOS", "Windows"])
def test_results_limits_damage_and_locks_work(system):
    script = Path("script.py")
    script.write_text(system + PROGRAM)
    processes = [
        subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    for process in processes:
        told, _ = process.communicate(timeout=120)
        assert (process.returncode, told) == (0, "")
    assert Path("runs").read_text() == "slow\n"


class Windows:
    """The module os, as if a reader held every file: what is renamed or removed fails so many times."""

    name = "nt"

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def __getattr__(self, name):
        action = getattr(os, name)
        return self.held(action) if name in {"replace", "unlink"} else action

    def held(self, action):
        def try_to(*paths):
            self.failures -= 1
            if self.failures >= 0 and not paths[-1].endswith(".tmp"):
                raise PermissionError(errno.EACCES, "somebody reads it", paths[-1])
            return action(*paths)

        return try_to


def held(monkeypatch, failures):
    """Let every file be held by a reader, so many times."""
    for module in (local, publisher):
        monkeypatch.setattr(module, "os", Windows(failures))


def test_a_file_that_somebody_reads_is_replaced_and_removed_a_moment_later(tmp_path, monkeypatch):
    storage = LocalFileStorage(tmp_path)
    path = f"f/{1:016x}.json"
    for data in (b"old", b"new"):
        held(monkeypatch, 4)
        storage.write(path, data)
        assert storage.load(path).data == data
    os.utime(tmp_path / path, (1, 1))
    held(monkeypatch, 4)
    storage.store(Entry(path, moment(100), 3, expires=moment(110)), b"now")
    assert storage.load(path).data == b"now"
    held(monkeypatch, 4)
    assert storage.delete(path)


def test_a_file_that_somebody_keeps_open_costs_the_store_and_no_result(tmp_path, monkeypatch):
    runs = []
    f = Cache("json", tmp_path)(name="f", ignore="runs")(lambda x, runs: runs.append(x) or {"x": x})
    f(1, runs)
    held(monkeypatch, 10**9)
    for _ in range(2):
        assert f(2, runs) == {"x": 2}
    assert f(1, runs) == {"x": 1}
    assert runs == [1, 2, 2]
    assert f.cache_info().errors == 2
    monkeypatch.undo()
    assert len(list(tmp_path.glob("f/*.json"))) == 1
    assert not list(tmp_path.rglob("*.tmp"))


# --- Names.


def folder_of(name: str) -> str:
    return Cache("json", "cache")(name=name)(lambda: 1).cache.key().partition("/")[0]


RESERVED = [*(f"{port}{number}" for port in ("com", "lpt") for number in range(10)), "con", "prn", "aux", "nul"]


@pytest.mark.parametrize("name", [*RESERVED, "CON", "Aux.prices", "nul.txt.x", "lpt1."])
def test_no_folder_has_a_name_that_is_a_device_on_windows(name):
    folder = folder_of(name)
    assert folder.partition(".")[0].lower() not in RESERVED
    f = Cache("json", "cache")(name=name)(lambda: [1])
    assert f() == f() == [1]
    assert f.cache_info().hits == 1


@pytest.mark.parametrize(
    "name",
    [
        "x" * 300,
        "é" * 100,
        "größe.π",
        "a b",
        'a/b\\c:d*e?f"g<h>i|j',
        "trailing.",
        "trailing ",
        ".hidden",
        "..",
        "",
        "f.<locals>.g",
    ],
)
def test_any_name_is_a_folder_everywhere_and_one_of_its_own(name):
    folder = folder_of(name)
    assert 0 < len(folder) <= 80
    assert folder.isascii()
    assert not set(folder) & set('<>:"/\\|?* ')
    assert folder.strip(". ") == folder
    assert folder_of(name + "'") != folder


def test_names_that_differ_only_in_case_share_no_result():
    """Where such folders are one, the files in them are not."""
    files = {
        Cache("json", "cache")(name=name)(lambda: 1).cache.key().lower() for name in ("shop.Prices", "shop.prices")
    }
    assert len({file.partition("/")[0] for file in files}) == 1
    assert len(files) == 2

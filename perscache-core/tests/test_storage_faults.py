"""Every system call of a hit, of a store and of a removal fails once, and is once the place of a kill.

A forked child makes the calls. It stops itself just before them, so that strace can take hold of it and count from
there; what was called is taken from a run without any fault.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest

from perscache import Cache, CacheMiss, statistics, trouble
from perscache.serializers import Serializer
from perscache.storage import LocalFileStorage
from perscache.storage.layout import Layout
from perscache.storage.usage import Usage

TRACING = sys.platform.startswith("linux") and shutil.which("strace") is not None
pytestmark = pytest.mark.skipif(not TRACING, reason="strace, which is Linux, is not installed")

PATIENCE = 60  # seconds for what takes milliseconds: who is not back by then hangs

# How calls fail in the field.
FAILURES = {
    "openat": ("error=EACCES", "error=EMFILE", "error=EIO", "error=ENOSPC", "error=ESTALE"),
    "read": ("error=EIO", "retval=0", "error=ESTALE"),
    "write": ("error=ENOSPC", "error=EIO", "error=EDQUOT"),
    "writev": ("error=ENOSPC", "error=EIO"),
    "close": ("error=EIO", "error=ENOSPC"),
    "mkdir": ("error=EACCES", "error=ENOSPC", "error=EROFS"),
    "rename": ("error=EACCES", "error=ENOSPC", "error=EIO"),
    "unlink": ("error=EACCES", "error=EROFS"),
    "fcntl": ("error=ENOLCK", "error=EDEADLK", "error=EIO"),
    "flock": ("error=ENOLCK", "error=EIO"),
    "fsetxattr": ("error=EOPNOTSUPP", "error=ENOSPC"),
    "fgetxattr": ("error=EOPNOTSUPP", "error=EIO"),
    "utimensat": ("error=EPERM", "error=EROFS"),
}
# Calls that do not fail in the field, and of which nothing is left when the process is gone.
IGNORED = re.compile(r"lseek|get\w*id|getrandom|brk|m\w*map|madvise|mprotect|rt_sig\w+|futex|clock\w*|\w*exit\w*|kill")
HINTS = re.compile(r"/\.state\b|/\.index\.jsonl\b")
DAMAGED = b'{"x": 1, "te'


def compute(x: int) -> dict[str, Any]:
    return {"x": x, "text": "y" * 50}


class Text(Serializer):
    """A format without room for a seal, which then lies beside the bytes."""

    extension = "txt"

    def dumps(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


# --- What is done.


@dataclass
class Deed:
    """What the child does, after ``before`` was done; it must come to the function's value for 1."""

    before: Callable[[Deed, Path], object] = lambda deed, location: None
    act: Callable[[Any], Any] = lambda f: f(1)
    serializer: str | Serializer = "pickle"
    ttl: float | None = None
    max_entries: int | None = None
    durable: bool = False

    def function(self, location: Path, *, limited: bool = True) -> Any:
        """Cached at ``location``, its code looked at already."""
        storage = LocalFileStorage(location, max_entries=self.max_entries if limited else None, durable=self.durable)
        f = Cache(self.serializer, storage, ttl=self.ttl)(compute)
        f.cache.key(1)
        return f


def filled(deed: Deed, location: Path) -> Path:
    """With more than a limit allows; the file of the call that is made."""
    f = deed.function(location, limited=False)
    for x in (1, 2, 3, 4):
        f(x)
    return location / f.cache.key(1)


def unused_for_long(deed: Deed, location: Path) -> None:
    """So that a hit notes the use."""
    used = filled(deed, location)
    os.utime(used, (1_000_000, used.stat().st_mtime))
    LocalFileStorage(location, max_entries=deed.max_entries).prune()


def without_the_call(deed: Deed, location: Path) -> None:
    filled(deed, location).unlink()


def too_old(deed: Deed, location: Path) -> None:
    os.utime(filled(deed, location), (1_000_000, 1_000_000))


def damaged(deed: Deed, location: Path) -> None:
    filled(deed, location).write_bytes(DAMAGED)


def beside_a_users_file(deed: Deed, location: Path) -> None:
    filled(deed, location).with_name("notes").write_text("mine")


def counted(f: Any) -> Any:
    """A call in a process that ends as usual."""
    value = f(1)
    statistics.write_down()
    return value


def after(removal: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A removal, of whose trouble the caller is told; and a call, of which no more is looked at."""

    def act(f: Any) -> Any:
        with suppress(OSError):
            removal(f)
        mark()
        return f(1)

    return act


def mark() -> None:
    """A system call that nobody else makes."""
    os.getpgid(0)


DEEDS = {
    "a hit": Deed(unused_for_long, max_entries=9),
    "a hit with its seal beside": Deed(filled, serializer=Text()),
    "the first store": Deed(act=counted, durable=True),
    "a store at the limit": Deed(without_the_call, serializer="json", max_entries=2),
    "a store over what expired": Deed(too_old, serializer=Text(), ttl=3600),
    "a store after damage": Deed(damaged, serializer="json"),
    "a deletion": Deed(filled, after(lambda f: f.cache_invalidate(1)), serializer=Text()),
    "a clear": Deed(beside_a_users_file, after(lambda f: f.cache_clear())),
}


# --- The child and its tracer.


class SystemCall(NamedTuple):
    """One of those that a deed makes: its number among those of its name since the child was taken hold of."""

    name: str
    number: int
    of_hints: bool
    """Whether it is about counters, locks or journals, which may be lost without harm."""


class Fault(NamedTuple):
    """What happens at a call or, with a plus sign behind the number, from that call on."""

    name: str
    number: str
    happens: str
    harmless: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.happens}:when={self.number}"


def traced(deed: Deed, location: Path, *options: str) -> int:
    """The exit code of a child that does ``deed`` under strace, negative for the signal that it died of."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            f = deed.function(location)
            trouble.forget()
            gc.disable()
            signal.alarm(PATIENCE)
            os.kill(os.getpid(), signal.SIGSTOP)
            mark()
            code = deed.act(f) != compute(1)
            mark()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.waitpid(child, os.WUNTRACED)
    with subprocess.Popen(["strace", "-p", str(child), *options], stderr=subprocess.PIPE, text=True) as strace:
        said = strace.stderr.readline() if strace.stderr else ""
        attached = "attached" in said
        os.kill(child, signal.SIGCONT if attached else signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not attached:
        raise PermissionError(said.strip())
    return code


# --- What happens in one of some processes that are small, so that forking them is quick.


def begin(folder: Path) -> None:
    """Do everything once, so that nothing is imported under the eyes of strace."""
    warnings.simplefilter("ignore")
    os.chdir(folder)
    for deed in DEEDS.values():
        with TemporaryDirectory(dir=folder) as location:
            deed.before(deed, Path(location))
            deed.act(deed.function(Path(location)))
            assert_sound(deed, Path(location))


def calls_of(name: str, folder: Path) -> list[SystemCall]:
    """The system calls of a deed."""
    deed, location, log = DEEDS[name], folder / "cache", folder / "calls"
    folder.mkdir()
    deed.before(deed, location)
    assert traced(deed, location, "-y", "-o", str(log)) == 0
    lines = [line for line in log.read_text().splitlines() if re.match(r"\w+\(", line)]
    names = [line.partition("(")[0] for line in lines]
    begin, end, *_ = (index for index, name in enumerate(names) if name == "getpgid")
    return [
        SystemCall(names[index], names[: index + 1].count(names[index]), bool(HINTS.search(lines[index])))
        for index in range(begin + 1, end)
        if not IGNORED.fullmatch(names[index])
    ]


def trial(name: str, folder: Path, fault: Fault) -> tuple[int, str]:
    """The exit code of a deed with ``fault``, and what is wrong afterwards."""
    deed, location = DEEDS[name], folder / "cache"
    folder.mkdir()
    deed.before(deed, location)
    code = traced(deed, location, "-o", os.devnull, "-e", f"trace={fault.name}", "-e", f"inject={fault}")
    signal.alarm(PATIENCE)
    try:
        if deed.before is damaged:
            assert any(file.read_bytes() == DAMAGED for file in location.rglob("*.json")), "a file was lost"
        if fault.harmless:
            assert deed.function(location).cache.get(1) == compute(1)
        assert_sound(deed, location)
    except Exception as error:
        return code, "".join(traceback.format_exception(error, limit=-2))
    finally:
        signal.alarm(0)
        shutil.rmtree(folder)
    return code, ""


def assert_sound(deed: Deed, location: Path) -> None:
    """Every entry is whole and right, the next process gets its value, then a hit, and the limit and counters hold."""
    storage = LocalFileStorage(location)
    f = deed.function(location)
    for file in location.glob("[!.]*/[!.]*.*"):
        path = file.relative_to(location).as_posix()
        if not (deed.before is damaged and path == f.cache.key(1)):
            storage.load(path)
    for x in range(1, 5):
        with suppress(CacheMiss):
            assert f.cache.get(x) == compute(x)
    assert f(1) == compute(1)
    again = deed.function(location)
    assert again(1) == compute(1)
    assert again.cache_info().hits == 1
    limited = LocalFileStorage(location, max_entries=deed.max_entries or 9)
    limited.prune()
    left = list(limited.entries())
    assert len(left) <= (deed.max_entries or 9)
    count = Usage(Layout(str(location), shared=False), needed=False).total()
    assert count is not None
    assert (count.entries, count.bytes) == (len(left), sum(entry.size for entry in left))
    for thread in threading.enumerate():
        if thread.name == "perscache-trash":
            thread.join()
    if deed.before is beside_a_users_file:
        assert [file.read_text() for file in location.rglob("notes")] == ["mine"]


# --- The promises.


@pytest.fixture(scope="module")
def pool(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessPoolExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(request.config.rootpath))  # a spawned child imports this module by its name here
        start = multiprocessing.get_context("spawn"), begin, (tmp_path_factory.mktemp("begin"),)
        with ProcessPoolExecutor(2, *start) as pool:
            yield pool


@pytest.fixture(params=DEEDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def calls(name: str, tmp_path: Path, pool: ProcessPoolExecutor) -> list[SystemCall]:
    try:
        return pool.submit(calls_of, name, tmp_path / "faultless").result(2 * PATIENCE)
    except PermissionError as error:
        pytest.skip(f"processes may not be traced here: {error}")


def test_a_call_that_fails_costs_no_result(name, calls, tmp_path, pool):
    faults = [
        Fault(call.name, str(call.number), (ways := ways_to_fail(call))[index % len(ways)], call.of_hints)
        for index, call in enumerate(calls)
    ]
    # And a disk that fails for good, from the first such call on.
    firsts = {call.name: call for call in reversed(calls)}.values()
    faults += [Fault(call.name, f"{call.number}+", ways_to_fail(call)[0]) for call in firsts]
    assert set(codes_of(name, faults, tmp_path, pool)) == {0}


def test_a_kill_at_a_call_leaves_nothing_wrong(name, calls, tmp_path, pool):
    faults = [Fault(call.name, str(call.number), "signal=KILL") for call in calls]
    codes = codes_of(name, faults, tmp_path, pool)
    assert set(codes) <= {0, -signal.SIGKILL}
    # On a busy machine some deeds take fewer steps, and come to an end.
    assert codes.count(-signal.SIGKILL) >= 0.9 * len(codes)


def ways_to_fail(call: SystemCall) -> tuple[str, ...]:
    return FAILURES.get(call.name, ("error=EIO", "error=EACCES"))


def codes_of(name: str, faults: list[Fault], folder: Path, pool: ProcessPoolExecutor) -> list[int]:
    """How the children ended; after none of the faults anything is wrong."""
    folders = [folder / str(number) for number in range(len(faults))]
    outcomes = list(pool.map(trial, [name] * len(faults), folders, faults, timeout=20 * PATIENCE))
    assert not [f"{fault}: {wrong}" for fault, (_, wrong) in zip(faults, outcomes, strict=True) if wrong]
    return [code for code, _ in outcomes]

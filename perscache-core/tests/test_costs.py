"""What hits and misses cost, counted and not timed: system calls, files, modules, memory, threads, functions called.

Each program counts in a process of its own. What is allowed stands at the top. What a hit may do is said exactly where
it is a promise; bounds are to be lowered to what a failing test prints whenever less will do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache

# System calls of a hit, exactly.
READ = Counter(open=1, fstat=1, read=1, close=1)
HITS = {
    "of JSON": READ,
    "of a pickle": READ,
    "with a ttl": READ,
    "with a limit": READ,
    "with an observer": READ,
    "in the first tier": READ,
    "in memory": Counter(),
    "in a tier in memory": Counter(),
    "awaited": READ,
    "awaited in memory": Counter(),
    "of a megabyte": READ,
    # The seal at the end comes first, then 256 KiB at a time, each hashed before the processor's cache forgets it.
    "of four megabytes": Counter(open=1, fstat=1, pread=1, read=16, close=1),
}

# System calls of a miss that stores a small result, at most.
MORE = Counter(open=3, access=4, fcntl=2, getpid=1, write=2, utimensat=1, close=2, stat=1, rename=1, fstat=1, lseek=1)
MISSES = {
    "of one more call": MORE,
    "without single flight": MORE - Counter(access=2, fcntl=2),
    # Is the source as it was, was an edit accepted; and the folder, made when it turns out that there is none.
    "of a first call": MORE + Counter(open=3, access=1, stat=5, mkdir=1),
    # The totals, read before and changed after.
    "with a limit": MORE + Counter(open=2, stat=2, fstat=2, pread=3, pwrite=2, flock=2, close=2) - Counter(access=1),
}

# Calls of perscache's own functions in a warm hit, at most.
FUNCTIONS = {
    "of JSON": 15,
    "of a pickle": 12,
    "with a ttl": 15,
    "with a limit": 15,
    "in the first tier": 16,
    "in memory": 10,
    "in a tier in memory": 11,
    "awaited": 18,
    "awaited in memory": 13,
}

# Bytes that a warm hit of a small result takes for a moment, at most. It took 2,075, of which the state of a blake3 is
# 1,968; 2,456 when it was awaited, 3,050 with an observer.
PASSING = 4096

# What a process imports that only hits: of others' modules these, and none that is for misses, or for somebody else.
IMPORTED = {"perscache", "blake3", "pluggy", "xxhash"}
NOT_IMPORTED = """
perscache.cli perscache.pytest_plugin perscache.testing
perscache.fingerprint.containers perscache.fingerprint.graph perscache.fingerprint.standard
perscache.storage.http perscache.storage.lease perscache.storage.memory perscache.storage.remote perscache.storage.tiers
asyncio concurrent.futures decimal difflib email fractions http importlib.metadata multiprocessing platform socket
sqlite3 ssl subprocess tempfile tomllib uuid
"""

BEGIN = """
import asyncio, gc, json, os, sys, threading, time, tracemalloc
from contextlib import contextmanager
from pathlib import Path
from perscache import Cache
from perscache.plugins import hookimpl

def plain(cache, **settings):
    @cache(**settings)
    def f(number):
        return {"number": number, "text": "y" * 50}
    return f

def coroutine(cache, **settings):
    @cache(**settings)
    async def f(number):
        return {"number": number, "text": "y" * 50}
    return f

def awaited(cache):
    f = coroutine(cache)
    asyncio.run(f(1))
    def without_loop(number):
        try:
            f(number).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("the hit waits for something")
    return without_loop

class Observer:
    @hookimpl
    def perscache_hit(self, call):
        pass

files = Cache("json", "files")
memory = Cache("json", "memory://")
calls = {
    "of JSON": plain(files),
    "of a pickle": plain(Cache("pickle", "files")),
    "with a ttl": plain(Cache("json", "files", ttl="1h")),
    "with a limit": plain(Cache("json", "limited", max_size="1GB")),
    "with an observer": plain(Cache("json", "files", observers=[Observer()])),
    "in the first tier": plain(Cache("json", ["files", "far"])),
    "in memory": plain(memory),
    "in a tier in memory": plain(Cache("json", ["memory://", "files"])),
    "awaited": awaited(files),
    "awaited in memory": awaited(memory),
    "of a megabyte": Cache("pickle", "files")(lambda number: b"x" * 1_000_000),
    "of four megabytes": Cache("pickle", "files")(lambda number: b"x" * 4_000_000),
}
# Of the storage with a limit the oldest use is 100 hours ago, and that of another result two.
limited = calls["with a limit"]
for number, hours in (2, 2), (3, 100):
    limited(number)
    then = time.time() - hours * 3600
    os.utime(Path("limited", limited.cache.key(number)), (then, then))
Cache("json", "limited", max_size="1GB").storage.prune()  # counts anew
for f in calls.values():
    f(1), f(1)
gc.disable()
"""


@pytest.fixture
def counted(script: Callable[..., str]) -> Callable[[str], Any]:
    """What a program that begins with `BEGIN` prints as JSON."""
    return lambda program: json.loads(script(BEGIN + program))


# --- System calls.

TRACED = """
@contextmanager
def counted(what):
    os.access(f"/counted/{what}", os.F_OK)
    yield
    os.access("/counted/", os.F_OK)

for what, f in calls.items():
    with counted(f"hit {what}"):
        for _ in range(10):
            f(1)
with counted("hit after two hours"):
    for _ in range(10):
        limited(2)

misses = {
    "of one more call": plain(files, name="one"),
    "without single flight": plain(files, name="alone", lock=False),
    "with a limit": limited,
}
for what, f in misses.items():
    f(11), f(12)
    with counted(f"miss {what}"):
        for number in range(20, 30):
            f(number)
functions = [plain(files, name=f"first{number}") for number in range(10)]
with counted("miss of a first call"):
    for f in functions:
        f(1)
"""

# Of memory, of clocks where the system has to be asked for the time, and of waiting for other threads.
IGNORED = re.compile(r"brk|m\w*map|madvise|mprotect|clock_gettime|gettimeofday|futex")
# Machines and versions of the C library differ in how they make a call.
ALIKE = {
    "open": "openat",
    "stat": "newfstatat lstat statx",
    "access": "faccessat faccessat2",
    "mkdir": "mkdirat",
    "rename": "renameat renameat2",
    "read": "readv",
    "write": "writev",
    "pread": "pread64",
    "pwrite": "pwrite64",
}
KINDS = {name: kind for kind, names in ALIKE.items() for name in names.split()}


@pytest.fixture(scope="module")
def system_calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Those of ten hits or misses each, of all threads together."""
    if not sys.platform.startswith("linux") or shutil.which("strace") is None:
        pytest.skip("strace, which is Linux, is not installed")
    folder = tmp_path_factory.mktemp("traced")
    (folder / "program.py").write_text(BEGIN + TRACED)
    done = subprocess.run(
        ["strace", "-f", "-o", "log", sys.executable, "program.py"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PERSCACHE_")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        pytest.skip(f"processes may not be traced here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    counts: dict[str, Counter[str]] = {}
    what = ""
    for line in (folder / "log").read_text(errors="replace").splitlines():
        if mark := re.search(r'"/counted/(.*?)"', line):
            what = mark[1]
            counts[what] = Counter()
        elif what and (call := re.match(r"\d+ +(\w+)\((\d)?", line)) and not IGNORED.fullmatch(call[1]):
            kind = KINDS.get(call[1], call[1])
            of_a_descriptor = kind == "stat" and call[2]
            counts[what]["fstat" if of_a_descriptor else kind] += 1
    return counts


def ten(counter: Counter[str]) -> Counter[str]:
    return Counter({kind: 10 * count for kind, count in counter.items()})


@pytest.mark.parametrize("what", HITS)
def test_a_hit_makes_these_system_calls_and_no_other(system_calls, what):
    assert system_calls[f"hit {what}"] == ten(HITS[what])


def test_under_a_limit_a_result_that_was_not_used_for_hours_is_marked_once(system_calls):
    assert system_calls["hit after two hours"] == ten(READ) + Counter(utimensat=1)


@pytest.mark.parametrize("what", MISSES)
def test_a_miss_makes_no_more_than_these_system_calls(system_calls, what):
    counted = system_calls[f"miss {what}"]
    assert counted <= ten(MISSES[what]), ", ".join(f"{kind}={count / 10:g}" for kind, count in counted.items())


# --- Files.


def test_a_hit_opens_one_file_and_lists_no_folder(counted):
    program = """
listening = None

@sys.addaudithook
def hear(event, _):
    if listening is not None and event in ("open", "os.listdir", "os.scandir"):
        listening.append(event)

heard = {what: [] for what in calls}
for what, f in calls.items():
    listening = heard[what]
    f(1)
listening = None
print(json.dumps(heard))
"""
    assert counted(program) == {what: ["open"] * HITS[what]["open"] for what in HITS}


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("settings", [{}, {"max_size": "1GB"}], ids=["no limit", "limit"])
def test_a_call_leaves_one_file_and_a_function_one_more(settings, tmp_path):
    cache = Cache("json", tmp_path / "cache", **settings)

    @cache(name="f")
    def f(x):
        return x

    @cache(name="g")
    def g(x):
        return x

    f(0)
    of_all = {".gitignore", "CACHEDIR.TAG", ".state/lock", *([".state/usage"] if settings else [])}
    of_f = {"f/.index.jsonl", f.cache.key(0)}
    assert files(tmp_path / "cache") == of_all | of_f
    for x in range(300):
        f(x)
    of_f |= {f.cache.key(x) for x in range(300)}
    assert files(tmp_path / "cache") == of_all | of_f
    g(0)
    assert files(tmp_path / "cache") == of_all | of_f | {"g/.index.jsonl", g.cache.key(0)}


# --- Modules.


@pytest.mark.parametrize("serializer", ["json", "pickle", "cloudpickle"])
def test_a_process_that_only_hits_imports_nothing_that_is_for_misses(script, serializer):
    program = f"""
import sys
before = set(sys.modules)
from perscache import Cache

@Cache({serializer!r}, "files", max_size="1GB")
def f(x, y):
    return {{"x": x, "y": y}}

ready = set(sys.modules)
f(1, y=2.5)
import json
print(json.dumps([f.cache_info().hits, sorted(ready - before), sorted(set(sys.modules) - ready)]))
"""
    assert json.loads(script(program))[0] == 0
    hits, imported, by_the_hit = json.loads(script(program))
    assert (hits, by_the_hit) == (1, [])
    assert {name.partition(".")[0] for name in imported} - sys.stdlib_module_names <= IMPORTED
    assert set(NOT_IMPORTED.split()) & set(imported) == set()


def test_the_modules_that_hits_do_without_exist():
    assert [name for name in NOT_IMPORTED.split() if find_spec(name) is None] == []


# --- Memory and threads.


def test_hits_keep_no_memory(counted):
    program = """
def kept(f):
    before = sys.getallocatedblocks()
    for _ in range(300):
        f(1)
    return sys.getallocatedblocks() - before

# The first rounds fill what Python keeps to use again.
print(json.dumps({what: [kept(f) for _ in range(4)] for what, f in calls.items()}))
"""
    # A few blocks are the loop's own numbers; one kept by each hit would be 300.
    assert {what: blocks for what, blocks in counted(program).items() if min(blocks) > 30} == {}


def test_a_hit_of_a_small_result_takes_little_memory_for_a_moment(counted):
    program = """
taken = {}
for what, f in calls.items():
    tracemalloc.start()
    f(1)
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    f(1)
    taken[what] = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
print(json.dumps(taken))
"""
    taken = counted(program)
    assert taken.pop("of a megabyte") > 1_000_000
    assert taken.pop("of four megabytes") > 4_000_000
    assert {what: size for what, size in taken.items() if size > PASSING} == {}


def test_neither_hits_nor_misses_leave_work_to_the_collector(counted):
    program = """
async def collected(f):
    await f(1)
    gc.collect()
    for number in 1, 2, 3:
        await f(number), await f(number)
    return gc.collect()

found = {}
for what, f in calls.items():
    gc.collect()
    for _ in range(10):
        f(1)
    found[f"hits {what}"] = gc.collect()
del calls["awaited"], calls["awaited in memory"]
calls["alone"] = plain(files, name="alone", lock=False)
for place, (what, f) in enumerate(calls.items()):
    f(100 * place + 10)
    gc.collect()
    for number in range(20, 30):
        f(100 * place + number)
    found[f"misses {what}"] = gc.collect()
for what, cache in {"in files": files, "in memory": memory}.items():
    found[f"awaited {what}"] = asyncio.run(collected(coroutine(cache, name="alike")))
print(json.dumps(found))
"""
    found = counted(program)
    assert {what: number for what, number in found.items() if number} == {}


def test_neither_hits_nor_plain_misses_start_a_thread(counted):
    program = """
started = []

class Thread(threading.Thread):
    def start(self):
        started.append(self)
        super().start()

threading.Thread = Thread

for f in calls.values():
    f(1)
for number, (what, f) in enumerate(calls.items()):
    if not what.startswith("awaited"):
        f(10 + number)
quiet = len(started)
threading.Thread(target=int).start()
print(json.dumps([quiet, len(started)]))
"""
    assert counted(program) == [0, 1]


# --- Functions of Python.


def test_a_hit_calls_few_functions_and_none_for_observers_that_are_not_there(counted):
    program = """
import perscache

ours = os.path.dirname(perscache.__file__)

def called(f):
    names = []
    def profile(frame, event, _):
        if event == "call":
            code = frame.f_code
            names.append((code.co_filename, code.co_qualname))
    sys.setprofile(profile)
    f(1)
    sys.setprofile(None)
    return names

found = {}
for what, f in calls.items():
    names = called(f)
    found[what] = [name for file, name in names if file.startswith((ours, "<"))], [
        name for file, name in names if os.path.basename(file) == "events.py" or "pluggy" in file
    ]
print(json.dumps(found))
"""
    found = counted(program)
    assert len(found["with an observer"][1]) > 5
    for what, most in FUNCTIONS.items():
        functions, of_events = found[what]
        assert len(functions) <= most, functions
        assert set(of_events) <= {"Observers.active"}

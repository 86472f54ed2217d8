"""One computation a key among processes: locks that no dead process leaves behind, and no wait without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and process groups of POSIX")

# Each run of a function leaves one line in the file "runs".
COMMON = """
import asyncio, os, sys, threading, time
from pathlib import Path
from perscache import Cache

cache = Cache("json", "cache", track="source")

def ran(name):
    fd = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{name}\\n".encode())
    os.close(fd)

def meet(count):
    Path(f"here-{os.getpid()}").touch()
    while len(list(Path().glob("here-*"))) < count:
        time.sleep(0.001)
"""


def start(source: str) -> subprocess.Popen[str]:
    # All processes of a test are of one script; one that is just starting must not find it half written.
    if not Path("script.py").exists():
        Path("script.py").write_text(COMMON + source)
    return subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def runs() -> Counter[str]:
    return Counter(Path("runs").read_text().split())


def test_processes_and_threads_that_ask_together_compute_each_key_once():
    source = """
@cache
def slow(x):
    ran(x)
    time.sleep(0.02)
    return x

meet(6)
def work():
    assert [slow(x) for x in range(20)] == list(range(20))
threads = [threading.Thread(target=work) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for process in [start(source) for _ in range(6)]:
        finish(process)
    assert runs() == {str(x): 1 for x in range(20)}


def test_tasks_in_several_processes_compute_once():
    source = """
@cache
async def slow(x):
    ran(x)
    await asyncio.sleep(0.2)
    return x

async def main():
    assert await asyncio.gather(*(slow(x % 3) for x in range(60))) == [x % 3 for x in range(60)]

meet(3)
asyncio.run(main())
"""
    for process in [start(source) for _ in range(3)]:
        finish(process)
    assert runs() == {"0": 1, "1": 1, "2": 1}


def test_a_waiter_whose_leader_is_killed_computes_itself():
    source = """
@cache
def slow():
    ran("slow")
    time.sleep(0.1 if Path("killed").exists() else 60)
    return "done"

print(slow())
"""
    leader = start(source)
    while not Path("runs").exists():
        time.sleep(0.01)
    waiter = start(source)
    time.sleep(0.5)
    assert waiter.poll() is None
    Path("killed").touch()
    leader.send_signal(signal.SIGKILL)
    leader.communicate()
    assert finish(waiter) == "done\n"
    assert runs() == {"slow": 2}


def test_functions_of_two_processes_that_ask_for_each_other_never_wait_for_ever():
    source = """
@cache
def ping():
    ran("ping")
    meet(2)
    return pong() if os.environ["FIRST"] == "ping" else "end of ping"

@cache
def pong():
    ran("pong")
    meet(2)
    return ping() if os.environ["FIRST"] == "pong" else "end of pong"

print({"ping": ping, "pong": pong}[os.environ["FIRST"]]())
"""
    processes = []
    for first in ("ping", "pong"):
        os.environ["FIRST"] = first
        processes.append(start(source))
    del os.environ["FIRST"]
    assert all(finish(process).startswith("end of") for process in processes)
    assert not list(Path("cache/.state/waiting").iterdir())


def test_without_lock_each_process_computes():
    source = """
@cache(lock=False)
def slow():
    ran("slow")
    meet(2)

slow()
"""
    for process in [start(source) for _ in range(2)]:
        finish(process)
    assert runs() == {"slow": 2}


def test_a_hit_waits_for_no_lock():
    source = """
@cache
def quick():
    return 1

quick()
if os.environ.get("HOLD"):
    assert cache.storage.lock(quick.cache.key()).acquire(())
    ran("held")
    time.sleep(60)
"""
    os.environ["HOLD"] = "1"
    holder = start(source)
    del os.environ["HOLD"]
    while not Path("runs").exists():
        time.sleep(0.01)
    assert finish(start(source)) == ""
    assert holder.poll() is None
    holder.kill()
    holder.communicate()


def test_a_broken_lock_file_costs_no_result():
    Path("cache/.state/lock").mkdir(parents=True)
    assert finish(start("print(cache(lambda: 7)())")) == "7\n"

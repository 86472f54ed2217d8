"""One computation a key among machines: on a real server, on the strict one, between processes, and in trouble."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from perscache import Cache
from perscache.errors import PerscacheWarning
from perscache.storage.base import Lock
from perscache.storage.lease import Lease, Leases
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket, StrictServer

LEASES = "perscache.leases/"


@pytest.fixture(autouse=True)
def _quiet_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test leaves a thread that renews a lease or gives it back."""
    kept: list[tuple[Leases, Lease]] = []
    keep = Leases.keep

    def remember(owner: Leases, lease: Lease, every: float) -> None:
        kept.append((owner, lease))
        keep(owner, lease, every)

    monkeypatch.setattr(Leases, "keep", remember)
    yield
    for owner, lease in kept:
        owner.drop(lease)
    settle()


def settle() -> None:
    for thread in threading.enumerate():
        if thread.name == "perscache-lease":
            thread.join(30)
            assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def on(server: StrictServer, **options: object) -> GoogleCloudStorage:
    return GoogleCloudStorage("bucket/folder", endpoint_url=server.endpoint, **options)  # type: ignore[arg-type]


def lock_of(storage: GoogleCloudStorage, path: str = "f/a.json") -> Lock:
    lock = storage.lock(path)
    assert lock is not None
    return lock


def leases(server: StrictServer) -> list[str]:
    return [name for name in list(server.objects) if LEASES in name]


@pytest.fixture(params=["real", "strict"])
def machines(request: pytest.FixtureRequest) -> list[GoogleCloudStorage]:
    """Sixteen machines on one bucket of either server."""
    if request.param == "strict":
        server = request.getfixturevalue("strict_gcs")
        return [on(server) for _ in range(16)]
    bucket: Bucket = request.getfixturevalue("gcs_bucket")
    return [GoogleCloudStorage(f"{bucket.name}/folder", endpoint_url=bucket.endpoint) for _ in range(16)]


# --- Who holds it.


def race(machines: list[GoogleCloudStorage], path: str) -> list[bool | None]:
    barrier = threading.Barrier(len(machines))

    def ask(storage: GoogleCloudStorage) -> bool | None:
        barrier.wait()
        return lock_of(storage, path).acquire(())

    with ThreadPoolExecutor(len(machines)) as pool:
        return list(pool.map(ask, machines))


def test_of_sixteen_that_create_one_wins(machines: list[GoogleCloudStorage]):
    for number in range(5):
        assert sorted(race(machines, f"f/{number}.json"), key=str) == [None] * 15 + [True]


def test_of_sixteen_that_take_over_one_wins(machines: list[GoogleCloudStorage]):
    for number in range(5):
        put_lapsed(machines[0], f"f/{number}.json")
        assert sorted(race(machines, f"f/{number}.json"), key=str) == [None] * 15 + [True]


def put_lapsed(storage: GoogleCloudStorage, path: str) -> None:
    body = json.dumps({"nonce": "of one that died", "term": 0, "waits": []}).encode()
    storage._wait(partial(storage._put_if, f"folder/{LEASES}{path}", body, None, 30))


def test_a_lease_is_given_back_only_by_its_holder(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    slow = lock_of(strict)
    assert slow.acquire(())
    strict_gcs.clock_offset += 31
    successor = lock_of(on(strict_gcs))
    assert successor.acquire(())

    slow.release()
    settle()
    assert leases(strict_gcs) == [f"folder/{LEASES}f/a.json"]
    successor.release()
    settle()
    assert leases(strict_gcs) == []


def test_a_create_whose_reply_was_lost_is_ours(strict_gcs: StrictServer):
    lock = lock_of(on(strict_gcs, timeout=20))
    strict_gcs.faults.append("lost reply")

    assert lock.acquire(())
    asked = [" ".join(request.split()[:2]) for request in strict_gcs.requests]
    assert asked == ["POST multipart", "POST multipart", "GET media"]
    lock.release()
    settle()
    assert leases(strict_gcs) == []


def test_renewals_keep_to_one_write_a_second(strict_gcs: StrictServer, caplog: pytest.LogCaptureFixture):
    strict_gcs.one_write_a_second = True
    lock = lock_of(on(strict_gcs, lease=3))
    assert lock.acquire(())
    (name,) = leases(strict_gcs)
    first = strict_gcs.objects[name].generation
    strict_gcs.forget()
    until(lambda: len(strict_gcs.requests) == 2)
    lock.release()
    settle()

    assert strict_gcs.requests == [f"POST multipart {name}"] * 2 + [f"DELETE object {name}"]
    written = [int(query["ifGenerationMatch"]) for query in strict_gcs.queries]
    assert written[0] == first
    assert written[0] + 1e6 <= written[1]
    assert written[1] + 1e6 <= written[2]
    assert caplog.text == ""


# --- What a call costs.


def test_a_miss_is_five_requests_one_of_them_in_the_background(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    @Cache("json", strict, on_error="raise")
    def double(x: int) -> int:
        return 2 * x

    def asked(x: int) -> list[str]:
        strict_gcs.forget()
        double(x)
        settle()
        return [f"{request.split()[0]}{' lease' * (LEASES in request)}" for request in strict_gcs.requests]

    miss = ["GET", "POST lease", "GET", "POST", "DELETE lease"]
    # The first one of a process also finds out whether the server keeps conditions.
    assert asked(0) == ["GET", "POST lease", *miss[1:]]
    assert asked(1) == miss
    assert asked(1) == ["GET"]
    assert asked(2) == miss


# --- Between processes.

COMMON = """
import asyncio, os, sys, threading, time
from pathlib import Path
shift = float(os.environ.get("SHIFT", 0))
if shift:
    ours = time.time
    time.time = lambda: ours() + shift
from perscache import Cache
from perscache_gcs import GoogleCloudStorage

lease = os.environ.get("LEASE", "30s")
storage = GoogleCloudStorage(f"{sys.argv[2]}/folder", endpoint_url=sys.argv[1], lease=lease)
cache = Cache("json", storage, on_error="raise")

def ran(name):
    with open("runs", "a") as file:
        file.write(f"{name}\\n")

def meet(count):
    Path(f"here-{os.getpid()}").touch()
    while len(list(Path().glob("here-*"))) < count:
        time.sleep(0.01)
"""


class Processes:
    """Processes of one script in a folder of their own, on one bucket."""

    def __init__(self, folder: Path, bucket: Bucket) -> None:
        self.folder = folder
        self.bucket = bucket
        self.started: list[subprocess.Popen[str]] = []

    def start(self, source: str, *options: str, **environment: str) -> subprocess.Popen[str]:
        script = self.folder / "script.py"
        if not script.exists():
            script.write_text(COMMON + source)
        command = [sys.executable, *options, str(script), self.bucket.endpoint, self.bucket.name]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> str:
        """What it printed; it ends well, and without a complaint."""
        out, err = process.communicate(timeout=120)
        # asyncio's debug mode also tells of slow machines.
        complaints = [line for line in err.splitlines() if not re.match(r"Executing <.*> took \S+ seconds", line)]
        assert (process.returncode, complaints) == (0, [])
        return out

    def runs(self) -> Counter[str]:
        file = self.folder / "runs"
        return Counter(file.read_text().split() if file.exists() else ())

    def leases(self) -> list[str]:
        import urllib.request

        with urllib.request.urlopen(f"{self.bucket.endpoint}/storage/v1/b/{self.bucket.name}/o", timeout=10) as answer:
            return [each["name"] for each in json.load(answer).get("items", ()) if LEASES in each["name"]]


@pytest.fixture
def processes(tmp_path: Path, gcs_bucket: Bucket) -> Iterator[Processes]:
    made = Processes(tmp_path, gcs_bucket)
    yield made
    for process in made.started:
        process.kill()
        process.communicate(timeout=10)


def test_processes_and_threads_that_ask_together_compute_each_key_once(processes: Processes):
    source = """
@cache
def slow(x):
    ran(x)
    time.sleep(0.02)
    return x

meet(2)
def work():
    assert [slow(x) for x in range(10)] == list(range(10))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for process in [processes.start(source) for _ in range(2)]:
        processes.finish(process)
    assert processes.runs() == {str(x): 1 for x in range(10)}
    assert processes.leases() == []


def test_tasks_in_several_processes_compute_once(processes: Processes):
    source = """
@cache
async def slow(x):
    ran(x)
    await asyncio.sleep(0.2)
    return x

async def main():
    assert await asyncio.gather(*(slow(x % 3) for x in range(30))) == [x % 3 for x in range(30)]

meet(2)
asyncio.run(main())
"""
    for process in [processes.start(source) for _ in range(2)]:
        processes.finish(process)
    assert processes.runs() == {"0": 1, "1": 1, "2": 1}
    assert processes.leases() == []


def test_machines_whose_clocks_are_an_hour_apart_compute_once(processes: Processes):
    source = """
@cache
def slow():
    ran("slow")
    time.sleep(2)
    return "done"

meet(3)
print(slow())
"""
    for process in [processes.start(source, SHIFT=shift) for shift in ("-3600", "0", "3600")]:
        assert processes.finish(process) == "done\n"
    assert processes.runs() == {"slow": 1}


def test_a_holder_that_is_killed_is_taken_over_when_its_term_ends(processes: Processes):
    source = """
@cache
def slow():
    ran("slow")
    time.sleep(0 if Path("killed").exists() else 90)
    return "done"

print(slow())
"""
    holder = processes.start(source, SHIFT="-3600", LEASE="3s")
    until(processes.runs)
    waiter = processes.start(source, SHIFT="3600", LEASE="3s")
    time.sleep(1)
    assert processes.runs() == {"slow": 1}
    (processes.folder / "killed").touch()
    holder.send_signal(signal.SIGKILL)

    assert processes.finish(waiter) == "done\n"
    assert processes.runs() == {"slow": 2}
    assert processes.leases() == []


END = """
fail = 0
def end():
    if isinstance(fail, BaseException):
        raise fail
    return fail

@cache
def f():
    ran("f")
    time.sleep(end() or 0.1)

@cache
async def g():
    ran("g")
    await asyncio.sleep(end() or 0.1)

async def left():
    task = asyncio.create_task(g())
    while not Path("runs").exists():
        await asyncio.sleep(0.01)

def in_daemon():
    threading.Thread(target=f, daemon=True).start()
    while not Path("runs").exists():
        time.sleep(0.01)

"""


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("f()", 0),
        ("asyncio.run(g())", 0),
        ("fail = SystemExit(0); f()", 0),
        ("fail = 60; asyncio.run(left())", 0),
        ("fail = 60; in_daemon()", 1),
    ],
    ids=["a result", "a coroutine", "an exit inside", "a task that was left", "a daemon thread"],
)
def test_a_process_ends_without_a_word_and_its_leases_with_it(processes: Processes, end: str, left: int):
    processes.finish(processes.start(END + end, "-X", "dev", "-W", "error"))

    assert len(processes.leases()) == left


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_forked_while_computing_leaves_the_lease_alone(processes: Processes):
    source = """
@cache
def slow():
    ran("slow")
    if not (child := os.fork()):
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    time.sleep(2)
    return "done"

print(slow())
"""
    holder = processes.start(source, "-W", "ignore")
    until(processes.runs)
    waiter = processes.start(source, "-W", "ignore")
    assert [processes.finish(process) for process in (holder, waiter)] == ["done\n"] * 2
    assert processes.runs() == {"slow": 1}
    assert processes.leases() == []


# --- In trouble.


class Faulty:
    """A function whose lease meets a fault at one stage."""

    def __init__(self, server: StrictServer, stage: str, fault: str) -> None:
        self.server, self.stage, self.fault = server, stage, fault
        if stage == "acquire":
            self.begin()

    def __cache_key__(self) -> str:
        """It is no part of a key."""
        return "faulty"

    def begin(self) -> None:
        self.server.where[LEASES] = self.fault

    def __call__(self, x: int) -> int:
        asked = len(self.server.requests)
        self.begin()
        until(lambda: self.stage != "renew" or len(self.server.requests) > asked)
        return 2 * x


FAULTS = [
    *[("acquire", fault, "sync") for fault in ("503", "429", "stall", "reset", "lost reply")],
    *[(stage, fault, "sync") for stage in ("renew", "release") for fault in ("503", "stall")],
    ("release", "lost reply", "sync"),
    *[(stage, "stall", "async") for stage in ("acquire", "renew", "release")],
]


@pytest.mark.parametrize(("stage", "fault", "colour"), FAULTS)
def test_the_result_is_returned_whatever_happens_to_its_lease(
    strict_gcs: StrictServer, caplog: pytest.LogCaptureFixture, stage: str, fault: str, colour: str
):
    storage = on(strict_gcs, timeout=0.4, lease=3)
    storage.write("f/warm.json", b"")
    compute = Faulty(strict_gcs, stage, fault)

    def f(x: int) -> int:
        return compute(x)

    async def g(x: int) -> int:
        return await asyncio.to_thread(compute, x)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = Cache("json", storage)(f)(4) if colour == "sync" else asyncio.run(Cache("json", storage)(g)(4))
        settle()

    assert result == 8
    told = [str(warning.message) for warning in caught if warning.category is PerscacheWarning]
    stored = [name for name in strict_gcs.objects if LEASES not in name and "warm" not in name]
    if stage == "acquire":
        assert [text.split(":")[1].split()[0] for text in told] == ["write"]
        assert stored == []
    else:
        assert told == []
        assert len(stored) == 1
    # A lost reply is found out by looking, and a release that was done is done.
    if stage == "renew" or (stage == "release" and fault != "lost reply"):
        assert "lease of" in caplog.text


def test_who_is_cancelled_gives_back(strict: GoogleCloudStorage, strict_gcs: StrictServer):
    @Cache("json", strict)
    async def f(x: int) -> int:
        await asyncio.sleep(60)
        return x

    async def give_up() -> None:
        task = asyncio.create_task(f(7))
        while not leases(strict_gcs):  # noqa: ASYNC110 - the server runs in threads
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    settle()
    assert leases(strict_gcs) == []

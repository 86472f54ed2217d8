"""Leases, on a server of one dictionary that keeps the conditions of writes. Each storage is a machine of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from perscache import Cache
from perscache.errors import ConfigurationError, PerscacheWarning, StorageError, Unsupported
from perscache.storage import lease as leases
from perscache.storage.base import Lock
from perscache.storage.lease import Lease, Leases
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage


class Server:
    """What all machines see."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[Listed, bytes]] = {}
        self.generations = itertools.count(1)
        self.asked: list[str] = []
        self.ahead = 0.0
        """Seconds by which its clock is ahead of ours."""
        self.lock = threading.RLock()
        self.before: Callable[[str], None] = lambda _: None
        """Called with each request, ``"get f/a.json"``."""
        self.after: Callable[[str], None] = lambda _: None
        """Called when it is done, before the reply."""
        self.ignores_conditions = False

    def now(self) -> float:
        return time.time() + self.ahead

    def leases(self) -> list[str]:
        return [name for name in list(self.objects) if "perscache.leases/" in name]


class Machine(RemoteStorage):
    """One that asks the server."""

    schemes = ("shelf",)
    conditional = True
    numbers = itertools.count()

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__("bucket/folder", **options)
        self.server = server
        self.number = next(self.numbers)

    @property
    def identity(self) -> str:
        """Another one for each, so that single flight in this process does not help."""
        return f"{self.url}@{self.number}"

    def _ask(self, deed: str, name: str, act: Callable[[], Any]) -> Any:
        request = f"{deed} {name.removeprefix('folder/')}"
        self.server.before(request)
        with self.server.lock:
            self.server.asked.append(request)
            answer = act()
        self.server.after(request)
        return answer

    def _get(self, name: str) -> Any:
        def get() -> Found:
            if name not in self.server.objects:
                raise FileNotFoundError(name)
            listed, body = self.server.objects[name]
            return Found(body, listed.created, self.server.now(), listed.metadata, listed.generation)

        return self._ask("get", name, get)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> Any:
        return self._ask("put", name, lambda: self._keep(name, data, metadata))

    def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> Any:
        def put() -> str:
            there = self.server.objects[name][0].generation if name in self.server.objects else None
            if there != generation and not self.server.ignores_conditions:
                raise FileExistsError(name)
            return self._keep(name, data, {})

        return self._ask("put_if", name, put)

    def _keep(self, name: str, data: bytes, metadata: Mapping[str, str]) -> str:
        generation = str(next(self.server.generations))
        self.server.objects[name] = Listed(name, len(data), self.server.now(), generation, metadata), data
        return generation

    def _stat(self, name: str) -> Any:
        def stat() -> Listed:
            if name not in self.server.objects:
                raise FileNotFoundError(name)
            return self.server.objects[name][0]

        return self._ask("stat", name, stat)

    def _list(self, prefix: str, token: str | None) -> Any:
        found = [listed for name, (listed, _) in sorted(self.server.objects.items()) if name.startswith(prefix)]
        return self._ask("list", prefix, lambda: Page(found, None, self.server.now()))

    def _remove(self, name: str, generation: str | None) -> Any:
        def remove() -> bool:
            there = self.server.objects.get(name)
            if there is None or generation not in (None, there[0].generation):
                return False
            del self.server.objects[name]
            return True

        return self._ask("remove", name, remove)

    def _no_bucket(self) -> str:
        return "there is no bucket"


@pytest.fixture
def server() -> Server:
    return Server()


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
            thread.join(10)
            assert not thread.is_alive()


def machine(server: Server, term: float = 30.0, **options: Any) -> Machine:
    """A machine whose bucket is known to exist."""
    made = Machine(server, **options)
    made.lease = term
    made._now_live().probed = True
    return made


def lock_of(storage: Machine, path: str = "f/a.json") -> Lock:
    lock = storage.lock(path)
    assert lock is not None
    return lock


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def run_all(*deeds: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(deeds)) as pool:
        return [future.result(120) for future in [pool.submit(deed) for deed in deeds]]


# --- Who holds it.


def race(server: Server) -> list[bool | None]:
    barrier = threading.Barrier(16)
    locks = [lock_of(machine(server)) for _ in range(16)]

    def create(lock: Lock) -> bool | None:
        barrier.wait()
        return lock.acquire(())

    return run_all(*[lambda lock=lock: create(lock) for lock in locks])


def test_of_sixteen_that_create_one_wins(server: Server):
    for _ in range(5):
        server.objects.clear()
        assert sorted(race(server), key=str) == [None] * 15 + [True]


def test_of_sixteen_that_take_over_one_wins(server: Server):
    for _ in range(5):
        server.objects.clear()
        assert lock_of(machine(server)).acquire(())
        server.ahead += 31
        assert sorted(race(server), key=str) == [None] * 15 + [True]


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_age_is_the_server_s_business(server: Server, ahead: float):
    server.ahead = ahead
    assert lock_of(machine(server)).acquire(())
    assert lock_of(machine(server)).acquire(()) is None
    server.ahead += 29
    assert lock_of(machine(server)).acquire(()) is None
    server.ahead += 2
    assert lock_of(machine(server)).acquire(())


def test_the_holder_s_own_term_counts(server: Server):
    assert lock_of(machine(server, 300)).acquire(())
    server.ahead += 200
    assert lock_of(machine(server, 30)).acquire(()) is None
    server.ahead += 101
    assert lock_of(machine(server, 3000)).acquire(())


def test_an_object_that_is_no_lease_lapses_too(server: Server):
    storage = machine(server)
    for body in (b"", b"{}", b"[1]", b'{"nonce": 1, "term": "long", "waits": []}', b"\xff"):
        storage._keep("folder/perscache.leases/f/a.json", body, {})
        assert lock_of(machine(server)).acquire(()) is None
        server.ahead += 31
        assert lock_of(machine(server)).acquire(())


def test_a_create_whose_reply_was_lost_is_ours(server: Server):
    storage = machine(server)

    def lose(request: str) -> None:
        # The client library tried again, and found what the first attempt had made.
        if request.startswith("put_if"):
            server.after = lambda _: None
            raise FileExistsError(request)

    server.after = lose
    lock = lock_of(storage)
    assert lock.acquire(())
    lock.release()
    settle()
    assert server.leases() == []


def test_a_take_over_whose_reply_was_lost_is_ours(server: Server):
    assert lock_of(machine(server)).acquire(())
    server.ahead += 31
    test_a_create_whose_reply_was_lost_is_ours(server)


def test_only_our_own_is_given_back(server: Server):
    slow = lock_of(machine(server))
    assert slow.acquire(())
    server.ahead += 31
    assert lock_of(machine(server)).acquire(())
    slow.release()
    settle()

    assert server.leases() == ["folder/perscache.leases/f/a.json"]
    assert lock_of(machine(server)).acquire(()) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_gives_nothing_back(server: Server):
    lock = lock_of(machine(server))
    assert lock.acquire(())
    server.asked.clear()
    if not (child := os.fork()):
        lock.release()
        os._exit(len(server.asked) + threading.active_count() - 1)
    assert os.waitpid(child, 0)[1] == 0


# --- What a call does with it.


def test_a_miss_is_five_requests_and_a_hit_is_one(server: Server):
    storage = machine(server)
    double = Cache("json", storage)(lambda x: 2 * x)
    double(0)
    settle()
    for expected in (["get", "put_if", "get", "put", "remove"], ["get"]):
        server.asked.clear()
        double(1)
        settle()
        assert [request.split()[0] for request in server.asked] == expected


def test_the_first_lease_of_a_process_is_one_request_more(server: Server):
    assert lock_of(storage := machine(server)).acquire(())
    assert [request.split()[0] for request in server.asked] == ["put_if", "put_if"]
    assert lock_of(storage, "f/b.json").acquire(())
    assert [request.split()[0] for request in server.asked] == ["put_if"] * 3


class Functions:
    """One function on several machines, with the runs counted."""

    def __cache_key__(self) -> str:
        """What it counts is no part of a key."""
        return "functions"

    def __init__(self, server: Server, compute: Callable[[int], int], count: int = 2, term: float = 30.0) -> None:
        self.runs: list[int] = []
        self.compute = compute

        def f(x: int) -> int:
            self.runs.append(x)
            return self.compute(x)

        async def g(x: int) -> int:
            return await asyncio.to_thread(f, x)

        self.machines = [machine(server, term) for _ in range(count)]
        self.sync = [Cache("json", storage)(f) for storage in self.machines]
        tasks = [Cache("json", storage)(g) for storage in self.machines]
        self.tasks = [lambda x, task=task: asyncio.run(task(x)) for task in tasks]


@pytest.fixture(params=["sync", "tasks"])
def colour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_machines_that_ask_together_compute_once(server: Server, colour: str):
    functions = Functions(server, lambda x: time.sleep(0.3) or x, 8)

    assert run_all(*[lambda f=f: f(7) for f in getattr(functions, colour)]) == [7] * 8
    assert functions.runs == [7]
    settle()
    assert server.leases() == []


def test_many_keys_are_computed_once_each(server: Server):
    functions = Functions(server, lambda x: time.sleep(0.002) or x, 4)
    keys = list(range(50))

    run_all(*[lambda f=f: [f(x) for x in keys] for f in functions.sync for _ in range(2)])

    assert sorted(functions.runs) == keys


def test_a_result_that_was_stored_between_look_up_and_lease_is_taken(server: Server):
    functions = Functions(server, lambda x: x)
    first, second = functions.sync

    def overtaken(request: str) -> None:
        if request.startswith("put_if"):
            server.before = lambda _: None
            first(7)
            settle()

    server.before = overtaken
    assert second(7) == 7
    assert functions.runs == [7]


def test_a_waiter_takes_the_result_though_the_lease_is_never_given_back(server: Server, colour: str):
    functions = Functions(server, lambda x: x)
    key = functions.sync[0].cache.key(7) if colour == "sync" else None
    holder = machine(server)
    waiting = threading.Event()

    def watch(request: str) -> None:
        if request.startswith("get perscache.leases/"):
            waiting.set()

    def store() -> None:
        waiting.wait(90)
        path = key or next(name for name in server.leases()).removeprefix("folder/perscache.leases/")
        holder.write(path, b"8")

    server.after = watch
    if key is None:
        # Its lease is met where the call asks for it.
        def meet(request: str) -> None:
            if request.startswith("put_if"):
                server.before = lambda _: None
                assert lock_of(holder, request.removeprefix("put_if perscache.leases/")).acquire(())

        server.before = meet
    else:
        assert lock_of(holder, key).acquire(())

    assert run_all(lambda: getattr(functions, colour)[0](7), store)[0] == 8
    assert functions.runs == []


def test_when_the_holder_fails_the_next_one_computes(server: Server, colour: str):
    def fail_first(x: int) -> int:
        if len(functions.runs) == 1:
            until(lambda: any(request.startswith("get perscache.leases/") for request in server.asked))
            raise ValueError("the first one fails")
        return x

    functions = Functions(server, fail_first)

    def call(f: Callable[[int], int]) -> int | str:
        try:
            return f(7)
        except ValueError as error:
            return str(error)

    answers = run_all(*[lambda f=f: call(f) for f in getattr(functions, colour)])
    assert sorted(map(str, answers)) == ["7", "the first one fails"]
    assert functions.runs == [7, 7]


def test_one_who_died_is_taken_over_when_its_term_ends(server: Server, colour: str):
    functions = Functions(server, lambda x: x, 2, term=0.5)
    holder = machine(server, 0.5)

    def meet(request: str) -> None:
        if request.startswith("put_if"):
            server.before = lambda _: None
            holder._put_if(f"folder/{request.split()[1]}", b'{"nonce": "-", "term": 0.5, "waits": []}', None, 0.5)

    server.before = meet
    started = time.monotonic()
    assert getattr(functions, colour)[0](7) == 7
    assert time.monotonic() - started >= 0.5
    assert functions.runs == [7]


def test_patience_ends(server: Server, monkeypatch: pytest.MonkeyPatch, colour: str):
    monkeypatch.setattr(leases, "PATIENCE", 0.3)
    computing = threading.Barrier(2)
    functions = Functions(server, lambda x: computing.wait(90) * 0 + x)

    assert run_all(*[lambda f=f: f(7) for f in getattr(functions, colour)]) == [7, 7]
    assert functions.runs == [7, 7]


# --- As long as it takes.


def test_a_long_computation_keeps_its_lease(server: Server):
    functions = Functions(server, lambda x: time.sleep(2.5) or x, 4, term=1.5)

    assert run_all(*[lambda f=f: f(7) for f in functions.sync]) == [7] * 4
    assert functions.runs == [7]


def test_a_short_computation_renews_nothing_and_leaves_no_thread(server: Server):
    storage = machine(server, 0.3)
    before = set(threading.enumerate())
    Cache("json", storage)(lambda x: x)(7)
    settle()
    until(lambda: not set(threading.enumerate()) - before)

    assert [request.split()[0] for request in server.asked].count("put_if") == 2
    assert server.leases() == []


def test_each_write_has_a_nonce_of_its_own(server: Server):
    bodies: set[bytes] = set()
    server.after = lambda _: bodies.update(server.objects[name][1] for name in server.leases())
    lock = lock_of(machine(server, 0.3))
    assert lock.acquire(())
    until(lambda: len(bodies) >= 3)
    lock.release()
    settle()

    assert len({json.loads(body)["nonce"] for body in bodies}) == len(bodies)


def test_a_renewal_whose_reply_was_lost_is_no_loss(server: Server):
    lock = lock_of(machine(server, 0.3))
    assert lock.acquire(())
    renewed: list[str] = []

    def lose(request: str) -> None:
        if request.startswith("put_if"):
            renewed.append(request)
            raise (StorageError if len(renewed) % 2 else FileExistsError)(request)

    server.after = lose
    until(lambda: len(renewed) >= 5)
    server.after = lambda _: None
    lock.release()
    settle()
    assert server.leases() == []


def test_a_renewal_that_fails_costs_nothing_but_a_line_in_the_log(server: Server, caplog: pytest.LogCaptureFixture):
    failed: list[str] = []

    def fail(request: str) -> None:
        if len(server.asked) > 4 and request.startswith("put_if"):
            failed.append(request)
            raise StorageError("no answer")

    functions = Functions(server, lambda x: until(lambda: failed) or x, 1, term=0.3)
    server.before = fail
    assert functions.sync[0](7) == 7
    settle()

    assert "lease" in caplog.text
    assert "no answer" in caplog.text
    assert functions.sync[0].cache_info()[:2] == (0, 1)
    assert functions.sync[0](7) == 7
    assert functions.sync[0].cache_info()[:2] == (1, 1)


def test_who_lost_its_lease_says_so_and_renews_it_no_more(server: Server, caplog: pytest.LogCaptureFixture):
    slow = lock_of(machine(server, 3))
    assert slow.acquire(())
    server.ahead += 4
    assert lock_of(machine(server)).acquire(())
    until(lambda: "was taken over" in caplog.text)
    asked = len(server.asked)
    time.sleep(1.5)
    assert len(server.asked) == asked
    slow.release()


# --- No circle.


def test_functions_of_two_machines_that_ask_for_each_other_end(server: Server):
    machines = [machine(server, 0.6) for _ in range(2)]
    both_hold = threading.Barrier(2)
    inside = threading.local()

    def ping() -> str:
        return ask(1, "ping")

    def pong() -> str:
        return ask(0, "pong")

    def ask(other: int, name: str) -> str:
        if getattr(inside, "deep", False):
            return f"end of {name}"
        inside.deep = True
        both_hold.wait(90)
        return functions[inside.machine][other]()

    functions = [[Cache("json", storage)(f) for f in (ping, pong)] for storage in machines]

    def start(number: int) -> str:
        inside.machine = number
        return functions[number][number]()

    started = time.monotonic()
    answers = run_all(lambda: start(0), lambda: start(1))
    assert all(answer.startswith("end of") for answer in answers)
    assert time.monotonic() - started < 30


def test_who_holds_a_lease_waits_longer_than_a_term_where_there_is_no_circle(server: Server):
    machines = [machine(server, 1.5) for _ in range(2)]
    runs: list[str] = []

    def table() -> int:
        runs.append("table")
        time.sleep(2.5)
        return 1

    def report(name: str) -> str:
        until(lambda: "table" in runs)
        return f"{name} {tables[name]()}"

    tables = dict(zip("ab", [Cache("json", storage)(table) for storage in machines], strict=True))
    reports = [Cache("json", storage)(report) for storage in machines]

    assert run_all(tables["a"], lambda: reports[1]("b")) == [1, "b 1"]
    assert runs == ["table"]


# --- Trouble.


def test_trouble_costs_the_lease_and_one_warning(server: Server, colour: str):
    functions = Functions(server, lambda x: x, 1)

    def fail(request: str) -> None:
        if request.startswith("put_if"):
            raise StorageError("no answer")

    server.before = fail
    with pytest.warns(PerscacheWarning, match="write failed.*no answer") as warned:
        assert getattr(functions, colour)[0](7) == 7
    assert len(warned) == 1


def test_a_refusal_leaves_reading_and_writing_alone(server: Server):
    functions = Functions(server, lambda x: x, 1)

    def refuse(request: str) -> None:
        if request.startswith("put_if"):
            raise Refused("may not write there")

    server.before = refuse
    with pytest.warns(PerscacheWarning, match="lock failed, other processes may compute the same.*may not write there"):
        assert [functions.sync[0](x) for x in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert functions.runs == [1, 2]


def test_a_server_that_ignores_conditions_is_found_out_and_told_once(server: Server):
    server.ignores_conditions = True
    functions = Functions(server, lambda x: x, 1)

    with pytest.warns(PerscacheWarning, match="ignores conditions on writes") as warned:
        assert [functions.sync[0](x) for x in range(3)] == [0, 1, 2]

    assert len(warned) == 1
    assert server.leases() == []
    assert [request.split()[0] for request in server.asked].count("put_if") == 2


def test_a_server_that_knows_no_conditions_is_told_of_too(server: Server):
    def refuse(request: str) -> None:
        if request.startswith("put_if"):
            raise Unsupported("501")

    server.before = refuse
    functions = Functions(server, lambda x: x, 1)
    with pytest.warns(PerscacheWarning, match="ignores conditions on writes"):
        assert functions.sync[0](7) == 7
    assert functions.machines[0].lock("f/a.json") is None


def test_a_lease_that_cannot_be_given_back_is_survived(server: Server, caplog: pytest.LogCaptureFixture):
    functions = Functions(server, lambda x: x, 1)

    def fail(request: str) -> None:
        if request.startswith("remove"):
            raise StorageError("no answer")

    server.before = fail
    assert functions.sync[0](7) == 7
    settle()
    assert "stays for its term: no answer" in caplog.text
    assert functions.sync[0](7) == 7
    assert functions.runs == [7]


# --- Cancelling.


def test_who_is_cancelled_while_waiting_leaves_nothing(server: Server):
    functions = Functions(server, lambda x: x, 1)
    other = machine(server)
    holding: list[Lock] = []

    def meet(request: str) -> None:
        if request.startswith("put_if") and not holding:
            holding.append(lock_of(other, request.removeprefix("put_if perscache.leases/")))
            assert holding[0].acquire(())

    server.before = meet

    async def g(x: int) -> int:
        raise AssertionError("not reached")

    async def give_up() -> None:
        task = asyncio.create_task(Cache("json", functions.machines[0])(g)(7))
        while not any(request.startswith("get perscache.leases/") for request in server.asked):  # noqa: ASYNC110 - threads
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert len(server.leases()) == 1
    assert functions.machines[0]._now_live().leases.waits("any") == []
    holding[0].release()
    settle()
    assert server.leases() == []


@pytest.mark.parametrize("moment", ["computing", "asking"])
def test_who_is_cancelled_gives_back(server: Server, moment: str):
    reached, go_on = threading.Event(), threading.Event()

    def hold_up(request: str) -> None:
        if request.startswith("put_if") and moment == "asking" and not reached.is_set():
            reached.set()
            go_on.wait(90)

    server.after = hold_up

    @Cache("json", machine(server))
    async def g(x: int) -> int:
        reached.set()
        await asyncio.sleep(60)
        return x

    async def give_up() -> None:
        task = asyncio.create_task(g(7))
        while not reached.is_set():  # noqa: ASYNC110 - the server runs in threads
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(give_up())
    settle()
    assert server.leases() == []


# --- Switches, listings, removal.


def test_one_argument_turns_it_off_per_cache_and_function(server: Server):
    storage = machine(server)
    for decorate in (Cache("json", storage, lock=False), Cache("json", storage)(lock=False)):
        assert decorate(lambda x: x + 1)(7) == 8
    assert Cache("json", storage, lock=False)(lock=True)(lambda x: x + 2)(7) == 9
    settle()

    assert len([request for request in server.asked if request.startswith("put_if")]) == 2


def test_a_storage_can_do_without(server: Server):
    assert Machine(server, lease=0).lock("f/a.json") is None
    assert Machine(server, lease="1m").lease == 60
    for wrong in (1, 3601, "2h"):
        with pytest.raises(ConfigurationError, match="3 to 3600 seconds"):
            Machine(server, lease=wrong)


def test_leases_are_no_entries(server: Server):
    storage = machine(server, max_size=100)
    storage.write("f/a.json", b"x" * 60)
    for n in range(10):
        assert lock_of(storage, f"f/{n}.json").acquire(())

    assert [entry.path for entry in storage.entries()] == ["f/a.json"]
    assert storage.prune() == 0
    assert storage.clear() == 1
    assert len(server.leases()) == 10


def test_prune_removes_leases_that_nobody_gave_back(server: Server):
    storage = machine(server)
    assert lock_of(storage, "f/old.json").acquire(())
    server.ahead += 3601
    assert lock_of(storage, "f/new.json").acquire(())

    assert storage.prune() == 0
    assert server.leases() == ["folder/perscache.leases/f/new.json"]


def test_one_machine_at_a_time_sweeps(server: Server):
    storage = machine(server, max_size=100, sweep_every=1)
    sweeper = lock_of(machine(server), "sweep")
    assert sweeper.acquire(())
    for n in range(3):
        storage.write(f"f/{n}.json", b"x" * 60)
        wait_for_sweeps()
    assert len(server.objects) == 4
    sweeper.release()
    settle()

    storage.write("f/3.json", b"x" * 60)
    wait_for_sweeps()
    assert list(server.objects) == ["folder/f/3.json"]


def wait_for_sweeps() -> None:
    for thread in threading.enumerate():
        if thread.name == "perscache-sweep":
            thread.join(10)
    settle()

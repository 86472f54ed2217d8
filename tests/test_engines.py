"""Inside engines: cached functions on Dask's workers and Ray's, and `map` on a Dask cluster."""

from __future__ import annotations

import asyncio
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache

distributed = pytest.importorskip("distributed", reason="Dask's cluster is not installed: pip install distributed")
tokenize = pytest.importorskip("dask.tokenize").tokenize

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120
"""The longest that anything here may take."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """A client of a cluster of two processes with a thread each. They know of the functions here by value only."""
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 60}
    with distributed.LocalCluster(**settings) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def shared(tmp_path: Path) -> Cache:
    """A cache in a folder that all processes see."""
    return Cache("json", tmp_path / "shared")


@pytest.fixture
def square(shared: Cache, tmp_path: Path) -> Any:
    """A cached function that leaves a line in the file "runs" for each of its runs."""
    log = str(tmp_path / "runs")

    @shared(name="square")
    def square(x: int) -> int:
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {x}\n")
        time.sleep(0.02)
        return x * x

    return square


def runs(folder: Path) -> list[int]:
    return sorted(int(line.split()[1]) for line in (folder / "runs").read_text().splitlines())


# --- map on a Dask cluster.


def test_only_the_missing_calls_go_to_the_cluster(square: Any, client: Any, tmp_path: Path):
    square(3)
    assert list(square.cache.map(range(8), client.get_executor())) == [x * x for x in range(8)]
    assert list(square.cache.map(range(8), client.get_executor())) == [x * x for x in range(8)]
    assert runs(tmp_path) == list(range(8))
    processes = {line.split()[0] for line in (tmp_path / "runs").read_text().splitlines()}
    assert len(processes) == 3
    assert square.cache_info()[:2] == (9, 8)


def test_a_call_that_fails_is_tried_again_where_the_executor_says_so(shared: Cache, client: Any, tmp_path: Path):
    marker = str(tmp_path / "failed")

    @shared
    def fails_once(x: int) -> int:
        if not os.path.exists(marker):
            open(marker, "w").close()
            raise OSError("the first time")
        return x

    assert list(fails_once.cache.map([7], client.get_executor(retries=2))) == [7]


def test_an_exception_of_a_worker_does_not_lose_the_other_calls(shared: Cache, client: Any):
    class Unknown(Exception):
        """Of a class that workers know by value only."""

    @shared
    def picky(x: int) -> int:
        if x == 1:
            raise Unknown("one")
        return x

    with pytest.raises(Exception, match="one") as caught:
        list(picky.cache.map(range(4), client.get_executor()))
    assert type(caught.value).__name__ == "Unknown"
    assert [picky.cache_contains(x) for x in range(4)] == [True, False, True, True]


def test_who_stops_iterating_leaves_nothing_on_the_cluster(shared: Cache, client: Any, tmp_path: Path):
    go, log = str(tmp_path / "go"), str(tmp_path / "runs")

    @shared
    def waits(x: int) -> int:
        with open(log, "a") as file:
            file.write(f"{os.getpid()} {x}\n")
        while x and not os.path.exists(go):
            time.sleep(0.01)
        return x

    results = waits.cache.map(range(50), client.get_executor())
    assert next(results) == 0
    results.close()
    deadline = time.monotonic() + SECONDS
    while sum(map(len, client.processing().values())) > 2:  # what the two workers are at
        assert time.monotonic() < deadline
        time.sleep(0.01)
    Path(go).touch()
    while any(client.processing().values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # What had started, and the few that the workers had before they heard of it.
    assert len(runs(tmp_path)) < 25


def test_a_cluster_serves_an_event_loop(square: Any, client: Any):
    async def main() -> list[int]:
        return [value async for value in square.cache.amap(range(5), client.get_executor())]

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_the_client_itself_is_refused_with_the_way_out(square: Any, client: Any):
    with pytest.raises(ValueError, match=r"client\.get_executor\(\)"):
        square.cache.map([1], client)


# --- Cached functions in Dask's tasks.


def test_two_workers_that_ask_for_one_key_compute_it_once(square: Any, client: Any, tmp_path: Path):
    workers = list(client.scheduler_info()["workers"])
    assert len(workers) == 2
    asked = [client.submit(square, x, pure=False, workers=[worker]) for x in range(10) for worker in workers]
    assert client.gather(asked) == [x * x for x in range(10) for _ in workers]
    assert runs(tmp_path) == list(range(10))


def test_dasks_own_keys_are_those_of_equal_calls(square: Any, client: Any):
    first, second, other = client.submit(square, 2), client.submit(square, 2), client.submit(square, 3)
    assert first.key == second.key != other.key
    assert client.gather([first, second, other]) == [4, 4, 9]


SCRIPT = """
from dask.tokenize import tokenize
from perscache import Cache

cache = Cache(storage="memory://")

@cache(name="f")
def f(x):
    return x + {number}

class Model:
    @cache
    def method(self, x):
        return f(x)

before = tokenize(f), tokenize(Model.method)
f(1)
assert before == (tokenize(f), tokenize(Model.method))
print(*before)
"""


def test_tokens_are_the_same_in_all_processes_and_others_for_other_code(tmp_path: Path):
    def tokens(number: int) -> list[str]:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(number=number))
        done = subprocess.run(
            [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    one, again, two = tokens(1), tokens(1), tokens(2)
    assert one == again
    assert not set(one) & set(two)


def test_a_decorator_around_a_cached_function_is_never_taken_for_it(square: Any):
    def timed(function: Callable[[int], int]) -> Callable[[int], tuple[int, float]]:
        @functools.wraps(function)
        def wrapper(x: int) -> tuple[int, float]:
            begun = time.perf_counter()
            return function(x), time.perf_counter() - begun

        return wrapper

    around = timed(square)
    assert len({tokenize(square), tokenize(around), tokenize(around)}) == 3
    assert tokenize(square) == tokenize(square)


# --- Ray.


def test_rays_workers_compute_a_shared_key_once(square: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray", reason="Ray is large, and a choice of the user's: pip install ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        remote = ray.remote(square)
        assert ray.get([remote.remote(x % 5) for x in range(20)]) == [(x % 5) ** 2 for x in range(20)]
    finally:
        ray.shutdown()
    assert runs(tmp_path) == [0, 1, 2, 3, 4]
    assert all(square.cache_contains(x) for x in range(5))


# --- The example.


def test_the_example_searches_once(tmp_path: Path):
    script = tmp_path / "dask_map.py"
    script.write_text((ROOT / "examples" / "dask_map.py").read_text(encoding="utf-8"), encoding="utf-8")

    def run() -> str:
        done = subprocess.run(
            [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    first, second = run(), run()
    assert "77,031 takes 350 steps" in first
    assert "20 blocks were searched, 0 were known" in first
    assert "0 blocks were searched, 20 were known" in second

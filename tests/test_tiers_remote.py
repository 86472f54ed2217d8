"""Tiers whose last one is a bucket: how often it is asked, what comes back from it, and what happens when it fails."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache, CacheExpired, trouble
from perscache.errors import PerscacheWarning
from perscache.storage import LocalFileStorage, MemoryStorage
from perscache.storage.tiers import TieredStorage
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket, StrictServer, gcs, gcs_bucket, strict_gcs

__all__ = ["gcs", "gcs_bucket", "strict_gcs"]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "STORAGE_EMULATOR_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    trouble.forget()


def machine(server: StrictServer, folder: str, **options: Any) -> TieredStorage:
    """The tiers of one machine, with nothing in memory."""
    bucket = GoogleCloudStorage("bucket/team", endpoint_url=server.endpoint, cooldown=600, lease=0, **options)
    return TieredStorage([MemoryStorage(), LocalFileStorage(folder), bucket])


def function(storage: TieredStorage, **settings: Any) -> tuple[Callable[[int], int], list[int]]:
    """A function on it, and the list of its runs."""
    ran: list[int] = []

    @Cache("json", storage, track="source", **settings)(name="shop.double")
    def double(x: int) -> int:
        ran.append(x)
        return 2 * x

    return double, ran


def test_a_bucket_is_asked_once_for_what_another_machine_computed(strict_gcs: StrictServer):
    here, _ = function(machine(strict_gcs, "here"))
    assert here(1) == 2
    asked, stored = f"GET media team/{here.cache.key(1)}", f"POST multipart team/{here.cache.key(1)}"
    # Once more by who holds the lock of the files: it may have come meanwhile.
    assert [request for request in strict_gcs.requests if "list" not in request] == [asked, asked, stored]
    strict_gcs.forget()
    assert here(1) == 2
    assert strict_gcs.requests == []

    tiers = machine(strict_gcs, "there")
    there, ran = function(tiers)
    assert [there(1), there(1)] == [2, 2]
    assert ran == []
    assert strict_gcs.requests == [asked]
    strict_gcs.forget()
    tiers.tiers[0].clear()
    assert there(1) == 2
    assert strict_gcs.requests == []


def test_tasks_ask_it_once_too(strict_gcs: StrictServer):
    ran: list[int] = []

    def on(storage: TieredStorage) -> Any:
        @Cache("json", storage, track="source")(name="shop.double")
        async def double(x: int) -> int:
            ran.append(x)
            return 2 * x

        return double

    async def call(double: Any) -> list[int]:
        return [await double(1), *await asyncio.gather(*[double(1) for _ in range(10)])]

    assert asyncio.run(call(on(machine(strict_gcs, "here")))) == [2] * 11
    strict_gcs.forget()
    there = on(machine(strict_gcs, "there"))
    assert asyncio.run(call(there)) == [2] * 11
    assert asyncio.run(call(there)) == [2] * 11
    assert ran == [1]
    assert strict_gcs.requests == [f"GET media team/{there.cache.key(1)}"]


def test_a_copy_expires_with_its_original(strict_gcs: StrictServer):
    here, _ = function(machine(strict_gcs, "here"))
    here(1)
    result = strict_gcs.objects[f"team/{here.cache.key(1)}"]
    result.created -= 1000
    result.generation -= 1000 * 1_000_000  # from which the storage reads the time
    tiers = machine(strict_gcs, "there")
    there, ran = function(tiers, ttl=2000)
    there(1)
    assert ran == []

    for tier in (tiers, *tiers.tiers):
        entry = tier.peek(there.cache.key(1))
        assert entry is not None
        assert 990 < time.time() - entry.created.timestamp() < 1900
        with pytest.raises(CacheExpired):
            tier.load(there.cache.key(1), 900)
    there, ran = function(tiers, ttl=900)
    assert there(1) == 2
    assert ran == [1]


def test_what_a_machine_removes_is_gone_for_all_but_from_their_memory(strict_gcs: StrictServer):
    here, _ = function(machine(strict_gcs, "here"))
    here(1)
    assert here.cache_invalidate(1)
    there, ran = function(machine(strict_gcs, "there"))
    there(1)
    assert ran == [1]
    assert strict_gcs.requests.count(f"DELETE object team/{here.cache.key(1)}") == 1


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_a_bucket_that_fails_costs_one_warning_of_each_kind_and_is_left_alone(strict_gcs: StrictServer, fault: str):
    strict_gcs.always = fault
    tiers = machine(strict_gcs, "here", timeout=1)
    double, ran = function(tiers)
    with pytest.warns(PerscacheWarning) as told:
        assert [double(x) for x in (1, 2, 3, 1, 2, 3)] == [2, 4, 6, 2, 4, 6]
    assert ran == [1, 2, 3]
    assert len(told) == 2
    assert "the other tiers have no result" in str(told[0].message)
    assert "stored in the other tiers" in str(told[1].message)
    assert [double(x) for x in (4, 5)] == [8, 10]
    assert not any(double.cache.key(x) in request for x in (4, 5) for request in strict_gcs.requests)

    strict_gcs.always = "ok"
    again, ran = function(machine(strict_gcs, "here"))
    assert [again(x) for x in (1, 2, 3, 4, 5)] == [2, 4, 6, 8, 10]
    assert ran == []


def test_a_real_server_gives_back_what_other_tiers_lost(gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)
    storage = ["memory://?max_size=1MB", "near", f"gs://{gcs_bucket.name}/team"]
    ran: list[int] = []

    def double(x: int) -> dict[str, int]:
        ran.append(x)
        return {"double": 2 * x}

    f = Cache("json", storage, on_error="raise")(double)
    assert [f(1), f(1), f(2)] == [{"double": 2}, {"double": 2}, {"double": 4}]
    LocalFileStorage("near").clear()

    g = Cache("json", storage, on_error="raise")(double)
    assert [g(1), g(2)] == [{"double": 2}, {"double": 4}]
    assert ran == [1, 2]
    assert len(list(LocalFileStorage("near").entries())) == 2
    (entry,) = (entry for entry in g.cache.entries() if entry.path == g.cache.key(1))
    assert entry.arguments == "x=1"
    assert g.cache_info().currsize == 2

    g.cache_clear()
    assert list(LocalFileStorage("near").entries()) == []
    assert list(GoogleCloudStorage(f"{gcs_bucket.name}/team").entries()) == []
    assert g(1) == {"double": 2}
    assert ran == [1, 2, 1]


MACHINE = """
import os, sys, time
from pathlib import Path
from perscache import Cache

cache = Cache("json", ["memory://", sys.argv[1], sys.argv[2]], track="source")

@cache(name="slow")
def slow(x):
    fd = os.open("runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"run\\n")
    os.close(fd)
    time.sleep(1)
    return x

Path(f"here-{os.getpid()}").touch()
while len(list(Path().glob("here-*"))) < 3:
    time.sleep(0.001)
print(slow(3))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the locks of Windows are polled, and tested elsewhere")
def test_processes_on_two_machines_compute_once(strict_gcs: StrictServer, monkeypatch: pytest.MonkeyPatch):
    # By the locks of each machine's files, and one lease between the machines.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", strict_gcs.endpoint)
    Path("script.py").write_text(MACHINE)
    running = [
        subprocess.Popen([sys.executable, "script.py", folder, "gs://bucket/team"], stdout=subprocess.PIPE, text=True)
        for folder in ("here", "here", "there")
    ]
    assert [process.communicate(timeout=120)[0] for process in running] == ["3\n"] * 3
    assert Path("runs").read_text() == "run\n"

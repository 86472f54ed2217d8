"""A storage as a cache uses it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ... import Cache
from ...storage import Storage
from ...storage.lease import SHORTEST
from ...storage.remote import RemoteStorage
from ..processes import Child
from .place import Place, name_of

KEYS = 3


class Caching(Place):
    """Functions run once."""

    def test_a_function_runs_once(self, storage: Storage) -> None:
        calls: list[int] = []

        @Cache("json", storage, on_error="raise")
        def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        assert [double(1), double(1), double(2), double(2)] == [2, 2, 4, 4]
        assert calls == [1, 2], f"{name_of(storage)}: a cached function ran for {calls} where it should have for [1, 2]"
        if self.lists:
            assert len(list(double.cache.entries())) == 2, f"{name_of(storage)}.entries(): two results were stored"
            assert double.cache_invalidate(1), f"{name_of(storage)}.delete(): there was a result to remove"
            assert double(1) == 2
            assert calls == [1, 2, 1], f"{name_of(storage)}.delete(): the result was found after it was removed"

    def test_a_coroutine_function_runs_once(self, storage: Storage) -> None:
        calls: list[int] = []

        @Cache("json", storage, on_error="raise")
        async def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        async def several() -> list[int]:
            return [await double(1), await double(1), *await asyncio.gather(*[double(2) for _ in range(20)])]

        assert asyncio.run(several()) == [2, 2, *[4] * 20]
        assert calls == [1, 2], (
            f"{name_of(storage)}: a cached coroutine function ran for {calls} where it should have for [1, 2]: aload() "
            "and astore() must do what load() and store() do, in any event loop"
        )

    def test_a_result_expires(self, storage: Storage) -> None:
        calls: list[int] = []

        @Cache("json", storage, ttl=0.1, on_error="raise")
        def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        double(1)
        time.sleep(0.2)
        double(1)
        assert calls == [1, 1], f"{name_of(storage)}: a result of 0.2 s was used with a time to live of 0.1 s"

    # --- Among processes.

    @pytest.fixture
    def runs(self, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The file in which other processes say what they run."""
        self.needs("locks", "outlives")
        # A class of the test's own is imported by the name that pytest gave its module.
        monkeypatch.syspath_prepend(str(request.config.rootpath))
        file = tmp_path / "runs"
        file.touch()
        return file

    def test_processes_that_ask_together_run_a_function_once(
        self, storage: Storage, runs: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        remedy = f"{name_of(storage)}: two processes must both get results that one of them computes"
        work = _call_all, storage, str(runs), 0.2, 2
        with Child("spawn", *work) as one, Child("spawn", *work) as other:
            assert [child.told(self.patience, remedy) for child in (one, other)] == [list(range(KEYS))] * 2, remedy
        ran = sorted(map(int, runs.read_text().split()))
        assert ran == list(range(KEYS)), (
            f"{name_of(storage)}: two processes that asked together ran a function for {ran} where it should have for "
            f"{list(range(KEYS))}: lock() must let one in, and what was stored meanwhile must be found by the next"
        )
        printed = capfd.readouterr().err
        assert printed == "", f"{name_of(storage)}: processes that used it and ended should print nothing: {printed}"

    def test_who_dies_while_computing_is_taken_over_from(
        self, open_storage: Callable[..., Storage], runs: Path
    ) -> None:
        storage = open_storage()
        if isinstance(storage, RemoteStorage) and storage.conditional:
            storage = open_storage(lease=SHORTEST)
        remedy = f"{name_of(storage)}: a process that computes must hold the lock"
        with Child("spawn", _call_all, storage, str(runs), 2 * self.patience, 1) as dead:
            until = time.monotonic() + self.patience
            while not runs.read_text():
                assert time.monotonic() < until, remedy
                time.sleep(0.01)
            dead.kill()
        remedy = (
            f"{name_of(storage)}: a process was killed while it computed, and nobody after it gets the result: a lock "
            "must end with its holder (by the system, by a lease that runs out)"
        )
        with Child("spawn", _call_all, storage, str(runs), 0.0, 1) as heir:
            assert heir.told(self.patience, remedy) == list(range(KEYS)), remedy
        ran = list(map(int, runs.read_text().split()))
        assert ran == [0, *range(KEYS)], f"{remedy}. It ran for {ran}"


def _call_all(tell: Callable[[object], None], storage: Storage, runs: str, seconds: float, processes: int) -> None:
    """Ask for each key, together with so many ``processes``, of a function that takes so many ``seconds``."""

    @Cache("json", storage, on_error="raise")(name="app.work", ignore=("runs", "seconds"))
    def work(number: int, runs: str, seconds: float) -> int:
        with Path(runs).open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")
        time.sleep(seconds)
        return number

    meeting = Path(f"{runs}.meeting")
    with meeting.open("a", encoding="utf-8") as file:
        file.write("here\n")
    while len(meeting.read_text(encoding="utf-8").split()) < processes:
        time.sleep(0.01)
    tell([work(number, runs, seconds) for number in range(KEYS)])

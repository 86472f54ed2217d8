"""A storage as a cache uses it."""

from __future__ import annotations

import asyncio
import time

from ... import Cache
from ...storage import Storage
from .place import Place, name_of


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

"""Rules as generators, which yield steps and decide nothing but what to do next: driven in place or by an event loop.

A driver has each step done, and sends back what it came to or throws what it raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def drive(rules: Generator[S, Any, T], do: Callable[[S], Any]) -> T:
    """What ``rules`` come to, with each of their steps done by ``do``."""
    try:
        step = next(rules)
        while True:
            try:
                done = do(step)
            except BaseException as error:  # noqa: BLE001  # The rules decide what each error means.
                step = rules.throw(error)
            else:
                step = rules.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def adrive(rules: Generator[S, Any, T], do: Callable[[S], Awaitable[Any]]) -> T:
    """`drive` where steps are awaited."""
    try:
        step = next(rules)
        while True:
            try:
                done = await do(step)
            except BaseException as error:  # noqa: BLE001
                step = rules.throw(error)
            else:
                step = rules.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]

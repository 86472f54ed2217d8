"""Methods with asynchronous twins, as steps that a generator asks for: done in place, or for an event loop."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")


class Step(NamedTuple):
    """A method to call. Its twin has the same name with an "a" in front; one without is called in a thread."""

    of: Any
    name: str
    arguments: tuple[Any, ...]


Steps: TypeAlias = Generator[Step, Any, T]
"""Steps, each of which gets back what it came to or is thrown what it raised, and a result."""


def run(steps: Steps[T]) -> T:
    """Do the steps in place."""
    try:
        step = next(steps)
        while True:
            try:
                done = getattr(step.of, step.name)(*step.arguments)
            except BaseException as error:  # noqa: BLE001  # The generator decides.
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def arun(steps: Steps[T]) -> T:
    """Do the steps without holding up the event loop."""
    import asyncio

    try:
        step = next(steps)
        while True:
            twin = getattr(step.of, f"a{step.name}", None)
            try:
                if twin is None:
                    done = await asyncio.to_thread(getattr(step.of, step.name), *step.arguments)
                else:
                    done = await twin(*step.arguments)
            except BaseException as error:  # noqa: BLE001
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]

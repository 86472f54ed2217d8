"""Methods with asynchronous twins, as steps that a generator asks for: done in place, or for an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ..driver import adrive, drive

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
    return drive(steps, lambda step: getattr(step.of, step.name)(*step.arguments))


async def arun(steps: Steps[T]) -> T:
    """Do the steps without holding up the event loop."""
    return await adrive(steps, _do)


def _do(step: Step) -> Awaitable[Any]:
    import asyncio

    twin: Callable[..., Awaitable[Any]] | None = getattr(step.of, f"a{step.name}", None)
    if twin is None:
        return asyncio.to_thread(getattr(step.of, step.name), *step.arguments)
    return twin(*step.arguments)

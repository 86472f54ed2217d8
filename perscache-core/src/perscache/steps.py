"""The steps of a call that take time, and how each is done: in place, or for an event loop.

The rules (see `protocol`) are generators that yield steps; see `driver`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from .driver import adrive, drive

if TYPE_CHECKING:
    from .buffers import Buffer, Pieces
    from .entry import Entry
    from .plan import Plan
    from .single_flight import Flight
    from .storage.base import Lock

T = TypeVar("T")

INLINE: Final = 256 * 1024
"""Bytes up to which a value is loaded on the event loop: a thread hop costs as much as loading some 100 KB."""


class Read(NamedTuple):
    """Gives Stored; raises FileNotFoundError, CacheExpired, DamagedEntry and whatever a storage may."""

    plan: Plan
    path: str


class Decode(NamedTuple):
    """Gives the value of the bytes."""

    plan: Plan
    path: str
    data: Buffer


class Compute(NamedTuple):
    """Gives what the function returns, or Raised."""


class Raised(NamedTuple):
    """What the function raised. A value and not an exception: a generator cannot let StopIteration through."""

    error: Exception


class Encode(NamedTuple):
    """Gives the bytes of the value, or `Pieces` of it."""

    plan: Plan
    path: str
    value: Any


class Write(NamedTuple):
    """Stores the bytes."""

    plan: Plan
    entry: Entry
    data: bytes | Pieces


class Join(NamedTuple):
    """Gives the bytes of all pieces, which no longer change with the value."""

    data: bytes | Pieces


class Wait(NamedTuple):
    """Comes back when the flight has landed."""

    flight: Flight


class Recall(NamedTuple):
    """Gives whether the plan's keys are others, now that accepted edits are known."""

    plan: Plan


class Acquire(NamedTuple):
    """Gives whether the lock is held now; None for: look again, ask again."""

    lock: Lock
    held: tuple[str, ...]


Step: TypeAlias = Read | Decode | Compute | Encode | Write | Join | Wait | Recall | Acquire


def _nothing() -> Any:
    raise AssertionError("these steps compute nothing")


def run(steps: Generator[Step, Any, T], compute: Callable[[], Any] = _nothing) -> T:
    """Do the steps in place. What the function raised comes back as Raised."""
    return drive(steps, lambda step: _perform(step, compute))


def _perform(step: Step, compute: Callable[[], Any]) -> Any:
    match step:
        case Read(plan, path):
            return plan.load(path)
        case Decode(plan, path, data):
            return plan.decode(path, data)
        case Compute():
            try:
                return compute()
            except Exception as error:  # noqa: BLE001
                return Raised(error)
        case Encode(plan, path, value):
            return plan.encode(path, value)
        case Write(plan, entry, data):
            store: Any = plan.storage.store  # Pieces are for those that take them.
            return store(entry, data)
        case Join(data):
            return bytes(data)
        case Wait(flight):
            return flight.wait()
        case Recall(plan):
            return plan.acceptance.recall()
        case Acquire(lock, held):
            return lock.acquire(held)


async def arun(steps: Generator[Step, Any, T], compute: Callable[[], Awaitable[Any]] = _nothing) -> T:
    """Do the steps for an event loop: nothing that may take long holds it up."""
    return await adrive(steps, lambda step: _aperform(step, compute))


async def _aperform(step: Step, compute: Callable[[], Awaitable[Any]]) -> Any:
    match step:
        case Read(plan, path):
            return await plan.aload(path)
        case Decode(plan, path, data):
            return await adecode(plan, path, data)
        case Compute():
            try:
                return await compute()
            except Exception as error:  # noqa: BLE001
                return Raised(error)
        case Encode(plan, path, value):
            return await _in_thread(plan.encode, path, value)
        case Write(plan, entry, data):
            store: Any = plan.storage.astore
            return await store(entry, data)
        case Join(data):
            return await _in_thread(bytes, data)
        case Wait(flight):
            return await flight.await_()
        case Recall(plan):
            return await _in_thread(plan.acceptance.recall)
        case Acquire(lock, held):
            return await lock.aacquire(held)


async def adecode(plan: Plan, path: str, data: Buffer) -> Any:
    """The value of stored bytes; of many, in a thread."""
    return plan.decode(path, data) if len(data) <= INLINE else await _in_thread(plan.decode, path, data)


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    import asyncio

    return await asyncio.to_thread(work, *args)

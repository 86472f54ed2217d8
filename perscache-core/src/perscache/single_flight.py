"""Single flight in one process: of all who ask for a key at the same time, one computes and the others wait.

Waiting never closes a circle. The nodes of the waiting graph are flights, not threads: a context variable tells in
whose computation the running code is, so that threads, tasks and their children are all followed. Who would wait for
a flight that (over others) waits for the one it is part of computes itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import asyncio


Key: TypeAlias = tuple[str, str]
"""The identity of a storage, and a path in it."""


class Seat(Enum):
    """What one who asked for a key is to do."""

    LEAD = auto()
    """Compute, and `Flight.land`."""
    WAIT = auto()
    """Wait with `Flight.wait` or `Flight.await_`."""
    ALONE = auto()
    """Compute for itself: waiting would never end."""


class Flight:
    """One computation under way. All its fields are guarded by the module's lock until it has landed."""

    __slots__ = ("_blocked_on", "_event", "_futures", "_waiting_for_it", "data", "key", "landed", "outcome")

    def __init__(self, key: Key) -> None:
        self.key: Final = key
        self.landed = False
        self.outcome: Any = None
        """What the leader came to; None where it came to nothing that others can use: ask again."""
        self.data: bytes | None = None
        """The serialized result, for each waiter to load a copy of its own; None where there is none."""
        self._blocked_on: list[Flight] = []
        self._event: threading.Event | None = None
        self._futures: list[asyncio.Future[None]] = []
        self._waiting_for_it = False

    def wait(self) -> None:
        """Hold the thread until it has landed."""
        with self._waiting():
            with _guard:
                if self.landed:
                    return
                if self._event is None:
                    self._event = threading.Event()
                event = self._event
            event.wait()

    async def await_(self) -> None:
        """Hold the task until it has landed; cancelling the waiter touches nobody else."""
        import asyncio

        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._waiting():
            with _guard:
                if self.landed:
                    return
                self._futures.append(future)
            await future

    @contextmanager
    def leading(self) -> Iterator[None]:
        """The block is this flight's computation. However it ends, the flight has landed."""
        token = _aboard.set((*_aboard.get(), self))
        try:
            yield
        finally:
            _aboard.reset(token)
            self._land()

    def close(self) -> bool:
        """Take nobody else on, now that the result is stored: whoever asks for the key again is to look again.

        Gives whether anybody waits.
        """
        with _guard:
            self._leave()
            return self._waiting_for_it

    def _leave(self) -> None:
        """With the lock held."""
        global _landings
        _landings += 1
        if _flights.get(self.key) is self:
            del _flights[self.key]

    def _land(self) -> None:
        with _guard:
            self.landed = True
            self._leave()
            event, futures = self._event, self._futures
        if event is not None:
            event.set()
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for future in futures:
            by_loop.setdefault(future.get_loop(), []).append(future)
        for loop, waiting in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, loop, iter(waiting))
            except RuntimeError:  # That loop is closed, and its waiters with it.
                continue

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """While in the block, every computation that the running code is part of waits for this flight."""
        mine = _aboard.get()
        try:
            yield
        finally:
            with _guard:
                for flight in mine:
                    flight._blocked_on.remove(self)

    def _waits_for(self, others: tuple[Flight, ...]) -> bool:
        seen: set[int] = set()
        ahead = [self]
        while ahead:
            flight = ahead.pop()
            if flight in others:
                return True
            if id(flight) not in seen:
                seen.add(id(flight))
                ahead += flight._blocked_on
        return False


def board(key: Key) -> tuple[Seat, Flight]:
    """The seat of one who asks for ``key``, and the flight under way; who gets WAIT must go on to wait for it."""
    mine = _aboard.get()
    with _guard:
        flight = _flights.get(key)
        if flight is None:
            flight = _flights[key] = Flight(key)
            return Seat.LEAD, flight
        if mine and flight._waits_for(mine):
            return Seat.ALONE, flight
        for computation in mine:
            computation._blocked_on.append(flight)
        flight._waiting_for_it = True
        return Seat.WAIT, flight


def aboard() -> tuple[Key, ...]:
    """The keys of the computations that the running code is a part of, outermost first."""
    return tuple(flight.key for flight in _aboard.get())


def landings() -> int:
    """How many flights have landed. Unchanged since a look-up: nobody can have stored the key in between."""
    return _landings


_WOKEN_AT_ONCE: Final = 100
"""Tasks after which an event loop has a turn for others: thousands may wait for one flight."""


def _wake(loop: asyncio.AbstractEventLoop, waiting: Iterator[asyncio.Future[None]]) -> None:
    woken = list(islice(waiting, _WOKEN_AT_ONCE))
    for future in woken:
        if not future.done():
            future.set_result(None)
    if woken:
        loop.call_soon(_wake, loop, waiting)


_guard = threading.Lock()
_flights: dict[Key, Flight] = {}
_landings = 0

# The flights of whose computations the running code is a part, outermost first.
_aboard: ContextVar[tuple[Flight, ...]] = ContextVar("perscache.flights", default=())


def _forget_parents() -> None:
    """In a forked child nobody leads: the leaders are threads of the parent."""
    global _guard
    _guard = threading.Lock()
    _flights.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)

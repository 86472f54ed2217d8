"""A batch: many calls of one function in a line, their keys, and what is to be done about each.

Calls join the line at its end, as far as the look-ahead allows, and leave it at its front with their results: neither
all calls nor all results need to fit into memory. Nothing is read or run here: see `delivery`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final

from . import single_flight
from .calls import AsyncCalls
from .entry import Stored
from .errand import Errand, Sender
from .errors import PluginError
from .iterations import AsyncIterations
from .modes import Mode
from .progress import Bar, Progress
from .protocol import Missed, Question, Result, hit, missed_by, undecodable
from .steps import Decode, Raised, Read, Recall, Step
from .trouble import logger

if TYPE_CHECKING:
    from concurrent.futures import Future

HELD: Final = 256 * 1024 * 1024
"""Bytes of stored results that are read before their turn."""


class Arguments:
    """The arguments of one call, whatever they are."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args: Final = args
        self.kwargs: Final = kwargs

    @classmethod
    def of(cls, call: object) -> Arguments:
        """What a user's ``call`` stands for: a tuple for positions, a dict for keywords, all else for one argument."""
        match call:
            case Arguments():
                return call
            case tuple():
                return cls(tuple(call), {})
            case dict():
                return cls((), dict(call))
            case _:
                return cls((call,), {})


class Place:
    """One call in the line."""

    __slots__ = (
        "arguments",
        "errand",
        "first",
        "future",
        "number",
        "outcome",
        "path",
        "question",
        "seen",
        "size",
        "stored",
    )

    question: Question
    """Where it has a key."""

    def __init__(self, number: int, arguments: Arguments) -> None:
        self.number: Final = number
        self.arguments: Final = arguments
        self.path = ""
        """Its storage path; empty where it has no key."""
        self.seen: Final = single_flight.landings()
        self.first: Place | None = None
        """The call in front of it that has the same key."""
        self.stored: Stored | None = None
        """What was read for it, where that cannot change with the value."""
        self.size = 0
        """Bytes that were read for it."""
        self.errand: Errand | None = None
        self.future: Future[Any] | None = None
        """Where the errand was given to an executor."""
        self.outcome: Result[Any] | Raised | None = None


class Batch:
    """The calls of one ``map``, in the mode that is in force when it is made."""

    def __init__(self, sender: Sender, calls: Iterable[Any], progress: Progress, return_exceptions: bool) -> None:
        self.plan: Final = sender.calls.plan
        self.mode: Final = self.plan.modes.current()
        self.asynchronous: Final = isinstance(sender.calls, AsyncCalls | AsyncIterations)
        self.line: Final[deque[Place]] = deque()
        self.held = 0
        """Bytes read for those in the line."""
        self.ended = False
        """Whether no more calls join."""
        self.broken: Exception | None = None
        """What keeps calls from being made at all."""
        self._sender: Final = sender
        self._calls: Final = enumerate(calls)
        self._total: Final = length_hint(calls) or None
        self._progress: Final = progress
        self._return_exceptions: Final = return_exceptions
        self._bar: Bar | None = None
        self._keys: Final[dict[str, Place]] = {}
        """The first of each key in the line."""
        self._renewed: Final[set[str]] = set()
        """Keys that have left it, in a mode that overwrites and does not read."""
        self._failed: list[int] = []
        self._failure: Exception | None = None
        """What the first of them raised. It is raised when the line has come to its end."""

    def begin(self) -> Generator[Step, Any, None]:
        """Before anything else."""
        self._bar = Bar(self._progress, self.plan.name, self._total)
        # Accepted edits change keys, so they must be known before there are any.
        if self.mode.reads and not self.plan.acceptance.known:
            yield Recall(self.plan)

    # --- Into the line.

    def join(self, count: int) -> list[Place]:
        """The next ``count`` calls, or as many as there are, now in the line."""
        joined: list[Place] = []
        while len(joined) < count and not self.ended:
            try:
                number, call = next(self._calls)
            except StopIteration:
                self.ended = True
            except Exception as error:  # noqa: BLE001  # Raised when those before it have their results.
                self.breaks(error)
            else:
                joined.append(self._place(number, call))
        self.line.extend(joined)
        return joined

    def _place(self, number: int, call: object) -> Place:
        arguments = Arguments.of(call)
        place = Place(number, arguments)
        if self.mode is Mode.BYPASS:
            return place
        try:
            place.path = self.plan.path(arguments.args, arguments.kwargs)
        except PluginError:
            return place  # The call itself will tell of it.
        except Exception as error:  # noqa: BLE001  # The call would raise it too.
            if type(error) is TypeError and isinstance(call, tuple | dict):
                error.add_note("perscache: a tuple given to map() is positions, a dict keywords: write (x,) for one x")
            place.outcome = Raised(error)
            return place
        place.question = Question(self.plan, place.path, arguments.args, arguments.kwargs, self.mode)
        first = self._keys.setdefault(place.path, place)
        place.first = None if first is place else first
        return place

    def to_look_up(self, place: Place) -> bool:
        """Whether the storage is to be asked."""
        if not place.path or place.first is not None or place.outcome is not None:
            return False
        return self.mode.reads or place.path in self._renewed

    def heard(self, place: Place, stored: Stored | Exception, started: float) -> Generator[Step, Any, None]:
        """The storage has answered, asked at ``started``: the result is there, or is to be made."""
        try:
            found = yield from _found(place.question, stored, started)
        except Exception as error:  # noqa: BLE001  # on_error="raise" raises it, in its turn.
            place.outcome = Raised(error)
            return
        if isinstance(found, Missed):
            place.errand = self._errand(place, found)
            return
        place.outcome = found
        if isinstance(stored, Stored):
            place.size = len(stored.data)
            place.stored = stored if isinstance(stored.data, bytes) else None
            self.held += place.size

    def to_make(self, place: Place) -> bool:
        """Whether the call itself is to be made."""
        return place.outcome is None and place.first is None and self.mode.computes

    def errand(self, place: Place) -> Errand:
        """What makes the call."""
        if place.errand is None:
            place.errand = self._errand(place)
        return place.errand

    def _errand(self, place: Place, missed: Missed | None = None) -> Errand:
        arguments = place.arguments
        question = place.question if place.path else None
        return Errand(
            self._sender,
            arguments.args,
            arguments.kwargs,
            self.mode,
            question=question,
            missed=missed,
            seen=place.seen,
        )

    def again(self, place: Place, first: Place) -> Generator[Step, Any, Result[Any] | Raised]:
        """What a call comes to that was ``first`` made before: the same, but a value of its own, as from storage."""
        if not isinstance(first.outcome, Result):
            return first.outcome  # type: ignore[return-value]  # It has left the line.
        started = time.perf_counter()
        try:
            stored = first.stored
            if stored is None and self.mode.writes:
                stored = yield Read(self.plan, place.path)
                first.stored = stored if isinstance(stored.data, bytes) else None
            if stored is not None:
                found = yield from _found(place.question, stored, started)
                if isinstance(found, Result):
                    return found
        except Exception as error:  # noqa: BLE001  # It was not stored: then they share the value.
            logger.debug("%s: %s is shared: %r", self.plan.name, place.path, error)
        self.plan.statistics.hit(0, None)
        return Result(first.outcome.value, True, 0.0, None)

    # --- Out of it.

    def leave(self) -> Iterator[Any]:
        """The result of the front of the line, if it is to be handed out. Raises where no result will follow."""
        place = self.line.popleft()
        self.held -= place.size
        if self._keys.get(place.path) is place:
            del self._keys[place.path]
        match place.outcome:
            case Result(value, hit):
                if self.mode is Mode.REFRESH:
                    self._renewed.add(place.path)
                self._advance(hit)
                if self._failure is None:
                    yield value
            case Raised(error):
                if error is self.broken:
                    self.finish()
                self._advance(None)
                if self._return_exceptions:
                    yield error
                else:
                    self._fail(place.number, error)

    def _fail(self, number: int, error: Exception) -> None:
        self._failed.append(number)
        if self._failure is not None:
            return
        self._failure = error
        if not self.mode.computes:
            self.finish()
        logger.warning(
            "%s: calls[%d] of map() raised %s; it is raised when the other calls are made",
            self.plan.name,
            number,
            type(error).__name__,
        )

    def _advance(self, hit: bool | None) -> None:
        if self._bar is not None:
            self._bar.advance(hit)

    def breaks(self, error: Exception) -> None:
        """No more calls can be made, because of ``error``."""
        self.broken = self.broken or error
        self.ended = True

    def finish(self) -> None:
        """Raise what was raised on the way."""
        # Kept no longer: its traceback will hold the frames that hold this.
        failure, broken = self._failure, self.broken
        self._failure = self.broken = None
        try:
            if failure is not None:
                number, *others = self._failed
                further = f", and {len(others)} other calls raised too" if others else ""
                further += f"; then no more could be made: {broken!r}" if broken else ""
                failure.add_note(f"perscache: raised by calls[{number}] of {self.plan.name}.cache.map(){further}")
                raise failure
            if broken is not None:
                raise broken
        finally:
            del failure, broken

    def interrupted(self, interrupt: BaseException) -> None:
        """Say on an interrupt what would have been raised."""
        if self._failure is not None:
            number = self._failed[0]
            interrupt.add_note(f"perscache: calls[{number}] of map() had raised {self._failure!r}")

    def close(self) -> None:
        """The bar moves no more."""
        if self._bar is not None:
            self._bar.close()


def _found(
    question: Question, stored: Stored | Exception, started: float
) -> Generator[Step, Any, Result[Any] | Missed]:
    """What an answer of the storage means, as `protocol.look_up` has it."""
    if isinstance(stored, Exception):
        return missed_by(question, stored)
    try:
        value = yield Decode(question.plan, question.path, stored.data)
    except Exception as error:  # noqa: BLE001  # Whatever a serializer raises.
        return undecodable(question, error)
    return hit(question, value, stored, time.perf_counter() - started)

"""Calls of generator functions: their items, recorded as they come and replayed from storage.

A recording is stored when the generator has run to its end by itself. One that was abandoned, raised, was driven by
``send`` or ``throw``, or returned a value of its own could not be replayed as it was, and is not stored.
"""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any, Final, TypeVar

from .calls import bypassed, unkeyed
from .errors import PluginError, SerializationError
from .modes import Mode
from .plan import Plan
from .protocol import Missed, Notes, Question, Result, absent, describe, keep, look_up, tell_miss
from .statistics import Reason
from .steps import Step, arun, run

T = TypeVar("T")

_IMMUTABLE: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})


class Recording:
    """The items of one run of a generator. Copies: who consumes an item may change it, and so may the generator."""

    __slots__ = ("_notes", "_question", "_started", "diverted", "error", "items", "seconds")

    def __init__(self, question: Question | None = None, notes: Notes = ("", {})) -> None:
        self._question: Final = question if question is not None and question.mode.writes else None
        self._notes: Final = notes
        self.items: Final[list[Any]] = []
        self.seconds = 0.0
        """Time spent in the generator, its consumer's apart."""
        self.diverted = False
        """Whether its consumer drove it by ``send`` or ``throw``."""
        self.error: Exception | None = None
        self._started = time.perf_counter()

    def add(self, item: Any) -> None:
        """Take a copy of ``item``; the generator pauses here."""
        self.seconds += time.perf_counter() - self._started
        if self._question is not None and self.error is None:
            try:
                self.items.append(item if type(item) in _IMMUTABLE else copy.deepcopy(item))
            except Exception as error:  # noqa: BLE001  # Some objects cannot be copied, in ways of their own.
                self.error = error

    def resume(self, *, diverted: bool = False) -> None:
        """The generator goes on."""
        self.diverted |= diverted
        self._started = time.perf_counter()

    def end(self, returned: Any = None) -> Generator[Step, Any, None]:
        """The generator has run to its end: the steps that store the recording, if it can be replayed."""
        self.seconds += time.perf_counter() - self._started
        question = self._question
        if question is None or self.diverted:
            return
        if returned is not None:
            self.error = SerializationError("a generator's return value cannot be replayed: yield it instead")
        if self.error is not None:
            question.failed("dumps", self.error, "the items are not stored")
            return
        yield from keep(question, self.items, self.seconds, self._notes)


class Iterations:
    """The calls of one generator function."""

    __slots__ = ("function", "plan")

    def __init__(self, function: Callable[..., Iterator[Any]], plan: Plan) -> None:
        self.function: Final = function
        self.plan = plan

    def wrapper(self) -> Callable[..., Generator[Any, Any, Any]]:
        """The generator function to call instead."""
        return self.forced(None)

    def forced(self, mode: Mode | None) -> Callable[..., Generator[Any, Any, Any]]:
        """The same in ``mode``, whatever the one in force."""
        open_, relay = self._open, self._relay

        def cached(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            return (yield from relay(*open_(args, kwargs, mode)))

        return cached

    def result(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None = None) -> Result[list[Any]]:
        """All the items in a list, with their circumstances."""
        source, recording = self._open(args, kwargs, mode)
        if isinstance(source, Result):
            return source
        return Result(list(self._relay(source, recording)), False, 0.0, 0.0)

    def _open(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None
    ) -> tuple[Iterator[Any] | Result[list[Any]], Recording]:
        return run(_opening(self.plan, lambda: self.function(*args, **kwargs), args, kwargs, mode))

    def _relay(self, source: Iterator[Any] | Result[list[Any]], recording: Recording) -> Generator[Any, Any, Any]:
        if isinstance(source, Result):
            yield from source.value
            return None
        # `yield from` would do but for the recording; what is sent and thrown reaches the generator by hand.
        generator: Any = source
        try:
            recording.resume()
            item = next(generator)
            while True:
                recording.add(item)
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001
                    recording.resume(diverted=True)
                    item = generator.throw(error)
                else:
                    recording.resume(diverted=sent is not None)
                    item = generator.send(sent)
        except StopIteration as stop:
            run(recording.end(stop.value))
            return stop.value
        finally:
            generator.close()


class AsyncIterations:
    """The calls of one async generator function."""

    __slots__ = ("function", "plan")

    def __init__(self, function: Callable[..., AsyncIterator[Any]], plan: Plan) -> None:
        self.function: Final = function
        self.plan = plan

    def wrapper(self) -> Callable[..., AsyncGenerator[Any, Any]]:
        """The async generator function to call instead."""
        return self.forced(None)

    def forced(self, mode: Mode | None) -> Callable[..., AsyncGenerator[Any, Any]]:
        """The same in ``mode``, whatever the one in force."""
        open_ = self._open

        async def cached(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            source, recording = await open_(args, kwargs, mode)
            if isinstance(source, Result):
                for item in source.value:
                    yield item
                return
            generator: Any = source
            try:
                recording.resume()
                item = await anext(generator)
                while True:
                    recording.add(item)
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001
                        recording.resume(diverted=True)
                        item = await generator.athrow(error)
                    else:
                        recording.resume(diverted=sent is not None)
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                await arun(recording.end())
            finally:
                await generator.aclose()

        return cached

    async def result(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None = None
    ) -> Result[list[Any]]:
        """All the items in a list, with their circumstances."""
        source, recording = await self._open(args, kwargs, mode)
        if isinstance(source, Result):
            return source
        items: list[Any] = []
        recording.resume()
        async for item in source:
            recording.add(item)
            items.append(item)
            recording.resume()
        await arun(recording.end())
        return Result(items, False, 0.0, 0.0)

    async def _open(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None
    ) -> tuple[AsyncIterator[Any] | Result[list[Any]], Recording]:
        return await arun(_opening(self.plan, lambda: self.function(*args, **kwargs), args, kwargs, mode))


def _opening(
    plan: Plan, compute: Callable[[], T], args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None
) -> Generator[Step, Any, tuple[T | Result[list[Any]], Recording]]:
    """Where the items of a call come from, and the recording that listens."""
    mode = plan.modes.current(mode)
    if mode is Mode.BYPASS:
        return bypassed(plan, compute), Recording()
    try:
        question = Question(plan, plan.path(args, kwargs), args, kwargs, mode)
    except PluginError as error:
        return unkeyed(plan, error, compute), Recording()
    found = (yield from look_up(question)) if mode.reads else Missed(Reason.FORCED)
    if isinstance(found, Result):
        return found, Recording()
    recording = _begin(question, found)
    return compute(), recording


def _begin(question: Question, missed: Missed) -> Recording:
    if not question.mode.computes:
        raise absent(question.plan, question.path, missed) from missed.error
    notes = describe(question)
    tell_miss(question, missed, notes)
    return Recording(question, notes)

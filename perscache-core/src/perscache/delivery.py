"""How the results of a batch are come by: in the caller's thread and on an executor, or in tasks of an event loop."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .batch import HELD, Batch, Place
from .entry import Stored
from .errand import Sender
from .errors import ConfigurationError, StorageError
from .progress import Progress
from .protocol import Result
from .steps import Raised, arun, run
from .storage.base import AT_ONCE

if TYPE_CHECKING:
    from asyncio import Task
    from concurrent.futures import Executor

    from .handle import Handle

LIMIT: Final = 100
"""The most coroutines that run at once."""


class Settings(NamedTuple):
    """How a batch is to be delivered; see `Handle.map`."""

    executor: Executor | None
    progress: Progress
    return_exceptions: bool
    ahead: int
    limit: int | None


def deliver(
    handle: Handle[..., Any, Any], calls: Iterable[Any], settings: Settings
) -> Generator[Any, None, None] | AsyncGenerator[Any, None]:
    """The results of the calls, in their order: for ``async for`` where they are coroutines.

    Raises ConfigurationError for a setting without meaning.
    """
    batch = _batch(handle, calls, settings)
    return AsyncDelivery(batch, settings).results() if batch.asynchronous else Delivery(batch, settings).results()


def adeliver(handle: Handle[..., Any, Any], calls: Iterable[Any], settings: Settings) -> AsyncGenerator[Any, None]:
    """The same for ``async for``, whatever the function."""
    return AsyncDelivery(_batch(handle, calls, settings), settings).results()


class Delivery:
    """For plain functions. Without an executor what is missing is made in this thread, each when its turn comes."""

    def __init__(self, batch: Batch, settings: Settings) -> None:
        self._batch: Final = batch
        self._executor: Final = settings.executor
        local = batch.plan.storage.local
        # One at a time, where looking ahead would gain nothing.
        straight = self._executor is None and (local or not batch.mode.reads)
        self._ahead: Final = 1 if straight else settings.ahead
        self._enough: Final = self._ahead - 1 if local else self._ahead // 2
        """The most calls in the line with which look-ups start anew: where they go together, with many."""
        self._asked: Final[deque[Place]] = deque()
        """Places that the storage has not answered yet, in order."""
        self._answers: Generator[Stored | Exception, None, None] = _none()

    def results(self) -> Generator[Any, None, None]:
        """What the calls come to, in their order."""
        batch = self._batch
        try:
            run(batch.begin())
            while self._fill():
                place = batch.line[0]
                while self._asked and self._asked[0] is place:
                    self._hear()
                place.outcome = place.outcome or self._made(place)
                yield from batch.leave()
            batch.finish()
        except KeyboardInterrupt as interrupt:
            batch.interrupted(interrupt)
            raise
        finally:
            self._answers.close()
            # From the end, where the executor is not yet.
            for place in reversed(batch.line):
                if place.future is not None:
                    place.future.cancel()
            batch.close()

    def _fill(self) -> bool:
        """Let calls join, and hear of them, as far as that is to be before the front leaves; whether there is any."""
        line = self._batch.line
        if self._executor is None:
            while not line and self._look_up():
                self._hear()
            return bool(line)
        # What is missing is to be found early. But who is ready need not wait for more than two others.
        heard = 0
        while self._batch.held < HELD and (self._asked or self._look_up()):
            self._hear()
            heard += 1
            if heard >= 2 and line and ((future := line[0].future) is None or future.done()):
                break
        return bool(line)

    def _look_up(self) -> bool:
        """Begin to look up further calls, if there is room for them."""
        if self._batch.ended or len(self._batch.line) > self._enough:
            return False
        plan = self._batch.plan
        load: Callable[..., Any] = plan.storage.load_many
        further = (plan.max_age,) if plan.form is None else (plan.max_age, plan.form)
        self._answers.close()
        self._answers = load(self._paths(), *further)
        return True

    def _paths(self) -> Iterator[str]:
        """Let calls join as they are asked for; the paths of those that are to be looked up."""
        batch = self._batch
        while not batch.ended and len(batch.line) < self._ahead:
            for place in batch.join(1):
                if batch.to_look_up(place):
                    self._asked.append(place)
                    yield place.path
                else:
                    self._send(place)

    def _hear(self) -> None:
        """Take the next answer, if any is to come."""
        started = perf_counter()
        stored = next(self._answers, None)
        if stored is not None:
            place = self._asked.popleft()
            run(self._batch.heard(place, stored, started))
            self._send(place)
        elif self._asked:
            kind = type(self._batch.plan.storage).__name__
            raise StorageError(f"{kind}.load_many() gave fewer answers than it took paths: mend the storage")

    def _send(self, place: Place) -> None:
        if self._executor is not None and self._batch.to_make(place):
            _submit(self._batch, place, self._executor)

    def _made(self, place: Place) -> Result[Any] | Raised:
        if place.first is not None:
            return run(self._batch.again(place, place.first))
        errand = self._batch.errand(place)
        if place.future is None:
            return _caught(errand.result)
        try:
            came = place.future.result()
        except Exception as error:  # noqa: BLE001  # It is raised, or handed out, in its turn.
            if not place.future.cancelled():
                errand.lost()
            return Raised(error)
        return _caught(errand.received, came)


class AsyncDelivery:
    """On an event loop: coroutines in tasks, ``limit`` at once; plain functions in a thread, or on an executor."""

    def __init__(self, batch: Batch, settings: Settings) -> None:
        self._batch: Final = batch
        self._executor: Final = settings.executor
        self._ahead: Final = settings.ahead
        self._limit: Final = (settings.limit or LIMIT) if batch.asynchronous else 1
        self._looking = 0
        self._tasks: Final[set[Task[None]]] = set()

    async def results(self) -> AsyncGenerator[Any, None]:
        """What the calls come to, in their order."""
        import asyncio

        batch = self._batch
        self._running = asyncio.Semaphore(self._limit)
        self._changed = asyncio.Event()
        try:
            await arun(batch.begin())
            while self._fill():
                place = batch.line[0]
                if place.first is not None:
                    place.outcome = await arun(batch.again(place, place.first))
                if place.outcome is None:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                for value in batch.leave():
                    yield value
            batch.finish()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            batch.close()

    def _fill(self) -> bool:
        """Let calls join, each with a task of its own; whether anybody stands in the line."""
        import asyncio

        batch = self._batch
        while not batch.ended and len(batch.line) < self._ahead and self._looking < AT_ONCE and batch.held < HELD:
            for place in batch.join(1):
                if place.first is None and place.outcome is None:
                    self._looking += batch.to_look_up(place)
                    task = asyncio.create_task(self._settle(place))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        return bool(batch.line)

    async def _settle(self, place: Place) -> None:
        from asyncio import CancelledError

        try:
            if self._batch.to_look_up(place):
                await self._look_up(place)
            place.outcome = place.outcome or await self._made(place)
        except (Exception, CancelledError) as error:  # noqa: BLE001  # Handed out in its turn; a function may cancel itself.
            place.outcome = Raised(error)  # type: ignore[arg-type]
        finally:
            self._changed.set()

    async def _look_up(self, place: Place) -> None:
        started = perf_counter()
        try:
            stored: Stored | Exception = await self._batch.plan.aload(place.path)
        except Exception as error:  # noqa: BLE001  # Whatever a storage raises is a miss.
            stored = error
        finally:
            self._looking -= 1
            self._changed.set()
        await arun(self._batch.heard(place, stored, started))

    async def _made(self, place: Place) -> Result[Any] | Raised | None:
        import asyncio

        errand = self._batch.errand(place)
        if self._executor is None or not self._batch.mode.computes:
            async with self._running:
                return await (
                    errand.aresult() if self._batch.asynchronous else asyncio.to_thread(_caught, errand.result)
                )
        _submit(self._batch, place, self._executor)
        if place.future is None:
            return place.outcome
        try:
            came = await asyncio.wrap_future(place.future)
        except Exception:
            if not place.future.cancelled():
                errand.lost()
            raise
        # What came from another process may have to be stored, or made again, here.
        return came if isinstance(came, Result) else await asyncio.to_thread(_caught, errand.received, came)


def _caught(work: Callable[..., Result[Any]], *args: Any) -> Result[Any] | Raised:
    """What ``work`` comes to. A future of asyncio cannot be told of a StopIteration, and would wait for ever."""
    try:
        return work(*args)
    except Exception as error:  # noqa: BLE001  # It is raised, or handed out, in its turn.
        return Raised(error)


def _none() -> Generator[Any, None, None]:
    yield from ()


def _submit(batch: Batch, place: Place, executor: Executor) -> None:
    """Give the call to the executor; where that takes no more, there will be no result."""
    if batch.broken is None:
        try:
            place.future = executor.submit(batch.errand(place))
        except Exception as error:  # noqa: BLE001  # Shut down, or its processes are dead.
            error.add_note("perscache: keep the executor open until map() has given the last result")
            batch.breaks(error)
    if batch.broken is not None:
        place.outcome = Raised(batch.broken)


def _batch(handle: Handle[..., Any, Any], calls: Iterable[Any], settings: Settings) -> Batch:
    batch = Batch(Sender(handle, handle._calls), calls, settings.progress, settings.return_exceptions)
    name = batch.plan.name
    for setting in ("ahead", "limit"):
        value = getattr(settings, setting)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConfigurationError(f"{name}: {setting}={value!r} is no number of calls: give 1 or more")
    if settings.limit is not None and not batch.asynchronous:
        raise ConfigurationError(f"{name}: limit= is for coroutine functions; an executor has its own")
    if settings.executor is not None:
        _check_executor(settings.executor, batch)
    return batch


def _check_executor(executor: object, batch: Batch) -> None:
    from concurrent.futures import Executor

    name = batch.plan.name
    if batch.asynchronous:
        raise ConfigurationError(
            f"{name} is a coroutine function, which no executor runs: limit= says how many run at once"
        )
    if not isinstance(executor, Executor):
        raise ConfigurationError(
            f"{name}: executor= takes a concurrent.futures.Executor, not {type(executor).__name__}: give "
            "ThreadPoolExecutor(), ProcessPoolExecutor(), or a Dask client's client.get_executor()"
        )

"""The handle ``f.cache``: everything about a cached function but calling it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, ParamSpec, TypeVar, overload

from .entry import Entry, moment
from .errors import CacheExpired, Unsupported
from .modes import Mode
from .plan import Plan
from .protocol import Missed, Question, Result, absent, describe, keep, look_up
from .steps import arun, run

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .batch import Arguments
    from .calls import AsyncCalls, Calls
    from .explanation import Explanation
    from .iterations import AsyncIterations, Iterations
    from .key import KeyBuilder
    from .progress import Progress
    from .storage.base import Storage

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")


class CacheInfo(NamedTuple):
    """What ``f.cache_info()`` tells: the four of `functools`, then ours. Counts are this process's."""

    hits: int
    misses: int
    maxsize: int | None
    """The most entries that the storage keeps, of all functions; None for no limit."""
    currsize: int | None
    """Entries of this function in storage; None where the storage cannot list."""
    stale: int
    """Misses because an entry had expired."""
    errors: int
    """Troubles in storage, serializer or plugin that were survived."""
    bytes: int
    """Serialized bytes read by hits."""
    saved: float
    """Seconds of computing that hits saved, as far as the storage keeps them."""


class Handle(Generic[P, R_co, V]):
    """All about one cached function: ``P`` its parameters, ``R_co`` what calling it gives, ``V`` the stored value.

    For a generator function the value is the list of its items.
    """

    __slots__ = ("__weakref__", "_calls", "_settings")

    def __init__(self, calls: Calls | AsyncCalls | Iterations | AsyncIterations, settings: dict[str, Any]) -> None:
        self._calls: Final = calls
        self._settings: Final = settings

    @property
    def _plan(self) -> Plan:
        return self._calls.plan

    def _move(self, place: Callable[[Storage], Storage]) -> Callable[[], None]:
        former = self._plan
        storage = place(former.storage)
        if storage is not former.storage:
            self._follow(former.at(storage))
        return partial(self._follow, former)

    def _follow(self, plan: Plan) -> None:
        # Accepted edits are a storage's: what one says must not outlive it, and is looked for again.
        for either in (self._plan, plan):
            either.acceptance.reset()
        self._calls.plan = plan

    @property
    def builder(self) -> KeyBuilder:
        """What makes this function's keys."""
        return self._plan.builder

    # --- Looking. Nothing here runs the function.

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The storage path of this call, for example ``myapp.prices/9c1e….pickle``. The storage is not asked."""
        return self._plan.path(args, kwargs)

    def get(self, *args: P.args, **kwargs: P.kwargs) -> V:
        """The stored value; raises CacheMiss where there is no usable entry."""
        question = self._ask(args, kwargs)
        return _value(question, run(look_up(question)))  # type: ignore[no-any-return]

    async def aget(self, *args: P.args, **kwargs: P.kwargs) -> V:
        """`get` without holding up the event loop."""
        question = self._ask(args, kwargs)
        return _value(question, await arun(look_up(question)))  # type: ignore[no-any-return]

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """What is known of the stored result, fresh or not, without loading it; None where there is none."""
        entry = self._plan.storage.peek(self._path(args, kwargs))
        return None if entry is None else self._complete(entry)

    async def apeek(self, *args: P.args, **kwargs: P.kwargs) -> Entry | None:
        """`peek` without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.peek, *args, **kwargs)

    def contains(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether this call is stored and fresh."""
        plan = self._plan
        path = self._path(args, kwargs)
        try:
            return plan.storage.holds(path, plan.max_age)
        except Unsupported:
            return not isinstance(run(look_up(self._ask(args, kwargs))), Missed)

    def entries(self) -> Iterator[Entry]:
        """This function's stored results, of former versions of its code too, in no order."""
        return (self._complete(entry) for entry in self._plan.storage.entries(self._plan.folder))

    def info(self) -> CacheInfo:
        """How this function's calls went in this process, and how many entries it has."""
        plan, counted = self._plan, self._plan.statistics
        try:
            size = sum(1 for _ in self.entries())
        except (Unsupported, OSError):
            size = None
        return CacheInfo(
            counted.hits,
            counted.misses,
            getattr(plan.storage, "max_entries", None),
            size,
            counted.stale,
            counted.errors,
            counted.bytes,
            counted.saved,
        )

    def parameters(self) -> dict[str, Any]:
        """The settings in force, after configuration."""
        plan = self._plan
        return {
            **self._settings,
            "storage": plan.storage.identity,
            "maxsize": getattr(plan.storage, "max_entries", None),
            "max_size": plan.storage.max_size,
            "mode": plan.modes.default.label,
        }

    def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """Why this call is a hit or a miss: for a miss, what differs from the nearest stored result."""
        from .explanation import Explanation, nearest

        plan = self._plan
        path = self._path(args, kwargs)
        entry, reason = self._own_entry(path)
        near: Entry | None = None
        differences: tuple[str, ...] = ()
        if reason in {"absent", "unreadable"}:
            with contextlib.suppress(Unsupported):
                near, differences = nearest(plan.builder.describe(args, kwargs)[1], self.entries())
        accepted = plan.builder.adopted != plan.builder.code
        return Explanation(plan.name, path, reason, entry, near, differences, accepted)

    def __dask_tokenize__(self) -> tuple[str, ...]:
        """What Dask makes its own keys of: stable across processes, and another one for other code.

        A decorator around a cached function copies this with its other attributes (`functools.wraps`). Dask must not
        take the two for one, so that whoever is not the cached function itself has a new token each time.
        """
        function = self._calls.function
        for one in sys._getframe(1).f_locals.values():
            if one is self or (isinstance(one, FunctionType) and vars(one).get("__wrapped__") is function):
                with contextlib.suppress(Exception):  # What has no key.
                    return "perscache", self.builder.function_name, self.builder.code
        return "perscache", os.urandom(16).hex()

    # --- Running the function. For a coroutine function these are awaited, for generators iterated.

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function and overwrite what is stored."""
        return self._calls.forced(Mode.REFRESH)(*args, **kwargs)  # type: ignore[return-value]

    def bypass(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function and touch nothing."""
        return self._calls.forced(Mode.BYPASS)(*args, **kwargs)  # type: ignore[return-value]

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Result[V]:
        """Call as ever, and get the `Result`: value, hit, age, saved. Awaited where the function is asynchronous."""
        return self._calls.result(args, kwargs)  # type: ignore[return-value]

    # --- Many calls at once.

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> Arguments:
        """A call for `map`, of any form: ``f.cache.map(f.cache.arguments(x, unit="m") for x in xs)``."""
        from .batch import Arguments

        return Arguments(args, kwargs)

    @overload  # What is not said of the result may be awaitable too, hence the overlap.
    def map(  # type: ignore[overload-overlap]
        self: Handle[P, Awaitable[Any] | AsyncIterator[Any], V],
        calls: Iterable[Any],
        executor: None = None,
        progress: Progress = False,
        *,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> AsyncGenerator[V, None]: ...
    @overload  # What is not said of the result may be awaitable too, hence the overlap.
    def map(  # type: ignore[overload-overlap]
        self: Handle[P, Awaitable[Any] | AsyncIterator[Any], V],
        calls: Iterable[Any],
        executor: None = None,
        progress: Progress = False,
        *,
        return_exceptions: bool,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> AsyncGenerator[V | Exception, None]: ...
    @overload
    def map(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        ahead: int = 1000,
    ) -> Generator[V, None, None]: ...
    @overload
    def map(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        return_exceptions: bool,
        ahead: int = 1000,
    ) -> Generator[V | Exception, None, None]: ...
    def map(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        return_exceptions: bool = False,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> Any:
        """The results of many calls, in their order, each as soon as it and those before it are there.

        All are looked up together, and only the missing ones run, one for calls that are the same: in this thread one
        after another, or on ``executor``. For a coroutine function it is iterated by ``async for``, and ``limit`` (100)
        of them run at once. Nothing happens before the first result is asked for; the mode is the one in force now.

        Parameters:
            calls: a tuple is a call's positional arguments, a dict its keywords, anything else its one argument;
                ``f.cache.arguments(...)`` is a call of any form. They are read ``ahead`` calls in advance.
            executor: a `concurrent.futures.Executor` of threads or processes, or ``client.get_executor()`` of a Dask
                client. Keep it open until the last result. A worker that sees the storage stores what it computes.
            progress: True for a bar of hits and misses by tqdm; or what makes one, called as ``tqdm.tqdm`` is.
            return_exceptions: hand out what a call raised in place of its result. Else the first exception is raised
                when all other calls are made, which for endless ``calls`` is never.
            ahead: the most calls (1000) that are looked up, run or finished before their turn.

        Who stops iterating cancels what has not started. Raises ConfigurationError for an argument without meaning.
        """
        from .delivery import Settings, deliver

        return deliver(self, calls, Settings(executor, progress, return_exceptions, ahead, limit))

    @overload
    def amap(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> AsyncGenerator[V, None]: ...
    @overload
    def amap(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        return_exceptions: bool,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> AsyncGenerator[V | Exception, None]: ...
    def amap(
        self,
        calls: Iterable[Any],
        executor: Executor | None = None,
        progress: Progress = False,
        *,
        return_exceptions: bool = False,
        ahead: int = 1000,
        limit: int | None = None,
    ) -> Any:
        """`map` for ``async for``, whatever the function: a plain one runs off the event loop, one call at a time."""
        from .delivery import Settings, adeliver

        return adeliver(self, calls, Settings(executor, progress, return_exceptions, ahead, limit))

    # --- Changing what is stored.

    def put(self, value: V, *args: P.args, **kwargs: P.kwargs) -> None:
        """Store ``value`` by hand as the result of this call, unless the mode in force forbids to write."""
        self._plan.acceptance.recall()
        question = self._ask(args, kwargs, self._plan.modes.current())
        run(keep(question, value, 0.0, describe(question)))

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove this call's entry; whether there was one."""
        return self._plan.storage.delete(self._path(args, kwargs))

    def clear(self) -> None:
        """Remove this function's entries."""
        self._plan.storage.clear(self._plan.folder)
        self._plan.acceptance.forget()

    def accept(self, *, undo: bool = False) -> int:
        """After an edit that changes no result: keep using what the former version stored; how many results that keeps.

        The former version is the one that stored last. It is recorded in the storage, for all who share it, and shown
        by `explain`; ``undo`` takes it back. 0 where there is nothing to keep or to take back.
        """
        return int(self._plan.acceptance.undo()) if undo else self._plan.acceptance.record()

    def _path(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The storage path of a call, accepted edits considered."""
        self._plan.acceptance.recall()
        return self._plan.path(args, kwargs)

    def _own_entry(self, path: str) -> tuple[Entry | None, str]:
        """What is known of the entry under ``path``, and whether a call would use it."""
        plan = self._plan
        entry = None
        with contextlib.suppress(Unsupported):
            found = plan.storage.peek(path)
            entry = None if found is None else self._complete(found)
        try:
            plan.decode(path, plan.load(path).data)
        except CacheExpired:
            return entry, "expired"
        except FileNotFoundError:
            return entry, "absent"
        except Exception:  # noqa: BLE001  # Whatever it is, a call would be a miss.
            return entry, "unreadable"
        return entry, "stored"

    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode = Mode.READONLY) -> Question:
        return Question(self._plan, self._plan.path(args, kwargs), args, kwargs, mode)

    def _complete(self, entry: Entry) -> Entry:
        expires = self._plan.expires(entry.created.timestamp())
        return dataclasses.replace(
            entry,
            expires=None if expires is None else moment(expires),
            format=entry.format or self._plan.format,
            function=entry.function or self._plan.name,
        )


def _value(question: Question, found: Result[Any] | Missed) -> Any:
    if isinstance(found, Missed):
        raise absent(question.plan, question.path, found) from found.error
    return found.value

"""Calls of functions and coroutine functions: from decorated to answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from . import single_flight
from .errors import PluginError
from .modes import Mode
from .plan import Plan
from .protocol import Missed, Question, Result, answer, missed_by, undecodable
from .statistics import Reason
from .steps import Raised, adecode, arun, run
from .trouble import logger

T = TypeVar("T")


class Calls:
    """The calls of one plain function."""

    __slots__ = ("function", "plan")

    def __init__(self, function: Callable[..., Any], plan: Plan) -> None:
        self.function: Final = function
        self.plan = plan

    def wrapper(self) -> Callable[..., Any]:
        """The function to call instead."""
        value = self._value

        def cached(*args: Any, **kwargs: Any) -> Any:
            return value(args, kwargs)

        return cached

    def forced(self, mode: Mode) -> Callable[..., Any]:
        """The same in ``mode``, whatever the one in force."""

        def cached(*args: Any, **kwargs: Any) -> Any:
            return self.result(args, kwargs, mode).value

        return cached

    def result(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None = None) -> Result[Any]:
        """The function's result with its circumstances, in ``mode`` or in the one in force."""

        def compute() -> Any:
            return self.function(*args, **kwargs)

        plan = self.plan
        mode = plan.modes.current(mode)
        if mode is Mode.BYPASS:
            return Result(bypassed(plan, compute), False, 0.0, 0.0)
        try:
            path = plan.path(args, kwargs)
        except PluginError as error:
            return Result(unkeyed(plan, error, compute), False, 0.0, 0.0)
        return settle(run(answer(Question(plan, path, args, kwargs, mode)), compute))

    def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The function's result, from storage or new."""
        plan = self.plan
        if not plan.modes.straight or plan.observers.active or logger.isEnabledFor(logging.DEBUG):
            return self.result(args, kwargs).value
        # The straight path: what `protocol.look_up` does for a hit, without its steps. A miss goes on by the rules.
        seen = single_flight.landings()
        try:
            path = plan.path(args, kwargs)
        except PluginError as error:
            return unkeyed(plan, error, lambda: self.function(*args, **kwargs))
        known: Missed
        try:
            # What `plan.load` does, without its frame.
            storage: Any = plan.storage
            form = plan.form
            stored = storage.load(path, plan.max_age) if form is None else storage.load(path, plan.max_age, form)
        except Exception as error:  # noqa: BLE001  # Whatever a storage raises is a miss.
            question = Question(plan, path, args, kwargs, Mode.NORMAL)
            known = missed_by(question, error)
        else:
            try:
                value = plan.decode(path, stored.data)
            except Exception as error:  # noqa: BLE001  # Whatever a serializer raises, too.
                question = Question(plan, path, args, kwargs, Mode.NORMAL)
                known = undecodable(question, error)
            else:
                plan.statistics.hit(len(stored.data), stored.compute_time)
                return value
        return settle(run(answer(question, known, seen), lambda: self.function(*args, **kwargs))).value


class AsyncCalls:
    """The calls of one coroutine function."""

    __slots__ = ("function", "plan")

    def __init__(self, function: Callable[..., Awaitable[Any]], plan: Plan) -> None:
        self.function: Final = function
        self.plan = plan

    def wrapper(self) -> Callable[..., Awaitable[Any]]:
        """The coroutine function to call instead."""
        value = self._value

        async def cached(*args: Any, **kwargs: Any) -> Any:
            return await value(args, kwargs)

        return cached

    def forced(self, mode: Mode) -> Callable[..., Awaitable[Any]]:
        """The same in ``mode``, whatever the one in force."""
        result = self.result

        async def cached(*args: Any, **kwargs: Any) -> Any:
            return (await result(args, kwargs, mode)).value

        return cached

    async def result(self, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode | None = None) -> Result[Any]:
        """The coroutine's result with its circumstances, in ``mode`` or in the one in force."""

        def compute() -> Awaitable[Any]:
            return self.function(*args, **kwargs)

        plan = self.plan
        mode = plan.modes.current(mode)
        if mode is Mode.BYPASS:
            return Result(await bypassed(plan, compute), False, 0.0, 0.0)
        try:
            path = plan.path(args, kwargs)
        except PluginError as error:
            return Result(await unkeyed(plan, error, compute), False, 0.0, 0.0)
        return settle(await arun(answer(Question(plan, path, args, kwargs, mode)), compute))

    async def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The coroutine's result, from storage or new: the straight path of `Calls`."""
        plan = self.plan
        if not plan.modes.straight or plan.observers.active or logger.isEnabledFor(logging.DEBUG):
            return (await self.result(args, kwargs)).value
        seen = single_flight.landings()
        try:
            path = plan.path(args, kwargs)
        except PluginError as error:
            return await unkeyed(plan, error, lambda: self.function(*args, **kwargs))
        known: Missed
        try:
            stored = await plan.aload(path)
        except Exception as error:  # noqa: BLE001
            question = Question(plan, path, args, kwargs, Mode.NORMAL)
            known = missed_by(question, error)
        else:
            try:
                value = await adecode(plan, path, stored.data)
            except Exception as error:  # noqa: BLE001
                question = Question(plan, path, args, kwargs, Mode.NORMAL)
                known = undecodable(question, error)
            else:
                plan.statistics.hit(len(stored.data), stored.compute_time)
                return value
        return settle(await arun(answer(question, known, seen), lambda: self.function(*args, **kwargs))).value


def settle(outcome: Result[Any] | Raised) -> Result[Any]:
    """The result; raises what the function raised."""
    if isinstance(outcome, Raised):
        try:
            raise outcome.error
        finally:
            del outcome  # Else the traceback holds this frame, and this frame the traceback.
    return outcome


def bypassed(plan: Plan, compute: Callable[[], T]) -> T:
    """What the function gives when nothing is to be touched."""
    plan.statistics.miss(Reason.FORCED)
    return compute()


def unkeyed(plan: Plan, error: PluginError, compute: Callable[[], T]) -> T:
    """What the function gives when a plugin failed to make the call's key."""
    Question(plan, "", (), {}, Mode.BYPASS).failed("key", error, "the function runs and nothing is stored")
    return bypassed(plan, compute)

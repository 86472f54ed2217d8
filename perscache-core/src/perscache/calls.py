"""Calls of functions and coroutine functions: from decorated to answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from . import single_flight
from .errors import PluginError
from .modes import Mode
from .plan import Plan
from .protocol import Question, Result, answer, missed_by, undecodable
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

        # The straight path: what `protocol.look_up` does for a hit, without its steps and with as few calls as can be.
        def cached(*args: Any, **kwargs: Any) -> Any:
            plan = self.plan
            if not plan.modes.straight or plan.observers.active or logger.isEnabledFor(logging.DEBUG):
                return self.result(args, kwargs).value
            seen = single_flight.landings()
            try:
                path = f"{plan.prefix}{plan.builder.digest(args, kwargs)}{plan.suffix}"
            except PluginError as error:
                return unkeyed(plan, error, partial(self.function, *args, **kwargs))
            stored: Any = None
            try:
                storage: Any = plan.storage
                form = plan.form
                stored = storage.load(path, plan.max_age) if form is None else storage.load(path, plan.max_age, form)
                value = plan.decode(path, stored.data)
            except Exception as error:  # noqa: BLE001  # Whatever a storage or a serializer raises is a miss.
                missed = missed_by if stored is None else undecodable
                question = Question(plan, path, args, kwargs, Mode.NORMAL)
                known = missed(question, error)
            else:
                plan.statistics.hit(len(stored.data), stored.compute_time)
                return value
            return settle(run(answer(question, known, seen), partial(self.function, *args, **kwargs))).value

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


class AsyncCalls:
    """The calls of one coroutine function."""

    __slots__ = ("function", "plan")

    def __init__(self, function: Callable[..., Awaitable[Any]], plan: Plan) -> None:
        self.function: Final = function
        self.plan = plan

    def wrapper(self) -> Callable[..., Awaitable[Any]]:
        """The coroutine function to call instead."""

        # The straight path of `Calls`.
        async def cached(*args: Any, **kwargs: Any) -> Any:
            plan = self.plan
            if not plan.modes.straight or plan.observers.active or logger.isEnabledFor(logging.DEBUG):
                return (await self.result(args, kwargs)).value
            seen = single_flight.landings()
            try:
                path = f"{plan.prefix}{plan.builder.digest(args, kwargs)}{plan.suffix}"
            except PluginError as error:
                return await unkeyed(plan, error, partial(self.function, *args, **kwargs))
            stored: Any = None
            try:
                stored = await plan.aload(path)
                value = await adecode(plan, path, stored.data)
            except Exception as error:  # noqa: BLE001
                missed = missed_by if stored is None else undecodable
                question = Question(plan, path, args, kwargs, Mode.NORMAL)
                known = missed(question, error)
            else:
                plan.statistics.hit(len(stored.data), stored.compute_time)
                return value
            return settle(await arun(answer(question, known, seen), partial(self.function, *args, **kwargs))).value

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

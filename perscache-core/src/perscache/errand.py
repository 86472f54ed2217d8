"""An errand: one call on its way to an executor, of this process, of another, or of another machine.

Here it is the call as ever, in the context of who sent it. Elsewhere it is made by the function as it is there: looked
up under a lock, run and stored by the worker, so that the result outlives whoever waits for it. What the worker counted
and would have told observers comes back with the value, and is counted and told once, here.
"""

from __future__ import annotations

import copy
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial, partialmethod
from importlib import import_module
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from . import modes
from .calls import AsyncCalls, Calls, settle
from .counts import Counts
from .errors import PerscacheError, SerializationError
from .iterations import AsyncIterations, Iterations
from .modes import Mode
from .protocol import Missed, Notes, Question, Result, answer, describe, keep, tell_miss
from .statistics import Reason, Statistics
from .steps import Raised, arun, run

if TYPE_CHECKING:
    from .handle import Handle
    from .plan import Plan

AnyCalls: TypeAlias = Calls | AsyncCalls | Iterations | AsyncIterations


class Sender:
    """The function that errands are for, pickled once for all of them."""

    __slots__ = ("_handle", "_pickled", "calls")

    def __init__(self, handle: Handle[..., Any, Any], calls: AnyCalls) -> None:
        self._handle: Final = handle
        self._pickled: bytes | None = None
        self.calls: Final = calls

    def pickled(self) -> bytes:
        """By name where it can be imported, so that each worker has its own; else by value."""
        if self._pickled is None:
            named = _importable(self._handle)
            if isinstance(named, MethodType):
                # A class method pickles as the function below it, which has no name of its own.
                named = partial(getattr, named.__self__, named.__name__)
            self._pickled = _dumps(named or self._handle)
        return self._pickled


class Errand:
    """One call to be made.

    ``question`` is None where it has no key, ``missed`` where it was not looked up; ``seen`` is what
    `single_flight.landings` gave before that.
    """

    def __init__(
        self,
        sender: Sender,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        mode: Mode,
        *,
        question: Question | None = None,
        missed: Missed | None = None,
        seen: int | None = None,
    ) -> None:
        self._sender: Final = sender
        self._args: Final = args
        self._kwargs: Final = kwargs
        self._mode: Final = mode
        self._question: Final = question
        self._missed: Final = missed
        self._seen: Final = seen
        self._context: Final = copy_context()
        self._switches: Final = modes.around()
        self._here = False
        # What Dask calls its tasks by.
        self.__name__ = getattr(sender.calls.function, "__name__", "function")

    # --- In this process.

    def result(self) -> Result[Any]:
        """Make the call; raises what the function raises."""
        self._here = True
        calls: Any = self._sender.calls
        if self._question is None or not isinstance(calls, Calls):
            return calls.result(self._args, self._kwargs, self._mode)  # type: ignore[no-any-return]
        return settle(run(answer(self._question, self._missed, self._seen), self._compute))

    async def aresult(self) -> Result[Any]:
        """`result` of a coroutine function or an async generator function."""
        calls: Any = self._sender.calls
        if self._question is None or not isinstance(calls, AsyncCalls):
            return await calls.result(self._args, self._kwargs, self._mode)  # type: ignore[no-any-return]
        return settle(await arun(answer(self._question, self._missed, self._seen), self._compute))

    def _compute(self) -> Any:
        return self._sender.calls.function(*self._args, **self._kwargs)

    # --- By way of an executor, which calls it, or pickles it and calls what comes out.

    def __call__(self) -> Result[Any] | Raised:
        """`result`, in the context of who sent it: its modes, and the computations that it is a part of."""
        try:
            return self._context.run(self.result)
        except StopIteration as error:
            # Which asyncio's futures cannot carry.
            return Raised(error)

    def __reduce__(self) -> tuple[Any, ...]:
        storage = self._sender.calls.plan.storage
        order = Order(
            self._args,
            self._kwargs,
            self._mode,
            "" if self._question is None else self._question.path,
            None if self._missed is None else Missed(self._missed.reason),
            "" if storage.private else storage.identity,
            self._switches,
            self._sender.calls.plan.observers.active,
        )
        return partial, (_abroad, self._sender.pickled(), _dumps(order))

    def __dask_tokenize__(self) -> str:
        """Another one each time: what need not be run again is known here already."""
        import uuid

        return uuid.uuid4().hex

    def received(self, came: Result[Any] | Raised | bytes) -> Result[Any]:
        """The result of what came back from the executor; raises what the function raised."""
        return self._unpacked(pickle.loads(came)) if isinstance(came, bytes) else settle(came)

    def lost(self) -> None:
        """Nothing came back but an exception: of another process it is not known here that the call was a miss."""
        if not self._here:
            self._tell_miss()

    def _tell_miss(self) -> Notes:
        missed = self._missed or Missed(Reason.FORCED)
        if self._question is None:
            self._sender.calls.plan.statistics.miss(missed.reason)
            return "", {}
        notes = describe(self._question)
        tell_miss(self._question, missed, notes)
        return notes

    def _unpacked(self, report: Report) -> Result[Any]:
        plan, question = self._sender.calls.plan, self._question
        plan.statistics.add(report.counts)
        for event, facts in report.told:
            getattr(plan.observers, event)(*facts)
        match report.outcome:
            case Computed(value, seconds):
                notes = self._tell_miss()
                if question is not None:
                    run(keep(question, value, seconds, notes))
                return Result(value, False, 0.0, 0.0)
            case Astray(path) if question is not None:
                question.failed("key", _astray(path, question.path), "the call runs in this process")
                return self.result()
            case Unsent(why):
                return self._fetched(plan, why)
            case outcome:
                return settle(outcome)  # type: ignore[arg-type]

    def _fetched(self, plan: Plan, why: str) -> Result[Any]:
        """The result from storage, since it could not be sent."""
        cause: Exception | None = None
        if self._question is not None:
            path = self._question.path
            try:
                return Result(plan.decode(path, plan.load(path).data), False, 0.0, 0.0)
            except Exception as error:  # noqa: BLE001  # Whatever it is, there is no result.
                cause = error
        raise SerializationError(
            f"{plan.name}: the result cannot be sent back from the executor ({why}), and is not stored: "
            "return what can be pickled, or use threads"
        ) from cause


# --- What travels.


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    mode: Mode
    path: str
    """The storage path of the call; empty where it has no key."""
    missed: Missed | None
    storage: str
    """The identity of the storage that the result belongs in; empty for one that no other process sees."""
    switches: modes.Switches
    observed: bool
    """Whether anybody wants to be told of the call."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker brings back."""

    outcome: Result[Any] | Raised | Computed | Astray | Unsent
    counts: Counts
    told: tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """A value that took so many seconds, and that the worker could not store where it belongs."""

    value: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Astray:
    """The worker has another key for the call: its result would be another's, so it ran nothing."""

    path: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """There is a value, but it cannot be pickled."""

    why: str


def _astray(there: str, here: str) -> PerscacheError:
    return PerscacheError(
        f"the executor's worker makes the key {there} of a call whose key is {here} here, so the function's code, "
        "or what it uses, differs there: bring the workers up to date"
    )


# --- On the worker.


def _abroad(function: bytes, ordered: bytes) -> bytes:
    handle = _handle(function)
    order: Order = pickle.loads(ordered)
    told = Told(order.observed)
    statistics = Statistics()
    # The plan as it is here, but for who counts and who listens.
    plan = copy.copy(handle._calls.plan)
    object.__setattr__(plan, "statistics", statistics)
    object.__setattr__(plan, "observers", told)
    calls: AnyCalls = type(handle._calls)(handle._calls.function, plan)  # type: ignore[arg-type]
    outcome: Result[Any] | Raised | Computed | Astray
    try:
        with modes.within(order.switches):
            outcome = _made(Sender(handle, calls), plan, order)
    except Exception as error:
        if _survives(error, pickle.dumps) and not isinstance(error, StopIteration):
            # To the executor as well the call has failed: Dask may be set to try again.
            raise
        sent: Exception = _sendable(error)
        sent.add_note(f"perscache: raised in process {os.getpid()}, where it came from\n{traceback.format_exc()}")
        outcome = Raised(sent)
    counts = Counts() if isinstance(outcome, Computed) else statistics.now()
    return _packed(Report(outcome, counts, tuple(told.events)))


def _made(sender: Sender, plan: Plan, order: Order) -> Result[Any] | Computed | Astray:
    if not order.path:
        return Errand(sender, order.args, order.kwargs, order.mode).result()
    path = plan.path(order.args, order.kwargs)
    if path != order.path and plan.acceptance.recall():
        path = plan.path(order.args, order.kwargs)
    if path != order.path:
        return Astray(path)
    if order.storage != plan.storage.identity:
        started = time.perf_counter()
        made = Errand(sender, order.args, order.kwargs, Mode.BYPASS).result()
        return Computed(made.value, time.perf_counter() - started)
    question = Question(plan, path, order.args, order.kwargs, order.mode)
    return Errand(sender, order.args, order.kwargs, order.mode, question=question, missed=order.missed).result()


class Told:
    """Stands in for a plan's observers, and remembers what they are to be told."""

    def __init__(self, active: bool) -> None:
        self.active: Final = active
        self.events: Final[list[tuple[str, tuple[Any, ...]]]] = []

    def _tell(self, event: str, *facts: Any) -> None:
        self.events.append((event, tuple(_sendable(fact) for fact in facts)))

    hit = partialmethod(_tell, "hit")
    miss = partialmethod(_tell, "miss")
    store = partialmethod(_tell, "store")
    error = partialmethod(_tell, "error")


def _packed(report: Report) -> bytes:
    try:
        return _dumps(report)
    except Exception as error:  # noqa: BLE001  # Objects that cannot be pickled raise what they like.
        why = f"{type(error).__name__}: {error}"
        return pickle.dumps(Report(Unsent(why), report.counts, report.told))


def _sendable(fact: Any) -> Any:
    """``fact``, or what it says where it is an exception that does not survive the way."""
    if not isinstance(fact, Exception) or _survives(fact, _dumps):
        return fact
    return PerscacheError(f"{type(fact).__qualname__}: {fact}")


def _survives(error: Exception, dumps: Callable[[Any], bytes]) -> bool:
    try:
        return isinstance(pickle.loads(dumps(error)), Exception)
    except Exception:  # noqa: BLE001  # Constructors that want other arguments raise what they like.
        return False


def _dumps(value: Any) -> bytes:
    """A pickle by cloudpickle, for functions and values of ``__main__`` and of notebooks."""
    cloudpickle: Any = import_module("cloudpickle")
    return cloudpickle.dumps(value)  # type: ignore[no-any-return]


_MOST: Final = 8

# Functions that came by value: at every call they would be read, and their keys be made ready, anew.
_came: dict[bytes, Handle[..., Any, Any]] = {}


def _handle(function: bytes) -> Handle[..., Any, Any]:
    handle = _came.get(function)
    if handle is None:
        found: Any = pickle.loads(function)
        found = found() if isinstance(found, partial) else found
        handle = getattr(found, "cache", found)
        if _importable(handle) is None:
            if len(_came) >= _MOST:
                _came.clear()
            _came[function] = handle
    return handle


def _importable(handle: Handle[..., Any, Any]) -> Any:
    """The cached function, where its name leads to it."""
    function = handle._calls.function
    found: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in getattr(function, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found if getattr(found, "cache", None) is handle else None

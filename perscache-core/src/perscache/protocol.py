"""What happens on a call: look up, else compute and keep. Decided here once, without input or output.

`answer`, `look_up` and `keep` are generators of the steps that take time; `steps.run` and `steps.arun` do them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from . import single_flight, trouble
from .buffers import Pieces
from .entry import Entry, Stored, moment
from .errors import CacheExpired, CacheMiss, DamagedEntry, TierError, Unsupported
from .events import Call
from .modes import Mode
from .plan import Plan
from .single_flight import Flight, Seat
from .statistics import Reason
from .steps import Acquire, Compute, Decode, Encode, Join, Raised, Read, Recall, Step, Wait, Write
from .storage.base import Lock
from .trouble import OnError, logger

V = TypeVar("V")

_COMPARED: Final = 1000
"""Entries that a logged miss is compared with."""


Notes: TypeAlias = tuple[str, dict[str, str]]
"""What an entry says of its call: a summary of the arguments, and digests of the key's parts by name."""


class Result(NamedTuple, Generic[V]):
    """What a call came to."""

    value: V
    hit: bool
    """Whether the value came from storage and the function did not run."""
    age: float | None
    """Seconds since the value was stored, 0.0 for a new one; None where the storage cannot tell."""
    saved: float | None
    """Seconds of computing that the hit saved; 0.0 for a miss, None where the storage does not keep it."""


class Missed(NamedTuple):
    """A look-up without a value."""

    reason: Reason
    error: Exception | None = None
    """What failed, if anything did. No entry, or an old one, is no failure: its traceback would hold the arguments."""


class Question:
    """One call on its way: its path, its mode, and what is known of its arguments."""

    __slots__ = ("args", "kwargs", "mode", "path", "plan")

    def __init__(self, plan: Plan, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode) -> None:
        self.plan: Final = plan
        self.path = path
        self.args: Final = args
        self.kwargs: Final = kwargs
        self.mode: Final = mode

    @property
    def call(self) -> Call:
        """What observers are told of it."""
        return Call(self.plan.name, self.path, self.mode.label)

    def failed(self, stage: str, error: BaseException, consequence: str) -> None:
        """Trouble that the caller is not to suffer: counted, told, warned of; raised if that is asked for."""
        plan = self.plan
        plan.statistics.error()
        if plan.observers.active:
            plan.observers.error(self.call, stage, error)
        if plan.on_error is OnError.RAISE:
            raise error
        if plan.on_error is OnError.WARN:
            about = self.path if isinstance(error, DamagedEntry) else type(error)
            trouble.warn(
                f"{plan.name}: {stage} failed, {consequence}: {type(error).__name__}: {error}",
                once=(plan.name, stage, about),
            )


def answer(
    question: Question, known: Missed | None = None, seen: int | None = None
) -> Generator[Step, Any, Result[Any] | Raised]:
    """The whole of a call: its Result or what the function raised; raises CacheMiss where the mode forbids to compute.

    ``known`` is what a look-up just before came to, ``seen`` is `single_flight.landings` before that.
    """
    plan, mode = question.plan, question.mode
    missed = Missed(Reason.FORCED)
    if mode.reads:
        seen = single_flight.landings() if seen is None else seen
        found = (yield from look_up(question)) if known is None else (yield from _recall(question, known))
        if not isinstance(found, Missed):
            return found
        missed = found
        if not mode.computes:
            raise absent(plan, question.path, missed) from missed.error
        if plan.lock:
            return (yield from _fly(question, missed, seen))
    outcome, _ = yield from _compute(question, missed)
    return outcome


def look_up(question: Question) -> Generator[Step, Any, Result[Any] | Missed]:
    """The stored value, or why there is none."""
    plan, path = question.plan, question.path
    started = time.perf_counter()
    try:
        stored: Stored = yield Read(plan, path)
    except Exception as error:  # noqa: BLE001  # Whatever a storage raises is a miss.
        return (yield from _recall(question, missed_by(question, error)))
    try:
        value = yield Decode(plan, path, stored.data)
    except Exception as error:  # noqa: BLE001  # Whatever a serializer raises, too.
        return undecodable(question, error)
    return hit(question, value, stored, time.perf_counter() - started)


def _recall(question: Question, missed: Missed) -> Generator[Step, Any, Result[Any] | Missed]:
    """At the first miss of a process: perhaps the code counts as a former version, whose results are there."""
    plan = question.plan
    if missed.reason is not Reason.ABSENT or plan.acceptance.known or not (yield Recall(plan)):
        return missed
    question.path = plan.path(question.args, question.kwargs)
    return (yield from look_up(question))


def hit(question: Question, value: Any, stored: Stored, seconds: float) -> Result[Any]:
    """Count and tell that ``value`` came from storage."""
    plan = question.plan
    plan.statistics.hit(len(stored.data), stored.compute_time)
    logger.debug("%s: hit %s", plan.name, question.path)
    if plan.observers.active:
        plan.observers.hit(question.call, _entry_of(question, stored), seconds)
    age = None if stored.created is None else max(0.0, time.time() - stored.created)
    return Result(value, True, age, stored.compute_time)


def missed_by(question: Question, error: Exception) -> Missed:
    """The miss that an error of a storage's ``load`` means."""
    match error:
        case CacheExpired():
            return Missed(Reason.EXPIRED)
        case FileNotFoundError() | CacheMiss():
            return Missed(Reason.ABSENT)
        case TierError():
            question.failed("read", error, "the other tiers have no result: the function runs again")
            return Missed(Reason.ABSENT, error)
        case _:
            question.failed("read", error, "the function runs again")
            return Missed(Reason.UNREADABLE, error)


def undecodable(question: Question, error: Exception) -> Missed:
    """The miss that an error of a serializer's ``loads`` means."""
    question.failed("loads", error, "the function runs again")
    return Missed(Reason.UNREADABLE, error)


def _fly(question: Question, missed: Missed, seen: int) -> Generator[Step, Any, Result[Any] | Raised]:
    """Compute, unless somebody is at it: then wait for what that comes to."""
    key = (question.plan.storage.identity, question.path)
    while True:
        seat, flight = single_flight.board(key)
        if seat is Seat.ALONE:
            outcome, _ = yield from _compute(question, missed)
            return outcome
        if seat is Seat.LEAD:
            return (yield from _lead(question, missed, flight, seen))
        yield Wait(flight)
        if flight.outcome is not None:
            return (yield from _share(question, flight.outcome, flight.data))
        seen = single_flight.landings()
        found = yield from look_up(question)
        if not isinstance(found, Missed):
            return found
        missed = found


def _lead(question: Question, missed: Missed, flight: Flight, seen: int) -> Generator[Step, Any, Result[Any] | Raised]:
    """Compute for those who wait in this process, and as the only one among processes where the storage has locks."""
    storage, path = question.plan.storage, question.path
    held = tuple(key[1] for key in single_flight.aboard() if key[0] == storage.identity)
    with flight.leading():
        lock: Lock | None = None
        turn: bool | None = None
        try:
            while turn is None:
                try:
                    lock = lock or (storage.lock(path) if question.mode.writes else None)
                    turn = False if lock is None else (yield Acquire(lock, held))
                except Exception as error:  # noqa: BLE001  # Locks save work, nothing depends on them.
                    turn = False
                    question.failed("lock", error, "other processes may compute the same")
                if _may_have_come(question, turn, seen):
                    found = yield from look_up(question)
                    if not isinstance(found, Missed):
                        return found
                    missed = found
            try:
                outcome, data = yield from _compute(question, missed)
            except Exception as error:
                flight.outcome = Raised(error)
                raise
        finally:
            if lock is not None and turn:
                lock.release()
        if isinstance(data, Pieces):
            # They show the value itself, which the caller may change as soon as it has it.
            try:
                data = (yield Join(data)) if flight.close() else None
            except MemoryError:
                return outcome  # Those who wait look it up.
        flight.data, flight.outcome = data, outcome
        return outcome


def _may_have_come(question: Question, turn: bool | None, seen: int) -> bool:
    """Whether somebody may have stored the result since the look-up, as one who has its ``turn``, or has not."""
    if not turn:
        return turn is None or seen != single_flight.landings()
    try:
        return not question.plan.storage.lacks(question.path)
    except Exception:  # noqa: BLE001  # The look-up tells what is wrong.
        return True


def _share(
    question: Question, outcome: Result[Any] | Raised, data: bytes | None
) -> Generator[Step, Any, Result[Any] | Raised]:
    """As one who waited: the leader's exception, or a value of one's own, loaded as from storage."""
    if isinstance(outcome, Raised):
        return outcome
    value = outcome.value
    if data is not None:
        try:
            value = yield Decode(question.plan, question.path, data)
        except Exception as error:  # noqa: BLE001  # Then all share the leader's value: better than none.
            question.failed("loads", error, "callers at the same time share one result")
    question.plan.statistics.hit(len(data or b""), None)
    return Result(value, True, 0.0, None)


def _compute(
    question: Question, missed: Missed
) -> Generator[Step, Any, tuple[Result[Any] | Raised, bytes | Pieces | None]]:
    """Run the function and keep its result; the bytes that others can load it from, where there are any."""
    notes = describe(question)
    tell_miss(question, missed, notes)
    started = time.perf_counter()
    value = yield Compute()
    if isinstance(value, Raised):
        return value, None
    data = yield from keep(question, value, time.perf_counter() - started, notes)
    return Result(value, False, 0.0, 0.0), data


def tell_miss(question: Question, missed: Missed, notes: Notes) -> None:
    """Count and tell that the function is about to run."""
    plan = question.plan
    plan.statistics.miss(missed.reason)
    if logger.isEnabledFor(logging.INFO):
        because = _because(question, notes) if missed.reason is Reason.ABSENT else ""
        logger.info("%s: miss (%s) %s%s", plan.name, missed.reason.value, question.path, because)
    if plan.observers.active:
        plan.observers.miss(question.call, missed.reason.value)


def _because(question: Question, notes: Notes) -> str:
    """What differs from the nearest of some stored results, where looking at them is cheap."""
    plan, (_, parts) = question.plan, notes
    if not plan.storage.local or not parts:
        return ""
    from .explanation import nearest

    try:
        _, differences = nearest(parts, islice(plan.storage.entries(plan.folder), _COMPARED))
    except (Unsupported, OSError):
        return ""
    return f"; differs from the nearest stored result: {', '.join(differences)}" if differences else ""


def describe(question: Question) -> Notes:
    """What an entry will say of its arguments. Before the function runs, since functions change their arguments."""
    if not question.mode.writes:
        return "", {}
    return question.plan.builder.describe(question.args, question.kwargs)


def keep(question: Question, value: Any, seconds: float, notes: Notes) -> Generator[Step, Any, bytes | Pieces | None]:
    """Store a result that took ``seconds``; gives its serialized bytes, None where there are none. Nothing is lost."""
    plan, path = question.plan, question.path
    if not question.mode.writes:
        return None
    stage = "store_if"
    data: bytes | Pieces | None = None
    try:
        if plan.store_if is not None and not plan.store_if(value):
            return None
        stage = "dumps"
        encoded: bytes | Pieces = yield Encode(plan, path, value)
        data, stage = encoded, "write"
        arguments, parts = notes
        created = time.time()
        expires = plan.expires(created)
        entry = Entry(
            path,
            moment(created),
            len(encoded),
            None if expires is None else moment(expires),
            None,
            seconds,
            plan.format,
            plan.name,
            arguments,
            parts,
        )
        started = time.perf_counter()
        try:
            yield Write(plan, entry, encoded)
        except TierError as error:
            if plan.on_error is OnError.RAISE:
                raise
            question.failed(stage, error, "the result is returned, and stored in the other tiers")
    except Exception as error:  # noqa: BLE001  # The result is worth more than its copy.
        if plan.on_error is OnError.RAISE:
            _attach(error, value)
        question.failed(stage, error, "the result is returned and not stored")
        return data
    if plan.observers.active:
        plan.observers.store(question.call, entry, time.perf_counter() - started)
    return data


def absent(plan: Plan, path: str, missed: Missed) -> CacheMiss:
    """The CacheMiss, or CacheExpired, that says why there is no usable entry under ``path``."""
    if missed.reason is Reason.EXPIRED:
        return CacheExpired(f"{plan.name}: the entry {path} is expired: call the function, or raise the ttl")
    fact = "is not stored" if missed.error is None else f"cannot be read ({missed.error})"
    return CacheMiss(f"{plan.name}: this call {fact} ({path}): call the function in a mode that computes")


def _attach(error: Exception, value: Any) -> None:
    """Let an error that is raised for on_error="raise" carry the result, so that even so it is not lost."""
    try:
        error.result = value  # type: ignore[attr-defined]
    except AttributeError:
        return
    error.add_note("perscache: the function had returned; its result is the attribute 'result' of this exception")


def _entry_of(question: Question, stored: Stored) -> Entry:
    plan = question.plan
    created = time.time() if stored.created is None else stored.created
    expires = plan.expires(created)
    return Entry(
        question.path,
        moment(created),
        len(stored.data),
        None if expires is None else moment(expires),
        None,
        stored.compute_time,
        plan.format,
        plan.name,
    )

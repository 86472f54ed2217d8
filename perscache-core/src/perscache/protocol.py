"""What happens on a call: look up, else compute and keep. Decided here once, without input or output.

`answer`, `look_up` and `keep` are generators that yield steps, each a thing to be done that takes time: read, decode,
compute, encode, write, wait. `run` does the steps in place and `arun` does them for an event loop; neither decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from . import single_flight, trouble
from .entry import Entry, Stored, moment
from .errors import CacheExpired, CacheMiss, DamagedEntry, SerializationError
from .events import Call
from .modes import Mode
from .single_flight import Flight, Seat
from .trouble import OnError, logger

if TYPE_CHECKING:
    from .events import Observers
    from .key import KeyBuilder
    from .modes import ModeSwitch
    from .serializers.base import Serializer
    from .signature import Signer
    from .storage.base import Storage

T = TypeVar("T")
V = TypeVar("V")

INLINE: Final = 256 * 1024
"""Bytes up to which a value is loaded on the event loop: a thread hop costs as much as loading some 100 KB."""


class Result(NamedTuple, Generic[V]):
    """What a call came to."""

    value: V
    hit: bool
    """Whether the value came from storage and the function did not run."""
    age: float | None
    """Seconds since the value was stored, 0.0 for a new one; None where the storage cannot tell."""
    saved: float | None
    """Seconds of computing that the hit saved; 0.0 for a miss, None where the storage does not keep it."""


class Reason(Enum):
    """Why a call was no hit."""

    ABSENT = "absent"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    FORCED = "forced"


class Statistics:
    """Counts of one function's calls in this process, safe in threads."""

    __slots__ = ("_lock", "bytes", "errors", "hits", "misses", "saved", "stale")

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self.hits = self.misses = self.stale = self.errors = self.bytes = 0
        self.saved = 0.0

    def hit(self, size: int, saved: float | None) -> None:
        """Count a hit that read ``size`` bytes and saved that many seconds."""
        with self._lock:
            self.hits += 1
            self.bytes += size
            if saved is not None:
                self.saved += saved

    def miss(self, reason: Reason) -> None:
        """Count a run of the function."""
        with self._lock:
            self.misses += 1
            self.stale += reason is Reason.EXPIRED

    def error(self) -> None:
        """Count trouble that was survived."""
        with self._lock:
            self.errors += 1

    def __reduce__(self) -> tuple[type[Statistics], tuple[()]]:
        return Statistics, ()  # Another process counts for itself.


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a call needs, made ready at decoration."""

    builder: KeyBuilder
    serializer: Serializer
    storage: Storage
    max_age: float | None
    """The time to live in seconds, None for ever."""
    lock: bool
    on_error: OnError
    store_if: Callable[[Any], bool] | None
    modes: ModeSwitch
    observers: Observers
    signer: Signer | None
    format: str
    suffix: str
    statistics: Statistics

    @property
    def name(self) -> str:
        """The function's stable name."""
        return self.builder.function_name

    @property
    def folder(self) -> str:
        """The folder of the function's entries."""
        return self.builder.folder

    def path(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The storage path of a call; raises UnkeyableError, and TypeError where the call does not fit."""
        separator = "/" if self.storage.folders else "-"
        return f"{self.builder.folder}{separator}{self.builder.digest(args, kwargs)}{self.suffix}"

    def decode(self, path: str, data: bytes | memoryview) -> Any:
        """The value of stored bytes."""
        if self.signer is not None and not self.serializer.safe:
            data = bytes(self.signer.unsign(path, data))
        return self.serializer.loads(data)  # type: ignore[arg-type]  # Storages that give views say so to serializers.

    def encode(self, path: str, value: Any) -> bytes:
        """The bytes to store; raises what the serializer raises, and SerializationError for what it would change."""
        change = self.serializer.changes(value)
        if change is not None:
            message = (
                f"{self.name}: {self.format} gives back another value than the function returned: {change}. "
                "Return what the format can hold, or use another serializer (cloudpickle keeps every type)"
            )
            if self.on_error is OnError.RAISE:
                raise SerializationError(message)
            if self.on_error is OnError.WARN:
                trouble.warn(message, once=(self.name, "changes"))
        data = self.serializer.dumps(value)
        if not isinstance(data, bytes):
            kind = type(data).__name__
            raise SerializationError(f"{self.format}: dumps() gave {kind}, not bytes: mend the serializer")
        if self.signer is not None and not self.serializer.safe:
            data = self.signer.sign(path, data)
        return data

    def expires(self, created: float) -> float | None:
        """When an entry of that time stops being fresh, in seconds since the epoch."""
        return None if self.max_age is None else created + self.max_age


# --- The steps. A driver sends back what they come to, or throws what they raise.


@dataclass(frozen=True, slots=True)
class Read:
    """Gives Stored; raises FileNotFoundError, CacheExpired, DamagedEntry and whatever a storage may."""

    plan: Plan
    path: str


@dataclass(frozen=True, slots=True)
class Decode:
    """Gives the value of the bytes."""

    plan: Plan
    path: str
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Compute:
    """Gives what the function returns, or Raised."""


@dataclass(frozen=True, slots=True)
class Raised:
    """What the function raised. A value and not an exception: a generator cannot let StopIteration through."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Encode:
    """Gives the bytes of the value."""

    plan: Plan
    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Write:
    """Stores the bytes."""

    plan: Plan
    entry: Entry
    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Comes back when the flight has landed."""

    flight: Flight


Step: TypeAlias = Read | Decode | Compute | Encode | Write | Wait


@dataclass(frozen=True, slots=True)
class Missed:
    """A look-up without a value."""

    reason: Reason
    error: Exception | None = None


class Question:
    """One call on its way: its path, its mode, and what is known of its arguments."""

    __slots__ = ("args", "call", "kwargs", "mode", "path", "plan")

    def __init__(self, plan: Plan, path: str, args: tuple[Any, ...], kwargs: dict[str, Any], mode: Mode) -> None:
        self.plan: Final = plan
        self.path: Final = path
        self.args: Final = args
        self.kwargs: Final = kwargs
        self.mode: Final = mode
        self.call: Final = Call(plan.name, path, mode.label)

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


# --- The rules.


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
        found = known or (yield from look_up(question))
        if not isinstance(found, Missed):
            return found
        missed = found
        if not mode.computes:
            raise absent(plan, question.path, missed.error) from missed.error
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
        return missed_by(question, error)
    try:
        value = yield Decode(plan, path, stored.data)
    except Exception as error:  # noqa: BLE001  # Whatever a serializer raises, too.
        return undecodable(question, error)
    return hit(question, value, stored, time.perf_counter() - started)


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
            return Missed(Reason.EXPIRED, error)
        case FileNotFoundError() | CacheMiss():
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
    with flight.leading():
        if seen != single_flight.landings():
            # Somebody landed since the look-up, perhaps with this key.
            found = yield from look_up(question)
            if not isinstance(found, Missed):
                return found
            missed = found
        try:
            flight.outcome, flight.data = yield from _compute(question, missed)
        except Exception as error:
            flight.outcome = Raised(error)
            raise
        return flight.outcome


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


def _compute(question: Question, missed: Missed) -> Generator[Step, Any, tuple[Result[Any] | Raised, bytes | None]]:
    """Run the function and keep its result; the bytes that others can load it from, where there are any."""
    tell_miss(question, missed)
    notes = describe(question)
    started = time.perf_counter()
    value = yield Compute()
    if isinstance(value, Raised):
        return value, None
    data = yield from keep(question, value, time.perf_counter() - started, notes)
    return Result(value, False, 0.0, 0.0), data


def tell_miss(question: Question, missed: Missed) -> None:
    """Count and tell that the function is about to run."""
    plan = question.plan
    plan.statistics.miss(missed.reason)
    logger.info("%s: miss (%s) %s", plan.name, missed.reason.value, question.path)
    if plan.observers.active:
        plan.observers.miss(question.call, missed.reason.value)


Notes: TypeAlias = tuple[str, dict[str, str]]


def describe(question: Question) -> Notes:
    """What an entry will say of its arguments. Before the function runs, since functions change their arguments."""
    if not question.mode.writes:
        return "", {}
    return question.plan.builder.describe(question.args, question.kwargs)


def keep(question: Question, value: Any, seconds: float, notes: Notes) -> Generator[Step, Any, bytes | None]:
    """Store a result that took ``seconds``; gives its serialized bytes, None where there are none. Nothing is lost."""
    plan, path = question.plan, question.path
    if not question.mode.writes:
        return None
    stage = "store_if"
    data: bytes | None = None
    try:
        if plan.store_if is not None and not plan.store_if(value):
            return None
        stage = "dumps"
        data = yield Encode(plan, path, value)
        stage = "write"
        arguments, parts = notes
        entry = Entry(
            path, moment(time.time()), len(data), None, None, seconds, plan.format, plan.name, arguments, parts
        )
        started = time.perf_counter()
        yield Write(plan, entry, data)
    except Exception as error:  # noqa: BLE001  # The result is worth more than its copy.
        if plan.on_error is OnError.RAISE:
            _attach(error, value)
        question.failed(stage, error, "the result is returned and not stored")
        return data
    if plan.observers.active:
        plan.observers.store(question.call, entry, time.perf_counter() - started)
    return data


def absent(plan: Plan, path: str, error: Exception | None) -> CacheMiss:
    """The CacheMiss, or CacheExpired, that says why there is no usable entry under ``path``."""
    if isinstance(error, CacheExpired):
        return CacheExpired(f"{plan.name}: the entry {path} is expired: call the function, or raise the ttl")
    fact = "is not stored" if error is None or isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
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


# --- The drivers.


def _nothing() -> Any:
    raise AssertionError("these steps compute nothing")


def run(steps: Generator[Step, Any, T], compute: Callable[[], Any] = _nothing) -> T:
    """Do the steps in place. What the function raised comes back as Raised."""
    try:
        step = next(steps)
        while True:
            try:
                done = _perform(step, compute)
            except BaseException as error:  # noqa: BLE001  # The rules decide what each error means.
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def _perform(step: Step, compute: Callable[[], Any]) -> Any:
    match step:
        case Read(plan, path):
            return plan.storage.load(path, plan.max_age)
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
            return plan.storage.store(entry, data)
        case Wait(flight):
            return flight.wait()


async def arun(steps: Generator[Step, Any, T], compute: Callable[[], Awaitable[Any]] = _nothing) -> T:
    """Do the steps for an event loop: nothing that may take long holds it up."""
    try:
        step = next(steps)
        while True:
            try:
                done = await _aperform(step, compute)
            except BaseException as error:  # noqa: BLE001
                step = steps.throw(error)
            else:
                step = steps.send(done)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def _aperform(step: Step, compute: Callable[[], Awaitable[Any]]) -> Any:
    match step:
        case Read(plan, path):
            return await plan.storage.aload(path, plan.max_age)
        case Decode(plan, path, data):
            if len(data) <= INLINE:
                return plan.decode(path, data)
            return await _in_thread(plan.decode, path, data)
        case Compute():
            try:
                return await compute()
            except Exception as error:  # noqa: BLE001
                return Raised(error)
        case Encode(plan, path, value):
            return await _in_thread(plan.encode, path, value)
        case Write(plan, entry, data):
            return await plan.storage.astore(entry, data)
        case Wait(flight):
            return await flight.await_()


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    import asyncio

    return await asyncio.to_thread(work, *args)

"""Tiers: several storages as one, the nearest first. Read through, filled upward, written to all.

A hit in the first tier asks no other. What a lower tier has is copied to those above, as old as it is there, so that a
time to live ends in all of them at once. A tier that fails while it is read counts as empty. Where one fails to write
or to remove, the others do so before the error says which it was.

Removing goes from the bottom up, so that no tier is filled again from below. What other processes have in their memory
stays there until it expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from ..buffers import Buffer, Form, Pieces
from ..entry import Entry, Stored, moment
from ..errors import CacheMiss, ConfigurationError, StorageError, Unsupported
from .base import Ledger, Lock, Storage
from .failures import Failures
from .fills import Fill, Fills
from .flat import Unfolded
from .joint import JointLock
from .memory import MemoryStorage
from .search import Found, search
from .twins import Step, Steps, arun, run

T = TypeVar("T")
Listener: TypeAlias = Callable[[Storage, Entry, str], None]

_TOGETHER: Final = 256
"""Paths that are looked for in memory before the missing ones are looked for below."""

_COUNTED: Final = 5000
"""Entries up to which those that went from all tiers are counted one by one."""


class TieredStorage(Storage):
    """``tiers`` as one storage: what is in one of them is there.

    A tier that fails where the others make up for it is worth a warning, unless ``quiet``. ConfigurationError for no
    tiers, and for the same place twice.
    """

    folders: ClassVar[bool] = True

    def __init__(self, tiers: Sequence[Storage], *, quiet: bool = False) -> None:
        self.tiers = tuple(tiers)
        self.quiet = quiet
        if not self.tiers:
            raise ConfigurationError("storage=[] keeps nothing: name tiers, the nearest first: ['memory://', '.cache']")
        places = [tier.identity for tier in self.tiers]
        for place in places:
            if places.count(place) > 1:
                raise ConfigurationError(f"storage: {place} is more than one of the tiers {places}: name it once")
        self._prepare()

    def _prepare(self) -> None:
        self._tiers = tuple(tier if tier.folders else Unfolded(tier) for tier in self.tiers)
        self._first = self._tiers[0]
        self._last = self._tiers[-1]
        # As these tiers are, whatever the class says.
        self.local = all(tier.local for tier in self.tiers)  # type: ignore[misc]
        self.zero_copy = any(tier.zero_copy for tier in self.tiers)  # type: ignore[misc]
        self._listeners: tuple[Listener, ...] = ()
        self._fills = Fills()

    # --- Reading.

    def read(self, path: str, deadline: datetime | None) -> bytes:
        """The bytes under ``path``; see `Storage.read`."""
        return bytes(self.load(path, None if deadline is None else time.time() - deadline.timestamp()).data)

    def load(self, path: str, max_age: float | None = None, form: Form = "bytes") -> Stored:
        """From the first tier that has it fresh and whole."""
        first = self._first
        try:
            if form == "bytes" or not first.zero_copy:
                return first.load(path, max_age)
            return first.load(path, max_age, form)  # type: ignore[call-arg]
        except Exception as error:  # noqa: BLE001  # Whatever it is, the next tier is asked.
            fill = self._fills.begin(path)
            try:
                found = run(search(self._tiers, error, path, max_age, form))
            except BaseException:
                self._fills.end(fill)
                raise
        self._copy_up(fill, found)
        return found.stored

    def load_many(
        self, paths: Iterable[str], max_age: float | None = None, form: Form | None = None
    ) -> Generator[Stored | Exception, None, None]:
        """See `Storage.load_many`. What is in memory needs no thread."""
        if not isinstance(self._first, MemoryStorage):
            yield from super().load_many(paths, max_age, form)
            return
        ahead = iter(paths)
        while some := list(islice(ahead, _TOGETHER)):
            near = list(self._first.load_many(some, max_age))
            missing = [path for path, found in zip(some, near, strict=True) if isinstance(found, Exception)]
            with closing(super().load_many(missing, max_age, form)) as below:
                for found in near:
                    yield next(below) if isinstance(found, Exception) else found

    async def aload(self, path: str, max_age: float | None = None, form: Form = "bytes") -> Stored:
        """`load`, each tier as it does that for an event loop."""
        first = self._first
        try:
            if form == "bytes" or not first.zero_copy:
                return await first.aload(path, max_age)
            return await first.aload(path, max_age, form)  # type: ignore[call-arg]
        except Exception as error:  # noqa: BLE001
            fill = self._fills.begin(path)
            try:
                found = await arun(search(self._tiers, error, path, max_age, form))
            except BaseException:
                self._fills.end(fill)
                raise
        if all(isinstance(tier, MemoryStorage) for tier in found.lacking):
            self._copy_up(fill, found)
        else:
            import asyncio

            copying = asyncio.get_running_loop().run_in_executor(None, self._copy_up, fill, found)
            # Cancelling its caller does not: it would end without being undone where that is due.
            await asyncio.shield(copying)
        return found.stored

    def _copy_up(self, fill: Fill, found: Found) -> None:
        """Keep what was found in the tiers that lack it. Never raises: that would cost the value."""
        failures, begun = Failures(), False
        try:
            for tier in found.lacking:
                if fill.void:
                    break
                begun = True
                try:
                    tier.fill(found.entry(), found.stored.data)
                except Exception as error:  # noqa: BLE001
                    failures.add(tier, error)
        finally:
            if self._fills.end(fill) and begun:
                # Others may have copied it on from one of these tiers to those above.
                with self._fills.changing(found.path):
                    for tier in reversed(found.above):
                        with suppress(Exception):
                            tier.delete(found.path)
        self._survived(found.failures, "read", found.path)
        self._survived(failures, "fill", found.path)

    def latest(self, path: str) -> Stored:
        """From the lowest tier that can answer: it is shared most widely."""
        failures = Failures()
        for tier in reversed(self._tiers):
            if not tier.may_hold(path):
                break
            try:
                return tier.latest(path)
            except (FileNotFoundError, CacheMiss):
                break
            except Exception as error:  # noqa: BLE001
                failures.add(tier, error)
        else:
            raise failures.error()
        raise FileNotFoundError(f"{path} is not in {tier.identity}")

    def lock(self, path: str) -> Lock | None:
        """Those of all tiers that have locks."""
        locks = [(tier, lock) for tier in self._tiers if (lock := tier.lock(path)) is not None]
        if len(locks) > 1:
            return JointLock(locks, lambda failures: self._survived(failures, "lock", path))
        return locks[0][1] if locks else None

    def may_hold(self, path: str) -> bool:
        """Whether any tier may."""
        return any(tier.may_hold(path) for tier in self._tiers)

    def ledger(self) -> Ledger | None:
        """That of the first tier with one."""
        return next((ledger for tier in self._tiers if (ledger := tier.ledger()) is not None), None)

    # --- Writing.

    def write(self, path: str, data: bytes) -> None:
        """Keep ``data`` under ``path``; see `Storage.write`."""
        self.store(Entry(path, moment(time.time()), len(data)), data)

    def store(self, entry: Entry, data: bytes | Pieces) -> None:
        """Keep ``data`` in every tier that has room for so large a value.

        Raises TierError where one of them failed and another did not; StorageError where it is in none.
        """
        with self._fills.changing(entry.path):
            run(self._write_all(entry, data))

    async def astore(self, entry: Entry, data: bytes | Pieces) -> None:
        """`store`, each tier as it does that for an event loop."""
        with self._fills.changing(entry.path):
            await arun(self._write_all(entry, data))

    def _write_all(self, entry: Entry, data: bytes | Pieces) -> Steps[None]:
        # The nearest first: who is interrupted while a far one is slow has the result near by.
        joined = data if isinstance(data, bytes) else None
        failures, kept = Failures(), False
        for tier in self._tiers:
            if tier.max_size is None or len(data) <= tier.max_size:
                try:
                    if joined is None and not tier.zero_copy:
                        joined = bytes(data)
                    yield Step(tier, "store", (entry, data if tier.zero_copy else joined))
                except Exception as error:  # noqa: BLE001  # The others are written to.
                    failures.add(tier, error)
                else:
                    kept = True
                    continue
            # What is here would answer for what is new below.
            with suppress(Exception):
                yield Step(tier, "delete", (entry.path,))
        if failures and kept:
            raise failures.error()
        if failures:
            raise StorageError(str(failures)) from failures.first
        if not kept:
            raise StorageError(f"{entry.path} is {len(data):,} bytes, more than max_size of any tier: not stored")

    # --- Looking.

    def inspect(self, path: str) -> tuple[Buffer, bool]:
        """The bytes in the first tier that has them; proven where they are so in every tier. See `Storage.inspect`."""
        seen: list[tuple[Buffer, bool]] = []
        for tier in self._tiers:
            with suppress(FileNotFoundError):
                seen.append(tier.inspect(path))
        if not seen:
            raise FileNotFoundError(f"{path} is not in {self.identity}")
        return seen[0][0], all(proven for _, proven in seen)

    def peek(self, path: str) -> Entry | None:
        """What the first tier that has it knows; where that is a bare copy, with what lower ones know of the call."""
        found: Entry | None = None
        try:
            for entry in self._answers(lambda tier: tier.peek(path), path):
                if entry is not None:
                    found = entry if found is None else _informed(found, entry)
                    if _informs(found):
                        break
        except Unsupported:
            if found is None:
                raise
        return found

    def holds(self, path: str, max_age: float | None = None) -> bool:
        """Whether any tier does."""
        return any(self._answers(lambda tier: tier.holds(path, max_age), path))

    def _answers(self, question: Callable[[Storage], T], path: str) -> Iterator[T]:
        """Those of the tiers, the nearest first; after the last one Unsupported where that is what another gave."""
        failures, unsupported = Failures(), Failures()
        for tier in self._tiers:
            try:
                answer = question(tier)
            except Unsupported as error:
                unsupported.add(tier, error)
            except Exception as error:  # noqa: BLE001
                failures.add(tier, error)
            else:
                yield answer
        self._survived(failures, "look", path)
        if unsupported:
            raise unsupported.error()

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """What is in any tier, each entry once, streamed; only paths of tiers above the last are kept meanwhile.

        Raises the trouble of a tier when the others' entries are out.
        """
        seen: set[str] = set()
        bare: dict[str, Entry] = {}
        failures = Failures()
        for tier in self._tiers:
            last = tier is self._last
            try:
                for entry in tier.entries(function):
                    if entry.path in seen:
                        continue
                    if not last and not _informs(entry):
                        bare.setdefault(entry.path, entry)
                        continue
                    if not last:
                        seen.add(entry.path)
                    copy = bare.pop(entry.path, None)
                    yield entry if copy is None else _informed(copy, entry)
            except (OSError, Unsupported) as error:
                failures.add(tier, error)
        yield from bare.values()
        if failures:
            raise failures.error()

    # --- Removing.

    def delete(self, path: str) -> bool:
        """Remove the entry under ``path`` from every tier; whether one had it."""
        with self._fills.changing(path):
            return any(self._in_each(lambda tier: tier.delete(path)))

    def clear(self, function: str | None = None) -> int:
        """Remove every entry of the folder ``function``, or of all, from every tier; how many entries, not copies."""
        return self._remove(lambda tier: tier.clear(function), function)

    def prune(self, max_age: float | None = None) -> int:
        """Remove from each tier what is older than ``max_age`` seconds or over that tier's limit.

        Gives how many entries are in no tier any more.
        """
        return self._remove(lambda tier: tier.prune(max_age))

    def _remove(self, deed: Callable[[Storage], int], function: str | None = None) -> int:
        with self._fills.changing(None):
            before = self._paths(function)
            removed = self._in_each(deed)
            after = self._paths(function)
        # Of many, the tier that lost most knows about how many.
        return max(removed) if before is None or after is None else len(before - after)

    def _paths(self, function: str | None) -> set[str] | None:
        """The paths of all entries; None where there are many, or not all are known."""
        try:
            paths = {entry.path for entry in islice(self.entries(function), _COUNTED + 1)}
        except (OSError, Unsupported):
            return None
        return paths if len(paths) <= _COUNTED else None

    def _in_each(self, deed: Callable[[Storage], T]) -> list[T]:
        """Do it from the bottom up, and raise what went wrong when all is done."""
        done: list[T] = []
        failures = Failures()
        for tier in reversed(self._tiers):
            try:
                done.append(deed(tier))
            except Exception as error:  # noqa: BLE001
                failures.add(tier, error)
        if failures:
            raise failures.error()
        return done

    # --- Being one.

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Told of what leaves any of the tiers."""
        return self._listeners

    @listeners.setter
    def listeners(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, listeners: tuple[Listener, ...]
    ) -> None:
        for tier in self.tiers:
            kept = tuple(one for one in tier.listeners if one not in self._listeners)
            tier.listeners = kept + tuple(one for one in listeners if one not in kept)
        self._listeners = listeners

    @property
    def identity(self) -> str:
        """Those of the tiers that others may see too: what each has in its memory is a copy."""
        shared = [tier.identity for tier in self.tiers if not tier.private]
        return ", ".join(shared or [tier.identity for tier in self.tiers])

    @property
    def private(self) -> bool:
        """Whether every tier is."""
        return all(tier.private for tier in self.tiers)

    def __getstate__(self) -> dict[str, Any]:
        """The tiers, each as it pickles itself."""
        return {"tiers": self.tiers, "quiet": self.quiet}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The same tiers, nothing under way."""
        vars(self).update(state)
        self._prepare()

    def __repr__(self) -> str:
        """As it would be written."""
        return f"{type(self).__name__}({list(self.tiers)!r})"

    def _survived(self, failures: Failures, deed: str, path: str) -> None:
        if not self.quiet:
            failures.warn(deed, path)


def _informs(entry: Entry) -> bool:
    """Whether more is known than how old and large a copy is."""
    return bool(entry.parts or entry.arguments)


def _informed(copy: Entry, other: Entry) -> Entry:
    """``copy``, with what another tier knows of the same call."""
    return replace(other, created=copy.created, size=copy.size, used=copy.used, compute_time=copy.compute_time)

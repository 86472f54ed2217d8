"""Memory: results as bytes in this process, for tests, and for what may be forgotten."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import Any, ClassVar, NamedTuple, Self
from weakref import WeakSet

from ..buffers import Buffer
from ..entry import Entry, Stored, moment
from ..errors import CacheExpired, StorageError
from ..units import Size, size_in_bytes
from .base import CLOCK_SLACK, Storage
from .options import check, split_url, whole


class Kept(NamedTuple):
    """One result, and what is known of it."""

    stored: Stored
    entry: Entry


class Shelf:
    """The results of one name, in the order of their last use; a lock for those who change it.

    A hit takes no lock, and moves what it read to the end of the order: whoever holds the lock still sees the order
    change, but not what is kept.
    """

    def __init__(self) -> None:
        """Empty."""
        self.kept: OrderedDict[str, Kept] = OrderedDict()
        self.bytes = 0
        self.lock = Lock()
        _shelves.add(self)

    def remove(self, path: str) -> Entry:
        """Take ``path`` out, which is there; the lock is held."""
        entry = self.kept.pop(path).entry
        self.bytes -= entry.size
        return entry

    def remove_eldest(self) -> Entry:
        """Take out what was used longest ago; there is something, and the lock is held."""
        # In one step: between iter() and next() a hit may change the order, which ends an iteration.
        _, kept = self.kept.popitem(last=False)
        self.bytes -= kept.entry.size
        return kept.entry

    def entries(self) -> list[Entry]:
        """What is kept, in no order; the lock is held."""
        # As a plain dict, which hits do not change, whatever they do to the order.
        return [kept.entry for kept in dict.values(self.kept)]


_shelves: WeakSet[Shelf] = WeakSet()
_named: dict[str, Shelf] = {}
_naming = Lock()


class MemoryStorage(Storage):
    """Results in memory, serialized: each hit is a fresh copy, as with files.

    ``memory://`` belongs to whoever made it. ``memory://name`` is one storage for all in the process who say the name,
    until the process ends; each keeps to its own limit when it writes.
    """

    schemes: ClassVar[tuple[str, ...]] = ("memory",)
    folders: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __init__(self, max_size: Size | None = None, *, max_entries: int | None = None, name: str = "") -> None:
        """At most ``max_size`` bytes and ``max_entries``: what was used longest ago leaves first."""
        self.name = name
        self.max_size = None if max_size is None else size_in_bytes(max_size)
        self.max_entries = whole("max_entries", max_entries)
        self._find_shelf()

    def _find_shelf(self) -> None:
        if self.name:
            with _naming:
                self._shelf = _named.get(self.name) or _named.setdefault(self.name, Shelf())
        else:
            self._shelf = Shelf()

    # --- Reading and writing.

    def read(self, path: str, deadline: datetime | None) -> bytes:
        """The bytes under ``path``; see `Storage.read`."""
        data = self.load(path, None if deadline is None else time.time() - deadline.timestamp()).data
        return data if isinstance(data, bytes) else bytes(data)

    def load(self, path: str, max_age: float | None = None) -> Stored:
        """Expired when older than ``max_age`` seconds, or from the future."""
        kept = self._shelf.kept
        try:
            stored = kept[path].stored
        except KeyError:
            raise FileNotFoundError(path) from None
        if max_age is not None and not -CLOCK_SLACK <= time.time() - (stored.created or 0.0) <= max_age:
            raise CacheExpired(f"{path} was written at {moment(stored.created or 0.0):%Y-%m-%d %H:%M:%S} UTC: too old")
        with suppress(KeyError):  # evicted this moment
            kept.move_to_end(path)
        return stored

    async def aload(self, path: str, max_age: float | None = None) -> Stored:
        """`load`, which takes no time."""
        return self.load(path, max_age)

    def write(self, path: str, data: bytes) -> None:
        """Keep ``data`` under ``path``; see `Storage.write`."""
        self.store(Entry(path, moment(time.time()), len(data)), data)

    def store(self, entry: Entry, data: bytes) -> None:
        """Keep ``data``, then remove what was used longest ago. StorageError for a value larger than ``max_size``."""
        size = len(data)
        if (self.max_size is not None and size > self.max_size) or self.max_entries == 0:
            raise StorageError(f"{entry.path} is {size:,} bytes, more than max_size or max_entries allow: not stored")
        now = time.time()
        self._keep(Stored(bytes(data), now, entry.compute_time), replace(entry, created=moment(now), size=size))

    async def astore(self, entry: Entry, data: bytes) -> None:
        """`store`, which takes no time."""
        self.store(entry, data)

    def fill(self, entry: Entry, data: Buffer) -> bool:
        """A copy as old as ``entry``, unless a newer is here, or it is too large; see `Storage.fill`."""
        size = len(data)
        if (self.max_size is not None and size > self.max_size) or self.max_entries == 0:
            return False
        created = entry.created.timestamp()
        # The epoch stands for an unknown time.
        stored = Stored(bytes(data), created or None, entry.compute_time)
        self._keep(stored, entry if entry.size == size else replace(entry, size=size), unless_since=created)
        return True

    def _keep(self, stored: Stored, entry: Entry, *, unless_since: float | None = None) -> None:
        """Put it on the shelf, after what has to leave for it; not where there is one of ``unless_since`` or later."""
        shelf = self._shelf
        evicted: list[Entry] = []
        with shelf.lock:
            if (present := shelf.kept.get(entry.path)) is not None:
                created = present.stored.created or 0.0
                if unless_since is not None and unless_since <= created <= time.time() + CLOCK_SLACK:
                    return
                shelf.remove(entry.path)
            while shelf.kept and self._full(shelf, entry.size, 1):
                evicted.append(shelf.remove_eldest())
            shelf.kept[entry.path] = Kept(stored, entry)
            shelf.bytes += entry.size
        self._tell(evicted, "limit")

    def _full(self, shelf: Shelf, size: int, entries: int) -> bool:
        return (self.max_size is not None and shelf.bytes + size > self.max_size) or (
            self.max_entries is not None and len(shelf.kept) + entries > self.max_entries
        )

    # --- Looking and removing.

    def peek(self, path: str) -> Entry | None:
        """What is known of the entry; None where there is none."""
        kept = self._shelf.kept.get(path)
        return None if kept is None else kept.entry

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """What was stored when this was called."""
        with self._shelf.lock:
            entries = self._shelf.entries()
        return (entry for entry in entries if function is None or entry.path.partition("/")[0] == function)

    def delete(self, path: str) -> bool:
        """Remove the entry; whether there was one."""
        return self._remove([path], "invalidated") == 1

    def clear(self, function: str | None = None) -> int:
        """Remove all entries of ``function``, or all; how many there were."""
        return self._remove([entry.path for entry in self.entries(function)], "cleared")

    def prune(self, max_age: float | None = None) -> int:
        """Remove what is older than ``max_age`` seconds, and what is over the limit; how many entries went."""
        gone = 0
        if max_age is not None:
            eldest = moment(time.time() - max_age)
            gone = self._remove([entry.path for entry in self.entries() if entry.created < eldest], "expired")
        shelf = self._shelf
        evicted: list[Entry] = []
        with shelf.lock:
            while shelf.kept and self._full(shelf, 0, 0):
                evicted.append(shelf.remove_eldest())
        self._tell(evicted, "limit")
        return gone + len(evicted)

    def _remove(self, paths: list[str], reason: str) -> int:
        with self._shelf.lock:
            removed = [self._shelf.remove(path) for path in paths if path in self._shelf.kept]
        self._tell(removed, reason)
        return len(removed)

    def _tell(self, entries: list[Entry], reason: str) -> None:
        for listener in self.listeners:
            for entry in entries:
                listener(self, entry, reason)

    # --- Making one.

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage of ``memory://``, ``memory://name`` or ``memory://?max_size=256MB``."""
        name, asked = split_url(url)
        asked |= options
        check(f"{cls.__name__} ({url})", asked, ("max_size", "max_entries"))
        return cls(name=name.strip("/"), **asked)

    @property
    def identity(self) -> str:
        """The name, or an address where there is none."""
        return f"memory:{self.name}" if self.name else f"memory@{id(self._shelf):x}"

    @property
    def private(self) -> bool:
        """True, whatever the name."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Options only: another process has its own memory."""
        return {name: value for name, value in vars(self).items() if name[0] != "_" and name != "listeners"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The shelf of the same name in this process, or an empty one."""
        vars(self).update(state)
        self._find_shelf()

    def __repr__(self) -> str:
        """As it would be written."""
        return f"{type(self).__name__}(name={self.name!r}, max_size={self.max_size})"


# A child that is forked while another thread stores must find every shelf whole and every lock free.


def _hold() -> None:
    _held.extend([_naming, *(shelf.lock for shelf in list(_shelves))])
    for lock in _held:
        lock.acquire()


def _let_go() -> None:
    while _held:
        _held.pop().release()


_held: list[Lock] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_let_go)

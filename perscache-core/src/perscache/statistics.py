"""Statistics: counts of one function's calls in this process, added to the storage's ledger when it ends.

Calls only count. What they came to is written at interpreter exit, a line for each function that was called: a process
that is killed loses its counts. A function may be collected before; its last counts are kept until then.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from enum import Enum
from functools import reduce
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import ref

from .counts import Counts

if TYPE_CHECKING:
    from .storage.base import Ledger


Place: TypeAlias = "tuple[Ledger, str]"
"""Where counts go: a storage's ledger, under the name of the function."""


class Reason(Enum):
    """Why a call was no hit."""

    ABSENT = "absent"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    FORCED = "forced"


class Statistics:
    """Counts of one function's calls in this process, safe in threads."""

    __slots__ = ("__weakref__", "_written", "bytes", "errors", "hits", "misses", "place", "saved", "stale")

    def __init__(self, place: Place | None = None) -> None:
        """To be added to the ledger of ``place`` if there is one."""
        self.hits = self.misses = self.stale = self.errors = self.bytes = 0
        self.saved = 0.0
        self.place: Final = place
        self._written = Counts()
        _live[id(self)] = ref(self)
        if _gone:
            _settle()

    def hit(self, size: int, saved: float | None) -> None:
        """Count a hit that read ``size`` bytes and saved that many seconds."""
        with _counting:
            self.hits += 1
            self.bytes += size
            if saved is not None:
                self.saved += saved

    def miss(self, reason: Reason) -> None:
        """Count a run of the function."""
        with _counting:
            self.misses += 1
            self.stale += reason is Reason.EXPIRED

    def error(self) -> None:
        """Count trouble that was survived."""
        with _counting:
            self.errors += 1

    def add(self, counts: Counts) -> None:
        """Count what was counted elsewhere."""
        with _counting:
            self.hits += counts.hits
            self.misses += counts.misses
            self.stale += counts.stale
            self.errors += counts.errors
            self.bytes += counts.bytes
            self.saved += counts.saved

    def now(self) -> Counts:
        """What was counted until now."""
        return Counts(self.hits, self.misses, self.stale, self.errors, self.bytes, self.saved)

    def unwritten(self) -> Counts:
        """What is not in the ledger yet."""
        return self.now().minus(self._written)

    def written(self) -> None:
        """What was counted until now is in the ledger, or is another process's to write."""
        self._written = self.now()

    def __reduce__(self) -> tuple[type[Statistics], tuple[Place | None]]:
        return Statistics, (self.place,)  # Another process counts for itself.

    def __del__(self) -> None:
        # The collector may come in the midst of anything: no lock is taken here.
        if _live.pop(id(self), None) is not None and any(counts := self.now()):
            _gone.append((self.place, counts, self.unwritten()))


def of_process() -> Counts:
    """How the calls of all functions went in this process, also of those that were collected."""
    with _counting:
        living = _living()
        _sum_up()
        return reduce(Counts.plus, (statistics.now() for statistics in living), _ended)


def totals(ledger: Ledger) -> dict[str, Counts]:
    """By function, what the ledger says and what this process is going to add."""
    counts = ledger.read()
    for name, more in _unwritten().get(ledger, {}).items():
        counts[name] = counts.get(name, Counts()).plus(more)
    return counts


def discard(ledger: Ledger) -> None:
    """Let what was counted for ``ledger``, and is not in it yet, never be written."""
    with _counting:
        _sum_up()
        for place in [place for place in _past if place[0] == ledger]:
            del _past[place]
        for statistics in _living():
            if statistics.place is not None and statistics.place[0] == ledger:
                statistics.written()


def write_down() -> None:
    """Add to every ledger what was counted since the last time. What cannot be written is lost in silence."""
    for ledger, counts in _unwritten(take=True).items():
        with suppress(Exception):
            ledger.add(counts)


# --- What there is to write: of functions that live, of those that were collected, and their sum by name.

_counting = threading.Lock()
_live: dict[int, ref[Statistics]] = {}
# Of functions that were collected: where their counts go, all that were counted, and what is not written of these.
_gone: deque[tuple[Place | None, Counts, Counts]] = deque()
_past: dict[Place, Counts] = {}
_ended = Counts()


def _living() -> list[Statistics]:
    return [statistics for reference in list(_live.values()) if (statistics := reference()) is not None]


def _settle() -> None:
    """Sum up the functions that were collected: a program may define the same one a million times."""
    with _counting:
        _sum_up()


def _sum_up() -> None:
    global _ended
    with suppress(IndexError):
        while True:
            place, counts, unwritten = _gone.popleft()
            _ended = _ended.plus(counts)
            if place is not None and any(unwritten):
                _past[place] = _past.get(place, Counts()).plus(unwritten)


def _unwritten(*, take: bool = False) -> dict[Ledger, dict[str, Counts]]:
    """What is not in the ledgers yet, by ledger and function; ``take`` it, and it counts as written."""
    with _counting:
        living = _living()
        _sum_up()
        found = dict(_past)
        for statistics in living:
            if statistics.place is not None and any(counts := statistics.unwritten()):
                found[statistics.place] = found.get(statistics.place, Counts()).plus(counts)
        if take:
            _past.clear()
            for statistics in living:
                statistics.written()
    by_ledger: dict[Ledger, dict[str, Counts]] = {}
    for (ledger, name), counts in found.items():
        by_ledger.setdefault(ledger, {})[name] = counts
    return by_ledger


# --- The end of a process.

atexit.register(write_down)


def _begin_anew() -> None:
    """In a child that was forked: what was counted before is the parent's to write, whose threads held the lock."""
    global _counting
    _counting = threading.Lock()
    _gone.clear()
    _past.clear()
    for statistics in _living():
        statistics.written()
    if "multiprocessing.util" in sys.modules:
        # Its workers leave without atexit, and forget at their start what was to be done at the parent's end.
        from multiprocessing import util

        util.register_after_fork(_begin_anew, _write_down_with_worker)


def _write_down_with_worker(_: object) -> None:
    from multiprocessing import util

    util.Finalize(None, write_down, exitpriority=-100)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)

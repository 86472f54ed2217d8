"""Eviction: what was used longest ago leaves, when what is stored outgrows its limit.

A storage of up to 4,096 entries is looked at as a whole, and the order is exact: whatever is used or stored after the
look is younger than all that was not. Of a larger one the names of about as many are listed, in whole 256ths, those
with the oldest entries. They are looked at 256 at a time, in no order, and the oldest tenth of each time is removed by
the stores that follow, each what it needs for itself: a look may wait for the disk, and nobody pauses for others.

Where as many names are listed as are counted, nothing is counted anew. Else all of them are looked at, and counted.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import NamedTuple

from ..errors import StorageError
from .base import CLOCK_SLACK
from .layout import Layout, shard_of
from .seal import seal_of
from .usage import NOTHING, SHARDS, Count, Usage

EXACT = 4096
"""Entries up to which the whole storage is one shard."""

BATCH = 256
"""Entries of a larger storage that are looked at together."""

_TIME = 0.02
_MORE = 1.25
_BARREN = 3
_SHARE = 10
_WIDEST = 16
_IN_FLIGHT = 16
_TYPE = 0o170000
_new = tuple.__new__
_HOUR = 3_600_000_000_000
_SLACK = int(CLOCK_SLACK * 1e9)


class Victim(NamedTuple):
    """An entry that may have to go."""

    used: int
    """When it was last used, nanoseconds since the epoch."""
    file: str
    function: str
    size: int
    shard: int

    @property
    def path(self) -> str:
        """That of its entry."""
        return f"{self.function}/{self.file.rpartition(os.sep)[2]}"


class Eviction:
    """Keeps one local storage below its limits."""

    def __init__(
        self,
        layout: Layout,
        usage: Usage,
        max_size: int | None,
        max_entries: int | None,
        removed: Callable[[Victim, os.stat_result], None],
    ) -> None:
        """To ``max_size`` bytes of values and ``max_entries``; ``removed`` is told of each victim."""
        self._layout = layout
        self._usage = usage
        self._max_size = max_size
        self._max_entries = max_entries
        self._removed = removed
        self._victims: deque[Victim] = deque()
        self._listed: deque[tuple[str, str]] = deque()
        self._width = 1
        self._foreign: set[str] = set()
        self.oldest = 0
        """When the entry that was used longest ago was used, nanoseconds since the epoch; 0 where nobody asked yet."""
        self.mark_after = 0
        """Nanoseconds: an entry whose use was noted longer ago than this is noted again when it is used."""

    def admit(self, path: str, size: int) -> None:
        """StorageError for a value that is larger than the limit: it would push out everything and not fit."""
        if self._max_size is not None and size > self._max_size:
            raise StorageError(
                f"{path} is {size:,} bytes and max_size is {self._max_size:,}: not stored; raise max_size to keep it"
            )
        if self._max_entries == 0:
            raise StorageError(f"{path} is not stored: max_entries is 0")

    def make_room(self, size: int, entries: int = 1, *, patient: bool = False) -> int:
        """Remove entries until ``size`` bytes and ``entries`` more fit; how many went.

        Unless ``patient``, stops after 20 ms once 1.25 times what is to be written is freed.
        """
        have = self._usage.total() or self._search()
        if have is not None:
            self._learn(have)
        gone = freed = barren = 0
        stop = time.monotonic() + _TIME
        while have is not None and self._exceeds(have.entries + entries, have.bytes + size):
            if not patient and freed >= _MORE * size and gone >= _MORE * entries and time.monotonic() > stop:
                break
            try:
                victim = self._victims.popleft()
            except IndexError:
                have = self._search() if barren < _BARREN else None
                barren += 1
                if have is not None:
                    self._learn(have)
                stop = time.monotonic() + _TIME
                continue
            if (status := self._still(victim)) is not None:
                # Uncounted before it goes: whoever counts meanwhile may count it still, but never too few.
                oldest = victim.used if victim.used <= time.time_ns() else 0
                have = self._usage.add([(victim.shard, -1, -victim.size)], oldest)
                if self._remove(victim, status):
                    gone += 1
                    freed += victim.size
                    barren = 0
                else:
                    have = self._usage.add([(victim.shard, 1, victim.size)])
        return gone

    def prune(self) -> int:
        """Count everything, and remove what is over the limit; how many went."""
        self.forget()
        before = self._usage.shards()
        self._usage.recount(self._sift(self._look(None, sys.maxsize) or [], range(SHARDS), 1), before)
        gone = self.make_room(0, 0, patient=True)
        self.forget()  # All entries are remembered now, and there may be a million.
        return gone

    def forget(self) -> None:
        """Whom to remove is looked for anew."""
        self._listed.clear()
        self._victims.clear()

    def look_at_clock(self, now: int) -> int:
        """`mark_after` as of ``now``: a sixteenth of the age of the oldest use, at most an hour.

        Within 0.1 point of the exact order in hit ratio, and almost no hit has to write.
        """
        if not self.oldest:
            total = self._usage.total()
            self.oldest = (total.oldest if total is not None else 0) or now
        self.mark_after = min(max(0, now - self.oldest) >> 4, _HOUR)
        return self.mark_after

    def _learn(self, have: Count) -> None:
        self.oldest = have.oldest
        self.look_at_clock(time.time_ns())

    def _exceeds(self, entries: int, size: int) -> bool:
        return (self._max_size is not None and size > self._max_size) or (
            self._max_entries is not None and entries > self._max_entries
        )

    def _still(self, victim: Victim) -> os.stat_result | None:
        """The status of ``victim``, if it was neither used, replaced nor removed since it was seen, and is ours."""
        try:
            status = os.lstat(victim.file)
        except OSError:
            return None
        if status.st_atime_ns != victim.used:
            return None
        if not self._layout.ours(victim.file, status, victim.path):
            self._foreign.add(victim.file)
            return None
        return status

    def _remove(self, victim: Victim, status: os.stat_result) -> bool:
        try:
            os.unlink(victim.file)
        except OSError:
            return False
        self._removed(victim, status)
        return True

    def _search(self) -> Count | None:
        """Remember whom to remove next; the total, None where it is not known."""
        fresh: Collection[int] = ()
        if not self._listed:
            before = self._usage.shards()
            entries = sum(count.entries for count in before if count is not None)
            if entries <= EXACT and (seen := self._look(None, 2 * EXACT)) is not None:
                return self._usage.recount(self._sift(seen, range(SHARDS), 1), before)
            fresh = self._eldest(before, entries)
            if not self._list(frozenset(fresh), before):
                seen = self._look(frozenset(fresh), sys.maxsize) or []
                return self._usage.recount(self._sift(seen, fresh, _SHARE), before)
        oldest = self._sample()
        if fresh:
            self._usage.age(fresh, oldest)
        return self._usage.total()

    def _eldest(self, counts: list[Count | None], entries: int) -> list[int]:
        """The shard that is not known; else those with the oldest entries, as many as hold some 4,096."""
        unknown = [shard for shard, count in enumerate(counts) if count is None][:1]
        now = time.time_ns()
        eldest = sorted(
            (count.oldest if count.oldest <= now + _SLACK else 0, shard)
            for shard, count in enumerate(counts)
            if count is not None and count.entries
        )
        width = self._width * max(1, EXACT * SHARDS // max(1, entries))
        return unknown or [shard for _, shard in eldest[:width]]

    def _list(self, shards: frozenset[int], before: list[Count | None]) -> bool:
        """List the names in ``shards``, in no order; whether as many are there as are counted, as far as that is known.

        Takes 20 ms: where many functions have little in each shard, some of them, and more shards the next time.
        """
        if any(before[shard] is None for shard in shards):
            return False
        from random import shuffle

        listed: list[tuple[str, str]] = []
        functions = list(self._layout.functions())
        shuffle(functions)
        stop = time.monotonic() + _TIME
        for function in functions:
            if len(listed) >= BATCH and time.monotonic() > stop:
                if len(listed) < 4 * BATCH:
                    self._width = min(4 * self._width, _WIDEST)
                break
            for files in self._layout.named(function, shards):
                listed += [(file, function) for file in files if file not in self._foreign]
        else:
            after = self._usage.shards()
            counts = [(count, now) for shard in shards if (count := before[shard]) and (now := after[shard])]
            changes = sum((now.changes - count.changes) & 0xFFFFFFFF for count, now in counts)
            if abs(len(listed) - sum(now.entries for _, now in counts)) > changes + _IN_FLIGHT:
                return False
        if len(listed) > 4 * EXACT:
            self._width = 1
        shuffle(listed)
        self._listed.extend(listed)
        return True

    def _sample(self) -> int:
        """Look at some of what is listed, and remember the oldest tenth; when the oldest of the others was used."""
        seen: list[Victim] = []
        while len(seen) < BATCH and self._listed:
            try:
                victim = self._see(*self._listed.popleft())
            except IndexError:  # another thread was faster
                break
            if victim is not None:
                seen.append(victim)
        now = _sort(seen)
        remembered = (len(seen) + _SHARE - 1) // _SHARE
        self._victims.extend(seen[:remembered])
        return min(now, seen[remembered].used) if remembered < len(seen) else now

    def _look(self, shards: frozenset[int] | None, at_most: int) -> list[Victim] | None:
        """The entries of ``shards`` or of all; None where there are more than ``at_most``."""
        seen: list[Victim] = []
        for function in self._layout.functions():
            for files in self._layout.named(function, shards):
                if len(seen) + len(files) > at_most:
                    return None
                seen += [victim for file in files if (victim := self._see(file, function)) is not None]
        return seen

    def _see(self, file: str, function: str) -> Victim | None:
        """What there is to know of ``file``. Runs for thousands of files while a caller waits."""
        try:
            status = os.lstat(file)
        except OSError:
            return None
        if status.st_mode & _TYPE != stat.S_IFREG or file in self._foreign:
            return None
        name = file.rpartition(os.sep)[2]
        size = max(0, status.st_size - seal_of(name).room)
        return _new(Victim, (status.st_atime_ns, file, function, size, shard_of(name)))

    def _sift(self, seen: list[Victim], shards: Iterable[int], share: int) -> dict[int, Count]:
        """Remember the oldest of ``seen``, one in ``share``; what each of ``shards`` holds."""
        now = _sort(seen)
        remembered = (len(seen) + share - 1) // share
        self._victims.extend(seen[:remembered])
        counted = dict.fromkeys(shards, NOTHING)
        for index, victim in enumerate(seen):
            entries, changes, size, oldest = counted[victim.shard]
            if not oldest and (index >= remembered or share == 1):
                oldest = min(now, victim.used)
            counted[victim.shard] = _new(Count, (entries + 1, changes, size + victim.size, oldest))
        return {
            shard: count if count.oldest or not count.entries else count._replace(oldest=now)
            for shard, count in counted.items()
        }


def _sort(seen: list[Victim]) -> int:
    """Bring the oldest to the front, and the time at which that was.

    The clock was set back since those were used whose time has not come yet: nobody knows when, so they come first.
    """
    seen.sort()
    now = time.time_ns()
    if seen and seen[-1].used > now + _SLACK:
        ahead = bisect_right(seen, now + _SLACK, key=_used)
        seen[:] = seen[ahead:] + seen[:ahead]
    return now


_used: Callable[[Victim], int] = itemgetter(0)

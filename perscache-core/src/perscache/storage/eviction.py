"""Eviction: what was used longest ago leaves, when what is stored outgrows its limit.

A storage of up to 4,096 entries is looked at as a whole and the order is exact. Of a larger one a look takes about as
many, in whole 256ths, those with the oldest entries. A look remembers the oldest tenth of what it saw, and counts
exactly on the way; the stores that follow remove from that tenth, each what it needs for itself, so that nobody pauses
for others.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import StorageError
from .layout import Layout, shard_of
from .seal import seal_of
from .usage import NOTHING, SHARDS, Change, Count, Usage

EXACT = 4096
"""Entries up to which the whole storage is one shard."""

_TIME = 0.02
_MORE = 1.25
_BARREN = 3
_TYPE = 0o170000
_new = tuple.__new__
_HOUR = 3_600_000_000_000


class Victim(NamedTuple):
    """An entry that may have to go."""

    used: int
    """When it was last used, nanoseconds since the epoch."""
    file: str
    function: str
    size: int
    shard: int


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
        self._foreign: set[str] = set()
        self._removals = 0
        self._oldest = 0
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

    def make_room(self, size: int, entries: int = 1, *, patient: bool = False) -> list[Change]:
        """Remove entries until ``size`` bytes and ``entries`` more fit; what is yet to be taken from the counters.

        Unless ``patient``, stops after 20 ms once 1.25 times what is to be written is freed.
        """
        have = self._usage.total() or self._count()
        if have is None:
            return []
        self._learn(have)
        changes: list[Change] = []
        gone = freed = barren = 0
        stop = time.monotonic() + _TIME
        while self._exceeds(have.entries + entries, have.bytes + size):
            if not patient and freed >= _MORE * size and gone >= _MORE * entries and time.monotonic() > stop:
                break
            victim = self._next()
            if victim is None:
                self._usage.add(changes)
                changes = []
                counted = self._count()
                barren += 1
                if counted is None or not self._victims or barren > _BARREN:
                    break
                have = counted
                self._learn(have)
            elif self._remove(victim):
                have = Count(have.entries - 1, have.bytes - victim.size, have.oldest)
                gone += 1
                freed += victim.size
                barren = 0
                changes.append((victim.shard, -1, -victim.size))
        return changes

    def prune(self) -> int:
        """Count everything, and remove what is over the limit; how many went."""
        self._victims.clear()
        before = self._usage.shards()
        seen = self._look(None, sys.maxsize) or []
        self._usage.recount(self._sift(seen, range(SHARDS)), before)
        self._removals = 0
        self._usage.add(self.make_room(0, 0, patient=True))
        return self._removals

    def forget(self) -> None:
        """Everything was removed by somebody else."""
        self._victims.clear()

    def look_at_clock(self, now: int) -> int:
        """`mark_after` as of ``now``: a sixteenth of the age of the oldest use, at most an hour.

        Within 0.1 point of the exact order in hit ratio, and almost no hit has to write.
        """
        if not self._oldest:
            total = self._usage.total()
            self._oldest = (total.oldest if total is not None else 0) or now
        self.mark_after = min(max(0, now - self._oldest) >> 4, _HOUR)
        return self.mark_after

    def _learn(self, have: Count) -> None:
        self._oldest = have.oldest
        self.look_at_clock(time.time_ns())

    def _exceeds(self, entries: int, size: int) -> bool:
        return (self._max_size is not None and size > self._max_size) or (
            self._max_entries is not None and entries > self._max_entries
        )

    def _next(self) -> Victim | None:
        try:
            return self._victims.popleft()
        except IndexError:
            return None

    def _remove(self, victim: Victim) -> bool:
        """Remove ``victim`` unless it was used, replaced or removed since it was seen, or is none of ours."""
        try:
            status = os.lstat(victim.file)
            if status.st_atime_ns != victim.used:
                return False
            if not self._layout.ours(victim.file):
                self._foreign.add(victim.file)
                return False
            os.unlink(victim.file)
        except FileNotFoundError:
            return False
        self._removals += 1
        self._removed(victim, status)
        return True

    def _count(self) -> Count | None:
        """Look at some 4,096 entries, those of the oldest shards, and remember whom to remove next; the total."""
        before = self._usage.shards()
        entries = sum(count.entries for count in before if count is not None)
        if entries <= EXACT and (seen := self._look(None, 2 * EXACT)) is not None:
            return self._usage.recount(self._sift(seen, range(SHARDS)), before)
        unknown = [shard for shard, count in enumerate(before) if count is None][:1]
        eldest = sorted(
            (count.oldest, shard) for shard, count in enumerate(before) if count is not None and count.entries
        )
        shards = unknown or [shard for _, shard in eldest[: max(1, EXACT * SHARDS // max(1, entries))]]
        return self._usage.recount(self._sift(self._look(frozenset(shards), sys.maxsize) or [], shards), before)

    def _look(self, shards: frozenset[int] | None, at_most: int) -> list[Victim] | None:
        """The entries of ``shards`` or of all; None where there are more than ``at_most``."""
        seen: list[Victim] = []
        for function in self._layout.functions():
            for folder in self._layout.folders(function, shards):
                try:
                    with os.scandir(folder) as found:
                        self._see(found, function, shards, seen)
                except OSError:
                    continue
                if len(seen) > at_most:
                    return None
        return seen

    def _see(
        self, found: Iterable[os.DirEntry[str]], function: str, shards: frozenset[int] | None, seen: list[Victim]
    ) -> None:
        """Add to ``seen`` what has the name of an entry. Runs for thousands of files while a caller waits."""
        room: dict[str, int] = {}
        for item in found:
            name = item.name
            extension = name.rpartition(".")[2]
            if name[0] == "." or extension == name:
                continue
            shard = shard_of(name)
            if shards is not None and shard not in shards:
                continue
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_mode & _TYPE == stat.S_IFREG and item.path not in self._foreign:
                if extension not in room:
                    room[extension] = seal_of(name).room
                size = max(0, status.st_size - room[extension])
                seen.append(_new(Victim, (status.st_atime_ns, item.path, function, size, shard)))

    def _sift(self, seen: list[Victim], shards: Iterable[int]) -> dict[int, Count]:
        """Remember the oldest tenth of ``seen``; what each of ``shards`` holds, and the oldest use beyond it."""
        seen.sort()
        tenth = (len(seen) + 9) // 10
        self._victims.extend(seen[:tenth])
        counted = dict.fromkeys(shards, NOTHING)
        for index, victim in enumerate(seen):
            entries, size, oldest = counted[victim.shard]
            if index >= tenth and not oldest:
                oldest = victim.used
            counted[victim.shard] = Count(entries + 1, size + victim.size, oldest)
        now = time.time_ns()
        return {shard: count if count.oldest else count._replace(oldest=now) for shard, count in counted.items()}

"""Eviction: what was used longest ago leaves, when what is stored outgrows its limit.

A storage of up to 4,096 entries is looked at as a whole and the order is exact. A larger one is looked at by 256ths,
the one with the oldest entry first. A look remembers the oldest tenth of what it saw, and counts exactly on the way;
the stores that follow remove from that tenth, each what it needs for itself, so that nobody pauses for others.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import StorageError
from .layout import Layout, shard_of
from .seal import seal_of
from .usage import NOTHING, SHARDS, Count, Usage

EXACT = 4096
"""Entries up to which the whole storage is one shard."""

_TIME = 0.02
_MORE = 1.25
_BARREN = 3


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
        self.oldest = 0
        """When the oldest known entry was used, nanoseconds since the epoch."""

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
        have = self._usage.total() or self._count()
        if have is None:
            return 0
        self.oldest = have.oldest
        gone = freed = barren = 0
        changes: list[tuple[int, int, int]] = []
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
                self.oldest = have.oldest
            elif self._remove(victim):
                have = Count(have.entries - 1, have.bytes - victim.size, have.oldest)
                gone += 1
                freed += victim.size
                barren = 0
                changes.append((victim.shard, -1, -victim.size))
        if changes:
            self._usage.add(changes)
        return gone

    def prune(self) -> int:
        """Count everything, and remove what is over the limit; how many went."""
        self._victims.clear()
        before = self._usage.shards()
        self._usage.recount(self._sift(self._look(None, None) or [], range(SHARDS)), before)
        return self.make_room(0, 0, patient=True)

    def forget(self) -> None:
        """Everything was removed by somebody else."""
        self._victims.clear()

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
        self._removed(victim, status)
        return True

    def _count(self) -> Count | None:
        """Look at the whole storage or at its oldest shard, and remember whom to remove next; the total."""
        before = self._usage.shards()
        known = [count for count in before if count is not None]
        if sum(count.entries for count in known) <= EXACT and (seen := self._look(None, 2 * EXACT)) is not None:
            counted = self._sift(seen, range(SHARDS))
        else:
            missing = (shard for shard, count in enumerate(before) if count is None)
            held = [(count.oldest, shard) for shard, count in enumerate(before) if count is not None and count.entries]
            shard = next(missing, None)
            if shard is None:
                shard = min(held)[1]
            counted = self._sift(self._look(shard, None) or [], (shard,))
        return self._usage.recount(counted, before)

    def _look(self, shard: int | None, at_most: int | None) -> list[Victim] | None:
        """The entries of ``shard`` or of all; None where there are more than ``at_most``."""
        seen: list[Victim] = []
        layout = self._layout
        for function in layout.functions():
            for folder in layout.folders(function, shard):
                for item in layout.files(folder, shard):
                    try:
                        status = item.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if stat.S_ISREG(status.st_mode) and item.path not in self._foreign:
                        name = item.name
                        size = max(0, status.st_size - seal_of(name).room)
                        seen.append(Victim(status.st_atime_ns, item.path, function, size, shard_of(name)))
                    if at_most is not None and len(seen) > at_most:
                        return None
        return seen

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

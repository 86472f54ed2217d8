"""Eviction: what was used longest ago leaves, when what is stored outgrows its limit.

A storage of up to 4,096 entries is looked at as a whole, and the order is exact: whatever is used or stored after the
look is younger than all that was not. Of a larger one a look takes about as many, in whole 256ths, those with the
oldest entries, and remembers the oldest tenth. A look also counts exactly. The stores that follow remove from what is
remembered, each what it needs for itself, so that nobody pauses for others.
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
from .usage import NOTHING, SHARDS, Count, Usage

EXACT = 4096
"""Entries up to which the whole storage is one shard."""

_TIME = 0.02
_MORE = 1.25
_BARREN = 3
_SHARE = 10
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
        have = self._usage.total() or self._count()
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
                have = self._count() if barren < _BARREN else None
                barren += 1
                if have is not None:
                    self._learn(have)
                stop = time.monotonic() + _TIME
                continue
            if self._still(victim):
                # Uncounted before it goes: whoever counts meanwhile may count it still, but never too few.
                have = self._usage.add([(victim.shard, -1, -victim.size)], victim.used)
                if self._remove(victim):
                    gone += 1
                    freed += victim.size
                    barren = 0
                else:
                    have = self._usage.add([(victim.shard, 1, victim.size)])
        return gone

    def prune(self) -> int:
        """Count everything, and remove what is over the limit; how many went."""
        self._victims.clear()
        before = self._usage.shards()
        seen = self._look(None, sys.maxsize) or []
        self._usage.recount(self._sift(seen, range(SHARDS), 1), before)
        return self.make_room(0, 0, patient=True)

    def forget(self) -> None:
        """Everything was removed by somebody else."""
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

    def _still(self, victim: Victim) -> bool:
        """Whether ``victim`` was neither used, replaced nor removed since it was seen, and is ours."""
        try:
            status = os.lstat(victim.file)
        except OSError:
            return False
        if status.st_atime_ns != victim.used:
            return False
        if not self._layout.ours(victim.file, status):
            self._foreign.add(victim.file)
            return False
        return True

    def _remove(self, victim: Victim) -> bool:
        try:
            status = os.lstat(victim.file)
            os.unlink(victim.file)
        except OSError:
            return False
        self._removed(victim, status)
        return True

    def _count(self) -> Count | None:
        """Look at some 4,096 entries, those of the oldest shards, and remember whom to remove next; the total."""
        before = self._usage.shards()
        entries = sum(count.entries for count in before if count is not None)
        if entries <= EXACT and (seen := self._look(None, 2 * EXACT)) is not None:
            return self._usage.recount(self._sift(seen, range(SHARDS), 1), before)
        unknown = [shard for shard, count in enumerate(before) if count is None][:1]
        eldest = sorted(
            (count.oldest, shard) for shard, count in enumerate(before) if count is not None and count.entries
        )
        shards = unknown or [shard for _, shard in eldest[: max(1, EXACT * SHARDS // max(1, entries))]]
        return self._usage.recount(self._sift(self._look(frozenset(shards), sys.maxsize) or [], shards, _SHARE), before)

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

    def _sift(self, seen: list[Victim], shards: Iterable[int], share: int) -> dict[int, Count]:
        """Remember the oldest of ``seen``, one in ``share``; what each of ``shards`` holds."""
        seen.sort()
        remembered = (len(seen) + share - 1) // share
        self._victims.extend(seen[:remembered])
        counted = dict.fromkeys(shards, NOTHING)
        for index, victim in enumerate(seen):
            entries, size, oldest = counted[victim.shard]
            if not oldest and (index >= remembered or share == 1):
                oldest = victim.used
            counted[victim.shard] = _new(Count, (entries + 1, size + victim.size, oldest))
        now = time.time_ns()
        return {
            shard: count if count.oldest or not count.entries else count._replace(oldest=now)
            for shard, count in counted.items()
        }

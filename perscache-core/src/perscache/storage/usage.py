"""The counters of a local storage: entries, bytes and the oldest use in each of 256 shards and in all.

A file of 257 records of 32 bytes, changed under a lock of the whole file. Counters are hints: a record that is missing
or damaged counts as nothing until its shard is counted again. Never mapped into memory: a full disk would turn a write
into a signal.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from xxhash import xxh3_64_digest

from .descriptor import pread, pwrite
from .layout import Layout, open_plain
from .locked_file import LockedFile

SHARDS = 256
_TOTAL = SHARDS
_RECORD = struct.Struct("<IIqqQ")
_VALUES = struct.Struct("<IIqq")
_MOST = 2**32 - 1
_BLANK = bytes(_RECORD.size)
_MOST_UNSAID = 10_000


Change: TypeAlias = tuple[int, int, int]
"""A shard, and how many entries and bytes more it holds."""


class Count(NamedTuple):
    """What one shard holds, or all do."""

    entries: int
    changes: int
    """How often it changed, modulo 2**32: what came and went between two looks changes nothing else."""
    bytes: int
    oldest: int
    """When the entry that was used longest ago was used, in nanoseconds since the epoch; 0 where nobody knows."""


NOTHING = Count(0, 0, 0, 0)


class Usage:
    """The counters of the storage that ``layout`` describes.

    Only a limit needs them. A storage that has one makes the file, and from then on everybody who stores in the folder
    counts: who looks for the file only after publishing is counted by itself, or seen by who counts after making it.
    """

    def __init__(self, layout: Layout, *, needed: bool) -> None:
        """Nothing is opened or made yet. They are ``needed`` where there is a limit."""
        self._layout = layout
        self._needed = needed
        self._file = layout.state("usage")
        self._locked_file = LockedFile(layout, "usage")
        self._unsaid: list[Change] = []

    @property
    def counting(self) -> bool:
        """Whether anybody needs the counters."""
        return self._needed or os.access(self._file, os.F_OK)

    def begin(self) -> None:
        """Before the first store: what is not there yet can be counted from nothing."""
        if self._needed and not os.path.exists(self._file):
            with self._locked_file.locked() as fd:
                if fd is not None and not os.fstat(fd).st_size and next(self._layout.functions(), None) is None:
                    _clear(fd)

    def total(self) -> Count | None:
        """All shards together, as of now; None where a count is missing."""
        try:
            fd = open_plain(self._file, os.O_RDONLY)
        except OSError:
            return None
        try:
            total = _get(fd, _TOTAL)
        finally:
            os.close(fd)
        if total is not None and self._unsaid:
            total = _plus(total, sum(change[1] for change in self._unsaid), sum(change[2] for change in self._unsaid))
        return total

    def shards(self) -> list[Count | None]:
        """Each shard, before it is counted anew; None where its count is missing."""
        try:
            fd = self._locked_file.open()
        except OSError:
            return [None] * SHARDS
        try:
            return _get_all(fd)
        finally:
            os.close(fd)

    def add(self, changes: Iterable[Change], oldest: int = 0) -> Count | None:
        """Count ``changes``; the total after, None where a count is missing. Nothing is older than ``oldest``."""
        if not self.counting:
            return None
        with self._locked_file.locked() as fd:
            if fd is None:
                if len(self._unsaid) < _MOST_UNSAID:
                    self._unsaid.extend(changes)
                return self.total()
            said = self._unsaid[:]
            del self._unsaid[: len(said)]
            entries = size = 0
            for shard, more_entries, more_bytes in [*said, *changes]:
                entries += more_entries
                size += more_bytes
                if (count := _get(fd, shard)) is not None:
                    _put(fd, shard, _plus(count, more_entries, more_bytes))
            if (before := _get(fd, _TOTAL)) is None:
                return None
            total = _plus(before, entries, size)
            total = total._replace(oldest=max(total.oldest, oldest))
            _put(fd, _TOTAL, total)
            return total

    def recount(self, counted: dict[int, Count], before: list[Count | None]) -> Count | None:
        """Replace shards by what was counted; ``before`` is what `shards` said when the counting began."""
        with self._locked_file.locked() as fd:
            if fd is None:
                return None
            self._unsaid[:] = [change for change in self._unsaid if change[0] not in counted]
            counts = _get_all(fd)
            for shard, count in counted.items():
                counts[shard] = _reconciled(count, before[shard], counts[shard])
            return _put_all(fd, counts)

    def age(self, shards: Iterable[int], oldest: int) -> None:
        """Note that nothing in ``shards`` is older than ``oldest``."""
        with self._locked_file.locked() as fd:
            if fd is not None:
                counts = _get_all(fd)
                for shard in shards:
                    if (count := counts[shard]) is not None:
                        counts[shard] = count._replace(oldest=oldest)
                _put_all(fd, counts)

    def forget(self) -> None:
        """Begin anew: nothing is stored."""
        if not self.counting:
            return
        with self._locked_file.locked() as fd:
            if fd is not None:
                _clear(fd)

    def lose(self) -> None:
        """Nobody knows what is stored: count anew when it matters."""
        if not self.counting:
            return
        with self._locked_file.locked() as fd:
            if fd is not None:
                os.ftruncate(fd, 0)


def _clear(fd: int) -> None:
    data = b"".join([_pack(NOTHING, index) for index in range(SHARDS + 1)])
    pwrite(fd, data, 0)


def _plus(count: Count, entries: int, size: int) -> Count:
    oldest = count.oldest or time.time_ns()
    return Count(
        min(max(0, count.entries + entries), _MOST), (count.changes + 1) & _MOST, max(0, count.bytes + size), oldest
    )


def _reconciled(counted: Count, before: Count | None, now: Count | None) -> Count:
    """What a shard holds of which ``counted`` was seen, while its counters went from ``before`` to ``now``.

    What came meanwhile may be missing from what was seen, and what went may be in it. Counters that agree with that are
    right; if they do not, rather too many are counted than too few, which would be over the limit.
    """
    if now is None:
        return counted
    if before is None:  # somebody else began to count meanwhile
        entries, size = max(counted.entries, now.entries), max(counted.bytes, now.bytes)
        return Count(entries, now.changes, size, counted.oldest or now.oldest)
    if before.changes == now.changes:
        return counted._replace(changes=now.changes)
    more = now.entries - before.entries
    changes = (now.changes - before.changes) & _MOST
    came, went = (changes + more) // 2, (changes - more) // 2
    if counted.entries - went <= now.entries <= counted.entries + came:
        return now._replace(oldest=counted.oldest or now.oldest)
    size = counted.bytes + max(0, now.bytes - before.bytes)
    return Count(counted.entries + max(0, came), now.changes, size, counted.oldest or now.oldest)


def _get(fd: int, index: int) -> Count | None:
    return _parse(pread(fd, _RECORD.size, index * _RECORD.size), index)


def _put(fd: int, index: int, count: Count) -> None:
    pwrite(fd, _pack(count, index), index * _RECORD.size)


def _get_all(fd: int) -> list[Count | None]:
    data = pread(fd, SHARDS * _RECORD.size, 0)
    return [
        _parse(data[at : at + _RECORD.size], at // _RECORD.size) for at in range(0, SHARDS * _RECORD.size, _RECORD.size)
    ]


def _put_all(fd: int, counts: list[Count | None]) -> Count | None:
    """Write every shard and the total; the total, None where a count is missing."""
    known = [count for count in counts if count is not None]
    total = None
    if len(known) == SHARDS:
        oldest = min((count.oldest for count in known if count.entries), default=0)
        entries, size = sum(count.entries for count in known), sum(count.bytes for count in known)
        total = Count(min(entries, _MOST), 0, size, oldest)
    records = [_BLANK if count is None else _pack(count, shard) for shard, count in enumerate([*counts, total])]
    pwrite(fd, b"".join(records), 0)
    return total


def _pack(count: Count, index: int) -> bytes:
    values = _VALUES.pack(*count)
    return values + xxh3_64_digest(values, index + 1)


def _parse(record: bytes, index: int) -> Count | None:
    values = record[:-8]
    if len(record) != _RECORD.size or xxh3_64_digest(values, index + 1) != record[-8:]:
        return None
    return Count(*_VALUES.unpack(values))

"""Sums of entries: of a function, of what is to go."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ..counts import Counts
from ..entry import Entry
from .finding import folder_of


@dataclass(slots=True)
class Sum:
    """Entries together, and how the calls that they belong to went."""

    entries: int = 0
    size: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    function: str = ""
    """The function, if its name is another than its folder's."""
    counts: Counts = field(default_factory=Counts)

    def add(self, entry: Entry) -> None:
        """One entry more."""
        self.entries += 1
        self.size += entry.size
        self.oldest = min(self.oldest or entry.created, entry.created)
        self.newest = max(self.newest or entry.created, entry.created)
        if entry.function != folder_of(entry):
            self.function = entry.function

    def merge(self, other: Sum) -> None:
        """All of ``other`` more."""
        self.entries += other.entries
        self.size += other.size
        self.oldest = min(filter(None, (self.oldest, other.oldest)), default=None)
        self.newest = max(filter(None, (self.newest, other.newest)), default=None)
        self.counts = self.counts.plus(other.counts)


def over_limit(entries: list[Entry], max_size: int | None, max_entries: int | None) -> Sum:
    """Those of ``entries`` that are over the limit, used longest ago first."""
    over = Sum()
    size, number = sum(entry.size for entry in entries), len(entries)
    for entry in sorted(entries, key=lambda entry: entry.used or entry.created):
        if (max_size is None or size <= max_size) and (max_entries is None or number <= max_entries):
            break
        over.add(entry)
        size -= entry.size
        number -= 1
    return over

"""Counts of calls: how often a function was asked, and what its cache was good for."""

from __future__ import annotations

from typing import NamedTuple


class Counts(NamedTuple):
    """How the calls of one function went."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    """Misses because an entry had expired."""
    errors: int = 0
    """Troubles in storage, serializer or plugin that were survived."""
    bytes: int = 0
    """Serialized bytes read by hits."""
    saved: float = 0.0
    """Seconds of computing that hits saved, as far as the storage keeps them."""

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        return Counts._make([mine + theirs for mine, theirs in zip(self, other, strict=True)])

    def minus(self, other: Counts) -> Counts:
        """What came after ``other``, an earlier state of the same counts."""
        return Counts._make([mine - theirs for mine, theirs in zip(self, other, strict=True)])

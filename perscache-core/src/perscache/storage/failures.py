"""Failures: what some tiers of a storage raised while the others did their work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .. import trouble
from ..errors import DamagedEntry, TierError, Unsupported
from .base import Storage


class Failures:
    """Collected tier by tier; true where there are some."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: Final[list[tuple[Storage, Exception]]] = []

    def __bool__(self) -> bool:
        return bool(self._of)

    def __iter__(self) -> Iterator[tuple[Storage, Exception]]:
        return iter(self._of)

    def __str__(self) -> str:
        return "; ".join(f"{tier.identity}: {type(error).__name__}: {error}" for tier, error in self._of)

    def add(self, tier: Storage, error: Exception) -> None:
        """``tier`` raised ``error``."""
        self._of.append((tier, error))

    @property
    def first(self) -> Exception:
        """The first one."""
        return self._of[0][1]

    def all_are(self, kind: type[Exception]) -> bool:
        """Whether there is nothing but ``kind``."""
        return all(isinstance(error, kind) for _, error in self._of)

    def error(self) -> Exception:
        """One that stands for all; Unsupported, or damage, where there is nothing else."""
        if self.all_are(Unsupported) or self.all_are(DamagedEntry):
            return self.first
        told = TierError(str(self))
        told.__cause__ = self.first
        return told

    def warn(self, deed: str, path: str) -> None:
        """Say so, where the others make up for it: once for a tier and kind of trouble, once for a damaged entry."""
        for tier, error in self._of:
            about = path if isinstance(error, DamagedEntry) else type(error)
            trouble.warn(
                f"{tier.identity}: {deed} failed, the other tiers make up for it: {type(error).__name__}: {error}",
                once=(tier.identity, deed, about),
            )

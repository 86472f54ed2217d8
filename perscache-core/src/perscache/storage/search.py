"""A search: one look-up in tiers whose first one gave nothing, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from ..buffers import Form
from ..entry import Entry, Stored, moment
from ..errors import CacheExpired, CacheMiss, DamagedEntry
from .base import Storage
from .failures import Failures
from .twins import Step, Steps


class Found(NamedTuple):
    """What one of the tiers had."""

    path: str
    stored: Stored
    lacking: Sequence[Storage]
    """The tiers above that can take a copy."""
    above: Sequence[Storage]
    """All tiers above."""
    failures: Failures
    """What went wrong in those."""

    def entry(self) -> Entry:
        """What to keep of it with a copy; the epoch stands for a time that is not known."""
        stored, size = self.stored, len(self.stored.data)
        created = moment(stored.created or 0.0)
        if stored.entry is None:
            return Entry(self.path, created, size, compute_time=stored.compute_time)
        return replace(stored.entry, path=self.path, created=created, size=size)


def search(tiers: Sequence[Storage], met: Exception, path: str, max_age: float | None, form: Form) -> Steps[Found]:
    """What is under ``path`` below the first of ``tiers``, which raised ``met``.

    Raises what stands for all of them where none has it fresh: what `Storage.load` raises, TierError if some failed.
    """
    misses = _Misses()
    misses.add(tiers[0], met)
    for number, tier in enumerate(tiers[1:], 1):
        if not tier.may_hold(path):
            continue
        how = (path, max_age, form) if tier.zero_copy and form != "bytes" else (path, max_age)
        try:
            stored: Stored = yield Step(tier, "load", how)
        except Exception as error:  # noqa: BLE001  # Whatever it is, the next one is asked.
            misses.add(tier, error)
        else:
            # A copy of unknown age would be older than any time to live.
            useful = stored.created is not None or max_age is None
            return Found(path, stored, misses.lacking if useful else (), tiers[:number], misses.failures)
    raise misses.verdict(f"{path} is in none of the tiers")


class _Misses:
    """What the tiers raised that gave nothing."""

    def __init__(self) -> None:
        self.failures: Final = Failures()
        self.lacking: Final[list[Storage]] = []
        self._expired: CacheExpired | None = None

    def add(self, tier: Storage, error: Exception) -> None:
        """``tier`` raised ``error``."""
        absent = isinstance(error, FileNotFoundError | CacheMiss)
        if isinstance(error, CacheExpired):
            self._expired = self._expired or error
        if not absent:
            self.failures.add(tier, error)
        if absent or isinstance(error, DamagedEntry):
            self.lacking.append(tier)

    def verdict(self, absent: str) -> Exception:
        """Why there is no value; ``absent`` where that is all that can be said."""
        return self.failures.error() if self.failures else self._expired or FileNotFoundError(absent)

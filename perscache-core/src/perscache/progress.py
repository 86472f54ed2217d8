"""A progress bar: how many calls are done, how many of them were hits."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeAlias

from . import trouble

Progress: TypeAlias = bool | Callable[..., Any]
"""Whether there is a bar; or what makes one, called as `tqdm.tqdm` is."""


class Bar:
    """A bar of ``total`` calls of the function ``name``; None where their number is not known.

    With ``progress=True`` it is tqdm's, in a notebook its widget; without tqdm there is none, and one warning says so.
    """

    def __init__(self, progress: Progress, name: str, total: int | None) -> None:
        make = _tqdm(name) if progress is True else progress
        self._bar: Final = make(total=total, desc=name, unit="call") if make else None
        self._hits = self._misses = self._failed = 0

    def advance(self, hit: bool | None) -> None:
        """One more call is done: a hit, a miss, or None for one that raised."""
        if self._bar is None:
            return
        if hit is None:
            self._failed += 1
        elif hit:
            self._hits += 1
        else:
            self._misses += 1
        counts = {"hits": self._hits, "misses": self._misses}
        if self._failed:
            counts["failed"] = self._failed
        self._bar.set_postfix(counts, refresh=False)
        self._bar.update()

    def close(self) -> None:
        """It moves no more."""
        if self._bar is not None:
            self._bar.close()


def _tqdm(name: str) -> Callable[..., Any] | None:
    try:
        return import_module("tqdm.auto").tqdm  # type: ignore[no-any-return]
    except ImportError:
        trouble.warn(f"{name}: progress=True shows nothing without tqdm: pip install tqdm", once="tqdm")
        return None

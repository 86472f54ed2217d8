"""Fills: copies on their way from a lower tier to those above, and the changes that make them void.

A copy carries what was read a moment ago: where its entry is removed or replaced meanwhile, it would bring the old one
back. So a fill that overlaps a change of its entry in this process is void, and whoever makes it takes it out again. Of
one that ended before the change began, the change meets the copy; one that began after it reads what is new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from weakref import WeakSet


class Fill:
    """One entry on its way up: from before it is read until its copies are made."""

    __slots__ = ("path", "void")

    def __init__(self, path: str) -> None:
        self.path: Final = path
        self.void = False
        """Whether the entry was changed meanwhile."""


class Fills:
    """The fills and the changes under way in one tiered storage.

    There is no lock, since each step on the set and on the list is one to other threads. A fill is entered before it
    looks for changes, and a change before it looks for fills: one of the two sees the other.
    """

    def __init__(self) -> None:
        self._under_way: set[Fill] = set()
        self._changing: list[str | None] = []
        _all.add(self)

    def begin(self, path: str) -> Fill:
        """The fill of ``path``, to be begun before it is read and ended in any case."""
        fill = Fill(path)
        self._under_way.add(fill)
        if any(changed in {None, path} for changed in list(self._changing)):
            fill.void = True
        return fill

    def end(self, fill: Fill) -> bool:
        """The copies are made; whether they must go again."""
        self._under_way.discard(fill)
        return fill.void

    @contextmanager
    def changing(self, path: str | None) -> Iterator[None]:
        """In the block the entry under ``path`` is changed in one tier after the other; None for all entries."""
        self._changing.append(path)
        for fill in list(self._under_way):
            if path in {None, fill.path}:
                fill.void = True
        try:
            yield
        finally:
            self._changing.remove(path)

    def forget(self) -> None:
        """In a forked child: what was under way is the parent's."""
        self._under_way.clear()
        self._changing.clear()


_all: Final[WeakSet[Fills]] = WeakSet()


def _forget_parents() -> None:
    for fills in list(_all):
        fills.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)

"""Isolation: for a while, what would lie in the default storage lies in a folder of its own. For tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Final, Protocol
from weakref import ref

from . import config, statistics, trouble
from .errors import PerscacheError
from .storage.opening import StorageLike, configured_storage, open_storage

if TYPE_CHECKING:
    from .storage.base import Storage
    from .storage.local import LocalFileStorage

_VARIABLE: Final = config.ENVIRONMENT["storage"]


class Movable(Protocol):
    """A cache, or the handle of a function."""

    def _move(self, place: Callable[[Storage], Storage]) -> Callable[[], None]:
        """Go from the present storage to the one that ``place`` gives for it. Gives what takes that back."""
        ...


@contextmanager
def isolated(folder: str | PathLike[str]) -> Iterator[LocalFileStorage]:
    """Run the block with ``folder`` in place of the default storage; gives the storage that lies there.

    It serves every cache and function whose storage is the default one, because code says none or says the same: those
    that exist and those made in the block, in all threads, and in processes started from it, which find the folder in
    ``PERSCACHE_STORAGE``. Their counts (``cache_info()``) begin anew. What was warned of is warned of again. After the
    block each is as it was before.

    Another storage that code names stays: it is what was asked for.
    """
    from .storage.local import LocalFileStorage

    trouble.forget()
    storage = LocalFileStorage(folder)
    isolation = _Isolation(storage)
    former = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(storage.location)
    _isolations.append(isolation)
    try:
        for one, given in _enrolled():
            isolation.move(one, given)
        yield storage
    finally:
        _isolations.remove(isolation)
        if former is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = former
        statistics.discard(storage.ledger())
        isolation.end()


def enroll(one: Movable, *, given: bool) -> None:
    """Let isolations move ``one``, which was made this moment; ``given`` is whether code says its storage."""
    key = id(one)
    _live[key] = ref(one, lambda _: _live.pop(key, None)), given
    if _isolations:
        _isolations[-1].meet(one, given)


# Read whole while other threads decorate: a plain dict can be, weak ones cannot.
_live: Final[dict[int, tuple[ref[Movable], bool]]] = {}
_isolations: Final[list[_Isolation]] = []


def _enrolled() -> list[tuple[Movable, bool]]:
    return [(one, given) for reference, given in list(_live.values()) if (one := reference()) is not None]


class _Isolation:
    """One block: what was moved in it, and what was made in it."""

    def __init__(self, storage: LocalFileStorage) -> None:
        self._folder: Final = storage.location
        self._default: Final = _identity_of_default()
        self._pairs: Final[list[tuple[Storage, Storage]]] = []
        """Each storage that was left, and the one that is used instead."""
        self._ways_back: Final[list[Callable[[], None]]] = []
        self._made: Final[list[tuple[ref[Movable], bool]]] = []

    def move(self, one: Movable, given: bool) -> None:
        """Move ``one`` into the folder if its storage is the default one."""

        def place(storage: Storage) -> Storage:
            if given and storage.identity != self._default:
                return storage
            for former, instead in self._pairs:
                if former is storage:
                    return instead
            self._pairs.append((storage, _opened(self._folder, storage)))
            return self._pairs[-1][1]

        self._ways_back.append(one._move(place))

    def meet(self, one: Movable, given: bool) -> None:
        """Take in ``one``, which was made in the block. Unless its storage is given, it is here already."""
        self._made.append((ref(one), given))
        if given:
            self.move(one, given)

    def end(self) -> None:
        """Everything back to where it was, and what was made meanwhile to where it would have been."""
        for go_back in reversed(self._ways_back):
            go_back()
        made = [(one, given) for reference, given in self._made if (one := reference()) is not None]
        for one, given in made:
            one._move(partial(self._home, given))
        if _isolations:
            _isolations[-1]._made.extend((ref(one), given) for one, given in made)

    def _home(self, given: bool, storage: Storage) -> Storage:
        for former, instead in self._pairs:
            if instead is storage:
                return former
        if given:
            return storage
        default, _ = config.outside().get("storage", (config.DEFAULTS["storage"], ""))
        self._pairs.append((_opened(default, storage), storage))
        return self._pairs[-1][0]


def _opened(place: StorageLike, former: Storage) -> Storage:
    """The storage at ``place``, with the limit of ``former`` and those who listen to it."""
    opened = open_storage(place, former.max_size)
    opened.listeners = former.listeners
    return opened


def _identity_of_default() -> str | None:
    with suppress(PerscacheError):  # What cannot be opened is nobody's storage.
        return configured_storage().identity
    return None

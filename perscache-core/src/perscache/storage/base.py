"""The contract of a storage: bytes under a path, with the time at which they were written."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Final, Self

from ..buffers import Buffer, Form, overridden
from ..counts import Counts
from ..entry import Entry, Stored, moment
from ..errors import ConfigurationError, Unsupported

AT_ONCE: Final = 64
"""Look-ups under way at once, where one takes longer than microseconds."""

CLOCK_SLACK: Final = 5.0
"""Seconds by which an entry may come from the future: the clocks of several machines differ."""


class Lock(ABC):
    """The right to compute one entry, among all who share a storage."""

    __slots__ = ()

    @abstractmethod
    def acquire(self, held: Sequence[str]) -> bool | None:
        """Hold it: True. Look whether the result has come, and ask again: None; waiting goes on in the next `acquire`.

        Gives False where the wait would never end, the caller holding the locks of the paths ``held`` meanwhile, and
        where locks do not work: the caller computes then, without.
        """

    @abstractmethod
    async def aacquire(self, held: Sequence[str]) -> bool | None:
        """`acquire` without holding up the event loop."""

    @abstractmethod
    def release(self) -> None:
        """Let the next one in. It never raises and never waits: what takes time goes on by itself."""


class Ledger(ABC):
    """How calls went, by function, beyond the process. Hashable, and equal where it is the same; it pickles."""

    __slots__ = ()

    @abstractmethod
    def add(self, counts: Mapping[str, Counts]) -> None:
        """Add ``counts`` to what is known of each function. It may raise any OSError; nobody waits for it."""

    @abstractmethod
    def read(self) -> dict[str, Counts]:
        """What is known by function; nothing where there is trouble."""


class Storage(ABC):
    """Keeps bytes under paths such as ``"myapp.prices/9c1e….pickle"``.

    ``read`` and ``write`` make a storage; everything else has a default built from those two, or says that it
    cannot. The paths of one storage are relative, hold only ``[A-Za-z0-9._-]`` and, where `folders` is true, one ``/``.
    """

    schemes: ClassVar[tuple[str, ...]] = ()
    """The URL schemes that name it, ``("gs", "gcs")``."""

    folders: ClassVar[bool] = False
    """Whether it takes paths with a folder, ``f/9c1e.json``; others get ``f-9c1e.json``."""

    local: ClassVar[bool] = False
    """Whether a call takes microseconds and may stay on an event loop, its async twins apart."""

    zero_copy: ClassVar[bool] = False
    """Whether its ``store`` and ``astore`` take `Pieces` beside bytes; its ``load``, ``load_many`` and ``aload`` a
    `Form` as the third argument (see `perscache.buffers`). Others are given bytes, and give them."""

    max_size: int | None = None
    """The limit that it keeps to, in bytes."""

    listeners: tuple[Callable[[Storage, Entry, str], None], ...] = ()
    """Told of each entry that is removed, and why: "expired", "limit", "cleared" or "invalidated"."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Expect bytes only of a class that overrides reading or writing and does not say more."""
        super().__init_subclass__(**kwargs)
        if overridden(cls, ["read", "load", "load_many", "aload", "write", "store", "astore"], "zero_copy"):
            cls.zero_copy = False

    @property
    def watched(self) -> bool:
        """Whether anybody wants to be told; a listener may say by its ``active`` that it is not."""
        return any(getattr(listener, "active", True) for listener in self.listeners)

    @abstractmethod
    def read(self, path: str, deadline: datetime | None) -> bytes:
        """The bytes under ``path``.

        Raises FileNotFoundError where there are none, CacheExpired where they were written before ``deadline``
        (aware), DamagedEntry where they are not what was written, and any OSError where the storage has trouble.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Keep ``data`` under ``path``, replacing what was there. A reader sees the old or the new, never a part."""

    # --- Richer forms of the two. What a call uses.

    def load(self, path: str, max_age: float | None = None) -> Stored:
        """Like `read`, with what came with the bytes; expired when older than ``max_age`` seconds."""
        return Stored(self.read(path, None if max_age is None else moment(time.time() - max_age)))

    def store(self, entry: Entry, data: bytes) -> None:
        """Like `write` to ``entry.path``, keeping of ``entry`` what the storage has room for."""
        self.write(entry.path, data)

    def load_many(
        self, paths: Iterable[str], max_age: float | None = None, form: Form | None = None
    ) -> Generator[Stored | Exception, None, None]:
        """What `load` gives or raises for each of ``paths``, in their order.

        Unless the storage is `local`, `AT_ONCE` are under way at a time; ``paths`` is read as far as that needs, and no
        more answers wait to be taken. Closing it waits for those under way.
        """
        load: Callable[..., Stored] = self.load

        def loaded(path: str) -> Stored | Exception:
            try:
                return load(path, max_age) if form is None else load(path, max_age, form)
            except Exception as error:  # noqa: BLE001  # One that fails must not end the others.
                return error

        return (loaded(path) for path in paths) if self.local else _together(loaded, iter(paths))

    async def aload(self, path: str, max_age: float | None = None) -> Stored:
        """`load` without holding up the event loop."""
        import asyncio

        return await asyncio.to_thread(self.load, path, max_age)

    async def astore(self, entry: Entry, data: bytes) -> None:
        """`store` without holding up the event loop."""
        import asyncio

        await asyncio.to_thread(self.store, entry, data)

    def lock(self, path: str) -> Lock | None:
        """The lock of the entry under ``path``; None where processes cannot be kept from computing at the same time."""
        return None

    def may_hold(self, path: str) -> bool:
        """Whether there may be anything under ``path``, as far as is known without asking for it."""
        return True

    def lacks(self, path: str) -> bool:
        """Whether it is plain, at a fraction of the cost of `load`, that nothing is stored under ``path`` just now."""
        return False

    def ledger(self) -> Ledger | None:
        """Where counts of calls outlive the process; None where they do not."""
        return None

    # --- As one of several tiers. Optional.

    def fill(self, entry: Entry, data: Buffer) -> bool:
        """Keep a copy of what a lower tier has, as old as ``entry.created`` says; whether it is here now, or a newer.

        False where a storage cannot keep that time: a copy that seemed younger than its result would expire too late.
        """
        return False

    def latest(self, path: str) -> Stored:
        """Like `load`, as all who share the storage see it: no copy of one's own answers."""
        return self.load(path)

    # --- Looking and removing. Optional.

    def inspect(self, path: str) -> tuple[bytes | memoryview, bool]:
        """The bytes under ``path``, and whether all of them are proven to be what was written. Changes nothing.

        Raises what `load` raises.
        """
        return self.load(path).data, False

    def peek(self, path: str) -> Entry | None:
        """What is known of the entry under ``path``, without reading its value; None where there is none."""
        raise self._cannot("look at an entry without reading it")

    def holds(self, path: str, max_age: float | None = None) -> bool:
        """Whether there is an entry under ``path``, at most ``max_age`` seconds old, without reading its value."""
        entry = self.peek(path)
        if entry is None or max_age is None:
            return entry is not None
        return -CLOCK_SLACK <= time.time() - entry.created.timestamp() <= max_age

    def delete(self, path: str) -> bool:
        """Remove the entry under ``path``; whether there was one."""
        raise self._cannot("delete")

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """What is stored, of the folder ``function`` or of all, in no order, streamed."""
        raise self._cannot("list its entries")

    def clear(self, function: str | None = None) -> int:
        """Remove every entry of the folder ``function``, or of all, and nothing that we did not write; how many."""
        return sum(self.delete(entry.path) for entry in list(self.entries(function)))

    def prune(self, max_age: float | None = None) -> int:
        """Remove what is older than ``max_age`` seconds and what is over the limit; how many entries went."""
        raise self._cannot("prune")

    # --- Making one.

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage that ``url`` names; ``options`` are its constructor's, and stronger than the URL's query."""
        raise ConfigurationError(f"{cls.__name__} cannot be made from a URL ({url}): make an instance and pass that")

    @property
    def identity(self) -> str:
        """Where the entries are: two storages of one identity see the same ones."""
        return f"{type(self).__name__}@{id(self):x}"

    @property
    def private(self) -> bool:
        """Whether each process has entries of its own. Taken to be so where a storage does not say its `identity`."""
        return type(self).identity is Storage.identity

    def _cannot(self, deed: str) -> Unsupported:
        return Unsupported(
            f"{type(self).__name__} cannot {deed}: it is a storage of read() and write() only; "
            "give it the method, or use a storage that has it (local files, memory, gs://)"
        )


def _together(
    load: Callable[[str], Stored | Exception], paths: Iterator[str]
) -> Generator[Stored | Exception, None, None]:
    first = list(islice(paths, AT_ONCE))
    if len(first) == 1:
        yield load(first[0])
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(AT_ONCE, "perscache-look-up")
    try:
        coming = deque(pool.submit(load, path) for path in first)
        while coming:
            stored = coming.popleft().result()
            coming.extend(pool.submit(load, path) for path in islice(paths, 1))
            yield stored
    finally:
        pool.shutdown(cancel_futures=True)

"""What the tests of a storage are given: the fixtures to override, and what is declared of the storage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import pytest

from ...buffers import Buffer
from ...entry import Entry, Stored
from ...storage import Storage
from ...storage.base import Lock
from ..settings import WithoutSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Around:
    """Ways to what is stored that go past the storage under test, so that it cannot agree with itself and be wrong."""

    read: Callable[[str], bytes]
    """The bytes that lie under a path of an entry."""
    write: Callable[[str, bytes], object] | None = None
    """Put others in their place; whatever else is kept of the entry stays as it is."""


class Sync:
    """The storage's methods as they are."""

    def load(self, storage: Storage, path: str, max_age: float | None = None) -> Stored:
        """`Storage.load`."""
        return storage.load(path, max_age)

    def store(self, storage: Storage, entry: Entry, data: bytes) -> None:
        """`Storage.store`."""
        storage.store(entry, data)

    def acquire(self, lock: Lock) -> bool | None:
        """`Lock.acquire`."""
        return lock.acquire(())

    def __str__(self) -> str:
        return ""


class Async:
    """Their async twins, each call in an event loop of its own."""

    def load(self, storage: Storage, path: str, max_age: float | None = None) -> Stored:
        """`Storage.aload`."""
        return _awaited(storage.aload(path, max_age))

    def store(self, storage: Storage, entry: Entry, data: bytes) -> None:
        """`Storage.astore`."""
        _awaited(storage.astore(entry, data))

    def acquire(self, lock: Lock) -> bool | None:
        """`Lock.aacquire`."""
        return _awaited(lock.aacquire(()))

    def __str__(self) -> str:
        return "a"


def _awaited(coming: Coroutine[Any, Any, T]) -> T:
    """What ``coming`` gives, in an event loop of its own."""
    given: list[T] = []

    async def keep() -> None:
        given.append(await coming)

    # Not as the result of the task, of which asyncio.run makes a text twice: half a second for 20 MB.
    asyncio.run(keep())
    return given[0]


class Place(WithoutSettings):
    """Somewhere to store, and what is declared of the storage there."""

    lists: ClassVar[bool] = True
    prunes: ClassVar[bool] = True
    tells: ClassVar[bool] = True
    knows: ClassVar[bool] = True
    verifies: ClassVar[bool] = True
    limits: ClassVar[bool] = True
    locks: ClassVar[bool] = True
    outlives: ClassVar[bool] = True

    resolution: ClassVar[float] = 1.0
    """Seconds to which its times of writing are exact."""

    copies: ClassVar[int] = 1
    """How often an entry is kept, and its removal told: more than once by tiers."""

    patience: ClassVar[float] = 60.0
    """Seconds after which another process or thread that does not answer hangs."""

    @pytest.fixture
    def open_storage(self) -> Callable[..., Storage]:
        """To override."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say how its storage is opened: override the fixture open_storage, which "
            "gives a function of options that opens a new instance on a place of the test's own"
        )

    @pytest.fixture
    def around(self) -> Around | None:
        """To override, where there is a way."""
        return None

    @pytest.fixture
    def url(self) -> str | None:
        """To override, where the storage has URLs."""
        return None

    # --- Not to override.

    @pytest.fixture
    def storage(self, open_storage: Callable[..., Storage]) -> Storage:
        """A storage on the place."""
        return open_storage()

    @pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
    def via(self, request: pytest.FixtureRequest) -> Sync | Async:
        """Through methods, or through their async twins."""
        made: Sync | Async = request.param()
        return made

    def needs(self, *declared: str) -> None:
        """Skip the test where one of these is declared not to be had."""
        for name in declared:
            if not getattr(self, name):
                pytest.skip(f"{type(self).__name__} declares {name} = False")


def path_in(storage: Storage, function: str = "app.prices", number: int = 0, extension: str = "json") -> str:
    """A path as the core makes it for this storage."""
    return f"{function}{'/' if storage.folders else '-'}{number:032x}.{extension}"


def entry_at(path: str, data: Buffer = b"", **known: Any) -> Entry:
    """An entry as the core makes it, written now."""
    return Entry(path, datetime.now(UTC), len(data), **known)


def name_of(storage: object) -> str:
    """How messages speak of it."""
    return type(storage).__name__

"""A sound storage, and storages that break one promise each. `test_conformance_kit` runs the kit on them."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perscache.entry import Entry, Stored
from perscache.errors import CacheExpired
from perscache.storage import Storage
from perscache.storage.base import Lock
from perscache.testing import Around, StorageTests
from perscache.testing.storage.place import path_in


class LockFile(Lock):
    """Dropped by the system with the process that holds it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.fd = -1

    def acquire(self, held: Sequence[str]) -> bool | None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(self.file, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            time.sleep(0.01)
            return None
        return True

    async def aacquire(self, held: Sequence[str]) -> bool | None:
        return self.acquire(held)

    def release(self) -> None:
        os.close(self.fd)


class Sound(Storage):
    """Files in a folder."""

    folders = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def identity(self) -> str:
        return f"{type(self).__name__}:{self.folder}"

    def file(self, path: str) -> Path:
        return self.folder / path

    def written(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.file(path).stat().st_mtime, UTC)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        if deadline is not None and self.written(path) < deadline:
            raise CacheExpired(path)
        return self.file(path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{os.getpid()}.{threading.get_ident()}")
        draft.write_bytes(data)
        draft.replace(file)

    def peek(self, path: str) -> Entry | None:
        try:
            return Entry(path, self.written(path), self.file(path).stat().st_size, function=path.partition("/")[0])
        except FileNotFoundError:
            return None

    def delete(self, path: str) -> bool:
        return self.remove(path, "invalidated")

    def remove(self, path: str, reason: str) -> bool:
        entry = self.peek(path)
        if entry is None:
            return False
        self.file(path).unlink()
        for listener in self.listeners:
            listener(self, entry, reason)
        return True

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        for file in self.folder.glob(f"{function or '[!.]*'}/[!.]*"):
            entry = self.peek(f"{file.parent.name}/{file.name}")
            if entry is not None:
                yield entry

    def clear(self, function: str | None = None) -> int:
        return sum(self.remove(entry.path, "cleared") for entry in list(self.entries(function)))

    def prune(self, max_age: float | None = None) -> int:
        now = time.time()
        old = [entry for entry in self.entries() if max_age is not None and entry.created.timestamp() < now - max_age]
        return sum(self.remove(entry.path, "expired") for entry in old)

    def lock(self, path: str) -> Lock | None:
        return LockFile(self.folder / ".locks" / path.replace("/", "-"))


class OnFolder(StorageTests):
    knows = False
    verifies = False
    limits = False
    resolution = 0.01
    patience = 60.0
    kind: type[Sound] = Sound

    @pytest.fixture
    def open_storage(self, tmp_path: Path) -> Callable[..., Storage]:
        return lambda: self.kind(tmp_path / "place")

    @pytest.fixture
    def around(self, tmp_path: Path) -> Around:
        return Around(
            lambda path: (tmp_path / "place" / path).read_bytes(),
            lambda path, data: (tmp_path / "place" / path).write_bytes(data),
        )


class TestSound(OnFolder):
    pass


# --- Those that are not.


class HalfWritten(Sound):
    def write(self, path: str, data: bytes) -> None:
        self.file(path).parent.mkdir(parents=True, exist_ok=True)
        with self.file(path).open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.01)
            file.write(data[len(data) // 2 :])


class DraftsListed(Sound):
    def write(self, path: str, data: bytes) -> None:
        draft = self.file(path).with_name(f"draft.{threading.get_ident()}")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        time.sleep(0.01)
        draft.replace(self.file(path))

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        for file in self.folder.glob(f"{function or '*'}/*"):
            entry = self.peek(f"{file.parent.name}/{file.name}")
            if entry is not None:
                yield entry


class NothingForMissing(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        return super().read(path, deadline) if self.file(path).exists() else b""


class WrongErrorForMissing(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        if not self.file(path).exists():
            raise KeyError(path)
        return super().read(path, deadline)


class NeverExpires(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        return super().read(path, None)


class TwinNeverExpires(Sound):
    async def aload(self, path: str, max_age: float | None = None) -> Stored:
        return await super().aload(path, None)


class TouchedByReading(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        data = super().read(path, deadline)
        self.file(path).touch()
        return data


class NeverFreshAgain(Sound):
    def write(self, path: str, data: bytes) -> None:
        before = self.file(path).stat() if self.file(path).exists() else None
        super().write(path, data)
        if before is not None:
            os.utime(self.file(path), (before.st_atime, before.st_mtime))


class TimeOfReading(Sound):
    def load(self, path: str, max_age: float | None = None) -> Stored:
        return Stored(super().load(path, max_age).data, time.monotonic())


class Stripping(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        return super().read(path, deadline).strip()


class TextForBytes(Sound):
    def read(self, path: str, deadline: datetime | None) -> bytes:
        return super().read(path, deadline).decode("latin-1")  # type: ignore[return-value]


class WithHeader(Sound):
    def write(self, path: str, data: bytes) -> None:
        super().write(path, b"v1:" + data)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        return super().read(path, deadline)[3:]


class SmallLetters(Sound):
    def file(self, path: str) -> Path:
        return self.folder / path.lower()


class Remembering(Sound):
    """What an instance has written answers for the place."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.known: dict[str, bytes] = {}

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self.known[path] = data

    def read(self, path: str, deadline: datetime | None) -> bytes:
        data = super().read(path, deadline)
        return self.known.setdefault(path, data)


class LookedUpAnyhow(Sound):
    def load_many(self, paths: Any, max_age: float | None = None, form: Any = None) -> Any:
        yield from reversed(list(super().load_many(paths, max_age, form)))


class YoungCopies(Sound):
    def fill(self, entry: Entry, data: Any) -> bool:
        self.write(entry.path, bytes(data))
        return True


class DeletedAlready(Sound):
    def delete(self, path: str) -> bool:
        super().delete(path)
        return True


class DeletesNothing(Sound):
    def remove(self, path: str, reason: str) -> bool:
        return self.peek(path) is not None


class ClearsNamesakes(Sound):
    def clear(self, function: str | None = None) -> int:
        doomed = [entry.path for entry in self.entries() if entry.path.startswith(function or "")]
        return sum(self.remove(path, "cleared") for path in doomed)


class Forgetful(Sound):
    def entries(self, function: str | None = None) -> Iterator[Entry]:
        yield from list(super().entries(function))[:3]


class ListsItsOwn(Sound):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.own: set[str] = set()

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        self.own.add(path)

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        yield from (entry for entry in super().entries(function) if entry.path in self.own)


class PrunesEverything(Sound):
    def prune(self, max_age: float | None = None) -> int:
        return self.clear()


class Silent(Sound):
    def delete(self, path: str) -> bool:
        listeners, self.listeners = self.listeners, ()
        try:
            return super().delete(path)
        finally:
            self.listeners = listeners


class NoPeek(Sound):
    peek = Storage.peek  # type: ignore[assignment]


class AnotherIdentity(Sound):
    @property
    def identity(self) -> str:
        return f"{type(self).__name__}:{id(self)}"


class TwoWinners(Sound):
    class Lock(LockFile):
        def acquire(self, held: Sequence[str]) -> bool | None:
            if self.file.exists():
                time.sleep(0.01)
                return None
            time.sleep(0.2)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.touch()
            return True

        def release(self) -> None:
            self.file.unlink(missing_ok=True)

    def lock(self, path: str) -> Lock | None:
        return self.Lock(self.folder / ".locks" / path.replace("/", "-"))


class LeftLocked(Sound):
    """A file that is there is a lock, also of one who died."""

    class Lock(LockFile):
        def acquire(self, held: Sequence[str]) -> bool | None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.file.open("x").close()
            except FileExistsError:
                time.sleep(0.01)
                return None
            return True

        def release(self) -> None:
            self.file.unlink()

    def lock(self, path: str) -> Lock | None:
        return self.Lock(self.folder / ".locks" / path.replace("/", "-"))


class LocksThreadsOnly(Sound):
    locks: dict[str, threading.Lock] = {}  # noqa: RUF012

    class Lock(LockFile):
        def acquire(self, held: Sequence[str]) -> bool | None:
            return LocksThreadsOnly.locks.setdefault(str(self.file), threading.Lock()).acquire(timeout=0.1) or None

        def release(self) -> None:
            LocksThreadsOnly.locks[str(self.file)].release()

    def lock(self, path: str) -> Lock | None:
        return self.Lock(self.folder / path)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        # What the other process writes when it has the lock: it may be slow.
        until = time.monotonic() + 10
        while path == path_in(self, number=2) and not self.file(path).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return super().read(path, deadline)


class NotForkSafe(Sound):
    """Its threads stay in the parent."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pool = ThreadPoolExecutor(1)

    def read(self, path: str, deadline: datetime | None) -> bytes:
        return self.pool.submit(super().read, path, deadline).result()


class NotPicklable(Sound):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.connection = threading.Lock()


class NotShared(Sound):
    """A pickled copy is elsewhere."""

    def __reduce__(self) -> Any:
        return type(self), (self.folder / "elsewhere",)


BROKEN = [kind for kind in list(globals().values()) if isinstance(kind, type) and kind.__base__ is Sound]
for _kind in BROKEN:
    globals()[f"Test{_kind.__name__}"] = type(f"Test{_kind.__name__}", (OnFolder,), {"kind": _kind})


TestNotForkSafe.patience = 1.0  # type: ignore[name-defined]  # noqa: F821
TestLeftLocked.patience = 5.0  # type: ignore[name-defined]  # noqa: F821


class TestBelied(OnFolder):
    """Says of a storage less than it is."""

    lists = False


class TestVerifying(OnFolder):
    """Says of a storage more than it is."""

    verifies = True


class TestUnsaid(StorageTests):
    pass

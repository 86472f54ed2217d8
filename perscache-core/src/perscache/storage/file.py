"""File storage over any file system: who gives nine operations on files has a storage with expiry and a limit."""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

from ..entry import Entry, Stored, moment
from ..errors import CacheExpired, StorageError
from ..units import Size, size_in_bytes
from .base import Storage

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY = re.compile(r"(?:.+-)?[0-9a-f]{8,}\.[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


class FileStorage(Storage):
    """A storage of files under ``location``, to derive from: give the nine operations, each on paths under `location`.

        class Attic(FileStorage):
            def read_file(self, path):
                return path.read_bytes()

            ...

            def delete(self, path):
                path.unlink()

    Entries are files named ``<function>-<hash>.<extension>``. With ``max_size`` those used longest ago are removed
    before a write that would not fit.
    """

    def __init__(self, location: str | Path = ".cache", max_size: Size | None = None) -> None:
        """Under ``location``, a folder or a name such as ``"bucket/folder"``; at most ``max_size`` bytes."""
        from pathlib import Path

        self.location = Path(location)
        self.max_size = None if max_size is None else size_in_bytes(max_size)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let a subclass's ``delete`` serve both its callers: a Path is a file to delete, text an entry to remove."""
        super().__init_subclass__(**kwargs)
        if "delete" in vars(cls):
            setattr(cls, "delete", _for_both(vars(cls)["delete"]))  # noqa: B010 -- a checker takes it for an override

    # --- The nine operations.

    @abstractmethod
    def read_file(self, path: Path) -> bytes:
        """The bytes of a file. FileNotFoundError if there is none."""

    @abstractmethod
    def write_file(self, path: Path, data: bytes) -> None:
        """Make or replace a file."""

    @abstractmethod
    def ensure_path(self, path: Path) -> None:
        """Make a folder, and those above it, unless it is there."""

    @abstractmethod
    def iterdir(self, path: Path) -> Iterable[Path]:
        """What lies in a folder, as paths; nothing where there is none."""

    @abstractmethod
    def rmdir(self, path: Path) -> None:
        """Remove an empty folder."""

    @abstractmethod
    def mtime(self, path: Path) -> datetime:
        """When a file was written, aware."""

    @abstractmethod
    def atime(self, path: Path) -> datetime:
        """When a file was last read, aware."""

    @abstractmethod
    def size(self, path: Path) -> int:
        """Bytes of a file, or of all files below a folder; 0 where there is nothing."""

    @abstractmethod
    def delete(self, path: Any) -> Any:
        """Delete the file that a Path names; FileNotFoundError if there is none.

        Called with text, the path of an entry, it removes that and says whether there was one.
        """

    # --- What follows from them.

    def read(self, path: str, deadline: datetime | None) -> bytes:
        """See `Storage.read`; the file's time of writing decides whether it is expired."""
        return bytes(self.load(path, None if deadline is None else time.time() - deadline.timestamp()).data)

    def load(self, path: str, max_age: float | None = None) -> Stored:
        """Like `read`; with ``max_age`` seconds also when it was written, which was looked up for that."""
        if max_age is None:
            return Stored(self.read_file(self.location / path))
        written = _aware(self.mtime(self.location / path))
        if written < moment(time.time() - max_age):
            raise CacheExpired(f"{self.location / path} was written at {written:%Y-%m-%d %H:%M:%S}: too old")
        return Stored(self.read_file(self.location / path), written.timestamp())

    def write(self, path: str, data: bytes) -> None:
        """See `Storage.write`. StorageError for data larger than ``max_size``."""
        file = self.location / path
        if self.max_size is not None:
            self._make_room(file, len(data))
        self.ensure_path(file.parent)
        self.write_file(file, data)

    def _make_room(self, file: Path, size: int) -> None:
        limit = self.max_size or 0
        if size > limit:
            raise StorageError(
                f"{file} is {size:,} bytes and max_size is {limit:,}: not stored; raise max_size to keep it"
            )
        self._free(self.size(self.location) - self.size(file) + size - limit, but=file)

    def _free(self, excess: int, but: Path | None = None) -> int:
        """Remove what was used longest ago, ``but`` apart, until ``excess`` bytes are free; how many entries went."""
        if excess <= 0:
            return 0
        gone = 0
        for used, old in sorted((_aware(self.atime(old)), old) for old in self._files() if old != but):
            if excess <= 0:
                break
            excess -= self.size(old)
            gone += self._remove(old, "limit", used)
        return gone

    def peek(self, path: str) -> Entry | None:
        """Size and times of the file; None where there is none."""
        file = self.location / path
        try:
            return self._entry(file)
        except FileNotFoundError:
            return None

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """The files that have the name of an entry."""
        for file in self._files():
            if function is None or self._function(file) == function:
                with suppress(FileNotFoundError):
                    yield self._entry(file)

    def clear(self, function: str | None = None) -> int:
        """Remove the entries, and the folders that this leaves empty; how many there were."""
        gone = 0
        for file in list(self._files()):
            if function is None or self._function(file) == function:
                gone += self._remove(file, "cleared")
                if file.parent != self.location and not any(True for _ in self.iterdir(file.parent)):
                    self.rmdir(file.parent)
        return gone

    def prune(self, max_age: float | None = None) -> int:
        """Remove what is older than ``max_age`` seconds, and what is over the limit; how many entries went."""
        gone = 0
        if max_age is not None:
            eldest = moment(time.time() - max_age)
            for file in list(self._files()):
                with suppress(FileNotFoundError):
                    if _aware(self.mtime(file)) < eldest:
                        gone += self._remove(file, "expired")
        if self.max_size is not None:
            gone += self._free(self.size(self.location) - self.max_size)
        return gone

    @property
    def identity(self) -> str:
        """The class and the location."""
        return f"{type(self).__name__}:{self.location}"

    def __repr__(self) -> str:
        """As it would be written."""
        return f"{type(self).__name__}({str(self.location)!r})"

    def _files(self) -> Iterator[Path]:
        """The files of entries: at the location, or one folder below."""
        for child in list(self.iterdir(self.location)):
            if _ENTRY.fullmatch(child.name):
                yield child
                continue
            with suppress(NotADirectoryError, FileNotFoundError):
                yield from (file for file in list(self.iterdir(child)) if _ENTRY.fullmatch(file.name))

    def _function(self, file: Path) -> str:
        return file.name.rpartition("-")[0] if file.parent == self.location else file.parent.name

    def _entry(self, file: Path, used: datetime | None = None) -> Entry:
        path = file.name if file.parent == self.location else f"{file.parent.name}/{file.name}"
        return Entry(
            path,
            created=_aware(self.mtime(file)),
            size=self.size(file),
            used=used or _aware(self.atime(file)),
            format=file.name[file.name.rfind("-") + 1 :].partition(".")[2],
            function=self._function(file),
        )

    def _remove(self, file: Path, reason: str, used: datetime | None = None) -> bool:
        try:
            entry = self._entry(file, used) if self.watched else None
            self.delete(file)
        except FileNotFoundError:
            return False
        if entry is not None:
            for listener in self.listeners:
                listener(self, entry, reason)
        return True


def _for_both(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``operation``, a subclass's ``delete(path: Path)``, that also takes the path of an entry."""

    @wraps(operation)
    def delete(self: FileStorage, path: Path | str) -> Any:
        if not isinstance(path, str):
            return operation(self, path)
        try:
            entry = self.peek(path) if self.watched else None
            operation(self, self.location / path)
        except FileNotFoundError:
            return False
        if entry is not None:
            for listener in self.listeners:
                listener(self, entry, "invalidated")
        return True

    return delete


def _aware(time_of: datetime) -> datetime:
    """A naive time as the local time that it is."""
    return time_of if time_of.tzinfo is not None else time_of.astimezone()

"""Local files: one plain file for each result, sealed, published by rename, found without a lock."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from ..buffers import Buffer, Form, Pieces
from ..entry import ACCEPTED, Entry, Stored, moment
from ..errors import CacheExpired, ConfigurationError, DamagedEntry, StorageError
from ..units import Size, size_in_bytes
from . import journal
from .aside import MOST, Aside
from .base import CLOCK_SLACK, Storage
from .eviction import Eviction, Victim
from .layout import NONBLOCK, SAFE, STATE, Layout, Place, shard_of
from .ledger import LocalLedger
from .locks import EntryLock, Locks
from .options import check, split_url, truth, whole
from .publisher import SETS_TIMES_BY_FD, Durable, Publisher, patiently
from .seal import BrokenSeal, seal_of
from .trash import Trash
from .usage import Change, Usage

INLINE = 256 * 1024
"""Bytes up to which an asynchronous read stays on the event loop: a thread hop costs ten times the read."""

_OPTIONS = ("max_size", "max_entries", "durable", "shared", "trust_unsealed")
_PLACES = 4096
_INLINE_CLEAR = 100
_COUNTED_CLEAR = 5000
_COUNTING = 0.02
_USERS = hasattr(os, "geteuid")  # Windows has none, and shows every file as written by all
_REGULAR = 0o170022 if _USERS else 0o170000  # the mask of type, and of writing by the group and by others
_PLAIN = stat.S_IFREG
_NOATIME = getattr(os, "O_NOATIME", 0)


class TooLarge(Exception):
    """A file is larger than was asked for."""


class LocalFileStorage(Storage):
    """Results as files under ``location``: ``<function>/<hash>.<extension>``, each openable by ordinary tools.

    A reader sees an entry whole or not at all, whatever was killed, full or cut off meanwhile. ``max_size`` bytes and
    ``max_entries`` bound what is kept, for all processes together: what was used longest ago leaves first.

    ``durable`` says whether results are flushed to the disk before a store returns: "auto" does it for those that took
    over 0.25 s. ``shared`` lets the group read and write. ``trust_unsealed`` takes files edited by hand as they are.
    """

    schemes: ClassVar[tuple[str, ...]] = ("file",)
    folders: ClassVar[bool] = True
    local: ClassVar[bool] = True
    zero_copy: ClassVar[bool] = True

    def __init__(
        self,
        location: str | os.PathLike[str] = ".cache",
        max_size: Size | None = None,
        *,
        max_entries: int | None = None,
        durable: Durable = "auto",
        shared: bool = False,
        trust_unsealed: bool = False,
    ) -> None:
        """Nothing is made before the first store. A relative location is taken from the present working directory."""
        self.location = Path(os.path.abspath(os.path.expanduser(os.fspath(location))))
        self.max_size = None if max_size is None else size_in_bytes(max_size)
        self.max_entries = whole("max_entries", max_entries)
        self.durable: Durable = "auto" if durable == "auto" else truth("durable", durable)
        self.shared = truth("shared", shared)
        self.trust_unsealed = truth("trust_unsealed", trust_unsealed)
        self._prepare()

    def _prepare(self) -> None:
        self._layout = Layout(str(self.location), shared=self.shared)
        self._limited = self.max_size is not None or self.max_entries is not None
        self._usage = Usage(self._layout, needed=self._limited)
        self._aside = Aside(self._layout)
        self._publisher = Publisher(self._layout, self.durable, self._set_aside)
        self._trash = Trash(self._layout)
        self._locks = Locks(self._layout)
        self._eviction = Eviction(self._layout, self._usage, self.max_size, self.max_entries, self._evicted)
        self._marking = self._limited
        self._flags = os.O_RDONLY | NONBLOCK | SAFE | (0 if self.shared else _NOATIME)
        self._owner = os.geteuid() if _USERS else 0
        self._places: dict[str, Place] = {}
        self._begun = False

    # --- Reading.

    def read(self, path: str, deadline: datetime | None) -> bytes:
        """The bytes under ``path``; see `Storage.read`."""
        return bytes(self.load(path, None if deadline is None else time.time() - deadline.timestamp()).data)

    def load(self, path: str, max_age: float | None = None, form: Form = "bytes", at_most: int = sys.maxsize) -> Stored:
        """Every byte verified, and expired when older than ``max_age`` seconds or from the future.

        Asked for the ``form`` "mapped", it gives the file itself: removing or replacing the entry does not touch it.
        A file that somebody cuts in place ends the process (SIGBUS); nothing of perscache does that.
        Raises TooLarge, before it reads, for a file of more than ``at_most`` bytes.
        """
        # In one piece: each call more would be measurable.
        place = self._places.get(path) or self._place(path)
        try:
            fd = os.open(place.file, self._flags)
        except OSError as error:
            fd = self._open_elsewhere(place, error)
        try:
            status = os.fstat(fd)
            size = status.st_size
            if size > at_most:
                raise TooLarge(f"{place.file} has {size:,} bytes")
            if status.st_mode & _REGULAR != _PLAIN or status.st_uid != self._owner:
                self._refuse(place, status)
            created = status.st_mtime
            if max_age is not None and not -CLOCK_SLACK <= time.time() - created <= max_age:
                raise CacheExpired(f"{place.file} was written at {moment(created):%Y-%m-%d %H:%M:%S} UTC: too old")
            try:
                value, seconds = place.seal.read(fd, size, place.seed, place.file, form)
            except BrokenSeal as broken:
                value, seconds = self._unseal(place, status, broken), None
            if self._marking and not 0 <= time.time_ns() - status.st_atime_ns <= self._eviction.mark_after:
                self._mark(place, fd, status)
            return Stored(value, created, seconds)
        except OSError as error:
            if error.errno == errno.ESTALE:
                raise FileNotFoundError(errno.ENOENT, "removed on the server", place.file) from error
            raise
        finally:
            os.close(fd)

    async def aload(self, path: str, max_age: float | None = None, form: Form = "bytes") -> Stored:
        """`load`: up to 256 KiB at once, larger values in a thread."""
        load = partial(LocalFileStorage.load, self, path, max_age, form)
        try:
            return load(INLINE)
        except TooLarge:
            import asyncio

            return await asyncio.to_thread(load)

    def _place(self, path: str) -> Place:
        place = self._layout.place(path)
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[path] = place
        return place

    def _open_elsewhere(self, place: Place, error: OSError) -> int:
        """The descriptor after ``error``: the function's folder may have fanned out, or root may own the file."""
        if error.errno == errno.EPERM and self._flags & _NOATIME:
            self._flags &= ~_NOATIME
            return os.open(place.file, self._flags)
        if error.errno == errno.ELOOP:
            raise StorageError(f"{place.file} is a symlink, which perscache does not follow: remove it") from error
        if error.errno not in {errno.ENOENT, errno.ESTALE} or not os.access(place.other, os.F_OK):
            try:
                raise error
            finally:
                del error  # Else the traceback holds this frame, and this frame the traceback.
        try:
            fd = os.open(place.other, self._flags)
        except PermissionError:
            self._flags &= ~_NOATIME
            fd = os.open(place.other, self._flags)
        place.file, place.other = place.other, place.file
        return fd

    def _refuse(self, place: Place, status: os.stat_result) -> None:
        """Say why a file is not read, unless it is the group's and that is wanted."""
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            raise StorageError(f"{place.file} is no plain file: remove it")
        if mode & 0o002:
            raise StorageError(f"{place.file} may be written by anybody: not read; chmod o-w it, or remove it")
        if self.shared:
            return
        if status.st_uid not in {self._owner, 0}:
            raise StorageError(f"{place.file} belongs to user {status.st_uid}: not read; use shared=True, or remove it")
        if hasattr(os, "getegid") and mode & 0o020 and status.st_gid != os.getegid():
            raise StorageError(
                f"{place.file} may be written by group {status.st_gid}: not read; use shared=True, or chmod g-w it"
            )

    def _unseal(self, place: Place, status: os.stat_result, broken: BrokenSeal) -> bytes:
        """The value of a file without a matching seal, if such are trusted; else DamagedEntry, and the file aside."""
        if self._trusts(place, broken):
            return broken.value
        raise _damaged(place, broken, self._set_aside(place.file, place.path, status)) from broken

    def _trusts(self, place: Place, broken: BrokenSeal) -> bool:
        return self.trust_unsealed and (place.seal.text or not broken.sealed)

    def _set_aside(self, file: str, path: str, status: os.stat_result) -> str | None:
        """Move ``file`` under ``.state/aside``, unless it was replaced since ``status``; where to, None if nowhere."""
        aside = self._aside.take(file, path, status)
        if aside is not None:
            with suppress(OSError):
                place = self._layout.place(path)
                self._count(place, -1, -max(0, status.st_size - place.seal.room))
        return aside

    def _mark(self, place: Place, fd: int, status: os.stat_result) -> None:
        """Note the use, if the last note is old enough to matter for the order of eviction."""
        now = time.time_ns()
        if not 0 <= now - status.st_atime_ns <= self._eviction.look_at_clock(now):
            try:
                os.utime(fd if SETS_TIMES_BY_FD else place.file, ns=(now, status.st_mtime_ns))
            except OSError:
                self._marking = False

    def lock(self, path: str) -> EntryLock:
        """One computation of ``path`` at a time, among all processes that use the folder."""
        return self._locks.lock(self._places.get(path) or self._place(path))

    def lacks(self, path: str) -> bool:
        """Whether there is no file; only of a path that was asked for before."""
        place = self._places.get(path)
        return place is not None and not (os.access(place.file, os.F_OK) or os.access(place.other, os.F_OK))

    # --- Writing.

    def write(self, path: str, data: bytes) -> None:
        """Keep ``data`` under ``path``; see `Storage.write`."""
        self.store(Entry(path, moment(time.time()), len(data)), data)

    def store(self, entry: Entry, data: bytes | Pieces) -> None:
        """Publish ``data`` whole, under a limit after removing what was used longest ago.

        Raises StorageError for a value larger than ``max_size``, and any OSError of the disk; nothing is stored then.
        """
        self._keep(entry, data)

    def fill(self, entry: Entry, data: Buffer) -> bool:
        """A file as old as ``entry``, unless a newer is here, or the value is too large; see `Storage.fill`."""
        if (self.max_size is not None and len(data) > self.max_size) or self.max_entries == 0:
            return False
        with suppress(FileExistsError):
            self._keep(entry, data, copy=True)
        return True

    def _keep(self, entry: Entry, data: Buffer | Pieces, *, copy: bool = False) -> None:
        """`store`, or a ``copy`` with the time of the entry, FileExistsError where what is here is as new."""
        place = self._places.get(entry.path) or self._place(entry.path)
        if not self._begun:
            self._begin()
        if self._limited and place.folder != ACCEPTED:
            self._eviction.admit(entry.path, len(data))
            with suppress(OSError):
                present = self._present(place)
                self._eviction.make_room(len(data) - (present or 0), int(present is None))
                if present is not None and self._present(place) is None:  # it was the one used longest ago
                    self._eviction.make_room(len(data))
        file = self._layout.target(place)
        replaced = self._publisher.publish(place, file, data, entry, copy=copy)
        with suppress(OSError):
            self._count(place, int(replaced is None), len(data) - (replaced or 0))
        with suppress(OSError):
            self._note(place, file, entry)

    def _begin(self) -> None:
        """Before the first store: set up the counters, and go on with what another process left in the trash."""
        self._begun = True
        with suppress(OSError):
            self._usage.begin()
        if self._trash.full():
            self._empty_trash()

    def _count(self, place: Place, entries: int, size: int) -> None:
        """So many ``entries`` and bytes more. Records of accepted edits are no results: no limit is for them."""
        if place.folder != ACCEPTED:
            self._usage.add([(place.shard, entries, size)])

    def _present(self, place: Place) -> int | None:
        """The size of the value that is there; None where there is none."""
        for file in (place.file, place.other):
            with suppress(FileNotFoundError):
                return max(0, os.lstat(file).st_size - place.seal.room)
        return None

    def _note(self, place: Place, file: str, entry: Entry) -> None:
        folder, layout = file.rpartition(os.sep)[0], self._layout
        if journal.append(folder, place.name, entry, layout.file_mode):
            live = {item.name for item in layout.files(folder)}
            journal.compact(folder, live, layout.temporary(folder), layout.file_mode)

    # --- Looking.

    def inspect(self, path: str) -> tuple[Buffer, bool]:
        """Every byte read; what is damaged is not set aside, and no use is noted. See `Storage.inspect`."""
        place = self._place(path)
        try:
            fd = os.open(place.file, self._flags)
        except OSError as error:
            fd = self._open_elsewhere(place, error)
        try:
            status = os.fstat(fd)
            if status.st_mode & _REGULAR != _PLAIN or status.st_uid != self._owner:
                self._refuse(place, status)
            return place.seal.read(fd, status.st_size, place.seed, place.file, "buffer")[0], True
        except BrokenSeal as broken:
            if self._trusts(place, broken):
                return broken.value, False
            raise _damaged(place, broken) from broken
        finally:
            os.close(fd)

    def ledger(self) -> LocalLedger:
        """In ``.state``, for all processes that use the folder."""
        return LocalLedger(str(self.location), self.shared)

    def peek(self, path: str) -> Entry | None:
        """What the file's status and the journal say; None where there is no entry."""
        place = self._place(path)
        for file in (place.file, place.other):
            with suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(file)
                if stat.S_ISREG(status.st_mode):
                    return _entry(place.path, status, journal.lookup(os.path.dirname(file), place.name))
        return None

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        """What is stored, folder by folder, in no order."""
        for name in self._layout.functions(records=True) if function is None else (function,):
            for folder in self._layout.folders(name):
                for file, status, line in self._files(name, folder):
                    yield _entry(f"{name}/{file.name}", status, journal.parse(line) if line else {})

    def _files(self, function: str, folder: str) -> Iterator[tuple[os.DirEntry[str], os.stat_result, bytes]]:
        """The entries in ``folder``, of ``function``, with their journal lines."""
        lines = journal.lines(folder)
        for item in self._layout.files(folder):
            line = lines.get(item.name, b"")
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and (
                line or self._layout.ours(item.path, status, f"{function}/{item.name}")
            ):
                yield item, status, line

    # --- Removing.

    def delete(self, path: str) -> bool:
        """Remove the entry; a file under its name that is not ours goes aside instead."""
        place = self._place(path)
        gone = False
        for file in (place.file, place.other):
            with suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(file)
                if self._layout.ours(file, status, place.path):
                    gone = self._remove(file, place.path, status, "invalidated") or gone
                elif stat.S_ISREG(status.st_mode):
                    gone = self._set_aside(file, place.path, status) is not None or gone
        return gone

    def clear(self, function: str | None = None) -> int:
        """Remove all entries of ``function``, or all, at once for every reader; how many there were.

        Many are not counted one by one: their number is that of the counters, or an estimate. Their disk space is freed
        in the background; should the process end before, by the next one.
        """
        functions = list(self._layout.functions(records=True)) if function is None else [function]
        if self.watched:
            for entry in list(self.entries(function)):
                self._tell(entry, "cleared")
        total = self._usage.total() if function is None else None
        changes: list[Change] | None = None
        if total is not None and total.entries > _COUNTED_CLEAR:
            cleared = total.entries
        else:
            cleared, changes = self._contents(functions)
        for name in functions:
            with suppress(FileNotFoundError):
                self._trash.throw(name)
        self._layout.forget()
        self._places.clear()
        self._eviction.forget()
        if function is None:
            self._usage.forget()
        elif changes is None:
            self._usage.lose()
        else:
            self._usage.add(changes)
        self._empty_trash(at_once=cleared <= _INLINE_CLEAR)
        return cleared

    def _contents(self, functions: list[str]) -> tuple[int, list[Change] | None]:
        """How many entries there are, estimated beyond 20 ms, and what the counters change by when they have gone."""
        stop = time.monotonic() + _COUNTING
        number = 0.0
        sums: dict[int, tuple[int, int]] = {}
        whole = True
        for function in functions:
            folders = list(self._layout.folders(function))
            counts: list[int] = []
            for folder in folders:
                counts.append(0)
                for item, status, _ in self._files(function, folder):
                    counts[-1] += 1
                    shard = shard_of(item.name)
                    entries, size = sums.get(shard, (0, 0))
                    sums[shard] = entries - 1, size - max(0, status.st_size - seal_of(item.name).room)
                if len(counts) > 1 and sum(counts) > _COUNTED_CLEAR and time.monotonic() > stop:
                    break
            whole = whole and len(counts) == len(folders)
            own, *fan = counts or [0]
            number += own + (sum(fan) / len(fan) * (len(folders) - 1) if fan else 0)
        return round(number), [(shard, *sums[shard]) for shard in sums] if whole else None

    def empty_trash(self) -> None:
        """Free now the disk space of what was cleared; returns when that is done."""
        self._trash.empty()

    def prune(self, max_age: float | None = None) -> int:
        """Remove what is older than ``max_age`` seconds and what is over the limit; how many entries went.

        Also counts exactly, and removes what killed writers left.
        """
        gone = 0
        now = time.time()
        for function in self._layout.functions():
            for folder in self._layout.folders(function):
                with suppress(OSError):
                    self._layout.sweep(folder, os.listdir(folder))
                if max_age is None:
                    continue
                for item, status, _ in self._files(function, folder):
                    path = f"{function}/{item.name}"
                    too_old = not -CLOCK_SLACK <= now - status.st_mtime <= max_age
                    if too_old and self._layout.ours(item.path, status, path):
                        gone += self._remove(item.path, path, status, "expired")
        if self._limited:
            gone += self._eviction.prune()
        self._empty_trash(at_once=True)
        return gone

    def seal(self, file: str | os.PathLike[str]) -> str:
        """Take ``file``, edited by hand here or among those set aside, as the result; the path of its entry.

        StorageError for a file that is no entry of this storage.
        """
        name = os.path.abspath(os.fspath(file))
        parts = os.path.relpath(name, self.location).split(os.sep)
        here = parts[:2] != [STATE, "aside"]
        parts = parts if here else parts[3:]
        place = self._layout.place(f"{parts[0]}/{parts[-1]}")
        if (here and name not in {place.file, place.other}) or len(parts) < 2:
            raise StorageError(f"{name} is no entry of {self.location}: it cannot be sealed")
        fd = os.open(name, os.O_RDONLY | NONBLOCK | SAFE)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"{name} is no plain file: it cannot be sealed")
            value, seconds = place.seal.read(fd, status.st_size, place.seed, name, "buffer")
        except BrokenSeal as broken:
            value, seconds = broken.value, None
        finally:
            os.close(fd)
        known = self.peek(place.path)
        entry = Entry(place.path, moment(time.time()), len(value), compute_time=seconds)
        if known is not None:
            entry = replace(known, created=entry.created, size=entry.size)
        target = name if here else self._layout.target(place)
        self._publisher.publish(place, target, value, entry, bless=True)
        if target != name:
            os.unlink(name)
        return place.path

    def _remove(self, file: str, path: str, status: os.stat_result, reason: str) -> bool:
        """Remove one entry; whether it was there until now: only who removes it counts and tells."""
        place = self._layout.place(path)
        size = max(0, status.st_size - place.seal.room)
        self._count(place, -1, -size)
        try:
            patiently(os.unlink, file)
        except OSError as error:
            self._count(place, 1, size)
            if isinstance(error, FileNotFoundError):
                return False
            raise
        place.seal.removed(file)
        if self.watched:
            self._tell(_entry(path, status, {}), reason)
        return True

    def _evicted(self, victim: Victim, status: os.stat_result) -> None:
        seal_of(victim.file).removed(victim.file)
        if self.watched:
            self._tell(_entry(victim.path, status, {}), "limit")

    def _tell(self, entry: Entry, reason: str) -> None:
        for listener in self.listeners:
            listener(self, entry, reason)

    def _empty_trash(self, *, at_once: bool = False) -> None:
        if at_once:
            self._trash.empty()
            return
        from threading import Thread

        Thread(target=self._trash.empty, name="perscache-trash", daemon=True).start()

    # --- Making one.

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage of ``file:///absolute/folder?max_size=20GB``; ``file://folder`` is relative, ``~`` is home."""
        location, asked = split_url(url)
        if not location:
            raise ConfigurationError(f"{url!r} names no folder: write file:///data/cache or file://.cache")
        location = location.removeprefix("localhost") if location.startswith("localhost/") else location
        if os.name == "nt" and location[:1] == "/" and location[2:3] == ":":
            location = location[1:]
        asked |= options
        check(f"{cls.__name__} ({url})", asked, _OPTIONS)
        for name in ("durable", "shared", "trust_unsealed"):
            if name in asked and (name, asked[name]) != ("durable", "auto"):
                asked[name] = truth(name, asked[name])
        return cls(location, **asked)

    @property
    def identity(self) -> str:
        """The absolute location."""
        return f"file:{self.location}"

    def __getstate__(self) -> dict[str, Any]:
        """Options only: what was learned of the folder, and who listens, stays here."""
        return {name: value for name, value in vars(self).items() if name[0] != "_" and name != "listeners"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew with the same options."""
        vars(self).update(state)
        self._prepare()

    def __repr__(self) -> str:
        """As it would be written."""
        limit = "" if self.max_size is None else f", max_size={self.max_size}"
        return f"{type(self).__name__}({str(self.location)!r}{limit})"


def _damaged(place: Place, broken: BrokenSeal, aside: str | None = None) -> DamagedEntry:
    """The error that says what is wrong with a file, where it is now, and how to use it nevertheless."""
    what = "is not what was written: damaged" + (", or edited by hand" if place.seal.text else "")
    if not broken.sealed:
        what = "has no seal: damaged, edited by hand, or written by something else"
    where = f" It is now {aside}, as one of the last {MOST} such files." if aside else ""
    return DamagedEntry(
        f"{place.file} {what}.{where} "
        f"To use an edit, run `perscache seal {aside or place.file}`, or set trust_unsealed=True for all of them."
    )


def _entry(path: str, status: os.stat_result, known: dict[str, Any]) -> Entry:
    """An entry from its file's status and its journal line."""
    function, _, name = path.partition("/")
    expires = known.get("expires")
    return Entry(
        path,
        created=moment(status.st_mtime),
        size=max(0, status.st_size - seal_of(name).room),
        expires=None if expires is None else moment(expires),
        used=moment(status.st_atime),
        compute_time=known.get("seconds"),
        format=known.get("format", name.partition(".")[2]),
        function=known.get("function", function),
        arguments=known.get("arguments", ""),
        parts=known.get("parts", {}),
    )

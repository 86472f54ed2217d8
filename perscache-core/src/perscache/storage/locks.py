"""Locks on single entries of a local storage, for one computation a key among processes.

Each is one byte of ``.state/lock`` at an offset taken from the entry's path, locked through an open file description:
the kernel drops it with the process that held it. On systems without such locks it is a POSIX or Windows range, polled.

Who already holds locks and is about to wait says so in ``.state/waiting``, where others look before they wait: who
would close a circle does not wait. Such a note is locked by its writer as long as it lives; one that is not is ignored.
"""

# ruff: noqa: PTH

from __future__ import annotations

import errno
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from .. import trouble
from .base import Lock
from .layout import SAFE

if TYPE_CHECKING:
    from .layout import Layout, Place

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_OFD: Final = sys.platform != "win32" and hasattr(fcntl, "F_OFD_SETLKW") and sys.maxsize > 2**32
"""Whether locks belong to an open file description: then threads can wait in the kernel, and a fork shares nothing."""

_RANGE: Final = struct.Struct("@hhqqi0q")
_BUSY: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})
_NOT_HERE: Final = frozenset({errno.ENOLCK, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
_FIRST_NAP: Final = 0.001
_LONGEST_NAP: Final = 0.05


class Locks:
    """The locks of one local storage."""

    def __init__(self, layout: Layout) -> None:
        """Nothing is opened or made yet."""
        self._layout = layout
        self._fd: int | None = None
        self._broken = False
        _all.add(self)

    def lock(self, place: Place) -> EntryLock:
        """The lock of the entry at ``place``."""
        return EntryLock(self, place)

    def take(self, offset: int, *, wait: bool) -> bool | None:
        """Lock one byte; False where somebody else has it, None where locks do not work here."""
        fd = self._descriptor()
        if fd is None:
            return None
        try:
            _range_lock(fd, offset, wait=wait)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            if error.errno in _NOT_HERE:
                self._give_up(error)
            return None
        return True

    def drop(self, offset: int) -> None:
        """Unlock one byte."""
        if self._fd is not None:
            with suppress(OSError):
                _range_unlock(self._fd, offset)

    @contextmanager
    def waiting(self, wanted: str, held: Sequence[str]) -> Iterator[bool]:
        """Say that the holder of ``held`` waits for ``wanted``; gives whether that wait can end."""
        if not held:
            yield True  # Nobody waits for one who holds nothing.
            return
        try:
            folder = self._layout.make_state("waiting")
            name = f"{os.getpid()}-{os.urandom(6).hex()}"
            note, hidden = f"{folder}{os.sep}{name}", f"{folder}{os.sep}.{name}"
            fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE, self._layout.file_mode)
        except OSError:
            yield True
            return
        try:
            with suppress(OSError):
                _file_lock(fd)
                os.write(fd, json.dumps({"held": list(held), "wanted": wanted}).encode())
                os.rename(hidden, note)
            yield not _leads_back(wanted, set(held), list(_notes(folder, name)))
        finally:
            for file in (note, hidden):
                with suppress(OSError):
                    os.unlink(file)
            os.close(fd)

    def forget(self) -> None:
        """In a forked child: close the parent's descriptor, which would keep the parent's locks, and unlock nothing."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _descriptor(self) -> int | None:
        if self._fd is None and not self._broken:
            with _opening:
                if self._fd is None:
                    try:
                        folder = self._layout.make_state()
                        flags = os.O_RDWR | os.O_CREAT | SAFE
                        self._fd = os.open(folder + os.sep + "lock", flags, self._layout.file_mode)
                    except OSError:
                        return None
        return self._fd

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        trouble.warn(
            f"{self._layout.location}: this file system has no locks ({error.strerror}): "
            "processes may compute the same result at the same time; put the cache on a local disk, or set lock=False",
            once=(self._layout.location, "locks"),
        )

    def __del__(self) -> None:
        self.forget()


class EntryLock(Lock):
    """The lock of one entry."""

    __slots__ = ("_locks", "_offset", "_place")

    def __init__(self, locks: Locks, place: Place) -> None:
        self._locks = locks
        self._place = place
        self._offset = place.seed >> 24  # an offset that any file system takes

    def acquire(self, held: Sequence[str]) -> bool:
        """Hold it, waiting as long as that takes; False where waiting would never end, or locks do not work."""
        taken = self._locks.take(self._offset, wait=False)
        if taken is not False:
            return bool(taken)
        with self._locks.waiting(self._place.path, held) as ends:
            if not ends:
                return False
            if _OFD:
                return bool(self._locks.take(self._offset, wait=True))
            for nap in _naps():
                time.sleep(nap)
                taken = self._locks.take(self._offset, wait=False)
                if taken is not False:
                    return bool(taken)
        return False

    async def aacquire(self, held: Sequence[str]) -> bool:
        """`acquire`, polling: a thread for each waiting task could use them all up."""
        import asyncio

        taken = self._locks.take(self._offset, wait=False)
        if taken is not False:
            return bool(taken)
        with self._locks.waiting(self._place.path, held) as ends:
            if not ends:
                return False
            for nap in _naps():
                await asyncio.sleep(nap)
                taken = self._locks.take(self._offset, wait=False)
                if taken is not False:
                    return bool(taken)
        return False

    def free(self) -> bool | None:
        """Whether nobody else holds it; None where locks do not work."""
        taken = self._locks.take(self._offset, wait=False)
        if taken:
            self.release()
        return taken

    def release(self) -> None:
        """Let the next one in."""
        self._locks.drop(self._offset)


def _naps() -> Iterator[float]:
    nap = _FIRST_NAP
    while True:
        yield nap
        nap = min(2 * nap, _LONGEST_NAP)


def _leads_back(wanted: str, held: set[str], notes: list[dict[str, Any]]) -> bool:
    """Whether who holds ``wanted`` waits, over others, for one of ``held``."""
    seen: set[str] = set()
    ahead = [wanted]
    while ahead:
        path = ahead.pop()
        if path in held:
            return True
        if path not in seen:
            seen.add(path)
            ahead += [note["wanted"] for note in notes if path in note["held"]]
    return False


def _notes(folder: str, mine: str) -> Iterator[dict[str, Any]]:
    """What the living say that they wait for; the notes of the dead are removed."""
    for name in os.listdir(folder):
        if name == mine or name.startswith("."):
            continue
        file = folder + os.sep + name
        try:
            fd = os.open(file, os.O_RDWR | SAFE)
        except OSError:
            continue
        try:
            if _file_lock(fd):
                os.unlink(file)
                continue
            note = json.loads(os.read(fd, 1 << 20))
            if isinstance(note["wanted"], str) and isinstance(note["held"], list):
                yield note
        except (OSError, ValueError, KeyError, TypeError):
            continue
        finally:
            os.close(fd)


if sys.platform == "win32":

    def _file_lock(fd: int) -> bool:
        try:
            _range_lock(fd, 1 << 40, wait=False)
        except OSError:
            return False
        return True

    def _range_lock(fd: int, offset: int, *, wait: bool) -> None:  # noqa: ARG001  # Windows would wait ten seconds.
        os.lseek(fd, offset, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _range_unlock(fd: int, offset: int) -> None:
        os.lseek(fd, offset, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:

    def _file_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _range_lock(fd: int, offset: int, *, wait: bool) -> None:
        if _OFD:
            command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
            fcntl.fcntl(fd, command, _RANGE.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0))
        else:
            fcntl.lockf(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, offset)

    def _range_unlock(fd: int, offset: int) -> None:
        if _OFD:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _RANGE.pack(fcntl.F_UNLCK, os.SEEK_SET, offset, 1, 0))
        else:
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, offset)


_all: Final[WeakSet[Locks]] = WeakSet()
_opening = threading.Lock()


def _forget_parents() -> None:
    global _opening
    _opening = threading.Lock()
    for locks in _all:
        locks.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)

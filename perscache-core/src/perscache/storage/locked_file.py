"""A file under ``.state`` that processes change under a lock of the whole of it."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .layout import Layout, open_plain

if sys.platform == "win32":
    import msvcrt

    _BEYOND = 1 << 40  # what is locked cannot be read, not even by its holder through another descriptor

    def _try_lock(fd: int) -> None:
        os.lseek(fd, _BEYOND, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        with suppress(OSError):
            os.lseek(fd, _BEYOND, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


_PATIENCE = 1.0
_SULK = 10.0
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class LockedFile:
    """The file called ``name`` under the ``.state`` of ``layout``."""

    def __init__(self, layout: Layout, name: str) -> None:
        """Nothing is opened or made yet."""
        self._layout = layout
        self._file = layout.state(name)
        self._not_before = 0.0

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """Its descriptor, locked; None where the disk refuses or somebody stands still while holding the lock."""
        try:
            fd = self.open()
        except OSError:
            yield None
            return
        _open.add(fd)
        try:
            yield fd if self._lock(fd) else None
        finally:
            _unlock(fd)  # closing alone would not do while a child that was forked meanwhile has the file open
            _open.discard(fd)
            os.close(fd)

    def _lock(self, fd: int) -> bool:
        """Lock the file that ``fd`` is; the lock goes with the descriptor.

        Others hold it for microseconds. After a second somebody must have been stopped while holding it: says no then,
        and for the ten seconds that follow, rather than keep every store waiting.
        """
        begun = time.monotonic()
        pause = 0.0001
        while begun >= self._not_before:
            try:
                _try_lock(fd)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > begun + _PATIENCE:
                    self._not_before = begun + _SULK
                    break
                time.sleep(pause)
                pause = min(2 * pause, 0.002)
            except OSError as error:
                return error.errno in _UNSUPPORTED  # counters that may be off are better than none
            else:
                return True
        return False

    def open(self) -> int:
        """Its descriptor; the file is made if need be. Raises OSError."""
        try:
            return open_plain(self._file, os.O_RDWR)
        except FileNotFoundError:
            self._layout.make_state()
            return open_plain(self._file, os.O_RDWR | os.O_CREAT, self._layout.file_mode)


def _close_inherited() -> None:
    """In a child: a lock that a thread of the parent holds must not outlive the parent here. Closed, never unlocked."""
    for fd in _open:
        with suppress(OSError):
            os.close(fd)
    _open.clear()


_open: set[int] = set()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)

"""How a file gets its place: written beside it, whole, and then renamed, so that no reader ever sees a part."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from ..buffers import Buffer, Pieces
from ..entry import Entry
from ..errors import StorageError
from .base import CLOCK_SLACK
from .layout import SAFE, Layout, Place, marked

Durable: TypeAlias = Literal["auto"] | bool
"""Whether files are flushed to the disk; "auto": those of results that took over 0.25 s."""

_DURABLE_FROM: Final = 0.25
_TICK: Final = 0.001  # by which the times of files may be off
_CLEARS: Final = 20  # that one store outlasts
SETS_TIMES_BY_FD: Final = os.utime in os.supports_fd


class Publisher:
    """Publishes the files of one storage."""

    def __init__(
        self,
        layout: Layout,
        durable: Durable,
        set_aside: Callable[[str, str, os.stat_result], str | None],
    ) -> None:
        """``set_aside`` moves a file that is in the way, of a path and a status, and says where to; None if nowhere."""
        self._layout = layout
        self._durable = durable
        self._set_aside = set_aside

    def publish(
        self, place: Place, file: str, data: Buffer | Pieces, entry: Entry, *, bless: bool = False, copy: bool = False
    ) -> int | None:
        """Write ``file`` whole or not at all; the size of the value that it replaces.

        ``bless``: whatever was there. ``copy``: with the time of the entry; FileExistsError where what is there is as
        new. Raises StorageError for what is in the way and cannot be moved, and any OSError of the disk.
        """
        for _ in range(_CLEARS):
            try:
                return self._publish(place, file, data, entry, bless=bless, copy=copy)
            except FileNotFoundError:  # the folder was cleared meanwhile
                continue
        return self._publish(place, file, data, entry, bless=bless, copy=copy)

    def _publish(
        self, place: Place, file: str, data: Buffer | Pieces, entry: Entry, *, bless: bool, copy: bool
    ) -> int | None:
        layout = self._layout
        temporary = layout.temporary(file.rpartition(os.sep)[0])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE
        try:
            fd = os.open(temporary, flags, layout.file_mode)
        except FileNotFoundError:
            layout.make_folder_of(file)
            fd = os.open(temporary, flags, layout.file_mode)
        seconds = entry.compute_time
        durable = (seconds or 0.0) > _DURABLE_FROM and not copy if self._durable == "auto" else self._durable
        try:
            try:
                if layout.shared:  # what the umask took away
                    os.chmod(temporary, layout.file_mode)
                place.seal.write(fd, data, place.seed, seconds, file)
                now = time.time_ns()
                written = int(entry.created.timestamp() * 1e9) if copy else now
                os.utime(fd if SETS_TIMES_BY_FD else temporary, ns=(now, marked(written)))
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            replaced = None if bless else self._make_way(place, file, entry, copy=copy)
            patiently(os.replace, temporary, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if durable:
            _flush_folder(os.path.dirname(file))
        return replaced

    def _make_way(self, place: Place, file: str, entry: Entry, *, copy: bool) -> int | None:
        """Look at what is there already: what is not ours goes aside, what is expired goes. The size of the value."""
        old = None
        for present in {file, place.file, place.other} if self._layout.fanned(place) else (file,):
            try:
                status = os.lstat(present)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"{present} is no plain file, and not ours to overwrite: remove it")
            if not self._layout.ours(present, status, place.path):
                if self._set_aside(present, place.path, status) is None and _is_still(present, status):
                    raise StorageError(
                        f"{present} is not what we wrote and cannot be set aside: move it out of the way"
                    )
                continue
            if copy and entry.created.timestamp() - _TICK < status.st_mtime <= time.time() + CLOCK_SLACK:
                raise FileExistsError(errno.EEXIST, "here is one as new", present)
            old = max(0, status.st_size - place.seal.room)
            expired = entry.expires is not None and (
                status.st_mtime + (entry.expires - entry.created).total_seconds() < time.time()
            )
            if expired or present != file:  # renaming over a file costs three times as much
                patiently(os.unlink, present)
        return old


def _is_still(file: str, status: os.stat_result) -> bool:
    """Whether ``file`` is the one of which ``status`` was taken."""
    try:
        return os.path.samestat(status, os.lstat(file))
    except FileNotFoundError:
        return False


def _flush_folder(folder: str) -> None:
    """Make the rename last through a power cut, where folders can be flushed."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | SAFE)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def patiently(action: Callable[..., None], *paths: str) -> None:
    """Rename or remove; on Windows again for up to 64 ms while a reader holds the file."""
    pause = 0.001
    while True:
        try:
            return action(*paths)
        except PermissionError:
            if os.name != "nt" or pause > 0.064:
                raise
            time.sleep(pause)
            pause *= 2

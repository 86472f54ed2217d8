"""File descriptors, read and written whole: the system's own calls may do less than they were asked."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..buffers import Buffer, Form, Pieces

if TYPE_CHECKING:
    from xxhash import xxh3_64

_HUGE = 32 * 1024 * 1024  # from here on malloc takes fresh pages each time; huge ones cost half as much
_WORTH_KEEPING = 512 * 1024
_KEPT = 16 * 1024 * 1024
_MOST_KEPT = 2
_IN_CACHE = 256 * 1024  # hashed in a second pass, bytes would be fetched from memory once more
_AT_ONCE = 8 * 1024 * 1024  # what is written in smaller pieces lies so in the system's cache: read a fifth more slowly
_LONGEST_READ = 0x7FFFF000  # what Linux reads at once
_MOST_VIEWS = 512  # half of what Linux writes at once


def write_all(fd: int, *pieces: Buffer) -> None:
    """Write every byte of ``pieces``, or raise OSError: a full disk first shows as a short write."""
    views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    while views:
        written = os.writev(fd, views) if hasattr(os, "writev") else os.write(fd, views[0])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


def write_small(fd: int, data: bytes) -> None:
    """`write_all` of so little that the system takes it at once."""
    written = os.write(fd, data)
    if written < len(data):
        write_all(fd, data[written:])


def write_hashed(fd: int, value: Pieces, state: xxh3_64) -> None:
    """Write every byte of ``value``, each of which goes through ``state`` on its way."""
    waiting: list[memoryview] = []
    room = _AT_ONCE
    for piece in value.buffers:
        for begin in range(0, len(piece), _IN_CACHE):
            part = piece[begin : begin + _IN_CACHE]
            state.update(part)
            waiting.append(part)
            room -= len(part)
            if room <= 0 or len(waiting) == _MOST_VIEWS:
                write_all(fd, *waiting)
                waiting, room = [], _AT_ONCE
    write_all(fd, *waiting)


def read_all(fd: int, size: int) -> bytes:
    """The next ``size`` bytes of ``fd``, fewer where it ends."""
    if size <= _LONGEST_READ:
        data = os.read(fd, size)
        if len(data) == size:
            return data
        os.lseek(fd, -len(data), os.SEEK_CUR)
    # Many reads into one buffer.
    with open(fd, "rb", closefd=False) as file:
        return file.read(size)


def read_as(form: Form, fd: int, size: int, *hashes: xxh3_64) -> Buffer:
    """The first ``size`` bytes of ``fd``, just opened, in ``form``. All of them go through ``hashes`` first.

    Fewer bytes where the file ends.
    """
    memory = memory_for(form, size)
    if memory is not None:
        return memory[: fill(fd, memory, *hashes)]
    if form in {"mapped", "private"}:
        # Hashed in passing, so that what nobody looks at later takes no memory.
        if _hash_next(fd, size, hashes) == size:
            return _mapped(fd, size, private=form == "private")
        os.lseek(fd, 0, os.SEEK_SET)
    data = read_all(fd, size)
    for state in hashes:
        state.update(data)
    return data


def read_at_once(fd: int, size: int) -> memoryview:
    """The next ``size`` bytes of ``fd``, fewer where it ends, in memory that was used before if there is some."""
    memory = _used_again(size)
    if memory is None:
        return memoryview(read_all(fd, size))
    count = _read_into(fd, memory)
    return memory if count == size else memory[: count + fill(fd, memory[count:])]


def memory_for(form: Form, size: int) -> memoryview | None:
    """The memory in which ``form`` wants ``size`` bytes; None where it does not say, and any will do."""
    if callable(form):
        memory = memoryview(form(size)).cast("B")
        if len(memory) != size:
            raise TypeError(f"{form} gave {len(memory):,} bytes of memory and was asked for {size:,}: mend it")
        return memory
    if form != "buffer":
        return None
    return _huge_pages(size) if size >= _HUGE else _used_again(size)


def fill(fd: int, view: memoryview, *hashes: xxh3_64) -> int:
    """Read into ``view`` until it is full or the file ends; how many bytes came, and went through ``hashes``."""
    filled, most = 0, _IN_CACHE if hashes else len(view)
    while filled < len(view):
        piece = view[filled : filled + most]
        count = _read_into(fd, piece)
        if not count:
            break
        for state in hashes:
            state.update(piece[:count])
        filled += count
    return filled


def pread(fd: int, size: int, position: int) -> bytes:
    """``size`` bytes at ``position``, leaving ``fd`` where it is."""
    if hasattr(os, "pread"):
        return os.pread(fd, size, position)
    here = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, position, os.SEEK_SET)
    data = os.read(fd, size)
    os.lseek(fd, here, os.SEEK_SET)
    return data


def pwrite(fd: int, data: bytes, position: int) -> None:
    """Write ``data`` at ``position``; where ``fd`` is afterwards, systems differ."""
    if hasattr(os, "pwrite"):
        os.pwrite(fd, data, position)
        return
    os.lseek(fd, position, os.SEEK_SET)
    os.write(fd, data)


def _used_again(size: int) -> memoryview | None:
    """Memory that was read into before and that nobody looks at any more, else None.

    Memory of a megabyte goes back to the system whenever it is freed, and comes page by page: that took five times as
    long as reading.
    """
    if not _WORTH_KEEPING <= size <= _KEPT:
        return None
    if not _kept_guard.acquire(blocking=False):  # in a forked child it may be locked for ever
        return None
    try:
        for position, memory in enumerate(_kept):
            if _unseen(memory):
                if len(memory) < size:
                    _kept[position] = bytearray(size)
                return memoryview(_kept[position])[:size]
        if len(_kept) == _MOST_KEPT:
            return None
        _kept.append(bytearray(size))
        return memoryview(_kept[-1])
    finally:
        _kept_guard.release()


def _unseen(memory: bytearray) -> bool:
    try:
        memory.append(memory.pop())
    except BufferError:  # there is a view of it, which a change of its length would invalidate
        return False
    return True


_kept: list[bytearray] = []
_kept_guard = threading.Lock()


def _huge_pages(size: int) -> memoryview | None:
    import mmap

    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def _hash_next(fd: int, size: int, hashes: Iterable[xxh3_64]) -> int:
    passing, hashed = memoryview(bytearray(_IN_CACHE)), 0
    while hashed < size and (count := fill(fd, passing[: size - hashed], *hashes)):
        hashed += count
    return hashed


def _mapped(fd: int, size: int, *, private: bool) -> memoryview:
    # The mapping keeps what it shows, whether the file's name is replaced or removed meanwhile; Windows forbids both
    # as long as it lives: such a store or eviction gives up.
    import mmap

    access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
    if sys.version_info >= (3, 13) and os.name != "nt":
        return memoryview(mmap.mmap(fd, size, access=access, trackfd=False))
    return memoryview(mmap.mmap(fd, size, access=access))


def _read_into(fd: int, view: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(fd, [view])
    piece = os.read(fd, len(view))
    view[: len(piece)] = piece
    return len(piece)

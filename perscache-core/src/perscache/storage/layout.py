"""Where the files of a local storage lie, and how they are opened and made without following anybody's symlinks.

.cache/
  CACHEDIR.TAG  .gitignore     in a folder that we made
  .state/lock                  byte ranges for single flight
  .state/usage                 counters, where there is a limit
  .state/trash/<token>/        folders being deleted
  .state/aside/<token>/        damaged and edited files
  <function>/<hash>.<ext>      up to about 2,000 entries, later ones in
  <function>/<2 hex>/<hash>.<ext>
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import Final

from xxhash import xxh3_64_intdigest

from ..entry import ACCEPTED
from ..errors import StorageError
from .seal import BrokenSeal, Seal, seal_of

STATE: Final = ".state"
JOURNAL: Final = ".index.jsonl"
FLAT: Final = 2000
"""Entries that a function's folder takes before new ones go to its 256 folders: making those is dear."""

SAFE: Final[int] = sum(getattr(os, flag, 0) for flag in ("O_CLOEXEC", "O_NOFOLLOW", "O_BINARY", "O_NOINHERIT"))
"""Flags of every open: not for children, no symlinks, no translation."""

NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
"""For whatever exists already: opening a planted pipe must not wait."""


_FUNCTION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_PATH = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*)/(([A-Za-z0-9_-]+)\.[A-Za-z0-9][A-Za-z0-9._-]*)", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{16,}\.[A-Za-z0-9.]+", re.ASCII)
_TEMPORARY = re.compile(r"\.[0-9a-f]{8}-\d+-\d+\.tmp", re.ASCII)
_ABANDONED = 3600.0
_TICK, _MARK = 10_000, 9973
_RECOUNT = 256
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Results kept by perscache. See https://bford.info/cachedir/\n"


def open_plain(file: str, flags: int, mode: int = 0o600) -> int:
    """The descriptor of a plain file; any OSError for something else, which is not waited for."""
    fd = os.open(file, flags | NONBLOCK | SAFE, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "no plain file", file)
    return fd


class Place:
    """Where an entry may lie: in its function's folder, or in one of the 256 folders below that."""

    __slots__ = ("file", "folder", "name", "other", "path", "seal", "seed", "shard")

    def __init__(self, root: str, path: str, folder: str, name: str) -> None:
        """Of the entry ``path``, which is ``folder``/``name``, under ``root`` (which ends in a separator)."""
        self.path = path
        self.folder = folder
        self.name = name
        self.seed = xxh3_64_intdigest(path.encode())
        self.seal: Seal = seal_of(name)
        self.shard = shard_of(name)
        self.file = f"{root}{folder}{os.sep}{name}"
        self.other = f"{root}{folder}{os.sep}{self.shard:02x}{os.sep}{name}"


class Layout:
    """The folders of one local storage."""

    def __init__(self, location: str, *, shared: bool) -> None:
        """Under the absolute ``location``; ``shared`` with the group."""
        self.location = location
        self.root = location.rstrip(os.sep) + os.sep
        self.shared = shared
        self.file_mode = 0o660 if shared else 0o600
        self._folder_mode = 0o2770 if shared else 0o700
        self._fanned: set[str] = set()
        self._plain: set[str] = set()
        self._room: dict[str, int] = {}
        self._token = os.urandom(4).hex()
        self._number = count()

    # --- Names.

    def place(self, path: str) -> Place:
        """Where the entry ``path`` lies; ``file`` is the likelier place. StorageError for what is no storage path."""
        parts = _PATH.fullmatch(path)
        if parts is None or parts[2].endswith(".seal"):
            raise StorageError(f"{path!r} is no path of an entry: it must be <function>/<hash>.<extension>")
        folder = parts[1]
        self._refuse_symlink(self.root + folder)
        place = Place(self.root, path, folder, parts[2])
        if folder in self._fanned:
            self._refuse_symlink(os.path.dirname(place.other))
            place.file, place.other = place.other, place.file
        return place

    def fanned(self, place: Place) -> bool:
        """Whether the function of ``place`` is known to have more than one folder."""
        return place.folder in self._fanned

    def forget(self) -> None:
        """Begin anew: folders were removed."""
        self._fanned.clear()
        self._room.clear()
        self._plain.clear()

    def target(self, place: Place) -> str:
        """Where a new entry goes: the folder of its function while that is small, else the shard's."""
        flat = f"{self.root}{place.folder}{os.sep}{place.name}"
        if place.folder not in self._fanned:
            room = self._room.get(place.folder, 0) - 1
            if room < 0:
                room = self._count_room(place.folder)
            self._room[place.folder] = room
        if place.folder not in self._fanned:
            return flat
        folder = f"{self.root}{place.folder}{os.sep}{place.shard:02x}"
        self._refuse_symlink(folder)
        return folder + os.sep + place.name

    def state(self, *names: str) -> str:
        """A path under ``.state``."""
        return os.sep.join((self.root + STATE, *names))

    def _count_room(self, folder: str) -> int:
        """How many stores may pass until the next look at how full ``folder`` is."""
        path = self.root + folder
        try:
            names = os.listdir(path)
        except OSError:
            return 0
        if len(names) >= FLAT or any(name in _SHARDS for name in names):
            self._fanned.add(folder)
            return 0
        self.sweep(path, names)
        return min(_RECOUNT, FLAT - len(names))

    @staticmethod
    def sweep(folder: str, names: Iterable[str]) -> None:
        """Remove the temporary files among ``names`` that a writer left behind when it was killed."""
        for name in names:
            if _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    file = folder + os.sep + name
                    if abs(time.time() - os.lstat(file).st_mtime) > _ABANDONED:
                        os.unlink(file)

    def _refuse_symlink(self, folder: str) -> None:
        """StorageError if ``folder`` is a symlink. Looked at once: only who owns the storage could change it later."""
        if folder in self._plain:
            return
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.lstat(folder).st_mode):
                raise StorageError(f"{folder} is a symlink, which perscache does not follow: remove it")
            self._plain.add(folder)

    def temporary(self, folder: str) -> str:
        """A fresh name in ``folder``, no other thread's or process's."""
        return f"{folder}{os.sep}.{self._token}-{os.getpid()}-{next(self._number)}.tmp"

    # --- Walking. Symlinks and whatever has no name of ours are passed over.

    def functions(self, *, records: bool = False) -> Iterator[str]:
        """The folders of functions, and that of the ``records`` of accepted edits if it is asked for."""
        with suppress(FileNotFoundError), os.scandir(self.location) as found:
            for item in found:
                if (
                    not item.name.startswith(".")
                    and item.is_dir(follow_symlinks=False)
                    and (records or item.name != ACCEPTED)
                ):
                    yield item.name

    def folders(self, function: str) -> Iterator[str]:
        """The folders that may hold entries of ``function``: its own, and its shards."""
        own = self.root + function
        if not is_folder(own) or _FUNCTION.fullmatch(function) is None:
            return
        yield own
        fan: list[str] = []
        with suppress(OSError), os.scandir(own) as found:
            fan += [item.path for item in found if item.name in _SHARDS and item.is_dir(follow_symlinks=False)]
        yield from fan

    def named(self, function: str, shards: frozenset[int] | None = None) -> Iterator[list[str]]:
        """The files that have the name of an entry of ``function``, of ``shards`` or all, in a list for each folder."""
        if _FUNCTION.fullmatch(function) is None:
            return
        folders = [self.root + function]
        for folder in folders:
            files: list[str] = []
            with suppress(OSError), os.scandir(folder) as found:
                for item in found:
                    name = item.name
                    if name[0] == "." or (shards is not None and shard_of(name) not in shards):
                        continue
                    if "." in name:
                        if item.is_file(follow_symlinks=False):
                            files.append(item.path)
                    elif folder is folders[0] and name in _SHARDS and item.is_dir(follow_symlinks=False):
                        folders.append(item.path)
            yield files

    @staticmethod
    def files(folder: str) -> Iterator[os.DirEntry[str]]:
        """What has the name of an entry in ``folder``."""
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
            for item in found:
                if "." in item.name and item.name[0] != ".":
                    yield item

    def ours(self, file: str, status: os.stat_result, path: str) -> bool:
        """Whether ``file``, of ``status``, is what we wrote as the entry ``path``, and nobody edited it since.

        A long hexadecimal name, the mode that we give and our mark on its time are proof enough: reading a file that
        nobody used for long may wait for the disk. An edit takes the mark away, and so does a copy or a disk that keeps
        times less exactly: then the seal must match.
        """
        if not stat.S_ISREG(status.st_mode):
            return False
        name = file.rpartition(os.sep)[2]
        if status.st_mode == stat.S_IFREG | self.file_mode and is_marked(status.st_mtime_ns) and _HASH.fullmatch(name):
            return True
        try:
            fd = os.open(file, os.O_RDONLY | NONBLOCK | SAFE)
        except OSError:
            return False
        try:
            seal_of(file).read(fd, os.fstat(fd).st_size, xxh3_64_intdigest(path.encode()), file, "buffer")
        except (OSError, BrokenSeal):
            return False
        finally:
            os.close(fd)
        return True

    @staticmethod
    def litter(name: str) -> bool:
        """Whether ``name`` is one of our files beside the entries: journal, hidden seal, temporary."""
        return name == JOURNAL or (name[0] == "." and name.endswith(".seal")) or bool(_TEMPORARY.fullmatch(name))

    # --- Making.

    def make_state(self, *names: str) -> str:
        """A folder under ``.state``, made if need be."""
        self._make_location()
        folder = self.root + STATE
        self._make(folder)
        for name in names:
            folder += os.sep + name
            self._make(folder)
        return folder

    def make_folder_of(self, file: str) -> None:
        """The folders above ``file``, an entry's."""
        self._make_location()
        folder = os.path.dirname(file)
        above = os.path.dirname(folder)
        if above + os.sep != self.root:
            self._make(above)
        self._make(folder)

    def _make(self, folder: str) -> bool:
        try:
            os.mkdir(folder, self._folder_mode)
        except FileExistsError:
            self._refuse_symlink(folder)
            return False
        if self.shared:  # what the umask took away
            os.chmod(folder, self._folder_mode)
        return True

    def _make_location(self) -> None:
        if os.path.isdir(self.location):
            return
        os.makedirs(os.path.dirname(self.location), exist_ok=True)
        if self._make(self.location):
            for name, text in (("CACHEDIR.TAG", _TAG), (".gitignore", b"*\n")):
                with suppress(FileExistsError):
                    fd = os.open(self.root + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, self.file_mode)
                    try:
                        os.write(fd, text)
                    finally:
                        os.close(fd)


def is_folder(path: str) -> bool:
    """Whether ``path`` is a folder and no symlink to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def shard_of(name: str) -> int:
    """The shard of an entry called ``name``, 0 to 255: the first byte of the hash that the name is."""
    shard = _SHARDS.get(name[:2])
    return xxh3_64_intdigest(name.encode()) & 255 if shard is None else shard


_SHARDS = {f"{shard:02x}": shard for shard in range(256)}


def marked(now: int) -> int:
    """The nanoseconds ``now``, less than ten microseconds off, as the time of a file that we wrote."""
    ticks = now // _TICK
    return ticks * _TICK + ticks % _MARK


def is_marked(time: int) -> bool:
    """Whether nobody set a file's ``time`` since we did; any other bears the mark by a chance of 1 in 10,000."""
    ticks, mark = divmod(time, _TICK)
    return mark == ticks % _MARK

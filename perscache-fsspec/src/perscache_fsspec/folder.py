"""A folder in a file system of fsspec: files read and written whole, with what is known of each."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from perscache.storage.metadata import digest_of

from .record import TAIL, NoRecord, Record, beside, created, from_text, join, split, to_text

DRAFTS: Final = "perscache.drafts"
"""The folder in which files are written before they get their names."""

WINDOW: Final = 2**21
"""Bytes of one file that an SFTP server is asked for at once."""

_SFTP: Final = frozenset({"sftp", "ssh"})
_REPLACING: Final = frozenset({"file", "local", "ftp", "hdfs", "arrow_hdfs", *_SFTP})
"""File systems whose ``mv`` replaces what is there; webhdfs's does nothing then, smb's refuses."""

_TIMEOUTS: Final = {
    **dict.fromkeys(_SFTP, ("timeout", "banner_timeout", "auth_timeout")),
    **dict.fromkeys(("ftp", "smb"), ("timeout",)),
}
"""What file systems call their own deadlines, in seconds: so that a thread that nobody waits for any more ends."""


_NOWHERE: Final = logging.NullHandler()


class File(NamedTuple):
    """A file as its file system describes it."""

    name: str
    """Without the folder."""
    is_folder: bool
    size: int
    modified: float | None
    """When it was written, in seconds since the epoch by the server's clock; None where that is not known."""

    @property
    def generation(self) -> str:
        """What changes when it is written again, as far as size and time tell."""
        return f"{self.size}/{self.modified}"

    def may_be(self, generation: str) -> bool:
        """Whether it is of ``generation``; a time may be told by a listing and not here, or the other way round."""
        size, _, modified = generation.partition("/")
        return size == str(self.size) and (modified in {"None", str(self.modified)} or self.modified is None)


class Folder:
    """One, over a connection of its own. Names are relative to it. Each method raises what the file system raises."""

    def __init__(self, url: str, options: Mapping[str, Any], timeout: float) -> None:
        """The folder that ``url`` names, for one thread."""
        from fsspec import AbstractFileSystem
        from fsspec.core import url_to_fs

        protocol = url.partition("://")[0]
        if protocol in _SFTP:
            # Who has set up no logging would read its traces on stderr, beside our one warning.
            logging.getLogger("paramiko").addHandler(_NOWHERE)
        deadlines = dict.fromkeys(_TIMEOUTS.get(protocol, ()), timeout)
        self._fs, folder = url_to_fs(url, skip_instance_cache=True, **(deadlines | dict(options)))
        self._root = str(folder).rstrip("/")
        self._sftp = protocol in _SFTP
        self._replaces = protocol in _REPLACING
        # A file system without a `mv` of its own copies, which is no better than writing: or writes whole files.
        self._renames = type(self._fs).mv is not AbstractFileSystem.mv
        if self._sftp:
            # Its deadlines are for connecting only.
            self._fs.ftp.get_channel().settimeout(timeout)

    def read(self, name: str) -> tuple[bytes, Record]:
        """The value of a file, and its record; NoRecord where it has none."""
        aside = beside(name)
        if aside is None:
            return split(name, self._cat(name))
        for last in (False, True):
            value = self._cat(name)
            try:
                record = from_text(self._cat(aside))
            except FileNotFoundError:
                continue
            # Somebody may have written the two in between.
            if last or record.get("digest") == digest_of(value):
                return value, record
        raise NoRecord(f"{aside} is missing")

    def read_record(self, name: str, size: int) -> tuple[Record, int]:
        """The record of a file of ``size`` bytes, and how many bytes its value has; NoRecord where it has none."""
        aside = beside(name)
        if aside is not None:
            try:
                return from_text(self._cat(aside)), size
            except FileNotFoundError as error:
                raise NoRecord(f"{aside} is missing") from error
        start = max(0, size - TAIL)
        try:
            value, record = split(name, self._fs.cat_file(self._path(name), start=start) if start else self._cat(name))
        except NoRecord:
            if not start:
                raise
            start = 0
            value, record = split(name, self._cat(name))
        return record, start + len(value)

    def write(self, name: str, value: bytes, record: Record) -> None:
        """Make or replace a file with its record; a reader sees the old or the new one, or none, never a part."""
        aside = beside(name)
        if aside is None:
            self._write(name, join(name, value, record))
        else:
            self._write(aside, to_text(record))
            self._write(name, value)

    def info(self, name: str) -> File:
        """What is known of a file without reading it."""
        self._fs.invalidate_cache()
        return _file(self._fs.info(self._path(name)))

    def list(self, name: str) -> Iterator[File]:
        """What lies in a folder, nothing where there is none."""
        self._fs.invalidate_cache()
        # Not `find`, which takes a folder that cannot be read for an empty one.
        with suppress(FileNotFoundError):
            yield from map(_file, self._fs.ls(self._path(name).rstrip("/") or "/", detail=True))

    def written(self, name: str, file: File) -> float | None:
        """When a file that was listed was written, by its record: for one whose file system does not say, or roughly.

        None where neither says.
        """
        modified = file.modified
        with suppress(NoRecord, FileNotFoundError):
            said = created(self.read_record(name, file.size)[0])
            # Of two clocks that agree, the writer's is the finer one.
            return said if modified is None or 0 <= said - modified < 1 else modified
        return modified

    def remove(self, name: str) -> None:
        """Remove a file and its record; FileNotFoundError where there is none."""
        self._remove(name)
        if aside := beside(name):
            self._forget(aside)

    def close(self) -> None:
        """Let go of the connection, where it is known how: not all do that when they are forgotten."""
        with suppress(Exception):
            self._fs.client.close()

    # --- Whole files.

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _cat(self, name: str) -> bytes:
        if not self._sftp:
            try:
                data: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError as error:
                cause = error.__cause__
                if type(cause).__module__ == "ftplib" and cause is not None and not str(cause).startswith("550"):
                    raise cause from None  # fsspec takes all that an FTP server refuses for a missing file.
                raise
            return data
        # Many requests at once: one after the other, each 32 KB take a round trip. And no limit to `prefetch`, which
        # waits for it in a busy loop.
        with self._fs.open(self._path(name), "rb") as file:
            size = file.stat().st_size
            windows = ((at, min(WINDOW, size - at)) for at in range(0, size, WINDOW))
            return b"".join(piece for window in windows for piece in file.readv([window]))

    def _pipe(self, name: str, data: bytes) -> None:
        if not self._sftp:
            self._fs.pipe_file(self._path(name), data)
            return
        with self._fs.open(self._path(name), "wb") as file:
            file.set_pipelined(True)
            file.write(data)

    def _write(self, name: str, data: bytes) -> None:
        draft = f"{DRAFTS}/{os.urandom(12).hex()}" if self._renames else name
        try:
            self._pipe(draft, data)
        except Exception:  # noqa: BLE001 - whatever a file system says of a missing folder
            self._make_folder_of(draft)
            self._pipe(draft, data)
        if not self._renames:
            return
        try:
            self._publish(draft, name)
        except Exception:
            self._forget(draft)
            raise

    def _publish(self, draft: str, name: str) -> None:
        if not self._replaces:
            self._forget(name)
        try:
            self._fs.mv(self._path(draft), self._path(name))
        except Exception:  # noqa: BLE001 - the folder is missing, or this server does not replace
            self._make_folder_of(name)
            self._forget(name)
            self._fs.mv(self._path(draft), self._path(name))

    def _make_folder_of(self, name: str) -> None:
        folder = self._path(name).rpartition("/")[0]
        # Another one may make each of its parts in between.
        for left in range(folder.count("/"), -1, -1):
            self._fs.invalidate_cache()
            try:
                self._fs.makedirs(folder, exist_ok=True)
                return
            except Exception:
                if not left:
                    raise

    def _remove(self, name: str) -> None:
        path = self._path(name)
        try:
            self._fs.rm_file(path)
        except NotImplementedError:
            self._fs.rm(path)
        except Exception:
            # That another one was first, not all say in the same way.
            self.info(name)
            raise

    def _forget(self, name: str) -> None:
        with suppress(Exception):
            self._remove(name)


# --- What file systems say of files, each in its own words.

_TIMES: Final = (
    "mtime", "modified", "LastModified", "last_modified", "modify", "modificationTime", "updated", "created",
)  # fmt: skip
_FTP_TIME: Final = re.compile(r"(\d{14})(?:\.\d+)?")
_MILLISECONDS: Final = 1e11


def _file(info: Mapping[str, Any]) -> File:
    name = str(info["name"]).rstrip("/").rpartition("/")[2]
    return File(name, info.get("type") == "directory", info.get("size") or 0, _modified(info))


def _modified(info: Mapping[str, Any]) -> float | None:
    for key in _TIMES:
        if (said := _time(info.get(key))) is not None:
            return said
    return None


def _time(said: object) -> float | None:
    if isinstance(said, int | float):
        return said / 1000 if said > _MILLISECONDS else float(said)
    if isinstance(said, str):
        try:
            ftp = _FTP_TIME.fullmatch(said)
            said = datetime.strptime(ftp[1], "%Y%m%d%H%M%S") if ftp else datetime.fromisoformat(said)  # noqa: DTZ007
        except ValueError:
            return None
    return said.replace(tzinfo=said.tzinfo or UTC).timestamp() if isinstance(said, datetime) else None

"""The journal of a folder: one JSON line for each entry stored there, with what its file does not say.

Lines are appended and never needed to be right: a line that is torn or lost leaves an entry without its arguments. Each
begins with its own checksum and the entry's name, at fixed places, so that most lines are passed over without parsing:

    {"sum":"<16 hex>","file":"9c1e….json","created":1700000000.0,"seconds":1.5,"format":"json", …}
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator
from contextlib import suppress
from typing import Any

from xxhash import xxh3_64_hexdigest

from ..entry import Entry
from .layout import JOURNAL, SAFE, open_plain

COMPACT_FROM = 64 * 1024
"""Bytes below which a journal is left alone."""

_HEAD = len('{"sum":"') + 16 + len('",')
_NAME = _HEAD + len('"file":"')
_encoder = json.JSONEncoder(separators=(",", ":"))
_decoder = json.JSONDecoder()


def append(folder: str, name: str, entry: Entry, mode: int) -> bool:
    """Add what ``entry`` says of the file ``name``; whether the journal doubled, so that it is time to `compact` it."""
    known: dict[str, Any] = {"file": name, "created": entry.created.timestamp()}
    if entry.compute_time is not None:
        known["seconds"] = entry.compute_time
    if entry.expires is not None:
        known["expires"] = entry.expires.timestamp()
    for key in ("format", "function", "arguments"):
        if value := getattr(entry, key):
            known[key] = value
    if entry.parts:
        known["parts"] = dict(entry.parts)
    added = line(known)
    fd = open_plain(folder + os.sep + JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        os.write(fd, added)
        size = os.lseek(fd, 0, os.SEEK_CUR)
        return size > COMPACT_FROM and size.bit_length() != (size - len(added)).bit_length()
    finally:
        os.close(fd)


def line(known: dict[str, Any]) -> bytes:
    """A line that says ``known``, its checksum in front and a line feed behind."""
    body = _encoder.encode(known).encode()[1:]
    return b'{"sum":"%b",%b\n' % (xxh3_64_hexdigest(body).encode(), body)


def lookup(folder: str, name: str) -> dict[str, Any]:
    """What is known of the file ``name``: its last whole line, or nothing."""
    text = _read(folder)
    needle = b'"file":"%b"' % name.encode()
    end = len(text)
    while (at := text.rfind(needle, 0, end)) >= 0:
        start = text.rfind(b"\n", 0, at) + 1
        stop = text.find(b"\n", at)
        if known := parse(text[start:stop] if stop >= 0 else text[start:]):
            return known
        end = at
    return {}


def lines(folder: str) -> dict[str, bytes]:
    """The last line of each file, unparsed."""
    return dict(_named(_read(folder)))


def parse(line: bytes) -> dict[str, Any]:
    """What a line says; nothing if it is torn."""
    body = line[_HEAD:]
    if line[8:24] != xxh3_64_hexdigest(body).encode():
        return {}
    try:
        known, _ = _decoder.raw_decode("{" + body.decode())  # a million are listed at times
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}


def compact(folder: str, live: Container[str], fresh: str, mode: int) -> None:
    """Rewrite the journal by way of ``fresh`` with the last lines of files in ``live``, if most of it is dead.

    A line that another process adds meanwhile may be lost, which costs its entry
    the arguments.
    """
    if not (text := _read(folder)):
        return
    kept = [line for name, line in dict(_named(text)).items() if name in live]
    size = sum(map(len, kept)) + len(kept)
    if 2 * size > len(text):
        return
    file = folder + os.sep + JOURNAL
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, mode)
        try:
            with open(fd, "wb", closefd=False) as out:
                out.writelines(line + b"\n" for line in kept)
                out.write(_read(folder)[len(text) :])
        finally:
            os.close(fd)
        os.replace(fresh, file)
    except OSError:
        with suppress(OSError):
            os.unlink(fresh)


def _named(text: bytes) -> Iterator[tuple[str, bytes]]:
    for line in text.split(b"\n"):
        stop = line.find(b'"', _NAME)
        if stop > 0 and line.startswith(b'{"sum":"'):
            yield line[_NAME:stop].decode("ascii", "replace"), line


def _read(folder: str) -> bytes:
    try:
        with open(open_plain(folder + os.sep + JOURNAL, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError:
        return b""

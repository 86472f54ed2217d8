"""A flat storage seen with folders: one whose paths have none becomes a tier among those whose paths have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import ClassVar, Final

from ..buffers import Buffer
from ..entry import Entry, Stored
from .base import Ledger, Lock, Storage

_FLAT: Final = re.compile(r"(.+)-([0-9a-f]{8,}\.[A-Za-z0-9._-]+)", re.ASCII)


class Unfolded(Storage):
    """The storage ``flat``, asked for ``f/9c1e.json`` where it keeps ``f-9c1e.json``.

    A function that uses it alone finds the same entries.
    """

    folders: ClassVar[bool] = True

    def __init__(self, flat: Storage) -> None:
        self._flat = flat
        self.max_size = flat.max_size

    def read(self, path: str, deadline: datetime | None) -> bytes:
        return self._flat.read(_there(path), deadline)

    def write(self, path: str, data: bytes) -> None:
        self._flat.write(_there(path), data)

    def load(self, path: str, max_age: float | None = None) -> Stored:
        return self._flat.load(_there(path), max_age)

    async def aload(self, path: str, max_age: float | None = None) -> Stored:
        return await self._flat.aload(_there(path), max_age)

    def store(self, entry: Entry, data: bytes) -> None:
        self._flat.store(replace(entry, path=_there(entry.path)), data)

    async def astore(self, entry: Entry, data: bytes) -> None:
        await self._flat.astore(replace(entry, path=_there(entry.path)), data)

    def fill(self, entry: Entry, data: Buffer) -> bool:
        return self._flat.fill(replace(entry, path=_there(entry.path)), data)

    def lock(self, path: str) -> Lock | None:
        return self._flat.lock(_there(path))

    def may_hold(self, path: str) -> bool:
        return self._flat.may_hold(_there(path))

    def lacks(self, path: str) -> bool:
        return self._flat.lacks(_there(path))

    def ledger(self) -> Ledger | None:
        return self._flat.ledger()

    def inspect(self, path: str) -> tuple[Buffer, bool]:
        return self._flat.inspect(_there(path))

    def peek(self, path: str) -> Entry | None:
        found = self._flat.peek(_there(path))
        return None if found is None else _here(found)

    def delete(self, path: str) -> bool:
        return self._flat.delete(_there(path))

    def entries(self, function: str | None = None) -> Iterator[Entry]:
        return map(_here, self._flat.entries(function))

    def clear(self, function: str | None = None) -> int:
        return self._flat.clear(function)

    def prune(self, max_age: float | None = None) -> int:
        return self._flat.prune(max_age)

    @property
    def identity(self) -> str:
        return self._flat.identity


def _there(path: str) -> str:
    return path.replace("/", "-", 1)


def _here(entry: Entry) -> Entry:
    parts = _FLAT.fullmatch(entry.path)
    return entry if parts is None else replace(entry, path=f"{parts[1]}/{parts[2]}")

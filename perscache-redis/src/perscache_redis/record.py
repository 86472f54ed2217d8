"""A record: what lies under a key, one line that says what is known, then the bytes themselves.

    perscache 0c9f… {"keep":3600000,"age":0,"size":3,"written":1763800000.25,"metadata":{…}}
    [1]

The line is ASCII. What it begins with is new on every write, so that a server can compare it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

HEAD: Final = 4096
"""Bytes in which every first line ends: metadata has 2 KB, and a backslash before each quotation mark at worst."""

_MARK: Final = "perscache "
_BEGINNING: Final = len(_MARK) + 32 + 1


class Record(NamedTuple):
    """What the first line says."""

    generation: str
    """What the line begins with."""
    keep: int
    """Milliseconds that the server was told to keep it for when it was written."""
    age: int
    """Milliseconds that it was old then: a copy."""
    size: int
    """Bytes behind the line."""
    written: float
    """When it was new, in seconds since the epoch by the writer's clock."""
    metadata: dict[str, str]
    body: int
    """Where the bytes begin."""

    def created(self, left: int, now: float) -> float:
        """When it was new by the clock that says ``now``, if the server will keep it ``left`` milliseconds more.

        The server counts both with its own clock. ``left`` is -1 where somebody took the end away, and -2 where there
        was nothing a moment before.
        """
        if left == -1:
            return self.written
        since = 0 if left < 0 else max(0, self.keep - left)
        return now - (self.age + since) / 1000


def pack(data: bytes, metadata: Mapping[str, str], keep: int, age: int = 0) -> tuple[str, bytes]:
    """A new record of ``data``, ``age`` milliseconds old and to be kept for ``keep``: its generation, and its bytes."""
    generation = f"{_MARK}{os.urandom(16).hex()} "
    written = time.time() - age / 1000
    known = {"keep": keep, "age": age, "size": len(data), "written": written, "metadata": dict(metadata)}
    line = f"{generation}{json.dumps(known, separators=(',', ':'))}\n"
    return generation, b"".join((line.encode("ascii"), data))


def unpack(data: bytes) -> Record | None:
    """The record that ``data`` begins with; None where it is not of our writing."""
    end = data.find(b"\n", _BEGINNING, HEAD)
    if end < 0 or not data.startswith(_MARK.encode()):
        return None
    try:
        known: Any = json.loads(data[_BEGINNING:end])
        return Record(
            data[:_BEGINNING].decode("ascii"),
            int(known["keep"]),
            int(known["age"]),
            int(known["size"]),
            float(known["written"]),
            {str(name): str(text) for name, text in known["metadata"].items()},
            end + 1,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None

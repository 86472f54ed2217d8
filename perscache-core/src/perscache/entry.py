"""What is known of a stored result, besides its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

ACCEPTED = "perscache.accepted"
"""The folder in which every storage keeps records of accepted edits, which are no results."""


@dataclass(slots=True)  # Not frozen, which takes three times as long to make.
class Stored:
    """What a storage gives back on reading: the serializer's bytes, and what came with them for nothing."""

    data: bytes | memoryview
    created: float | None = None
    """When it was written, in seconds since the epoch by the storage's clock; None where it cannot tell."""
    compute_time: float | None = None
    """Seconds that the function took; None where the storage keeps no such thing."""
    entry: Entry | None = None
    """What else is known, where that came along; a copy of the result is kept with it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored result: where it is and where it came from."""

    path: str
    """The storage path, ``<function>/<hash>.<extension>``."""
    created: datetime
    """When it was written, aware."""
    size: int
    """Bytes of the serialized value."""
    expires: datetime | None = None
    """When it stops being fresh under the time to live in force, aware; None for never."""
    used: datetime | None = None
    """When it was last read, aware, as far as the storage keeps that."""
    compute_time: float | None = None
    """Seconds that the function took."""
    format: str = ""
    """The serializer's name."""
    function: str = ""
    """The function's stable name, ``<module>.<qualname>`` unless it was given another."""
    arguments: str = ""
    """A short readable summary of the arguments."""
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Digests of the key's parts by name, for explanations."""


def moment(seconds: float) -> datetime:
    """The aware UTC datetime of ``seconds`` since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)

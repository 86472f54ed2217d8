"""Sizes in bytes and durations in seconds, as people write them: ``"20GB"``, ``"2h30m"``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

from .errors import ConfigurationError

Duration: TypeAlias = "timedelta | float | int | str"
Size: TypeAlias = "int | str"

_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|[wdhms])\s*", re.ASCII)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?\s*", re.ASCII | re.IGNORECASE)


def seconds(duration: Duration) -> float:
    """A duration in seconds: of a timedelta, a number of seconds, ``"90"``, ``"2h30m"`` or ``"1d"``.

    Raises ConfigurationError for anything else, negative durations and NaN included.
    """
    match duration:
        case timedelta():
            amount = duration.total_seconds()
        case bool():
            amount = -1.0
        case int() | float():
            amount = float(duration)
        case str():
            amount = _parse_duration(duration)
        case _:
            amount = -1.0
    if not amount >= 0:
        raise ConfigurationError(f"{duration!r} is no duration: give a timedelta, seconds, or text such as '2h30m'")
    return amount


def _parse_duration(text: str) -> float:
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text, re.ASCII):
        return float(text)
    total, position = 0.0, 0
    while part := _PART.match(text, position):
        total += float(part[1]) * _SECONDS[part[2]]
        position = part.end()
    return total if text and position == len(text) else -1.0


def size_in_bytes(size: Size) -> int:
    """A size in bytes: of an int, ``"500"``, ``"20GB"`` (powers of 1000) or ``"20GiB"`` (of 1024).

    Raises ConfigurationError for anything else, negative sizes included.
    """
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    if isinstance(size, str) and (amount := _AMOUNT.fullmatch(size)):
        return int(float(amount[1]) * _BYTES[amount[2].lower()])
    raise ConfigurationError(f"{size!r} is no size: give a number of bytes, or text such as '20GB' or '512MiB'")


def spelled_size(size: int) -> str:
    """A size as people read it, in powers of 1000: ``"999 B"``, ``"1.2 MB"``. `size_in_bytes` reads it back."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.1f} {unit}" if amount < 9.95 and unit != "B" else f"{amount:.0f} {unit}"


def spelled_duration(duration: float) -> str:
    """Seconds as people read them: ``"120 ms"``, ``"2.5 s"``, ``"12 m"``, ``"3 d"``. `seconds` reads it back."""
    if duration < 0.9995:
        return f"{duration * 1000:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s" if duration < 10 else f"{int(duration)} s"
    amount, unit = duration / 60, "m"
    for larger, factor in (("h", 60), ("d", 24)):
        if amount < factor:
            break
        amount, unit = amount / factor, larger
    return f"{int(amount)} {unit}"

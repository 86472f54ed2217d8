"""What the commands print: lines for people, JSON with raw numbers for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from ..entry import Entry
from ..units import spelled_duration, spelled_size
from .sums import Sum

_LINES: Final = 10
_WIDTH: Final = 160

_ROW: Final = "{:>6}  {:>6}  {:>6}  {:<11}  {}  {}"
_SUM: Final = "{:>9}  {:>6}  {:>6}  {:>6}  {:>9}  {:>9}  {:>6}  {}"

LISTED: Final = _ROW.format("AGE", "SIZE", "TOOK", "FORMAT", "PATH", "CALL")
"""The heading of `listed`."""

SUMMED: Final = _SUM.format("ENTRIES", "SIZE", "OLDEST", "NEWEST", "HITS", "MISSES", "SAVED", "FUNCTION")
"""The heading of `summed`."""


def listed(entry: Entry) -> str:
    """A line for an entry."""
    took = "" if entry.compute_time is None else spelled_duration(entry.compute_time)
    call = f"{entry.function}({entry.arguments})"
    return _ROW.format(
        _age(entry.created), spelled_size(entry.size), took, clean(entry.format), entry.path, clean(call)
    )


def summed(function: str, of_function: Sum) -> str:
    """A line for a function."""
    oldest, newest = (_age(moment) if moment else "" for moment in (of_function.oldest, of_function.newest))
    hits, misses, *_, saved = of_function.counts
    return _SUM.format(
        f"{of_function.entries:,}",
        spelled_size(of_function.size),
        oldest,
        newest,
        f"{hits:,}",
        f"{misses:,}",
        spelled_duration(saved),
        clean(function),
    )


def sum_facts(function: str, of_function: Sum) -> dict[str, Any]:
    """A function for programs, as `facts` of an entry."""
    counts = of_function.counts._asdict()
    return {
        "function": function,
        "entries": of_function.entries,
        "size": of_function.size,
        "oldest": _seconds(of_function.oldest),
        "newest": _seconds(of_function.newest),
        "bytes_read": counts.pop("bytes"),
        **counts,
    }


def facts(entry: Entry) -> dict[str, Any]:
    """An entry for programs: times in seconds since the epoch, durations in seconds, sizes in bytes."""
    return {
        "path": entry.path,
        "function": entry.function,
        "arguments": entry.arguments,
        "format": entry.format,
        "size": entry.size,
        "created": _seconds(entry.created),
        "used": _seconds(entry.used),
        "expires": _seconds(entry.expires),
        "compute_time": entry.compute_time,
    }


def tell(entry: Entry, facts: dict[str, Any], content: list[str] | None) -> None:
    """Print all that is known of an entry."""
    took = entry.compute_time
    lines: list[tuple[str, Any]] = [
        ("path", entry.path),
        ("file", facts["file"]),
        ("function", entry.function),
        ("arguments", entry.arguments),
        ("created", _when(entry.created)),
        ("used", _when(entry.used)),
        ("expires", _when(entry.expires)),
        ("size", f"{spelled_size(entry.size)} ({entry.size:,} bytes)"),
        ("took", None if took is None else spelled_duration(took)),
        ("format", entry.format),
        ("seal", facts["seal"]),
        ("problem", facts["problem"]),
    ]
    for name, fact in lines:
        if fact:
            say(f"{name:<10} {clean(fact)}")
    if entry.parts:
        say("key parts")
        width = max(map(len, entry.parts))
        for name, digest in entry.parts.items():
            say(f"  {clean(name):<{width}}  {digest}")
    if content is not None:
        say("content")
        for line in content:
            say(f"  {clean(line[:_WIDTH])}{'…' if len(line) > _WIDTH else ''}")


def first_lines(data: bytes | memoryview) -> list[str]:
    """The first lines of text, the one after the last shown being an ellipsis."""
    text = bytes(data[: 100 * _LINES * _WIDTH]).decode("utf-8", "replace")
    lines = text.rstrip("\n").split("\n")
    return lines if len(lines) <= _LINES else [*lines[:_LINES], "…"]


def number_of(entries: int) -> str:
    """``1 entry``, ``2,000 entries``."""
    return f"{entries:,} {'entry' if entries == 1 else 'entries'}"


def _age(moment: datetime) -> str:
    return spelled_duration(max(0.0, time.time() - moment.timestamp()))


def _when(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    away = moment.timestamp() - time.time()
    distance = f"in {spelled_duration(away)}" if away > 0 else f"{spelled_duration(-away)} ago"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({distance})"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def say_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as wide as they need."""
    lines = [heading, *([clean(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def clean(text: str) -> str:
    """``text`` without what would command the terminal: arguments and files hold anything."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


def say_json(facts: dict[str, Any]) -> None:
    """Print a JSON object on a line."""
    say(json.dumps(facts))


def note(text: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"perscache: {clean(text)}\n")


def complain(problem: object, status: int) -> int:
    """Say what is wrong; gives the status."""
    note(str(problem))
    return status

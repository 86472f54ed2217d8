"""What an object says of its entry: custom metadata, short ASCII, under 2 KB together as all stores take it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, unquote

import xxhash

from ..entry import Entry, moment

MARK = "perscache"
"""The field that makes an object ours."""

_ROOM = {"function": 256, "format": 64, "arguments": 640, "parts": 640}
_READABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "") + " "


def to_metadata(entry: Entry, data: bytes) -> dict[str, str]:
    """The custom metadata of the object that keeps ``data`` for ``entry``."""
    parts = " ".join(f"{quote(name, safe='')}={quote(digest, safe='')}" for name, digest in entry.parts.items())
    fields = {
        MARK: "1",
        "created": entry.created.isoformat(),
        "expires": entry.expires.isoformat() if entry.expires else "",
        "seconds": "" if entry.compute_time is None else f"{entry.compute_time:.6g}",
        "function": _escaped(entry.function, _ROOM["function"]),
        "format": _escaped(entry.format, _ROOM["format"]),
        "arguments": _escaped(entry.arguments, _ROOM["arguments"]),
        # A part of the parts would explain wrongly.
        "parts": parts if len(parts) <= _ROOM["parts"] else "",
        "digest": digest_of(data),
    }
    return {name: text for name, text in fields.items() if text}


def to_entry(path: str, size: int, created: float, metadata: Mapping[str, str]) -> Entry:
    """The entry of an object. What cannot be read is left out; when it was written is the server's word."""
    parts = (part.partition("=") for part in metadata.get("parts", "").split())
    return Entry(
        path,
        created=moment(created),
        size=size,
        expires=_time(metadata.get("expires")),
        compute_time=_compute_time(metadata),
        format=unquote(metadata.get("format", "")),
        function=unquote(metadata.get("function", "")),
        arguments=unquote(metadata.get("arguments", "")),
        parts={unquote(name): unquote(digest) for name, _, digest in parts},
    )


def digest_of(data: bytes) -> str:
    """The checksum of a body, with the name of its algorithm."""
    return "xxh3:" + xxhash.xxh3_128_hexdigest(data)


def _escaped(text: str, room: int) -> str:
    """``text`` in printable ASCII, cut to the whole characters that ``room`` holds."""
    escaped = ""
    for character in text[:room]:
        piece = quote(character, safe=_READABLE, errors="replace")
        if len(escaped) + len(piece) > room:
            break
        escaped += piece
    return escaped.strip()


def _compute_time(metadata: Mapping[str, str]) -> float | None:
    try:
        return float(metadata["seconds"])
    except (KeyError, ValueError):
        return None


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None

"""Records: what is known of an entry, kept in its own file, so that one read gives both and one rename publishes both.

Where a record stands depends on the extension, so that the file stays what its extension says:

    pickle, npy, npz, zip   behind the value; their readers stop before it
    parquet                 between the last page and the footer, where no reader looks
    json                    a last line of spaces and tabs, eight for a byte
    yaml                    a last line that is a comment
    anything else           there is no room: a hidden file beside it, ``.<name>.record``

The places are those of the seals of local files (`perscache.storage.seal`), which hold less.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeAlias

from perscache.errors import DamagedEntry

Record: TypeAlias = Mapping[str, str]

TAIL: Final = 64 * 1024
"""Bytes at the end of a file that mostly hold its record, with the footer behind it."""

_BLANKS: Final = frozenset({"json"})
_COMMENT: Final = frozenset({"yaml", "yml"})
_GAP: Final = frozenset({"parquet"})
_BEHIND: Final = frozenset({"pickle", "pkl", "cloudpickle", "npy", "npz", "zip"})


class NoRecord(DamagedEntry):
    """There is none, or no whole one."""


def beside(name: str) -> str | None:
    """The name of the file that keeps the record of the file ``name``; None where that has room itself."""
    if _extension(name) in _BLANKS | _COMMENT | _GAP | _BEHIND:
        return None
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}.{file}.record"


def join(name: str, value: bytes, record: Record) -> bytes:
    """The bytes of the file ``name``, which has room, with ``value`` and ``record``."""
    extension = _extension(name)
    if extension in _BLANKS:
        return b"\n".join((value, b"".join([_LINES[byte] for byte in _packed(record)]), b""))
    if extension in _COMMENT:
        return b"".join((value, _OPENING if value[-1:] in {b"", b"\n"} else _OPENING_LINE, to_text(record), b"\n"))
    at = (extension in _GAP and _footer(value)) or len(value)
    return b"".join((value[:at], _packed(record), value[at:]))


def split(name: str, data: bytes) -> tuple[bytes, Record]:
    """The value and the record of the file ``name``, which has room; ``data`` may also be no more than its end.

    NoRecord where there is none.
    """
    extension = _extension(name)
    try:
        if extension in _BLANKS | _COMMENT:
            return _split_line(data, comment=extension in _COMMENT)
        at = (extension in _GAP and _footer(data)) or len(data)
        start, record = _unpacked(data, at)
    except (ValueError, struct.error, zlib.error) as error:
        raise NoRecord(str(error)) from error
    return b"".join((data[:start], data[at:])), record


def to_text(record: Record) -> bytes:
    """A record in a file of its own."""
    return json.dumps(dict(record), separators=(",", ":")).encode("ascii")


def from_text(text: bytes) -> Record:
    """Such a record, read; NoRecord where it is none."""
    try:
        return _checked(json.loads(text))
    except ValueError as error:
        raise NoRecord(str(error)) from error


def created(record: Record) -> float:
    """When the entry was written, in seconds since the epoch by the writer's clock."""
    return datetime.fromisoformat(record["created"]).timestamp()


def _extension(name: str) -> str:
    return name.rpartition(".")[2]


# --- In the file.

_END: Final = struct.Struct("<I4s")
_MAGIC: Final = b"psr\x01"
_OPENING: Final = b"# perscache "
_OPENING_LINE: Final = b"\n#perscache "
_LINES: Final = tuple(bytes(9 if byte >> bit & 1 else 32 for bit in range(7, -1, -1)) for byte in range(256))
_DIGITS: Final = bytes({32: 48, 9: 49}.get(code, 120) for code in range(256))


def _packed(record: Record) -> bytes:
    packed = zlib.compress(to_text(record))
    return packed + _END.pack(len(packed), _MAGIC)


def _unpacked(data: bytes, end: int) -> tuple[int, Record]:
    """Where the record that ends at ``end`` begins, and what it says."""
    last = end - _END.size
    length, magic = _END.unpack(data[max(0, last) : end])
    start = last - length
    if magic != _MAGIC or start < 0:
        raise ValueError("nothing of ours")
    return start, _checked(json.loads(zlib.decompress(data[start:last])))


def _footer(data: bytes) -> int | None:
    """Where the footer of a parquet file begins; None where it has none, or where that is not in ``data``."""
    if len(data) < _END.size:
        return None
    length, magic = _END.unpack(data[-_END.size :])
    at = len(data) - _END.size - int(length)
    return at if magic in {b"PAR1", b"PARE"} and at > 0 else None


def _split_line(data: bytes, *, comment: bool) -> tuple[bytes, Record]:
    start = data.rfind(b"\n", 0, -1)
    line = data[start + 1 : -1]
    if start < 0 and not (comment and line.startswith(_OPENING)):
        raise ValueError("no last line")
    if not comment:
        packed = int(line.translate(_DIGITS), 2).to_bytes(-(-len(line) // 8), "big")
        return data[:start], _unpacked(packed, len(packed))[1]
    if line.startswith(_OPENING):
        return data[: start + 1], _checked(json.loads(line[len(_OPENING) :]))
    if line.startswith(_OPENING_LINE[1:]):
        return data[:start], _checked(json.loads(line[len(_OPENING_LINE) - 1 :]))
    raise ValueError("no comment of ours")


def _checked(said: object) -> Record:
    if not isinstance(said, dict) or not all(isinstance(text, str) for text in said.values()):
        raise ValueError("no record of ours")
    created({"created": "", **said})  # ValueError where it does not say
    return said

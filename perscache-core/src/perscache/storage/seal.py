"""Seals: the proof, kept with a stored file, that its bytes are what was written under its name.

A seal is the XXH3-64 hash of the serialized value beside the seconds that computing it took. The hash is seeded with
the entry's path and with those seconds, so that a file under another's name, or with another's time, is refused. Where
it lies depends on the extension, so that the file stays what its extension says:

    pickle, npy, npz, zip   16 bytes behind the value; their readers stop before it
    parquet                 the same 16 bytes between the last page and the footer, where no reader looks: the
                            footer is found from the end of the file, and pages by their offset from its start
    json                    white space behind the value: a line of 96 spaces and tabs, one for each bit
    yaml                    a comment at the end
    anything else           beside the bytes: an extended attribute where the file system has those,
                            else a hidden file ``.<name>.seal``

XXH3 guards against damage, not against forgery: https://github.com/Cyan4973/xxHash.
"""

from __future__ import annotations

import math
import os
import re
import struct
from abc import ABC, abstractmethod
from contextlib import suppress

from xxhash import xxh3_64, xxh3_64_intdigest

from ..buffers import Buffer, Form, Pieces
from .descriptor import fill, memory_for, pread, read_all, read_as, read_at_once, write_all, write_hashed, write_small

PIECEMEAL = 64 * 1024
"""From this many bytes on a value is read apart from its seal, which below costs less to cut off."""

AT_ONCE = 2 * 1024 * 1024
"""Up to so many bytes a value and its seal are read, and then hashed, by one call each: many calls cost more than they
save by hashing what is still in the processor's cache."""

_FLAGS: int = sum(getattr(os, flag, 0) for flag in ("O_BINARY", "O_NOINHERIT", "O_CLOEXEC", "O_NOFOLLOW"))


class BrokenSeal(Exception):
    """Some bytes are not what was written: ``sealed`` says whether there was a seal, ``value`` is what it enclosed."""

    def __init__(self, value: bytes, *, sealed: bool) -> None:
        """Of a file that holds ``value``, apart from its seal."""
        super().__init__("the seal does not match" if sealed else "there is no seal")
        self.value = value
        self.sealed = sealed


class Seal(ABC):
    """How the files of one extension are sealed."""

    text: bool = False
    """Whether people edit such files: a seal that does not match may then be an edit."""

    room: int = 0
    """Bytes that it adds to the file."""

    @abstractmethod
    def write(self, fd: int, value: Buffer | Pieces, seed: int, seconds: float | None, file: str) -> None:
        """Write ``value`` with its seal to ``fd``, which is empty and will be published as ``file``."""

    @abstractmethod
    def read(self, fd: int, size: int, seed: int, file: str, form: Form) -> tuple[Buffer, float | None]:
        """The value in ``fd``, a file of ``size`` bytes, and its seconds. BrokenSeal where it is not whole.

        It comes in ``form`` if it is of `PIECEMEAL` or more, else, and where it is broken, in bytes.
        """

    @abstractmethod
    def present(self, fd: int, size: int, file: str) -> bool:
        """Whether there is a seal, matching or not: the mark of a file that we wrote."""

    def removed(self, file: str) -> None:
        """Told that ``file`` is gone, so that nothing of its seal stays behind."""


# --- Inside the file.


class Tail(Seal):
    """A seal of a fixed length at the end of the file."""

    @abstractmethod
    def _tail(self, last: bytes, bits: int, digest: int) -> bytes:
        """The bytes that say ``bits``, the seconds, and ``digest`` behind a value whose ``last`` byte is this."""

    @abstractmethod
    def _parse(self, tail: bytes) -> tuple[int, int]:
        """The bits and the digest that ``tail`` says. ValueError where it says none."""

    def write(self, fd: int, value: Buffer | Pieces, seed: int, seconds: float | None, file: str) -> None:
        """Small values with their tail in one go."""
        bits = _bits(seconds)
        if len(value) < PIECEMEAL:
            small = bytes(value)
            write_small(fd, small + self._tail(small[-1:], bits, xxh3_64_intdigest(small, seed ^ bits)))
            return
        pieces, state = Pieces.of(value), xxh3_64(seed=seed ^ bits)
        write_hashed(fd, pieces, state)
        write_all(fd, self._tail(pieces.end(1), bits, state.intdigest()))

    def read(self, fd: int, size: int, seed: int, file: str, form: Form) -> tuple[Buffer, float | None]:
        """By one call where a copy of the value, or a view of it, is cheap; the largest values piece by piece."""
        end = max(0, size - self.room)
        if size <= AT_ONCE:
            if size < PIECEMEAL or form == "buffer":
                data = os.read(fd, size) if size < PIECEMEAL else read_at_once(fd, size)
                return self._open(data[:end], bytes(data[end:]), seed)
            if form == "bytes":
                return self._open(read_all(fd, end), os.read(fd, self.room), seed)
        try:
            bits, digest = self._parse(pread(fd, self.room, end))
        except ValueError:
            raise BrokenSeal(read_all(fd, size), sealed=False) from None
        state = xxh3_64(seed=seed ^ bits)
        value = read_as(form, fd, end, state)
        if state.intdigest() != digest:
            raise BrokenSeal(bytes(value), sealed=True)
        return value, _seconds(bits)

    def _open(self, value: Buffer, tail: bytes, seed: int) -> tuple[Buffer, float | None]:
        """The value of a file that ends with ``tail``, and its seconds."""
        try:
            bits, digest = self._parse(tail)
        except ValueError:
            raise BrokenSeal(bytes(value) + tail, sealed=False) from None
        if xxh3_64_intdigest(value, seed ^ bits) != digest:
            raise BrokenSeal(bytes(value), sealed=True)
        return value, _seconds(bits)

    def present(self, fd: int, size: int, file: str) -> bool:
        """By its shape."""
        if size < self.room:
            return False
        try:
            self._parse(pread(fd, self.room, size - self.room))
        except ValueError:
            return False
        return True


class Trailer(Tail):
    """16 bytes: a magic number with the version of the seal, seconds, hash."""

    room = 16

    def read(self, fd: int, size: int, seed: int, file: str, form: Form) -> tuple[Buffer, float | None]:
        """The path of most hits, so the usual case stands here in one piece."""
        data: Buffer
        if 16 <= size < PIECEMEAL:
            data = os.read(fd, size)
        elif form == "buffer" and PIECEMEAL <= size <= AT_ONCE:
            data = read_at_once(fd, size)
        else:
            return super().read(fd, size, seed, file, form)
        if len(data) == size:
            value = data[:-16]
            magic, bits, digest = _RECORD.unpack_from(data, size - 16)
            if xxh3_64_intdigest(value, seed ^ bits) == digest and magic == _MAGIC_NUMBER:
                return value, None if bits == _UNTIMED else _FLOAT.unpack_from(data, size - 12)[0]
        return self._open(data[: size - 16], bytes(data[size - 16 :]), seed)

    def _tail(self, last: bytes, bits: int, digest: int) -> bytes:
        return _record(bits, digest)

    def _parse(self, tail: bytes) -> tuple[int, int]:
        return _read_record(tail)


class Gap(Trailer):
    """The trailer of a parquet file stands before its footer; of what only claims to be parquet, at the end."""

    _end = struct.Struct("<I4s")

    def write(self, fd: int, value: Buffer | Pieces, seed: int, seconds: float | None, file: str) -> None:
        """Pages, seal, footer."""
        bits = _bits(seconds)
        pieces, state = Pieces.of(value), xxh3_64(seed=seed ^ bits)
        position = self._footer(pieces.end(8), len(pieces)) or len(pieces)
        pages, footer = pieces.split(position)
        write_hashed(fd, pages, state)
        os.lseek(fd, self.room, os.SEEK_CUR)
        write_hashed(fd, footer, state)
        os.lseek(fd, position, os.SEEK_SET)
        write_all(fd, _record(bits, state.intdigest()))

    def read(self, fd: int, size: int, seed: int, file: str, form: Form) -> tuple[Buffer, float | None]:
        """The value is exactly what was written."""
        found = self._gap(fd, size)
        if found is None:
            return super().read(fd, size, seed, file, form)
        position, bits, digest = found
        state = xxh3_64(seed=seed ^ bits)
        value: Buffer
        memory = None if size < PIECEMEAL else memory_for(form, size - self.room)
        if memory is None:
            data = memoryview(read_all(fd, size))
            value = b"".join((data[:position], data[position + self.room :]))
            state.update(value)
        else:
            filled = fill(fd, memory[:position], state)
            os.lseek(fd, self.room, os.SEEK_CUR)
            value = memory[: filled + fill(fd, memory[filled:], state)]
        if state.intdigest() != digest:
            raise BrokenSeal(bytes(value), sealed=True)
        return value, _seconds(bits)

    def present(self, fd: int, size: int, file: str) -> bool:
        """In the gap or at the end."""
        return self._gap(fd, size) is not None or super().present(fd, size, file)

    def _gap(self, fd: int, size: int) -> tuple[int, int, int] | None:
        """The seal before a footer, if there is one: where it stands, its bits and its digest."""
        footer = self._footer(pread(fd, 8, size - 8), size) if size >= self.room + 8 else None
        if footer is None or footer < self.room:
            return None
        position = footer - self.room
        try:
            return position, *self._parse(pread(fd, self.room, position))
        except ValueError:
            return None

    def _footer(self, end: bytes, size: int) -> int | None:
        if len(end) != 8:
            return None
        length: int
        length, magic = self._end.unpack(end)
        position = size - 8 - length
        return position if magic in {b"PAR1", b"PARE"} and position >= 4 else None


class Blanks(Tail):
    """White space behind a JSON value: spaces (0) and tabs (1), which every JSON reader skips."""

    text = True
    room = 98
    _bytes = tuple(bytes(9 if byte >> bit & 1 else 32 for bit in range(7, -1, -1)) for byte in range(256))
    _digits = bytes({32: 48, 9: 49}.get(code, 120) for code in range(256))

    def _tail(self, last: bytes, bits: int, digest: int) -> bytes:
        number = (bits << 64 | digest).to_bytes(12, "big")
        return b"\n%b\n" % b"".join([self._bytes[byte] for byte in number])

    def _parse(self, tail: bytes) -> tuple[int, int]:
        if len(tail) != 98 or tail[0] != 10 or tail[97] != 10:
            raise ValueError("no line of blanks")
        number = int(tail[1:97].translate(self._digits), 2)
        return number >> 64, number & 0xFFFFFFFFFFFFFFFF


class Comment(Tail):
    """A last line that YAML readers skip. It begins with a line feed where the value does not end with one."""

    text = True
    room = 40
    _form = re.compile(rb"(?:# perscache 1 |\n#perscache 1 )([0-9a-f]{8}) ([0-9a-f]{16})\n")

    def _tail(self, last: bytes, bits: int, digest: int) -> bytes:
        opening = b"# perscache 1" if last in (b"", b"\n") else b"\n#perscache 1"
        return b"%b %08x %016x\n" % (opening, bits, digest)

    def _parse(self, tail: bytes) -> tuple[int, int]:
        if not (said := self._form.fullmatch(tail)):
            raise ValueError("no comment of ours")
        return int(said[1], 16), int(said[2], 16)


# --- Beside the file.


class Beside(Seal):
    """For formats without room: an extended attribute, or a hidden file where the file system keeps none.

    The hidden file holds one record for each writing, added before the value is published: whichever of two writers
    comes last, its seal is there.
    """

    text = True
    _attribute = "user.perscache"
    _most_records = 16

    def write(self, fd: int, value: Buffer | Pieces, seed: int, seconds: float | None, file: str) -> None:
        """The value as it is, its seal on the descriptor or in the hidden file."""
        bits = _bits(seconds)
        state = xxh3_64(seed=seed ^ bits)
        write_hashed(fd, Pieces.of(value), state)
        record = _record(bits, state.intdigest())
        if hasattr(os, "setxattr"):
            with suppress(OSError):
                os.setxattr(fd, self._attribute, record)
                return
        self._add(record, self._hidden(file), os.fstat(fd).st_mode & 0o777)

    def read(self, fd: int, size: int, seed: int, file: str, form: Form) -> tuple[Buffer, float | None]:
        """Any of the records may match."""
        records = self._records(fd, file)
        seals: list[tuple[int, int, xxh3_64]] = []
        for record in records:
            with suppress(ValueError):
                bits, digest = _read_record(record)
                seals.append((bits, digest, xxh3_64(seed=seed ^ bits)))
        value = read_as(form if size >= PIECEMEAL else "bytes", fd, size, *(state for _, _, state in seals))
        for bits, digest, state in seals:
            if state.intdigest() == digest:
                return value, _seconds(bits)
        raise BrokenSeal(bytes(value), sealed=bool(records))

    def present(self, fd: int, size: int, file: str) -> bool:
        """As an attribute, or in a hidden file."""
        return bool(self._records(fd, file))

    def removed(self, file: str) -> None:
        """Its hidden file goes with it."""
        with suppress(OSError):
            os.unlink(self._hidden(file))

    @staticmethod
    def _hidden(file: str) -> str:
        folder, name = os.path.split(file)
        return f"{folder}{os.sep}.{name}.seal"

    def _records(self, fd: int, file: str) -> list[bytes]:
        if hasattr(os, "getxattr"):
            with suppress(OSError):
                return [os.getxattr(fd, self._attribute)]
        try:
            hidden = os.open(self._hidden(file), os.O_RDONLY | _FLAGS)
        except OSError:
            return []
        try:
            records = os.read(hidden, 2 * self._most_records * _RECORD.size)
        finally:
            os.close(hidden)
        return [records[at : at + _RECORD.size] for at in range(0, len(records), _RECORD.size)]

    def _add(self, record: bytes, hidden: str, mode: int) -> None:
        fd = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _FLAGS, mode)
        try:
            size = os.fstat(fd).st_size
            # A killed or failed write may leave a torn record, and each replacement adds one: begin anew now and then.
            if size % _RECORD.size or size >= self._most_records * _RECORD.size:
                os.ftruncate(fd, 0)
            write_all(fd, record)
        finally:
            os.close(fd)


# --- By extension.

_TRAILER, _GAP, _BLANKS, _COMMENT, _BESIDE = Trailer(), Gap(), Blanks(), Comment(), Beside()
_BY_EXTENSION: dict[str, Seal] = {
    **dict.fromkeys(("pickle", "pkl", "cloudpickle", "npy", "npz", "zip"), _TRAILER),
    "parquet": _GAP,
    "json": _BLANKS,
    **dict.fromkeys(("yaml", "yml"), _COMMENT),
}


def seal_of(name: str) -> Seal:
    """How a file called ``name`` is sealed: by what follows the last dot."""
    return _BY_EXTENSION.get(name.rpartition(".")[2], _BESIDE)


# --- Bytes.

_RECORD = struct.Struct("<IIQ")
_MAGIC = b"psc\x01"
_MAGIC_NUMBER = int.from_bytes(_MAGIC, "little")
_BITS, _FLOAT = struct.Struct("<I"), struct.Struct("<f")
_UNTIMED = 0x7FC00000  # the quiet NaN
_LONGEST = 3.4e38


def _record(bits: int, digest: int) -> bytes:
    return _RECORD.pack(_MAGIC_NUMBER, bits, digest)


def _read_record(record: bytes) -> tuple[int, int]:
    if len(record) != _RECORD.size:
        raise ValueError("cut off")
    bits: int
    digest: int
    magic, bits, digest = _RECORD.unpack(record)
    if magic != _MAGIC_NUMBER:
        raise ValueError("no record of ours")
    return bits, digest


def _bits(seconds: float | None) -> int:
    if seconds is None or math.isnan(seconds):
        return _UNTIMED
    return int.from_bytes(_FLOAT.pack(max(0.0, min(seconds, _LONGEST))), "little")


def _seconds(bits: int) -> float | None:
    if bits == _UNTIMED:
        return None
    seconds: float
    (seconds,) = _FLOAT.unpack(_BITS.pack(bits))
    return seconds

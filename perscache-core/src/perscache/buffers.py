"""Bytes where they lie: values in several pieces, and the forms in which a value's bytes can be given back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

Buffer: TypeAlias = "bytes | memoryview"

Form: TypeAlias = Literal["bytes", "buffer", "mapped", "private"] | Callable[[int], memoryview]
"""How a serializer is best given the bytes of a value:

    bytes       as bytes
    buffer      as bytes or a memoryview, whichever is cheaper
    mapped      as a memoryview of the file itself, read-only, where there is a file; else as any buffer
    private     the same, but it can be written to: what is written stays in the process and never reaches the file
    a function  in the writable memory, of so many bytes, that it gives: what is read is put there once, proven to be
                what was written, and is the value's own. Where there is nothing to be read, as any buffer.
"""


class Pieces:
    """Bytes that lie in several buffers: ``len`` counts them all, ``bytes`` joins them."""

    __slots__ = ("_size", "buffers")

    @classmethod
    def of(cls, data: Buffer | Pieces) -> Pieces:
        """``data`` in pieces, if only in one."""
        return data if isinstance(data, Pieces) else cls((data,))

    def __init__(self, buffers: Iterable[Buffer]) -> None:
        """TypeError for what is no buffer, or has gaps."""
        views = [memoryview(buffer) for buffer in buffers]
        self.buffers: tuple[memoryview, ...] = tuple(view.cast("B") for view in views if view.nbytes)
        self._size = sum(map(len, self.buffers))

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self.buffers)

    def end(self, size: int) -> bytes:
        """The last ``size`` bytes, or all where there are fewer."""
        found = b""
        for piece in reversed(self.buffers):
            if len(found) == size:
                break
            found = bytes(piece[len(found) - size :]) + found
        return found

    def split(self, position: int) -> tuple[Pieces, Pieces]:
        """What lies before ``position``, and what behind; nothing is copied."""
        before: list[memoryview] = []
        after: list[memoryview] = []
        for piece in self.buffers:
            before.append(piece[: max(0, position)])
            after.append(piece[max(0, position) :])
            position -= len(piece)
        return Pieces(before), Pieces(after)


def overridden(cls: type, plain: Iterable[str], richer: str) -> bool:
    """Whether ``cls`` gives one of the methods ``plain`` more lately than ``richer``.

    Whoever overrides a method knows nothing of the richer one, which would go past what it does.
    """
    for base in cls.__mro__:
        if richer in vars(base):
            return False
        if any(name in vars(base) for name in plain):
            return True
    return False

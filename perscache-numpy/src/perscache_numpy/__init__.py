"""Cached results as numpy's own files: the serializer ``numpy`` of perscache."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

from perscache.errors import ConfigurationError, SerializationError
from perscache.plugins import Buffer, Form, Serializer, hookimpl
from perscache.serializers.places import type_name

__version__ = "1.0.0"

PERSCACHE_API = 1

MmapMode: TypeAlias = Literal["r", "c"]


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The serializer of this distribution."""
    return [NumpySerializer]


def _memory(size: int) -> memoryview:
    import numpy as np

    return np.empty(size, np.uint8).data


class NumpySerializer(Serializer):
    """numpy arrays as ``.npy`` files, which ``numpy.load`` opens. Loading runs no code.

    Arrays of all types but Python objects come back with their type, byte order, shape and order of axes, read into
    memory of their own. Storing one copies nothing, unless it has gaps.

    With ``mmap_mode`` a hit on local files gives the file itself, mapped into memory, as ``numpy.load`` does: nothing
    of it is read before it is used, once all its bytes have been verified. ``"r"`` gives an array that cannot be
    written to, ``"c"`` one whose changes stay in the process. A miss gives the array that the function returned. A
    mapped array outlives its entry. Cutting its file in place, which perscache never does, ends the process (SIGBUS).
    """

    extension = "npy"
    name = "numpy"
    safe = True
    reads: Form = staticmethod(_memory)

    def __init__(self, mmap_mode: MmapMode | None = None) -> None:
        if mmap_mode is not None and mmap_mode not in _MAPPED:
            raise ConfigurationError(
                f"mmap_mode={mmap_mode!r}: choose None, 'r' (an array that cannot be written to) or 'c' (one whose "
                "changes stay in the process); no mode changes the stored file"
            )
        self.mmap_mode = mmap_mode
        if mmap_mode is not None:
            self.reads = _MAPPED[mmap_mode]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mmap_mode={self.mmap_mode!r})"

    def dumps(self, data: Any) -> bytes:
        """The file of an array.

        Raises TypeError for what is no array, SerializationError for one that a file cannot give back.
        """
        return b"".join(self.buffers(data))

    def buffers(self, data: Any) -> Sequence[Buffer]:
        """The same in two pieces: the header, and the array's own memory."""
        _check_is_array(data)
        from . import npy

        return npy.write(data)

    def loads(self, data: Buffer) -> Any:
        """The array of the file, over ``data`` itself where that is the array's to keep."""
        from . import npy

        array = npy.read(data)
        if self.mmap_mode == "r":
            array.flags.writeable = False
        elif not array.flags.writeable:
            array = array.copy(order="K")
        return array

    def changes(self, data: Any) -> str | None:
        """What of an array's type is lost: a subclass that adds nothing to its elements, and records."""
        kind = type_name(type(data))
        if not _is_plain(data):
            return None  # dumps refuses it
        if kind != "numpy.ndarray":
            return f"a {kind} becomes a numpy.ndarray"
        return "a dtype of records becomes one of plain fields" if data.dtype.type is _numpy().record else None


_MAPPED: Final[dict[str, Form]] = {"r": "mapped", "c": "private"}

_WAY_OUT: Final = 'use serializer="cloudpickle", which stores nearly everything.'

_PLAIN: Final = ("ndarray", "memmap", "matrix", "recarray")
"""Types of arrays that say nothing but how their elements are reached."""


def _check_is_array(data: Any) -> None:
    if _is_plain(data):
        return
    kind, numpy = type_name(type(data)), _numpy()
    if isinstance(data, getattr(numpy, "ndarray", ())):
        raise SerializationError(f"numpy's files hold plain arrays, and would lose what a {kind} adds; {_WAY_OUT}")
    way_out = "return numpy.asarray(value), or " if isinstance(data, getattr(numpy, "generic", ())) else ""
    raise TypeError(f"numpy's files hold arrays, and this is a {kind}; {way_out}{_WAY_OUT}")


def _is_plain(data: Any) -> bool:
    return type(data) in [getattr(_numpy(), name, None) for name in _PLAIN]


def _numpy() -> Any:
    """numpy, if anybody has imported it: else it has made no value."""
    return sys.modules.get("numpy")

"""The contract of a serializer: a value to bytes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..buffers import Buffer, Form, overridden


class Serializer(ABC):
    """Turns a value into bytes and the bytes into an equal value.

    ``extension``, ``dumps`` and ``loads`` make a serializer; the rest has defaults.

        class ReprSerializer(Serializer):
            extension = "txt"

            def dumps(self, data):
                return repr(data).encode()

            def loads(self, data):
                return ast.literal_eval(data.decode())

    Heavy libraries are imported inside the methods, so that naming the serializer costs nothing.
    """

    extension: ClassVar[str]
    """The ending of the stored files, without the dot: letters, digits and single inner dots."""

    name: ClassVar[str] = ""
    """What users write, ``"json"``; part of every key. A class without a name is known by its own."""

    version: ClassVar[int] = 1
    """Part of every key: raise it when files of the former version must not be read any more."""

    safe: ClassVar[bool] = False
    """Whether loading bytes from a stranger cannot run code."""

    reads: Form = "bytes"
    """In which form `loads` is best given the bytes of a large value: see `perscache.buffers.Form`.

    A serializer that says another than "bytes" takes any buffer: small values, and some storages, come as they are. A
    writable memoryview is the value's to keep, any other buffer others may hold too. Below a class that says it, one
    that overrides ``loads`` says it again, or is given bytes.
    """

    @abstractmethod
    def dumps(self, data: Any) -> bytes:
        """The bytes of ``data``. Any exception means that this value cannot be stored."""

    @abstractmethod
    def loads(self, data: bytes) -> Any:
        """The value of ``data``, of the same type and order as was given to `dumps`.

        Any exception means that the bytes are damaged: the call is then a miss.
        """

    def buffers(self, data: Any) -> Sequence[Buffer]:
        """The bytes of `dumps` in pieces, of which large ones may lie where they are: in ``data`` itself.

        Asked for instead of `dumps`, so that storing a large value needs no copy of it; but not of a class that
        overrides ``dumps`` only.
        """
        return (self.dumps(data),)

    def changes(self, data: Any) -> str | None:
        """What `loads` would give back differently, in one phrase ("a tuple becomes a list at [0]"), or None.

        Asked once before each store. The default trusts `dumps` to refuse what it cannot keep.
        """
        return None

    @property
    def identity(self) -> str:
        """The serializer's part of a key: its name and version."""
        return f"{self.name or type(self).__name__}:{self.version}"


# A class below one that has the richer forms knows only what it overrides, and has its way.


def in_pieces(serializer: Serializer) -> bool:
    """Whether ``serializer`` is asked for `Serializer.buffers`."""
    return not overridden(type(serializer), ["dumps"], "buffers")


def form_for(serializer: Serializer) -> Form:
    """The form in which ``serializer`` is given its bytes."""
    return "bytes" if overridden(type(serializer), ["loads"], "reads") else serializer.reads


def make_serializer(
    class_name: str,
    ext: str,
    dumps_fn: Callable[[Any], bytes],
    loads_fn: Callable[[bytes], Any],
) -> type[Serializer]:
    """A serializer class named ``class_name`` from two functions; files end in ``ext``."""

    def dumps(_self: Serializer, data: Any) -> bytes:
        return dumps_fn(data)

    def loads(_self: Serializer, data: bytes) -> Any:
        return loads_fn(data)

    return type(class_name, (Serializer,), {"extension": ext, "dumps": dumps, "loads": loads})

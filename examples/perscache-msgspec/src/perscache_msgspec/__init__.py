"""Cached results as MessagePack, through msgspec: the serializer ``msgpack`` for perscache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from perscache.errors import SerializationError
from perscache.plugins import Buffer, Form, Serializer, hookimpl

__version__ = "0.1.0"

PERSCACHE_API = 1


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The serializer of this distribution."""
    return [MsgpackSerializer]


class MsgpackSerializer(Serializer):
    """Values of ``type`` as MessagePack, which other programs read too. Loading runs no code.

    Without a type it keeps None, booleans, integers of 64 bits, floats, text, bytes, lists, dicts and datetimes in UTC;
    with one, all that msgspec can decode as that type: structs, dataclasses, tuples, sets, enumerations, UUIDs, …
    """

    name = "msgpack"
    extension = "msgpack"
    safe = True
    reads: Form = "buffer"

    def __init__(self, type: Any = Any) -> None:
        self.type = type

    @property
    def identity(self) -> str:
        """With the type, of which the bytes say nothing."""
        return super().identity if self.type is Any else f"{super().identity}:{_spelled(self.type)}"

    def dumps(self, data: Any) -> bytes:
        """The MessagePack of ``data``. Raises SerializationError for what would come back as something else."""
        import msgspec

        try:
            packed = msgspec.msgpack.encode(data)
            back = self.loads(packed)
        except Exception as error:
            raise SerializationError(f"msgspec cannot keep this {_kind(data)}: {error}; {_WAY_OUT}") from error
        if not _same(back, data):
            raise SerializationError(f"this {_kind(data)} would come back as another value; {_WAY_OUT}")
        return packed

    def loads(self, data: Buffer) -> Any:
        """The value of the bytes. Raises msgspec.ValidationError where they are of another type."""
        import msgspec

        return msgspec.msgpack.decode(data, type=self.type)


_WAY_OUT = 'say its type, MsgpackSerializer(list[Trade]), or use serializer="cloudpickle"'


def _kind(value: object) -> str:
    return type(value).__name__


def _spelled(kind: Any) -> str:
    """A type as it is told from others: ``list[app.Trade]``."""
    return f"{kind.__module__}.{kind.__qualname__}" if type(kind) is type(object) else repr(kind)


def _same(left: Any, right: Any) -> bool:
    """Whether two values are equal in types, too, and in order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict):
        return _same([*left], [*right]) and _same([*left.values()], [*right.values()])
    if isinstance(left, (set, frozenset)):
        return bool(left == right) and Counter(map(type, left)) == Counter(map(type, right))
    names = getattr(left, "__struct_fields__", None) or (
        [field.name for field in fields(left)] if is_dataclass(left) else []
    )
    if names:
        return all(_same(getattr(left, name), getattr(right, name)) for name in names)
    # By ==, NaN is not itself, and a time in Berlin is one in UTC.
    return bool(left == right if isinstance(left, (str, bytes)) else repr(left) == repr(right))

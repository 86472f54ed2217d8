"""The serializers that need nothing else: pickle, cloudpickle and JSON."""

from __future__ import annotations

import json
import pickle
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any, Protocol, TypeVar

from ..buffers import Buffer
from ..errors import SerializationError
from ..plugins.specs import hookimpl
from .base import Serializer
from .places import SCALARS, odd_parts, type_name

PERSCACHE_API = 1


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The built-in serializers, through the same door as everybody's."""
    return [CloudPickleSerializer, PickleSerializer, JSONSerializer]


class PickleSerializer(Serializer):
    """Whatever the standard library's pickle can carry. Loading runs code: only for files that you trust."""

    extension = "pickle"
    name = "pickle"
    reads = "buffer"

    def dumps(self, data: Any) -> bytes:
        """The pickle of ``data`` in the newest protocol.

        Raises SerializationError where pickle cannot; the cause is chained.
        """
        return _dump(data, BytesIO).getvalue()

    def buffers(self, data: Any) -> Sequence[Buffer]:
        """The same, with large arrays and bytes left where they lie."""
        return _dump(data, _Pieces).written

    def loads(self, data: Buffer) -> Any:
        """The value of the pickle."""
        try:
            return pickle.loads(data)
        except ModuleNotFoundError as error:
            return _of_main_script(data, error)


class CloudPickleSerializer(Serializer):
    """Nearly every value, lambdas and local classes included. Loading runs code: only for files that you trust.

    Plain pickle comes first and cloudpickle takes what it refuses. A class or function that can be found by its name,
    in the main script too, is stored as that name and comes back as itself, or not at all: then the call is a miss.
    What is stored by value holds byte code, which only the same Python version may run: elsewhere it is a miss too.
    """

    extension = "pickle"
    name = "cloudpickle"
    reads = "buffer"

    def dumps(self, data: Any) -> bytes:
        """The pickle of ``data``. Raises SerializationError where cloudpickle cannot; the cause is chained."""
        return _cloud_dump(data, BytesIO).getvalue()

    def buffers(self, data: Any) -> Sequence[Buffer]:
        """The same, with large arrays and bytes left where they lie."""
        return _cloud_dump(data, _Pieces).written

    def loads(self, data: Buffer) -> Any:
        """The value of the pickle.

        Raises SerializationError for byte code of another Python version.
        """
        # Every pickle ends with a full stop, after which readers look no further.
        if data[-1:] != pickle.STOP and data[-len(_PYTHON) :] != _PYTHON:
            message = f"the pickle holds functions or classes of another Python than {_PYTHON[1:].decode()}"
            raise SerializationError(message)
        try:
            return pickle.loads(data)
        except ModuleNotFoundError as error:
            return _of_main_script(data, error)


class JSONSerializer(Serializer):
    """None, booleans, numbers, strings, lists and dicts with string keys, as a UTF-8 text that people can read.

    A value that fits stands on one line, a longer one has a line for each of its items. NaN and infinities are
    written as Python's json and JavaScript do. Strings with lone surrogates (undecodable file names) survive.
    """

    extension = "json"
    name = "json"
    safe = True

    def dumps(self, data: Any) -> bytes:
        """The JSON text of ``data``. Raises SerializationError that says which part has no JSON form."""
        try:
            text = _compact(data)
            if len(text) > _WIDTH:
                text = _broken(data, text, depth=50 if len(text) <= _LARGE else 1)
        except Exception as error:
            raise SerializationError(_refusal(data, error)) from error
        try:
            return text.encode()
        except UnicodeEncodeError:
            return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode(errors="surrogatepass")

    def loads(self, data: bytes) -> Any:
        """The value of the text."""
        return json.loads(str(data, "utf-8", "surrogatepass"))

    def changes(self, data: Any) -> str | None:
        """What JSON would give back as something else: tuples, keys that are no strings, subclasses."""
        for part in odd_parts(data):
            kind = _json_type(part.value)
            if part.is_key and kind in _KEY_TYPES:
                return f"{part} becomes a string"
            if kind and not part.is_key:
                return f"{part} becomes {'an' if kind is int else 'a'} {kind.__name__}"
        return None


# --- Pickle


class _File(Protocol):
    def write(self, piece: Any, /) -> int: ...


F = TypeVar("F", bound=_File)


class _Pieces:
    """A file that keeps what is written to it as it comes."""

    def __init__(self) -> None:
        self.written: list[Buffer] = []

    def write(self, piece: Any) -> int:
        """Picklers write what is larger than 64 KB by itself, without a copy."""
        if isinstance(piece, pickle.PickleBuffer):
            piece = piece.raw()
        elif not isinstance(piece, bytes):
            # A bytearray: while a view of it is held its owner could not append to it.
            piece = bytes(piece)
        self.written.append(piece)
        return len(piece)


def _dump(data: Any, make_file: Callable[[], F]) -> F:
    """A file that holds the pickle of ``data``."""
    file = make_file()
    try:
        pickle.Pickler(file, pickle.HIGHEST_PROTOCOL).dump(data)
    except Exception as error:
        message = f'pickle cannot store this {type_name(type(data))}: {error}. serializer="cloudpickle" stores more.'
        raise SerializationError(message) from error
    return file


def _cloud_dump(data: Any, make_file: Callable[[], F]) -> F:
    """The same, with cloudpickle for what plain pickle refuses."""
    if not _pickled_by_value():
        try:
            return _dump(data, make_file)
        except SerializationError:  # cloudpickle then says what is wrong, if anything is
            pass
    try:
        file = make_file()
        _name_pickler(file).dump(data)
        file.write(_PYTHON)
    except Exception as error:
        raise SerializationError(f"cloudpickle cannot store this {type_name(type(data))}: {error}") from error
    return file


def _of_main_script(data: Buffer, error: ModuleNotFoundError) -> Any:
    """The value of a pickle that failed by ``error``, because it names the main script as spawned workers do."""
    if error.name != "__mp_main__":
        raise error
    sys.modules["__mp_main__"] = sys.modules["__main__"]  # As it is once multiprocessing is imported.
    return pickle.loads(data)


# CPython 3.11 to 3.13 take each other's code objects and then run them wrongly.
_PYTHON = f"#{sys.implementation.cache_tag}".encode()


def _pickled_by_value() -> bool:
    """Whether the user asked cloudpickle to store some modules by value, which plain pickle would not know."""
    cloudpickle = sys.modules.get("cloudpickle")
    return bool(cloudpickle and cloudpickle.list_registry_pickle_by_value())


def _name_pickler(file: _File) -> Any:
    """A cloudpickle that stores the main script's classes and functions as names.

    A copy of a class would fail isinstance.
    """
    from cloudpickle import Pickler  # type: ignore[import-untyped]

    class NamePickler(Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            if getattr(obj, "__module__", None) == "__main__" and _found_by_name(obj):
                return NotImplemented
            return super().reducer_override(obj)

    return NamePickler(file, pickle.HIGHEST_PROTOCOL)


def _found_by_name(obj: Any) -> bool:
    found: Any = sys.modules["__main__"]
    for name in getattr(obj, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is obj


# --- JSON

_WIDTH = 100  # characters
_LARGE = 200_000  # characters; a longer text is broken at its outermost level only, for time

_KEY_TYPES = (str, int, float, bool, type(None))

# All but the second of two, which would be read as one character with the first.
_SURROGATE = re.compile("(?<![\ud800-\udbff])[\udc00-\udfff]|[\ud800-\udbff]")

_compact = json.JSONEncoder(ensure_ascii=False).encode


def _broken(value: Any, text: str, depth: int, indent: str = "") -> str:
    """The text of ``value``, in lines if it is too long for one. Lists of scalars stay on theirs."""
    inner = indent + "  "
    if depth == 0 or len(inner) + len(text) <= _WIDTH:
        return text
    if isinstance(value, dict):
        names = [_compact({key: None})[1:-5] for key in value]
        items, marks = list(value.values()), "{}"
    elif isinstance(value, (list, tuple)) and not SCALARS.issuperset(map(type, value)):
        names = [""] * len(value)
        items, marks = list(value), "[]"
    else:
        return text
    lines = [name + _broken(item, _compact(item), depth - 1, inner) for name, item in zip(names, items, strict=True)]
    return f"{marks[0]}\n{inner}" + f",\n{inner}".join(lines) + f"\n{indent}{marks[1]}"


def _json_type(value: Any) -> type | None:
    """What JSON makes of a value that is not exactly one of its types; None if it refuses the value."""
    for base, result in ((str, str), (int, int), (float, float), (list, list), (tuple, list), (dict, dict)):
        if isinstance(value, base):
            return result
    return type(None) if value is None else None


def _refusal(data: Any, error: Exception) -> str:
    way_out = 'serializer="cloudpickle" stores nearly everything.'
    for part in odd_parts(data):
        kind = _json_type(part.value)
        if kind is None or (part.is_key and kind not in _KEY_TYPES):
            return f"JSON has no form for {part}; {way_out}"
    return f"JSON cannot store this {type_name(type(data))}: {error}; {way_out}"

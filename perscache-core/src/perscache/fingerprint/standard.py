"""How values of Python's own types and of what derives from them are taken apart."""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib
import io
import operator
import pathlib
import re
import struct
import types
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping
from marshal import dumps
from operator import attrgetter
from typing import Any

from ..errors import UnkeyableError
from .containers import (
    Elements,
    Pairs,
    buffer,
    by_handler,
    by_rule,
    of_dict,
    of_elements,
    of_list,
    of_pairs,
    of_set,
    of_stream,
    of_tuple,
    tagged,
)
from .encoder import Build, Pass, Stream
from .objects import build_for_objects, by_parts, slots_of, state_of, without_computed

_LONG_BYTES = 4096
_SLAB = 4 << 20


def build_for_family(kind: type) -> Build:
    """How values of ``kind`` are encoded: as its class says, else its family's rule, else its fields or its state."""
    if getattr(kind, "__cache_key__", None):
        return by_rule(lambda value: value.__cache_key__())
    if issubclass(kind, type):
        return _named
    if issubclass(kind, enum.Enum):
        return _enum_member
    if kind.__name__ in {"cython_function_or_method", "fused_cython_function"}:
        return _named
    if issubclass(kind, tuple) and hasattr(kind, "n_unnamed_fields"):
        return by_parts(state_of)  # as of os.stat: there is more to it than its items
    if issubclass(kind, tuple) and hasattr(kind, "_fields") and kind.__dictoffset__ == 0:
        names = [f".{name}" for name in getattr(kind, "_fields", ())]
        return by_parts(lambda value: tuple(tuple.__iter__(value)), *names)
    for base in kind.__mro__:
        if base.__qualname__ == "ZoneInfo" and base.__module__.startswith("zoneinfo"):
            return by_parts(lambda value: (_zone(value),))
        if handler := _library_handler(base):
            return by_handler(handler, _seen_as(kind))
        if base in _FAMILIES:
            return _FAMILIES[base]
    return build_for_objects(kind)


def _library_handler(base: type) -> Callable[[Any], Any] | None:
    """The handler of a library's type, found by its dotted name, so that no library is imported for it."""
    top = base.__module__.partition(".")[0]
    if top not in _LIBRARIES:
        return None
    handlers: Mapping[str, Callable[[Any], Any]] = importlib.import_module(_LIBRARIES[top], __package__).HANDLERS
    return handlers.get(f"{top}.{base.__qualname__}")


def _seen_as(kind: type) -> type:
    """The type that stands in keys for ``kind``: where an array lies is no part of its value."""
    return kind.__mro__[1] if (kind.__module__, kind.__qualname__) == ("numpy", "memmap") else kind


_LIBRARIES = {
    "numpy": ".arrays",
    "scipy": ".arrays",
    "torch": ".arrays",
    "pandas": ".frames",
    "xarray": ".frames",
    "polars": ".polars_columns",
    "pyarrow": ".arrow_columns",
    "random": ".standard",
    "sqlite3": ".standard",
}


# --- Values that are one buffer, or no value at all.


def _bytes(run: Pass, value: bytes) -> bytes:
    return dumps(value, 2) if len(value) <= _LONG_BYTES else run.node(value, _long_bytes)


def _long_bytes(run: Pass, value: bytes) -> bytes:
    return b"b" + buffer(run, [value])


def _view(value: memoryview) -> Any:
    return (value.format, value.shape, Stream(_contiguous(value)))


def _contiguous(value: memoryview) -> Iterator[Any]:
    if value.c_contiguous:
        yield value
    elif value.ndim == 1:
        rows = max(1, _SLAB // value.itemsize)
        for start in range(0, len(value), rows):
            yield value[start : start + rows].tobytes()
    else:
        yield value.tobytes()


def _named(run: Pass, value: Any) -> bytes:
    return b"C" + run.encoder.identify(value)


# --- Families: a type and its subclasses, which add their fields.


def _enum_member(run: Pass, value: enum.Enum) -> bytes:
    return run.node(value, _member_of_enum)


def _member_of_enum(run: Pass, value: enum.Enum) -> bytes:
    try:
        return tagged(run, type(value), run.expand(value, attrgetter("_name_", "_value_")))
    except UnkeyableError:
        return tagged(run, type(value), (value._name_,))  # which tells it from the others, whatever its value is


def _fields_of(value: Any) -> dict[str, Any] | None:
    """What a subclass of a built-in type adds to it; None for nothing."""
    fields = dict(getattr(value, "__dict__", ()))
    for base in type(value).__mro__:
        if base in _FAMILIES:
            break
        fields.update(slots_of(base, value))
    return without_computed(type(value), fields) or None


def _subclass_of(plain: Callable[[Any], Any]) -> Build:
    return by_parts(lambda value: (plain(value), _fields_of(value)), "", ".")


def _array(value: Any) -> Any:
    data = array.array(value.typecode, value)
    return (value.typecode, data.itemsize, data.tolist() if value.typecode in "uw" else memoryview(data.tobytes()))


def _datetime(value: dt.datetime) -> Any:
    # By number: texts are what subclasses change.
    day, time = (value.year, value.month, value.day), (value.hour, value.minute, value.second, value.microsecond)
    return (*day, *time, value.fold, value.tzinfo, _fields_of(value))


def _time(value: dt.time) -> Any:
    return (value.hour, value.minute, value.second, value.microsecond, value.fold, value.tzinfo, _fields_of(value))


def _timezone(value: dt.timezone) -> Any:
    return (value.utcoffset(None), value.tzname(None))


def _zone(value: Any) -> str:
    if value.key is None:
        raise UnkeyableError("was made from a file, without a name")
    return str(value.key)


def _path(value: pathlib.PurePath) -> Any:
    return (value.as_posix(), _fields_of(value))


def _partial(value: functools.partial[Any]) -> Any:
    return (value.func, value.args, value.keywords, _fields_of(value))


def _builtin(run: Pass, value: Any) -> bytes:
    """A built-in function, or a method of a built-in value such as ``[].append``."""
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType) or type(owner).__name__ == "PyCapsule":
        return b"C" + run.encoder.identify(value)
    return _BOUND(run, value)


_BOUND = by_handler(lambda value: (value.__name__, value.__self__))


def _caching(value: Any) -> Any:
    return (value.__wrapped__, value.cache_parameters())


def _text_io(value: Any) -> Any:
    return (value.getvalue(), value.tell())


_FAMILIES: dict[type, Build] = {
    str: _subclass_of(str.__str__),
    int: _subclass_of(int.__int__),
    float: _subclass_of(float.__float__),
    complex: _subclass_of(complex.__complex__),
    bytes: _subclass_of(bytes.__bytes__),
    bytearray: _subclass_of(lambda value: memoryview(bytes(value))),
    list: _subclass_of(lambda value: list(list.__iter__(value))),
    tuple: _subclass_of(lambda value: tuple(tuple.__iter__(value))),
    set: _subclass_of(lambda value: set(set.__iter__(value))),
    frozenset: _subclass_of(lambda value: frozenset(frozenset.__iter__(value))),
    collections.OrderedDict: _subclass_of(lambda value: list(collections.OrderedDict.items(value))),
    collections.defaultdict: _subclass_of(lambda value: (value.default_factory, Pairs(dict.items(value)))),
    dict: _subclass_of(lambda value: Pairs(dict.items(value))),
    collections.deque: _subclass_of(lambda value: (value.maxlen, list(collections.deque.__iter__(value)))),
    array.array: _subclass_of(_array),
    dt.datetime: by_handler(_datetime),
    dt.date: _subclass_of(dt.date.isoformat),
    dt.time: by_handler(_time),
    dt.timedelta: _subclass_of(lambda value: (value.days, value.seconds, value.microseconds)),
    dt.timezone: by_handler(_timezone),
    # Whether the exponent's letter is a capital hangs on the context.
    decimal.Decimal: _subclass_of(lambda value: decimal.Decimal.__str__(value).upper()),
    uuid.UUID: _subclass_of(lambda value: value.int),
    pathlib.PurePath: by_handler(_path),
    pathlib.PureWindowsPath: by_handler(_path),
    pathlib.PurePosixPath: by_handler(_path),
    io.BytesIO: _subclass_of(_text_io),
    io.StringIO: _subclass_of(_text_io),
    functools.partial: by_parts(_partial, ".func", ".args", ".keywords", "."),
    struct.Struct: _subclass_of(attrgetter("format")),
    fractions.Fraction: _subclass_of(lambda value: (value.numerator, value.denominator)),
}


_union = by_handler(lambda value: set(value.__args__), types.UnionType)


def _alias(value: Any) -> Any:
    origin = value.__origin__
    whose = origin if isinstance(origin, type) else origin._name
    said = getattr(value, "__metadata__", None)
    return (None if said else value._name, whose, value.__args__, said)


_of_alias = by_handler(_alias, typing.Generic)  # its own types are other ones in each version


def _type_variable(value: typing.TypeVar) -> Any:
    return (value.__name__, value.__bound__, value.__constraints__, value.__covariant__, value.__contravariant__)


BUILDS: dict[type, Build] = {
    # The flavour of the machine at hand is no part of the value: a relative path is the same on Windows.
    type(pathlib.Path()): by_handler(_path, pathlib.Path),
    type(pathlib.PurePath()): by_handler(_path, pathlib.PurePath),
    list: of_list,
    tuple: of_tuple,
    dict: of_dict,
    set: of_set,
    frozenset: of_set,
    bytes: _bytes,
    memoryview: by_handler(_view),
    Stream: of_stream,
    Elements: of_elements,
    Pairs: of_pairs,
    type: _named,
    types.FunctionType: _named,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: by_parts(lambda value: (value.__func__, value.__self__), ".__func__", ".__self__"),
    types.MethodDescriptorType: _named,
    types.WrapperDescriptorType: _named,
    types.ClassMethodDescriptorType: _named,
    types.GetSetDescriptorType: by_handler(lambda value: (value.__objclass__, value.__name__)),
    types.MemberDescriptorType: by_handler(lambda value: (value.__objclass__, value.__name__)),
    types.MethodWrapperType: _BOUND,
    functools._lru_cache_wrapper: by_handler(_caching),
    type(NotImplemented): lambda run, value: b"O" + run.kind(type(value)),
    range: by_handler(lambda value: (value.start, value.stop, value.step)),
    slice: by_handler(lambda value: (value.start, value.stop, value.step)),
    re.Pattern: by_handler(lambda value: (value.pattern, value.flags)),
    types.MappingProxyType: by_handler(dict),
    types.SimpleNamespace: by_handler(lambda value: dict(vars(value))),
    type({}.keys()): by_handler(set),
    type({}.values()): by_handler(list),
    type({}.items()): by_handler(dict),
    type(collections.OrderedDict().keys()): by_handler(list),
    type(collections.OrderedDict().values()): by_handler(list),
    type(collections.OrderedDict().items()): by_handler(list),
    types.GenericAlias: by_handler(lambda value: (value.__origin__, value.__args__)),
    types.UnionType: _union,
    type(typing.Union[int, str]): _union,  # noqa: UP007 - an old one has a type of its own
    type(typing.Callable[[], None]): _of_alias,
    type(typing.Literal[1]): _of_alias,
    type(typing.Annotated[int, 1]): _of_alias,
    type(typing.List[int]): _of_alias,  # noqa: UP006 - as above
    typing.TypeVar: by_handler(_type_variable),
    typing.ForwardRef: by_handler(lambda value: value.__forward_arg__),
    typing.NewType: by_handler(lambda value: (value.__name__, value.__supertype__)),
    staticmethod: by_handler(lambda value: value.__func__),
    classmethod: by_handler(lambda value: value.__func__),
    property: by_handler(lambda value: (value.fget, value.fset, value.fdel)),
    functools.cached_property: by_handler(lambda value: value.func),
    operator.itemgetter: by_handler(lambda value: value.__reduce__()[1]),
    operator.attrgetter: by_handler(lambda value: value.__reduce__()[1]),
    operator.methodcaller: by_handler(lambda value: value.__reduce__()[1:]),
}


def _of_random(generator: Any) -> Any:
    """A generator of random numbers is what it will give next; that of the module itself is a name for chance."""
    return None if generator is importlib.import_module("random")._inst else state_of(generator)


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "random.Random": _of_random,
    "sqlite3.Row": lambda row: (row.keys(), tuple(row)),
}

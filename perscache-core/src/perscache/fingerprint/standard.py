"""How values of Python's own types, of user classes and of libraries' types are taken apart."""

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
import types
import uuid
from collections.abc import Callable, Mapping
from marshal import dumps
from typing import Any

from ..errors import UnkeyableError
from .encoder import (
    Build,
    Pass,
    Stream,
    buffer,
    by_handler,
    of_dict,
    of_list,
    of_set,
    of_tuple,
    step,
    tagged,
)

_LONG_BYTES = 4096
NO_VALUE = "has no value that a key could be made of"


def build_for_family(kind: type) -> Build:
    """How values of ``kind`` are encoded: as its class says, else its family's rule, else its fields or its state."""
    if getattr(kind, "__cache_key__", None):
        return by_handler(lambda value: value.__cache_key__())
    if issubclass(kind, type):
        return _named
    if issubclass(kind, enum.Enum):
        return _enum_member
    if issubclass(kind, tuple) and hasattr(kind, "_fields") and kind.__dictoffset__ == 0:
        names = [f".{name}" for name in getattr(kind, "_fields", ())]
        return by_parts(lambda value: tuple(tuple.__iter__(value)), *names)
    for base in kind.__mro__:
        if base.__qualname__ == "ZoneInfo" and base.__module__.startswith("zoneinfo"):
            return by_parts(lambda value: (_zone(value),))
        if handler := _library_handler(base):
            return by_handler(handler)
        if base in _FAMILIES:
            return _FAMILIES[base]
    if _is_handle(kind):
        return _without_value
    if (fields := _declared_fields(kind)) is not None:
        return by_parts(lambda value: (fields(value),), ".")
    return _whole(by_parts(_state, "", "", ".", "", ""))


def _whole(build: Build) -> Build:
    def encoded(run: Pass, value: Any) -> bytes:
        whole = run.encoder.whole
        return run.encode_whole(value, build) if whole is not None and whole(type(value)) else build(run, value)

    return encoded


def _library_handler(base: type) -> Callable[[Any], Any] | None:
    """The handler of a library's type, found by its dotted name, so that no library is imported for it."""
    top = base.__module__.partition(".")[0]
    if top not in _LIBRARIES:
        return None
    handlers: Mapping[str, Callable[[Any], Any]] = importlib.import_module(_LIBRARIES[top], __package__).HANDLERS
    return handlers.get(f"{top}.{base.__qualname__}")


_LIBRARIES = {
    "numpy": ".arrays",
    "scipy": ".arrays",
    "torch": ".arrays",
    "pandas": ".frames",
    "xarray": ".frames",
    "polars": ".polars_columns",
    "pyarrow": ".arrow_columns",
}


# --- Values that are one buffer, or no value at all.


def _bytes(run: Pass, value: Any) -> bytes:
    return dumps(value, 2) if len(value) <= _LONG_BYTES else b"s" + buffer(run, [value])


def _stream(run: Pass, value: Stream) -> bytes:
    return buffer(run, value.pieces)


def _memoryview(run: Pass, value: memoryview) -> bytes:
    shape = run.encode((value.format, value.shape))
    return b"O" + run.kind(memoryview) + shape + buffer(run, [value if value.c_contiguous else value.tobytes()])


def _named(run: Pass, value: Any) -> bytes:
    return b"C" + run.encoder.identify(value)


def _without_value(run: Pass, value: Any) -> bytes:
    return run.refuse(value, NO_VALUE)


def _is_handle(kind: type) -> bool:
    """Whether instances are consumed by use, or stand for something outside: iterators, files, awaitables."""
    consumed = any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__"))
    return consumed or issubclass(kind, (io.IOBase, types.ModuleType, types.FrameType, types.TracebackType))


# --- Families: a type and its subclasses, which add their fields.


def _enum_member(run: Pass, value: enum.Enum) -> bytes:
    return tagged(run, type(value), (value._name_, value._value_))


def _fields_of(value: Any) -> dict[str, Any] | None:
    """What a subclass of a built-in type adds to it; None for nothing."""
    fields = dict(getattr(value, "__dict__", ()))
    for name in _slots(type(value)):
        if hasattr(value, name):
            fields[name] = getattr(value, name)
    return _without_computed(type(value), fields) or None


def _without_computed(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields without those that a cached property has filled: whether it was asked for is no part of a value."""
    computed = [name for name in fields if type(getattr(kind, name, None)).__name__ == "cached_property"]
    for name in computed:
        del fields[name]
    return fields


def _slots(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            private = name.startswith("__") and not name.endswith("__")
            if name not in {"__dict__", "__weakref__"}:
                found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return found


def _subclass_of(plain: Callable[[Any], Any]) -> Build:
    return by_parts(lambda value: (plain(value), _fields_of(value)), "", ".")


def by_parts(parts: Callable[[Any], tuple[Any, ...]], *names: str) -> Build:
    """Encodes values as type and parts; a refusal calls these by ``names``: "" the value itself, "." its fields."""
    places = {f"[{position}]": name for position, name in enumerate(names)}

    def expanded(run: Pass, value: Any) -> bytes:
        try:
            payload = run.expand(value, parts)
        except UnkeyableError as error:
            return run.refuse(value, str(error))
        try:
            return tagged(run, type(value), payload)
        except UnkeyableError as error:
            path = error.path
            if path and path[0] in places:
                name = places[path.pop(0)]
                if name == "." and path and path[0].startswith("['"):
                    name = f".{path.pop(0)[2:-2]}"
                step(error, name.rstrip("."))
            raise

    def build(run: Pass, value: Any) -> bytes:
        return run.node(value, expanded)

    return build


def _array(value: Any) -> Any:
    data = array.array(value.typecode, value)
    return (value.typecode, data.itemsize, data.tolist() if value.typecode == "u" else memoryview(data.tobytes()))


def _datetime(value: dt.datetime) -> Any:
    plain = value.replace(tzinfo=None, fold=0)
    return (plain.isoformat(), value.fold, value.tzinfo, _fields_of(value))


def _time(value: dt.time) -> Any:
    return (value.replace(tzinfo=None, fold=0).isoformat(), value.fold, value.tzinfo, _fields_of(value))


def _timezone(value: dt.timezone) -> Any:
    return (value.utcoffset(None), value.tzname(None))


def _zone(value: Any) -> str:
    if value.key is None:
        raise UnkeyableError("was made from a file, without a name")
    return str(value.key)


def _path(run: Pass, value: pathlib.PurePath) -> bytes:
    # The flavour of the machine at hand is no part of the value: a relative path is the same on Windows.
    kind: type = pathlib.Path if isinstance(value, pathlib.Path) else pathlib.PurePath
    standard = type(value).__module__.startswith("pathlib")
    return tagged(run, kind if standard else type(value), value.as_posix())


def _partial(value: functools.partial[Any]) -> Any:
    return (value.func, value.args, value.keywords, _fields_of(value))


def _builtin(run: Pass, value: Any) -> bytes:
    """A built-in function, or a method of a built-in value such as ``[].append``."""
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
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
    collections.defaultdict: _subclass_of(lambda value: (value.default_factory, dict(value))),
    dict: _subclass_of(lambda value: {key: dict.__getitem__(value, key) for key in dict.__iter__(value)}),
    collections.deque: _subclass_of(lambda value: (value.maxlen, list(collections.deque.__iter__(value)))),
    array.array: _subclass_of(_array),
    dt.datetime: by_handler(_datetime),
    dt.date: _subclass_of(dt.date.isoformat),
    dt.time: by_handler(_time),
    dt.timedelta: _subclass_of(lambda value: (value.days, value.seconds, value.microseconds)),
    dt.timezone: by_handler(_timezone),
    decimal.Decimal: _subclass_of(decimal.Decimal.__str__),
    uuid.UUID: _subclass_of(lambda value: value.int),
    pathlib.PurePath: _path,
    io.BytesIO: by_handler(_text_io),
    io.StringIO: by_handler(_text_io),
    functools.partial: by_parts(_partial, ".func", ".args", ".keywords", "."),
    fractions.Fraction: _subclass_of(lambda value: (value.numerator, value.denominator)),
}


# --- Objects: fields, else the state that pickle would take.


def _declared_fields(kind: type) -> Callable[[Any], Any] | None:
    """For classes that list their fields (dataclasses, attrs) or keep them apart (pydantic): those."""
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "__pydantic_fields_set__"):
        return _pydantic_state
    declared = getattr(kind, "__attrs_attrs__", None)
    if declared is not None:
        names = [attribute.name for attribute in declared]
    elif hasattr(kind, "__dataclass_fields__"):
        names = list(kind.__dataclass_fields__)
    else:
        return None

    def fields(value: Any) -> dict[str, Any]:
        found = dict(getattr(value, "__dict__", ()))
        for name in names:
            if hasattr(value, name):
                found[name] = getattr(value, name)
        for name in _slots(kind):
            if hasattr(value, name):
                found[name] = getattr(value, name)
        return _without_computed(kind, found)

    return fields


def _pydantic_state(value: Any) -> Any:
    fields = _without_computed(type(value), dict(value.__dict__))
    extra = getattr(value, "__pydantic_extra__", None)
    private = getattr(value, "__pydantic_private__", None)
    given = getattr(value, "__pydantic_fields_set__", None)
    return {**fields, "": (extra, private, given)}


def _state(value: Any) -> tuple[Any, ...]:
    """How pickle would rebuild a value: with which function from which arguments, state and items."""
    kind = type(value)
    if kind is object:
        raise UnkeyableError("is a bare object: nothing but its address tells it from another")
    try:
        reduced: Any = value.__reduce_ex__(4)
    except Exception as error:
        raise UnkeyableError(NO_VALUE) from error
    if isinstance(reduced, str):
        return (reduced,)
    parts: tuple[Any, ...] = (*reduced, None, None, None)
    function, arguments, state, items, pairs = parts[:5]
    if function is _NEW_OBJECT and arguments[0] is kind:
        arguments = arguments[1:]
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        state = {**(state[0] or {}), **state[1]}
    if isinstance(state, dict):
        state = _without_computed(kind, dict(state))
    named = getattr(function, "__qualname__", None) or function
    return (named, arguments, state or None, items and list(items), pairs and dict(pairs))


_NEW_OBJECT = object().__reduce_ex__(4)[0]


BUILDS: dict[type, Build] = {
    list: of_list,
    tuple: of_tuple,
    dict: of_dict,
    set: of_set,
    frozenset: of_set,
    bytes: _bytes,
    memoryview: _memoryview,
    Stream: _stream,
    type: _named,
    types.FunctionType: _named,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: by_parts(lambda value: (value.__func__, value.__self__), ".__func__", ".__self__"),
    types.MethodDescriptorType: _named,
    types.WrapperDescriptorType: _named,
    types.ClassMethodDescriptorType: _named,
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
    types.GenericAlias: by_handler(lambda value: (value.__origin__, value.__args__)),
    types.UnionType: by_handler(lambda value: set(value.__args__)),
    staticmethod: by_handler(lambda value: value.__func__),
    classmethod: by_handler(lambda value: value.__func__),
    property: by_handler(lambda value: (value.fget, value.fset, value.fdel)),
    functools.cached_property: by_handler(lambda value: value.func),
    operator.itemgetter: by_handler(lambda value: value.__reduce__()[1]),
    operator.attrgetter: by_handler(lambda value: value.__reduce__()[1]),
    operator.methodcaller: by_handler(lambda value: value.__reduce__()[1:]),
}

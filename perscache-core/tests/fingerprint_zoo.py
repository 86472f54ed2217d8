"""Values to be keyed, tame and hostile, and what is to become of each: what `test_fingerprint_fuzz` runs.

python fingerprint_zoo.py zoo python
"""

from __future__ import annotations

import abc
import array
import collections
import contextlib
import contextvars
import copy
import ctypes
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.util
import io
import itertools
import json
import mmap
import operator
import os
import pickle
import re
import socket
import sqlite3
import sys
import tempfile
import threading
import types
import typing
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from perscache import Cache
from perscache.errors import UnkeyableError

Zoo = dict[str, Callable[[], Any]]
EXAMPLES = int(os.environ.get("PERSCACHE_FUZZ", "100"))

cache = Cache(storage="memory://")


@cache
def subject(value: Any) -> Any:
    return value


def nested(times: int, around: Callable[[Any], Any], inner: Any = 1) -> Any:
    for _ in range(times):
        inner = around(inner)
    return inner


def holding(fill: Callable[[Any], Any], made: Any) -> Any:
    """A container that ``fill`` puts something into, mostly itself."""
    fill(made)
    return made


class Thing:
    """An object with fields."""

    def __init__(self, *values: Any, **fields: Any) -> None:
        self.__dict__.update(fields)
        if values:
            (self.value,) = values

    def method(self) -> Any:
        return self.__dict__


@dataclasses.dataclass
class Record:
    value: Any


class Pair(typing.NamedTuple):
    value: Any


class Colour(enum.Enum):
    RED = 1
    BARE = object()
    LIST = [1]  # noqa: RUF012 - a value of an enum


class Bits(enum.Flag):
    A = 1
    B = 2


def of(**methods: Any) -> Any:
    """An instance of a class with these methods and attributes."""
    return type("Odd", (), methods)()


def of_kind(base: type, *arguments: Any, **methods: Any) -> Any:
    """An instance of a subclass of ``base`` with these methods and attributes."""
    return type("Odd", (base,), methods)(*arguments)


def fails(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("this is hostile")


def recurses(value: Any, *_: Any) -> Any:
    if sys.version_info >= (3, 13):
        # As __getattribute__, it would go on there until the memory ends, without any of us.
        raise RecursionError("maximum recursion depth exceeded")
    return recurses(value)


def changes(values: Any, change: Callable[[Any], Any]) -> Any:
    """An object that changes a container while that is walked."""

    def reduce(self: Any, _: int) -> Any:
        with contextlib.suppress(Exception):
            change(values)
        return (int, (7,))

    return of(__reduce_ex__=reduce, __hash__=lambda self: 5)


def changed_within(values: Any, change: Callable[[Any], Any]) -> Any:
    odd = [changes(values, change) for _ in range(3)]
    if isinstance(values, dict):
        values.update(enumerate(odd))
        values.update(dict.fromkeys(odd, 0))
    elif isinstance(values, set):
        values.update(odd)
    else:
        values.extend(odd)
    return values


def ring(size: int, make: Callable[[int], Any] = lambda number: number) -> list[Any]:
    first: list[Any] = []
    last = first
    for number in range(size):
        last.append(make(number))
        last.append(last := [])
    last.append(first)
    return first


def linked(size: int, make: Callable[[int], Any]) -> Thing:
    links = [Thing(make(number)) for number in range(size)]
    for before, after in itertools.pairwise(links):
        before.next, after.before = after, before
    return links[0]


class Meta(type):
    """A metaclass, most of which lies."""

    def __eq__(cls, other: object) -> bool:
        return True

    def __hash__(cls) -> int:
        return 1

    def __instancecheck__(cls, instance: Any) -> bool:
        return True

    def __subclasscheck__(cls, kind: type) -> bool:
        return True

    def __len__(cls) -> int:
        return -1  # noqa: PLE0303 - this is the lie

    def __iter__(cls) -> Any:
        return itertools.count()


class Unhashable(type):
    def __eq__(cls, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class Failing(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__mro__", "__name__", "__qualname__", "__module__", "__cache_key__"}:
            raise ZeroDivisionError("this is hostile")
        return super().__getattribute__(name)


def instance_of(metaclass: type[type]) -> Any:
    return types.new_class("Odd", (), {"metaclass": metaclass})()


@contextlib.contextmanager
def opened() -> Iterator[None]:
    yield


def coroutine() -> Any:
    async def wait() -> None: ...

    made = wait()
    made.close()
    return made


async def items() -> Any:
    yield 1


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def dead() -> Any:
    return weakref.proxy(Thing())


def traceback() -> Any:
    try:
        fails()
    except ZeroDivisionError as error:
        return error.__traceback__


def mapped() -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 5000)
        file.flush()
        return mmap.mmap(file.fileno(), 0)


class Structure(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_double)]


DEEP = 100_000
COUNT = itertools.count()

KEYED: Zoo = {
    "lists in lists": lambda: nested(DEEP, lambda inner: [inner]),
    "tuples in tuples": lambda: nested(DEEP // 20, lambda inner: (inner, None)),
    "dicts in dicts": lambda: nested(DEEP // 20, lambda inner: {"a": inner}),
    "dicts with odd keys in dicts": lambda: nested(DEEP // 20, lambda inner: {(1, "a"): inner, None: 0}),
    "frozen sets in frozen sets": lambda: nested(DEEP // 20, lambda inner: frozenset([inner, "a"])),
    "objects in objects": lambda: nested(DEEP // 20, Thing),
    "records in records": lambda: nested(DEEP // 20, Record),
    "named tuples in named tuples": lambda: nested(DEEP // 20, Pair),
    "deques in deques": lambda: nested(DEEP // 50, lambda inner: collections.deque([inner])),
    "ordered dicts in ordered dicts": lambda: nested(DEEP // 50, lambda inner: collections.OrderedDict(a=inner)),
    "proxies in proxies": lambda: nested(900, lambda inner: types.MappingProxyType({"a": inner})),
    "partials in partials": lambda: nested(900, lambda inner: functools.partial(print, inner)),
    "exceptions in exceptions": lambda: nested(900, ValueError),
    "methods of methods": lambda: nested(900, lambda inner: Thing(inner).method),
    "aliases of aliases": lambda: nested(900, lambda inner: list[inner], int),
    "functions around functions": lambda: nested(900, lambda inner: lambda: inner),
    "a dict in a dict, keyed by tuples of tuples": lambda: nested(300, lambda inner: {nested(9, tuple_of, "a"): inner}),
    "a list in itself": lambda: holding(lambda made: made.append(made), [1]),
    "a dict in itself": lambda: holding(lambda made: made.update(a=made), {}),
    "an object in itself": lambda: holding(lambda made: vars(made).update(a=made), Thing(1)),
    "an object among its own keys": lambda: holding(lambda made: vars(made).update(a={made: 1, "b": made}), Thing(1)),
    "an object in its own set": lambda: holding(lambda made: vars(made).update(a={made, 1}), Thing(1)),
    "a deque in itself": lambda: holding(lambda made: made.append(made), collections.deque()),
    "a default dict in itself": lambda: holding(lambda made: made.update(a=made), collections.defaultdict(list)),
    "a record in itself": lambda: holding(lambda made: setattr(made, "value", made), Record(1)),
    "a partial in itself": lambda: holding(
        lambda made: made.__setstate__((print, (made,), {}, {})), functools.partial(print)
    ),
    "an exception in itself": lambda: holding(lambda made: setattr(made, "args", (made,)), ValueError()),
    "a namespace in itself": lambda: holding(lambda made: setattr(made, "a", made), types.SimpleNamespace()),
    "a method of what holds it": lambda: holding(lambda made: vars(made).update(a=made.method), Thing(1)),
    "a long ring": lambda: ring(5000),
    "a long ring of equals": lambda: ring(2000, lambda _: 0),
    "a long ring of streams": lambda: ring(50, lambda number: bytearray([number]) * 9000),
    "links both ways": lambda: linked(1000, lambda number: number),
    "links both ways between equals": lambda: linked(500, lambda _: 0),
    "a dict that an item of it fills": lambda: changed_within({}, lambda made: made.update({object(): 1})),
    "a dict that an item of it empties": lambda: changed_within({}, lambda made: made.clear()),
    "a list that an item of it fills": lambda: changed_within([], lambda made: made.append(made[0])),
    "a list that an item of it empties": lambda: changed_within([], lambda made: made.clear()),
    "a set that an item of it empties": lambda: changed_within(set(), lambda made: made.clear()),
    "equality that fails": lambda: [of(__eq__=fails, __hash__=lambda _: 1), of(__eq__=fails, __hash__=lambda _: 1)],
    "equality that is always true": lambda: {of(__eq__=lambda *_: True, __hash__=lambda _: 1): 1},
    "a hash that fails": lambda: of(__hash__=fails),
    "a hash that changes": lambda: {of(__hash__=lambda _: next(COUNT)): 1},
    "a length that fails": lambda: of(__len__=fails, __bool__=fails),
    "a length below nothing": lambda: of(__len__=lambda _: -1),
    "an endless iterable": lambda: of(__iter__=lambda _: itertools.count()),
    "an iterable that fails": lambda: of(__iter__=fails, __getitem__=fails),
    "a class that says it is a number": lambda: of(__class__=int),
    "a class that says it is a list": lambda: of(__class__=property(lambda _: list)),
    "attributes that are all there": lambda: of(__getattr__=lambda self, name: 0),
    "a text that says it is another": lambda: of_kind(str, "a", __str__=lambda _: "b", __hash__=fails),
    "a number that says it is another": lambda: of_kind(int, 5, __int__=lambda _: 6, __index__=fails, __eq__=fails),
    "a list that iterates for ever": lambda: of_kind(
        list, [1, 2], __iter__=lambda _: itertools.count(), __len__=fails, __getitem__=fails
    ),
    "a dict that fails": lambda: of_kind(
        dict, {"a": 1}, __iter__=fails, keys=fails, items=fails, values=fails, __getitem__=fails, __len__=fails
    ),
    "a set that fails": lambda: of_kind(set, {1, 2}, __iter__=fails, __len__=fails, __contains__=fails),
    "a date that fails": lambda: of_kind(dt.datetime, 2020, 1, 1, isoformat=fails, replace=fails, __str__=fails),
    "a decimal that fails": lambda: of_kind(decimal.Decimal, "1.5", __str__=fails, as_tuple=fails),
    "fields that fail where they are asked for": lambda: holding(
        lambda made: object.__setattr__(made, "a", 1), of(__dict__=property(fails))
    ),
    "state in odd forms": lambda: [
        of(__reduce_ex__=lambda self, _: (tuple, ([1],))),
        of(__reduce_ex__=lambda self, _: (list, (), None, iter([1, 2]))),
        of(__reduce_ex__=lambda self, _: (dict, (), None, None, iter([("a", 1)]))),
        of(__getstate__=lambda self: 5),
        of(__getstate__=lambda self: (None, {"a": 1})),
        of(__getstate__=lambda self: ({"a": 1}, {"b": 1})),
        of(__getstate__=lambda self: self),
    ],
    "a text for a state": lambda: of(__reduce_ex__=lambda self, _: "name"),
    "an enum's member whose value is bare": lambda: Colour.BARE,
    "an enum's member whose value is a list": lambda: Colour.LIST,
    "all flags and none": lambda: [Bits(0), Bits.A | Bits.B, re.IGNORECASE | re.MULTILINE],
    "huge ints": lambda: [1 << 100_000, -(1 << 100_000), 10**400],
    "odd floats": lambda: [float("nan"), -float("nan"), float("inf"), -0.0, 5e-324, complex("nan+infj")],
    "lone surrogates": lambda: ["\ud800", "a\udfff" * 3000, {"\udc80": "\udc80"}, Path("\udc80")],
    "NUL and the last code point": lambda: ["\0", "\U0010ffff", b"\0", {"\0": 1}],
    "views of odd forms": lambda: [
        memoryview(b""),
        memoryview(b"abcdef")[::-2],
        memoryview(b"abcdef").cast("c"),
        memoryview(array.array("d", [1, 2, 3]))[::2],
        memoryview(bytes(24)).cast("B", (2, 3, 4)),
        memoryview((ctypes.c_int * 3)(1, 2, 3)),
        memoryview(Structure(1, 2)),
    ],
    "arrays of each type": lambda: [array.array(code, [1]) for code in "bBhHiIlLqQfd"] + [array.array("u", "aé")],
    "ctypes": lambda: [ctypes.c_int(5), Structure(1, 2), (ctypes.c_short * 2)(1, 2)],
    "a slice of odd things": lambda: slice([1], "a", None),
    "what is there only once": lambda: [..., NotImplemented, None],
    "typing": lambda: [
        typing.Any,
        typing.Optional[int],  # noqa: UP045 - the old form is the case
        typing.Union[int, "Thing"],
        typing.Callable[[int], str],
        typing.Literal[1, "a", True],
        typing.TypeVar("T", bound=int),
        typing.NewType("N", int),
        typing.ForwardRef("Nobody"),
        typing.Annotated[int, [1]],
        dict[str, list["Thing"]],
        type[int],
    ],
    "classes of all sorts": lambda: [
        type,
        abc.ABC,
        Meta,
        Colour,
        Pair,
        Record,
        Structure,
        types.GenericAlias,
        io.BytesIO,
    ],
    "descriptors": lambda: [
        Thing.method,
        vars(type)["__module__"],
        int.real,
        dict.fromkeys,
        operator.attrgetter("a.b"),
        operator.methodcaller("a", 1, b=2),
        operator.itemgetter(slice(1)),
        property(len),
        staticmethod(len),
        classmethod(len),
        [].__len__,
        functools.partialmethod(print, 1),
        functools.lru_cache(fails),
    ],
    "a context manager's maker": lambda: opened,
    "views of dicts": lambda: [
        {"a": 1}.keys(),
        {"a": [1]}.values(),
        {"a": 1}.items(),
        collections.OrderedDict(a=1).keys(),
        collections.ChainMap({"a": 1}).keys(),
    ],
    "a row of a database": lambda: row(),
    "what the system says of a file": lambda: os.stat_result(range(10)),
    "streams in memory": lambda: [io.BytesIO(b"a"), io.StringIO("a")],
    "dates of all sorts": lambda: [
        dt.datetime.max,
        dt.datetime.min.replace(tzinfo=dt.UTC),
        dt.time(1, tzinfo=dt.timezone(dt.timedelta(minutes=-1), "x")),
        dt.timedelta.min,
    ],
    "numbers of all sorts": lambda: [decimal.Decimal("sNaN123"), decimal.Decimal("-0e99"), fractions.Fraction(1, 3)],
    "values of the last resort": lambda: [
        uuid.UUID(int=1),
        Path("a/../b"),
        ValueError("a", [1]),
        ExceptionGroup("g", [ValueError(1), TypeError()]),
        collections.Counter("aab"),
        collections.UserString("a"),
    ],
}

REFUSED: Zoo = {
    "a reduction that fails": lambda: of(__reduce_ex__=fails),
    "a reduction that is none": lambda: of(__reduce_ex__=lambda self, _: None),
    "a reduction of nothing": lambda: of(__reduce_ex__=lambda self, _: ()),
    "a reduction that is a number": lambda: of(__reduce_ex__=5),
    "a reduction that recurses": lambda: of(__reduce_ex__=recurses),
    "a reduction that makes another of its kind": lambda: Endless(),
    "items that fail": lambda: of(__reduce_ex__=lambda self, _: (list, (), None, map(fails, [1]))),
    "pairs that are none": lambda: of(__reduce_ex__=lambda self, _: (dict, (), None, None, [1])),
    "a state that fails": lambda: of(__getstate__=fails),
    "a state that recurses": lambda: of(__getstate__=recurses),
    "a state that is a generator": lambda: of(__getstate__=lambda self: (i for i in [1])),
    "a state that is a lock": lambda: of(__getstate__=lambda self: threading.Lock()),
    "attributes that fail": lambda: of(__getattribute__=fails),
    "attributes that recurse": lambda: of(__getattribute__=recurses),
    "a class that fails": lambda: of(__class__=property(fails), __reduce_ex__=fails),
    "fields of a text that fail": lambda: of_kind(str, "a", __dict__=property(fails)),
    "fields that are a number": lambda: of_kind(str, "a", __dict__=5),
    "a key that is itself": lambda: of(__cache_key__=lambda self: self),
    "a key that is a lock": lambda: of(__cache_key__=lambda self: threading.Lock()),
    "a key that is a generator": lambda: of(__cache_key__=lambda self: (i for i in [1])),
    "a class without a hash": lambda: [instance_of(Unhashable), 1],
    "a class that fails to be known": lambda: [instance_of(Failing), 1],
    "a zone that fails": lambda: of_kind(dt.tzinfo, __reduce_ex__=fails),
    "a released view": released,
    "a dead proxy": dead,
    "a closed stream": lambda: holding(lambda made: made.close(), io.StringIO("a")),
    "a lock deep within": lambda: nested(5000, lambda inner: [inner], threading.Lock()),
    "a lock in a ring": lambda: ring(300, lambda number: threading.Lock() if number == 200 else number),
    "a bare object": object,
    "a database": lambda: sqlite3.connect(":memory:"),
    "a socket": socket.socket,
    "a file": lambda: open(os.devnull),  # noqa: SIM115
    "a mapped file": mapped,
    "a generator": lambda: (i for i in [1]),
    "a generator of others": items,
    "a coroutine": coroutine,
    "an iterator": lambda: iter([1]),
    "an endless iterator": itertools.count,
    "a map": lambda: map(fails, [1]),
    "a reversed list": lambda: reversed([1]),
    "a frame": lambda: sys._getframe(),
    "a traceback": traceback,
    "code": lambda: fails.__code__,
    "a cell": lambda: types.CellType(1),
    "a weak reference": lambda: weakref.ref(Thing),
    "weak keys": lambda: weakref.WeakKeyDictionary({Thing: 1}),
    "locks": lambda: threading.RLock(),
    "an event": threading.Event,
    "a thread": threading.current_thread,
    "what each thread has of its own": threading.local,
    "a context": contextvars.copy_context,
    "a context variable": lambda: contextvars.ContextVar("x"),
    "a pointer": lambda: ctypes.pointer(ctypes.c_int(1)),
    "an address": lambda: ctypes.c_void_p(5),
    "a lock of asyncio": lambda: __import__("asyncio").Lock(),
    "a queue of asyncio": lambda: __import__("asyncio").Queue(),
    "a context manager": opened,
    "a folder's entry": lambda: next(iter(os.scandir("/"))),
}

RAISED: Zoo = {
    "a key that fails": lambda: of(__cache_key__=fails),
    "a key that is none": lambda: of(__cache_key__=5),
}

EITHER: Zoo = {
    "a class of which all is true": lambda: [instance_of(Meta), 1],
    "a module that is no name": lambda: of(__module__=5),
    "a module that fails": lambda: of(__module__=property(fails)),
    "attributes that are itself": lambda: of(__getattr__=lambda self, name: self),
    "a mock": lambda: __import__("unittest.mock").mock.MagicMock(),
    "a proxy": lambda: weakref.proxy(subject),
    "a super object": lambda: super(Thing, Thing()),
}


class Endless:
    def __reduce_ex__(self, _: Any) -> Any:
        return Endless, (Endless(),)


def tuple_of(value: Any) -> tuple[Any, ...]:
    return (value, 1)


def row() -> Any:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("select 1 as a, 'x' as b").fetchone()
    finally:
        connection.close()


# --- Values of libraries. Each function gives a zoo of what must have a key, and of what must be refused.


def of_numpy() -> tuple[Zoo, Zoo]:
    import numpy as np

    base = np.arange(24.0).reshape(4, 6)
    record = np.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", "O")], align=True)
    odd_types = [
        "?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g", "F", "D", "G", "S", "S3", "U", "U2", "V", "V5",
        "M8[D]", "M8[25s]", "m8[ns]", "m8", ">i4", ">M8[us]", "O",
    ]  # fmt: skip
    views: Zoo = {
        "steps of nothing": lambda: np.broadcast_to(np.arange(3.0), (50, 3)),
        "one number repeated": lambda: np.broadcast_to(np.float32(1), (1000, 1000)),
        "objects repeated": lambda: np.broadcast_to(np.array(["a", None], object), (3, 2)),
        "backward steps": lambda: base[::-1, ::-2],
        "overlapping steps": lambda: np.lib.stride_tricks.sliding_window_view(np.arange(9), 4),
        "axes exchanged": lambda: np.moveaxis(np.arange(60).reshape(3, 4, 5), 0, 1),
        "no dimension": lambda: np.array(5),
        "an object without dimension": lambda: np.array(None, object),
        "nothing, in odd steps": lambda: np.zeros((4, 0, 3))[::2, :, ::-1],
        "many dimensions": lambda: np.zeros((1,) * 32),
        "read-only": lambda: holding(lambda made: made.setflags(write=False), base.copy()),
        "a field of records": lambda: np.zeros(3, record)["b"],
        "records": lambda: np.zeros(3, record),
        "records of nothing": lambda: np.zeros(3, []),
        "a record": lambda: np.zeros(3, record)[0],
        "record arrays": lambda: np.rec.array([(1, "a")], names="x,y"),
        "masked": lambda: np.ma.array(base, mask=base > 5, fill_value=7),
        "masked records": lambda: np.ma.zeros(2, [("a", "i4"), ("b", "O")]),
        "the masked one": lambda: np.ma.masked,
        "texts of numpy": lambda: np.array(["a\0b", "c", ""], dtype=object),
        "arrays in arrays": lambda: holding(lambda made: made.fill(base), np.empty(3, object)),
        "an array in itself": lambda: holding(lambda made: made.fill(made), np.empty(2, object)),
        "an array deep in arrays": lambda: nested(
            3000, lambda inner: holding(lambda m: m.fill(inner), np.empty(1, object))
        ),
        "a ring around an array": lambda: ring(50, lambda number: base + number),
        "bytes under a view": lambda: np.frombuffer(b"abcdefgh", dtype=">u2"),
        "an array over a view": lambda: np.asarray(memoryview(bytearray(b"abcd"))),
        "a view of an array": lambda: memoryview(base[::2]),
        "a view of many dimensions": lambda: memoryview(np.zeros((2, 3, 4))[:, ::2]),
        "types": lambda: [np.dtype(kind) for kind in odd_types] + [record, np.dtype((record, (2,)))],
        "a type that says more": lambda: np.dtype("f8", metadata={"unit": "m", 1: [2]}),
        "generators of chance": lambda: [np.random.default_rng(1), np.random.RandomState(1), np.random.SeedSequence(1)],
        "functions of numpy": lambda: [np.sin, np.add.reduce, np.vectorize(len), np.mean, np.poly1d([1, 2])],
        "scalars": lambda: [np.float16(1), np.datetime64("NaT"), np.timedelta64(1, "D"), np.str_("a"), np.bool_(True)],
        "an iterable of indices": lambda: np.s_[1:2, ..., None],
        "a matrix": lambda: of_kind(np.ndarray, (2,), view=fails, __array_finalize__=lambda *_: None, tobytes=fails)[
            :0
        ],
    }
    typed: Zoo = {f"an array of {kind}": lambda kind=kind: np.zeros((2, 3), kind)[:, ::2] for kind in odd_types}
    mapped: Zoo = {"a mapped array": lambda: memory_mapped(base)}
    refused: Zoo = {
        "an array that fills the world": lambda: np.broadcast_to(1.0, (1 << 30, 1 << 20)),
        "an array of locks": lambda: np.array([threading.Lock()], object),
        "an array's iterator": lambda: base.flat,
        "an iterator of arrays": lambda: np.nditer(base),
    }
    return views | typed | mapped, refused


def memory_mapped(array: Any) -> Any:
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "array.npy"), array)
        return np.load(Path(folder, "array.npy"), mmap_mode="r")


def of_pandas() -> tuple[Zoo, Zoo]:
    import numpy as np
    import pandas as pd

    class Frame(pd.DataFrame):
        _metadata = ["unit"]  # noqa: RUF012 - as pandas wants it

    odd = [1, "a", None, (1, 2), 2.5, pd.NaT, pd.Timestamp(0), b"x", True]
    indexes: list[Callable[[], Any]] = [
        lambda: pd.RangeIndex(5, 0, -2),
        lambda: pd.Index([], dtype=object),
        lambda: pd.Index(odd),
        lambda: pd.MultiIndex.from_product([[1, None], ["a", "b"], [pd.NaT]], names=["x", None, 3]),
        lambda: pd.CategoricalIndex(["a", None, "a"], ordered=True),
        lambda: pd.interval_range(0.5, 3.5, closed="both"),
        lambda: pd.IntervalIndex.from_tuples([(1, 2), None]),
        lambda: pd.period_range("2020", periods=3, freq="W-WED"),
        lambda: pd.date_range("2020", periods=3, tz="America/New_York", freq="h"),
        lambda: pd.timedelta_range("1s", periods=3),
        lambda: pd.Index([True, False]),
        lambda: pd.Index([1, 2], dtype="Int8"),
        lambda: pd.DatetimeIndex(["2020-01-01", None]).as_unit("s"),
    ]
    arrays: dict[str, Callable[[], Any]] = {
        "categories of mixed types": lambda: pd.Categorical([1, "a", None, 2.5, 1]),
        "categories of intervals": lambda: pd.cut([1, 2, 3], 2),
        "categories of times": lambda: pd.Categorical(pd.to_datetime(["2020", None, "2020"])),
        "sparse numbers": lambda: pd.arrays.SparseArray([0, 0, 1, np.nan]),
        "sparse texts": lambda: pd.arrays.SparseArray(np.array(["a", None], object), fill_value=None),
        "a series of sparse numbers": lambda: pd.Series([0, 1], dtype="Sparse[int8]"),
        "whole numbers with gaps": lambda: pd.array([1, None], dtype="UInt8"),
        "numbers with gaps": lambda: pd.array([1.5, None], dtype="Float32"),
        "truths with gaps": lambda: pd.array([True, None], dtype="boolean"),
        "texts with gaps": lambda: pd.array(["a", None, "\0"], dtype="string"),
        "texts of Python": lambda: pd.array(["a", None], dtype="string[python]"),
        "objects": lambda: pd.Series(odd, dtype=object),
        "frames in frames": lambda: nested(300, lambda inner: pd.DataFrame({"a": [inner, 1]}, dtype=object)),
        "a frame in itself": lambda: holding(lambda made: made.__setitem__(0, made), pd.Series([1], dtype=object)),
        "names of mixed types": lambda: pd.DataFrame([[1, 2, 3]], columns=[1, "a", ("b", 2)]),
        "levels of names": lambda: pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "many columns": lambda: pd.DataFrame(np.zeros((2, 3000))),
        "columns of each type": lambda: pd.DataFrame(
            {
                str(number): np.zeros(2, kind)
                for number, kind in enumerate(["i1", "f2", "M8[s]", "m8[ns]", "c8", "?", "O"])
            }
        ),
        "a frame without a column": lambda: pd.DataFrame(index=range(3)),
        "a frame of a class of its own": lambda: holding(lambda made: setattr(made, "unit", "m"), Frame({"a": [1]})),
        "steps through a frame": lambda: pd.DataFrame(np.arange(12).reshape(3, 4)).iloc[::-1, ::2],
        "offsets": lambda: [pd.offsets.BDay(2), pd.offsets.DateOffset(months=1), pd.offsets.CustomBusinessDay()],
        "moments": lambda: [pd.Timestamp(0, tz="UTC"), pd.Timedelta(1), pd.Period("2020Q1"), pd.Interval(0, 1), pd.NaT],
        "types": lambda: [pd.CategoricalDtype(["a"]), pd.DatetimeTZDtype(tz="UTC"), pd.SparseDtype(), pd.Int8Dtype()],
        "a group": lambda: pd.Grouper(key="a", freq="D"),
        "attributes": lambda: holding(lambda made: made.attrs.update(a=[{1}]), pd.DataFrame({"a": [1]})),
    }
    if importable("pyarrow"):
        import pyarrow as pa

        for kind in (pa.int8(), pa.string(), pa.list_(pa.int8()), pa.timestamp("s", "UTC"), pa.decimal128(5, 2)):
            arrays[f"arrow's {kind}"] = lambda kind=kind: pd.Series([None], dtype=pd.ArrowDtype(kind))
    keyed: Zoo = {f"index {number}": make for number, make in enumerate(indexes)}
    keyed |= {
        f"{name} by it": lambda make=make: pd.Series(range(len(make())), index=make()) for name, make in keyed.items()
    }
    refused: Zoo = {
        "a frame of locks": lambda: pd.DataFrame({"a": [threading.Lock()]}),
        "rows, one by one": lambda: pd.DataFrame({"a": [1]}).iterrows(),
        "attributes without a value": lambda: holding(lambda made: made.attrs.update(a=object()), pd.Series([1])),
    }
    return keyed | arrays, refused


def of_pyarrow() -> tuple[Zoo, Zoo]:
    import numpy as np
    import pyarrow as pa

    long = pa.array(range(100))
    arrays: list[Callable[[], Any]] = [
        lambda: pa.nulls(3),
        lambda: long.slice(3, 5),
        lambda: pa.array([True, None] * 9).slice(3, 9),
        lambda: pa.array([None, "a", "", "é"]).slice(1),
        lambda: pa.array([b"a", None], pa.large_binary()),
        lambda: pa.array([b"ab", None], pa.binary(2)),
        lambda: pa.array(["a", None, "a text longer than twelve bytes"], pa.string_view()),
        lambda: pa.array([[1, None], None, []], pa.list_(pa.int8())).slice(1),
        lambda: pa.array([[1, 2], None], pa.list_(pa.int8(), 2)).slice(1),
        lambda: pa.array([["a", None], None, []], pa.large_list(pa.string())),
        lambda: pa.array([{"a": 1, "b": [1]}, None]).slice(1),
        lambda: pa.array([[("k", 1)], None, []], pa.map_("string", "int8")).slice(1),
        lambda: pa.array(["x", None, "x"]).dictionary_encode(),
        lambda: pa.DictionaryArray.from_arrays([0, None, 1], ["a", None]),
        lambda: pa.RunEndEncodedArray.from_arrays([2, 5], ["a", None]).slice(1, 3),
        lambda: pa.UnionArray.from_dense(
            pa.array([0, 1, 0], "int8"), pa.array([0, 0, 1], "int32"), [pa.array([1, 2]), pa.array(["a"])]
        ),
        lambda: pa.UnionArray.from_sparse(pa.array([0, 1], "int8"), [pa.array([1, 2]), pa.array(["a", "b"])]).slice(1),
        lambda: pa.array(np.array([1.5, 2], np.float16), mask=np.array([False, True])),
        lambda: pa.array([decimal.Decimal("1.5"), None], pa.decimal128(5, 2)),
        lambda: pa.array([decimal.Decimal("1.5")], pa.decimal256(5, 2)),
        lambda: pa.array([1, None], pa.time32("s")),
        lambda: pa.array([1, None], pa.duration("ns")),
        lambda: pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
        lambda: pa.array([dt.date(2020, 1, 1), None], pa.date64()),
        lambda: pa.chunked_array([[1], [], [2, None]]),
        lambda: pa.chunked_array([], "string"),
        lambda: pa.table({"a": [1, None], "b": [["x"], []]}).slice(1),
        lambda: pa.table({}),
        lambda: pa.table({"a": [1]}).to_batches()[0],
        lambda: pa.table([[1], [2]], ["a", "a"]),
        lambda: pa.schema([pa.field("a", "int8", False, {"k": "v"})], {"m": "n"}),
        lambda: [pa.scalar(1), pa.scalar(None), pa.scalar([{"a": 2}]), pa.int8(), pa.py_buffer(b"abc")],
        lambda: pa.FixedShapeTensorArray.from_storage(
            pa.fixed_shape_tensor(pa.int8(), (2,)), pa.array([[1, 2]], pa.list_(pa.int8(), 2))
        ),
        *([lambda: pa.array([bytes(16), None], pa.uuid())] if hasattr(pa, "uuid") else []),
    ]
    refused: Zoo = {
        "batches that are read": lambda: pa.table({"a": [1]}).to_reader(),
        "a sink": pa.BufferOutputStream,
    }
    return {f"arrow {number}": make for number, make in enumerate(arrays)}, refused


def of_polars() -> tuple[Zoo, Zoo]:
    import polars as pl

    column = pl.Series("a", [1, None, 3])
    series: list[Callable[[], Any]] = [
        lambda: pl.Series([None, None]),
        lambda: pl.Series([], dtype=pl.String),
        lambda: pl.Series(["a", None, "\0", "a text longer than twelve bytes"]),
        lambda: pl.Series([b"a", None]),
        lambda: pl.Series([True, None, False]),
        lambda: pl.Series(["u", "v", None], dtype=pl.Categorical),
        lambda: pl.Series([None], dtype=pl.Categorical),
        lambda: pl.Series(["u", None], dtype=pl.Enum(["v", "u"])),
        lambda: pl.Series([{"a": 1, "b": None}, None, {"a": None, "b": ["x"]}]),
        lambda: pl.Series([[[1], None], None, [], [[]]]),
        lambda: pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
        lambda: pl.Series([[[1, 2]], None], dtype=pl.Array(pl.Array(pl.Int8, 2), 1)),
        lambda: pl.Series([[], None], dtype=pl.Array(pl.Int8, 0)),
        lambda: pl.Series([decimal.Decimal("1.50"), None]),
        *([lambda: pl.Series([1 << 100, None], dtype=pl.Int128)] if hasattr(pl, "Int128") else []),
        lambda: pl.Series([dt.datetime(2020, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
        lambda: pl.Series([dt.date(2020, 1, 1), None]),
        lambda: pl.Series([dt.time(1), None]),
        lambda: pl.Series([dt.timedelta(1), None]),
        lambda: pl.Series([Thing(1), None], dtype=pl.Object),
        lambda: pl.Series([float("nan"), None, -0.0]),
        lambda: pl.concat([pl.DataFrame([column]), pl.DataFrame([column])], rechunk=False)[1:5],
        pl.DataFrame,
        lambda: pl.DataFrame({"a": [], "": []}),
        lambda: pl.DataFrame({"a": [[{"b": [1]}]]}),
        lambda: [
            pl.Int8,
            pl.Int8(),
            pl.List(pl.Int8),
            pl.Datetime("ms", "UTC"),
            pl.Enum(["a"]),
            pl.Struct({"a": pl.Int8}),
        ],
        lambda: pl.col("a") + 1,
        lambda: pl.LazyFrame({"a": [1]}).filter(pl.col("a") > 0),
        lambda: pl.Schema({"a": pl.Int8}),
    ]
    refused: Zoo = {
        "a series of locks": lambda: pl.Series([threading.Lock()], dtype=pl.Object),
        "rows, one by one": lambda: pl.DataFrame({"a": [1]}).iter_rows(),
    }
    return {f"polars {number}": make for number, make in enumerate(series)}, refused


def of_scipy() -> tuple[Zoo, Zoo]:
    import numpy as np
    from scipy import sparse

    dense = np.array([[1.0, 0, 2], [0, 0, 3], [0, 4, 0]])
    keyed: Zoo = {}
    for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
        for sort in ("matrix", "array"):
            made = getattr(sparse, f"{form}_{sort}")
            keyed[f"{form} {sort}"] = lambda made=made: made(dense)
            keyed[f"{form} {sort} of nothing"] = lambda made=made: made((3, 4))
            keyed[f"{form} {sort} of complex numbers"] = lambda made=made: made(dense * 1j)
    keyed["entries out of order, twice, and zero"] = lambda: sparse.csr_array(
        (np.array([1.0, 0, 2, 3]), np.array([2, 0, 0, 0]), np.array([0, 4, 4])), shape=(2, 3)
    )
    keyed["one dimension"] = lambda: sparse.coo_array(np.array([0, 1, 0]))
    return keyed, {}


def of_others() -> tuple[Zoo, Zoo]:
    """Values of what else may be installed."""
    keyed: Zoo = {}
    if importable("xarray"):
        import numpy as np
        import xarray as xr

        array = functools.partial(xr.DataArray, np.zeros((2, 3)), dims=("a", "b"), coords={"a": ["x", None]})
        keyed["xarray's array"] = lambda: array(name=None, attrs={"a": [1]})
        keyed["xarray's view"] = lambda: array()[::-1, 1:]
        keyed["xarray's levels"] = lambda: array().stack(c=("a", "b"))
        keyed["xarray's dataset"] = lambda: xr.Dataset({"u": array(), ("v", 1): ("a", [1, 2])}, attrs={"a": 1})
    if importable("attrs"):
        import attrs

        made = attrs.make_class("Made", ["x", "y"], frozen=True, slots=True, cache_hash=True)
        keyed["attrs"] = lambda: made(1, [2])
    if importable("pydantic"):
        import pydantic

        model = pydantic.create_model("Model", x=(int, 1), y=(list[int], []))
        keyed["pydantic"] = lambda: model(x="5", y=[1])
    if importable("torch"):
        import torch

        keyed["torch"] = lambda: [
            torch.zeros(3, 4).T[1:, ::2],
            torch.zeros(2, dtype=torch.bfloat16),
            torch.tensor([1j]).conj(),
            torch.eye(3).to_sparse(),
            torch.eye(3).to_sparse_csr(),
            torch.nn.Parameter(torch.ones(2)),
            torch.tensor(True),
            torch.zeros(0, 3).expand(0, 3),
            torch.zeros(1).expand(5, 5),
        ]
    return keyed, {}


def importable(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


# --- What chance makes.

BASES = (object, Thing, str, int, float, list, dict, tuple, set, frozenset, bytearray, ValueError, dt.date, Path)
BEHAVIOURS: list[Any] = [
    fails,
    recurses,
    None,
    5,
    "a",
    lambda *_: None,
    lambda *_: -1,
    lambda *_: "a",
    lambda *_: 10**30,
    lambda *_: [[1], {"a": 2}],
    lambda self, *_: self,
    lambda self, *_: [self, {"a": self}],
    lambda self, *_: type(self),
    lambda self, *_: (type(self), ()),
    lambda self, *_: (list, (), self, [self], [(self, self)]),
    lambda *_: (i for i in [1, 2]),
    lambda *_: threading.Lock(),
    property(fails),
    property(lambda self: self),
    property(lambda _: {"a": 1}),
    staticmethod(lambda *_: 1),
]
for _error in (StopIteration, MemoryError, RecursionError, AttributeError, KeyError, RuntimeError, OSError):

    def _raises(*_: Any, error: type[Exception] = _error) -> Any:
        raise error("this is hostile")

    BEHAVIOURS += [_raises, property(_raises)]

SPECIAL = [
    "__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs__", "__getnewargs_ex__", "__eq__", "__hash__",
    "__lt__", "__bool__", "__len__", "__iter__", "__getitem__", "__contains__", "__call__", "__class__", "__dict__",
    "__getattr__", "__getattribute__", "__str__", "__repr__", "__int__", "__index__", "__float__", "__bytes__",
    "__array__", "__array_interface__", "__buffer__", "__fspath__", "__length_hint__", "__copy__", "__deepcopy__",
    "__module__", "__qualname__", "__doc__", "__wrapped__", "__dataclass_fields__", "__attrs_attrs__", "__slots__",
    "__pydantic_validator__", "__pydantic_fields_set__", "_fields", "n_unnamed_fields", "keys", "items", "values",
    "isoformat", "as_posix", "_value_", "_name_", "args", "func", "cache", "shape", "dtype", "tobytes", "__cache_key__",
]  # fmt: skip


def odd_recipes() -> Any:
    """Recipes of instances of classes whose special methods do anything at all, inside of containers."""
    from hypothesis import strategies as st

    odd = st.tuples(
        st.just("odd"),
        st.integers(0, len(BASES) - 1),
        st.dictionaries(st.sampled_from(SPECIAL), st.integers(0, len(BEHAVIOURS) - 1), min_size=1, max_size=4),
    )
    return st.recursive(
        odd,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3)
            | st.tuples(st.sampled_from(["thing", "record", "ring"]), inner)
        ),
        max_leaves=4,
    )


def made(recipe: Any) -> Any:
    match recipe:
        case ("odd", base, methods):
            behaviours = {name: BEHAVIOURS[number] for name, number in methods.items()}
            # A class or a value that cannot be made is no case.
            with contextlib.suppress(Exception):
                return type("Odd", (BASES[base],), behaviours)(*((2020, 1, 1) if BASES[base] is dt.date else ()))
            return None
        case ("thing", inner):
            return Thing(made(inner))
        case ("record", inner):
            return Record(made(inner))
        case ("ring", inner):
            return ring(2, lambda _: made(inner))
        case list():
            return [made(inner) for inner in recipe]
    return {key: made(inner) for key, inner in recipe.items()}


def plain_values() -> Any:
    """Values that pickle, so that another process can have the same."""
    from hypothesis import strategies as st

    scalars = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.text(st.characters()),
        st.binary(), st.datetimes(timezones=st.timezones() | st.none()), st.dates(), st.times(), st.timedeltas(),
        st.decimals(), st.fractions(), st.uuids(), st.sampled_from([Colour.RED, Bits.A, ..., int, fails, len]),
        st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-2, 1, 3])),
    )  # fmt: skip
    if importable("numpy"):
        from hypothesis.extra import numpy

        kinds = numpy.scalar_dtypes() | numpy.array_dtypes()
        kinds = kinds.map(lambda kind: kind.newbyteorder("="))  # the order in which pickle brings arrays back
        arrays = numpy.arrays(kinds, numpy.array_shapes(min_dims=0, min_side=0, max_side=4))
        backwards = arrays.map(lambda array: array[::-1] if array.ndim else array)
        scalars |= arrays | arrays.map(lambda array: array.T) | backwards
    hashable = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(),
        lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
        max_leaves=4,
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner, inner)
            | st.dictionaries(hashable, inner, max_size=4)
            | st.sets(hashable, max_size=4)
            | st.lists(inner, max_size=3).map(collections.deque)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(lambda fields: Thing(**fields))
            | st.builds(Record, inner)
            | st.builds(Pair, inner)
            | st.builds(functools.partial, st.just(print), inner)
            | st.lists(inner, max_size=2).map(lambda values: ring(len(values), values.__getitem__))
            | inner.map(lambda value: [value, value])
        ),
        max_leaves=15,
    )


def many(values: Any, check: Callable[[Any], None]) -> None:
    """Check many generated values; the same ones each time, unless told to look for more."""
    from hypothesis import HealthCheck, given, settings

    settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="PERSCACHE_FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )(given(values)(check))()


def fuzz_odd_values() -> None:
    def check(recipe: Any) -> None:
        value = made(recipe)
        try:
            good = subject.cache.key(value) == subject.cache.key(value)
        except UnkeyableError as error:
            good = str(error).count("argument 'value'") == 1
        except Exception:
            good = "__cache_key__" in repr(recipe)  # what that raises goes through
        assert good

    many(odd_recipes(), check)


def fuzz_plain_values(file: str) -> None:
    with open(file, "wb") as kept:

        def check(value: Any) -> None:
            key = subject.cache.key(value)
            assert key == subject.cache.key(value) == subject.cache.key(copy.deepcopy(value))
            pickle.dump((value, key), kept)

        many(plain_values(), check)


def compare_plain_values(file: str) -> None:
    with open(file, "rb") as kept, contextlib.suppress(EOFError):
        while True:
            value, key = pickle.load(kept)
            assert subject.cache.key(value) == key, value


# --- The processes.

LIBRARIES = ("numpy", "pandas", "pyarrow", "polars", "scipy", "others")


def tell(verdict: str, name: str, make: Callable[[], Any]) -> None:
    """Print how it goes, the name first, so that what crashes or hangs can be told."""
    print(json.dumps([verdict, name]), flush=True)
    value = make()
    try:
        told = ["key", subject.cache.key({"a": [value]}), subject.cache.key({"a": [make()]})]
    except UnkeyableError as error:
        told = ["refused", str(error)]
    except Exception as error:
        told = ["raised", f"{type(error).__name__}: {error}"]
    finally:
        with contextlib.suppress(Exception):
            value.close()
    print(json.dumps(told), flush=True)


def tell_all(group: str) -> None:
    zoos = {"keyed": KEYED, "refused": REFUSED, "raised": RAISED, "either": EITHER}
    if group in LIBRARIES:
        zoos = dict(zip(zoos, globals()[f"of_{group}"](), strict=False))
    for verdict, zoo in zoos.items():
        for name, make in zoo.items():
            tell(verdict, name, make)


if __name__ == "__main__":
    {"zoo": tell_all, "odd": fuzz_odd_values, "plain": fuzz_plain_values, "compare": compare_plain_values}[sys.argv[1]](
        *sys.argv[2:]
    )

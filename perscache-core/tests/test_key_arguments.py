"""Which calls share a key: pairs of argument values, asked through the public surface."""

from __future__ import annotations

import array
import collections
import contextvars
import copyreg
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import inspect
import ipaddress
import math
import operator
import pathlib
import pickle
import random
import re
import struct
import sys
import time
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import pytest

from perscache import Cache
from perscache.errors import UnkeyableError

cache = Cache(storage="memory://")


@cache
def subject(value: Any) -> Any:
    return value


def key(value: Any) -> str:
    return subject.cache.key(value)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Place:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slim:
    x: Any


class Plain:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class Slotted:
    __slots__ = ("__private", "x")

    def __init__(self, x: Any, private: Any = None) -> None:
        self.x = x
        self.__private = private


class Child(Slotted):
    pass


class Pair(typing.NamedTuple):
    a: Any
    b: Any = 0


class Text(str):  # noqa: SLOT000 - with fields of its own
    note: Any


class Numbers(list):  # type: ignore[type-arg]
    pass


class Meters(float):
    pass


class SaysKey:
    def __init__(self, path: str) -> None:
        self.path, self.handle = path, object()

    def __cache_key__(self) -> Any:
        return self.path


class Lazy:
    def __init__(self, n: int) -> None:
        self.n = n

    @functools.cached_property
    def square(self) -> int:
        return self.n**2


class Says:
    """Pickles as what it was given."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        return self.state


@dataclasses.dataclass
class Guarded:
    """Knows what of it counts, and what belongs to its class."""

    shared: typing.ClassVar[Any] = object()
    n: int
    lock: Any = dataclasses.field(default_factory=__import__("threading").Lock)

    def __getstate__(self) -> Any:
        return {"n": self.n}


class Token(enum.Enum):
    ONE = object()
    OTHER = object()  # noqa: PIE796 - another one


class Marked(type(pathlib.Path())):  # type: ignore[misc]
    """A path with a field."""


class lazily:
    """A cached property as many libraries have one."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __get__(self, owner: Any, kind: Any) -> Any:
        owner.__dict__[self.function.__name__] = found = self.function(owner)
        return found


class Lazier(Plain):
    @lazily
    def square(self) -> int:
        return self.n**2

    def method(self) -> int:
        return 1


class Endless:
    def __cache_key__(self) -> Any:
        return [Endless()]


class Reduced:
    def __init__(self, n: int) -> None:
        self.n, self.lock = n, __import__("threading").Lock()

    def __getstate__(self) -> Any:
        return {"n": self.n}


def touched(lazy: Any) -> Any:
    assert lazy.square >= 0
    return lazy


def noted(text: str, note: Any) -> Text:
    made = Text(text)
    made.note = note
    return made


def marked(mark: Any) -> Any:
    path = Marked("a/b")
    path.mark = mark
    return path


def used(path: Any) -> Any:
    """What a path remembers of being asked is no part of it."""
    _ = (path.parts, str(path), hash(path))
    return path


def entwined(one: Any, other: Any) -> list[Any]:
    a, b = [one], [other]
    a.append(b)
    b.append(a)
    return a


def within_itself(value: Any) -> Plain:
    made = Plain(value=value)
    made.me = made
    return made


def forged() -> tuple[Any, Any]:
    """Long bytes, and short ones made to look like their encoding and that of what follows them."""
    long = b"x" * (1 << 24)
    digest = __import__("blake3").blake3(long).digest()
    head = b"sB" + struct.pack("<Q", len(long)) + digest
    length = struct.unpack("<I", head[1:5])[0]
    rest = b"y" * (length + 5 - len(head) - 5)
    short = (head + b"s" + struct.pack("<I", len(rest)) + rest)[5:]
    return (long, rest, short), (short, long, rest)


def annotated(error: Exception) -> Exception:
    error.add_note("note")
    return error


class OwnKey:
    def __cache_key__(self) -> Any:
        return self


class Broken:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise LookupError("no state")


def released() -> memoryview:
    view = memoryview(b"a")
    view.release()
    return view


def first(x: Any) -> Any:
    return x


def second(x: Any) -> Any:
    return -x


def ring(*values: Any) -> list[Any]:
    made: list[Any] = list(values)
    made.append(made)
    return made


def ladder(height: int) -> list[Any]:
    made: list[Any] = [1]
    for _ in range(height):
        made = [made, made]
    return made


def family(names: str) -> Plain:
    root = Plain(name="root", children=[])
    root.children = [Plain(name=name, parent=root) for name in names]
    return root


def crowd(size: int) -> list[Plain]:
    members = [Plain(number=number) for number in range(size)]
    for member in members:
        member.others = members
    return members


def hour(fold: int) -> dt.datetime:
    return dt.datetime(2020, 10, 25, 2, 30, fold=fold, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))


def made_by(n: int) -> Callable[[int], int]:
    return lambda x: x + n


UTC = dt.UTC
D = decimal.Decimal

EQUAL: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "an int": (lambda: 10**6, lambda: int("1000000")),
    "a long int": (lambda: 2**200, lambda: 1 << 200),
    "a text": (lambda: "abc", lambda: str(b"abc", "ascii")),
    "an interned and a fresh text": (lambda: "abc", lambda: "xabc"[1:]),
    "a lone surrogate": (lambda: "\ud800", lambda: chr(0xD800)),
    "NaN": (lambda: float("nan"), lambda: float("nan")),
    "a long text": (lambda: "x" * 10**6, lambda: "xx" * (10**6 // 2)),
    "bytes": (lambda: b"abc", lambda: bytes([97, 98, 99])),
    "long bytes": (lambda: b"x" * 10**6, lambda: bytes([120]) * 10**6),
    "a dict in another order": (lambda: {"a": 1, "b": 2}, lambda: {"b": 2, "a": 1}),
    "a dict of mixed keys in another order": (lambda: {1: "a", "b": 2, None: 3}, lambda: {None: 3, "b": 2, 1: "a"}),
    "a nested dict in another order": (lambda: {"a": {"x": [1], "y": 2}}, lambda: {"a": {"y": 2, "x": [1]}}),
    "a dict keyed by tuples": (lambda: {(1, 2): 3, (0,): 1}, lambda: {(0,): 1, (1, 2): 3}),
    "a dict with NaN for a key": (lambda: {float("nan"): 1, "a": 2}, lambda: {"a": 2, float("nan"): 1}),
    "a set in another order": (lambda: {"a", "b", "c"}, lambda: {"c", "b", "a"}),
    "a set of tuples": (lambda: {(1, "a"), (2, "b")}, lambda: {(2, "b"), (1, "a")}),
    "a set of mixed types": (lambda: {1, "a", None, 2.5}, lambda: {2.5, None, "a", 1}),
    "a set of frozen sets": (lambda: {frozenset({1, 2}), frozenset()}, lambda: {frozenset(), frozenset({2, 1})}),
    "a set that has shrunk": (lambda: {1, 2}, lambda: set(range(1000)) & {1, 2}),
    "shared and separate lists": (lambda: [[1]] * 2, lambda: [[1], [1]]),
    "shared and separate objects": (lambda: [Point(1)] * 2, lambda: [Point(1), Point(1)]),
    "a tall graph without cycles": (lambda: ladder(60), lambda: ladder(60)),
    "a list in itself": (lambda: ring(1), lambda: ring(1)),
    "a cycle and the same unrolled": (lambda: ring(), lambda: [ring()]),
    "parents and children": (lambda: family("ab"), lambda: family("ab")),
    "everyone knows everyone": (lambda: crowd(12), lambda: crowd(12)),
    "an OrderedDict": (lambda: collections.OrderedDict(a=1), lambda: collections.OrderedDict([("a", 1)])),
    "a Counter": (lambda: collections.Counter("aab"), lambda: collections.Counter("baa")),
    "a defaultdict": (lambda: collections.defaultdict(list, a=[1]), lambda: collections.defaultdict(list, {"a": [1]})),
    "a deque": (lambda: collections.deque([1, 2]), lambda: collections.deque([1, 2])),
    "a ChainMap": (lambda: collections.ChainMap({"a": 1}), lambda: collections.ChainMap({"a": 1})),
    "a mapping proxy": (
        lambda: types.MappingProxyType({"a": 1, "b": 2}),
        lambda: types.MappingProxyType({"b": 2, "a": 1}),
    ),
    "keys of a dict": (lambda: {"a": 1, "b": 2}.keys(), lambda: {"b": 2, "a": 1}.keys()),
    "a namespace": (lambda: types.SimpleNamespace(a=1, b=2), lambda: types.SimpleNamespace(b=2, a=1)),
    "an enum member": (lambda: Colour.RED, lambda: Colour(1)),
    "a combined flag": (lambda: Bits.A | Bits.B, lambda: Bits.B | Bits.A),
    "a Decimal": (lambda: D("1.50"), lambda: D("1.5") + D("0.00")),
    "a Fraction": (lambda: fractions.Fraction(1, 2), lambda: fractions.Fraction(2, 4)),
    "a UUID": (lambda: uuid.UUID(int=5), lambda: uuid.UUID(str(uuid.UUID(int=5)))),
    "a pattern": (lambda: re.compile("a+"), lambda: re.compile(str(b"a+", "ascii"))),
    "a path": (lambda: pathlib.Path("a/b"), lambda: pathlib.Path("a") / "b"),
    "a path with a dot": (lambda: pathlib.Path("a/./b"), lambda: pathlib.Path("a/b")),
    "a date": (lambda: dt.date(2020, 1, 1), lambda: dt.date.fromisoformat("2020-01-01")),
    "a zoned time": (lambda: hour(0), lambda: hour(0)),
    "a duration": (lambda: dt.timedelta(hours=1), lambda: dt.timedelta(minutes=60)),
    "a range": (lambda: range(3), lambda: range(0, 3, 1)),
    "a slice": (lambda: slice(1, 2), lambda: slice(1, 2, None)),
    "an address": (lambda: ipaddress.ip_address("::1"), lambda: ipaddress.ip_address("0::1")),
    "an array": (lambda: array.array("d", [1, 2]), lambda: array.array("d", [1.0, 2.0])),
    "a memoryview": (lambda: memoryview(b"abc"), lambda: memoryview(b"xabc")[1:]),
    "a strided memoryview": (lambda: memoryview(b"axbxcx")[::2], lambda: memoryview(b"abc")),
    "a partial": (lambda: functools.partial(first, 1), lambda: functools.partial(first, 1)),
    "a partial of a partial": (
        lambda: functools.partial(functools.partial(first, 1), k=2),
        lambda: functools.partial(first, 1, k=2),
    ),
    "a lambda": (lambda: lambda x: x + 1, lambda: lambda x: x + 1),
    "a closure": (lambda: made_by(1), lambda: made_by(1)),
    "a bound method": (lambda: Lazy(2).__init__, lambda: Lazy(2).__init__),
    "a builtin method of a value": (lambda: [1].append, lambda: [1].append),
    "an item getter": (lambda: operator.itemgetter(1, "a"), lambda: operator.itemgetter(1, "a")),
    "a generic alias": (lambda: list[int], lambda: list[int]),
    "a union of types": (lambda: int | None, lambda: None | int),
    "an annotated type": (lambda: typing.Annotated[int, 3], lambda: typing.Annotated[int, 3]),
    "a dataclass": (lambda: Point(1, 2), lambda: Point(y=2, x=1)),
    "a slotted dataclass": (lambda: Slim([1]), lambda: Slim([1])),
    "an object's fields in another order": (lambda: Plain(a=1, b=2), lambda: Plain(b=2, a=1)),
    "an object with slots": (lambda: Slotted(1, 2), lambda: Slotted(1, 2)),
    "a child of one with slots": (lambda: Child(1, 2), lambda: Child(1, 2)),
    "a named tuple": (lambda: Pair(1), lambda: Pair(a=1, b=0)),
    "a text with fields": (lambda: noted("a", 1), lambda: noted("a", 1)),
    "an object that says its key": (lambda: SaysKey("a"), lambda: SaysKey("a")),
    "a cached property that was asked for": (lambda: Lazy(3), lambda: touched(Lazy(3))),
    "a cached property of a library's": (lambda: Lazier(n=3), lambda: touched(Lazier(n=3))),
    "chance itself": (lambda: random.random, lambda: (random.random(), random.random)[1]),
    "the generator behind chance": (lambda: random._inst, lambda: (random.random(), random._inst)[1]),
    "an object with a state of its own": (lambda: Reduced(1), lambda: Reduced(1)),
    "an exception": (lambda: ValueError("a", 1), lambda: ValueError("a", 1)),
    "a text stream": (lambda: __import__("io").StringIO("abc"), lambda: __import__("io").StringIO("abc")),
    "a random generator": (lambda: random.Random(3), lambda: random.Random(3)),
    "a dict of several NaNs": (
        lambda: {float("nan"): 1, float("nan"): 2},
        lambda: {float("nan"): 2, float("nan"): 1},
    ),
    "two that hold each other, and one that holds itself": (lambda: entwined(1, 1), lambda: ring(1)),
    "a UUID, however it was made": (
        lambda: uuid.UUID(int=5),
        lambda: uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe),
    ),
    "a path that was asked": (lambda: pathlib.Path("a/b"), lambda: used(pathlib.Path("a/b"))),
    "a path of a class of its own that was asked": (lambda: marked(1), lambda: used(marked(1))),
    "an optional type": (lambda: typing.Optional[int], lambda: typing.Union[None, int]),  # noqa: UP007, UP045
    "an optional type, old and new": (lambda: typing.Optional[int], lambda: int | None),  # noqa: UP045
    "a state that is a text and a dict": (lambda: Says(("x", {"a": 1})), lambda: Says(("x", {"a": 1}))),
    "a dataclass that says its state": (lambda: Guarded(1), lambda: Guarded(1)),
    "an enum member whose value is bare": (lambda: Token.ONE, lambda: Token["ONE"]),
    "a UserDict": (lambda: collections.UserDict(a=1, b=2), lambda: collections.UserDict(b=2, a=1)),
}

DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "1 and True": (lambda: 1, lambda: True),
    "1 and 1.0": (lambda: 1, lambda: 1.0),
    "1.0 and 1+0j": (lambda: 1.0, lambda: 1 + 0j),
    "0.0 and -0.0": (lambda: 0.0, lambda: -0.0),
    "0 and False": (lambda: 0, lambda: False),
    "0 and None": (lambda: 0, lambda: None),
    "an empty text and None": (lambda: "", lambda: None),
    "text and number": (lambda: "1", lambda: 1),
    "text and bytes": (lambda: "a", lambda: b"a"),
    "bytes and bytearray": (lambda: b"a", lambda: bytearray(b"a")),
    "bytes and memoryview": (lambda: b"a", lambda: memoryview(b"a")),
    "bytes and a list of them": (lambda: b"a", lambda: [97]),
    "composed and decomposed": (lambda: "é", lambda: "e\u0301"),
    "neighbouring floats": (lambda: 0.1, lambda: math.nextafter(0.1, 1)),
    "long ints": (lambda: 2**200, lambda: 2**200 + 1),
    "32 bits and their negative": (lambda: 2**31, lambda: -(2**31)),
    "list and tuple": (lambda: [1, 2], lambda: (1, 2)),
    "the order of a list": (lambda: [1, 2], lambda: [2, 1]),
    "where a list ends": (lambda: [[1], [2]], lambda: [[1, 2], []]),
    "where a text ends": (lambda: ["ab", "c"], lambda: ["a", "bc"]),
    "nested and flat": (lambda: [1, [2]], lambda: [1, 2]),
    "an inner 1 and True": (lambda: {"a": [1]}, lambda: {"a": [True]}),
    "set and frozenset": (lambda: {1}, lambda: frozenset({1})),
    "set and list": (lambda: {1}, lambda: [1]),
    "empty set and empty dict": (lambda: set(), dict),
    "an empty list and an empty tuple": (list, lambda: ()),
    "dict and its items": (lambda: {"a": 1}, lambda: [("a", 1)]),
    "keys and values exchanged": (lambda: {"a": "b"}, lambda: {"b": "a"}),
    "values exchanged": (lambda: {"a": 1, "b": 2}, lambda: {"a": 2, "b": 1}),
    "a key 1 and a key True": (lambda: {1: 0}, lambda: {True: 0}),
    "a key 1 and a key '1'": (lambda: {1: 0}, lambda: {"1": 0}),
    "dict and OrderedDict": (lambda: {"a": 1}, lambda: collections.OrderedDict(a=1)),
    "the order of an OrderedDict": (
        lambda: collections.OrderedDict(a=1, b=2),
        lambda: collections.OrderedDict(b=2, a=1),
    ),
    "dict and defaultdict": (lambda: {"a": 1}, lambda: collections.defaultdict(int, a=1)),
    "factories of defaultdicts": (lambda: collections.defaultdict(int), lambda: collections.defaultdict(list)),
    "the bound of a deque": (lambda: collections.deque([1], 2), lambda: collections.deque([1], 3)),
    "a Counter and a dict": (lambda: collections.Counter(a=1), lambda: {"a": 1}),
    "rings of other values": (lambda: ring(1), lambda: ring(2)),
    "a ring and its first unrolling's end": (lambda: ring(1), lambda: [1, [1, []]]),
    "tall graphs": (lambda: ladder(40), lambda: ladder(41)),
    "families": (lambda: family("ab"), lambda: family("ac")),
    "crowds": (lambda: crowd(5), lambda: crowd(6)),
    "enum members": (lambda: Colour.RED, lambda: Colour.BLUE),
    "enums": (lambda: Colour.RED, lambda: Shade.RED),
    "an enum member and its value": (lambda: Level.LOW, lambda: 1),
    "flags": (lambda: Bits.A, lambda: Bits.A | Bits.B),
    "Decimal digits": (lambda: D("1.5"), lambda: D("1.50")),
    "Decimal and float": (lambda: D("1.5"), lambda: 1.5),
    "Fraction and float": (lambda: fractions.Fraction(1, 2), lambda: 0.5),
    "UUIDs": (lambda: uuid.UUID(int=5), lambda: uuid.UUID(int=6)),
    "UUID and text": (lambda: uuid.UUID(int=5), lambda: str(uuid.UUID(int=5))),
    "patterns": (lambda: re.compile("a"), lambda: re.compile("b")),
    "flags of patterns": (lambda: re.compile("a"), lambda: re.compile("a", re.IGNORECASE)),
    "path and text": (lambda: pathlib.Path("a"), lambda: "a"),
    "paths": (lambda: pathlib.Path("a"), lambda: pathlib.Path("b")),
    "pure and real paths": (lambda: pathlib.PurePosixPath("a"), lambda: pathlib.Path("a")),
    "date and datetime": (lambda: dt.date(2020, 1, 1), lambda: dt.datetime(2020, 1, 1)),
    "with and without a zone": (
        lambda: dt.datetime(2020, 1, 1),
        lambda: dt.datetime(2020, 1, 1, tzinfo=UTC),
    ),
    "zones at one moment": (
        lambda: dt.datetime(2020, 1, 1, 1, tzinfo=UTC),
        lambda: dt.datetime(2020, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ),
    "folds": (lambda: hour(0), lambda: hour(1)),
    "names of zones": (
        lambda: dt.datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        lambda: dt.datetime(2020, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    ),
    "microseconds": (lambda: dt.timedelta(1), lambda: dt.timedelta(1, microseconds=1)),
    "ranges": (lambda: range(3), lambda: range(4)),
    "range and list": (lambda: range(2), lambda: [0, 1]),
    "slices": (lambda: slice(1), lambda: slice(2)),
    "addresses": (lambda: ipaddress.ip_address("1.1.1.1"), lambda: ipaddress.ip_address("1.1.1.2")),
    "address and network": (lambda: ipaddress.ip_address("1.1.1.1"), lambda: ipaddress.ip_network("1.1.1.1")),
    "types of arrays": (lambda: array.array("i", [1]), lambda: array.array("l", [1])),
    "partials": (lambda: functools.partial(first, 1), lambda: functools.partial(first, 2)),
    "functions of partials": (lambda: functools.partial(first, 1), lambda: functools.partial(second, 1)),
    "functions": (lambda: first, lambda: second),
    "lambdas": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "closures": (lambda: made_by(1), lambda: made_by(2)),
    "builtins": (lambda: min, lambda: max),
    "methods of text": (lambda: str.upper, lambda: str.lower),
    "owners of bound methods": (lambda: Lazy(2).__init__, lambda: Lazy(3).__init__),
    "owners of builtin methods": (lambda: [1].append, lambda: [2].append),
    "classes": (lambda: Point, lambda: Place),
    "builtin classes": (lambda: int, lambda: float),
    "a class and its instance": (lambda: Plain, lambda: Plain()),
    "generic aliases": (lambda: list[int], lambda: list[str]),
    "unions": (lambda: int | None, lambda: int | str),
    "fields of a dataclass": (lambda: Point(1, 2), lambda: Point(2, 1)),
    "dataclasses": (lambda: Point(1, 2), lambda: Place(1, 2)),
    "a dataclass and its dict": (lambda: Point(1, 2), lambda: {"x": 1, "y": 2}),
    "fields of an object": (lambda: Plain(a=1), lambda: Plain(a=2)),
    "names of fields": (lambda: Plain(a=1), lambda: Plain(b=1)),
    "deep fields": (lambda: Plain(a=[Plain(b={1: 2})]), lambda: Plain(a=[Plain(b={1: 3})])),
    "slots": (lambda: Slotted(1), lambda: Slotted(2)),
    "private slots": (lambda: Slotted(1, 2), lambda: Slotted(1, 3)),
    "slots of a base": (lambda: Child(1, 2), lambda: Child(1, 3)),
    "a base and its child": (lambda: Slotted(1), lambda: Child(1)),
    "named tuples": (lambda: Pair(1), lambda: Pair(2)),
    "a named and a plain tuple": (lambda: Pair(1, 2), lambda: (1, 2)),
    "a subclass of text and text": (lambda: noted("a", 1), lambda: "a"),
    "fields of a subclass of text": (lambda: noted("a", 1), lambda: noted("a", 2)),
    "a subclass of list and a list": (lambda: Numbers([1]), lambda: [1]),
    "items of a subclass of list": (lambda: Numbers([1]), lambda: Numbers([2])),
    "a subclass of float and a float": (lambda: Meters(1), lambda: 1.0),
    "objects that say their key": (lambda: SaysKey("a"), lambda: SaysKey("b")),
    "states of their own": (lambda: Reduced(1), lambda: Reduced(2)),
    "exceptions": (lambda: ValueError("a"), lambda: ValueError("b")),
    "classes of exceptions": (lambda: ValueError("a"), lambda: TypeError("a")),
    "text streams": (lambda: __import__("io").StringIO("a"), lambda: __import__("io").StringIO("b")),
    "the second of two views": (
        lambda: [memoryview(b"ab"), memoryview(b"ab")],
        lambda: [memoryview(b"ab"), memoryview(b"ab").cast("b")],
    ),
    "shapes of views": (lambda: memoryview(b"abcd").cast("B", (2, 2)), lambda: memoryview(b"abcd").cast("B", (4, 1))),
    "long bytes and bytes like their encoding": (lambda: forged()[0], lambda: forged()[1]),
    "ends of long bytes": (lambda: b"x" * 10_000, lambda: b"x" * 9_999 + b"y"),
    "which of two that hold each other": (lambda: entwined(1, 2), lambda: entwined(2, 1)),
    "bytes in a cycle": (lambda: within_itself(bytearray(b"a")), lambda: within_itself(bytearray(b"b"))),
    "streams in a cycle": (lambda: within_itself(memoryview(b"a")), lambda: within_itself(memoryview(b"b"))),
    "flavours of paths": (lambda: pathlib.PureWindowsPath("a"), lambda: pathlib.PurePosixPath("a")),
    "fields of a path": (lambda: marked(1), lambda: marked(2)),
    "zones of plain times": (
        lambda: time.gmtime(0),
        lambda: time.struct_time(tuple(time.gmtime(0)), {"tm_zone": "X", "tm_gmtoff": 3600}),
    ),
    "bounds of type variables": (lambda: typing.TypeVar("T"), lambda: typing.TypeVar("T", bound=int)),
    "what new types are made of": (lambda: typing.NewType("N", int), lambda: typing.NewType("N", str)),
    "literals 1 and True": (lambda: typing.Literal[1], lambda: typing.Literal[True]),
    "a method and a field instead": (lambda: Lazier(n=3), lambda: Lazier(n=3, method=5)),
    "generators of random numbers": (lambda: random.Random(3), lambda: random.Random(4)),
    "chance and a generator": (lambda: random._inst, lambda: random.Random(3)),
    "states 0 and None": (lambda: Says(0), lambda: Says(None)),
    "states 0 and False": (lambda: Says(0), lambda: Says(False)),
    "states that are empty": (lambda: Says(""), lambda: Says([])),
    "states of two dicts": (lambda: Says(({"a": 1}, {})), lambda: Says(({}, {"a": 1}))),
    "states that dataclasses say": (lambda: Guarded(1), lambda: Guarded(2)),
    "bare enum members": (lambda: Token.ONE, lambda: Token.OTHER),
    "notes of exceptions": (lambda: ValueError("a"), lambda: annotated(ValueError("a"))),
    "Ellipsis and None": (lambda: ..., lambda: None),
    "NotImplemented and None": (lambda: NotImplemented, lambda: None),
}


@pytest.mark.parametrize("pair", EQUAL.values(), ids=EQUAL)
def test_equal_values_have_one_key(pair: tuple[Callable[[], Any], Callable[[], Any]]) -> None:
    one, other = pair
    assert key(one()) == key(other())


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_different_values_have_different_keys(pair: tuple[Callable[[], Any], Callable[[], Any]]) -> None:
    one, other = pair
    assert key(one()) == key(one())
    assert key(one()) != key(other())


REFUSED: dict[str, Callable[[], Any]] = {
    "a generator": lambda: (i for i in range(3)),
    "an iterator": lambda: iter([1]),
    "a map": lambda: map(str, [1]),
    "an open file": lambda: open(__file__),  # noqa: SIM115
    "a socket": lambda: __import__("socket").socket(),
    "a lock": lambda: __import__("threading").Lock(),
    "a database": lambda: __import__("sqlite3").connect(":memory:"),
    "a module": lambda: math,
    "a bare object": object,
    "a weak reference": lambda: __import__("weakref").ref(Plain),
    "a thread": lambda: __import__("threading").Thread(),
    "a context variable": lambda: contextvars.ContextVar("x"),
    "an object that holds a lock": lambda: Plain(lock=__import__("threading").Lock()),
    "one end of a pipe": lambda: __import__("multiprocessing").Pipe()[0],
    "a lock of asyncio": lambda: __import__("asyncio").Lock(),
    "a queue of asyncio": lambda: __import__("asyncio").Queue(),
    "a temporary folder": lambda: __import__("tempfile").TemporaryDirectory(),
    "an iterator over a folder": lambda: __import__("os").scandir(),
    "cookies": lambda: __import__("http.cookiejar").cookiejar.CookieJar(),
    "its own key": lambda: OwnKey(),
    "a released view": released,
    "a state that fails": lambda: Broken(),
    "a frame": lambda: __import__("sys")._getframe(),
    "an object of a type without a hash": lambda: type("Unhashed", (type,), {"__hash__": None})("A", (), {})(),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_has_no_value_is_refused(make: Callable[[], Any]) -> None:
    value = make()
    try:
        with pytest.raises(TypeError, match=r"argument 'value'.*ignore="):
            key(value)
    finally:
        getattr(value, "close", getattr(value, "cleanup", lambda: None))()


def test_a_refused_iterator_has_not_moved() -> None:
    numbers = iter([1, 2])
    with pytest.raises(TypeError):
        key({"a": [numbers]})
    assert next(numbers) == 1


def test_a_refusal_names_the_path() -> None:
    connection = __import__("sqlite3").connect(":memory:")
    with pytest.raises(UnkeyableError, match=r"argument 'value' → \['db'\] → \.conn: sqlite3\.Connection") as caught:
        key({"db": Plain(conn=connection)})
    connection.close()
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert error.path == ["argument 'value'", "['db']", ".conn"]
        assert error.reason.startswith("sqlite3.Connection ")


def test_no_stack_limits_how_deep_a_value_is_nested() -> None:
    def linked(last: Any) -> Any:
        chain = last
        for number in range(5000):
            chain = Plain(number=number, next=[chain])
        return chain

    assert key(linked(1)) == key(linked(1)) != key(linked(2))


def test_a_failure_of_a_values_own_code_is_the_cause_of_its_refusal() -> None:
    with pytest.raises(TypeError, match=r"argument 'value' → \['a'\]: .*Broken has no value") as refused:
        key({"a": Broken()})
    assert isinstance(refused.value.__cause__, LookupError)


def test_what_decides_how_numbers_are_written_makes_no_difference() -> None:
    with decimal.localcontext() as context:
        context.capitals = 0
        small = key(decimal.Decimal("1E+50"))
    assert small == key(decimal.Decimal("1E+50"))


def test_what_a_library_registers_for_pickle_changes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(ValueError("a"))
    monkeypatch.setitem(copyreg.dispatch_table, ValueError, lambda error: (ValueError, ("other",)))
    assert key(ValueError("a")) == before


def test_what_pickles_only_as_registered_is_keyed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Broken, lambda _: (Broken, (5,)))
    five = key(Broken())
    monkeypatch.setitem(copyreg.dispatch_table, Broken, lambda _: (Broken, (6,)))
    assert key(Broken()) != five


def test_a_value_that_makes_new_members_for_ever_is_refused() -> None:
    with pytest.raises(TypeError, match=r"argument 'value' → .* levels deep, or for ever"):
        key(Endless())


def test_where_little_of_the_stack_is_left_a_key_is_the_same_or_fails() -> None:
    scope: dict[str, Any] = {"LIMITS": {"a": [1, {"b": (2, [3])}], "c": Plain(x=[Plain(y=1)])}}
    exec("def f(x):\n    return LIMITS, x\n", scope)

    def at_depth(depth: int, call: Callable[[], str]) -> str:
        return at_depth(depth - 1, call) if depth else call()

    def asked() -> str:
        try:
            return str(cache(scope["f"]).cache.key([{"a": [Plain(z=(1, [2]))]}]))  # decorated anew, so it is read anew
        except RecursionError:
            return "RecursionError"

    used = len(inspect.stack(0))
    found = {at_depth(sys.getrecursionlimit() - used - left, asked) for left in range(20, 300, 7)}
    assert found == {asked(), "RecursionError"}

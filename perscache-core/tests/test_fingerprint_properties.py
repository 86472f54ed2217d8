"""Properties of the encoding, on generated values."""

from __future__ import annotations

import array
import datetime as dt
import functools
import io
import itertools
import random
import re
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest import mock
from uuid import UUID

import pytest

pytest.importorskip("hypothesis")

from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perscache.errors import UnkeyableError
from perscache.fingerprint import SCHEMA, Encoder, Stream, encoder


def _by_name(value: Any) -> bytes:
    module = value.__module__.partition(".")[0]  # Python moves its own about
    return f"{module}.{value.__qualname__};".encode()


encode = Encoder(_by_name).encode

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0]),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(), max_size=8),
    st.binary(max_size=8),
)
HASHABLE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)
THOROUGH = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def model(value: Any) -> Any:
    """An independent idea of what makes values equal: types everywhere, floats by bits, no order in sets and dicts."""
    kind = type(value).__name__
    if isinstance(value, float):
        return (kind, value.hex() if value == value else _bits(value))
    if isinstance(value, complex):
        return (kind, model(value.real), model(value.imag))
    if isinstance(value, list | tuple):
        return (kind, tuple(model(item) for item in value))
    if isinstance(value, set | frozenset):
        return (kind, tuple(sorted(repr(model(item)) for item in value)))
    if isinstance(value, dict):
        return (kind, tuple(sorted((repr(model(key)), repr(model(item))) for key, item in value.items())))
    return (kind, value)


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def rebuilt(value: Any, order: random.Random) -> Any:
    """An equal value that shares nothing with the first, its sets and dicts filled in another order."""
    if isinstance(value, list | tuple):
        return type(value)([rebuilt(item, order) for item in value])
    if isinstance(value, set | frozenset):
        return type(value)(_shuffled([rebuilt(item, order) for item in value], order))
    if isinstance(value, dict):
        return dict(_shuffled([(rebuilt(key, order), rebuilt(item, order)) for key, item in value.items()], order))
    if isinstance(value, str | bytes):
        return type(value)().join([value[:1], value[1:]])
    return value


def _shuffled(items: list[Any], order: random.Random) -> list[Any]:
    order.shuffle(items)
    return items


@THOROUGH
@given(VALUES, st.randoms())
def test_equal_values_that_are_built_differently_encode_alike(value: Any, order: random.Random) -> None:
    assert encode(value) == encode(rebuilt(value, order))


@THOROUGH
@given(VALUES, VALUES)
def test_encodings_are_equal_only_for_equal_values(one: Any, other: Any) -> None:
    assert (encode(one) == encode(other)) == (model(one) == model(other))


@THOROUGH
@given(st.lists(VALUES, min_size=2, max_size=12))
def test_no_encoding_is_the_beginning_of_another(values: list[Any]) -> None:
    found = sorted({encode(value) for value in values})
    assert not any(after.startswith(before) for before, after in itertools.pairwise(found))


@THOROUGH
@given(st.lists(st.lists(VALUES, max_size=3), min_size=2, max_size=4))
def test_where_values_end_makes_a_difference(values: list[list[Any]]) -> None:
    flat = [item for group in values for item in group]
    assert encode(values) != encode(flat) or values == flat


@THOROUGH
@given(VALUES)
def test_what_is_nested_deep_is_encoded_as_if_it_were_not(value: Any) -> None:
    plain = encode(value)
    with mock.patch.object(encoder, "_DEEP", 0):
        assert encode(value) == plain


@st.composite
def tangles(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Lists that hold each other, by number: of each, a label and which it holds."""
    size = draw(st.integers(1, 7))
    members = st.lists(st.integers(0, size - 1), max_size=3)
    return [(draw(st.integers(0, 1)), draw(members)) for _ in range(size)]


def tangled(tangle: list[tuple[int, list[int]]]) -> list[Any]:
    made: list[list[Any]] = [[label] for label, _ in tangle]
    for each, (_, members) in zip(made, tangle, strict=True):
        each.extend(made[member] for member in members)
    return made[0]


def unfold_alike(one: list[tuple[int, list[int]]], other: list[tuple[int, list[int]]]) -> bool:
    """Whether two tangles are the same if unfolded for ever: no walk of as many steps as there are lists differs."""
    both = [*one, *((label, [len(one) + member for member in members]) for label, members in other)]
    sorts = [0] * len(both)
    for _ in both:
        forms = [(label, tuple(sorts[member] for member in members)) for label, members in both]
        numbers = {form: number for number, form in enumerate(dict.fromkeys(forms))}
        sorts = [numbers[form] for form in forms]
    return sorts[0] == sorts[len(one)]


@THOROUGH
@given(tangles(), tangles(), st.randoms())
def test_what_holds_itself_is_its_unfolding(one: Any, other: Any, order: random.Random) -> None:
    assert (encode(tangled(one)) == encode(tangled(other))) == unfold_alike(one, other)
    # The same, each list there several times, and held by any of its copies.
    copies = [(label, [order.randrange(3) * len(one) + member for member in members]) for label, members in one * 3]
    assert encode(tangled(copies)) == encode(tangled(one))


def test_the_format_is_frozen() -> None:
    """Where this fails, keys are others than they were: `SCHEMA` is to be raised, and the digest here replaced."""
    ring: list[Any] = [1, b"x"]
    ring.append({"a": ring, None: [ring]})
    values = [
        [None, True, 1, -(2**40), 0.5, 1 - 2j, "é\ud800", ..., b"a", b"a" * 5000, "a" * 2000],
        [(), [], {}, set(), frozenset(), (1, [2, {"a": (3,), "b": {4, "c"}}])],
        [{1: "a", "b": 2, None: 3}, {(1, 2): 3, (0,): 1}, {frozenset({1}), "a", 2.5}, list(range(500))],
        [bytearray(b"a"), memoryview(b"abcd").cast("H"), Stream([b"a", b"b"]), array.array("d", [1.5]), range(3)],
        [dt.datetime(2020, 1, 2, 3, fold=1, tzinfo=dt.UTC), dt.date(2020, 1, 2), dt.timedelta(1), dt.time(1)],
        [Decimal("1.50"), Fraction(1, 3), UUID(int=5), PurePath("a/b"), re.compile("a", re.IGNORECASE), slice(1)],
        [
            OrderedDict(a=1),
            Counter("aab"),
            deque([1], 2),
            defaultdict(list),
            MappingProxyType({"a": 1}),
            {"a": 1}.keys(),
        ],
        [int, len, functools.partial(len, [1]), [].append, int | None, list[int], ValueError("a"), NotImplemented],
        [SimpleNamespace(a=1, b=[2]), ring],
    ]
    assert (SCHEMA, blake3(encode(values)).hexdigest(8)) == (2, "fd680f679af12bab")


def test_the_format_of_arrays_is_frozen() -> None:
    """As above."""
    np = pytest.importorskip("numpy")
    values = [
        [np.arange(6.0).reshape(2, 3).T, np.array(["a", "b"], object), np.array(["a\0", None], object), np.float32(1)],
        [np.zeros(2, [("a", "i1"), ("b", "f8", (2,))]), np.ma.array([1, 2], mask=[0, 1]), np.dtype("M8[s]")],
    ]
    assert (SCHEMA, blake3(encode(values)).hexdigest(8)) == (2, "424cf9aae94376b4")


def test_nothing_that_is_thrown_at_it_crashes_the_interpreter() -> None:
    made = random.Random(7)
    kinds = [kind for kind in _all_classes() if kind.__module__ not in {"_pytest", "hypothesis"}]
    refused = keyed = 0
    for kind in kinds:
        for arguments in ((), (1,), ("a",), ([1, 2],), ({"a": 1},)):
            try:
                value = kind(*arguments)
            except BaseException:
                continue
            try:
                encode([value, made.random()])
                keyed += 1
            except (UnkeyableError, AttributeError, TypeError, ValueError):
                refused += 1
    assert keyed > 100
    assert refused > 20


def _all_classes() -> list[type]:
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in _SAFE and module]
    found = {value for module in modules for value in vars(module).values() if type(value) is type}
    found = {kind for kind in found if not issubclass(kind, io.IOBase) and not hasattr(kind, "close")}
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


_SAFE = frozenset({
    "abc", "array", "ast", "bisect", "builtins", "calendar", "cmath", "collections", "configparser", "contextlib",
    "copy", "dataclasses", "datetime", "decimal", "difflib", "email", "enum", "fractions", "functools", "heapq",
    "html", "http", "inspect", "ipaddress", "itertools", "json", "logging", "numbers", "operator", "pathlib",
    "pprint", "queue", "random", "re", "statistics", "string", "struct", "textwrap", "token", "tokenize", "types",
    "uuid", "weakref", "zoneinfo",
})  # fmt: skip

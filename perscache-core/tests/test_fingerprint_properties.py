"""Properties of the encoding, on generated values."""

from __future__ import annotations

import io
import itertools
import random
import sys
from typing import Any

import pytest

pytest.importorskip("hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perscache.errors import UnkeyableError
from perscache.fingerprint import Encoder


def _by_name(value: Any) -> bytes:
    return f"{value.__module__}.{value.__qualname__};".encode()


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
    return __import__("struct").pack("<d", value)


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

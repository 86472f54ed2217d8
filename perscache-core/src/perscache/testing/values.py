"""Values of every kind that the standard library has, and what differs between two values."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import itertools
import math
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from .expecting import shown


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int


@dataclass
class Order:
    """An instance of somebody's own class."""

    number: int
    paid: bool = False


VALUES: Final[Mapping[str, Any]] = {
    "`None`, `bool`, `int`, `float`, `str`": [None, True, 0, 2**80, -0.0, math.nan, math.inf, "", "Zoë 😀\n"],
    "`list`": [1, ["a", []]],
    "`dict` with string keys": {"b": 1, "a": {"c": [None]}},
    "`dict` with other keys": {1: "a", None: "b", 2.5: "c"},
    "`tuple`": (1, (2, "x")),
    "`set`": {1, 2, "x"},
    "`frozenset`": frozenset({1, 2}),
    "`bytes`": b"\x00raw",
    "`date`, `datetime`": [dt.date(2024, 2, 29), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 0, 0, 0, 1, dt.UTC)],  # noqa: DTZ001
    "`datetime` with a named zone": dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    "`time`, `timedelta`": [dt.time(12, 30), dt.timedelta(days=1)],
    "`Decimal`, `UUID`, `Path`": [decimal.Decimal("1.50"), uuid.UUID(int=1), Path("a/b")],
    "`Enum`": Colour.RED,
    "named tuple": Point(1, 2),
    "`OrderedDict`, `defaultdict`": [collections.OrderedDict(b=1, a=2), collections.defaultdict(list, a=[1])],
    "dataclass, other instances": Order(7),
    "function of a module": itertools.chain,
}  # fmt: skip
"""By what tables call them."""


def difference(left: Any, right: Any, place: str = "") -> str | None:
    """What makes ``right`` another value than ``left``, in a phrase; None where they agree in type, order, bits."""
    at = f" at {place}" if place else ""
    if type(left) is not type(right):
        return f"the {type(left).__name__} {shown(left)}{at} became the {type(right).__name__} {shown(right)}"
    if isinstance(left, dict):
        if [*left] != [*right] and sorted(map(repr, left)) == sorted(map(repr, right)):
            return f"the order {shown([*left])}{at} became {shown([*right])}"
        return difference([*left], [*right], f"{place}keys") or _first_difference(left, right, place, left)
    if isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return f"{len(left)} items{at} became {len(right)}"
        return _first_difference(left, right, place, range(len(left)))
    if isinstance(left, (set, frozenset)):
        return None if left == right else f"{shown(left)}{at} became {shown(right)}"
    return None if _equal(left, right) else f"{shown(left)}{at} became {shown(right)}"


def _first_difference(left: Any, right: Any, place: str, keys: Any) -> str | None:
    found = (difference(left[key], right[key], f"{place}[{key!r}]") for key in keys)
    return next((one for one in found if one is not None), None)


def _equal(left: Any, right: Any) -> bool:
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None and isinstance(left, pandas.DataFrame):
        try:
            pandas.testing.assert_frame_equal(left, right, check_exact=True, check_freq=True, check_index_type="exact")
        except AssertionError:
            return False
        return True
    if numpy is not None and isinstance(left, numpy.ndarray):
        return bool(left.dtype == right.dtype and numpy.array_equal(left, right))
    if hasattr(left, "equals"):
        return bool(left.equals(right))
    if isinstance(left, FunctionType):
        return left is right or bool(left() == right())
    # Not by ==, for which -0.0 is 0.0, and NaN nothing.
    return repr(left) == repr(right) or (" at 0x" in repr(left) and bool(left == right))

"""What every serializer promises, asked of each of them, over one set of values.

The answers are the table of docs/serializers.md; ``python tests/test_serializer_conformance.py`` writes it anew.
"""

from __future__ import annotations

import asyncio
import collections
import copy
import datetime as dt
import decimal
import enum
import itertools
import math
import os
import pickle
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from perscache import Cache
from perscache.errors import PerscacheError
from perscache.serializers import (
    CloudPickleSerializer,
    CSVSerializer,
    JSONSerializer,
    NumpySerializer,
    ParquetSerializer,
    PickleSerializer,
    Serializer,
    YAMLSerializer,
    make_serializer,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "serializers.md"

SERIALIZERS: Mapping[str, Callable[[], Serializer]] = {
    "cloudpickle": CloudPickleSerializer,
    "pickle": PickleSerializer,
    "json": JSONSerializer,
    "yaml": YAMLSerializer,
    "parquet": ParquetSerializer,
    "csv": CSVSerializer,
    "numpy": NumpySerializer,
}

OF_ONES_OWN = make_serializer(
    "Hex", "hex.txt", lambda data: data.hex().encode(), lambda data: bytes.fromhex(data.decode())
)


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Order:
    number: int
    paid: bool = False


days = pd.date_range("2024", periods=2, name="day")

VALUES: Mapping[str, Any] = {
    "`None`, `bool`, `int`, `float`, `str`": [None, True, 0, 2**80, -0.0, math.nan, math.inf, "", "Zoë 😀\n"],
    "`list`": [1, ["a", []]],
    "`dict` with string keys": {"b": 1, "a": {"c": [None]}},
    "`dict` with other keys": {1: "a", None: "b", 2.5: "c"},
    "`tuple`": (1, (2, "x")),
    "`set`": {1, 2, "x"},
    "`frozenset`": frozenset({1, 2}),
    "`bytes`": b"\x00raw",
    "`date`, `datetime`": [dt.date(2024, 2, 29), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, 0, 0, 0, 1, dt.UTC)],
    "`datetime` with a named zone": dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    "`time`, `timedelta`": [dt.time(12, 30), dt.timedelta(days=1)],
    "`Decimal`, `UUID`, `Path`": [decimal.Decimal("1.50"), uuid.UUID(int=1), Path("a/b")],
    "`Enum`": Colour.RED,
    "named tuple": Point(1, 2),
    "`OrderedDict`, `defaultdict`": [collections.OrderedDict(b=1, a=2), collections.defaultdict(list, a=[1])],
    "dataclass, other instances": Order(7),
    "function of a module": itertools.chain,
    "`lambda`, local function or class": lambda: 42,
    "numpy array": np.arange(6, dtype="float32").reshape(2, 3),
    "numpy number": np.float64(1.5),
    "pandas frame: numbers, text, dates": pd.DataFrame({"a": [1, 2], "b": [0.1, np.nan], "c": ["x", None]}, index=days),
    "pandas frame: categories, zones, small types": pd.DataFrame(
        {"a": pd.Categorical(["x", None]), "b": days.tz_localize("Asia/Tokyo"), "c": pd.array([1, None], dtype="Int8")}
    ),
    "pandas frame: lists in cells": pd.DataFrame({"a": [["x"], []]}),
    "pandas series": pd.Series([1, 2], name="a"),
    "polars frame": pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": pl.Series(["u", "v"], dtype=pl.Categorical)}),
    "pyarrow table": pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()}),
}  # fmt: skip


def same(left: Any, right: Any) -> bool:
    """Equal in types, order and bits; functions by what they give."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same([*left], [*right]) and same([*left.values()], [*right.values()])
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True, check_freq=True, check_index_type="exact")
        return True
    if isinstance(left, (pl.DataFrame, pa.Table, pd.Series)):
        return bool(left.equals(right))
    if isinstance(left, (set, frozenset)):
        return left == right
    if isinstance(left, type(lambda: 0)):
        return left() == right()
    return repr(left) == repr(right)


def outcome(serializer: Serializer, value: Any) -> str:
    """How a serializer treats a value: "yes", "no", or what it would change."""
    change = serializer.changes(value)
    try:
        data = serializer.dumps(value)
    except (PerscacheError, TypeError):
        return "no"
    return change or ("yes" if same(serializer.loads(data), value) else "WRONG")


def table() -> str:
    """The answers as a table of Markdown."""
    rows = [["value", *(f"`{name}`" for name in SERIALIZERS)], ["---", *(":-:" for _ in SERIALIZERS)]]
    for kind, value in VALUES.items():
        # This module's name depends on who asks.
        outcomes = [outcome(make(), value).replace(f"{__name__}.", "") for make in SERIALIZERS.values()]
        rows.append([kind, *({"yes": "✓", "no": "–"}.get(answer, f"*{answer}*") for answer in outcomes)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page_with_table() -> str:
    text = PAGE.read_text(encoding="utf-8")
    return re.sub(r"(?<=<!-- table -->\n).*(?=\n<!-- end of table -->)", lambda _: table(), text, flags=re.DOTALL)


@pytest.fixture(params=SERIALIZERS.values(), ids=SERIALIZERS.keys())
def serializer(request: pytest.FixtureRequest) -> Serializer:
    return request.param()


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_a_value_comes_back_the_same_or_is_announced_or_refused(serializer: Serializer, value: Any):
    assert outcome(serializer, value) != "WRONG"


def test_the_table_in_the_docs_is_what_the_serializers_do():
    assert PAGE.read_text(encoding="utf-8") == page_with_table(), "run: python tests/test_serializer_conformance.py"


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_storing_leaves_the_value_as_it_is(serializer: Serializer, value: Any):
    before = copy.deepcopy(value)

    outcome(serializer, value)

    assert same(value, before)


def kept(serializer: Serializer) -> dict[str, Any]:
    return {kind: value for kind, value in VALUES.items() if outcome(serializer, value) == "yes"}


def test_every_serializer_keeps_something(serializer: Serializer):
    assert kept(serializer)


@pytest.mark.parametrize("name", ["json", "yaml", "parquet", "csv", "numpy"])
@pytest.mark.parametrize("value", [object(), Order(1)], ids=["object", "Order"])
def test_a_refusal_says_which_type_and_what_to_use(name: str, value: Any):
    with pytest.raises((PerscacheError, TypeError), match=rf'{type(value).__name__}.*"cloudpickle"'):
        SERIALIZERS[name]().dumps(value)


def test_bytes_are_read_from_any_buffer(serializer: Serializer):
    for value in kept(serializer).values():
        data = serializer.dumps(value)

        assert type(data) is bytes
        assert same(serializer.loads(memoryview(data)), value)  # type: ignore[arg-type]


def test_a_serializer_goes_to_another_process(serializer: Serializer):
    again = pickle.loads(pickle.dumps(serializer))

    assert (again.name, again.extension, again.identity) == (serializer.name, serializer.extension, serializer.identity)


def test_only_pickles_can_run_code():
    assert [name for name, make in SERIALIZERS.items() if not make().safe] == ["cloudpickle", "pickle"]


SECOND_PROCESS = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("conformance", sys.argv[1])
conformance = importlib.util.module_from_spec(spec)
sys.modules["conformance"] = conformance
spec.loader.exec_module(conformance)
for name, make in conformance.SERIALIZERS.items():
    serializer = make()
    for number, (kind, value) in enumerate(conformance.kept(serializer).items()):
        file = Path(sys.argv[2], f"{name}-{number}.{serializer.extension}")
        if sys.argv[3] == "write":
            file.write_bytes(serializer.dumps(value))
        else:
            assert conformance.same(serializer.loads(file.read_bytes()), value), (name, kind)
            print(name)
"""


def test_what_one_process_writes_another_with_another_hash_seed_reads(tmp_path: Path):
    def process(task: str, seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SECOND_PROCESS, __file__, str(tmp_path), task],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    process("write", "1")

    assert set(process("read", "2").split()) == set(SERIALIZERS)


@pytest.mark.parametrize("make", [*SERIALIZERS.values(), OF_ONES_OWN], ids=[*SERIALIZERS, "of one's own"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_hit_gives_what_the_miss_gave(make: Callable[[], Serializer], colour: str, tmp_path: Path):
    serializer = make()
    values = kept(serializer) if make is not OF_ONES_OWN else {"bytes": b"\x00\xff"}
    calls: list[str] = []
    cache = Cache(serializer, tmp_path, on_error="raise")

    def result(kind: str) -> Any:
        calls.append(kind)
        return values[kind]

    async def later(kind: str) -> Any:
        return result(kind)

    # What the function returns is no part of its code here, and lambdas are no values for keys.
    function: Any = cache(name="result", track="none")(result if colour == "sync" else later)

    def call(kind: str) -> Any:
        return function(kind) if colour == "sync" else asyncio.run(function(kind))

    for kind in values:
        assert same(call(kind), call(kind))

    assert calls == list(values)
    assert len(list(tmp_path.rglob(f"*.{serializer.extension}"))) == len(values)


if __name__ == "__main__":
    PAGE.write_text(page_with_table(), encoding="utf-8")

"""Every serializer of ours on values of every library: kept, announced, or refused.

The answers are the table of docs/serializers.md; ``python tests/test_serializer_conformance.py`` writes it anew. What
one serializer promises by itself its own tests ask.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

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
)
from perscache.testing import SerializerTests
from perscache.testing.values import VALUES as PLAIN
from perscache.testing.values import Order, difference

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

days = pd.date_range("2024", periods=2, name="day")

VALUES: Mapping[str, Any] = {
    **PLAIN,
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


def outcome(serializer: Serializer, value: Any) -> str:
    """How a serializer treats a value: "yes", "no", or what it would change."""
    change = serializer.changes(value)
    try:
        data = serializer.dumps(value)
    except (PerscacheError, TypeError):
        return "no"
    return change or ("yes" if difference(value, serializer.loads(data)) is None else "WRONG")


def table() -> str:
    """The answers as a table of Markdown."""
    rows = [["value", *(f"`{name}`" for name in SERIALIZERS)], ["---", *(":-:" for _ in SERIALIZERS)]]
    for kind, value in VALUES.items():
        outcomes = [outcome(make(), value).replace("perscache.testing.values.", "") for make in SERIALIZERS.values()]
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

    assert difference(before, value) is None


@pytest.mark.parametrize("name", ["json", "yaml", "parquet", "csv", "numpy"])
@pytest.mark.parametrize("value", [object(), Order(1)], ids=["object", "Order"])
def test_a_refusal_says_which_type_and_what_to_use(name: str, value: Any):
    with pytest.raises((PerscacheError, TypeError), match=rf'{type(value).__name__}.*"cloudpickle"'):
        SERIALIZERS[name]().dumps(value)


def test_only_pickles_can_run_code():
    assert [name for name, make in SERIALIZERS.items() if not make().safe] == ["cloudpickle", "pickle"]


class TestPicklesOfEveryLibrary(SerializerTests):
    any_buffer = True

    @pytest.fixture(params=["pickle", "cloudpickle"])
    def serializer(self, request: pytest.FixtureRequest) -> Serializer:
        return SERIALIZERS[request.param]()

    @pytest.fixture
    def values(self, serializer: Serializer) -> Sequence[Any]:
        kept = [value for value in VALUES.values() if outcome(serializer, value) == "yes"]
        assert len(kept) >= len(VALUES) - 1
        return kept


if __name__ == "__main__":
    PAGE.write_text(page_with_table(), encoding="utf-8")

"""CSV: a frame comes back equal to the last bit, or it is refused; and the file is as plain as it can be."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perscache.errors import SerializationError
from perscache_csv import CSVSerializer

serializer = CSVSerializer()


def same(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Equal in values, types, order, index, names, attributes and Python objects."""
    try:
        pd.testing.assert_frame_equal(
            left, right, check_exact=True, check_column_type="exact", check_index_type="exact", check_freq=True
        )
    except AssertionError:
        return False
    return repr(left.attrs) == repr(right.attrs) and all(
        [(type(value), repr(value)) for value in left.iloc[:, position]]
        == [(type(value), repr(value)) for value in right.iloc[:, position]]
        for position, dtype in enumerate(left.dtypes)
        if str(dtype) in ("object", "float64", "float32")
    )


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def objects(*values: Any) -> pd.Series[Any]:
    return pd.Series(values, dtype=object)


def with_index(index: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2]}, index=index)


days = pd.date_range("2024", periods=2)
dates = pd.DatetimeIndex(["2024-01-01", "2024-02-29"], name="date")

PLAIN = {
    "numbers": (frame(a=[1, 2], b=[0.1, np.nan], c=[True, False]), "a,b,c\n1,0.1,True\n2,,False\n"),
    "text": (frame(a=["x", None, "y,z", 'say "hi"', "two\nlines"]), 'a\nx\n""\n"y,z"\n"say ""hi"""\n"two\nlines"\n'),
    "an index": (pd.DataFrame({"price": [1.5, 2.0]}, index=dates), '"date",price\n2024-01-01,1.5\n2024-02-29,2.0\n'),
    "an index without a name": (with_index(["x", "y"]), '"",a\nx,1\ny,2\n'),
    "two indexes": (
        with_index(pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])),
        '"p","",a\nx,1,1\ny,2,2\n',
    ),
    "one name twice": (pd.DataFrame([[1, 2]], columns=["a", "a"]), "a,a\n1,2\n"),
    "the same name as the index": (with_index(pd.Index([3, 4], name="a")), '"a",a\n3,1\n4,2\n'),
    "floats": (frame(a=[-0.0, 5e-324, 1e300, np.inf, -np.inf]), "a\n-0.0\n5e-324\n1e+300\ninf\n-inf\n"),
    "times": (frame(t=pd.to_datetime(["2024-01-01 10:00:00.000001"])), "t\n2024-01-01 10:00:00.000001\n"),
    "a day that is none": (frame(a=["2024-02-31"]), "a\n2024-02-31\n"),
    "words for nothing": (frame(a=["nan", "NA", "null"]), "a\nnan\nNA\nnull\n"),
    "a column without a name": (pd.DataFrame([[1, 2]], columns=["", "x"]), ",x\n1,2\n"),
    "spaces": (frame(a=[" x", "y "]), "a\n x\ny \n"),
}


@pytest.mark.parametrize(("table", "text"), PLAIN.values(), ids=PLAIN.keys())
def test_a_frame_that_the_text_says_all_of_is_a_plain_file(table: pd.DataFrame, text: str):
    data = serializer.dumps(table)

    assert data.decode() == text
    assert same(serializer.loads(data), table)


def with_attrs(**attrs: Any) -> pd.DataFrame:
    table = frame(a=[1])
    table.attrs = attrs
    return table


TYPED = {
    "an array": pd.DataFrame(np.zeros((2, 2))),
    "no rows": frame(a=pd.Series(dtype="int8"), b=pd.Series(dtype=object)),
    "no columns": pd.DataFrame(index=range(3)),
    "no columns, named rows": pd.DataFrame(index=["a"]),
    "nothing": pd.DataFrame(),
    **{f"type {name}": frame(a=pd.Series([1, 0], dtype=name)) for name in (
        "Int64", "UInt8", "Float64", "boolean", "float32", "float16", "uint64", "int8", "complex128", "Sparse[int]",
        "timedelta64[ns]", "datetime64[s]", "datetime64[ns]", "string",
    )},
    "missing numbers": frame(a=pd.array([1, None], dtype="Int64"), b=pd.array([True, None], dtype="boolean")),
    "text types": frame(a=pd.Series(["a", None], dtype="string[python]"), b=objects("a", None), c=objects("a", np.nan)),
    "empty and missing": frame(a=["", None, "NA"]),
    "empty": frame(a=["", "x"]),
    "numbers as text": frame(a=["1", "02"]),
    "dates as text": frame(a=["2024-01-01"]),
    "truths as text": frame(a=["True", "False"]),
    "python dates": frame(a=objects(dt.date(2024, 1, 1), None)),
    "zones": frame(a=days.tz_localize("Europe/Berlin"), b=days.tz_localize("UTC"), c=days.tz_localize("+05:30")),
    "periods": frame(a=pd.period_range("2024", periods=2, freq="M")),
    "category": frame(c=pd.Categorical(["b", None], categories=["z", "b", "a"], ordered=True)),
    "category of numbers": frame(c=pd.Categorical([3, 1], categories=[5, 3, 1])),
    "category of intervals": frame(c=pd.cut([1, 2, 3], 2)),
    "category without rows": frame(c=pd.Categorical([], categories=["a"])),
    **{f"names {names}": pd.DataFrame([[1, 2]], columns=names) for names in (
        [1, "a"], [True, False], [1.5, 2.5], [None, "a"], ["a,b", 'c"d'], days, pd.RangeIndex(1, 5, 2),
        pd.MultiIndex.from_tuples([("a", 1), (2, "b")], names=["p", None]), pd.Index(["a", "b"], name="cols"),
    )},
    **{f"index {index!r}": with_index(index) for index in (
        pd.RangeIndex(5, 9, 2, name="r"), pd.Index([3, 4], name=7), days, days.tz_localize("Europe/Berlin"),
        pd.date_range("2024", periods=2, freq="ME", name="end"), pd.timedelta_range("1D", periods=2),
        pd.period_range("2024", periods=2, freq="M"), pd.CategoricalIndex(["q", "r"]),
        pd.MultiIndex.from_product([pd.Categorical(["q", "r"]), [days[0]]]), pd.Index(["1", "2"]),
    )},
    "an index of text as objects": with_index(pd.Index([None, "x"], dtype=object)),
    "attrs": with_attrs(unit="m", n=[1, None]),
    "a name like our first line": frame(**{"# perscache-csv 1 {}": [1]}),
}  # fmt: skip


@pytest.mark.parametrize("table", TYPED.values(), ids=TYPED.keys())
def test_a_frame_that_the_text_says_less_of_has_its_types_in_the_first_line(table: pd.DataFrame):
    data = serializer.dumps(table)

    assert data.startswith(b"# perscache-csv 1 {")
    assert same(serializer.loads(data), table)


class Sub(pd.DataFrame):
    pass


holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])

REFUSED = {
    "whole numbers as objects": (frame(a=objects(1, None)), "column 'a' holds 1, of type int"),
    "lists": (frame(a=objects(["x"])), "column 'a' holds ['x'], of type list"),
    "arrays": (frame(a=objects(np.zeros(2))), "column 'a' holds array([0., 0.])"),
    "decimals": (frame(a=objects(decimal.Decimal(1))), "decimal.Decimal"),
    "datetimes as objects": (frame(a=objects(dt.datetime(2024, 1, 1))), "datetime.datetime"),
    "None and nan": (frame(a=objects("x", None, np.nan)), "column 'a' of object"),
    "NaN beside NA": (
        frame(a=pd.arrays.FloatingArray(np.array([1, np.nan, 3]), np.array([False, False, True]))),
        "column 'a' holds NaN",
    ),
    "intervals": (frame(a=pd.interval_range(0, 2)), "column 'a' has intervals"),
    "an index of objects": (with_index(pd.Index([1, 2], dtype=object)), "the index None holds 1"),
    "a calendar": (with_index(pd.date_range("2024", periods=2, freq=holidays)), "frequency"),
    "attrs with a tuple": (with_attrs(a=(1,)), "the attrs"),
    "attrs with a set": (with_attrs(a={1}), "set"),
    "names that are tuples": (pd.DataFrame([[1]], columns=pd.Index([(1, 2)], tupleize_cols=False)), "(1, 2)"),
    "undecodable text": (frame(a=objects("\udcff")), "surrogates"),
    "categories of the same text": (frame(c=pd.Categorical([1, "1"])), "column 'c' has two categories"),
}


@pytest.mark.parametrize(("table", "phrase"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_not_come_back_is_refused_with_its_place_and_the_way_out(table: pd.DataFrame, phrase: str):
    with pytest.raises(SerializationError) as caught:
        serializer.dumps(table)

    assert phrase in str(caught.value)
    assert 'serializer="parquet"' in str(caught.value)


@pytest.mark.parametrize(("value", "phrase"), [([1], "a list; use"), (pd.Series([1]), "call .to_frame()")])
def test_what_is_no_frame_is_a_type_error_with_the_way_out(value: Any, phrase: str):
    with pytest.raises(TypeError) as caught:
        serializer.dumps(value)

    assert phrase in str(caught.value)


def test_a_subclass_is_announced():
    assert serializer.changes(Sub({"a": [1]})) == f"a {__name__}.Sub becomes a pandas.DataFrame"
    assert serializer.changes(frame(a=[1])) is None


texts = st.text(st.characters(codec="utf-8") | st.sampled_from(',"\n\r #'), max_size=4)
cells = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "float32": st.floats(width=32),
    "bool": st.booleans(),
    "str": st.none() | texts,
    "object": st.none() | texts | st.sampled_from([dt.date(2024, 1, 1), 1, np.nan]),
    "Int16": st.none() | st.integers(-(2**15), 2**15 - 1),
    "datetime64[us]": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "datetime64[us, Europe/Berlin]": st.none() | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)),
    "timedelta64[us]": st.none() | st.timedeltas(dt.timedelta(-9999), dt.timedelta(9999)),
    "category": st.none() | texts,
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(cells)), max_size=4))
    columns = []
    for kind in kinds:
        values = draw(st.lists(cells[kind], min_size=rows, max_size=rows))
        zoned = pd.Series(pd.to_datetime(values, utc=True)).dt.tz_convert("Europe/Berlin") if "Berlin" in kind else None
        columns.append(pd.Series(values, dtype=kind) if zoned is None else zoned)
    table = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows))
    table.columns = pd.Index(draw(st.lists(texts, min_size=len(kinds), max_size=len(kinds))), dtype="str")
    return table.set_index(table.columns[0]) if columns and table.columns.is_unique and draw(st.booleans()) else table


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(frames())
def test_any_frame_comes_back_equal_or_is_refused(table: pd.DataFrame):
    try:
        data = serializer.dumps(table)
    except SerializationError:
        assert "object" in [str(dtype) for dtype in [*table.dtypes, table.index.dtype]]
        return

    assert same(serializer.loads(data), table)


def test_other_tools_read_the_files():
    table = pd.DataFrame({"price": [1.5, 2.0], "note": ["a, b", "c"]}, index=dates)
    data = serializer.dumps(table)

    rows = list(csv.reader(io.StringIO(data.decode())))
    assert rows == [["date", "price", "note"], ["2024-01-01", "1.5", "a, b"], ["2024-02-29", "2.0", "c"]]
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(data), index_col="date", parse_dates=True), table)

    typed = serializer.dumps(table.astype({"price": "float32"}))
    assert pd.read_csv(io.BytesIO(typed), comment="#").columns.tolist() == ["date", "price", "note"]


def test_pandas_is_imported_when_there_is_a_frame():
    source = """
import sys
from perscache_csv import CSVSerializer
try:
    CSVSerializer().dumps([1])
except TypeError:
    print("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, check=True).stdout == b"False\n"

"""Parquet: a table comes back as what it was, or is refused, or the change is announced."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import subprocess
import sys
import uuid
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perscache import Cache
from perscache.errors import ConfigurationError, DamagedEntry, SerializationError
from perscache_parquet import ParquetSerializer

serializer = ParquetSerializer()


def same(left: Any, right: Any) -> bool:
    """Equal in library, types, order, index, names, attributes and Python objects."""
    if type(left) is not type(right):
        return False
    if isinstance(left, pa.Table):
        return bool(left.equals(right) and left.schema.equals(right.schema, check_metadata=True))
    if isinstance(left, pl.DataFrame):
        return left.schema == right.schema and left.equals(right)
    try:
        pd.testing.assert_frame_equal(
            left, right, check_exact=True, check_column_type="exact", check_index_type="exact", check_freq=True
        )
    except AssertionError:
        return False
    texts = [
        [(type(value), repr(value)) for value in frame.iloc[:, position]]
        for frame in (left, right)
        for position in range(frame.shape[1])
        if str(frame.dtypes.iloc[position]) == "object"
    ]
    half = len(texts) // 2
    return texts[:half] == texts[half:] and repr(left.attrs) == repr(right.attrs)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


def objects(*values: Any) -> pd.Series[Any]:
    return pd.Series(values, dtype=object)


def coded(indices: pa.DataType, values: list[Any], kind: pa.DataType) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array([0, 2, None], indices), pa.array(values, kind))


days = pd.date_range("2024", periods=2)

KEPT = {
    "numbers": frame(a=[1, 2], b=[1.5, np.nan], c=[True, False], d=["x", None]),
    "an array": pd.DataFrame(np.zeros((2, 2))),
    "no rows": frame(a=pd.Series(dtype="int8"), b=pd.Series(dtype=object)),
    "no columns": pd.DataFrame(index=range(3)),
    "no columns, a named range": pd.DataFrame(index=pd.RangeIndex(3, name="r")),
    "no columns, named rows": pd.DataFrame(index=["a"]),
    "nothing": pd.DataFrame(),
    **{f"names {names}": pd.DataFrame([[1, 2]], columns=names) for names in (
        [1, "a"], [True, False], [1.5, 2.5], ["a", "a"], [None, "a"], days, pd.RangeIndex(1, 5, 2),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", None]), pd.Index(["a", "b"], name="cols"),
    )},
    **{f"index {index!r}": pd.DataFrame({"a": [1, 2]}, index=index) for index in (
        pd.RangeIndex(5, 9, 2, name="r"), pd.Index(["x", "y"]), pd.Index([3, 4], name=7), pd.Index([1, 2], name="a"),
        days, days.tz_localize("Europe/Berlin"), pd.date_range("2024", periods=2, freq="ME"),
        pd.timedelta_range("1D", periods=2), pd.period_range("2024", periods=2, freq="M"), pd.interval_range(0, 2),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["p", "p"]), pd.CategoricalIndex(["q", "r"]),
        pd.MultiIndex.from_product([pd.Categorical(["q", "r"]), [days[0]]]),
        pd.Index([dt.date(2024, 1, 1), None]),
    )},
    **{f"time {unit}": frame(
        t=pd.Series([1, None], dtype=f"datetime64[{unit}]"), d=pd.Series([1, None], dtype=f"timedelta64[{unit}]")
    ) for unit in ("s", "ms", "us", "ns")},
    **{f"zone {zone}": frame(t=days.tz_localize(zone)) for zone in ("UTC", "America/New_York", "+05:30")},
    **{f"type {name}": frame(a=pd.Series([1, 0], dtype=name)) for name in (
        "Int64", "UInt8", "Float64", "boolean", "float32", "float16", "uint64", "int8", "int64[pyarrow]",
        "double[pyarrow]", "bool[pyarrow]", "timestamp[us, tz=UTC][pyarrow]",
    )},
    "text types": frame(a=pd.Series(["a", None], dtype="string[pyarrow]"), b=pd.Series(["a", None], dtype="str")),
    "category": frame(c=pd.Categorical(["b", "a", None], categories=["z", "b", "a"], ordered=True)),
    "category of numbers": frame(c=pd.Categorical([3, 1], categories=[5, 3, 1])),
    "category of floats": frame(c=pd.Categorical([None, None], categories=[1.5])),
    "category of days": frame(c=pd.Categorical(days.astype(str).astype("datetime64[us]"))),
    "category without rows": frame(c=pd.Categorical([], categories=["a"])),
    "many categories": frame(c=pd.Categorical([f"c{number}" for number in range(1000)])),
    "objects: text": frame(a=objects("a", None)),
    "objects: text and nan": frame(a=objects("a", np.nan)),
    "objects: whole numbers": frame(a=objects(1, None)),
    "objects: floats": frame(a=objects(1.5, None)),
    "objects: booleans": frame(a=objects(True, None)),
    "objects: bytes": frame(a=objects(b"a", None)),
    "objects: days": frame(a=objects(dt.date(2024, 1, 1), None)),
    "objects: times": frame(a=objects(dt.time(1, 2, 3, 4))),
    "objects: datetimes": frame(a=objects(dt.datetime(2024, 1, 1), None)),
    "objects: lists": frame(a=objects(["a"], None, [])),
    "objects: arrays": frame(a=objects(np.zeros(2), np.ones(3))),
    "objects: dicts": frame(a=objects({"a": 1}, {"a": 2})),
    "objects: decimals": frame(a=objects(decimal.Decimal("1.50"), decimal.Decimal("2.25"))),
    "objects: uuids": frame(a=objects(uuid.UUID(int=1))),
    "objects: nothing": frame(a=objects(None, None)),
    "arrow": pa.table({"a": [1, None], "b": ["x", "y"]}),
    "arrow metadata": pa.table(
        [pa.array([1])], pa.schema([pa.field("x", pa.int64(), False, {"unit": "m"})], {"source": "here"})
    ),
    **{f"arrow {kind}": pa.table({"x": pa.array([1, None]).cast(pa.int64()).cast(kind)}) for kind in (
        pa.timestamp("s"), pa.timestamp("s", "Europe/Berlin"), pa.timestamp("ns"), pa.duration("s"),
        pa.float32(),
    )},
    "arrow days": pa.table({"x": pa.array([dt.date(2024, 1, 1), None], pa.date64())}),
    "arrow seconds": pa.table({"x": pa.array([1], pa.time32("s"))}),
    "arrow large text": pa.table({"x": pa.array(["a", None], pa.large_string())}),
    "arrow views": pa.table({"x": pa.array(["a"], pa.string_view()), "y": pa.array([b"a"], pa.binary_view())}),
    "arrow pairs": pa.table({"x": pa.array([[1, 2]], pa.list_(pa.int8(), 2))}),
    "arrow large lists": pa.table({"x": pa.array([[1]], pa.large_list(pa.int8()))}),
    "arrow map": pa.table({"x": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8()))}),
    "arrow struct": pa.table({"x": [{"a": 1, "b": None}]}),
    "arrow decimals": pa.table({"x": pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 2))}),
    "arrow dictionary of numbers": pa.table({"x": coded(pa.int8(), [5, 3, 9], pa.int64())}),
    "arrow dictionary of views": pa.table({"x": coded(pa.uint32(), ["z", "a", "b"], pa.string_view())}),
    "arrow without chunks": pa.table({"x": pa.chunked_array([], pa.dictionary(pa.int8(), pa.string()))}),
    "polars names like types": pl.DataFrame({"x": pl.Series(["Object"], dtype=pl.Enum(["Object"]))}),
    "polars": pl.DataFrame({"a": [1, None], "b": ["x", None], "c": [float("nan"), -0.0]}),
    **{f"polars {dtype}": pl.DataFrame({"x": pl.Series(values, dtype=dtype)}) for values, dtype in (
        ([1, None], pl.Int8), (["b", "a", None], pl.Categorical), (["b", "a"], pl.Enum(["z", "a", "b"])),
        ([decimal.Decimal("1.50")], pl.Decimal(10, 2)), ([dt.timedelta(1)], pl.Duration("ms")), ([dt.time(1)], pl.Time),
        ([dt.datetime(2024, 1, 1)], pl.Datetime("ms", "Europe/Berlin")), ([[1], None, []], pl.List(pl.Int64)),
        ([[1, 2]], pl.Array(pl.Int8, 2)), ([{"a": 1, "b": "x"}], pl.Struct({"a": pl.Int64, "b": pl.String})),
        ([b"x"], pl.Binary), ([None], pl.Null), ([["a"]], pl.List(pl.Categorical)),
    )},
}  # fmt: skip


@pytest.mark.parametrize("table", KEPT.values(), ids=KEPT.keys())
def test_a_table_comes_back_as_what_it_was(table: Any):
    assert serializer.changes(table) is None
    assert same(serializer.loads(serializer.dumps(table)), table)


def with_attrs(**attrs: Any) -> pd.DataFrame:
    table = frame(a=[1])
    table.attrs = attrs
    return table


def test_attrs_come_back():
    assert serializer.loads(serializer.dumps(with_attrs(unit="m", n=[1, None]))).attrs == {"unit": "m", "n": [1, None]}


class Sub(pd.DataFrame):
    pass


holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])

CHANGED = {
    "a subclass": (Sub({"a": [1]}), "Sub becomes a pandas.DataFrame"),
    "tuples": (frame(a=objects((1, 2))), "column 'a': tuple (1, 2) in row 0 becomes list [1, 2]"),
    "ragged dicts": (frame(a=objects({"a": 1}, {"b": 1})), "in row 0 becomes dict {'a': 1, 'b': None}"),
    "numpy numbers": (frame(a=objects(np.int64(3))), "column 'a': numpy.int64"),
    "None and nan": (frame(a=objects("a", np.nan, None)), "float nan in row 1 becomes NoneType None"),
    "decimal places": (frame(a=objects(decimal.Decimal("1.0"), decimal.Decimal("1.00"))), "Decimal('1.00')"),
    "NaN beside NA": (
        frame(a=pd.arrays.FloatingArray(np.array([1, np.nan, 3]), np.array([False, False, True]))),
        "column 'a': NaN becomes NA",
    ),
    "category of objects": (frame(c=pd.Categorical(["a"], categories=pd.Index(["a"], dtype=object))), "column 'c'"),
    "an index of objects": (pd.DataFrame({"a": [1]}, index=pd.Index([1], dtype=object)), "the index"),
    "a calendar": (pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024", periods=2, freq=holidays)), "frequency"),
    "attrs with a tuple": (with_attrs(a=(1,)), "attrs: a tuple at ['a'] becomes a list"),
    "attrs with a set": (with_attrs(a={1}), "attrs are lost"),
}


@pytest.mark.parametrize(("table", "phrase"), CHANGED.values(), ids=CHANGED.keys())
def test_a_change_is_announced(table: Any, phrase: str):
    change = serializer.changes(table)

    assert change is not None
    assert phrase in change
    assert not same(serializer.loads(serializer.dumps(table)), table)


REFUSED = {
    "complex numbers": (frame(z=[1j]), "column z"),
    "mixed objects": (frame(m=objects(1, "a")), "column m"),
    "sparse": (frame(s=pd.Series([1, 0], dtype="Sparse[int]")), "column s"),
    "intervals as categories": (frame(c=pd.cut([1, 2, 3], 2)), "categories of column 'c'"),
    "names that are tuples": (pd.DataFrame([[1]], columns=pd.Index([(1, 2)], tupleize_cols=False)), "(1, 2)"),
    "an index named by a tuple": (pd.DataFrame({"a": [1]}, index=pd.Index([1], name=("x", 1))), "('x', 1)"),
    "mixed levels": (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), (2, "b")])), "rename"),
    "intervals of arrow": (pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), "month_day_nano"),
    "objects of polars": (pl.DataFrame({"x": pl.Series([object()])}), "column 'x'"),
}


@pytest.mark.parametrize(("table", "phrase"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_come_back_is_refused_with_its_place(table: Any, phrase: str):
    assert serializer.changes(table) is None
    with pytest.raises(SerializationError) as caught:
        serializer.dumps(table)

    assert phrase in str(caught.value)


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ([1], "this is a list; use serializer="),
        (pd.Series([1]), "pandas.Series; call .to_frame()"),
        (pl.LazyFrame({"a": [1]}), "call .collect()"),
    ],
)
def test_what_is_no_table_is_a_type_error_with_the_way_out(value: Any, phrase: str):
    with pytest.raises(TypeError) as caught:
        serializer.dumps(value)

    assert phrase in str(caught.value)
    assert 'serializer="cloudpickle"' in str(caught.value)


cells = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(),
    "bool": st.booleans(),
    "str": st.none() | st.text(),
    "Int16": st.none() | st.integers(-(2**15), 2**15 - 1),
    "datetime64[us]": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "category": st.none() | st.text(max_size=3),
    "object": st.none() | st.binary(max_size=3) | st.text(max_size=3) | st.integers() | st.lists(st.integers(0, 9)),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(cells)), max_size=4))
    columns = [pd.Series(draw(st.lists(cells[kind], min_size=rows, max_size=rows)), dtype=kind) for kind in kinds]
    table = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(rows))
    table.columns = pd.Index(draw(st.lists(st.text(max_size=3), min_size=len(kinds), max_size=len(kinds))), dtype="str")
    return table.set_index(table.columns[0]) if columns and table.columns.is_unique and draw(st.booleans()) else table


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames())
def test_any_frame_comes_back_or_is_refused_or_announced(table: pd.DataFrame):
    change = serializer.changes(table)
    try:
        data = serializer.dumps(table)
    except SerializationError:
        return

    assert change is not None or same(serializer.loads(data), table)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", None])
def test_each_compression_is_what_other_tools_find_in_the_file(compression: Any):
    table = frame(a=range(1000))
    data = ParquetSerializer(compression=compression).dumps(table)

    written = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0).compression
    assert written.lower() == (compression or "uncompressed")
    assert same(ParquetSerializer().loads(data), table)


def test_a_compression_that_there_is_not_is_told_with_the_choice():
    with pytest.raises(ConfigurationError, match=r"no compression 'zip'.*'zstd'"):
        ParquetSerializer(compression="zip")  # type: ignore[arg-type]


def test_other_tools_open_the_files():
    table = pd.DataFrame({"p": [1.5, 2.5], "c": pd.Categorical(["x", "y"])}, index=pd.Index(["a", "b"], name="key"))
    data = serializer.dumps(table)

    assert pl.read_parquet(data).to_dict(as_series=False) == {"p": [1.5, 2.5], "c": ["x", "y"], "key": ["a", "b"]}
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(data)), table)


def test_a_flipped_bit_in_any_page_is_an_error():
    data = bytearray(ParquetSerializer(compression=None).dumps(frame(a=np.arange(1000) * 7919)))
    place = data.index((7919 * 500).to_bytes(8, "little"))
    data[place] ^= 1

    with pytest.raises(OSError, match=r"(?i)crc|checksum"):
        serializer.loads(bytes(data))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_large_tables_come_back_from_local_files_as_they_were(tmp_path, library: str):
    rows = np.arange(50_000)
    table = frame(a=rows * 7919, b=rows / 7, c=[f"row {row}" for row in rows])
    value = {"pandas": table, "polars": pl.from_pandas(table), "pyarrow": pa.table(table)}[library]

    @Cache("parquet", tmp_path, on_error="raise")(name="large", track="none")
    def large() -> Any:
        return value

    assert same(large(), large())
    assert large.cache_info()[:2] == (1, 1)
    file = tmp_path / large.cache.key()
    assert file.stat().st_size == len(serializer.dumps(value)) + 16
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedEntry):
        large.cache.get()


def test_a_foreign_file_is_an_error():
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), file)

    with pytest.raises(DamagedEntry):
        serializer.loads(file.getvalue())


def test_large_categories_keep_their_order_over_row_groups():
    categories = [f"category {number:06d}" for number in range(150_000, 0, -1)]
    table = frame(c=pd.Categorical.from_codes(np.arange(1_200_000) % 100_000, categories))

    assert same(serializer.loads(serializer.dumps(table)), table)


def test_a_table_is_not_changed_by_storing_it():
    table = frame(a=objects(1, None), c=pd.Categorical(["x", "y"])).set_index(pd.date_range("2024", periods=2, name=3))
    before = table.copy(deep=True)

    serializer.changes(table)
    serializer.dumps(table)

    assert same(table, before)


def test_no_library_is_imported_that_the_value_is_not_of():
    source = """
import sys
from perscache_parquet import ParquetSerializer
serializer = ParquetSerializer()
try:
    serializer.dumps([1])
except TypeError:
    print([name for name in ("pandas", "polars", "pyarrow") if name in sys.modules])
import io
from pyarrow import csv
table = csv.read_csv(io.BytesIO(b"a,b\\n1,x\\n"))
assert serializer.changes(table) is None
serializer.loads(serializer.dumps(table))
print([name for name in ("pandas", "polars") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n[]\n"

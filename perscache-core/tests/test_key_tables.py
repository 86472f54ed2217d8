"""Arrays and tables are keyed by value: what layouts, chunks and caches leave no trace, and what makes a difference."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perscache import Cache

cache = Cache(storage="memory://")
Pairs = dict[str, tuple[Callable[[], Any], Callable[[], Any]]]


@cache
def subject(value: Any) -> Any:
    return value


def key(value: Any) -> str:
    return str(subject.cache.key(value))


def check(same: Pairs, other: Pairs) -> None:
    wrong = [f"needless miss: {name}" for name, (one, two) in same.items() if key(one()) != key(two())]
    wrong += [f"wrong hit: {name}" for name, (one, two) in other.items() if key(one()) == key(two())]
    wrong += [
        f"unstable: {name}"
        for name, (one, two) in other.items()
        if (key(one()), key(two())) != (key(one()), key(two()))
    ]
    assert not wrong


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_numpy() -> None:
    np = pytest.importorskip("numpy")
    base = np.arange(24.0).reshape(4, 6)
    big = np.arange(2_000_000.0).reshape(1000, 2000)
    padded = np.zeros(3, np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 8]}))
    dirty = padded.copy()
    dirty.view(np.uint8).reshape(3, -1)[:, 1:8] = 7

    class Measured(np.ndarray[Any, Any]):
        def __new__(cls, values: Any, unit: str) -> Any:
            made = np.asarray(values).view(cls)
            made._unit = unit
            return made

        def __array_finalize__(self, other: Any) -> None:
            self._unit = getattr(other, "_unit", None)

    same: Pairs = {
        "a view and its copy": (lambda: base[1:, ::2], lambda: base[1:, ::2].copy()),
        "C and Fortran order": (lambda: base, lambda: np.asfortranarray(base)),
        "a transpose and its copy": (lambda: base.T, lambda: base.T.copy()),
        "a long array in Fortran order": (lambda: big, lambda: np.asfortranarray(big)),
        "a long strided array": (lambda: big[::3, ::2], lambda: big[::3, ::2].copy()),
        "a reversed array": (lambda: base[::-1], lambda: base[::-1].copy()),
        "a broadcast array": (lambda: np.broadcast_to(1.0, (3, 4)), lambda: np.ones((3, 4))),
        "a read-only array": (lambda: base, lambda: _frozen(base.copy())),
        "NaN": (lambda: np.array([np.nan]), lambda: np.array([float("nan")])),
        "objects": (lambda: np.array([1, "a", None, [1]], object), lambda: np.array([1, "a", None, [1]], object)),
        "what lies between fields": (lambda: padded, lambda: dirty),
        "a masked array": (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ma.array([1, 2], mask=[False, True])),
        "an empty array": (lambda: np.zeros((0, 3)), lambda: np.empty((0, 3))),
        "a scalar": (lambda: np.float32(1), lambda: np.array([1], "f4")[0]),
        "a long double": (lambda: np.longdouble("0.1"), lambda: np.longdouble("0.1")),
        "a generator": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(1)),
        "chance itself": (lambda: np.random.rand, lambda: (np.random.rand(), np.random.rand)[1]),
        "a dtype": (lambda: np.dtype("f8"), lambda: np.dtype(float)),
        "texts": (lambda: np.array(["a", "bc"]), lambda: np.array(["a", "bc"])),
        "texts among objects": (
            lambda: np.array(["a", "x", "b"], object)[::2],
            lambda: np.array(["a", "b"], object),
        ),
        "an array in a cycle": (lambda: _within_itself(base), lambda: _within_itself(base.copy())),
        "nothing, in other steps": (lambda: np.zeros((0, 4))[:, ::2], lambda: np.zeros((0, 2))),
        "an array with a field": (lambda: Measured([1.0, 2], "m")[:1], lambda: Measured([1.0], "m")),
        "no mask and a mask of nothing": (lambda: np.ma.array([1, 2]), lambda: np.ma.array([1, 2], mask=[0, 0])),
    }
    other: Pairs = {
        "a transpose": (lambda: base[:4, :4], lambda: base[:4, :4].T),
        "shapes": (lambda: base, lambda: base.reshape(6, 4)),
        "types": (lambda: base, lambda: base.astype("f4")),
        "signs": (lambda: np.array([1], "i4"), lambda: np.array([1], "u4")),
        "byte orders": (lambda: np.array([1], "<i4"), lambda: np.array([1], ">i4")),
        "0.0 and -0.0": (lambda: np.array([0.0]), lambda: np.array([-0.0])),
        "one value": (lambda: big, lambda: _changed(big)),
        "one value of a strided array": (lambda: big.T, lambda: _changed(big).T),
        "array and list": (lambda: np.array([1, 2]), lambda: [1, 2]),
        "array and scalar": (lambda: np.array(1.0), lambda: np.float64(1)),
        "numpy's and Python's numbers": (lambda: np.float64(1), lambda: 1.0),
        "numpy's and Python's truth": (lambda: np.bool_(True), lambda: True),
        "numbers of other widths": (lambda: np.int32(1), lambda: np.int64(1)),
        "objects": (lambda: np.array([1], object), lambda: np.array([True], object)),
        "masks": (lambda: np.ma.array([1, 2], mask=[0, 1]), lambda: np.ma.array([1, 2], mask=[1, 0])),
        "masked and plain": (lambda: np.ma.array([1, 2]), lambda: np.array([1, 2])),
        "empty shapes": (lambda: np.zeros((0, 3)), lambda: np.zeros((3, 0))),
        "units of time": (lambda: np.datetime64("2020-01-01", "D"), lambda: np.datetime64("2020-01-01", "s")),
        "missing times": (lambda: np.array(["NaT"], "M8[s]"), lambda: np.array(["NaT"], "m8[s]")),
        "matrix and array": (lambda: np.matrix([[1]]), lambda: np.array([[1]])),
        "names of fields": (lambda: np.zeros(1, [("a", "f8")]), lambda: np.zeros(1, [("b", "f8")])),
        "generators": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
        "functions": (lambda: np.sin, lambda: np.cos),
        "arrays in a cycle": (lambda: _within_itself(base), lambda: _within_itself(base + 1)),
        "fields of arrays": (lambda: Measured([1.0], "m"), lambda: Measured([1.0], "km")),
        "where texts among objects end": (
            lambda: np.array(["a\0", "b"], object),
            lambda: np.array(["a", "\0b"], object),
        ),
        "one text with NUL and two": (lambda: np.array(["a\0b"], object), lambda: np.array(["a", "b"], object)),
        "texts of numpy and of Python": (lambda: np.array([np.str_("a")], object), lambda: np.array(["a"], object)),
        "texts and objects": (lambda: np.array(["a"]), lambda: np.array(["a"], object)),
        "objects in records": (
            lambda: np.array([(1, "a")], [("n", int), ("o", object)]),
            lambda: np.array([(1, "b")], [("n", int), ("o", object)]),
        ),
        "no dimension and one": (lambda: np.array(1), lambda: np.array([1])),
        "what is under a mask": (
            lambda: np.ma.array([1, 2], mask=[0, 1]),
            lambda: np.ma.array([1, 3], mask=[0, 1]),
        ),
        "business days": (lambda: np.busdaycalendar("1111100"), lambda: np.busdaycalendar("1111110")),
        "a scalar's long double": (lambda: np.longdouble("0.1"), lambda: np.longdouble("0.2")),
    }
    check(same, other)


def test_where_an_array_lies_is_no_part_of_its_value(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    array = np.arange(6.0)
    assert key(_mapped(array, tmp_path)) == key(array)
    assert key(_mapped(array, tmp_path)[1:]) == key(array[1:]) != key(array)


def test_an_array_that_is_larger_than_the_world_by_repetition_is_refused() -> None:
    np = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match=r"argument 'value': numpy\.ndarray .* repeats its data up to 8,192 TiB"):
        key(np.broadcast_to(1.0, (1 << 30, 1 << 20)))


def _within_itself(value: Any) -> Any:
    ring = [value]
    ring.append(ring)
    return ring


def _mapped(array: Any, folder: Path) -> Any:
    import numpy as np

    np.save(folder / "array.npy", array)
    return np.load(folder / "array.npy", mmap_mode="r")


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


def _changed(array: Any) -> Any:
    array = array.copy()
    array[-1, -1] += 1
    return array


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")

    np = pytest.importorskip("numpy")

    class Charted(pd.DataFrame):  # type: ignore[misc]
        _metadata = ["scale"]  # noqa: RUF012 - as pandas wants it

    def charted(scale: int) -> Any:
        made = Charted({"a": [1]})
        made.scale = scale
        return made

    def frame(**change: Any) -> Any:
        columns = {
            "a": [1, 2, 3],
            "b": ["x", "y", None],
            "c": pd.Categorical(["p", "q", "p"]),
            "d": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
            "e": pd.array([1, None, 3], dtype="Int64"),
            "f": [0.5, float("nan"), 1],
            "g": pd.array([True, None, False], dtype="boolean"),
        }
        return pd.DataFrame({**columns, **change})

    def by_parts() -> Any:
        made = frame()[["a"]].copy()
        for name in "bcdefg":
            made[name] = frame()[name]
        return made

    def left_over() -> Any:
        values = pd.array([1, 7, 3], dtype="Int64")
        values[1] = None
        return frame(e=values)

    same: Pairs = {
        "a copy": (frame, lambda: frame().copy()),
        "columns added one by one": (frame, by_parts),
        "left-overs under missing values": (frame, left_over),
        "a slice and its copy": (lambda: frame().iloc[1:], lambda: frame().iloc[1:].copy()),
        "a strided slice": (lambda: frame().iloc[::2], lambda: frame().iloc[::2].copy()),
        "cached look-ups": (frame, lambda: _looked_up(frame())),
        "a series": (lambda: frame()["c"], lambda: frame()["c"].copy()),
        "several levels": (
            lambda: pd.MultiIndex.from_product([[1, 2], ["a"]]),
            lambda: pd.MultiIndex.from_tuples([(1, "a"), (2, "a")]),
        ),
        "a timestamp": (lambda: pd.Timestamp("2020-01-01", tz="UTC"), lambda: pd.Timestamp("2020-01-01", tz="UTC")),
        "an interval": (lambda: pd.interval_range(0, 2), lambda: pd.IntervalIndex.from_breaks([0, 1, 2])),
        "sparse": (lambda: pd.arrays.SparseArray([0, 0, 1]), lambda: pd.arrays.SparseArray([0, 0, 1])),
        "a grouping's offset": (lambda: pd.offsets.MonthEnd(2), lambda: pd.offsets.MonthEnd(2)),
        "columns in one block and each in its own": (
            lambda: pd.DataFrame(np.zeros((2, 3))),
            lambda: pd.concat([pd.Series(np.zeros(2))] * 3, axis=1),
        ),
        "texts put together": (
            lambda: pd.Series(["a", "b"], dtype="str"),
            lambda: pd.concat([pd.Series(["a"], dtype="str"), pd.Series(["b"], dtype="str")], ignore_index=True),
        ),
        "levels that are not used": (
            lambda: frame().set_index(["a", "b"]).iloc[:1],
            lambda: frame().iloc[:1].set_index(["a", "b"]),
        ),
        "no rows": (lambda: frame().iloc[:0], lambda: frame().iloc[:0].copy()),
        "no columns": (lambda: pd.DataFrame(index=[1, 2]), lambda: pd.DataFrame(index=[1, 2])),
        "names that are there twice": (
            lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
            lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        ),
    }
    other: Pairs = {
        "a value": (frame, lambda: frame(a=[1, 2, 4])),
        "a text": (frame, lambda: frame(b=["x", "z", None])),
        "a type": (frame, lambda: frame(a=[1.0, 2.0, 3.0])),
        "a width": (frame, lambda: frame().astype({"a": "int32"})),
        "missing or not": (frame, lambda: frame(e=pd.array([1, 0, 3], dtype="Int64"))),
        "categories that are not used": (frame, lambda: frame(c=pd.Categorical(["p", "q", "p"], ["p", "q", "r"]))),
        "the order of categories": (frame, lambda: frame(c=pd.Categorical(["p", "q", "p"], ["q", "p"]))),
        "ordered categories": (frame, lambda: frame(c=pd.Categorical(["p", "q", "p"], ordered=True))),
        "a zone": (frame, lambda: frame(d=pd.date_range("2020", periods=3, tz="Europe/Paris"))),
        "the names of columns": (frame, lambda: frame().rename(columns={"a": "A"})),
        "the order of columns": (frame, lambda: frame()[list("bacdefg")]),
        "the order of rows": (frame, lambda: frame().iloc[::-1]),
        "the index": (frame, lambda: frame().set_index(pd.Index([5, 6, 7]))),
        "the index's name": (frame, lambda: frame().rename_axis("i")),
        "attributes": (frame, lambda: _with_attributes(frame())),
        "a row less": (frame, lambda: frame().iloc[:2]),
        "frame and series": (lambda: frame()[["a"]], lambda: frame()["a"]),
        "a series' name": (lambda: frame()["a"], lambda: frame()["a"].rename("z")),
        "series and index": (lambda: pd.Series([1, 2]), lambda: pd.Index([1, 2])),
        "timestamp and datetime": (lambda: pd.Timestamp("2020"), lambda: pd.Timestamp("2020").to_pydatetime()),
        "nanoseconds": (lambda: pd.Timestamp(1), lambda: pd.Timestamp(2)),
        "NaT and NA": (lambda: pd.NaT, lambda: pd.NA),
        "None and NaN among objects": (
            lambda: pd.Series(["a", None], dtype=object),
            lambda: pd.Series(["a", float("nan")], dtype=object),
        ),
        "1 and True among objects": (lambda: pd.Series([1], dtype=object), lambda: pd.Series([True], dtype=object)),
        "closed sides": (lambda: pd.interval_range(0, 2), lambda: pd.interval_range(0, 2, closed="left")),
        "frequencies": (
            lambda: pd.period_range("2020", periods=2, freq="M"),
            lambda: pd.period_range("2020", periods=2, freq="D"),
        ),
        "fields of a class of its own": (lambda: charted(1), lambda: charted(2)),
        "data of columns exchanged": (
            lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
            lambda: pd.DataFrame({"a": [3, 4], "b": [1, 2]}),
        ),
        "data moved from column to column": (
            lambda: pd.DataFrame({"a": [1, 2], "b": [3, 4]}),
            lambda: pd.DataFrame({"a": [1, 3], "b": [2, 4]}),
        ),
        "where texts end": (
            lambda: pd.Series(["ab", "c"], dtype=object),
            lambda: pd.Series(["a", "bc"], dtype=object),
        ),
        "texts and objects": (lambda: pd.Series(["a"], dtype="string"), lambda: pd.Series(["a"], dtype=object)),
        "names of columns 1 and '1'": (lambda: pd.DataFrame({1: [1]}), lambda: pd.DataFrame({"1": [1]})),
        "names twice or not": (frame, lambda: frame().set_flags(allows_duplicate_labels=False)),
        "units of columns": (
            lambda: pd.Series(pd.date_range("2020", periods=2)).dt.as_unit("s"),
            lambda: pd.Series(pd.date_range("2020", periods=2)).dt.as_unit("ms"),
        ),
        "types of no rows": (
            lambda: pd.DataFrame({"a": pd.Series([], dtype=int)}),
            lambda: pd.DataFrame({"a": pd.Series([], dtype=float)}),
        ),
        "offsets": (lambda: pd.offsets.MonthEnd(1), lambda: pd.offsets.MonthBegin(1)),
        "what sparse arrays are filled with": (
            lambda: pd.arrays.SparseArray([0, 1], fill_value=0),
            lambda: pd.arrays.SparseArray([0, 1], fill_value=1),
        ),
    }
    check(same, other)


def _looked_up(frame: Any) -> Any:
    _ = frame["a"], frame.index.is_unique, frame.columns.get_loc("b"), frame.loc[0]
    return frame


def _with_attributes(frame: Any) -> Any:
    frame.attrs["source"] = "a"
    return frame


def test_pyarrow() -> None:
    pa = pytest.importorskip("pyarrow")

    def table(**change: Any) -> Any:
        columns = {
            "a": pa.array([1, None, 3]),
            "s": ["x", None, "zz"],
            "l": [[1], None, [2, 3]],
            "b": [True, None, False],
            "st": [{"q": 1}, None, {"q": 3}],
            "d": pa.array(["u", "v", "u"]).dictionary_encode(),
            "f": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        }
        return pa.table({**columns, **change})

    def chunked() -> Any:
        return pa.concat_tables([table().slice(0, 1), table().slice(1, 1), table().slice(2)])

    def union(kind: int) -> Any:
        children = [pa.array([1], "int8"), pa.array([1], "int16")]
        return pa.UnionArray.from_sparse(pa.array([kind], "int8"), children)

    padded = pa.concat_tables([table(), table(), table()])
    same: Pairs = {
        "chunks": (table, chunked),
        "offsets": (table, lambda: padded.slice(3, 3)),
        "an offset within bits": (lambda: table().slice(1), lambda: padded.slice(4, 2)),
        "left-overs under nulls": (lambda: pa.array([1, None]), lambda: pa.array([1, 5], mask=_mask([False, True]))),
        "a batch": (lambda: table().to_batches()[0], lambda: table().combine_chunks().to_batches()[0]),
        "dictionaries in another order": (
            lambda: pa.DictionaryArray.from_arrays([0, 1], ["a", "b"]),
            lambda: pa.DictionaryArray.from_arrays([1, 0], ["b", "a"]),
        ),
        "dictionaries by chunk": (
            lambda: pa.chunked_array([pa.array(["a"]).dictionary_encode(), pa.array(["b"]).dictionary_encode()]),
            lambda: pa.chunked_array([pa.array(["a", "b"]).dictionary_encode()]),
        ),
        "runs": (
            lambda: pa.RunEndEncodedArray.from_arrays([2, 3], [1, 2]),
            lambda: pa.RunEndEncodedArray.from_arrays([1, 2, 3], [1, 1, 2]),
        ),
        "texts in a slice": (lambda: padded.column("s").slice(4, 2), lambda: pa.chunked_array([[None, "zz"]])),
        "a schema": (lambda: table().schema, lambda: table().schema),
        "a map": (lambda: _mapping(pa), lambda: _mapping(pa)),
    }
    other: Pairs = {
        "a value": (table, lambda: table(a=pa.array([1, None, 4]))),
        "null or not": (table, lambda: table(a=pa.array([1, 0, 3]))),
        "where a text ends": (lambda: pa.array(["ab", "c"]), lambda: pa.array(["a", "bc"])),
        "an empty text and null": (lambda: pa.array(["", None]), lambda: pa.array([None, ""])),
        "where a list ends": (lambda: pa.array([[1], [2]]), lambda: pa.array([[1, 2], []])),
        "an empty list and null": (lambda: pa.array([[], None, [1]]), lambda: pa.array([None, [], [1]])),
        "types": (lambda: pa.array([1], "int8"), lambda: pa.array([1], "int16")),
        "texts and bytes": (lambda: pa.array(["a"]), lambda: pa.array([b"a"])),
        "names": (table, lambda: table().rename_columns(list("ABCDEFG"))),
        "rows": (table, lambda: table().slice(1)),
        "metadata": (table, lambda: table().replace_schema_metadata({"a": "b"})),
        "metadata of a column": (
            table,
            lambda: table().cast(table().schema.set(0, table().schema.field(0).with_metadata({"k": "v"}))),
        ),
        "kinds of a union": (lambda: union(0), lambda: union(1)),
        "a null and a struct of nulls": (lambda: pa.array([{"a": 1}, None]), lambda: pa.array([{"a": 1}, {"a": None}])),
        "how many nulls": (lambda: pa.nulls(2), lambda: pa.nulls(3)),
        "array and table": (lambda: pa.array([1]), lambda: pa.table({"": [1]})),
    }
    check(same, other)


def _mapping(pa: Any) -> Any:
    return pa.array([[("k", 1)]], pa.map_("string", "int8"))


def _mask(values: list[bool]) -> Any:
    import numpy as np

    return np.array(values)


def test_polars() -> None:
    pl = pytest.importorskip("polars")

    def frame(**change: Any) -> Any:
        columns = {
            "a": [1, None, 3],
            "s": ["x", None, "zz"],
            "l": [[1], None, [2, 3]],
            "b": [True, None, False],
            "st": [{"q": 1}, None, {"q": 3}],
            "c": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
            "by": [b"a", None, b"b"],
        }
        return pl.DataFrame({**columns, **change})

    same: Pairs = {
        "chunks": (frame, lambda: pl.concat([frame()[:1], frame()[1:]], rechunk=False)),
        "a slice": (lambda: frame()[1:], lambda: pl.concat([frame()[1:2], frame()[2:]], rechunk=False)),
        "a series": (lambda: frame()["s"], lambda: frame()["s"].clone()),
        "no rows": (lambda: frame()[:0], lambda: frame().clear()),
        "categories seen in another order": (
            lambda: pl.Series(["a", "b"], dtype=pl.Categorical),
            lambda: pl.Series(["b", "a", "b"], dtype=pl.Categorical)[1:],
        ),
    }
    other: Pairs = {
        "a value": (frame, lambda: frame(a=[1, None, 4])),
        "null or not": (frame, lambda: frame(a=[1, 0, 3])),
        "where a text ends": (lambda: pl.Series(["ab", "c"]), lambda: pl.Series(["a", "bc"])),
        "an empty list and null": (lambda: pl.Series([[], None, [1]]), lambda: pl.Series([None, [], [1]])),
        "where a list ends": (lambda: pl.Series([[1], [2]]), lambda: pl.Series([[1, 2], []])),
        "types": (lambda: pl.Series([1], dtype=pl.Int8), lambda: pl.Series([1], dtype=pl.Int16)),
        "texts and categories": (lambda: pl.Series(["a"]), lambda: pl.Series(["a"], dtype=pl.Categorical)),
        "names": (frame, lambda: frame().rename({"a": "A"})),
        "rows": (frame, lambda: frame()[1:]),
        "columns": (frame, lambda: frame()[:, ::-1]),
        "frame and series": (lambda: pl.DataFrame({"a": [1]}), lambda: pl.Series("a", [1])),
        "where texts with NUL end": (lambda: pl.Series(["a\0", "b"]), lambda: pl.Series(["a", "\0b"])),
        "an empty text and null": (lambda: pl.Series(["", None]), lambda: pl.Series([None, ""])),
        "categories": (
            lambda: pl.Series(["a", "b"], dtype=pl.Categorical),
            lambda: pl.Series(["b", "a"], dtype=pl.Categorical),
        ),
        "categories that may be": (
            lambda: pl.Series(["a"], dtype=pl.Enum(["a"])),
            lambda: pl.Series(["a"], dtype=pl.Enum(["a", "b"])),
        ),
        "a null and a struct of nulls": (
            lambda: pl.Series([{"a": 1}, None]),
            lambda: pl.Series([{"a": 1}, {"a": None}]),
        ),
        "questions": (lambda: pl.col("a") + 1, lambda: pl.col("a") + 2),
        "NaN and null": (lambda: pl.Series([float("nan")]), lambda: pl.Series([None], dtype=pl.Float64)),
    }
    check(same, other)


def test_xarray() -> None:
    xr = pytest.importorskip("xarray")
    np = pytest.importorskip("numpy")

    def array(**change: Any) -> Any:
        return xr.DataArray(
            np.arange(6.0).reshape(2, 3), **{"dims": ("a", "b"), "coords": {"a": [1, 2]}, "name": "n", **change}
        )

    same: Pairs = {
        "a copy": (array, lambda: array().copy()),
        "a view": (lambda: array()[:, ::2], lambda: array()[:, ::2].copy()),
        "a dataset": (lambda: array().to_dataset(), lambda: array().to_dataset()),
    }
    other: Pairs = {
        "dimensions": (array, lambda: array(dims=("a", "c"))),
        "coordinates": (array, lambda: array(coords={"a": [1, 3]})),
        "names": (array, lambda: array(name="m")),
        "attributes": (array, lambda: array(attrs={"u": "m"})),
        "array and dataset": (array, lambda: array().to_dataset()),
        "a transpose": (array, lambda: array().T),
        "variable and coordinate": (
            lambda: xr.Dataset({"v": ("a", [1])}),
            lambda: xr.Dataset(coords={"v": ("a", [1])}),
        ),
    }
    check(same, other)


def test_scipy_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")

    def matrix() -> Any:
        return sparse.csr_matrix([[1.0, 0, 2], [0, 0, 3]])

    def summed() -> Any:
        return sparse.csr_matrix(([1.0, 1, 1, 3], ([0, 0, 0, 1], [0, 2, 2, 2])))

    same: Pairs = {
        "a copy": (matrix, lambda: matrix().copy()),
        "entries that are summed": (matrix, summed),
        "entries in another order": (
            lambda: sparse.coo_matrix(([1.0, 2, 3], ([0, 0, 1], [0, 2, 2]))),
            lambda: sparse.coo_matrix(([3.0, 2, 1], ([1, 0, 0], [2, 2, 0]))),
        ),
    }
    other: Pairs = {
        "values": (matrix, lambda: matrix() * 2),
        "formats": (matrix, lambda: matrix().tocsc()),
        "shapes": (matrix, lambda: sparse.csr_matrix([[1.0, 0, 2], [0, 0, 3], [0, 0, 0]])),
        "matrix and array": (matrix, lambda: sparse.csr_array(matrix())),
    }
    check(same, other)


def test_torch() -> None:
    torch = pytest.importorskip("torch")

    def module(weight: float) -> Any:
        made = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(made.weight, weight)
        torch.nn.init.constant_(made.bias, 0)
        return made

    same: Pairs = {
        "a view and its copy": (lambda: torch.ones(4, 4).T[1:], lambda: torch.ones(4, 4).T[1:].clone()),
        "steps": (lambda: torch.arange(12).reshape(3, 4)[:, ::2], lambda: torch.tensor([[0, 2], [4, 6], [8, 10]])),
        "repeated": (lambda: torch.ones(1).expand(5), lambda: torch.ones(5)),
        "conjugated": (lambda: torch.tensor([1j]).conj(), lambda: torch.tensor([complex(0, -1)])),
        "sparse": (
            lambda: torch.eye(2).to_sparse(),
            lambda: torch.sparse_coo_tensor([[1, 0, 0], [1, 0, 0]], [1, 0.5, 0.5], (2, 2), check_invariants=True),
        ),
        "half precision": (lambda: torch.ones(2, dtype=torch.bfloat16), lambda: torch.ones(2, dtype=torch.bfloat16)),
    }
    other: Pairs = {
        "values": (lambda: torch.tensor([1.0]), lambda: torch.tensor([2.0])),
        "types": (lambda: torch.tensor([1.0]), lambda: torch.tensor([1.0], dtype=torch.float64)),
        "shapes": (lambda: torch.zeros(2, 3), lambda: torch.zeros(3, 2)),
        "half precision": (
            lambda: torch.ones(2, dtype=torch.bfloat16),
            lambda: torch.full((2,), 2, dtype=torch.bfloat16),
        ),
        "complex numbers": (lambda: torch.tensor([1j]), lambda: torch.tensor([2j])),
        "layouts": (lambda: torch.eye(2), lambda: torch.eye(2).to_sparse()),
        "tensor and parameter": (
            lambda: torch.ones(2, requires_grad=True),
            lambda: torch.nn.Parameter(torch.ones(2)),
        ),
        "an inner weight": (lambda: module(1.0), lambda: module(2.0)),
        "gradients": (lambda: torch.tensor([1.0]), lambda: torch.tensor([1.0], requires_grad=True)),
    }
    check(same, other)


def test_keys_import_no_library_that_is_not_there() -> None:
    text = (
        "import sys; from perscache.key import KeyBuilder; KeyBuilder(lambda x: x).digest(([1, {'a': object}],), {}); "
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'xarray', 'scipy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_large_array_in_another_order_costs_no_second_one() -> None:
    np = pytest.importorskip("numpy")
    tracemalloc = pytest.importorskip("tracemalloc")
    array = np.asfortranarray(np.ones((4000, 8000)))
    key(np.asfortranarray(np.ones((600, 900))))
    tracemalloc.start()
    try:
        key(array)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20

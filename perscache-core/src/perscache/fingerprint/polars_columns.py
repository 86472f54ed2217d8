"""How polars' columns are taken apart: by value, whatever their chunks and left-overs under nulls."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

from .encoder import Stream


def _of_series(series: Any) -> Any:
    return (series.name, _of_column(series))


def _of_column(series: Any) -> Any:
    """Type, which values are missing, and the values; nested types by their children."""
    kind = series.dtype
    missing = _buffers(series.is_null().cast(_polars().UInt8)) if series.null_count() else None
    return (str(kind), len(series), missing, *_values(series, kind))


def _polars() -> Any:
    import polars as pl

    return pl


def _values(series: Any, kind: Any) -> tuple[Any, ...]:
    pl = _polars()
    base = kind.base_type()
    if base is pl.Null:
        return ()
    if base is pl.Struct:
        return ([(name, _of_column(series.struct.field(name))) for name in series.struct.fields],)
    if base is pl.Array:
        return _values(series.arr.to_list(), pl.List(kind.inner))
    if base is pl.List:
        lengths = series.list.len().fill_null(0).cast(pl.UInt64)
        filled = series.filter(lengths > 0)
        inner = filled.explode() if len(filled) else pl.Series([], dtype=kind.inner)
        return (_buffers(lengths), _of_column(inner))
    if base is pl.Categorical:
        return _categories(series)
    if base is pl.Enum:
        return (kind.categories.to_list(), _buffers(series.to_physical().fill_null(0)))
    if base is pl.String:
        return _texts(series)
    if base is pl.Binary:
        return (series.to_list(),)
    if base is pl.Boolean:
        return (_buffers(series.cast(pl.UInt8).fill_null(0)),)
    if str(base) in {"Decimal", "Int128", "UInt128"}:
        return _texts(series.cast(pl.String))
    if base is pl.Object:
        return (series.to_list(),)
    return (_buffers(series.to_physical().fill_null(0)),)


def _categories(series: Any) -> tuple[Any, ...]:
    """The categories that occur, and which: their numbers hang on what else the process has seen."""
    pl = _polars()
    found = series.drop_nulls()
    first = found.filter(found.is_first_distinct())
    if not len(first):
        return ()
    numbers = series.to_physical().replace_strict(
        first.to_physical(), pl.int_range(len(first), dtype=pl.UInt32, eager=True), return_dtype=pl.UInt32
    )
    return (first.cast(pl.String).to_list(), _buffers(numbers.fill_null(0)))


def _texts(series: Any) -> tuple[Any, ...]:
    pl = _polars()
    full = series.fill_null("")
    if not len(full):
        return ()
    text = full.str.join("\0").item()
    if text.count("\0") == len(full) - 1:  # so that it tells where each of them ends
        return (Stream([text.encode()]),)
    return (_buffers(full.str.len_bytes().cast(pl.UInt64)), Stream([text.encode()]))


def _buffers(series: Any) -> Any:
    """The values of a series of numbers without nulls."""
    try:
        import numpy as np
    except ImportError:
        return Stream([array.array(_CODES[str(series.dtype)], series.to_list())])
    return Stream(
        [np.ascontiguousarray(chunk.to_numpy()).view(np.uint8) for chunk in series.get_chunks() if len(chunk)]
    )


_CODES = {
    "Int8": "b", "Int16": "h", "Int32": "i", "Int64": "q", "Float32": "f",
    "UInt8": "B", "UInt16": "H", "UInt32": "I", "UInt64": "Q", "Float64": "d",
}  # fmt: skip


def _of_frame(frame: Any) -> Any:
    return (list(frame.columns), [_of_column(column) for column in frame.get_columns()], frame.height)


def _of_lazy(frame: Any) -> Any:
    return memoryview(frame.serialize())


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "polars.DataFrame": _of_frame,
    "polars.Series": _of_series,
    "polars.LazyFrame": _of_lazy,
    "polars.DataType": str,
}

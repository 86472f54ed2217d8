"""How polars' columns are taken apart: by value, whatever their chunks and left-overs under nulls."""

from __future__ import annotations

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
    if base is pl.Categorical:  # numbers of categories hang on what else the process has seen
        return _texts(series.cast(pl.String))
    if base is pl.Enum:
        return (kind.categories.to_list(), *_texts(series.cast(pl.String)))
    if base is pl.String:
        return _texts(series)
    if base is pl.Binary:
        return (series.to_list(),)
    if base is pl.Boolean:
        return (_buffers(series.cast(pl.UInt8).fill_null(0)),)
    if base is pl.Decimal:
        return _texts(series.cast(pl.String))
    if base is pl.Object:
        return (series.to_list(),)
    return (_buffers(series.to_physical().fill_null(0)),)


def _texts(series: Any) -> tuple[Any, ...]:
    full = series.fill_null("")
    return (_buffers(full.str.len_bytes().cast(_polars().UInt64)), full.str.join("").item() if len(full) else "")


def _buffers(series: Any) -> Any:
    """The values of a series of numbers without nulls."""
    try:
        import numpy as np
    except ImportError:
        return series.to_list()
    return Stream(
        [np.ascontiguousarray(chunk.to_numpy()).view(np.uint8) for chunk in series.get_chunks() if len(chunk)]
    )


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

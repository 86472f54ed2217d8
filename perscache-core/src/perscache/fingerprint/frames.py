"""How tables with labels are taken apart: pandas, xarray. They are imported only when such a value appears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import dtype_of, of_array, pieces_of
from .containers import Elements
from .encoder import Stream


def _of_frame(frame: Any) -> Any:
    """By column, on the real arrays: how they are put together in blocks is no part of the value."""
    import numpy as np

    columns: list[Any] = []
    plain: list[Any] = []
    for array in _arrays(frame):
        dtype = array.dtype
        if isinstance(dtype, np.dtype) and dtype.kind not in "OTV":
            columns.append(dtype_of(dtype))
            plain.append(np.asarray(array))
        else:
            columns.append(_of_values(array))
    data = Stream(piece for array in plain for piece in pieces_of(array))
    return (_of_index(frame.columns), _of_index(frame.index), columns, data, *_about(frame))


def _arrays(frame: Any) -> list[Any]:
    """The array of each column."""
    try:
        return list(frame._iter_column_arrays())  # as `frame.items()`, without a series around each
    except AttributeError:
        return [_array(frame.iloc[:, position]) for position in range(frame.shape[1])]


def _array(values: Any) -> Any:
    """What a series or an index holds: numpy's array, or one of pandas' own."""
    import numpy as np

    return values.to_numpy(copy=False) if isinstance(values.dtype, np.dtype) else values.array


def _of_series(series: Any) -> Any:
    return (series.name, _of_index(series.index), _of_values(_array(series)), *_about(series))


def _about(value: Any) -> tuple[Any, ...]:
    """What a frame or series has besides its data: attributes, flags, fields of a subclass."""
    import pandas as pd

    plain: Any = pd.DataFrame if isinstance(value, pd.DataFrame) else pd.Series
    fields: dict[str, Any] = {}
    if type(value) is not plain:
        fields = {name: field for name, field in vars(value).items() if not name.startswith("_")}
        fields |= {name: getattr(value, name, None) for name in set(value._metadata) - set(plain._metadata)}
    return (value.attrs or None, value.flags.allows_duplicate_labels, fields or None)


def _of_values(array: Any) -> Any:
    """The data of a column or an index."""
    import numpy as np

    if isinstance(dtype := array.dtype, np.dtype):
        return (str(dtype), of_array(np.asarray(array)))
    return of_extension(array)


def of_extension(array: Any) -> Any:
    """An array of a type of pandas' own: its name and the plain arrays below, no left-overs under missing values."""
    import numpy as np
    import pandas as pd

    name = str(array.dtype)
    match type(array).__name__:
        case "Categorical":
            return ("category", of_array(array.codes), _of_index(array.categories), bool(array.ordered))
        case "DatetimeArray" | "TimedeltaArray":
            return (name, of_array(array.asi8), _zone(array))
        case "PeriodArray":
            return (name, of_array(array.asi8))
        case "IntervalArray":
            return (name, array.closed, _of_index(array.left), _of_index(array.right))
        case "SparseArray":
            index = array.sp_index.to_int_index().indices
            return (name, of_array(array.sp_values), of_array(index), array.fill_value, len(array))
        case "NumpyExtensionArray" | "PandasArray":
            return (name, of_array(np.asarray(array)))
    if hasattr(array, "_mask") and hasattr(array, "_data"):
        mask = np.asarray(array._mask)
        data = np.asarray(array._data)
        return (name, of_array(np.where(mask, data.dtype.type(0), data) if mask.any() else data), of_array(mask))
    if hasattr(array, "_pa_array"):
        import pyarrow as pa

        from .arrow_columns import of_chunked

        arrow = (
            pa.chunked_array(array._pa_array) if not isinstance(array._pa_array, pa.ChunkedArray) else array._pa_array
        )
        return (name, _storage(array), of_chunked(arrow))
    if isinstance(array.dtype, pd.StringDtype):
        return (name, _storage(array), Elements(array.astype(object).tolist()))
    return (name, array.__reduce_ex__(4)[1:])


def _zone(array: Any) -> Any:
    return getattr(array.dtype, "tz", None)


def _storage(array: Any) -> Any:
    return (getattr(array.dtype, "storage", None), str(getattr(array.dtype, "na_value", "")))


def _of_index(index: Any) -> Any:
    import pandas as pd

    kind = type(index).__name__
    if isinstance(index, pd.RangeIndex):
        return (kind, index.name, index.start, index.stop, index.step)
    if isinstance(index, pd.MultiIndex):
        levels = [_of_values(_array(index.get_level_values(level))) for level in range(index.nlevels)]
        return (kind, list(index.names), levels)
    frequency = getattr(index, "freqstr", None) if kind in {"DatetimeIndex", "TimedeltaIndex", "PeriodIndex"} else None
    return (kind, index.name, _of_values(_array(index)), frequency)


def _of_timestamp(moment: Any) -> Any:
    # .value overflows where the unit is coarser than nanoseconds
    unit = getattr(moment, "unit", "ns")
    return (moment.isoformat(), unit, getattr(moment, "tzinfo", None), getattr(moment, "fold", 0))


def _of_offset(offset: Any) -> Any:
    return (offset.freqstr, offset.n, bool(offset.normalize), offset.kwds)


def _of_dataset(dataset: Any) -> Any:
    return (
        dict(dataset.sizes),
        {name: _of_variable(dataset.variables[name]) for name in dataset.variables},
        _coords(dataset),
        dataset.attrs,
    )


def _of_data_array(array: Any) -> Any:
    coordinates = {name: _of_variable(array.coords[name].variable) for name in array.coords}
    return (array.name, _of_variable(array.variable), coordinates)


def _of_variable(variable: Any) -> Any:
    return (variable.dims, variable.to_numpy(), variable.attrs)


def _coords(dataset: Any) -> Any:
    return sorted(map(str, dataset.coords))


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "pandas.DataFrame": _of_frame,
    "pandas.Series": _of_series,
    "pandas.Index": _of_index,
    "pandas.ExtensionArray": of_extension,
    "pandas.Timestamp": _of_timestamp,
    "pandas.Timedelta": lambda delta: (delta.isoformat(), getattr(delta, "unit", "ns")),
    "pandas.Period": lambda period: (period.ordinal, period.freqstr),
    "pandas.Interval": lambda interval: (interval.left, interval.right, interval.closed),
    "pandas.NaTType": lambda _: "NaT",
    "pandas.NAType": lambda _: "NA",
    "pandas.ExtensionDtype": lambda dtype: (str(dtype), getattr(dtype, "storage", None), *_categories(dtype)),
    "pandas.BaseOffset": _of_offset,
    "xarray.Dataset": _of_dataset,
    "xarray.DataArray": _of_data_array,
    "xarray.Variable": _of_variable,
}


def _categories(dtype: Any) -> tuple[Any, ...]:
    categories = getattr(dtype, "categories", None)
    return () if categories is None else (_of_index(categories), dtype.ordered)

"""What a CSV file does not say of a frame: types, index, names. Plain JSON, written only where it is needed."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from perscache.serializers.places import SCALARS

if TYPE_CHECKING:
    import pandas as pd

Form = dict[str, Any]


def form_of(frame: pd.DataFrame) -> Form:
    """The form of a frame: its types, and what of its index, names and attributes the text cannot say.

    Raises ValueError for what has no form.
    """
    import pandas as pd

    index, columns = frame.index, frame.columns
    form: Form = {"types": [_type(name, column) for name, column in fields(frame)]}
    if not isinstance(index, pd.RangeIndex):
        form["index"] = levels = Form(levels=index.nlevels)
        if not all(type(name) is str for name in index.names):
            levels["names"] = [_scalar(name) for name in index.names]
        if freq := _freq_name(index):
            levels["freq"] = freq
    elif not index.equals(pd.RangeIndex(len(frame))) or index.name is not None or columns.empty:
        form["index"] = index_form(index)
    named = {type(name) for name in [*columns, columns.name]} - {type(None)} == {str} and columns.name is None
    if isinstance(columns, pd.MultiIndex) or columns.dtype != default_string_dtype() or not named:
        form["columns"] = index_form(columns)
    if frame.attrs:
        form["attrs"] = frame.attrs
    return form


def fields(frame: pd.DataFrame) -> list[tuple[str, pd.Series[Any]]]:
    """What stands in the file from left to right, each with what to call it: levels of the index, then columns."""
    import pandas as pd

    found: list[tuple[str, pd.Series[Any]]] = []
    if not isinstance(frame.index, pd.RangeIndex):
        for level, name in enumerate(frame.index.names):
            values = frame.index.get_level_values(level)
            found.append((f"the index {name!r}", pd.Series(values, dtype=values.dtype)))
    for position, name in enumerate(frame.columns):
        found.append((f"column {name!r}", frame.iloc[:, position].reset_index(drop=True)))
    return found


# --- The types of columns


def default_string_dtype() -> Any:
    """The type that this version of pandas gives to strings."""
    import pandas as pd

    return pd.Index(["a"]).dtype


def string_dtype(form: Form) -> pd.StringDtype:
    """The string type of the form."""
    import pandas as pd

    if form["missing"] == "NA":
        return pd.StringDtype(form["str"])
    return pd.StringDtype(form["str"], na_value=float("nan"))


def _type(called: str, column: pd.Series[Any]) -> Any:
    """The type of a column: its name, or what else is to be known of it."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.IntervalDtype):
        raise ValueError(f"{called} has intervals")  # noqa: TRY004  (its type is right, its values are not)
    if isinstance(dtype, pd.CategoricalDtype):
        return {"category": index_form(dtype.categories), "ordered": dtype.ordered}
    return _string_type(dtype) or ("date" if _has_dates(column) else _object_type(column))


def _string_type(dtype: Any) -> Any:
    import pandas as pd

    if not isinstance(dtype, pd.StringDtype):
        return None if str(dtype) == "object" else str(dtype)
    if dtype == default_string_dtype():
        return "str"
    return {"str": dtype.storage, "missing": "NA" if dtype.na_value is pd.NA else "NaN"}


def _has_dates(column: pd.Series[Any]) -> bool:
    return set(map(type, column)) - {type(None)} == {dt.date}


def _object_type(column: pd.Series[Any]) -> Form:
    return {"object": "None" if type(None) in set(map(type, column)) else "NaN"}


# --- Indexes: of columns, of categories


def index_form(index: pd.Index[Any]) -> Form:
    """An index as JSON. Raises ValueError for one that has no form."""
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        bounds: Form = {"range": [index.start, index.stop, index.step]}
        return bounds if index.name is None else bounds | {"name": _scalar(index.name)}
    if isinstance(index, pd.MultiIndex):
        levels = [index_form(index.get_level_values(level).rename(None)) for level in range(index.nlevels)]
        return {"levels": levels, "names": [_scalar(name) for name in index.names]}
    form: Form = {} if index.name is None else {"name": _scalar(index.name)}
    if isinstance(index, pd.IntervalIndex):
        return form | {"left": index_form(index.left), "right": index_form(index.right), "closed": index.closed}
    if isinstance(index.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or index.dtype.kind in "mM":
        form |= {"values": [None if value is pd.NaT else str(value) for value in index], "dtype": str(index.dtype)}
        return form | {"freq": freq} if (freq := _freq_name(index)) else form
    if isinstance(index.dtype, pd.StringDtype):
        values = [None if pd.isna(value) else value for value in index]
        return form | {"values": values, "dtype": _string_type(index.dtype)}
    return form | {"values": [_scalar(value) for value in index.tolist()], "dtype": str(index.dtype)}


def index_of(form: Form) -> pd.Index[Any]:
    """The index of the form."""
    import pandas as pd

    name = form.get("name")
    if "range" in form:
        start, stop, step = form["range"]
        return pd.RangeIndex(start, stop, step, name=name)
    if "levels" in form:
        return pd.MultiIndex.from_arrays([index_of(level) for level in form["levels"]], names=form["names"])
    if "closed" in form:
        left, right = index_of(form["left"]), index_of(form["right"])
        return pd.IntervalIndex.from_arrays(left, right, closed=form["closed"], name=name)
    values, dtype = form["values"], form["dtype"]
    if isinstance(dtype, dict) or dtype == "str":
        strings: Any = default_string_dtype() if dtype == "str" else string_dtype(dtype)
        string_index: pd.Index[Any] = pd.Index(values, dtype=strings, name=name)
        return string_index
    index = moments(values, dtype) if dtype.startswith(("datetime64", "timedelta64", "period")) else values
    found: Any = pd.Index(index, dtype=dtype, name=name, tupleize_cols=False)
    if "freq" in form:
        found.freq = form["freq"]
    return cast("pd.Index[Any]", found)


def moments(values: list[Any] | pd.Series[Any], dtype: str) -> pd.Index[Any]:
    """Texts as points, spans or periods of time."""
    import pandas as pd

    texts: Any = pd.Index(values, dtype=object)
    if dtype.startswith("period"):
        return pd.PeriodIndex(texts, dtype=dtype)
    if dtype.startswith("timedelta64"):
        found: Any = pd.to_timedelta(texts)
    else:
        zone = dtype.partition(", ")[2].rstrip("]")
        found = pd.to_datetime(texts, format="ISO8601", utc=bool(zone))
        found = found.tz_convert(zone) if zone else found
    return cast("pd.Index[Any]", found.astype(dtype))


def _freq_name(index: pd.Index[Any]) -> str | None:
    """The name of the index's frequency; that of periods is in their type."""
    import pandas as pd

    if not isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) or index.freqstr is None:
        return None
    if pd.tseries.frequencies.to_offset(index.freqstr) != index.freq:
        raise ValueError(f"the name {index.freqstr!r} does not say all of the index's frequency {index.freq!r}")
    return index.freqstr


def _scalar(value: Any) -> Any:
    if type(value) not in SCALARS:
        raise ValueError(f"the name or category {value!r} is neither a string nor a number")
    return value

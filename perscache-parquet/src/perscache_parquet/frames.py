"""pandas frames as Arrow tables, with notes on what pyarrow would forget, and what still comes back differently."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from perscache.errors import SerializationError
from perscache.serializers import JSONSerializer
from perscache.serializers.places import SCALARS, type_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Notes = dict[str, Any]
"""What a file says beside its table; plain JSON."""


def to_table(frame: pd.DataFrame) -> tuple[pa.Table, Notes]:
    """The frame as pyarrow converts it, and the notes that `to_frame` needs beside it."""
    import pandas as pd
    import pyarrow as pa

    notes: Notes = {"objects": _objects(frame)}
    plain = frame.copy(deep=False)
    if _attrs_loss(frame):
        plain.attrs = {}
    if columns := _columns(frame.columns):
        notes["columns"] = columns
        plain.columns = pd.Index(_unique(map(str, frame.columns)), dtype="str")
    index = frame.index
    if not len(frame.columns) and isinstance(index, pd.RangeIndex):
        notes["rows"] = {"range": [index.start, index.stop, index.step], "name": _json_names([index.name])[0]}
    if not {str, type(None)}.issuperset(map(type, index.names)):
        notes["index_names"] = _json_names(index.names)
        plain.index = index.set_names([str(name) for name in index.names])
    notes["freq"] = {axis: freq for axis in ("index", "columns") if (freq := _freq(getattr(frame, axis)))}
    return pa.Table.from_pandas(plain), notes


def to_frame(table: pa.Table, notes: Notes) -> pd.DataFrame:
    """The frame that was given to `to_table`."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    if "rows" in notes:
        # A RangeIndex is no column, so that without other columns the file has no rows.
        frame = pd.DataFrame(index=_range(notes["rows"]), columns=frame.columns)
    for position, missing in notes["objects"].items():
        values = table.column(int(position)).to_pylist()
        if missing == "nan":
            values = [math.nan if value is None else value for value in values]
        series: Any = pd.Series(values, index=frame.index, dtype=object)
        frame.isetitem(int(position), series)
    if columns := notes.get("columns"):
        if "range" in columns:
            frame.columns = _range(columns)
        else:
            frame.columns = pd.Index(columns["values"], dtype=columns["dtype"], name=columns["name"])
    if "index_names" in notes:
        frame.index.names = notes["index_names"]
    for axis, freq in notes["freq"].items():
        getattr(frame, axis).freq = freq
    return frame


def form_change(before: pd.DataFrame, after: pd.DataFrame) -> str | None:
    """What differs in the types, columns, index and attributes of two frames, in one phrase."""
    for name, old, new in zip(before.columns, before.dtypes, after.dtypes, strict=True):
        if not _same_dtype(old, new):
            return f"column {name!r} of {_dtype_name(old)} becomes one of {_dtype_name(new)}"
    if change := _index_change(before.columns, after.columns):
        return f"the columns: {change}"
    if change := _index_change(before.index, after.index):
        return f"the index: {change}"
    return _attrs_loss(before)


def value_change(frame: pd.DataFrame) -> str | None:
    """What differs in values that Arrow knows by their Python types only, in one phrase."""
    import numpy as np
    import pandas as pd

    for position, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        column = frame.iloc[:, position]
        if str(dtype) == "object" and (change := _object_change(column)):
            return f"column {name!r}: {change}"
        if str(dtype) in ("Float32", "Float64") and np.isnan(column.to_numpy("float64", na_value=0.0)).any():
            return f"column {name!r}: NaN becomes NA"
    levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    for level in levels:
        if str(level.dtype) == "object":
            import pyarrow as pa

            back = pa.Table.from_pandas(pd.DataFrame(index=level.rename(None))).to_pandas().index
            if str(back.dtype) != "object" or not _same(list(level), list(back)):
                return f"the index of object becomes one of {back.dtype}"
    return None


# --- What pyarrow forgets


def _objects(frame: pd.DataFrame) -> dict[str, str]:
    """Which columns hold Python objects, by position, and what stands for a missing one: None or nan."""
    found = {}
    for position, dtype in enumerate(frame.dtypes):
        if str(dtype) == "object":
            column = frame.iloc[:, position]
            if "ndarray" not in {kind.__name__ for kind in set(map(type, column))}:
                found[str(position)] = _missing(column)
    return found


def _missing(column: pd.Series[Any]) -> str:
    kinds = set(map(type, column))
    return "nan" if float in kinds and type(None) not in kinds and column.isna().any() else "None"


def _columns(columns: pd.Index[Any]) -> Notes | None:
    """The columns, where pyarrow would make strings of their names, or refuse them."""
    import pandas as pd

    for level in columns.levels if isinstance(columns, pd.MultiIndex) else []:
        if level.inferred_type.startswith("mixed"):
            _json_names([tuple(level)])
    if isinstance(columns, pd.MultiIndex):
        return None
    _json_names([columns.name])
    if isinstance(columns, pd.RangeIndex):
        return {"range": [columns.start, columns.stop, columns.step], "name": columns.name}
    named_plainly = columns.dtype == "str" and columns.is_unique and type(columns.name) in (str, type(None))
    values = columns.tolist()
    if named_plainly or not (str(columns.dtype) == "object" or SCALARS.issuperset(map(type, values))):
        return None
    return {"values": _json_names(values), "dtype": str(columns.dtype), "name": columns.name}


def _range(note: Notes) -> pd.RangeIndex:
    import pandas as pd

    start, stop, step = note["range"]
    return pd.RangeIndex(start, stop, step, name=note["name"])


def _unique(names: Iterable[str]) -> list[str]:
    seen: dict[str, None] = {}
    for name in names:
        number, free = 0, name
        while free in seen:
            number += 1
            free = f"{name}.{number}"
        seen[free] = None
    return list(seen)


def _json_names(names: Iterable[Any]) -> list[Any]:
    listed = list(names)
    if not SCALARS.issuperset(map(type, listed)):
        raise SerializationError(f"Parquet keeps names that are strings or numbers, and not {listed}; rename them.")
    return listed


def _freq(index: pd.Index[Any]) -> str | None:
    """The name of the index's frequency if it says all of it: that of a calendar with holidays does not."""
    import pandas as pd

    if not isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) or index.freqstr is None:
        return None
    return index.freqstr if pd.tseries.frequencies.to_offset(index.freqstr) == index.freq else None


# --- What comes back differently


def _attrs_loss(frame: pd.DataFrame) -> str | None:
    json = JSONSerializer()
    try:
        json.dumps(frame.attrs)
    except ValueError as error:
        return f"attrs are lost: {error}"
    change = json.changes(frame.attrs)
    return f"attrs: {change}" if change else None


def _same_dtype(old: Any, new: Any) -> bool:
    import pandas as pd

    if isinstance(old, pd.CategoricalDtype) and isinstance(new, pd.CategoricalDtype):
        return old.ordered == new.ordered and _index_change(old.categories, new.categories) is None
    return bool(old == new)


def _dtype_name(dtype: Any) -> str:
    import pandas as pd

    return f"{dtype!r}" if isinstance(dtype, (pd.CategoricalDtype, pd.StringDtype)) else str(dtype)


def _index_change(before: pd.Index[Any], after: pd.Index[Any]) -> str | None:
    import pandas as pd

    if list(map(repr, before.names)) != list(map(repr, after.names)):
        return f"the names {list(before.names)} become {list(after.names)}"
    if isinstance(before, pd.MultiIndex) and isinstance(after, pd.MultiIndex):
        pairs = zip(before.levels, after.levels, strict=True)
        # Only the types: the values that no row has are not stored.
        changes = [f"level {old.name!r}: {change}" for old, new in pairs if (change := _index_change(old[:0], new[:0]))]
        return changes[0] if changes else None
    if type(before) is not type(after) or not _same_dtype(before.dtype, after.dtype):
        return f"{_index_name(before)} becomes {_index_name(after)}"
    if getattr(before, "freq", None) != getattr(after, "freq", None):
        return f"the frequency {before.freq} is lost"  # type: ignore[attr-defined]
    return None if before.equals(after) else f"{list(before)[:5]} become {list(after)[:5]}"


def _index_name(index: pd.Index[Any]) -> str:
    return f"{type(index).__name__} of {_dtype_name(index.dtype)}"


def _object_change(column: pd.Series[Any]) -> str | None:
    """What differs in a column of Python objects, in one phrase."""
    import pyarrow as pa

    kinds = set(map(type, column))
    if len(kinds - {type(None)}) <= 1 and kinds <= {str, int, bool, bytes, dt.date, type(None)}:
        return None
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError):
        return None  # dumps says it better
    arrays = any(kind.__name__ == "ndarray" for kind in kinds)
    back = list(array.to_pandas()) if arrays else array.to_pylist()
    missing = math.nan if _missing(column) == "nan" else None
    for row, (old, new) in enumerate(zip(column, back, strict=True)):
        if not _same(old, missing if new is None else new):
            return f"{_described(old)} in row {row} becomes {_described(missing if new is None else new)}"
    return None


def _same(old: Any, new: Any) -> bool:
    """Whether two values are equal in type and value, all the way down."""
    if type(old) is not type(new):
        return False
    if isinstance(old, (list, tuple)):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict):
        return _same([*old.items()], [*new.items()])
    if hasattr(old, "dtype") and hasattr(old, "tolist"):
        return bool(old.dtype == new.dtype) and _same(old.tolist(), new.tolist())
    # Equal decimals, zeros and moments are told apart by their text.
    return repr(old) == repr(new)


def _described(value: Any) -> str:
    text = repr(value)
    return f"{type_name(type(value))} {text if len(text) <= 60 else text[:57] + '...'}"

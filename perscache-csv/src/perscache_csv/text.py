"""The text of a CSV file: a header, rows, and a first line of types where the text alone would not tell them."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import re
from typing import TYPE_CHECKING, Any

from perscache.serializers.places import type_name

from .form import Form, default_string_dtype, fields, form_of, index_of, moments, string_dtype

if TYPE_CHECKING:
    import pandas as pd

_MARK = b"# perscache-csv 1 "


def write(frame: pd.DataFrame, *, plain: bool) -> bytes:
    """The text of a frame; a plain one has no line of types.

    Names of the index are quoted in the header, those of columns are not: other readers see no difference, ours does.
    """
    import pandas as pd

    texts = {position: _text(called, column) for position, (called, column) in enumerate(fields(frame))}
    first = b""
    if not plain:
        form = form_of(frame)
        for position, text in texts.items():
            if str(text.dtype) == "object" and (text == "").any():
                # An empty field stands for a missing value, unless the column has empty strings.
                mark = _unused(text) if text.isna().any() else None
                form.setdefault("missing", {})[str(position)] = mark
                texts[position] = text.fillna(mark) if mark else text
        first = _MARK + json.dumps(form, ensure_ascii=False).encode() + b"\n"
    levels = len(texts) - frame.shape[1]
    index_names = ['"' + _name(name).replace('"', '""') + '"' for name in frame.index.names[:levels]]
    header = ",".join(index_names + [_field(_name(name)) for name in frame.columns])
    body = _rows(pd.DataFrame(texts)) if texts else ""
    return first + f"{header}\n{body}".encode()


def read(data: bytes) -> pd.DataFrame:
    """The frame of the text."""
    if not data.startswith(_MARK):
        names, rows = _split(data)
        return _plain_frame(names, rows)
    line, _, rest = data.partition(b"\n")
    return _typed_frame(json.loads(line[len(_MARK) :]), *_split(rest))


# --- Writing


def _text(called: str, column: pd.Series[Any]) -> pd.Series[Any]:
    """A column as pandas is to write it: numbers and times as they are, the rest as strings or missing."""
    import numpy as np
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        labels = _labels(called, dtype.categories)
        # The code of what is missing is -1.
        return pd.Series(np.array([*labels, None], dtype=object)[column.cat.codes.to_numpy()], dtype=object)
    if isinstance(dtype, pd.StringDtype):
        return column.astype(object)
    if isinstance(dtype, pd.PeriodDtype):
        return column.astype(str).where(column.notna(), None).astype(object)
    if str(dtype) in ("Float32", "Float64") and np.isnan(column.to_numpy("float64", na_value=0.0)).any():
        raise ValueError(f"{called} holds NaN, which its missing values would become too")
    if str(dtype) == "object":
        kinds = set(map(type, column))
        for value in column if not kinds <= {str, dt.date, type(None)} else []:
            if type(value) not in (str, dt.date, type(None)) and not (type(value) is float and math.isnan(value)):
                raise ValueError(f"{called} holds {value!r:.60}, of type {type_name(type(value))}")
        return column.map(str, na_action="ignore") if dt.date in kinds else column
    return column


def _labels(called: str, categories: pd.Index[Any]) -> list[str]:
    labels = [str(category) for category in categories]
    if len(set(labels)) != len(labels):
        raise ValueError(f"{called} has two categories of the same text")
    return labels


def _unused(text: pd.Series[Any]) -> str:
    """A mark for missing values that no value of the column looks like."""
    mark = "NA"
    while (text == mark).any():
        mark = f"<{mark}>"
    return mark


def _name(name: Any) -> str:
    if isinstance(name, tuple):
        return "/".join(map(_name, name))
    return "" if name is None else str(name)


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def _rows(texts: pd.DataFrame) -> str:
    # A lone carriage return ends a line for most readers, and is not quoted by itself.
    strings = [texts[position].dropna() for position in texts if str(texts[position].dtype) == "object"]
    returns = any("\r" in text for column in strings for text in column)
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    to_csv: Any = texts.to_csv
    return str(to_csv(header=False, index=False, lineterminator="\n", quoting=quoting))


# --- Reading

_NAME = re.compile(rb'(?:"((?:[^"]|"")*)"|([^,\n]*))([,\n]|$)')


def _split(data: bytes) -> tuple[list[tuple[str, bool]], bytes]:
    """The header's names, each with whether it is quoted, and the rows."""
    names, end, more = [], 0, True
    while more:
        match = _NAME.match(data, end)
        if match is None:
            raise ValueError("the header is damaged")
        quoted = match[1] is not None
        names.append(((match[1].replace(b'""', b'"') if quoted else match[2]).decode(), quoted))
        end, more = match.end(), match[3] == b","
    return names, data[end:]


def _plain_frame(names: list[tuple[str, bool]], rows: bytes) -> pd.DataFrame:
    """A frame by the rules for texts without types.

    The first columns whose names are quoted are the index. A column of whole numbers is int64, of other numbers
    float64, of True and False bool, of ISO dates and times datetime64[us], of anything else strings. What is empty is
    missing.
    """
    import pandas as pd

    raw = _read_rows(rows, len(names), None, dict.fromkeys(range(len(names)), ""))
    columns = [_dated(raw[position]) for position in range(len(names))]
    levels = next((position for position, (_, quoted) in enumerate(names) if not quoted), len(names))
    index = [pd.Index(column).rename(name or None) for column, (name, _) in zip(columns[:levels], names, strict=False)]
    frame = pd.DataFrame(dict(enumerate(columns[levels:])), index=pd.RangeIndex(len(raw)))
    if index:
        frame.index = index[0] if levels == 1 else pd.MultiIndex.from_arrays(index)
    frame.columns = pd.Index([name for name, _ in names[levels:]])
    return frame


_DATE = r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?"


def _dated(column: pd.Series[Any]) -> pd.Series[Any]:
    import pandas as pd

    if column.dtype.kind in "iufb":
        return column
    values = column.dropna()
    if not len(values) or not re.fullmatch(_DATE, values.iloc[0]) or not values.str.fullmatch(_DATE).all():
        return column
    try:
        return pd.Series(moments(column, "datetime64[us]"))
    except ValueError:  # it looks like a date, and there is no such day
        return column


def _typed_frame(form: Form, names: list[tuple[str, bool]], rows: bytes) -> pd.DataFrame:
    """A frame whose types are known."""
    import pandas as pd

    types, missing = form["types"], form.get("missing", {})
    marks = {position: missing.get(str(position), "") for position in range(len(types))}
    raw = _read_rows(rows, len(types), dict(enumerate(map(_read_as, types))), marks)
    columns = [_typed(names[position][0], raw[position], kind) for position, kind in enumerate(types)]
    levels = form.get("index", {}).get("levels", 0)
    index: pd.Index[Any] = pd.RangeIndex(len(raw))
    if levels:
        index_names = form["index"].get("names", [name for name, _ in names[:levels]])
        parts = [pd.Index(column, dtype=column.dtype, tupleize_cols=False) for column in columns[:levels]]
        index = parts[0].rename(index_names[0]) if levels == 1 else pd.MultiIndex.from_arrays(parts, names=index_names)
        if "freq" in form["index"] and not isinstance(index, pd.PeriodIndex):
            index.freq = form["index"]["freq"]  # type: ignore[attr-defined]
    elif "index" in form:
        index = index_of(form["index"])
    frame = pd.DataFrame(dict(enumerate(columns[levels:])), index=pd.RangeIndex(len(index)))
    frame.index = index
    if "columns" in form:
        frame.columns = index_of(form["columns"])
    else:
        frame.columns = pd.Index([name for name, _ in names[levels:]], dtype=default_string_dtype())
    frame.attrs = form.get("attrs", {})
    return frame


def _read_as(kind: Any) -> Any:
    """The type for pandas' reader, which knows numbers; the rest is converted from text."""
    if kind in ("float16", "float32"):
        return "float64"
    if kind == "str":
        return default_string_dtype()
    if isinstance(kind, str) and re.fullmatch(r"u?int\d+|float64|bool|U?Int\d+|Float\d+|boolean", kind):
        return kind
    return object


def _typed(name: str, column: pd.Series[Any], kind: Any) -> pd.Series[Any]:
    try:
        return _converted(name, column, kind)
    except Exception as error:
        raise ValueError(f"column {name!r} of {kind} cannot be read from text ({error})") from error


def _converted(name: str, column: Any, kind: Any) -> pd.Series[Any]:
    import pandas as pd

    values: pd.Series[Any]
    if kind == "str":
        values = pd.Series(column, dtype=default_string_dtype())
    elif kind == "date":
        dates = [dt.date.fromisoformat(text) if isinstance(text, str) else None for text in column]
        values = pd.Series(dates, dtype=object)
    elif isinstance(kind, str) and kind.startswith(("datetime64", "timedelta64", "period")):
        values = pd.Series(moments(column, kind))
    elif isinstance(kind, str):
        values = column.astype(kind)
    elif "str" in kind:
        values = column.astype(string_dtype(kind))
    elif "object" in kind:
        values = column.where(column.notna(), None) if kind["object"] == "None" else column
    else:
        categories = index_of(kind["category"])
        codes = pd.Index(_labels(name, categories), dtype=object).get_indexer(pd.Index(column))
        if ((codes < 0) & column.notna()).any():
            raise ValueError("a value is none of the categories")
        values = pd.Series(pd.Categorical.from_codes(codes, categories=categories, ordered=kind["ordered"]))
    return values


def _read_rows(rows: bytes, width: int, dtypes: Any, marks: dict[int, str | None]) -> pd.DataFrame:
    import pandas as pd

    if not rows or not width:
        return pd.DataFrame({position: pd.Series([], dtype=object) for position in range(width)})
    options: dict[str, Any] = {
        "dtype": dtypes,
        "na_values": {position: [mark] for position, mark in marks.items() if mark is not None},
        "keep_default_na": False,
        "skip_blank_lines": False,
        "low_memory": False,
    }
    if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
        # These read some numbers wrongly in the last digit unless they are told; newer ones dislike to be told.
        options["float_precision"] = "round_trip"
    frame: pd.DataFrame = pd.read_csv(
        io.BytesIO(rows), header=None, names=list(range(width)), index_col=False, **options
    )
    return frame

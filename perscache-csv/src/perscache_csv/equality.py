"""Whether two frames are the same: values, types, order, index and names, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def difference(old: pd.DataFrame, new: pd.DataFrame) -> str | None:
    """Where two frames first differ: "the index", "column 'price' of object"; None where they do not."""
    if not _same_index(old.columns, new.columns):
        return "the names of the columns"
    if not _same_index(old.index, new.index):
        return "the index"
    for position, name in enumerate(old.columns):
        if not _same_values(old.iloc[:, position], new.iloc[:, position]):
            return f"column {name!r} of {old.dtypes.iloc[position]}"
    return "the attrs" if repr(old.attrs) != repr(new.attrs) else None


def _same_index(old: pd.Index[Any], new: pd.Index[Any]) -> bool:
    if type(old) is not type(new) or len(old) != len(new) or repr(list(old.names)) != repr(list(new.names)):
        return False
    if getattr(old, "freq", None) != getattr(new, "freq", None):
        return False
    return old.nlevels == new.nlevels and all(
        _same_values(_level(old, level), _level(new, level)) for level in range(old.nlevels)
    )


def _level(index: pd.Index[Any], level: int) -> pd.Series[Any]:
    import pandas as pd

    values = index.get_level_values(level)
    # Its type is said, or pandas would make text of objects.
    return pd.Series(values, dtype=values.dtype)


def _same_values(old: pd.Series[Any], new: pd.Series[Any]) -> bool:
    import numpy as np
    import pandas as pd

    if isinstance(old.dtype, pd.CategoricalDtype) and isinstance(new.dtype, pd.CategoricalDtype):
        same = old.dtype.ordered == new.dtype.ordered and _same_index(old.cat.categories, new.cat.categories)
        return same and np.array_equal(old.cat.codes, new.cat.codes)
    if old.dtype != new.dtype or len(old) != len(new):
        return False
    if old.dtype.kind == "f" and isinstance(old.dtype, np.dtype):
        a, b = old.to_numpy(), new.to_numpy()
        # Zeros have signs, which == does not see.
        return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))
    if str(old.dtype) == "object":
        return all(map(_same_object, old, new))
    return bool(old.reset_index(drop=True).equals(new.reset_index(drop=True)))


def _same_object(old: Any, new: Any) -> bool:
    return type(old) is type(new) and (old == new or old != old)  # noqa: PLR0124  (NaN)

"""A short readable line about arguments, for people who look at entries."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

_LINE = 200
_TEXT = 40
_ITEMS = 4
_DEPTH = 2
_BIG = 128  # bits of an int that is still written out


def summary(names: Iterable[str], values: Iterable[Any]) -> str:
    """``x=3, name='abc', table=<pandas.DataFrame 1000×6>``: at most 200 characters, no repr but the built-in ones."""
    pieces: list[str] = []
    length = 0
    for name, value in zip(names, values, strict=True):
        piece = f"{name}={_shown(value, _DEPTH)}"
        length += len(piece) + 2
        pieces.append(piece)
        if length > _LINE:
            break
    line = ", ".join(pieces)
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _shown(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is str or kind is bytes:
        return repr(value) if len(value) <= _TEXT else f"{value[:_TEXT]!r}…"
    if kind is int:
        return repr(value) if value.bit_length() <= _BIG else f"<int of {value.bit_length()} bits>"
    if kind in {float, complex, bool, type(None), type(...)}:
        return repr(value)
    if kind in {list, tuple, set, frozenset, dict} and depth:
        return _contents(value, depth)
    return f"<{kind.__module__.partition('.')[0]}.{kind.__qualname__}{_shape(value)}>".replace("<builtins.", "<")


def _contents(value: Any, depth: int) -> str:
    opening, closing = {"list": ("[", "]"), "tuple": ("(", ")")}.get(type(value).__name__, ("{", "}"))
    if isinstance(value, dict):
        shown = [f"{_shown(key, 0)}: {_shown(item, depth - 1)}" for key, item in islice(value.items(), _ITEMS)]
    else:
        shown = [_shown(item, depth - 1) for item in islice(value, _ITEMS)]
    if len(value) > _ITEMS:
        shown.append(f"… {len(value)} in all")
    return opening + ", ".join(shown) + closing


_SHAPED = frozenset({"numpy", "pandas", "polars", "torch", "xarray", "scipy", "pyarrow"})


def _shape(value: Any) -> str:
    if type(value).__module__.partition(".")[0] not in _SHAPED:
        return f" of {len(value)}" if type(value) in {list, tuple, set, frozenset, dict, bytearray} else ""
    shape = getattr(value, "shape", None)
    return f" {'×'.join(map(str, shape))}" if isinstance(shape, tuple) and shape else ""

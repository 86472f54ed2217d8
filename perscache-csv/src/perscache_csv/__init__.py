"""Cached results as CSV files: the serializer ``csv`` of perscache."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from perscache.errors import SerializationError
from perscache.plugins import Serializer, hookimpl
from perscache.serializers.places import type_name

__version__ = "1.0.0"

PERSCACHE_API = 1


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The serializer of this distribution."""
    return [CSVSerializer]


class CSVSerializer(Serializer):
    """pandas frames as CSV files that every tool reads, and that come back as equal frames.

    A frame of whole numbers, floats, booleans, dates and strings is a plain CSV file. Where the text would not tell
    the types (small integers, categories, time zones, strings that look like numbers), they stand in a first line
    that opens with ``# perscache-csv``. Every text is read back and compared before it is stored: a frame that CSV
    cannot carry is refused. Loading runs no code.
    """

    extension = "csv"
    name = "csv"
    safe = True

    def dumps(self, data: Any) -> bytes:
        """The text of a frame in UTF-8.

        Raises TypeError for what is no pandas DataFrame, SerializationError that names the column or index which would
        not come back equal.
        """
        _check_is_frame(data)
        from . import text

        if plain := _plain(data):
            return plain
        try:
            typed = text.write(data, plain=False)
            culprit = _differs(typed, data)
        except Exception as error:
            raise SerializationError(f"CSV cannot store this frame: {error}; {_WAY_OUT}") from error
        if culprit:
            raise SerializationError(f"CSV would not give back {culprit} as it is; {_WAY_OUT}")
        return typed

    def loads(self, data: bytes) -> Any:
        """The frame of the text."""
        from . import text

        if not data:  # for pandas that is a frame without columns
            raise SerializationError("an empty file holds no frame: what was written to it is lost")
        return text.read(bytes(data))

    def changes(self, data: Any) -> str | None:
        """What of a frame is lost: a subclass of DataFrame. All else is compared by `dumps`."""
        plain = type_name(type(data)) in ("pandas.DataFrame", "pandas.core.frame.DataFrame")
        return None if plain else f"a {type_name(type(data))} becomes a pandas.DataFrame"


_WAY_OUT = 'use serializer="parquet", or "cloudpickle", which stores nearly everything.'

_PLAIN = {"int64", "float64", "bool", "str", "object", "datetime64[us]"}


def _check_is_frame(data: Any) -> None:
    # A library that nobody imported has made no value.
    if isinstance(data, getattr(sys.modules.get("pandas"), "DataFrame", ())):
        return
    way_out = "call .to_frame(), or " if type(data).__name__ == "Series" else ""
    raise TypeError(f"CSV stores pandas DataFrames, and this is a {type_name(type(data))}; {way_out}{_WAY_OUT}")


def _plain(frame: Any) -> bytes | None:
    """The text without the line of types, if it says all of the frame."""
    from . import text

    kinds = {str(dtype) for dtype in frame.dtypes}
    if not kinds <= _PLAIN or getattr(frame.index, "freq", None) or frame.attrs or not len(frame):
        return None
    try:
        data = text.write(frame, plain=True)
        return None if _differs(data, frame) else data
    except Exception:  # noqa: BLE001  (the text with types is tried next, and its failure is told)
        return None


def _differs(data: bytes, frame: Any) -> str | None:
    """What of the frame would not come back from the text."""
    from . import equality, text

    return equality.difference(frame, text.read(data))

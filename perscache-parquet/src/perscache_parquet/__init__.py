"""Cached results as Parquet files: the serializer ``parquet`` of perscache."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from perscache.errors import ConfigurationError, SerializationError
from perscache.plugins import Buffer, Form, Serializer, hookimpl
from perscache.serializers.places import type_name

__version__ = "1.0.0"

PERSCACHE_API = 1

Compression = Literal["snappy", "gzip", "brotli", "lz4", "zstd"]


@hookimpl
def perscache_serializers() -> Iterable[type[Serializer]]:
    """The serializer of this distribution."""
    return [ParquetSerializer]


def _memory(size: int) -> memoryview:
    """Of pyarrow's pool, which has it ready from the last time."""
    import pyarrow as pa

    return memoryview(pa.allocate_buffer(size))


class ParquetSerializer(Serializer):
    """Tables as Parquet files, compressed, with a checksum on each page.

    pandas frames, pyarrow tables and polars frames each come back as what they were, pandas frames with their index,
    categories, time zones and attributes. Other tools read the files as they are. Loading runs no code.
    """

    extension = "parquet"
    name = "parquet"
    safe = True
    reads: Form = staticmethod(_memory)

    def __init__(self, compression: Compression | None = "snappy") -> None:
        if compression is not None and compression not in get_args(Compression):
            known = ", ".join(map(repr, get_args(Compression)))
            raise ConfigurationError(f"Parquet has no compression {compression!r}; choose among {known} and None")
        self.compression = compression

    def __repr__(self) -> str:
        return f"{type(self).__name__}(compression={self.compression!r})"

    def dumps(self, data: Any) -> bytes:
        """The Parquet file of a frame or table.

        Raises TypeError for what is no table, SerializationError for a table that Parquet cannot give back; the cause
        is chained.
        """
        return b"".join(self.buffers(data))

    def buffers(self, data: Any) -> Sequence[Buffer]:
        """The same as pyarrow wrote it, piece by piece."""
        kind = _kind(data)
        try:
            return self._pieces(data, kind)
        except SerializationError:
            raise
        except Exception as error:
            message = f'Parquet cannot store this {kind}: {error}; serializer="cloudpickle" stores nearly everything.'
            raise SerializationError(message) from error

    def _pieces(self, data: Any, kind: str) -> list[bytes]:
        from . import tables

        table = data
        notes: dict[str, Any] = {}
        if kind == "pandas.DataFrame":
            from . import frames

            table, notes = frames.to_table(data)
        elif kind == "polars.DataFrame":
            for column, dtype in data.schema.items():
                if _has_objects(dtype):  # Arrow would store their addresses
                    raise SerializationError(
                        f"Parquet cannot store Python objects, the type of column {column!r}; "
                        'serializer="cloudpickle" stores nearly everything.'
                    )
            table = data.to_arrow()
        return tables.write(table, {"kind": kind} | notes, self.compression)

    def loads(self, data: Buffer) -> Any:
        """The frame or table of the file, of the library that it came from."""
        from . import tables

        table, notes = tables.read(data)
        if notes["kind"] == "pandas.DataFrame":
            from . import frames

            return frames.to_frame(table, notes)
        if notes["kind"] == "polars.DataFrame":
            import polars as pl

            return pl.from_arrow(table)
        return table

    def changes(self, data: Any) -> str | None:
        """What of a table's types, index and Python objects Parquet would give back as something else.

        Types are compared on a table of no rows, so that only columns of Python objects cost time.
        """
        try:
            kind = _kind(data)
            if type_name(type(data)) not in _NAMES[kind]:
                return f"a {type_name(type(data))} becomes a {kind}"
            if kind == "pandas.DataFrame":
                from . import frames

                empty = data.iloc[:0]
                return frames.form_change(empty, self._again(empty, kind)) or frames.value_change(data)
            if not data.shape[1] and data.shape[0]:
                return f"a table of no columns loses its {data.shape[0]} rows"
            if kind == "polars.DataFrame":
                return _schema_change(data.schema, self._again(data.clear(), kind).schema)
            return _arrow_change(data.schema, self._again(data.slice(0, 0), kind).schema)
        except Exception:  # noqa: BLE001  (dumps fails in the same way, and says why)
            return None

    def _again(self, data: Any, kind: str) -> Any:
        return self.loads(b"".join(self._pieces(data, kind)))


_NAMES = {
    "pandas.DataFrame": ("pandas.DataFrame", "pandas.core.frame.DataFrame"),
    "pyarrow.Table": ("pyarrow.lib.Table",),
    "polars.DataFrame": ("polars.DataFrame", "polars.dataframe.frame.DataFrame"),
}
"""The kinds of tables, and their types as they call themselves in the versions of their libraries."""


def _kind(data: Any) -> str:
    """The kind of table that ``data`` is. A library that nobody imported has made no value."""
    for kind in _NAMES:
        library, name = kind.split(".")
        if isinstance(data, getattr(sys.modules.get(library), name, ())):
            return kind
    name = type_name(type(data))
    frame = {"Series": ".to_frame()", "LazyFrame": ".collect()"}.get(type(data).__name__)
    way_out = f"call {frame}, or " if frame else ""
    raise TypeError(
        f"Parquet stores pandas and polars DataFrames and pyarrow Tables, and this is a {name}; "
        f'{way_out}use serializer="cloudpickle".'
    )


def _has_objects(dtype: Any) -> bool:
    """Whether a type of polars is Object, or has it inside."""
    parts = [field.dtype for field in getattr(dtype, "fields", [])]
    inner = getattr(dtype, "inner", None)
    if inner is not None:
        parts.append(inner)
    return dtype.base_type().__name__ == "Object" or any(map(_has_objects, parts))


def _schema_change(before: Any, after: Any) -> str | None:
    for name, kind in before.items():
        if after[name] != kind:
            return f"column {name!r} of {kind} becomes one of {after[name]}"
    return None


def _arrow_change(before: Any, after: Any) -> str | None:
    if after.equals(before, check_metadata=True):
        return None
    for old, new in zip(before, after, strict=True):
        if not new.equals(old, check_metadata=True):
            return f"column {old.name!r}: {old} becomes {new}" if old != new else f"column {old.name!r}: its metadata"
    return f"the metadata {before.metadata} become {after.metadata}"

"""Arrow tables as Parquet files that come back with the schema and the dictionaries that they were written with."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from perscache.errors import DamagedEntry, SerializationError
from perscache.plugins import Buffer

if TYPE_CHECKING:
    import pyarrow as pa

_NOTES = b"perscache"
"""The key of our notes in the metadata of the file: JSON, which other readers ignore."""


class _Pieces:
    """A file that keeps what is written to it as it comes: a buffer that grows takes a tenth more time."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self._size = 0

    def write(self, piece: bytes) -> int:
        self.written.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True


def write(table: pa.Table, notes: dict[str, Any], compression: str | None) -> list[bytes]:
    """A Parquet file of ``table`` in pieces, with a checksum on each page, and with ``notes`` for whoever reads it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if any(pa.types.is_dictionary(kind) for kind in table.schema.types):
        table = table.unify_dictionaries()
    # Parquet has fewer types than Arrow: whole seconds, large strings and most dictionaries would be lost.
    notes = notes | {"schema": _text(table.schema.remove_metadata().serialize()), "dictionaries": _dictionaries(table)}
    for index, field in enumerate(table.schema):
        kind = _file_type(field)
        if kind != field.type:
            table = table.set_column(index, field.with_type(kind), table.column(index).cast(kind))
    metadata = {**(table.schema.metadata or {}), _NOTES: json.dumps(notes).encode()}
    file = _Pieces()
    pq.write_table(
        table.replace_schema_metadata(metadata),
        pa.PythonFile(file, mode="w"),
        compression=compression or "none",
        write_page_checksum=True,
        use_compliant_nested_type=False,  # the compliant one renames the fields of lists
    )
    return file.written


def read(data: Buffer) -> tuple[pa.Table, dict[str, Any]]:
    """The table and the notes that were written, every page verified; but what came as our own memory was before.

    Raises DamagedEntry for a Parquet file that is none of ours, OSError for one that is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(
        pa.BufferReader(pa.py_buffer(data)),
        page_checksum_verification=not isinstance(data, memoryview) or data.readonly,
        thrift_string_size_limit=2**31 - 1,  # our notes hold the dictionaries
    )
    table = file.read()
    metadata = dict(table.schema.metadata or {})
    if _NOTES not in metadata:
        raise DamagedEntry("this Parquet file was not written by perscache")
    notes: dict[str, Any] = json.loads(metadata.pop(_NOTES))
    schema = pa.ipc.read_schema(pa.py_buffer(_bytes(notes["schema"])))
    columns = [
        _as_written(column, field.type, notes["dictionaries"].get(str(index)))
        for index, (column, field) in enumerate(zip(table.columns, schema, strict=True))
    ]
    return pa.Table.from_arrays(columns, schema=schema.with_metadata(metadata or None)), notes


def _dictionaries(table: pa.Table) -> dict[str, str]:
    """The dictionaries of the columns, by position: Parquet forgets the order of values and the unused ones."""
    import pyarrow as pa

    found = {}
    for index, column in enumerate(table.columns):
        if not pa.types.is_dictionary(column.type):
            continue
        values = column.chunk(0).dictionary if column.num_chunks else pa.nulls(0, column.type.value_type)
        batch = pa.record_batch([values], ["values"])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        found[str(index)] = _text(sink.getvalue())
    return found


def _file_type(field: pa.Field) -> pa.DataType:
    """The type in which a column goes to the file."""
    import pyarrow as pa

    kind = field.type
    if not pa.types.is_dictionary(kind):
        return kind
    values = kind.value_type
    if pa.types.is_nested(values) or isinstance(values, pa.BaseExtensionType):
        raise SerializationError(
            f"Parquet cannot give back the categories of column {field.name!r}, which are {values}; "
            'convert them to strings, or use serializer="cloudpickle".'
        )
    if pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values):
        return pa.dictionary(pa.int32(), pa.string())
    return values


def _as_written(column: pa.ChunkedArray, kind: pa.DataType, dictionary: str | None) -> pa.ChunkedArray:
    import pyarrow as pa

    if dictionary is not None:
        values = pa.ipc.open_stream(_bytes(dictionary)).read_all().column(0).combine_chunks()
        # At least one chunk, so that a column of no rows has its categories too.
        chunks = column.chunks or [pa.nulls(0, values.type)]
        return pa.chunked_array([_coded(chunk, kind, values) for chunk in chunks], kind)
    return column if column.type == kind else column.cast(kind)


def _coded(chunk: pa.Array, kind: pa.DictionaryType, values: pa.Array) -> pa.DictionaryArray:
    """``chunk`` as indices into ``values``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(chunk.type):
        found = chunk.dictionary.cast(values.type)
        indices = (
            chunk.indices
            if found.equals(values)
            else pc.call_function("index_in", [found], pc.SetLookupOptions(values)).take(chunk.indices)
        )
    else:
        indices = pc.call_function("index_in", [chunk], pc.SetLookupOptions(values))
    return pa.DictionaryArray.from_arrays(indices.cast(kind.index_type), values, ordered=kind.ordered)


def _text(buffer: pa.Buffer) -> str:
    return base64.b64encode(buffer).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)

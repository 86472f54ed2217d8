"""How pyarrow's columns are taken apart: by value, whatever their chunks, offsets and left-overs under nulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .encoder import Stream

_ROWS = 1 << 16
_TEXTS = {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}


def of_chunked(column: Any) -> Any:
    """Type, which values are missing, and the values; nested types by their children."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return (str(kind), of_chunked(_each(column, lambda chunk: chunk.storage, kind.storage_type)))
    if pa.types.is_dictionary(kind):
        plain = _each(column, lambda chunk: chunk.dictionary_decode(), kind.value_type)
        return (str(kind), of_chunked(plain))
    if hasattr(pa.types, "is_run_end_encoded") and pa.types.is_run_end_encoded(kind):
        import pyarrow.compute as pc

        decode: Any = pc.run_end_decode  # pyright: ignore[reportAttributeAccessIssue] - made when pyarrow is imported
        return (str(kind), of_chunked(_each(column, decode, kind.value_type)))
    missing = Stream(_validity(chunk) for chunk in column.chunks) if column.null_count else None
    return (str(kind), len(column), missing, *_values(column, kind))


def _values(column: Any, kind: Any) -> tuple[Any, ...]:
    import pyarrow as pa

    types = pa.types
    if types.is_null(kind):
        return ()
    if types.is_struct(kind):
        fields = [(kind.field(index).name, index) for index in range(kind.num_fields)]
        return ([(name, of_chunked(_each(column, _field(index), kind.field(index).type))) for name, index in fields],)
    if types.is_map(kind):
        entries = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        return _values(_each(column, lambda chunk: chunk.cast(pa.list_(entries)), pa.list_(entries)), pa.list_(entries))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return (Stream(_lengths(chunk) for chunk in column.chunks), of_chunked(_each(column, _flat, kind.value_type)))
    if str(kind) in _TEXTS:
        texts = [_as_binary(chunk) for chunk in column.chunks]
        width = pa.uint32() if sum(map(_size, texts)) < 1 << 32 else pa.uint64()
        return (
            Stream(piece for chunk in texts for piece in _byte_lengths(chunk, width)),
            Stream(map(_bytes, texts)),
        )
    if types.is_union(kind):
        codes = [code for chunk in column.chunks for code in chunk.type_codes.to_pylist()]
        return (codes, column.to_pylist())
    narrow = types.is_boolean(kind) or (types.is_primitive(kind) and kind.bit_width <= 64)
    wide = types.is_decimal(kind) or types.is_fixed_size_binary(kind)
    if narrow or (wide and not column.null_count):
        return (Stream(_fixed(chunk, kind) for chunk in column.chunks),)
    return (column.to_pylist(),)


def _each(column: Any, change: Callable[[Any], Any], kind: Any) -> Any:
    import pyarrow as pa

    return pa.chunked_array([change(chunk) for chunk in column.chunks], type=kind)


def _field(index: int) -> Callable[[Any], Any]:
    return lambda chunk: chunk.flatten()[index]


def _flat(chunk: Any) -> Any:
    return chunk.flatten()


def _validity(chunk: Any) -> Any:
    import pyarrow as pa

    return _buffer(chunk.is_valid().cast(pa.uint8()), 1)


def _lengths(chunk: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths: Any = pc.list_value_length(chunk)  # pyright: ignore[reportAttributeAccessIssue] - as above
    return _buffer(pc.fill_null(lengths, 0).cast(pa.int64()), 8)


def _as_binary(chunk: Any) -> Any:
    """Texts or bytes, without left-overs under nulls."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        binary = chunk.cast(pa.large_binary())
    except pa.ArrowNotImplementedError:  # views, before pyarrow 18
        binary = pa.array(chunk.to_pylist(), pa.large_binary())
    return pc.fill_null(binary, b"") if binary.null_count else binary


def _byte_lengths(binary: Any, width: Any) -> Iterator[Any]:
    import pyarrow.compute as pc

    for start in range(0, len(binary), _ROWS):  # as many as stay in the processor's cache
        lengths: Any = pc.binary_length(binary.slice(start, _ROWS))  # pyright: ignore[reportAttributeAccessIssue] - as above
        yield _buffer(lengths.cast(width, safe=False), width.bit_width // 8)


def _bytes(binary: Any) -> Any:
    """The text of all values, one behind the other."""
    first, last = _ends(binary)
    return memoryview(binary.buffers()[2]).cast("B")[first:last] if last > first else b""


def _size(binary: Any) -> int:
    first, last = _ends(binary)
    return last - first


def _ends(binary: Any) -> tuple[int, int]:
    if len(binary) == 0:
        return (0, 0)
    offsets = memoryview(binary.buffers()[1]).cast("B").cast("q")
    return (offsets[binary.offset], offsets[binary.offset + len(binary)])


def _fixed(chunk: Any, kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(kind):
        chunk, kind = chunk.cast(pa.uint8()), pa.uint8()
    width = kind.byte_width if pa.types.is_fixed_size_binary(kind) else kind.bit_width // 8
    if chunk.null_count:
        whole = {1: pa.int8(), 2: pa.int16(), 4: pa.int32(), 8: pa.int64()}[width]
        chunk = pc.fill_null(chunk.view(whole), pa.scalar(0, whole))
    return _buffer(chunk, width)


def _buffer(chunk: Any, width: int) -> Any:
    data = chunk.buffers()[1]
    if data is None:
        return b""
    return memoryview(data).cast("B")[chunk.offset * width : (chunk.offset + len(chunk)) * width]


def _of_table(table: Any) -> Any:
    names = table.schema.names
    columns = [of_chunked(_chunked(table.column(index))) for index in range(len(names))]
    fields = [(field.nullable, field.metadata) for field in table.schema]
    return (list(names), columns, fields, table.schema.metadata, table.num_rows)


def _of_array(array: Any) -> Any:
    return of_chunked(_chunked(array))


def _chunked(column: Any) -> Any:
    import pyarrow as pa

    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _of_schema(schema: Any) -> Any:
    return ([(field.name, str(field.type), field.nullable, field.metadata) for field in schema], schema.metadata)


def _pieces(buffer: Any) -> Iterator[Any]:
    yield memoryview(buffer)


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "pyarrow.Table": _of_table,
    "pyarrow.RecordBatch": _of_table,
    "pyarrow.ChunkedArray": _of_array,
    "pyarrow.Array": _of_array,
    "pyarrow.Scalar": lambda scalar: (str(scalar.type), scalar.as_py()),
    "pyarrow.DataType": str,
    "pyarrow.Schema": _of_schema,
    "pyarrow.Field": lambda field: (field.name, str(field.type), field.nullable, field.metadata),
    "pyarrow.Buffer": lambda buffer: Stream(_pieces(buffer)),
}

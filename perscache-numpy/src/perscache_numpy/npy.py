"""numpy's file format, without the copies: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from perscache.errors import DamagedEntry, SerializationError
from perscache.plugins import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAGIC = b"\x93NUMPY"
_ALIGNED = 64


def write(array: NDArray[Any]) -> Sequence[Buffer]:
    """The file of ``array``: its header, then its memory as it lies there, where it has no gaps.

    Raises SerializationError for elements that a file cannot give back.
    """
    import numpy as np

    array = np.asarray(array)
    descr = _describe(array.dtype)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    header = _header({"descr": descr, "fortran_order": fortran, "shape": array.shape})
    if not array.nbytes:
        return [header]
    rows = array.T if fortran else np.ascontiguousarray(array)
    return [header, rows.reshape(-1).view(np.uint8).data]


def read(data: Buffer) -> NDArray[Any]:
    """The array of a file, over its bytes; read-only where they are. Raises DamagedEntry for another file."""
    import numpy as np

    view = memoryview(data)
    magic, version = bytes(view[:6]), bytes(view[6:7])
    begin = 10 if version == b"\x01" else 12
    end = begin + int.from_bytes(view[8:begin], "little")
    if magic != _MAGIC or end > len(view):
        raise DamagedEntry("this is no file of numpy's")
    dtype, shape, fortran = _form(bytes(view[begin:end]), "utf8" if version == b"\x03" else "latin1")
    array: NDArray[Any] = np.ndarray(shape, dtype, view, end, order="F" if fortran else "C")
    if array.nbytes != len(view) - end:
        raise DamagedEntry(f"the file says that it holds {array.nbytes:,} bytes, and it has {len(view) - end:,}")
    return array


def _describe(dtype: np.dtype[Any]) -> Any:
    """What stands for ``dtype`` in a header."""
    from numpy.lib import format as npy

    cause = None
    if dtype.hasobject:
        what = "Python objects"
    elif _has_metadata(dtype):
        what = "the metadata of a dtype"
    else:
        what = f"arrays of {dtype}"
        try:
            descr = npy.dtype_to_descr(dtype)
            if npy.descr_to_dtype(descr) == dtype:  # not so for types of other libraries
                return descr
        except ValueError as error:  # fields that overlap, or lie in another order
            cause = error
    raise SerializationError(
        f"numpy's files cannot hold {what}: convert the array with .astype(), or "
        'use serializer="cloudpickle", which stores nearly everything.'
    ) from cause


def _has_metadata(dtype: np.dtype[Any]) -> bool:
    inner = [field[0] for field in dtype.fields.values()] if dtype.fields else []
    inner += [dtype.subdtype[0]] if dtype.subdtype else []
    return bool(dtype.metadata) or any(map(_has_metadata, inner))


def _header(form: dict[str, Any]) -> bytes:
    text = repr(form)
    try:
        encoded, version = text.encode("latin1"), 1 if len(text) < 2**16 - _ALIGNED else 2
    except UnicodeEncodeError:
        encoded, version = text.encode(), 3
    room = 2 if version == 1 else 4
    blanks = -(8 + room + len(encoded) + 1) % _ALIGNED
    encoded += b" " * blanks + b"\n"
    return _MAGIC + bytes((version, 0)) + len(encoded).to_bytes(room, "little") + encoded


@lru_cache(128)
def _form(header: bytes, encoding: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    from numpy.lib import format as npy

    form: dict[str, Any] = ast.literal_eval(header.decode(encoding).strip())
    dtype, shape, fortran = npy.descr_to_dtype(form["descr"]), form["shape"], form["fortran_order"]
    # Objects would be pointers, to wherever the file says.
    if dtype.hasobject or not isinstance(shape, tuple) or min(shape, default=0) < 0 or not isinstance(fortran, bool):
        raise DamagedEntry(f"this is no header of ours: {form}")
    return dtype, shape, fortran

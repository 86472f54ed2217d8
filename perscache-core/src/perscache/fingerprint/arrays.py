"""How arrays are taken apart: numpy, scipy.sparse, torch. They are imported only when such a value appears."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .containers import Elements
from .encoder import Stream
from .objects import state_of, without_computed

_SLAB = 4 << 20  # bytes that are made contiguous at once
_MOST_REPEATED = 1 << 40  # bytes that an array may be by broadcasting


def of_array(array: Any) -> Any:
    """Data type, shape and data in C order: a view equals its copy, a transpose does not."""
    import numpy as np

    plain = array if type(array) is np.ndarray else np.asarray(array)
    if 0 in plain.strides and plain.nbytes > _MOST_REPEATED:
        raise ValueError(f"it repeats its data up to {plain.nbytes >> 40:,} TiB; pass what it was made of")
    fields = {} if isinstance(array, np.memmap) else dict(getattr(array, "__dict__", ()))
    return (dtype_of(plain.dtype), plain.shape, _data(plain), without_computed(type(array), fields) or None)


def dtype_of(dtype: Any) -> Any:
    """The layout without the padding between fields."""
    if dtype.subdtype is not None:
        return (dtype_of(dtype.subdtype[0]), dtype.subdtype[1])
    if dtype.names is not None:
        return tuple((name, dtype_of(dtype.fields[name][0])) for name in dtype.names)
    if dtype.kind == "T":
        return (dtype.str, str(dtype))
    return (dtype.str, dict(dtype.metadata)) if dtype.metadata else dtype.str


def _data(array: Any) -> Any:
    dtype = array.dtype
    if dtype.names is not None:  # by field: what lies between fields is left-over memory
        return tuple(_data(array[name]) for name in dtype.names)
    if dtype.kind in "OT":
        return Elements(array.ravel(order="C").tolist())
    return Stream(pieces_of(array))


def pieces_of(array: Any) -> Iterator[Any]:
    """The data of an array in C order: as it lies, or in slabs of a few MiB."""
    import numpy as np

    significant = _significant_bytes(array.dtype)
    if array.nbytes == 0:
        return
    if array.flags.c_contiguous and significant is None:
        yield array.reshape(-1).view(np.uint8)
    elif array.ndim == 0 or (array.nbytes <= _SLAB and significant is None):
        yield from (
            pieces_of(np.array(array, order="C", ndmin=1)) if significant is None else _trimmed(array, significant)
        )
    elif array.nbytes <= _SLAB:
        yield from _trimmed(array, significant)
    else:
        rows = max(1, _SLAB * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            slab = array[start : start + rows]
            yield from pieces_of(slab if rows > 1 or array.ndim == 1 else slab[0])


def _significant_bytes(dtype: Any) -> tuple[int, int] | None:
    """Of a long double on x86: bytes a number takes, and those of them that are not padding."""
    import numpy as np

    extended = 63  # bits of the mantissa of the 80-bit format
    if dtype.kind in "fc" and np.finfo(dtype).nmant == extended:
        width = dtype.itemsize if dtype.kind == "f" else dtype.itemsize // 2
        return (width, 10)
    return None


def _trimmed(array: Any, significant: tuple[int, int] | None) -> Iterator[Any]:
    import numpy as np

    width, used = significant or (1, 1)
    flat = np.array(array, order="C", ndmin=1).reshape(-1).view(np.uint8).reshape(-1, width)
    yield np.ascontiguousarray(flat[:, :used])


def _of_masked_array(array: Any) -> Any:
    import numpy as np

    if array is np.ma.masked:
        return None
    mask = np.ma.getmaskarray(array)
    return (of_array(array.data), of_array(mask), of_array(np.asarray(array.fill_value)), bool(array.hardmask))


def _of_scalar(scalar: Any) -> Any:
    import numpy as np

    return of_array(np.asarray(scalar)) if not isinstance(scalar, np.void) else of_array(np.array(scalar))


def _of_dtype(dtype: Any) -> Any:
    return (dtype_of(dtype), dtype.itemsize, dtype.isalignedstruct)


def _of_ufunc(ufunc: Any) -> Any:
    return (ufunc.__name__, ufunc.nin, ufunc.nout)


def _of_random_state(generator: Any) -> Any:
    """As of `random`: the generator that numpy itself keeps is a name for chance."""
    import numpy as np

    return None if generator is np.random.mtrand._rand else state_of(generator)


def _of_sparse(matrix: Any) -> Any:
    """Coordinates and values, sorted and summed: the same matrix may be held in several ways."""
    rows = matrix.tocoo(copy=True)
    rows.sum_duplicates()
    coordinates = rows.coords if hasattr(rows, "coords") else (rows.row, rows.col)
    return (
        matrix.format,
        matrix.shape,
        tuple(of_array(axis.astype("int64")) for axis in coordinates),
        of_array(rows.data),
    )


def _of_tensor(tensor: Any) -> Any:
    """Data type, shape and data; the device too, and whether gradients are asked for."""
    import torch

    about = (str(tensor.dtype), tuple(tensor.shape), str(tensor.layout), tensor.device.type, tensor.requires_grad)
    fields = dict(getattr(tensor, "__dict__", ())) or None
    plain = tensor.detach()
    if plain.layout != torch.strided:
        plain = plain.coalesce() if plain.layout == torch.sparse_coo else plain
        return (about, [_of_tensor(part) for part in _parts_of_sparse(plain)], fields)
    plain = plain.resolve_conj().resolve_neg().cpu()
    if plain.is_complex():
        plain = torch.view_as_real(plain)
    # numpy knows no bfloat16, but whole numbers of its width.
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[plain.element_size()]
    return (about, Stream(pieces_of(plain.view(whole).numpy())), fields)


def _parts_of_sparse(tensor: Any) -> list[Any]:
    import torch

    if tensor.layout == torch.sparse_coo:
        return [tensor.indices(), tensor.values()]
    if tensor.layout in {torch.sparse_csr, torch.sparse_bsr}:
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "numpy.ndarray": of_array,
    "numpy.MaskedArray": _of_masked_array,
    "numpy.generic": _of_scalar,
    "numpy.dtype": _of_dtype,
    "numpy.ufunc": _of_ufunc,
    "numpy.RandomState": _of_random_state,
    "numpy.busdaycalendar": lambda calendar: (of_array(calendar.weekmask), of_array(calendar.holidays)),
    "scipy._spbase": _of_sparse,
    "scipy.spmatrix": _of_sparse,
    "torch.Tensor": _of_tensor,
    "torch.dtype": str,
    "torch.device": str,
    "torch.Size": tuple,
}

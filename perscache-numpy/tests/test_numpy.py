"""numpy: an array comes back as it was, from a file that numpy itself opens, or it is refused, or announced."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perscache.errors import ConfigurationError, DamagedEntry, SerializationError
from perscache_numpy import NumpySerializer

serializer = NumpySerializer()


def same(left: Any, right: Any) -> bool:
    """Equal in type, shape, order of axes and bits; the padding between fields holds anything."""
    return (
        type(left) is type(right)
        and (left.dtype, left.shape) == (right.dtype, right.shape)
        and (left.flags.c_contiguous, left.flags.f_contiguous) == (right.flags.c_contiguous, right.flags.f_contiguous)
        and (bool((left == right).all()) if left.dtype.names else left.tobytes() == right.tobytes())
    )


STRUCTURE = np.dtype([("λ", "<i2"), ("inner", [("b", ">f8", (2, 2)), ("text", "U3")])])

KEPT = {
    "numbers": np.arange(12.0).reshape(3, 4),
    "columns first": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "columns first, three axes": np.arange(24, dtype="i2").reshape(2, 3, 4).T,
    "one number": np.array(5),
    "one text": np.array("ä"),
    "nothing": np.zeros(0),
    "no rows": np.zeros((0, 3), "f4"),
    "no columns": np.zeros((3, 0), order="F"),
    "big-endian": np.arange(3, dtype=">u4"),
    "bits": np.array([True, False]),
    "half": np.array([1.5, np.nan, -0.0], "f2"),
    "complex": np.array([1 + 2j]),
    "long": np.array([1], "g"),
    "dates": np.array(["2024-02-29", "NaT"], "M8[s]"),
    "dates in steps": np.array([1, 2], "M8[25s]"),
    "durations": np.array([1, -1], "m8[ns]"),
    "text": np.array(["a", "", "日本"]),
    "bytes": np.array([b"a", b"bc"]),
    "raw": np.array([b"\x01\x02"], "V2"),
    "structure": np.zeros(3, STRUCTURE),
    "aligned structure": np.ones(2, np.dtype("i1, i4", align=True)),
    "titled fields": np.zeros(2, np.dtype([(("title", "name"), "i4")])),
    "many fields": np.zeros(1, [(f"field {number}", "i1") for number in range(3000)]),
    "cannot be written to": np.frombuffer(b"abcdefgh", "i4"),
}


@pytest.mark.parametrize("array", KEPT.values(), ids=KEPT.keys())
@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_an_array_comes_back_as_it_was(array: Any, mode: Any):
    mapped = NumpySerializer(mode)

    assert mapped.changes(array) is None
    again = mapped.loads(mapped.dumps(array))
    assert same(again, array)
    assert again.flags.writeable == (mode != "r")


@pytest.mark.filterwarnings("ignore:Stored array in format")
@pytest.mark.parametrize("array", KEPT.values(), ids=KEPT.keys())
def test_numpy_reads_what_we_write_and_we_what_numpy_writes(array: Any):
    assert same(np.load(io.BytesIO(serializer.dumps(array)), max_header_size=10**6), array)

    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    assert same(serializer.loads(file.getvalue()), array)


@settings(deadline=None)
@given(
    arrays.arrays(
        arrays.scalar_dtypes() | arrays.array_dtypes(allow_subarrays=True),
        arrays.array_shapes(min_dims=0, min_side=0),
    ),
    st.permutations(range(6)),
    st.booleans(),
)
def test_every_array_of_plain_elements_comes_back(array: Any, axes: list[int], gaps: bool):
    array = array.transpose([axis for axis in axes if axis < array.ndim])
    array = array[..., ::2] if gaps and array.ndim else array

    again = serializer.loads(serializer.dumps(array))

    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes()


def test_gaps_are_closed():
    array = np.arange(100.0).reshape(10, 10)[::2, ::3]

    again = serializer.loads(serializer.dumps(array))

    assert np.array_equal(again, array)
    assert again.flags.c_contiguous


@pytest.mark.parametrize("order", ["C", "F"])
def test_storing_shows_the_arrays_own_memory(order: Any):
    array = np.zeros((100, 100), order=order)

    _, memory = serializer.buffers(array)

    assert np.shares_memory(np.frombuffer(memory, "u1"), array)


# --- What is refused, and what is announced.


class Masked(np.ndarray):
    """A subclass, of which nobody knows what it adds."""


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.array([None]), SerializationError, r"Python objects: convert .* \.astype\(\).*cloudpickle"),
        (np.zeros(1, [("a", "O")]), SerializationError, "Python objects"),
        (np.ma.zeros(3), SerializationError, "lose what a numpy.ma.MaskedArray adds"),
        (np.zeros(3).view(Masked), SerializationError, "lose what a .*Masked adds"),
        (
            np.zeros(1, np.dtype({"names": ["b", "a"], "formats": ["i4", "i2"], "offsets": [4, 0]})),
            SerializationError,
            "cannot hold arrays of .*offsets",
        ),
        (np.float64(1.5), TypeError, r"this is a numpy\.float64; return numpy\.asarray\(value\)"),
        ([1.0], TypeError, "this is a list; use"),
        (None, TypeError, "this is a NoneType"),
    ],
    ids=["objects", "objects in fields", "a mask", "a subclass", "fields out of order", "a number", "a list", "None"],
)
def test_what_a_file_cannot_give_back_is_refused_with_the_way_out(value: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        serializer.dumps(value)
    assert serializer.changes(value) is None


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="text of any length came with numpy 2")
def test_text_of_any_length_is_refused():
    with pytest.raises(SerializationError, match="Python objects"):
        serializer.dumps(np.array(["a"], np.dtypes.StringDType()))


@pytest.mark.parametrize(
    ("phrase", "value"),
    [
        ("a numpy.matrix becomes", np.zeros((1, 1)).view(np.matrix)),
        ("a numpy.memmap becomes", np.zeros(3).view(np.memmap)),
        (r"a numpy(\.rec)?\.recarray becomes", np.rec.array([(1, 2.0)])),
        ("a dtype of records becomes", np.zeros(1, np.dtype((np.record, [("a", "i4")])))),
        ("the metadata of dtype int32 are lost", np.zeros(1, np.dtype("i4", metadata={"unit": "m"}))),
        ("the metadata of dtype .* are lost", np.zeros(1, [("a", np.dtype("i4", metadata={"unit": "m"}))])),
    ],
    ids=["a matrix", "a memmap", "a recarray", "records", "metadata", "metadata of a field"],
)
def test_what_becomes_a_plain_array_is_announced(phrase: str, value: Any):
    assert re.match(phrase, serializer.changes(value) or "")
    again = serializer.loads(serializer.dumps(value))
    assert type(again) is np.ndarray
    assert again.tobytes() == value.tobytes()


@pytest.mark.parametrize("mode", ["r+", "w+", "x"])
def test_a_mode_that_would_change_the_file_is_refused(mode: Any):
    with pytest.raises(ConfigurationError, match=r"choose None, 'r' .* 'c' .* no mode changes the stored file"):
        NumpySerializer(mode)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"no file of numpy's at all", serializer.dumps(np.zeros(9))[:-1]])
def test_damage_raises(data: bytes):
    with pytest.raises((DamagedEntry, TypeError)):
        serializer.loads(data)


def test_a_file_with_more_than_its_array_is_damaged():
    with pytest.raises(DamagedEntry, match="holds 72 bytes, and it has 73"):
        serializer.loads(serializer.dumps(np.zeros(9)) + b"x")

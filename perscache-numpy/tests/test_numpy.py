"""numpy: an array comes back as it was, from a file that numpy itself opens, or it is refused, or announced."""

from __future__ import annotations

import asyncio
import gc
import io
import mmap
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from perscache import Cache, PerscacheWarning, trouble
from perscache.errors import ConfigurationError, DamagedEntry, SerializationError
from perscache.plugins import Storage
from perscache_numpy import NumpySerializer

serializer = NumpySerializer()


@pytest.fixture(autouse=True)
def _warned_of_nothing() -> None:
    trouble.forget()


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
        (np.array(["a"], np.dtypes.StringDType()), SerializationError, "Python objects"),
        (np.zeros(1, np.dtype("i4", metadata={"unit": "m"})), SerializationError, "the metadata of a dtype"),
        (np.zeros(1, [("a", np.dtype("i4", metadata={"unit": "m"}))]), SerializationError, "the metadata of a dtype"),
        (np.ma.zeros(3), SerializationError, "lose what a numpy.ma.*MaskedArray adds"),
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
    ids=[
        "objects",
        "objects in fields",
        "text of any length",
        "metadata",
        "metadata of a field",
        "a mask",
        "a subclass",
        "fields out of order",
        "a number",
        "a list",
        "None",
    ],
)
def test_what_a_file_cannot_give_back_is_refused_with_the_way_out(value: Any, error: Any, message: str):
    with pytest.raises(error, match=message):
        serializer.dumps(value)
    assert serializer.changes(value) is None


@pytest.mark.parametrize(
    ("phrase", "value"),
    [
        ("a numpy.matrix becomes", np.zeros((1, 1)).view(np.matrix)),
        ("a numpy.memmap becomes", np.zeros(3).view(np.memmap)),
        (r"a numpy(\.rec)?\.recarray becomes", np.rec.array([(1, 2.0)])),
        ("a dtype of records becomes", np.zeros(1, np.dtype((np.record, [("a", "i4")])))),
    ],
    ids=["a matrix", "a memmap", "a recarray", "records"],
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


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f8', 'fortran_order': None, 'shape': (1,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2**62,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904,)}",
        "{'descr': '<f8'}",
        "print('run')",
        "[",
    ],
)
def test_a_header_that_nobody_would_write_is_damage(header: str):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(8)
    with pytest.raises((DamagedEntry, KeyError, ValueError, SyntaxError)):
        serializer.loads(data)


def test_a_file_with_more_than_its_array_is_damaged():
    with pytest.raises(DamagedEntry, match="holds 72 bytes, and it has 73"):
        serializer.loads(serializer.dumps(np.zeros(9)) + b"x")


# --- As a cache's format.


def squares(**settings: Any) -> Any:
    @Cache(**{"serializer": "numpy", "on_error": "raise"} | settings)(name="squares", track="none")
    def squares(size: int) -> Any:
        return np.arange(size, dtype="f8") ** 2

    return squares


def is_mapped(array: Any) -> bool:
    return isinstance(array.base, mmap.mmap)


SIZES = [3, 100_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("storage", ["local", "memory"])
def test_a_hit_gives_an_array_of_its_own(tmp_path: Path, storage: str, size: int):
    f = squares(storage=tmp_path / "cache" if storage == "local" else "memory://")

    missed, hit, again = f(size), f(size), f(size)
    assert same(missed, hit)
    assert hit.flags.aligned
    hit += 1
    assert same(missed, again)
    assert same(missed, f(size))
    assert f.cache_info()[:2] == (3, 1)


def test_numpy_opens_the_stored_file(tmp_path: Path):
    f = squares(storage=tmp_path)
    array = f(100_000)

    assert same(np.load(tmp_path / f.cache.key(100_000)), array)
    assert np.array_equal(np.load(tmp_path / f.cache.key(100_000), mmap_mode="r"), array)


@pytest.mark.parametrize("mode", ["r", "c"])
@pytest.mark.parametrize("size", SIZES)
def test_a_mapped_hit_shows_the_file(tmp_path: Path, mode: Any, size: int):
    f = squares(serializer=NumpySerializer(mode), storage=tmp_path)

    missed, hit = f(size), f(size)

    assert type(hit) is np.ndarray
    assert np.array_equal(missed, hit)
    assert is_mapped(hit) == (size == max(SIZES))
    assert not is_mapped(missed)
    if mode == "r":
        with pytest.raises(ValueError, match="read-only"):
            hit += 1
    else:
        hit += 1
    assert np.array_equal(missed, f(size))
    assert np.array_equal(missed, np.load(tmp_path / f.cache.key(size)))


@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_mapped_array_outlives_its_entry(tmp_path: Path, mode: Any):
    f = squares(serializer=NumpySerializer(mode), storage=tmp_path)
    f(100_000)
    mapped = f(100_000)

    f.cache.put(np.zeros(100_000), 100_000)
    assert np.array_equal(f(100_000), np.zeros(100_000))
    f.cache_clear()
    gc.collect()

    assert np.array_equal(mapped, np.arange(100_000, dtype="f8") ** 2)


@pytest.mark.parametrize("mode", [None, "r", "c"])
@pytest.mark.parametrize("size", SIZES)
def test_a_flipped_bit_is_a_miss_in_every_mode(tmp_path: Path, mode: Any, size: int):
    f = squares(serializer=NumpySerializer(mode), storage=tmp_path, on_error="warn")
    array = f(size)
    file = tmp_path / f.cache.key(size)
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)

    with pytest.warns(PerscacheWarning, match="damaged"):
        assert same(f(size), array)
    assert f.cache_info()[:2] == (0, 2)
    assert same(f(size).copy(), array)


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_coroutines_and_a_signing_key_make_no_difference(tmp_path: Path, mode: Any):
    cache = Cache(NumpySerializer(mode), tmp_path, signing_key="a secret", on_error="raise")

    @cache
    async def ones(size: int) -> Any:
        return np.ones(size)

    missed, hit = asyncio.run(ones(100_000)), asyncio.run(ones(100_000))

    assert np.array_equal(missed, hit)
    assert is_mapped(hit) == (mode is not None)
    assert same(np.load(tmp_path / ones.cache.key(100_000)), missed)


class TwoMethods(Storage):
    """The smallest storage there is: its bytes are its own."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, path: str, deadline: Any) -> bytes:
        if path not in self.kept:
            raise FileNotFoundError(path)
        return self.kept[path]

    def write(self, path: str, data: bytes) -> None:
        assert type(data) is bytes
        self.kept[path] = data


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_a_storage_without_files_gives_the_same(mode: Any):
    f = squares(serializer=NumpySerializer(mode), storage=TwoMethods())

    missed, hit = f(1000), f(1000)

    assert np.array_equal(missed, hit)
    assert hit.flags.writeable == (mode != "r")
    if mode != "r":
        hit += 1
    assert np.array_equal(missed, f(1000))


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_who_waited_does_not_see_what_the_first_makes_of_its_array(tmp_path: Path, mode: Any):
    begun, go = threading.Event(), threading.Event()

    @Cache(NumpySerializer(mode), tmp_path, on_error="raise")(name="slow", track="none")
    def slow() -> Any:
        begun.set()
        go.wait(30)
        return np.ones(100_000)

    def call(_: int) -> Any:
        array = slow()
        kept = array.copy()
        if array.flags.writeable:
            array[:] = 0
        return kept

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(call, number) for number in range(6)]
        assert begun.wait(30)
        time.sleep(0.2)
        go.set()
        arrays = [call.result(30) for call in calls]
    assert all(np.array_equal(array, np.ones(100_000)) for array in arrays)
    assert slow.cache_info().misses == 1


def test_the_mode_is_no_part_of_the_key():
    assert NumpySerializer("r").identity == NumpySerializer().identity == "numpy:1"


def test_naming_it_imports_no_numpy():
    program = """
import sys
from perscache import Cache
from perscache.serializers import NumpySerializer
for mode in (None, "r"):
    cache = Cache(NumpySerializer(mode), "memory://", on_error="raise")
    try:
        cache(lambda: [1])()
    except TypeError as error:
        assert "this is a list" in str(error), error
    else:
        raise AssertionError
assert Cache("numpy", "memory://").serializer.name == "numpy"
assert "numpy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- What it takes of memory: the peak of a process of its own, which a hidden copy would raise.

# ru_maxrss of a new process begins with the size of the one that started it: hence one process between.
BETWEEN = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True)"

PROGRAM = """
import resource, sys
import numpy as np
from perscache import Cache
from perscache.serializers import NumpySerializer

folder, mode, order, size = sys.argv[1:]
size = int(size)

@Cache(NumpySerializer(mode or None), folder, on_error="raise")(name="f", track="none")
def f(rows):
    return np.ones((rows, 1024), order=order)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

f(16), f(16)
before = peak()
array = f(size >> 13)
print((peak() - before) / size, f.cache_info().hits)
assert array[::1000].sum() == array[::1000].size
"""


def peak(folder: Path, mode: str = "", order: str = "C") -> tuple[float, int]:
    """How many times the array a call took in memory, and how many hits there were."""
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, PROGRAM, str(folder), mode, order, str(128 << 20)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ratio, hits = done.stdout.split()
    return float(ratio), int(hits)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak in this way")
@pytest.mark.parametrize("order", ["C", "F"])
def test_storing_and_reading_take_the_array_and_nothing_more(tmp_path: Path, order: str):
    for hits in (1, 3):
        ratio, counted = peak(tmp_path, order=order)
        assert counted == hits
        assert 0.9 < ratio < 1.1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell a process its peak in this way")
@pytest.mark.parametrize("mode", ["r", "c"])
def test_a_mapped_hit_takes_next_to_no_memory(tmp_path: Path, mode: str):
    peak(tmp_path)

    ratio, hits = peak(tmp_path, mode)

    assert hits == 3
    assert ratio < 0.1

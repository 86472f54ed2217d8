"""The built-in serializers: what goes in comes out, or is refused, or is announced."""

from __future__ import annotations

import collections
import enum
import json
import math
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perscache.errors import SerializationError
from perscache.serializers import (
    CloudPickleSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
    make_serializer,
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())  # surrogates included
plain = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner))
odd = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


def same(left: Any, right: Any) -> bool:
    """Equal in types, order and bits."""
    return type(left) is type(right) and repr(left) == repr(right)


# --- JSON


@given(plain)
def test_plain_values_come_back_from_json_as_they_were(value: Any):
    json_ = JSONSerializer()

    assert json_.changes(value) is None
    assert same(json_.loads(json_.dumps(value)), value)


@given(odd)
def test_what_json_would_change_is_announced_and_nothing_else(value: Any):
    json_ = JSONSerializer()

    assert (json_.changes(value) is None) == same(json_.loads(json_.dumps(value)), value)


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ((1, 2), "a tuple becomes a list"),
        ({"a": [0, {"b": (1,)}]}, "a tuple at ['a'][1]['b'] becomes a list"),
        ({"a": {1: "x"}}, "the int key 1 at ['a'] becomes a string"),
        ({None: 1}, "the NoneType key None becomes a string"),
        ([Colour.RED], f"a {__name__}.Colour at [0] becomes an int"),
        ([1, Point(1, 2), (1,)], f"a {__name__}.Point at [1] becomes a list"),
        (collections.OrderedDict(a=1), "a collections.OrderedDict becomes a dict"),
        ([[[(1,)]], (2,)], "a tuple at [0][0][0] becomes a list"),
    ],
)
def test_json_says_where_it_would_change_a_value(value: Any, phrase: str):
    assert JSONSerializer().changes(value) == phrase


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"a": [1, {2}]}, "a set at ['a'][1]"),
        (b"raw", "a bytes"),
        ({(1, 2): 3}, "the tuple key (1, 2)"),
        (10**5000, "int"),
    ],
    ids=["a set", "bytes", "a tuple as a key", "a number too long for text"],
)
def test_json_says_which_part_it_refuses_and_what_to_use(value: Any, part: str):
    with pytest.raises(SerializationError) as caught:
        JSONSerializer().dumps(value)

    assert part in str(caught.value)
    assert 'serializer="cloudpickle"' in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_value_that_contains_itself_is_refused_and_not_walked_for_ever():
    value: list[Any] = []
    value.append(value)

    assert JSONSerializer().changes(value) is None
    with pytest.raises(SerializationError, match="Circular"):
        JSONSerializer().dumps(value)


def test_json_files_are_utf_8_that_people_and_other_tools_read():
    records = [{"name": f"Zoë {number}", "tags": ["a", "b"], "price": number / 7} for number in range(20)]

    text = JSONSerializer().dumps(records).decode()

    assert json.loads(text) == records
    assert '{"name": "Zoë 3", "tags": ["a", "b"], "price": 0.42857142857142855}' in text.splitlines()[4]


@pytest.mark.parametrize("size", [10, 100_000])
def test_long_json_has_a_line_for_each_item_at_any_size(size: int):
    records = [{"number": number, "square": number**2} for number in range(size)]

    assert len(JSONSerializer().dumps(records).splitlines()) == size + 2


def test_names_of_undecodable_files_survive_json_in_files_that_are_utf_8():
    names = ["\udcff.txt", "\ud83d", "😀"]

    data = JSONSerializer().dumps(names)

    assert data.decode() == r'["\udcff.txt", "\ud83d", "😀"]'
    assert JSONSerializer().loads(data) == names
    assert JSONSerializer().loads(JSONSerializer().dumps("\ud83d\ude00")) == "\ud83d\ude00"


def test_json_keeps_the_numbers_that_json_has_not():
    back = JSONSerializer().loads(JSONSerializer().dumps([math.nan, math.inf, -math.inf, -0.0, 2**80]))

    assert repr(back) == repr([math.nan, math.inf, -math.inf, -0.0, 2**80])


# --- Pickle and cloudpickle


def test_pickle_refuses_a_lambda_and_says_who_takes_it():
    with pytest.raises(SerializationError, match='serializer="cloudpickle"'):
        PickleSerializer().dumps(lambda: 1)


def test_lambdas_and_local_classes_come_back_from_cloudpickle():
    class Local:
        def double(self, x: int) -> int:
            return 2 * x

    serializer = CloudPickleSerializer()
    function, instance = serializer.loads(serializer.dumps((lambda x: x + 1, Local())))

    assert function(1) == 2
    assert instance.double(4) == 8


def test_cloudpickle_says_what_it_cannot_store():
    with pytest.raises(SerializationError, match="generator"):
        CloudPickleSerializer().dumps({"rows": (row for row in [])})


STORE = """
import sys
from pathlib import Path
from perscache.serializers import CloudPickleSerializer

class Point:
    def __init__(self, x): self.x = x

def origin(): return Point(0)

serializer = CloudPickleSerializer()
file = Path("point.pickle")
if file.exists():
    point, function, *rest = serializer.loads(file.read_bytes())
    assert isinstance(point, Point) and point.x == 3
    assert function is origin
    assert all(isinstance(make(), Point) for make in rest)
    print("same")
else:
    file.write_bytes(serializer.dumps([Point(3), origin, MORE]))
    print("cloudpickle" in sys.modules)
"""


@pytest.mark.parametrize("more", ["origin", "lambda: Point(1)"], ids=["plain", "with a lambda"])
def test_a_class_of_the_main_script_comes_back_as_itself_in_another_process(script: Callable[..., str], more: str):
    source = STORE.replace("MORE", more)

    script(source)

    assert script(source) == "same\n"


def test_cloudpickle_is_imported_only_for_what_pickle_refuses(script: Callable[..., str]):
    assert script(STORE.replace("MORE", "origin")) == "False\n"


def test_what_a_spawned_worker_stored_is_read_by_the_main_script(script: Callable[..., str]):
    source = """
from pathlib import Path
from multiprocessing import get_context
from perscache.serializers import CloudPickleSerializer

class Point: pass

def store():
    Path("point.pickle").write_bytes(CloudPickleSerializer().dumps(Point()))

if __name__ == "__main__":
    worker = get_context("spawn").Process(target=store)
    worker.start()
    worker.join()
    print(b"__mp_main__" in Path("point.pickle").read_bytes())
"""
    assert script(source) == "True\n"

    reader = """
from pathlib import Path
from perscache.serializers import CloudPickleSerializer
class Point: pass
print(isinstance(CloudPickleSerializer().loads(Path("point.pickle").read_bytes()), Point))
"""
    assert script(reader) == "True\n"


def test_a_class_that_is_gone_is_an_error_and_no_other_class(script: Callable[..., str]):
    script(STORE.replace("MORE", "lambda: Point(1)"))

    reader = """
from pathlib import Path
from perscache.serializers import CloudPickleSerializer
try:
    CloudPickleSerializer().loads(Path("point.pickle").read_bytes())
except AttributeError as error:
    print(error)
"""
    assert "Point" in script(reader)


def test_byte_code_of_another_python_is_not_run():
    serializer = CloudPickleSerializer()
    data = serializer.dumps(lambda: 1)
    here = sys.implementation.cache_tag.encode()
    assert data.endswith(here)

    with pytest.raises(SerializationError, match="another Python"):
        serializer.loads(data.removesuffix(here) + b"cpython-35")

    assert serializer.loads(serializer.dumps([1, "a"]).removesuffix(b"#" + here)) == [1, "a"]


def test_files_of_cloudpickle_open_with_pickle():
    value = pickle.loads(CloudPickleSerializer().dumps(lambda: "here"))

    assert value() == "here"


def test_modules_that_the_user_registered_by_value_are_stored_by_value(monkeypatch: pytest.MonkeyPatch):
    import cloudpickle

    module = types.ModuleType("plugin_of_mine")
    exec("class Setting: default = 1", module.__dict__)
    monkeypatch.setitem(sys.modules, "plugin_of_mine", module)
    cloudpickle.register_pickle_by_value(module)
    try:
        data = CloudPickleSerializer().dumps(module.Setting())
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    monkeypatch.delitem(sys.modules, "plugin_of_mine")

    assert CloudPickleSerializer().loads(data).default == 1


# --- Serializers of one's own


def test_make_serializer_gives_a_class_of_two_functions():
    Upper = make_serializer("Upper", "txt", lambda data: data.upper().encode(), lambda data: data.decode().lower())
    serializer = Upper()

    assert isinstance(serializer, Serializer)
    assert (Upper.__name__, Upper.extension, serializer.identity) == ("Upper", "txt", "Upper:1")
    assert serializer.dumps("abc") == b"ABC"
    assert serializer.loads(b"ABC") == "abc"
    assert serializer.changes("abc") is None
    assert not serializer.safe


def test_a_serializer_without_dumps_cannot_be_made():
    with pytest.raises(TypeError, match="dumps"):
        type("Half", (Serializer,), {"extension": "x", "loads": lambda self, data: data})()

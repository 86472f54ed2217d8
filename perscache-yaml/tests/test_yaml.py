"""YAML: what goes in comes out, or is refused, or is announced; and nothing runs on loading."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perscache.errors import SerializationError
from perscache_yaml import YAMLSerializer

AWKWARD = "ab \n\t'\"#:-?{}[],&*!|>%@`~=<.0123456789eE_+\x85\u2028\u2029\ufeff\r\x00\x7f😀é"
LOOKALIKES = ["yes", "no", "null", "~", "1e3", "0o7", "0x1f", "1:30", "2020-01-01", "=", "<<", "- a", "a: b", "...", ""]

zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(AWKWARD),
    st.sampled_from(LOOKALIKES),
    st.binary(),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=zones),
)
values = st.recursive(
    scalars | st.sets(scalars),
    lambda inner: st.lists(inner) | st.dictionaries(scalars, inner) | st.tuples(inner),
)


@pytest.fixture(params=["C", "Python"])
def serializer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The serializer, on both of PyYAML's implementations."""
    import perscache_yaml

    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeDumper", raising=False)
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    perscache_yaml._dumper.cache_clear()
    yield YAMLSerializer()
    perscache_yaml._dumper.cache_clear()


def same(left: Any, right: Any) -> bool:
    """Equal in types, order and bits; sets in any order."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same([*left], [*right]) and same([*left.values()], [*right.values()])
    if isinstance(left, set):
        return same(sorted(left, key=repr), sorted(right, key=repr))
    return repr(left) == repr(right)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(value=values)
def test_a_value_comes_back_as_it_was_or_the_change_is_announced(serializer: YAMLSerializer, value: Any):
    back = serializer.loads(serializer.dumps(value))

    assert (serializer.changes(value) is None) == same(back, value)


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ({"a": [1, (2,)]}, "a tuple at ['a'][1] becomes a list"),
        (datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), "becomes one with the offset UTC+01:00"),
        ([datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET"))], "at [0] with the zone CET"),
        ({datetime(2024, 1, 1, fold=1): 1}, "loses its fold"),
        ([{datetime(2024, 1, 1, fold=1)}], "at [0] loses its fold"),
    ],
)
def test_yaml_says_what_it_would_change(value: Any, phrase: str):
    change = YAMLSerializer().changes(value)

    assert change is not None
    assert phrase in change


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"a": [frozenset()]}, "a frozenset at ['a'][0]"),
        ({"a": {(1, 2): 3}}, "the tuple key (1, 2) at ['a']"),
        ([{(1, 2)}], "a tuple as a key"),
        ([1j], "a complex at [0]"),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=61))), "an offset from UTC with seconds"),
        (["\udcff"], "surrogates not allowed"),
    ],
)
def test_yaml_says_which_part_it_refuses_and_what_to_use(value: Any, part: str):
    with pytest.raises(SerializationError) as caught:
        YAMLSerializer().dumps(value)

    assert part in str(caught.value)
    assert 'serializer="cloudpickle"' in str(caught.value)


def test_yaml_files_are_text_that_people_read():
    value = {
        "title": "Zoë's notes",
        "text": "first line\nsecond line\n",
        "numbers": [1, 2.5, 3],
        "when": datetime(2024, 5, 1, 12, 30, tzinfo=UTC),
        "days": [date(2024, 5, 1), date(2024, 5, 1)],
        "records": [{"a": 1, "b": "no"}],
    }

    assert YAMLSerializer().dumps(value).decode() == (
        "title: Zoë's notes\n"
        "text: |\n"
        "  first line\n"
        "  second line\n"
        "numbers: [1, 2.5, 3]\n"
        "when: 2024-05-01 12:30:00+00:00\n"
        "days:\n"
        "- 2024-05-01\n"
        "- 2024-05-01\n"
        "records:\n"
        "- a: 1\n"
        "  b: 'no'\n"
    )


def test_loading_runs_no_code(tmp_path: Any):
    proof = tmp_path / "proof"
    attack = f"!!python/object/apply:os.mkdir ['{proof}']".encode()

    with pytest.raises(yaml.YAMLError):
        YAMLSerializer().loads(attack)

    assert not proof.exists()
    assert YAMLSerializer.safe


def test_one_list_in_two_places_is_still_one():
    shared = [1, 2]
    shared.append(shared)

    first, second = YAMLSerializer().loads(YAMLSerializer().dumps([shared, shared]))

    assert first is second
    assert first[2] is first


def test_a_set_is_written_in_the_same_order_in_every_process():
    source = "from perscache_yaml import YAMLSerializer; print(YAMLSerializer().dumps({'a', 'b', 'c', 1, None}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(texts) == 1


def test_yaml_is_imported_when_a_value_is_stored():
    source = "import sys, perscache_yaml; perscache_yaml.YAMLSerializer(); print('yaml' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", source], capture_output=True, check=True).stdout == b"False\n"

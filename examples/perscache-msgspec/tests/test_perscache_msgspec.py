"""Results as MessagePack: what goes in comes out, and users find it by its name."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from perscache_msgspec import MsgpackSerializer

from perscache import Cache
from perscache.errors import SerializationError
from perscache.testing import PluginTests, SerializerTests


class Trade(msgspec.Struct):
    symbol: str
    price: float
    tags: frozenset[str] = frozenset()


@dataclass
class Basket:
    trades: list[Trade]
    bounds: tuple[decimal.Decimal, decimal.Decimal]
    key: uuid.UUID
    day: dt.date


class TestPlainValues(SerializerTests):
    @pytest.fixture
    def serializer(self) -> MsgpackSerializer:
        return MsgpackSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        moment = dt.datetime(2024, 2, 29, 12, 30, 0, 1, dt.UTC)
        return [[None, True, -1, 2**63, -0.0, math.nan, "Zoë", b"\x00"], {"b": [2, 1], "a": {1: "x"}}, [moment]]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), (1, 2), {1, 2}, 2**80, dt.date(2024, 1, 1), Trade("ACME", 1.5)]


class TestTypedValues(SerializerTests):
    @pytest.fixture
    def serializer(self) -> MsgpackSerializer:
        return MsgpackSerializer(list[Trade])

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [[Trade("B", 1.0, frozenset({"x", "y"})), Trade("A", math.inf)]]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), (Trade("A", 1.0),), [1], {}]

    def same(self, left: Any, right: Any) -> bool:
        return type(left) is type(right) and bool(left == right)


class TestPlugin(PluginTests):
    module = "perscache_msgspec"


def test_dataclasses_and_what_they_hold_come_back() -> None:
    serializer = MsgpackSerializer(Basket)
    bounds = (decimal.Decimal("1.50"), decimal.Decimal(2))
    basket = Basket([Trade("A", 1.0)], bounds, uuid.UUID(int=7), dt.date(2024, 2, 29))

    assert serializer.loads(serializer.dumps(basket)) == basket


def test_what_would_come_back_as_another_type_is_refused() -> None:
    with pytest.raises(SerializationError, match="list"):
        MsgpackSerializer(list[float]).dumps([1.0, 2])
    with pytest.raises(SerializationError, match="Trade"):
        MsgpackSerializer(Trade).dumps(Trade("A", 1))  # an int where a float was promised


def test_results_of_another_type_are_computed_again(tmp_path: Path) -> None:
    def prices() -> Any:
        return [1, 2]

    cache = Cache(storage=tmp_path, on_error="raise")
    kinds = [list[int], list[int | str], Any]
    functions = [cache(serializer=MsgpackSerializer(kind), name="prices")(prices) for kind in kinds]

    assert len({function.cache.key() for function in functions}) == len(kinds)


def test_users_find_it_by_its_name(tmp_path: Path) -> None:
    cache = Cache("msgpack", tmp_path)

    @cache
    def scores(topic: str) -> dict[str, Any]:
        return {"topic": topic, "scores": [1, 2.5]}

    assert scores("caching") == scores("caching") == {"topic": "caching", "scores": [1, 2.5]}
    assert (scores.cache_info().hits, scores.cache_info().misses) == (1, 1)
    stored = (tmp_path / scores.cache.key("caching")).read_bytes()
    assert stored.startswith(msgspec.msgpack.encode({"topic": "caching", "scores": [1, 2.5]}))

"""What every serializer promises, asked of those that come with the core and of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perscache.serializers import CloudPickleSerializer, JSONSerializer, PickleSerializer, Serializer, make_serializer
from perscache.testing import SerializerTests
from perscache.testing.values import VALUES

Hex = make_serializer("Hex", "hex.txt", lambda data: data.hex().encode(), lambda data: bytes.fromhex(data.decode()))
Hex.__module__ = __name__


class TestPickle(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> Serializer:
        return PickleSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return list(VALUES.values())

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [lambda: 42]


class TestCloudPickle(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> Serializer:
        return CloudPickleSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [*VALUES.values(), lambda: 42]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [(n for n in range(3))]


class TestJSON(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> Serializer:
        return JSONSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        kinds = ("`None`, `bool`, `int`, `float`, `str`", "`list`", "`dict` with string keys")
        return [VALUES[kind] for kind in kinds]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), VALUES["dataclass, other instances"], {1}, b""]


class TestOfOnesOwn(SerializerTests):
    notices_truncation = False

    @pytest.fixture
    def serializer(self) -> Serializer:
        return Hex()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [b"\x00\xff", b"text"]

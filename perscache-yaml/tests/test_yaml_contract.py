"""What every serializer promises, asked of YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from perscache.testing import PluginTests, SerializerTests
from perscache.testing.values import VALUES
from perscache_yaml import YAMLSerializer


class TestYAML(SerializerTests):
    any_buffer = True
    notices_truncation = False  # a text of YAML may end anywhere

    @pytest.fixture
    def serializer(self) -> YAMLSerializer:
        return YAMLSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        kinds = ("`None`, `bool`, `int`, `float`, `str`", "`list`", "`dict` with string keys", "`dict` with other keys")
        return [VALUES[kind] for kind in (*kinds, "`set`", "`bytes`", "`date`, `datetime`")]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), VALUES["dataclass, other instances"], frozenset({1})]


class TestPlugin(PluginTests):
    module = "perscache_yaml"

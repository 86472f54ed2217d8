"""What every serializer promises, asked of numpy's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from perscache.testing import PluginTests, SerializerTests
from perscache_numpy import NumpySerializer


class TestNumpy(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> NumpySerializer:
        return NumpySerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        return [np.arange(6, dtype="float32").reshape(2, 3), np.array(["b", "a"]), np.array([1, 0], dtype=">i2")]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), [1], np.float64(1.5)]


class TestPlugin(PluginTests):
    module = "perscache_numpy"

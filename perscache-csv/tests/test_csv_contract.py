"""What every serializer promises, asked of CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perscache.testing import PluginTests, SerializerTests
from perscache_csv import CSVSerializer

days = pd.date_range("2024", periods=2, name="day")


class TestCSV(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> CSVSerializer:
        return CSVSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        small = pd.array([1, None], dtype="Int8")
        return [
            pd.DataFrame({"b": [2, 1], "a": [0.1, np.nan], "c": ["x", None]}, index=days),
            pd.DataFrame({"a": pd.Categorical(["x", None]), "b": days.tz_localize("Asia/Tokyo"), "c": small}),
        ]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), [1], np.arange(3)]


class TestPlugin(PluginTests):
    module = "perscache_csv"

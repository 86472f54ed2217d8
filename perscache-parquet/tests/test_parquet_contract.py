"""What every serializer promises, asked of Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from perscache.testing import PluginTests, SerializerTests
from perscache_parquet import ParquetSerializer

days = pd.date_range("2024", periods=2, name="day")


class TestParquet(SerializerTests):
    any_buffer = True

    @pytest.fixture
    def serializer(self) -> ParquetSerializer:
        return ParquetSerializer()

    @pytest.fixture
    def values(self) -> Sequence[Any]:
        small = pd.array([1, None], dtype="Int8")
        return [
            pd.DataFrame({"b": [2, 1], "a": [0.1, np.nan], "c": ["x", None]}, index=days),
            pd.DataFrame({"a": pd.Categorical(["x", None]), "b": days.tz_localize("Asia/Tokyo"), "c": small}),
            pd.DataFrame({"a": [["x"], []]}),
            pl.DataFrame({"a": [1, None], "b": ["x", "y"], "c": pl.Series(["u", "v"], dtype=pl.Categorical)}),
            pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()}),
        ]

    @pytest.fixture
    def refused(self) -> Sequence[Any]:
        return [object(), [1], {"a": 1}, np.arange(3)]


class TestPlugin(PluginTests):
    module = "perscache_parquet"

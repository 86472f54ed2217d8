"""Tests of plugins that are sound, and of those that break one promise each. `test_conformance_kit` installs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import money  # type: ignore[import-not-found]
import pytest

from perscache.testing import FingerprintTests, PluginTests

MODULES = [
    *("sound_serializer", "sound_observer", "sound_money"),
    *("heavy_top", "provides_less", "declares_less", "unknown_hook", "no_api", "later_api", "not_installed", "eager"),
    *("dotted_extension", "raising_observer", "blocking_observer", "unnamed_observer"),
]
for _module in MODULES:
    globals()[f"Test_{_module}"] = type(f"Test_{_module}", (PluginTests,), {"module": _module, "patience": 10.0})

Test_blocking_observer.patience = 0.5  # type: ignore[name-defined]  # noqa: F821


class OnMoney(FingerprintTests):
    module = "sound_money"

    @pytest.fixture
    def different(self) -> Sequence[Any]:
        return [money.Money(1, "EUR"), money.Money(2, "EUR"), money.Money(1, "USD")]

    @pytest.fixture
    def equal(self) -> Sequence[tuple[Any, Any]]:
        return [(money.Money(1, "EUR"), money.Money(1, "EUR", "for lunch"))]


HANDLERS = ["sound_money", "money_leaves_out", "money_by_address", "money_by_hash", "money_elsewhere", "money_counts"]
for _module in HANDLERS:
    globals()[f"TestFingerprints_{_module}"] = type(f"TestFingerprints_{_module}", (OnMoney,), {"module": _module})

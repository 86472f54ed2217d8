"""Tests that the settings of the machine, and trouble of former tests, are no part of."""

from __future__ import annotations

import os

import pytest

from .. import trouble


class WithoutSettings:
    """Tests that begin without either."""

    @pytest.fixture(autouse=True)
    def _without_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in os.environ if name.startswith("PERSCACHE_")]:
            monkeypatch.delenv(name)
        trouble.forget()

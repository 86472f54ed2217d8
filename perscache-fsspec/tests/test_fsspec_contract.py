"""What every storage promises, asked of FTP through fsspec; the tests look at the served files around it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perscache.testing import Around, PluginTests, StorageTests
from perscache_fsspec import FsspecStorage


@pytest.mark.parametrize("place", ["ftp"], indirect=True)
class TestFsspec(StorageTests):
    locks = False  # Of most file systems nobody knows whether a create is exclusive.

    @pytest.fixture
    def open_storage(self, place) -> Callable[..., FsspecStorage]:
        return place.open

    @pytest.fixture
    def url(self, place) -> str:
        return place.url

    @pytest.fixture
    def around(self, place) -> Around:
        return Around(
            lambda path: (place.folder / path).read_bytes(),
            lambda path, data: (place.folder / path).write_bytes(data),
        )


class TestPlugin(PluginTests):
    module = "perscache_fsspec"

"""What every storage promises, asked of local files in front of Google Cloud Storage."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from perscache.storage import GoogleCloudStorage, LocalFileStorage
from perscache.storage.tiers import TieredStorage
from perscache.testing import Around, StorageTests
from perscache_gcs.testing import Bucket, gcs, gcs_bucket

__all__ = ["gcs", "gcs_bucket"]


class TestTiers(StorageTests):
    # Without memory, in which each process has what it has seen.
    resolution = 0.01
    verifies = False
    limits = False
    copies = 2

    @pytest.fixture
    def bucket(self, gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)
        return gcs_bucket

    @pytest.fixture
    def open_storage(self, tmp_path: Path, bucket: Bucket) -> Callable[..., TieredStorage]:
        return lambda: TieredStorage(
            [LocalFileStorage(tmp_path / "near"), GoogleCloudStorage(f"/{bucket.name}/folder", timeout=60)]
        )

    @pytest.fixture
    def around(self, bucket: Bucket) -> Around:
        def read(path: str) -> bytes:
            name = quote(f"folder/{path}", safe="")
            url = f"{bucket.endpoint}/storage/v1/b/{bucket.name}/o/{name}?alt=media"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read()

        return Around(read)

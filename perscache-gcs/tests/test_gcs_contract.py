"""What every storage promises, asked of Google Cloud Storage over fake-gcs-server; plain requests look around it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from urllib.parse import quote

import pytest

from perscache.testing import Around, PluginTests, StorageTests
from perscache_gcs import GoogleCloudStorage
from perscache_gcs.testing import Bucket


class TestGoogleCloud(StorageTests):
    resolution = 0.01

    @pytest.fixture
    def bucket(self, gcs_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)
        return gcs_bucket

    @pytest.fixture
    def open_storage(self, bucket: Bucket) -> Callable[..., GoogleCloudStorage]:
        # A minute to answer, for slow machines.
        return lambda **options: GoogleCloudStorage(f"/{bucket.name}/folder", timeout=60, **options)

    @pytest.fixture
    def url(self, bucket: Bucket) -> str:
        return f"gs://{bucket.name}/folder"

    @pytest.fixture
    def around(self, bucket: Bucket) -> Around:
        objects = f"{bucket.endpoint}/storage/v1/b/{bucket.name}/o"

        def ask(url: str, data: bytes | None = None, **headers: str) -> bytes:
            request = urllib.request.Request(
                url, data, {name.replace("_", "-"): text for name, text in headers.items()}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()

        def read(path: str) -> bytes:
            return ask(f"{objects}/{quote(f'folder/{path}', safe='')}?alt=media")

        def write(path: str, data: bytes) -> None:
            known = json.loads(ask(f"{objects}/{quote(f'folder/{path}', safe='')}"))
            kept = {name: known[name] for name in ("name", "metadata", "contentType")}
            parts = [b"", b"\r\n\r\n" + json.dumps(kept).encode() + b"\r\n", b"\r\n\r\n" + data + b"\r\n", b"--"]
            ask(
                objects.replace("/storage/", "/upload/storage/") + "?uploadType=multipart",
                b"--fence".join(parts),
                Content_Type="multipart/related; boundary=fence",
            )

        return Around(read, write)


class TestPlugin(PluginTests):
    module = "perscache_gcs"

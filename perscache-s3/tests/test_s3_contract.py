"""What every storage promises, asked of S3 over moto; boto3's own client looks around it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perscache.testing import Around, PluginTests, StorageTests
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket


class TestS3(StorageTests):
    @pytest.fixture
    def bucket(self, s3_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_bucket.endpoint)
        return s3_bucket.name

    @pytest.fixture
    def open_storage(self, bucket: str) -> Callable[..., S3Storage]:
        # A minute to answer, for slow machines.
        return lambda **options: S3Storage(f"{bucket}/folder", path_style=True, timeout=60, **options)

    @pytest.fixture
    def url(self, bucket: str) -> str:
        return f"s3://{bucket}/folder?path_style=yes"

    @pytest.fixture
    def around(self, bucket: str) -> Around:
        import boto3

        def read(path: str) -> bytes:
            return boto3.client("s3").get_object(Bucket=bucket, Key=f"folder/{path}")["Body"].read()

        def write(path: str, data: bytes) -> None:
            client, there = boto3.client("s3"), {"Bucket": bucket, "Key": f"folder/{path}"}
            client.put_object(**there, Body=data, Metadata=client.head_object(**there)["Metadata"])

        return Around(read, write)


class TestPlugin(PluginTests):
    module = "perscache_s3"

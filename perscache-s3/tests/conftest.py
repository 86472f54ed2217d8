"""A server, storages on it, and the settings of this machine out of the way."""

from __future__ import annotations

import os

import pytest

from perscache import trouble
from perscache.testing import FaultyProxy
from perscache_s3 import S3Storage
from perscache_s3.testing import Bucket, faulty_s3, s3, s3_bucket

__all__ = ["faulty_s3", "s3", "s3_bucket"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "AWS_"))]:
        monkeypatch.delenv(name)
    trouble.forget()


@pytest.fixture
def storage(s3_bucket: Bucket) -> S3Storage:
    """A storage in an empty bucket, with a minute to answer, for slow machines."""
    return S3Storage(f"{s3_bucket.name}/folder", endpoint_url=s3_bucket.endpoint, timeout=60)


@pytest.fixture
def behind(s3_bucket: Bucket, faulty_s3: FaultyProxy) -> S3Storage:
    """The same behind the proxy, its bucket known to exist."""
    storage = S3Storage(f"{s3_bucket.name}/folder", endpoint_url=faulty_s3.endpoint, timeout=60)
    with pytest.raises(FileNotFoundError):
        storage.load("warm/up")
    faulty_s3.forget()
    return storage

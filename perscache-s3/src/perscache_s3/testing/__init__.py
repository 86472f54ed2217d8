"""A server of S3 on this machine, as pytest fixtures: moto, and a proxy before it that fails on demand.

from perscache_s3.testing import s3, s3_bucket

def test_a_result_survives(s3_bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_bucket.endpoint)
    ...
"""

from __future__ import annotations

import itertools
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from perscache.testing import FaultyProxy

from .server import server

__all__ = ["Bucket", "create_bucket", "faulty_s3", "s3", "s3_bucket", "server"]

_numbers = itertools.count(1)


class Bucket(NamedTuple):
    """A bucket of its own."""

    name: str
    endpoint: str
    """The server's URL, ``http://127.0.0.1:…``."""


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a moto server that runs while the tests do. It takes any credentials."""
    with server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket on it, of this test alone, and credentials to use it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    return create_bucket(s3)


@pytest.fixture
def faulty_s3(s3_bucket: Bucket) -> Iterator[FaultyProxy]:
    """A proxy before the server of `s3_bucket`."""
    with FaultyProxy(s3_bucket.endpoint) as proxy:
        yield proxy


def create_bucket(endpoint: str) -> Bucket:
    """A new bucket on the server at ``endpoint``."""
    name = f"bucket-{next(_numbers)}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        return Bucket(name, endpoint)

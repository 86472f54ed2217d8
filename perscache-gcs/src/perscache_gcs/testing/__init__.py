"""Servers of Google Cloud Storage on this machine, as pytest fixtures: one real emulator, one strict fake.

from perscache_gcs.testing import gcs, gcs_bucket

def test_a_result_survives(gcs_bucket, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_bucket.endpoint)
    ...
"""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from .emulator import emulator
from .strict import StrictServer

__all__ = ["Bucket", "StrictServer", "create_bucket", "emulator", "gcs", "gcs_bucket", "strict_gcs"]

_numbers = itertools.count(1)


class Bucket(NamedTuple):
    """A bucket of its own."""

    name: str
    endpoint: str
    """The server's URL, ``http://127.0.0.1:…``."""


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    """The URL of a fake-gcs-server, the real Go binary, that runs while the tests do."""
    with emulator() as endpoint:
        yield endpoint


@pytest.fixture
def gcs_bucket(gcs: str) -> Bucket:
    """An empty bucket on it, of this test alone."""
    return create_bucket(gcs)


@pytest.fixture
def strict_gcs() -> Iterator[StrictServer]:
    """A strict fake with the empty bucket "bucket": it keeps preconditions, counts requests and fails on demand."""
    with StrictServer() as server:
        yield server


def create_bucket(endpoint: str) -> Bucket:
    """A new bucket on the server at ``endpoint``."""
    name = f"bucket-{next(_numbers)}"
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{endpoint}/storage/v1/b", json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        return Bucket(name, endpoint)

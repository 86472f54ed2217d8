"""A server of Azure's blobs on this machine, as pytest fixtures: azurite, and a proxy before it that fails on demand.

from perscache_azure.testing import azure, azure_container

def test_a_result_survives(azure_container, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_container.connection_string)
    ...
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from perscache.testing import FaultyProxy

from ..account import DEVELOPMENT
from .azurite import Unavailable, azurite

__all__ = ["Container", "Unavailable", "azure", "azure_container", "azurite", "create_container", "faulty_azure"]

_numbers = itertools.count(1)


class Container(NamedTuple):
    """A container of its own."""

    name: str
    endpoint: str
    """The URL of the account's blobs, ``http://127.0.0.1:…/devstoreaccount1``."""

    @property
    def connection_string(self) -> str:
        """What opens it, with the key that every emulator has."""
        return connection_string(self.endpoint)


@pytest.fixture(scope="session")
def azure() -> Iterator[str]:
    """The URL of the blobs of an azurite that runs while the tests do; skips, with the reason, where none can."""
    try:
        with azurite() as endpoint:
            yield endpoint
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def azure_container(azure: str) -> Container:
    """An empty container on it, of this test alone."""
    return create_container(azure)


@pytest.fixture
def faulty_azure(azure: str) -> Iterator[FaultyProxy]:
    """A proxy before it."""
    with FaultyProxy(azure) as proxy:
        yield proxy


def create_container(endpoint: str) -> Container:
    """A new container on the server at ``endpoint``."""
    from azure.storage.blob import ContainerClient

    made = Container(f"container-{next(_numbers)}", endpoint)
    with ContainerClient.from_connection_string(made.connection_string, made.name) as client:
        client.create_container()
    return made


def connection_string(endpoint: str) -> str:
    """That of the emulator's account at ``endpoint``, or behind a proxy there."""
    place = urlsplit(endpoint)
    return DEVELOPMENT.replace("127.0.0.1:10000", place.netloc)

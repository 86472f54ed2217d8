"""A server, storages on it, and the settings of this machine out of the way."""

from __future__ import annotations

import os

import pytest

from perscache import trouble
from perscache.testing import FaultyProxy
from perscache_azure import AzureStorage
from perscache_azure.testing import Container, azure, azure_container, connection_string, faulty_azure

__all__ = ["azure", "azure_container", "faulty_azure"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PERSCACHE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    trouble.forget()


@pytest.fixture
def storage(azure_container: Container) -> AzureStorage:
    """A storage in an empty container, with a minute to answer, for slow machines."""
    return AzureStorage(
        f"{azure_container.name}/folder", connection_string=azure_container.connection_string, timeout=60
    )


@pytest.fixture
def proxied(faulty_azure: FaultyProxy) -> str:
    """The connection string of the server behind the proxy."""
    return connection_string(faulty_azure.endpoint)


@pytest.fixture
def behind(azure_container: Container, faulty_azure: FaultyProxy, proxied: str) -> AzureStorage:
    """The same behind the proxy, its container known to exist."""
    storage = AzureStorage(f"{azure_container.name}/folder", connection_string=proxied, timeout=60)
    with pytest.raises(FileNotFoundError):
        storage.load("warm/up")
    faulty_azure.forget()
    return storage

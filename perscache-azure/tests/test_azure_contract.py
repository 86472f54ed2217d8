"""What every storage and every plugin promises, asked of Azure over azurite; Azure's own client looks around it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from perscache.testing import Around, PluginTests, StorageTests
from perscache_azure import AzureStorage
from perscache_azure.testing import Container


class TestAzure(StorageTests):
    @pytest.fixture
    def container(self, azure_container: Container, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_container.connection_string)
        return azure_container.name

    @pytest.fixture
    def open_storage(self, container: str) -> Callable[..., AzureStorage]:
        # A minute to answer, for slow machines.
        return lambda **options: AzureStorage(f"{container}/folder", timeout=60, **options)

    @pytest.fixture
    def url(self, container: str) -> str:
        return f"az://{container}/folder"

    @pytest.fixture
    def around(self, azure_container: Container) -> Around:
        from azure.storage.blob import ContainerClient

        def blob(path: str):
            client = ContainerClient.from_connection_string(azure_container.connection_string, azure_container.name)
            return client.get_blob_client(f"folder/{path}")

        def read(path: str) -> bytes:
            return blob(path).download_blob().readall()

        def write(path: str, data: bytes) -> None:
            metadata = blob(path).get_blob_properties().metadata
            blob(path).upload_blob(data, overwrite=True, metadata=metadata)

        return Around(read, write)


class TestPlugin(PluginTests):
    module = "perscache_azure"

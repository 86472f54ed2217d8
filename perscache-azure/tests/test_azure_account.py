"""Whose container it is, what lets us in, and that no secret shows."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback
from collections.abc import Callable

import pytest

from perscache import Cache
from perscache.errors import ConfigurationError, StorageError
from perscache.storage.remote import Refused
from perscache_azure import AzureStorage
from perscache_azure.testing import Container, create_container

PATH = "f/0123456789abcdef0123456789abcdef.json"
KEY = base64.b64encode(b"a key of somebody").decode()
SIGNED = "sv=2024-11-04&ss=b&srt=co&sp=rwdlc&sig=c2VjcmV0%3D"


def test_a_url_says_what_the_class_says():
    storage = AzureStorage.from_url(
        "az://container/some/folder?max_size=20GB&account_name=team&lease=1m"
        "&endpoint_url=https://team.blob.core.chinacloudapi.cn/&anonymous=yes"
    )

    assert (storage.bucket, storage.prefix, storage.max_size) == ("container", "some/folder", 20_000_000_000)
    assert (storage.account.name, storage.anonymous, storage.lease) == ("team", True, 60)
    assert storage.identity == "az://container/some/folder@https://team.blob.core.chinacloudapi.cn"
    assert Cache(storage="abfs://container/folder").storage.identity == "az://container/folder"


@pytest.mark.parametrize(
    ("url", "identity"),
    [
        (
            "abfs://container@team.dfs.core.windows.net/folder",
            "az://container/folder@https://team.blob.core.windows.net",
        ),
        ("abfss://container@team.dfs.core.windows.net", "az://container@https://team.blob.core.windows.net"),
        (
            "az://container@team?endpoint_url=https://private.example.org",
            "az://container@https://private.example.org",
        ),
        ("az://container@team/folder", "az://container/folder@https://team.blob.core.windows.net"),
        ("az://container/folder?account_name=team", "az://container/folder@https://team.blob.core.windows.net"),
    ],
)
def test_an_account_is_named_in_several_ways(url: str, identity: str):
    assert AzureStorage.from_url(url).identity == identity


@pytest.mark.parametrize(
    ("settings", "url", "lets_in"),
    [
        ({}, None, None),
        ({"AZURE_STORAGE_ACCOUNT": "team"}, "https://team.blob.core.windows.net", None),
        (
            {"AZURE_STORAGE_ACCOUNT": "team", "AZURE_STORAGE_KEY": KEY, "AZURE_STORAGE_SAS_TOKEN": SIGNED},
            "https://team.blob.core.windows.net",
            KEY,
        ),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": "team", "AZURE_STORAGE_ACCOUNT_KEY": KEY},
            "https://team.blob.core.windows.net",
            KEY,
        ),
        (
            {"AZURE_STORAGE_ACCOUNT": "team", "AZURE_STORAGE_SAS_TOKEN": f"?{SIGNED}"},
            "https://team.blob.core.windows.net",
            SIGNED,
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": f"DefaultEndpointsProtocol=https;AccountName=team;AccountKey={KEY};"
                "EndpointSuffix=core.usgovcloudapi.net"
            },
            "https://team.blob.core.usgovcloudapi.net",
            KEY,
        ),
        (
            {
                "AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://team.blob.core.windows.net/;"
                f"SharedAccessSignature={SIGNED}"
            },
            "https://team.blob.core.windows.net",
            SIGNED,
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true"},
            "http://127.0.0.1:10000/devstoreaccount1",
            "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
        ),
    ],
)
def test_the_environment_names_the_account(
    settings: dict[str, str], url: str | None, lets_in: str | None, monkeypatch: pytest.MonkeyPatch
):
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    found = AzureStorage("container/folder").account

    assert found.url == url
    admission = found.key or found.sas
    assert (admission.text if admission else None) == lets_in


def test_what_the_environment_says_of_another_account_is_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=team;AccountKey={KEY}")

    assert not AzureStorage("container", account_name="others").account.admits
    assert AzureStorage("container", account_name="team").account.admits
    assert AzureStorage("container", endpoint_url="https://team.privatelink.example.org").account.admits


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("az://container/folder?maxsize=1GB", "max_size"),
        ("az://container/folder?lru=yes", "has no option 'lru'"),
        ("az://container/folder?anonymous=perhaps", "neither true nor false"),
        ("az://", "names no bucket"),
        ("az://container/a//b", "'//'"),
        ("az://container/v1./b", "ends with '.'"),
        ("az://Container/b", "no name of a container"),
        ("az://my--container/b", "no name of a container"),
        ("az://container?account_name=My_Account", "no name of a storage account"),
        ("az://container?endpoint_url=team", "no endpoint_url"),
        ("abfs://container@team.dfs.core.windows.net/a?account_name=other", "two accounts"),
    ],
)
def test_a_wrong_option_is_refused_with_the_way_out(url: str, says: str):
    with pytest.raises(ConfigurationError, match=says):
        AzureStorage.from_url(url)


def test_a_connection_string_opens_a_private_address_too():
    storage = AzureStorage(
        "container",
        connection_string=f"AccountName=team;AccountKey={KEY}",
        endpoint_url="https://private.example.org",
    )

    assert (storage.account.name, storage.account.url) == ("team", "https://private.example.org")
    assert storage.account.admits


def test_two_ways_in_are_refused():
    with pytest.raises(ConfigurationError, match="account_key and sas_token exclude each other"):
        AzureStorage("container", account_name="team", account_key=KEY, sas_token=SIGNED)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AzureStorage.from_url(f"az://container?account_key={KEY}"),
        lambda: AzureStorage.from_url(f"az://container?connection_string=AccountKey={KEY}"),
        lambda: AzureStorage.from_url(f"az://container/folder?{SIGNED}"),
        lambda: AzureStorage("container", endpoint_url=f"https://team.blob.core.windows.net/?{SIGNED}"),
        lambda: AzureStorage("container", endpoint_url=f"https://user:{KEY}@team.blob.core.windows.net"),
        lambda: AzureStorage("container", connection_string=f"AccountKey={KEY}"),
    ],
    ids=["key", "connection string", "signature", "endpoint", "user", "connection string without account"],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_shown(make: Callable[[], AzureStorage]):
    with pytest.raises(ConfigurationError) as refused:
        make()

    told = "".join(traceback.format_exception(refused.value))
    message = str(refused.value)
    assert KEY not in message
    assert "c2VjcmV0" not in message
    assert "connection string (not shown)" in message or "sas_token" in message or "secret" in message
    assert "During handling" not in told


@pytest.mark.parametrize(
    "options",
    [{"account_key": KEY}, {"sas_token": SIGNED}, {"connection_string": f"AccountName=team;AccountKey={KEY}"}],
    ids=lambda options: next(iter(options)),
)
def test_no_secret_shows(options: dict[str, str], caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, "perscache")
    where = {} if "connection_string" in options else {"account_name": "team"}
    storage = AzureStorage("container/folder", **options, **where, timeout=1)
    storage._given = storage._given._replace(url="http://127.0.0.1:9/team")

    with pytest.raises(StorageError) as failed:
        storage.load(PATH)

    shown = [repr(storage), storage.identity, repr(vars(storage)), str(storage.account), caplog.text]
    shown += traceback.format_exception(failed.value)
    for text in shown:
        assert KEY not in text
        assert "c2VjcmV0" not in text
    assert pickle.loads(pickle.dumps(storage)).account.admits


def test_what_the_environment_says_does_not_go_into_a_pickle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"AccountName=team;AccountKey={KEY}")
    storage = AzureStorage("container/folder")
    assert storage.account.admits

    assert KEY.encode() not in pickle.dumps(storage)


def test_a_credential_stays_in_its_process():
    class Credential:
        def get_token(self, *scopes: str, **options: object) -> object:
            raise AssertionError

        def __reduce__(self) -> object:
            raise TypeError("it holds a lock")

    storage = AzureStorage("container/folder", account_name="team", credential=Credential())

    assert pickle.loads(pickle.dumps(storage)).account == storage.account


def test_a_connection_string_that_is_none_is_told_where_it_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName")

    with pytest.raises(ConfigurationError, match="connection string"):
        assert AzureStorage("container").identity
    assert AzureStorage("container", account_name="team", account_key=KEY).account.admits


def test_a_shared_access_signature_opens_the_container(azure_container: Container):
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    opened = AzureStorage(azure_container.name, connection_string=azure_container.connection_string).account
    assert opened.key is not None

    def storage(permissions: str) -> AzureStorage:
        token = generate_container_sas(
            "devstoreaccount1",
            azure_container.name,
            account_key=opened.key.text,
            permission=ContainerSasPermissions.from_string(permissions),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return AzureStorage(f"{azure_container.name}/folder", endpoint_url=azure_container.endpoint, sas_token=token)

    full = storage("rcwdl")
    full.write(PATH, b"1")
    assert full.load(PATH).data == b"1"
    assert [entry.path for entry in full.entries()] == [PATH]
    assert full.delete(PATH)
    with pytest.raises(Refused, match=r"refuses these credentials.*Storage Blob Data Contributor.*rcwdl"):
        storage("rl").write(PATH, b"1")


def test_a_wrong_key_is_named_with_the_way_out(azure_container: Container):
    storage = AzureStorage(azure_container.name, endpoint_url=azure_container.endpoint, account_key=KEY)

    # azurite says no more than that it refuses; what Azure says is in test_azure_trouble.
    with pytest.raises(Refused, match=r"refuses these credentials.*the account's own key") as refused:
        storage.load(PATH)

    assert KEY not in "".join(traceback.format_exception(refused.value))


def test_a_key_that_is_none_is_named_with_the_way_out(azure_container: Container):
    storage = AzureStorage(azure_container.name, endpoint_url=azure_container.endpoint, account_key="no key at all")

    with pytest.raises(Refused, match="takes no credentials") as refused:
        storage.load(PATH)

    assert "no key at all" not in "".join(traceback.format_exception(refused.value))


def test_an_account_that_nobody_named_is_asked_for():
    with pytest.raises(Refused, match=r"names no storage account: give account_name=, or set AZURE_STORAGE_ACCOUNT"):
        AzureStorage("container/folder").load(PATH)


def test_missing_credentials_are_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "azure.identity", None)

    with pytest.raises(Refused, match=r"needs credentials.*pip install azure-identity.*az login"):
        AzureStorage("container/folder", account_name="team").load(PATH)


def test_without_credentials_a_public_container_is_asked(azure: str):
    container = create_container(azure)
    storage = AzureStorage(container.name, connection_string=container.connection_string, timeout=60)
    storage.write(PATH, b"1")
    storage._client().set_container_access_policy({}, public_access="container")

    stranger = AzureStorage(container.name, endpoint_url=container.endpoint, anonymous=True, timeout=60)

    assert stranger.load(PATH).data == b"1"
    with pytest.raises(Refused):
        stranger.write(PATH, b"2")

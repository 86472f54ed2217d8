"""An account of Azure Storage: where its blobs are, and what lets us in. Secrets do not show."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from perscache.errors import ConfigurationError

DEVELOPMENT = (
    "AccountName=devstoreaccount1;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""The one account that every emulator has, with the key that is published."""

_NAME = re.compile(r"[a-z0-9]{3,24}")


class Secret:
    """A text that is not shown: no representation holds it, a pickle does."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        """Nothing of it."""
        return "<secret>"


class Account(NamedTuple):
    """An account, as far as it is known."""

    name: str | None = None
    url: str | None = None
    """That of its blobs, without secrets."""
    key: Secret | None = None
    sas: Secret | None = None
    """A shared access signature."""

    @property
    def known(self) -> bool:
        """Whether it is said which one it is."""
        return self.url is not None

    @property
    def admits(self) -> bool:
        """Whether there is a key or a signature."""
        return self.key is not None or self.sas is not None

    def completed(self, other: Account) -> Account:
        """This one, with what only ``other`` says, unless that is another one."""
        if not self.known:
            return other if not self.admits else Account(other.name, other.url, self.key, self.sas)
        if self.admits or (other.known and other.name != self.name):
            return self
        return Account(self.name, self.url, other.key, other.sas)


def account_named(
    name: str | None = None, url: str | None = None, key: str | None = None, sas: str | None = None
) -> Account:
    """The account ``name``, at the ``url`` of its blobs or at Azure's own. ConfigurationError for what is none."""
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"account_name={name!r} is no name of a storage account: it takes 3 to 24 lower-case letters and digits, "
            "'myaccount' of https://myaccount.blob.core.windows.net"
        )
    if url is None and name is not None:
        url = f"https://{name}.blob.core.windows.net"
    if url is not None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            # What stands behind the question mark may be a signature.
            raise ConfigurationError(
                f"{url.partition('?')[0].rpartition('@')[2]!r} is no endpoint_url: give "
                "'https://myaccount.blob.core.windows.net', and a shared access signature by sas_token="
            )
        url = url.rstrip("/")
        # Emulators name the account in the path, Azure in the host.
        name = name or parts.path.strip("/") or parts.hostname.partition(".")[0]
    return Account(name, url, Secret(key) if key else None, Secret(sas.lstrip("?")) if sas else None)


def of_connection_string(text: str) -> Account:
    """The account that a connection string, as the Azure portal shows it, says. ConfigurationError for another text."""
    pairs = (pair.partition("=") for pair in text.split(";") if pair.strip())
    said = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if said.get("usedevelopmentstorage", "").lower() == "true":
        return of_connection_string(DEVELOPMENT)
    name, url = said.get("accountname"), said.get("blobendpoint")
    if name and not url:
        protocol, suffix = said.get("defaultendpointsprotocol", "https"), said.get("endpointsuffix", "core.windows.net")
        url = f"{protocol}://{name}.blob.{suffix}"
    if not url:
        raise ConfigurationError(
            "the connection string (not shown) says no AccountName and no BlobEndpoint: copy it whole from the "
            "account's page 'Access keys' in the Azure portal, in quotes where a shell reads it"
        )
    return account_named(name, url, said.get("accountkey"), said.get("sharedaccesssignature"))


def of_environment(environment: Mapping[str, str] = os.environ) -> Account:
    """The account that the variables of ``az storage`` say, or those that adlfs reads."""
    if text := environment.get("AZURE_STORAGE_CONNECTION_STRING"):
        return of_connection_string(text)

    def first(*names: str) -> str | None:
        return next((text for name in names if (text := environment.get(name))), None)

    return account_named(
        first("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
        None,
        first("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
        first("AZURE_STORAGE_SAS_TOKEN"),
    )


def of_host(host: str) -> Account:
    """The account of an address as ``abfs://container@account.dfs.core.windows.net`` has it, or of its bare name."""
    return account_named(url=f"https://{host.replace('.dfs.', '.blob.', 1)}") if "." in host else account_named(host)


def hidden(text: str, *secrets: Secret | None) -> str:
    """``text`` without signatures and ``secrets``."""
    for secret in secrets:
        if secret is not None:
            text = text.replace(secret.text, "…")
    return re.sub(r"\b(sig|AccountKey|SharedAccessSignature)=[^&;\s'\")]+", r"\1=…", text)


def admission(given: Account) -> Any:
    """What the client library takes for the key or the signature of an account; None without."""
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    if given.key is not None:
        return AzureNamedKeyCredential(given.name or "", given.key.text)
    return AzureSasCredential(given.sas.text) if given.sas is not None else None

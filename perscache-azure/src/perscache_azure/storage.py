"""Azure Blob Storage, on azure-storage-blob: one request a hit, one a miss's look-up, one a store."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from perscache.errors import ConfigurationError, StorageError, Unsupported
from perscache.storage.http import media_type, persist, server_clock, written
from perscache.storage.options import split_url, truth
from perscache.storage.remote import Found, Listed, Page, Refused, RemoteStorage
from perscache.units import Duration, Size

from .account import Account, account_named, admission, hidden, of_connection_string, of_environment, of_host

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

T = TypeVar("T")

PARTS_FROM = 100 * 2**20
"""Bytes above which an upload goes in parts, each with tries of its own."""

PART = 16 * 2**20
"""Bytes of such a part."""

WHOLE = 2**40
"""More bytes than an answer has: the client library asks for the first so many, in one request."""

_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_SECRETS = ("account_key", "sas_token", "connection_string", "credential", "sig")

_ABSENT = frozenset({"BlobNotFound", "ResourceNotFound"})
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"})
_OTHER = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})
_CREDENTIALS = frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"})


class AzureStorage(RemoteStorage):
    """Entries as plain blobs in a container of Azure Blob Storage.

        AzureStorage("container/folder", account_name="myaccount")
        AzureStorage("container/folder", max_size="20GB", connection_string="DefaultEndpointsProtocol=…")

    The same as a URL: ``az://container/folder?account_name=myaccount&max_size=20GB``, or
    ``abfs://container@myaccount.dfs.core.windows.net/folder``. Account and credentials come from
    ``AZURE_STORAGE_CONNECTION_STRING``, or ``AZURE_STORAGE_ACCOUNT`` with ``AZURE_STORAGE_KEY`` or
    ``AZURE_STORAGE_SAS_TOKEN``; without any, from azure-identity, where it is installed.
    """

    schemes = ("az", "abfs", "abfss")
    conditional = True

    url_options: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        **RemoteStorage.url_options,
        "account_name": str,
        "endpoint_url": str,
        "anonymous": partial(truth, "anonymous"),
    }

    def __init__(
        self,
        location: str,
        max_size: Size | None = None,
        *,
        account_name: str | None = None,
        account_key: str | None = None,
        sas_token: str | None = None,
        connection_string: str | None = None,
        credential: TokenCredential | None = None,
        anonymous: bool = False,
        endpoint_url: str | None = None,
        timeout: Duration = 5.0,
        cooldown: Duration = 30.0,
        sweep_every: int = 100,
        lease: Duration = 30.0,
    ) -> None:
        """A storage at ``location``, ``"container/folder"``. Nothing is imported or asked before the first call.

        ``credential`` is one of azure-identity, ``anonymous`` asks without any. ``endpoint_url`` is the address of the
        account's blobs where that is not ``https://<account>.blob.core.windows.net``: another cloud, an emulator. What
        is given here is stronger than what the environment says, and pickles along, all but ``credential``; what the
        environment says does not.
        ``timeout`` bounds a call; a body may take a second more a megabyte. For ``max_size``, ``cooldown``,
        ``sweep_every`` and ``lease`` see `RemoteStorage`.
        """
        location, host = _without_host(location, self.schemes)
        super().__init__(location, max_size, timeout=timeout, cooldown=cooldown, sweep_every=sweep_every, lease=lease)
        if not _CONTAINER.fullmatch(self.bucket):
            raise ConfigurationError(
                f"{self.bucket!r} is no name of a container: it takes 3 to 63 lower-case letters, digits and single "
                "'-', for example 'az://my-container/folder'"
            )
        if any(part.endswith(".") for part in self.prefix.split("/")):
            raise ConfigurationError(f"the folder {self.prefix!r} has a name that ends with '.', which Azure cuts off")
        ways = {
            "account_key": account_key,
            "sas_token": sas_token,
            "connection_string": connection_string,
            "credential": credential,
            "anonymous": anonymous or None,
        }
        if len(chosen := [name for name, way in ways.items() if way is not None]) > 1:
            raise ConfigurationError(f"{self}: {' and '.join(chosen)} exclude each other: give one")
        self.credential = credential
        self.anonymous = anonymous
        at = of_host(host) if host else Account()
        said = of_connection_string(connection_string) if connection_string is not None else Account()
        names = list(dict.fromkeys(name for name in (account_name, at.name, said.name) if name))
        if len(names) > 1:
            raise ConfigurationError(f"{self} is said to be of two accounts, {' and '.join(names)}: name one")
        url = endpoint_url or at.url or said.url
        self._given = account_named(names[0] if names else None, url, account_key, sas_token).completed(said)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The storage at ``az://container/folder?option=value``; ``options`` are stronger than the query."""
        place, query = split_url(url)
        if found := [name for name in _SECRETS if name in query]:
            option = "sas_token" if "sig" in found else found[0]
            raise ConfigurationError(
                f"az://{place}: {option} is a secret, and URLs are shown: give it to the class, "
                f"{cls.__name__}({place!r}, {option}=…), or to the environment, as AZURE_STORAGE_CONNECTION_STRING, "
                "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
            )
        return super().from_url(url, **options)

    @property
    def account(self) -> Account:
        """Whose container it is, by what was given and what the environment says."""
        given = self._given
        return given if given.known and given.admits else given.completed(of_environment())

    @property
    def identity(self) -> str:
        """Its URL, and that of its account where one is known."""
        return f"{self.url}@{self.account.url}" if self.account.known else self.url

    def __getstate__(self) -> dict[str, Any]:
        """Its settings, and nothing that lives in a process, as credentials do that renew their tokens."""
        return {**super().__getstate__(), "credential": None}

    # --- The backend.

    def _get(self, name: str) -> Found:
        def get(container: Any) -> Found:
            seen: dict[str, str] = {}
            stream = container.download_blob(name, raw_response_hook=partial(_note_headers, seen))
            data, known = stream.readall(), stream.properties
            metadata = _lowered(known.metadata)
            created = written(known.last_modified.timestamp(), metadata)
            return Found(data, created, server_clock(seen.get("date")), metadata, _quoted(known.etag))

        return self._ask(get)

    def _put(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        # The server signs one space where there are two, the client library does not.
        plain = {field: re.sub(" (?= )", "%20", text) for field, text in metadata.items()}
        self._upload(name, data, media_type(name), metadata=plain, overwrite=True)

    def _put_if(self, name: str, data: bytes, generation: str | None, term: float) -> str:
        condition = {"overwrite": False} if generation is None else {"overwrite": True, **_unchanged(generation)}
        try:
            answer = self._upload(name, data, "application/json", **condition)
        except FileNotFoundError:
            # What it was to replace is gone.
            raise FileExistsError(name) from None
        return _quoted(answer["etag"])

    def _upload(self, name: str, data: bytes, kind: str, **options: Any) -> Mapping[str, Any]:
        def put(container: Any) -> Mapping[str, Any]:
            from azure.storage.blob import ContentSettings

            blob, settings = container.get_blob_client(name), ContentSettings(content_type=kind)
            answer: Mapping[str, Any] = blob.upload_blob(data, length=len(data), content_settings=settings, **options)
            return answer

        return self._ask(put)

    def _stat(self, name: str) -> Listed:
        return _listed(self._ask(lambda container: container.get_blob_client(name).get_blob_properties()))

    def _list(self, prefix: str, token: str | None) -> Page:
        def page(container: Any) -> Page:
            seen: dict[str, str] = {}
            hook = partial(_note_headers, seen)
            pages = container.list_blobs(prefix or None, include=["metadata"], raw_response_hook=hook).by_page(token)
            listed = [_listed(item) for item in next(pages)]
            return Page(listed, pages.continuation_token or None, server_clock(seen.get("date")))

        return self._ask(page)

    def _remove(self, name: str, generation: str | None) -> bool:
        condition = {} if generation is None else _unchanged(generation)
        try:
            self._ask(lambda container: container.delete_blob(name, **condition))
        except (FileNotFoundError, FileExistsError):
            return False
        return True

    def _no_bucket(self) -> str:
        name = self.account.name
        return (
            f"the container {self.bucket!r} does not exist (storage {self.identity}): correct its name, or create it: "
            f"az storage container create --name {self.bucket} --account-name {name or '<account>'}"
        )

    # --- The way there.

    def _ask(self, request: Callable[[Any], T]) -> T:
        """What ``request`` gives, tried up to three times while half of the timeout is not over."""
        try:
            client = self._client()
            return persist(lambda: request(client), self.timeout, _passing)
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is told in our words
            self._explain(error)

    def _connect(self) -> Any:
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import ContainerClient

        from .session import Session

        given = self.account
        if not given.known:
            raise Refused(
                f"{self.url} names no storage account: give account_name=, or set AZURE_STORAGE_ACCOUNT or "
                "AZURE_STORAGE_CONNECTION_STRING"
            )
        return ContainerClient(
            given.url or "",
            self.bucket,
            credential=self._admission(given),
            # The session has a body whole: to cut it into blocks would only copy it.
            transport=RequestsTransport(session=Session(self.url, self.timeout), connection_data_block_size=WHOLE),
            retry_total=0,
            max_single_get_size=WHOLE,
            max_single_put_size=PARTS_FROM,
            max_block_size=PART,
            use_byte_buffer=True,
        )

    def _admission(self, given: Account) -> Any:
        from .sign_in import Patient, default_credential

        if self.anonymous:
            return None
        if self.credential is None and given.admits:
            return admission(given)
        if (chain := self.credential or default_credential()) is None:
            raise Refused(
                f"{self.url} needs credentials, and there are none to use: set AZURE_STORAGE_CONNECTION_STRING, "
                "AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or `pip install azure-identity` and run `az login`"
            )
        return Patient(self.url, chain, self.timeout)

    def _explain(self, error: Exception) -> NoReturn:
        """Raise what ``error`` means. What may hold a secret is not chained."""
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        if isinstance(error, StorageError):
            raise error
        given = self.account
        said = hidden(" ".join(str(error).split()), given.key, given.sas)
        # Errors of connections hold the URL, and so its signature.
        cause = None if given.sas is not None else error
        answer: Any = error.response if isinstance(error, HttpResponseError) else None
        if answer is None:
            if isinstance(error, ClientAuthenticationError):
                raise Refused(self._not_admitted(shorten(said, 300, placeholder="…"))) from cause
            kind = Refused if isinstance(error, (TypeError, ValueError)) else StorageError
            raise kind(f"{self.url} failed: {said or type(error).__name__}") from cause
        code, status = answer.headers.get("x-ms-error-code", ""), answer.status_code or 0
        # The rest of its lines tells the request, and of a signature that does not fit what it was.
        said = said.partition(" RequestId:")[0].partition(" ErrorCode:")[0]
        said = shorten(f"{code or status}: {said}", 300, placeholder="…")
        if code in _NO_CONTAINER:
            raise StorageError(self._no_bucket()) from cause
        if code in _OTHER or status == 412:
            raise FileExistsError(said) from cause
        if code in _ABSENT or status == 404:
            raise FileNotFoundError(said) from cause
        if status == 501 or code == "UnsupportedHeader":
            raise Unsupported(f"{self.url}: {said}") from cause
        if code in _CREDENTIALS or status == 401:
            # Its text holds the signature of the request.
            raise Refused(self._not_admitted(said)) from None
        if code == "KeyBasedAuthenticationNotPermitted":
            raise Refused(
                f"{self.url}: its account takes no keys ({said}): leave the key out, `pip install azure-identity` and "
                "run `az login`"
            ) from cause
        if status == 403:
            raise Refused(
                f"{self.url} refuses these credentials ({said}): grant them the role Storage Blob Data Contributor on "
                f"the container {self.bucket!r} (reading only: Storage Blob Data Reader), or give the account's own "
                "key, or a shared access signature of the permissions rcwdl; and look whether the account's network "
                "rules let this machine in"
            ) from cause
        kind = StorageError if _passing(error) or status >= 500 else Refused
        raise kind(f"{self.url} failed: {said}") from cause

    def _not_admitted(self, said: str) -> str:
        return (
            f"{self.url} takes no credentials that were found ({said}): run `az login`, or correct "
            "AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or what was given for them"
        )


def _without_host(location: str, schemes: tuple[str, ...]) -> tuple[str, str]:
    """``container@host/folder`` as ``container/folder`` and ``host``."""
    for scheme in schemes:
        location = location.removeprefix(f"{scheme}://")
    place, slash, folder = location.removeprefix("/").partition("/")
    container, _, host = place.partition("@")
    return f"{container}{slash}{folder}", host


def _passing(error: Exception) -> bool:
    """Whether the same request may well succeed a moment later."""
    from azure.core.exceptions import (
        HttpResponseError,
        ServiceRequestError,
        ServiceRequestTimeoutError,
        ServiceResponseError,
        ServiceResponseTimeoutError,
    )

    from .session import Broken

    if isinstance(error, HttpResponseError) and error.response is not None:
        status = error.response.status_code or 0
        return status in (408, 429) or (status >= 500 and status != 501)
    if isinstance(error, (ServiceRequestTimeoutError, ServiceResponseTimeoutError)):
        return False  # The time is over.
    return isinstance(error, (Broken, ServiceRequestError, ServiceResponseError))


def _note_headers(seen: dict[str, str], answer: Any) -> None:
    seen.update((name.lower(), text) for name, text in answer.http_response.headers.items())


def _unchanged(generation: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": generation, "match_condition": MatchConditions.IfNotModified}


def _quoted(etag: str) -> str:
    # Headers have it in quotes, listings do not.
    return f'"{etag.strip(chr(34))}"'


def _lowered(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): text for name, text in (metadata or {}).items()}


def _listed(item: Any) -> Listed:
    metadata = _lowered(item.metadata)
    created = written(item.last_modified.timestamp(), metadata)
    return Listed(item.name, item.size, created, _quoted(item.etag), metadata)
